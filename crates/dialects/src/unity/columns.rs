//! A table's columns, as its log says them, in the words of this API.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::nouns::share::READ;
use valetkey_core::nouns::table::{AsOf, SharedTable, TableMetadata, TablePlace};
use valetkey_core::policy;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Shape;
use valetkey_core::{Error, Kind};

use super::state::{NAME, Unity};
use crate::edge::Call;

/// What could be read.
pub(super) enum Told {
    /// The columns.
    Columns(Vec<Column>),
    /// There is no log.
    NoLog,
    /// This server does not read it.
    Unread,
}

#[derive(Serialize)]
pub(super) struct Column {
    name: String,
    type_text: String,
    type_json: String,
    type_name: &'static str,
    position: usize,
    nullable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_index: Option<usize>,
}

/// An ask to read all of a table.
pub(super) fn ask(unity: &Unity, table: &SharedTable) -> Result<Ask, Error> {
    Ok(Ask {
        dialect: NAME,
        target: Target::Shared { share: table.share, bucket: table.bucket.clone(), paths: root(table)? },
        wanted: Wanted::all_of(READ),
        lifetime: Asked::Usual(unity.settings.lifetime),
        carries: Shape::ALL,
    })
}

/// A table's directory.
pub(super) fn root(table: &SharedTable) -> Result<Paths, Error> {
    Paths::only([Path::directory(table.root.as_str().as_bytes())?])
}

/// Reads a table's columns.
///
/// SECURITY: the server reads logs with its own rights. Policy is asked before, so that nothing of a table is read for who could not
/// have it.
pub(super) async fn read(
    unity: &Unity,
    call: &Call,
    table: &SharedTable,
    snapshot: &Arc<Snapshot>,
) -> Result<Told, Error> {
    let permit = policy::decide(snapshot, &call.caller, &ask(unity, table)?, &call.facts(), call.now)?;
    let Some(logs) = unity.logs.as_ref().filter(|_| permit.storage().kind.is_ours()) else {
        return Ok(Told::Unread);
    };
    let place = TablePlace {
        storage: Arc::clone(permit.storage()),
        bucket: table.bucket.clone(),
        root: table.root.as_str().as_bytes().into(),
        credential: None,
    };
    let held = unity.shared.heavy.enter(call.caller.account).await?;
    match held.in_time(logs.snapshot(&place, AsOf::Latest)).await {
        Ok(found) => Ok(columns(&found.metadata).map_or(Told::Unread, Told::Columns)),
        Err(error) if matches!(error.kind(), Kind::NotFound(_)) => Ok(Told::NoLog),
        // A log that cannot be read is one for clients that read more than we do.
        Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Unsupported) => Ok(Told::Unread),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Struct {
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: Value,
    nullable: bool,
    #[serde(default)]
    metadata: Value,
}

fn columns(metadata: &TableMetadata) -> Option<Vec<Column>> {
    let schema: Struct = serde_json::from_str(&metadata.schema).ok()?;
    let column = |(position, field): (usize, Field)| Column {
        type_text: text(&field.kind),
        type_json: json!({
            "name": &field.name, "type": &field.kind, "nullable": field.nullable, "metadata": &field.metadata,
        })
        .to_string(),
        type_name: named(&field.kind),
        position,
        nullable: field.nullable,
        comment: field.metadata.get("comment").and_then(Value::as_str).map(str::to_owned),
        partition_index: metadata.partition_columns.iter().position(|own| *own == field.name),
        name: field.name,
    };
    Some(schema.fields.into_iter().enumerate().map(column).collect())
}

/// A type's name here and in SQL.
fn primitive(kind: &str) -> (&'static str, &str) {
    match kind {
        "string" => ("STRING", kind),
        "long" => ("LONG", "bigint"),
        "integer" => ("INT", "int"),
        "short" => ("SHORT", "smallint"),
        "byte" => ("BYTE", "tinyint"),
        "float" => ("FLOAT", kind),
        "double" => ("DOUBLE", kind),
        "boolean" => ("BOOLEAN", kind),
        "binary" => ("BINARY", kind),
        "date" => ("DATE", kind),
        "timestamp" => ("TIMESTAMP", kind),
        "timestamp_ntz" => ("TIMESTAMP_NTZ", kind),
        _ if kind.starts_with("decimal") => ("DECIMAL", kind),
        _ => ("USER_DEFINED_TYPE", kind),
    }
}

fn named(kind: &Value) -> &'static str {
    match (kind, kind.get("type").and_then(Value::as_str)) {
        (Value::String(kind), _) => primitive(kind).0,
        (_, Some("struct")) => "STRUCT",
        (_, Some("array")) => "ARRAY",
        (_, Some("map")) => "MAP",
        _ => "USER_DEFINED_TYPE",
    }
}

/// A type as SQL writes it. The depth is bounded: JSON that nests deeper is not read.
fn text(kind: &Value) -> String {
    let of = |name: &str| kind.get(name).map(text).unwrap_or_default();
    match (kind, kind.get("type").and_then(Value::as_str)) {
        (Value::String(kind), _) => primitive(kind).1.to_owned(),
        (_, Some("array")) => format!("array<{}>", of("elementType")),
        (_, Some("map")) => format!("map<{},{}>", of("keyType"), of("valueType")),
        (_, Some("struct")) => {
            let fields = kind.get("fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let field = |field: &Value| {
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                format!("{name}:{}", field.get("type").map(text).unwrap_or_default())
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_as_sql_and_as_the_log_has_them() {
        let nested = json!({"type": "struct", "fields": [
            {"name": "a", "type": {"type": "array", "elementType": "integer", "containsNull": true}, "nullable": true},
            {"name": "b", "type": {"type": "map", "keyType": "string", "valueType": "decimal(10,2)"}, "nullable": true},
        ]});
        for (kind, name, sql) in [
            (json!("string"), "STRING", "string"),
            (json!("long"), "LONG", "bigint"),
            (json!("decimal(10,2)"), "DECIMAL", "decimal(10,2)"),
            (json!("void"), "USER_DEFINED_TYPE", "void"),
            (nested, "STRUCT", "struct<a:array<int>,b:map<string,decimal(10,2)>>"),
        ] {
            assert_eq!((named(&kind), text(&kind).as_str()), (name, sql));
        }
    }
}
