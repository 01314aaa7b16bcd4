//! Grants.

use async_trait::async_trait;
use jiff::Timestamp;

use super::removals::RemovalAdmin;
use crate::error::{Error, Noun};
use crate::grant::{Grant, NewGrant};
use crate::id::{AccountId, CallerId, GrantId};
use crate::lease::Revoker;
use crate::name::BucketName;
use crate::nouns::removal::{How, Thing};

/// Which grants to list: in the order of their accounts, and of their names in each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GrantFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only that of this name, in each account.
    pub name: Option<&'a str>,
    /// Only those that this caller may use: its own, and those for everyone of its account.
    pub caller: Option<CallerId>,
    /// Only those of this bucket.
    pub bucket: Option<&'a BucketName>,
    /// Only those made at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those after this name in this account: the last of the page before.
    pub after: Option<(AccountId, &'a str)>,
    /// At most so many.
    pub limit: u32,
}

/// Grants, for who may know of them.
#[async_trait]
pub trait Grants: Send + Sync {
    /// The grants of an account.
    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error>;
    /// A page of the grants of one account or all.
    async fn list_grants(&self, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error>;
}

/// Makes grants and takes them back.
#[async_trait]
pub trait GrantAdmin: Grants + RemovalAdmin {
    /// Adds a grant; the bucket must be one of the storage's.
    async fn create_grant(&self, grant: NewGrant, now: Timestamp) -> Result<GrantId, Error>;
    /// Removes a grant; with `end_credentials` what was vended under it ends too.
    async fn remove_grant(
        &self,
        account: AccountId,
        grant: GrantId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        if self.grants(account).await?.iter().all(|known| known.id != grant) {
            return Err(Error::not_found(Noun::Grant));
        }
        self.remove(&Thing::Grant(grant), How::ending(end_credentials), by).await.map(drop)
    }
}
