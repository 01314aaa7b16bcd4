//! Tables kept as a log beside their files: what a reader of the log answers, and how the server itself reads objects.
//!
//! The words are those of the Delta protocol, because whoever shares a table repeats them on the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::credential::Credential;
use crate::error::{Error, Kind, Noun};
use crate::field::Attribute;
use crate::name::BucketName;
use crate::storage::Storage;

/// An object's key: opaque bytes.
pub type Key = Box<[u8]>;

/// An object as a listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// How the server itself reads objects of a storage. Nothing here knows of scopes: whoever asks decides before.
#[async_trait]
pub trait ObjectFiles: Send + Sync {
    /// An object's bytes, or those of a range of it (cut at its end); nothing if there is no such object.
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error>;

    /// An object's size and time; nothing if there is no such object.
    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error>;

    /// Objects whose key starts with `prefix` and comes after `after`, in the order of their keys' bytes. Fewer than
    /// `limit` means that there are no more.
    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error>;
}

/// How the server reads objects of a store that somebody else runs: with a credential that was vended there, and within what it opens.
pub trait VendedFiles: Send + Sync {
    /// What reads with a credential. What the store refuses to it is `Invalid`: asking again changes nothing.
    fn with(self: Arc<Self>, credential: Arc<Credential>) -> Arc<dyn ObjectFiles>;
}

/// Where a table is: the directory that its `_delta_log` is in.
#[derive(Clone, Debug)]
pub struct TablePlace {
    /// The storage.
    pub storage: Arc<Storage>,
    /// The bucket.
    pub bucket: BucketName,
    /// The directory's key, without a slash at its end; empty if the bucket itself is the table.
    pub root: Key,
    /// What it is read with, where somebody else runs the store.
    pub credential: Option<Arc<Credential>>,
}

/// Which version of a table is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsOf {
    /// The newest.
    Latest,
    /// This one.
    Version(u64),
    /// The first that was committed at this instant or after it (`startingTimestamp`).
    FirstSince(Timestamp),
    /// The last that was committed at this instant or before it (`timestamp`, `endingTimestamp`).
    LastUntil(Timestamp),
}

/// What a reader or writer must know to touch a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableProtocol {
    /// The least version of a reader.
    pub min_reader_version: u32,
    /// The least version of a writer.
    pub min_writer_version: u32,
    /// The features a reader must know, from reader version 3 on.
    pub reader_features: Option<Vec<String>>,
    /// The features a writer must know, from writer version 7 on.
    pub writer_features: Option<Vec<String>>,
}

/// What a table is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableMetadata {
    /// The id its log gives it.
    pub id: String,
    /// The name its log gives it, if any.
    pub name: Option<String>,
    /// A sentence for people.
    pub description: Option<String>,
    /// The format of its files (`parquet`).
    pub format_provider: String,
    /// Options of that format.
    pub format_options: BTreeMap<String, String>,
    /// Its columns, as JSON.
    pub schema: String,
    /// The columns that its files are divided by.
    pub partition_columns: Vec<String>,
    /// Its properties.
    pub configuration: BTreeMap<String, String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: Option<i64>,
}

impl TableMetadata {
    /// Whether writers of this table keep a change data feed.
    pub fn keeps_changes(&self) -> bool {
        self.configuration.get("delta.enableChangeDataFeed").is_some_and(|on| on.eq_ignore_ascii_case("true"))
    }
}

/// A version of a table, without its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSnapshot {
    /// The version.
    pub version: u64,
    /// What a reader must know.
    pub protocol: TableProtocol,
    /// What the table is.
    pub metadata: TableMetadata,
    /// Bytes of all its files, where that is known without reading the whole log.
    pub size: Option<u64>,
    /// How many files it has, where that is known without reading the whole log.
    pub files: Option<u64>,
}

/// A version of a table and the files it is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableFiles {
    /// The version. Its `size` and `files` are always known here.
    pub snapshot: TableSnapshot,
    /// Its files, in the order of their paths.
    pub files: Arc<[AddedFile]>,
    /// When the version was committed, in milliseconds since 1970: only if a certain one was asked for, and the log still says.
    pub committed_ms: Option<i64>,
}

/// Where a path in a log leads.
///
/// SECURITY: only `Inside` may be read or signed without a further look. `Elsewhere` may be only if it lies under one of
/// the table's declared auxiliary locations; `Outside` never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whereabouts {
    /// Under the table's root: the object's whole key, in the table's bucket.
    Inside(Key),
    /// Named absolutely, and not under the root: maybe in an auxiliary location, on a storage of the same kind.
    Elsewhere {
        /// The bucket.
        bucket: BucketName,
        /// The object's whole key. It has no empty, `.` or `..` segment, so a comparison of bytes says what it is under.
        key: Key,
    },
    /// Nowhere that could be served: another kind of store, a path that climbs out or into a log, or nothing that can be read
    /// as a path.
    Outside,
}

/// The rows of a file that are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletionVector {
    /// `u` (a file named by a UUID), `p` (a file named absolutely) or `i` (inline).
    pub storage_type: String,
    /// The file or the rows themselves, as the log has it.
    pub path_or_inline_dv: String,
    /// Where in the file it starts.
    pub offset: Option<i32>,
    /// Its size in bytes.
    pub size_in_bytes: i32,
    /// How many rows are gone.
    pub cardinality: i64,
    /// The object it is in; nothing if it is inline.
    pub file: Option<Whereabouts>,
}

/// A file that a version has, or that a commit added (`add`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddedFile {
    /// Its path as the log has it: a percent-encoded URI, relative or absolute.
    pub path: String,
    /// Where that is.
    pub place: Whereabouts,
    /// The values of the partition columns, by the names the log uses (physical ones under column mapping).
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether rows came with it, rather than moved. Always so among the files of a version: whoever reads these has none yet.
    pub data_change: bool,
    /// Statistics, as JSON.
    pub stats: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, Option<String>>,
    /// Row tracking: the id of its first row.
    pub base_row_id: Option<i64>,
    /// Row tracking: the version its rows came with.
    pub default_row_commit_version: Option<i64>,
    /// What clustered it.
    pub clustering_provider: Option<String>,
    /// Its rows that are gone.
    pub deletion_vector: Option<DeletionVector>,
}

/// A file that a commit removed (`remove`). Logs may say less of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedFile {
    /// Its path as the log has it.
    pub path: String,
    /// Where that is.
    pub place: Whereabouts,
    /// When it was removed, in milliseconds since 1970.
    pub deleted_ms: Option<i64>,
    /// Whether rows went with it, rather than moved.
    pub data_change: bool,
    /// Whether the log says what follows.
    pub extended: Option<bool>,
    /// The values of the partition columns.
    pub partition_values: Option<BTreeMap<String, Option<String>>>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Statistics, as JSON.
    pub stats: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, Option<String>>,
    /// Row tracking: the id of its first row.
    pub base_row_id: Option<i64>,
    /// Row tracking: the version its rows came with.
    pub default_row_commit_version: Option<i64>,
    /// Its rows that were gone before.
    pub deletion_vector: Option<DeletionVector>,
}

/// A file of changed rows (`cdc`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeFile {
    /// Its path as the log has it.
    pub path: String,
    /// Where that is.
    pub place: Whereabouts,
    /// The values of the partition columns.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Its size in bytes.
    pub size: u64,
    /// Tags.
    pub tags: BTreeMap<String, Option<String>>,
}

/// What a commit did to the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileAction {
    /// Added one.
    Add(AddedFile),
    /// Removed one.
    Remove(RemovedFile),
    /// Wrote down which rows changed.
    Cdc(ChangeFile),
}

/// One version's commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableCommit {
    /// The version it made.
    pub version: u64,
    /// When, in milliseconds since 1970.
    pub committed_ms: i64,
    /// What a reader must know from here on, if the commit says so.
    pub protocol: Option<TableProtocol>,
    /// What the table is from here on, if the commit says so.
    pub metadata: Option<TableMetadata>,
    /// What it did to the files that changed rows (`dataChange`), in the order of the log.
    pub actions: Vec<FileAction>,
}

/// The commits of a span of versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableCommits {
    /// The first version.
    pub start: u64,
    /// The last version.
    pub end: u64,
    /// The version the span begins with, as a reader needs it to make sense of what follows.
    pub before: TableSnapshot,
    /// The newest version there is, whether or not the span ends with it.
    pub latest: TableSnapshot,
    /// Every commit, the oldest first; also those that changed no rows.
    pub commits: Vec<TableCommit>,
}

/// Reads the logs of tables. What cannot be served for a reason that stays is an [`Unserved`], never a failure of ours.
#[async_trait]
pub trait TableLogs: Send + Sync {
    /// Which version that is. An instant before the first or after the last version is refused.
    async fn version(&self, place: &TablePlace, at: AsOf) -> Result<u64, Error>;

    /// A version, without its files.
    async fn snapshot(&self, place: &TablePlace, at: AsOf) -> Result<TableSnapshot, Error>;

    /// A version with its files.
    async fn files(&self, place: &TablePlace, at: AsOf) -> Result<TableFiles, Error>;

    /// The change data feed of a span: of a commit that wrote down which rows changed, only that; of any other, the files
    /// it added and removed. Refused if the table did not keep a feed for the whole span.
    /// An `end` by time may be later than the last version.
    async fn changes(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error>;

    /// The files that the commits of a span added and removed, whether or not the table keeps a feed.
    /// An `end` by time may be later than the last version.
    async fn commits(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error>;
}

/// Why a table cannot be served as asked, for a reason that asking again does not change. Closed on purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unserved {
    /// There is no log at this place.
    NotATable,
    /// The table has no such version (its first and last are said).
    NoVersion {
        /// The version asked for.
        asked: u64,
        /// The first there is.
        first: u64,
        /// The last there is.
        last: u64,
    },
    /// The end of the span is before its start.
    Backwards {
        /// The first version asked for.
        start: u64,
        /// The last version asked for.
        end: u64,
    },
    /// The instant is before the first version.
    TooEarly(Timestamp),
    /// The instant is after the last version.
    TooLate(Timestamp),
    /// The log needed for this version was cleaned away.
    Vacuumed(u64),
    /// The table keeps no change data feed, or did not in the version said.
    NoChanges(u64),
    /// The table needs a feature that this server does not know.
    Unsupported(String),
    /// More than this server is set to answer with at once (what there is too much of).
    TooMuch(&'static str),
    /// The log cannot be read as one (words for the log of the server).
    Broken(String),
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATable => f.write_str("there is no Delta table at this place"),
            Self::NoVersion { asked, first, last } => {
                write!(f, "the table has no version {asked}; it has versions {first} to {last}")
            }
            Self::Backwards { start, end } => {
                write!(f, "the ending version {end} is before the starting version {start}")
            }
            Self::TooEarly(at) => {
                write!(f, "the provided timestamp ({at}) is before the earliest version available to this table")
            }
            Self::TooLate(at) => {
                write!(f, "the provided timestamp ({at}) is after the latest version available to this table")
            }
            Self::Vacuumed(version) => write!(f, "version {version} cannot be read anymore; its log was cleaned up"),
            Self::NoChanges(version) => write!(f, "change data feed is not enabled on the table at version {version}"),
            Self::Unsupported(what) => write!(f, "the table uses {what}, which this server does not support"),
            Self::TooMuch(what) => write!(f, "there are too many {what} to answer with at once"),
            Self::Broken(_) => f.write_str("the table's log cannot be read"),
        }
    }
}

impl From<Unserved> for Error {
    fn from(unserved: Unserved) -> Self {
        let said = unserved.to_string();
        match unserved {
            Unserved::NotATable => Self::new(Kind::NotFound(Noun::Table), said),
            Unserved::NoVersion { .. } => Self::new(Kind::Invalid, said).at(Attribute::Version),
            Unserved::Backwards { .. } => Self::new(Kind::Invalid, said).at(Attribute::EndingVersion),
            Unserved::TooEarly(_) | Unserved::TooLate(_) => Self::new(Kind::Invalid, said).at(Attribute::Timestamp),
            Unserved::Broken(noted) => Self::new(Kind::Invalid, said).note(noted),
            Unserved::Unsupported(_) => Self::new(Kind::Unsupported, said),
            Unserved::Vacuumed(_) | Unserved::NoChanges(_) | Unserved::TooMuch(_) => Self::new(Kind::Invalid, said),
        }
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// Objects, in the order of the store.
    pub entries: Vec<Listed>,
    /// Where the next page begins, in the store's own words; nothing if there is none.
    pub next: Option<String>,
}

/// How the server lists objects of a store that somebody else runs: with a credential that was vended there.
#[async_trait]
pub trait VendedLists: Send + Sync {
    /// A page of the objects whose key starts with `prefix`.
    ///
    /// # Errors
    /// `Upstream`, `UpstreamTimeout`; `Invalid` for a credential or a prefix that the storage cannot be asked with.
    async fn page(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        prefix: &[u8],
        from: Option<&str>,
    ) -> Result<ListPage, Error>;
}
