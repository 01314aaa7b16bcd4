//! What the commands ask, held against the API's description.

use std::sync::LazyLock;

use serde_json::Value;

use crate::fake::Seen;

static API: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(valetkey_dialects::native::DOCUMENT).unwrap());

/// The operation that a request asks for.
fn operation(method: &str, path: &str) -> &'static Value {
    let is = |template: &str| {
        let mut own = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && own.all(|(own, asked)| own == asked || own.starts_with('{'))
    };
    let mut found = API["paths"].as_object().unwrap().iter().filter(|(template, _)| is(template));
    let operation = found.find_map(|(_, item)| item.get(method.to_lowercase()));
    operation.unwrap_or_else(|| panic!("the API has no {method} {path}"))
}

/// Fails for a request that the API does not describe: its path, its query, and the fields of its body.
pub(crate) fn held(seen: &Seen) {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let operation = operation(seen.method.as_str(), path);
    let empty = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap_or(&empty);
    for word in query.split('&').filter_map(|pair| pair.split_once('=')).map(|(word, _)| word) {
        assert!(parameters.iter().any(|one| one["in"] == "query" && one["name"] == word), "{seen:?}: `{word}`");
    }
    if seen.body.is_empty() {
        return;
    }
    let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
    let schema =
        &API["components"]["schemas"][schema.and_then(|name| name.rsplit('/').next()).expect("it takes a body")];
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    for field in body.as_object().unwrap().keys() {
        assert!(schema["properties"].get(field).is_some(), "{seen:?}: `{field}`");
    }
    for field in schema["required"].as_array().unwrap_or(&empty) {
        assert!(body.get(field.as_str().unwrap()).is_some(), "{seen:?}: no {field}");
    }
}
