use proptest::prelude::*;
use valetkey_core::scope::{Listing, Path, Rights};
use valetkey_issuers::sts::session_policy;
use valetkey_testkit::iam::{Escapes, Evaluator};

use super::*;

fn left(bucket: Option<&str>, paths: Paths, actions: &[Action]) -> Left {
    parted(bucket, &[(paths, Actions::of(actions))])
}

fn parted(bucket: Option<&str>, parts: &[(Paths, Actions)]) -> Left {
    let parts = parts.iter().map(|(paths, actions)| Part::new(paths.clone(), *actions).unwrap());
    Left { bucket: bucket.map(|name| BucketName::parse(name).unwrap()), parts: Parts::new(parts.collect::<Vec<_>>()) }
}

/// Everything that is read of a policy, wherever it is allowed.
fn actions(text: &str) -> Actions {
    read(text).unwrap().parts.map_or(Actions::NONE, |parts| parts.actions())
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
    assert!(read(&nothing).unwrap().parts.is_none());
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
    assert!(read(&allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake""#)).unwrap().parts.is_none());
    assert!(read(&allow(r#""s3:ListBucket""#, r#""arn:aws:s3:::lake/*""#)).unwrap().parts.is_none());
    // Without a version there are no variables, and so no way to say a star.
    let old = allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/${*}""#).replace(r#""Version":"2012-10-17","#, "");
    assert!(read(&old).is_err());
    let old = allow(r#""s3:GetObject""#, r#""arn:aws:s3:::lake/${x}""#).replace("2012", "2008");
    assert_eq!(read(&old).unwrap(), left(Some("lake"), object("${x}"), &[Action::GetObject]));
}

#[test]
fn wildcards_of_actions_mean_what_is_known() {
    let all = |action: &str| actions(&allow(action, r#"["arn:aws:s3:::lake","arn:aws:s3:::lake/*"]"#));
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
    let get = Actions::of(&[Action::GetObject]);
    let list = Actions::of(&[Action::ListBucket]);
    let below =
        |starts: &[&str]| only(&starts.iter().map(|start| Path::prefix(start.as_bytes()).unwrap()).collect::<Vec<_>>());
    let reads = || (below(&["a/b/"]), get);
    // Where the bucket is goes with what is read.
    let info = (below(&["a/b/"]), get.with(Action::GetBucketInfo));
    assert_eq!(read(&policy("")).unwrap(), parted(Some("lake"), &[info, (Paths::Whole, list)]));
    let like = |value: &str| format!(r#","Condition":{{"StringLike":{{"s3:prefix":{value}}}}}"#);
    for (value, listed) in [
        (r#""a/b/*""#, Some(below(&["a/b/"]))),
        (r#""a/*""#, Some(below(&["a/"]))),
        (r#""*""#, Some(Paths::Whole)),
        (r#"["x/*","a/b*"]"#, Some(below(&["x/", "a/b"]))),
        (r#""a/b/c/*""#, Some(below(&["a/b/c/"]))),
        (r#"["a/b/","a/bb/*"]"#, Some(below(&["a/bb/"]))),
        (r#""a/b/""#, None),
        ("[]", None),
    ] {
        let parts: Vec<(Paths, Actions)> = [reads()].into_iter().chain(listed.map(|paths| (paths, list))).collect();
        assert_eq!(read(&policy(&like(value))).unwrap(), parted(Some("lake"), &parts), "{value}");
    }
    let equals = r#","Condition":{"StringEquals":{"s3:prefix":"a/b/*"}}"#;
    assert_eq!(read(&policy(equals)).unwrap(), parted(Some("lake"), &[reads()]));
    let listing = statements(
        r#"{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":["p","p/","p/*"]}}}"#,
    );
    assert_eq!(
        read(&listing).unwrap(),
        left(Some("lake"), only(&[Path::prefix(b"p/").unwrap()]), &[Action::ListBucket])
    );
}

#[test]
fn different_actions_on_different_paths_are_parts() {
    let directory = |path: &str| Path::directory(path.as_bytes()).unwrap();
    let policy = statements(
        r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3:::lake/a","arn:aws:s3:::lake/a/*"]},
        {"Effect":"Allow","Action":["s3:PutObject","s3:AbortMultipartUpload"],"Resource":"arn:aws:s3:::lake/a/tmp/*"},
        {"Effect":"Allow","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::lake/a/tmp/old"},
        {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":"a/*"}}}"#,
    );
    let parts = [
        (only(&[directory("a")]), Actions::of(&[Action::GetObject, Action::ListBucket])),
        (only(&[Path::prefix(b"a/tmp/").unwrap()]), Actions::WRITE),
        (only(&[Path::object(b"a/tmp/old").unwrap()]), Actions::of(&[Action::DeleteObject])),
    ];
    assert_eq!(read(&policy).unwrap(), parted(Some("lake"), &parts));
    // The same action in several statements is allowed by each of them.
    let twice = statements(
        r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/a/*"},
        {"Effect":"Allow","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::lake/b/*"}"#,
    );
    let prefix = |start: &[u8]| Path::prefix(start).unwrap();
    let parts = [
        (only(&[prefix(b"a/"), prefix(b"b/")]), Actions::of(&[Action::GetObject])),
        (only(&[prefix(b"b/")]), Actions::of(&[Action::DeleteObject])),
    ];
    assert_eq!(read(&twice).unwrap(), parted(Some("lake"), &parts));
    // And still of one bucket.
    let buckets = statements(
        r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/a/*"},
        {"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::vault/a/*"}"#,
    );
    assert_eq!(read(&buckets).unwrap_err().code(), Some("MalformedPolicyDocument"));
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

fn part() -> impl Strategy<Value = Part> {
    (prop::collection::vec(path(), 0..5), 1u16..1024).prop_filter_map("a part has actions", |(paths, bits)| {
        let mut actions = Actions::from_bits(bits)?;
        // IAM has one action for both.
        if actions.contains(Action::PutObject) || actions.contains(Action::MultipartUpload) {
            actions = actions.with(Action::PutObject).with(Action::MultipartUpload);
        }
        Part::new(Paths::only(&paths).unwrap_or(Paths::Whole), actions)
    })
}

/// Of one part half of the time.
fn rights() -> impl Strategy<Value = Rights> {
    let some = prop_oneof![prop::collection::vec(part(), 1..2), prop::collection::vec(part(), 2..5)];
    some.prop_filter_map("a key and what is below it are read as the directory that they are", |parts| {
        let parts = Parts::new(parts)?;
        // The same keys, by another name.
        let by_another_name = |paths: &Paths| match paths {
            Paths::Whole => false,
            Paths::Only(set) => {
                let all: Vec<Path> = set.iter().collect();
                all.iter().any(|path| match path {
                    Path::Object(key) => {
                        Path::prefix(&[key, &b"/"[..]].concat()).is_ok_and(|below| all.contains(&below))
                    }
                    Path::Directory(_) | Path::Prefix(_) => false,
                })
            }
        };
        let plain = parts.iter().all(|part| !by_another_name(part.paths()));
        plain.then(|| Rights::new(BucketName::parse("lake").unwrap(), parts))
    })
}

fn around(rights: &Rights, more: &[Vec<u8>]) -> Vec<String> {
    let mut keys = more.to_vec();
    for part in rights.parts().iter() {
        let Paths::Only(paths) = part.paths() else { continue };
        for path in paths.iter() {
            keys.extend(["", "/", "/x", "-secret", "x", "*"].map(|end| [path.bytes(), end.as_bytes()].concat()));
            keys.push(path.bytes().get(..path.bytes().len() - 1).unwrap().to_vec());
        }
    }
    keys.into_iter().filter(|key| !key.is_empty()).filter_map(|key| String::from_utf8(key).ok()).collect()
}

/// The same without what has no path of its own, and in the reader's words: what is listed below a directory that may be read is that
/// directory, and below any other it is just that.
fn placed(rights: &Rights) -> Option<Parts> {
    let rest = Part::new(Paths::Whole, Actions::of(&Action::ALL).without(Action::GetBucketInfo)).unwrap();
    let parts = rights.parts().intersect(&rest.into())?;
    let single = |paths: &Paths| match paths {
        Paths::Whole => Vec::new(),
        Paths::Only(set) => set.iter().collect(),
    };
    let read = parts.paths_of(Action::GetObject).map(single).unwrap_or_default();
    let named = |path: Path| match &path {
        Path::Directory(own) if !read.contains(&path) => Path::prefix(&[own, &b"/"[..]].concat()).unwrap(),
        Path::Prefix(own) => {
            let directory = own.strip_suffix(b"/").and_then(|own| Path::directory(own).ok());
            directory.filter(|directory| read.contains(directory)).unwrap_or(path)
        }
        Path::Directory(_) | Path::Object(_) => path,
    };
    Parts::new(
        parts
            .iter()
            .flat_map(|part| {
                let list = Actions::of(&[Action::ListBucket]);
                let listed = match part.paths() {
                    Paths::Only(set) => Paths::only(set.iter().map(named).collect::<Vec<_>>()).unwrap(),
                    Paths::Whole => Paths::Whole,
                };
                let others = Part::new(part.paths().clone(), part.actions().without(Action::ListBucket));
                others.into_iter().chain(Part::new(listed, part.actions().intersect(list)))
            })
            .collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// What the issuers write for rights is read as these rights where all of it can be said, and never as more; and it is what an
    /// evaluator that knows neither of the two finds in it.
    #[test]
    fn what_is_written_of_rights_is_read_as_these_rights(rights in rights(), more in prop::collection::vec(text(), 0..3)) {
        let Ok((json, narrowed)) = session_policy(&rights) else { return Ok(()) };
        let policy = Evaluator::new(&json, Escapes::Known);
        let left = read(&json).map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
        let Some(parts) = left.parts else {
            prop_assert!(!narrowed.is_empty(), "nothing is read of {}", json);
            return Ok(());
        };
        let found = Rights::new(BucketName::parse("lake").unwrap(), parts);
        prop_assert!(rights.actions().contains_all(found.actions()), "WIDER: {:?} is read of {}", found, json);
        match (placed(&found), placed(&rights)) {
            (Some(own), Some(all)) => {
                prop_assert!(all.cover_parts(&own), "WIDER: {:?} is read of {}", found, json);
                if narrowed.is_empty() {
                    prop_assert_eq!(&own, &all, "{}", json);
                }
            }
            (Some(_), None) => prop_assert!(false, "WIDER: {:?} is read of {}", found, json),
            (None, all) => prop_assert!(all.is_none() || !narrowed.is_empty(), "too little is read of {}", json),
        }
        for key in around(&rights, &more) {
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
                Listing::Covered => {}
                Listing::Refused => prop_assert!(!listed, "narrower: list `{}` by {}", key, json),
            }
        }
    }
}
