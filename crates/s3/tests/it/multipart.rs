//! Uploads in parts.

use data_encoding::{BASE64, HEXLOWER};
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::time::Clock as _;

use crate::rig::{Answer, Credential, Rig, noise};

const MIB: usize = 1024 * 1024;

async fn create(rig: &Rig, credential: &Credential, key: &str) -> String {
    let ask = rig.ask("POST", &format!("/lake/{key}?uploads=")).header("x-amz-meta-colour", "blue");
    rig.send(ask, credential).await.ok().one("UploadId")
}

async fn part(rig: &Rig, credential: &Credential, key: &str, id: &str, number: usize, body: Vec<u8>) -> Answer {
    let ask = rig.ask("PUT", &format!("/lake/{key}?partNumber={number}&uploadId={id}")).body(body);
    rig.send(ask, credential).await
}

fn listed(parts: &[(usize, String)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

async fn complete(rig: &Rig, credential: &Credential, key: &str, id: &str, parts: &[(usize, String)]) -> Answer {
    let ask = rig.ask("POST", &format!("/lake/{key}?uploadId={id}")).body(listed(parts));
    rig.send(ask, credential).await
}

fn etag(answer: &Answer) -> String {
    answer.ok().header("etag").unwrap().to_owned()
}

/// Every data file on the disk.
pub(crate) fn files(rig: &Rig) -> usize {
    let root = rig.dir.path().join("objects/files");
    std::fs::read_dir(root).unwrap().map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

/// Waits until so many data files are left: what removes them runs beside the answers.
pub(crate) async fn until_files(rig: &Rig, wanted: usize) {
    for _ in 0..500 {
        if files(rig) == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} data files are left, not {wanted}", files(rig));
}

#[tokio::test]
async fn parts_out_of_order_become_one_object() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let id = create(&rig, &credential, "in/o").await;
    let bodies = [noise(1, 5 * MIB), noise(2, 5 * MIB + 7), noise(3, 1234)];
    let mut parts = Vec::new();
    for (number, at) in [(7, 2), (1, 0), (3, 1)] {
        // The first try of a part is replaced by the second.
        part(&rig, &credential, "in/o", &id, number, b"first".to_vec()).await.ok();
        parts.push((number, etag(&part(&rig, &credential, "in/o", &id, number, bodies[at].clone()).await)));
    }
    part(&rig, &credential, "in/o", &id, 9, b"not used".to_vec()).await.ok();
    rig.get("/lake/in/o", &credential).await.is(404, "NoSuchKey");
    parts.sort();
    let list = rig.get(&format!("/lake/in/o?uploadId={id}&max-parts=2"), &credential).await;
    assert_eq!(list.ok().all("PartNumber"), ["1", "3"]);
    assert_eq!((list.one("IsTruncated"), list.one("NextPartNumberMarker")), ("true".to_owned(), "3".to_owned()));
    let list = rig.get(&format!("/lake/in/o?uploadId={id}&part-number-marker=3"), &credential).await;
    assert_eq!(
        (list.all("PartNumber"), list.one("IsTruncated")),
        (vec!["7".to_owned(), "9".to_owned()], "false".to_owned())
    );
    let answer = complete(&rig, &credential, "in/o", &id, &parts).await;
    let whole = bodies.concat();
    let md5s: Vec<u8> =
        parts.iter().flat_map(|(_, etag)| HEXLOWER.decode(etag.trim_matches('"').as_bytes()).unwrap()).collect();
    let md5 = <md5::Md5 as md5::Digest>::digest(&md5s);
    let expected = format!("{}-3", HEXLOWER.encode(&md5));
    assert_eq!(answer.ok().one("ETag").replace("&quot;", "").replace('"', ""), expected);
    // A whole of the parts' checksums, as if it had been put at once.
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &whole);
    assert_eq!(answer.one("ChecksumCRC64NVME"), BASE64.encode(&crc.to_be_bytes()));
    let got = rig.get("/lake/in/o", &credential).await;
    assert!(got.body == whole);
    assert_eq!(
        (got.header("x-amz-meta-colour"), got.header("etag")),
        (Some("blue"), Some(&*format!("\"{expected}\"")))
    );
    // Across the border of two parts, and a part by its number.
    let start = 5 * MIB - 3;
    let range = rig.ask("GET", "/lake/in/o").header("range", &format!("bytes={start}-{}", start + 9));
    assert!(rig.send(range, &credential).await.body == whole[start..start + 10]);
    let second = rig.get("/lake/in/o?partNumber=2", &credential).await;
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, Some("3")));
    assert!(second.body == bodies[1]);
    rig.get("/lake/in/o?partNumber=4", &credential).await.is(416, "InvalidPartNumber");
    // Behind, they went on as one object.
    until_files(&rig, if rig.is_behind() { 0 } else { 3 }).await;
    rig.send(rig.ask("DELETE", "/lake/in/o"), &credential).await.ok();
    until_files(&rig, 0).await;
    complete(&rig, &credential, "in/o", &id, &parts).await.is(404, "NoSuchUpload");
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let id = create(&rig, &credential, "o").await;
    for number in [1, 2] {
        part(&rig, &credential, "o", &id, number, noise(1, 100_000)).await.ok();
    }
    assert_eq!(files(&rig), if rig.forwards() { 0 } else { 2 });
    rig.send(rig.ask("DELETE", &format!("/lake/o?uploadId={id}")), &credential).await.is(204, "");
    until_files(&rig, 0).await;
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
    part(&rig, &credential, "o", &id, 1, b"x".to_vec()).await.is(404, "NoSuchUpload");
    rig.send(rig.ask("DELETE", &format!("/lake/o?uploadId={id}")), &credential).await.is(404, "NoSuchUpload");
    if !rig.forwards() {
        let uploads = rig.get("/lake?uploads=", &credential).await;
        assert_eq!(uploads.ok().all("UploadId").len(), 0);
    }
}

#[tokio::test]
async fn completing_is_refused_unless_all_fits() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let id = create(&rig, &credential, "o").await;
    let one = etag(&part(&rig, &credential, "o", &id, 1, b"small".to_vec()).await);
    let two = etag(&part(&rig, &credential, "o", &id, 2, b"last".to_vec()).await);
    let pair = |first: (usize, &str), second: (usize, &str)| {
        vec![(first.0, first.1.to_owned()), (second.0, second.1.to_owned())]
    };
    for (parts, code) in [
        (pair((1, &one), (2, &two)), "EntityTooSmall"),
        (pair((2, &two), (1, &one)), "InvalidPartOrder"),
        (pair((1, &one), (1, &one)), "InvalidPartOrder"),
        (pair((1, &one), (3, &two)), "InvalidPart"),
        (pair((1, &two), (2, &two)), "InvalidPart"),
        (pair((0, &one), (2, &two)), "InvalidArgument"),
        (pair((1, &one), (10_001, &two)), "InvalidArgument"),
        (vec![], "MalformedXML"),
    ] {
        complete(&rig, &credential, "o", &id, &parts).await.is(400, code);
    }
    for body in [
        "",
        "<",
        "<x/>",
        "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
        "{}",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
    ] {
        let ask = rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(body);
        rig.send(ask, &credential).await.is(400, "MalformedXML");
    }
    let only = vec![(2, two.clone())];
    let with = |name: &str, value: &str| {
        rig.ask("POST", &format!("/lake/o?uploadId={id}")).header(name, value).body(listed(&only))
    };
    rig.send(with("x-amz-mp-object-size", "5"), &credential).await.is(400, "InvalidRequest");
    rig.send(with("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), &credential).await.is(400, "BadDigest");
    rig.send(with("if-match", "\"x\""), &credential).await.is(404, "NoSuchKey");
    for number in [0, 10_001] {
        part(&rig, &credential, "o", &id, number, b"x".to_vec()).await.is(400, "InvalidArgument");
    }
    for bad in ["nonsense", "00", &"0".repeat(32), ""] {
        part(&rig, &credential, "o", bad, 1, b"x".to_vec()).await.is(404, "NoSuchUpload");
    }
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
    rig.send(with("if-none-match", "*"), &credential).await.ok();
    assert_eq!(rig.get("/lake/o", &credential).await.text(), "last");
}

#[tokio::test]
async fn an_upload_belongs_to_its_key_and_to_who_began_it() {
    let rig = Rig::start().await;
    let (one, two) = (rig.whole(), rig.whole());
    let id = create(&rig, &one, "o").await;
    part(&rig, &one, "other", &id, 1, b"x".to_vec()).await.is(404, "NoSuchUpload");
    part(&rig, &two, "o", &id, 1, b"x".to_vec()).await.is(404, "NoSuchUpload");
    rig.get(&format!("/lake/o?uploadId={id}"), &two).await.is(404, "NoSuchUpload");
    rig.send(rig.ask("DELETE", &format!("/lake/o?uploadId={id}")), &two).await.is(404, "NoSuchUpload");
    complete(&rig, &two, "o", &id, &[(1, "x".to_owned())]).await.is(404, "NoSuchUpload");
    let narrow = rig.directory("elsewhere", Actions::READ_WRITE);
    part(&rig, &narrow, "o", &id, 1, b"x".to_vec()).await.is(403, "AccessDenied");
    part(&rig, &one, "o", &id, 1, b"x".to_vec()).await.ok();
    // Who may write but not delete may still abort.
    let writer = rig.directory("w", Actions::WRITE);
    let id = create(&rig, &writer, "w/o").await;
    rig.send(rig.ask("DELETE", &format!("/lake/w/o?uploadId={id}")), &writer).await.is(204, "");
}

#[tokio::test]
async fn unfinished_uploads_are_listed_inside_the_scope_only() {
    let rig = Rig::start().await;
    let all = rig.whole();
    if rig.forwards() {
        // Whose they are the storage does not know.
        rig.get("/lake?uploads=", &all).await.is(501, "NotImplemented");
        return;
    }
    let mut ids = Vec::new();
    for key in ["a/1", "a/1", "a/2/x", "a/2/y", "a-b", "b"] {
        ids.push(create(&rig, &all, key).await);
    }
    let list = rig.get("/lake?uploads=", &all).await;
    assert_eq!(list.ok().all("UploadId").len(), 6);
    let list = rig.get("/lake?uploads=&prefix=a%2F&delimiter=%2F&encoding-type=url", &all).await;
    assert_eq!(list.all("Key"), ["a/1", "a/1"]);
    assert!(list.one("CommonPrefixes").contains("a/2/"));
    // Page by page.
    let (mut seen, mut marker) = (Vec::new(), String::new());
    for _ in 0..10 {
        let page = rig.get(&format!("/lake?uploads=&max-uploads=1{marker}"), &all).await;
        seen.extend(page.ok().all("UploadId"));
        if page.one("IsTruncated") == "false" {
            break;
        }
        let (key, id) = (page.one("NextKeyMarker").replace('/', "%2F"), page.one("NextUploadIdMarker"));
        marker = format!("&key-marker={key}&upload-id-marker={id}");
    }
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids);
    let lister = rig.vend(Paths::only([Path::directory(b"a").unwrap()]).unwrap(), Actions::of(&[Action::ListUploads]));
    let list = rig.get("/lake?uploads=&prefix=a", &lister).await;
    assert_eq!(list.ok().all("Key"), ["a/1", "a/1", "a/2/x", "a/2/y"]);
    rig.get("/lake?uploads=", &lister).await.is(403, "AccessDenied");
    rig.get("/lake?uploads=&prefix=b", &lister).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn checksums_of_parts_make_the_whole() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let bodies = [noise(8, 5 * MIB), noise(9, 10)];
    let crc32 = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
    let shown = |bytes: &[u8]| BASE64.encode(&crc32(bytes).to_be_bytes());
    for (kind, expected) in [
        ("COMPOSITE", {
            let pieces: Vec<u8> = bodies.iter().flat_map(|body| crc32(body).to_be_bytes()).collect();
            format!("{}-2", shown(&pieces))
        }),
        ("FULL_OBJECT", shown(&bodies.concat())),
    ] {
        let ask = rig.ask("POST", "/lake/o?uploads=");
        let ask = ask.header("x-amz-checksum-algorithm", "CRC32").header("x-amz-checksum-type", kind);
        let id = rig.send(ask, &credential).await.ok().one("UploadId");
        let mut listed = String::new();
        for (at, body) in bodies.iter().enumerate() {
            let put = |value: &str| {
                let target = format!("/lake/o?partNumber={}&uploadId={id}", at + 1);
                rig.ask("PUT", &target).header("x-amz-checksum-crc32", value).body(body.clone())
            };
            rig.send(put("AAAAAA=="), &credential).await.is(400, "BadDigest");
            let answer = rig.send(put(&shown(body)), &credential).await;
            listed.push_str(&format!(
                "<Part><ChecksumCRC32>{}</ChecksumCRC32><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>",
                shown(body),
                etag(&answer),
                at + 1
            ));
        }
        let complete = |body: String| rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(body);
        let wrong = listed.replace(&shown(&bodies[1]), "AAAAAA==");
        let wrap = |parts: &str| {
            format!(
                "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
            )
        };
        rig.send(complete(wrap(&wrong)), &credential).await.is(400, "InvalidPart");
        let answer = rig.send(complete(wrap(&listed)), &credential).await;
        assert_eq!((answer.ok().one("ChecksumCRC32"), answer.one("ChecksumType")), (expected.clone(), kind.to_owned()));
        let head = rig.send(rig.ask("HEAD", "/lake/o").header("x-amz-checksum-mode", "ENABLED"), &credential).await;
        assert_eq!(head.header("x-amz-checksum-crc32"), Some(&*expected));
    }
    for (algorithm, kind) in
        [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD4", "COMPOSITE"), ("CRC32", "HALF")]
    {
        let ask = rig.ask("POST", "/lake/o?uploads=");
        let ask = ask.header("x-amz-checksum-algorithm", algorithm).header("x-amz-checksum-type", kind);
        rig.send(ask, &credential).await.is(400, "InvalidRequest");
    }
}

#[tokio::test]
async fn parts_can_be_copied() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let body = noise(4, 6 * MIB);
    rig.send(rig.ask("PUT", "/lake/in/source").body(body.clone()), &credential).await.ok();
    rig.put("lake", "out/source", "secret").await;
    let id = create(&rig, &credential, "in/o").await;
    let copy = |number: usize, source: &str, range: Option<&str>| {
        let target = format!("/lake/in/o?partNumber={number}&uploadId={id}");
        let ask = rig.ask("PUT", &target).header("x-amz-copy-source", source);
        range.map_or(ask.clone(), |range| ask.header("x-amz-copy-source-range", range))
    };
    rig.send(copy(1, "lake/out/source", None), &credential).await.is(403, "AccessDenied");
    for bad in ["bytes=0-", "bytes=-5", "0-5", "bytes=0-6291456"] {
        rig.send(copy(1, "lake/in/source", Some(bad)), &credential).await.is(400, "InvalidArgument");
    }
    let mut parts = Vec::new();
    for (number, range) in [(1, "bytes=0-5242879"), (2, "bytes=5242880-6291455")] {
        let answer = rig.send(copy(number, "/lake/in/source", Some(range)), &credential).await;
        parts.push((number, answer.ok().one("ETag").replace("&quot;", "\"")));
    }
    complete(&rig, &credential, "in/o", &id, &parts).await.ok();
    assert!(rig.get("/lake/in/o", &credential).await.body == body);
}

#[tokio::test]
async fn an_upload_that_is_never_completed_is_ended_and_frees_its_parts() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let before = files(&rig);
    let old = create(&rig, &credential, "in/old").await;
    part(&rig, &credential, "in/old", &old, 1, noise(1, 5 * MIB)).await.ok();
    rig.clock.advance_secs(60);
    let opened = rig.clock.now();
    let young = create(&rig, &credential, "in/young").await;
    part(&rig, &credential, "in/young", &young, 1, noise(2, 1000)).await.ok();
    if rig.forwards() {
        // They are the storage's, and so is the end of them.
        assert_eq!((rig.endpoint.end_uploads_before(opened).await.unwrap(), files(&rig)), (0, before));
        return;
    }
    assert_eq!(rig.endpoint.end_uploads_before(opened).await.unwrap(), 1);
    assert_eq!(rig.endpoint.end_uploads_before(opened).await.unwrap(), 0);
    until_files(&rig, before + 1).await;
    part(&rig, &credential, "in/old", &old, 2, noise(3, 10)).await.is(404, "NoSuchUpload");
    part(&rig, &credential, "in/young", &young, 2, noise(3, 10)).await.ok();
}

/// Makes an object of two parts.
async fn two_parts(rig: &Rig, credential: &Credential, key: &str) -> (String, Vec<(usize, String)>) {
    let id = create(rig, credential, key).await;
    let mut parts = Vec::new();
    for (number, body) in [(2, noise(1, 5 * MIB)), (5, noise(2, 10))] {
        parts.push((number, etag(&part(rig, credential, key, &id, number, body).await)));
    }
    (id, parts)
}

#[tokio::test]
async fn a_completion_that_comes_once_more_is_answered_as_the_first() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let (id, parts) = two_parts(&rig, &credential, "in/o").await;
    let first = complete(&rig, &credential, "in/o", &id, &parts).await;
    let told = |answer: &Answer| (answer.ok().one("ETag"), answer.one("ChecksumCRC64NVME"), answer.one("Location"));
    let modified = |answer: &Answer| answer.ok().header("last-modified").map(str::to_owned);
    let before = modified(&rig.get("/lake/in/o", &credential).await);
    rig.clock.advance_secs(30);
    let again = complete(&rig, &credential, "in/o", &id, &parts).await;
    assert_eq!(told(&again), told(&first));
    let ask = rig.ask("POST", &format!("/lake/in/o?uploadId={id}"));
    // What was to be absent was: it has been completed since.
    let under = ask.clone().header("if-none-match", "*").body(listed(&parts));
    assert_eq!(told(&rig.send(under, &credential).await), told(&first));
    // Nothing was written.
    assert_eq!(modified(&rig.get("/lake/in/o", &credential).await), before);
    // Others than those it was made of, in any way.
    complete(&rig, &credential, "in/o", &id, &parts[..1]).await.is(400, "InvalidPart");
    complete(&rig, &credential, "in/o", &id, &[(2, parts[0].1.clone()), (6, parts[1].1.clone())])
        .await
        .is(400, "InvalidPart");
    let with = |name: &str, value: &str| ask.clone().header(name, value).body(listed(&parts));
    rig.send(with("x-amz-mp-object-size", "5"), &credential).await.is(400, "InvalidRequest");
    rig.send(with("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), &credential).await.is(400, "BadDigest");
    // Another key, another caller, a key that opens something else, one that was ended.
    complete(&rig, &credential, "in/other", &id, &parts).await.is(404, "NoSuchUpload");
    let other = rig.directory("in", Actions::READ_WRITE);
    complete(&rig, &other, "in/o", &id, &parts).await.is(404, "NoSuchUpload");
    for narrow in [rig.directory("out", Actions::READ_WRITE), rig.directory("in", Actions::READ)] {
        complete(&rig, &narrow, "in/o", &id, &parts).await.is(403, "AccessDenied");
    }
    // An upload that is over takes no more.
    part(&rig, &credential, "in/o", &id, 1, b"x".to_vec()).await.is(404, "NoSuchUpload");
    rig.get(&format!("/lake/in/o?uploadId={id}"), &credential).await.is(404, "NoSuchUpload");
    rig.send(rig.ask("DELETE", &format!("/lake/in/o?uploadId={id}")), &credential).await.is(404, "NoSuchUpload");
    rig.leases.revoked.lock().unwrap().insert(credential.lease);
    complete(&rig, &credential, "in/o", &id, &parts).await.is(400, "ExpiredToken");
}

#[tokio::test]
async fn a_completion_is_forgotten_with_its_object() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = [noise(1, 5 * MIB), noise(2, 10)].concat();
    let ends = [
        rig.ask("PUT", "/lake/o").body("another"),
        rig.ask("PUT", "/lake/o").body(body),
        rig.ask("DELETE", "/lake/o"),
        rig.ask("PUT", "/lake/o").header("x-amz-copy-source", "lake/source"),
    ];
    rig.put("lake", "source", "x").await;
    for end in ends {
        let (id, parts) = two_parts(&rig, &credential, "o").await;
        complete(&rig, &credential, "o", &id, &parts).await.ok();
        complete(&rig, &credential, "o", &id, &parts).await.ok();
        rig.send(end, &credential).await.ok();
        complete(&rig, &credential, "o", &id, &parts).await.is(404, "NoSuchUpload");
    }
    // The same bytes by another upload: the object is that one's.
    let (one, parts) = two_parts(&rig, &credential, "o").await;
    let (two, _) = two_parts(&rig, &credential, "o").await;
    complete(&rig, &credential, "o", &one, &parts).await.ok();
    complete(&rig, &credential, "o", &two, &parts).await.ok();
    complete(&rig, &credential, "o", &one, &parts).await.is(404, "NoSuchUpload");
    complete(&rig, &credential, "o", &two, &parts).await.ok();
}

#[tokio::test]
async fn completions_at_once_all_hear_the_same() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let (id, parts) = two_parts(&rig, &credential, "o").await;
    let asked = (0..8).map(|_| complete(&rig, &credential, "o", &id, &parts));
    let answers = futures::future::join_all(asked).await;
    let tags: std::collections::HashSet<String> = answers.iter().map(|answer| answer.ok().one("ETag")).collect();
    assert_eq!(tags.len(), 1);
}

#[tokio::test]
async fn a_part_of_an_object_has_its_own_checksum() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let bodies = [noise(1, 5 * MIB), noise(2, 10)];
    let crc = |bytes: &[u8]| BASE64.encode(&crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes());
    let (id, parts) = two_parts(&rig, &credential, "o").await;
    complete(&rig, &credential, "o", &id, &parts).await.ok();
    let ask = |method: &str, target: &str| rig.ask(method, target).header("x-amz-checksum-mode", "ENABLED");
    for (at, body) in bodies.iter().enumerate() {
        for method in ["GET", "HEAD"] {
            let answer = rig.send(ask(method, &format!("/lake/o?partNumber={}", at + 1)), &credential).await;
            assert_eq!(answer.ok().header("x-amz-checksum-crc64nvme"), Some(&*crc(body)), "{method} {at}");
            assert!(method == "HEAD" || answer.body == *body);
        }
    }
    let whole = rig.send(ask("GET", "/lake/o"), &credential).await;
    assert_eq!(whole.header("x-amz-checksum-crc64nvme"), Some(&*crc(&bodies.concat())));
    let range = rig.send(ask("GET", "/lake/o").header("range", "bytes=0-1"), &credential).await;
    assert_eq!((range.status, range.header("x-amz-checksum-crc64nvme")), (206, None));
    assert_eq!(rig.get("/lake/o?partNumber=1", &credential).await.header("x-amz-checksum-crc64nvme"), None);
    // An object that was put at once is one part.
    rig.send(rig.ask("PUT", "/lake/one").body("one"), &credential).await.ok();
    let one = rig.send(ask("GET", "/lake/one?partNumber=1"), &credential).await;
    assert_eq!(one.ok().header("x-amz-checksum-crc64nvme"), Some(&*crc(b"one")));
    // And they are listed.
    let attributes = |more: &[(&str, &str)]| {
        let mut ask = rig.ask("GET", "/lake/o?attributes=").header("x-amz-object-attributes", "ObjectParts");
        for (name, value) in more {
            ask = ask.header(name, value);
        }
        ask
    };
    let all = rig.send(attributes(&[]), &credential).await;
    assert_eq!(all.ok().all("PartNumber"), ["2", "5"]);
    assert_eq!(all.all("ChecksumCRC64NVME"), [crc(&bodies[0]), crc(&bodies[1])]);
    assert_eq!(all.all("Size"), [(5 * MIB).to_string(), "10".to_owned()]);
    let page = rig.send(attributes(&[("x-amz-max-parts", "1")]), &credential).await;
    assert_eq!((page.ok().all("PartNumber"), page.one("IsTruncated")), (vec!["2".to_owned()], "true".to_owned()));
    assert_eq!(page.one("NextPartNumberMarker"), "2");
    let page = rig.send(attributes(&[("x-amz-part-number-marker", "2")]), &credential).await;
    assert_eq!((page.ok().all("PartNumber"), page.one("IsTruncated")), (vec!["5".to_owned()], "false".to_owned()));
}

#[tokio::test]
async fn where_a_completed_object_is_is_told_as_its_client_named_it() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for (host, path, url) in [
        (rig.host(), "/lake/a%20b/%C3%BC", format!("http://{}/lake/a%20b/%C3%BC", rig.host())),
        ("lake.s3.localhost".to_owned(), "/o", "http://lake.s3.localhost/o".to_owned()),
    ] {
        let ask = |method: &str, query: &str| {
            let mut ask = rig.ask(method, &format!("{path}?{query}"));
            ask.headers = vec![("host".to_owned(), host.clone())];
            ask
        };
        let id = rig.send(ask("POST", "uploads="), &credential).await.ok().one("UploadId");
        let part = rig.send(ask("PUT", &format!("partNumber=1&uploadId={id}")).body("x"), &credential).await;
        let document = listed(&[(1, etag(&part))]);
        let done = rig.send(ask("POST", &format!("uploadId={id}")).body(document), &credential).await;
        assert_eq!(done.ok().one("Location"), url);
    }
}
