//! Why a server of Postgres is not opened, in words that say what to do; and which reasons are over soon.

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use valetkey_core::{Error, Kind};

/// How long a server that is just starting or stopping is waited for between two attempts at a node's start: some seconds in all.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(1800),
    Duration::from_millis(2900),
];

/// What is done at a node's start, again where the server ended the connection or said that it is starting. Whoever named another
/// server, or has a wrong password, is told at once.
pub(super) async fn patiently<T, F: Future<Output = Result<T, Error>>>(start: impl Fn() -> F) -> Result<T, Error> {
    for pause in PAUSES {
        match start().await {
            Err(error) if is_over_soon(&error) => {
                tracing::info!(error = ?error, "Postgres ended the connection, and is asked again");
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
    start().await
}

/// Whether what failed may go well in a moment: a server that restarts was met.
fn is_over_soon(error: &Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let of_start = cause.downcast_ref::<Unopened>().map(|cause| &cause.of);
        match of_start.or_else(|| cause.downcast_ref::<sqlx::Error>()) {
            Some(sqlx::Error::Io(error)) => {
                let ended = matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof
                        | ErrorKind::ConnectionReset
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::BrokenPipe
                );
                return ended && !is_of_another(error);
            }
            // It shuts down, crashed or starts; or has no room for another connection.
            Some(sqlx::Error::Database(error)) => {
                return matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "53300"));
            }
            Some(_) => return false,
            None => next = cause.source(),
        }
    }
    false
}

/// Why a server was not opened. What sqlx would say has the line of Postgres's own source in it, which helps nobody.
#[derive(Debug)]
struct Unopened {
    of: sqlx::Error,
    why: String,
}

impl std::fmt::Display for Unopened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unopened {}

/// The refusal, with the reason in words.
pub(super) fn unopened(name: &str, of: sqlx::Error) -> Error {
    let why = match &of {
        sqlx::Error::Io(error) => of_way(error),
        sqlx::Error::Tls(error) => of_tls(&error.to_string()),
        sqlx::Error::Protocol(_) => format!("what answers there is no Postgres, or one that speaks otherwise: {of}"),
        sqlx::Error::Database(said) => match said.try_downcast_ref::<PgDatabaseError>() {
            Some(said) => of_server(said),
            None => said.to_string(),
        },
        error => error.to_string(),
    };
    Error::new(Kind::Unavailable, format!("the database `{name}` cannot be opened: {why}"))
        .caused_by(Unopened { of, why })
}

/// The refusal of a schema that could not be brought up to date.
pub(super) fn unmigrated(error: sqlx::migrate::MigrateError) -> Error {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
    const SAID: &str = "the database's schema cannot be brought up to date";
    let lacking = match error {
        Execute(of) | ExecuteMigration(of, _) if is_no_right(&of) => of,
        error => return Error::new(Kind::Unavailable, SAID).caused_by(error),
    };
    let words = lacking.as_database_error().map(sqlx::error::DatabaseError::message).unwrap_or_default();
    let why = format!(
        "the user has not the right to: {words}; make it the owner of the database, and of the tables in it if there are some"
    );
    Error::new(Kind::Unavailable, format!("{SAID}: {why}")).caused_by(Unopened { of: lacking, why })
}

fn is_no_right(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"))
}

/// Whether it is no Postgres that answered: four of its letters were taken for how many bytes come.
fn is_of_another(error: &std::io::Error) -> bool {
    const FEWER: u64 = 1 << 24;
    let said = error.to_string();
    let bytes = said.strip_prefix("expected to read ").and_then(|said| said.split_once(' '));
    bytes.is_some_and(|(bytes, _)| bytes.parse::<u64>().is_ok_and(|bytes| bytes > FEWER))
}

fn of_way(error: &std::io::Error) -> String {
    match error.kind() {
        _ if is_of_another(error) => "what answers there is no Postgres".to_owned(),
        ErrorKind::ConnectionRefused => format!("nothing listens at that address and port: {error}"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            format!("the server ended the connection: {error}")
        }
        // A file of `sslrootcert`, `sslcert` or `sslkey`.
        ErrorKind::NotFound | ErrorKind::PermissionDenied => {
            format!("a file that its URL names cannot be read: {error}")
        }
        ErrorKind::InvalidData => of_tls(&error.to_string()),
        _ => error.to_string(),
    }
}

fn of_tls(said: &str) -> String {
    if said.contains("does not support TLS") {
        return "it offers no TLS: switch `ssl` on at Postgres; `?sslmode=disable` is for a network that you trust whole".to_owned();
    }
    if said.contains("certificate") {
        return format!(
            "its certificate is not trusted ({said}): `?sslrootcert=/path/ca.pem` names the authority that signed it, and the URL's host has to be in it"
        );
    }
    format!("TLS failed: {said}")
}

fn of_server(said: &PgDatabaseError) -> String {
    let words = said.message();
    match said.code() {
        "28P01" | "28000" => format!("the user or the password is wrong: {words}"),
        "3D000" => format!("there is no such database (`createdb` makes one): {words}"),
        "42501" => format!("the user has not the right to: {words}"),
        _ => words.to_owned(),
    }
}
