//! A configured object store: where it is and what it allows.

use crate::id::StorageId;
use crate::name::Name;
use crate::time::Lifetime;

/// How scopes are enforced at a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StorageKind {
    /// Our own S3 endpoint, which checks every request itself.
    Embedded,
}

impl StorageKind {
    /// The name people write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
        }
    }
}

/// A configured object store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// Its id.
    pub id: StorageId,
    /// Its name, unique on this server.
    pub name: Name,
    /// How scopes are enforced there.
    pub kind: StorageKind,
    /// The URL its users reach it at.
    pub endpoint: Box<str>,
    /// The URL it is reached at from inside a cluster, if that differs.
    pub internal_endpoint: Option<Box<str>>,
    /// The region to name in signatures.
    pub region: Box<str>,
    /// No credential lives shorter.
    pub min_lifetime: Lifetime,
    /// No credential lives longer.
    pub max_lifetime: Lifetime,
}
