//! The tables of commands, compared with the API's description: a column that no answer has would be empty for ever.

use serde_json::Value;

use crate::cli::{
    account, caller, catalog, check, cors, explain, grant, group, identity, incident, lease, ledger, parent_key, share,
    show, storage, token, usage, workspace,
};

/// Every table, and what the API calls its rows.
const TABLES: &[(&str, &[show::Column])] = &[
    ("AccountResponse", account::WIDE),
    ("CallerResponse", account::CALLERS),
    ("CallerResponse", caller::COLUMNS),
    ("BucketResponse", catalog::BUCKETS),
    ("DatasetResponse", catalog::DATASETS),
    ("RowResponse", check::COLUMNS),
    ("CorsRule", cors::COLUMNS),
    ("Considered", explain::CONSIDERED),
    ("GrantResponse", grant::COLUMNS),
    ("GroupResponse", group::COLUMNS),
    ("IdentityProviderResponse", identity::COLUMNS),
    ("LeaseResponse", incident::LEASES),
    ("OwnerOfLeak", incident::WHOSE),
    ("LeaseResponse", lease::WIDE),
    ("LeaseResponse", lease::HANDED),
    ("ChangeResponse", ledger::COLUMNS),
    ("ParentKeyResponse", parent_key::COLUMNS),
    ("ShareResponse", share::SHARES),
    ("TableResponse", share::TABLES),
    ("RecipientResponse", share::RECIPIENTS),
    ("StorageResponse", storage::COLUMNS),
    ("TokenResponse", token::COLUMNS),
    ("DayResponse", usage::DAYS),
    ("CallerUseResponse", usage::CALLERS),
    ("WorkspaceResponse", workspace::COLUMNS),
];

/// Whether what a schema describes has a field; a dot goes deeper.
fn has(api: &Value, schema: &Value, field: &str) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return has(api, &api["components"]["schemas"][name.rsplit('/').next().unwrap()], field);
    }
    let parts = ["allOf", "oneOf"].iter().filter_map(|kind| schema[kind].as_array()).flatten();
    if parts.into_iter().any(|part| has(api, part, field)) {
        return true;
    }
    match field.split_once('.') {
        None => schema["properties"].get(field).is_some(),
        Some((first, rest)) => has(api, &schema["properties"][first], rest),
    }
}

#[test]
fn every_column_is_a_field_of_the_answer() {
    let api: Value = serde_json::from_str(valetkey_dialects::native::DOCUMENT).unwrap();
    let schema = |name: &str| &api["components"]["schemas"][name];
    assert!(has(&api, schema("AccountResponse"), "kept.bytes") && !has(&api, schema("AccountResponse"), "kept.x"));
    for (name, columns) in TABLES {
        assert!(schema(name).is_object(), "{name}");
        for (header, fields) in *columns {
            let fields = if *fields == [show::PLACES] { &["bucket", "prefixes", "objects"] } else { *fields };
            for field in fields {
                assert!(has(&api, schema(name), field), "{header}: {name} has no `{field}`");
            }
        }
    }
}
