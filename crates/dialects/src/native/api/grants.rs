//! Grants.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};
use super::scopes::Access;

/// What has to hold besides for a grant to open anything: each kind that is given; of several entries of one kind, any.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantConditions {
    /// It is asked for from one of these networks: `10.0.0.0/8`, or an address.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// It is asked for at one of these hours in UTC, `mon-fri 08:00-18:00`; no credential outlives them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub hours: Option<Vec<String>>,
    /// The identity provider whose token has to claim `claims`, by name or id.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the caller's identity token has to claim, each `claim=value` or `claim=glob:refs/heads/*`. All must hold; of several of one
    /// claim, any.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
    /// The client calls its session so, where the API has a field for that (`RoleSessionName` of STS): a name or `glob:ci-*`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub session_names: Option<Vec<String>>,
    /// The client shows one of these, where the API has a field for that (`ExternalId` of STS). Shown to who sees everything only.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub external_ids: Option<Vec<String>>,
}

/// A grant to be added.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The account, by name or id.
    pub account: String,
    /// Its name, unique in its account.
    pub name: String,
    /// The caller it is for, by name or id, or `group:NAME`; `null` for everyone of the account. Must be given.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>, required = true)]
    pub to: Whom<String>,
    /// The bucket; the dataset's if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// A directory, without its last slash.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Directories, without their last slashes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
    /// Exactly these keys.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// Anything that starts with one of these.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub raw_prefixes: Option<Vec<String>>,
    /// `true` to mean the whole bucket.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub whole_bucket: Option<bool>,
    /// `true`: the paths are a template, in which `{caller.name}`, `{account.name}` and `{claims./pointer}` are filled in for each caller.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub template: Option<bool>,
    /// `read` (if neither this nor `actions` is given), `write` or `read-write`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// No credential of it lives longer, in seconds; what the storage allows if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<i64>,
    /// It opens nothing before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It opens nothing from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The dataset it opens, by name or id; whole, or the paths given inside it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What has to hold besides for it to open anything.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub conditions: Option<GrantConditions>,
}

/// What to change of a grant; what is not given stays. Its account, caller, bucket and dataset cannot be changed.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantChange {
    /// Its name, unique in its account.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A directory, without its last slash; with the fields below it takes the place of all paths.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Directories, without their last slashes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
    /// Exactly these keys.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// Anything that starts with one of these.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub raw_prefixes: Option<Vec<String>>,
    /// `true` to mean the whole bucket.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub whole_bucket: Option<bool>,
    /// Whether the paths are a template, filled in for each caller; as it was if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub template: Option<bool>,
    /// `read`, `write` or `read-write`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// No credential of it lives longer, in seconds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<i64>,
    /// It opens nothing before; `null` for no beginning.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub from: Whom<String>,
    /// It opens nothing from then on; `null` for no end.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub until: Whom<String>,
    /// What has to hold besides, in place of all that had to; `null` for nothing.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<GrantConditions>)]
    pub conditions: Whom<GrantConditions>,
}
