//! How SQLite is opened: a file of this machine.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use valetkey_core::{Error, Kind};
use valetkey_sql::{Fault, Writer};

use crate::sql::db::{Db, Held, Link};
use crate::sql::{Options, failed, parents, unmigrated};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Connections that read beside the one that writes.
const READERS: u32 = 4;

/// The connection that writes, to a database of today's schema.
pub(super) async fn writer(path: &Path) -> Result<Writer<Db>, Error> {
    let mut connection = connect(path).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| unmigrated(&MIGRATIONS, error))?;
    let options = Options::Sqlite(Box::new(options(path).create_if_missing(false)));
    let writer = Writer::new(Db::new(Link::Sqlite(Held::Own(connection))), options, path);
    writer.change(parents::renew_digests).await.map_err(Fault::into_error)?;
    Ok(writer)
}

pub(super) async fn connection(path: &Path) -> Result<Db, Error> {
    Ok(Db::new(Link::Sqlite(Held::Own(connect(path).await?))))
}

pub(super) async fn readers(path: &Path) -> Result<SqlitePool, Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        // A view that was not ended (SQLite rolled it back by itself, and the driver does not know) would show the same
        // rows for ever.
        .after_release(|reader, _| Box::pin(async move { Ok(!reader.is_in_transaction()) }))
        .connect_with(options(path).read_only(true).create_if_missing(false))
        .await
        .map_err(failed)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        // Pages of the log are written once and seldom touched again: a larger log means fewer stops to copy it.
        .pragma("wal_autocheckpoint", "4000")
        .disable_statement_logging()
}

async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    make_private(path);
    options(path).connect().await.map_err(|error| {
        Error::new(Kind::Unavailable, format!("the database `{}` cannot be opened", path.display())).caused_by(error)
    })
}

/// Makes the file, if it is not there, for its owner alone. SQLite gives its log beside it the same rights. Where this
/// fails, opening says why.
fn make_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}
