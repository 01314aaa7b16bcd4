//! What is known of the keyring's keys.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::keyring::CheckValue;

use crate::sql::db::{Db, query, query_as};
use crate::sql::{failed, rows};

/// The check values that are known, the newest key's first.
pub(crate) async fn known(db: &mut Db) -> Result<Vec<CheckValue>, Error> {
    let found: Vec<(i64, Vec<u8>)> =
        query_as("SELECT number, check_value FROM ring_keys ORDER BY place").fetch_all(db).await.map_err(failed)?;
    found
        .into_iter()
        .map(|(number, value)| {
            let number = u8::try_from(number).map_err(|_| rows::damaged("a key's number"))?;
            let value = value.as_slice().try_into().map_err(|_| rows::damaged("a check value"))?;
            Ok(CheckValue { number, value })
        })
        .collect()
}

/// Puts a ring's check values in the place of those that are known.
pub(crate) async fn keep(db: &mut Db, ring: &[CheckValue], now: Timestamp) -> Result<(), Error> {
    query("DELETE FROM ring_keys").execute(&mut *db).await.map_err(failed)?;
    for (place, key) in (0i64..).zip(ring) {
        query("INSERT INTO ring_keys (number, check_value, place, seen_ms) VALUES (?, ?, ?, ?)")
            .bind(i64::from(key.number))
            .bind(key.value.to_vec())
            .bind(place)
            .bind(now.as_millisecond())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
