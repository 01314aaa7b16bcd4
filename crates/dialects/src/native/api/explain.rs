//! What is asked about.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scopes::Access;

/// What is asked about: one action on one key.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The action; `get-object` if neither this nor `access` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `read` for `get-object`, `write` for `put-object`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Another caller of the account, by name or id. For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Another account, by name or id. For operators, with `caller`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}
