//! The connection that writes a database: SQLite's or Postgres'. The ledger's database and the object index each have one.
//!
//! A write that fails (the disk is full, an fsync errs, the server went away) may be rolled back by the database itself, and
//! then the driver's count of open transactions is wrong for good. So a connection is out of its place while it is used and is
//! put back only by a transaction that ended well: after a failure, a panic or a future that was dropped midway the next one
//! who writes gets another connection. Transactions are begun here and nowhere else (`clippy.toml`).

mod connection;
mod directory;
mod failure;
mod health;
mod held;
mod writer;

pub use crate::connection::Connection;
pub use crate::directory::make_directory;
pub use crate::failure::{Failure, Fault, failed};
pub use crate::health::Whose;
pub use crate::held::{Held, remove_left};
pub use crate::writer::{Writer, Writing};
