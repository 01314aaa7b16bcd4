//! The canonical form of a file: YAML in blocks, two spaces for each level, quotes only where they are needed, comments kept.

use std::collections::BTreeMap;

use serde_json::Value;

use super::node::{At, Is, Node, is_number};

/// The order of fields that a document made here has.
const ORDER: [&str; 45] = [
    "version",
    "owner",
    "owns",
    "prune",
    "accounts",
    "datasets",
    "identity_providers",
    "tests",
    "was",
    "credits_per_vend",
    "role",
    "callers",
    "groups",
    "grants",
    "members",
    "preset",
    "issuer",
    "audiences",
    "jwks_uri",
    "jwks",
    "parties",
    "subject",
    "algorithms",
    "leeway",
    "max_age",
    "login_client_id",
    "login_scopes",
    "to",
    "everyone",
    "dataset",
    "topic",
    "bucket",
    "directory",
    "directories",
    "objects",
    "raw_prefixes",
    "whole_bucket",
    "template",
    "access",
    "actions",
    "max_ttl",
    "from",
    "until",
    "conditions",
    "description",
];

/// A document that was not read of a file, with its fields in the usual order.
pub(super) fn node(value: &Value) -> Node {
    let is = match value {
        Value::Null => Is::Null,
        Value::Bool(own) => Is::Bool(*own),
        Value::Number(own) => Is::Number(own.as_i64().unwrap_or_default()),
        Value::String(own) => Is::Text(own.clone()),
        Value::Array(items) => Is::List(items.iter().map(node).collect()),
        Value::Object(fields) => {
            let mut pairs: Vec<(String, At, Node)> =
                fields.iter().map(|(name, value)| (name.clone(), At::default(), node(value))).collect();
            let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
            pairs.sort_by(|(one, _, _), (two, _, _)| rank(one).cmp(&rank(two)).then_with(|| one.cmp(two)));
            Is::Map(pairs)
        }
    };
    Node { at: At::default(), ends: 0, is }
}

/// Comments, by the line of what they are about: those above it, and the one behind it.
#[derive(Default)]
struct Comments {
    above: BTreeMap<usize, Vec<String>>,
    behind: BTreeMap<usize, String>,
    last: Vec<String>,
}

/// Writes a document in its canonical form.
pub(super) fn write(node: &Node) -> String {
    emit(node, &mut Comments::default())
}

/// Writes what was read of a file in its canonical form, with its comments.
pub(super) fn format(node: &Node, text: &str) -> String {
    emit(node, &mut comments(node, text))
}

fn emit(node: &Node, comments: &mut Comments) -> String {
    let mut out = String::new();
    block(node, 0, comments, &mut out);
    // Of what stood within a value that is one line now: at the end, rather than nowhere.
    let left = std::mem::take(&mut comments.above).into_values().flatten();
    let left: Vec<String> = left.chain(std::mem::take(&mut comments.behind).into_values()).collect();
    for comment in left.iter().chain(&comments.last) {
        out.push_str(comment);
        out.push('\n');
    }
    out
}

/// The lines at which keys and items begin, and the lines that strings of several lines take.
fn lines(node: &Node, begins: &mut Vec<usize>, inside: &mut Vec<(usize, usize)>) {
    match &node.is {
        Is::Map(pairs) => {
            for (_, at, value) in pairs {
                begins.push(at.line);
                lines(value, begins, inside);
            }
        }
        Is::List(items) => {
            for item in items {
                begins.push(item.at.line);
                lines(item, begins, inside);
            }
        }
        Is::Text(_) if node.ends > node.at.line => inside.push((node.at.line, node.ends)),
        Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) => {}
    }
}

fn comments(node: &Node, text: &str) -> Comments {
    let (mut begins, mut inside) = (Vec::new(), Vec::new());
    lines(node, &mut begins, &mut inside);
    begins.sort_unstable();
    let mut found = Comments::default();
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line)) {
        if inside.iter().any(|(from, to)| *from < number && number < *to) {
            continue;
        }
        let Some(start) = comment(line) else { continue };
        let (before, own) = line.split_at(start);
        let own = own.trim_end().to_owned();
        if !before.trim().is_empty() && begins.contains(&number) {
            found.behind.insert(number, own);
        } else {
            match begins.iter().find(|begin| **begin >= number) {
                Some(begin) => found.above.entry(*begin).or_default().push(own),
                None => found.last.push(own),
            }
        }
    }
    found
}

/// Where a comment begins in a line: at a `#` after white space, or at its start, outside of quotes.
fn comment(line: &str) -> Option<usize> {
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, char) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            // A quote opens a string only where one can begin.
            None if matches!(char, '"' | '\'') && matches!(before, ' ' | '[' | '{' | ',' | '\t') => quote = Some(char),
            None if char == '#' && before.is_whitespace() => return Some(at),
            Some(_) | None => {}
        }
        before = char;
    }
    None
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn above(line: usize, depth: usize, comments: &mut Comments, out: &mut String) {
    for comment in comments.above.remove(&line).into_iter().flatten() {
        out.push_str(&indent(depth));
        out.push_str(&comment);
        out.push('\n');
    }
}

fn finish(line: usize, comments: &mut Comments, out: &mut String) {
    if let Some(comment) = comments.behind.remove(&line) {
        out.push(' ');
        out.push_str(&comment);
    }
    out.push('\n');
}

fn block(node: &Node, depth: usize, comments: &mut Comments, out: &mut String) {
    match &node.is {
        Is::Map(pairs) => {
            for (name, at, value) in pairs {
                if depth == 0 && matches!(value.is, Is::Map(_) | Is::List(_)) && !out.is_empty() {
                    out.push('\n');
                }
                above(at.line, depth, comments, out);
                out.push_str(&indent(depth));
                pair(name, at.line, value, depth, comments, out);
            }
        }
        Is::List(items) => {
            for item in items {
                above(item.at.line, depth, comments, out);
                out.push_str(&indent(depth));
                out.push_str("- ");
                match &item.is {
                    Is::Map(pairs) if !pairs.is_empty() => {
                        for (number, (name, at, value)) in pairs.iter().enumerate() {
                            if number > 0 {
                                above(at.line, depth + 1, comments, out);
                                out.push_str(&indent(depth + 1));
                            }
                            pair(name, at.line, value, depth + 1, comments, out);
                        }
                    }
                    _ => {
                        out.push_str(&flow(item));
                        finish(item.at.line, comments, out);
                    }
                }
            }
        }
        Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) => {
            out.push_str(&flow(node));
            out.push('\n');
        }
    }
}

fn pair(name: &str, line: usize, value: &Node, depth: usize, comments: &mut Comments, out: &mut String) {
    out.push_str(&scalar(name));
    out.push(':');
    let nested = match &value.is {
        Is::Map(pairs) => !pairs.is_empty(),
        Is::List(items) => !items.is_empty(),
        Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) => false,
    };
    if nested {
        finish(line, comments, out);
        block(value, depth + 1, comments, out);
    } else {
        out.push(' ');
        out.push_str(&flow(value));
        finish(line, comments, out);
    }
}

/// A value in one line.
fn flow(node: &Node) -> String {
    match &node.is {
        Is::Null => "null".to_owned(),
        Is::Bool(own) => own.to_string(),
        Is::Number(own) => own.to_string(),
        Is::Text(own) => scalar(own),
        Is::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Is::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, _, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A string, in quotes where it could be taken for something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", ""];
    let plain = |char: char| char.is_ascii_alphanumeric() || "_./:@*+ -".contains(char);
    let begins = text.starts_with(|char: char| char.is_ascii_alphanumeric() || "_./".contains(char));
    let odd = !begins
        || !text.chars().all(plain)
        || text.contains(": ")
        || text.ends_with([':', ' '])
        || is_number(text)
        || WORDS.contains(&text.to_ascii_lowercase().as_str());
    if odd { Value::from(text).to_string() } else { text.to_owned() }
}
