//! Where events are sent.

use std::path::PathBuf;

use serde::Deserialize;
use valetkey_core::Secret;

use super::secret::secret;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) from: AuditFrom,
    pub(crate) file: PathBuf,
    pub(crate) file_max_bytes: u64,
    pub(crate) file_keep: u32,
    pub(crate) stdout: bool,
    /// The buckets whose requests are told; `*` is all.
    pub(crate) requests: Vec<String>,
    pub(crate) requests_file: PathBuf,
    pub(crate) syslog: String,
    pub(crate) webhook_url: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) webhook_secret: Secret<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuditFrom {
    Now,
    Start,
}
