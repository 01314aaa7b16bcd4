//! A named part of a bucket that is offered to accounts.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::id::{DatasetId, StorageId};
use crate::name::{BucketName, Name};
use crate::nouns::table::Key;
use crate::scope::Path;
use crate::word::words;

words! {
    /// Which of a dataset's files is its newest one.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Newest {
        /// The one that was written last; of several the one whose key comes last.
        ByTime => "time",
        /// The one whose key comes last, in the order of its bytes: for keys that have the date in them.
        ByKey => "key",
    }
}

/// A named part of a bucket that is offered to accounts. Everyone may know that it exists; a grant opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dataset<Id = DatasetId> {
    /// Its id.
    pub id: Id,
    /// Its name, unique on this server.
    pub name: Name,
    /// The group it is listed under (`jobs`, `companies`, `flights`).
    pub topic: Name,
    /// A sentence for people.
    pub description: String,
    /// Where it is.
    pub storage: StorageId,
    /// In which bucket.
    pub bucket: BucketName,
    /// Under which directory.
    pub path: Path,
    /// The files' format (`parquet`, `csv`).
    pub format: String,
    /// How often it is renewed (`daily`).
    pub frequency: String,
    /// The version of its layout.
    pub version: String,
    /// Whether another dataset takes its place.
    pub deprecated: bool,
    /// Which of its files is the newest.
    pub newest: Newest,
    /// The object, in the same bucket, that explains its columns.
    pub dictionary: Option<Key>,
    /// The object, in the same bucket, that shows a few of its rows.
    pub sample: Option<Key>,
}

/// A dataset to be added: all but its id.
pub type NewDataset = Dataset<()>;

impl NewDataset {
    /// The dataset, once it has an id.
    pub fn stored(self, id: DatasetId) -> Dataset {
        Dataset {
            id,
            name: self.name,
            topic: self.topic,
            description: self.description,
            storage: self.storage,
            bucket: self.bucket,
            path: self.path,
            format: self.format,
            frequency: self.frequency,
            version: self.version,
            deprecated: self.deprecated,
            newest: self.newest,
            dictionary: self.dictionary,
            sample: self.sample,
        }
    }
}

/// The datasets of the catalogue. Read-mostly: when warm it makes no query.
#[async_trait]
pub trait Datasets: Send + Sync {
    /// All of them, in order of their names; the same for every account.
    async fn datasets(&self) -> Result<Arc<[Dataset]>, Error>;
}
