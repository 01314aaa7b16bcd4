//! `POST …/query`: the files of a version, or what was added and removed since one.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use valetkey_core::table::{AddedFile, AsOf, TableFiles};
use valetkey_core::{Error, Kind};

use super::capabilities::{Capabilities, FILE_IDS, Format, file_ids, maps_columns};
use super::changes::{Span, told};
use super::files::Wanted;
use super::hints::Hints;
use super::lines::Lines;
use super::table::{Found, as_of, instant, lines_reply};
use super::telling::{Answer, Told};
use super::{Sharing, Urls};
use crate::edge::{Call, Place, Reply, json};

/// What may be asked. Fields that are not known are passed over: clients may be newer than this server.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    /// SQL; passed over, as the protocol allows.
    #[serde(rename = "predicateHints")]
    _predicate_hints: Option<Value>,
    json_predicate_hints: Option<Value>,
    limit_hint: Option<i64>,
    version: Option<i64>,
    timestamp: Option<String>,
    starting_version: Option<i64>,
    ending_version: Option<i64>,
    include_historical_protocol: Option<bool>,
    page_token: Option<String>,
    refresh_token: Option<String>,
    max_files: Option<i64>,
}

fn positive(number: Option<i64>, field: &'static str) -> Result<Option<u64>, Error> {
    number
        .map(|number| {
            u64::try_from(number).map_err(|_| {
                Error::new(Kind::Invalid, format!("`{field}` is {number}; it must not be negative")).at(field)
            })
        })
        .transpose()
}

pub(super) async fn query(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let fields: Fields =
        if call.body.iter().all(u8::is_ascii_whitespace) { Fields::default() } else { json(&call.body)? };
    let capabilities = Capabilities::read(&call.headers)?;
    let ids = file_ids(&call.headers)?;
    let limit = positive(fields.limit_hint, "limitHint")?;
    let version = positive(fields.version, "version")?;
    let starting = positive(fields.starting_version, "startingVersion")?;
    let ending = positive(fields.ending_version, "endingVersion")?;
    // An answer is always whole, so there is no second page of one, and nothing to renew but by asking again.
    positive(fields.max_files, "maxFiles")?;
    for (token, field) in [(&fields.page_token, "pageToken"), (&fields.refresh_token, "refreshToken")] {
        if token.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(Error::new(Kind::Invalid, format!("invalid `{field}`: this server gave none")).at(field));
        }
    }
    let timestamp = fields.timestamp.as_deref().map(|text| instant(text, "timestamp")).transpose()?;
    let at = as_of(version, timestamp)?;
    if starting.is_some() && at != AsOf::Latest {
        let said = "give `startingVersion`, or `version` or `timestamp`, not both";
        return Err(Error::new(Kind::Invalid, said).at("startingVersion"));
    }
    if starting.is_none() && ending.is_some() {
        let said = "`endingVersion` goes with `startingVersion`";
        return Err(Error::new(Kind::Invalid, said).at("endingVersion"));
    }
    let found = sharing.table(&call).await?;
    if at != AsOf::Latest {
        found.history("version")?;
    }
    let (urls, table) = sharing.by_url(&call, &found).await?;
    let place = sharing.shared.heavy.enter(call.caller.account).await?;
    let asked = Asked { call: &call, found: &found, urls, capabilities: &capabilities, ids };
    let reply = match starting {
        None => {
            let files = place.in_time(urls.logs.files(&table, at)).await?;
            snapshot(&sharing, &asked, place, files, fields.json_predicate_hints, limit).await?
        }
        Some(starting) => {
            found.history("startingVersion")?;
            let end = ending.map_or(AsOf::Latest, AsOf::Version);
            let commits = place.in_time(urls.logs.commits(&table, AsOf::Version(starting), end)).await?;
            let span = Span { commits, protocols: fields.include_historical_protocol.unwrap_or(false), metadata: true };
            told(&sharing, &asked, place, span).await?
        }
    };
    Ok(match ids {
        Some(ids) => reply.header(FILE_IDS, HeaderValue::from_static(ids.as_str())),
        None => reply,
    })
}

/// What an answer is made for.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) found: &'a Found,
    pub(super) urls: &'a Urls,
    pub(super) capabilities: &'a Capabilities,
    /// How the ids of files are made, if that is asked for.
    pub(super) ids: Option<Format>,
}

impl Asked<'_> {
    /// The answer's lines, of which none is written yet.
    pub(super) fn lines(&self, sharing: &Sharing, format: Format) -> Lines {
        let Found { table, storage } = self.found;
        let mut lines = Lines::new(format, table, sharing.access(table, storage));
        lines.ids = self.ids.unwrap_or(format);
        lines
    }
}

/// Files that are looked at between two looks at whether anybody still waits.
const AT_ONCE: usize = 1024;

async fn snapshot(
    sharing: &Sharing,
    asked: &Asked<'_>,
    place: Place,
    files: TableFiles,
    hints: Option<Value>,
    limit: Option<u64>,
) -> Result<Reply, Error> {
    let Asked { call, found, urls, capabilities, ids: _ } = asked;
    let TableFiles { snapshot, files } = files;
    let format = capabilities.format(&snapshot)?;
    // The values in the log go by other names then.
    let is_mapped = maps_columns(&snapshot);
    let mut wanted = Wanted::of(&found.table, place.most_bytes());
    let (client, all) = ((*capabilities).clone(), Arc::clone(&files));
    let kept = place.work(move |stop| {
        let mut hints = Hints::read(hints.as_ref().filter(|_| !is_mapped));
        let (mut kept, mut rows) = (Vec::new(), 0u64);
        for (number, file) in all.iter().enumerate() {
            if number % AT_ONCE == 0 {
                stop.check()?;
            }
            // As many files as have at least so many rows. One that does not say how many it has counts as empty.
            if limit.is_some_and(|limit| rows >= limit) {
                break;
            }
            if !hints.may_match(file) {
                continue;
            }
            if limit.is_some() {
                rows = rows.saturating_add(rows_of(file));
            }
            client.check_vector(format, file.deletion_vector.is_some())?;
            wanted.add(&file.place, file.deletion_vector.as_ref(), told_of(file))?;
            kept.push(u32::try_from(number).map_err(|_| Error::internal("more files than can be counted"))?);
        }
        Ok((wanted, kept))
    });
    let (wanted, kept) = kept.await?;
    let signer = place.in_time(sharing.sign(call, found, urls, &wanted)).await?;
    let mut lines = asked.lines(sharing, format);
    lines.protocol(&snapshot.protocol, None)?;
    lines.metadata(&snapshot)?;
    let told = Told::Files { files, kept: kept.into_iter() };
    let answer = Answer { lines, told, signer, end: capabilities.end };
    lines_reply(place, answer, snapshot.version, capabilities, format).await
}

/// About how many bytes a line says of a file, beside its URL.
pub(super) fn told_of(file: &AddedFile) -> usize {
    let AddedFile { path, stats, partition_values, tags, .. } = file;
    let pairs = |pairs: &BTreeMap<String, Option<String>>| {
        pairs.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len) + 8).sum::<usize>()
    };
    // Quotes are written with a backslash.
    let statistics = |text: &String| text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    2 * path.len() + stats.as_ref().map_or(0, statistics) + pairs(partition_values) + pairs(tags)
}

fn rows_of(file: &AddedFile) -> u64 {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stats {
        num_records: Option<u64>,
    }
    let all = file.stats.as_deref().and_then(|stats| serde_json::from_str::<Stats>(stats).ok()?.num_records);
    let gone = file.deletion_vector.as_ref().map_or(0, |vector| u64::try_from(vector.cardinality).unwrap_or(u64::MAX));
    all.unwrap_or(0).saturating_sub(gone)
}
