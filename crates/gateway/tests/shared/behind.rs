//! What is only true, or only in question, of buckets that lie in another store.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use md5::Digest as _;
use valetkey_core::error::{Kind, Noun};
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Actions, Paths};
use valetkey_s3::{Backend, When};

use crate::rig::{Answer, BUCKET, Credential, Rig, STORAGE, noise};

const MIB: usize = 1024 * 1024;
const SOON: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

fn md5(bytes: &[u8]) -> String {
    HEXLOWER.encode(&md5::Md5::digest(bytes))
}

fn behind(rig: &Rig) -> Arc<dyn Backend> {
    Arc::clone(rig.behind.as_ref().unwrap())
}

async fn put(rig: &Rig, credential: &Credential, target: &str, body: impl Into<Vec<u8>>) -> Answer {
    rig.send(rig.ask("PUT", target).body(body), credential).await
}

#[tokio::test]
async fn a_credential_of_one_store_never_opens_another_ones_bucket_of_the_same_name() {
    let rig = Rig::start().await;
    let bucket = BucketName::parse(BUCKET).unwrap();
    rig.endpoint.ensure_bucket(&bucket).await.unwrap();
    rig.put(BUCKET, "behind", "behind").await;
    rig.endpoint.put_bytes(&bucket, "own", Bytes::from_static(b"own"), "a/b").await.unwrap();
    let third = StorageId::from_bytes([8; 16]);
    rig.endpoint.attach((third, &"third".parse().unwrap()), valetkey_gateway::memory());
    let vend = |storage| rig.vend_at(storage, BUCKET, Paths::Whole, Actions::READ_WRITE, 3600);
    let (own, other, bare, foreign) =
        (vend(STORAGE), vend(rig.storage), vend(third), vend(StorageId::from_bytes([9; 16])));
    for (credential, there, not_there) in [(&own, "own", "behind"), (&other, "behind", "own")] {
        assert_eq!(rig.get(&format!("/lake/{there}"), credential).await.ok().text(), there);
        rig.get(&format!("/lake/{not_there}"), credential).await.is(404, "NoSuchKey");
        assert_eq!(rig.get("/lake?list-type=2", credential).await.ok().all("Key"), [there]);
        let copy = rig.ask("PUT", "/lake/copy").header("x-amz-copy-source", &format!("lake/{not_there}"));
        rig.send(copy, credential).await.is(404, "NoSuchKey");
        rig.send(rig.ask("DELETE", &format!("/lake/{not_there}")), credential).await.is(204, "");
        put(&rig, credential, "/lake/both", there).await.ok();
    }
    assert_eq!(rig.get("/lake/both", &own).await.text(), "own");
    assert_eq!(rig.get("/lake/both", &other).await.text(), "behind");
    // An upload of one is none of the other.
    let id = rig.send(rig.ask("POST", "/lake/both?uploads="), &own).await.ok().one("UploadId");
    assert_eq!(rig.get("/lake?uploads=", &other).await.ok().all("UploadId").len(), 0);
    put(&rig, &other, &format!("/lake/both?partNumber=1&uploadId={id}"), "x").await.is(404, "NoSuchUpload");
    for target in ["/lake/own", "/lake/behind", "/lake?list-type=2"] {
        rig.get(target, &bare).await.is(404, "NoSuchBucket");
        rig.get(target, &foreign).await.is(400, "InvalidToken");
    }
    put(&rig, &bare, "/lake/own", "x").await.is(404, "NoSuchBucket");
    assert_eq!(rig.get("/lake/own", &own).await.text(), "own");
}

#[tokio::test]
async fn what_changed_behind_our_back_is_told_as_it_is() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let ask = rig.ask("PUT", "/lake/dir/o").header("x-amz-meta-colour", "blue").header("expires", SOON).body("first");
    let etag = rig.send(ask, &credential).await.ok().header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", md5(b"first")));
    let listed = rig.get("/lake?list-type=2", &credential).await.one("ETag").replace("&quot;", "\"");
    assert_eq!(listed, etag);
    let head = rig.send(rig.ask("HEAD", "/lake/dir/o").header("x-amz-checksum-mode", "ENABLED"), &credential).await;
    assert!(head.header("x-amz-checksum-crc64nvme").is_some());
    assert_eq!((head.header("x-amz-meta-colour"), head.header("expires")), (Some("blue"), Some(SOON)));
    let store = behind(&rig);
    store.put(BUCKET, "dir/o", Bytes::from_static(b"2nd.."), &[], When::Always).await.unwrap();
    let got = rig.send(rig.ask("GET", "/lake/dir/o").header("x-amz-checksum-mode", "ENABLED"), &credential).await;
    assert_eq!((got.ok().text(), got.header("x-amz-meta-colour")), ("2nd..".to_owned(), None));
    assert_eq!((got.header("expires"), got.header("x-amz-checksum-crc64nvme")), (None, None));
    let now = got.header("etag").unwrap().to_owned();
    assert_ne!(now, etag);
    let listed = rig.get("/lake?list-type=2", &credential).await.one("ETag").replace("&quot;", "\"");
    assert_eq!(listed, now);
    let matching = |etag: &str| rig.ask("PUT", "/lake/dir/o").header("if-match", etag).body("third");
    rig.send(matching(&etag), &credential).await.is(412, "PreconditionFailed");
    rig.send(matching(&now), &credential).await.ok();
    assert_eq!(rig.get("/lake/dir/o", &credential).await.text(), "third");
    store.delete(BUCKET, "dir/o").await.unwrap();
    rig.get("/lake/dir/o", &credential).await.is(404, "NoSuchKey");
    assert_eq!(rig.get("/lake?list-type=2", &credential).await.ok().all("Key").len(), 0);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_told_is_never_there() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for size in [10, 9 * MIB, 20 * MIB] {
        let body = noise(size as u64, size);
        let other = BASE64.encode(&md5::Md5::digest(b"other"));
        let ask = rig.ask("PUT", "/lake/o").header("content-md5", &other).body(body.clone());
        rig.send(ask, &credential).await.is(400, "BadDigest");
        let ask = rig.ask("PUT", "/lake/o").header("x-amz-checksum-crc32", "AAAAAA==").body(body.clone());
        rig.send(ask, &credential).await.is(400, "BadDigest");
        let ask = rig.ask("PUT", "/lake/o").told(&"0".repeat(64)).body(body);
        assert_eq!(rig.send(ask, &credential).await.status, 400);
        assert_eq!(behind(&rig).head(BUCKET, "o").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_large_object_goes_through_in_pieces() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = noise(7, 20 * MIB + 17);
    let ask = rig.ask("PUT", "/lake/large").header("x-amz-meta-colour", "blue").body(body.clone());
    let answer = rig.send(ask, &credential).await;
    assert_eq!(answer.ok().header("etag"), Some(&*format!("\"{}\"", md5(&body))));
    let got = rig.get("/lake/large", &credential).await;
    assert!(got.body == body);
    assert_eq!(got.header("x-amz-meta-colour"), Some("blue"));
    let start = 8 * MIB - 3;
    let range = rig.ask("GET", "/lake/large").header("range", &format!("bytes={start}-{}", start + 9));
    let got = rig.send(range, &credential).await;
    assert_eq!(got.status, 206);
    assert!(got.body == body[start..start + 10]);
    let copy = rig.ask("PUT", "/lake/copy").header("x-amz-copy-source", "lake/large");
    let copied = rig.send(copy, &credential).await;
    assert_eq!(copied.ok().one("ETag").replace("&quot;", "").replace('"', ""), md5(&body));
    assert!(rig.get("/lake/copy", &credential).await.body == body);
}

#[tokio::test]
async fn a_large_upload_in_parts_goes_on_as_one_object() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let ask = rig.ask("POST", "/lake/dir/o?uploads=").header("content-type", "a/b");
    let id = rig.send(ask, &credential).await.ok().one("UploadId");
    let bodies = [noise(1, 6 * MIB), noise(2, 7 * MIB), noise(3, 5)];
    let (mut listed, mut md5s) = (String::new(), Vec::new());
    for (at, body) in bodies.iter().enumerate() {
        let target = format!("/lake/dir/o?partNumber={}&uploadId={id}", at + 1);
        let etag = put(&rig, &credential, &target, body.clone()).await.ok().header("etag").unwrap().to_owned();
        listed.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", at + 1));
        md5s.extend_from_slice(&md5::Md5::digest(body));
    }
    // Nothing is there before it is complete.
    assert_eq!(behind(&rig).head(BUCKET, "dir/o").await.unwrap(), None);
    assert_eq!(behind(&rig).list(BUCKET, "", b"", 10).await.unwrap(), []);
    let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let complete = || rig.ask("POST", &format!("/lake/dir/o?uploadId={id}")).body(body.clone());
    rig.send(complete().header("if-match", "*"), &credential).await.is(404, "NoSuchKey");
    let answer = rig.send(complete().header("if-none-match", "*"), &credential).await;
    let etag = format!("{}-3", md5(&md5s));
    assert_eq!(answer.ok().one("ETag").replace("&quot;", "").replace('"', ""), etag);
    let again = rig.send(complete(), &credential).await;
    assert_eq!(again.ok().one("ETag").replace("&quot;", "").replace('"', ""), etag);
    let got = rig.get("/lake/dir/o", &credential).await;
    assert!(got.body == bodies.concat());
    assert_eq!((got.header("etag"), got.header("content-type")), (Some(&*format!("\"{etag}\"")), Some("a/b")));
    let second = rig.get("/lake/dir/o?partNumber=2", &credential).await;
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, Some("3")));
    assert!(second.body == bodies[1]);
    // Replaced at the store itself: that is another object.
    let replaced = behind(&rig).put(BUCKET, "dir/o", "x".into(), &[], When::Always).await;
    replaced.unwrap();
    rig.send(complete(), &credential).await.is(404, "NoSuchUpload");
}

#[tokio::test]
async fn a_completion_that_takes_long_is_answered_at_its_end() {
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let rig = Rig::start_in(dir, |config| config.limits.patience = std::time::Duration::ZERO).await;
    let credential = rig.whole();
    let id = rig.send(rig.ask("POST", "/lake/o?uploads="), &credential).await.ok().one("UploadId");
    let body = noise(1, 9 * MIB);
    let answer = put(&rig, &credential, &format!("/lake/o?partNumber=1&uploadId={id}"), body.clone()).await;
    let complete = |etag: &str| {
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
        let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(body)
    };
    // S3 does so too: the status is told before the outcome is known. What is known at once is told at once.
    let refused = rig.send(complete("\"0\""), &credential).await;
    assert!(matches!(refused.status, 200 | 400), "{}", refused.status);
    assert_eq!(refused.one("Code"), "InvalidPart");
    let done = rig.send(complete(answer.ok().header("etag").unwrap()), &credential).await;
    let etag = format!("{}-1", md5(&md5::Md5::digest(&body)));
    assert_eq!((done.status, done.one("ETag").replace("&quot;", "").replace('"', "")), (200, etag));
    assert!(rig.get("/lake/o", &credential).await.body == body);
}

#[tokio::test]
async fn an_upload_that_is_completed_twice_at_once_is_completed_once() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let id = rig.send(rig.ask("POST", "/lake/o?uploads="), &credential).await.ok().one("UploadId");
    let body = noise(1, 9 * MIB);
    let answer = put(&rig, &credential, &format!("/lake/o?partNumber=1&uploadId={id}"), body.clone()).await;
    let etag = answer.ok().header("etag").unwrap();
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let document = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let complete = || rig.send(rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(document.clone()), &credential);
    let (one, two) = futures::future::join(complete(), complete()).await;
    // Who comes second hears what the first made.
    assert_eq!(one.ok().one("ETag"), two.ok().one("ETag"));
    assert!(rig.get("/lake/o", &credential).await.body == body);
}

#[tokio::test]
async fn of_writers_that_want_to_be_first_one_is() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for size in [10, 9 * MIB] {
        let target = format!("/lake/first/{size}");
        let writers = (0..4u8).map(|number| {
            let ask = rig.ask("PUT", &target).header("if-none-match", "*").body(vec![number; size]);
            rig.send(ask, &credential)
        });
        let mut outcomes: Vec<u16> =
            futures::future::join_all(writers).await.iter().map(|answer| answer.status).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, [200, 412, 412, 412], "{size}");
    }
}

#[tokio::test]
async fn a_write_does_not_outlive_its_credential() {
    let rig = Rig::start().await;
    for size in [100, 12 * MIB] {
        let credential = rig.whole();
        let ask = rig.ask("PUT", "/lake/slow").body(vec![7; size]);
        let revoke = || {
            rig.leases.revoked.lock().unwrap().insert(credential.lease);
        };
        rig.halting(ask, &credential, revoke).await.is(400, "ExpiredToken");
        assert_eq!(behind(&rig).head(BUCKET, "slow").await.unwrap(), None);
    }
}

#[tokio::test]
async fn many_are_deleted_and_are_gone_there() {
    let rig = Rig::start().await;
    let credential = rig.directory("a", Actions::READ_WRITE);
    for key in ["a/1", "a/2", "b"] {
        rig.put(BUCKET, key, key.as_bytes().to_vec()).await;
    }
    let keys: String =
        ["a/1", "a/2", "a/3", "a//x", "b"].map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
    let body = format!("<Delete>{keys}</Delete>");
    let md5 = BASE64.encode(&md5::Md5::digest(body.as_bytes()));
    let ask = rig.ask("POST", "/lake?delete=").header("content-md5", &md5).body(body);
    let answer = rig.send(ask, &credential).await;
    assert_eq!((answer.ok().all("Deleted").len(), answer.one("Code")), (4, "AccessDenied".to_owned()));
    let left = behind(&rig).list(BUCKET, "", b"", 10).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_bucket_is_served_once_its_store_shows_it() {
    let rig = Rig::start().await;
    let bucket = BucketName::parse("missing").unwrap();
    let unknown = rig.endpoint.ensure_bucket_at(StorageId::from_bytes([9; 16]), &bucket).await.unwrap_err();
    assert_eq!(unknown.kind(), Kind::Unavailable);
    if crate::EVERY_BUCKET_IS_THERE {
        rig.endpoint.ensure_bucket_at(rig.storage, &bucket).await.unwrap();
        return;
    }
    let missing = rig.endpoint.ensure_bucket_at(rig.storage, &bucket).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound(Noun::Bucket));
    let credential = rig.vend_for("missing", Paths::Whole, Actions::READ_WRITE, 60);
    rig.get("/missing/o", &credential).await.is(404, "NoSuchBucket");
}

#[tokio::test]
async fn markers_of_folders_are_kept_here_and_listed_among_what_is_there() {
    let rig = Rig::start().await;
    let (all, inside) = (rig.whole(), rig.directory("a", Actions::READ_WRITE));
    for key in ["a/x", "a/b/c", "b/y", "c/z"] {
        rig.put(BUCKET, key, "data").await;
    }
    for marker in ["a/", "a/b/", "a/empty/", "b/", "zz/"] {
        put(&rig, &all, &format!("/lake/{marker}"), "").await.ok();
    }
    let keys = ["a/", "a/b/", "a/b/c", "a/empty/", "a/x", "b/", "b/y", "c/z", "zz/"];
    assert_eq!(rig.get("/lake?list-type=2", &all).await.ok().all("Key"), keys);
    // Page by page the same, however short the pages.
    for size in 1..=9 {
        let (mut told, mut behind) = (Vec::new(), String::new());
        loop {
            let page = rig.get(&format!("/lake?list-type=2&max-keys={size}&start-after={behind}"), &all).await;
            told.extend(page.ok().all("Key"));
            if page.one("IsTruncated") == "false" {
                break;
            }
            behind = told.last().unwrap().replace('/', "%2F");
        }
        assert_eq!(told, keys, "{size}");
    }
    let rolled = rig.get("/lake?list-type=2&delimiter=%2F&prefix=a%2F", &all).await;
    // The name of the prefix itself is among the common ones' elements.
    assert_eq!(rolled.ok().all("Key"), ["a/", "a/x"]);
    assert_eq!(rolled.all("Prefix"), ["a/", "a/b/", "a/empty/"]);
    let answer = rig.send(rig.ask("HEAD", "/lake/a/empty/"), &all).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
    // Scopes count for them as for every key.
    assert_eq!(rig.get("/lake?list-type=2&prefix=a%2F", &inside).await.ok().all("Key"), keys[..5]);
    put(&rig, &inside, "/lake/ab/", "").await.is(403, "AccessDenied");
    rig.get("/lake/b/", &inside).await.is(403, "AccessDenied");
    put(&rig, &all, "/lake/a/", "data").await.is(400, "InvalidArgument");
    put(&rig, &all, "/lake/a//", "").await.is(400, "InvalidArgument");
    rig.send(rig.ask("POST", "/lake/a/?uploads="), &all).await.is(400, "InvalidArgument");
    rig.send(rig.ask("DELETE", "/lake/a/empty/"), &all).await.is(204, "");
    rig.get("/lake/a/empty/", &all).await.is(404, "NoSuchKey");
    // The store behind was never asked to hold one.
    let there = behind(&rig).list(BUCKET, "", b"", 100).await.unwrap();
    assert_eq!(there.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), ["a/b/c", "a/x", "b/y", "c/z"]);
}

#[tokio::test]
async fn folders_are_told_without_a_look_at_all_that_is_in_them() {
    let rig = Rig::start().await;
    let store = behind(&rig);
    let mut keys = vec!["a".to_owned(), "d05.x".to_owned(), "z".to_owned()];
    keys.extend((0..12).flat_map(|folder| (0..40).map(move |key| format!("d{folder:02}/s{}/k{key:02}", key % 2))));
    for key in &keys {
        store.put(BUCKET, key, "x".into(), &[], When::Always).await.unwrap();
    }
    let credential = rig.whole();
    // A marker is kept here: of a folder that is there, and of one that is not.
    for marker in ["d03/", "empty/"] {
        rig.send(rig.ask("PUT", &format!("/lake/{marker}")), &credential).await.ok();
    }
    keys.extend(["d03/".to_owned(), "empty/".to_owned()]);
    keys.sort();
    // The store's own way tells one of each folder.
    let folders = store.list_folders(BUCKET, "", b"", 1000).await.unwrap().unwrap();
    assert_eq!(folders.len(), 12 + 3);
    let expected = |prefix: &str, after: &str| {
        let mut told: Vec<String> = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after) {
            let rest = &key[prefix.len()..];
            let shown = rest.find('/').map_or(key.clone(), |at| key[..=prefix.len() + at].to_owned());
            if told.last() != Some(&shown) {
                told.push(shown);
            }
        }
        told
    };
    let all = async |prefix: &str, after: &str, page: usize, credential: &Credential| {
        let (mut told, mut token) = (Vec::new(), String::new());
        loop {
            let encoded = |text: &str| text.replace('/', "%2F");
            let target = format!(
                "/lake?list-type=2&delimiter=%2F&max-keys={page}&prefix={}&start-after={}{token}",
                encoded(prefix),
                encoded(after)
            );
            let list = rig.get(&target, credential).await;
            let mut some: Vec<String> = list.ok().all("Key");
            some.extend(list.all("CommonPrefixes").iter().map(|text| text[8..text.len() - 9].to_owned()));
            some.sort();
            told.extend(some);
            if list.one("IsTruncated") == "false" {
                return told;
            }
            token = format!("&continuation-token={}", list.one("NextContinuationToken"));
        }
    };
    for (prefix, after) in
        [("", ""), ("", "d03/s1/k11"), ("", "d11/s1/k39"), ("d", ""), ("d07/", ""), ("d07/", "d07/s0/k1"), ("e", "")]
    {
        for page in [1, 5, 1000] {
            assert_eq!(all(prefix, after, page, &credential).await, expected(prefix, after), "{prefix} {after} {page}");
        }
    }
    // And to who may see some of it, that alone.
    let narrow = rig.directory("d07/s1", Actions::READ);
    assert_eq!(all("d07/s1/", "", 1000, &narrow).await.len(), 20);
    rig.get("/lake?list-type=2&delimiter=%2F", &narrow).await.is(403, "AccessDenied");
}
