//! Callers and groups.

use async_trait::async_trait;
use jiff::Timestamp;

use super::removals::RemovalAdmin;
use crate::caller::{CallerRecord, Role};
use crate::error::Error;
use crate::group::Group;
use crate::id::{AccountId, CallerId};
use crate::lease::Revoker;
use crate::name::Name;
use crate::nouns::removal::{How, Thing};

/// Which callers to list: in the order of their accounts, and of their names in each. Those that were removed are not listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallerFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only those after this name in this account: the last of the page before.
    pub after: Option<(AccountId, &'a str)>,
    /// At most so many.
    pub limit: u32,
}

/// Callers and their groups, for who may know of them.
#[async_trait]
pub trait Callers: Send + Sync {
    /// The callers of an account, in order of their names; without those that were removed.
    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error>;
    /// A page of the callers of one account or all.
    async fn list_callers(&self, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error>;
    /// A caller by its id, also one that was removed.
    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error>;
    /// The groups of an account, or of all, in order of their names.
    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error>;
}

/// Makes callers and groups, and says who of them is served.
#[async_trait]
pub trait CallerAdmin: Callers + RemovalAdmin {
    /// Makes a caller, or finds the one that has the name and the role. One with another role is `AlreadyExists`.
    async fn ensure_caller(
        &self,
        account: AccountId,
        name: &Name,
        role: Role,
        now: Timestamp,
    ) -> Result<CallerId, Error>;
    /// Suspends a caller and ends what it was given. Says how many live leases ended.
    async fn suspend_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error>;
    /// Serves a suspended caller again.
    async fn activate_caller(&self, id: CallerId) -> Result<(), Error>;
    /// Removes a caller: its tokens, links to download one and credentials end, what was granted to it alone is taken back, and
    /// its name is free. Says how many live leases ended.
    async fn remove_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        Ok(self.remove(&Thing::Caller(id), How::ALL, by).await?.leases)
    }
    /// Adds a group: its id, version and time are set here.
    async fn create_group(&self, new: Group, now: Timestamp) -> Result<Group, Error>;
}
