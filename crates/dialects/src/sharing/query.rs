//! `POST …/query`: the files of a version, or what was added and removed since one.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use valetkey_core::name::shortened;
use valetkey_core::nouns::table::{AddedFile, AsOf, TableFiles};
use valetkey_core::{Error, Kind};

use super::Sharing;
use super::capabilities::{Capabilities, State, file_ids, maps_columns};
use super::files::Wanted;
use super::hints::Hints;
use super::lines::Commit;
use super::refresh;
use super::span::{Span, told};
use super::table::{NO_HISTORY, as_of, one_of};
use super::telling::{Answer, Asked, Told, told_of};
use crate::edge::{Call, Place, Reply, json};

/// What may be asked. Fields that are not known are passed over: clients may be newer than this server.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    /// SQL; passed over, as the protocol allows.
    #[serde(rename = "predicateHints")]
    _predicate_hints: Option<Value>,
    json_predicate_hints: Option<Value>,
    limit_hint: Option<Int64>,
    version: Option<Int64>,
    timestamp: Option<String>,
    starting_version: Option<Int64>,
    ending_version: Option<Int64>,
    include_historical_protocol: Option<bool>,
    include_refresh_token: Option<bool>,
    page_token: Option<String>,
    refresh_token: Option<String>,
    max_files: Option<Int64>,
}

/// A number as the JSON of protocol buffers has it (proto3, "JSON Mapping"): as one, or as a string of its digits.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Int64(i64);

impl TryFrom<Value> for Int64 {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = match &value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(digits) => digits.parse().ok().or_else(|| whole(digits.parse().ok()?)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let what = || {
            format!("expected a whole number of 64 bits, or a string of one, not `{}`", shortened(&value.to_string()))
        };
        number.map(Self).ok_or_else(what)
    }
}

/// A number written with a fraction or an exponent that is whole all the same, and that a float says exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn positive(number: Option<Int64>, said: &'static str, field: &'static str) -> Result<Option<u64>, Error> {
    let unsigned = |Int64(number)| u64::try_from(number).map_err(|_| Error::new(Kind::Invalid, said).at(field));
    number.map(unsigned).transpose()
}

pub(super) async fn query(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let fields: Fields =
        if call.body.iter().all(u8::is_ascii_whitespace) { Fields::default() } else { json(&call.body)? };
    // What excludes each other, then whether there is such a table, then its history, then forms: the reference's order.
    let certain = [fields.version.is_some(), fields.timestamp.is_some(), fields.starting_version.is_some()];
    if certain.iter().filter(|given| **given).count() > 1 {
        return Err(one_of("version,timestamp,startingVersion", "version"));
    }
    let version = positive(fields.version, "table version cannot be negative.", "version")?;
    let starting = positive(fields.starting_version, "startingVersion cannot be negative.", "startingVersion")?;
    let ending = positive(fields.ending_version, "endingVersion cannot be negative.", "endingVersion")?;
    let limit = positive(fields.limit_hint, "limitHint cannot be negative.", "limitHint")?;
    if fields.max_files.is_some_and(|Int64(most)| most <= 0) {
        return Err(Error::new(Kind::Invalid, "maxFiles must be positive.").at("maxFiles"));
    }
    // An answer is always whole, so there is no second page of one.
    if fields.page_token.is_some_and(|token| !token.is_empty()) {
        return Err(Error::new(Kind::Invalid, "invalid `pageToken`: this server gave none").at("pageToken"));
    }
    let refreshed = fields.refresh_token.filter(|token| !token.is_empty());
    let latest = certain.iter().all(|given| !given);
    if refreshed.is_some() && !latest {
        return Err(one_of("version,timestamp,startingVersion,refreshToken", "refreshToken"));
    }
    if starting.is_none() && ending.is_some() {
        let said = "`endingVersion` goes with `startingVersion`";
        return Err(Error::new(Kind::Invalid, said).at("endingVersion"));
    }
    let found = sharing.table(&call).await?;
    let at = match &refreshed {
        // What was told as the newest version is not its history.
        Some(token) => AsOf::Version(refresh::version(&sharing, &call, &found, token)?),
        None => as_of(&found, version, fields.timestamp.as_deref())?,
    };
    if let Some(starting) = starting {
        found.history(NO_HISTORY)?;
        if let Some(ending) = ending.filter(|ending| *ending < starting) {
            let said = format!("startingVersion({starting}) must be smaller than or equal to endingVersion({ending}).");
            return Err(Error::new(Kind::Invalid, said).at("endingVersion"));
        }
    }
    let capabilities = Capabilities::read(&call.headers)?;
    let ids = file_ids(&call.headers)?;
    // Clients that ask for pages, or for a token to renew with, look for what ends them in the last line.
    let renewable = fields.include_refresh_token.unwrap_or(false);
    let end = capabilities.end || fields.max_files.is_some() || renewable;
    let (place, log) = sharing.by_url(&call, &found).await?;
    let asked = Asked { call: &call, found: &found, log: &log, capabilities: &capabilities, ids, end };
    match starting {
        None => {
            let files = place.in_time(log.urls.logs.files(&log.table, at)).await?;
            let wish =
                Wish { is_certain: !latest, renewable: latest && renewable, hints: fields.json_predicate_hints, limit };
            snapshot(&sharing, &asked, place, files, wish).await
        }
        Some(starting) => {
            let end = ending.map_or(AsOf::Latest, AsOf::Version);
            let commits = place.in_time(log.urls.logs.commits(&log.table, AsOf::Version(starting), end)).await?;
            let span = Span { commits, protocols: fields.include_historical_protocol.unwrap_or(false), metadata: true };
            told(&sharing, &asked, place, span).await
        }
    }
}

/// Files that are looked at between two looks at whether anybody still waits.
const AT_ONCE: usize = 1024;

/// What is wanted of a version's files.
struct Wish {
    /// Whether a certain version was asked for.
    is_certain: bool,
    /// Whether a token to ask for the same version again is wanted.
    renewable: bool,
    hints: Option<Value>,
    limit: Option<u64>,
}

async fn snapshot(
    sharing: &Sharing,
    asked: &Asked<'_>,
    place: Place,
    files: TableFiles,
    Wish { is_certain, renewable, hints, limit }: Wish,
) -> Result<Reply, Error> {
    let Asked { call, found, log, capabilities, ids: _, end } = asked;
    let TableFiles { snapshot, files, committed_ms } = files;
    let format = capabilities.format([State::from(&snapshot)])?;
    // The values in the log go by other names then.
    let is_mapped = maps_columns(&snapshot.metadata);
    let mut wanted = Wanted::of(found, place.most_bytes());
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
    let signer = place.in_time(sharing.sign(call, found, log, &wanted)).await?;
    let mut lines = asked.lines(sharing, format);
    lines.protocol(&snapshot.protocol, None)?;
    let of = is_certain.then_some(Commit { version: snapshot.version, committed_ms });
    lines.metadata(&snapshot, of.map(|of| of.version))?;
    let told = Told::Files { files, kept: kept.into_iter(), of };
    let refresh = renewable.then(|| refresh::token(sharing, call, found, snapshot.version)).transpose()?;
    let answer = Answer { lines, told, signer, end: *end, refresh };
    asked.reply(place, answer, snapshot.version, format).await
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
