//! Ending credentials early.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to end; exactly one of `lease`, `token`, `caller`, `account` and `grant`.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    /// One lease, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// Everything a token vended: by the token's id, or by the token itself. The token stays, unless `tokens` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Everything a caller vended: by its id, its name in one's own account, or `account/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Everything an account vended, by its id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Everything vended under a grant, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Ends the token too; with `caller` all of its tokens, and the links to download one that were not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<bool>,
    /// With `tokens`: also the tokens that those made, those that they made, and the links they made that were not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_made: Option<bool>,
    /// With `tokens`: even if no operator has a token that is good afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operator: Option<bool>,
}
