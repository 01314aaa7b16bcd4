//! Figures for who watches a server: counted with bounded work, never while anybody waits.

use jiff::Timestamp;
use valetkey_core::Error;

use crate::sql::db::{Db, query_scalar};
use crate::sql::failed;

/// The newest leases that are looked at; ids are in the order in which leases were opened.
const NEWEST: i64 = 100_000;
/// The most tokens that are counted.
const MOST_TOKENS: i64 = 100_000;

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Leases that are live, of the newest 100,000.
    pub live_leases: i64,
    /// Tokens that are good now and end before an instant.
    pub tokens_that_end: i64,
}

pub(crate) async fn count(db: &mut Db, now: Timestamp, soon: Timestamp) -> Result<Figures, Error> {
    let live_leases: i64 = query_scalar(
        "SELECT count(*) FROM (SELECT until_s, void_kind, revoked_ms FROM leases ORDER BY id DESC LIMIT ?1) AS newest
         WHERE until_s > ?2 AND void_kind IS NULL AND revoked_ms IS NULL",
    )
    .bind(NEWEST)
    .bind(now.as_second())
    .fetch_one(&mut *db)
    .await
    .map_err(failed)?;
    let tokens_that_end: i64 = query_scalar(
        "SELECT count(*) FROM
         (SELECT 1 FROM tokens WHERE revoked_ms IS NULL AND until_ms > ?1 AND until_ms <= ?2 LIMIT ?3) AS ending",
    )
    .bind(now.as_millisecond())
    .bind(soon.as_millisecond())
    .bind(MOST_TOKENS)
    .fetch_one(&mut *db)
    .await
    .map_err(failed)?;
    Ok(Figures { live_leases, tokens_that_end })
}
