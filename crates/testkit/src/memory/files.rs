//! Objects over plain memory, as the server itself reads them.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{Key, Listed, ObjectFiles};
use valetkey_core::storage::Storage;

type Objects = BTreeMap<(BucketName, Key), (Vec<u8>, Timestamp)>;

/// Objects over plain memory, the same for every storage.
#[derive(Default)]
pub struct Files {
    objects: Mutex<Objects>,
    calls: Mutex<Vec<String>>,
}

impl Files {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, what: &str, key: &[u8]) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(format!("{what} {}", String::from_utf8_lossy(key)));
    }

    /// Puts an object in place of what was there.
    pub fn put(&self, bucket: &BucketName, key: &[u8], bytes: &[u8], modified: Timestamp) {
        self.objects().insert((bucket.clone(), key.into()), (bytes.to_vec(), modified));
    }

    /// Removes an object.
    pub fn remove(&self, bucket: &BucketName, key: &[u8]) {
        self.objects().remove(&(bucket.clone(), key.into()));
    }

    /// What was asked for since the last time this was: `get key`, `head key` or `list prefix`.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ObjectFiles for Files {
    async fn get(
        &self,
        _: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.called("get", key);
        let objects = self.objects();
        let Some((bytes, _)) = objects.get(&(bucket.clone(), key.into())) else { return Ok(None) };
        let Range { start, end } = range.unwrap_or(0..u64::MAX);
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Some(bytes.get(at(start)..at(end)).unwrap_or_default().to_vec()))
    }

    async fn head(&self, _: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        self.called("head", key);
        let objects = self.objects();
        let found = objects.get(&(bucket.clone(), key.into()));
        Ok(found.map(|(bytes, modified)| Listed { key: key.into(), size: bytes.len() as u64, modified: *modified }))
    }

    async fn list(
        &self,
        _: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        self.called("list", prefix);
        let objects = self.objects();
        let from = if after < prefix {
            Bound::Included((bucket.clone(), prefix.into()))
        } else {
            Bound::Excluded((bucket.clone(), after.into()))
        };
        let rows = objects.range((from, Bound::Unbounded));
        let inside = rows.take_while(|((own, key), _)| own == bucket && key.starts_with(prefix));
        let listed = inside.map(|((_, key), (bytes, modified))| Listed {
            key: key.clone(),
            size: bytes.len() as u64,
            modified: *modified,
        });
        Ok(listed.take(limit).collect())
    }
}
