//! Iceberg's REST catalog, to read: the tables that were shared with the caller, each read from its own newest metadata file, with
//! credentials for its directory. What is published and where we differ stands in `docs/dialects/iceberg.md`.
//!
//! A warehouse may be another catalog's (`upstream`): its whole API is relayed then, and credentials are ours.
//!
//! SECURITY: a table is an ask for its share ([`valetkey_core::ask::Target::Shared`]), for its metadata as for credentials. Tables that are
//! shared by URL only do not exist here: policy knows directories, not modes.

mod delegation;
mod error;
mod kept;
mod listing;
mod load;
mod metadata;
mod sign;
mod state;
mod tag;
mod upstream;

use std::future::Future;
use std::sync::Arc;

use http::Method;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::nouns::table::{ObjectFiles, VendedFiles};
use valetkey_core::{Error, Kind};

pub use self::state::{NAME, Settings};

use self::kept::Kept;
use self::state::Iceberg;
use self::upstream::{Behind, Object};
use crate::edge::{
    Authority, Call, Class, Dialect, Proof, Reply, Route, Shared, access_token, bearer, no_headers, usual_headers,
};

/// The paths that several routes have.
const NAMESPACES: &str = "/iceberg/v1/{prefix}/namespaces";
const NAMESPACE: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}";
const PROPERTIES: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/properties";
const TABLES: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables";
const REGISTER: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/register";
const TABLE: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}";
const VIEWS: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/views";
const VIEW: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/views/{view}";
const CREDENTIALS: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";
const METRICS: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics";
const SIGN: &str = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/sign";

/// A route of a warehouse, be it ours or another catalog's.
fn on<F, U>(
    iceberg: &Arc<Iceberg>,
    (method, path): (Method, &'static str),
    class: Class,
    own: fn(Arc<Iceberg>, Call) -> F,
    behind: fn(Behind) -> U,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
    U: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let iceberg = Arc::clone(iceberg);
    let handler = move |call: Call| {
        let iceberg = Arc::clone(&iceberg);
        async move {
            match iceberg.behind(&call).await? {
                Some(found) => behind(found).await,
                None => own(iceberg, call).await,
            }
        }
    };
    // Clients may be newer than this server.
    Route::token(method, path, class, handler).passing_query(&[])
}

/// A route that changes a catalog: another's, since ours is read only.
fn change<U>(
    iceberg: &Arc<Iceberg>,
    (method, path): (Method, &'static str),
    class: Class,
    behind: fn(Behind, Authority) -> U,
) -> Route
where
    U: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let (first, then) = (Arc::clone(iceberg), Arc::clone(iceberg));
    // The schema of a wide table has some hundred KiB.
    let decide = move |call: Call| {
        let iceberg = Arc::clone(&first);
        async move { iceberg.behind(&call).await?.map(|_| ()).ok_or_else(read_only) }
    };
    let handler = move |call: Call, authority| {
        let iceberg = Arc::clone(&then);
        async move { behind(iceberg.behind(&call).await?.ok_or_else(read_only)?, authority).await }
    };
    let is_bare = method == Method::DELETE;
    let route = Route::change(method, path, class, handler).query(&[]);
    if is_bare { route } else { route.large(MOST_CHANGE, decide) }
}

/// The largest body of a change, in bytes.
const MOST_CHANGE: usize = 4 * 1024 * 1024;

fn read_only() -> Error {
    Error::new(
        Kind::Unsupported,
        "this catalog is read only: it takes no commits; write with the catalog that the table belongs to",
    )
}

async fn no_views(_: Arc<Iceberg>, _: Call) -> Result<Reply, Error> {
    Err(Error::new(Kind::NotFound(Noun::Table), "there are no views in this catalog").coded("NoSuchViewException"))
}

/// What changes a catalog.
fn changes(iceberg: &Arc<Iceberg>) -> Vec<Route> {
    let (common, vend) = (Class::Common, Class::Credentials);
    let post = |path| (Method::POST, path);
    let delete = |path| (Method::DELETE, path);
    vec![
        // A namespace lies nowhere, so that no grant says whose it is.
        change(iceberg, post(NAMESPACES), common, upstream::create_namespace).needs(Role::Admin),
        change(iceberg, delete(NAMESPACE), common, upstream::drop_namespace).needs(Role::Admin),
        change(iceberg, post(PROPERTIES), common, upstream::namespace_properties).needs(Role::Admin),
        change(iceberg, post(TABLES), vend, upstream::create_table),
        change(iceberg, post(REGISTER), vend, upstream::register),
        change(iceberg, post(TABLE), common, |behind, _| upstream::commit_one(behind, Object::Table)),
        change(iceberg, delete(TABLE), common, |behind, _| upstream::drop_one(behind, Object::Table))
            .query(&["purgeRequested"]),
        change(iceberg, post("/iceberg/v1/{prefix}/tables/rename"), common, |behind, _| {
            upstream::rename_one(behind, Object::Table)
        }),
        change(iceberg, post("/iceberg/v1/{prefix}/transactions/commit"), common, upstream::transaction),
        change(iceberg, post(VIEWS), common, upstream::create_view),
        change(iceberg, post(VIEW), common, |behind, _| upstream::commit_one(behind, Object::View)),
        change(iceberg, delete(VIEW), common, |behind, _| upstream::drop_one(behind, Object::View)),
        change(iceberg, post("/iceberg/v1/{prefix}/views/rename"), common, |behind, _| {
            upstream::rename_one(behind, Object::View)
        }),
    ]
}

/// Makes the dialect.
pub fn dialect(
    shared: &Arc<Shared>,
    settings: Settings,
    files: Arc<dyn ObjectFiles>,
    elsewhere: Arc<dyn VendedFiles>,
) -> Dialect {
    let iceberg = &Arc::new(Iceberg { shared: Arc::clone(shared), settings, files, elsewhere, kept: Kept::default() });
    let get = |path| (Method::GET, path);
    let head = |path| (Method::HEAD, path);
    let post = |path| (Method::POST, path);
    let (common, vend) = (Class::Common, Class::Credentials);
    let (configs, signs) = (Arc::clone(iceberg), Arc::clone(iceberg));
    let mut routes = vec![
        Route::token(Method::GET, "/iceberg/v1/config", common, move |call| {
            listing::config(Arc::clone(&configs), call)
        })
        .passing_query(&["warehouse"]),
        on(iceberg, get(NAMESPACES), common, listing::namespaces, upstream::namespaces)
            .passing_query(listing::OF_NAMESPACES),
        on(iceberg, get(NAMESPACE), common, listing::namespace, upstream::namespace),
        on(iceberg, head(NAMESPACE), common, listing::has_namespace, upstream::has_namespace),
        on(iceberg, get(TABLES), common, listing::tables, upstream::tables).passing_query(listing::PAGE),
        on(iceberg, get(VIEWS), common, listing::views, upstream::views).passing_query(listing::PAGE),
        on(iceberg, get(VIEW), common, no_views, upstream::view),
        on(iceberg, head(VIEW), common, no_views, upstream::has_view),
        on(iceberg, head(TABLE), common, load::exists, upstream::has_table),
        on(iceberg, get(TABLE), vend, load::table, upstream::table).vending_query(&["snapshots"]),
        on(iceberg, get(CREDENTIALS), vend, load::credentials, upstream::credentials).vending_query(&["planId"]),
        on(iceberg, post(METRICS), common, load::metrics, upstream::metrics),
        // A client asks for each request to the storage; few of them vend.
        Route::token(Method::POST, SIGN, common, move |call| sign::sign(Arc::clone(&signs), call)).passing_query(&[]),
    ];
    let tokens = Arc::clone(iceberg);
    routes.push(Route::open(Method::POST, "/iceberg/v1/oauth/tokens", common, move |plain| {
        let iceberg = Arc::clone(&tokens);
        async move { Reply::json(&access_token(&iceberg.shared, &plain, NAME).await?) }
    }));
    routes.extend(changes(iceberg));
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &["/iceberg"],
        alias: None,
        proof: Proof::Token(bearer),
        actions: None,
        row: Arc::new(error::row),
        codes: error::CODES,
        body: Arc::new(error::body),
        body_type: "application/json",
        refused: no_headers,
        quota: usual_headers,
        routes,
    }
}
