//! Profiles of Delta Sharing, and links to download one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A profile to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileRequest {
    /// The recipient's account, by name or id; one's own if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The recipient's caller, by name; it is made, as a member, if there is none.
    pub caller: String,
    /// After how many seconds the profile's token ends; with the token that makes it if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<i64>,
    /// Whether it may outlive the token that makes it. For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
    /// Ends the caller's other tokens, and links that were not used, after this many seconds; 0 at once. Without it they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_after_secs: Option<i64>,
}

/// A link to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The recipient's account, by name or id; one's own if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The recipient's caller, by name; it is made, as a member, if there is none.
    pub caller: String,
    /// `bearer` (if not given) or `oauth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// After how many seconds the profile's token ends, from the download on; with the token that makes the link if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<i64>,
    /// Whether the link and the profile's token may outlive the token that makes the link. For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlive: Option<bool>,
    /// For how many seconds the link is good; 259200 (three days) if not given, 2592000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_ttl_secs: Option<i64>,
}
