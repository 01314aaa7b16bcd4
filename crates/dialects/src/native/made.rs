//! The description of this API, made from the handlers.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    access, accounts, audit, buckets, callers, checks, cors, credentials, datasets, events, explain, grants, groups,
    identity, incidents, leases, nodes, parent_keys, policy, profiles, refusals, request_rules, requests, revocations,
    shares, signing, storages, tokens, usage, workspaces,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Valetkey",
        description = "Hands out short-lived, least-privilege S3 credentials. Refusals are problem details (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        credentials::vend,
        leases::list,
        leases::get,
        leases::end,
        leases::whose,
        audit::verify,
        audit::list,
        nodes::list,
        refusals::list,
        events::list,
        revocations::revoke,
        explain::explain,
        explain::me,
        access::list,
        grants::list,
        grants::create,
        grants::change,
        grants::remove,
        groups::list,
        groups::create,
        groups::get,
        groups::change,
        groups::remove,
        requests::list,
        requests::create,
        requests::get,
        requests::cancel,
        requests::approve,
        requests::deny,
        request_rules::list,
        request_rules::create,
        request_rules::change,
        request_rules::remove,
        accounts::list,
        accounts::create,
        accounts::change,
        accounts::remove,
        accounts::add_credits,
        callers::list_all,
        callers::list,
        callers::create,
        callers::change,
        callers::remove,
        incidents::handle,
        tokens::list,
        tokens::create,
        tokens::change,
        tokens::end,
        storages::list,
        storages::create,
        storages::change,
        storages::remove,
        storages::end,
        checks::check,
        buckets::list,
        buckets::create,
        cors::show,
        cors::set,
        cors::remove,
        buckets::remove,
        datasets::list,
        datasets::create,
        datasets::change,
        datasets::remove,
        identity::logins,
        identity::list,
        identity::create,
        identity::get,
        identity::change,
        identity::remove,
        identity::create_rule,
        identity::change_rule,
        identity::remove_rule,
        identity::end,
        signing::list,
        signing::rotate,
        signing::withdraw,
        usage::show,
        workspaces::list,
        workspaces::create,
        workspaces::change,
        workspaces::remove,
        parent_keys::list,
        parent_keys::create,
        parent_keys::change,
        parent_keys::disable,
        parent_keys::end_child,
        shares::list,
        shares::create,
        shares::remove,
        shares::tables,
        shares::add_table,
        shares::remove_table,
        shares::recipients,
        shares::give,
        shares::take,
        profiles::create,
        profiles::link,
        policy::plan,
        policy::apply,
        policy::get,
        policy::own,
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// The description, as JSON.
pub(crate) fn document() -> String {
    Api::openapi().to_pretty_json().unwrap() + "\n"
}
