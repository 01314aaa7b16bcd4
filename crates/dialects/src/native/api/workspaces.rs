//! Workspaces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};

/// What those a workspace is opened for may do.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessWord {
    /// Read and list.
    Read,
    /// Also write.
    ReadWrite,
}

/// A workspace to be made, with the grants that open it.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceRequest {
    /// The account, by name or id.
    pub account: String,
    /// Its key, unique in its account: 1 to 63 characters of a-z, 0-9, `-`.
    pub key: String,
    /// Its name for people; the key if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its bucket.
    pub bucket: String,
    /// Where in the bucket; `<account id>/workspaces/<workspace id>` if not given. Must not overlap another workspace.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The callers it is opened for, by name or id; `null` for everyone of the account. Must be given.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<Vec<String>>, required = true)]
    pub callers: Whom<Vec<String>>,
    /// What they may do; `read-write` if not given. Nobody may delete.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessWord>,
    /// `true` to make it the one meant when none is named.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// No credential of it lives longer, in seconds; what the storage allows if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<i64>,
}

/// What to change of a workspace; what is not given stays. Its key and its place cannot be changed.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceChange {
    /// Its name for people.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is the one meant when none is named.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}
