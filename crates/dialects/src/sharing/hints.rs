//! Predicates a client sends along (`jsonPredicateHints`): files none of whose rows can match are left out.
//!
//! A hint is never more than that. What cannot be read, is not understood or would take too long matches everything; the
//! client filters again.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;
use valetkey_core::nouns::table::AddedFile;

/// The longest hint that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// The work that one answer may put into its hint: one unit for each term and file, and one for so many bytes of the file's
/// statistics. About a second. The files behind it are kept as if there were no hint.
const BUDGET: usize = 20_000_000;
const BYTES_OF_A_UNIT: usize = 16;

/// The predicate, if there is one that could be read, made ready once for all files.
#[derive(Debug, Default)]
pub(super) struct Hints {
    plan: Option<Plan>,
    /// What the plan costs for each file.
    terms: usize,
    left: usize,
}

/// A predicate as it was sent.
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

/// A predicate as it is tried.
#[derive(Debug)]
enum Plan {
    /// Not understood.
    Any,
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Not(Box<Plan>),
    IsNull(String),
    Compared {
        column: String,
        with: Literal,
        verdict: fn(Ordering, Ordering) -> May,
    },
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
enum Known<'a> {
    /// Each row has this one.
    One(Option<&'a str>),
    /// Each value that is not null lies between these.
    Between { least: Option<&'a Value>, most: Option<&'a Value>, nulls: Option<u64>, rows: Option<u64> },
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
enum Literal {
    Bool(bool),
    Whole(i128),
    /// Years have four digits, so that the text orders as the date does.
    Date(String),
    Text(String),
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

impl Literal {
    fn read(text: String, kind: &str) -> Option<Self> {
        match kind {
            "bool" | "boolean" => boolean(&text).map(Self::Bool),
            "int" | "long" | "integer" | "short" | "byte" => text.parse().ok().map(Self::Whole),
            "date" => is_date(&text).then_some(Self::Date(text)),
            "string" => Some(Self::Text(text)),
            // Fractions and instants are written in more ways than one, and have values that no order holds for.
            _ => None,
        }
    }

    /// How a value stands to this one, if it is of its type.
    fn order_of(&self, value: &str) -> Option<Ordering> {
        match self {
            Self::Bool(own) => boolean(value).map(|value| value.cmp(own)),
            Self::Whole(own) => value.parse::<i128>().ok().map(|value| value.cmp(own)),
            Self::Date(own) => is_date(value).then(|| value.cmp(own)),
            Self::Text(own) => Some(value.cmp(own)),
        }
    }

    fn order_of_json(&self, value: &Value) -> Option<Ordering> {
        match value {
            Value::String(text) => self.order_of(text),
            Value::Bool(_) | Value::Number(_) => self.order_of(&text_of(value)?),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
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
        Self::within(sent, BUDGET)
    }

    fn within(sent: Option<&Value>, left: usize) -> Self {
        let parsed: Option<Node> = match sent {
            Some(Value::String(text)) if text.len() <= LONGEST => serde_json::from_str(text).ok(),
            Some(value @ Value::Object(_)) => Node::deserialize(value).ok(),
            Some(_) | None => None,
        };
        let plan = parsed.map(Node::plan).filter(|plan| !matches!(plan, Plan::Any));
        let terms = plan.as_ref().map_or(0, Plan::terms);
        Self { plan, terms, left }
    }

    /// Whether some row of the file may match.
    pub(super) fn may_match(&mut self, file: &AddedFile) -> bool {
        let Some(plan) = &self.plan else { return true };
        let statistics = file.stats.as_deref().unwrap_or_default();
        let cost = self.terms.saturating_add(statistics.len() / BYTES_OF_A_UNIT);
        let Some(left) = self.left.checked_sub(cost) else {
            self.left = 0;
            return true;
        };
        self.left = left;
        let stats = serde_json::from_str::<Stats>(statistics).ok();
        plan.may(file, stats.as_ref()).hold
    }
}

impl Node {
    fn plan(self) -> Plan {
        match self.op.to_ascii_lowercase().as_str() {
            "and" if !self.children.is_empty() => Plan::And(self.children.into_iter().map(Self::plan).collect()),
            "or" if !self.children.is_empty() => Plan::Or(self.children.into_iter().map(Self::plan).collect()),
            "not" => match <[Self; 1]>::try_from(self.children) {
                Ok([child]) => Plan::Not(Box::new(child.plan())),
                Err(_) => Plan::Any,
            },
            "isnull" => match <[Self; 1]>::try_from(self.children).map(|[child]| child.column()) {
                Ok(Some(column)) => Plan::IsNull(column),
                Ok(None) | Err(_) => Plan::Any,
            },
            "equal" => self.compared(|least, most| May {
                hold: least != Ordering::Greater && most != Ordering::Less,
                fail: !(least == Ordering::Equal && most == Ordering::Equal),
            }),
            "lessthan" => {
                self.compared(|least, most| May { hold: least == Ordering::Less, fail: most != Ordering::Less })
            }
            "lessthanorequal" => {
                self.compared(|least, most| May { hold: least != Ordering::Greater, fail: most == Ordering::Greater })
            }
            "greaterthan" => {
                self.compared(|least, most| May { hold: most == Ordering::Greater, fail: least != Ordering::Greater })
            }
            "greaterthanorequal" => {
                self.compared(|least, most| May { hold: most != Ordering::Less, fail: least == Ordering::Less })
            }
            _ => Plan::Any,
        }
    }

    /// The column this node names.
    fn column(self) -> Option<String> {
        self.name.filter(|_| self.op.eq_ignore_ascii_case("column"))
    }

    /// Compares a column with a literal: how its least and its greatest value stand to it.
    fn compared(self, verdict: fn(Ordering, Ordering) -> May) -> Plan {
        let Ok([column, literal]) = <[Self; 2]>::try_from(self.children) else { return Plan::Any };
        if !literal.op.eq_ignore_ascii_case("literal") {
            return Plan::Any;
        }
        let kind =
            literal.value_type.as_deref().or(column.value_type.as_deref()).unwrap_or_default().to_ascii_lowercase();
        let other = column.value_type.as_deref().map(str::to_ascii_lowercase);
        // A text that is compared with a number would be ordered in another way by the client.
        let is_alike = other.is_none_or(|other| alike(&other, &kind));
        let with = literal.value.as_ref().and_then(text_of).and_then(|text| Literal::read(text, &kind));
        match (column.column(), with) {
            (Some(column), Some(with)) if is_alike => Plan::Compared { column, with, verdict },
            (Some(_) | None, _) => Plan::Any,
        }
    }
}

impl Plan {
    fn terms(&self) -> usize {
        match self {
            Self::Any | Self::IsNull(_) | Self::Compared { .. } => 1,
            Self::And(all) | Self::Or(all) => 1 + all.iter().map(Self::terms).sum::<usize>(),
            Self::Not(one) => 1 + one.terms(),
        }
    }

    fn may(&self, file: &AddedFile, stats: Option<&Stats>) -> May {
        match self {
            Self::Any => ANY,
            Self::And(all) => {
                let both = |sum: May, one: May| May { hold: sum.hold && one.hold, fail: sum.fail || one.fail };
                let start = May { hold: true, fail: false };
                all.iter().map(|one| one.may(file, stats)).fold(start, both)
            }
            Self::Or(all) => {
                let either = |sum: May, one: May| May { hold: sum.hold || one.hold, fail: sum.fail && one.fail };
                let start = May { hold: false, fail: true };
                all.iter().map(|one| one.may(file, stats)).fold(start, either)
            }
            Self::Not(one) => {
                let May { hold, fail } = one.may(file, stats);
                May { hold: fail, fail: hold }
            }
            Self::IsNull(column) => known(column, file, stats).map_or(ANY, |known| is_null(&known)),
            Self::Compared { column, with, verdict } => match known(column, file, stats) {
                Some(Known::One(None)) => NEITHER,
                Some(Known::One(Some(value))) => with.order_of(value).map_or(ANY, |order| verdict(order, order)),
                // Statistics of texts may be cut short.
                Some(Known::Between { .. }) if matches!(with, Literal::Text(_)) => ANY,
                Some(Known::Between { nulls: Some(nulls), rows: Some(rows), .. }) if rows > 0 && nulls == rows => {
                    NEITHER
                }
                Some(Known::Between { least: Some(least), most: Some(most), .. }) => {
                    match (with.order_of_json(least), with.order_of_json(most)) {
                        (Some(least), Some(most)) => verdict(least, most),
                        _ => ANY,
                    }
                }
                Some(Known::Between { .. }) | None => ANY,
            },
        }
    }
}

/// What is known of a column in one file.
fn known<'a>(name: &str, file: &'a AddedFile, stats: Option<&'a Stats>) -> Option<Known<'a>> {
    if let Some(value) = file.partition_values.get(name) {
        return Some(Known::One(value.as_deref().filter(|value| !value.is_empty())));
    }
    let stats = stats?;
    Some(Known::Between {
        least: stats.min_values.get(name),
        most: stats.max_values.get(name),
        nulls: stats.null_count.get(name).and_then(Value::as_u64),
        rows: stats.num_records,
    })
}

/// Whether values of two types are compared as if of one.
fn alike(one: &str, other: &str) -> bool {
    let whole = |kind: &str| matches!(kind, "int" | "long" | "integer" | "short" | "byte");
    one == other || (whole(one) && whole(other))
}

fn is_null(known: &Known<'_>) -> May {
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
    use valetkey_core::nouns::table::Whereabouts;

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

    #[test]
    fn a_hint_has_a_budget_and_the_files_behind_it_are_kept() {
        let never = compare("equal", "day", "date", "2025-01-01");
        let hint = json!({"op": "or", "children": vec![never.clone(); 300]});
        let july = file(Some("2026-07-01"), Some(json!({"numRecords": 3})));
        let mut hints = Hints::within(Some(&Value::String(hint.to_string())), 30_000);
        let pruned = (0..1000).filter(|_| !hints.may_match(&july)).count();
        assert_eq!(pruned, 30_000 / (301 + r#"{"numRecords":3}"#.len() / BYTES_OF_A_UNIT));
        assert!(hints.may_match(&july));
        let mut short = Hints::within(Some(&Value::String(never.to_string())), 30_000);
        assert!((0..1000).all(|_| !short.may_match(&july)), "a usual hint is tried on every file");
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
