//! What a writer needs of a connection.

use std::fmt::Debug;
use std::future::Future;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, SqlSafeStr as _, Sqlite};
use sqlx_core::transaction::TransactionManager as _;

type Ends = Result<(), sqlx::Error>;

/// A connection that a [`Writer`](crate::Writer) owns.
pub trait Connection: Sized + Send + Debug {
    /// How another one is opened.
    type Options: Send + Sync + Debug;

    /// Opens a connection.
    fn connect(options: &Self::Options) -> impl Future<Output = Result<Self, sqlx::Error>> + Send;

    /// Begins a transaction that writes.
    fn begin(&mut self) -> impl Future<Output = Ends> + Send;

    /// Begins a transaction that writes something of its own beside what others write.
    fn begin_beside(&mut self) -> impl Future<Output = Ends> + Send {
        self.begin()
    }

    /// Keeps what the transaction wrote.
    fn commit(&mut self) -> impl Future<Output = Ends> + Send;

    /// Undoes what the transaction wrote.
    fn rollback(&mut self) -> impl Future<Output = Ends> + Send;

    /// Whether it is to be thrown away before it is used again.
    fn is_stale(&self) -> bool {
        false
    }

    /// Whether a transaction is open that should not be.
    fn is_in_transaction(&self) -> bool;

    /// A small write that changes nothing anybody reads.
    fn trial(&mut self) -> impl Future<Output = Ends> + Send;

    /// Finds out, within a transaction, whether there is room for more than that small write, and leaves nothing behind: it is asked after
    /// a write failed.
    fn find_room(&mut self) -> impl Future<Output = Ends> + Send {
        std::future::ready(Ok(()))
    }

    /// Closes the connection.
    fn close(self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

type Transactions = <Sqlite as sqlx::Database>::TransactionManager;

impl Connection for SqliteConnection {
    type Options = SqliteConnectOptions;

    async fn connect(options: &Self::Options) -> Result<Self, sqlx::Error> {
        options.connect().await
    }

    async fn begin(&mut self) -> Ends {
        Transactions::begin(self, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    async fn commit(&mut self) -> Ends {
        Transactions::commit(self).await
    }

    async fn rollback(&mut self) -> Ends {
        Transactions::rollback(self).await
    }

    fn is_in_transaction(&self) -> bool {
        sqlx::Connection::is_in_transaction(self)
    }

    async fn trial(&mut self) -> Ends {
        // The number is nobody's and always the same, and still the page that has it is written.
        sqlx::query("PRAGMA user_version = 0").execute(self).await.map(drop)
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        sqlx::Connection::close(self).await
    }
}
