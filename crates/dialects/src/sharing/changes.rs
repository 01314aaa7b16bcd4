//! `GET …/changes`: the change data feed.

use std::sync::Arc;

use valetkey_core::nouns::table::AsOf;
use valetkey_core::{Error, Kind};

use super::Sharing;
use super::capabilities::{Capabilities, file_ids};
use super::span::{Span, told};
use super::table::{instant, number, one_of};
use super::telling::Asked;
use crate::edge::{Call, Query, Reply};

pub(super) const PARAMETERS: &[&str] = &[
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
        (Some(_), Some(_)) => Err(one_of(&format!("{version},{timestamp}"), version)),
    }
}

pub(super) async fn changes(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let most = query.get("maxFiles").map(|text| number(text, "maxFiles")).transpose()?;
    if most == Some(0) {
        return Err(Error::new(Kind::Invalid, "maxFiles must be positive.").at("maxFiles"));
    }
    // Whether there is such a table, then its history, then what excludes each other, then forms: the reference's order.
    let found = sharing.table(&call).await?;
    found.history("cdf is not enabled on table")?;
    let start = bound(query, "startingVersion", "startingTimestamp", AsOf::FirstSince)?.ok_or_else(|| {
        let said = "No startingVersion or startingTimestamp provided for CDF read.";
        Error::new(Kind::Invalid, said).at("startingVersion")
    })?;
    let end = bound(query, "endingVersion", "endingTimestamp", AsOf::LastUntil)?.unwrap_or(AsOf::Latest);
    let metadata = query.flag("includeHistoricalMetadata")?.unwrap_or(false);
    let protocols = query.flag("includeHistoricalProtocol")?.unwrap_or(false);
    if query.get("pageToken").is_some_and(|token| !token.is_empty()) {
        return Err(Error::new(Kind::Invalid, "invalid `pageToken`: this server gave none").at("pageToken"));
    }
    let capabilities = Capabilities::read(&call.headers)?;
    let ids = file_ids(&call.headers)?;
    let (place, log) = sharing.by_url(&call, &found).await?;
    let commits = place.in_time(log.urls.logs.changes(&log.table, start, end)).await?;
    let span = Span { commits, protocols, metadata };
    let end = capabilities.end || most.is_some();
    let asked = Asked { call: &call, found: &found, log: &log, capabilities: &capabilities, ids, end };
    told(&sharing, &asked, place, span).await
}
