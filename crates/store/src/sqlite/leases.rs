//! The index of leases.

use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::port::LeaseFilter;
use valetkey_core::scope::Scope;

use crate::ledger::entry::Opened;
use crate::sqlite::failed;
use crate::sqlite::pages::first_id;
use crate::sqlite::rows;

/// A lease and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) void_kind: Option<String>,
    pub(crate) revoked: Option<Revoker>,
}

type Row = (
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    String,
    i64,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    Option<Vec<u8>>,
);

fn found(row: Row) -> Result<Found, Error> {
    let (id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, void_kind, ms, by) =
        row;
    let revoked = match (ms, by) {
        (Some(ms), Some(by)) => Some(Revoker { by: CallerId::from_bytes(rows::id(&by)?), at: rows::at_ms(ms)? }),
        _ => None,
    };
    let opened = Opened {
        id: LeaseId::from_bytes(rows::id(&id)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        caller: CallerId::from_bytes(rows::id(&caller)?),
        token: TokenId::from_bytes(rows::id(&token)?),
        storage: StorageId::from_bytes(rows::id(&storage)?),
        scope,
        grants,
        dialect,
        credits: u32::try_from(credits).map_err(|_| rows::damaged("a price"))?,
        from_ms: opened_ms,
        until_s,
    };
    Ok(Found { opened, void_kind, revoked })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, ",
            "void_kind, revoked_ms, revoked_by FROM leases ",
            $rest
        )
    };
}

/// ?1 account, ?2 caller, ?3 the id to stay before, ?4 the least id, ?5 the instant to be live at, ?6 how many.
macro_rules! list {
    ($which:literal) => {
        concat!(
            select!("WHERE "),
            $which,
            " AND id < ?3 AND id >= ?4 AND (?5 IS NULL OR (opened_ms <= ?5 AND until_s * 1000 > ?5 ",
            "AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > ?5))) ORDER BY id DESC LIMIT ?6"
        )
    };
}

/// One lease.
pub(crate) async fn by_id(db: &mut SqliteConnection, id: LeaseId) -> Result<Option<Found>, Error> {
    let row: Option<Row> = sqlx::query_as(select!("WHERE id = ?"))
        .bind(id.to_bytes().to_vec())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    row.map(found).transpose()
}

/// Leases, the newest first. `longest_ms` bounds how long ago one that is live was opened.
pub(crate) async fn list(
    db: &mut SqliteConnection,
    filter: &LeaseFilter,
    longest_ms: i64,
) -> Result<Vec<Found>, Error> {
    let LeaseFilter { account, caller, live_at, before, limit } = *filter;
    let sql = match (account, caller) {
        (_, Some(_)) => list!("caller = ?2 AND (?1 IS NULL OR account = ?1)"),
        (Some(_), None) => list!("account = ?1 AND ?2 IS NULL"),
        (None, None) => list!("?1 IS NULL AND ?2 IS NULL"),
    };
    let least = live_at.map_or(0, |at| at.as_millisecond().saturating_sub(longest_ms).max(0));
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(account.map(|id| id.to_bytes().to_vec()))
        .bind(caller.map(|id| id.to_bytes().to_vec()))
        .bind(before.map_or_else(|| vec![u8::MAX; 17], |id| id.to_bytes().to_vec()))
        .bind(first_id(least))
        .bind(live_at.map(jiff::Timestamp::as_millisecond))
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.into_iter().map(found).collect()
}

/// A scope that was stored on its own.
pub(crate) async fn long_scope(db: &mut SqliteConnection, digest: &[u8]) -> Result<Scope, Error> {
    let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM scopes WHERE digest = ?")
        .bind(digest.to_vec())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    rows::scope(&body.ok_or_else(|| rows::damaged("a scope's digest"))?)
}
