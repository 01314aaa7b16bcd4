//! How Postgres is opened: a server that several nodes share.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgSslMode};
use valetkey_core::secret::Secret;
use valetkey_core::{Error, Kind};
use valetkey_sql::{Whose, Writer};

use crate::sql::db::{Db, Held, Link, query};
use crate::sql::seat::Seat;
use crate::sql::unopened::{patiently, unopened};
use crate::sql::{Options, failed, nodes, unmigrated};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// The oldest server that is tried: Debian 12 has it.
const OLDEST: i32 = 150_000;

/// How long a connection is waited for: longer than a server that restarts takes, shorter than a client's patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long whoever asks waits for a connection that reads: then the database is away, or all are taken.
const SHORT: Duration = Duration::from_secs(3);

/// How long a statement may take. The longest that is asked is a page of a list.
const STATEMENT: Duration = Duration::from_secs(30);

/// How long a server may do nothing within a transaction: then it is frozen or cut off, and the others wait for what it locked.
const IDLE: Duration = Duration::from_secs(3);

/// After so long without a sign of life Postgres takes a server for gone, whose place others may take.
const GONE: Duration = Duration::from_secs(25);

/// A server of Postgres, and how it is used.
#[derive(Clone)]
pub struct Server {
    /// SECURITY: its `Debug` shows the password.
    options: PgConnectOptions,
    name: Arc<str>,
    connections: u32,
    beside: PathBuf,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(&self.name).finish()
    }
}

impl Server {
    /// The server that a URL names, `postgres://user@host:port/database`; the password may be in it or apart.
    ///
    /// A connection that leaves this machine is encrypted and the server's certificate verified; `sslmode=disable` is for a network
    /// that is trusted whole. `connections` is how many read at most; two more write and listen. A node's own files stand beside the file `beside`.
    ///
    /// # Errors
    /// In words without the URL, which may have a password.
    pub fn new(
        url: &Secret<String>,
        password: Option<&Secret<String>>,
        connections: u32,
        beside: PathBuf,
    ) -> Result<Self, String> {
        const FORM: &str = "is not a URL like `postgres://valetkey@db.example.com:5432/valetkey`";
        let url = url.reveal();
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(FORM.to_owned());
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| FORM.to_owned())?;
        let (user, database) = (options.get_username(), options.get_database());
        let (host, local) = if let Some(socket) = options.get_socket() {
            (socket.display().to_string(), true)
        } else {
            let host = options.get_host();
            (host.to_owned(), is_local(host))
        };
        let database = database.filter(|name| !name.is_empty()).ok_or("names no database")?;
        let name = format!("postgres://{user}@{host}:{}/{database}", options.get_port()).into();
        let asked =
            url.split_once('?').is_some_and(|(_, query)| query.contains("sslmode=") || query.contains("ssl-mode="));
        let mode = match (asked, options.get_ssl_mode()) {
            (false, _) if local => PgSslMode::Disable,
            (false, _) => PgSslMode::VerifyFull,
            (true, mode @ (PgSslMode::Disable | PgSslMode::VerifyCa | PgSslMode::VerifyFull)) => mode,
            (true, _) => {
                return Err("has an `sslmode` that does not verify the server; allowed are `verify-full` (which it is without one), `verify-ca` and `disable`".to_owned());
            }
        };
        let mut options = options
            .ssl_mode(mode)
            .application_name("valetkey")
            .options([
                // Whatever is set for the user meanwhile: a lease is durable before its credential is returned.
                ("synchronous_commit", "on".to_owned()),
                ("statement_timeout", STATEMENT.as_millis().to_string()),
                ("idle_in_transaction_session_timeout", IDLE.as_millis().to_string()),
                ("tcp_keepalives_idle", "10".to_owned()),
                ("tcp_keepalives_interval", "5".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
                ("tcp_user_timeout", GONE.as_millis().to_string()),
            ])
            .disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password.reveal());
        }
        Ok(Self { options, name, connections, beside })
    }

    pub(crate) fn beside(&self) -> &Path {
        &self.beside
    }

    /// The server, without a password.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether a host is this machine.
fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback())
        || host.starts_with('/')
}

/// Brings the schema up to date. Of many that try at once one does it, and the others wait.
pub(super) async fn migrate(server: &Server) -> Result<(), Error> {
    patiently(|| migrate_once(server)).await
}

async fn migrate_once(server: &Server) -> Result<(), Error> {
    let mut connection = connect(server).await?;
    suits(server, &mut connection).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| unmigrated(&MIGRATIONS, error))
}

/// The connection by which a node has its chain, to a database of today's schema.
pub(super) async fn node(server: &Server, seat: &Seat) -> Result<Db, Error> {
    patiently(|| node_once(server, seat)).await
}

async fn node_once(server: &Server, seat: &Seat) -> Result<Db, Error> {
    migrate_once(server).await?;
    let mut own = connection(server).await?.with_seat(seat.clone());
    seat.take(nodes::take_chain(&mut own).await?);
    Ok(own)
}

/// The connection that writes a chain.
pub(super) async fn writer(server: &Server, seat: &Seat) -> Result<Writer<Db>, Error> {
    let db = patiently(|| connection(server)).await?.with_seat(seat.clone());
    let options = Options::Postgres(Box::new(server.options.clone()), seat.clone());
    Ok(Writer::new(db, options, Whose::Server(Arc::clone(&server.name))))
}

pub(super) async fn connection(server: &Server) -> Result<Db, Error> {
    Ok(Db::new(Link::Postgres(Held::Own(connect(server).await?))))
}

/// Hears what other nodes tell, with a connection of its own.
pub(super) async fn listener(server: &Server) -> Result<PgListener, Error> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
    let pool = pool.connect_lazy_with(server.options.clone());
    let mut listener = PgListener::connect_with(&pool).await.map_err(failed)?;
    listener.eager_reconnect(false);
    listener.listen(nodes::CHANNEL).await.map_err(failed)?;
    Ok(listener)
}

pub(super) async fn readers(server: &Server, seat: &Seat) -> Result<PgPool, Error> {
    let seat = seat.clone();
    PgPoolOptions::new()
        .max_connections(server.connections)
        .acquire_timeout(SHORT)
        // A connection that broke while nobody used it, or that nobody answers any more, is found before somebody does.
        .test_before_acquire(false)
        .before_acquire(move |connection, about| {
            let age_ms = u64::try_from(about.age.as_millis()).unwrap_or(u64::MAX);
            let stale = seat.is_stale(seat.now_ms().saturating_sub(age_ms));
            Box::pin(async move { Ok(!stale && sqlx::Connection::ping(connection).await.is_ok()) })
        })
        .connect_with(server.options.clone())
        .await
        .map_err(failed)
}

async fn connect(server: &Server) -> Result<PgConnection, Error> {
    match tokio::time::timeout(PATIENCE, server.options.connect()).await {
        Ok(connected) => connected.map_err(|error| unopened(&server.name, error)),
        Err(_) => Err(Error::new(
            Kind::Unavailable,
            format!("the database `{}` cannot be opened: no answer within {} seconds", server.name, PATIENCE.as_secs()),
        )),
    }
}

/// Whether a table grows: a row that is there is changed in its place even where the disk is full. Pages of the ledger that are not kept,
/// small ones and a large one, which Postgres stores apart. Vacuuming takes their room back.
pub(super) async fn find_room(db: &mut Db) -> Result<(), sqlx::Error> {
    const GROW: &str = "INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, hash, body)
         SELECT -n, 0, 0, 0, 0, 0, sha256('room'),
             (SELECT string_agg(decode(md5(n::text || m), 'hex'), '') FROM generate_series(1, CASE n WHEN 1 THEN 4096 ELSE 112 END) m)
         FROM generate_series(1, 17) n";
    for sql in ["SAVEPOINT room", GROW, "ROLLBACK TO SAVEPOINT room"] {
        query(sql).execute(&mut *db).await?;
    }
    Ok(())
}

/// Refuses a server that would not keep what is promised.
async fn suits(server: &Server, connection: &mut PgConnection) -> Result<(), Error> {
    let name = &server.name;
    let refuse =
        |why: &str| Err(Error::new(Kind::Unavailable, format!("the database `{name}` cannot be opened: {why}")));
    let asked: (i32, bool, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int,
             pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, current_setting('fsync'),
             current_setting('server_encoding')",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    match asked {
        (version, ..) if version < OLDEST => refuse(&format!(
            "it is Postgres {}, and {} is the oldest that can be used",
            version / 10_000,
            OLDEST / 10_000
        )),
        (_, true, ..) => refuse("it is a replica or a database set read-only; name the primary"),
        (_, _, fsync, _) if fsync == "off" => {
            refuse("`fsync` is off: a crash would forget leases of credentials that were issued")
        }
        (.., encoding) if encoding != "UTF8" => refuse(&format!("its encoding is {encoding}, not UTF8")),
        _ => Ok(()),
    }
}
