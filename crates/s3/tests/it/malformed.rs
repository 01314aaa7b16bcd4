//! Requests that no client sends: each gets a refusal in S3's own words, and the server stays.

use crate::rig::{Rig, noise};

#[tokio::test]
async fn a_malformed_proof_is_refused_in_s3s_words() {
    let rig = Rig::start().await;
    rig.put("lake", "z", "z").await;
    let credential = rig.whole();
    let (good, _) = rig.ask("GET", "/lake/z").sign(&credential);
    let authorization = good.unsigned.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
    let with = |authorization: &str| {
        let mut ask = good.clone();
        ask.unsigned = vec![("authorization".to_owned(), authorization.to_owned())];
        ask.wire()
    };
    rig.raw(with(&authorization)).await.ok();
    for bad in [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 x",
        "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
        &authorization.replace("Signature=", "Signatur="),
        &authorization.replace("/s3/", "/ec2/"),
        &authorization.replace("aws4_request", "aws5_request"),
        &authorization.replace("/20260101/", "/20260102/"),
        &authorization.replace("/20260101/", "/"),
        &authorization.replace("host;", ""),
        &authorization.replace("host;", "host;host;"),
        &authorization.replace("host;", "Host;"),
        &authorization.replace("host;", "host;x-missing;"),
        &format!("{authorization}, Signature=00"),
        &authorization[..authorization.len() - 1],
        &format!("{authorization}0"),
        &authorization.to_uppercase(),
        &authorization.replace(", ", ";"),
        &"x".repeat(20_000),
    ] {
        let answer = rig.raw(with(bad)).await;
        let (status, code) = answer.outcome();
        assert!(
            (400..=431).contains(&status)
                && (code.is_empty()
                    || [
                        "AuthorizationHeaderMalformed",
                        "SignatureDoesNotMatch",
                        "InvalidRequest",
                        "AccessDenied",
                        "InvalidAccessKeyId"
                    ]
                    .contains(&&*code)),
            "{bad}: {}",
            answer.text()
        );
        assert!(status == 431 || !code.is_empty(), "{bad}");
    }
    for (name, bad) in [
        ("x-amz-date", ""),
        ("x-amz-date", "2026-01-01T00:00:00Z"),
        ("x-amz-date", "20261301T000000Z"),
        ("x-amz-date", "20260101T250000Z"),
        ("x-amz-date", "99999999T999999Z"),
        ("x-amz-content-sha256", ""),
        ("x-amz-content-sha256", "0"),
        ("x-amz-content-sha256", &"g".repeat(64)),
        ("x-amz-security-token", "vks1."),
        ("x-amz-security-token", "vks1.AAAA"),
        ("x-amz-security-token", "vks1.!!!!"),
        ("x-amz-security-token", &"A".repeat(9000)),
        ("host", ""),
    ] {
        let mut ask = good.clone();
        ask.headers.iter_mut().find(|(own, _)| own == name).unwrap().1 = bad.to_owned();
        let answer = rig.raw(ask.wire()).await;
        assert!((400..=403).contains(&answer.status), "{name}: {bad}: {} {}", answer.status, answer.text());
        assert!(!answer.outcome().1.is_empty());
        let mut ask = good.clone();
        ask.headers.retain(|(own, _)| own != name);
        assert!((400..=403).contains(&rig.raw(ask.wire()).await.status), "without {name}");
    }
    rig.raw(with(&authorization)).await.ok();
}

#[tokio::test]
async fn a_malformed_address_is_refused_in_s3s_words() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for (target, code) in [
        ("/lake/%", "InvalidURI"),
        ("/lake/%zz", "InvalidURI"),
        ("/lake/%C3", "InvalidURI"),
        ("/lake/%ff", "InvalidURI"),
        ("/lake/o?prefix=%", "InvalidURI"),
        ("/lake?list-type=2&prefix=%FF", "InvalidURI"),
        ("/LAKE/o", "InvalidBucketName"),
        ("/la/o", "InvalidBucketName"),
        ("/127.0.0.1/o", "InvalidBucketName"),
        ("/%2e%2e/o", "InvalidBucketName"),
        ("//o", "InvalidBucketName"),
    ] {
        rig.get(target, &credential).await.is(400, code);
    }
    let null = rig.get("/lake/%00", &credential).await;
    null.is(404, "NoSuchKey");
    for wire in [
        &b"GET lake HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, wire).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut socket).await.unwrap();
        let mut answer = String::new();
        drop(tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 40"), "{}: {answer}", wire.escape_ascii());
    }
}

#[tokio::test]
async fn a_malformed_document_is_refused_in_s3s_words() {
    let rig = Rig::start().await;
    rig.put("lake", "z", "z").await;
    let credential = rig.whole();
    let many: String = (0..1001).map(|n| format!("<Object><Key>{n}</Key></Object>")).collect();
    for (body, code) in [
        (String::new(), "MissingRequestBodyError"),
        ("<".to_owned(), "MalformedXML"),
        ("<Delete>".to_owned(), "MalformedXML"),
        ("<Delete></Delete>".to_owned(), "MalformedXML"),
        ("<Delete><Object></Object></Delete>".to_owned(), "MalformedXML"),
        ("<Other/>".to_owned(), "MalformedXML"),
        ("\u{0}".to_owned(), "MalformedXML"),
        (format!("<Delete>{many}</Delete>"), "MalformedXML"),
        (format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000)), "MalformedXML"),
        ("x".repeat(2 * 1024 * 1024 + 1), "MaxMessageLengthExceeded"),
    ] {
        let answer = rig.send(rig.ask("POST", "/lake?delete=").body(body.clone()), &credential).await;
        answer.is(400, code);
    }
    let good = "<Delete><Object><Key>missing</Key></Object></Delete>";
    let with = |name: &str, value: &str| rig.ask("POST", "/lake?delete=").header(name, value).body(good);
    rig.send(with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), &credential).await.is(400, "BadDigest");
    rig.send(with("x-amz-checksum-crc32", "AAAAAA=="), &credential).await.is(400, "BadDigest");
    let told = rig.ask("POST", "/lake?delete=").told(&"0".repeat(64)).body(good);
    rig.send(told, &credential).await.is(400, "XAmzContentSHA256Mismatch");
    rig.send(rig.ask("POST", "/lake?delete=").body(good), &credential).await.ok();
    assert_eq!(rig.get("/lake/z", &credential).await.ok().text(), "z");
}

#[tokio::test]
async fn a_body_that_ends_early_makes_no_object() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for sent in [0, 100, 100_000] {
        let ask = rig.ask("PUT", "/lake/o").header("content-length", "200000");
        let ask = ask.told("UNSIGNED-PAYLOAD").body(noise(1, sent));
        let wire = ask.signed(&credential);
        let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, &wire).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut socket).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer).await);
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
    let no_length = rig.ask("PUT", "/lake/o").header("content-length", "x");
    assert!((400..=411).contains(&rig.send(no_length, &credential).await.status));
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
    crate::multipart::until_files(&rig, 0).await;
}

#[tokio::test]
async fn an_object_over_the_limit_is_refused() {
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let rig = Rig::start_in(dir, |config| config.limits.max_object_bytes = 100_000).await;
    let credential = rig.whole();
    rig.send(rig.ask("PUT", "/lake/o").body(noise(1, 100_001)), &credential).await.is(400, "EntityTooLarge");
    rig.send(rig.ask("PUT", "/lake/o").body(noise(1, 100_000)), &credential).await.ok();
}

#[tokio::test]
async fn refusals_tell_no_secret() {
    let rig = Rig::start().await;
    let (one, two) = (rig.whole(), rig.whole());
    let mut swapped = one.clone();
    swapped.token.clone_from(&two.token);
    let mut wrong = one.clone();
    wrong.secret.clone_from(&two.secret);
    for credential in [&swapped, &wrong] {
        let text = rig.get("/lake/z", credential).await.text();
        for secret in [&one.secret, &one.token, &two.secret, &two.token] {
            assert!(!text.contains(secret.as_str()));
        }
    }
    let presigned = rig.ask("GET", "/lake/missing").presigned(&one, 60);
    let text = rig.raw(presigned.wire()).await.text();
    assert!(!text.contains(&one.token) && text.contains("<Resource>/lake/missing</Resource>"), "{text}");
}

#[tokio::test]
async fn a_sender_that_pauses_for_too_long_is_refused() {
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let rig = Rig::start_in(dir, |config| config.limits.idle = std::time::Duration::from_millis(50)).await;
    let credential = rig.whole();
    let ask = rig.ask("PUT", "/lake/o").header("content-length", "100").told("UNSIGNED-PAYLOAD").body("some");
    rig.send(ask, &credential).await.is(408, "RequestTimeout");
}
