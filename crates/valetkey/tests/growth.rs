//! Every table has a line in the manual that says what bounds it: a row that only grows is noticed where it is added.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test they are in")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The tables that a folder of migrations leaves, one after the other.
fn tables(folder: &str) -> BTreeSet<String> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    let mut found = BTreeSet::new();
    for file in files {
        for line in fs::read_to_string(file).unwrap().lines() {
            let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            match *words.as_slice() {
                ["CREATE", "TABLE", name, ..] => assert!(found.insert(name.to_owned()), "{name} is there twice"),
                ["DROP", "TABLE", name] => assert!(found.remove(name), "{name} is dropped"),
                ["ALTER", "TABLE", name, "RENAME", "TO", other] => {
                    assert!(found.remove(name) && found.insert(other.to_owned()), "{name} is renamed");
                }
                _ => {}
            }
        }
    }
    found
}

/// The names in the first column of each table of the section, table by table.
fn listed() -> Vec<BTreeSet<String>> {
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("What grows\n")).unwrap().to_owned();
    let mut all = Vec::new();
    for line in section.lines() {
        match line.strip_prefix("| ") {
            Some(row) if row.starts_with("tables |") => all.push(BTreeSet::new()),
            Some(row) => {
                let (names, bound) = row.split_once(" | ").unwrap();
                assert!(bound.len() > 3, "{row}");
                let own: &mut BTreeSet<String> = all.last_mut().unwrap();
                for name in names.split(", ") {
                    let name = name.trim_matches('`').to_owned();
                    assert!(own.insert(name.clone()), "`{name}` has two lines");
                }
            }
            None => {}
        }
    }
    all
}

#[test]
fn every_table_has_a_line_that_says_what_bounds_it() {
    let mut database = tables("crates/database/migrations/sqlite");
    let shared = tables("crates/database/migrations/postgres");
    assert!(database.is_subset(&shared), "{:?}", database.difference(&shared));
    database.extend(shared);
    assert_eq!(listed(), [database, tables("crates/s3/migrations")]);
}
