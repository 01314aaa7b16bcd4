//! One path of a scope, in one of three kinds.

use std::fmt;

use crate::error::{Error, Kind};

/// The longest key S3 allows, in bytes (Amazon S3 User Guide, "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 1024;

/// One path of a scope. Bytes are compared exactly; nothing is normalised.
///
/// * never empty, at most 1,024 bytes
/// * a directory does not end in `/`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Exactly this key.
    Object(Box<[u8]>),
    /// The key itself, or anything below it: `jobs/daily` opens `jobs/daily` and `jobs/daily/x`, never `jobs/daily-secret`.
    Directory(Box<[u8]>),
    /// Anything that starts with these bytes: `data/tbl` opens `data/tbl2` too (the meaning Cloudflare R2 publishes).
    Prefix(Box<[u8]>),
}

impl Path {
    /// Exactly this key.
    ///
    /// # Errors
    /// `Invalid` when it is empty or too long.
    pub fn object(key: &[u8]) -> Result<Self, Error> {
        sized(key, "an object's key").map(Self::Object)
    }

    /// This key or anything below it.
    ///
    /// # Errors
    /// `Invalid` when it is empty, too long or ends in `/`.
    pub fn directory(path: &[u8]) -> Result<Self, Error> {
        if path.last() == Some(&b'/') {
            let shown = shown(path.strip_suffix(b"/").unwrap_or(path));
            return Err(Error::new(
                Kind::Invalid,
                format!("a directory is written without its last slash: `{shown}`, not `{shown}/`"),
            ));
        }
        sized(path, "a directory").map(Self::Directory)
    }

    /// Anything that starts with these bytes.
    ///
    /// # Errors
    /// `Invalid` when it is empty (say the whole bucket instead) or too long.
    pub fn prefix(prefix: &[u8]) -> Result<Self, Error> {
        sized(prefix, "a prefix").map(Self::Prefix)
    }

    /// The bytes as written.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Object(bytes) | Self::Directory(bytes) | Self::Prefix(bytes) => bytes,
        }
    }

    /// The name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Object(_) => "object",
            Self::Directory(_) => "directory",
            Self::Prefix(_) => "prefix",
        }
    }

    /// Whether the path covers the key.
    pub fn covers_key(&self, key: &[u8]) -> bool {
        match self {
            Self::Object(own) => **own == *key,
            Self::Directory(own) => {
                key.strip_prefix(&**own).is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
            }
            Self::Prefix(own) => key.starts_with(own),
        }
    }

    /// Whether the path covers everything the other covers.
    pub fn covers_path(&self, inner: &Self) -> bool {
        match (self, inner) {
            (_, Self::Object(key)) => self.covers_key(key),
            // A prefix opens keys that go on without a slash, so a directory holds it only below its own slash.
            (Self::Directory(own), Self::Prefix(prefix)) => {
                prefix.strip_prefix(&**own).is_some_and(|rest| rest.first() == Some(&b'/'))
            }
            (Self::Directory(_) | Self::Prefix(_), Self::Directory(bytes)) => self.covers_key(bytes),
            (Self::Prefix(own), Self::Prefix(prefix)) => prefix.starts_with(own),
            (Self::Object(_), Self::Directory(_) | Self::Prefix(_)) => false,
        }
    }
}

fn sized(bytes: &[u8], what: &str) -> Result<Box<[u8]>, Error> {
    if bytes.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("{what} is empty; to mean the whole bucket, say so")));
    }
    if bytes.len() > MAX_KEY_BYTES {
        return Err(Error::new(
            Kind::Invalid,
            format!("{what} has {} bytes; the most is {MAX_KEY_BYTES}", bytes.len()),
        ));
    }
    Ok(bytes.into())
}

fn shown(bytes: &[u8]) -> String {
    crate::name::shortened(&String::from_utf8_lossy(bytes))
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(`{}`)", self.kind(), self.bytes().escape_ascii())
    }
}
