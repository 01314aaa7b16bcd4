//! What a failure is of: of the database, or a refusal that has nothing to do with it.

use sqlx::postgres::PgDatabaseError;
use valetkey_core::{Error, Kind};

/// An error that a change may end in.
pub trait Failure: Sized {
    /// What the database said, in this error's words.
    fn of(error: sqlx::Error) -> Self;

    /// Whether the database failed: it could not read, write or be reached. A change that was refused is none of that.
    fn is_of_database(&self) -> bool;
}

/// How a change ended that did not end well.
#[derive(Debug)]
pub enum Fault<E> {
    /// Nothing of it is there.
    Undone(E),
    /// The commit failed: what is on disk may have it or not. The next change that is committed settles it: a reader sees then.
    Unknown(E),
}

impl<E> Fault<E> {
    /// The error.
    pub fn into_error(self) -> E {
        match self {
            Self::Undone(error) | Self::Unknown(error) => error,
        }
    }

    /// The error.
    pub fn error(&self) -> &E {
        match self {
            Self::Undone(error) | Self::Unknown(error) => error,
        }
    }
}

impl Failure for sqlx::Error {
    fn of(error: Self) -> Self {
        error
    }

    fn is_of_database(&self) -> bool {
        match self {
            Self::Io(_)
            | Self::Tls(_)
            | Self::Protocol(_)
            | Self::WorkerCrashed
            | Self::BeginFailed
            | Self::InvalidSavePointStatement
            | Self::PoolClosed
            | Self::PoolTimedOut => true,
            Self::Database(error) => match (error.code(), error.try_downcast_ref::<PgDatabaseError>()) {
                (Some(code), Some(_)) => is_failure_of_server(&code),
                (code, _) => code.and_then(|code| code.parse().ok()).is_none_or(is_failure),
            },
            _ => false,
        }
    }
}

impl Failure for Error {
    fn of(error: sqlx::Error) -> Self {
        failed(error)
    }

    fn is_of_database(&self) -> bool {
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
                return error.is_of_database();
            }
            next = cause.source();
        }
        false
    }
}

/// Whether a result code of SQLite (<https://sqlite.org/rescode.html>) says that the database failed, not the statement.
const fn is_failure(code: i32) -> bool {
    const PERM: i32 = 3;
    const BUSY: i32 = 5;
    const NOMEM: i32 = 7;
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    const NOLFS: i32 = 22;
    const NOTADB: i32 = 26;
    matches!(
        code & 0xff,
        PERM | BUSY | NOMEM | READONLY | IOERR | CORRUPT | FULL | CANTOPEN | PROTOCOL | NOLFS | NOTADB
    )
}

/// Whether an error code of Postgres (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) says that the server, its
/// disk or its connection failed, or that somebody else was in the way; not the statement.
fn is_failure_of_server(code: &str) -> bool {
    const CLASSES: [&str; 10] = ["08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX"];
    CLASSES.iter().any(|class| code.starts_with(class))
}

/// A failure of the database, as the domain tells it.
pub fn failed(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Database(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => {
            Error::new(Kind::Unavailable, "the database cannot be reached").retry_after(1).caused_by(error)
        }
        error => Error::internal("a query failed").caused_by(error),
    }
}

impl From<Fault<Error>> for Error {
    fn from(fault: Fault<Error>) -> Self {
        fault.into_error()
    }
}
