//! An evaluator of session policies for tests, written from the IAM User Guide ("Policy evaluation logic", "IAM JSON policy
//! elements", "Variables and tags") and not from the code that writes them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use valetkey_core::credential::LeftOut;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Listing, Path, Paths, Scope};

use crate::sts::policy::{Colons, Form, Grammar, Kms, Outside, Principal, Said, Specials};

/// AWS itself.
pub(crate) fn aws() -> Grammar {
    Grammar {
        partition: "aws".into(),
        specials: Specials::Escaped,
        colons: Colons::Allowed,
        principal: Principal::Absent,
        access_points: BTreeMap::new(),
        kms: None,
        outside: Outside::Unsaid,
    }
}

/// AWS, with everything else denied.
pub(crate) fn denying() -> Grammar {
    Grammar { outside: Outside::Denied, ..aws() }
}

/// A store without escapes.
pub(crate) fn ceph() -> Grammar {
    Grammar { specials: Specials::NoEscape, colons: Colons::Refused, ..aws() }
}

/// Whether a store knows `${*}`.
#[derive(Clone, Copy)]
enum Escapes {
    Known,
    Unknown,
}

#[derive(Debug, PartialEq)]
enum Token {
    Char(char),
    One,
    Many,
}

fn pattern(text: &str, escapes: Escapes) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    'next: while let Some(c) = rest.chars().next() {
        if matches!(escapes, Escapes::Known) && rest.starts_with("${") {
            for special in ['*', '?', '$'] {
                if let Some(behind) = rest.strip_prefix(&format!("${{{special}}}")) {
                    tokens.push(Token::Char(special));
                    rest = behind;
                    continue 'next;
                }
            }
            panic!("a variable that IAM would look up: {text}");
        }
        tokens.push(match c {
            '*' => Token::Many,
            '?' => Token::One,
            c => Token::Char(c),
        });
        rest = behind(rest);
    }
    tokens
}

/// The text without its first character.
fn behind(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Whether the pattern matches the whole text. The last `*` is the only one worth going back to.
fn matches(pattern: &[Token], text: &str) -> bool {
    let (mut at, mut rest, mut star) = (0, text, None);
    loop {
        let first = rest.chars().next();
        match (pattern.get(at), first) {
            (Some(Token::Many), _) => {
                star = Some((at, rest));
                at += 1;
            }
            (Some(Token::One), Some(_)) => (at, rest) = (at + 1, behind(rest)),
            (Some(Token::Char(own)), Some(c)) if *own == c => (at, rest) = (at + 1, behind(rest)),
            (None, None) => return true,
            _ => {
                // Let the last star take one character more.
                let Some((from, taken)) = star else { return false };
                if taken.is_empty() {
                    return false;
                }
                (at, rest) = (from + 1, behind(taken));
                star = Some((from, rest));
            }
        }
    }
}

/// What a rule says of actions or resources: which they are, or which they are not.
struct Among<T> {
    is_in: bool,
    of: Vec<T>,
}

impl<T> Among<T> {
    fn holds(&self, one: impl Fn(&T) -> bool) -> bool {
        self.of.iter().any(one) == self.is_in
    }
}

struct Rule {
    is_deny: bool,
    actions: Among<String>,
    resources: Among<Vec<Token>>,
    /// Each key with the patterns of which one must match, or none.
    like: Vec<(String, Among<Vec<Token>>)>,
}

impl Rule {
    /// Every condition must hold. What must be like something must be in the request; what must not be need not.
    fn matches(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        self.actions.holds(|own| own.eq_ignore_ascii_case(action))
            && self.resources.holds(|pattern| matches(pattern, resource))
            && self.like.iter().all(|(key, values)| {
                let value = context.iter().find(|(k, _)| k == key);
                values.holds(|pattern| value.is_some_and(|(_, value)| matches(pattern, value)))
            })
    }
}

struct Evaluator(Vec<Rule>);

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) if !many.is_empty() => many.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        other => panic!("neither a string nor a list of some: {other}"),
    }
}

impl Evaluator {
    fn new(policy: &str, escapes: Escapes) -> Self {
        assert!(policy.bytes().all(|b| (0x20..0x7f).contains(&b)), "{policy}");
        let policy: Value = serde_json::from_str(policy).unwrap();
        assert_eq!(policy["Version"], "2012-10-17", "without it there are no escapes");
        let compile = |value: &Value| strings(value).iter().map(|text| pattern(text, escapes)).collect();
        let rules = policy["Statement"].as_array().unwrap().iter().map(|statement| {
            let is_deny = statement["Effect"] == "Deny";
            assert!(is_deny || statement["Effect"] == "Allow");
            for key in statement.as_object().unwrap().keys() {
                let known = ["Effect", "Action", "Resource", "Condition", "Principal"].contains(&key.as_str());
                assert!(known || is_deny && ["NotAction", "NotResource"].contains(&key.as_str()), "{key}");
            }
            // One of the two, never both.
            let among = |name: &str| {
                let (is, is_not) = (statement.get(name), statement.get(format!("Not{name}")));
                assert!(is.is_some() != is_not.is_some(), "{statement}");
                (is.is_some(), is.or(is_not).unwrap())
            };
            let mut like = Vec::new();
            for (operator, keys) in statement.get("Condition").into_iter().flat_map(|all| all.as_object().unwrap()) {
                let is_in = operator == "StringLike";
                assert!(is_in || is_deny && operator == "StringNotLike", "{operator}");
                let keys = keys.as_object().unwrap();
                like.extend(keys.iter().map(|(key, values)| (key.clone(), Among { is_in, of: compile(values) })));
            }
            let ((is_in, actions), (on, resources)) = (among("Action"), among("Resource"));
            let actions = strings(actions);
            assert!(actions.iter().all(|action| !action.contains(['*', '?'])), "{actions:?}");
            let actions = Among { is_in, of: actions };
            Rule { is_deny, actions, resources: Among { is_in: on, of: compile(resources) }, like }
        });
        Self(rules.collect())
    }

    /// Something allows it and nothing denies it. A policy that denies anything denies all that it does not allow, so that it holds
    /// beside others that allow everything.
    fn allows(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        let any = |is_deny| self.0.iter().any(|r| r.is_deny == is_deny && r.matches(action, resource, context));
        let (allowed, denied) = (any(false), any(true));
        if self.0.iter().any(|rule| rule.is_deny) {
            assert_ne!(allowed, denied, "{action} on {resource} with {context:?}");
        }
        allowed && !denied
    }
}

/// What each request needs (Amazon S3, "Actions, resources, and condition keys").
const ON_OBJECTS: &[(&str, Action)] = &[
    ("s3:GetObject", Action::GetObject),
    ("s3:PutObject", Action::PutObject),
    ("s3:PutObject", Action::MultipartUpload),
    ("s3:ListMultipartUploadParts", Action::MultipartUpload),
    ("s3:AbortMultipartUpload", Action::AbortUpload),
    ("s3:DeleteObject", Action::DeleteObject),
];
const ON_BUCKETS: &[(&str, Action)] = &[
    ("s3:ListBucketMultipartUploads", Action::ListUploads),
    ("s3:GetBucketCORS", Action::GetBucketConfig),
    ("s3:GetLifecycleConfiguration", Action::GetBucketConfig),
    ("s3:PutBucketCORS", Action::PutBucketConfig),
    ("s3:PutLifecycleConfiguration", Action::PutBucketConfig),
];
/// What no scope ever allows.
const NEVER: &[&str] = &[
    "s3:PutObjectAcl",
    "s3:GetObjectVersion",
    "s3:DeleteObjectVersion",
    "s3:PutObjectTagging",
    "s3:RestoreObject",
    "s3:BypassGovernanceRetention",
    "s3:ListBucketVersions",
    "s3:PutBucketPolicy",
    "s3:DeleteBucket",
    "s3:PutBucketAcl",
    "s3:CreateBucket",
    "s3:ListAllMyBuckets",
    "iam:GetUser",
    "sts:AssumeRole",
    "s3:ReplicateObject",
    "kms:Decrypt",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "jobs",
        "daily",
        "daily-secret",
        "/",
        "/",
        "/",
        "*",
        "?",
        "$",
        "{",
        "}",
        "${",
        "${*}",
        "${$}",
        "'",
        "\"",
        "\\",
        ":",
        " ",
        "+",
        "%2F",
        "..",
        "ä",
        "日本",
        "😀",
        "\u{7f}",
        "\t",
        ",",
        "]",
        "arn:aws:s3:::lake/",
    ]);
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat().into_bytes())
}

fn path() -> impl Strategy<Value = Path> {
    (0..3, text()).prop_filter_map("not a path", |(kind, bytes)| {
        match kind {
            0 => Path::object(&bytes),
            1 => Path::directory(&bytes),
            _ => Path::prefix(&bytes),
        }
        .ok()
    })
}

/// Actions, most of them such as IAM can express.
fn actions() -> impl Strategy<Value = Actions> {
    (1_u16..1024, 0..4).prop_map(|(bits, both)| {
        let actions = Actions::from_bits(bits).unwrap();
        match both {
            0 => actions,
            1 => actions.with(Action::PutObject).with(Action::MultipartUpload),
            _ => Some(actions.without(Action::PutObject).without(Action::MultipartUpload))
                .filter(|actions| !actions.is_empty())
                .unwrap_or(Actions::READ),
        }
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    (prop::collection::vec(path(), 0..5), actions()).prop_map(|(paths, actions)| {
        let paths = Paths::only(&paths).unwrap_or(Paths::Whole);
        Scope::new(BucketName::parse("lake").unwrap(), paths, actions).unwrap()
    })
}

/// Keys at the borders of the scope's paths, and some of any kind.
fn around(scope: &Scope, more: &[Vec<u8>]) -> Vec<String> {
    let mut keys = more.to_vec();
    if let Paths::Only(paths) = scope.paths() {
        for path in paths.iter() {
            let own = path.bytes();
            for end in ["", "/", "/x", "-secret", "x", "*", "//:"] {
                keys.push([own, end.as_bytes()].concat());
            }
            keys.push(own[..own.len() - 1].to_vec());
            keys.push([b"x", own].concat());
            let swapped = |from: &str, to: &str| String::from_utf8_lossy(own).replacen(from, to, 1).into_bytes();
            keys.extend([
                swapped("*", "zz"),
                swapped("?", "z"),
                swapped("${*}", "*"),
                swapped("*", "${*}"),
                swapped("$", ""),
                swapped("*", "${zz}"),
                swapped("/", ""),
                swapped("a", "A"),
                swapped("ä", "a\u{308}"),
            ]);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().filter(|key| !key.is_empty()).filter_map(|key| String::from_utf8(key).ok()).collect()
}

/// Asks everything of a policy and of the scope it was written from.
fn compare(grammar: &Grammar, scope: &Scope, form: Form, more: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let escapes = if grammar.specials == Specials::Escaped { Escapes::Known } else { Escapes::Unknown };
    let Ok(written) = grammar.write(scope, form) else {
        // Refused. That is allowed; that it is not refused too often is another test's matter.
        return Ok(());
    };
    let policy = Evaluator::new(&written.json, escapes);
    let (bucket_arn, object_arn) = match grammar.access_points.get(scope.bucket()) {
        Some(arn) => (arn.to_string(), format!("{arn}/object/")),
        None => ("arn:aws:s3:::lake".to_owned(), "arn:aws:s3:::lake/".to_owned()),
    };
    let lost_marker = |key: &str| {
        form.markers == Said::LeftOut
            && matches!(scope.paths(), Paths::Only(paths) if paths.iter().any(|path| matches!(path, Path::Directory(own) if *own == *key.as_bytes())))
    };
    let whole = *scope.paths() == Paths::Whole;
    for key in around(scope, more) {
        let resource = format!("{object_arn}{key}");
        for (name, action) in ON_OBJECTS {
            let covered = scope.covers("lake", key.as_bytes(), *action);
            let allowed = policy.allows(name, &resource, &[("s3:prefix", &key)]);
            prop_assert!(covered || !allowed, "WIDER: {} `{}` by {}", name, key, written.json);
            prop_assert!(!covered || allowed || lost_marker(&key), "narrower: {} `{}` by {}", name, key, written.json);
        }
        // The same key of another bucket.
        for other in [
            format!("arn:aws:s3:::lake2/{key}"),
            format!("arn:aws:s3:::other/{key}"),
            format!("arn:aws:s3:::lake-{key}"),
        ] {
            for (name, _) in ON_OBJECTS {
                prop_assert!(!policy.allows(name, &other, &[]), "WIDER: {} {} by {}", name, other, written.json);
            }
        }
        for (prefix, context) in
            [(key.as_str(), vec![("s3:prefix", key.as_str())]), ("", vec![("s3:prefix", "")]), ("", vec![])]
        {
            let allowed = policy.allows("s3:ListBucket", &bucket_arn, &context);
            match scope.listing("lake", prefix.as_bytes(), Action::ListBucket) {
                Listing::All => {
                    let said =
                        written.narrowed.iter().any(|narrowed| narrowed.what == LeftOut::Action(Action::ListBucket));
                    prop_assert!(allowed || said, "narrower: list `{}` by {}", prefix, written.json);
                }
                // A store cannot filter a listing, so that nothing on the border may be listed.
                Listing::Covered | Listing::Refused => {
                    prop_assert!(!allowed, "WIDER: list `{}` by {}", prefix, written.json);
                }
            }
        }
        for never in NEVER {
            let kms = grammar.kms.is_some() && never.starts_with("kms:");
            for resource in [&resource, &bucket_arn] {
                prop_assert!(
                    kms || !policy.allows(never, resource, &[("s3:prefix", &key)]),
                    "{} by {}",
                    never,
                    written.json
                );
            }
        }
    }
    for (name, action) in ON_BUCKETS {
        let wanted = whole && scope.actions().contains(*action);
        prop_assert_eq!(policy.allows(name, &bucket_arn, &[]), wanted, "{} by {}", name, written.json);
    }
    prop_assert_eq!(
        policy.allows("s3:GetBucketLocation", &bucket_arn, &[]),
        scope.actions().contains(Action::GetBucketInfo)
    );
    Ok(())
}

fn access_point() -> Grammar {
    let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/gate";
    Grammar { access_points: BTreeMap::from([(BucketName::parse("lake").unwrap(), arn.into())]), ..aws() }
}

fn form() -> impl Strategy<Value = Form> {
    prop::sample::select(Form::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_policy_opens_exactly_its_scope(scope in scope(), form in form(), more in prop::collection::vec(text(), 0..3)) {
        compare(&aws(), &scope, form, &more)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_store_is_told_more_than_the_scope(
        scope in scope(), form in form(), more in prop::collection::vec(text(), 0..3), store in 0..7,
    ) {
        let kms = Some(Kms { keys: Vec::new(), behind: BTreeMap::new() });
        let grammar = match store {
            0 => ceph(),
            1 => Grammar { specials: Specials::NoEscapeButVariables, ..ceph() },
            2 => access_point(),
            3 => Grammar { principal: Principal::Required, ..aws() },
            4 => denying(),
            5 => Grammar { kms, ..denying() },
            _ => Grammar { kms, ..aws() },
        };
        compare(&grammar, &scope, form, &more)?;
    }

    #[test]
    fn whatever_is_text_can_be_said_to_aws(scope in scope()) {
        let both = scope.actions().contains(Action::PutObject) == scope.actions().contains(Action::MultipartUpload);
        let on_keys = [Action::GetObject, Action::DeleteObject, Action::AbortUpload, Action::GetBucketInfo, Action::PutObject];
        let some = on_keys.iter().any(|action| scope.actions().contains(*action));
        prop_assume!(both && (some || *scope.paths() == Paths::Whole));
        prop_assert!(aws().write(&scope, Form::FULL).is_ok());
    }
}

#[test]
fn the_evaluator_reads_patterns_as_the_guide_says() {
    let hit = |text: &str, against: &str| matches(&pattern(text, Escapes::Known), against);
    assert!(hit("a*c", "abc") && hit("a*c", "a/b/c") && hit("a*c", "ac") && !hit("a*c", "acd"));
    assert!(hit("a?c", "abc") && !hit("a?c", "ac") && hit("a?c", "aäc"));
    assert!(hit("a${*}c", "a*c") && !hit("a${*}c", "abc") && hit("${$}{x}", "${x}"));
}

#[test]
fn policies_are_compact_and_look_like_this() {
    let write = |grammar: &Grammar, paths: Paths, actions: Actions| {
        let scope = Scope::new(BucketName::parse("lake").unwrap(), paths, actions).unwrap();
        grammar.write(&scope, Form::FULL).unwrap().json
    };
    let directory = || Paths::only([Path::directory("jobs/日*".as_bytes()).unwrap()]).unwrap();
    assert_eq!(
        write(&aws(), directory(), Actions::READ),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::lake/jobs/\u65e5${*}","arn:aws:s3:::lake/jobs/\u65e5${*}/*","arn:aws:s3:::lake"]},{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":"jobs/\u65e5${*}/*"}}}]}"#
    );
    assert_eq!(
        write(&aws(), Paths::Whole, Actions::READ),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::lake/*","arn:aws:s3:::lake"]}]}"#
    );
    let china = Grammar {
        partition: "aws-cn".into(),
        principal: Principal::Required,
        kms: Some(Kms { keys: vec!["arn:aws-cn:kms:cn-north-1:1:key/k".into()], behind: BTreeMap::new() }),
        ..aws()
    };
    assert_eq!(
        write(&china, Paths::only([Path::object(b"a'\"b").unwrap()]).unwrap(), Actions::WRITE),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:PutObject","s3:ListMultipartUploadParts","s3:AbortMultipartUpload"],"Resource":"arn:aws-cn:s3:::lake/a'\"b"},{"Effect":"Allow","Principal":"*","Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"arn:aws-cn:kms:cn-north-1:1:key/k","Condition":{"StringLike":{"kms:EncryptionContext:aws:s3:arn":["arn:aws-cn:s3:::lake","arn:aws-cn:s3:::lake/*"],"kms:ViaService":"s3.*.amazonaws.com.cn"}}}]}"#
    );
    assert_eq!(
        write(
            &access_point(),
            Paths::only([Path::prefix(b"p").unwrap()]).unwrap(),
            Actions::of(&[Action::GetObject, Action::ListBucket])
        ),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:eu-west-1:123456789012:accesspoint/gate/object/p*"},{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:eu-west-1:123456789012:accesspoint/gate","Condition":{"StringLike":{"s3:prefix":"p*"}}}]}"#
    );
}

#[test]
fn what_is_outside_is_denied_in_these_words() {
    let write = |grammar: &Grammar, paths: Paths, actions: Actions| {
        let scope = Scope::new(BucketName::parse("lake").unwrap(), paths, actions).unwrap();
        grammar.write(&scope, Form::FULL).unwrap().json
    };
    let prefix = || Paths::only([Path::prefix(b"p").unwrap()]).unwrap();
    let allowed = write(&aws(), prefix(), Actions::of(&[Action::GetObject, Action::ListBucket]));
    let denied = write(&denying(), prefix(), Actions::of(&[Action::GetObject, Action::ListBucket]));
    let own = allowed.strip_suffix("]}").unwrap();
    assert_eq!(
        denied.strip_prefix(own).unwrap(),
        r#",{"Effect":"Deny","NotAction":["s3:GetObject","s3:ListBucket"],"Resource":"*"},{"Effect":"Deny","Action":"s3:GetObject","NotResource":"arn:aws:s3:::lake/p*"},{"Effect":"Deny","Action":"s3:ListBucket","NotResource":"arn:aws:s3:::lake"},{"Effect":"Deny","Action":"s3:ListBucket","Resource":"*","Condition":{"StringNotLike":{"s3:prefix":"p*"}}}]}"#
    );
    let kms = Some(Kms { keys: vec!["arn:aws:kms:eu-west-1:1:key/k".into()], behind: BTreeMap::new() });
    let policy = Evaluator::new(
        &write(&Grammar { kms, ..denying() }, prefix(), Actions::of(&[Action::GetObject])),
        Escapes::Known,
    );
    let (key, context, via) = (
        "arn:aws:kms:eu-west-1:1:key/k",
        "kms:EncryptionContext:aws:s3:arn",
        ("kms:ViaService", "s3.eu-west-1.amazonaws.com"),
    );
    assert!(policy.allows("kms:Decrypt", key, &[(context, "arn:aws:s3:::lake/p1"), via]));
    assert!(!policy.allows("kms:Decrypt", key, &[(context, "arn:aws:s3:::other/p1"), via]));
    assert!(!policy.allows("kms:Decrypt", key, &[(context, "arn:aws:s3:::lake/p1")]));
    assert!(!policy.allows(
        "kms:Decrypt",
        "arn:aws:kms:eu-west-1:1:key/other",
        &[(context, "arn:aws:s3:::lake/p1"), via]
    ));
    assert!(!policy.allows("kms:GenerateDataKey", key, &[(context, "arn:aws:s3:::lake/p1"), via]));
}

/// The clients of an access point name it by its alias, which is the bucket here; its objects are encrypted in the name of the
/// bucket behind it (S3 User Guide, "Encryption context").
#[test]
fn encrypted_objects_behind_an_access_point_are_those_of_its_bucket() {
    let bucket = |text: &str| BucketName::parse(text).unwrap();
    let behind = BTreeMap::from([(bucket("lake"), bucket("real-lake"))]);
    let grammar = Grammar { kms: Some(Kms { keys: Vec::new(), behind }), ..access_point() };
    let scope = Scope::new(bucket("lake"), Paths::Whole, Actions::READ_WRITE).unwrap();
    let written = grammar.write(&scope, Form::ALL[0]).unwrap().json;
    let policy = Evaluator::new(&written, Escapes::Known);
    let key = "arn:aws:kms:eu-west-1:1:key/k";
    let allows = |action: &str, arn: &str| {
        let via = ("kms:ViaService", "s3.eu-west-1.amazonaws.com");
        policy.allows(action, key, &[("kms:EncryptionContext:aws:s3:arn", arn), via])
    };
    for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
        assert!(allows(action, "arn:aws:s3:::real-lake") && allows(action, "arn:aws:s3:::real-lake/a/b"), "{written}");
        for other in ["arn:aws:s3:::lake", "arn:aws:s3:::lake/a", "arn:aws:s3:::real-lake2/a", "arn:aws:s3:::other/a"] {
            assert!(!allows(action, other), "{other} by {written}");
        }
    }
    assert!(policy.allows("s3:GetObject", "arn:aws:s3:eu-west-1:123456789012:accesspoint/gate/object/a", &[]));
    assert!(!policy.allows("s3:GetObject", "arn:aws:s3:::real-lake/a", &[]));
}
