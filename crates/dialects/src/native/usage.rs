//! What an account used, by day: `GET /api/v1/usage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use valetkey_core::nouns::usage::{Period, RequestFilter};
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::state::Native;
use crate::edge::{Call, Reply};

/// The days of an answer, if nothing else is said.
const USUAL_DAYS: i32 = 30;
/// The most days of one: a year.
const MOST_DAYS: i32 = 366;

/// What may be asked of what was used.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct UsageQuery {
    /// Whose, by name or id; one's own if not given. Another's is for operators.
    account: Option<String>,
    /// How many days, with today: 1 to 366, 30 unless given.
    days: Option<i32>,
}

/// A day's use.
#[derive(Serialize, ToSchema)]
pub(super) struct DayResponse {
    /// The day, in UTC.
    day: String,
    /// The requests of its callers.
    requests: u64,
    /// The credits that were charged.
    credits: u64,
}

/// What an account used.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageResponse {
    /// The account's name.
    account: String,
    /// Its days, the oldest first. A day without any use may be left out.
    days: Vec<DayResponse>,
}

fn days(call: &Call) -> Result<i32, Error> {
    let Some(text) = call.query.get("days") else { return Ok(USUAL_DAYS) };
    let days = text.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
    days.ok_or_else(|| Error::new(Kind::Invalid, format!("`days` is a number from 1 to {MOST_DAYS}")).at("days"))
}

/// Shows what an account used, by day.
#[utoipa::path(get, operation_id = "usage", path = "/api/v1/usage", tag = "accounts", params(UsageQuery), responses(
    (status = 200, description = "What it used", body = UsageResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn show(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let account = native.account(&call, call.query.get("account")).await?;
    let day = SignedDuration::from_hours(24);
    let midnight = call.now.as_second().div_euclid(day.as_secs()).saturating_mul(day.as_secs());
    let missing = |_| Error::internal("there is no such day");
    let today = Timestamp::from_second(midnight).map_err(missing)?;
    let from = today.checked_sub(day * (days(&call)? - 1)).map_err(missing)?;
    let period = Period { from, to: today.checked_add(day).map_err(missing)?, zone: TimeZone::UTC };
    let usage = &native.shared.usage;
    let requests =
        usage.requests_by_day(&RequestFilter { account: account.id, token: None, origin: None }, &period).await?;
    let credits = usage.credits_by_day(account.id, &period).await?;
    let mut all: BTreeMap<Timestamp, (u64, u64)> = BTreeMap::new();
    for counted in requests {
        all.entry(counted.start).or_default().0 = counted.count;
    }
    for counted in credits {
        all.entry(counted.start).or_default().1 = counted.count;
    }
    let shown = |(start, (requests, credits)): (Timestamp, (u64, u64))| {
        let day = start.to_zoned(TimeZone::UTC).date().to_string();
        DayResponse { day, requests, credits }
    };
    Reply::json(&UsageResponse { account: account.name.to_string(), days: all.into_iter().map(shown).collect() })
}
