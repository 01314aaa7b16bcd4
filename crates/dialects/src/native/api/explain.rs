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
    /// As if it came from this address; one's own if not given, and for another caller none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As if the client called its session so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// As if the client showed this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}
