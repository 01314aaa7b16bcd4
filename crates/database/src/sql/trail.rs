//! The pages and counts that events are told from, and how far they were sent.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::nouns::trail::{Counted, Cursor, Sender, TURN};

use crate::sql::chain::Chain;
use crate::sql::db::{Db, query, query_as};
use crate::sql::{failed, rows};

/// Pages read at once.
const WINDOW: i64 = 8;

/// A page's number, its last instant, hash and body.
pub(crate) type PageRow = (i64, i64, Vec<u8>, Vec<u8>);

/// Pages of a chain, from one on.
pub(crate) async fn pages(db: &mut Db, chain: Chain, from: i64) -> Result<Vec<PageRow>, Error> {
    query_as("SELECT seq, last_ms, hash, body FROM ledger_pages WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?")
        .bind(from)
        .bind(chain.beyond())
        .bind(WINDOW)
        .fetch_all(db)
        .await
        .map_err(failed)
}

/// A count of refusals: the minute, whose, in which dialect, why, from where and how many.
pub(crate) type RefusedRow = (i64, Vec<u8>, Vec<u8>, String, String, Vec<u8>, i64);

/// Counts of refusals of the minutes before one, from a place on.
pub(crate) async fn refusals(db: &mut Db, after: Counted, before_s: i64, limit: u32) -> Result<Vec<RefusedRow>, Error> {
    // What is left of the minute that was begun; then those after it.
    let (minute, behind, mut found) = (after.minute, after.minute.saturating_add(1), Vec::new());
    for (from_s, to_s, skipped) in [(minute, before_s.min(behind), after.row), (behind, before_s, 0)] {
        let left = i64::from(limit) - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let more: Vec<RefusedRow> = query_as(
            "SELECT minute_s, account, caller, dialect, kind, from_addr, count FROM refusals
             WHERE minute_s >= ? AND minute_s < ?
             ORDER BY minute_s, account, caller, dialect, kind, from_addr LIMIT ? OFFSET ?",
        )
        .bind(from_s)
        .bind(to_s)
        .bind(left)
        .bind(i64::from(skipped))
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
        found.extend(more);
    }
    Ok(found)
}

/// Takes the turn to send somewhere, or keeps it. `false` while another has it, whose turn is not over by an instant. One that is to last
/// for longer than any turn was taken by a clock that was wrong.
pub(crate) async fn take_turn(
    db: &mut Db,
    to: &str,
    sender: Sender,
    now: Timestamp,
    over: Timestamp,
) -> Result<bool, Error> {
    let until_ms = now.checked_add(TURN).unwrap_or(Timestamp::MAX).as_millisecond();
    let taken = query(
        "INSERT INTO audit_destinations AS d (name, sender, until_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET sender = excluded.sender, until_ms = excluded.until_ms
         WHERE d.sender = excluded.sender OR d.until_ms <= ?4 OR d.until_ms > ?5",
    )
    .bind(to.to_owned())
    .bind(sender.0.to_vec())
    .bind(until_ms)
    .bind(over.as_millisecond())
    .bind(until_ms.saturating_add(TURN.as_secs().saturating_mul(1000)))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    Ok(taken.rows_affected() == 1)
}

/// How far was sent, nothing where nothing was; and whose turn it was last.
pub(crate) async fn progress(db: &mut Db, to: &str) -> Result<Option<(Option<Cursor>, Sender)>, Error> {
    let found: Option<(Option<String>, Vec<u8>)> =
        query_as("SELECT next, sender FROM audit_destinations WHERE name = ?")
            .bind(to.to_owned())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    let Some((next, sender)) = found else { return Ok(None) };
    let next = next.map(|text| text.parse().map_err(|_| rows::damaged("a place of events"))).transpose()?;
    Ok(Some((next, Sender(rows::id(&sender)?))))
}

/// Says how far was sent, if it is still this one's turn.
pub(crate) async fn sent(db: &mut Db, to: &str, sender: Sender, next: &Cursor) -> Result<bool, Error> {
    let done = query("UPDATE audit_destinations SET next = ? WHERE name = ? AND sender = ?")
        .bind(next.to_string())
        .bind(to.to_owned())
        .bind(sender.0.to_vec())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}
