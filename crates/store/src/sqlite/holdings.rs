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
    free_removed(db).await
}

/// Has removed callers count no more. A later migration than the one with the other triggers made them removable, so this one is made
/// when both are there.
async fn free_removed(db: &mut SqliteConnection) -> Result<(), Error> {
    let removable: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM pragma_table_info('callers') WHERE name = 'standing'")
            .fetch_optional(&mut *db)
            .await
            .map_err(failed)?;
    if removable.is_none() {
        return Ok(());
    }
    sqlx::query(
        "CREATE TRIGGER IF NOT EXISTS callers_removed AFTER UPDATE OF standing ON callers
         WHEN OLD.standing <> 2 AND NEW.standing = 2 BEGIN
             UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'callers';
         END",
    )
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}
