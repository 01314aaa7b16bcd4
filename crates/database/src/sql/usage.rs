//! Counters: requests by second, refusals by minute, and the sums that are asked of them.

use std::collections::HashMap;

use valetkey_core::Error;
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::usage::{Origin, RequestFilter, Traffic, TrafficFilter, Used, day_of};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::entry::{address, address_bytes};
use crate::sql::failed;
use crate::sql::rows::{self, count, kind_name, signed};

/// What is counted of requests, apart from how many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Requested {
    pub(crate) account: AccountId,
    pub(crate) token: TokenId,
    /// From where.
    pub(crate) origin: Origin,
    pub(crate) second: i64,
}

/// Counts since the last writing.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) requests: HashMap<Requested, u64>,
    /// Refusals, by the second their minute starts at.
    pub(crate) refusals: HashMap<(Refusal, i64), u64>,
    /// What went over the S3 endpoint, by the second its day starts at.
    pub(crate) traffic: HashMap<(AccountId, i64, CallerId), Traffic>,
    /// How credentials were used there, by their leases.
    pub(crate) used: HashMap<LeaseId, Used>,
}

const fn origin_number(origin: Origin) -> i64 {
    match origin {
        Origin::Api => 0,
        Origin::App => 1,
    }
}

/// Adds what was counted since the last time; all of it or nothing.
pub(crate) async fn add(db: &mut Db, tally: &Tally) -> Result<(), Error> {
    // INVARIANT: in one order on every node, so that none waits for another in a circle.
    let mut requests: Vec<(&Requested, &u64)> = tally.requests.iter().collect();
    requests.sort_unstable_by_key(|(at, _)| (at.account, at.second, at.token, origin_number(at.origin)));
    for (Requested { account, token, origin, second }, times) in requests {
        query(
            "INSERT INTO requests (account, second_s, token, origin, count) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (account, second_s, token, origin) DO UPDATE SET count = requests.count + excluded.count",
        )
        .bind(account.to_bytes())
        .bind(*second)
        .bind(token.to_bytes())
        .bind(origin_number(*origin))
        .bind(signed(*times))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    let mut refusals: Vec<(&(Refusal, i64), &u64)> = tally.refusals.iter().collect();
    refusals.sort_unstable_by_key(|((refusal, minute), _)| {
        (*minute, refusal.account, refusal.caller, refusal.dialect, kind_name(refusal.kind), refusal.from)
    });
    for ((refusal, minute), times) in refusals {
        query(
            "INSERT INTO refusals (minute_s, account, caller, dialect, kind, from_addr, count) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (minute_s, account, caller, dialect, kind, from_addr)
             DO UPDATE SET count = refusals.count + excluded.count",
        )
        .bind(*minute)
        .bind(refusal.account.map(|id| id.to_bytes().to_vec()).unwrap_or_default())
        .bind(refusal.caller.map(|id| id.to_bytes().to_vec()).unwrap_or_default())
        .bind(refusal.dialect)
        .bind(kind_name(refusal.kind))
        .bind(address_bytes(refusal.from).unwrap_or_default())
        .bind(signed(*times))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    let mut traffic: Vec<(&(AccountId, i64, CallerId), &Traffic)> = tally.traffic.iter().collect();
    traffic.sort_unstable_by_key(|(at, _)| **at);
    for ((account, day, caller), Traffic { requests, bytes_in, bytes_out }) in traffic {
        query(
            "INSERT INTO traffic (account, day_s, caller, requests, bytes_in, bytes_out) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (account, day_s, caller) DO UPDATE SET requests = traffic.requests + excluded.requests,
             bytes_in = traffic.bytes_in + excluded.bytes_in, bytes_out = traffic.bytes_out + excluded.bytes_out",
        )
        .bind(account.to_bytes())
        .bind(*day)
        .bind(caller.to_bytes())
        .bind(signed(*requests))
        .bind(signed(*bytes_in))
        .bind(signed(*bytes_out))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    let mut used: Vec<(&LeaseId, &Used)> = tally.used.iter().collect();
    used.sort_unstable_by_key(|(lease, _)| **lease);
    for (lease, used) in used {
        add_used(&mut *db, *lease, used).await?;
    }
    Ok(())
}

/// Adds to how a credential was used, as [`Used::and`] does.
async fn add_used(db: &mut Db, lease: LeaseId, used: &Used) -> Result<(), Error> {
    let Used { first, last, from, traffic: Traffic { requests, bytes_in, bytes_out } } = used;
    query(
        "INSERT INTO lease_uses (lease, first_ms, last_ms, from_addr, requests, bytes_in, bytes_out) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (lease) DO UPDATE SET
             first_ms = CASE WHEN excluded.first_ms < lease_uses.first_ms THEN excluded.first_ms ELSE lease_uses.first_ms END,
             last_ms = CASE WHEN excluded.last_ms > lease_uses.last_ms THEN excluded.last_ms ELSE lease_uses.last_ms END,
             from_addr = CASE WHEN excluded.last_ms >= lease_uses.last_ms
                 THEN coalesce(excluded.from_addr, lease_uses.from_addr) ELSE coalesce(lease_uses.from_addr, excluded.from_addr) END,
             requests = lease_uses.requests + excluded.requests,
             bytes_in = lease_uses.bytes_in + excluded.bytes_in, bytes_out = lease_uses.bytes_out + excluded.bytes_out",
    )
    .bind(lease.to_bytes())
    .bind(first.as_millisecond())
    .bind(last.as_millisecond())
    .bind(address_bytes(*from))
    .bind(signed(*requests))
    .bind(signed(*bytes_in))
    .bind(signed(*bytes_out))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// A row of how a credential was used.
type UsedRow = (i64, i64, Option<Vec<u8>>, i64, i64, i64);

/// How the credential of a lease was used.
pub(crate) async fn used(db: &mut Db, lease: LeaseId) -> Result<Option<Used>, Error> {
    let found: Option<UsedRow> =
        query_as("SELECT first_ms, last_ms, from_addr, requests, bytes_in, bytes_out FROM lease_uses WHERE lease = ?")
            .bind(lease.to_bytes())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    let read = |(first, last, from, requests, came, went): UsedRow| {
        let from = from.as_deref().and_then(address);
        Ok(Used {
            first: rows::at_ms(first)?,
            last: rows::at_ms(last)?,
            from,
            traffic: traffic_of(requests, came, went),
        })
    };
    found.map(read).transpose()
}

/// The sums of some rows' traffic.
macro_rules! sums {
    () => {
        "CAST(sum(requests) AS BIGINT), CAST(sum(bytes_in) AS BIGINT), CAST(sum(bytes_out) AS BIGINT)"
    };
}

/// What went over the S3 endpoint, by the second its day starts at.
pub(crate) async fn traffic_by_day(db: &mut Db, filter: &TrafficFilter) -> Result<Vec<(i64, Traffic)>, Error> {
    let found: Vec<(i64, i64, i64, i64)> = query_as(concat!(
        "SELECT day_s, ",
        sums!(),
        " FROM traffic WHERE account = ?1 AND day_s >= ?2 AND day_s < ?3 AND (?4 IS NULL OR caller = ?4) GROUP BY day_s ORDER BY day_s"
    ))
    .bind(filter.account.to_bytes())
    .bind(day_of(filter.from))
    .bind(filter.to.as_second())
    .bind(filter.caller.map(CallerId::to_bytes))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    Ok(found.into_iter().map(|(day, requests, came, went)| (day, traffic_of(requests, came, went))).collect())
}

/// What went over the S3 endpoint, by caller: those with the most bytes first.
pub(crate) async fn traffic_by_caller(
    db: &mut Db,
    filter: &TrafficFilter,
    most: u32,
) -> Result<Vec<(CallerId, Traffic)>, Error> {
    let found: Vec<(Vec<u8>, i64, i64, i64)> = query_as(concat!(
        "SELECT caller, ",
        sums!(),
        " FROM traffic WHERE account = ?1 AND day_s >= ?2 AND day_s < ?3 AND (?4 IS NULL OR caller = ?4) ",
        "GROUP BY caller ORDER BY sum(bytes_in) + sum(bytes_out) DESC, caller LIMIT ?5"
    ))
    .bind(filter.account.to_bytes())
    .bind(day_of(filter.from))
    .bind(filter.to.as_second())
    .bind(filter.caller.map(CallerId::to_bytes))
    .bind(i64::from(most))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let each = |(caller, requests, came, went): (Vec<u8>, i64, i64, i64)| {
        Ok((CallerId::from_bytes(rows::id(&caller)?), traffic_of(requests, came, went)))
    };
    found.into_iter().map(each).collect()
}

fn traffic_of(requests: i64, bytes_in: i64, bytes_out: i64) -> Traffic {
    Traffic { requests: count(requests), bytes_in: count(bytes_in), bytes_out: count(bytes_out) }
}

/// Requests in these seconds, the last one exclusive.
pub(crate) async fn requests(db: &mut Db, filter: &RequestFilter, from: i64, to: i64) -> Result<u64, Error> {
    let sum: i64 = query_scalar(
        "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM requests
         WHERE account = ?1 AND second_s >= ?2 AND second_s < ?3
           AND (?4 IS NULL OR token = ?4) AND (?5 IS NULL OR origin = ?5)",
    )
    .bind(filter.account.to_bytes())
    .bind(from)
    .bind(to)
    .bind(filter.token.map(valetkey_core::id::TokenId::to_bytes))
    .bind(filter.origin.map(origin_number))
    .fetch_one(db)
    .await
    .map_err(failed)?;
    Ok(count(sum))
}

/// Refusals since a second, as the hour it is of, why and how many: at most a row for each hour and reason.
pub(crate) async fn refusals(
    db: &mut Db,
    account: Option<AccountId>,
    from_s: i64,
) -> Result<Vec<(i64, String, i64)>, Error> {
    query_as(
        "SELECT minute_s - minute_s % 3600, kind, CAST(sum(count) AS BIGINT) FROM refusals
         WHERE minute_s >= ?1 AND (?2 IS NULL OR account = ?2)
         GROUP BY minute_s - minute_s % 3600, kind ORDER BY minute_s - minute_s % 3600, kind",
    )
    .bind(from_s)
    .bind(account.map(AccountId::to_bytes))
    .fetch_all(db)
    .await
    .map_err(failed)
}

/// The first second of these, the last one exclusive, in which there were requests.
pub(crate) async fn first_request(
    db: &mut Db,
    filter: &RequestFilter,
    from: i64,
    to: i64,
) -> Result<Option<i64>, Error> {
    query_scalar(
        "SELECT second_s FROM requests
         WHERE account = ?1 AND second_s >= ?2 AND second_s < ?3
           AND (?4 IS NULL OR token = ?4) AND (?5 IS NULL OR origin = ?5)
         ORDER BY second_s LIMIT 1",
    )
    .bind(filter.account.to_bytes())
    .bind(from)
    .bind(to)
    .bind(filter.token.map(valetkey_core::id::TokenId::to_bytes))
    .bind(filter.origin.map(origin_number))
    .fetch_optional(db)
    .await
    .map_err(failed)
}

/// The first millisecond of these, the last one exclusive, in which a folded lease was opened that cost credits.
pub(crate) async fn first_credit(db: &mut Db, account: AccountId, from: i64, to: i64) -> Result<Option<i64>, Error> {
    query_scalar(
        "SELECT opened_ms FROM leases
         WHERE account = ? AND opened_ms >= ? AND opened_ms < ? AND credits > 0 AND void_kind IS NULL
         ORDER BY opened_ms LIMIT 1",
    )
    .bind(account.to_bytes())
    .bind(from)
    .bind(to)
    .fetch_optional(db)
    .await
    .map_err(failed)
}

/// Credits of the folded leases opened in these milliseconds, the last one exclusive; void ones cost nothing.
pub(crate) async fn credits(db: &mut Db, account: AccountId, from: i64, to: i64) -> Result<u64, Error> {
    let sum: i64 = query_scalar(
        "SELECT CAST(coalesce(sum(credits), 0) AS BIGINT) FROM leases
         WHERE account = ? AND opened_ms >= ? AND opened_ms < ? AND credits > 0 AND void_kind IS NULL",
    )
    .bind(account.to_bytes())
    .bind(from)
    .bind(to)
    .fetch_one(db)
    .await
    .map_err(failed)?;
    Ok(count(sum))
}
