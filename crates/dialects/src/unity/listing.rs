//! What there is: catalogs, schemas and tables, page by page. What was not given to the caller is as good as absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::{Share, SharedWith, Shelf};
use valetkey_core::nouns::table::{SharedName, SharedTable, TableFormat};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::columns::{self, Column};
use super::state::{self, NAME, Unity, absent, served, storage_of, volumes_of};
use crate::edge::location::url;
use crate::edge::{Call, Listing, Page, Reply};

pub(super) const PAGE: &[&str] = &["max_results", "page_token"];
pub(super) const OF_CATALOG: &[&str] = &["catalog_name", "max_results", "page_token"];
pub(super) const OF_SCHEMA: &[&str] = &["catalog_name", "schema_name", "max_results", "page_token"];

/// Rows of one page at most, as the reference server has it for tables: some 30 KiB.
const MOST: usize = 50;

/// What every entry has that may have properties. There are none.
type Properties = BTreeMap<&'static str, &'static str>;

#[derive(Serialize)]
struct CatalogShown<'a> {
    name: &'a str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    properties: Properties,
    created_at: i64,
    updated_at: i64,
}

impl<'a> CatalogShown<'a> {
    fn of(share: &'a Share) -> Self {
        let made = share.made.as_millisecond();
        Self {
            name: share.name.as_str(),
            id: share.id.as_uuid(),
            comment: share.comment.as_deref(),
            properties: Properties::new(),
            created_at: made,
            updated_at: made,
        }
    }
}

#[derive(Serialize)]
struct SchemaShown<'a> {
    name: &'a str,
    catalog_name: &'a str,
    full_name: String,
    properties: Properties,
    created_at: i64,
    updated_at: i64,
}

impl<'a> SchemaShown<'a> {
    fn of(share: &'a Share, name: &'a SharedName) -> Self {
        let made = share.made.as_millisecond();
        Self {
            name: name.as_str(),
            catalog_name: share.name.as_str(),
            full_name: format!("{}.{}", share.name, name),
            properties: Properties::new(),
            created_at: made,
            updated_at: made,
        }
    }
}

#[derive(Serialize)]
struct TableShown<'a> {
    name: &'a str,
    catalog_name: &'a str,
    schema_name: &'a str,
    full_name: String,
    table_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_source_format: Option<&'static str>,
    columns: Vec<Column>,
    storage_location: String,
    properties: Properties,
    table_id: String,
    created_at: i64,
    updated_at: i64,
}

impl<'a> TableShown<'a> {
    fn of(share: &'a Share, table: &'a SharedTable, snapshot: &Snapshot) -> Result<Self, Error> {
        // When a table was added is in its id.
        let made = table.id.made_ms();
        Ok(Self {
            name: table.name.as_str(),
            catalog_name: share.name.as_str(),
            schema_name: table.schema.as_str(),
            full_name: format!("{}.{}.{}", share.name, table.schema, table.name),
            table_type: "EXTERNAL",
            data_source_format: Some("DELTA"),
            columns: Vec::new(),
            storage_location: url(storage_of(snapshot, table)?, table, &table.root),
            properties: Properties::new(),
            table_id: table.id.as_uuid(),
            created_at: made,
            updated_at: made,
        })
    }
}

fn required<'c>(call: &'c Call, name: &'static str) -> Result<&'c str, Error> {
    let given = call.query.get(name).filter(|given| !given.is_empty());
    given.ok_or_else(|| Error::new(Kind::Invalid, format!("the parameter `{name}` is missing")).at(name))
}

/// The part of a sorted list that is asked for: more than there is in a page is cut, and 0 leaves it to the server.
fn page<'a, T>(
    unity: &Unity,
    call: &Call,
    name: &[&str],
    all: &'a [T],
    key: impl Fn(&T) -> String,
) -> Result<Page<'a, T>, Error> {
    let size = match call.query.get("max_results") {
        None => MOST,
        Some(text) => match text.parse::<u32>() {
            Ok(0) => MOST,
            Ok(size) => usize::try_from(size).unwrap_or(MOST).min(MOST),
            Err(_) => {
                let said = format!("`{}` is not a number from 0 on", shortened(text));
                return Err(Error::new(Kind::Invalid, said).at("max_results"));
            }
        },
    };
    let name: Vec<&str> = [NAME].iter().chain(name).copied().collect();
    Listing { call, token: "page_token", size, name: &name }.of(&unity.shared, all, key)
}

/// A page of entries, under the name that the API has for them.
fn told<T: Serialize>(of: &'static str, entries: Vec<T>, next: Option<String>) -> Result<Reply, Error> {
    #[derive(Serialize)]
    struct Told<T> {
        #[serde(flatten)]
        entries: BTreeMap<&'static str, Vec<T>>,
        next_page_token: Option<String>,
    }
    Reply::json(&Told { entries: BTreeMap::from([(of, entries)]), next_page_token: next })
}

/// The schemas of a list of tables: of those that this API shows, and of volumes.
fn schemas_of(tables: &[Arc<SharedTable>]) -> Vec<&SharedName> {
    let shown = tables.iter().filter(|table| table.is_directory_of(TableFormat::Delta) || table.is_volume());
    let mut names: Vec<&SharedName> = shown.map(|table| &table.schema).collect();
    names.dedup();
    names
}

/// A schema: it has at least one table or volume.
fn of_schema<'a>(shelf: &'a Shelf, schema: &str) -> Result<&'a SharedName, Error> {
    let found = schemas_of(shelf.schema(schema)).into_iter().next();
    found.ok_or_else(|| absent(Noun::Schema, &format!("{}.{schema}", shelf.share.name)))
}

/// `GET /catalogs`.
pub(super) async fn catalogs(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let given = unity.given(&call).await?;
    let shelves: Vec<&Shelf> = given.shelves(&call.caller, call.now).collect();
    let page = page(&unity, &call, &["catalogs"], &shelves, |shelf| shelf.share.name.folded().to_owned())?;
    told("catalogs", page.items.into_iter().map(|shelf| CatalogShown::of(&shelf.share)).collect(), page.next)
}

/// `GET /catalogs/{name}`.
pub(super) async fn catalog(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let given = unity.given(&call).await?;
    Reply::json(&CatalogShown::of(&state::catalog(&given, &call, call.params.get("name")?)?.share))
}

/// `GET /schemas`.
pub(super) async fn schemas(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let name = required(&call, "catalog_name")?;
    let given = unity.given(&call).await?;
    let shelf = state::catalog(&given, &call, name)?;
    let names = schemas_of(shelf.tables());
    let listing = ["schemas", shelf.share.name.folded()];
    let page = page(&unity, &call, &listing, &names, |name| name.folded().to_owned())?;
    let shown = page.items.into_iter().map(|name| SchemaShown::of(&shelf.share, name)).collect();
    told("schemas", shown, page.next)
}

/// `GET /schemas/{catalog.schema}`.
pub(super) async fn schema(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let name = call.params.get("name")?;
    let given = unity.given(&call).await?;
    let missing = || absent(Noun::Schema, name);
    let (catalog, schema) = name.rsplit_once('.').ok_or_else(missing)?;
    let shelf = given.shelf(&call.caller, catalog, call.now).ok_or_else(missing)?;
    Reply::json(&SchemaShown::of(&shelf.share, of_schema(shelf, schema)?))
}

/// `GET /tables`.
pub(super) async fn tables(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let (catalog, schema) = (required(&call, "catalog_name")?, required(&call, "schema_name")?);
    let given = unity.given(&call).await?;
    let shelf = state::catalog(&given, &call, catalog)?;
    let tables = served(shelf.schema(schema));
    let listing = ["tables", shelf.share.name.folded(), of_schema(shelf, schema)?.folded()];
    let page = page(&unity, &call, &listing, &tables, |table| table.name.folded().to_owned())?;
    let snapshot = unity.snapshot(&call).await?;
    let shown = page.items.into_iter().map(|table| TableShown::of(&shelf.share, table, &snapshot));
    told("tables", shown.collect::<Result<Vec<_>, _>>()?, page.next)
}

/// `GET /tables/{catalog.schema.table}`, with what its log says of it, where this server reads it.
pub(super) async fn table(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let given: Arc<SharedWith> = unity.given(&call).await?;
    let (shelf, table) = state::table(&given, &call, call.params.get("name")?, TableFormat::Delta)?;
    let snapshot = unity.snapshot(&call).await?;
    let mut shown = TableShown::of(&shelf.share, table, &snapshot)?;
    match columns::read(&unity, &call, table, &snapshot).await? {
        columns::Told::Columns(columns) => shown.columns = columns,
        columns::Told::NoLog => shown.data_source_format = None,
        columns::Told::Unread => {}
    }
    Reply::json(&shown)
}

#[derive(Serialize)]
struct VolumeShown<'a> {
    name: &'a str,
    catalog_name: &'a str,
    schema_name: &'a str,
    full_name: String,
    volume_type: &'static str,
    storage_location: String,
    volume_id: String,
    created_at: i64,
    updated_at: i64,
}

impl<'a> VolumeShown<'a> {
    fn of(share: &'a Share, volume: &'a SharedTable, snapshot: &Snapshot) -> Result<Self, Error> {
        // When a volume was added is in its id.
        let made = volume.id.made_ms();
        Ok(Self {
            name: volume.name.as_str(),
            catalog_name: share.name.as_str(),
            schema_name: volume.schema.as_str(),
            full_name: format!("{}.{}.{}", share.name, volume.schema, volume.name),
            volume_type: "EXTERNAL",
            storage_location: url(storage_of(snapshot, volume)?, volume, &volume.root),
            volume_id: volume.id.as_uuid(),
            created_at: made,
            updated_at: made,
        })
    }
}

/// `GET /volumes`.
pub(super) async fn volumes(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let (catalog, schema) = (required(&call, "catalog_name")?, required(&call, "schema_name")?);
    let given = unity.given(&call).await?;
    let shelf = state::catalog(&given, &call, catalog)?;
    let volumes = volumes_of(shelf.schema(schema));
    let listing = ["volumes", shelf.share.name.folded(), of_schema(shelf, schema)?.folded()];
    let page = page(&unity, &call, &listing, &volumes, |volume| volume.name.folded().to_owned())?;
    let snapshot = unity.snapshot(&call).await?;
    let shown = page.items.into_iter().map(|volume| VolumeShown::of(&shelf.share, volume, &snapshot));
    told("volumes", shown.collect::<Result<Vec<_>, _>>()?, page.next)
}

/// `GET /volumes/{catalog.schema.volume}`.
pub(super) async fn volume(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let given = unity.given(&call).await?;
    let (shelf, volume) = state::table(&given, &call, call.params.get("name")?, TableFormat::Volume)?;
    let snapshot = unity.snapshot(&call).await?;
    Reply::json(&VolumeShown::of(&shelf.share, volume, &snapshot)?)
}
