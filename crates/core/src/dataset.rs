//! A named part of a bucket that is offered to accounts.

use crate::id::{DatasetId, StorageId};
use crate::name::{BucketName, Name};
use crate::scope::Path;

/// A named part of a bucket that is offered to accounts. Everyone may know that it exists; a grant opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
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
}
