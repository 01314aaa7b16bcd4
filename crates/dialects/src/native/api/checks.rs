//! Where to check a storage.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::given;

/// Where to check a storage.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// One of the storage's buckets; the first of them, if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}
