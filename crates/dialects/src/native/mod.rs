//! Our own JSON API: what the command line does. Vend with narrowing, leases, ending them, why something is allowed, and
//! for admins and operators what callers, tokens, places and grants there are.
//!
//! Who may know of a thing sees it; to everyone else it is not there (404). Who knows and may not gets 403.

mod accounts;
mod audit;
mod callers;
mod checks;
mod cors;
mod credentials;
mod ending;
mod error;
mod explain;
mod grants;
mod incidents;
mod leases;
mod lists;
mod openapi;
mod parent_keys;
mod places;
mod profiles;
mod removal;
mod revocations;
mod scopes;
mod shares;
mod storages;
mod tokens;
mod who;
mod wire;
mod workspaces;

use std::future::Future;
use std::sync::Arc;

use http::Method;
use valetkey_core::Error;
use valetkey_core::check::{Checker, Prober};
use valetkey_core::cors::CorsRules;
use valetkey_core::stores::Stores;
use valetkey_core::table::TableLogs;
use valetkey_core::time::Lifetime;

use crate::edge::{Call, Class, Dialect, Reply, Route, Shared, bearer, no_headers, usual_headers};

pub use openapi::document;

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "native";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a credential lives whose ask does not say.
    pub lifetime: Lifetime,
    /// The URL that profiles of Delta Sharing name.
    pub sharing_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Lifetime::secs(3600), sharing_url: "http://127.0.0.1:7070/delta-sharing".to_owned() }
    }
}

/// What the handlers work with.
struct Native {
    shared: Arc<Shared>,
    settings: Settings,
    stores: Arc<dyn Stores>,
    checker: Checker,
    /// Reads the logs of tables; nothing where this build cannot.
    logs: Option<Arc<dyn TableLogs>>,
    cors: Arc<dyn CorsRules>,
}

fn on<F>(native: &Arc<Native>, method: Method, path: &'static str, handler: fn(Arc<Native>, Call) -> F) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    let class = if path == CREDENTIALS { Class::Credentials } else { Class::Common };
    Route::token(method, path, class, move |call| handler(Arc::clone(&native), call))
}

const CREDENTIALS: &str = "/api/v1/credentials";
const CORS: &str = "/api/v1/buckets/{bucket}/cors";
const CALLERS: &str = "/api/v1/accounts/{account}/callers";
const CALLER: &str = "/api/v1/accounts/{account}/callers/{caller}";

/// Makes the dialect.
#[expect(clippy::too_many_lines, reason = "a line for each route")]
pub fn dialect(
    shared: &Arc<Shared>,
    settings: Settings,
    stores: Arc<dyn Stores>,
    prober: Arc<dyn Prober>,
    logs: Option<Arc<dyn TableLogs>>,
    cors: Arc<dyn CorsRules>,
) -> Dialect {
    let (desk, entropy) = (shared.desk.clone(), Arc::clone(&shared.entropy));
    let checker = Checker { desk, stores: Arc::clone(&stores), prober, entropy };
    let native = &Arc::new(Native { shared: Arc::clone(shared), settings, stores, checker, logs, cors });
    let (get, post, delete, patch) = (Method::GET, Method::POST, Method::DELETE, Method::PATCH);
    Dialect {
        name: NAME,
        alias: None,
        base: String::new(),
        // One by one, not `/api/v1`: other dialects have their own paths below it.
        claims: &[
            "/api/v1/credentials",
            "/api/v1/leases",
            "/api/v1/revocations",
            "/api/v1/whose",
            "/api/v1/explain",
            "/api/v1/me",
            "/api/v1/grants",
            "/api/v1/accounts",
            "/api/v1/incidents",
            "/api/v1/tokens",
            "/api/v1/callers",
            "/api/v1/storages",
            "/api/v1/buckets",
            "/api/v1/datasets",
            "/api/v1/ledger",
            "/api/v1/audit",
            "/api/v1/workspaces",
            "/api/v1/parent-keys",
            "/api/v1/shares",
            "/api/v1/share-profiles",
            "/api/v1/share-links",
            "/openapi.json",
        ],
        token: bearer,
        row: error::row,
        refused: no_headers,
        quota: usual_headers,
        body: error::body,
        body_type: "application/problem+json",
        routes: vec![
            on(native, post.clone(), CREDENTIALS, credentials::vend),
            on(native, get.clone(), "/api/v1/leases", leases::list),
            on(native, get.clone(), "/api/v1/leases/{lease}", leases::get),
            on(native, delete.clone(), "/api/v1/leases/{lease}", leases::end),
            on(native, post.clone(), "/api/v1/revocations", revocations::revoke),
            on(native, get.clone(), "/api/v1/whose/{access_key_id}", leases::whose),
            on(native, post.clone(), "/api/v1/explain", explain::explain),
            on(native, get.clone(), "/api/v1/me", explain::me),
            on(native, get.clone(), "/api/v1/grants", grants::list),
            on(native, post.clone(), "/api/v1/grants", grants::create),
            on(native, patch.clone(), "/api/v1/grants/{grant}", grants::change),
            on(native, delete.clone(), "/api/v1/grants/{grant}", grants::remove),
            on(native, get.clone(), "/api/v1/accounts", accounts::list),
            on(native, post.clone(), "/api/v1/accounts", accounts::create),
            on(native, patch.clone(), "/api/v1/accounts/{account}", accounts::change),
            on(native, delete.clone(), "/api/v1/accounts/{account}", accounts::remove),
            on(native, post.clone(), "/api/v1/accounts/{account}/credits", accounts::add_credits),
            on(native, get.clone(), "/api/v1/callers", callers::list_all),
            on(native, get.clone(), CALLERS, callers::list),
            on(native, post.clone(), CALLERS, callers::create),
            on(native, patch.clone(), CALLER, callers::change),
            on(native, delete.clone(), CALLER, callers::remove),
            on(native, post.clone(), "/api/v1/incidents", incidents::handle),
            on(native, get.clone(), "/api/v1/tokens", tokens::list),
            on(native, post.clone(), "/api/v1/tokens", tokens::create),
            on(native, patch.clone(), "/api/v1/tokens/{token}", tokens::change),
            on(native, delete.clone(), "/api/v1/tokens/{token}", tokens::end),
            on(native, get.clone(), "/api/v1/storages", storages::list),
            on(native, post.clone(), "/api/v1/storages", storages::create),
            on(native, patch.clone(), "/api/v1/storages/{storage}", storages::change),
            on(native, delete.clone(), "/api/v1/storages/{storage}", storages::remove),
            on(native, post.clone(), "/api/v1/storages/{storage}/revocations", storages::end),
            on(native, post.clone(), "/api/v1/storages/{storage}/checks", checks::check),
            on(native, get.clone(), "/api/v1/buckets", places::buckets),
            on(native, post.clone(), "/api/v1/buckets", places::create_bucket),
            on(native, get.clone(), CORS, cors::show),
            on(native, Method::PUT, CORS, cors::set),
            on(native, delete.clone(), CORS, cors::remove),
            on(native, delete.clone(), "/api/v1/buckets/{bucket}", places::remove_bucket),
            on(native, get.clone(), "/api/v1/datasets", places::datasets),
            on(native, post.clone(), "/api/v1/datasets", places::create_dataset),
            on(native, patch.clone(), "/api/v1/datasets/{dataset}", places::change_dataset),
            on(native, delete.clone(), "/api/v1/datasets/{dataset}", places::remove_dataset),
            on(native, get.clone(), "/api/v1/shares", shares::list),
            on(native, post.clone(), "/api/v1/shares", shares::create),
            on(native, delete.clone(), "/api/v1/shares/{share}", shares::remove),
            on(native, get.clone(), "/api/v1/shares/{share}/tables", shares::tables),
            on(native, post.clone(), "/api/v1/shares/{share}/tables", shares::add_table),
            on(native, delete.clone(), "/api/v1/shares/{share}/tables/{table}", shares::remove_table),
            on(native, get.clone(), "/api/v1/shares/{share}/recipients", shares::recipients),
            on(native, post.clone(), "/api/v1/shares/{share}/recipients", shares::give),
            on(native, delete.clone(), "/api/v1/shares/{share}/recipients/{account}", shares::take),
            on(native, post.clone(), "/api/v1/share-profiles", profiles::create),
            on(native, post.clone(), "/api/v1/share-links", profiles::link),
            on(native, get.clone(), "/api/v1/ledger/verify", audit::verify),
            on(native, get.clone(), "/api/v1/audit", audit::list),
            on(native, get.clone(), "/api/v1/workspaces", workspaces::list),
            on(native, post, "/api/v1/workspaces", workspaces::create),
            on(native, patch.clone(), "/api/v1/workspaces/{workspace}", workspaces::change),
            on(native, delete, "/api/v1/workspaces/{workspace}", workspaces::remove),
            on(native, get.clone(), "/api/v1/parent-keys", parent_keys::list),
            on(native, Method::POST, "/api/v1/parent-keys", parent_keys::create),
            on(native, patch, "/api/v1/parent-keys/{key}", parent_keys::change),
            on(native, Method::DELETE, "/api/v1/parent-keys/{key}", parent_keys::disable),
            on(native, Method::POST, "/api/v1/parent-keys/{key}/revocations", parent_keys::end_child),
            Route::open(get, "/openapi.json", Class::Common, |_| async {
                Ok(Reply::written(openapi::written()?.into(), "application/json"))
            }),
        ],
    }
}
