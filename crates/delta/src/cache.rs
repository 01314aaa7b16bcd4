//! What is remembered of tables: the newest version of each that was asked for lately. Whoever takes it checks that the log
//! still ends where it did.

use std::fmt;
use std::sync::Arc;

use delta_kernel::snapshot::SnapshotRef;
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::table::{AddedFile, Key, TablePlace};

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
        let file = |file: &AddedFile| {
            let values = file.partition_values.len() + file.tags.len();
            size_of::<AddedFile>() + 2 * file.path.len() + file.stats.as_ref().map_or(0, String::len) + 128 * values
        };
        let files: usize = self.files.iter().flat_map(|files| files.iter()).map(file).sum();
        u32::try_from(4096 + self.snapshot.estimated_owned_heap_size_bytes() + files).unwrap_or(u32::MAX)
    }
}

/// The newest versions of tables, up to so many bytes.
pub(crate) struct Cache(moka::sync::Cache<(StorageId, BucketName, Key), Cached>);

fn own(place: &TablePlace) -> (StorageId, BucketName, Key) {
    (place.storage.id, place.bucket.clone(), place.root.clone())
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weighed = moka::sync::Cache::builder().max_capacity(bytes);
        Self(weighed.weigher(|_, cached: &Cached| cached.weight()).build())
    }

    pub(crate) fn get(&self, place: &TablePlace) -> Option<Cached> {
        self.0.get(&own(place))
    }

    pub(crate) fn put(&self, place: &TablePlace, cached: Cached) {
        self.0.insert(own(place), cached);
    }

    pub(crate) fn forget(&self, place: &TablePlace) {
        self.0.invalidate(&own(place));
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("tables", &self.0.entry_count()).finish()
    }
}
