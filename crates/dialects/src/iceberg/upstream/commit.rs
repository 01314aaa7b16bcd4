//! What a commit says, looked through before it is sent on.
//!
//! SECURITY: whatever says where files are, or will be, has to lie where the caller may write: the catalog, and whoever reads the table,
//! goes there with rights of its own. An update that is not known here could say so too, and is refused.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

use super::read::Identifier;
use super::state::Object;

/// A commit, of a table or of a view.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identifier: Option<Identifier>,
    #[serde(default)]
    pub(super) requirements: Vec<Map<String, Value>>,
    pub(super) updates: Vec<Map<String, Value>>,
}

/// Updates of tables that say nothing of where files are, by their `action`. Snapshots name files; what they name is read with credentials
/// for the table's directory alone.
const TABLE: [&str; 23] = [
    "add-encryption-key",
    "add-schema",
    "add-snapshot",
    "add-sort-order",
    "add-spec",
    "assign-uuid",
    "enable-row-lineage",
    "remove-encryption-key",
    "remove-partition-specs",
    "remove-partition-statistics",
    "remove-properties",
    "remove-schemas",
    "remove-snapshot-ref",
    "remove-snapshots",
    "remove-statistics",
    "set-current-schema",
    "set-default-sort-order",
    "set-default-spec",
    "set-partition-statistics",
    "set-snapshot-ref",
    "set-statistics",
    "upgrade-format-version",
    "append",
];
/// The same of views.
const VIEW: [&str; 6] = [
    "add-schema",
    "add-view-version",
    "assign-uuid",
    "remove-properties",
    "set-current-view-version",
    "upgrade-format-version",
];
/// Properties that say where files of a table are written.
const PLACES: [&str; 4] =
    ["write.data.path", "write.folder-storage.path", "write.metadata.path", "write.object-storage.path"];

fn refused(said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said).at("updates")
}

/// The places that properties name.
pub(super) fn places_of(properties: &Map<String, Value>) -> Result<Vec<&str>, Error> {
    let mut places = Vec::new();
    for (name, value) in properties {
        let text = value.as_str().ok_or_else(|| {
            Error::new(Kind::Invalid, format!("the property `{}` is not a string", shortened(name))).at("properties")
        })?;
        if PLACES.contains(&name.as_str()) {
            places.push(text);
        }
    }
    Ok(places)
}

impl Commit {
    /// Everywhere that it would have files be.
    pub(super) fn places(&self, object: Object) -> Result<Vec<&str>, Error> {
        let known: &[&str] = match object {
            Object::Table => &TABLE,
            Object::View => &VIEW,
        };
        let mut places = Vec::new();
        for update in &self.updates {
            match action(update) {
                "set-location" => {
                    let location = update.get("location").and_then(Value::as_str);
                    places.push(location.ok_or_else(|| refused("`set-location` has no string `location`"))?);
                }
                "set-properties" => {
                    let set = update.get("updates").or_else(|| update.get("updated")).and_then(Value::as_object);
                    places.extend(places_of(set.ok_or_else(|| refused("`set-properties` has no object `updates`"))?)?);
                }
                other if known.contains(&other) => {}
                other => {
                    let said = format!("`{}` is not an update that is known here", shortened(other));
                    return Err(refused(said));
                }
            }
        }
        Ok(places)
    }

    /// Where what is made lies, if it says so.
    pub(super) fn location(&self) -> Option<&str> {
        let of = |update: &&Map<String, Value>| action(update) == "set-location";
        self.updates.iter().rev().find(of)?.get("location")?.as_str()
    }

    /// Whether it makes what is not there yet.
    pub(super) fn creates(&self) -> bool {
        self.requirements.iter().any(|known| known.get("type").and_then(Value::as_str) == Some("assert-create"))
    }

    /// Demands that it is still the one that was decided on: another of its name may lie elsewhere.
    pub(super) fn hold_to(&mut self, object: Object, uuid: &str) {
        let demand = match object {
            Object::Table => json!({"type": "assert-table-uuid", "uuid": uuid}),
            Object::View => json!({"type": "assert-view-uuid", "uuid": uuid}),
        };
        if let Value::Object(demand) = demand
            && !self.requirements.contains(&demand)
        {
            self.requirements.push(demand);
        }
    }
}

fn action(update: &Map<String, Value>) -> &str {
    update.get("action").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(updates: &Value) -> Commit {
        serde_json::from_value(json!({"requirements": [], "updates": updates})).unwrap()
    }

    #[test]
    fn every_place_that_a_commit_names_is_found_and_what_is_not_known_is_refused() {
        let some = commit(&json!([
            {"action": "add-schema", "schema": {}},
            {"action": "set-location", "location": "s3://lake/a"},
            {"action": "set-properties", "updates": {"owner": "ann", "write.data.path": "s3://lake/b", "write.metadata.path": "s3://lake/c"}},
        ]));
        assert_eq!(some.places(Object::Table).unwrap(), ["s3://lake/a", "s3://lake/b", "s3://lake/c"]);
        assert_eq!(some.location(), Some("s3://lake/a"));
        for (updates, object) in [
            (json!([{"action": "move-table", "location": "s3://x"}]), Object::Table),
            (json!([{"action": "add-snapshot"}]), Object::View),
            (json!([{"location": "s3://x"}]), Object::Table),
            (json!([{"action": "set-location"}]), Object::Table),
            (json!([{"action": "set-location", "location": 1}]), Object::Table),
            (json!([{"action": "set-properties"}]), Object::Table),
            (json!([{"action": "set-properties", "updates": {"write.data.path": 1}}]), Object::Table),
        ] {
            assert!(commit(&updates).places(object).is_err(), "{updates}");
        }
        for odd in [json!({"updates": [], "extra": 1}), json!({"requirements": []}), json!({"updates": [1]})] {
            assert!(serde_json::from_value::<Commit>(odd).is_err());
        }
    }

    #[test]
    fn a_commit_is_held_to_the_table_that_was_decided_on_once() {
        let mut some = commit(&json!([]));
        some.hold_to(Object::Table, "u-1");
        some.hold_to(Object::Table, "u-1");
        assert_eq!(some.requirements.len(), 1);
        assert!(!some.creates());
    }
}
