//! Settings of the APIs that serve tables.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "delta"), expect(dead_code, reason = "some of it bounds what reads the tables' logs"))]
pub(crate) struct Sharing {
    pub(crate) prefix: String,
    pub(crate) url_ttl_secs: u32,
    pub(crate) credential_ttl_secs: u32,
    pub(crate) max_files: u32,
    pub(crate) max_versions: u32,
    pub(crate) log_timeout_secs: u32,
    pub(crate) answer_timeout_secs: u32,
    pub(crate) max_answer_bytes: usize,
    pub(crate) max_answers: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogs {
    pub(crate) credential_ttl_secs: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Iceberg {
    pub(crate) credential_ttl_secs: u32,
    pub(crate) upstreams: Vec<PathBuf>,
}
