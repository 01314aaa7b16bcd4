//! What a recipient was given: shares, schemas and tables, page by page. What it was not given is as good as absent.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::{Share, SharedWith, Shelf};
use valetkey_core::nouns::table::{SharedName, SharedTable, TableFormat};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use super::{Sharing, json_reply};
use crate::edge::location::url;
use crate::edge::{Call, Listing, Page, Reply};

/// Refuses what is not there, in the words that clients' support pages know.
pub(super) fn absent(noun: Noun, name: &str) -> Error {
    Error::new(
        Kind::NotFound(noun),
        format!(
            "[Share/Schema/Table] '{}' does not exist, please contact your share provider for further information.",
            shortened(name)
        ),
    )
}

/// The parameters that listings take.
pub(super) const PARAMETERS: &[&str] = &["maxResults", "pageToken"];
/// Rows of one page at most; the protocol leaves it to the server. A share has tens of tables, and a page of 500 has some 50 KiB.
const MOST: usize = 500;

fn size(text: Option<&str>) -> Result<usize, Error> {
    let Some(text) = text else { return Ok(MOST) };
    let number: i64 = text.parse().map_err(|_| {
        let said = "expected a number but the string didn't have the appropriate format";
        Error::new(Kind::Invalid, said).at("maxResults")
    })?;
    usize::try_from(number).ok().filter(|size| *size <= MOST).ok_or_else(|| {
        let said = format!("acceptable values of `maxResults` are 0 to {MOST}; it is {}", shortened(text));
        Error::new(Kind::Invalid, said).at("maxResults")
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

#[derive(Serialize)]
struct ShareShown<'a> {
    name: &'a str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

impl<'a> ShareShown<'a> {
    fn of(share: &'a Share) -> Self {
        Self { name: share.name.as_str(), id: share.id.to_string(), comment: share.comment.as_deref() }
    }
}

#[derive(Serialize)]
struct OneShare<'a> {
    share: ShareShown<'a>,
}

#[derive(Serialize)]
struct SchemaShown<'a> {
    name: &'a str,
    share: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableShown<'a> {
    name: &'a str,
    schema: &'a str,
    share: &'a str,
    share_id: String,
    id: String,
    #[serde(flatten)]
    access: AccessShown,
}

/// The store a table is in.
pub(super) fn storage_of<'a>(stores: &'a Snapshot, table: &SharedTable) -> Result<&'a Arc<Storage>, Error> {
    let gone = || Error::internal(format!("table {} is in a storage that is not on record", table.id));
    stores.storage(table.storage).ok_or_else(gone)
}

/// How a table may be read; in listings and in its metadata.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auxiliary_locations: Option<Vec<String>>,
    access_modes: Vec<&'static str>,
}

impl Sharing {
    /// How a table is served by this server. Where it is, is told to those who may go there.
    pub(super) fn access(&self, table: &SharedTable, storage: &Storage) -> AccessShown {
        let by_url = table.access.by_url() && self.urls.is_some();
        let by_directory = table.access.by_directory();
        let modes = [by_url.then_some("url"), by_directory.then_some("dir")];
        AccessShown {
            location: by_directory.then(|| url(storage, table, &table.root)),
            auxiliary_locations: (by_directory && !table.auxiliary.is_empty())
                .then(|| table.auxiliary.iter().map(|root| url(storage, table, root)).collect()),
            access_modes: modes.into_iter().flatten().collect(),
        }
    }

    /// The part of a sorted list that is asked for. `name` names the list; `key` is what the list is sorted by.
    pub(super) fn page<'a, T>(
        &self,
        call: &Call,
        name: &[&str],
        all: &'a [T],
        key: impl Fn(&T) -> String,
    ) -> Result<Page<'a, T>, Error> {
        let size = size(call.query.get("maxResults"))?;
        Listing { call, token: "pageToken", size, name }.of(&self.shared, all, key)
    }

    pub(super) async fn given(&self, call: &Call) -> Result<Arc<SharedWith>, Error> {
        self.shared.shares.shared_with(call.caller.account).await
    }

    /// The stores, as the caller's account sees them. Asked after what was given: a store is there before the tables in it.
    pub(super) async fn stores(&self, call: &Call) -> Result<Arc<Snapshot>, Error> {
        self.shared.vending.directory.account(call.caller.account, call.now).await
    }

    fn table_shown<'a>(
        &self,
        (share, schema): (&'a str, &'a str),
        of: &Share,
        table: &'a SharedTable,
        stores: &Snapshot,
    ) -> Result<TableShown<'a>, Error> {
        Ok(TableShown {
            name: table.name.as_str(),
            schema,
            share,
            share_id: of.id.to_string(),
            id: table.id.to_string(),
            access: self.access(table, storage_of(stores, table)?),
        })
    }
}

/// The tables of a list that this API shows: those that its clients can read, as far as is known.
fn served(tables: &[Arc<SharedTable>]) -> Vec<&Arc<SharedTable>> {
    tables.iter().filter(|table| table.may_be(TableFormat::Delta)).collect()
}

/// A schema that has tables of this API, or volumes: each list of it may be empty.
pub(super) fn of_schema<'a>(shelf: &'a Shelf, (share, schema): (&str, &str)) -> Result<&'a SharedName, Error> {
    let mut all = shelf.schema(schema).iter();
    let first = all.find(|table| table.may_be(TableFormat::Delta) || table.is_volume());
    let first = first.ok_or_else(|| absent(Noun::Schema, &format!("{share}/{schema}")))?;
    Ok(&first.schema)
}

/// `GET /shares`.
pub(super) async fn shares(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let given = sharing.given(&call).await?;
    let shelves: Vec<&Shelf> = given.shelves(&call.caller, call.now).collect();
    let page = sharing.page(&call, &["shares"], &shelves, |shelf| shelf.share.name.folded().to_owned())?;
    json_reply(&Listed {
        items: page.items.into_iter().map(|shelf| ShareShown::of(&shelf.share)).collect(),
        next_page_token: page.next,
    })
}

/// `GET /shares/{share}`.
pub(super) async fn share(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let name = call.params.get("share")?;
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, name, call.now).ok_or_else(|| absent(Noun::Share, name))?;
    json_reply(&OneShare { share: ShareShown::of(&shelf.share) })
}

/// `GET /shares/{share}/schemas`.
pub(super) async fn schemas(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let share = call.params.get("share")?;
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, share, call.now).ok_or_else(|| absent(Noun::Share, share))?;
    let shown = shelf.tables().iter().filter(|table| table.may_be(TableFormat::Delta) || table.is_volume());
    let mut names: Vec<&SharedName> = shown.map(|table| &table.schema).collect();
    names.dedup();
    let listing = ["schemas", shelf.share.name.folded()];
    let page = sharing.page(&call, &listing, &names, |name| name.folded().to_owned())?;
    json_reply(&Listed {
        items: page.items.into_iter().map(|name| SchemaShown { name: name.as_str(), share }).collect(),
        next_page_token: page.next,
    })
}

/// `GET /shares/{share}/schemas/{schema}/tables`.
pub(super) async fn tables(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let (share, schema) = (call.params.get("share")?, call.params.get("schema")?);
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, share, call.now).ok_or_else(|| absent(Noun::Share, share))?;
    let tables = served(shelf.schema(schema));
    let schema_of = of_schema(shelf, (share, schema))?;
    let listing = ["tables", shelf.share.name.folded(), schema_of.folded()];
    let page = sharing.page(&call, &listing, &tables, |table| table.name.folded().to_owned())?;
    let stores = sharing.stores(&call).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for table in page.items {
        items.push(sharing.table_shown((share, schema), &shelf.share, table, &stores)?);
    }
    json_reply(&Listed { items, next_page_token: page.next })
}

/// `GET /shares/{share}/all-tables`.
pub(super) async fn all_tables(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let share = call.params.get("share")?;
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, share, call.now).ok_or_else(|| absent(Noun::Share, share))?;
    // Names have no control characters: this orders as schema and name do.
    let key = |table: &&Arc<SharedTable>| format!("{}\0{}", table.schema.folded(), table.name.folded());
    let tables = served(shelf.tables());
    let page = sharing.page(&call, &["all-tables", shelf.share.name.folded()], &tables, key)?;
    let stores = sharing.stores(&call).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for table in page.items {
        items.push(sharing.table_shown((share, table.schema.as_str()), &shelf.share, table, &stores)?);
    }
    json_reply(&Listed { items, next_page_token: page.next })
}
