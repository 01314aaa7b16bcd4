use proptest::prelude::*;
use valetkey_core::scope::{Listing, Scope};
use valetkey_issuers::sts::session_policy;
use valetkey_testkit::iam::{Escapes, Evaluator};

use super::*;

fn left(bucket: Option<&str>, paths: Paths, actions: &[Action]) -> Left {
    Left { bucket: bucket.map(|name| BucketName::parse(name).unwrap()), paths, actions: Actions::of(actions) }
}

fn only(paths: &[Path]) -> Paths {
    Paths::only(paths).unwrap()
}

fn statements(all: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{all}]}}"#)
}

fn allow(action: &str, resource: &str) -> String {
    statements(&format!(r#"{{"Effect":"Allow","Action":{action},"Resource":{resource}}}"#))
}

const WRITES: [Action; 2] = [Action::PutObject, Action::MultipartUpload];

/// The three that come most often, by the shape that their makers' code gives them.
#[test]
fn what_catalogues_send_is_read() {
    let directory = only(&[Path::directory(b"w/t").unwrap()]);
    let prefix = only(&[Path::prefix(b"w/t/").unwrap()]);
    let lakekeeper = statements(
        r#"{"Sid":"TableAccess","Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion","s3:PutObject","s3:DeleteObject",
        "s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":["arn:aws:s3:::lake/w/t/*"]},
        {"Sid":"ListBucketForFolder","Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake",
        "Condition":{"StringLike":{"s3:prefix":"w/t/*"}}},
        {"Effect":"Allow","Action":"s3:GetBucketLocation","Resource":"arn:aws:s3:::lake"}"#,
    );
    let everything = [
        &[Action::GetObject, Action::DeleteObject, Action::AbortUpload, Action::ListBucket, Action::GetBucketInfo][..],
        &WRITES,
    ]
    .concat();
    assert_eq!(read(&lakekeeper).unwrap(), left(Some("lake"), prefix.clone(), &everything));
    let polaris = statements(
        r#"{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::lake/w/t/*"},
        {"Effect":"Allow","Action":["kms:GenerateDataKey*","kms:Decrypt"],"Resource":"arn:aws:kms:eu-west-1:1:key/*"},
        {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":["w/t/*"]}}},
        {"Effect":"Allow","Action":"s3:GetBucketLocation","Resource":"arn:aws:s3:::lake"},
        {"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::lake/w/t/*"}"#,
    );
    let without_abort: Vec<Action> = everything.iter().copied().filter(|own| *own != Action::AbortUpload).collect();
    assert_eq!(read(&polaris).unwrap(), left(Some("lake"), prefix, &without_abort));
    let unity = statements(
        r#"{"Effect":"Allow","Action":["s3:GetObject*"],"Resource":["arn:aws:s3:::lake/w/t/*","arn:aws:s3:::lake/w/t"]},
        {"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::lake"],
        "Condition":{"StringLike":{"s3:prefix":["w/t","w/t/","w/t/*"]}}},
        {"Effect":"Allow","Action":["kms:Decrypt"],"Resource":["*"],"Condition":{"StringLike":{"kms:ViaService":["s3.*.amazonaws.com"]}}}"#,
    );
    assert_eq!(read(&unity).unwrap(), left(Some("lake"), directory, &[Action::GetObject, Action::ListBucket]));
    let nothing = statements(r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#);
    assert!(read(&nothing).unwrap().actions.is_empty());
}

#[test]
fn patterns_are_read_exactly() {
    let object = |key: &str| only(&[Path::object(key.as_bytes()).unwrap()]);
    let prefix = |start: &str| only(&[Path::prefix(start.as_bytes()).unwrap()]);
    for (resource, paths) in [
        (r#""arn:aws:s3:::lake/a/b""#, object("a/b")),
        (r#""arn:aws:s3:::lake/a/b*""#, prefix("a/b")),
        (r#""arn:aws:s3:::lake/a/b/*""#, prefix("a/b/")),
        (r#""arn:aws-cn:s3:::lake/${*}${?}${$}x""#, object("*?$x")),
        (r#""arn:aws:s3:::lake/$x%2F""#, object("$x%2F")),
        (r#""arn:aws:s3:::lake/a:b""#, object("a:b")),
        (
            r#"["arn:aws:s3:::lake/a/","arn:aws:s3:::lake/a//*"]"#,
            only(&[Path::object(b"a/").unwrap(), Path::prefix(b"a//").unwrap()]),
        ),
        (r#""arn:aws:s3:::lake/*""#, Paths::Whole),
    ] {
        assert_eq!(
            read(&allow(r#""s3:GetObject""#, resource)).unwrap(),
            left(Some("lake"), paths, &[Action::GetObject]),
            "{resource}"
        );
    }
    assert_eq!(read(&allow(r#""s3:GetObject""#, r#""*""#)).unwrap(), left(None, Paths::Whole, &[Action::GetObject]));
    // Every bucket's name is a bucket's, and none of its keys.
    assert!(read(&allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake""#)).unwrap().actions.is_empty());
    assert!(read(&allow(r#""s3:ListBucket""#, r#""arn:aws:s3:::lake/*""#)).unwrap().actions.is_empty());
    // Without a version there are no variables, and so no way to say a star.
    let old = allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/${*}""#).replace(r#""Version":"2012-10-17","#, "");
    assert!(read(&old).is_err());
    let old = allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/${x}""#).replace("2012", "2008");
    assert_eq!(read(&old).unwrap().paths, object("${x}"));
}

#[test]
fn wildcards_of_actions_mean_what_is_known() {
    let all = |action: &str| read(&allow(action, r#"["arn:aws:s3:::lake","arn:aws:s3:::lake/*"]"#)).unwrap().actions;
    for any in [r#""*""#, r#""s3:*""#, r#""S3:*""#, r#""s?:*""#] {
        assert_eq!(all(any), Actions::READ_WRITE.with(Action::GetBucketConfig).with(Action::PutBucketConfig), "{any}");
    }
    assert_eq!(all(r#""s3:Get*""#), Actions::of(&[Action::GetObject, Action::GetBucketInfo, Action::GetBucketConfig]));
    assert_eq!(all(r#""s3:put?bject""#), Actions::of(&WRITES));
    assert_eq!(all(r#""s3:List*""#), Actions::of(&[Action::ListBucket, Action::ListUploads]));
    // What is read of old versions, and half of a bucket's configuration, is nothing here.
    for nothing in [
        r#""s3:GetObjectVersion""#,
        r#""s3:ListMultipartUploadParts""#,
        r#""s3:GetBucketCORS""#,
        r#""s3:PutObjectAcl""#,
        r#""kms:*""#,
    ] {
        assert!(all(nothing).is_empty(), "{nothing}");
    }
}

#[test]
fn what_may_be_listed_is_never_more_than_the_policy_says() {
    let policy = |condition: &str| {
        statements(&format!(
            r#"{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/a/b/*"}},
            {{"Effect":"Allow","Action":["s3:ListBucket","s3:GetBucketLocation"],"Resource":"arn:aws:s3:::lake"{condition}}}"#
        ))
    };
    let lists = |condition: &str| read(&policy(condition)).unwrap().actions;
    let both = Actions::of(&[Action::GetObject, Action::ListBucket]);
    assert_eq!(lists(""), both.with(Action::GetBucketInfo));
    let like = |value: &str| format!(r#","Condition":{{"StringLike":{{"s3:prefix":{value}}}}}"#);
    for (value, listed) in [
        (r#""a/b/*""#, true),
        (r#""a/*""#, true),
        (r#""*""#, true),
        (r#"["x/*","a/b*"]"#, true),
        (r#""a/b/c/*""#, false),
        (r#""a/b/""#, false),
        (r#""a/bb/*""#, false),
        ("[]", false),
    ] {
        let expected = if listed { both } else { Actions::of(&[Action::GetObject]) };
        assert_eq!(lists(&like(value)), expected, "{value}");
    }
    assert_eq!(lists(r#","Condition":{"StringEquals":{"s3:prefix":"a/b/*"}}"#), Actions::of(&[Action::GetObject]));
    let listing = statements(
        r#"{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":["p","p/","p/*"]}}}"#,
    );
    assert_eq!(
        read(&listing).unwrap(),
        left(Some("lake"), only(&[Path::prefix(b"p/").unwrap()]), &[Action::ListBucket])
    );
}

#[test]
fn what_is_not_understood_exactly_is_refused() {
    let keys = r#""arn:aws:s3:::lake/a/*""#;
    let get = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/a/*""#;
    let more = |more: &str| statements(&format!("{{{get},{more}}}"));
    let deny = |action: &str, resource: &str| {
        statements(&format!(r#"{{{get}}},{{"Effect":"Deny","Action":{action},"Resource":{resource}}}"#))
    };
    let condition = |action: &str, condition: &str| {
        statements(&format!(r#"{{"Effect":"Allow","Action":{action},"Resource":"*","Condition":{condition}}}"#))
    };
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        statements(""),
        format!("{}x", allow(r#""s3:GetObject""#, keys)),
        allow(r#""s3:GetObject""#, keys).replace("2012-10-17", "2013-10-17"),
        allow(r#""s3:GetObject""#, keys).replace("\"Version\"", "\"Verzion\""),
        allow("[]", keys),
        allow(r#""s3:GetObject""#, "[]"),
        allow("7", keys),
        more(r#""Sid":"x","Sid":"y""#),
        more(r#""NotAction":"s3:PutObject""#),
        more(r#""Principal":"*""#),
        more(r#""notPrincipal":"*""#),
        more(r#""Condition":{"Bool":{"aws:SecureTransport":"true"}}"#),
        more(r#""Condition":{"StringLike":{"s3:prefix":"a/*"}}"#),
        more(r#""Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}"#),
        more(r#""Condition":{"StringLike":{}}"#),
        statements(r#"{"Effect":"Allow","Action":"s3:GetObject","NotResource":"*"}"#),
        statements(r#"{"Effect":"allow","Action":"s3:GetObject","Resource":"*"}"#),
        deny(r#""s3:PutObject""#, r#""*""#),
        deny(r#""s3:*""#, keys),
        deny(r#""*""#, keys),
        deny(r#""?3:*""#, r#""*""#),
        deny(r#"["kms:*","s*"]"#, r#""*""#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:delimiter":"/"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:prefix":"a/*","s3:delimiter":"/"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:prefix":"a/*"},"StringEquals":{"s3:prefix":"a/"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:prefix":"a/*","s3:prefix":"b/*"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringNotLike":{"s3:prefix":"a/*"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLikeIfExists":{"s3:prefix":"a/*"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"ForAllValues:StringLike":{"s3:prefix":"a/*"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:prefix":"a/*/b"}}"#),
        condition(r#""s3:ListBucket""#, r#"{"StringLike":{"s3:prefix":"${aws:username}/*"}}"#),
        condition(r#""*""#, r#"{"StringLike":{"aws:username":"x"}}"#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/a/*/c""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/a?b""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/${aws:username}/*""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::la*/x""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake*""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s3:::*/x""#),
        allow(r#""s3:GetObject""#, r#""arn:*:s3:::lake/x""#),
        allow(r#""s3:GetObject""#, r#""arn:aws:s*:::lake/x""#),
        allow(r#""s3:GetObject""#, r#""arn:other:s3:::lake/x""#),
        allow(r#""s3:GetObject""#, r#""lake/x""#),
        allow(r#""s3:GetObject""#, r#"["arn:aws:s3:::lake/x","arn:aws:s3:::vault/x"]"#),
        allow(r#""s3:GetObject""#, &format!(r#""arn:aws:s3:::lake/{}""#, "x".repeat(1100))),
        statements(
            r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/a/*"},
            {"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::lake/a/tmp/*"}"#,
        ),
    ] {
        let refused = read(&bad).map(|left| format!("{left:?}"));
        assert_eq!(refused.unwrap_err().code(), Some("MalformedPolicyDocument"), "{bad}");
    }
    // What nobody's service is called may have been meant for S3.
    for action in [
        " s3:DeleteObject",
        "s3 :DeleteObject",
        "\u{17f}3:DeleteObject",
        "\u{200b}s3:*",
        ":DeleteObject",
        "s3\t:*",
        "**",
    ] {
        let denied = deny(
            &format!("[\"kms:*\",{action:?}]").replace("\\u{17f}", "\u{17f}").replace("\\u{200b}", "\u{200b}"),
            r#""*""#,
        );
        assert_eq!(read(&denied).unwrap_err().code(), Some("MalformedPolicyDocument"), "{denied}");
    }
    // Beside them what is understood: a Deny and conditions of other services say nothing of S3.
    assert!(read(&deny(r#"["kms:*","sts:AssumeRole"]"#, r#""*""#)).is_ok());
    assert!(read(&more(r#""Condition":{}"#)).is_ok());
    assert!(read(&condition(r#""s3:ListBucket""#, r#"{"ForAnyValue:StringLike":{"s3:prefix":"a/*"}}"#)).is_ok());
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec!["a", "b", "/", "/", "*", "?", "$", "${*}", "{", "}", ":", "ä", "%2F", " ", "-x"]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat().into_bytes())
}

fn path() -> impl Strategy<Value = Path> {
    (text(), 0..3).prop_filter_map("a directory may not end in a slash", |(bytes, kind)| match kind {
        0 => Path::object(&bytes).ok(),
        1 => Path::directory(&bytes).ok(),
        _ => Path::prefix(&bytes).ok(),
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    (prop::collection::vec(path(), 0..5), 1u16..1024).prop_filter_map("a scope has actions", |(paths, bits)| {
        let mut actions = Actions::from_bits(bits)?;
        // IAM has one action for both.
        if actions.contains(Action::PutObject) || actions.contains(Action::MultipartUpload) {
            actions = actions.with(Action::PutObject).with(Action::MultipartUpload);
        }
        // A key and what is below it are read as the directory that they are: the same keys, by another name.
        let below = |path: &Path| match path {
            Path::Object(key) => Path::prefix(&[key, &b"/"[..]].concat()).is_ok_and(|below| paths.contains(&below)),
            Path::Directory(_) | Path::Prefix(_) => false,
        };
        if paths.iter().any(below) {
            return None;
        }
        Scope::new(BucketName::parse("lake").unwrap(), Paths::only(&paths).unwrap_or(Paths::Whole), actions)
    })
}

fn around(scope: &Scope, more: &[Vec<u8>]) -> Vec<String> {
    let mut keys = more.to_vec();
    if let Paths::Only(paths) = scope.paths() {
        for path in paths.iter() {
            keys.extend(["", "/", "/x", "-secret", "x", "*"].map(|end| [path.bytes(), end.as_bytes()].concat()));
            keys.push(path.bytes().get(..path.bytes().len() - 1).unwrap().to_vec());
        }
    }
    keys.into_iter().filter(|key| !key.is_empty()).filter_map(|key| String::from_utf8(key).ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// What the issuers write for a scope is read as that scope where all of it can be said, and never as more; and it is what an
    /// evaluator that knows neither of the two finds in it.
    #[test]
    fn what_is_written_of_a_scope_is_read_as_that_scope(scope in scope(), more in prop::collection::vec(text(), 0..3)) {
        let Ok((json, narrowed)) = session_policy(&scope) else { return Ok(()) };
        let policy = Evaluator::new(&json, Escapes::Known);
        let left = read(&json).map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
        let Some(found) = Scope::new(BucketName::parse("lake").unwrap(), left.paths, left.actions) else {
            prop_assert!(!narrowed.is_empty(), "nothing is read of {}", json);
            return Ok(());
        };
        let any = |actions: Actions, of: &[Action]| of.iter().any(|action| actions.contains(*action));
        let on_objects = ON_OBJECTS.iter().any(|(_, given)| any(found.actions(), given));
        // What only a bucket can have is of no path: a grant's paths stay what they are.
        if !on_objects && !found.actions().contains(Action::ListBucket) {
            prop_assert!(scope.actions().contains_all(found.actions()), "WIDER: {:?} is read of {}", found, json);
            return Ok(());
        }
        prop_assert!(scope.covers_scope(&found), "WIDER: {:?} is read of {}", found, json);
        // Of a directory that may only be listed the pattern says what is below it.
        if narrowed.is_empty() && on_objects {
            prop_assert_eq!(&found, &scope, "{}", json);
        }
        for key in around(&scope, &more) {
            let resource = format!("arn:aws:s3:::lake/{key}");
            for (name, actions) in ON_OBJECTS {
                let allowed = policy.allows(&format!("s3:{name}"), &resource, &[]);
                for action in actions {
                    prop_assert_eq!(found.covers("lake", key.as_bytes(), *action), allowed, "{} `{}` by {}", name, key, json);
                }
            }
            let listed = policy.allows("s3:ListBucket", "arn:aws:s3:::lake", &[("s3:prefix", &key)]);
            match found.listing("lake", key.as_bytes(), Action::ListBucket) {
                Listing::All => prop_assert!(listed, "WIDER: list `{}` by {}", key, json),
                // Filtered: it shows what can be read one by one.
                Listing::Covered | Listing::Refused => {}
            }
        }
    }
}
