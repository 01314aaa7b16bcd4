//! What there is: warehouses are the shares that were given to the caller, namespaces their schemas.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::Shelf;
use valetkey_core::nouns::table::{SharedName, SharedTable};
use valetkey_core::{Error, Kind};

use super::state::{Iceberg, NAME, absent, in_path, served, warehouse};
use crate::edge::{Call, Listing, Page, Reply};

pub(super) const PAGE: &[&str] = &["pageToken", "pageSize"];
pub(super) const OF_NAMESPACES: &[&str] = &["parent", "pageToken", "pageSize"];

/// Rows of one page at most: some 50 KiB. Who asks for no page gets all, as the specification has it.
const MOST: usize = 500;

/// What this server answers, in the specification's words: clients ask for nothing else.
const ENDPOINTS: &[&str] = &[
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/sign",
];

type Properties = BTreeMap<&'static str, String>;

#[derive(Serialize)]
struct Config {
    defaults: Properties,
    overrides: Properties,
    endpoints: &'static [&'static str],
}

/// The same of a warehouse that another catalog keeps.
const BEHIND: &[&str] = &[
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "POST /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/views/rename",
];

/// `GET /v1/config`: which warehouse is meant.
pub(super) async fn config(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    let ours = |shelf: &Shelf| (in_path(shelf.share.name.as_str()), ENDPOINTS);
    let mut behind = iceberg.prefixes(&call).await?;
    let (prefix, endpoints) = if let Some(name) = call.query.get("warehouse").filter(|name| !name.is_empty()) {
        match behind.into_iter().find(|(own, _)| own == name) {
            Some((_, prefix)) => (prefix, BEHIND),
            None => given.shelf(&call.caller, name, call.now).map(ours).ok_or_else(|| absent(Noun::Share, name))?,
        }
    } else {
        let mut shelves = given.shelves(&call.caller, call.now);
        let said = "say which warehouse is meant: `warehouse` is the name of a share or of a catalog";
        let unclear = || Error::new(Kind::Invalid, said).at("warehouse");
        match (shelves.next(), shelves.next(), behind.pop(), behind.pop()) {
            (Some(only), None, None, _) => ours(only),
            (None, _, Some((_, prefix)), None) => (prefix, BEHIND),
            _ => return Err(unclear()),
        }
    };
    let overrides = Properties::from([("prefix", prefix)]);
    Reply::json(&Config { defaults: Properties::new(), overrides, endpoints })
}

/// The part of a sorted list that is asked for.
fn page<'a, T>(
    iceberg: &Iceberg,
    call: &Call,
    name: &[&str],
    all: &'a [T],
    key: impl Fn(&T) -> String,
) -> Result<Page<'a, T>, Error> {
    if call.query.get("pageToken").is_none() {
        return Ok(Page { items: all.iter().collect(), next: None });
    }
    let size = match call.query.get("pageSize") {
        None => MOST,
        Some(text) => text.parse::<u32>().ok().filter(|size| *size > 0).map_or_else(
            || {
                let said = format!("`{}` is not a number from 1 on", shortened(text));
                Err(Error::new(Kind::Invalid, said).at("pageSize"))
            },
            |size| Ok(usize::try_from(size).unwrap_or(MOST).min(MOST)),
        )?,
    };
    let name: Vec<&str> = [NAME].iter().chain(name).copied().collect();
    Listing { call, token: "pageToken", size, name: &name }.of(&iceberg.shared, all, key)
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Namespaces<'a> {
    namespaces: Vec<[&'a str; 1]>,
    next_page_token: Option<String>,
}

/// `GET …/namespaces`.
pub(super) async fn namespaces(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    let shelf = warehouse(&given, &call)?;
    let mut names: Vec<&SharedName> = served(shelf.tables()).into_iter().map(|table| &table.schema).collect();
    names.dedup();
    if let Some(parent) = call.query.get("parent").filter(|parent| !parent.is_empty()) {
        // There is one level of them.
        found(shelf, parent)?;
        names.clear();
    }
    let listing = ["namespaces", shelf.share.name.folded()];
    let page = page(&iceberg, &call, &listing, &names, |name| name.folded().to_owned())?;
    Reply::json(&Namespaces {
        namespaces: page.items.into_iter().map(|name| [name.as_str()]).collect(),
        next_page_token: page.next,
    })
}

/// The tables of a namespace, of which there is at least one.
fn found<'a>(shelf: &'a Shelf, namespace: &str) -> Result<Vec<&'a Arc<SharedTable>>, Error> {
    let tables = served(shelf.schema(namespace));
    if tables.is_empty() { Err(absent(Noun::Schema, namespace)) } else { Ok(tables) }
}

#[derive(Serialize)]
struct Namespace<'a> {
    namespace: [&'a str; 1],
    properties: Properties,
}

/// `GET …/namespaces/{namespace}`.
pub(super) async fn namespace(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    let tables = found(warehouse(&given, &call)?, call.params.get("namespace")?)?;
    let name = tables.first().map(|table| table.schema.as_str()).unwrap_or_default();
    Reply::json(&Namespace { namespace: [name], properties: Properties::new() })
}

/// `HEAD …/namespaces/{namespace}`.
pub(super) async fn has_namespace(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    found(warehouse(&given, &call)?, call.params.get("namespace")?)?;
    Ok(Reply::nothing())
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Identifiers<'a> {
    identifiers: Vec<Identifier<'a>>,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct Identifier<'a> {
    namespace: [&'a str; 1],
    name: &'a str,
}

/// `GET …/tables`.
pub(super) async fn tables(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    let shelf = warehouse(&given, &call)?;
    let namespace = call.params.get("namespace")?;
    let tables = found(shelf, namespace)?;
    let listing = ["tables", shelf.share.name.folded(), &namespace.to_lowercase()];
    let page = page(&iceberg, &call, &listing, &tables, |table| table.name.folded().to_owned())?;
    let shown = page
        .items
        .into_iter()
        .map(|table| Identifier { namespace: [table.schema.as_str()], name: table.name.as_str() });
    Reply::json(&Identifiers { identifiers: shown.collect(), next_page_token: page.next })
}

/// `GET …/views`: there are none.
pub(super) async fn views(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let given = iceberg.given(&call).await?;
    found(warehouse(&given, &call)?, call.params.get("namespace")?)?;
    Reply::json(&Identifiers { identifiers: Vec::new(), next_page_token: None })
}
