//! Plans, tests and drift, for people.

use serde_json::Value;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out, clean};
use crate::cli::show::{find, rows_of, text};

/// Lines of access that a plan shows; all are in the JSON.
const LINES: usize = 50;

fn of<'a>(row: &'a Value, name: &str) -> std::borrow::Cow<'a, str> {
    clean(text(row, &[name]).unwrap_or_default())
}

/// A value in a word.
fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => clean(text).into_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| word(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => clean(&other.to_string()).into_owned(),
    }
}

/// Shows a plan.
pub(super) fn plan(out: &Out, answer: &Value) -> Result<(), Failure> {
    out.data(&format!("Plan for the set {} at revision {}", of(answer, "owner"), of(answer, "revision")))?;
    let objects = rows_of(answer, "objects");
    for row in objects {
        let sign = match text(row, &["op"]) {
            Some("create") => out.good("+"),
            Some("remove") => out.bad("-"),
            _ => "~".into(),
        };
        out.data(&format!("  {sign} {}  {}", of(row, "thing"), of(row, "source")))?;
        for field in rows_of(row, "fields") {
            let (before, after) = (word(field.get("before")), word(field.get("after")));
            out.data(&format!("      {}  {before}  →  {after}", of(field, "field")))?;
        }
    }
    access(out, rows_of(answer, "access"))?;
    let ended = find(answer, &["leases.ended"]).and_then(Value::as_u64).unwrap_or_default();
    if ended > 0 {
        let least = find(answer, &["leases.at_least"]).and_then(Value::as_bool) == Some(true);
        out.data(&format!("{}{ended} live leases would end", if least { "at least " } else { "" }))?;
    }
    let total = find(answer, &["tests"]).and_then(Value::as_u64).unwrap_or_default();
    if total > 0 {
        tests(out, usize::try_from(total).unwrap_or(usize::MAX), rows_of(answer, "failed"), None)?;
    }
    let count = |op: &str| objects.iter().filter(|row| text(row, &["op"]) == Some(op)).count();
    out.data(&format!("{} to add, {} to change, {} to remove", count("create"), count("change"), count("remove")))
}

/// Shows who gains and loses access to what.
pub(in crate::cli) fn access(out: &Out, rows: &[Value]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for row in rows {
        let mut who: Vec<String> = rows_of(row, "callers").iter().map(|name| word(Some(name))).collect();
        if find(row, &["everyone"]).and_then(Value::as_bool) == Some(true) {
            who.push("everyone else".to_owned());
        }
        let on = rows_of(row, "conditions").iter().map(|one| word(Some(one))).collect::<Vec<_>>().join("; ");
        let on = if on.is_empty() { on } else { format!("  if {on}") };
        let who = format!("{}/{}  {}{on}", of(row, "account"), who.join(", "), word(row.get("actions")));
        for (sign, list) in [("+", "added"), ("-", "removed")] {
            for place in rows_of(row, list) {
                let except = word(place.get("except"));
                let except = if except.is_empty() { String::new() } else { format!("  except {except}") };
                lines.push((sign, format!("{who}  {}{except}", of(place, "path"))));
            }
        }
    }
    out.data("Access")?;
    for (sign, line) in lines.iter().take(LINES) {
        let sign = if *sign == "+" { out.good("+") } else { out.bad("-") };
        out.data(&format!("  {sign} {line}"))?;
    }
    if lines.len() > LINES {
        out.data(&format!("  … {} more; -o json has them", lines.len() - LINES))?;
    }
    Ok(())
}

/// Says which tests do not hold, and which grants none is about, if that was asked.
pub(super) fn tests(out: &Out, total: usize, failed: &[Value], untested: Option<&[Value]>) -> Result<Exit, Failure> {
    match out.format() {
        Format::Json => {
            let mut told = serde_json::json!({"tests": total, "failed": failed});
            if let (Some(untested), Some(told)) = (untested, told.as_object_mut()) {
                told.insert("untested".to_owned(), untested.into());
            }
            out.json(&told)?;
        }
        Format::Table => {
            for row in untested.unwrap_or_default() {
                out.data(&format!("no test is about {}  {}", of(row, "thing"), of(row, "source")))?;
            }
            if untested.is_some_and(<[Value]>::is_empty) {
                out.data("a test is about each grant")?;
            }
            for row in failed {
                out.data(&format!("{} {}: {}", out.bad("failed"), of(row, "source"), of(row, "said")))?;
            }
            match failed.len() {
                0 => out.data(&format!("all {total} tests hold"))?,
                _ => out.data("not all tests hold")?,
            }
        }
    }
    Ok(if failed.is_empty() { Exit::Ok } else { Exit::Diverged })
}

/// Shows what was changed behind the files' back.
pub(super) fn drift(out: &Out, answer: &Value) -> Result<Exit, Failure> {
    let rows = rows_of(answer, "drift");
    match out.format() {
        Format::Json => out.json(&rows)?,
        Format::Table if rows.is_empty() => out.note("everything is as the files said"),
        Format::Table => {
            for row in rows {
                out.data(&format!("{} {}  {}", of(row, "how"), of(row, "thing"), of(row, "source")))?;
                for (sign, name) in [("-", "applied"), ("+", "now")] {
                    if let Some(value) = find(row, &[name]) {
                        out.data(&format!("  {sign} {}", word(Some(value))))?;
                    }
                }
            }
        }
    }
    Ok(if rows.is_empty() { Exit::Ok } else { Exit::Usage })
}
