//! Entity tags of tables: a client that has a table's newest metadata, and credentials that are good for a while, need not be given both
//! again.
//!
//! A tag says what was answered (a digest), which lease the credentials are of, and until when they may be kept. It is the client's own
//! word: a false one keeps from a client what it says that it has.

use data_encoding::HEXLOWER;
use http::HeaderValue;
use http::header::IF_NONE_MATCH;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use valetkey_core::Error;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, Provenance};
use valetkey_core::nouns::table::SharedTable;

use super::delegation::Delegation;
use super::metadata::Newest;
use super::state::Iceberg;
use crate::edge::Call;

/// What an answer about a table is the same by.
pub(super) struct Tag(String);

impl Tag {
    /// Of the table's newest metadata, for this token, with what the client is to reach the files by.
    pub(super) fn of(call: &Call, table: &SharedTable, newest: &Newest, delegation: Delegation) -> Self {
        let Newest { storage, name, bytes, modified } = newest;
        let parts = [
            call.caller.token.to_string(),
            table.id.to_string(),
            format!("{} {}", storage.endpoint, storage.region),
            format!("{name} {bytes} {modified} {delegation:?}"),
        ];
        let digest = Sha256::digest(parts.join("\0").as_bytes());
        Self(HEXLOWER.encode(digest.get(..16).unwrap_or_default()))
    }

    /// As the header has it. Credentials may be kept for half of their life: whoever is told that nothing changed can still use them.
    /// One that was fetched before ends before its lease does.
    pub(super) fn header(&self, lease: Option<&(Lease, Timestamp)>) -> Result<HeaderValue, Error> {
        let kept = lease.map(|(lease, end)| {
            let (opened, until) = (lease.opened.as_second(), lease.until.min(*end).as_second());
            format!("-{}-{}", lease.id, opened.saturating_add(until.saturating_sub(opened) / 2))
        });
        let text = format!("\"{}{}\"", self.0, kept.unwrap_or_default());
        HeaderValue::from_str(&text).map_err(|error| Error::internal("a tag is no header").caused_by(error))
    }

    /// The tag that the client named, if what it has is what it would be given.
    pub(super) fn kept(
        &self,
        iceberg: &Iceberg,
        call: &Call,
        newest: &Newest,
        delegation: Delegation,
    ) -> Option<HeaderValue> {
        let named = call.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = named.flat_map(|text| text.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let same = tags.find(|tag| {
            let rest = tag.trim_matches('"').strip_prefix(&self.0);
            rest.is_some_and(|rest| match delegation {
                Delegation::Vended => is_good(iceberg, call, newest, rest),
                Delegation::Signed | Delegation::None => rest.is_empty(),
            })
        })?;
        HeaderValue::from_str(same).ok()
    }
}

/// Whether the credentials that a tag names can still be used for a while.
fn is_good(iceberg: &Iceberg, call: &Call, newest: &Newest, rest: &str) -> bool {
    let read = || {
        let (lease, until) = rest.strip_prefix('-')?.split_once('-')?;
        let (lease, until) = (lease.parse::<LeaseId>().ok()?, until.parse::<i64>().ok()?);
        Some((lease, until, Timestamp::from_millisecond(lease.made_ms()).ok()?))
    };
    let Some((lease, until, opened)) = read() else { return false };
    let origin = Provenance {
        lease: Some(lease),
        account: call.caller.account,
        caller: call.caller.id,
        token: call.caller.token,
        storage: newest.storage.id,
        opened,
    };
    let leases = &iceberg.shared.leases;
    call.now.as_second() < until && leases.current().is_ok() && !leases.is_revoked(&origin)
}
