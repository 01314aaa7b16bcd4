//! What is wrong with a body is said with the field it is in: gone over from the description of the API, so that a new field is in
//! this test as soon as it is described.

use http::Method;
use serde_json::{Map, Value, json};

use super::world::World;

/// The fields of every body there is: the method, a path, and the fields with what is described of them.
fn bodies() -> Vec<(Method, String, Map<String, Value>)> {
    let api: Value = serde_json::from_str(crate::native::DOCUMENT).unwrap();
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = body.as_str().and_then(|name| name.rsplit('/').next()) else { continue };
            let fields = api["components"]["schemas"][name]["properties"].as_object().cloned().unwrap_or_default();
            let segment = |own: &str| if own.starts_with('{') { "x".to_owned() } else { own.to_owned() };
            let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            found.push((
                method,
                path.replace("/accounts/x", "/accounts/acme").replace("/buckets/x", "/buckets/lake"),
                fields,
            ));
        }
    }
    found
}

/// What a kind of store reads for itself is described as an object, or as nothing.
fn takes_anything(field: &Value) -> bool {
    field.get("type").is_none_or(|own| own.to_string().contains("\"object\""))
}

#[tokio::test]
async fn what_is_wrong_with_a_body_names_its_field() {
    let world = World::new().await;
    let token = world.token("root").await;
    let (mut fields, mut read) = (0, 0);
    for (method, path, described) in bodies() {
        for (name, field) in described {
            fields += 1;
            for (value, any) in [(json!([[1]]), takes_anything(&field)), (Value::Null, true)] {
                let body = json!({ (&*name): value }).to_string();
                let answer = world.call(&method, &path, &token, &body).await;
                let said = answer.json();
                let words = said["detail"].as_str().unwrap_or_default();
                assert!(!words.contains("the body cannot be read"), "{method} {path} {body}: {}", answer.body);
                // What takes anything reads it, and then something else is missing, or not there.
                let told = said["field"].as_str().and_then(|field| field.strip_prefix(&*name));
                if told.is_some_and(|rest| rest.is_empty() || rest.starts_with('[')) {
                    read += 1;
                    assert!(words.contains(&name), "{method} {path} {body}: {}", answer.body);
                } else {
                    assert!(any, "{method} {path} {body}: {}", answer.body);
                }
            }
        }
    }
    assert!(fields > 100 && read > fields, "{fields} fields, {read} told");
}
