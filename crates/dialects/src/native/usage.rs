//! What an account used, by day: `GET /api/v1/usage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::CallerId;
use valetkey_core::nouns::usage::{Period, RequestFilter, Traffic, TrafficFilter};
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::lists;
use super::state::Native;
use crate::edge::{Call, Reply};

/// The days of an answer, if nothing else is said.
const USUAL_DAYS: i32 = 30;
/// The most days of one: a year.
const MOST_DAYS: i32 = 366;
/// The most callers of one.
const MOST_CALLERS: u32 = 1000;

/// What may be asked of what was used.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct UsageQuery {
    /// Whose, by name or id; one's own if not given. Another's is for operators.
    account: Option<String>,
    /// How many days, with today: 1 to 366, 30 unless given.
    days: Option<i32>,
    /// Only what this caller moved over the S3 endpoint (id, `account/name`, or name in the account); then without `requests` and `credits`.
    caller: Option<String>,
    /// With what each caller moved over the S3 endpoint in these days; members see themselves.
    by_caller: Option<bool>,
}

/// A day's use.
#[derive(Serialize, ToSchema)]
pub(super) struct DayResponse {
    /// The day, in UTC.
    day: String,
    /// The requests of its callers to the APIs.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// The credits that were charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<u64>,
    #[serde(flatten)]
    moved: TrafficResponse,
}

/// What went over the S3 endpoint.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct TrafficResponse {
    /// Requests to the S3 endpoint.
    object_requests: u64,
    /// Bytes that were sent to it.
    bytes_in: u64,
    /// Bytes of its responses.
    bytes_out: u64,
}

impl TrafficResponse {
    fn of(traffic: Traffic) -> Self {
        let Traffic { requests, bytes_in, bytes_out } = traffic;
        Self { object_requests: requests, bytes_in, bytes_out }
    }
}

/// What a caller moved.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerUseResponse {
    /// Its id.
    caller: String,
    /// Its name.
    caller_name: Option<String>,
    #[serde(flatten)]
    moved: TrafficResponse,
}

/// What an account used.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageResponse {
    /// The account's name.
    account: String,
    /// Its days, the oldest first. A day without any use may be left out.
    days: Vec<DayResponse>,
    /// Its callers, those that moved the most bytes first; at most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    callers: Option<Vec<CallerUseResponse>>,
}

/// What is counted of a day.
#[derive(Default)]
struct Day {
    requests: u64,
    credits: u64,
    traffic: Traffic,
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
    let only = match call.query.get("caller") {
        None => None,
        Some(text) => {
            let known = native.caller_named(&call, call.query.get("account"), text).await?;
            if known.account != account.id {
                return Err(Error::not_found(Noun::Caller).at("caller"));
            }
            Some(known.id)
        }
    };
    let moved = TrafficFilter { account: account.id, caller: only, from, to: period.to };
    let mut all: BTreeMap<Timestamp, Day> = BTreeMap::new();
    if only.is_none() {
        let filter = RequestFilter { account: account.id, token: None, origin: None };
        for counted in usage.requests_by_day(&filter, &period).await? {
            all.entry(counted.start).or_default().requests = counted.count;
        }
        for counted in usage.credits_by_day(account.id, &period).await? {
            all.entry(counted.start).or_default().credits = counted.count;
        }
    }
    for counted in usage.traffic_by_day(&moved).await? {
        all.entry(counted.start).or_default().traffic = counted.traffic;
    }
    let callers = if call.query.flag("by_caller")?.unwrap_or(false) {
        let own = match call.caller.role {
            Role::Member => Some(call.caller.id),
            Role::Admin | Role::Operator | Role::Auditor | Role::Planner => only,
        };
        let found = usage.traffic_by_caller(&TrafficFilter { caller: own, ..moved }, MOST_CALLERS).await?;
        let names = lists::Names::of(&native, [], found.iter().map(|(caller, _)| *caller)).await?;
        let shown = |(caller, traffic): (CallerId, Traffic)| CallerUseResponse {
            caller: caller.to_string(),
            caller_name: names.caller(caller),
            moved: TrafficResponse::of(traffic),
        };
        Some(found.into_iter().map(shown).collect())
    } else {
        None
    };
    let shown = |(start, Day { requests, credits, traffic }): (Timestamp, Day)| DayResponse {
        day: start.to_zoned(TimeZone::UTC).date().to_string(),
        requests: only.is_none().then_some(requests),
        credits: only.is_none().then_some(credits),
        moved: TrafficResponse::of(traffic),
    };
    let days = all.into_iter().map(shown).collect();
    Reply::json(&UsageResponse { account: account.name.to_string(), days, callers })
}
