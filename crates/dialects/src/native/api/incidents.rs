//! What leaked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What leaked.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IncidentRequest {
    /// A token or its id, an access key id of ours, a lease's id, a parent access key's id, a session token that was signed with
    /// one, or a credential of an external storage: its access key id, the signature or token itself, or `sha256:` and
    /// the digest of that. Also a URL that was signed beforehand with one of them.
    pub what: String,
    /// Says all of it and ends nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Even if no operator has a token that is good afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operator: Option<bool>,
}
