//! What was refused lately, and what was vended beside it: `GET /api/v1/refusals`. For who oversees the server; each one is among the events (`events.rs`).

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::state::Native;
use super::wire;
use crate::edge::{Call, Reply};

/// The hours of an answer, if nothing else is said, and the most: a week.
const USUAL_HOURS: i64 = 24;
const MOST_HOURS: i64 = 168;

/// What may be asked of refusals.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct RefusalsQuery {
    /// Only this account's, by name or id; if not given everybody's, with those of unauthenticated callers.
    account: Option<String>,
    /// How many hours, with the one that is not over: 1 to 168, 24 unless given.
    hours: Option<i64>,
}

/// Asks that were refused.
#[derive(Serialize, ToSchema)]
pub(super) struct RefusedResponse {
    /// When the hour starts (RFC 3339).
    hour: String,
    /// Why.
    kind: String,
    /// How many.
    count: u64,
}

/// Credentials that were vended.
#[derive(Serialize, ToSchema)]
pub(super) struct VendedResponse {
    /// When the hour starts (RFC 3339).
    hour: String,
    /// How many.
    count: u64,
}

/// What was refused.
#[derive(Serialize, ToSchema)]
pub(super) struct RefusalList {
    /// By hour and reason, the oldest first; hours without any are left out.
    refusals: Vec<RefusedResponse>,
    /// What was vended in the same time, by hour, the oldest first; hours without any are left out.
    vended: Vec<VendedResponse>,
}

/// Counts the asks that were refused, by hour and reason, and the credentials that were vended, by hour. For operators and auditors.
#[utoipa::path(get, operation_id = "list_refusals", path = "/api/v1/refusals", tag = "ledger", params(RefusalsQuery), responses(
    (status = 200, description = "What was refused", body = RefusalList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let hours = match call.query.get("hours") {
        None => USUAL_HOURS,
        Some(text) => text.parse().ok().filter(|hours| (1..=MOST_HOURS).contains(hours)).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("`hours` is a number from 1 to {MOST_HOURS}")).at("hours")
        })?,
    };
    let account = match call.query.get("account") {
        None => None,
        Some(text) => Some(native.account(&call, Some(text)).await?.id),
    };
    let second = call.now.as_second();
    let hour = second - second.rem_euclid(3600) - (hours - 1) * 3600;
    let from = Timestamp::from_second(hour).map_err(|_| Error::internal("there is no such hour"))?;
    let counted = native.shared.usage.refusals_by_hour(account, from).await?;
    let shown = counted.into_iter().map(|row| RefusedResponse {
        hour: wire::at(row.hour),
        kind: row.kind.into_string(),
        count: row.count,
    });
    let vended = native.shared.usage.vends_by_hour(account, from).await?;
    let vended = vended.into_iter().map(|row| VendedResponse { hour: wire::at(row.hour), count: row.count });
    Reply::json(&RefusalList { refusals: shown.collect(), vended: vended.collect() })
}
