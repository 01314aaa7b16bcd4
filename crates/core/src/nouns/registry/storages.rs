//! Storages, buckets and datasets.

use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

use crate::error::Error;
use crate::id::{DatasetId, StorageId};
use crate::name::{BucketName, Name};
use crate::nouns::dataset::{Datasets, NewDataset};
use crate::storage::{ExternalConfig, Storage, StorageKind};
use crate::time::Lifetime;

/// A store to be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStorage {
    /// Its name.
    pub name: Name,
    /// How scopes are enforced there.
    pub kind: StorageKind,
    /// The URL its users reach it at.
    pub endpoint: Box<str>,
    /// The URL it is reached at from inside a cluster.
    pub internal_endpoint: Option<Box<str>>,
    /// The region to name in signatures.
    pub region: Box<str>,
    /// No credential lives shorter.
    pub min_lifetime: Lifetime,
    /// No credential lives longer.
    pub max_lifetime: Lifetime,
    /// What is configured of it, where somebody else runs it.
    pub external: Option<Arc<ExternalConfig>>,
}

impl NewStorage {
    /// The store, once it has an id and a version.
    pub fn stored(self, id: StorageId, version: u64) -> Storage {
        let Self { name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external } = self;
        let external = external.map(|external| Arc::new(ExternalConfig { version, ..Arc::unwrap_or_clone(external) }));
        Storage { id, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external }
    }
}

/// Storages and their buckets.
#[async_trait]
pub trait Storages: Send + Sync {
    /// Every store, in order of their names.
    async fn storages(&self) -> Result<Vec<Storage>, Error>;
    /// Every bucket and its store, in order of their names.
    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error>;
}

/// Keeps what is said of a storage; what may be said, and its secrets, is [`StorageAdmin`](crate::nouns::storage_admin::StorageAdmin)'s.
#[async_trait]
pub trait StorageRecords: Storages {
    /// Adds a store.
    async fn create_storage(&self, storage: NewStorage, now: Timestamp) -> Result<Storage, Error>;
    /// Changes the addresses, limits and settings of a store; its kind stays. The version of its configuration goes up by one,
    /// whatever it says.
    async fn change_storage(&self, id: StorageId, storage: NewStorage) -> Result<Storage, Error>;
    /// Adds a bucket of a store. A bucket's name is unique on this server.
    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, now: Timestamp) -> Result<(), Error>;
}

/// Makes datasets.
#[async_trait]
pub trait DatasetAdmin: Datasets {
    /// Adds a dataset to the catalogue.
    async fn create_dataset(&self, dataset: NewDataset, now: Timestamp) -> Result<DatasetId, Error>;
}
