//! No files of a crate go round in a circle: what one stands on does not stand on it. A module and what it is made of (its folder)
//! count as one another's own, and may name each other only where that is said here.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test they are in")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemFn, ItemMod, ItemUse, Macro, UseTree};

/// A module's name, from the root of its crate.
type Module = Vec<String>;
/// The modules of a crate and their files.
type Files = BTreeMap<Module, PathBuf>;
/// What each module names.
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

/// Circles that are left. The list may only get shorter.
const LEFT: &[&str] = &[];

/// Modules that stand on a part of their own folder which stands on them. The list may only get shorter.
const ROUND: &[&str] = &[
    "core: nouns::parent",
    "core: scope",
    "database: sql",
    "dialects: dreadnode",
    "dialects: edge",
    "dialects: r2",
    "dialects: sharing",
    "dialects: theirstack",
    "gateway: ",
    "issuers: azure",
    "issuers: cache",
    "issuers: gcs",
    "issuers: probe",
    "issuers: r2",
    "issuers: sts",
    "s3: ",
    "s3: gateway",
    "s3: objects",
    "s3: wire",
    "sigv4: ",
    "testkit: memory",
    "valetkey: cli",
    "valetkey: dev",
    "valetkey: node",
    "valetkey: node::listen",
];

/// The paths that a file names, and what it calls those that it uses.
#[derive(Default)]
struct Named {
    paths: Vec<Vec<String>>,
    used: BTreeMap<String, Vec<String>>,
}

impl Named {
    fn of(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        // A file's own tests stand last: reading them would take as long again.
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let mut named = Self::default();
        named.visit_file(&syn::parse_file(text).unwrap());
        named
    }

    fn spread(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.spread(&path.tree, &with(&path.ident)),
            UseTree::Name(name) if name.ident == "self" => self.uses(before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => self.uses(Some(name.ident.to_string()), with(&name.ident)),
            UseTree::Rename(name) => self.uses(Some(name.rename.to_string()), with(&name.ident)),
            UseTree::Glob(_) => self.paths.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.spread(tree, before)),
        }
    }

    fn uses(&mut self, name: Option<String>, path: Vec<String>) {
        self.paths.push(path.clone());
        self.used.extend(name.map(|name| (name, path)));
    }

    /// The paths, those that start with a name that is used written in full.
    fn paths(&self) -> impl Iterator<Item = Vec<String>> {
        self.paths.iter().map(|path| match path.split_first() {
            Some((first, rest)) if !rest.is_empty() && self.used.contains_key(first) => {
                [&self.used[first], rest].concat()
            }
            _ => path.clone(),
        })
    }
}

fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !of_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !of_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !of_tests(&item.attrs) {
            self.spread(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // One word is a name of the file's own, or one that it uses.
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// What stands in a macro is no syntax yet: its words are looked at.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let text = item.tokens.to_string().replace(" :: ", "::").replace(":: ", "::");
        let words = text.split(|char: char| !char.is_alphanumeric() && !matches!(char, '_' | ':'));
        let paths = words.filter(|word| word.contains("::"));
        self.paths.extend(paths.map(|path| path.split("::").map(str::to_owned).collect()));
        visit::visit_macro(self, item);
    }
}

/// The modules of a crate; those of tests are none.
fn modules(src: &Path) -> Files {
    let files = walkdir::WalkDir::new(src).into_iter().filter_map(Result::ok).map(walkdir::DirEntry::into_path);
    let named = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).map(|path| {
        let relative = path.strip_prefix(src).unwrap().with_extension("");
        let mut module: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
        (module, path)
    });
    named.filter(|(module, _)| !module.iter().any(|part| part == "tests" || part.ends_with("_tests"))).collect()
}

/// The module that a path leads into.
fn led(path: &[String], from: &Module, all: &Files) -> Option<Module> {
    let child = |name: &String| all.contains_key(&from.iter().chain([name]).cloned().collect::<Module>());
    let (mut at, mut rest) = match path {
        [first, rest @ ..] if first == "crate" => (Vec::new(), rest),
        [first, ..] if first == "super" || first == "self" || child(first) => (from.clone(), path),
        _ => return None,
    };
    while let [first, more @ ..] = rest
        && ["self", "super"].contains(&first.as_str())
    {
        if first == "super" {
            at.pop()?;
        }
        rest = more;
    }
    for part in rest {
        at.push(part.clone());
        if !all.contains_key(&at) {
            at.pop();
            break;
        }
    }
    (at != *from).then_some(at)
}

fn arrows(src: &Path) -> Arrows {
    let all = modules(src);
    let of = |(module, file): (&Module, &PathBuf)| {
        let to = Named::of(file).paths().filter_map(|path| led(&path, module, &all)).collect();
        (module.clone(), to)
    };
    all.iter().map(of).collect()
}

/// What can be reached from a module, by arrows that count.
fn reached<'a>(from: &'a Module, arrows: &'a Arrows, counts: fn(&Module, &Module) -> bool) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(arrows[module].iter().filter(|to| counts(module, to) && seen.insert(*to)));
    }
    seen
}

/// The circles of a crate, each once, but for those of a module with its own.
fn circles(arrows: &Arrows) -> BTreeSet<String> {
    let foreign = |a: &Module, b: &Module| !a.starts_with(b) && !b.starts_with(a);
    let reach: BTreeMap<_, _> = arrows.keys().map(|module| (module, reached(module, arrows, foreign))).collect();
    let round = |module: &Module| -> Vec<String> {
        reach[module].iter().filter(|other| reach[**other].contains(module)).map(|other| other.join("::")).collect()
    };
    arrows.keys().filter(|module| reach[*module].contains(*module)).map(|module| round(module).join(" ")).collect()
}

/// The modules that are named by a part of their own which they stand on.
fn round(arrows: &Arrows) -> BTreeSet<String> {
    let is_round = |module: &&Module| {
        let mut below = reached(module, arrows, |_, _| true).into_iter();
        below.any(|part| part.len() > module.len() && part.starts_with(module) && arrows[part].contains(*module))
    };
    arrows.keys().filter(is_round).map(|module| module.join("::")).collect()
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

#[test]
fn no_files_of_a_crate_go_round_in_a_circle() {
    let of = |path: PathBuf| {
        let (name, arrows) = (path.file_name().unwrap().to_str().unwrap().to_owned(), arrows(&path.join("src")));
        let named = |found: BTreeSet<String>| -> Vec<_> { found.iter().map(|one| format!("{name}: {one}")).collect() };
        (named(circles(&arrows)), named(round(&arrows)))
    };
    let (found, round): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let paths = fs::read_dir(crates()).unwrap().map(|entry| entry.unwrap().path());
        let all: Vec<_> = paths.map(|path| scope.spawn(|| of(path))).collect();
        all.into_iter().map(|one| one.join().unwrap()).unzip()
    });
    let sorted = |lists: Vec<Vec<String>>| lists.into_iter().flatten().collect::<BTreeSet<_>>();
    let listed = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sorted(found), listed(LEFT), "move what both need below both");
    assert_eq!(sorted(round), listed(ROUND), "move what a module and a part of it need below both");
}

#[test]
fn what_is_sql_names_none_of_its_users() {
    for (module, to) in arrows(&crates().join("database/src")) {
        let outside = to.iter().find(|to| to.first().is_none_or(|first| first != "sqlite"));
        assert!(module.first().is_none_or(|first| first != "sqlite") || outside.is_none(), "{module:?} -> {outside:?}");
    }
}

#[test]
fn a_circle_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let put = |file: &str, text: &str| {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("lib.rs", "mod a; mod b; mod c;");
    put("a.rs", "use crate::b::{self, f as g};\n#[cfg(test)] mod tests { use crate::c; }");
    put("b/mod.rs", "pub(crate) mod own; fn f() { own::h() }");
    put("b/own.rs", "use super::f; pub(crate) fn h() {}");
    put("c.rs", "use crate::{a}; use super::b;");
    assert!(circles(&arrows(dir.path())).is_empty(), "a module and its own may name each other");
    assert_eq!(round(&arrows(dir.path())), BTreeSet::from(["b".to_owned()]));
    for named in [
        "use crate::c;",
        "fn f() { crate::c::x() }",
        "use crate as all; fn f() { all::c::x() }",
        "fn f() { assert!(super::super::c::x()) }",
    ] {
        put("b/own.rs", named);
        put("c.rs", "use crate::b::own;");
        assert_eq!(circles(&arrows(dir.path())), BTreeSet::from(["b::own c".to_owned()]), "{named}");
    }
}
