//! TheirStack's API as published: credentials for the datasets of the caller's team, the list of datasets, and what the
//! account used. Where we differ is told in `docs/dialects/theirstack.md`.

mod credentials;
mod datasets;
mod error;
mod usage;

use std::sync::Arc;

use http::Method;
use valetkey_core::time::Lifetime;

use crate::edge::{Class, Dialect, Route, Shared, bearer, no_headers, usual_headers};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "theirstack";

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a credential lives; the published API says seven days. Grants and stores may cut it.
    pub lifetime: Lifetime,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Lifetime::secs(7 * 24 * 3600) }
    }
}

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings) -> Dialect {
    let of = || Arc::clone(shared);
    let (vending, listing, balance, credits, requests) = (of(), of(), of(), of(), of());
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &["/v1", "/v0"],
        token: bearer,
        row: error::row,
        refused: no_headers,
        quota: usual_headers,
        body: error::body,
        body_type: "application/json",
        routes: vec![
            Route::token(Method::POST, "/v1/datasets/credentials", Class::Credentials, move |call| {
                credentials::vend(Arc::clone(&vending), settings, call)
            }),
            Route::token(Method::GET, "/v1/datasets", Class::Common, move |call| {
                datasets::list(Arc::clone(&listing), call)
            }),
            Route::token(Method::GET, "/v0/billing/credit-balance", Class::Common, move |call| {
                usage::balance(Arc::clone(&balance), call)
            }),
            Route::token(Method::GET, "/v0/teams/credits_consumption", Class::Common, move |call| {
                usage::credits(Arc::clone(&credits), call)
            }),
            Route::token(Method::GET, "/v0/requests/count", Class::Common, move |call| {
                usage::requests(Arc::clone(&requests), call)
            }),
        ],
    }
}
