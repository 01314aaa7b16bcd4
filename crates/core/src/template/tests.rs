use proptest::prelude::*;

use super::*;
use crate::claims::Claims;
use crate::id::ProviderId;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn lake() -> BucketName {
    BucketName::parse("lake").unwrap()
}

fn dir(text: &str) -> Path {
    Path::directory(text.as_bytes()).unwrap()
}

fn template(paths: &[Path]) -> Template {
    Template::new(lake(), Paths::only(paths).unwrap(), Actions::READ).unwrap()
}

fn identity(json: &str) -> Identity {
    Identity { provider: ProviderId::from_bytes([1; 16]), claims: Claims::read(json.as_bytes()).unwrap() }
}

fn paths(of: &[Path]) -> Paths {
    Paths::only(of).unwrap()
}

/// JSON of a text.
fn quoted(text: &str) -> String {
    let units = text.encode_utf16().fold(String::new(), |all, unit| all + &format!("\\u{unit:04x}"));
    format!("\"{units}\"")
}

#[test]
fn what_is_no_template_is_refused_with_what_is_allowed() {
    let read = |path: Path| Template::new(lake(), paths(&[path]), Actions::READ).unwrap_err();
    for (path, said) in [
        ("home", "no path has a placeholder"),
        ("home/{caller.name", "is not closed"),
        ("home/caller.name}", "closes nothing"),
        ("home/{{caller.name}}", "there is no placeholder `{{caller.name}`"),
        ("home/{}", "there is no placeholder `{}`"),
        ("home/{user}", "did you mean `{caller.name}`?"),
        ("home/{caller}", "did you mean `{caller.name}`?"),
        ("home/{account}", "did you mean `{account.name}`?"),
        ("home/{claim.team}", "did you mean `{claims./pointer}`?"),
        ("home/{Caller.name}", "there is no placeholder"),
        ("home/{ caller.name }", "there is no placeholder"),
        ("home/{claims.}", "is not the name of a claim"),
        ("home/{caller.name}{account.name}", "side by side"),
    ] {
        let error = read(dir(path));
        assert!(error.message().contains(said), "{path}: {}", error.message());
        assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some("template")), "{path}");
    }
    let error = read(Path::prefix(b"home/{caller.name}").unwrap());
    assert!(error.message().contains("name a directory"), "{}", error.message());
    template(&[Path::prefix(b"home/{caller.name}/").unwrap()]);
    let whole = Template::new(lake(), Paths::Whole, Actions::READ).unwrap_err();
    assert!(whole.message().contains("the whole bucket"), "{}", whole.message());
}

#[test]
fn each_caller_has_its_own() {
    let own = template(&[
        dir("home/{caller.name}"),
        Path::object(b"of/{account.name}/{claims./team}.json").unwrap(),
        Path::prefix(b"x-{claims.sub}-").unwrap(),
    ]);
    let claims = identity(r#"{"sub":"7","team":"red"}"#);
    let (ann, acme) = (name("ann"), name("acme"));
    let subject = Subject { caller: Some(&ann), account: &acme, claims: Claimed::By(Some(&claims)) };
    let wanted = [dir("home/ann"), Path::object(b"of/acme/red.json").unwrap(), Path::prefix(b"x-7-").unwrap()];
    assert_eq!(own.scope_for(&subject).unwrap().paths(), &paths(&wanted));
    let held: Vec<Held> = own.judge(&subject).into_iter().map(|judged| judged.held).collect();
    assert_eq!(held, [Held::Holds; 4]);
    let said = |subject: &Subject<'_>| own.scope_for(subject).unwrap_err().to_string();
    let nobody = Subject { claims: Claimed::By(None), ..subject };
    assert_eq!(said(&nobody), "{claims./team} is known, as a string");
    // As far as it is known: the rest stays.
    let Ok(Opens::Template(rest)) = own.fill(&Subject { claims: Claimed::Unknown, ..subject }) else { panic!() };
    assert_eq!(rest.said(), "paths with {claims./team} and {claims.sub} filled in");
    let own_paths = [
        dir("home/ann"),
        Path::object(b"of/acme/{claims./team}.json").unwrap(),
        Path::prefix(b"x-{claims.sub}-").unwrap(),
    ];
    assert_eq!(rest.written(), &paths(&own_paths));
}

#[test]
fn a_hostile_value_opens_nothing() {
    let own = template(&[dir("home/{claims./team}/x")]);
    let (ann, acme) = (name("ann"), name("acme"));
    let fill = |json: &str| {
        let claims = identity(json);
        own.scope_for(&Subject { caller: Some(&ann), account: &acme, claims: Claimed::By(Some(&claims)) })
    };
    let long = "a".repeat(256);
    let parts = [
        "",
        "/",
        ".",
        "..",
        "a/b",
        "/a",
        "a/",
        "../b",
        "a/../b",
        "*",
        "a*",
        "?",
        "a?",
        "[a]",
        "{caller.name}",
        "{",
        "}",
        "a}b",
        "%2f",
        "%2e%2e",
        "a%00",
        "\0",
        "a\0",
        "\n",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "\u{200b}",
        "\u{202e}a",
        "\u{feff}",
        "a\\b",
        "${aws:username}",
        "\"",
        "<a>",
        "^",
        "`",
        " a",
        "a ",
        " ",
        "\u{ff0f}",
        "e\u{301}",
        &long,
    ];
    for value in parts {
        let unfilled = fill(&format!(r#"{{"team":{}}}"#, quoted(value))).unwrap_err();
        assert_eq!(unfilled.judged().held, Held::Fails, "{value:?}");
        assert!(value.len() < 3 || !unfilled.to_string().contains(value), "{value:?}");
    }
    for other in [
        "{}",
        r#"{"team":null}"#,
        r#"{"team":7}"#,
        r#"{"team":1.5}"#,
        r#"{"team":true}"#,
        r#"{"team":["a"]}"#,
        r#"{"team":{"a":"b"}}"#,
    ] {
        assert_eq!(fill(other).unwrap_err().judged().held, Held::Unknown, "{other}");
    }
    for good in [
        "a",
        "...",
        "a..b",
        ".a",
        "red team",
        "ann@example.com",
        "repo:acme",
        "auth0|12",
        "\u{e9}",
        "\u{65e5}\u{672c}",
        &"a".repeat(255),
    ] {
        let scope = fill(&format!(r#"{{"team":{}}}"#, quoted(good))).unwrap();
        assert_eq!(scope.paths(), &paths(&[dir(&format!("home/{good}/x"))]));
    }
}

#[test]
fn a_path_that_becomes_too_long_opens_nothing() {
    let own = template(&[dir(&format!("{}/{{claims./team}}", "a".repeat(1000)))]);
    let (ann, acme) = (name("ann"), name("acme"));
    let fill = |text: &str| {
        let claims = identity(&format!(r#"{{"team":"{text}"}}"#));
        own.scope_for(&Subject { caller: Some(&ann), account: &acme, claims: Claimed::By(Some(&claims)) }).is_ok()
    };
    assert!(fill(&"b".repeat(23)) && !fill(&"b".repeat(24)));
}

/// Texts that are hard to tell from others, and any.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c./{}*?% -]{0,6}",
        any::<String>(),
        prop::sample::select(vec!["..", ".", "a/..", "a", "b", "ab", "a-b", "{caller.name}", "a\0"])
            .prop_map(str::to_owned),
    ]
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "/", "-", "{caller.name}", "{account.name}", "{claims./t}", "home/", "/x"])
}

/// A template of random paths, if they are one.
fn some_template() -> impl Strategy<Value = Option<Template>> {
    let path = (0..3, prop::collection::vec(piece(), 1..6)).prop_map(|(kind, pieces)| (kind, pieces.concat()));
    prop::collection::vec(path, 1..4).prop_map(|all| {
        let made = all.iter().filter_map(|(kind, text)| {
            match kind {
                0 => Path::object(text.as_bytes()),
                1 => Path::directory(text.as_bytes()),
                _ => Path::prefix(text.as_bytes()),
            }
            .ok()
        });
        let set = Paths::only(made.collect::<Vec<_>>()).ok()?;
        Template::new(lake(), set, Actions::READ).ok()
    })
}

/// The same template, expanded by whoever replaces texts.
fn expanded(own: &Template, with: &[(&str, &str)]) -> Option<Paths> {
    let Paths::Only(set) = own.written() else { return None };
    let replaced = set.iter().map(|path| {
        let mut text = String::from_utf8(path.bytes().to_vec()).unwrap();
        for (placeholder, value) in with {
            text = text.replace(placeholder, value);
        }
        match path {
            Path::Object(_) => Path::object(text.as_bytes()),
            Path::Directory(_) => Path::directory(text.as_bytes()),
            Path::Prefix(_) => Path::prefix(text.as_bytes()),
        }
    });
    Paths::only(replaced.collect::<Result<Vec<_>, _>>().ok()?).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_template_never_opens_more_than_its_literal_expansion(
        own in some_template(), caller in "[a-c]{1,3}", account in "[a-c]{1,3}", claim in value(), keys in prop::collection::vec("[a-c/.-]{1,12}", 8),
    ) {
        let Some(own) = own else { return Ok(()) };
        let claims = identity(&format!(r#"{{"t":{}}}"#, quoted(&claim)));
        let (caller, account) = (name(&caller), name(&account));
        let subject = Subject { caller: Some(&caller), account: &account, claims: Claimed::By(Some(&claims)) };
        let literal =
            expanded(&own, &[("{caller.name}", caller.as_str()), ("{account.name}", account.as_str()), ("{claims./t}", &claim)]);
        match own.scope_for(&subject) {
            Ok(scope) => {
                prop_assert_eq!(Some(scope.paths()), literal.as_ref());
                prop_assert_eq!((scope.bucket(), scope.actions()), (own.bucket(), own.actions()));
                // No segment more, none empty that was not, and never the parent.
                if own.asks_claims() {
                    prop_assert!(!claim.is_empty() && claim != "." && claim != "..", "{:?}", claim);
                    prop_assert!(!claim.contains(['/', '*', '?', '{', '}', '%', '\\']) && !claim.chars().any(char::is_control), "{:?}", claim);
                }
                // Whatever is known of it: whoever has a key is told so by the template, too.
                for key in &keys {
                    let nobody = Subject { caller: None, claims: Claimed::Unknown, ..subject };
                    let asked = Path::object(key.as_bytes()).unwrap();
                    let met = match own.fill(&nobody).unwrap() {
                        Opens::Scope(scope) => scope.paths().cover_path(&asked),
                        Opens::Template(rest) => rest.meets(&asked).is_some(),
                    };
                    prop_assert!(met || !scope.paths().cover_key(key.as_bytes()), "{:?} {}", own, key);
                    let below = Path::prefix(format!("{key}/").as_bytes()).unwrap();
                    let inside = match scope.paths() {
                        Paths::Whole => true,
                        Paths::Only(set) => scope.paths().cover_path(&below) || set.iter().any(|path| below.covers_path(&path)),
                    };
                    if let Opens::Template(rest) = own.fill(&nobody).unwrap() {
                        prop_assert!(rest.meets(&below).is_some() || !inside, "{:?} {}/", own, key);
                    }
                }
            }
            // Refused: for the claim's sake alone.
            Err(_) => prop_assert!(own.asks_claims()),
        }
    }

    #[test]
    fn what_a_template_covers_as_written_it_covers_for_everyone(
        one in some_template(), two in some_template(), caller in "[a-c]{1,3}", account in "[a-c]{1,3}", claim in "[a-c-]{1,3}",
    ) {
        let (Some(one), Some(two)) = (one, two) else { return Ok(()) };
        let claims = identity(&format!(r#"{{"t":"{claim}"}}"#));
        let (caller, account) = (name(&caller), name(&account));
        let subject = Subject { caller: Some(&caller), account: &account, claims: Claimed::By(Some(&claims)) };
        let covers = Opens::Template(one.clone()).cover_paths(&Opens::Template(two.clone()));
        let (filled, other) = (one.scope_for(&subject).unwrap(), two.scope_for(&subject).unwrap());
        prop_assert!(!covers || filled.paths().cover_paths(other.paths()), "{:?} {:?}", one, two);
    }

    #[test]
    fn the_one_value_that_opens_a_key_is_told(caller in "[a-c]{1,3}", key in "[a-c/-]{1,12}", tail in prop::sample::select(vec!["", "/x", "-a"])) {
        let own = template(&[dir(&format!("a/{{caller.name}}{tail}"))]);
        let account = name("acme");
        let covers = |caller: &Name| {
            let subject = Subject { caller: Some(caller), account: &account, claims: Claimed::By(None) };
            own.scope_for(&subject).unwrap().paths().cover_key(key.as_bytes())
        };
        let met = own.meets(&Path::object(key.as_bytes()).unwrap());
        let caller = name(&caller);
        prop_assert!(met.is_some() || !covers(&caller));
        if let Some(said) = met.as_ref().and_then(|met| met.said.strip_prefix("{caller.name} is ")) {
            prop_assert!(Name::parse(said).is_err() || covers(&name(said)));
            prop_assert_eq!(covers(&caller), said == caller.as_str());
        }
    }

    #[test]
    fn a_template_reads_back_as_written(own in some_template()) {
        let Some(own) = own else { return Ok(()) };
        let mut bytes = Vec::new();
        own.encode(&mut bytes);
        prop_assert_eq!(Template::decode(&bytes), Some(own));
        for cut in 0..bytes.len() {
            prop_assert_eq!(Template::decode(&bytes[..cut]), None);
        }
    }
}
