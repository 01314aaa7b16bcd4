//! Tidiness as a test: the arrows between crates, the sibling rule, file lengths, and what may not be in the tree.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test they are in")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Which of our crates each of them may depend on, outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("valetkey-core", &[]),
    ("valetkey-testkit", &["valetkey-core"]),
    ("valetkey-sigv4", &["valetkey-core"]),
    ("valetkey-sql", &["valetkey-core"]),
    ("valetkey-database", &["valetkey-core", "valetkey-sql"]),
    ("valetkey-check", &["valetkey-core"]),
    ("valetkey-issuers", &["valetkey-core", "valetkey-check", "valetkey-sigv4"]),
    ("valetkey-dialects", &["valetkey-core", "valetkey-check", "valetkey-sigv4"]),
    ("valetkey-s3", &["valetkey-core", "valetkey-sigv4", "valetkey-sql"]),
    ("valetkey-delta", &["valetkey-core"]),
    ("valetkey-oidc", &["valetkey-core"]),
    ("valetkey-console", &[]),
    ("valetkey-gateway", &["valetkey-core", "valetkey-s3", "valetkey-sigv4"]),
    (
        "valetkey",
        &[
            "valetkey-core",
            "valetkey-console",
            "valetkey-database",
            "valetkey-issuers",
            "valetkey-dialects",
            "valetkey-s3",
            "valetkey-gateway",
            "valetkey-delta",
            "valetkey-oidc",
        ],
    ),
    ("valetkey-bench-server", &[]),
];

/// What the domain may not know of.
const NOT_IN_CORE: &[&str] =
    &["tokio", "axum", "sqlx", "serde", "serde_json", "hyper", "http", "getrandom", "rand", "s3s"];

/// What may be nowhere in the build.
const NOWHERE: &[&str] = &["ring", "openssl", "native-tls", "rsa", "serde_yaml", "figment"];

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, to)| (*name, to.iter().copied().collect())).collect();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    assert_eq!(ours, allowed.keys().copied().collect(), "a new crate needs its arrows here and in ARCHITECTURE.md");
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let name = dependency.name.as_str();
            assert!(
                !ours.contains(name) || allowed[package.name.as_str()].contains(name),
                "{} -> {name}",
                package.name
            );
            assert!(package.name != "valetkey-core" || !NOT_IN_CORE.contains(&name), "the domain knows of {name}");
        }
    }
}

#[test]
fn what_is_banned_is_not_in_the_build() {
    // What is built, by `cargo tree`: the lock file and the metadata also list what optional features would bring.
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--prefix", "none", "--edges", "normal,build", "--target", "all", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let built: BTreeSet<String> = String::from_utf8(tree.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert!(built.contains("rustls"));
    for name in NOWHERE {
        assert!(!built.contains(*name), "{name} is in the build");
    }
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            // What was installed or made here is not the tree.
            !matches!(&*name, "target" | ".git" | "node_modules" | "valetkey-data" | "valetkey-dev")
                && !name.starts_with(".venv")
        })
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    files.sort();
    files
}

fn rust_sources(dir: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    sources(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
}

/// The folders of a crate whose members are siblings: none may name another.
fn siblings_of(crate_dir: &str, shared: &[&str]) {
    let src = root().join(crate_dir).join("src");
    let folders: Vec<String> = fs::read_dir(&src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !shared.contains(&name.as_str()))
        .collect();
    assert!(!folders.is_empty(), "{crate_dir} has no folders");
    for own in &folders {
        for (path, text) in rust_sources(&src.join(own)) {
            for other in folders.iter().filter(|other| *other != own) {
                for naming in [format!("crate::{other}"), format!("super::super::{other}")] {
                    assert!(!text.contains(&naming), "{} names its sibling `{other}`", path.display());
                }
                // Also in braces: `use crate::{azure, gcs};`
                let in_braces = text.split("use crate::{").skip(1).filter_map(|rest| rest.split(';').next());
                let names = |list: &str| {
                    list.split([',', '{', '}']).any(|part| {
                        let part = part.trim();
                        part == other || part.starts_with(&format!("{other}::"))
                    })
                };
                assert!(!in_braces.into_iter().any(names), "{} names its sibling `{other}`", path.display());
            }
        }
    }
}

#[test]
fn no_dialect_and_no_issuer_names_its_sibling() {
    siblings_of("crates/dialects", &["edge", "tests"]);
    siblings_of("crates/issuers", &["web"]);
}

#[test]
fn the_kernel_names_no_noun() {
    let src = root().join("crates/core/src");
    for (path, text) in rust_sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let apart = ["nouns", "lib.rs"].iter().any(|name| inside.starts_with(name));
        assert!(apart || !text.contains("nouns"), "{} names a noun", path.display());
    }
}

/// A file without its own tests, which stand last.
fn own(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Lines before the tests of a file.
fn length(text: &str) -> usize {
    own(text).lines().count()
}

/// Files that passed 600 lines. The list may only get shorter.
const LONG: &[&str] = &[];

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for (path, text) in rust_sources(&root().join("crates")).chain(rust_sources(&root().join("bench"))) {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let is_test = shown.contains("/tests/") || shown.ends_with("tests.rs");
        assert!(length(&text) <= 800 || is_test, "{shown} has {} lines", length(&text));
        if length(&text) > 600 && !is_test {
            long.push(shown);
        }
    }
    assert_eq!(long, LONG, "move the wall instead of adding to the list");
}

#[test]
fn every_source_file_says_what_it_is() {
    for (path, text) in rust_sources(&root().join("crates")).chain(rust_sources(&root().join("bench"))) {
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        assert!(text.starts_with("//!"), "{} does not start with what it is", path.display());
    }
}

/// The files that show secrets, and how often: the audit. One more place is one more line here that somebody has read.
const SHOWN: &str = include_str!("secrets.txt");

#[test]
fn secrets_are_shown_only_where_they_leave() {
    let mut found = Vec::new();
    for (path, text) in rust_sources(&root().join("crates")) {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let is_test = shown.contains("/tests/") || shown.ends_with("tests.rs") || shown.contains("/testkit/");
        let times = own(&text).matches(".reveal()").count();
        if times > 0 && !is_test && !shown.contains("/examples/") {
            found.push(format!("{times} {shown}"));
        }
        for printing in ["println!(", "eprintln!(", "dbg!("] {
            let may = shown.contains("/tests/") || shown.contains("/examples/");
            assert!(!text.contains(printing) || may, "{shown} prints");
        }
    }
    let found = found.join("\n") + "\n";
    assert_eq!(found, SHOWN, "say in the review why a secret is shown there, then put it into tests/secrets.txt");
}

/// What is added, an example of it with its folder and how code names it, and the files outside that folder, tests and documents that
/// name one. CONTRIBUTING.md says so to who adds another. The lists may only get shorter.
const ADDED: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "a kind of storage",
        "/issuers/src/gcs/",
        &["StorageKind::Gcs", "gcs::KIND", "Self::Gcs =>"],
        &["crates/core/src/storage.rs", "crates/issuers/src/fetchers.rs", "crates/issuers/src/urls.rs"],
    ),
    (
        "a dialect",
        "/dialects/src/theirstack/",
        &["theirstack::", "mod theirstack", "\"theirstack\""],
        &["crates/dialects/src/lib.rs", "crates/valetkey/src/node/mod.rs"],
    ),
];

#[test]
fn what_is_added_is_named_where_contributing_says() {
    let told = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    for (what, folder, names, files) in ADDED {
        let is_named = |(path, text): (PathBuf, String)| {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            let apart = ["/tests/", "tests.rs", folder].iter().any(|part| shown.contains(part));
            (!apart && names.iter().any(|name| own(&text).contains(name))).then_some(shown)
        };
        let found: Vec<String> = rust_sources(&root().join("crates")).filter_map(is_named).collect();
        assert_eq!(found, *files, "{what} has one home");
        for file in *files {
            let file = file.trim_start_matches("crates/");
            assert!(told.contains(&format!("`{file}`")), "CONTRIBUTING.md leaves out {file} for {what}");
        }
    }
}

/// The codes that the S3 endpoint's sources refuse with: of the library's list, and those that it lacks.
fn s3_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (path, text) in rust_sources(&root().join("crates/s3/src")) {
        let is_word = |letter: &char| letter.is_ascii_alphanumeric();
        let listed =
            text.split("S3ErrorCode::").skip(1).map(|rest| rest.chars().take_while(is_word).collect::<String>());
        codes.extend(
            listed.filter(|code| code.starts_with(|first: char| first.is_ascii_uppercase()) && code != "Custom"),
        );
        for rest in text.split("refuse_custom(").skip(1).map(str::trim_start) {
            let literal = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            assert!(
                literal.is_some() || rest.starts_with("code: "),
                "{}: a code that this test does not see",
                path.display()
            );
            codes.extend(literal.map(|(code, _)| code.to_owned()));
        }
    }
    codes
}

#[test]
fn every_code_of_the_s3_endpoint_is_on_the_page_of_errors() {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let (_, rest) = page.split_once("\n## The S3 endpoint\n").unwrap();
    let rows = rest.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    let shown: BTreeSet<String> = rows.filter_map(|row| row.split_once('`')).map(|(code, _)| code.to_owned()).collect();
    assert_eq!(shown, s3_codes());
}

#[test]
fn the_tree_names_no_machine() {
    let home = option_env!("HOME").filter(|home| home.len() > 1).map(|home| format!("{home}/"));
    let places: Vec<String> = home.into_iter().chain([root().display().to_string()]).collect();
    for path in sources(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for place in &places {
            assert!(!text.contains(place), "{} names `{place}`", path.display());
        }
    }
}
