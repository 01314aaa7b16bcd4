//! Rows of what is over by itself and that nobody can ask about any more: tokens with their sessions and seals, grants that were
//! removed, links to profiles.
//!
//! INVARIANT: a token stays as long as anything names it: a lease on record, a token or link that it made, a request of its caller,
//! or an identity token that could be shown again. Where access is requested, so does the last session of each subject: by it is
//! told that who decides is who asked. The chain keeps saying when a token ended, which `verify` holds its absence against.

use valetkey_core::Error;
use valetkey_core::id::{GrantId, TokenId};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::pages::first_id;
use crate::sql::{failed, rows};

/// Rows that are looked at together.
const WINDOW: i64 = 256;

/// Clocks of servers are not further apart: leases of so much more time are looked for.
const APART_MS: i64 = 86_400_000;

/// Removes links to profiles whose time was over before an instant, some of them. Says how many.
pub(crate) async fn forget_links(db: &mut Db, before_ms: i64) -> Result<u64, Error> {
    query("DELETE FROM share_links WHERE digest IN (SELECT digest FROM share_links WHERE until_ms < ? LIMIT 256)")
        .bind(before_ms)
        .execute(db)
        .await
        .map(crate::sql::db::Done::rows_affected)
        .map_err(failed)
}

/// Something that may go: its id, whose it is, and its time.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Spent {
    id: Vec<u8>,
    whose: Vec<u8>,
    made_ms: i64,
    ended_ms: i64,
}

/// What of a window may go, and after which id the next one begins, if there is one.
pub(crate) struct Few<I> {
    pub(crate) ids: Vec<I>,
    pub(crate) next: Option<Vec<u8>>,
}

/// What of a token has to hold for it to go, besides that no lease names it. `?1` is when it was over at the latest.
const UNNAMED: &str = "(t.revoked_ms < ?1 OR t.until_ms < ?1)
    AND NOT EXISTS (SELECT 1 FROM tokens made WHERE made.made_by = t.id)
    AND NOT EXISTS (SELECT 1 FROM share_links l WHERE l.made_by = t.id)
    AND NOT EXISTS (SELECT 1 FROM access_requests r WHERE r.caller = t.caller)
    AND NOT EXISTS (SELECT 1 FROM leases a WHERE a.asked_with = t.id)
    AND NOT EXISTS (SELECT 1 FROM identity_sessions s WHERE s.token = t.id
        AND (s.jwt_until_ms IS NULL OR s.jwt_until_ms >= ?1))
    AND NOT EXISTS (SELECT 1 FROM identity_sessions s WHERE s.token = t.id AND EXISTS (SELECT 1 FROM request_rules)
        AND NOT EXISTS (SELECT 1 FROM identity_sessions o JOIN tokens n ON n.id = o.token
            WHERE o.provider = s.provider AND o.subject = s.subject AND n.caller = t.caller AND n.id > t.id))";

type TokenRow = (Vec<u8>, Vec<u8>, i64, Option<i64>, Option<i64>);

/// The tokens behind an id that were over before an instant and that nothing names any more, among the next few.
pub(crate) async fn tokens(db: &mut Db, after: &[u8], before_ms: i64) -> Result<Few<TokenId>, Error> {
    let window = "SELECT id FROM tokens WHERE id > ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?";
    // One that was made later is not over.
    let last: Option<Vec<u8>> = query_scalar(window)
        .bind(after.to_vec())
        .bind(first_id(before_ms))
        .bind(WINDOW - 1)
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    let beyond = last.clone().unwrap_or_else(|| first_id(before_ms));
    let found: Vec<TokenRow> = query_as(format!(
        "SELECT t.id, t.caller, t.made_ms, t.revoked_ms, t.until_ms FROM tokens t WHERE t.id > ?2 AND t.id <= ?3 AND {UNNAMED}"
    ))
    .bind(before_ms)
    .bind(after.to_vec())
    .bind(beyond)
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    let mut ids = Vec::new();
    for row in found {
        let spent = token(row);
        if !is_leased(&mut *db, &spent, "caller").await? {
            ids.push(TokenId::from_bytes(rows::id(&spent.id)?));
        }
    }
    Ok(Few { ids, next: last })
}

fn token((id, whose, made_ms, revoked_ms, until_ms): TokenRow) -> Spent {
    let ended_ms = revoked_ms.into_iter().chain(until_ms).min().unwrap_or(i64::MAX);
    Spent { id, whose, made_ms, ended_ms }
}

/// Removes tokens, their sessions and their seals, if that still may be. Says how many.
pub(crate) async fn forget_tokens(db: &mut Db, ids: &[TokenId], before_ms: i64) -> Result<u64, Error> {
    let mut gone = 0;
    for id in ids {
        let found: Option<TokenRow> = query_as(format!(
            "SELECT t.id, t.caller, t.made_ms, t.revoked_ms, t.until_ms FROM tokens t WHERE t.id = ?2 AND {UNNAMED}"
        ))
        .bind(before_ms)
        .bind(id.to_bytes())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
        let Some(spent) = found.map(token) else { continue };
        if is_leased(&mut *db, &spent, "caller").await? {
            continue;
        }
        for sql in [
            "DELETE FROM parents WHERE token = ?",
            "DELETE FROM identity_sessions WHERE token = ?",
            "DELETE FROM tokens WHERE id = ?",
        ] {
            query(sql).bind(id.to_bytes()).execute(&mut *db).await.map_err(failed)?;
        }
        gone += 1;
    }
    Ok(gone)
}

type GrantRow = (Vec<u8>, Vec<u8>, i64, i64);

/// The grants behind an id that were removed before an instant and of whose account no lease of their time is on record.
pub(crate) async fn grants(db: &mut Db, after: &[u8], before_ms: i64) -> Result<Few<GrantId>, Error> {
    let found: Vec<GrantRow> = query_as(
        "SELECT id, account, made_ms, removed_ms FROM grants WHERE removed_ms IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
    )
    .bind(after.to_vec())
    .bind(WINDOW)
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    let many = usize::try_from(WINDOW).is_ok_and(|window| found.len() >= window);
    let next = found.last().filter(|_| many).map(|(id, ..)| id.clone());
    let mut ids = Vec::new();
    for (id, whose, made_ms, ended_ms) in found {
        let spent = Spent { id, whose, made_ms, ended_ms };
        if ended_ms < before_ms && !is_leased(&mut *db, &spent, "account").await? {
            ids.push(GrantId::from_bytes(rows::id(&spent.id)?));
        }
    }
    Ok(Few { ids, next })
}

/// Removes the rows of grants that were removed. Nothing is opened by them any more, so that what was found stays true.
pub(crate) async fn forget_grants(db: &mut Db, ids: &[GrantId]) -> Result<u64, Error> {
    let mut gone = 0;
    for id in ids {
        gone += query(
            "DELETE FROM grants WHERE id = ?1 AND removed_ms IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM share_grants WHERE grant_id = ?1)",
        )
        .bind(id.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?
        .rows_affected();
    }
    Ok(gone)
}

/// Whether a lease of its time is on record that belongs to the same one, and so may name it.
async fn is_leased(db: &mut Db, spent: &Spent, by: &'static str) -> Result<bool, Error> {
    let Spent { id: _, whose, made_ms, ended_ms } = spent;
    let beyond_ms = ended_ms.saturating_add(APART_MS);
    let found: Option<i64> =
        query_scalar(format!("SELECT 1 FROM leases WHERE {by} = ? AND id >= ? AND id < ? LIMIT 1"))
            .bind(whose.clone())
            .bind(first_id(made_ms.saturating_sub(APART_MS)))
            .bind(first_id(beyond_ms))
            .fetch_optional(&mut *db)
            .await
            .map_err(failed)?;
    if found.is_some() {
        return Ok(true);
    }
    // A page that the index does not know may have one.
    let waiting: Option<i64> = query_scalar("SELECT 1 FROM unfolded_pages WHERE opens > 0 AND first_ms <= ? LIMIT 1")
        .bind(beyond_ms)
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(waiting.is_some())
}
