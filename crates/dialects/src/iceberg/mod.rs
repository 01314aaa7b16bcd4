//! Iceberg's REST catalog, to read: the tables that were shared with the caller, each read from its own newest metadata file, with
//! credentials for its directory. What is published and where we differ stands in `docs/dialects/iceberg.md`.
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

use std::future::Future;
use std::sync::Arc;

use http::Method;
use valetkey_core::nouns::table::{ObjectFiles, VendedFiles};
use valetkey_core::{Error, Kind};

pub use self::state::{NAME, Settings};

use self::kept::Kept;
use self::state::Iceberg;
use crate::edge::{
    CLIENT_CODES, Call, Class, Dialect, Proof, Reply, Route, Shared, access_token, bearer, no_headers, usual_headers,
};

fn on<F>(
    iceberg: &Arc<Iceberg>,
    method: Method,
    path: &'static str,
    class: Class,
    handler: fn(Arc<Iceberg>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let iceberg = Arc::clone(iceberg);
    // Clients may be newer than this server.
    Route::token(method, path, class, move |call| handler(Arc::clone(&iceberg), call)).passing_query(&[])
}

/// What would change the catalog.
const LACKS: &[(Method, &str)] = &[
    (Method::POST, "/iceberg/v1/{prefix}/namespaces"),
    (Method::DELETE, "/iceberg/v1/{prefix}/namespaces/{namespace}"),
    (Method::POST, "/iceberg/v1/{prefix}/namespaces/{namespace}/properties"),
    (Method::POST, "/iceberg/v1/{prefix}/namespaces/{namespace}/tables"),
    (Method::POST, "/iceberg/v1/{prefix}/namespaces/{namespace}/register"),
    (Method::POST, "/iceberg/v1/{prefix}/namespaces/{namespace}/views"),
    (Method::POST, "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}"),
    (Method::DELETE, "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}"),
    (Method::POST, "/iceberg/v1/{prefix}/tables/rename"),
    (Method::POST, "/iceberg/v1/{prefix}/transactions/commit"),
];

async fn lacking(_: Arc<Iceberg>, _: Call) -> Result<Reply, Error> {
    Err(Error::new(
        Kind::Unsupported,
        "this catalog is read only: it takes no commits; write with the catalog that the table belongs to",
    ))
}

/// Makes the dialect.
pub fn dialect(
    shared: &Arc<Shared>,
    settings: Settings,
    files: Arc<dyn ObjectFiles>,
    elsewhere: Arc<dyn VendedFiles>,
) -> Dialect {
    let iceberg = &Arc::new(Iceberg { shared: Arc::clone(shared), settings, files, elsewhere, kept: Kept::default() });
    let (get, head) = (Method::GET, Method::HEAD);
    let (common, vend) = (Class::Common, Class::Credentials);
    let mut routes = vec![
        on(iceberg, get.clone(), "/iceberg/v1/config", common, listing::config).passing_query(&["warehouse"]),
        on(iceberg, get.clone(), "/iceberg/v1/{prefix}/namespaces", common, listing::namespaces)
            .passing_query(listing::OF_NAMESPACES),
        on(iceberg, get.clone(), "/iceberg/v1/{prefix}/namespaces/{namespace}", common, listing::namespace),
        on(iceberg, head.clone(), "/iceberg/v1/{prefix}/namespaces/{namespace}", common, listing::has_namespace),
        on(iceberg, get.clone(), "/iceberg/v1/{prefix}/namespaces/{namespace}/tables", common, listing::tables)
            .passing_query(listing::PAGE),
        on(iceberg, get.clone(), "/iceberg/v1/{prefix}/namespaces/{namespace}/views", common, listing::views),
        on(iceberg, head, "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", common, load::exists),
        on(iceberg, get.clone(), "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", vend, load::table)
            .vending_query(&["snapshots"]),
        on(
            iceberg,
            get,
            "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
            vend,
            load::credentials,
        )
        .vending_query(&["planId"]),
        on(
            iceberg,
            Method::POST,
            "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
            common,
            load::metrics,
        ),
        // A client asks for each request to the storage; few of them vend.
        on(
            iceberg,
            Method::POST,
            "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/sign",
            common,
            sign::sign,
        ),
    ];
    let tokens = Arc::clone(iceberg);
    routes.push(Route::open(Method::POST, "/iceberg/v1/oauth/tokens", common, move |plain| {
        let iceberg = Arc::clone(&tokens);
        async move { Reply::json(&access_token(&iceberg.shared, &plain, NAME).await?) }
    }));
    routes.extend(LACKS.iter().map(|(method, path)| on(iceberg, method.clone(), path, common, lacking)));
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &["/iceberg"],
        alias: None,
        proof: Proof::Token(bearer),
        actions: None,
        row: Arc::new(error::row),
        codes: CLIENT_CODES,
        body: Arc::new(error::body),
        body_type: "application/json",
        refused: no_headers,
        quota: usual_headers,
        routes,
    }
}
