//! Shares, their tables and recipients.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::Whom;

/// A share to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// Its name: 1 to 255 characters, no space, `/` or control character.
    pub name: String,
    /// The provider's account, by name or id; one's own if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A table to be put into a share.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TableRequest {
    /// The schema to list it under: like a share's name, without a `.`.
    pub schema: String,
    /// Its name, unique in its schema in whatever case.
    pub name: String,
    /// Its bucket.
    pub bucket: String,
    /// The directory that its `_delta_log` or `metadata` is in, without its last slash.
    pub root: String,
    /// Directories of the same bucket that hold files its log names absolutely; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary: Vec<String>,
    /// How recipients read it: `url`, `dir` or `both`. If not given, `both`; of a storage that is not behind our own endpoint `dir`.
    /// An Iceberg table and a volume have `dir` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Which versions they may read: `shared` (all; if not given) or `latest`. Credentials for the directory open all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// What kind of table it is: `delta` or `iceberg`; or `volume`, for a directory of any files. If not given, what the server finds
    /// there. Delta Sharing and Unity Catalog show those of Delta, Iceberg's catalog those of Iceberg; where it is not known, or both, all
    /// do. A volume is shown by OpenSharing alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// `true` to add it without a look at whether there is a table; `false` if not given.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

/// A recipient to be given a share.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientRequest {
    /// The account, by name or id.
    pub account: String,
    /// The caller of it, by name or id; `null` for everyone of the account. Must be given.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>, required = true)]
    pub to: Whom<String>,
    /// No credential of it lives longer, in seconds; 86400 (a day) if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<i64>,
    /// It opens nothing from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
