//! Leases, as lists show them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Error;
use crate::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use crate::lease::{LeaseRecord, Revoker};
use crate::name::BucketName;

/// Which leases to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaseFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only this caller's.
    pub caller: Option<CallerId>,
    /// Only those that this token opened.
    pub token: Option<TokenId>,
    /// Only those that this grant decided, alone or with others.
    pub grant: Option<GrantId>,
    /// Only those of this bucket.
    pub bucket: Option<&'a BucketName>,
    /// Only those opened at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those that were asked for with this token on behalf of another.
    pub asked_with: Option<TokenId>,
    /// Only those that are live at this instant.
    pub live_at: Option<Timestamp>,
    /// Only those opened before this one (the newest come first): the last id of the page before.
    pub before: Option<LeaseId>,
    /// At most so many.
    pub limit: u32,
}

/// Credentials that were ended here and that their store, which somebody else runs, takes until their time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outliving {
    /// The store.
    pub storage: StorageId,
    /// What the store calls them.
    pub key_ids: Vec<Box<str>>,
    /// Leases that were ended.
    pub leases: u64,
    /// When the store stops taking the last of them.
    pub until: Timestamp,
}

/// What was vended.
#[async_trait]
pub trait Leases: Send + Sync {
    /// A lease by its id.
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error>;
    /// The leases that were handed the credential of this name at their store, the newest first.
    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error>;
    /// Leases, the newest first.
    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error>;
    /// The credentials among those that somebody ended, from an instant on, that their stores take on: one row for each store.
    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error>;
}
