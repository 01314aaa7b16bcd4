//! Tables and volumes: where each is, how it may be read, and what it may be. One is registered once, in a share, and every API that knows
//! tables serves it from there. How their logs are read is beside it, in `log`.

mod log;
mod name;
mod upstream;

use std::fmt;

pub use log::{
    AddedFile, AsOf, ChangeFile, DeletionVector, FileAction, Key, ListPage, Listed, ObjectFiles, RemovedFile,
    TableCommit, TableCommits, TableFiles, TableLogs, TableMetadata, TablePlace, TableProtocol, TableSnapshot,
    Unserved, VendedFiles, VendedLists, Whereabouts,
};
pub use name::SharedName;
pub use upstream::{CatalogAnswer, CatalogAsk, UpstreamCatalog};

use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{ShareId, StorageId, TableId};
use crate::name::{BucketName, shortened};
use crate::scope::{MAX_KEY_BYTES, Path};
use crate::word::words;

/// The most auxiliary locations of a table.
const MOST_AUXILIARY: usize = 8;

/// The directory of a table, or an auxiliary one, in the table's bucket.
///
/// * not empty: the whole bucket is never a table
/// * no slash at either end, no empty, `.` or `..` segment: what normalises it leaves it as it is
/// * only characters that a URI carries as they are, so that the location written of it reads back as the same bytes
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableRoot(Box<str>);

impl TableRoot {
    /// Reads a directory.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // RFC 3986, section 3.3: `pchar` without percent-encoding.
        let carried = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
        let segments = text.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        if text.len() > MAX_KEY_BYTES || !text.bytes().all(carried) || !segments {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` cannot be a table's directory; one has letters, digits and `-._~!$&'()*+,;=:@`, single `/` between its parts and none at its ends",
                    shortened(text)
                ),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The directory, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a key is the directory itself or lies below it.
    pub fn holds(&self, key: &[u8]) -> bool {
        key.strip_prefix(self.0.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// The directory as a path of a scope.
    ///
    /// # Errors
    /// None: what reads as a directory here is one there.
    pub fn path(&self) -> Result<Path, Error> {
        Path::directory(self.0.as_bytes())
    }
}

impl fmt::Display for TableRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for TableRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

words! {
    /// How recipients may read a table.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum TableAccess {
        /// By pre-signed URLs of its files.
        Url => "url",
        /// With keys to its directory.
        Directory => "dir",
        /// Either way.
        Both => "both",
    }
}

impl TableAccess {
    /// Whether its files are handed out as URLs.
    pub const fn by_url(self) -> bool {
        matches!(self, Self::Url | Self::Both)
    }

    /// Whether keys to its directory are handed out.
    pub const fn by_directory(self) -> bool {
        matches!(self, Self::Directory | Self::Both)
    }
}

words! {
    /// Which versions of a table recipients may read.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum History {
        /// Every one.
        Shared => "shared",
        /// Only the newest.
        Latest => "latest",
    }
}

words! {
    /// What kind of table it is. Each API shows those that its clients can read.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum TableFormat {
        /// A Delta table: its log is in `_delta_log`.
        Delta => "delta",
        /// An Iceberg table: its metadata is in `metadata`.
        Iceberg => "iceberg",
        /// No table but a volume: whatever files lie below its directory.
        Volume => "volume",
    }
}

/// A table, or a volume, as a share lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedTable<Id = TableId, Of = ShareId> {
    /// Its id.
    pub id: Id,
    /// The share it is in.
    pub share: Of,
    /// The schema it is listed under.
    pub schema: SharedName,
    /// Its name, unique in its schema in whatever case.
    pub name: SharedName,
    /// The store it is in.
    pub storage: StorageId,
    /// Its bucket.
    pub bucket: BucketName,
    /// The directory that its `_delta_log` is in.
    pub root: TableRoot,
    /// Directories of the same bucket that hold files its log names absolutely.
    pub auxiliary: Vec<TableRoot>,
    /// How it may be read.
    pub access: TableAccess,
    /// Which versions of it may be read.
    pub history: History,
    /// What kind of table it is, if that is known, and if it is one alone.
    pub format: Option<TableFormat>,
}

impl SharedTable {
    /// Whether it may be read by directory as a table of this kind, as far as is known.
    pub fn is_directory_of(&self, format: TableFormat) -> bool {
        self.access.by_directory() && self.may_be(format)
    }

    /// Whether it is a volume.
    pub fn is_volume(&self) -> bool {
        self.format == Some(TableFormat::Volume)
    }

    /// Whether it may be a table of this kind, as far as is known. What is a volume was said.
    pub fn may_be(&self, format: TableFormat) -> bool {
        self.format.map_or(format != TableFormat::Volume, |own| own == format)
    }
}

/// A table to be put into a share: all but its id and the share.
pub type NewTable = SharedTable<(), ()>;

impl NewTable {
    /// Refuses a table that promises what does not hold together.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        if self.access.by_directory() && self.history == History::Latest {
            let said = "credentials for a table's directory open all its versions: share its history, or give access by `url` only";
            return Err(Error::new(Kind::Invalid, said).at(Attribute::History));
        }
        if self.access.by_url() && self.format == Some(TableFormat::Iceberg) {
            let said = "an Iceberg table is read with credentials for its directory: give access by `dir`";
            return Err(Error::new(Kind::Invalid, said).at("access"));
        }
        if self.format == Some(TableFormat::Volume) && (self.access.by_url() || !self.auxiliary.is_empty()) {
            let said = "a volume is one directory, and is read with credentials for it: give access by `dir`, without auxiliary ones";
            return Err(Error::new(Kind::Invalid, said).at("access"));
        }
        let twice = |root: &&TableRoot| root.as_str().contains(['*', '~']);
        if self.access.by_directory()
            && let Some(root) = std::iter::once(&self.root).chain(&self.auxiliary).find(twice)
        {
            let said = format!(
                "credentials for the directory `{root}` would be of no use: clients that read by directory encode `*` and `~` twice; give access by `url` only, or use a directory without them"
            );
            return Err(Error::new(Kind::Invalid, said).at(if *root == self.root {
                Attribute::Root
            } else {
                Attribute::Auxiliary
            }));
        }
        if self.auxiliary.len() > MOST_AUXILIARY {
            let said = format!("a table has at most {MOST_AUXILIARY} auxiliary locations");
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Auxiliary));
        }
        Ok(())
    }

    /// The table in its share, once it has an id.
    ///
    /// # Errors
    /// As [`NewTable::check`].
    pub fn stored(self, id: TableId, share: ShareId) -> Result<SharedTable, Error> {
        self.check()?;
        let Self { id: (), share: (), schema, name, storage, bucket, root, auxiliary, access, history, format } = self;
        Ok(SharedTable { id, share, schema, name, storage, bucket, root, auxiliary, access, history, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_what_normalising_leaves_alone() {
        for good in ["a", "tables/t1", "wh/db.db/t=1/x", "a:b@c", "_t"] {
            assert!(TableRoot::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a/./b", "a/../b", "..", "a b", "a%20b", "a?b", "a#b", "ä", "a\\b"] {
            assert!(TableRoot::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_to_a_directory_need_a_shared_history() {
        let mut table = NewTable {
            id: (),
            share: (),
            schema: SharedName::part("s").unwrap(),
            name: SharedName::part("t").unwrap(),
            storage: StorageId::from_bytes([1; 16]),
            bucket: BucketName::parse("lake").unwrap(),
            root: TableRoot::parse("t").unwrap(),
            auxiliary: Vec::new(),
            access: TableAccess::Both,
            history: History::Shared,
            format: None,
        };
        table.check().unwrap();
        table.history = History::Latest;
        assert_eq!(table.check().unwrap_err().field(), Some("history"));
        table.access = TableAccess::Url;
        table.check().unwrap();
        table.format = Some(TableFormat::Iceberg);
        assert_eq!(table.check().unwrap_err().field(), Some("access"));
    }
}
