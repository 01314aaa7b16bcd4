//! Groups of callers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};

/// A group to be added.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRequest {
    /// The account whose callers are in it, by name or id.
    pub account: String,
    /// Its name, unique in its account. Grants are made to `group:NAME`.
    pub name: String,
    /// The callers that are in it, by name or id.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
    /// The identity provider whose sessions are in it, by name or id, if they hold `claims`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What a session's token has to claim, each `claim=value` or `claim=glob:eng-*`. All must hold; of several of one claim, any.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
}

/// What to change of a group; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupChange {
    /// Its name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All callers that are named members from now on.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
    /// Callers that become members.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<String>>,
    /// Callers that are named members no more.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub remove: Option<Vec<String>>,
    /// The identity provider whose sessions are in it; `null` for nobody's.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub provider: Whom<String>,
    /// What a session's token has to claim; these take the place of all.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
}
