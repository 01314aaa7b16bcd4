//! Storages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use valetkey_core::storage::{Sharing, StorageKind};

use super::given::given;
use super::word::Worded;

/// Who enforces scopes at a storage.
pub type KindWord = Worded<StorageKind>;
/// Who may be given the same credential.
pub type SharingWord = Worded<Sharing>;

/// What can be said of a storage, when it is added and later.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageRequest {
    /// Its name, unique on this server. It cannot be changed.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who enforces scopes there; `embedded` if not given. It cannot be changed.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindWord>,
    /// The URL its users reach it at. Of a `gateway` it is our own endpoint's; of others what their kind knows, if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The URL it is reached at from inside a cluster.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub internal_endpoint: Option<String>,
    /// The region to name in signatures; what the settings say, or `us-east-1`, if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// No credential lives shorter, in seconds; the least of its kind (60 of our own endpoint) if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub min_ttl_secs: Option<i64>,
    /// No credential lives longer, in seconds; the most of its kind (604800, 7 days, of our own endpoint) if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<i64>,
    /// The settings of its kind, as docs/storages.md has them. Nothing in them may be secret.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<RawValue>>,
    /// The secrets beside them. They are kept sealed and never shown again.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Box<RawValue>>,
    /// Who may be given the same credential; `caller` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingWord>,
    /// How often it is asked for credentials: this many times a second, on the average; 300 if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub calls_per_sec: Option<u32>,
    /// And this many times at once, after a pause; as `calls_per_sec` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// Nothing has to be said.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndRequest {}
