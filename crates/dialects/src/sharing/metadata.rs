//! What a table is: its version and its metadata.

use std::sync::Arc;

use http::{HeaderValue, header};
use valetkey_core::Error;
use valetkey_core::nouns::table::AsOf;

use super::Sharing;
use super::capabilities::{Capabilities, State};
use super::lines::Lines;
use super::table::{NO_HISTORY, as_of, instant, number, one_of};
use super::telling::{Answer, Told, VERSION, lines_reply};
use crate::edge::{Call, Reply};

/// `GET …/version` and its older twin, `HEAD` of the table.
pub(super) async fn version(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let found = sharing.table(&call).await?;
    let at = match query.get("startingTimestamp") {
        None => AsOf::Latest,
        Some(text) => {
            found.history(NO_HISTORY)?;
            AsOf::FirstSince(instant(text, "startingTimestamp")?)
        }
    };
    let (place, log) = sharing.by_log(&call, &found).await?;
    let version = place.in_time(log.urls.logs.version(&log.table, at)).await?;
    Ok(Reply::empty().header(VERSION, HeaderValue::from(version)).header(header::CONTENT_LENGTH, HeaderValue::from(0)))
}

/// `GET …/metadata`.
pub(super) async fn metadata(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let asked = (query.get("version"), query.get("timestamp"));
    if let (Some(_), Some(_)) = asked {
        return Err(one_of("version,timestamp", "version"));
    }
    let version = asked.0.map(|text| number(text, "version")).transpose()?;
    let found = sharing.table(&call).await?;
    let at = as_of(&found, version, asked.1)?;
    let capabilities = Capabilities::read(&call.headers)?;
    let (place, log) = sharing.by_log(&call, &found).await?;
    let table = place.in_time(log.urls.logs.snapshot(&log.table, at)).await?;
    let format = capabilities.format([State::from(&table)])?;
    let mut lines = Lines::new(format, &found.table, sharing.access(&found.table, &found.storage));
    lines.protocol(&table.protocol, None)?;
    lines.metadata(&table, (at != AsOf::Latest).then_some(table.version))?;
    let told = Told::Files { files: Arc::new([]), kept: Vec::new().into_iter(), of: None };
    let answer = Answer { lines, told, signer: None, end: capabilities.end, refresh: None };
    lines_reply(place, answer, table.version, &capabilities, format).await
}
