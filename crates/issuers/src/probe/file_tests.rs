//! Reading objects elsewhere: what is asked, and what is believed.

use std::sync::Arc;

use valetkey_core::credential::{AzureSas, Credential, GoogleToken, S3Keys};
use valetkey_core::id::StorageId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::table::{ObjectFiles, VendedFiles as _};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Kind, Secret};
use valetkey_testkit::clock::FixedClock;

use super::Live;
use crate::web::stub::{Reply, Stub};

fn credential(kind: StorageKind) -> Credential {
    let expiration = "2026-01-01T01:00:00Z".parse().unwrap();
    let secret = |text: &str| Secret::new(text.to_owned());
    match kind {
        StorageKind::Azure => Credential::Azure(AzureSas { sas_token: secret("sv=1&sig=a%2Bb"), expiration }),
        StorageKind::Gcs => Credential::Google(GoogleToken { access_token: secret("ya29.x"), expiration }),
        _ => Credential::S3(S3Keys {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: secret("s"),
            session_token: secret("t"),
            expiration,
        }),
    }
}

struct Far {
    stub: Stub,
    storage: Storage,
    bucket: BucketName,
    files: Arc<dyn ObjectFiles>,
}

async fn far(kind: StorageKind, replies: impl IntoIterator<Item = Reply>) -> Far {
    let stub = Stub::start(replies).await;
    let base = if kind == StorageKind::Azure { "/acct" } else { "" };
    let storage = Storage {
        id: StorageId::from_bytes([1; 16]),
        name: Name::parse("far").unwrap(),
        kind,
        endpoint: format!("{}{base}", stub.url).into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(900),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    };
    let live = Arc::new(Live::new(Arc::new(FixedClock::default())));
    let files = live.with(Arc::new(credential(kind)));
    Far { stub, storage, bucket: BucketName::parse("lake").unwrap(), files }
}

impl Far {
    async fn get(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<Vec<u8>>, valetkey_core::Error> {
        self.files.get(&self.storage, &self.bucket, key.as_bytes(), range).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, valetkey_core::Error> {
        let listed = self.files.list(&self.storage, &self.bucket, prefix.as_bytes(), after.as_bytes(), limit).await?;
        Ok(listed.into_iter().map(|one| format!("{} {}", one.key.escape_ascii(), one.size)).collect())
    }

    fn lines(&self) -> Vec<String> {
        self.stub.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn page(inside: &str) -> Reply {
    Reply::Now(200, Vec::new(), format!("<ListBucketResult xmlns=\"x\">{inside}</ListBucketResult>"))
}

fn object(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>7</Size></Contents>")
}

fn refusal(status: u16, code: &str) -> Reply {
    Reply::Now(status, Vec::new(), format!("<Error><Code>{code}</Code></Error>"))
}

#[tokio::test]
async fn a_part_of_an_object_is_what_was_asked_for() {
    let range = |from: &str| vec![("content-range", from.to_owned())];
    let replies = [
        Reply::Now(206, range("bytes 2-4/9"), "cde".to_owned()),
        // A store that knows no ranges sends all of it.
        Reply::Now(200, Vec::new(), "abcdefghi".to_owned()),
        Reply::Now(206, range("bytes 0-8/9"), "abcdefghi".to_owned()),
        refusal(416, "InvalidRange"),
        refusal(404, "NoSuchKey"),
    ];
    let far = far(StorageKind::Sts, replies).await;
    assert_eq!(far.get("t/a b", Some(2..5)).await.unwrap().unwrap(), b"cde");
    assert_eq!(far.get("t/a", Some(2..5)).await.unwrap().unwrap(), b"cde");
    let other = far.get("t/a", Some(2..5)).await.unwrap_err();
    assert_eq!(other.kind(), Kind::Upstream, "another part");
    assert_eq!(far.get("t/a", Some(20..30)).await.unwrap().unwrap(), b"");
    assert!(far.get("t/a", None).await.unwrap().is_none());
    let asked = far.stub.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].header("range")), ("GET /lake/t/a%20b", Some("bytes=2-4")));
    assert_eq!(asked[4].header("range"), Some("bytes=0-"));
    assert!(asked.iter().all(|one| one.header("x-amz-security-token") == Some("t")));
}

#[tokio::test]
async fn what_a_store_does_not_let_be_read_stays_so_and_what_fails_may_be_tried_again() {
    for (reply, kind) in [
        (refusal(403, "AccessDenied"), Kind::Invalid),
        (refusal(404, "NoSuchBucket"), Kind::Invalid),
        (refusal(400, "Bad"), Kind::Upstream),
        (refusal(503, "SlowDown"), Kind::RateLimited),
        (Reply::Now(302, vec![("location", "http://127.0.0.1:1/".to_owned())], String::new()), Kind::Upstream),
    ] {
        let far = far(StorageKind::Sts, [reply]).await;
        let refused = far.get("t/a", None).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused:?}");
        assert!(!format!("{refused:?}").contains("AKIA"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_a_key_and_over_pages() {
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken>";
    let replies = [
        page(&format!("{more}{}{}", object("t/b"), object("t/c"))),
        page(&format!("<IsTruncated>false</IsTruncated>{}", object("t/d"))),
        page(&format!("{more}{}{}", object("t/b"), object("t/c"))),
        page(&object("x")),
        page("<IsTruncated>true</IsTruncated>"),
        refusal(403, "AccessDenied"),
    ];
    let far = far(StorageKind::Gcs, replies).await;
    assert_eq!(far.list("t/", "t/a", 10).await.unwrap(), ["t/b 7", "t/c 7", "t/d 7"]);
    assert_eq!(far.list("t/", "", 1).await.unwrap(), ["t/b 7"], "no more than was asked for");
    assert_eq!(far.list("t/", "", 1).await.unwrap_err().kind(), Kind::Upstream, "nothing that was asked for");
    assert_eq!(far.list("t/", "", 1).await.unwrap_err().kind(), Kind::Upstream, "it continues nowhere");
    assert_eq!(far.list("t/", "", 1).await.unwrap_err().kind(), Kind::Invalid, "refused");
    let lines = far.lines();
    assert_eq!(lines[0], "GET /lake?encoding-type=url&list-type=2&max-keys=1000&prefix=t%2F&start-after=t%2Fa");
    assert_eq!(lines[1], "GET /lake?continuation-token=n&encoding-type=url&list-type=2&max-keys=1000&prefix=t%2F");
    assert_eq!(lines[2], "GET /lake?encoding-type=url&list-type=2&max-keys=1000&prefix=t%2F");
    assert!(far.stub.asked().iter().all(|one| one.header("authorization") == Some("Bearer ya29.x")));
}

#[tokio::test]
async fn blobs_are_listed_and_read_with_a_signature() {
    let blob = |name: &str, more: &str| {
        format!(
            "<Blob><Name>{name}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>{more}</Properties></Blob>"
        )
    };
    let list = |inside: &str, marker: &str| {
        let text = format!(
            "\u{feff}<?xml version=\"1.0\"?><EnumerationResults><Blobs>{inside}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        );
        Reply::Now(200, Vec::new(), text)
    };
    let size = "<Content-Length>7</Content-Length>";
    let prefix = "<BlobPrefix><Name>t/sub/</Name></BlobPrefix>";
    let directory = blob("t/sub", "<Content-Length>0</Content-Length><ResourceType>directory</ResourceType>");
    let missing = Reply::Now(404, vec![("x-ms-error-code", "BlobNotFound".to_owned())], String::new());
    let replies = [
        list(&format!("{}{prefix}{directory}{}", blob("t/a", size), blob("t/b", size)), "2!m"),
        list(&blob("t/c", size), ""),
        Reply::Now(206, vec![("content-range", "bytes 0-2/9".to_owned())], "abc".to_owned()),
        missing,
        Reply::Now(404, vec![("x-ms-error-code", "ContainerNotFound".to_owned())], String::new()),
    ];
    let far = far(StorageKind::Azure, replies).await;
    assert_eq!(far.list("t/", "t/a", 10).await.unwrap(), ["t/b 7", "t/c 7"], "behind the key, without directories");
    assert_eq!(far.get("t/day=1/x", Some(0..3)).await.unwrap().unwrap(), b"abc");
    assert!(far.get("t/y", Some(0..3)).await.unwrap().is_none());
    assert_eq!(far.get("t/y", Some(0..3)).await.unwrap_err().kind(), Kind::Invalid, "there is no such container");
    let lines = far.lines();
    let asked = "GET /acct/lake?restype=container&comp=list&delimiter=%2F&maxresults=5000&prefix=t%2F&";
    assert_eq!(lines[0], format!("{asked}sv=1&sig=a%2Bb"));
    assert_eq!(lines[1], format!("{asked}marker=2%21m&sv=1&sig=a%2Bb"));
    assert_eq!(lines[2], "GET /acct/lake/t/day%3D1/x?sv=1&sig=a%2Bb");
    assert!(far.stub.asked().iter().all(|one| one.header("x-ms-version").is_some()));
}
