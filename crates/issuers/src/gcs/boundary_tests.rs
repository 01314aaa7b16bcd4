//! Boundaries against an evaluator of their own.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use valetkey_core::credential::LeftOut;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Listing, Parts};

use super::*;

fn scope(paths: Paths, actions: Actions) -> Rights {
    Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap()
}

fn compiled(scope: &Rights) -> Result<Compiled, Error> {
    compile(scope, &CustomRoles::default())
}

/// What Google does with a boundary, read from the text that is sent: an evaluator that shares nothing with the compiler.
mod google {
    use super::*;

    /// What a request needs, on which resource, and with which listing prefix if it has one.
    #[derive(Clone, Debug)]
    pub(super) struct Need {
        pub(super) permission: &'static str,
        pub(super) resource: String,
        pub(super) list_prefix: Option<String>,
    }

    /// The permissions of the roles ("IAM roles for Cloud Storage").
    fn role(name: &str) -> &'static [&'static str] {
        match name {
            "inRole:roles/storage.legacyObjectReader" | "inRole:projects/p/roles/read" => &["storage.objects.get"],
            "inRole:roles/storage.objectViewer" => &[
                "storage.objects.get",
                "storage.objects.list",
                "storage.folders.get",
                "storage.folders.list",
                "storage.managedFolders.get",
                "storage.managedFolders.list",
            ],
            "inRole:roles/storage.objectCreator" => &[
                "storage.objects.create",
                "storage.multipartUploads.create",
                "storage.multipartUploads.abort",
                "storage.multipartUploads.listParts",
                "storage.objects.createContext",
                "storage.folders.create",
                "storage.managedFolders.create",
            ],
            "inRole:roles/storage.legacyBucketWriter" => &[
                "storage.buckets.get",
                "storage.objects.create",
                "storage.objects.delete",
                "storage.objects.list",
                "storage.objects.restore",
                "storage.objects.setRetention",
                "storage.multipartUploads.create",
                "storage.multipartUploads.abort",
                "storage.multipartUploads.list",
                "storage.multipartUploads.listParts",
                "storage.folders.create",
                "storage.folders.list",
                "storage.managedFolders.create",
                "storage.managedFolders.list",
            ],
            "inRole:projects/p/roles/list" => &["storage.objects.list"],
            "inRole:projects/p/roles/create" => {
                &["storage.objects.create", "storage.multipartUploads.create", "storage.multipartUploads.abort"]
            }
            "inRole:projects/p/roles/delete" => &["storage.objects.delete"],
            other => panic!("no such role: {other}"),
        }
    }

    /// A boundary as it was read.
    pub(super) struct Boundary(Vec<Rule>);

    struct Rule {
        bucket: String,
        held: Vec<&'static str>,
        condition: Option<Vec<Term>>,
    }

    /// One term of a condition.
    enum Term {
        NameStarts(String),
        NameIs(String),
        ListPrefixStarts { default: String, with: String },
    }

    impl Boundary {
        pub(super) fn read(options: &str) -> Self {
            let options: Value = serde_json::from_str(options).unwrap();
            let rules = options["accessBoundary"]["accessBoundaryRules"].as_array().unwrap();
            assert!((1..=10).contains(&rules.len()));
            let rule = |rule: &Value| {
                let resource = rule["availableResource"].as_str().unwrap();
                let held = rule["availablePermissions"].as_array().unwrap().iter();
                let condition = rule.get("availabilityCondition");
                Rule {
                    bucket: resource.strip_prefix("//storage.googleapis.com/").unwrap().to_owned(),
                    held: held.flat_map(|name| role(name.as_str().unwrap())).copied().collect(),
                    condition: condition.map(|condition| terms(condition["expression"].as_str().unwrap())),
                }
            };
            Self(rules.iter().map(rule).collect())
        }

        pub(super) fn allows(&self, need: &Need) -> bool {
            self.0.iter().any(|rule| {
                let below = need.resource.strip_prefix(&rule.bucket);
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    && rule.held.contains(&need.permission)
                    && rule.condition.as_ref().is_none_or(|terms| terms.iter().any(|term| term.holds(need)))
            })
        }
    }

    impl Term {
        fn holds(&self, need: &Need) -> bool {
            match self {
                Self::NameStarts(with) => need.resource.starts_with(with),
                Self::NameIs(name) => need.resource == *name,
                Self::ListPrefixStarts { default, with } => {
                    need.list_prefix.as_ref().unwrap_or(default).starts_with(with)
                }
            }
        }
    }

    /// A condition: terms joined by `||`.
    fn terms(expression: &str) -> Vec<Term> {
        assert!(expression.chars().count() <= 2048);
        let mut reader = Reader { rest: expression };
        let mut terms = vec![reader.term()];
        while reader.sees("||") {
            reader.take("||");
            terms.push(reader.term());
        }
        assert!(reader.rest.is_empty(), "`{}` is left of `{expression}`", reader.rest);
        assert!(terms.len() <= 13);
        terms
    }

    struct Reader<'a> {
        rest: &'a str,
    }

    impl Reader<'_> {
        fn space(&mut self) {
            self.rest = self.rest.trim_start_matches(' ');
        }

        fn take(&mut self, word: &str) {
            self.space();
            self.rest = self.rest.strip_prefix(word).unwrap_or_else(|| panic!("no `{word}` at `{}`", self.rest));
        }

        fn sees(&mut self, word: &str) -> bool {
            self.space();
            self.rest.starts_with(word)
        }

        fn term(&mut self) -> Term {
            if self.sees("resource.name") {
                self.take("resource.name");
                if self.sees("==") {
                    self.take("==");
                    return Term::NameIs(self.string());
                }
                self.take(".startsWith(");
                let with = self.string();
                self.take(")");
                return Term::NameStarts(with);
            }
            self.take("api.getAttribute(");
            assert_eq!(self.string(), "storage.googleapis.com/objectListPrefix");
            self.take(",");
            let default = self.string();
            self.take(")");
            self.take(".startsWith(");
            let with = self.string();
            self.take(")");
            Term::ListPrefixStarts { default, with }
        }

        /// A literal, in either kind of quotes.
        fn string(&mut self) -> String {
            self.space();
            let mut chars = self.rest.chars();
            let quote = chars.next().unwrap();
            assert!(matches!(quote, '\'' | '"') && !self.rest.starts_with("'''") && !self.rest.starts_with("\"\"\""));
            let mut value = String::new();
            loop {
                match chars.next().expect("a literal without an end") {
                    '\n' | '\r' => panic!("a line break in a literal"),
                    '\\' => match chars.next().unwrap() {
                        'n' => value.push('\n'),
                        'r' => value.push('\r'),
                        't' => value.push('\t'),
                        'u' => {
                            let digits: String = chars.by_ref().take(4).collect();
                            value.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                        }
                        c @ ('\\' | '\'' | '"') => value.push(c),
                        c => panic!("no such escape: \\{c}"),
                    },
                    c if c == quote => break,
                    c => value.push(c),
                }
            }
            self.rest = chars.as_str();
            value
        }
    }

    /// What a request that does the action on the key needs, all of it.
    pub(super) fn needs(bucket: &str, key: &str, action: Action) -> Vec<Need> {
        let on = |permission, resource| Need { permission, resource, list_prefix: None };
        let object = format!("projects/_/buckets/{bucket}/objects/{key}");
        match action {
            Action::GetObject => vec![on("storage.objects.get", object)],
            Action::PutObject => vec![on("storage.objects.create", object)],
            Action::DeleteObject => vec![on("storage.objects.delete", object)],
            Action::MultipartUpload => vec![on("storage.multipartUploads.create", object)],
            Action::AbortUpload => vec![on("storage.multipartUploads.abort", object)],
            Action::ListBucket => Vec::new(),
            Action::ListUploads => vec![on("storage.multipartUploads.list", format!("projects/_/buckets/{bucket}"))],
            Action::GetBucketInfo | Action::GetBucketConfig => {
                vec![on("storage.buckets.get", format!("projects/_/buckets/{bucket}"))]
            }
            Action::PutBucketConfig => vec![on("storage.buckets.update", format!("projects/_/buckets/{bucket}"))],
        }
    }

    pub(super) fn listing(bucket: &str, prefix: &str) -> Need {
        Need {
            permission: "storage.objects.list",
            resource: format!("projects/_/buckets/{bucket}"),
            list_prefix: Some(prefix.to_owned()),
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
        b"%2F",
        b"%",
        b"+",
        b"*",
        b"$",
        b"${",
        b"}",
        b"'",
        b"\"",
        b"'''",
        b"\\",
        b"\\'",
        b"\\n",
        b"\n",
        b"\r",
        b"\t",
        b"\x00",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x94\x91",
        b"\xff",
        b"') || true || ('",
        b" || ",
        b"projects/_/buckets/lake/objects/",
        b"resource.name",
        b" ",
    ]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = Path> {
    let long = (key(), 1usize..1024).prop_map(|(key, len)| key.iter().cycle().copied().take(len).collect::<Vec<u8>>());
    (prop_oneof![30 => key(), 1 => long], 0..3).prop_filter_map(
        "a directory may not end in a slash",
        |(bytes, kind)| match kind {
            0 => Path::object(&bytes).ok(),
            1 => Path::directory(&bytes).ok(),
            _ => Path::prefix(&bytes).ok(),
        },
    )
}

fn paths() -> impl Strategy<Value = Paths> {
    prop_oneof![
        1 => Just(Paths::Whole),
        9 => prop::collection::vec(path(), 1..6).prop_map(|paths| Paths::only(paths).unwrap()),
    ]
}

fn left_out(compiled: &Compiled, action: Action) -> bool {
    compiled.narrowed.iter().any(|narrowed| narrowed.what == LeftOut::Action(action))
}

fn around(parts: &Parts, keys: Vec<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut around: BTreeSet<Vec<u8>> = keys.into_iter().collect();
    for part in parts.iter() {
        let Paths::Only(set) = part.paths() else { continue };
        for path in set.iter() {
            for tail in [&b""[..], b"/", b"/x", b"-secret", b"-secret/x", b"x", b"//", b"'", b"\\", b"\n", b"\""] {
                around.insert([path.bytes(), tail].concat());
            }
            around.insert(path.bytes()[..path.bytes().len() - 1].to_vec());
            // What a name would be after one decoding too many.
            around.insert(percent_encoding::percent_decode(path.bytes()).collect());
        }
    }
    around
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn a_boundary_leaves_what_the_rights_cover_and_no_more(
        parts in prop_oneof![
            prop::collection::vec((paths(), 1u16..1024), 1..2),
            prop::collection::vec((paths(), 1u16..1024), 2..4),
        ],
        keys in prop::collection::vec(key(), 1..6),
        custom in any::<bool>(),
    ) {
        let part = |(paths, bits): (Paths, u16)| Part::new(paths, Actions::from_bits(bits).unwrap()).unwrap();
        let parts = Parts::new(parts.into_iter().map(part)).unwrap();
        let scope = Rights::new(BucketName::parse("lake").unwrap(), parts);
        let role = |name: &str| Some(format!("projects/p/roles/{name}"));
        let custom = if custom {
            CustomRoles { read: role("read"), list: role("list"), create: role("create"), delete: role("delete") }
        } else {
            CustomRoles::default()
        };
        let utf8 = |paths: &Paths| match paths {
            Paths::Whole => true,
            Paths::Only(set) => set.iter().all(|path| std::str::from_utf8(path.bytes()).is_ok()),
        };
        let compiled = match compile(&scope, &custom) {
            Ok(compiled) => compiled,
            Err(error) => {
                prop_assert_eq!(error.kind(), Kind::Invalid);
                return Ok(());
            }
        };
        let of_objects = [Action::GetObject, Action::PutObject, Action::DeleteObject, Action::ListBucket];
        for action in of_objects.into_iter().filter(|action| !left_out(&compiled, *action)) {
            prop_assert!(scope.paths_of(action).is_none_or(utf8));
        }
        let json = compiled.options.json().unwrap();
        // Decoding it once too often changes nothing.
        prop_assert!(!json.contains('%') && !json.contains('+'));
        let boundary = google::Boundary::read(&json);
        let left_out = |action| left_out(&compiled, action);
        for key in around(scope.parts(), keys) {
            let Ok(text) = std::str::from_utf8(&key) else { continue };
            for action in Action::ALL {
                for need in google::needs("lake", text, action) {
                    let allowed = boundary.allows(&need);
                    let covered = scope.covers("lake", &key, action);
                    prop_assert!(!allowed || covered, "{need:?} is allowed by {json}");
                    prop_assert!(allowed || !covered || left_out(action), "{need:?} is not allowed by {json}");
                }
                for need in google::needs("lake2", text, action) {
                    prop_assert!(!boundary.allows(&need));
                }
            }
            let listed = boundary.allows(&google::listing("lake", text));
            let seen = scope.listing("lake", &key, Action::ListBucket);
            prop_assert!(!listed || seen == Listing::All, "{text:?} is listed by {json}");
            prop_assert!(listed || seen != Listing::All || left_out(Action::ListBucket), "{text:?} is not listed by {json}");
        }
        let everything = boundary.allows(&google::listing("lake", ""));
        prop_assert!(!everything || scope.listing("lake", b"", Action::ListBucket) == Listing::All);
    }
}

#[test]
fn a_directory_is_its_slash_and_its_own_name() {
    let daily = Paths::only([Path::directory(b"jobs/daily").unwrap()]).unwrap();
    let compiled = compiled(&scope(daily, Actions::READ)).unwrap();
    let json: Value = serde_json::from_str(&compiled.options.json().unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"accessBoundary": {"accessBoundaryRules": [
            {
                "availableResource": "//storage.googleapis.com/projects/_/buckets/lake",
                "availablePermissions": ["inRole:roles/storage.legacyObjectReader"],
                "availabilityCondition": {"expression":
                    "resource.name.startsWith('projects/_/buckets/lake/objects/jobs/daily/') || \
                     resource.name == 'projects/_/buckets/lake/objects/jobs/daily'"}
            },
            {
                "availableResource": "//storage.googleapis.com/projects/_/buckets/lake",
                "availablePermissions": ["inRole:roles/storage.objectViewer"],
                "availabilityCondition": {"expression":
                    "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('jobs/daily/')"}
            }
        ]}})
    );
    assert_eq!(
        compiled.narrowed,
        [Narrowed::action(Action::GetBucketInfo, "it is about the bucket itself, and the boundary is about objects")]
    );
}

#[test]
fn roles_are_the_smallest_that_hold_the_actions() {
    let roles = |actions: &[Action], custom: &CustomRoles| {
        let mut narrowed = Vec::new();
        (object_roles(Actions::of(actions), custom, &mut narrowed), narrowed)
    };
    let none = CustomRoles::default();
    let write = [Action::PutObject, Action::MultipartUpload, Action::AbortUpload];
    assert_eq!(roles(&[Action::GetObject], &none), (vec!["roles/storage.legacyObjectReader".into()], vec![]));
    assert_eq!(
        roles(&write, &none),
        (
            vec!["roles/storage.objectCreator".into()],
            vec![Narrowed::action(Action::PutObject, "only new objects: to write over one needs delete-object too")]
        )
    );
    let all = [&write[..], &[Action::DeleteObject]].concat();
    assert_eq!(roles(&all, &none), (vec!["roles/storage.legacyBucketWriter".into()], vec![]));
    assert_eq!(roles(&[Action::DeleteObject], &none).0, Vec::<String>::new());
    let custom = CustomRoles { delete: Some("projects/p/roles/delete".into()), ..none.clone() };
    assert_eq!(roles(&[Action::DeleteObject], &custom), (vec!["projects/p/roles/delete".into()], vec![]));
    assert_eq!(roles(&[Action::PutObject], &none).0, Vec::<String>::new());
}

#[test]
fn what_a_boundary_cannot_say_is_refused_in_words() {
    let object = |n: usize| Path::object(format!("jobs/{n:04}/{}", "x".repeat(120)).as_bytes()).unwrap();
    let many = |count| scope(Paths::only((0..count).map(object)).unwrap(), Actions::READ);
    assert!(compiled(&many(15)).is_ok());
    let error = compiled(&many(40)).unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.message().contains("the most is 4096"), "{error}");
    let error = compiled(&many(150)).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("the most is 10"), "{error}");
    let one = |path| scope(Paths::only([path]).unwrap(), Actions::READ);
    let error = compiled(&one(Path::object(&[b'\''; 1024]).unwrap())).unwrap_err();
    assert!(error.message().contains("2048"), "{error}");
    let error = compiled(&one(Path::prefix(b"a\xc3").unwrap())).unwrap_err();
    assert!(error.message().contains("UTF-8"), "{error}");
    let info = scope(Paths::Whole, Actions::of(&[Action::GetBucketInfo, Action::ListUploads]));
    assert_eq!(compiled(&info).unwrap_err().kind(), Kind::Invalid);
    let list = scope(Paths::Whole, Actions::of(&[Action::ListBucket]));
    assert_eq!(compiled(&list).unwrap_err().kind(), Kind::Invalid);
    let custom = CustomRoles { list: Some("projects/p/roles/list".into()), ..CustomRoles::default() };
    assert!(compile(&list, &custom).is_ok());
}
