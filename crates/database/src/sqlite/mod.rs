//! SQLite: the connections, the schema, and everything that is SQL. One connection writes, so that writers queue and never meet
//! `SQLITE_BUSY` (`valetkey_sqlite`); a few read beside it. What changes something takes a connection and is called within
//! [`notes::Turn::administer`], which has it said in the ledger, or [`notes::Turn::unsaid`]: all of it is kept, or nothing.

pub(crate) mod callers;
pub(crate) mod change;
pub(crate) mod ends;
pub(crate) mod entry;
pub(crate) mod figures;
mod framed;
pub(crate) mod holdings;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod note;
pub(crate) mod notes;
pub(crate) mod packages;
pub(crate) mod pages;
pub(crate) mod parents;
pub(crate) mod registry;
pub(crate) mod removal;
pub(crate) mod revocations;
pub(crate) mod ring;
pub(crate) mod rows;
pub(crate) mod shares;
pub(crate) mod sweep;
pub(crate) mod tail;
pub(crate) mod target;
pub(crate) mod usage;
pub(crate) mod verify;
pub(crate) mod workspaces;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use valetkey_core::{Error, Kind};
use valetkey_sqlite::{Fault, Writer};

use crate::sqlite::holdings::refused;
use crate::sqlite::notes::Turn;
use crate::sqlite::pages::Head;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Connections that read beside the one that writes.
const READERS: u32 = 4;

/// The connections.
pub(crate) struct Sqlite {
    writer: Writer,
    readers: SqlitePool,
    /// The ledger's last page. Changed by who has the turn.
    head: Mutex<Head>,
}

impl Sqlite {
    /// Opens a database, making it or bringing its schema up to date where needed.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let writer = writer(path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            // A view that was not ended (SQLite rolled it back by itself, and the driver does not know) would show the same
            // rows for ever.
            .after_release(|reader, _| Box::pin(async move { Ok(!reader.is_in_transaction()) }))
            .connect_with(options(path).read_only(true).create_if_missing(false))
            .await
            .map_err(failed)?;
        Ok(Self { writer, readers, head: Mutex::default() })
    }

    /// The turn to write, for one at a time.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn::new(self.writer.turn().await, &self.head)
    }

    /// Whether the database can be written.
    pub(crate) async fn works(&self) -> Result<(), Error> {
        self.writer.works().await.map_err(failed)
    }

    /// The connections that read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Moves the write-ahead log into the database file and closes the readers.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.readers.close().await;
        let mut turn = self.turn().await;
        turn.ask(async |db: &mut SqliteConnection| {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(db).await.map(drop).map_err(failed)
        })
        .await
    }
}

/// Makes a database or brings its schema up to date.
pub(crate) async fn migrate_file(path: &Path) -> Result<(), Error> {
    writer(path).await?.close().await;
    Ok(())
}

/// The connection that writes, to a database of today's schema.
async fn writer(path: &Path) -> Result<Writer, Error> {
    let mut connection = connect(path).await?;
    migrate(&mut connection).await?;
    let writer = Writer::new(connection, options(path).create_if_missing(false), path);
    writer.change(parents::renew_digests).await.map_err(Fault::into_error)?;
    Ok(writer)
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

async fn migrate(writer: &mut SqliteConnection) -> Result<(), Error> {
    MIGRATIONS.run(&mut *writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => {
            let own = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
            Error::new(
                Kind::Unavailable,
                format!(
                    "the database has schema {version}, which a newer valetkey wrote; this one knows up to {own}: run the newer one"
                ),
            )
        }
        error => Error::new(Kind::Unavailable, "the database's schema cannot be brought up to date").caused_by(error),
    })
}

/// A failure of the database, as the domain tells it; or the refusal of its own that it stands for.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    refused(&error).unwrap_or_else(|| valetkey_sqlite::failed(error))
}

/// Whether a statement failed because something with this key is there already.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
