//! The description of this API (OpenAPI 3.1). It is made from the handlers by a test (`native/made.rs`), which holds `openapi.json` current: what
//! makes it would be two megabytes of every server.

use std::sync::OnceLock;

use serde_json::Value;
use valetkey_core::Error;

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
        let mut text = DOCUMENT.to_owned();
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
    let whole = DOCUMENT.replace("#/components/schemas/", "#/$defs/");
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
pub const DOCUMENT: &str = include_str!("../../openapi.json");
