//! Policy files: found, read, put together and taken for one document, with the place of everything in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment;
use valetkey_dialects::native::api::policy::{MOST_BYTES, PolicyDocument};

use crate::cli::failure::Failure;
use crate::cli::output::clean;

use super::node::{self, At, Is, Node, Wrong};

/// Sections that other tools of this kind have, and that files of ours cannot say yet.
const NOT_YET: [&str; 5] = ["storages", "buckets", "shares", "workspaces", "conditions"];

/// Sections of things by their names, and the word for one thing of each.
const SECTIONS: [(&str, &str); 3] =
    [("accounts", "account"), ("datasets", "dataset"), ("identity_providers", "identity_provider")];

/// The same of an account's sections.
const OF_ACCOUNTS: [(&str, &str); 3] = [("callers", "caller"), ("groups", "group"), ("grants", "grant")];

/// What files say.
pub(super) struct Read {
    pub(super) document: PolicyDocument,
    /// File and line of each thing and each test.
    pub(super) sources: BTreeMap<String, String>,
}

/// A file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files below a path, in the order of their names; or the one that it is.
pub(super) fn find(path: &Path) -> Result<Vec<File>, Failure> {
    let mut found = Vec::new();
    let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if meta.is_dir() {
        walk(path, &mut found)?;
    } else {
        found.push(path.to_owned());
    }
    found.sort_by(|one, two| one.as_os_str().as_encoded_bytes().cmp(two.as_os_str().as_encoded_bytes()));
    if found.is_empty() {
        let said = format!("`{}` holds no policy file", clean(&path.display().to_string()));
        return Err(Failure::usage(said).hint("they end in .yaml, .yml, .toml or .json"));
    }
    let mut left = MOST_BYTES;
    let mut files = Vec::new();
    for path in found {
        let size = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len();
        left = usize::try_from(size).ok().and_then(|size| left.checked_sub(size)).ok_or_else(|| {
            Failure::usage(format!("the files have more than {} MiB together", MOST_BYTES / 1024 / 1024))
        })?;
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("`{}` is not UTF-8", clean(&path.display().to_string()))))?;
        files.push(File { path, text });
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("`{}` cannot be read: {error}", clean(&path.display().to_string())))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, &error))? {
        let entry = entry.map_err(|error| unreadable(directory, &error))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|error| unreadable(directory, &error))?);
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden {
            continue;
        }
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_policy(&path) {
            // Also through a link to a file; a directory is not gone into through one, which could lead in a circle.
            found.push(path);
        }
    }
    Ok(())
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|text| text.to_str()).unwrap_or_default()
}

fn is_policy(path: &Path) -> bool {
    matches!(extension(path), "yaml" | "yml" | "toml" | "json")
}

/// Reads one file.
pub(super) fn parse(file: &File, at: usize) -> Result<Node, Wrong> {
    match extension(&file.path) {
        "toml" => node::toml(&file.text, at),
        "json" => {
            // What YAML takes and JSON does not is not JSON.
            serde_json::from_str::<serde::de::IgnoredAny>(&file.text).map_err(|error| Wrong {
                at: At { file: at, line: error.line(), column: error.column() },
                said: error.to_string(),
            })?;
            node::yaml(&file.text, at)
        }
        _ => node::yaml(&file.text, at),
    }
}

/// Where something is, for people.
fn place(files: &[File], at: At) -> String {
    let path = files.get(at.file).map(|file| file.path.display().to_string()).unwrap_or_default();
    format!("{}:{}:{}", clean(&path), at.line, at.column)
}

pub(super) fn failed(files: &[File], wrong: &Wrong) -> Failure {
    Failure::usage(format!("{}: {}", place(files, wrong.at), clean(&wrong.said)))
}

/// Reads the files below a path as one document.
pub(super) fn read(path: &Path) -> Result<Read, Failure> {
    let files = find(path)?;
    let mut whole = Node { at: At::default(), ends: 0, is: Is::Map(Vec::new()) };
    for (at, file) in files.iter().enumerate() {
        let node = parse(file, at).map_err(|wrong| failed(&files, &wrong))?;
        join(&mut whole, node, &mut Vec::new()).map_err(|(wrong, first)| {
            let mut failure = failed(&files, &wrong);
            failure.message = format!("{}, first in {}", failure.message, place(&files, first));
            failure
        })?;
    }
    let document = document(&whole).map_err(|wrong| failed(&files, &wrong))?;
    let sources = sources(&whole, &files);
    Ok(Read { document, sources })
}

/// Whether two maps of that name may be put together: each thing in them is said once.
fn joins(path: &[String]) -> bool {
    let is_section = |sections: &[(&str, &str)], name: &str| sections.iter().any(|(own, _)| *own == name);
    match path {
        [] => true,
        [section] => is_section(&SECTIONS, section),
        [accounts, _] => accounts == "accounts",
        [accounts, _, section] => accounts == "accounts" && is_section(&OF_ACCOUNTS, section),
        _ => false,
    }
}

/// Puts what another file says beside what is known.
fn join(known: &mut Node, new: Node, path: &mut Vec<String>) -> Result<(), (Wrong, At)> {
    let at = new.at;
    let (Is::Map(pairs), Is::Map(more)) = (&mut known.is, new.is) else {
        return Err((Wrong { at, said: "a file is a map of sections".to_owned() }, known.at));
    };
    for (name, at, value) in more {
        let Some((_, first, own)) = pairs.iter_mut().find(|(own, _, _)| *own == name) else {
            pairs.push((name, at, value));
            continue;
        };
        if path.is_empty() && name == "version" && own.value() == value.value() {
            continue;
        }
        if path.is_empty()
            && name == "tests"
            && let (Is::List(known), Is::List(more)) = (&mut own.is, &value.is)
        {
            known.extend(more.iter().cloned());
            continue;
        }
        path.push(name.clone());
        if !joins(path) || !matches!((&own.is, &value.is), (Is::Map(_), Is::Map(_))) {
            return Err((Wrong { at, said: format!("`{}` is said twice", path.join(".")) }, *first));
        }
        join(own, value, path)?;
        path.pop();
    }
    Ok(())
}

/// Takes a value for a document.
fn document(whole: &Node) -> Result<PolicyDocument, Wrong> {
    serde_path_to_error::deserialize(whole.value()).map_err(|error| {
        let said = error.inner().to_string();
        let mut node = whole;
        let mut at = node.at;
        for segment in error.path() {
            let next = match segment {
                Segment::Map { key } => node.field(key),
                Segment::Seq { index } => match &node.is {
                    Is::List(items) => items.get(*index).map(|item| (item.at, item)),
                    Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) | Is::Map(_) => None,
                },
                Segment::Enum { .. } | Segment::Unknown => None,
            };
            let Some((place, next)) = next else { break };
            (at, node) = (place, next);
        }
        match said.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((name, known)) => {
                // The path ends at the field or at what has it.
                let own = find_field(whole, name).or_else(|| node.field(name).map(|(at, _)| at));
                Wrong { at: node.field(name).map(|(at, _)| at).or(own).unwrap_or(at), said: unknown(name, known) }
            }
            None => Wrong { at, said },
        }
    })
}

/// The first field of that name anywhere.
fn find_field(node: &Node, name: &str) -> Option<At> {
    let of = |node: &Node| find_field(node, name);
    match &node.is {
        Is::Map(pairs) => pairs
            .iter()
            .find(|(own, _, _)| own == name)
            .map(|(_, at, _)| *at)
            .or_else(|| pairs.iter().find_map(|(_, _, value)| of(value))),
        Is::List(items) => items.iter().find_map(of),
        Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) => None,
    }
}

/// What is said of a field that is not known, with the one that was probably meant.
fn unknown(name: &str, known: &str) -> String {
    if NOT_YET.contains(&name) {
        return format!("`{name}` cannot be managed by files yet");
    }
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near =
        known.iter().max_by(|one, two| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, two)));
    match near.filter(|near| strsim::jaro_winkler(name, near) > 0.7) {
        Some(near) => format!("there is no field `{name}` here; did you mean `{near}`?"),
        None => format!("there is no field `{name}` here; there are `{}`", known.join("`, `")),
    }
}

fn sources(whole: &Node, files: &[File]) -> BTreeMap<String, String> {
    let line = |at: At| {
        let path = files.get(at.file).map(|file| file.path.display().to_string()).unwrap_or_default();
        format!("{}:{}", clean(&path), at.line)
    };
    let mut found = BTreeMap::new();
    let section = |node: &Node, name: &str| node.field(name).map(|(_, node)| node.pairs().to_vec()).unwrap_or_default();
    for (plural, kind) in SECTIONS {
        for (name, at, node) in section(whole, plural) {
            found.insert(format!("{kind}/{name}"), line(at));
            for (plural, kind) in OF_ACCOUNTS.into_iter().filter(|_| plural == "accounts") {
                found.extend(
                    section(&node, plural).into_iter().map(|(own, at, _)| (format!("{kind}/{name}/{own}"), line(at))),
                );
            }
        }
    }
    if let Some((_, Node { is: Is::List(tests), .. })) = whole.field("tests") {
        found.extend(tests.iter().enumerate().map(|(number, test)| (format!("test/{number}"), line(test.at))));
    }
    for name in ["owns", "owner", "version"] {
        found.extend(whole.field(name).map(|(at, _)| (name.to_owned(), line(at))));
    }
    found
}
