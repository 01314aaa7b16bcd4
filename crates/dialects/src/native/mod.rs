//! Our own JSON API: what the command line does. Vend with narrowing, leases, ending them, why something is allowed, and
//! for admins and operators what callers, tokens, places and grants there are.
//!
//! Who may know of a thing sees it; to everyone else it is not there (404). Who knows and may not gets 403.

mod access;
mod accounts;
pub mod api;
mod audit;
mod authz;
mod buckets;
mod by_hand;
mod callers;
mod checks;
mod conditions;
mod console;
mod cors;
mod credentials;
mod datasets;
mod ended;
mod ending;
mod error;
mod events;
mod exchange;
mod explain;
mod from_lease;
mod grants;
mod groups;
mod identity;
mod incidents;
mod leases;
mod lists;
#[cfg(test)]
pub(crate) mod made;
mod nodes;
mod openapi;
mod parent_keys;
mod policy;
mod preview;
mod profiles;
mod refusals;
mod removal;
mod request_rules;
mod requests;
mod revocations;
mod scopes;
mod shares;
mod signing;
mod state;
mod storages;
mod tokens;
mod usage;
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
use valetkey_core::nouns::table::{ObjectFiles, TableLogs};

use crate::edge::{Authority, Call, Class, Dialect, Proof, Reply, Route, Shared, bearer, usual_headers};

use self::api::operations::{self as op, Operation};
use self::api::policy::MOST_BYTES;
use self::state::Native;

pub use by_hand::BREAK_GLASS;
pub use events::Teller;
pub use openapi::{DOCUMENT, policy_schema};
pub use policy::{Offline, offline_policy};
pub use state::{NAME, Settings};

/// A row of a route that changes nothing: its operation, the least role that is let in, and what its query knows.
fn read<const N: usize, F>(
    native: &Arc<Native>,
    operation: Operation<N>,
    needs: Role,
    query: &'static [&'static str],
    handler: fn(Arc<Native>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    let route =
        Route::token(operation.method, operation.path, Class::Common, move |call| handler(Arc::clone(&native), call));
    route.needs(needs).query(query)
}

/// The same of one that is asked with a body.
fn ask<const N: usize, F>(
    native: &Arc<Native>,
    (operation, class): (Operation<N>, Class),
    needs: Role,
    handler: fn(Arc<Native>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    Route::token(operation.method, operation.path, class, move |call| handler(Arc::clone(&native), call)).needs(needs)
}

/// The same of one that changes something.
fn change<const N: usize, F>(
    native: &Arc<Native>,
    operation: Operation<N>,
    needs: Role,
    query: &'static [&'static str],
    handler: fn(Arc<Native>, Call, Authority) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let native = Arc::clone(native);
    let handler = move |call, authority| handler(Arc::clone(&native), call, authority);
    Route::change(operation.method, operation.path, Class::Common, handler).needs(needs).query(query)
}

/// Makes the dialect.
#[expect(clippy::too_many_lines, reason = "a line for each route")]
pub fn dialect(
    shared: &Arc<Shared>,
    settings: Settings,
    stores: Arc<dyn StorageAdmin>,
    prober: Arc<dyn Prober>,
    (logs, files): (Option<Arc<dyn TableLogs>>, Arc<dyn ObjectFiles>),
    cors: Arc<dyn CorsRules>,
) -> Dialect {
    let (vending, entropy) = (shared.vending.clone(), Arc::clone(&shared.entropy));
    let description = Arc::new(openapi::Description::with(settings.described.clone()));
    let checker = Checker { vending, stores: Arc::clone(&stores), prober, entropy };
    let native = &Arc::new(Native { shared: Arc::clone(shared), settings, stores, checker, logs, files, cors });
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
            "/api/v1/access",
            "/api/v1/me",
            "/api/v1/grants",
            "/api/v1/groups",
            "/api/v1/requests",
            "/api/v1/request-rules",
            "/api/v1/accounts",
            "/api/v1/incidents",
            "/api/v1/tokens",
            "/api/v1/callers",
            "/api/v1/storages",
            "/api/v1/buckets",
            "/api/v1/datasets",
            "/api/v1/ledger",
            "/api/v1/audit",
            "/api/v1/nodes",
            "/api/v1/refusals",
            "/api/v1/usage",
            "/api/v1/workspaces",
            "/api/v1/parent-keys",
            "/api/v1/shares",
            "/api/v1/share-profiles",
            "/api/v1/share-links",
            "/api/v1/identity-providers",
            "/api/v1/login-providers",
            "/api/v1/signing-keys",
            "/console/session",
            "/console/login",
            "/api/v1/policy",
            "/schema/policy-v1.json",
            "/.well-known/openid-configuration",
            signing::JWKS,
            "/oauth/token",
            "/openapi.json",
        ],
        proof: Proof::TokenOrSession(bearer),
        actions: None,
        row: Arc::new(error::row),
        codes: exchange::CODES,
        refused: exchange::headers,
        quota: usual_headers,
        body: Arc::new(error::body),
        body_type: "application/problem+json",
        routes: vec![
            ask(native, (op::VEND, Class::Credentials), Member, credentials::vend),
            read(
                native,
                op::LIST_LEASES,
                Member,
                &["live", "account", "caller", "token", "grant", "bucket", "since", "since_secs", "limit", "before"],
                leases::list,
            )
            .audited(),
            read(native, op::GET_LEASE, Member, &[], leases::get).audited(),
            change(native, op::END_LEASE, Member, &[], leases::end),
            change(native, op::REVOKE, Member, &[], revocations::revoke),
            read(native, op::WHOSE, Member, &[], leases::whose).audited(),
            ask(native, (op::EXPLAIN, Class::Common), Member, explain::explain).audited(),
            read(
                native,
                op::LIST_ACCESS,
                Member,
                &["account", "caller", "action", "place", "at", "after", "limit", "format"],
                access::list,
            )
            .audited(),
            read(native, op::ME, Member, &[], explain::me).audited(),
            read(
                native,
                op::LIST_GRANTS,
                Member,
                &["account", "all", "name", "caller", "bucket", "since", "since_secs", "after", "limit"],
                grants::list,
            )
            .audited(),
            change(native, op::CREATE_GRANT, Operator, &["dry_run"], grants::create),
            change(native, op::CHANGE_GRANT, Operator, &["end_credentials", "dry_run"], grants::change),
            change(native, op::REMOVE_GRANT, Operator, &["end_credentials", "dry_run"], grants::remove),
            read(native, op::LIST_GROUPS, Admin, &["account"], groups::list).audited(),
            change(native, op::CREATE_GROUP, Operator, &[], groups::create),
            read(native, op::GET_GROUP, Admin, &[], groups::get).audited(),
            change(native, op::CHANGE_GROUP, Operator, &["end_credentials", "dry_run"], groups::change),
            change(native, op::REMOVE_GROUP, Operator, &["dry_run"], groups::remove),
            read(native, op::LIST_REQUESTS, Member, &["state", "decide", "before", "limit"], requests::list).audited(),
            change(native, op::CREATE_REQUEST, Member, &[], requests::create),
            read(native, op::GET_REQUEST, Member, &[], requests::get).audited(),
            change(native, op::CANCEL_REQUEST, Member, &[], requests::cancel),
            change(native, op::APPROVE_REQUEST, Member, &["dry_run"], requests::approve),
            change(native, op::DENY_REQUEST, Member, &[], requests::deny),
            read(native, op::LIST_REQUEST_RULES, Member, &[], request_rules::list).audited(),
            change(native, op::CREATE_REQUEST_RULE, Operator, &[], request_rules::create),
            change(native, op::CHANGE_REQUEST_RULE, Operator, &["dry_run"], request_rules::change),
            change(native, op::REMOVE_REQUEST_RULE, Operator, &["dry_run"], request_rules::remove),
            read(native, op::LIST_ACCOUNTS, Member, &[], accounts::list),
            change(native, op::CREATE_ACCOUNT, Operator, &[], accounts::create),
            change(native, op::CHANGE_ACCOUNT, Operator, &["dry_run"], accounts::change),
            change(native, op::REMOVE_ACCOUNT, Operator, &["cascade", "last_operator", "dry_run"], accounts::remove),
            change(native, op::ADD_CREDITS, Operator, &[], accounts::add_credits),
            read(native, op::LIST_ALL_CALLERS, Member, &["account", "after", "limit"], callers::list_all),
            read(native, op::LIST_CALLERS, Member, &["after", "limit"], callers::list),
            change(native, op::CREATE_CALLER, Admin, &["dry_run"], callers::create),
            change(native, op::CHANGE_CALLER, Member, &["dry_run"], callers::change),
            change(native, op::REMOVE_CALLER, Member, &["last_operator", "dry_run"], callers::remove),
            change(native, op::HANDLE_INCIDENT, Member, &[], incidents::handle),
            read(
                native,
                op::LIST_TOKENS,
                Member,
                &["account", "caller", "since", "since_secs", "after", "limit"],
                tokens::list,
            ),
            change(native, op::CREATE_TOKEN, Admin, &[], tokens::create),
            change(native, op::CHANGE_TOKEN, Member, &["end_credentials", "last_operator", "dry_run"], tokens::change),
            change(native, op::END_TOKEN, Member, &["with_made", "last_operator", "dry_run"], tokens::end),
            read(native, op::LIST_STORAGES, Operator, &[], storages::list),
            change(native, op::CREATE_STORAGE, Operator, &[], storages::create),
            change(native, op::CHANGE_STORAGE, Operator, &[], storages::change),
            change(native, op::REMOVE_STORAGE, Operator, &["cascade", "dry_run"], storages::remove),
            change(native, op::END_STORAGE_CREDENTIALS, Operator, &[], storages::end),
            ask(native, (op::CHECK_STORAGE, Class::Common), Operator, checks::check),
            read(native, op::LIST_BUCKETS, Operator, &[], buckets::list),
            change(native, op::CREATE_BUCKET, Operator, &[], buckets::create),
            read(native, op::GET_BUCKET_CORS, Operator, &[], cors::show),
            change(native, op::SET_BUCKET_CORS, Operator, &[], cors::set),
            change(native, op::REMOVE_BUCKET_CORS, Operator, &[], cors::remove),
            change(native, op::REMOVE_BUCKET, Operator, &["cascade", "with_objects", "dry_run"], buckets::remove),
            read(native, op::LIST_DATASETS, Operator, &["bucket"], datasets::list),
            change(native, op::CREATE_DATASET, Operator, &[], datasets::create),
            change(native, op::CHANGE_DATASET, Operator, &[], datasets::change),
            change(native, op::REMOVE_DATASET, Operator, &["cascade", "dry_run"], datasets::remove),
            read(native, op::LIST_SHARES, Operator, &["account"], shares::list),
            change(native, op::CREATE_SHARE, Operator, &[], shares::create),
            change(native, op::REMOVE_SHARE, Operator, &["end_credentials"], shares::remove),
            read(native, op::LIST_SHARED_TABLES, Operator, &[], shares::tables),
            change(native, op::ADD_SHARED_TABLE, Operator, &[], shares::add_table),
            change(native, op::REMOVE_SHARED_TABLE, Operator, &["end_credentials"], shares::remove_table),
            read(native, op::LIST_SHARE_RECIPIENTS, Operator, &["account"], shares::recipients),
            change(native, op::GIVE_SHARE, Operator, &[], shares::give),
            change(native, op::TAKE_SHARE, Operator, &["caller", "end_credentials"], shares::take),
            change(native, op::CREATE_SHARE_PROFILE, Admin, &[], profiles::create),
            change(native, op::CREATE_SHARE_LINK, Admin, &[], profiles::link),
            read(native, op::VERIFY_LEDGER, Operator, &["expect_head"], audit::verify).audited(),
            read(
                native,
                op::LIST_CHANGES,
                Operator,
                &["since", "since_secs", "noun", "caller", "before", "limit"],
                audit::list,
            )
            .audited(),
            read(native, op::LIST_NODES, Operator, &[], nodes::list).audited(),
            read(native, op::LIST_REFUSALS, Operator, &["account", "hours"], refusals::list).audited(),
            read(native, op::LIST_EVENTS, Operator, &["after", "limit"], events::list).audited(),
            read(native, op::USAGE, Member, &["account", "days", "caller", "by_caller"], usage::show),
            read(native, op::LIST_WORKSPACES, Admin, &["account", "bucket"], workspaces::list),
            change(native, op::CREATE_WORKSPACE, Operator, &["dry_run"], workspaces::create),
            change(native, op::CHANGE_WORKSPACE, Operator, &["account"], workspaces::change),
            change(
                native,
                op::REMOVE_WORKSPACE,
                Operator,
                &["account", "end_credentials", "dry_run"],
                workspaces::remove,
            ),
            read(native, op::LIST_PARENT_KEYS, Member, &["account", "bucket"], parent_keys::list),
            change(native, op::CREATE_PARENT_KEY, Operator, &[], parent_keys::create),
            change(native, op::CHANGE_PARENT_KEY, Operator, &["end_credentials", "dry_run"], parent_keys::change),
            change(native, op::DISABLE_PARENT_KEY, Member, &["remove", "cascade", "dry_run"], parent_keys::disable),
            change(native, op::END_CHILD, Member, &[], parent_keys::end_child),
            read(native, op::LIST_IDENTITY_PROVIDERS, Operator, &[], identity::list),
            change(native, op::CREATE_IDENTITY_PROVIDER, Operator, &[], identity::create),
            read(native, op::GET_IDENTITY_PROVIDER, Operator, &[], identity::get),
            change(native, op::CHANGE_IDENTITY_PROVIDER, Operator, &["end_credentials", "dry_run"], identity::change),
            change(native, op::REMOVE_IDENTITY_PROVIDER, Operator, &["last_operator", "dry_run"], identity::remove),
            change(native, op::CREATE_TRUST_RULE, Operator, &[], identity::create_rule),
            change(native, op::CHANGE_TRUST_RULE, Operator, &["end_credentials", "dry_run"], identity::change_rule),
            change(native, op::REMOVE_TRUST_RULE, Operator, &["last_operator", "dry_run"], identity::remove_rule),
            change(native, op::END_SESSIONS, Operator, &[], identity::end),
            read(native, op::LIST_SIGNING_KEYS, Operator, &[], signing::list).audited(),
            change(native, op::ROTATE_SIGNING_KEYS, Operator, &[], signing::rotate),
            change(native, op::WITHDRAW_SIGNING_KEY, Operator, &[], signing::withdraw),
            {
                let native = Arc::clone(native);
                let discovery = move |plain| signing::discovery(Arc::clone(&native), plain);
                Route::open(Method::GET, "/.well-known/openid-configuration", Class::Common, discovery)
            },
            {
                let native = Arc::clone(native);
                let jwks = move |plain| signing::jwks(Arc::clone(&native), plain);
                Route::open(Method::GET, signing::JWKS, Class::Common, jwks)
            },
            read(native, op::GET_POLICY, Operator, &["owner", "account"], policy::get),
            ask(native, (op::PLAN_POLICY, Class::Common), Operator, policy::plan)
                .large(MOST_BYTES, policy::decide)
                .also(&[Role::Planner]),
            change(native, op::APPLY_POLICY, Operator, &[], policy::apply).large(MOST_BYTES, policy::decide),
            change(native, op::OWN_POLICY, Operator, &[], policy::own),
            Route::open(Method::GET, "/schema/policy-v1.json", Class::Common, |_| async {
                Ok(Reply::written(openapi::policy_schema()?.into_bytes(), "application/schema+json"))
            }),
            {
                let native = Arc::clone(native);
                let logins = move |plain| identity::logins(Arc::clone(&native), plain);
                Route::open(Method::GET, op::LIST_LOGIN_PROVIDERS.path, Class::Common, logins)
            },
            {
                let native = Arc::clone(native);
                let sign_in = move |plain| console::sign_in(Arc::clone(&native), plain);
                Route::open(Method::POST, op::SIGN_IN.path, Class::Common, sign_in)
            },
            {
                let native = Arc::clone(native);
                let begin = move |plain| console::begin(Arc::clone(&native), plain);
                Route::open(Method::POST, op::BEGIN_LOGIN.path, Class::Common, begin)
            },
            // Whoever signs in stays so, and signs out.
            ask(native, (op::RENEW_SESSION, Class::Common), Member, console::renew).audited(),
            change(native, op::SIGN_OUT, Member, &[], console::sign_out).also(&[Role::Planner, Role::Auditor]),
            {
                let native = Arc::clone(native);
                let exchange = move |plain| exchange::token(Arc::clone(&native), plain);
                Route::open(Method::POST, "/oauth/token", Class::Common, exchange)
            },
            Route::open(Method::GET, "/openapi.json", Class::Common, move |_| {
                let description = Arc::clone(&description);
                async move { Ok(Reply::written(description.written()?, "application/json")) }
            }),
        ],
    }
}
