//! What lies in buckets, for those who list them: in memory, here or elsewhere, and as slow or wrong as a test wants it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::Credential;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{ListPage, Listed, ObjectFiles, VendedFiles, VendedLists};
use valetkey_core::port::{SignedUrls, UrlSigner};
use valetkey_core::scope::{Action, Rights};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::{Error, Kind, Secret};
use valetkey_testkit::memory::Files;

use super::iceberg_upstream::Lakehouse;
use crate::theirstack;

/// How a bucket's store is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Hangs,
    Fails,
}

#[derive(Default)]
pub(super) struct Stock {
    pub(super) files: Files,
    pub(super) moods: Mutex<HashMap<&'static str, Mood>>,
    /// The credential and the scope that each URL was signed with.
    pub(super) signed: Mutex<Vec<(String, Rights)>>,
    /// What was read with, elsewhere.
    pub(super) lent: Mutex<Vec<Arc<Credential>>>,
    /// Whether URLs show their credential.
    pub(super) shows: Mutex<bool>,
    /// A catalog that another server keeps.
    pub(super) lakehouse: Arc<Lakehouse>,
}

impl Stock {
    pub(super) fn files(stock: &Arc<Self>) -> theirstack::Files {
        theirstack::Files {
            own: stock.clone(),
            elsewhere: stock.clone(),
            signer: stock.clone(),
            tasks: tokio_util::task::TaskTracker::new(),
        }
    }

    async fn mood(&self, bucket: &BucketName) -> Result<(), Error> {
        let mood = self.moods.lock().unwrap().get(bucket.as_str()).copied();
        match mood {
            None => Ok(()),
            Some(Mood::Fails) => Err(Error::new(Kind::Upstream, "the store fails")),
            Some(Mood::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl ObjectFiles for Stock {
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        assert!(storage.kind.is_ours());
        self.files.get(storage, bucket, key, range).await
    }

    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        assert!(storage.kind.is_ours());
        self.files.head(storage, bucket, key).await
    }

    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        assert!(storage.kind.is_ours(), "what somebody else keeps is read with what was vended");
        self.mood(bucket).await?;
        self.files.list(storage, bucket, prefix, after, limit).await
    }
}

/// What reads with what was vended, and keeps what that was.
struct Lent {
    stock: Arc<Stock>,
    credential: Arc<Credential>,
}

impl VendedFiles for Stock {
    fn with(self: Arc<Self>, credential: Arc<Credential>) -> Arc<dyn ObjectFiles> {
        Arc::new(Lent { stock: self, credential })
    }
}

impl Lent {
    fn check(&self, storage: &Storage) {
        assert!(!storage.kind.is_ours());
        self.stock.lent.lock().unwrap().push(self.credential.clone());
    }
}

#[async_trait]
impl ObjectFiles for Lent {
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.check(storage);
        self.stock.files.get(storage, bucket, key, range).await
    }

    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        self.check(storage);
        self.stock.files.head(storage, bucket, key).await
    }

    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        self.check(storage);
        self.stock.files.list(storage, bucket, prefix, after, limit).await
    }
}

#[async_trait]
impl VendedLists for Stock {
    async fn page(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        prefix: &[u8],
        from: Option<&str>,
    ) -> Result<ListPage, Error> {
        assert!(!storage.kind.is_ours());
        credential.s3()?;
        self.mood(bucket).await?;
        let after = from.map(|from| data_encoding::HEXLOWER.decode(from.as_bytes()).unwrap()).unwrap_or_default();
        let mut entries = self.files.list(storage, bucket, prefix, &after, 3).await?;
        let more = entries.len() > 2;
        entries.truncate(2);
        let next = entries.last().filter(|_| more).map(|last| data_encoding::HEXLOWER.encode(&last.key));
        Ok(ListPage { entries, next })
    }
}

#[async_trait]
impl UrlSigner for Stock {
    fn signs(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        assert!(now < until && until <= credential.expiration());
        assert!(storage.kind != StorageKind::Azure && storage.kind != StorageKind::Gcs);
        Ok(Box::new(Plainly(bucket.clone())))
    }

    fn shows_credential(&self, _: &Storage) -> bool {
        *self.shows.lock().unwrap()
    }

    fn one(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        key: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Secret<String>, Error> {
        assert!(rights.covers(rights.bucket().as_str(), key, Action::GetObject), "outside of what was vended");
        self.signed.lock().unwrap().push((credential.s3()?.access_key_id.clone(), rights.clone()));
        self.signs(storage, credential, rights.bucket(), now, until)?.url(key)
    }
}

struct Plainly(BucketName);

impl SignedUrls for Plainly {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        Ok(Secret::new(format!("https://signed/{}/{}", self.0, key.escape_ascii())))
    }
}
