//! What is remembered of tables: the newest version of each that was asked for lately. Whoever takes it checks that the log
//! still ends where it did.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use delta_kernel::snapshot::SnapshotRef;
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{AddedFile, Key, TablePlace};

use crate::history::CommitFile;

/// The commit a log ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tip {
    pub(crate) version: u64,
    pub(crate) file: CommitFile,
}

/// A version of a table.
#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) snapshot: SnapshotRef,
    /// Its files, once they were asked for.
    pub(crate) files: Option<Arc<[AddedFile]>>,
    /// Where the log ended; nothing if this is not to be remembered.
    pub(crate) tip: Option<Tip>,
}

impl Cached {
    /// About how many bytes it takes in memory.
    fn weight(&self) -> u32 {
        let files: usize = self.files.iter().flat_map(|files| files.iter()).map(weight_of).sum();
        u32::try_from(4096 + self.snapshot.estimated_owned_heap_size_bytes() + files).unwrap_or(u32::MAX)
    }
}

/// About how many bytes a file's entry takes in memory.
pub(crate) fn weight_of(file: &AddedFile) -> usize {
    let values = file.partition_values.len() + file.tags.len();
    size_of::<AddedFile>() + 2 * file.path.len() + file.stats.as_ref().map_or(0, String::len) + 128 * values
}

/// A table, of a storage as it is configured: with other settings it may be another table.
type Own = (StorageId, u64, BucketName, Key);
type Lent = HashMap<Own, (Tip, Weak<[AddedFile]>)>;

/// The newest versions of tables, up to so many bytes.
pub(crate) struct Cache {
    kept: moka::sync::Cache<Own, Cached>,
    most: u64,
    /// Files that are too many to be kept, as long as an answer is made of them: the next one is made of the same.
    lent: Mutex<Lent>,
}

fn own(place: &TablePlace) -> Own {
    let version = place.storage.external.as_ref().map_or(0, |external| external.version);
    (place.storage.id, version, place.bucket.clone(), place.root.clone())
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weighed = moka::sync::Cache::builder().max_capacity(bytes);
        let kept = weighed.weigher(|_, cached: &Cached| cached.weight()).build();
        Self { kept, most: bytes, lent: Mutex::default() }
    }

    pub(crate) fn get(&self, place: &TablePlace) -> Option<Cached> {
        self.kept.get(&own(place))
    }

    pub(crate) fn put(&self, place: &TablePlace, cached: Cached) {
        // What does not fit would only put out what is there without its files.
        if u64::from(cached.weight()) <= self.most {
            self.kept.insert(own(place), cached);
            return;
        }
        if let (Some(tip), Some(files)) = (cached.tip, &cached.files) {
            let mut lent = self.lent();
            lent.retain(|_, (_, files)| files.strong_count() > 0);
            lent.insert(own(place), (tip, Arc::downgrade(files)));
        }
    }

    /// The files of a version that somebody is answered with just now.
    pub(crate) fn lent_files(&self, place: &TablePlace, tip: Tip) -> Option<Arc<[AddedFile]>> {
        self.lent().get(&own(place)).filter(|(of, _)| *of == tip).and_then(|(_, files)| files.upgrade())
    }

    pub(crate) fn forget(&self, place: &TablePlace) {
        self.kept.invalidate(&own(place));
        self.lent().remove(&own(place));
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("tables", &self.kept.entry_count()).finish_non_exhaustive()
    }
}
