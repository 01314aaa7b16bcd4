//! Public text uses the field's terms: what a reader of the documents, of `--help`, of an error or of the API's description sees.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test they are in")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that public text does without, how often each is still there, and what to say instead. The numbers may only get smaller.
const WORDS: &str = include_str!("words.txt");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn files(dir: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root().join(dir)).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|of| of == extension) {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((shown, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "{dir} has no {extension}");
    found
}

/// Every second piece between two marks.
fn between(text: &str, mark: char, inside: bool) -> impl Iterator<Item = &str> {
    text.split(mark).enumerate().filter(move |(at, _)| (at % 2 == 1) == inside).map(|(_, piece)| piece)
}

/// A document's prose: no code.
fn prose(text: &str, all: &mut String) {
    for part in text.split("```").step_by(2) {
        let lines: Vec<&str> = part.lines().filter(|line| !line.starts_with("    ")).collect();
        for piece in between(&lines.join("\n"), '`', false) {
            writeln!(all, "{piece}").unwrap();
        }
    }
}

/// What a source file says to somebody: its sentences in quotes, and where it is the command line's the comments that `--help` prints.
fn said(name: &str, text: &str, all: &mut String) {
    let own = text.split("\n#[cfg(test)]").next().unwrap();
    for line in own.lines().map(str::trim) {
        match line.strip_prefix("///") {
            Some(help) if name.starts_with("crates/valetkey/src/cli/") => {
                for piece in between(help, '`', false) {
                    writeln!(all, "{piece}").unwrap();
                }
            }
            Some(_) => {}
            None if line.starts_with("//") => {}
            None => {
                for string in between(&line.replace("\\\"", "'"), '"', true).filter(|string| string.contains(' ')) {
                    for piece in between(string, '`', false).flat_map(|piece| piece.split('{')) {
                        // Without the names of what is put in.
                        writeln!(all, "{}", piece.split_once('}').map_or(piece, |(_, rest)| rest)).unwrap();
                    }
                }
            }
        }
    }
}

fn public_text() -> String {
    let mut all = String::new();
    for (_, text) in files("docs", "md") {
        prose(&text, &mut all);
    }
    for name in ["README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        prose(&fs::read_to_string(root().join(name)).unwrap(), &mut all);
    }
    for line in fs::read_to_string(root().join("crates/dialects/openapi.json")).unwrap().lines().map(str::trim) {
        if line.starts_with("\"description\"") || line.starts_with("\"summary\"") {
            for piece in between(line, '`', false) {
                writeln!(all, "{piece}").unwrap();
            }
        }
    }
    for (name, text) in files("crates", "rs") {
        let apart = ["/tests/", "tests.rs", "/testkit/", "/examples/", "/build.rs"];
        if name.contains("/src/") && !apart.iter().any(|part| name.contains(part)) {
            said(&name, &text, &mut all);
        }
    }
    all
}

/// Words alone, one space around each.
fn flat(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'').filter(|word| !word.is_empty());
    words.fold(String::from(" "), |all, word| all + &word.to_lowercase() + "  ")
}

#[test]
fn public_text_uses_the_fields_terms() {
    let text = flat(&public_text());
    let mut wrong = String::new();
    for line in WORDS.lines().filter(|line| !line.starts_with('#')) {
        let (count, rest) = line.split_once(' ').unwrap();
        let (phrase, instead) = rest.split_once(" -> ").unwrap();
        let found = text.matches(flat(phrase).as_str()).count();
        if found != count.parse::<usize>().unwrap() {
            writeln!(wrong, "`{phrase}` is there {found} times, not {count}; say: {instead}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}a number in tests/words.txt may only get smaller");
}
