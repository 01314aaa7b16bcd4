//! TheirStack's API as published: credentials for the datasets of the caller's team, the list of datasets, and what the
//! account used. Where we differ is told in `docs/dialects/theirstack.md`.

mod credentials;
mod datasets;
mod error;
mod newest;
mod urls;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio_util::task::TaskTracker;
use valetkey_core::nouns::table::ObjectFiles;
use valetkey_core::nouns::table::VendedLists;
use valetkey_core::port::UrlSigner;
use valetkey_core::time::Lifetime;

use self::newest::Shelf;
use crate::edge::{Class, Dialect, Proof, Route, Shared, bearer, no_headers, usual_headers};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "theirstack";

/// What reads the datasets' buckets and signs URLs to their files.
#[derive(Clone)]
pub struct Files {
    /// Reads what is behind our own endpoint.
    pub own: Arc<dyn ObjectFiles>,
    /// Lists, with what was vended, where somebody else runs the store.
    pub elsewhere: Arc<dyn VendedLists>,
    /// Signs.
    pub signer: Arc<dyn UrlSigner>,
    /// Where readings run that nobody may still wait for.
    pub tasks: TaskTracker,
}

/// What the handlers work with.
struct TheirStack {
    shared: Arc<Shared>,
    settings: Settings,
    shelf: Arc<Shelf>,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a credential lives; the published API says seven days. Grants and stores may cut it.
    pub lifetime: Lifetime,
    /// How long the URLs of the list live.
    pub url_lifetime: Lifetime,
    /// How long the list waits for stores: what is not known by then is not told in it.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Lifetime::secs(7 * 24 * 3600),
            url_lifetime: Lifetime::secs(3600),
            patience: Duration::from_secs(5),
        }
    }
}

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings, files: Files) -> Dialect {
    let of = || Arc::clone(shared);
    let (vending, balance, credits, requests) = (of(), of(), of(), of());
    let shelf = Arc::new(Shelf::new(files, settings.patience, Arc::clone(&shared.vending.clock)));
    let own = Arc::new(TheirStack { shared: of(), settings, shelf });
    Dialect {
        name: NAME,
        alias: None,
        base: String::new(),
        claims: &["/v1", "/v0"],
        proof: Proof::Token(bearer),
        actions: None,
        row: Arc::new(error::row),
        codes: &[],
        refused: no_headers,
        quota: usual_headers,
        body: Arc::new(error::body),
        body_type: "application/json",
        routes: vec![
            Route::token(Method::POST, "/v1/datasets/credentials", Class::Credentials, move |call| {
                credentials::vend(Arc::clone(&vending), settings, call)
            })
            .vending_query(&["bucket"]),
            Route::token(Method::GET, "/v1/datasets", Class::Common, move |call| {
                datasets::list(Arc::clone(&own), call)
            })
            .passing_query(&[]),
            Route::token(Method::GET, "/v0/billing/credit-balance", Class::Common, move |call| {
                usage::balance(Arc::clone(&balance), call)
            })
            .passing_query(&[]),
            Route::token(Method::GET, "/v0/teams/credits_consumption", Class::Common, move |call| {
                usage::credits(Arc::clone(&credits), call)
            })
            .passing_query(&["start_datetime", "end_datetime", "timezone"]),
            Route::token(Method::GET, "/v0/requests/count", Class::Common, move |call| {
                usage::requests(Arc::clone(&requests), call)
            })
            .passing_query(&["start_datetime", "end_datetime", "timezone", "is_origin_app", "api_key_id"]),
        ],
    }
}
