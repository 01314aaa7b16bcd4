//! A scope as a shared access signature can say it: one resource and letters of permission.
//!
//! A signature opens one container, one blob or, with a hierarchical namespace, one directory; nothing else. What does
//! not fit is refused, what the letters cannot say exactly is left out: a signature never opens more than its scope.

use std::fmt;

use valetkey_core::credential::Narrowed;
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};
use valetkey_core::{Error, Kind};

use crate::azure::Namespace;
use crate::upstream::one_part;

/// The deepest directory there may be (Azure Data Lake Storage: "Scalability and performance targets").
const MAX_DEPTH: usize = 63;

/// What a signature opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// Every blob of the container.
    Container,
    /// Exactly this blob.
    Blob(String),
    /// This directory and everything below it, which is so many segments deep.
    Directory(String, usize),
}

/// The actions that letters of permission say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Permissions(Actions);

impl Permissions {
    pub(super) fn actions(self) -> Actions {
        self.0
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // "Create a user delegation SAS", "Specify permissions": the order is `racwdxyltmeopi`.
        let letters = [
            (Action::GetObject, "r"),
            (Action::PutObject, "acw"),
            (Action::DeleteObject, "d"),
            (Action::ListBucket, "l"),
        ];
        letters
            .into_iter()
            .filter(|(action, _)| self.0.contains(*action))
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// A scope in the words of a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Compiled {
    pub(super) container: String,
    /// What in it is opened.
    pub(super) resource: Resource,
    /// To do what.
    pub(super) permissions: Permissions,
    /// What was left out.
    pub(super) narrowed: Vec<Narrowed>,
}

/// Says the scope as a signature can.
pub(super) fn compile(rights: &Rights, namespace: Namespace) -> Result<Compiled, Error> {
    let container = rights.bucket().as_str();
    if container.contains('.') || container.contains("--") {
        return Err(invalid(format!(
            "`{container}` cannot be a container's name: one has no dots and no two hyphens in a row"
        )));
    }
    let part = one_part(rights)?;
    let resource = resource(part.paths(), namespace)?;
    let (permissions, narrowed) = permissions(part.actions(), &resource, namespace);
    if permissions.0.is_empty() {
        return Err(invalid(format!("a shared access signature cannot allow only {}", part.actions())));
    }
    Ok(Compiled { container: container.to_owned(), resource, permissions, narrowed })
}

fn resource(paths: &Paths, namespace: Namespace) -> Result<Resource, Error> {
    let set = match paths {
        Paths::Whole => return Ok(Resource::Container),
        Paths::Only(set) => set,
    };
    let mut paths = set.iter();
    let (Some(path), None) = (paths.next(), paths.next()) else {
        return Err(invalid(format!(
            "a shared access signature opens one path and here are {}; ask for each on its own",
            set.len()
        )));
    };
    match (path, namespace) {
        (Path::Object(key), _) => Ok(Resource::Blob(plain(&key, namespace)?.to_owned())),
        (Path::Directory(directory), Namespace::Hierarchical) => {
            let directory = plain(&directory, namespace)?;
            let depth = directory.split('/').count();
            if depth > MAX_DEPTH {
                return Err(invalid(format!("the directory is {depth} deep; the most is {MAX_DEPTH}")));
            }
            Ok(Resource::Directory(directory.to_owned(), depth))
        }
        (Path::Directory(_), Namespace::Flat) => Err(invalid(
            "a shared access signature cannot open a directory of an account without a hierarchical namespace; ask for \
             the whole bucket or for one object",
        )),
        (Path::Prefix(_), Namespace::Hierarchical) => Err(invalid(
            "a shared access signature cannot open a prefix; ask for a directory, the whole bucket or one object",
        )),
        (Path::Prefix(_), Namespace::Flat) => {
            Err(invalid("a shared access signature cannot open a prefix; ask for the whole bucket or for one object"))
        }
    }
}

/// The path as text, if it means the same key to the service as to us.
///
/// SECURITY: the path is a line of what is signed, so a line break in it would write the lines after it. And a path that the
/// service or a client rewrites on its way (`\` to `/`, `..` away, dots and slashes cut off the end) would open another key.
fn plain(path: &[u8], namespace: Namespace) -> Result<&str, Error> {
    let Ok(text) = std::str::from_utf8(path) else {
        return Err(invalid("a blob's name is text in UTF-8, and the path is none"));
    };
    if text.chars().any(char::is_control) || text.contains('\\') {
        return Err(invalid("a blob's name cannot hold control characters or `\\`"));
    }
    if text.split('/').any(|segment| segment.ends_with('.')) || text.ends_with('/') {
        return Err(invalid("no part of a blob's name may end in `.`, and a name may not end in `/`"));
    }
    if text.starts_with('/') || (namespace == Namespace::Hierarchical && text.contains("//")) {
        return Err(invalid("a path starts without `/` and, in a hierarchical namespace, has no empty parts"));
    }
    Ok(text)
}

/// SECURITY: `m` also moves what is there to another name, and `e` shows properties and access lists; no action stands for either.
const RENAME: &str = "renaming (ABFS, and committers of Hadoop and Spark that rename) needs the letters `m` and `e`, \
                      for which there is no action; write under the final name";

/// The letters for the actions, and what they do not say.
fn permissions(actions: Actions, resource: &Resource, namespace: Namespace) -> (Permissions, Vec<Narrowed>) {
    let mut said = actions.intersect(Actions::of(&[Action::GetObject, Action::DeleteObject]));
    // SECURITY: where names are a tree, what a blob is called may be a directory, and whether a signature for the one deletes the other
    // with all that is in it has not been seen at the service.
    let tree = namespace == Namespace::Hierarchical && matches!(resource, Resource::Blob(_));
    if tree {
        said = said.without(Action::DeleteObject);
    }
    // Blocks and whole blobs are written with the same letters.
    let writes = Actions::of(&[Action::PutObject, Action::MultipartUpload]);
    if actions.contains_all(writes) {
        said = said.union(writes);
    }
    // A listing shows the blobs' metadata too, which is reading.
    let lists = Actions::of(&[Action::ListBucket, Action::GetObject]);
    if actions.contains_all(lists) && !matches!(resource, Resource::Blob(_)) {
        said = said.with(Action::ListBucket);
    }
    let mut narrowed = Vec::new();
    for action in actions.iter().filter(|action| !said.contains(*action)) {
        let why = match action {
            Action::PutObject | Action::MultipartUpload => {
                "blobs are written whole and in blocks with the same permission"
            }
            Action::ListBucket if matches!(resource, Resource::Blob(_)) => "one blob has no list",
            Action::ListBucket => "a listing shows metadata, so it needs get-object beside it",
            Action::AbortUpload => "blocks that were not committed are dropped by the service after a week",
            Action::ListUploads => "there is no list of unfinished uploads",
            Action::DeleteObject if tree => {
                "in a hierarchical namespace the name may be a directory's, which would be deleted with all that is in it; ask \
                 for the directory or the whole bucket"
            }
            Action::GetObject
            | Action::DeleteObject
            | Action::GetBucketInfo
            | Action::GetBucketConfig
            | Action::PutBucketConfig => "a signature for blobs does not reach the container itself",
        };
        narrowed.push(Narrowed::action(action, why));
    }
    if namespace == Namespace::Hierarchical && !tree && said.contains(Action::PutObject) {
        narrowed.push(Narrowed::action(Action::PutObject, RENAME));
    }
    (Permissions(said), narrowed)
}

fn invalid(said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use valetkey_core::credential::LeftOut;
    use valetkey_core::name::BucketName;
    use valetkey_core::scope::Listing;

    use super::*;

    fn scope(paths: Paths, actions: Actions) -> Rights {
        Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap()
    }

    fn only(path: Path) -> Paths {
        Paths::only([path]).unwrap()
    }

    /// What the service does with a signature, after "Create a user delegation SAS" and the permissions each operation
    /// needs, as slow and obvious as it can be.
    mod service {
        use super::*;

        pub(super) fn reaches(compiled: &Compiled, container: &str, key: &str) -> bool {
            let wanted: Vec<&str> = key.split('/').collect();
            compiled.container == container
                && match &compiled.resource {
                    Resource::Container => true,
                    Resource::Blob(name) => name == key,
                    // The service signs the first `sdd` segments of the path that is asked for.
                    Resource::Directory(name, depth) => {
                        wanted.get(..*depth).is_some_and(|head| head.join("/") == *name)
                    }
                }
        }

        /// The actions of ours that a letter allows, with everything that comes with it.
        pub(super) fn letter(letter: char) -> &'static [Action] {
            match letter {
                'r' => &[Action::GetObject],
                'a' | 'c' | 'w' => &[Action::PutObject, Action::MultipartUpload],
                'd' => &[Action::DeleteObject],
                'l' => &[Action::ListBucket],
                _ => panic!("the letter {letter} is never given"),
            }
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"jobs"[..],
            b"daily",
            b"daily-secret",
            b"a",
            b"b",
            b"/",
            b"/",
            b"/",
            b"//",
            b"..",
            b".",
            b"%2F",
            b"*",
            b"$",
            b"{",
            b"'",
            b"\"",
            b"\\",
            b"\n",
            b"\xc3\xa9",
            b"\xff",
            b" ",
            b"+",
            b"?",
            b"#",
            b"&",
        ]);
        prop_oneof![
            1 => prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat()),
            2 => "(jobs|daily|a|b|é)(/(jobs|daily|daily-secret|a|b|é)){0,4}".prop_map(String::into_bytes),
        ]
    }

    fn path() -> impl Strategy<Value = Path> {
        (key(), 0..3).prop_filter_map("a directory may not end in a slash", |(bytes, kind)| match kind {
            0 => Path::object(&bytes).ok(),
            1 => Path::directory(&bytes).ok(),
            _ => Path::prefix(&bytes).ok(),
        })
    }

    fn paths() -> impl Strategy<Value = Paths> {
        prop_oneof![
            1 => Just(Paths::Whole),
            12 => path().prop_map(only),
            1 => prop::collection::vec(path(), 2..4).prop_map(|paths| Paths::only(paths).unwrap()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn a_signature_opens_what_the_scope_covers_and_no_more(
            paths in paths(),
            bits in 1u16..1024,
            keys in prop::collection::vec(key(), 1..6),
            hierarchical in any::<bool>(),
        ) {
            let scope = scope(paths, Actions::from_bits(bits).unwrap());
            let namespace = if hierarchical { Namespace::Hierarchical } else { Namespace::Flat };
            let Ok(compiled) = compile(&scope, namespace) else { return Ok(()) };
            let letters = compiled.permissions.to_string();
            // In the documented order, each once.
            let mut rest = "racwdxyltmeopi".chars();
            prop_assert!(letters.chars().all(|letter| rest.any(|next| next == letter)), "{letters}");
            let left_out = |action: Action| {
                compiled.narrowed.iter().any(|narrowed| narrowed.what == LeftOut::Action(action))
            };
            for action in Action::ALL {
                let given = letters.chars().any(|letter| service::letter(letter).contains(&action));
                prop_assert!(!given || scope.actions().contains(action), "{letters} gives {action}");
                prop_assert!(given || !scope.actions().contains(action) || left_out(action), "{action} was lost");
            }
            let mut around = keys;
            if let Paths::Only(set) = scope.parts().places() {
                for path in set.iter() {
                    for tail in [&b""[..], b"/", b"/x", b"-secret", b"-secret/x", b"x", b"//", b"/x/y/z"] {
                        around.push([path.bytes(), tail].concat());
                    }
                    around.push(path.bytes()[..path.bytes().len() - 1].to_vec());
                }
            }
            for key in around.iter().filter_map(|key| std::str::from_utf8(key).ok()).filter(|key| !key.is_empty()) {
                prop_assert!(!service::reaches(&compiled, "lake2", key));
                let reached = service::reaches(&compiled, "lake", key);
                for action in scope.actions().iter() {
                    prop_assert_eq!(reached, scope.covers("lake", key.as_bytes(), action), "{} of {:?}", key, compiled);
                }
                if letters.contains('l') && key.ends_with('/') && reached && !key.contains("//") {
                    let seen = scope.listing("lake", key.as_bytes(), Action::ListBucket);
                    prop_assert_eq!(seen, Listing::All, "{}", key);
                }
            }
        }
    }

    #[test]
    fn different_actions_on_different_paths_are_refused() {
        let read = scope(Paths::Whole, Actions::READ);
        let parts = read.union(&scope(only(Path::object(b"a").unwrap()), Actions::WRITE)).unwrap();
        let refused = compile(&parts, Namespace::Flat).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("parts")));
        // Different actions on the same paths are one part.
        assert!(compile(&read.union(&scope(Paths::Whole, Actions::WRITE)).unwrap(), Namespace::Flat).is_ok());
    }

    #[test]
    fn the_letters_are_those_of_the_actions() {
        let letters =
            |actions| compile(&scope(Paths::Whole, actions), Namespace::Flat).unwrap().permissions.to_string();
        assert_eq!(letters(Actions::READ), "rl");
        assert_eq!(letters(Actions::WRITE), "acw");
        assert_eq!(letters(Actions::READ_WRITE), "racwdl");
        assert_eq!(letters(Actions::of(&[Action::DeleteObject, Action::PutObject])), "d");
        let object = compile(&scope(only(Path::object(b"a/b").unwrap()), Actions::READ), Namespace::Flat).unwrap();
        assert_eq!((object.resource, object.permissions.to_string().as_str()), (Resource::Blob("a/b".into()), "r"));
        assert_eq!(
            object.narrowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "list-bucket: one blob has no list",
                "get-bucket-info: a signature for blobs does not reach the container itself"
            ]
        );
    }

    #[test]
    fn that_nothing_can_be_renamed_is_said_to_who_writes_where_names_are_a_tree() {
        let says = |path: Option<Path>, actions, namespace| {
            let paths = path.map_or(Paths::Whole, only);
            compile(&scope(paths, actions), namespace).unwrap().narrowed.iter().any(|narrowed| narrowed.why == RENAME)
        };
        let daily = || Some(Path::directory(b"jobs/daily").unwrap());
        assert!(says(daily(), Actions::READ_WRITE, Namespace::Hierarchical));
        assert!(says(None, Actions::WRITE, Namespace::Hierarchical));
        assert!(!says(daily(), Actions::READ, Namespace::Hierarchical));
        assert!(!says(None, Actions::READ_WRITE, Namespace::Flat));
        let letters = |actions| compile(&scope(Paths::Whole, actions), Namespace::Hierarchical).unwrap().permissions;
        assert!(!letters(Actions::READ_WRITE).to_string().contains(['m', 'e']));
    }

    #[test]
    fn what_a_signature_cannot_say_is_refused_in_words() {
        let daily = || Path::directory(b"jobs/daily").unwrap();
        let refused = |paths: Paths, namespace| compile(&scope(paths, Actions::READ), namespace).unwrap_err();
        for (error, word) in [
            (refused(only(daily()), Namespace::Flat), "hierarchical"),
            (refused(only(Path::prefix(b"jobs/").unwrap()), Namespace::Flat), "prefix"),
            (refused(only(Path::prefix(b"jobs/").unwrap()), Namespace::Hierarchical), "prefix"),
            (
                refused(Paths::only([daily(), Path::object(b"x").unwrap()]).unwrap(), Namespace::Hierarchical),
                "here are 2",
            ),
            (refused(only(Path::directory(b"jobs//daily").unwrap()), Namespace::Hierarchical), "empty parts"),
            (refused(only(Path::directory(b"jobs/../x").unwrap()), Namespace::Hierarchical), "end in `.`"),
            (refused(only(Path::directory(&b"a/".repeat(64)[..127]).unwrap()), Namespace::Hierarchical), "64 deep"),
            (refused(only(Path::object(b"a\nb").unwrap()), Namespace::Flat), "control"),
            (refused(only(Path::object(b"a\\b").unwrap()), Namespace::Flat), "`\\`"),
            (refused(only(Path::object(b"\xff").unwrap()), Namespace::Flat), "UTF-8"),
        ] {
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.message().contains(word), "{error}");
        }
        let dotted = Rights::of(BucketName::parse("a.b").unwrap(), Paths::Whole, Actions::READ).unwrap();
        assert!(compile(&dotted, Namespace::Flat).is_err());
        let nothing = scope(Paths::Whole, Actions::of(&[Action::GetBucketInfo, Action::ListBucket]));
        assert_eq!(compile(&nothing, Namespace::Flat).unwrap_err().kind(), Kind::Invalid);
        // What one directory covers already is one directory.
        let inside = Paths::only([daily(), Path::object(b"jobs/daily/x").unwrap()]).unwrap();
        assert_eq!(
            compile(&scope(inside, Actions::READ), Namespace::Hierarchical).unwrap().resource,
            Resource::Directory("jobs/daily".into(), 2)
        );
    }

    #[test]
    fn deleting_one_object_is_not_given_where_its_name_may_be_a_directorys() {
        let object = Paths::only([Path::object(b"jobs/daily").unwrap()]).unwrap();
        let scope =
            |paths: &Paths, actions| Rights::of(BucketName::parse("lake").unwrap(), paths.clone(), actions).unwrap();
        let both = Actions::of(&[Action::GetObject, Action::DeleteObject]);
        let compiled = compile(&scope(&object, both), Namespace::Hierarchical).unwrap();
        assert_eq!(compiled.permissions.0, Actions::of(&[Action::GetObject]));
        let deletes = LeftOut::Action(Action::DeleteObject);
        assert!(compiled.narrowed.iter().any(|narrowed| narrowed.what == deletes), "{:?}", compiled.narrowed);
        assert!(compile(&scope(&object, Actions::of(&[Action::DeleteObject])), Namespace::Hierarchical).is_err());
        assert_eq!(compile(&scope(&object, both), Namespace::Flat).unwrap().permissions.0, both);
        assert_eq!(compile(&scope(&Paths::Whole, both), Namespace::Hierarchical).unwrap().permissions.0, both);
    }
}
