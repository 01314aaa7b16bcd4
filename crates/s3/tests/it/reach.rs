//! What a credential reaches, and every way to be refused.

use valetkey_core::Secret;
use valetkey_core::id::StorageId;
use valetkey_core::keyring::Keyring;
use valetkey_core::scope::{Action, Actions, Path, Paths};

use crate::rig::{BUCKET, Credential, OTHER_BUCKET, Rig, ring};

async fn filled() -> Rig {
    let rig = Rig::start().await;
    for key in ["jobs/daily", "jobs/daily/a", "jobs/daily/b/c", "jobs/daily-secret/x", "jobs/x", "z"] {
        rig.put(BUCKET, key, key.as_bytes().to_vec()).await;
    }
    rig.put(OTHER_BUCKET, "jobs/daily/a", "other").await;
    rig
}

#[tokio::test]
async fn a_directory_opens_itself_and_what_is_below_it() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    for (target, status, code) in [
        ("/lake/jobs/daily", 200, ""),
        ("/lake/jobs/daily/a", 200, ""),
        ("/lake/jobs/daily/b/c", 200, ""),
        ("/lake/jobs/daily/missing", 404, "NoSuchKey"),
        ("/lake/jobs/daily/", 404, "NoSuchKey"),
        ("/lake/jobs/daily//a", 404, "NoSuchKey"),
        ("/lake/jobs/daily/../x", 404, "NoSuchKey"),
        ("/lake/jobs/daily-secret/x", 403, "AccessDenied"),
        ("/lake/jobs/daily-secret/missing", 403, "AccessDenied"),
        ("/lake/jobs/x", 403, "AccessDenied"),
        ("/lake/jobs", 403, "AccessDenied"),
        ("/lake//jobs/daily/a", 403, "AccessDenied"),
        ("/lake/z", 403, "AccessDenied"),
        ("/other/jobs/daily/a", 403, "AccessDenied"),
        ("/nowhere/jobs/daily/a", 403, "AccessDenied"),
        ("/other", 403, "AccessDenied"),
        ("/lake?list-type=2", 403, "AccessDenied"),
        ("/lake?list-type=2&prefix=jobs%2F", 403, "AccessDenied"),
        ("/lake?list-type=2&prefix=jobs%2Fdaily-", 403, "AccessDenied"),
        ("/lake?list-type=2&prefix=jobs%2Fdaily", 200, ""),
        ("/lake/?list-type=2&prefix=jobs%2Fdaily%2F", 200, ""),
        ("/lake?uploads=&prefix=jobs%2Fdaily%2F", 403, "AccessDenied"),
        ("/lake?location=", 200, ""),
        ("/other?location=", 403, "AccessDenied"),
    ] {
        let answer = rig.get(target, &credential).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{target}: {}", answer.text());
    }
    let head = rig.send(rig.ask("HEAD", "/lake/jobs/daily/missing"), &credential).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    let head = rig.send(rig.ask("HEAD", "/lake/jobs/x"), &credential).await;
    assert_eq!((head.status, head.body.len()), (403, 0));
    assert!(head.header("x-amz-request-id").is_some());
}

#[tokio::test]
async fn an_encoded_slash_or_dot_is_decoded_exactly_once() {
    let rig = filled().await;
    rig.put(BUCKET, "jobs/daily/a%2Fb", "kept encoded").await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    assert_eq!(rig.get("/lake/jobs/daily/a%252Fb", &credential).await.ok().text(), "kept encoded");
    assert_eq!(rig.get("/lake/jobs%2Fdaily%2Fa", &credential).await.ok().text(), "jobs/daily/a");
    rig.get("/lake/jobs/daily/%2E%2E/x", &credential).await.is(404, "NoSuchKey");
    rig.get("/lake/jobs%252Fdaily/a", &credential).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn a_read_only_credential_writes_and_deletes_nothing() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    for (method, target) in [
        ("PUT", "/lake/jobs/daily/a"),
        ("DELETE", "/lake/jobs/daily/a"),
        ("POST", "/lake/jobs/daily/a?uploads="),
        ("PUT", "/lake/jobs/daily/a?partNumber=1&uploadId=x"),
        ("POST", "/lake/jobs/daily/a?uploadId=x"),
        ("DELETE", "/lake/jobs/daily/a?uploadId=x"),
        ("POST", "/lake?delete="),
    ] {
        rig.send(rig.ask(method, target).body("<x/>"), &credential).await.is(403, "AccessDenied");
    }
    let copy = rig.ask("PUT", "/lake/jobs/daily/copy").header("x-amz-copy-source", "/lake/jobs/daily/a");
    rig.send(copy, &credential).await.is(403, "AccessDenied");
    assert_eq!(rig.get("/lake/jobs/daily/a", &credential).await.ok().text(), "jobs/daily/a");
}

#[tokio::test]
async fn a_writer_stays_in_its_directory_too() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ_WRITE);
    rig.send(rig.ask("PUT", "/lake/jobs/daily/new").body("new"), &credential).await.ok();
    rig.send(rig.ask("PUT", "/lake/jobs/daily-secret/x").body("new"), &credential).await.is(403, "AccessDenied");
    rig.send(rig.ask("DELETE", "/lake/z"), &credential).await.is(403, "AccessDenied");
    // A copy needs its source in scope, in the same bucket or another.
    for source in ["/lake/jobs/x", "lake/jobs/daily-secret/x", "other/jobs/daily/a", "/lake/jobs/missing"] {
        let copy = rig.ask("PUT", "/lake/jobs/daily/copy").header("x-amz-copy-source", source);
        rig.send(copy, &credential).await.is(403, "AccessDenied");
    }
    let write_only = rig.directory("jobs/daily", Actions::WRITE);
    let copy = rig.ask("PUT", "/lake/jobs/daily/copy").header("x-amz-copy-source", "/lake/jobs/daily/a");
    rig.send(copy.clone(), &write_only).await.is(403, "AccessDenied");
    rig.send(copy, &credential).await.ok();
    rig.get("/lake/jobs/daily/copy", &write_only).await.is(403, "AccessDenied");
    let no_delete = rig.directory("jobs/daily", Actions::READ_WRITE.without(Action::DeleteObject));
    rig.send(rig.ask("DELETE", "/lake/jobs/daily/a"), &no_delete).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn many_deletes_are_each_asked_about() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ_WRITE);
    let keys = ["jobs/daily/a", "jobs/daily-secret/x", "jobs/daily/missing", "z"];
    let objects: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let body = format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>");
    let answer = rig.send(rig.ask("POST", "/lake?delete=").body(body), &credential).await;
    let deleted: String = answer.ok().all("Deleted").concat();
    assert!(deleted.contains("jobs/daily/a") && deleted.contains("jobs/daily/missing"), "{}", answer.text());
    assert_eq!(answer.all("Code"), ["AccessDenied", "AccessDenied"]);
    let all = rig.whole();
    rig.get("/lake/jobs/daily/a", &all).await.is(404, "NoSuchKey");
    rig.get("/lake/z", &all).await.ok();
    rig.get("/lake/jobs/daily-secret/x", &all).await.ok();
}

#[tokio::test]
async fn an_expired_or_revoked_credential_is_told_so() {
    let rig = filled().await;
    let credential = rig.vend_for(BUCKET, Paths::Whole, Actions::READ, 60);
    rig.get("/lake/z", &credential).await.ok();
    rig.clock.advance_secs(59);
    rig.get("/lake/z", &credential).await.ok();
    rig.clock.advance_secs(1);
    rig.get("/lake/z", &credential).await.is(400, "ExpiredToken");
    let head = rig.send(rig.ask("HEAD", "/lake/z"), &credential).await;
    assert_eq!((head.status, head.body.len()), (400, 0));
    let (one, two) = (rig.whole(), rig.whole());
    rig.leases.revoked.lock().unwrap().insert(one.lease);
    rig.get("/lake/z", &one).await.is(400, "ExpiredToken");
    rig.get("/lake/z", &two).await.ok();
    let presigned = rig.ask("GET", "/lake/z").presigned(&one, 60);
    rig.raw(presigned.wire()).await.is(400, "ExpiredToken");
}

#[tokio::test]
async fn a_credential_of_another_store_opens_nothing_here() {
    let rig = filled().await;
    let elsewhere = StorageId::from_bytes([6; 16]);
    let foreign = rig.vend_at(elsewhere, "lake", Paths::Whole, Actions::READ_WRITE, 3600);
    rig.get("/lake/jobs/daily/a", &foreign).await.is(400, "InvalidToken");
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let rig = filled().await;
    let (one, two) = (rig.whole(), rig.whole());
    let with = |change: fn(&mut Credential, &Credential)| {
        let mut credential = one.clone();
        change(&mut credential, &two);
        credential
    };
    for (credential, status, code) in [
        (with(|own, _| own.token.clear()), 403, "InvalidAccessKeyId"),
        (with(|own, _| own.token = "garbage".to_owned()), 400, "InvalidToken"),
        (with(|own, other| own.token.clone_from(&other.token)), 400, "InvalidToken"),
        (with(|own, _| own.token.push('A')), 400, "InvalidToken"),
        (with(|own, _| own.key_id = "AKIAIOSFODNN7EXAMPLE".to_owned()), 403, "InvalidAccessKeyId"),
        (with(|own, other| own.key_id.clone_from(&other.key_id)), 400, "InvalidToken"),
        (with(|own, other| own.secret.clone_from(&other.secret)), 403, "SignatureDoesNotMatch"),
        (
            with(|own, other| {
                own.key_id.clone_from(&other.key_id);
                own.token.clone_from(&other.token);
            }),
            403,
            "SignatureDoesNotMatch",
        ),
        // Who sees the token and the key id, as in a presigned URL, cannot derive the secret from them.
        (with(|own, _| own.secret.clone_from(&own.token)), 403, "SignatureDoesNotMatch"),
    ] {
        rig.get("/lake/z", &credential).await.is(status, code);
    }
    // A seal of other keys with the same number.
    let forger = Keyring::new(&[(1, Secret::new([9; 32]))]).unwrap();
    let mut forged = one.clone();
    forged.secret = forger.secret_access_key(&one.key_id).unwrap().reveal().clone();
    rig.get("/lake/z", &forged).await.is(403, "SignatureDoesNotMatch");
    rig.get("/lake/z", &one).await.ok();
}

#[tokio::test]
async fn a_request_changed_on_its_way_is_refused() {
    let rig = filled().await;
    let credential = rig.whole();
    let signed = |target: &str| rig.ask("GET", target).header("range", "bytes=0-0").sign(&credential).0;
    let mut ask = signed("/lake/z?response-content-type=a");
    ask.query[0].1 = "b".to_owned();
    rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    let mut ask = signed("/lake/z");
    ask.query.push(("x-id".to_owned(), "GetObject".to_owned()));
    rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    let mut ask = signed("/lake/z");
    ask.path = "/lake/jobs/x".to_owned();
    rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    let mut ask = signed("/lake/z");
    ask.method = "DELETE".to_owned();
    rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    for name in ["range", "host", "x-amz-date", "x-amz-content-sha256"] {
        let mut ask = signed("/lake/z");
        let header = ask.headers.iter_mut().find(|(own, _)| own == name).unwrap();
        match name {
            "range" => header.1 = "bytes=0-5".to_owned(),
            "host" => header.1 = "elsewhere".to_owned(),
            "x-amz-date" => header.1 = header.1.replace("T000000Z", "T000001Z"),
            _ => header.1 = "UNSIGNED-PAYLOAD".to_owned(),
        }
        rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    }
    let mut ask = signed("/lake/z");
    ask.headers.retain(|(name, _)| name != "range");
    rig.raw(ask.wire()).await.is(403, "SignatureDoesNotMatch");
    // A header that counts, added on the way.
    let ask = signed("/lake/z").unsigned("x-amz-copy-source", "/lake/z");
    rig.raw(ask.wire()).await.is(403, "AccessDenied");
    rig.raw(signed("/lake/z").wire()).await.ok();
}

#[tokio::test]
async fn the_session_token_must_be_signed_and_come_once() {
    let rig = filled().await;
    let credential = rig.whole();
    let mut bare = credential.clone();
    bare.token.clear();
    let ask = rig.ask("GET", "/lake/z").sign(&bare).0.unsigned("x-amz-security-token", &credential.token);
    rig.raw(ask.wire()).await.is(403, "AccessDenied");
    for name in ["x-amz-security-token", "x-amz-date", "x-amz-content-sha256", "authorization", "host"] {
        let (ask, _) = rig.ask("GET", "/lake/z").sign(&credential);
        let all = ask.headers.iter().chain(&ask.unsigned);
        let value = all.clone().find(|(own, _)| own == name).unwrap().1.clone();
        let answer = rig.raw(ask.unsigned(name, &value).wire()).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    // Presigned: in the query exactly once, and in no header.
    let ask = rig.ask("GET", "/lake/z").presigned(&credential, 60);
    rig.raw(ask.wire()).await.ok();
    let mut twice = ask.clone();
    twice.query.push(("X-Amz-Security-Token".to_owned(), credential.token.clone()));
    rig.raw(twice.wire()).await.is(400, "AuthorizationQueryParametersError");
    let mut other_case = ask.clone();
    other_case.query.push(("x-amz-security-token".to_owned(), credential.token.clone()));
    rig.raw(other_case.wire()).await.is(400, "AuthorizationQueryParametersError");
    let both = ask.clone().unsigned("x-amz-security-token", &credential.token);
    rig.raw(both.wire()).await.is(400, "InvalidArgument");
    let mut none = ask.clone();
    none.query.retain(|(name, _)| name != "X-Amz-Security-Token");
    rig.raw(none.wire()).await.is(403, "InvalidAccessKeyId");
    let both = ask.unsigned(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=x/20260101/a/s3/aws4_request, SignedHeaders=host, Signature=00",
    );
    rig.raw(both.wire()).await.is(400, "InvalidArgument");
}

#[tokio::test]
async fn other_ways_to_prove_who_asks_are_refused() {
    let rig = filled().await;
    let credential = rig.whole();
    rig.raw(rig.ask("GET", "/lake/z").wire()).await.is(403, "AccessDenied");
    for authorization in ["AWS AKIA:c2ln", "Bearer x", "Basic eDp5", "AWS4-ECDSA-P256-SHA256 Credential=x"] {
        let ask = rig.ask("GET", "/lake/z").unsigned("authorization", authorization);
        rig.raw(ask.wire()).await.is(400, "InvalidRequest");
    }
    let v2 = rig.ask("GET", "/lake/z?AWSAccessKeyId=x&Signature=y&Expires=1999999999");
    rig.raw(v2.wire()).await.is(400, "InvalidRequest");
    let form = "--x\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nz\r\n--x--\r\n";
    let form = rig.ask("POST", "/lake").header("content-type", "multipart/form-data; boundary=x").body(form);
    rig.raw(form.wire()).await.is(501, "NotImplemented");
    rig.send(form, &credential).await.is(501, "NotImplemented");
    let mut sts = rig.ask("GET", "/lake/z");
    sts.service = "sts".to_owned();
    rig.send(sts, &credential).await.is(400, "AuthorizationHeaderMalformed");
}

#[tokio::test]
async fn any_region_and_a_clock_fifteen_minutes_off_are_good() {
    let rig = filled().await;
    let credential = rig.whole();
    for region in ["us-east-1", "auto", "eu-central-1", "mars"] {
        let mut ask = rig.ask("GET", "/lake/z");
        ask.region = region.to_owned();
        rig.send(ask, &credential).await.ok();
    }
    let at = |secs: i64| {
        let mut ask = rig.ask("GET", "/lake/z");
        ask.time = jiff::Timestamp::from_second(ask.time.as_second() + secs).unwrap();
        ask
    };
    rig.send(at(900), &credential).await.ok();
    rig.send(at(-900), &credential).await.ok();
    rig.send(at(901), &credential).await.is(403, "RequestTimeTooSkewed");
    rig.send(at(-901), &credential).await.is(403, "RequestTimeTooSkewed");
    // A presigned URL lives as long as it says and no longer, and not before its time.
    rig.raw(at(-60).presigned(&credential, 60).wire()).await.ok();
    rig.raw(at(-61).presigned(&credential, 60).wire()).await.is(403, "AccessDenied");
    rig.raw(at(901).presigned(&credential, 60).wire()).await.is(403, "AccessDenied");
    for expires in [0, 604_801] {
        let ask = at(0).presigned(&credential, expires);
        rig.raw(ask.wire()).await.is(400, "AuthorizationQueryParametersError");
    }
}

#[tokio::test]
async fn a_presigned_url_does_only_what_was_signed() {
    let rig = filled().await;
    let credential = rig.whole();
    let put = rig.ask("PUT", "/lake/uploaded").presigned(&credential, 60);
    rig.raw(put.clone().body("by url").wire()).await.ok();
    assert_eq!(rig.get("/lake/uploaded", &credential).await.text(), "by url");
    let copy = put.clone().unsigned("x-amz-copy-source", "/lake/z");
    rig.raw(copy.wire()).await.is(403, "AccessDenied");
    let wrong = put.clone().unsigned("x-amz-content-sha256", &"0".repeat(64)).body("by url");
    rig.raw(wrong.wire()).await.is(400, "XAmzContentSHA256Mismatch");
    let mut get = put.clone();
    get.method = "GET".to_owned();
    rig.raw(get.wire()).await.is(403, "SignatureDoesNotMatch");
    // A header in the query is a header, with all that it means.
    let with = |name: &str, value: &str| {
        let mut ask = rig.ask("PUT", "/lake/hoisted");
        ask.query.push((name.to_owned(), value.to_owned()));
        ask.presigned(&credential, 60).body("x").wire()
    };
    rig.raw(with("x-amz-meta-colour", "blue")).await.ok();
    assert_eq!(rig.get("/lake/hoisted", &credential).await.header("x-amz-meta-colour"), Some("blue"));
    rig.raw(with("x-amz-checksum-crc32", "AAAAAQ%3D%3D")).await.is(400, "BadDigest");
    rig.raw(with("x-amz-server-side-encryption", "AES256")).await.is(501, "NotImplemented");
    rig.raw(with("x-amz-acl", "public-read")).await.is(501, "NotImplemented");
    rig.raw(with("x-amz-copy-source", "%2Fother%2Fjobs%2Fdaily%2Fa")).await.is(403, "AccessDenied");
    let scoped = rig.directory("jobs/daily", Actions::READ);
    rig.raw(rig.ask("GET", "/lake/jobs/daily/a").presigned(&scoped, 60).wire()).await.ok();
    rig.raw(rig.ask("GET", "/lake/z").presigned(&scoped, 60).wire()).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn both_styles_of_address_mean_the_same() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    let virtual_host = |target: &str, host: &str| {
        let mut ask = rig.ask("GET", target);
        ask.headers[0].1 = host.to_owned();
        ask
    };
    let answer = rig.send(virtual_host("/jobs/daily/a", "lake.s3.localhost:9000"), &credential).await;
    assert_eq!(answer.ok().text(), "jobs/daily/a");
    rig.send(virtual_host("/jobs/daily/a", "other.s3.localhost"), &credential).await.is(403, "AccessDenied");
    rig.send(virtual_host("/jobs/x", "lake.s3.localhost"), &credential).await.is(403, "AccessDenied");
    rig.send(virtual_host("//jobs/daily/a", "lake.s3.localhost"), &credential).await.is(403, "AccessDenied");
    rig.send(virtual_host("/lake/jobs/daily/a", "s3.localhost:9000"), &credential).await.ok();
    rig.send(virtual_host("/lake/jobs/daily/a", "storage.example.com"), &credential).await.ok();
    rig.send(virtual_host("/?list-type=2&prefix=jobs%2Fdaily%2F", "LAKE.s3.localhost"), &credential)
        .await
        .is(400, "InvalidBucketName");
    rig.send(virtual_host("/?list-type=2&prefix=jobs%2Fdaily%2F", "lake.s3.localhost"), &credential).await.ok();
}

#[tokio::test]
async fn keys_rotate_without_ending_live_credentials() {
    let rig = filled().await;
    let old = rig.whole();
    rig.keyring.replace(ring(&[2, 1]));
    let new = rig.whole();
    rig.get("/lake/z", &old).await.ok();
    rig.get("/lake/z", &new).await.ok();
    rig.keyring.replace(ring(&[2]));
    rig.get("/lake/z", &old).await.is(403, "InvalidAccessKeyId");
    rig.get("/lake/z", &new).await.ok();
}

#[tokio::test]
async fn a_scope_too_long_for_a_header_is_found_with_its_lease() {
    let rig = filled().await;
    let mut paths: Vec<Path> =
        (0..500).map(|n| Path::directory(format!("somewhere/else/{n:04}").as_bytes()).unwrap()).collect();
    paths.push(Path::directory(b"jobs/daily").unwrap());
    let credential = rig.vend(Paths::only(paths).unwrap(), Actions::READ);
    assert!(credential.token.len() < 1000);
    rig.get("/lake/jobs/daily/a", &credential).await.ok();
    rig.get("/lake/jobs/daily/a", &credential).await.ok();
    rig.get("/lake/jobs/x", &credential).await.is(403, "AccessDenied");
    let unknown = rig.vend(
        Paths::only((0..500).map(|n| Path::object(format!("some/object/{n:04}").as_bytes()).unwrap())).unwrap(),
        Actions::READ,
    );
    rig.leases.kept.lock().unwrap().clear();
    rig.get("/lake/z", &unknown).await.is(400, "InvalidToken");
}

#[tokio::test]
async fn a_refused_body_that_was_waiting_for_leave_ends_its_connection() {
    let rig = filled().await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    let put = || rig.ask("PUT", "/lake/jobs/daily/new").body("new");
    // Does not ask for the connection to end, and reads until it does.
    let wire = String::from_utf8(put().header("expect", "100-continue").signed(&credential)).unwrap();
    let refused = rig.raw(wire.replace("connection: close\r\n", "").into_bytes()).await;
    refused.is(403, "AccessDenied");
    assert_eq!(refused.header("connection"), Some("close"));
    rig.send(put().header("expect", "100-continue"), &rig.whole()).await.ok();
}

#[tokio::test]
async fn what_is_not_understood_is_not_done() {
    let rig = filled().await;
    let credential = rig.whole();
    for (method, target) in [
        ("PUT", "/lake/z?acl="),
        ("PUT", "/lake/z?tagging="),
        ("DELETE", "/lake/z?tagging="),
        ("GET", "/lake/z?versionId=abc"),
        ("DELETE", "/lake/z?versionId=abc"),
        ("GET", "/lake/z?torrent="),
        ("GET", "/lake?tagging="),
        ("PUT", "/lake?versioning="),
        ("GET", "/lake/z?unknown=1"),
        ("PUT", "/lake/z?append=&position=0"),
        ("DELETE", "/lake"),
        ("GET", "/lake?policy="),
        ("PUT", "/lake?policy="),
        ("GET", "/lake?website="),
        ("POST", "/lake/z?restore="),
        ("POST", "/lake/z?select=&select-type=2"),
        ("POST", "/lake/z"),
        ("POST", "/lake"),
        ("POST", "/"),
        ("PATCH", "/lake/z"),
    ] {
        let answer = rig.send(rig.ask(method, target), &credential).await;
        assert_eq!(answer.outcome(), (501, "NotImplemented".to_owned()), "{method} {target}: {}", answer.text());
    }
    // A bucket is not made; of the one in scope its writer learns that it is there.
    rig.send(rig.ask("PUT", "/lake"), &credential).await.is(409, "BucketAlreadyOwnedByYou");
    for target in ["/other", "/nowhere"] {
        rig.send(rig.ask("PUT", target), &credential).await.is(403, "AccessDenied");
    }
    let reader = rig.directory("jobs/daily", Actions::READ);
    rig.send(rig.ask("PUT", "/lake"), &reader).await.is(403, "AccessDenied");
    for (name, value) in [
        ("x-amz-acl", "public-read"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-website-redirect-location", "/y"),
    ] {
        let ask = rig.ask("PUT", "/lake/z").header(name, value).body("changed");
        rig.send(ask, &credential).await.is(501, "NotImplemented");
    }
    assert_eq!(rig.get("/lake/z?versionId=null", &credential).await.ok().text(), "z");
    let ask = rig.ask("PUT", "/lake/new").header("x-amz-acl", "private").header("amz-sdk-invocation-id", "x").body("x");
    rig.send(ask, &credential).await.ok();
}
