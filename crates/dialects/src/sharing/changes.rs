//! `GET …/changes`: the change data feed. And how a span of commits is told, which a streaming query shares.

use std::sync::Arc;

use http::HeaderValue;
use valetkey_core::table::{AsOf, FileAction, TableCommits, TableSnapshot};
use valetkey_core::{Error, Kind};

use super::capabilities::{Capabilities, FILE_IDS, Format, file_ids};
use super::files::Wanted;
use super::lines::{Commit, Lines};
use super::table::{Found, instant, lines_reply, number};
use super::{Sharing, Urls, parameters};
use crate::edge::{Call, Query, Reply};

const PARAMETERS: &[&str] = &[
    "startingVersion",
    "startingTimestamp",
    "endingVersion",
    "endingTimestamp",
    "includeHistoricalMetadata",
    "includeHistoricalProtocol",
    "maxFiles",
    "pageToken",
];

fn bound(
    query: &Query,
    version: &'static str,
    timestamp: &'static str,
    at: fn(jiff::Timestamp) -> AsOf,
) -> Result<Option<AsOf>, Error> {
    match (query.get(version), query.get(timestamp)) {
        (None, None) => Ok(None),
        (Some(text), None) => number(text, version).map(AsOf::Version).map(Some),
        (None, Some(text)) => instant(text, timestamp).map(at).map(Some),
        (Some(_), Some(_)) => {
            let said = format!("give `{version}` or `{timestamp}`, not both");
            Err(Error::new(Kind::Invalid, said).at(version))
        }
    }
}

pub(super) async fn changes(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let query = parameters(&call, PARAMETERS)?;
    let capabilities = Capabilities::read(&call.headers)?;
    let ids = file_ids(&call.headers)?;
    let start = bound(&query, "startingVersion", "startingTimestamp", AsOf::FirstSince)?.ok_or_else(|| {
        Error::new(Kind::Invalid, "give `startingVersion` or `startingTimestamp`").at("startingVersion")
    })?;
    let end = bound(&query, "endingVersion", "endingTimestamp", AsOf::LastUntil)?.unwrap_or(AsOf::Latest);
    let metadata = query.flag("includeHistoricalMetadata")?.unwrap_or(false);
    let protocols = query.flag("includeHistoricalProtocol")?.unwrap_or(false);
    if let Some(text) = query.get("maxFiles") {
        number(text, "maxFiles")?;
    }
    if query.get("pageToken").is_some_and(|token| !token.is_empty()) {
        return Err(Error::new(Kind::Invalid, "invalid `pageToken`: this server gave none").at("pageToken"));
    }
    let found = sharing.table(&call).await?;
    found.history("startingVersion")?;
    let (urls, place) = sharing.by_url(&call, &found).await?;
    let commits = urls.logs.changes(&place, start, end).await?;
    let span = Span { commits, protocols, metadata };
    let reply = told(&sharing, &call, &found, urls, (&capabilities, ids), &span).await?;
    Ok(match ids {
        Some(ids) => reply.header(FILE_IDS, HeaderValue::from_static(ids.as_str())),
        None => reply,
    })
}

/// A span of commits, and what of its history is told beside the files.
pub(super) struct Span {
    pub(super) commits: TableCommits,
    pub(super) protocols: bool,
    pub(super) metadata: bool,
}

/// Tells a span of commits.
pub(super) async fn told(
    sharing: &Sharing,
    call: &Call,
    found: &Found,
    urls: &Urls,
    (capabilities, ids): (&Capabilities, Option<Format>),
    span: &Span,
) -> Result<Reply, Error> {
    let Span { commits: TableCommits { start, end: _, before, commits }, protocols, metadata } = span;
    let format = capabilities.format(before)?;
    // Whoever does not see how the columns changed sees them as they are at last.
    let last = commits.iter().rev().find_map(|commit| commit.metadata.as_ref());
    let first = match (metadata, last) {
        (false, Some(last)) => TableSnapshot { metadata: last.clone(), ..before.clone() },
        (true, _) | (false, None) => before.clone(),
    };
    let mut wanted = Wanted::of(&found.table);
    for action in commits.iter().flat_map(|commit| &commit.actions) {
        let (place, vector) = match action {
            FileAction::Add(file) => (&file.place, file.deletion_vector.as_ref()),
            FileAction::Remove(file) => (&file.place, file.deletion_vector.as_ref()),
            FileAction::Cdc(file) => (&file.place, None),
        };
        capabilities.check_vector(format, vector.is_some())?;
        wanted.add(place, vector)?;
    }
    for commit in commits.iter().filter(|commit| commit.version > *start) {
        let protocol = commit.protocol.as_ref().unwrap_or(&first.protocol).clone();
        let metadata = commit.metadata.as_ref().unwrap_or(&first.metadata).clone();
        capabilities.same(format, &TableSnapshot { protocol, metadata, ..first.clone() })?;
    }
    let mut given = sharing.sign(call, found, urls, &wanted).await?;
    let mut lines = Lines::new(format, &found.table, sharing.access(&found.table, &found.storage));
    lines.ids = ids.unwrap_or(format);
    lines.protocol(&first.protocol, protocols.then_some(*start))?;
    lines.metadata_of(&first.metadata, *start, None, None)?;
    for commit in commits {
        // That of the first one was told above.
        let later = commit.version > *start;
        if let Some(protocol) = commit.protocol.as_ref().filter(|_| later && *protocols) {
            lines.protocol(protocol, Some(commit.version))?;
        }
        if let Some(changed) = commit.metadata.as_ref().filter(|_| later && *metadata) {
            lines.metadata_of(changed, commit.version, None, None)?;
        }
        let at = Commit { version: commit.version, committed_ms: commit.committed_ms };
        for action in &commit.actions {
            match action {
                FileAction::Add(file) => {
                    let vector = file.deletion_vector.as_ref();
                    lines.added(file, &given.next(vector)?, Some(at))?;
                }
                FileAction::Remove(file) => {
                    let vector = file.deletion_vector.as_ref();
                    lines.removed(file, &given.next(vector)?, at)?;
                }
                FileAction::Cdc(file) => lines.changed(file, &given.next(None)?, at)?,
            }
        }
    }
    if capabilities.end {
        lines.end(given.until())?;
    }
    Ok(lines_reply(lines, *start, capabilities, format))
}
