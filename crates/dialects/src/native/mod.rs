//! Our own JSON API: what the command line does. Vend with narrowing, leases, ending them, why something is allowed, and
//! for admins and operators what callers, tokens, places and grants there are.
//!
//! Who may know of a thing sees it; to everyone else it is not there (404). Who knows and may not gets 403.

mod accounts;
mod audit;
mod authz;
mod buckets;
mod callers;
mod checks;
mod cors;
mod credentials;
mod datasets;
mod ended;
mod ending;
mod error;
mod explain;
mod grants;
mod incidents;
mod leases;
mod lists;
mod openapi;
mod parent_keys;
mod profiles;
mod removal;
mod revocations;
mod scopes;
mod shares;
mod state;
mod storages;
mod tokens;
mod wire;
mod workspaces;

use std::future::Future;
use std::sync::Arc;

use http::Method;
use valetkey_check::{Checker, Prober};
use valetkey_core::Error;
use valetkey_core::caller::Role::{self, Admin, Member, Operator};
use valetkey_core::cors::CorsRules;
use valetkey_core::nouns::storage_admin::StorageAdmin;
use valetkey_core::nouns::table::TableLogs;

use crate::edge::{Authority, Call, Class, Dialect, Reply, Route, Shared, bearer, no_headers, usual_headers};

use self::state::Native;

pub use openapi::document;
pub use state::{NAME, Settings};

/// A row of a route that changes nothing: its path, the least role that is let in, and what its query knows.
fn read<F>(
    native: &Arc<Native>,
    path: &'static str,
    needs: Role,
    query: &'static [&'static str],
    handler: fn(Arc<Native>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    let route = Route::token(Method::GET, path, Class::Common, move |call| handler(Arc::clone(&native), call));
    route.needs(needs).query(query)
}

/// The same of one that is asked with a body.
fn ask<F>(
    native: &Arc<Native>,
    (path, class): (&'static str, Class),
    needs: Role,
    handler: fn(Arc<Native>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    Route::token(Method::POST, path, class, move |call| handler(Arc::clone(&native), call)).needs(needs)
}

/// The same of one that changes something.
fn change<F>(
    native: &Arc<Native>,
    method: Method,
    path: &'static str,
    needs: Role,
    query: &'static [&'static str],
    handler: fn(Arc<Native>, Call, Authority) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    let handler = move |call, authority| handler(Arc::clone(&native), call, authority);
    Route::change(method, path, Class::Common, handler).needs(needs).query(query)
}

const CORS: &str = "/api/v1/buckets/{bucket}/cors";
const CALLERS: &str = "/api/v1/accounts/{account}/callers";
const CALLER: &str = "/api/v1/accounts/{account}/callers/{caller}";

/// Makes the dialect.
#[expect(clippy::too_many_lines, reason = "a line for each route")]
pub fn dialect(
    shared: &Arc<Shared>,
    settings: Settings,
    stores: Arc<dyn StorageAdmin>,
    prober: Arc<dyn Prober>,
    logs: Option<Arc<dyn TableLogs>>,
    cors: Arc<dyn CorsRules>,
) -> Dialect {
    let (vending, entropy) = (shared.vending.clone(), Arc::clone(&shared.entropy));
    let checker = Checker { vending, stores: Arc::clone(&stores), prober, entropy };
    let native = &Arc::new(Native { shared: Arc::clone(shared), settings, stores, checker, logs, cors });
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
            ask(native, ("/api/v1/credentials", Class::Credentials), Member, credentials::vend),
            read(
                native,
                "/api/v1/leases",
                Member,
                &["live", "account", "caller", "token", "grant", "bucket", "since", "since_secs", "limit", "before"],
                leases::list,
            ),
            read(native, "/api/v1/leases/{lease}", Member, &[], leases::get),
            change(native, Method::DELETE, "/api/v1/leases/{lease}", Member, &[], leases::end),
            change(native, Method::POST, "/api/v1/revocations", Member, &[], revocations::revoke),
            read(native, "/api/v1/whose/{access_key_id}", Member, &[], leases::whose),
            ask(native, ("/api/v1/explain", Class::Common), Member, explain::explain),
            read(native, "/api/v1/me", Member, &[], explain::me),
            read(
                native,
                "/api/v1/grants",
                Member,
                &["account", "all", "name", "caller", "bucket", "since", "since_secs", "after", "limit"],
                grants::list,
            ),
            change(native, Method::POST, "/api/v1/grants", Operator, &[], grants::create),
            change(
                native,
                Method::PATCH,
                "/api/v1/grants/{grant}",
                Operator,
                &["end_credentials", "dry_run"],
                grants::change,
            ),
            change(
                native,
                Method::DELETE,
                "/api/v1/grants/{grant}",
                Operator,
                &["end_credentials", "dry_run"],
                grants::remove,
            ),
            read(native, "/api/v1/accounts", Member, &[], accounts::list),
            change(native, Method::POST, "/api/v1/accounts", Operator, &[], accounts::create),
            change(native, Method::PATCH, "/api/v1/accounts/{account}", Operator, &[], accounts::change),
            change(
                native,
                Method::DELETE,
                "/api/v1/accounts/{account}",
                Operator,
                &["cascade", "last_operator", "dry_run"],
                accounts::remove,
            ),
            change(native, Method::POST, "/api/v1/accounts/{account}/credits", Operator, &[], accounts::add_credits),
            read(native, "/api/v1/callers", Member, &["account", "after", "limit"], callers::list_all),
            read(native, CALLERS, Member, &["after", "limit"], callers::list),
            change(native, Method::POST, CALLERS, Admin, &[], callers::create),
            change(native, Method::PATCH, CALLER, Member, &[], callers::change),
            change(native, Method::DELETE, CALLER, Member, &["last_operator", "dry_run"], callers::remove),
            change(native, Method::POST, "/api/v1/incidents", Member, &[], incidents::handle),
            read(
                native,
                "/api/v1/tokens",
                Member,
                &["account", "caller", "since", "since_secs", "after", "limit"],
                tokens::list,
            ),
            change(native, Method::POST, "/api/v1/tokens", Admin, &[], tokens::create),
            change(
                native,
                Method::PATCH,
                "/api/v1/tokens/{token}",
                Member,
                &["end_credentials", "dry_run"],
                tokens::change,
            ),
            change(
                native,
                Method::DELETE,
                "/api/v1/tokens/{token}",
                Member,
                &["with_made", "last_operator", "dry_run"],
                tokens::end,
            ),
            read(native, "/api/v1/storages", Operator, &[], storages::list),
            change(native, Method::POST, "/api/v1/storages", Operator, &[], storages::create),
            change(native, Method::PATCH, "/api/v1/storages/{storage}", Operator, &[], storages::change),
            change(
                native,
                Method::DELETE,
                "/api/v1/storages/{storage}",
                Operator,
                &["cascade", "dry_run"],
                storages::remove,
            ),
            change(native, Method::POST, "/api/v1/storages/{storage}/revocations", Operator, &[], storages::end),
            ask(native, ("/api/v1/storages/{storage}/checks", Class::Common), Operator, checks::check),
            read(native, "/api/v1/buckets", Operator, &[], buckets::list),
            change(native, Method::POST, "/api/v1/buckets", Operator, &[], buckets::create),
            read(native, CORS, Operator, &[], cors::show),
            change(native, Method::PUT, CORS, Operator, &[], cors::set),
            change(native, Method::DELETE, CORS, Operator, &[], cors::remove),
            change(
                native,
                Method::DELETE,
                "/api/v1/buckets/{bucket}",
                Operator,
                &["cascade", "with_objects", "dry_run"],
                buckets::remove,
            ),
            read(native, "/api/v1/datasets", Operator, &["bucket"], datasets::list),
            change(native, Method::POST, "/api/v1/datasets", Operator, &[], datasets::create),
            change(native, Method::PATCH, "/api/v1/datasets/{dataset}", Operator, &[], datasets::change),
            change(
                native,
                Method::DELETE,
                "/api/v1/datasets/{dataset}",
                Operator,
                &["cascade", "dry_run"],
                datasets::remove,
            ),
            read(native, "/api/v1/shares", Operator, &["account"], shares::list),
            change(native, Method::POST, "/api/v1/shares", Operator, &[], shares::create),
            change(native, Method::DELETE, "/api/v1/shares/{share}", Operator, &["end_credentials"], shares::remove),
            read(native, "/api/v1/shares/{share}/tables", Operator, &[], shares::tables),
            change(native, Method::POST, "/api/v1/shares/{share}/tables", Operator, &[], shares::add_table),
            change(
                native,
                Method::DELETE,
                "/api/v1/shares/{share}/tables/{table}",
                Operator,
                &["end_credentials"],
                shares::remove_table,
            ),
            read(native, "/api/v1/shares/{share}/recipients", Operator, &["account"], shares::recipients),
            change(native, Method::POST, "/api/v1/shares/{share}/recipients", Operator, &[], shares::give),
            change(
                native,
                Method::DELETE,
                "/api/v1/shares/{share}/recipients/{account}",
                Operator,
                &["caller", "end_credentials"],
                shares::take,
            ),
            change(native, Method::POST, "/api/v1/share-profiles", Admin, &[], profiles::create),
            change(native, Method::POST, "/api/v1/share-links", Admin, &[], profiles::link),
            read(native, "/api/v1/ledger/verify", Operator, &["expect_head"], audit::verify),
            read(native, "/api/v1/audit", Operator, &["since", "since_secs", "noun", "before", "limit"], audit::list),
            read(native, "/api/v1/workspaces", Admin, &["account", "bucket"], workspaces::list),
            change(native, Method::POST, "/api/v1/workspaces", Operator, &[], workspaces::create),
            change(native, Method::PATCH, "/api/v1/workspaces/{workspace}", Operator, &["account"], workspaces::change),
            change(
                native,
                Method::DELETE,
                "/api/v1/workspaces/{workspace}",
                Operator,
                &["account", "end_credentials", "dry_run"],
                workspaces::remove,
            ),
            read(native, "/api/v1/parent-keys", Member, &["account", "bucket"], parent_keys::list),
            change(native, Method::POST, "/api/v1/parent-keys", Operator, &[], parent_keys::create),
            change(
                native,
                Method::PATCH,
                "/api/v1/parent-keys/{key}",
                Operator,
                &["end_credentials", "dry_run"],
                parent_keys::change,
            ),
            change(
                native,
                Method::DELETE,
                "/api/v1/parent-keys/{key}",
                Member,
                &["remove", "cascade", "dry_run"],
                parent_keys::disable,
            ),
            change(native, Method::POST, "/api/v1/parent-keys/{key}/revocations", Member, &[], parent_keys::end_child),
            Route::open(Method::GET, "/openapi.json", Class::Common, |_| async {
                Ok(Reply::written(openapi::written()?.into(), "application/json"))
            }),
        ],
    }
}
