//! What the account used: `GET /v0/billing/credit-balance`, `/v0/teams/credits_consumption`, `/v0/requests/count`.

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use valetkey_core::id::TokenId;
use valetkey_core::name::shortened;
use valetkey_core::nouns::usage::{Origin, Period, RequestFilter};
use valetkey_core::{Error, Kind};

use crate::edge::{Call, Query, Reply, Shared};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// The days a question is about that names no start.
const USUAL_DAYS: i32 = 30;
/// The most days a question may be about: ten years.
const MOST_DAYS: i32 = 3_653;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the published names")]
struct Balance {
    ui_credits: u64,
    used_ui_credits: u64,
    /// All that were ever granted, not what is left.
    api_credits: u64,
    used_api_credits: u64,
}

pub(super) async fn balance(shared: Arc<Shared>, call: Call) -> Result<Reply, Error> {
    let balance = shared.usage.balance(call.caller.account).await?;
    // We know one sort of credits; the ones for the web application are none.
    Reply::json(&Balance {
        ui_credits: 0,
        used_ui_credits: 0,
        api_credits: balance.granted,
        used_api_credits: balance.used,
    })
}

#[derive(Serialize)]
struct ConsumptionRow {
    period_start: String,
    api_credits_consumed: u64,
    ui_credits_consumed: u64,
}

pub(super) async fn credits(shared: Arc<Shared>, call: Call) -> Result<Reply, Error> {
    let days = match period(&call.query, call.now)? {
        Some(period) => shared.usage.credits_by_day(call.caller.account, &period).await?,
        None => Vec::new(),
    };
    let rows = days.into_iter().map(|day| ConsumptionRow {
        period_start: day.start.to_string(),
        api_credits_consumed: day.count,
        ui_credits_consumed: 0,
    });
    Reply::json(&rows.collect::<Vec<_>>())
}

#[derive(Serialize)]
struct RequestRow {
    period_start: String,
    number_of_requests: u64,
}

pub(super) async fn requests(shared: Arc<Shared>, call: Call) -> Result<Reply, Error> {
    let origin = call.query.flag("is_origin_app")?.map(|app| if app { Origin::App } else { Origin::Api });
    let token = call.query.get("api_key_id").map(|text| {
        TokenId::from_uuid(text)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("`{}` is not a UUID", shortened(text))).at("api_key_id"))
    });
    let filter = RequestFilter { account: call.caller.account, token: token.transpose()?, origin };
    let days = match period(&call.query, call.now)? {
        Some(period) => shared.usage.requests_by_day(&filter, &period).await?,
        None => Vec::new(),
    };
    let rows =
        days.into_iter().map(|day| RequestRow { period_start: day.start.to_string(), number_of_requests: day.count });
    Reply::json(&rows.collect::<Vec<_>>())
}

/// The period asked for; nothing if it has no length.
fn period(query: &Query, now: Timestamp) -> Result<Option<Period>, Error> {
    let zone = zone(query.get("timezone"))?;
    let read = |name: &'static str| {
        query.get(name).map(|text| instant(text, &zone).map_err(|error| error.at(name))).transpose()
    };
    let to = read("end_datetime")?.unwrap_or_else(|| next_second(now));
    let from = match read("start_datetime")? {
        Some(from) => from,
        None => to
            .checked_sub(DAY * USUAL_DAYS)
            .map_err(|_| Error::new(Kind::Invalid, "there is no time so long ago").at("end_datetime"))?,
    };
    if from > to {
        return Err(Error::new(Kind::Invalid, format!("the start {from} is after the end {to}")).at("start_datetime"));
    }
    if to.duration_since(from) > DAY * MOST_DAYS {
        return Err(Error::new(Kind::Invalid, format!("the period is too long; the most is {MOST_DAYS} days"))
            .at("start_datetime"));
    }
    Ok((from < to).then_some(Period { from, to, zone }))
}

/// Up to and with this instant, in whole seconds.
fn next_second(now: Timestamp) -> Timestamp {
    now.as_second().checked_add(1).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(now)
}

fn zone(name: Option<&str>) -> Result<TimeZone, Error> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let unknown = || {
        Error::new(Kind::Invalid, format!("`{}` is not an IANA time zone (`Europe/Paris`)", shortened(name)))
            .at("timezone")
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    if name.len() > 64 || !name.bytes().all(plain) {
        return Err(unknown());
    }
    TimeZone::get(name).map_err(|_| unknown())
}

/// Reads an ISO 8601 date and time; one without a zone is meant in `zone`.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, Error> {
    let unread = || {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not a date and time (`2026-01-31T00:00:00` or with `Z` or `+02:00`)", shortened(text)),
        )
    };
    // A `+` that was not percent-encoded arrives as a space; after a `T` it can only have been the zone's.
    let mended = if text.contains('T') { text.replace(' ', "+") } else { text.to_owned() };
    if let Ok(instant) = mended.parse::<Timestamp>() {
        return Ok(instant);
    }
    let civil: DateTime = mended.parse().map_err(|_| unread())?;
    civil.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| unread())
}
