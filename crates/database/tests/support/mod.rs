//! Databases of Postgres for tests: each its own, on the server that `tests/postgres/with` starts.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The server's URL.
fn server() -> String {
    let given = std::env::vars().find(|(name, _)| name == "VALETKEY_TEST_POSTGRES");
    assert!(given.is_some(), "no server of Postgres: run the tests with `tests/postgres/with cargo nextest run …`");
    given.unwrap_or_default().1
}

/// The URL of a new database, named as a folder is.
pub(crate) async fn new_database(folder: &Path) -> String {
    let (url, name) = (server(), folder.file_name().unwrap().to_string_lossy().replace('.', "").to_lowercase());
    let mut db = PgConnection::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    url.replacen("/postgres?", &format!("/{name}?"), 1)
}
