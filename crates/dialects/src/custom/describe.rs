//! The routes of a file as OpenAPI has them.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::route::RouteSpec;
use super::spec::Spec;
use crate::edge::Carrier;

/// One route, as it is shown to who wrote it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The API's name.
    pub dialect: &'static str,
    /// Its method and path.
    pub route: String,
    /// Where the token stands.
    pub token: String,
    /// What it opens.
    pub opens: String,
    /// The most that its credentials allow.
    pub access: &'static str,
    /// How long they live, where a request does not say.
    pub ttl_secs: u32,
    /// What requests may say.
    pub fields: Vec<&'static str>,
}

fn operation_id(name: &str, route: &RouteSpec) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{}_{}{}", plain(name), route.method.as_str().to_ascii_lowercase(), plain(route.path))
}

/// What the description of the whole API says of these routes: its `paths`, and its `components`; null without any.
pub fn described(specs: &[Spec]) -> Value {
    if specs.is_empty() {
        return Value::Null;
    }
    let (mut paths, mut schemes) = (Map::new(), Map::new());
    for spec in specs {
        schemes.extend(spec.schemes());
        for route in &spec.routes {
            let at = paths.entry(format!("{}{}", spec.base, route.path)).or_insert_with(|| json!({}));
            if let Some(at) = at.as_object_mut() {
                at.insert(route.method.as_str().to_ascii_lowercase(), spec.one(route));
            }
        }
    }
    json!({"paths": paths, "components": {"securitySchemes": schemes}})
}

impl Spec {
    /// Its routes, as they are shown.
    pub fn shown(&self) -> Vec<Shown> {
        let token = |carrier: &Carrier| match carrier {
            Carrier::Bearer => "bearer".to_owned(),
            Carrier::Basic(user) => format!("basic:{user}"),
            Carrier::Header(name) => format!("header:{name}"),
        };
        let tokens: Vec<_> = self.carriers.iter().map(token).collect();
        let shown = |route: &RouteSpec| Shown {
            dialect: self.name,
            route: format!("{} {}{}", route.method, self.base, route.path),
            token: tokens.join(", "),
            opens: route.opens.to_string(),
            access: route.access.word(),
            ttl_secs: route.lifetime.as_secs(),
            fields: route.fields.iter().map(|field| field.key).collect(),
        };
        self.routes.iter().map(shown).collect()
    }

    /// How callers prove who they are: the name of each scheme, and what it is.
    fn schemes(&self) -> Vec<(String, Value)> {
        let scheme = |carrier: &Carrier| match carrier {
            Carrier::Bearer => ("bearer".to_owned(), json!({"type": "http", "scheme": "bearer"})),
            Carrier::Basic(_) => ("basic".to_owned(), json!({"type": "http", "scheme": "basic"})),
            Carrier::Header(name) => (
                format!("header-{}", name.to_ascii_lowercase()),
                json!({"type": "apiKey", "in": "header", "name": name}),
            ),
        };
        self.carriers.iter().map(scheme).collect()
    }

    fn one(&self, route: &RouteSpec) -> Value {
        let mut parameters: Vec<Value> = route
            .names()
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in &route.fields {
            let (place, name, must, schema) = field.described();
            if place == "body" {
                properties.insert(name.to_owned(), schema);
                required.extend(must.then_some(name));
            } else {
                parameters.push(json!({"name": name, "in": place, "required": must, "schema": schema}));
            }
        }
        let security: Vec<Value> = self.schemes().into_iter().map(|(name, _)| json!({ name: [] })).collect();
        let mut operation = json!({
            "operationId": operation_id(self.name, route),
            "tags": [self.name],
            "summary": format!("Vends a credential ({})", self.name),
            "parameters": parameters,
            "security": security,
            "responses": {
                "200": {"description": "The credential", "content": {"application/json": {"schema": {}}}},
                "default": {"description": "A refusal", "content": {"application/json": {"schema": {}}}},
            },
        });
        if !properties.is_empty() {
            let schema = json!({
                "type": "object", "properties": properties, "required": required, "additionalProperties": false,
            });
            let body = json!({"required": !required.is_empty(), "content": {"application/json": {"schema": schema}}});
            if let Some(operation) = operation.as_object_mut() {
                operation.insert("requestBody".to_owned(), body);
            }
        }
        operation
    }
}
