//! Counters: requests by second, refusals by minute, and the sums that are asked of them.

use std::collections::HashMap;

use valetkey_core::Error;
use valetkey_core::id::{AccountId, TokenId};
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::usage::{Origin, RequestFilter};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::entry::address_bytes;
use crate::sql::failed;
use crate::sql::rows::{count, kind_name, signed};

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
    Ok(())
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
