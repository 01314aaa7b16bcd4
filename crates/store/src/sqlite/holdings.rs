//! The most that accounts may hold, where the triggers that hold it find it.

use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;

use crate::holdings::Holdings;
use crate::sqlite::failed;
use crate::sqlite::rows::signed;

/// Writes how much accounts may hold, and changes nothing where that is there already.
pub(crate) async fn write(db: &mut SqliteConnection, holdings: &Holdings) -> Result<(), Error> {
    for holding in holdings.iter() {
        sqlx::query(
            "INSERT INTO holding_limits (what, most) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET most = excluded.most WHERE most <> excluded.most",
        )
        .bind(holding.what)
        .bind(signed(holding.most))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
