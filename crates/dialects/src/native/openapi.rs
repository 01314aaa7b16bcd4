//! The description of this API (OpenAPI 3.1), made from the handlers. The copy in `openapi.json` is held current by a test.

use std::sync::OnceLock;

use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use valetkey_core::Error;

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

/// The description with that of other APIs, made once: anyone may ask for it.
pub(super) struct Description {
    others: Value,
    written: OnceLock<String>,
}

impl Description {
    pub(super) fn with(others: Value) -> Self {
        Self { others, written: OnceLock::new() }
    }

    pub(super) fn written(&self) -> Result<Vec<u8>, Error> {
        if let Some(text) = self.written.get() {
            return Ok(text.clone().into_bytes());
        }
        let mut text = document()?;
        if !self.others.is_null() {
            let failed = |error| Error::internal("the API's description could not be read").caused_by(error);
            let mut whole: Value = serde_json::from_str(&text).map_err(failed)?;
            merge(&mut whole, &self.others);
            text = format!("{whole:#}\n");
        }
        Ok(self.written.get_or_init(|| text).clone().into_bytes())
    }
}

/// Adds what is new in the other; what is there stays.
fn merge(into: &mut Value, other: &Value) {
    let (Some(into), Some(other)) = (into.as_object_mut(), other.as_object()) else { return };
    for (name, value) in other {
        merge(into.entry(name.clone()).or_insert_with(|| value.clone()), value);
    }
}

/// The JSON Schema of policy files: of the same types that read them.
///
/// # Errors
/// `Internal` when it cannot be written.
pub fn policy_schema() -> Result<String, Error> {
    let broken = |error| Error::internal("the schema could not be written").caused_by(error);
    let whole = document()?.replace("#/components/schemas/", "#/$defs/");
    let whole: serde_json::Value = serde_json::from_str(&whole).map_err(broken)?;
    let all = whole.pointer("/components/schemas").and_then(serde_json::Value::as_object);
    let mut known = serde_json::Map::new();
    let mut wanted = vec!["PolicyDocument".to_owned()];
    while let Some(name) = wanted.pop() {
        let Some(schema) = all.and_then(|all| all.get(&name)).filter(|_| !known.contains_key(&name)) else { continue };
        let text = schema.to_string();
        let named = text.split("#/$defs/").skip(1).filter_map(|rest| rest.split('"').next());
        wanted.extend(named.map(str::to_owned));
        known.insert(name, schema.clone());
    }
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy files of Valetkey",
        "$ref": "#/$defs/PolicyDocument",
        "$defs": known,
    });
    Ok(serde_json::to_string_pretty(&schema).map_err(broken)? + "\n")
}

/// The description, as JSON.
///
/// # Errors
/// `Internal` when it cannot be written.
pub fn document() -> Result<String, Error> {
    let mut text = Api::openapi()
        .to_pretty_json()
        .map_err(|error| Error::internal("the API's description could not be written").caused_by(error))?;
    text.push('\n');
    Ok(text)
}
