//! Buckets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A bucket to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketRequest {
    /// Its name, unique on this server.
    pub bucket: String,
    /// Its storage, by name or id; may be left out when there is just one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
}
