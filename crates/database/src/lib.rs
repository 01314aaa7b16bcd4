//! The database: SQLite or Postgres behind the domain's ports.
//!
//! [`Database`] answers `Directory` and `Revocations` from memory when warm, keeps the ledger in pages committed in groups, and
//! routes every change through one connection. What is SQL stands in `sql`, written once for both; what is cached, and how a
//! change reaches the caches (of other nodes, too: `hearing`), stands beside it.

mod archive;
mod archived;
mod backup;
mod blobs;
mod cache;
mod copy;
mod counter;
mod database;
mod days;
mod directory;
mod ending;
mod ends;
mod hearing;
mod identity;
mod ledger;
mod left;
mod life;
mod memory;
mod over;
mod owed;
mod packages;
mod parents;
mod paying;
mod policy;
mod pool;
mod registry;
mod removal;
mod requests;
mod reserve;
mod revoked;
mod ring;
mod scrub;
mod settings;
mod shares;
mod shortening;
mod signing;
mod sql;
mod sweep;
mod touch;
mod trail;
mod usage;
mod workspaces;

pub use archived::{Archived, ArchivedChain, read_archive};
pub use backup::{Held, hold, newest, remove_left};
pub use copy::{Copied, Copying};
pub use database::Database;
pub use parents::ParentKeys;
pub use ring::Sealed;
pub use scrub::{Damage, Scrubbed, scrub};
pub use settings::{LedgerMode, Retention, Room, Settings, Staleness};
pub use sql::Whereabouts;
pub use sql::figures::Figures;
pub use sql::holdings::{HOLDINGS, Holding, Holdings};
pub use sql::postgres::Server;
pub use sweep::Swept;
pub use valetkey_sql::make_directory;
