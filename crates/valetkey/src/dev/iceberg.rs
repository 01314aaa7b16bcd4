//! The demo's Iceberg table, in the share of the Delta table; and what the demo tells of Iceberg's REST catalog.

use std::path::Path;

use serde::Serialize;
use valetkey_core::id::ShareId;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableFormat, TableRoot};

use crate::dev::making::{or_there, token};
use crate::dev::share::{CALLER, SCHEMA, SHARE, ShareState};
use crate::node::Handles;

#[path = "../../../../demo/iceberg.rs"]
mod table;

const TABLE: &str = "arrivals";

/// What scripts are told.
#[derive(Serialize)]
pub(crate) struct IcebergReady<'a> {
    /// What clients take as `uri`.
    url: String,
    token: &'a str,
    warehouse: &'static str,
    /// The table, with its namespace.
    table: String,
}

/// The table, with its namespace.
pub(crate) fn name() -> String {
    format!("{SCHEMA}.{TABLE}")
}

/// The path of the table in the API.
pub(crate) fn path() -> String {
    format!("/iceberg/v1/{SHARE}/namespaces/{SCHEMA}/tables/{TABLE}")
}

/// The bucket and the directory of the table.
pub(crate) const fn place() -> (&'static str, &'static str) {
    (table::BUCKET, table::ROOT)
}

impl<'a> IcebergReady<'a> {
    /// Of a demo that listens there.
    pub(crate) fn new(api: &str, state: &'a ShareState) -> Self {
        Self { url: format!("{api}/iceberg"), token: &state.token, warehouse: SHARE, table: name() }
    }

    /// How to read the table with `PyIceberg`, and what it is told.
    pub(crate) fn examples(&self, data_dir: &Path) -> [String; 2] {
        let Self { url, token: _, warehouse, table } = self;
        let token = token(data_dir, CALLER);
        [
            format!(
                "  TOKEN=\"{token}\" python3 -c 'import os; from pyiceberg.catalog.rest import RestCatalog; print(RestCatalog(\"demo\", \
                 uri=\"{url}\", warehouse=\"{warehouse}\", token=os.environ[\"TOKEN\"]).load_table(\"{table}\").scan(limit=5).to_arrow())'   \
                 # pip install 'pyiceberg[pyarrow]'"
            ),
            format!("  curl -s {url}{} -H \"Authorization: Bearer {token}\"", path().trim_start_matches("/iceberg")),
        ]
    }
}

/// Puts the table into the demo's share, if that is there. What an earlier start that was cut short has made is found again.
pub(crate) async fn make(node: &Handles) -> anyhow::Result<bool> {
    let known = node.registry.shares().await?;
    let Some(share): Option<ShareId> = known.iter().find(|share| share.name.is(SHARE)).map(|share| share.id) else {
        return Ok(false);
    };
    let now = node.clock.now();
    let bucket = BucketName::parse(table::BUCKET)?;
    or_there(node.registry.create_bucket(node.storage.id, &bucket, now).await)?;
    node.endpoint.ensure_bucket(&bucket).await?;
    for (key, media_type, bytes) in table::FILES {
        node.endpoint.put_bytes(&bucket, key, (*bytes).into(), media_type).await?;
    }
    let shared = NewTable {
        id: (),
        share: (),
        schema: SharedName::part(SCHEMA)?,
        name: SharedName::part(TABLE)?,
        storage: node.storage.id,
        bucket,
        root: TableRoot::parse(table::ROOT)?,
        auxiliary: Vec::new(),
        access: TableAccess::Directory,
        history: History::Shared,
        format: Some(TableFormat::Iceberg),
    };
    or_there(node.registry.add_table(share, shared, now).await.map(drop))?;
    Ok(true)
}
