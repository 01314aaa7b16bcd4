//! What the handlers of this API share: where tables are found.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::{READ, SharedWith, Shelf};
use valetkey_core::nouns::table::{ObjectFiles, SharedTable, TableFormat, UpstreamCatalog, VendedFiles};
use valetkey_core::scope::{Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::kept::Kept;
use crate::edge::{Call, Shared};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "iceberg";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long credentials live.
    pub lifetime: Lifetime,
    /// Catalogs that other servers keep.
    pub upstreams: Vec<Arc<dyn UpstreamCatalog>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Lifetime::secs(3600), upstreams: Vec::new() }
    }
}

/// What the handlers work with.
pub(super) struct Iceberg {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    /// Reads tables' metadata.
    pub(super) files: Arc<dyn ObjectFiles>,
    /// The same, where somebody else runs the store.
    pub(super) elsewhere: Arc<dyn VendedFiles>,
    /// What requests are signed with.
    pub(super) kept: Kept,
}

/// What a part of a path is written with.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as part of a path.
pub(super) fn in_path(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// Refuses what is not there, or not for the caller.
pub(super) fn absent(noun: Noun, name: &str) -> Error {
    let what = if noun == Noun::Table {
        "table"
    } else if noun == Noun::Schema {
        "namespace"
    } else {
        "warehouse"
    };
    Error::new(Kind::NotFound(noun), format!("the {what} `{}` does not exist", shortened(name)))
}

impl Iceberg {
    pub(super) async fn given(&self, call: &Call) -> Result<Arc<SharedWith>, Error> {
        self.shared.shares.shared_with(call.caller.account).await
    }

    /// The table that the path names.
    pub(super) async fn table(&self, call: &Call) -> Result<Arc<SharedTable>, Error> {
        let (prefix, namespace, name) =
            (call.params.get("prefix")?, call.params.get("namespace")?, call.params.get("table")?);
        let given = self.given(call).await?;
        let found = given.shelf(&call.caller, prefix, call.now).and_then(|shelf| shelf.table(namespace, name));
        let found = found.filter(|table| table.is_directory_of(TableFormat::Iceberg));
        found.cloned().ok_or_else(|| absent(Noun::Table, &format!("{namespace}.{name}")))
    }

    /// An ask to read all of a table.
    pub(super) fn ask(&self, table: &SharedTable) -> Result<Ask, Error> {
        let paths = Paths::only([Path::directory(table.root.as_str().as_bytes())?])?;
        Ok(Ask {
            dialect: NAME,
            target: Target::Shared { share: table.share, bucket: table.bucket.clone(), paths },
            wanted: Wanted::all_of(READ),
            lifetime: Asked::Usual(self.settings.lifetime),
            carries: Shape::ALL,
        })
    }
}

/// The tables of a list that this API shows: those whose directory recipients may read, and that are not known to be of another format.
pub(super) fn served(tables: &[Arc<SharedTable>]) -> Vec<&Arc<SharedTable>> {
    tables.iter().filter(|table| table.is_directory_of(TableFormat::Iceberg)).collect()
}

/// The warehouse that the path names.
pub(super) fn warehouse<'a>(given: &'a SharedWith, call: &Call) -> Result<&'a Shelf, Error> {
    let name = call.params.get("prefix")?;
    given.shelf(&call.caller, name, call.now).ok_or_else(|| absent(Noun::Share, name))
}
