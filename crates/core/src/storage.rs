//! A configured object store: where it is, who enforces scopes there, and what it allows.

use std::sync::Arc;

use crate::id::StorageId;
use crate::name::Name;
use crate::time::Lifetime;
use crate::word::words;

words! {
    /// Who enforces scopes at a store, and so how its credentials come to be.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum StorageKind {
        /// Our own S3 endpoint, in front of its own objects.
        Embedded => "embedded",
        /// The same endpoint, in front of objects that lie elsewhere.
        Gateway => "gateway",
        /// AWS, or another store that speaks its Security Token Service.
        Sts => "sts",
        /// Cloudflare R2.
        R2 => "r2",
        /// Azure Blob Storage or Data Lake Storage.
        Azure => "azure",
        /// Google Cloud Storage.
        Gcs => "gcs",
    }
}

/// What a store's credentials are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// S3 key triples.
    S3,
    /// Azure shared access signatures.
    Azure,
    /// Google access tokens.
    Google,
}

impl StorageKind {
    /// What its credentials are.
    pub const fn shape(self) -> Shape {
        match self {
            Self::Embedded | Self::Gateway | Self::Sts | Self::R2 => Shape::S3,
            Self::Azure => Shape::Azure,
            Self::Gcs => Shape::Google,
        }
    }

    /// Whether requests to it can be signed for who holds no credential. SECURITY: at R2 the session token, which each signed request has, is
    /// the whole credential.
    pub const fn signs_requests(self) -> bool {
        match self {
            Self::Embedded | Self::Gateway | Self::Sts => true,
            Self::R2 | Self::Azure | Self::Gcs => false,
        }
    }

    /// Whether our own endpoint stands in front of it.
    pub const fn is_ours(self) -> bool {
        match self {
            Self::Embedded | Self::Gateway => true,
            Self::Sts | Self::R2 | Self::Azure | Self::Gcs => false,
        }
    }

    /// Whether one credential of it can have paths of its own for each action. Cloudflare R2 and Azure sign one permission for all paths.
    pub const fn tells_parts(self) -> bool {
        match self {
            Self::Embedded | Self::Gateway | Self::Sts | Self::Gcs => true,
            Self::R2 | Self::Azure => false,
        }
    }
}

impl Shape {
    /// All there are.
    pub const ALL: &'static [Self] = &[Self::S3, Self::Azure, Self::Google];
    /// What most published dialects carry.
    pub const S3_ONLY: &'static [Self] = &[Self::S3];

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "S3 keys",
            Self::Azure => "Azure shared access signatures",
            Self::Google => "Google access tokens",
        }
    }
}

words! {
    /// How soon a credential of a store can be ended before its time.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Revocability {
        /// With the next request.
        Immediate => "immediate",
        /// Within minutes, by a change at the store that ends more than the one credential.
        Minutes => "minutes",
        /// Not at all: it ends when its time is over.
        ExpiryOnly => "expiry-only",
    }
}

words! {
    /// Who may be given the same credential of a store, while it is good for both.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub enum Sharing {
        /// Its caller alone: the store's own log tells who it was.
        #[default]
        Caller => "caller",
        /// Everyone with a permit for the same scope.
        Anyone => "anyone",
    }
}

/// How often a store may be asked for credentials.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Quota {
    /// Calls a second, on the average.
    pub calls_per_sec: u32,
    /// Calls at once, after a pause.
    pub burst: u32,
}

impl Default for Quota {
    /// Half of what AWS documents for `AssumeRole` (600 a second for an account and region, shared with everyone else there).
    fn default() -> Self {
        Self { calls_per_sec: 300, burst: 300 }
    }
}

/// What is configured of a store that somebody else runs. Its kind's implementation alone reads the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalConfig {
    /// JSON; nothing in it is secret.
    pub settings: Box<str>,
    /// The secrets beside them, sealed by the server's key; none where the machine's own identity is used.
    pub secrets: Option<Box<[u8]>>,
    /// Who may be given the same credential.
    pub sharing: Sharing,
    /// How often it may be asked.
    pub quota: Quota,
    /// How soon its credentials can be ended.
    pub revocation: Revocability,
    /// Counts the changes: what was made of an earlier one is not used any more.
    pub version: u64,
}

/// A configured object store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// Its id.
    pub id: StorageId,
    /// Its name, unique on this server.
    pub name: Name,
    /// Who enforces scopes there.
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
    /// What is configured of it, where somebody else runs it; nothing for the embedded store.
    pub external: Option<Arc<ExternalConfig>>,
}

impl Storage {
    /// How soon its credentials can be ended.
    pub fn revocation(&self) -> Revocability {
        self.external.as_ref().map_or(Revocability::Immediate, |external| external.revocation)
    }
}
