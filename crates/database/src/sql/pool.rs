//! Credentials of external storages that nodes keep together.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::StorageId;
use valetkey_core::nouns::pool::{CLAIM, Claimant, NewPooled, PoolKey, Pooled};

use crate::sql::db::{Db, Done, query, query_as};
use crate::sql::failed;

pub(crate) async fn look(db: &mut Db, key: PoolKey, now: Timestamp) -> Result<Pooled, Error> {
    let found: Option<(Option<Vec<u8>>, i64, i64)> =
        query_as("SELECT sealed, version, ends_ms FROM pooled_credentials WHERE key = ?")
            .bind(key.0.to_vec())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(found.map_or_else(Pooled::default, |(sealed, version, ends_ms)| Pooled {
        sealed: sealed.filter(|_| ends_ms > now.as_millisecond()).map(Vec::into_boxed_slice),
        version,
    }))
}

fn until_ms(now: Timestamp) -> i64 {
    now.checked_add(CLAIM).unwrap_or(Timestamp::MAX).as_millisecond()
}

pub(crate) async fn claim(
    db: &mut Db,
    key: PoolKey,
    version: i64,
    claimant: Claimant,
    now: Timestamp,
) -> Result<bool, Error> {
    query(
        "INSERT INTO pooled_credentials AS p (key, claimant, claimed_until_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET claimant = excluded.claimant, claimed_until_ms = excluded.claimed_until_ms
         WHERE p.version = ?4 AND p.claimed_until_ms <= ?5",
    )
    .bind(key.0.to_vec())
    .bind(claimant.0.to_vec())
    .bind(until_ms(now))
    .bind(version)
    .bind(now.as_millisecond())
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
    .map_err(failed)
}

/// Has a claim last until then; 0 gives it back.
async fn claimed_until(db: &mut Db, key: PoolKey, claimant: Claimant, until_ms: i64) -> Result<(), Error> {
    query("UPDATE pooled_credentials SET claimed_until_ms = ? WHERE key = ? AND claimant = ?")
        .bind(until_ms)
        .bind(key.0.to_vec())
        .bind(claimant.0.to_vec())
        .execute(db)
        .await
        .map(drop)
        .map_err(failed)
}

pub(crate) async fn extend(db: &mut Db, key: PoolKey, claimant: Claimant, now: Timestamp) -> Result<(), Error> {
    claimed_until(db, key, claimant, until_ms(now)).await
}

pub(crate) async fn give_up(db: &mut Db, key: PoolKey, claimant: Claimant) -> Result<(), Error> {
    claimed_until(db, key, claimant, 0).await
}

pub(crate) async fn keep(db: &mut Db, key: PoolKey, fetched: &NewPooled) -> Result<(), Error> {
    query(
        "INSERT INTO pooled_credentials AS p (key, version, storage, key_id, sealed, ends_ms) VALUES (?, 1, ?, ?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET version = p.version + 1, claimant = NULL, claimed_until_ms = 0,
             storage = excluded.storage, key_id = excluded.key_id, sealed = excluded.sealed, ends_ms = excluded.ends_ms",
    )
    .bind(key.0.to_vec())
    .bind(fetched.storage.to_bytes())
    .bind(fetched.key_id.to_string())
    .bind(fetched.sealed.to_vec())
    .bind(fetched.ends.as_millisecond())
    .execute(db)
    .await
    .map(drop)
    .map_err(failed)
}

pub(crate) async fn remove(db: &mut Db, storage: StorageId, key_id: &str) -> Result<(), Error> {
    query("DELETE FROM pooled_credentials WHERE storage = ? AND key_id = ?")
        .bind(storage.to_bytes())
        .bind(key_id.to_owned())
        .execute(db)
        .await
        .map(drop)
        .map_err(failed)
}

/// Removes what is over, and beyond so many what ends soonest.
pub(crate) async fn sweep(db: &mut Db, now_ms: i64, most: i64) -> Result<u64, Error> {
    query(
        "DELETE FROM pooled_credentials WHERE claimed_until_ms <= ?1 AND (ends_ms <= ?1 OR ends_ms <
             (SELECT ends_ms FROM pooled_credentials ORDER BY ends_ms DESC LIMIT 1 OFFSET ?2))",
    )
    .bind(now_ms)
    .bind(most)
    .execute(db)
    .await
    .map(Done::rows_affected)
    .map_err(failed)
}
