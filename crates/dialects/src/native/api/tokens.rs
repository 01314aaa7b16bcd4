//! Tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};

/// A token to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The account, by name or id; one's own if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The caller's name; it is made if there is none.
    pub caller: String,
    /// `member`, `admin` or `operator`: must be the caller's if there is one; `member` if not given for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// After how many seconds it ends; with the token that makes it if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<i64>,
    /// Whether it may outlive the token that makes it. For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
}

/// What to change of a token.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenChange {
    /// After how many seconds from now it ends; `null` for as long as the token that says so.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<i64>, required = true)]
    pub expires_in_secs: Whom<i64>,
    /// Whether it may outlive the token that says so. For operators.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
}
