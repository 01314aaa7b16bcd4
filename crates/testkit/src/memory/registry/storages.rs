//! Storages, buckets and datasets.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::{DatasetId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::dataset::NewDataset;
use valetkey_core::nouns::registry::{DatasetAdmin, NewStorage, StorageRecords, Storages};
use valetkey_core::storage::Storage;

use crate::memory::Memory;

#[async_trait]
impl Storages for Memory {
    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        let mut storages = self.world().storages.clone();
        storages.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(storages)
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        let mut buckets = self.world().buckets.clone();
        buckets.sort();
        Ok(buckets)
    }
}

#[async_trait]
impl StorageRecords for Memory {
    async fn create_storage(&self, storage: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        storage.check()?;
        let id = StorageId::new(now, self.random());
        let mut world = self.world();
        if world.storages.iter().any(|known| known.name == storage.name) {
            return Err(Error::taken(Noun::Storage, &storage.name));
        }
        let storage = storage.stored(id, 1);
        world.storages.push(storage.clone());
        world.version += 1;
        Ok(storage)
    }

    async fn change_storage(&self, id: StorageId, storage: NewStorage) -> Result<Storage, Error> {
        storage.check()?;
        let mut world = self.world();
        let before = world.storages.iter().find(|known| known.id == id && known.kind == storage.kind);
        let before = before.ok_or_else(|| Error::not_found(Noun::Storage))?;
        let version = before.external.as_ref().map_or(1, |external| external.version);
        if world.storages.iter().any(|known| known.name == storage.name && known.id != id) {
            return Err(Error::taken(Noun::Storage, &storage.name));
        }
        let storage = storage.stored(id, version + 1);
        world.storages.retain(|known| known.id != id);
        world.storages.push(storage.clone());
        world.version += 1;
        Ok(storage)
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, _now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        world.check_storage(storage)?;
        if world.buckets.iter().any(|(known, _)| known == bucket) {
            return Err(Error::taken(Noun::Bucket, bucket));
        }
        world.buckets.push((bucket.clone(), storage));
        Ok(())
    }
}

#[async_trait]
impl DatasetAdmin for Memory {
    async fn create_dataset(&self, new: NewDataset, now: Timestamp) -> Result<DatasetId, Error> {
        let id = DatasetId::new(now, self.random());
        let dataset = new.stored(id);
        let mut world = self.world();
        world.check_place(dataset.storage, &dataset.bucket)?;
        if world.datasets.iter().any(|known| known.name == dataset.name) {
            return Err(Error::taken(Noun::Dataset, &dataset.name));
        }
        world.datasets.push(dataset);
        Ok(id)
    }
}
