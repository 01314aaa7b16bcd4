//! What the handlers of this API share: where tables are found, and which of them there are.

use std::sync::Arc;

use valetkey_core::Error;
use valetkey_core::Kind;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::{SharedWith, Shelf};
use valetkey_core::nouns::table::{SharedTable, TableFormat, TableLogs};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Storage;
use valetkey_core::time::Lifetime;

use crate::edge::{Call, Shared};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "unity";
/// What every path of it starts with.
pub const PATH: &str = "/api/2.1/unity-catalog";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long credentials live.
    pub lifetime: Lifetime,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Lifetime::secs(3600) }
    }
}

/// What the handlers work with.
pub(super) struct Unity {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    /// Nothing where this build cannot read logs.
    pub(super) logs: Option<Arc<dyn TableLogs>>,
}

/// Refuses what is not there, or not for the caller.
pub(super) fn absent(noun: Noun, name: &str) -> Error {
    let what = if noun == Noun::Table {
        "table"
    } else if noun == Noun::Schema {
        "schema"
    } else {
        "catalog"
    };
    Error::new(Kind::NotFound(noun), format!("the {what} `{}` does not exist", shortened(name)))
}

/// Refuses a table or a volume that is not there, or not for the caller.
pub(super) fn missing(format: TableFormat, name: &str) -> Error {
    if format == TableFormat::Volume {
        // It is one in every way but what lies there.
        return Error::new(Kind::NotFound(Noun::Table), format!("the volume `{}` does not exist", shortened(name)));
    }
    absent(Noun::Table, name)
}

impl Unity {
    pub(super) async fn given(&self, call: &Call) -> Result<Arc<SharedWith>, Error> {
        self.shared.shares.shared_with(call.caller.account).await
    }

    /// The storages, as the caller's account sees them. Asked after what was given: a storage is there before the tables in it.
    pub(super) async fn snapshot(&self, call: &Call) -> Result<Arc<Snapshot>, Error> {
        self.shared.vending.directory.account(call.caller.account, call.now).await
    }
}

/// The storage a table is in.
pub(super) fn storage_of<'a>(snapshot: &'a Snapshot, table: &SharedTable) -> Result<&'a Arc<Storage>, Error> {
    let gone = || Error::internal(format!("table {} is in a storage that is not on record", table.id));
    snapshot.storage(table.storage).ok_or_else(gone)
}

/// The tables of a list that this API shows: those whose directory recipients may read, and that its clients can read.
pub(super) fn served(tables: &[Arc<SharedTable>]) -> Vec<&Arc<SharedTable>> {
    tables.iter().filter(|table| table.is_directory_of(TableFormat::Delta)).collect()
}

/// The volumes of a list.
pub(super) fn volumes_of(tables: &[Arc<SharedTable>]) -> Vec<&Arc<SharedTable>> {
    tables.iter().filter(|table| table.is_volume()).collect()
}

/// A catalog by its name.
pub(super) fn catalog<'a>(given: &'a SharedWith, call: &Call, name: &str) -> Result<&'a Shelf, Error> {
    given.shelf(&call.caller, name, call.now).ok_or_else(|| absent(Noun::Share, name))
}

/// A table of one format, or a volume, by its whole name. A catalog's may have dots, those of schemas and tables have none.
pub(super) fn table<'a>(
    given: &'a SharedWith,
    call: &Call,
    name: &str,
    format: TableFormat,
) -> Result<(&'a Shelf, &'a Arc<SharedTable>), Error> {
    let missing = || missing(format, name);
    let mut parts = name.rsplitn(3, '.');
    let (Some(table), Some(schema), Some(catalog)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(missing());
    };
    let shelf = given.shelf(&call.caller, catalog, call.now).ok_or_else(missing)?;
    let found = shelf.table(schema, table).filter(|table| table.is_directory_of(format));
    found.map(|table| (shelf, table)).ok_or_else(missing)
}
