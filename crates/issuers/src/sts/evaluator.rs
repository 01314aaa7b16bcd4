//! What is written, held against the evaluator of policies that the tests share.

use std::collections::BTreeMap;

use proptest::prelude::*;
use valetkey_core::credential::LeftOut;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Listing, Part, Parts, Path, Paths, Rights};
use valetkey_testkit::iam::{Escapes, Evaluator, matches, pattern};

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

/// Of one part half of the time; parts often lie inside each other, or have actions in common.
fn rights() -> impl Strategy<Value = Rights> {
    let part = || (prop::collection::vec(path(), 0..5), actions());
    let some = prop_oneof![prop::collection::vec(part(), 1..2), prop::collection::vec(part(), 2..5)];
    some.prop_map(|parts| {
        let part = |(paths, actions): (Vec<Path>, Actions)| {
            Part::new(Paths::only(&paths).unwrap_or(Paths::Whole), actions).unwrap()
        };
        Rights::new(BucketName::parse("lake").unwrap(), Parts::new(parts.into_iter().map(part)).unwrap())
    })
}

/// Keys at the borders of the scope's paths, and some of any kind.
fn around(scope: &Rights, more: &[Vec<u8>]) -> Vec<String> {
    let mut keys = more.to_vec();
    for part in scope.parts().iter() {
        let Paths::Only(paths) = part.paths() else { continue };
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
fn compare(grammar: &Grammar, scope: &Rights, form: Form, more: &[Vec<u8>]) -> Result<(), TestCaseError> {
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
    let lost_marker = |key: &str, action: Action| {
        form.markers == Said::LeftOut
            && matches!(scope.paths_of(action), Some(Paths::Only(paths)) if paths.iter().any(|path| matches!(path, Path::Directory(own) if *own == *key.as_bytes())))
    };
    for key in around(scope, more) {
        let resource = format!("{object_arn}{key}");
        for (name, action) in ON_OBJECTS {
            let covered = scope.covers("lake", key.as_bytes(), *action);
            let allowed = policy.allows(name, &resource, &[("s3:prefix", &key)]);
            prop_assert!(covered || !allowed, "WIDER: {} `{}` by {}", name, key, written.json);
            prop_assert!(
                !covered || allowed || lost_marker(&key, *action),
                "narrower: {} `{}` by {}",
                name,
                key,
                written.json
            );
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
        let wanted = scope.paths_of(*action) == Some(&Paths::Whole);
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
    fn a_policy_opens_exactly_its_scope(scope in rights(), form in form(), more in prop::collection::vec(text(), 0..3)) {
        compare(&aws(), &scope, form, &more)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_store_is_told_more_than_the_scope(
        scope in rights(), form in form(), more in prop::collection::vec(text(), 0..3), store in 0..7,
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
    fn whatever_is_text_can_be_said_to_aws(scope in rights()) {
        let both = scope.paths_of(Action::PutObject) == scope.paths_of(Action::MultipartUpload);
        let on_keys = [Action::GetObject, Action::DeleteObject, Action::AbortUpload, Action::GetBucketInfo, Action::PutObject];
        let some = on_keys.iter().any(|action| scope.actions().contains(*action));
        let whole = scope.parts().iter().any(|part| *part.paths() == Paths::Whole);
        prop_assert!(!both || !(some || whole) || aws().write(&scope, Form::FULL).is_ok());
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
        let scope = Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap();
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
        let scope = Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap();
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
    let scope = Rights::of(bucket("lake"), Paths::Whole, Actions::READ_WRITE).unwrap();
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
