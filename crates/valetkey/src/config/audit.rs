//! Where events are sent.

use std::path::PathBuf;

use serde::Deserialize;
use valetkey_core::Secret;
use valetkey_core::address::{self, PathRule};

use super::check::is_here;
use super::{Config, Unusable, secret};
use crate::node::audit;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) from: AuditFrom,
    pub(crate) file: PathBuf,
    pub(crate) file_max_bytes: u64,
    pub(crate) file_keep: u32,
    pub(crate) stdout: bool,
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

impl Config {
    /// SECURITY: events say who reaches what. They go unencrypted only to this machine, or where that was said.
    pub(super) fn check_audit(&mut self) -> Result<(), Unusable> {
        audit::Syslog::parse(&self.audit.syslog).map_err(|said| Unusable(format!("`audit.syslog` {said}")))?;
        let in_clear = |address: &str| !is_here(address) && !self.insecure_http;
        let host = ["udp:", "tcp:"].iter().find_map(|scheme| self.audit.syslog.strip_prefix(scheme));
        if host.is_some_and(in_clear) {
            return Err(Unusable(
                "`audit.syslog` goes over a network where others can read it; use a relay on this machine, or set `insecure_http`"
                    .to_owned(),
            ));
        }
        if self.audit.webhook_url.is_empty() {
            return Ok(());
        }
        let settled = address::parse(&self.audit.webhook_url, PathRule::Allowed);
        let url: String = settled.map_err(|said| Unusable(format!("`audit.webhook_url`: {said}")))?.into();
        if url.strip_prefix("http://").is_some_and(in_clear) {
            return Err(Unusable(format!(
                "`audit.webhook_url` is {url}, which others can read on the way; use https://, or set `insecure_http`"
            )));
        }
        self.audit.webhook_url = url;
        audit::webhook_key(&self.audit.webhook_secret)
            .map(drop)
            .map_err(|said| Unusable(format!("`audit.webhook_secret` {said}")))
    }
}
