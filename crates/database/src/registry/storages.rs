//! Storages, buckets and datasets.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::id::{DatasetId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::dataset::NewDataset;
use valetkey_core::nouns::registry::{DatasetAdmin, NewStorage, StorageRecords, Storages};
use valetkey_core::storage::Storage;

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::registry;

#[async_trait]
impl Storages for Database {
    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        registry::storages(&mut self.reader().await?).await
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        registry::buckets(&mut self.reader().await?).await
    }
}

#[async_trait]
impl StorageRecords for Database {
    async fn create_storage(&self, new: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        new.check()?;
        let id = StorageId::new(now, self.noise());
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_storage(db, id, &new, now).await?;
                notes.did(Deed::Made, Noun::Storage, id, new.name.as_str());
                Ok((new.stored(id, 1), Touches::Storages))
            })
        })
        .await
    }

    async fn change_storage(&self, id: StorageId, new: NewStorage) -> Result<Storage, Error> {
        new.check()?;
        self.administer(move |db, notes| {
            Box::pin(async move {
                let version = registry::change_storage(db, id, &new).await?;
                notes.did(Deed::Changed, Noun::Storage, id, &format!("{}, version {version}", new.name));
                Ok((new.stored(id, version), Touches::Storages))
            })
        })
        .await
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, now: Timestamp) -> Result<(), Error> {
        let bucket = bucket.clone();
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_bucket(db, storage, &bucket, now).await?;
                notes.did(Deed::Made, Noun::Bucket, &bucket, &format!("of {storage}"));
                Ok(((), Touches::Buckets))
            })
        })
        .await
    }
}

#[async_trait]
impl DatasetAdmin for Database {
    async fn create_dataset(&self, new: NewDataset, now: Timestamp) -> Result<DatasetId, Error> {
        let dataset = new.stored(DatasetId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_dataset(db, &dataset, now).await?;
                notes.did(Deed::Made, Noun::Dataset, dataset.id, dataset.name.as_str());
                Ok((dataset.id, Touches::Datasets))
            })
        })
        .await
    }
}
