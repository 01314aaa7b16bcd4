//! `POST …/query`: the files of a version, or what was added and removed since one.

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use valetkey_core::table::{AddedFile, AsOf, TableFiles};
use valetkey_core::{Error, Kind};

use super::capabilities::{Capabilities, FILE_IDS, file_ids, maps_columns};
use super::changes::{Span, told};
use super::files::Wanted;
use super::hints::Hints;
use super::lines::Lines;
use super::table::{Found, as_of, instant, lines_reply};
use super::{Sharing, Urls};
use crate::edge::{Call, Reply, json};

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
    let (urls, place) = sharing.by_url(&call, &found).await?;
    let reply = match starting {
        None => {
            let files = urls.logs.files(&place, at).await?;
            let hints = Hints::read(fields.json_predicate_hints.as_ref());
            snapshot(&sharing, &call, &found, urls, (&capabilities, ids), files, &hints, limit).await?
        }
        Some(starting) => {
            found.history("startingVersion")?;
            let end = ending.map_or(AsOf::Latest, AsOf::Version);
            let commits = urls.logs.commits(&place, AsOf::Version(starting), end).await?;
            let span = Span { commits, protocols: fields.include_historical_protocol.unwrap_or(false), metadata: true };
            told(&sharing, &call, &found, urls, (&capabilities, ids), &span).await?
        }
    };
    Ok(match ids {
        Some(ids) => reply.header(FILE_IDS, HeaderValue::from_static(ids.as_str())),
        None => reply,
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a part of one answer; a struct for one call would only rename them"
)]
async fn snapshot(
    sharing: &Sharing,
    call: &Call,
    found: &Found,
    urls: &Urls,
    (capabilities, ids): (&Capabilities, Option<super::capabilities::Format>),
    files: TableFiles,
    hints: &Hints,
    limit: Option<u64>,
) -> Result<Reply, Error> {
    let TableFiles { snapshot, files } = files;
    let format = capabilities.format(&snapshot)?;
    // The values in the log go by other names then.
    let pruned: Vec<&AddedFile> =
        files.iter().filter(|file| maps_columns(&snapshot) || hints.may_match(file)).collect();
    let kept = limited(pruned, limit);
    let mut wanted = Wanted::of(&found.table);
    for file in &kept {
        capabilities.check_vector(format, file.deletion_vector.is_some())?;
        wanted.add(&file.place, file.deletion_vector.as_ref())?;
    }
    let mut given = sharing.sign(call, found, urls, &wanted).await?;
    let mut lines = Lines::new(format, &found.table, sharing.access(&found.table, &found.storage));
    lines.ids = ids.unwrap_or(format);
    lines.protocol(&snapshot.protocol, None)?;
    lines.metadata(&snapshot)?;
    for file in kept {
        let vector = file.deletion_vector.as_ref();
        lines.added(file, &given.next(vector)?, None)?;
    }
    if capabilities.end {
        lines.end(given.until())?;
    }
    Ok(lines_reply(lines, snapshot.version, capabilities, format))
}

/// As many files as have at least so many rows. One that does not say how many it has counts as empty.
fn limited(files: Vec<&AddedFile>, limit: Option<u64>) -> Vec<&AddedFile> {
    let Some(limit) = limit else { return files };
    let mut rows = 0;
    files
        .into_iter()
        .take_while(|file| {
            let enough = rows >= limit;
            rows = rows.saturating_add(rows_of(file));
            !enough
        })
        .collect()
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
