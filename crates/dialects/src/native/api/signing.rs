//! The keys that sign identity tokens of this server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRequest {
    /// `ES256` or `RS256`; one of each, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Whether it signs at once, although who keeps the published keys does not know it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<bool>,
}
