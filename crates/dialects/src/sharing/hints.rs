//! Predicates a client sends along (`jsonPredicateHints`): files none of whose rows can match are left out.
//!
//! A hint is never more than that. What cannot be read or is not understood matches everything; the client filters again.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;
use valetkey_core::table::AddedFile;

/// The longest hint that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// The predicate, if there is one that could be read.
#[derive(Debug, Default)]
pub(super) struct Hints(Option<Node>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    op: String,
    #[serde(default)]
    children: Vec<Node>,
    name: Option<String>,
    value: Option<Value>,
    value_type: Option<String>,
}

/// Whether some row of a file may make a predicate true, and whether some may make it false. A null does neither.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct May {
    hold: bool,
    fail: bool,
}

const ANY: May = May { hold: true, fail: true };
const NEITHER: May = May { hold: false, fail: false };

/// What is known of a column's values in one file.
#[derive(Debug)]
enum Known {
    /// Each row has this one.
    One(Option<String>),
    /// Each value that is not null lies between these.
    Between { least: Option<Value>, most: Option<Value>, nulls: Option<u64>, rows: Option<u64> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: Option<u64>,
    #[serde(default)]
    min_values: Value,
    #[serde(default)]
    max_values: Value,
    #[serde(default)]
    null_count: Value,
}

/// A value of a type whose order we know to be the client's.
#[derive(PartialEq, Debug)]
enum Typed<'a> {
    Bool(bool),
    Whole(i128),
    /// Years have four digits, so that the text orders as the date does.
    Date(&'a str),
    Text(&'a str),
}

impl Typed<'_> {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => Some(one.cmp(two)),
            (Self::Whole(one), Self::Whole(two)) => Some(one.cmp(two)),
            (Self::Date(one), Self::Date(two)) | (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            (Self::Bool(_) | Self::Whole(_) | Self::Date(_) | Self::Text(_), _) => None,
        }
    }
}

fn typed<'a>(text: &'a str, kind: &str) -> Option<Typed<'a>> {
    match kind {
        "bool" | "boolean" if text.eq_ignore_ascii_case("true") => Some(Typed::Bool(true)),
        "bool" | "boolean" if text.eq_ignore_ascii_case("false") => Some(Typed::Bool(false)),
        "int" | "long" | "integer" | "short" | "byte" => text.parse().ok().map(Typed::Whole),
        "date" => {
            let shape = text.len() == 10
                && text.bytes().enumerate().all(|(at, byte)| match at {
                    4 | 7 => byte == b'-',
                    _ => byte.is_ascii_digit(),
                });
            shape.then_some(Typed::Date(text))
        }
        "string" => Some(Typed::Text(text)),
        // Fractions and instants are written in more ways than one, and have values that no order holds for.
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Hints {
    /// Reads what the client sent: JSON, in a string as the protocol has it.
    pub(super) fn read(sent: Option<&Value>) -> Self {
        let parsed = match sent {
            Some(Value::String(text)) if text.len() <= LONGEST => serde_json::from_str(text).ok(),
            Some(value @ Value::Object(_)) => Node::deserialize(value).ok(),
            Some(_) | None => None,
        };
        Self(parsed)
    }

    /// Whether some row of the file may match.
    pub(super) fn may_match(&self, file: &AddedFile) -> bool {
        let Some(node) = &self.0 else { return true };
        let stats = file.stats.as_deref().and_then(|stats| serde_json::from_str::<Stats>(stats).ok());
        node.may(file, stats.as_ref()).hold
    }
}

impl Node {
    fn may(&self, file: &AddedFile, stats: Option<&Stats>) -> May {
        match self.op.to_ascii_lowercase().as_str() {
            "and" if !self.children.is_empty() => {
                let all: Vec<May> = self.children.iter().map(|child| child.may(file, stats)).collect();
                May { hold: all.iter().all(|one| one.hold), fail: all.iter().any(|one| one.fail) }
            }
            "or" if !self.children.is_empty() => {
                let all: Vec<May> = self.children.iter().map(|child| child.may(file, stats)).collect();
                May { hold: all.iter().any(|one| one.hold), fail: all.iter().all(|one| one.fail) }
            }
            "not" => match &self.children[..] {
                [child] => {
                    let May { hold, fail } = child.may(file, stats);
                    May { hold: fail, fail: hold }
                }
                _ => ANY,
            },
            "isnull" => match &self.children[..] {
                [column] => column.known(file, stats).map_or(ANY, |known| is_null(&known)),
                _ => ANY,
            },
            "equal" => self.compared(file, stats, |least, most| May {
                hold: least != Ordering::Greater && most != Ordering::Less,
                fail: !(least == Ordering::Equal && most == Ordering::Equal),
            }),
            "lessthan" => self.compared(file, stats, |least, most| May {
                hold: least == Ordering::Less,
                fail: most != Ordering::Less,
            }),
            "lessthanorequal" => self.compared(file, stats, |least, most| May {
                hold: least != Ordering::Greater,
                fail: most == Ordering::Greater,
            }),
            "greaterthan" => self.compared(file, stats, |least, most| May {
                hold: most == Ordering::Greater,
                fail: least != Ordering::Greater,
            }),
            "greaterthanorequal" => self.compared(file, stats, |least, most| May {
                hold: most != Ordering::Less,
                fail: least == Ordering::Less,
            }),
            _ => ANY,
        }
    }

    /// What is known of the column this node names.
    fn known(&self, file: &AddedFile, stats: Option<&Stats>) -> Option<Known> {
        let name = self.name.as_deref().filter(|_| self.op.eq_ignore_ascii_case("column"))?;
        if let Some(value) = file.partition_values.get(name) {
            return Some(Known::One(value.clone().filter(|value| !value.is_empty())));
        }
        let stats = stats?;
        let count = |value: &Value| value.get(name).and_then(Value::as_u64);
        Some(Known::Between {
            least: stats.min_values.get(name).cloned(),
            most: stats.max_values.get(name).cloned(),
            nulls: count(&stats.null_count),
            rows: stats.num_records,
        })
    }

    /// Compares a column with a literal: how its least and its greatest value stand to it.
    fn compared(&self, file: &AddedFile, stats: Option<&Stats>, verdict: fn(Ordering, Ordering) -> May) -> May {
        let [column, literal] = &self.children[..] else { return ANY };
        if !literal.op.eq_ignore_ascii_case("literal") {
            return ANY;
        }
        let kind =
            literal.value_type.as_deref().or(column.value_type.as_deref()).unwrap_or_default().to_ascii_lowercase();
        let other = column.value_type.as_deref().map(str::to_ascii_lowercase);
        let text = literal.value.as_ref().and_then(text_of);
        // A text that is compared with a number would be ordered in another way by the client.
        let (Some(text), true) = (text, other.is_none_or(|other| alike(&other, &kind))) else { return ANY };
        let Some(wanted) = typed(&text, &kind) else { return ANY };
        let against = |value: &str| typed(value, &kind)?.compare(&wanted);
        match column.known(file, stats) {
            Some(Known::One(None)) => NEITHER,
            Some(Known::One(Some(value))) => against(&value).map_or(ANY, |order| verdict(order, order)),
            // Statistics of texts may be cut short.
            Some(Known::Between { .. }) if kind == "string" => ANY,
            Some(Known::Between { nulls: Some(nulls), rows: Some(rows), .. }) if rows > 0 && nulls == rows => NEITHER,
            Some(Known::Between { least: Some(least), most: Some(most), .. }) => {
                let order = |value: &Value| text_of(value).and_then(|value| against(&value));
                match (order(&least), order(&most)) {
                    (Some(least), Some(most)) => verdict(least, most),
                    _ => ANY,
                }
            }
            Some(Known::Between { .. }) | None => ANY,
        }
    }
}

/// Whether values of two types are compared as if of one.
fn alike(one: &str, other: &str) -> bool {
    let whole = |kind: &str| matches!(kind, "int" | "long" | "integer" | "short" | "byte");
    one == other || (whole(one) && whole(other))
}

fn is_null(known: &Known) -> May {
    match known {
        Known::One(None) => May { hold: true, fail: false },
        Known::One(Some(_)) | Known::Between { nulls: Some(0), .. } => May { hold: false, fail: true },
        Known::Between { nulls: Some(nulls), rows: Some(rows), .. } => May { hold: true, fail: nulls != rows },
        Known::Between { .. } => ANY,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;
    use valetkey_core::table::Whereabouts;

    use super::*;

    fn file(day: Option<&str>, stats: Option<Value>) -> AddedFile {
        AddedFile {
            path: "x".to_owned(),
            place: Whereabouts::Outside,
            partition_values: BTreeMap::from([("day".to_owned(), day.map(ToOwned::to_owned))]),
            size: 1,
            modified_ms: 0,
            data_change: true,
            stats: stats.map(|stats| stats.to_string()),
            tags: BTreeMap::new(),
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
            deletion_vector: None,
        }
    }

    fn compare(op: &str, column: &str, kind: &str, value: &str) -> Value {
        json!({"op": op, "children": [
            {"op": "column", "name": column, "valueType": kind},
            {"op": "literal", "value": value, "valueType": kind},
        ]})
    }

    fn kept(hint: &Value, file: &AddedFile) -> bool {
        Hints::read(Some(&Value::String(hint.to_string()))).may_match(file)
    }

    #[test]
    fn files_that_cannot_match_are_left_out() {
        let july = file(
            Some("2026-07-01"),
            Some(json!({"numRecords": 3, "minValues": {"n": 5}, "maxValues": {"n": 9}, "nullCount": {"n": 0, "m": 3}})),
        );
        for (hint, wanted) in [
            (compare("equal", "day", "date", "2026-07-01"), true),
            (compare("equal", "day", "date", "2026-07-02"), false),
            (compare("lessThan", "day", "date", "2026-07-01"), false),
            (compare("greaterThanOrEqual", "day", "date", "2026-07-01"), true),
            (compare("equal", "n", "int", "4"), false),
            (compare("equal", "n", "long", "7"), true),
            (compare("greaterThan", "n", "int", "9"), false),
            (compare("lessThanOrEqual", "n", "int", "5"), true),
            (compare("equal", "m", "int", "1"), false),
            (json!({"op": "not", "children": [compare("equal", "day", "date", "2026-07-01")]}), false),
            (
                json!({"op": "or", "children": [compare("equal", "n", "int", "4"), compare("equal", "n", "int", "5")]}),
                true,
            ),
            (
                json!({"op": "and", "children": [compare("equal", "n", "int", "4"), compare("equal", "n", "int", "5")]}),
                false,
            ),
            (json!({"op": "isNull", "children": [{"op": "column", "name": "n"}]}), false),
            (json!({"op": "isNull", "children": [{"op": "column", "name": "m"}]}), true),
            (json!({"op": "isNull", "children": [{"op": "column", "name": "day"}]}), false),
            // What is not understood keeps everything.
            (compare("equal", "day", "timestamp", "2020-01-01T00:00:00Z"), true),
            (compare("equal", "n", "double", "1"), true),
            (compare("like", "day", "date", "x"), true),
            (compare("equal", "other", "int", "1"), true),
            (json!({"op": "and"}), true),
            (json!({"op": "not", "children": [{"op": "mystery"}]}), true),
            (json!([1]), true),
        ] {
            assert_eq!(kept(&hint, &july), wanted, "{hint}");
        }
        let none = file(None, None);
        assert!(!kept(&compare("equal", "day", "date", "2026-07-01"), &none));
        let not = json!({"op": "not", "children": [compare("equal", "day", "date", "2026-07-01")]});
        assert!(!kept(&not, &none), "a null is neither equal nor not");
        assert!(kept(&json!({"op": "isNull", "children": [{"op": "column", "name": "day"}]}), &none));
        assert!(Hints::read(Some(&json!("not json"))).may_match(&none) && Hints::read(None).may_match(&none));
    }

    fn node() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (
                prop::sample::select(vec!["equal", "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]),
                0..6i32
            )
                .prop_map(|(op, value)| compare(op, "n", "int", &value.to_string())),
            Just(json!({"op": "isNull", "children": [{"op": "column", "name": "n"}]})),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"op": "and", "children": all})),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"op": "or", "children": all})),
                inner.prop_map(|one| json!({"op": "not", "children": [one]})),
            ]
        })
    }

    /// SQL's meaning for one row.
    fn truth(node: &Value, n: Option<i64>) -> Option<bool> {
        let children = || node["children"].as_array().unwrap().iter();
        match node["op"].as_str().unwrap() {
            "and" => match children().map(|child| truth(child, n)).collect::<Vec<_>>() {
                all if all.contains(&Some(false)) => Some(false),
                all if all.contains(&None) => None,
                _ => Some(true),
            },
            "or" => match children().map(|child| truth(child, n)).collect::<Vec<_>>() {
                all if all.contains(&Some(true)) => Some(true),
                all if all.contains(&None) => None,
                _ => Some(false),
            },
            "not" => truth(&node["children"][0], n).map(|one| !one),
            "isNull" => Some(n.is_none()),
            op => {
                let with: i64 = node["children"][1]["value"].as_str().unwrap().parse().unwrap();
                n.map(|n| match op {
                    "equal" => n == with,
                    "lessThan" => n < with,
                    "lessThanOrEqual" => n <= with,
                    "greaterThan" => n > with,
                    _ => n >= with,
                })
            }
        }
    }

    proptest! {
        #[test]
        fn no_file_with_a_matching_row_is_left_out(hint in node(), rows in prop::collection::vec(prop::option::of(0..6i64), 1..5), stats: bool) {
            let known: Vec<i64> = rows.iter().copied().flatten().collect();
            let nulls = rows.len() - known.len();
            let file = if stats {
                file(None, Some(json!({
                    "numRecords": rows.len(), "minValues": {"n": known.iter().min()}, "maxValues": {"n": known.iter().max()},
                    "nullCount": {"n": nulls},
                })))
            } else {
                let mut file = file(None, None);
                let one = rows[0];
                file.partition_values.insert("n".to_owned(), one.map(|n| n.to_string()));
                file
            };
            let rows = if stats { rows } else { vec![rows[0]] };
            let matches = rows.iter().any(|n| truth(&hint, *n) == Some(true));
            prop_assert!(!matches || kept(&hint, &file), "{hint}");
        }
    }
}
