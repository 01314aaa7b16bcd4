//! The connection that writes an SQLite database. The ledger's store and the object index each have one.
//!
//! A write that fails (the disk is full, an fsync errs) may be rolled back by SQLite itself, and then the driver's count of
//! open transactions is wrong for good. So a connection is out of its place while it is used and is put back only by a
//! transaction that ended well: after a failure, a panic or a future that was dropped midway the next one who writes gets
//! another connection. Transactions are begun here and nowhere else (`clippy.toml`).

mod failure;
mod health;
mod writer;

pub use crate::failure::{Failure, Fault, failed};
pub use crate::writer::{Writer, Writing};
