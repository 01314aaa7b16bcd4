//! Answers of the API as tables. With `--output json` an answer is printed as it came.
//!
//! Reads answers leniently: a field this version does not know is not shown, one that is missing is a dash.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cli::ago;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};

/// A column made of several fields: the places a grant or a lease opens.
pub(crate) const PLACES: &str = "@places";

/// A column: its header and where its value is found, the first of the names that is there.
pub(crate) type Column = (&'static str, &'static [&'static str]);

/// Shows a list.
pub(crate) fn list(out: &Out, answer: &Value, columns: &[Column], none: &str) -> Result<(), Failure> {
    match out.format() {
        Format::Json => out.json(answer),
        Format::Table => {
            let rows = rows(answer);
            if rows.is_empty() {
                out.note(none);
                return Ok(());
            }
            let mut columns = if out.is_wide() { columns.to_vec() } else { by_name(columns) };
            // Few grants have conditions, or are what somebody asked for.
            columns.retain(|(header, names)| {
                !matches!(*header, "IF" | "APPROVED BY")
                    || out.is_wide()
                    || rows.iter().any(|row| !matches!(column(row, names, None).as_str(), "" | "-"))
            });
            let seen = if out.is_wide() { None } else { Some(crate::cli::now()) };
            let header: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
            let rows: Vec<Vec<String>> =
                rows.iter().map(|row| columns.iter().map(|(_, names)| column(row, names, seen)).collect()).collect();
            out.table(&header, &rows)?;
            if let Some((word, next)) = next(answer) {
                out.note(&format!("there is more: --all lists it, --{word} {next} the next page"));
            }
            if let Some(more) = find(answer, &["unlisted"]).and_then(Value::as_u64).filter(|more| *more > 0) {
                out.note(&format!("and {more} more that the server does not list"));
            }
            Ok(())
        }
    }
}

/// Where the next page of a list begins, and the word to ask for it with; nothing if this was the last.
pub(crate) fn next(answer: &Value) -> Option<(&'static str, String)> {
    [("before", "next_before"), ("after", "next_after")]
        .into_iter()
        .find_map(|(word, field)| Some((word, text(answer, &[field])?.to_owned())))
}

/// The columns without the ids of what has a name: people call it by that, and `--output wide` has them.
fn by_name(columns: &[Column]) -> Vec<Column> {
    let named = columns.iter().any(|(header, _)| matches!(*header, "NAME" | "KEY" | "GRANT"));
    columns.iter().filter(|(header, _)| !named || *header != "ID").copied().collect()
}

/// Shows one thing, these fields before the others.
pub(crate) fn one(out: &Out, answer: &Value, first: &[&str]) -> Result<(), Failure> {
    match out.format() {
        Format::Json => out.json(answer),
        Format::Table => {
            let mut pairs = Vec::new();
            flatten("", answer, &mut pairs);
            let rank = |name: &str| {
                let field = name.split('.').next().unwrap_or_default();
                first.iter().position(|known| *known == field).unwrap_or(first.len())
            };
            pairs.sort_by_key(|(name, _)| rank(name));
            let now = crate::cli::now();
            let pairs: Vec<(&str, String)> = pairs
                .iter()
                .map(|(name, value)| match ago::of_text(now, value) {
                    Some(seen) => (name.as_str(), format!("{value} ({seen})")),
                    None => (name.as_str(), value.clone()),
                })
                .collect();
            if pairs.is_empty() { Ok(()) } else { out.pairs(&pairs) }
        }
    }
}

/// Shows that something was done: a sentence for people, the answer for scripts.
pub(crate) fn done(out: &Out, answer: &Value, sentence: &str) -> Result<(), Failure> {
    match out.format() {
        Format::Json if answer.is_null() => Ok(()),
        Format::Json => out.json(answer),
        Format::Table => {
            out.note(sentence);
            still_taken(out, answer);
            Ok(())
        }
    }
}

/// Says what was asked for and not given. With `--quiet` too.
pub(crate) fn cuts(out: &Out, answer: &Value) {
    let cuts = answer.get("cuts").and_then(Value::as_array);
    for cut in cuts.into_iter().flatten().filter_map(Value::as_str) {
        out.warn_always(&format!("it {}", cut.replace("let it `outlive` that", "let it outlive that, with --outlive")));
    }
}

/// Says which of the credentials that were ended their storages take on. With `--quiet` too: it is not what was asked for.
fn still_taken(out: &Out, answer: &Value) {
    let rows = answer.get("still_taken").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        let named = |name: &str| text(row, &[name]).unwrap_or_default();
        let (storage, until) = (named("storage"), named("until"));
        let way = if named("revocation") == "minutes" {
            format!(
                "`valetkey storage end-credentials {storage}` ends what its present role, account or parent key gave"
            )
        } else {
            "it has no way to end them sooner".to_owned()
        };
        let count = row.get("leases").and_then(Value::as_u64).unwrap_or_default();
        let said = format!("the storage {storage} takes credentials of {count} ended leases until {until}: {way}");
        out.warn_always(&said);
    }
}

/// The value of the first of these fields that is there and not null; a dot goes deeper.
pub(crate) fn find<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| {
        name.split('.').try_fold(value, |value, part| value.get(part)).filter(|value| !value.is_null())
    })
}

/// A string field, or nothing.
pub(crate) fn text<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    find(value, names).and_then(Value::as_str)
}

/// A list among the fields of an answer.
pub(crate) fn rows_of<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    find(answer, &[name]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The list in an answer: the answer itself, or its first field that is one.
pub(crate) fn rows(answer: &Value) -> &[Value] {
    let list = match answer {
        Value::Array(list) => Some(list),
        Value::Object(fields) => fields.values().find_map(Value::as_array),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    list.map_or(&[], Vec::as_slice)
}

/// A cell; times are shown as seen from one, if there is one.
fn column(row: &Value, names: &[&str], seen_from: Option<Timestamp>) -> String {
    match names {
        [PLACES] => places(row, seen_from.is_none()),
        names => {
            let value = find(row, names).unwrap_or(&Value::Null);
            match value.as_u64() {
                Some(secs) if names.iter().all(|name| name.ends_with("_secs")) => length(secs),
                Some(_) | None => {
                    let seen = seen_from.zip(value.as_str()).and_then(|(now, text)| ago::of_text(now, text));
                    seen.unwrap_or_else(|| cell(value))
                }
            }
        }
    }
}

/// A length of time as people write it, and as flags take it.
pub(crate) fn length(secs: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let (_, text) = units.into_iter().fold((secs, String::new()), |(rest, text), (unit, name)| match rest / unit {
        0 => (rest, text),
        count => (rest % unit, format!("{text}{count}{name}")),
    });
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The places that a thing with a scope opens: all of them, or the first and how many more.
fn places(row: &Value, whole: bool) -> String {
    if let Some(parts) = parts(row) {
        let told = |(access, places): (String, Vec<String>)| format!("{access} {}", places.join(", "));
        return parts.into_iter().map(told).collect::<Vec<_>>().join("; ");
    }
    match place_list(row).as_slice() {
        [] => "-".to_owned(),
        [first, rest @ ..] if !whole && rest.len() > 1 => format!("{first} and {} more", rest.len()),
        all => all.join(", "),
    }
}

/// The parts of a thing that opens some places in one way and some in another: what each allows, and where.
fn parts(row: &Value) -> Option<Vec<(String, Vec<String>)>> {
    let bucket = text(row, &["bucket"]).unwrap_or("?");
    let told = |part: &Value| {
        let access = match text(part, &["access"]) {
            None | Some("custom") => cell(find(part, &["actions"]).unwrap_or(&Value::Null)),
            Some(word) => word.to_owned(),
        };
        (access, of_bucket(part, bucket))
    };
    Some(find(row, &["parts"])?.as_array()?.iter().map(told).collect())
}

/// The same, one by one.
pub(crate) fn place_list(row: &Value) -> Vec<String> {
    match parts(row) {
        Some(parts) => parts.into_iter().flat_map(|(_, places)| places).collect(),
        None => of_bucket(row, text(row, &["bucket"]).unwrap_or("?")),
    }
}

fn of_bucket(row: &Value, bucket: &str) -> Vec<String> {
    if find(row, &["whole_bucket"]).and_then(Value::as_bool) == Some(true) {
        return vec![format!("s3://{bucket}/")];
    }
    let paths = |field: &'static str, after: &'static str| {
        let list = find(row, &[field]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(Value::as_str).map(move |path| format!("s3://{bucket}/{path}{after}"))
    };
    paths("prefixes", "/").chain(paths("raw_prefixes", "*")).chain(paths("objects", "")).collect()
}

fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    let named = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&named(name), value, pairs);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&named(&at.to_string()), item, pairs);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            pairs.push((if prefix.is_empty() { "value".to_owned() } else { prefix.to_owned() }, cell(value)));
        }
    }
}

/// A value on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => object(fields),
    }
}

fn object(fields: &Map<String, Value>) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_told_with_what_they_allow() {
        let part = |prefix: &str, access: &str| json!({"prefixes": [prefix], "access": access, "actions": ["get-object", "x"]});
        let row = json!({"bucket": "lake", "parts": [part("a", "read"), part("a/tmp", "custom")]});
        assert_eq!(places(&row, false), "read s3://lake/a/; get-object, x s3://lake/a/tmp/");
        assert_eq!(place_list(&row), ["s3://lake/a/", "s3://lake/a/tmp/"]);
    }

    #[test]
    fn the_list_of_an_answer_is_found_wherever_it_is() {
        assert_eq!(rows(&json!([1, 2])).len(), 2);
        assert_eq!(rows(&json!({"next": null, "leases": [1]})).len(), 1);
        assert_eq!(rows(&json!({"next": null})).len(), 0);
    }

    #[test]
    fn a_row_is_told_by_names_and_by_how_far_away_things_are() {
        let columns: &[Column] = &[("NAME", &["name"]), ("UNTIL", &["until"]), ("ID", &["id"])];
        assert_eq!(by_name(columns), columns[..2]);
        assert_eq!(by_name(&columns[1..]), columns[1..], "what has no name is told by its id");
        let row = json!({"until": "2026-01-08T00:00:00Z", "bucket": "b", "prefixes": ["x", "y", "z"]});
        let now = "2026-01-01T00:00:00Z".parse().ok();
        assert_eq!(column(&row, &["until"], now), "in 7d");
        assert_eq!(column(&row, &["until"], None), "2026-01-08T00:00:00Z");
        assert_eq!(column(&row, &[PLACES], now), "s3://b/x/ and 2 more");
        assert_eq!(column(&row, &[PLACES], None), "s3://b/x/, s3://b/y/, s3://b/z/");
    }

    #[test]
    fn a_length_of_time_reads_as_it_is_written() {
        assert_eq!([0, 59, 900, 5400, 604_800, 90_061].map(length), ["0s", "59s", "15m", "1h30m", "7d", "1d1h1m1s"]);
    }

    #[test]
    fn a_field_that_is_missing_is_a_dash() {
        let row = json!({"a": {"b": "x"}, "c": null, "d": ["p", "q"], "e": true});
        let of = |names: &[&str]| cell(find(&row, names).unwrap_or(&Value::Null));
        assert_eq!([of(&["a.b"]), of(&["c"]), of(&["z", "d"]), of(&["e"]), of(&["z"])], ["x", "-", "p, q", "yes", "-"]);
    }
}
