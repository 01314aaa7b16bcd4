//! Unity Catalog, the part that readers need: what was shared with the caller as catalogs, schemas, tables and volumes, and credentials for a
//! directory of one or for a path. What is published and where we differ stands in `docs/dialects/unity.md`.
//!
//! SECURITY: a table is read as an ask for its share ([`valetkey_core::ask::Target::Shared`]), and written as an ask for its place, which
//! only the account's own grants open. Tables that are shared by URL only do not exist here: policy knows directories, not modes.

mod columns;
mod credentials;
mod error;
mod listing;
mod state;

use std::future::Future;
use std::sync::Arc;

use http::Method;
use valetkey_core::nouns::table::TableLogs;
use valetkey_core::{Error, Kind};

pub use self::state::{NAME, PATH, Settings};

use self::state::Unity;
use crate::edge::{Call, Class, Dialect, Proof, Reply, Route, Shared, bearer, no_headers, usual_headers};

fn on<F>(
    unity: &Arc<Unity>,
    method: Method,
    path: &'static str,
    class: Class,
    handler: fn(Arc<Unity>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let unity = Arc::clone(unity);
    Route::token(method, path, class, move |call| handler(Arc::clone(&unity), call))
}

/// What would change the catalog, and what it has none of.
const LACKS: &[(Method, &str)] = &[
    (Method::POST, "/api/2.1/unity-catalog/catalogs"),
    (Method::PATCH, "/api/2.1/unity-catalog/catalogs/{name}"),
    (Method::DELETE, "/api/2.1/unity-catalog/catalogs/{name}"),
    (Method::POST, "/api/2.1/unity-catalog/schemas"),
    (Method::PATCH, "/api/2.1/unity-catalog/schemas/{name}"),
    (Method::DELETE, "/api/2.1/unity-catalog/schemas/{name}"),
    (Method::POST, "/api/2.1/unity-catalog/tables"),
    (Method::DELETE, "/api/2.1/unity-catalog/tables/{name}"),
    (Method::POST, "/api/2.1/unity-catalog/staging-tables"),
    (Method::POST, "/api/2.1/unity-catalog/volumes"),
    (Method::PATCH, "/api/2.1/unity-catalog/volumes/{name}"),
    (Method::DELETE, "/api/2.1/unity-catalog/volumes/{name}"),
    (Method::POST, "/api/2.1/unity-catalog/temporary-model-version-credentials"),
];

async fn lacking(_: Arc<Unity>, _: Call) -> Result<Reply, Error> {
    Err(Error::new(
        Kind::Unsupported,
        "this server only reads tables as a catalog; tables are added with `valetkey share`, and files written with path credentials",
    ))
}

/// Makes the dialect. Without a reader of logs, tables are told without their columns.
pub fn dialect(shared: &Arc<Shared>, settings: Settings, logs: Option<Arc<dyn TableLogs>>) -> Dialect {
    let unity = &Arc::new(Unity { shared: Arc::clone(shared), settings, logs });
    let (get, post) = (Method::GET, Method::POST);
    let (common, vend) = (Class::Common, Class::Credentials);
    let mut routes = vec![
        // Clients may be newer than this server.
        on(unity, get.clone(), "/api/2.1/unity-catalog/catalogs", common, listing::catalogs)
            .passing_query(listing::PAGE),
        on(unity, get.clone(), "/api/2.1/unity-catalog/catalogs/{name}", common, listing::catalog).passing_query(&[]),
        on(unity, get.clone(), "/api/2.1/unity-catalog/schemas", common, listing::schemas)
            .passing_query(listing::OF_CATALOG),
        on(unity, get.clone(), "/api/2.1/unity-catalog/schemas/{name}", common, listing::schema).passing_query(&[]),
        on(unity, get.clone(), "/api/2.1/unity-catalog/tables", common, listing::tables)
            .passing_query(listing::OF_SCHEMA),
        on(unity, get.clone(), "/api/2.1/unity-catalog/tables/{name}", common, listing::table).passing_query(&[]),
        on(unity, get.clone(), "/api/2.1/unity-catalog/volumes", common, listing::volumes)
            .passing_query(listing::OF_SCHEMA),
        on(unity, get, "/api/2.1/unity-catalog/volumes/{name}", common, listing::volume).passing_query(&[]),
        on(unity, post.clone(), "/api/2.1/unity-catalog/temporary-table-credentials", vend, credentials::of_table)
            .vending_query(&[]),
        on(unity, post.clone(), "/api/2.1/unity-catalog/temporary-volume-credentials", vend, credentials::of_volume)
            .vending_query(&[]),
        on(unity, post, "/api/2.1/unity-catalog/temporary-path-credentials", vend, credentials::of_path)
            .vending_query(&[]),
    ];
    routes.extend(LACKS.iter().map(|(method, path)| on(unity, method.clone(), path, common, lacking)));
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &[PATH],
        // Databricks' SDK asks for credentials by an older version than everybody else.
        alias: Some(("/api/2.0/unity-catalog", PATH)),
        proof: Proof::Token(bearer),
        actions: None,
        row: Arc::new(error::row),
        codes: &[],
        body: Arc::new(error::body),
        body_type: "application/json",
        refused: no_headers,
        quota: usual_headers,
        routes,
    }
}
