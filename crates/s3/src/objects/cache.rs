//! Records of objects, and the rules of buckets, kept in memory: never older than the last committed change.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use valetkey_core::cors::Rules;

use crate::objects::BucketId;
use crate::objects::record::Record;

/// Locks that the records are spread over: far more than a machine has cores, so that two requests seldom want the same one.
const SHARDS: usize = 64;

type Key = (i64, Box<[u8]>);

/// Records of objects, bounded by their weight in bytes.
pub(crate) struct Cache {
    records: moka::sync::Cache<Key, Arc<Record>>,
    hasher: RandomState,
    /// How often something of each shard was forgotten: a record read from the index before that is not put in after it.
    epochs: Box<[Mutex<u64>]>,
    /// Not bounded here: a bucket's rules are.
    cors: Table,
}

/// When a look-up began.
pub(crate) struct Began(u64);

impl Cache {
    /// Makes a cache that holds at most so many bytes.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let weigh =
            |(_, key): &Key, record: &Arc<Record>| u32::try_from(key.len() + record.weight()).unwrap_or(u32::MAX);
        Self {
            records: moka::sync::Cache::builder().max_capacity(max_bytes).weigher(weigh).build(),
            hasher: RandomState::new(),
            epochs: (0..SHARDS).map(|_| Mutex::new(0)).collect(),
            cors: Table::default(),
        }
    }

    /// Buckets' CORS rules.
    pub(crate) fn cors(&self) -> &Table {
        &self.cors
    }

    fn epoch(&self, key: &Key) -> Option<&Mutex<u64>> {
        let shard = self.hasher.hash_one(key) % (SHARDS as u64);
        self.epochs.get(usize::try_from(shard).unwrap_or(0))
    }

    /// The record kept of an object; if there is none, when this look-up began.
    pub(crate) fn get(&self, key: &Key) -> Result<Arc<Record>, Began> {
        self.records.get(key).ok_or_else(|| {
            let epoch = self.epoch(key).map(|epoch| *epoch.lock().unwrap_or_else(PoisonError::into_inner));
            Began(epoch.unwrap_or(u64::MAX))
        })
    }

    /// Keeps a record that was read from the index, unless something was forgotten since the look-up began.
    pub(crate) fn put(&self, key: Key, began: &Began, record: &Arc<Record>) {
        if let Some(epoch) = self.epoch(&key) {
            let epoch = epoch.lock().unwrap_or_else(PoisonError::into_inner);
            if *epoch == began.0 {
                self.records.insert(key, Arc::clone(record));
            }
        }
    }

    /// Forgets an object, because it changed.
    pub(crate) fn forget(&self, bucket: i64, key: &[u8]) {
        let key = (bucket, key.into());
        if let Some(epoch) = self.epoch(&key) {
            let mut epoch = epoch.lock().unwrap_or_else(PoisonError::into_inner);
            *epoch += 1;
            self.records.invalidate(&key);
        }
    }
}

/// The CORS rules of all buckets that have some.
#[derive(Default)]
pub(crate) struct Table(RwLock<HashMap<BucketId, Arc<Rules>>>);

impl Table {
    /// Whether no bucket has rules.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A bucket's rules.
    pub(crate) fn get(&self, bucket: BucketId) -> Option<Arc<Rules>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&bucket).cloned()
    }

    /// Gives a bucket these rules, or none.
    pub(super) fn set(&self, bucket: BucketId, rules: Option<Arc<Rules>>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match rules {
            Some(rules) => all.insert(bucket, rules),
            None => all.remove(&bucket),
        };
    }
}
