//! Credentials of external storages that all nodes of one database share: one node fetches, the others open what it kept.
//!
//! SECURITY: what is kept is sealed and bound to its key by who uses the pool; a pool only keeps it. What is in it is decided about
//! anew each time it is taken out.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::error::Error;
use crate::id::StorageId;

/// Which credential: a digest of all that decides what it opens, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey(pub [u8; 32]);

/// Who fetches: drawn anew for each fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant(pub [u8; 16]);

/// For how long a claim counts that its holder does not extend: as long as a node that died may keep the others waiting.
pub const CLAIM: SignedDuration = SignedDuration::from_secs(3);

/// What there is of a key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pooled {
    /// What was kept, sealed, if it is not over.
    pub sealed: Option<Box<[u8]>>,
    /// How often something was kept: who claims says what it saw.
    pub version: i64,
}

/// What is to be kept.
#[derive(Clone, Debug)]
pub struct NewPooled {
    /// Whose credential it is.
    pub storage: StorageId,
    /// What the storage calls it. No secret.
    pub key_id: Box<str>,
    /// The credential.
    pub sealed: Box<[u8]>,
    /// When it is over.
    pub ends: Timestamp,
}

/// What nodes keep together.
#[async_trait]
pub trait Pool: Send + Sync {
    /// What there is.
    async fn look(&self, key: PoolKey, now: Timestamp) -> Result<Pooled, Error>;

    /// Claims the next fetch, for [`CLAIM`]; `false` where another has it, or kept something since `version` was seen.
    async fn claim(&self, key: PoolKey, version: i64, claimant: Claimant, now: Timestamp) -> Result<bool, Error>;

    /// Says that a fetch that was claimed goes on.
    async fn extend(&self, key: PoolKey, claimant: Claimant, now: Timestamp) -> Result<(), Error>;

    /// Keeps what was fetched in the place of what was there, and gives the claim back.
    async fn keep(&self, key: PoolKey, fetched: NewPooled) -> Result<(), Error>;

    /// Gives a claim back.
    async fn give_up(&self, key: PoolKey, claimant: Claimant) -> Result<(), Error>;

    /// Removes what a storage calls by these names, and tells the other nodes to hand out nothing before they looked again.
    async fn remove(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error>;
}
