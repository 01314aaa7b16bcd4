//! What goes on to a storage that speaks S3, what does not, and what is believed of its answers.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use valetkey_core::id::AccountId;
use valetkey_core::scope::{Actions, Paths};

use crate::rig::{Credential, Rig, noise};
use crate::stub::{Does, Stub, lead, says};
use crate::upstream;

const MIB: usize = 1024 * 1024;
const TAG: &str = "etag: \"e\"\r\n";

async fn rig() -> (Rig, Stub, Credential) {
    let (rig, stub) = Stub::start(|_| {}).await;
    let credential = rig.whole();
    (rig, stub, credential)
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message><HostId>secret-host</HostId></Error>"
    )
}

#[tokio::test]
async fn a_key_that_ends_while_a_body_comes_brings_nothing_into_being() {
    for size in [100, MIB, 12 * MIB] {
        let (rig, mut stub, credential) = rig().await;
        let ask = rig.ask("PUT", "/lake/slow").body(vec![7; size]);
        let revoke = || {
            rig.leases.revoked.lock().unwrap().insert(credential.lease);
        };
        rig.halting(ask, &credential, revoke).await.is(400, "ExpiredToken");
        if size > 64 * 1024 {
            let seen = stub.seen().await;
            assert!(!seen.whole && seen.body.len() < size, "{size}: {} came", seen.body.len());
        }
        assert!(stub.saw_nothing());
    }
}

#[tokio::test]
async fn the_last_bytes_wait_for_the_last_byte() {
    let (rig, mut stub, credential) = rig().await;
    let body = noise(3, 2 * MIB);
    // Half of it goes on while the other half is held back, and the storage has less than that when the sender goes away.
    let wire = rig.ask("PUT", "/lake/held").body(body.clone()).signed(&credential);
    let (most, _) = wire.split_at(wire.len() - 1);
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(most).await.unwrap();
        socket.shutdown().await.unwrap();
    }
    let seen = stub.seen().await;
    assert!(!seen.whole && seen.body.len() < body.len() - 1, "{}", seen.body.len());
    // And all of it does when it comes.
    stub.answers("200 OK", TAG, "");
    rig.send(rig.ask("PUT", "/lake/held").body(body.clone()), &credential).await.ok();
    let seen = stub.seen().await;
    assert!(seen.whole && seen.body == body);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_told_is_never_whole_there() {
    let (rig, mut stub, credential) = rig().await;
    for size in [10, 3 * MIB] {
        let body = noise(size as u64, size);
        let ask = || rig.ask("PUT", "/lake/o").body(body.clone());
        for (ask, code) in [
            (ask().header("content-md5", "CY9rzUYh03PK3k6DJie09g=="), "BadDigest"),
            (ask().header("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest"),
            (
                ask().header("x-amz-checksum-sha256", &"A".repeat(43).chars().chain(['=']).collect::<String>()),
                "BadDigest",
            ),
            (ask().told(&"0".repeat(64)), "XAmzContentSHA256Mismatch"),
        ] {
            rig.send(ask, &credential).await.is(400, code);
            if size > 64 * 1024 {
                assert!(!stub.seen().await.whole);
            }
            assert!(stub.saw_nothing());
        }
    }
}

#[tokio::test]
async fn only_what_is_understood_goes_on() {
    let (rig, mut stub, credential) = rig().await;
    let ask = rig
        .ask("PUT", "/lake/a%20b//../c")
        .header("x-amz-meta-colour", "blue")
        .header("content-type", "a/b")
        .header("x-amz-storage-class", "GLACIER_IR")
        .header("x-amz-acl", "private")
        .unsigned("cookie", "c=1")
        .unsigned("x-forwarded-for", "1.2.3.4")
        .unsigned("x-unknown", "1")
        .body("hello");
    rig.send(ask, &credential).await.ok();
    let seen = stub.seen().await;
    assert_eq!(seen.line(), "PUT /lake/a%20b//../c HTTP/1.1");
    let mut names: Vec<String> = seen
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name.to_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-amz-meta-colour",
            "x-amz-storage-class"
        ]
    );
    assert!(seen.header("authorization").unwrap().contains("Credential=AKIAOFTHESTORE/"));
    assert!(!seen.head.contains(&credential.key_id) && !seen.head.contains(&credential.token));
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-never-heard-of", "x"),
        ("if-never-heard-of", "x"),
    ] {
        rig.send(rig.ask("PUT", "/lake/o").header(name, value).body("x"), &credential).await.is(501, "NotImplemented");
    }
    for target in ["/lake/o?acl=", "/lake/o?tagging=", "/lake/o?retention=", "/lake?policy=", "/lake/o?versionId=1"] {
        let answer = rig.send(rig.ask("PUT", target).body("x"), &credential).await;
        assert!(matches!(answer.status, 403 | 501), "{target} {}", answer.status);
    }
    rig.get("/lake/o?never-heard-of=1", &credential).await.is(501, "NotImplemented");
    rig.get("/lake?uploads=", &credential).await.is(501, "NotImplemented");
    assert!(stub.saw_nothing());
}

#[tokio::test]
async fn what_is_beside_the_scope_is_never_asked_for() {
    let (rig, mut stub, _) = rig().await;
    let narrow = rig.directory("a", Actions::READ_WRITE);
    for (method, target) in [
        ("GET", "/lake/ab"),
        ("GET", "/lake/a"),
        ("GET", "/lake/b/c"),
        ("GET", "/other/a/b"),
        ("PUT", "/lake/a%2F..%2Fb"),
        ("DELETE", "/lake/ab/c"),
        ("POST", "/lake/ab?uploads="),
        ("GET", "/lake?list-type=2&prefix=ab"),
        ("GET", "/lake?list-type=2"),
    ] {
        let answer = rig.send(rig.ask(method, target), &narrow).await;
        let inside = target == "/lake/a%2F..%2Fb" || target == "/lake/a";
        assert_eq!(answer.status == 403, !inside, "{method} {target}");
        if inside {
            // Keys are bytes: these two are inside.
            stub.seen().await;
        }
    }
    let read = rig.directory("a", Actions::READ);
    rig.send(rig.ask("PUT", "/lake/a/b").body("x"), &read).await.is(403, "AccessDenied");
    let copy = rig.ask("PUT", "/lake/a/b").header("x-amz-copy-source", "lake/ab/c");
    rig.send(copy, &narrow).await.is(403, "AccessDenied");
    assert!(stub.saw_nothing());
}

#[tokio::test]
async fn an_object_that_ends_early_is_not_taken_for_whole() {
    let (rig, stub, credential) = rig().await;
    stub.will(Does::Cuts(format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n{TAG}\r\n12345")));
    let got = rig.get("/lake/o", &credential).await;
    assert_eq!((got.status, got.header("content-length"), got.text().as_str()), (200, Some("10"), "12345"));
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        "HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\n",
        "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\netag: \"e\"\r\n",
        "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\netag: \"e\"\r\ncontent-range: bytes 0-5/9\r\n",
        "HTTP/1.1 204 No Content\r\netag: \"e\"\r\n",
    ] {
        stub.will(Does::Cuts(format!("{head}\r\n12345")));
        rig.get("/lake/o", &credential).await.is(502, "InternalError");
    }
}

#[tokio::test]
async fn a_web_page_is_no_answer() {
    let (rig, stub, credential) = rig().await;
    let page = || stub.answers("200 OK", "content-type: text/html\r\n", "<html>Please log in</html>");
    for (method, target) in [
        ("GET", "/lake/o"),
        ("HEAD", "/lake/o"),
        ("PUT", "/lake/o"),
        ("DELETE", "/lake/o"),
        ("GET", "/lake?list-type=2"),
        ("GET", "/lake/o?tagging="),
        ("POST", "/lake/o?uploads="),
        ("HEAD", "/lake"),
    ] {
        page();
        let answer = rig.send(rig.ask(method, target), &credential).await;
        assert_eq!(answer.status, 502, "{method} {target}: {}", answer.text());
        assert!(!answer.text().contains("log in"));
    }
    stub.answers("403 Forbidden", "content-type: text/html\r\n", "<html>no</html>");
    rig.get("/lake/o", &credential).await.is(502, "InternalError");
    // One that has an entity tag, as many frameworks write it, and says little of what it is; and what is no page.
    for (kind, body) in [
        ("content-type: text/html\r\n", "<html>Please log in</html>"),
        ("content-type: application/xhtml+xml\r\n", "log in"),
        ("", "\n<!doctype html><p>Please log in"),
        ("content-type: text/plain\r\n", "<p>Please log in"),
        ("content-type: application/json\r\n", "{\"error\":\"log in\"}"),
    ] {
        for (method, target) in [("PUT", "/lake/o"), ("DELETE", "/lake/o")] {
            stub.answers("200 OK", &format!("etag: \"1\"\r\n{kind}"), body);
            let answer = rig.send(rig.ask(method, target), &credential).await;
            assert_eq!(answer.status, 502, "{method} {target} {body}: {}", answer.text());
            assert!(!answer.text().contains("log in"));
        }
    }
    // A refusal behind the status of a success.
    stub.answers("200 OK", "etag: \"1\"\r\n", &error("AccessDenied", "no"));
    rig.send(rig.ask("PUT", "/lake/o"), &credential).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let (rig, stub, credential) = rig().await;
    let (_other_rig, mut other) = Stub::start(|_| {}).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let location = format!("location: http://{}/lake/o\r\n", other.address);
        stub.answers(status, &location, &error("PermanentRedirect", "elsewhere"));
        rig.get("/lake/o", &credential).await.is(502, "InternalError");
    }
    assert!(other.saw_nothing());
}

#[tokio::test]
async fn the_storages_own_troubles_are_not_told_as_the_clients() {
    let (rig, stub, credential) = rig().await;
    for (status, code, told) in [
        ("403 Forbidden", "InvalidAccessKeyId", (502, "InternalError")),
        ("403 Forbidden", "SignatureDoesNotMatch", (502, "InternalError")),
        ("400 Bad Request", "ExpiredToken", (502, "InternalError")),
        ("403 Forbidden", "RequestTimeTooSkewed", (502, "InternalError")),
        ("500 Internal Server Error", "InternalError", (502, "InternalError")),
        ("503 Slow Down", "SlowDown", (503, "SlowDown")),
        ("503 Service Unavailable", "ServiceUnavailable", (503, "ServiceUnavailable")),
        ("403 Forbidden", "AccessDenied", (403, "AccessDenied")),
        ("404 Not Found", "NoSuchKey", (404, "NoSuchKey")),
        ("404 Not Found", "NoSuchBucket", (404, "NoSuchBucket")),
        ("412 Precondition Failed", "PreconditionFailed", (412, "PreconditionFailed")),
        ("416 Range", "InvalidRange", (416, "InvalidRange")),
        ("403 Forbidden", "InvalidObjectState", (403, "InvalidObjectState")),
        ("501 Not Implemented", "NotImplemented", (501, "NotImplemented")),
    ] {
        // What failed is asked once more.
        let passing = status.starts_with('5') && !status.starts_with("501");
        for _ in 0..=usize::from(passing) {
            stub.answers(status, "", &error(code, "words"));
        }
        let answer = rig.get("/lake/o", &credential).await;
        answer.is(told.0, told.1);
        assert!(!answer.text().contains("secret-host"));
    }
    // Not a word of the storage's: who knows what they name.
    for message in ["for AKIAOFTHESTORE", "at 127.0.0.1", "arn:aws:kms:eu-1:123456789012:key/1", "hidden-name is wrong"]
    {
        for (code, words) in
            [("InvalidArgument", "Invalid Argument"), ("KMS", "The storage behind this bucket refused the request.")]
        {
            stub.answers("400 Bad Request", "", &error(code, message));
            assert_eq!(rig.get("/lake/o", &credential).await.one("Message"), words);
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_range_than_was_asked_for_is_none() {
    let (rig, stub, credential) = rig().await;
    for (asked, range, fits) in [
        ("bytes=0-3", "bytes 0-3/100", true),
        ("bytes=0-3", "bytes 5-8/100", false),
        ("bytes=96-", "bytes 96-99/100", true),
        ("bytes=96-", "bytes 95-98/100", false),
        ("bytes=-4", "bytes 96-99/100", true),
        ("bytes=-4", "bytes 0-3/100", false),
        ("bytes=98-200", "bytes 98-101/102", true),
        ("bytes=0-2", "bytes 0-3/100", false),
        ("", "bytes 0-3/100", false),
    ] {
        stub.answers("206 Partial Content", &format!("{TAG}content-range: {range}\r\n"), "data");
        let ask = rig.ask("GET", "/lake/o");
        let ask = if asked.is_empty() { ask } else { ask.header("range", asked) };
        let answer = rig.send(ask, &credential).await;
        assert_eq!(answer.status, if fits { 206 } else { 502 }, "{asked} {range}");
    }
}

/// A storage that joins keys to paths of its disk would take them out of the scope.
#[tokio::test]
async fn a_key_that_climbs_goes_only_where_keys_are_taken_as_they_are() {
    for exact in [true, false] {
        let (rig, mut stub) = Stub::of(exact, |_| {}).await;
        let credential = rig.whole();
        for (method, target, header) in [
            ("GET", "/a/../b", None),
            ("HEAD", "/a/..", None),
            ("PUT", "/../b", None),
            ("DELETE", "/a/%2E%2E/b", None),
            ("GET", "/a%5C..%5Cb", None),
            ("GET", "?list-type=2&prefix=a%2F..%2F", None),
            ("POST", "/a/../b?uploads=", None),
            ("PUT", "/c", Some("lake/a/../b")),
        ] {
            let ask = rig.ask(method, &format!("/lake{target}"));
            let ask = header.into_iter().fold(ask, |ask, source| ask.header("x-amz-copy-source", source));
            let answer = rig.send(ask, &credential).await;
            if exact {
                assert!(!stub.saw_nothing(), "{method} {target}: {} {}", answer.status, answer.text());
                while !stub.saw_nothing() {}
            } else {
                assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
                assert!(stub.saw_nothing(), "{method} {target}");
            }
        }
        if !exact {
            let delete = "<Delete><Object><Key>a/../b</Key></Object><Object><Key>../c</Key></Object></Delete>";
            let answer = rig.send(rig.ask("POST", "/lake?delete=").body(delete), &credential).await;
            assert_eq!(answer.text().matches("InvalidArgument").count(), 2, "{}", answer.text());
            assert!(stub.saw_nothing());
            // What only looks like it does not climb.
            for key in ["a/..b", "...", "a/b../c", "a/./b"] {
                rig.get(&format!("/lake/{key}"), &credential).await;
                assert!(!stub.saw_nothing(), "{key}");
            }
        }
    }
}

#[tokio::test]
async fn a_storage_that_is_silent_is_not_waited_for_without_end() {
    let (rig, stub, credential) = rig().await;
    for body in [10, MIB] {
        stub.will(Does::IsSilent);
        let ask = rig.ask("PUT", "/lake/o").body(vec![1; body]);
        rig.send(ask, &credential).await.is(503, "ServiceUnavailable");
    }
    // Nor one that answers before it has read: what it says then is no success.
    stub.will(Does::Hurries(says("200 OK", TAG, "")));
    let hurried = rig.send(rig.ask("PUT", "/lake/o").body(vec![1; 8 * MIB]), &credential).await;
    assert!(matches!(hurried.status, 200 | 502), "{}", hurried.status);
    stub.will(Does::Hurries(says("403 Forbidden", "connection: close\r\n", &error("AccessDenied", "no"))));
    rig.send(rig.ask("PUT", "/lake/o").body(vec![1; 8 * MIB]), &credential).await.is(403, "AccessDenied");
}

async fn upload(rig: &Rig, stub: &mut Stub, credential: &Credential, target: &str) -> String {
    let document = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>own/id+1</UploadId></InitiateMultipartUploadResult>";
    stub.answers("200 OK", "", document);
    let answer = rig.send(rig.ask("POST", &format!("{target}?uploads=")), credential).await;
    assert_eq!((answer.ok().one("Bucket"), answer.one("Key")), ("lake".to_owned(), target[6..].to_owned()));
    stub.seen().await;
    answer.one("UploadId")
}

#[tokio::test]
async fn an_upload_is_its_accounts_and_its_keys_alone() {
    let (mut rig, mut stub, credential) = rig().await;
    let id = upload(&rig, &mut stub, &credential, "/lake/a/o").await;
    assert!(!id.contains("own"));
    rig.send(rig.ask("PUT", &format!("/lake/a/o?partNumber=1&uploadId={id}")).body("x"), &credential).await.ok();
    assert_eq!(stub.seen().await.line(), "PUT /lake/a/o?partNumber=1&uploadId=own%2Fid%2B1 HTTP/1.1");
    rig.send(rig.ask("DELETE", &format!("/lake/a/o?uploadId={id}")), &credential).await.ok();
    assert_eq!(stub.seen().await.line(), "DELETE /lake/a/o?uploadId=own%2Fid%2B1 HTTP/1.1");
    let mut tampered = id.clone().into_bytes();
    *tampered.last_mut().unwrap() = if tampered.last() == Some(&b'A') { b'B' } else { b'A' };
    let first = format!("{}{}", if id.starts_with('A') { 'B' } else { 'A' }, &id[1..]);
    let tampered = String::from_utf8(tampered).unwrap();
    let complete =
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>";
    let none = async |rig: &Rig, credential: &Credential, bucket_key: &str, id: &str| {
        for (method, query, body) in
            [("PUT", "partNumber=1&", "x"), ("POST", "", complete), ("DELETE", "", ""), ("GET", "", "")]
        {
            let ask = rig.ask(method, &format!("{bucket_key}?{query}uploadId={id}")).body(body);
            rig.send(ask, credential).await.is(404, "NoSuchUpload");
        }
    };
    for id in [&tampered, &first, "own%2Fid%2B1", "", "0123456789abcdef0123456789abcdef"] {
        none(&rig, &credential, "/lake/a/o", id).await;
    }
    none(&rig, &credential, "/lake/a/p", &id).await;
    let other = rig.vend_for("other", Paths::Whole, Actions::READ_WRITE, 60);
    none(&rig, &other, "/other/a/o", &id).await;
    // Another caller of the account, and one of another account.
    none(&rig, &rig.whole(), "/lake/a/o", &id).await;
    rig.account = AccountId::from_bytes([9; 16]);
    none(&rig, &rig.whole(), "/lake/a/o", &id).await;
    assert!(stub.saw_nothing());
}

#[tokio::test]
async fn a_success_that_turns_out_a_refusal_is_one() {
    let (rig, mut stub, credential) = rig().await;
    let id = upload(&rig, &mut stub, &credential, "/lake/o").await;
    let complete = || {
        let part = "<Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part>";
        let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(body)
    };
    let copy = || rig.ask("PUT", "/lake/o").header("x-amz-copy-source", "lake/p");
    for (code, told) in [
        ("InternalError", (502, "InternalError")),
        ("InvalidPart", (400, "InvalidPart")),
        ("NoSuchUpload", (404, "NoSuchUpload")),
        ("PreconditionFailed", (412, "PreconditionFailed")),
        ("SlowDown", (503, "SlowDown")),
        ("ExpiredToken", (502, "InternalError")),
    ] {
        for ask in [complete(), copy()] {
            stub.answers(
                "200 OK",
                "",
                &format!("  \n {}", error(code, "words").replace("<?xml version=\"1.0\"?>", "")),
            );
            rig.send(ask, &credential).await.is(told.0, told.1);
        }
    }
    // What is no result is none either.
    for body in [
        "",
        "   ",
        "<Other/>",
        "<CompleteMultipartUploadResult>",
        "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>",
    ] {
        stub.answers("200 OK", "", body);
        rig.send(complete(), &credential).await.is(502, "InternalError");
    }
    let result = "<CompleteMultipartUploadResult xmlns=\"x\"><Location>http://secret-host/b/k</Location><Bucket>b</Bucket>\
                  <Key>k</Key><ETag>\"e-1\"</ETag><Other>secret</Other></CompleteMultipartUploadResult>";
    stub.answers("200 OK", "x-amz-version-id: v1\r\nx-other: secret\r\n", result);
    let done = rig.send(complete(), &credential).await;
    assert_eq!((done.ok().one("ETag"), done.one("Bucket")), ("&quot;e-1&quot;".to_owned(), "lake".to_owned()));
    assert_eq!(done.one("Location"), format!("http://{}/lake/o", rig.host()));
    assert_eq!((done.header("x-amz-version-id"), done.header("x-other")), (Some("v1"), None));
    assert!(!done.text().contains("secret"));
}

#[tokio::test]
async fn who_waits_long_is_kept_waiting_as_the_storage_keeps_us() {
    let (rig, mut stub) = Stub::start(|config| config.limits.patience = Duration::ZERO).await;
    let credential = rig.whole();
    let id = upload(&rig, &mut stub, &credential, "/lake/o").await;
    let result = "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>";
    for (document, end) in [
        (result.to_owned(), "&quot;e-1&quot;"),
        (error("InvalidPart", "w").replace("<?xml version=\"1.0\"?>", ""), "InvalidPart"),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let pieces = vec![
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk("<?xml version=\"1.0\"?>")),
            chunk("  \n"),
            format!("{}0\r\n\r\n", chunk(&document)),
        ];
        stub.will(Does::Works(pieces, Arc::clone(&gate)));
        let part = "<Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part>";
        let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        let ask = rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(body);
        let (answer, ()) = futures::future::join(rig.send(ask, &credential), async {
            stub.seen().await;
            gate.add_permits(3);
        })
        .await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{}", answer.text());
        assert!(answer.text().contains(end) && !answer.text().contains('\n'), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_listing_tells_nothing_that_was_not_asked_for() {
    let (rig, mut stub) = Stub::start(|_| {}).await;
    let narrow = rig.directory("a", Actions::READ);
    let page = |keys: &[&str]| {
        let contents: String = keys
            .iter()
            .map(|key| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>1</Size>\
                     <Owner><ID>secret</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
                )
            })
            .collect();
        format!(
            "<ListBucketResult><Name>there</Name><EncodingType>url</EncodingType><KeyCount>{}</KeyCount>\
             <IsTruncated>false</IsTruncated>{contents}</ListBucketResult>",
            keys.len()
        )
    };
    stub.answers("200 OK", "", &page(&["a/b%2Fc", "a/d+e%2B"]));
    let answer = rig.get("/lake?list-type=2&prefix=a%2F&continuation-token=t%2F1", &narrow).await;
    assert_eq!(answer.ok().all("Key"), ["a/b/c", "a/d e+"]);
    assert_eq!(answer.one("Name"), "lake");
    assert!(!answer.text().contains("secret") && !answer.text().contains("EncodingType"));
    let line = stub.seen().await.line().to_owned();
    assert!(line.contains("continuation-token=t%2F1") && line.contains("prefix=a%2F"), "{line}");
    stub.answers("200 OK", "", &page(&["a/b", "ab"]));
    rig.get("/lake?list-type=2&prefix=a%2F", &narrow).await.is(502, "InternalError");
    // On the border what is inside is told, and nothing beside it.
    stub.seen().await;
    stub.answers("200 OK", "", &page(&["a", "a-b", "a%2Fb", "ab"]));
    let answer = rig.get("/lake?list-type=2&prefix=a", &narrow).await;
    assert!(stub.seen().await.line().contains("prefix=a"));
    assert_eq!(answer.ok().all("Key"), ["a", "a/b"]);
    for broken in [
        "<ListBucketResult>",
        "<Other/>",
        "{}",
        "<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>true</IsTruncated></ListBucketResult>",
    ] {
        stub.answers("200 OK", "", broken);
        rig.get("/lake?list-type=2&prefix=a%2F", &narrow).await.is(502, "InternalError");
    }
}

#[tokio::test]
async fn many_are_deleted_with_one_request_or_one_by_one() {
    let (rig, mut stub) = Stub::start(|_| {}).await;
    let narrow = rig.directory("a", Actions::READ_WRITE);
    let document = |keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        format!("<Delete>{keys}</Delete>")
    };
    let ask = |keys: &[&str]| rig.ask("POST", "/lake?delete=").body(document(keys));
    stub.answers("200 OK", "", "<DeleteResult><Deleted><Key>a/1</Key></Deleted><Error><Key>a/2</Key><Code>AccessDenied</Code><Message>m</Message></Error><Deleted><Key>b</Key></Deleted></DeleteResult>");
    let answer = rig.send(ask(&["a/1", "a/2", "a/3", "b"]), &narrow).await;
    assert_eq!(answer.ok().all("Deleted"), ["<Key>a/1</Key>"]);
    // The one that the storage says nothing of is not said to be gone.
    assert_eq!(answer.all("Code"), ["AccessDenied", "InternalError", "AccessDenied"]);
    let seen = stub.seen().await;
    assert!(seen.header("content-md5").is_some());
    assert!(!String::from_utf8(seen.body).unwrap().contains("<Key>b</Key>"));
    // A storage without that request.
    stub.answers("501 Not Implemented", "", &error("NotImplemented", "no"));
    for _ in 0..2 {
        stub.answers("204 No Content", "", "");
    }
    let answer = rig.send(ask(&["a/1", "a/2"]), &narrow).await;
    assert_eq!(answer.ok().all("Deleted").len(), 2);
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(stub.seen().await.line().to_owned());
    }
    lines.sort();
    assert_eq!(lines[..2], ["DELETE /lake/a/1 HTTP/1.1", "DELETE /lake/a/2 HTTP/1.1"]);
}

#[tokio::test]
async fn a_condition_holds_whether_or_not_the_storage_knows_it() {
    let (rig, mut stub, credential) = rig().await;
    let there = "etag: \"e\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    for (method, name, value, status) in [
        ("PUT", "if-match", "\"other\"", 412),
        ("PUT", "if-none-match", "*", 412),
        ("PUT", "if-unmodified-since", "Thu, 01 Jan 2025 00:00:00 GMT", 412),
        ("DELETE", "if-match", "\"other\"", 412),
        ("PUT", "if-match", "\"e\"", 200),
        ("DELETE", "if-match", "\"e\"", 204),
    ] {
        stub.answers("200 OK", there, "");
        if status < 300 {
            stub.answers("200 OK", TAG, "");
        }
        let answer = rig.send(rig.ask(method, "/lake/o").header(name, value).body(""), &credential).await;
        assert_eq!(answer.status, status, "{method} {name}");
        assert!(stub.seen().await.line().starts_with("HEAD "));
        if status < 300 {
            assert_eq!(stub.seen().await.header(name).as_deref(), Some(value.trim_matches('"')));
        }
        assert!(stub.saw_nothing());
    }
}

#[tokio::test]
async fn what_is_read_is_told_with_its_headers_and_no_others() {
    let (rig, mut stub, credential) = rig().await;
    let headers = "etag: \"e\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: a/b\r\ncache-control: no-store\r\n\
                   x-amz-meta-colour: blue\r\nx-amz-checksum-crc32: AAAAAA==\r\nx-amz-storage-class: GLACIER_IR\r\n\
                   x-amz-id-2: secret\r\nset-cookie: secret\r\nx-amz-request-id: theirs\r\nserver: secret\r\ncontent-range: bytes 1-3/9\r\n";
    stub.answers("206 Partial Content", headers, "abc");
    let ask = rig
        .ask("GET", "/lake/o?response-content-type=c%2Fd&partNumber=2")
        .header("range", "bytes=1-3")
        .header("x-amz-checksum-mode", "ENABLED");
    let got = rig.send(ask, &credential).await;
    assert_eq!((got.status, got.text().as_str()), (206, "abc"));
    for (name, value) in [
        ("content-type", Some("c/d")),
        ("content-range", Some("bytes 1-3/9")),
        ("x-amz-meta-colour", Some("blue")),
        ("x-amz-checksum-crc32", Some("AAAAAA==")),
        ("x-amz-storage-class", Some("GLACIER_IR")),
        ("cache-control", Some("no-store")),
        ("set-cookie", None),
        ("x-amz-id-2", None),
        ("server", None),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert_ne!(got.header("x-amz-request-id"), Some("theirs"));
    let seen = stub.seen().await;
    assert_eq!(seen.line(), "GET /lake/o?partNumber=2 HTTP/1.1");
    assert_eq!(
        (seen.header("range").as_deref(), seen.header("x-amz-checksum-mode").as_deref()),
        (Some("bytes=1-3"), Some("ENABLED"))
    );
    stub.answers("304 Not Modified", "etag: \"e\"\r\n", "");
    let got = rig.send(rig.ask("GET", "/lake/o").header("if-none-match", "\"e\""), &credential).await;
    assert_eq!((got.status, got.header("etag"), got.body.len()), (304, Some("\"e\""), 0));
    stub.answers("200 OK", "etag: \"e\"\r\n", "");
    let head = rig.send(rig.ask("HEAD", "/lake/o"), &credential).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn what_an_earlier_version_kept_is_told_until_it_changes_and_markers_go_where_they_belong() {
    let dir = Arc::new(TempDir::new().unwrap());
    let now = upstream::open(&dir.path().join("upstream"));
    let before = crate::each::Each { forwards: false, ..now.clone() };
    lead(dir.path(), Arc::new(before));
    let rig = Rig::start_in(dir, |_| {}).await;
    let credential = rig.whole();
    // Storages were given ASCII alone, and so this was kept here.
    let odd = |value: &str| {
        rig.ask("PUT", "/lake/o").header("x-amz-meta-odd", value).header("x-amz-meta-a", "b").body("same")
    };
    for key in ["o", "p"] {
        let ask = odd("ü");
        rig.send(crate::rig::Ask { path: format!("/lake/{key}"), ..ask }, &credential).await.ok();
    }
    for marker in ["dir/", "dir/sub/"] {
        rig.send(rig.ask("PUT", &format!("/lake/{marker}")).header("content-type", "x/marker"), &credential).await.ok();
    }
    let begun = rig.send(rig.ask("POST", "/lake/u?uploads="), &credential).await.ok().one("UploadId");
    assert_eq!(now.ways["lake"].list("lake", "", b"", 9).await.unwrap().len(), 2);

    rig.endpoint.attach((rig.storage, &"behind".parse().unwrap()), Arc::new(now.clone()));
    let head = async |key: &str| rig.send(rig.ask("HEAD", &format!("/lake/{key}")), &credential).await;
    let got = head("o").await;
    assert_eq!((got.ok().header("x-amz-meta-odd"), got.header("x-amz-meta-a")), (Some("ü"), Some("b")));
    // The same bytes with other words about them are another object.
    rig.send(odd("c"), &credential).await.ok();
    assert_eq!(head("o").await.header("x-amz-meta-odd"), Some("c"));
    rig.send(rig.ask("PUT", "/lake/o").body("same"), &credential).await.ok();
    assert_eq!(head("o").await.header("x-amz-meta-odd"), None);
    assert_eq!(head("p").await.header("x-amz-meta-odd"), Some("ü"));
    let part = rig.ask("PUT", &format!("/lake/u?partNumber=1&uploadId={begun}")).body("x");
    rig.send(part, &credential).await.is(404, "NoSuchUpload");
    for _ in 0..500 {
        if head("dir/sub/").await.status == 200 && head("dir/").await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(head("dir/").await.ok().header("content-type"), Some("x/marker"));
    assert_eq!(rig.get("/lake?list-type=2", &credential).await.all("Key"), ["dir/", "dir/sub/", "o", "p"]);
}
