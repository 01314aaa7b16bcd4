//! Delta Sharing, the server's side: shares, schemas and tables listed to recipients; their files as pre-signed URLs; keys to
//! their directories; profiles. And what its successor OpenSharing adds: volumes. What the protocol says and where we differ stands in `docs/dialects/sharing.md`.
//!
//! SECURITY: every file and every key goes through policy as an ask for the share ([`valetkey_core::ask::Target::Shared`]). The dialect checks a
//! table's access modes before it asks, because policy knows directories, not modes.

mod capabilities;
mod changes;
mod credentials;
mod error;
mod files;
mod hints;
mod lines;
mod listing;
mod metadata;
mod oauth;
mod profile;
mod query;
mod refresh;
mod span;
mod table;
mod telling;
mod volumes;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use valetkey_core::error::Stranger;
use valetkey_core::nouns::table::TableLogs;
use valetkey_core::port::UrlSigner;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use crate::edge::{
    CLIENT_CODES, Call, Class, Dialect, Plain, Proof, Reply, Route, Shared, basic, bearer, usual_headers,
};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "sharing";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What stands in front of its routes: a path that starts with a slash and does not end with one.
    pub prefix: String,
    /// The URL that recipients reach this server at, without the prefix: for profiles.
    pub public_url: String,
    /// How long pre-signed URLs live.
    pub url_lifetime: Lifetime,
    /// How long keys to a table's directory live.
    pub credential_lifetime: Lifetime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "/delta-sharing".to_owned(),
            public_url: "http://127.0.0.1:7070".to_owned(),
            url_lifetime: Lifetime::secs(3600),
            credential_lifetime: Lifetime::secs(3600),
        }
    }
}

impl Settings {
    /// The URL that profiles name.
    pub fn endpoint(&self) -> String {
        format!("{}{}", self.public_url.trim_end_matches('/'), self.prefix)
    }
}

/// What serving tables by URL needs.
#[derive(Clone)]
pub struct Urls {
    /// Reads the tables' logs.
    pub logs: Arc<dyn TableLogs>,
    /// Signs URLs.
    pub signer: Arc<dyn UrlSigner>,
}

/// What the handlers work with.
struct Sharing {
    shared: Arc<Shared>,
    settings: Settings,
    /// Nothing where this build cannot read logs: then tables are served with keys only.
    urls: Option<Urls>,
}

fn on<F>(
    sharing: &Arc<Sharing>,
    method: Method,
    path: &'static str,
    class: Class,
    handler: fn(Arc<Sharing>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let sharing = Arc::clone(sharing);
    Route::token(method, path, class, move |call| {
        let known = named(&call);
        let sharing = Arc::clone(&sharing);
        async move {
            known?;
            handler(sharing, call).await
        }
    })
    // Clients may be newer than this server.
    .passing_query(&[])
}

fn open<F>(sharing: &Arc<Sharing>, method: Method, path: &'static str, handler: fn(Arc<Sharing>, Plain) -> F) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let sharing = Arc::clone(sharing);
    Route::open(method, path, Class::Common, move |plain| handler(Arc::clone(&sharing), plain))
}

/// What may be asked of a listing, and of a version.
const PAGE: &[&str] = listing::PARAMETERS;
const VERSION: &[&str] = &["startingTimestamp"];

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings, urls: Option<Urls>) -> Dialect {
    let sharing = &Arc::new(Sharing { shared: Arc::clone(shared), settings: settings.clone(), urls });
    let (get, post, head) = (Method::GET, Method::POST, Method::HEAD);
    let (common, vend) = (Class::Common, Class::Credentials);
    Dialect {
        name: NAME,
        alias: None,
        base: settings.prefix,
        claims: &[""],
        proof: Proof::Token(token),
        actions: None,
        row: Arc::new(error::row),
        codes: CLIENT_CODES,
        body: Arc::new(error::body),
        body_type: JSON,
        refused: error::headers,
        quota: usual_headers,
        routes: vec![
            on(sharing, post.clone(), "", common, oauth::ready),
            open(sharing, post.clone(), "/oauth/token", oauth::token),
            open(sharing, get.clone(), "/profile/{code}", profile::download),
            open(sharing, head.clone(), "/profile/{code}", profile::look),
            on(sharing, get.clone(), "/shares", common, listing::shares).passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}", common, listing::share),
            on(sharing, get.clone(), "/shares/{share}/schemas", common, listing::schemas).passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}/schemas/{schema}/tables", common, listing::tables)
                .passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}/all-tables", common, listing::all_tables).passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}/all-volumes", common, volumes::all).passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}/schemas/{schema}/volumes", common, volumes::of_one_schema)
                .passing_query(PAGE),
            on(sharing, get.clone(), "/shares/{share}/schemas/{schema}/volumes/{volume}", common, volumes::volume),
            on(
                sharing,
                post.clone(),
                "/shares/{share}/schemas/{schema}/volumes/{volume}/temporary-volume-credentials",
                vend,
                volumes::vend,
            )
            .vending_query(&[]),
            on(sharing, head, "/shares/{share}/schemas/{schema}/tables/{table}", common, metadata::version)
                .passing_query(VERSION),
            on(sharing, get.clone(), "/shares/{share}/schemas/{schema}/tables/{table}", common, volumes::table),
            on(
                sharing,
                get.clone(),
                "/shares/{share}/schemas/{schema}/tables/{table}/version",
                common,
                metadata::version,
            )
            .passing_query(VERSION),
            on(
                sharing,
                get.clone(),
                "/shares/{share}/schemas/{schema}/tables/{table}/metadata",
                common,
                metadata::metadata,
            )
            .passing_query(&["version", "timestamp"]),
            on(sharing, post.clone(), "/shares/{share}/schemas/{schema}/tables/{table}/query", vend, query::query),
            on(sharing, get, "/shares/{share}/schemas/{schema}/tables/{table}/changes", vend, changes::changes)
                .passing_query(changes::PARAMETERS),
            on(
                sharing,
                post,
                "/shares/{share}/schemas/{schema}/tables/{table}/temporary-table-credentials",
                vend,
                credentials::vend,
            )
            .vending_query(&[]),
        ],
    }
}

/// The content type of JSON answers, as the protocol's own tests compare it.
const JSON: &str = "application/json; charset=utf-8";
/// The content type of answers of several lines.
const NDJSON: &str = "application/x-ndjson; charset=utf-8";

fn json_reply(value: &impl Serialize) -> Result<Reply, Error> {
    Ok(Reply::json(value)?.header(header::CONTENT_TYPE, HeaderValue::from_static(JSON)))
}

/// The name that says: the password alone tells who it is.
const ANYBODY: &str = "__token__";

/// Takes the token out of either scheme.
fn token(headers: &HeaderMap) -> Result<Cow<'_, str>, Error> {
    match basic(headers)? {
        Some((_, secret)) => Ok(Cow::Owned(secret.reveal().clone())),
        None => bearer(headers),
    }
}

/// Refuses a token sent under another caller's name.
fn named(call: &Call) -> Result<(), Error> {
    match basic(&call.headers)? {
        Some((name, _)) if name != ANYBODY && name != call.caller.name.as_str() => Err(Error::new(
            Kind::Unauthenticated(Stranger::Unknown),
            "the user name is not that of the token's caller; send the caller's name or `__token__`",
        )),
        Some(_) | None => Ok(()),
    }
}
