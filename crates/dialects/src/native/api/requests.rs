//! Requests for access, and the rules that they are made under.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};
use super::scopes::Access;

/// A rule to be added: who may ask for what, and who approves it.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRuleRequest {
    /// Its name, unique on this server.
    pub name: String,
    /// The account whose callers may ask, by name or id; `null` for those of every account. Must be given.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>, required = true)]
    pub account: Whom<String>,
    /// Only this caller of it, by name or id, or the members of `group:NAME`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub askers: Option<String>,
    /// The group whose members approve: its id, `account/name`, or its name in the rule's account.
    pub approvers: String,
    /// The bucket.
    pub bucket: String,
    /// A directory, without its last slash: what is asked for is in one of the places that this and the next fields name.
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
    /// The most that may be asked for: `read` (if neither this nor `actions` is given), `write` or `read-write`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The same as actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// The longest that it may be asked for, in seconds: 60 to 2592000.
    pub max_secs: u32,
}

/// What to change of a rule; what is not given stays, and so does what was approved under it.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRuleChange {
    /// Its name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only this caller of its account, by name or id, or the members of `group:NAME`; `null` for everyone of it.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub askers: Whom<String>,
    /// The group whose members approve.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
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
    /// The most that may be asked for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The same as actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// The longest that it may be asked for, in seconds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_secs: Option<u32>,
}

/// A request for access.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRequestBody {
    /// The bucket.
    pub bucket: String,
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
    /// `read` (if neither this nor `actions` is given), `write` or `read-write`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// For how long from its approval, in seconds.
    pub for_secs: u32,
    /// Why, for who approves it: at most 500 bytes.
    pub reason: String,
    /// The rule to ask under, by name; the first by name that all of it is in if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A decision. The body may be left out.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    /// What the approver says, for who asked: at most 500 bytes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
