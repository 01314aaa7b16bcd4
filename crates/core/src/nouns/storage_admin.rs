//! What is done with stores beside vending: configuring, checking and ending.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::account::{self, Kept};
use crate::error::Error;
use crate::id::{AccountId, StorageId};
use crate::name::{BucketName, Name};
use crate::nouns::provider::Hints;
use crate::nouns::registry::NewStorage;
use crate::scope::Scope;
use crate::secret::Secret;
use crate::storage::{Quota, Sharing, Storage, StorageKind};
use crate::time::Lifetime;

/// A storage as an operator configures it. Omitted fields keep their value, or take the kind's default.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name, unique on this server.
    pub name: Name,
    /// Who enforces scopes there.
    pub kind: StorageKind,
    /// The URL its users reach it at.
    pub endpoint: Option<Box<str>>,
    /// The URL it is reached at from inside a cluster.
    pub internal_endpoint: Option<Box<str>>,
    /// The region to name in signatures.
    pub region: Option<Box<str>>,
    /// No credential lives shorter.
    pub min_lifetime: Option<Lifetime>,
    /// No credential lives longer.
    pub max_lifetime: Option<Lifetime>,
    /// JSON; nothing in it is secret.
    pub settings: Option<Box<str>>,
    /// The secrets beside them, in JSON.
    pub secrets: Option<Secret<String>>,
    /// Who may be given the same credential.
    pub sharing: Option<Sharing>,
    /// How often it may be asked.
    pub quota: Option<Quota>,
}

/// What came of ending a store's credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// What was done there, in words.
    pub done: String,
    /// What has to be known of it: how long it takes, whom else it concerns.
    pub notes: Vec<String>,
}

/// The stores, as they are configured.
#[async_trait]
pub trait StorageAdmin: Send + Sync {
    /// Reads a description, as [`configure`](crate::nouns::configure::configure) has it.
    ///
    /// # Errors
    /// `Invalid` with the field's name.
    fn read(&self, described: Description, before: Option<&Storage>) -> Result<NewStorage, Error>;

    /// What is most often wrong with a kind of storage.
    fn hints(&self, kind: StorageKind) -> Hints {
        let _ = kind;
        Hints::default()
    }

    /// Makes what is configured of a store take effect here.
    async fn put(&self, storage: &Storage) -> Result<(), Error>;

    /// Makes a bucket where we may, or finds it there; where neither is ours to do, takes the operator's word.
    async fn ensure_bucket(&self, storage: &Storage, bucket: &BucketName) -> Result<(), Error>;

    /// Takes a bucket out of service, where its objects are ours: no request finds it from then on. One that has objects is refused
    /// unless they are to go with it. Of other stores nothing is asked and nothing removed.
    ///
    /// # Errors
    /// `Invalid` (field `with_objects`).
    async fn close_bucket(&self, storage: &Storage, bucket: &BucketName, with_objects: bool) -> Result<(), Error>;

    /// Takes that back: the bucket stays after all.
    async fn reopen_bucket(&self, storage: &Storage, bucket: &BucketName) -> Result<(), Error>;

    /// Removes what closed buckets had, some time soon.
    fn purge_closed(&self);

    /// What one account keeps at the embedded store, or each of them; those that keep nothing may be left out.
    async fn kept(&self, account: Option<AccountId>) -> Result<HashMap<AccountId, Kept>, Error>;

    /// What an account may keep there that has no quota of its own.
    fn quota(&self) -> account::Quota;

    /// Has a store take effect no more.
    async fn remove(&self, storage: &Storage);

    /// Whether the store can express a scope at all, without asking it.
    ///
    /// # Errors
    /// `Invalid` with clear words if not.
    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error>;

    /// Whether the store has URLs that open one object each, made here. Nobody is asked.
    ///
    /// # Errors
    /// `Invalid` with clear words if not.
    fn has_urls(&self, storage: &Storage) -> Result<(), Error>;

    /// Does not hand out again what the store calls by these names: what they were handed out with was ended.
    ///
    /// # Errors
    /// `Unavailable`: what other nodes hand out is not known.
    async fn forget(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error>;

    /// Ends, at the store, every credential that was fetched up to now, where there is a way.
    ///
    /// # Errors
    /// `Invalid` where there is none; what the store refuses with.
    async fn end_credentials(&self, storage: &Storage) -> Result<Ended, Error>;
}
