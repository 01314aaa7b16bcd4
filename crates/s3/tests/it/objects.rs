//! Objects written, read, copied and deleted.

use data_encoding::BASE64;
use valetkey_core::scope::Actions;

use crate::rig::{BUCKET, Rig, encoded_key, noise, sha256};

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    // Inline, on the border of it, in one chunk, in several.
    for size in [0, 1, 4096, 16 * 1024, 16 * 1024 + 1, 300_000, 3_000_001] {
        let body = noise(size as u64, size);
        let put = rig.send(rig.ask("PUT", "/lake/dir/o%20%C3%A9").body(body.clone()), &credential).await;
        let etag = put.ok().header("etag").unwrap().to_owned();
        assert!(put.header("x-amz-checksum-crc64nvme").is_some());
        let got = rig.get("/lake/dir/o%20%C3%A9", &credential).await;
        assert_eq!(got.status, 200);
        assert!(got.body == body, "{size}");
        assert_eq!(got.header("etag"), Some(&*etag));
        assert_eq!(got.header("content-length"), Some(&*size.to_string()));
        assert_eq!(got.header("content-type"), Some("binary/octet-stream"));
        assert_eq!(got.header("accept-ranges"), Some("bytes"));
        // Another store has its own clock.
        assert!(rig.is_behind() || got.header("last-modified") == Some("Thu, 01 Jan 2026 00:00:00 GMT"));
        let head = rig.send(rig.ask("HEAD", "/lake/dir/o%20%C3%A9"), &credential).await;
        assert_eq!(head.header("content-length"), Some(&*size.to_string()));
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(&*etag)));
    }
    rig.send(rig.ask("DELETE", "/lake/dir/o%20%C3%A9"), &credential).await.is(204, "");
    rig.get("/lake/dir/o%20%C3%A9", &credential).await.is(404, "NoSuchKey");
    rig.send(rig.ask("DELETE", "/lake/dir/o%20%C3%A9"), &credential).await.is(204, "");
}

#[tokio::test]
async fn headers_and_metadata_come_back_and_can_be_overridden() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let put = rig
        .ask("PUT", "/lake/o")
        .header("content-type", "text/csv")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "attachment")
        .header("content-encoding", "gzip")
        .header("content-language", "de")
        .header("expires", "Thu, 01 Jan 2026 01:00:00 GMT")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-storage-class", "STANDARD")
        .body("x");
    rig.send(put, &credential).await.ok();
    for method in ["GET", "HEAD"] {
        let got = rig.send(rig.ask(method, "/lake/o"), &credential).await;
        for (name, value) in [
            ("content-type", "text/csv"),
            ("cache-control", "max-age=60"),
            ("content-disposition", "attachment"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("expires", "Thu, 01 Jan 2026 01:00:00 GMT"),
            ("x-amz-meta-colour", "blue"),
        ] {
            assert_eq!(got.header(name), Some(value), "{method}");
        }
        let target = "/lake/o?response-cache-control=no-store&response-content-type=text%2Fplain";
        let got = rig.send(rig.ask(method, target), &credential).await;
        assert_eq!((got.header("content-type"), got.header("cache-control")), (Some("text/plain"), Some("no-store")));
        assert_eq!(got.headers.iter().filter(|(name, _)| name == "content-type").count(), 1);
    }
    let long = rig.ask("PUT", "/lake/o").header("x-amz-meta-long", &"x".repeat(2048));
    rig.send(long, &credential).await.is(400, "MetadataTooLarge");
}

#[tokio::test]
async fn ranges_are_cut_as_asked() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for (key, body) in [("small", noise(1, 1000)), ("large", noise(2, 700_000))] {
        rig.put(BUCKET, key, body.clone()).await;
        let size = body.len();
        for (range, wanted) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=5-99", Some(5..100)),
            ("bytes=10-", Some(10..size)),
            ("bytes=-7", Some(size - 7..size)),
            ("bytes=-9999999", Some(0..size)),
            ("bytes=0-9999999", Some(0..size)),
        ] {
            let wanted = wanted.unwrap();
            let ask = rig.ask("GET", &format!("/lake/{key}")).header("range", range);
            let got = rig.send(ask, &credential).await;
            assert_eq!(got.status, 206, "{range}");
            assert!(got.body == body[wanted.clone()], "{key} {range}");
            let expected = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
            assert_eq!(got.header("content-range"), Some(&*expected));
        }
        let beyond = rig.ask("GET", &format!("/lake/{key}")).header("range", &format!("bytes={size}-"));
        let beyond = rig.send(beyond, &credential).await;
        beyond.is(416, "InvalidRange");
        assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{size}")));
        rig.send(rig.ask("GET", &format!("/lake/{key}")).header("range", "bytes=-0"), &credential)
            .await
            .is(416, "InvalidRange");
        // What is not a range is ignored.
        for range in ["bytes=5-1", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-"] {
            let got = rig.send(rig.ask("GET", &format!("/lake/{key}")).header("range", range), &credential).await;
            assert_eq!((got.status, got.body.len()), (200, size), "{range}");
        }
    }
    rig.put(BUCKET, "empty", "").await;
    rig.send(rig.ask("GET", "/lake/empty").header("range", "bytes=0-"), &credential).await.is(416, "InvalidRange");
    assert_eq!(rig.get("/lake/empty", &credential).await.ok().body.len(), 0);
}

#[tokio::test]
async fn reads_hold_their_conditions() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    rig.put(BUCKET, "o", "x").await;
    let got = rig.get("/lake/o", &credential).await;
    let etag = got.header("etag").unwrap().to_owned();
    let modified = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(got.header("last-modified").unwrap());
    let seconds = |more: i64| {
        let time = jiff::Timestamp::from_second(modified.as_ref().unwrap().as_second() + more).unwrap();
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let (before, at, after) = (&*seconds(-1), &*seconds(0), &*seconds(1));
    for (headers, status) in [
        (vec![("if-match", &*etag)], 200),
        (vec![("if-match", "*")], 200),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-none-match", &*etag)], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", before)], 200),
        (vec![("if-modified-since", at)], 304),
        (vec![("if-unmodified-since", before)], 412),
        (vec![("if-unmodified-since", at)], 200),
        (vec![("if-match", &*etag), ("if-unmodified-since", before)], 200),
        (vec![("if-none-match", "\"other\""), ("if-modified-since", after)], 200),
        (vec![("if-none-match", &*etag), ("if-modified-since", before)], 304),
    ] {
        for method in ["GET", "HEAD"] {
            let ask = headers.iter().fold(rig.ask(method, "/lake/o"), |ask, (name, value)| ask.header(name, value));
            let answer = rig.send(ask, &credential).await;
            assert_eq!(answer.status, status, "{method} {headers:?}");
            if status == 304 {
                assert_eq!((answer.header("etag"), answer.body.len()), (Some(&*etag), 0));
            }
        }
    }
}

#[tokio::test]
async fn writes_hold_their_conditions() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let put = |name: &str, value: &str, body: &str| {
        let ask = rig.ask("PUT", "/lake/o");
        if name.is_empty() { ask.body(body) } else { ask.header(name, value).body(body) }
    };
    rig.send(put("if-match", "\"0\"", "a"), &credential).await.is(404, "NoSuchKey");
    let first = rig.send(put("if-none-match", "*", "a"), &credential).await;
    let etag = first.ok().header("etag").unwrap().to_owned();
    rig.send(put("if-none-match", "*", "b"), &credential).await.is(412, "PreconditionFailed");
    rig.send(put("if-none-match", &etag, "b"), &credential).await.is(412, "PreconditionFailed");
    rig.send(put("if-match", "\"0\"", "b"), &credential).await.is(412, "PreconditionFailed");
    assert_eq!(rig.get("/lake/o", &credential).await.text(), "a");
    rig.send(put("if-match", &etag, "b"), &credential).await.ok();
    rig.send(put("if-match", &etag, "c"), &credential).await.is(412, "PreconditionFailed");
    rig.send(rig.ask("DELETE", "/lake/o").header("if-match", &etag), &credential).await.is(412, "PreconditionFailed");
    assert_eq!(rig.get("/lake/o", &credential).await.text(), "b");
}

#[tokio::test]
async fn checksums_are_verified_and_returned() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    // Of the nine digits.
    for (name, hex) in [
        ("x-amz-checksum-crc32", "cbf43926"),
        ("x-amz-checksum-crc32c", "e3069283"),
        ("x-amz-checksum-crc64nvme", "ae8b14860a799888"),
        ("x-amz-checksum-sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("x-amz-checksum-sha256", &sha256(b"123456789")),
    ] {
        let value = BASE64.encode(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap());
        let put = |value: &str| rig.ask("PUT", "/lake/o").header(name, value).body("123456789");
        let answer = rig.send(put(&value), &credential).await;
        assert_eq!(answer.ok().header(name), Some(&*value));
        let got = rig.send(rig.ask("GET", "/lake/o").header("x-amz-checksum-mode", "ENABLED"), &credential).await;
        assert_eq!((got.header(name), got.header("x-amz-checksum-type")), (Some(&*value), Some("FULL_OBJECT")));
        let plain = rig.get("/lake/o", &credential).await;
        assert_eq!(plain.header(name), None);
        let part = rig.ask("GET", "/lake/o").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-1");
        assert_eq!(rig.send(part, &credential).await.header(name), None);
        let wrong = BASE64.encode(&vec![1; hex.len() / 2]);
        rig.send(put(&wrong), &credential).await.is(400, "BadDigest");
        rig.send(put("AAA="), &credential).await.is(400, "InvalidRequest");
        rig.send(put("!"), &credential).await.is(400, "InvalidRequest");
    }
    let md5 = |value: &str| rig.ask("PUT", "/lake/o").header("content-md5", value).body("123456789");
    rig.send(md5("JfnnlDI7RTiF9RgfG2JNCw=="), &credential).await.ok();
    rig.send(md5("AAAAAAAAAAAAAAAAAAAAAA=="), &credential).await.is(400, "BadDigest");
    rig.send(md5("nonsense"), &credential).await.is(400, "InvalidDigest");
    let two = rig
        .ask("PUT", "/lake/o")
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .header("x-amz-checksum-crc32c", "4waSgw==");
    rig.send(two.body("123456789"), &credential).await.is(400, "InvalidRequest");
    let told = rig.ask("PUT", "/lake/bad").told(&sha256(b"other")).body("123456789");
    rig.send(told, &credential).await.is(400, "XAmzContentSHA256Mismatch");
    rig.get("/lake/bad", &credential).await.is(404, "NoSuchKey");
    let unsigned = rig.ask("PUT", "/lake/o").told("UNSIGNED-PAYLOAD").body("123456789");
    rig.send(unsigned, &credential).await.ok();
}

#[tokio::test]
async fn copies_take_bytes_and_headers_along() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = noise(3, 600_000);
    let put = rig.ask("PUT", "/lake/a%2Bb%20c").header("x-amz-meta-colour", "blue").header("content-type", "a/b");
    let etag = rig.send(put.body(body.clone()), &credential).await.header("etag").unwrap().to_owned();
    let copy = |to: &str| rig.ask("PUT", to).header("x-amz-copy-source", "lake/a%2Bb%20c");
    let answer = rig.send(copy("/lake/copy"), &credential).await;
    assert_eq!(answer.ok().one("ETag").replace("&quot;", "\""), etag);
    let got = rig.get("/lake/copy", &credential).await;
    assert!(got.body == body);
    assert_eq!((got.header("x-amz-meta-colour"), got.header("content-type")), (Some("blue"), Some("a/b")));
    let replaced = copy("/lake/copy").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-size", "big");
    rig.send(replaced, &credential).await.ok();
    let got = rig.get("/lake/copy", &credential).await;
    assert_eq!((got.header("x-amz-meta-colour"), got.header("x-amz-meta-size")), (None, Some("big")));
    rig.send(copy("/lake/a%2Bb%20c"), &credential).await.is(400, "InvalidRequest");
    rig.send(copy("/lake/c").header("x-amz-copy-source-if-match", "\"0\""), &credential)
        .await
        .is(412, "PreconditionFailed");
    rig.send(copy("/lake/c").header("x-amz-copy-source-if-none-match", &etag), &credential)
        .await
        .is(412, "PreconditionFailed");
    rig.send(copy("/lake/c").header("x-amz-copy-source-if-match", &etag), &credential).await.ok();
    let missing = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "/lake/missing");
    rig.send(missing, &credential).await.is(404, "NoSuchKey");
    for bad in
        ["", "lake", "/", "lake/", "/lake/o?versionId=1", "arn:aws:s3:us-east-1:123456789012:accesspoint/x/object/y"]
    {
        let ask = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", bad);
        let answer = rig.send(ask, &credential).await;
        assert!((400..=501).contains(&answer.status) && answer.status != 500, "{bad}: {}", answer.text());
    }
}

#[tokio::test]
async fn keys_are_opaque() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let long = "k".repeat(1024);
    let keys = [
        "/leading",
        "a//b",
        "a/",
        "a/../b",
        "./a",
        "a/./b",
        "%2F",
        "a+b",
        "a b",
        "*?${}'\"",
        "é",
        "e\u{301}",
        "A",
        long.as_str(),
    ];
    // A store behind has no such keys, and they become no others there.
    let there = |key: &&str| {
        let odd = key.starts_with('/') || key.ends_with('/') || key.contains("//");
        !rig.is_behind()
            || rig.forwards()
            || !(odd || key.len() > 240 || key.split('/').any(|segment| matches!(segment, "." | "..")))
    };
    let path = |key: &str| format!("/lake/{}", encoded_key(key));
    for key in keys.iter().filter(|key| !there(key)).filter(|key| key.len() < 240) {
        rig.send(rig.ask("PUT", &path(key)).body("x"), &credential).await.is(400, "InvalidArgument");
        rig.send(rig.ask("POST", &format!("{}?uploads=", path(key))), &credential).await.is(400, "InvalidArgument");
        rig.get(&path(key), &credential).await.is(404, "NoSuchKey");
        rig.send(rig.ask("DELETE", &path(key)), &credential).await.is(204, "");
    }
    let keys: Vec<&str> = keys.into_iter().filter(there).collect();
    for key in &keys {
        rig.send(rig.ask("PUT", &path(key)).body(*key), &credential).await.ok();
    }
    for key in &keys {
        assert_eq!(rig.get(&path(key), &credential).await.ok().text(), *key);
    }
    rig.get("/lake/a", &credential).await.is(404, "NoSuchKey");
    rig.get("/lake/b", &credential).await.is(404, "NoSuchKey");
    let list = rig.get("/lake?list-type=2&encoding-type=url", &credential).await;
    let mut expected: Vec<String> = keys.iter().map(|key| path(key)["/lake/".len()..].to_owned()).collect();
    expected.sort_by_key(|key| percent_encoding::percent_decode_str(key).collect::<Vec<u8>>());
    assert_eq!(list.all("Key"), expected);
    let too_long = "k".repeat(1025);
    rig.send(rig.ask("PUT", &path(&too_long)).body("x"), &credential).await.is(400, "KeyTooLongError");
}

#[tokio::test]
async fn an_upload_waits_for_the_go_ahead() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    for (target, go) in [("/lake/in/o", true), ("/lake/out", false)] {
        let ask = rig.ask("PUT", target).unsigned("expect", "100-continue").body("later");
        let wire = ask.signed(&credential);
        let (head, body) = wire.split_at(wire.len() - 5);
        let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(head).await.unwrap();
        let mut first = [0; 64];
        let read = socket.read(&mut first).await.unwrap();
        let first = String::from_utf8_lossy(&first[..read]).into_owned();
        if go {
            assert!(first.starts_with("HTTP/1.1 100"), "{first}");
            socket.write_all(body).await.unwrap();
            let mut rest = String::new();
            socket.read_to_string(&mut rest).await.unwrap();
            assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
        } else {
            assert!(first.starts_with("HTTP/1.1 403"), "{first}");
        }
    }
    assert_eq!(rig.get("/lake/in/o", &credential).await.text(), "later");
}
