//! The index of leases.

use std::collections::HashSet;

use valetkey_core::Error;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::registry::{LeaseFilter, Outliving};
use valetkey_core::scope::{Rights, Scope};

use crate::sql::db::{Db, Row, query, query_as, query_scalar};
use crate::sql::entry::{self, Issued, Opened};
use crate::sql::failed;
use crate::sql::pages::first_id;
use crate::sql::rows;
use crate::sql::target::Target;

/// A lease and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) void_kind: Option<String>,
    pub(crate) revoked: Option<Revoker>,
    pub(crate) issued: Option<Issued>,
}

fn found(row: &Row) -> Result<Found, Error> {
    let id = |column: &'static str| rows::id(&row.try_get::<Vec<u8>>(column).map_err(failed)?);
    let revoked: (Option<i64>, Option<Vec<u8>>) =
        (row.try_get("revoked_ms").map_err(failed)?, row.try_get("revoked_by").map_err(failed)?);
    let revoked = match revoked {
        (Some(ms), Some(by)) => Some(Revoker { by: CallerId::from_bytes(rows::id(&by)?), at: rows::at_ms(ms)? }),
        _ => None,
    };
    let opened = Opened {
        id: LeaseId::from_bytes(id("id")?),
        account: AccountId::from_bytes(id("account")?),
        caller: CallerId::from_bytes(id("caller")?),
        token: TokenId::from_bytes(id("token")?),
        storage: StorageId::from_bytes(id("storage")?),
        scope: row.try_get("scope").map_err(failed)?,
        grants: row.try_get("grants").map_err(failed)?,
        dialect: row.try_get("dialect").map_err(failed)?,
        credits: u32::try_from(row.try_get::<i64>("credits").map_err(failed)?).map_err(|_| rows::damaged("a price"))?,
        from_ms: row.try_get("opened_ms").map_err(failed)?,
        until_s: row.try_get("until_s").map_err(failed)?,
        from: row
            .try_get::<Option<Vec<u8>>>("from_addr")
            .map_err(failed)?
            .map(|bytes| entry::address(&bytes).ok_or_else(|| rows::damaged("an address")))
            .transpose()?,
        asked_with: row
            .try_get::<Option<Vec<u8>>>("asked_with")
            .map_err(failed)?
            .map(|bytes| rows::id(&bytes).map(TokenId::from_bytes))
            .transpose()?,
        narrowed_from: row.try_get::<Option<Vec<u8>>>("narrowed_from").map_err(failed)?.unwrap_or_default(),
    };
    let issued = match (row.try_get("key_id").map_err(failed)?, row.try_get("ends_s").map_err(failed)?) {
        (Some(key_id), Some(ends_s)) => {
            let request_id = row.try_get("request_id").map_err(failed)?;
            Some(Issued { lease: opened.id, at_ms: opened.from_ms, key_id, request_id, ends_s })
        }
        _ => None,
    };
    Ok(Found { opened, void_kind: row.try_get("void_kind").map_err(failed)?, revoked, issued })
}

macro_rules! select {
    ($rest:expr) => {
        concat!(
            "SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, ",
            "narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s ",
            "FROM leases LEFT JOIN issued ON issued.lease = leases.id ",
            $rest
        )
    };
}

/// ?1 account, ?2 caller, ?3 the id to stay before, ?4 the least id, ?5 the instant to be live at, ?6 how many, ?7 token, ?8 grant,
/// ?9 the mark of a bucket, ?10 the token that asked, ?11 a zero. A long scope stands as a zero and its digest.
macro_rules! list {
    ($which:literal) => {
        concat!(
            select!("WHERE "),
            $which,
            " AND id < ?3 AND id >= ?4 AND (?5 IS NULL OR (opened_ms <= ?5 AND until_s * 1000 > ?5 ",
            "AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > ?5))) ",
            "AND (?7 IS NULL OR token = ?7) AND (?8 IS NULL OR instr(grants, ?8) > 0) ",
            "AND (?9 IS NULL OR substr(scope, 4, length(?9)) = ?9 OR (substr(scope, 1, 1) = ?11 AND substr(scope, 2) IN ",
            "(SELECT digest FROM scopes WHERE substr(body, 4, length(?9)) = ?9))) ",
            "ORDER BY id DESC LIMIT ?6"
        )
    };
}

pub(crate) async fn by_id(db: &mut Db, id: LeaseId) -> Result<Option<Found>, Error> {
    let row = query(select!("WHERE id = ?")).bind(id.to_bytes()).fetch_optional(db).await.map_err(failed)?;
    row.as_ref().map(found).transpose()
}

/// Leases, the newest first. `longest_ms` bounds how long ago one that is live was opened.
pub(crate) async fn list(db: &mut Db, filter: &LeaseFilter<'_>, longest_ms: i64) -> Result<Vec<Found>, Error> {
    let LeaseFilter { account, caller, token, grant, bucket, asked_with, since, live_at, before, limit } = *filter;
    let sql = match (asked_with, account, caller) {
        (Some(_), _, _) => list!("asked_with = ?10 AND (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR caller = ?2)"),
        (None, _, Some(_)) => list!("caller = ?2 AND (?1 IS NULL OR account = ?1) AND ?10 IS NULL"),
        (None, Some(_), None) => list!("account = ?1 AND ?2 IS NULL AND ?10 IS NULL"),
        (None, None, None) => list!("?1 IS NULL AND ?2 IS NULL AND ?10 IS NULL"),
    };
    // The id tells when it was opened.
    let since = since.map_or(0, jiff::Timestamp::as_millisecond);
    let least = live_at.map_or(0, |at| at.as_millisecond().saturating_sub(longest_ms)).max(since).max(0);
    let rows = query(sql)
        .bind(account.map(valetkey_core::id::AccountId::to_bytes))
        .bind(caller.map(valetkey_core::id::CallerId::to_bytes))
        .bind(before.map_or_else(|| vec![u8::MAX; 17], |id| id.to_bytes().to_vec()))
        .bind(first_id(least))
        .bind(live_at.map(jiff::Timestamp::as_millisecond))
        .bind(i64::from(limit))
        .bind(token.map(valetkey_core::id::TokenId::to_bytes))
        .bind(grant.map(valetkey_core::id::GrantId::to_bytes))
        .bind(bucket.map(Scope::bucket_mark))
        .bind(asked_with.map(valetkey_core::id::TokenId::to_bytes))
        .bind(vec![0])
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.iter().map(found).collect()
}

/// Leases that were opened since, as the hour they are of and how many.
pub(crate) async fn by_hour(db: &mut Db, account: Option<AccountId>, from_ms: i64) -> Result<Vec<(i64, i64)>, Error> {
    // One for each index. The id tells when a lease was opened.
    let sql = if account.is_some() {
        "SELECT opened_ms - opened_ms % 3600000 AS hour_ms, count(*) FROM leases
         WHERE account = ?1 AND id >= ?2 AND void_kind IS NULL GROUP BY hour_ms ORDER BY hour_ms"
    } else {
        "SELECT opened_ms - opened_ms % 3600000 AS hour_ms, count(*) FROM leases
         WHERE ?1 IS NULL AND id >= ?2 AND void_kind IS NULL GROUP BY hour_ms ORDER BY hour_ms"
    };
    query_as(sql).bind(account.map(AccountId::to_bytes)).bind(first_id(from_ms)).fetch_all(db).await.map_err(failed)
}

/// The digests of the long scopes of a bucket.
pub(crate) async fn long_scopes_of(db: &mut Db, bucket: &BucketName) -> Result<HashSet<Vec<u8>>, Error> {
    let found: Vec<Vec<u8>> = query_scalar("SELECT digest FROM scopes WHERE substr(body, 4, length(?1)) = ?1")
        .bind(Scope::bucket_mark(bucket))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    Ok(found.into_iter().collect())
}

/// The leases that were handed the credential of this name, the newest first.
pub(crate) async fn of_key(db: &mut Db, key_id: &str, limit: u32) -> Result<Vec<Found>, Error> {
    let rows = query(select!("WHERE key_id = ? ORDER BY issued.lease DESC LIMIT ?"))
        .bind(key_id.to_owned())
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.iter().map(found).collect()
}

/// What `by` ended at or after an instant, and its store takes on.
pub(crate) async fn outliving(db: &mut Db, by: Revoker, longest_ms: i64) -> Result<Vec<Outliving>, Error> {
    let at_ms = by.at.as_millisecond();
    // A lease that is ended lives at most as long as any; its id tells when it was opened.
    let since_ms = at_ms.saturating_sub(longest_ms).max(0);
    let found: Vec<(Vec<u8>, String, i64, i64)> = query_as(
        "SELECT storage, key_id, count(*), max(ends_s) FROM leases JOIN issued ON issued.lease = leases.id
         WHERE leases.id >= ?1 AND revoked_ms >= ?2 AND revoked_by = ?3 AND ends_s * 1000 > revoked_ms
         GROUP BY storage, key_id ORDER BY storage, key_id",
    )
    .bind(first_id(since_ms))
    .bind(at_ms)
    .bind(by.by.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut stores: Vec<Outliving> = Vec::new();
    for (storage, key_id, leases, ends_s) in found {
        let storage = StorageId::from_bytes(rows::id(&storage)?);
        let until = rows::at_ms(ends_s.saturating_mul(1000))?;
        if let Some(last) = stores.last_mut().filter(|last| last.storage == storage) {
            last.key_ids.push(key_id.into());
            last.leases += rows::count(leases);
            last.until = last.until.max(until);
        } else {
            let (key_ids, leases) = (vec![key_id.into()], rows::count(leases));
            stores.push(Outliving { storage, key_ids, leases, until });
        }
    }
    Ok(stores)
}

/// The leases in the index that `by` ended at or after an instant and of which the index does not know what came: their store, and
/// when they were ended.
pub(crate) async fn ended_without_issue(
    db: &mut Db,
    by: Revoker,
    longest_ms: i64,
) -> Result<Vec<(LeaseId, (StorageId, i64))>, Error> {
    let at_ms = by.at.as_millisecond();
    let found: Vec<(Vec<u8>, Vec<u8>, i64)> = query_as(
        "SELECT id, storage, revoked_ms FROM leases WHERE id >= ?1 AND revoked_ms >= ?2 AND revoked_by = ?3
         AND NOT EXISTS (SELECT 1 FROM issued WHERE issued.lease = leases.id)",
    )
    .bind(first_id(at_ms.saturating_sub(longest_ms).max(0)))
    .bind(at_ms)
    .bind(by.by.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found
        .into_iter()
        .map(|(id, storage, ms)| {
            Ok((LeaseId::from_bytes(rows::id(&id)?), (StorageId::from_bytes(rows::id(&storage)?), ms)))
        })
        .collect()
}

/// The leases of the index that are live at an instant, of an account or of all.
pub(crate) async fn live(
    db: &mut Db,
    account: Option<AccountId>,
    since_ms: i64,
    at_ms: i64,
) -> Result<Vec<Opened>, Error> {
    let sql = match account {
        Some(_) => {
            select!(
                "WHERE account = ?1 AND id >= ?2 AND opened_ms <= ?3 AND until_s * 1000 > ?3 AND void_kind IS NULL AND revoked_ms IS NULL"
            )
        }
        None => {
            select!(
                "WHERE ?1 IS NULL AND id >= ?2 AND opened_ms <= ?3 AND until_s * 1000 > ?3 AND void_kind IS NULL AND revoked_ms IS NULL"
            )
        }
    };
    let rows = query(sql)
        .bind(account.map(valetkey_core::id::AccountId::to_bytes))
        .bind(first_id(since_ms))
        .bind(at_ms)
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Ok(found(row)?.opened)).collect()
}

macro_rules! asked {
    ($whose:literal) => {
        select!(concat!(
            "WHERE asked_with IN (SELECT id FROM tokens WHERE ",
            $whose,
            " = ?1) AND leases.id >= ?2 AND opened_ms <= ?3 ",
            "AND until_s * 1000 > ?3 AND void_kind IS NULL AND revoked_ms IS NULL"
        ))
    };
}

/// The live leases of the index that were asked for on behalf of others with the tokens of a target.
pub(crate) async fn asked_with(db: &mut Db, target: Target, since_ms: i64, at_ms: i64) -> Result<Vec<Opened>, Error> {
    let sql = match target {
        Target::Token(_) => asked!("id"),
        Target::Caller(_) => asked!("caller"),
        Target::Account(_) => asked!("account"),
        Target::Lease(_) | Target::Storage(_) => return Ok(Vec::new()),
    };
    let rows = query(sql)
        .bind(target.bytes().to_vec())
        .bind(first_id(since_ms))
        .bind(at_ms)
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Ok(found(row)?.opened)).collect()
}

/// The live leases of the index that were narrowed from others.
pub(crate) async fn narrowed(db: &mut Db, since_ms: i64, at_ms: i64) -> Result<Vec<Opened>, Error> {
    let sql = select!(
        "WHERE narrowed_from IS NOT NULL AND id >= ?1 AND opened_ms <= ?2 AND until_s * 1000 > ?2 AND void_kind IS NULL AND revoked_ms IS NULL"
    );
    let rows = query(sql).bind(first_id(since_ms)).bind(at_ms).fetch_all(db).await.map_err(failed)?;
    rows.iter().map(|row| Ok(found(row)?.opened)).collect()
}

/// Rights that were stored on their own.
///
/// SECURITY: it is what a live key opens, and the ledger's pages hold no more of it than its digest: it is read only where it is what
/// that digest says.
pub(crate) async fn long_scope(db: &mut Db, digest: &[u8]) -> Result<Rights, Error> {
    let body: Option<Vec<u8>> = query_scalar("SELECT body FROM scopes WHERE digest = ?")
        .bind(digest.to_vec())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    let body = body.filter(|body| entry::digest_of(body) == digest);
    rows::rights(&body.ok_or_else(|| rows::damaged("a scope's digest"))?)
}
