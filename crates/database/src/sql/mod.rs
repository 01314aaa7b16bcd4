//! The connections, the schema, and everything that is SQL. One connection of this process writes, so that its writers queue
//! (`valetkey_sql`); a few read beside it. What changes something takes a connection and is called within
//! [`notes::Turn::administer`], which has it said in the ledger, or [`notes::Turn::unsaid`]: all of it is kept, or nothing.
//!
//! Statements are written once, for SQLite and for Postgres ([`db`]); how each is opened stands in a file of its name.

pub(crate) mod callers;
pub(crate) mod chain;
pub(crate) mod change;
pub(crate) mod copy;
pub(crate) mod db;
pub(crate) mod ends;
pub(crate) mod entry;
pub(crate) mod figures;
mod framed;
pub(crate) mod groups;
pub(crate) mod holdings;
pub(crate) mod identity;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod nodes;
pub(crate) mod note;
pub(crate) mod notes;
pub(crate) mod over;
pub(crate) mod packages;
pub(crate) mod pages;
pub(crate) mod parents;
pub(crate) mod policy;
pub(crate) mod pool;
pub(crate) mod postgres;
pub(crate) mod registry;
pub(crate) mod removal;
pub(crate) mod requests;
pub(crate) mod revocations;
pub(crate) mod ring;
pub(crate) mod rows;
pub(crate) mod seat;
pub(crate) mod shares;
pub(crate) mod signing;
pub(crate) mod sqlite;
pub(crate) mod sweep;
pub(crate) mod tail;
pub(crate) mod target;
pub(crate) mod trail;
mod unopened;
pub(crate) mod usage;
pub(crate) mod verify;
pub(crate) mod workspaces;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgListener, PgPool};
use sqlx::sqlite::SqlitePool;
use sqlx::{ConnectOptions as _, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;
use valetkey_core::{Error, Kind};
use valetkey_sql::Writer;

use crate::sql::db::{Db, Held, Link};
use crate::sql::holdings::refused;
use crate::sql::notes::Turn;
use crate::sql::pages::Head;
use crate::sql::postgres::Server;
use crate::sql::seat::{Seat, heard};

/// Which database it is.
#[derive(Clone, Debug)]
pub enum Whereabouts {
    /// A file of SQLite.
    File(PathBuf),
    /// A server of Postgres.
    Server(Box<Server>),
}

impl Whereabouts {
    /// The file that a node's own files stand beside: the database, or what would be it.
    pub(crate) fn beside(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Server(server) => server.beside(),
        }
    }

    /// Whether it is a file of SQLite.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl std::fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(server) => f.write_str(server.name()),
        }
    }
}

impl From<Server> for Whereabouts {
    fn from(server: Server) -> Self {
        Self::Server(Box::new(server))
    }
}

impl From<&Path> for Whereabouts {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Whereabouts {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.to_owned())
    }
}

/// The connections.
pub(crate) struct Sql {
    writer: Writer<Db>,
    readers: Readers,
    server: Option<Box<Server>>,
    /// This node, where there are several.
    seat: Option<Seat>,
    /// The ledger's last page. Changed by who has the turn.
    head: Mutex<Head>,
}

/// The connections that read.
enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Sql {
    /// Opens a database, making it or bringing its schema up to date where needed. At a server, also the connection by which this node
    /// has its chain.
    pub(crate) async fn open(at: &Whereabouts, seat: &Seat) -> Result<(Self, Option<Db>), Error> {
        Ok(match at {
            Whereabouts::File(path) => {
                let (writer, readers) = (sqlite::writer(path).await?, Readers::Sqlite(sqlite::readers(path).await?));
                (Self { writer, readers, server: None, seat: None, head: Mutex::default() }, None)
            }
            Whereabouts::Server(server) => {
                let own = postgres::node(server, seat).await?;
                let writer = postgres::writer(server, seat).await?;
                let readers = Readers::Postgres(postgres::readers(server, seat).await?);
                let (server, seat) = (Some(server.clone()), Some(seat.clone()));
                (Self { writer, readers, server, seat, head: Mutex::default() }, Some(own))
            }
        })
    }

    /// Hears what other nodes tell.
    pub(crate) async fn listener(&self) -> Result<PgListener, Error> {
        let server = self.server.as_deref().ok_or_else(|| Error::internal("no server to listen to"))?;
        postgres::listener(server).await
    }

    /// One more connection to the server, of this node.
    pub(crate) async fn another(&self, seat: &Seat) -> Result<Db, Error> {
        let server = self.server.as_deref().ok_or_else(|| Error::internal("no server to connect to"))?;
        Ok(postgres::connection(server).await?.with_seat(seat.clone()))
    }

    /// The last page that is known.
    pub(crate) fn known_head(&self) -> i64 {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).seq
    }

    /// The turn to write, for one at a time.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn::new(self.writer.turn().await, &self.head)
    }

    /// Whether the database can be written.
    pub(crate) async fn works(&self) -> Result<(), Error> {
        self.writer.works().await.map_err(failed)
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<Db, Error> {
        let link = match &self.readers {
            Readers::Sqlite(pool) => Link::Sqlite(Held::Pooled(pool.acquire().await.map_err(failed)?)),
            Readers::Postgres(pool) => Link::Postgres(Held::Pooled(pool.acquire().await.map_err(failed)?)),
        };
        Ok(Db::new(link).of(self.seat.clone()))
    }

    /// One that sees the database as it is now, whatever is written meanwhile.
    pub(crate) async fn view(&self) -> Result<Db, Error> {
        let link = match &self.readers {
            Readers::Sqlite(pool) => Link::Sqlite(Held::View(pool.begin().await.map_err(failed)?)),
            Readers::Postgres(pool) => {
                let view = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                Link::Postgres(Held::View(heard(self.seat.as_ref(), view).await.map_err(failed)?))
            }
        };
        Ok(Db::new(link).of(self.seat.clone()))
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
        let mut turn = self.turn().await;
        turn.ask(async |db: &mut Db| match db.sqlite() {
            // Moves the write-ahead log into the database's file.
            Some(db) => sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(db).await.map(drop).map_err(failed),
            None => Ok(()),
        })
        .await?;
        drop(turn);
        self.writer.close().await;
        Ok(())
    }
}

/// Makes a database or brings its schema up to date.
pub(crate) async fn migrate(at: &Whereabouts) -> Result<(), Error> {
    match at {
        Whereabouts::File(path) => sqlite::writer(path).await?.close().await,
        Whereabouts::Server(server) => postgres::migrate(server).await?,
    }
    Ok(())
}

/// A connection of its own to a database of today's schema.
pub(crate) async fn connection(at: &Whereabouts) -> Result<Db, Error> {
    match at {
        Whereabouts::File(path) => sqlite::connection(path).await,
        Whereabouts::Server(server) => postgres::connection(server).await,
    }
}

/// How long a server is told that a connection is closed, which is of no matter.
const LEAVE: Duration = Duration::from_secs(1);

/// How the connection that writes is opened again.
pub(crate) enum Options {
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
    Postgres(Box<sqlx::postgres::PgConnectOptions>, Seat),
}

/// SECURITY: those of Postgres show the password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(options) => options.fmt(f),
            Self::Postgres(_, seat) => f.debug_tuple("Postgres").field(&seat.chain()).finish(),
        }
    }
}

type Of<D> = <D as sqlx::Database>::TransactionManager;

impl valetkey_sql::Connection for Db {
    type Options = Options;

    async fn connect(options: &Options) -> Result<Self, sqlx::Error> {
        Ok(match options {
            Options::Sqlite(options) => Self::new(Link::Sqlite(Held::Own(options.connect().await?))),
            Options::Postgres(options, seat) => {
                Self::new(Link::Postgres(Held::Own(heard(Some(seat), options.connect()).await?)))
                    .with_seat(seat.clone())
            }
        })
    }

    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let Self { link, seat, .. } = self;
        match link {
            Link::Sqlite(held) => Of::<sqlx::Sqlite>::begin(held.get(), Some("BEGIN IMMEDIATE".into_sql_str())).await,
            Link::Postgres(held) => heard(seat.as_ref(), Of::<sqlx::Postgres>::begin(held.get(), None)).await,
        }
    }

    /// At Postgres no change is made until it ends.
    async fn begin_beside(&mut self) -> Result<(), sqlx::Error> {
        let Self { link, seat, .. } = self;
        match link {
            Link::Sqlite(_) => self.begin().await,
            Link::Postgres(held) => {
                let begin = sqlx::AssertSqlSafe(nodes::begin_beside()).into_sql_str();
                heard(seat.as_ref(), Of::<sqlx::Postgres>::begin(held.get(), Some(begin))).await
            }
        }
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        let Self { link, seat, .. } = self;
        match link {
            Link::Sqlite(held) => Of::<sqlx::Sqlite>::commit(held.get()).await,
            Link::Postgres(held) => heard(seat.as_ref(), Of::<sqlx::Postgres>::commit(held.get())).await,
        }
    }

    async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        let Self { link, seat, .. } = self;
        match link {
            Link::Sqlite(held) => Of::<sqlx::Sqlite>::rollback(held.get()).await,
            Link::Postgres(held) => heard(seat.as_ref(), Of::<sqlx::Postgres>::rollback(held.get())).await,
        }
    }

    fn is_stale(&self) -> bool {
        Self::is_stale(self)
    }

    fn is_in_transaction(&self) -> bool {
        match &self.link {
            Link::Sqlite(Held::Own(own)) => sqlx::Connection::is_in_transaction(own),
            Link::Postgres(Held::Own(own)) => sqlx::Connection::is_in_transaction(own),
            Link::Sqlite(_) | Link::Postgres(_) => false,
        }
    }

    async fn trial(&mut self) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Sqlite(held) => valetkey_sql::Connection::trial(held.get()).await,
            Link::Postgres(_) => db::query("UPDATE trial SET number = number + 1").execute(self).await.map(drop),
        }
    }

    async fn find_room(&mut self) -> Result<(), sqlx::Error> {
        match &self.link {
            // It is looked for beside the file.
            Link::Sqlite(_) => Ok(()),
            Link::Postgres(_) => postgres::find_room(self).await,
        }
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        match self.link {
            Link::Sqlite(Held::Own(own)) => sqlx::Connection::close(own).await,
            Link::Postgres(Held::Own(own)) => {
                tokio::time::timeout(LEAVE, sqlx::Connection::close(own)).await.unwrap_or(Ok(()))
            }
            Link::Sqlite(_) | Link::Postgres(_) => Ok(()),
        }
    }
}

/// What a migration failed of.
fn unmigrated(migrations: &Migrator, error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => {
            let own = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
            Error::new(
                Kind::Unavailable,
                format!(
                    "the database has schema {version}, which a newer valetkey wrote; this one knows up to {own}: run the newer one"
                ),
            )
        }
        error => unopened::unmigrated(error),
    }
}

/// A failure of the database, as the domain tells it; or the refusal of its own that it stands for.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    refused(&error).unwrap_or_else(|| valetkey_sql::failed(error))
}

/// Whether a statement failed because something with this key is there already.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
