//! Parent access keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};

/// A parent access key to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentKeyRequest {
    /// Its name, and that of the caller made for it.
    pub name: String,
    /// The account, by name or id.
    pub account: String,
    /// The buckets it opens, whole.
    pub buckets: Vec<String>,
    /// What it allows: `admin-read-write`, `admin-read-only`, `object-read-write` or `object-read-only`.
    pub permission: String,
    /// After how many seconds it ends; with the token that makes it if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<i64>,
    /// Whether it may outlive the token that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
}

/// What to change of a parent access key; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentKeyChange {
    /// After how many seconds from now it ends; `null` for as long as the token that says so.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<i64>)]
    pub expires_in_secs: Whom<i64>,
    /// Whether it may outlive the token that says so.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
    /// What it allows in every bucket it opens. What was signed with it is cut to that at once.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
}

/// Which credential to end; exactly one of these.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildRequest {
    /// Its session token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// What was signed: the claims of its token, as they are.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<serde_json::Value>,
}
