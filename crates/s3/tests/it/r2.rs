//! Parent access keys and what is signed with them, as Cloudflare R2 publishes it: the two vectors, and every way to be refused.

use std::sync::Arc;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jiff::Timestamp;
use tempfile::TempDir;
use valetkey_core::Secret;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{Child, LONGEST, Parent, ParentScope, Permission};
use valetkey_core::scope::{Actions, Path, Paths, Rights};
use valetkey_core::time::{Clock as _, Lifetime};

use crate::rig::{Ask, BUCKET, Credential, OTHER_BUCKET, Rig, STORAGE, sha256};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const PARENT: &str = "11112222333344445555666677778888";
pub(crate) const SECRET: &str = "3ddacd062599692f7934220fc14be6fc29e098f16dd569431cb210c65a8a7d81";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

struct Vector {
    parent: &'static str,
    token_value: &'static str,
    secret: &'static str,
    host: &'static str,
    payload: &'static str,
    derived: &'static str,
    bucket: &'static str,
    key: &'static str,
    target: &'static str,
    header_signature: &'static str,
    query_signature: &'static str,
    ttl: i64,
}

const VECTORS: [Vector; 2] = [
    Vector {
        parent: PARENT,
        token_value: "example-r2-token-value-0000000000000001A",
        secret: SECRET,
        host: "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com",
        payload: r#"{"bucket":"my-bucket","scope":"object-read-only","sub":"0123456789abcdef0123456789abcdef","iss":"11112222333344445555666677778888","aud":"0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com","iat":1767225600,"exp":1767226500}"#,
        derived: "9188921ac6200cc73048aa4c74954c52125c26dba17f93ec25d4c7b44bdeb650",
        bucket: "my-bucket",
        key: "data/file.bin",
        target: "/my-bucket/data/file.bin",
        header_signature: "8c395bdcd1a11f48ca8f89b1e3fe969972c7980eb8a9c38e9fd1023617d9cbe0",
        query_signature: "1eaf117da31bb8a9b34664a2d5847579a9d0873d2e1ca7284d55df7506509989",
        ttl: 900,
    },
    Vector {
        parent: "aaaabbbbccccddddeeeeffff00001111",
        token_value: "example-r2-token-value-0000000000000002B",
        secret: "6d3c1798d489f2ccf4f6b270e5fc78440fbe43882ac35e0b8cd791f6ce1f61a1",
        host: "0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com",
        payload: r#"{"bucket":"tenant-data","scope":"object-read-write","actions":["GetObject","HeadObject","PutObject"],"paths":{"prefixPaths":["uploads/user-123/","日本/"],"objectPaths":["shared/manifest.json"]},"sub":"0123456789abcdef0123456789abcdef","iss":"aaaabbbbccccddddeeeeffff00001111","aud":"0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com","iat":1767225600,"exp":1767830400}"#,
        derived: "963a3a4bf31da78800492c6319f704531e6459630e83feb6e6aab88edb8445d6",
        bucket: "tenant-data",
        key: "uploads/user-123/a b+c.txt",
        target: "/tenant-data/uploads/user-123/a%20b%2Bc.txt",
        header_signature: "6fe608c9e141f480cdc5d9567b697dc19fb13fb804bc0dadd770cd447332cdd0",
        query_signature: "6bc476aaff9b55722e00baf0dcb2038eb51ffe0adb2a84986d16ff3680b9552f",
        ttl: 604_800,
    },
];

/// Something that a parent may reach.
pub(crate) fn ceiling(bucket: &str, paths: Paths, actions: Actions) -> ParentScope {
    let scope = Rights::of(BucketName::parse(bucket).unwrap(), paths, actions).unwrap();
    ParentScope { storage: STORAGE, rights: Arc::new(scope), max_lifetime: LONGEST }
}

pub(crate) fn whole(bucket: &str, permission: Permission) -> ParentScope {
    ceiling(bucket, Paths::Whole, permission.actions())
}

/// A parent with its secret.
pub(crate) fn parent(id: &str, secret: &str, reach: Vec<ParentScope>) -> Parent {
    let token = TokenId::from_hex(id).unwrap();
    let caller = Caller {
        id: CallerId::from_bytes([3; 16]),
        account: AccountId::from_hex(ACCOUNT).unwrap(),
        name: Name::parse("job").unwrap(),
        role: Role::Member,
        token,
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    };
    Parent { token, caller: Arc::new(caller), secret: Secret::new(secret.to_owned()), reach, conditional: Vec::new() }
}

pub(crate) fn add(rig: &Rig, parent: Parent) {
    rig.parents.0.lock().unwrap().push(Arc::new(parent));
}

/// The parent itself as a credential.
pub(crate) fn own(id: &str, secret: &str) -> Credential {
    Credential {
        lease: LeaseId::from_bytes([0; 16]),
        key_id: id.to_owned(),
        secret: secret.to_owned(),
        token: String::new(),
    }
}

fn jwt(header: &str, payload: &str, key: &[u8]) -> String {
    let signed =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(payload.as_bytes()));
    let tag = sign(&Key::new(HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

fn of_jwt(key_id: &str, jwt: &str) -> Credential {
    let mut credential = own(key_id, &sha256(jwt.as_bytes()));
    credential.token = BASE64.encode(format!("jwt/{jwt}").as_bytes());
    credential
}

/// What the holder of the test's parent signs.
pub(crate) fn signed(payload: &str) -> Credential {
    of_jwt(PARENT, &jwt(HEADER, payload, SECRET.as_bytes()))
}

/// Claims for the rig's own host, of an hour, with `more` among them.
pub(crate) fn claims(rig: &Rig, bucket: &str, scope: &str, more: &str) -> String {
    let (now, host) = (rig.clock.now().as_second(), rig.host());
    format!(
        r#"{{"bucket":"{bucket}","scope":"{scope}",{more}"sub":"{ACCOUNT}","iss":"{PARENT}","aud":"{host}","iat":{now},"exp":{}}}"#,
        now + 3600
    )
}

/// A rig with the test's parent: everything of one bucket.
pub(crate) async fn rig() -> Rig {
    let rig = Rig::start().await;
    add(&rig, parent(PARENT, SECRET, vec![whole(BUCKET, Permission::AdminReadWrite)]));
    for key in ["a/1", "a/b/2", "ab/3", "z"] {
        rig.put(BUCKET, key, key.as_bytes().to_vec()).await;
    }
    rig.put(OTHER_BUCKET, "a/1", "other").await;
    rig
}

fn at_host(rig: &Rig, target: &str, host: &str) -> Ask {
    let mut ask = rig.ask("GET", target);
    ask.headers = vec![("host".to_owned(), host.to_owned())];
    ask
}

#[tokio::test]
async fn the_published_vectors_verify_byte_for_byte() {
    for vector in VECTORS {
        let hosts = ["{account}.r2.cloudflarestorage.com", "{account}.eu.r2.cloudflarestorage.com"];
        let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| {
            config.r2_hosts = hosts.map(str::to_owned).to_vec();
        })
        .await;
        rig.put(vector.bucket, vector.key, "found").await;
        assert_eq!(sha256(vector.token_value.as_bytes()), vector.secret);
        add(&rig, parent(vector.parent, vector.secret, vec![whole(vector.bucket, Permission::ObjectReadWrite)]));
        let credential = of_jwt(vector.parent, &jwt(HEADER, vector.payload, vector.secret.as_bytes()));
        assert_eq!(credential.secret, vector.derived);
        rig.clock.advance_secs(60);
        let ask = || at_host(&rig, vector.target, vector.host);
        let (sent, signature) = ask().told("UNSIGNED-PAYLOAD").sign(&credential);
        assert_eq!(signature, vector.header_signature);
        assert_eq!(rig.raw(sent.wire()).await.ok().text(), "found");
        let presigned = ask().presigned(&credential, 300);
        assert!(presigned.query.contains(&("X-Amz-Signature".to_owned(), vector.query_signature.to_owned())));
        assert_eq!(rig.raw(presigned.wire()).await.ok().text(), "found");
        // With the bucket in front of the host, and at another of our hosts.
        let path = vector.target.split_once('/').unwrap().1.split_once('/').unwrap().1;
        let virtual_host = format!("{}.{}", vector.bucket, vector.host);
        let answer = rig.send(at_host(&rig, &format!("/{path}"), &virtual_host), &credential).await;
        assert_eq!(answer.ok().text(), "found");
        rig.send(rig.ask("GET", vector.target), &credential).await.ok();
        // Another account's host knows no such key.
        let foreign = vector.host.replacen('0', "f", 1);
        rig.send(at_host(&rig, vector.target, &foreign), &credential).await.is(403, "InvalidAccessKeyId");
        // To its last second, and not in the one it ends.
        rig.clock.advance_secs(vector.ttl - 61);
        rig.send(ask(), &credential).await.ok();
        rig.clock.advance_secs(1);
        rig.send(ask(), &credential).await.is(400, "ExpiredToken");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_taken_is_refused_in_r2s_words() {
    let rig = rig().await;
    let good = claims(&rig, BUCKET, "object-read-only", "");
    let now = rig.clock.now().as_second();
    rig.get("/lake/a/1", &signed(&good)).await.ok();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        signed(&good.replacen(from, to, 1))
    };
    let extra = |more: &str| signed(&claims(&rig, BUCKET, "object-read-only", more));
    let text = jwt(HEADER, &good, SECRET.as_bytes());
    let (front, signature) = text.rsplit_once('.').unwrap();
    let raw_key = data_encoding::HEXLOWER.decode(SECRET.as_bytes()).unwrap();
    let wider = BASE64URL_NOPAD.encode(good.replace("read-only", "read-write").as_bytes());
    let tampered = format!("{}.{wider}.{signature}", text.split('.').next().unwrap());
    // The last character of a signature has two bits to spare.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(text.chars().last().unwrap()).unwrap();
    let respelt = format!("{}{}", &text[..text.len() - 1], alphabet.as_bytes()[last ^ 1] as char);
    let unpadded = |mut credential: Credential| {
        credential.token = credential.token.trim_end_matches('=').to_owned();
        credential
    };
    rig.get("/lake/a/1", &unpadded(signed(&good))).await.ok();
    let said = |token: &str| Credential { token: token.to_owned(), ..signed(&good) };
    for (name, credential, status, code) in [
        ("not base64", said("not base64!"), 400, "InvalidArgument"),
        ("a native token", said("vks1.AAAA"), 400, "InvalidArgument"),
        ("without jwt/", said(&BASE64.encode(text.as_bytes())), 400, "InvalidArgument"),
        ("two segments", of_jwt(PARENT, front), 400, "InvalidArgument"),
        ("four segments", of_jwt(PARENT, &format!("{text}.x")), 400, "InvalidArgument"),
        ("an empty segment", of_jwt(PARENT, &format!("{front}.")), 400, "InvalidArgument"),
        ("padding inside", of_jwt(PARENT, &format!("{text}=")), 400, "InvalidArgument"),
        ("spelt another way", of_jwt(PARENT, &respelt), 400, "InvalidArgument"),
        ("none", of_jwt(PARENT, &jwt(r#"{"alg":"none"}"#, &good, b"")), 400, "InvalidArgument"),
        ("HS512", of_jwt(PARENT, &jwt(r#"{"alg":"HS512"}"#, &good, SECRET.as_bytes())), 400, "InvalidArgument"),
        ("raw bytes as key", of_jwt(PARENT, &jwt(HEADER, &good, &raw_key)), 403, "InvalidToken"),
        ("another key", of_jwt(PARENT, &jwt(HEADER, &good, b"another")), 403, "InvalidToken"),
        ("tampered, secret made anew", of_jwt(PARENT, &tampered), 403, "InvalidToken"),
        ("wrong iss", with(PARENT, "21112222333344445555666677778888"), 400, "InvalidArgument"),
        ("wrong sub", with(ACCOUNT, "1123456789abcdef0123456789abcdef"), 400, "InvalidArgument"),
        ("wrong aud", with(&rig.host(), "elsewhere.example.com"), 400, "InvalidArgument"),
        ("aud without its port", with(&rig.host(), "127.0.0.1"), 400, "InvalidArgument"),
        ("unknown scope", with("object-read-only", "object-everything"), 400, "InvalidArgument"),
        ("no scope", with("\"scope\":\"object-read-only\",", ""), 400, "InvalidArgument"),
        ("unknown action", extra(r#""actions":["GetObject","Fly"],"#), 400, "InvalidArgument"),
        ("no action", extra(r#""actions":[],"#), 400, "InvalidArgument"),
        ("both lists empty", extra(r#""paths":{"prefixPaths":[],"objectPaths":[]},"#), 400, "InvalidArgument"),
        ("an empty prefix", extra(r#""paths":{"prefixPaths":[""],"objectPaths":[]},"#), 400, "InvalidArgument"),
        ("a list that is none", extra(r#""paths":{"prefixPaths":"a/","objectPaths":[]},"#), 400, "InvalidArgument"),
        ("from the future", signed(&good.replace(&now.to_string(), &(now + 901).to_string())), 400, "InvalidArgument"),
        (
            "for longer than a week",
            with(&(now + 3600).to_string(), &(now + 604_801).to_string()),
            400,
            "InvalidArgument",
        ),
        ("ended before it began", with(&(now + 3600).to_string(), &now.to_string()), 400, "InvalidArgument"),
        ("another bucket", with("\"lake\"", "\"other\""), 403, "AccessDenied"),
        ("an unknown key", of_jwt("f1112222333344445555666677778888", &text), 403, "InvalidAccessKeyId"),
        // The token taken away: the parent's id with a secret that is not the parent's.
        ("token taken away", said(""), 403, "SignatureDoesNotMatch"),
        (
            "the parent's secret with a token",
            Credential { secret: SECRET.to_owned(), ..signed(&good) },
            403,
            "SignatureDoesNotMatch",
        ),
    ] {
        let answer = rig.get("/lake/a/1", &credential).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{name}: {}", answer.text());
        assert!(!answer.text().contains("eyJ"), "{name}");
    }
    let answer = rig.get("/lake/a/1", &said("x")).await;
    assert_eq!(answer.one("Message"), "X-Amz-Security-Token");
}

#[tokio::test]
async fn a_token_that_the_signature_does_not_cover_counts_for_nothing() {
    let rig = rig().await;
    let credential = signed(&claims(&rig, BUCKET, "object-read-only", ""));
    let bare = Credential { token: String::new(), ..credential.clone() };
    let (ask, _) = rig.ask("GET", "/lake/a/1").unsigned("x-amz-security-token", &credential.token).sign(&bare);
    rig.raw(ask.wire()).await.is(403, "AccessDenied");
    let parent = own(PARENT, SECRET);
    let (ask, _) = rig.ask("GET", "/lake/a/1").unsigned("x-amz-security-token", &credential.token).sign(&parent);
    rig.raw(ask.wire()).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn a_parent_is_a_key_of_its_own_in_every_region_and_bucket_of_its() {
    let rig = Rig::start().await;
    let reach = vec![whole(BUCKET, Permission::ObjectReadWrite), whole(OTHER_BUCKET, Permission::ObjectReadOnly)];
    add(&rig, parent(PARENT, SECRET, reach));
    rig.put(OTHER_BUCKET, "from", "copied").await;
    let key = own(PARENT, SECRET);
    rig.send(rig.ask("PUT", "/lake/x").body("new"), &key).await.ok();
    for region in ["auto", "us-east-1", "", "eu-central-1"] {
        let mut ask = rig.ask("GET", "/lake/x");
        ask.region = region.to_owned();
        assert_eq!(rig.send(ask, &key).await.ok().text(), "new", "{region}");
    }
    rig.raw(rig.ask("GET", "/lake/x").presigned(&key, 60).wire()).await.ok();
    let copy = |to: &str, from: &str| rig.ask("PUT", to).header("x-amz-copy-source", from);
    rig.send(copy("/lake/copy", "/other/from"), &key).await.ok();
    assert_eq!(rig.get("/lake/copy", &key).await.ok().text(), "copied");
    rig.send(copy("/other/copy", "/lake/x"), &key).await.is(403, "AccessDenied");
    rig.send(rig.ask("PUT", "/other/x").body("new"), &key).await.is(403, "AccessDenied");
    for target in ["/lake?list-type=2", "/other?list-type=2", "/lake?location=", "/lake?uploads="] {
        rig.get(target, &key).await.ok();
    }
    for target in ["/", "/third/x", "/third?list-type=2", "/lake?cors="] {
        rig.get(target, &key).await.is(403, "AccessDenied");
    }
    rig.get("/lake/x", &own(PARENT, "wrong")).await.is(403, "SignatureDoesNotMatch");
    rig.get("/lake/x", &own("f1112222333344445555666677778888", SECRET)).await.is(403, "InvalidAccessKeyId");
    rig.get("/lake/x", &own(&PARENT.replace('1', "A"), SECRET)).await.is(403, "InvalidAccessKeyId");
}

#[tokio::test]
async fn a_parent_that_is_gone_takes_its_children_along_also_those_signed_later() {
    let rig = rig().await;
    let child = || signed(&claims(&rig, BUCKET, "object-read-only", ""));
    let before = child();
    rig.get("/lake/a/1", &before).await.ok();
    rig.get("/lake/a/1", &own(PARENT, SECRET)).await.ok();
    let gone = std::mem::take(&mut *rig.parents.0.lock().unwrap());
    rig.clock.advance_secs(1);
    for credential in [before.clone(), child(), own(PARENT, SECRET)] {
        rig.get("/lake/a/1", &credential).await.is(403, "InvalidAccessKeyId");
    }
    // One whose time is over.
    let mut expired = Parent::clone(&gone[0]);
    let until = Timestamp::from_second(rig.clock.now().as_second() + 10).unwrap();
    expired.caller = Arc::new(Caller { token_until: Some(until), ..Caller::clone(&expired.caller) });
    add(&rig, expired);
    rig.get("/lake/a/1", &before).await.ok();
    rig.clock.advance_secs(10);
    for credential in [before, child(), own(PARENT, SECRET)] {
        rig.get("/lake/a/1", &credential).await.is(403, "InvalidAccessKeyId");
    }
}

#[tokio::test]
async fn one_child_is_ended_by_what_its_claims_say() {
    let rig = rig().await;
    let (one, two) = (claims(&rig, BUCKET, "object-read-only", ""), claims(&rig, BUCKET, "object-read-write", ""));
    rig.leases.revoked.lock().unwrap().insert(Child::read(one.as_bytes()).unwrap().lease());
    rig.get("/lake/a/1", &signed(&one)).await.is(400, "ExpiredToken");
    // Written in another way, it is the same.
    rig.get("/lake/a/1", &signed(&one.replace(",\"", ", \""))).await.is(400, "ExpiredToken");
    rig.get("/lake/a/1", &signed(&two)).await.ok();
    rig.get("/lake/a/1", &own(PARENT, SECRET)).await.ok();
}

#[tokio::test]
async fn a_child_never_reaches_further_than_its_parent() {
    let rig = Rig::start().await;
    for key in ["a/1", "a/2", "b/1"] {
        rig.put(BUCKET, key, key.as_bytes().to_vec()).await;
    }
    rig.put(OTHER_BUCKET, "a/1", "other").await;
    let directory = Paths::only([Path::directory(b"a").unwrap()]).unwrap();
    let elsewhere =
        ParentScope { storage: StorageId::from_bytes([9; 16]), ..whole(OTHER_BUCKET, Permission::ObjectReadWrite) };
    let short = ParentScope { max_lifetime: Lifetime::secs(60), ..ceiling(BUCKET, directory, Actions::READ) };
    add(&rig, parent(PARENT, SECRET, vec![short, elsewhere]));
    let child = signed(&claims(&rig, BUCKET, "admin-read-write", ""));
    rig.get("/lake/a/1", &child).await.ok();
    rig.get("/lake?list-type=2&prefix=a%2F", &child).await.ok();
    for target in ["/lake/b/1", "/lake?list-type=2", "/lake?cors=", "/other/a/1"] {
        rig.get(target, &child).await.is(403, "AccessDenied");
    }
    rig.send(rig.ask("PUT", "/lake/a/new").body("x"), &child).await.is(403, "AccessDenied");
    rig.send(rig.ask("DELETE", "/lake/a/1"), &child).await.is(403, "AccessDenied");
    // A bucket that its parent has at another store, or not at all.
    for bucket in [OTHER_BUCKET, "third"] {
        let child = signed(&claims(&rig, bucket, "object-read-only", ""));
        rig.get(&format!("/{bucket}/a/1"), &child).await.is(403, "AccessDenied");
    }
    // Nor longer than what the parent was granted.
    rig.clock.advance_secs(59);
    rig.get("/lake/a/1", &child).await.ok();
    rig.clock.advance_secs(1);
    rig.get("/lake/a/1", &child).await.is(400, "ExpiredToken");
}

#[tokio::test]
async fn prefixes_are_raw_and_objects_exact() {
    let rig = rig().await;
    let of = |paths: &str| signed(&claims(&rig, BUCKET, "object-read-write", &format!("\"paths\":{paths},")));
    let raw = of(r#"{"prefixPaths":["a"],"objectPaths":[]}"#);
    let slash = of(r#"{"prefixPaths":["a/"],"objectPaths":["z"]}"#);
    for (target, by_raw, by_slash) in [
        ("/lake/a/1", 200, 200),
        ("/lake/a/b/2", 200, 200),
        ("/lake/ab/3", 200, 403),
        ("/lake/z", 403, 200),
        ("/lake/zz", 403, 403),
        ("/lake/a", 404, 403),
        ("/lake?list-type=2", 403, 403),
        ("/lake?list-type=2&prefix=a", 200, 403),
        ("/lake?list-type=2&prefix=a%2F", 200, 200),
        ("/lake?list-type=2&prefix=a%2Fb", 200, 200),
        ("/lake?prefix=a%2F", 200, 200),
        ("/lake?uploads=&prefix=a%2F", 200, 200),
        ("/lake?location=", 200, 200),
        ("/lake?cors=", 403, 403),
    ] {
        assert_eq!(rig.get(target, &raw).await.status, by_raw, "{target}");
        assert_eq!(rig.get(target, &slash).await.status, by_slash, "{target}");
    }
    let objects: String = ["a/1", "ab/3", "z"].map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
    let delete = rig.ask("POST", "/lake?delete=").body(format!("<Delete>{objects}</Delete>"));
    let answer = rig.send(delete, &slash).await;
    assert_eq!(answer.ok().all("Code"), ["AccessDenied"]);
    let copy = rig.ask("PUT", "/lake/a/copy").header("x-amz-copy-source", "/lake/ab/3");
    rig.send(copy.clone(), &slash).await.is(403, "AccessDenied");
    rig.send(copy, &raw).await.ok();
}

#[tokio::test]
async fn actions_narrow_to_the_very_operation() {
    let rig = rig().await;
    let of = |scope: &str, actions: &str| signed(&claims(&rig, BUCKET, scope, &format!("\"actions\":[{actions}],")));
    let reads = of("object-read-only", r#""GetObject","HeadObject""#);
    rig.get("/lake/a/1", &reads).await.ok();
    assert_eq!(rig.send(rig.ask("HEAD", "/lake/a/1"), &reads).await.status, 200);
    rig.get("/lake?list-type=2", &reads).await.is(403, "AccessDenied");
    rig.get("/lake?location=", &reads).await.is(403, "AccessDenied");
    let heads = of("object-read-write", r#""HeadObject","ListObjectsV2""#);
    assert_eq!(rig.send(rig.ask("HEAD", "/lake/a/1"), &heads).await.status, 200);
    rig.get("/lake/a/1", &heads).await.is(403, "AccessDenied");
    rig.get("/lake?list-type=2", &heads).await.ok();
    rig.get("/lake", &heads).await.is(403, "AccessDenied");
    // Both must allow: the permission does not.
    let over = of("object-read-only", r#""GetObject","PutObject""#);
    rig.get("/lake/a/1", &over).await.ok();
    rig.send(rig.ask("PUT", "/lake/new").body("x"), &over).await.is(403, "AccessDenied");
    let copies = of("object-read-write", r#""CopyObject""#);
    rig.send(rig.ask("PUT", "/lake/copy").header("x-amz-copy-source", "/lake/a/1"), &copies).await.ok();
    rig.send(rig.ask("PUT", "/lake/new").body("x"), &copies).await.is(403, "AccessDenied");
    rig.get("/lake/a/1", &copies).await.is(403, "AccessDenied");
    // Without a permission they stand alone.
    let alone = claims(&rig, BUCKET, "object-read-only", r#""actions":["PutObject"],"#);
    let alone = signed(&alone.replace("\"scope\":\"object-read-only\",", ""));
    rig.send(rig.ask("PUT", "/lake/new").body("x"), &alone).await.ok();
    rig.get("/lake/new", &alone).await.is(403, "AccessDenied");
    rig.send(rig.ask("DELETE", "/lake/new"), &alone).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_r2s_words() {
    let rig = rig().await;
    let key = own(PARENT, SECRET);
    let presigned = |expires: u32| rig.ask("GET", "/lake/a/1").presigned(&key, expires).wire();
    let url = presigned(60);
    rig.raw(presigned(604_800)).await.ok();
    rig.raw(presigned(604_801)).await.is(400, "InvalidArgument");
    rig.clock.advance_secs(61);
    rig.raw(url).await.is(400, "ExpiredRequest");
    let old = rig.ask("GET", "/lake/a/1").unsigned("authorization", &format!("AWS {PARENT}:c2lnbmF0dXJl"));
    let answer = rig.raw(old.wire()).await;
    answer.is(401, "Unauthorized");
    assert_eq!(answer.one("Message"), "SigV2 authorization is not supported. Please use SigV4 instead.");
    let old = rig.ask("GET", &format!("/lake/a/1?AWSAccessKeyId={PARENT}&Signature=x&Expires=1"));
    rig.raw(old.wire()).await.is(401, "Unauthorized");
    let mut late = rig.ask("GET", "/lake/a/1");
    late.time = Timestamp::from_second(rig.clock.now().as_second() - 901).unwrap();
    rig.send(late, &key).await.is(403, "RequestTimeTooSkewed");
}

#[tokio::test]
async fn what_ends_a_parents_credentials_ends_those_that_say_they_come_from_the_future() {
    let rig = rig().await;
    let ahead = |secs: i64| {
        let now = rig.clock.now().as_second();
        let from = format!("\"iat\":{now},");
        let to = format!("\"iat\":{},", now + secs);
        signed(&claims(&rig, BUCKET, "object-read-only", "").replace(&from, &to))
    };
    rig.get("/lake/a/1", &ahead(61)).await.is(400, "InvalidArgument");
    let child = ahead(60);
    rig.get("/lake/a/1", &child).await.ok();
    // Everything opened until now is ended.
    *rig.leases.ended_until.lock().unwrap() = Some(rig.clock.now());
    rig.get("/lake/a/1", &child).await.is(400, "ExpiredToken");
    rig.clock.advance_secs(61);
    rig.get("/lake/a/1", &child).await.is(400, "ExpiredToken");
    rig.get("/lake/a/1", &ahead(0)).await.ok();
}

#[tokio::test]
async fn a_write_does_not_outlive_what_its_parent_was_granted() {
    let rig = rig().await;
    let child = signed(&claims(&rig, BUCKET, "object-read-write", ""));
    for (number, credential) in [own(PARENT, SECRET), child].iter().enumerate() {
        let before = std::mem::take(&mut *rig.parents.0.lock().unwrap());
        add(&rig, parent(PARENT, SECRET, vec![whole(BUCKET, Permission::AdminReadWrite)]));
        let target = format!("/lake/slow/{number}");
        let ask = rig.ask("PUT", &target).body(vec![7; 100]);
        let taken_back = || {
            rig.parents.0.lock().unwrap().clear();
            add(&rig, parent(PARENT, SECRET, vec![whole(BUCKET, Permission::ObjectReadOnly)]));
        };
        rig.halting(ask, credential, taken_back).await.is(400, "ExpiredToken");
        *rig.parents.0.lock().unwrap() = before;
        rig.get(&target, &own(PARENT, SECRET)).await.is(404, "NoSuchKey");
    }
}
