//! Pages of a listing (Amazon S3 API Reference, `ListObjectsV2`), asked for with a credential that was vended.

use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::percent_decode;
use reqwest::Method;
use serde::Deserialize;
use valetkey_core::credential::Credential;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::Listed;
use valetkey_core::nouns::table::{ListPage, VendedLists};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use crate::probe::Live;
use crate::probe::xml::{Proof, Request, proven};
use crate::web::{Answer, failure};

/// How long a store may take for one page.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest page that is read, in bytes: a thousand of the longest keys, encoded, and what stands around them.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A page of a list, as S3 and its kin write it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    #[serde(default)]
    contents: Vec<Object>,
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    last_modified: String,
    size: u64,
}

#[async_trait]
impl VendedLists for Live {
    async fn page(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        prefix: &[u8],
        from: Option<&str>,
    ) -> Result<ListPage, Error> {
        let Credential::S3(keys) = credential else {
            return Err(Error::new(Kind::Invalid, "only what gives S3 keys is listed"));
        };
        let prefix = std::str::from_utf8(prefix)
            .map_err(|_| Error::new(Kind::Invalid, "a prefix that is not UTF-8 cannot be asked for"))?;
        let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("max-keys", "1000"), ("prefix", prefix)];
        query.extend(from.map(|from| ("continuation-token", from)));
        query.sort_unstable();
        let request = Request { method: Method::GET, key: None, query: &query, body: b"", headers: &[] };
        let unsent = |said: String| failure().note(said);
        let request = proven(self, storage, &Proof::Signed(keys), bucket.as_str(), request).map_err(unsent)?;
        let web = self.web(storage).map_err(unsent)?.patient(PATIENCE).roomy(MOST_BYTES);
        let answer = web.ask("the storage", request).await?;
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(answer.body.reveal());
            return Err(answer.refused("the storage refused to list", &super::code(&text), ""));
        }
        let (entries, next) = Page::read(&answer)?.listed(&answer)?;
        if entries.iter().any(|listed| !listed.key.starts_with(prefix.as_bytes())) {
            return Err(answer.malformed("an object that was not asked for"));
        }
        if next.is_some() && next.as_deref() == from {
            return Err(answer.malformed("a list that continues nowhere"));
        }
        Ok(ListPage { entries, next })
    }
}

impl Page {
    pub(super) fn read(answer: &Answer) -> Result<Self, Error> {
        let text = std::str::from_utf8(answer.body.reveal()).map_err(|_| answer.malformed("a list that is no text"))?;
        Some(text)
            .filter(|text| text.contains("<ListBucketResult"))
            .and_then(|text| quick_xml::de::from_str(text).ok())
            .ok_or_else(|| answer.malformed("no list"))
    }

    /// The objects, and where the next page begins.
    pub(super) fn listed(self, answer: &Answer) -> Result<(Vec<Listed>, Option<String>), Error> {
        let encoded = self.encoding_type.as_deref() == Some("url");
        let entries = self.contents.into_iter().map(|object| {
            let key = if encoded { decoded(&object.key) } else { object.key.into_bytes() };
            let modified = object.last_modified.parse().map_err(|_| answer.malformed("a time that is none"))?;
            Ok(Listed { key: key.into(), size: object.size, modified })
        });
        let entries = entries.collect::<Result<Vec<_>, Error>>()?;
        let next = self.next_continuation_token.filter(|_| self.is_truncated);
        if self.is_truncated && next.is_none() {
            return Err(answer.malformed("a list that continues nowhere"));
        }
        Ok((entries, next))
    }
}

/// A key as it is, of one that was encoded for XML: as in forms, where a `+` is a space.
fn decoded(key: &str) -> Vec<u8> {
    let spaced: Vec<u8> = key.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use valetkey_core::Secret;
    use valetkey_core::credential::S3Keys;
    use valetkey_core::id::StorageId;
    use valetkey_core::name::Name;
    use valetkey_core::storage::StorageKind;
    use valetkey_core::time::Lifetime;
    use valetkey_testkit::clock::FixedClock;

    use super::*;
    use crate::web::stub::{Reply, Stub};

    fn storage(endpoint: &str) -> Storage {
        Storage {
            id: StorageId::from_bytes([1; 16]),
            name: Name::parse("far").unwrap(),
            kind: StorageKind::Sts,
            endpoint: endpoint.into(),
            internal_endpoint: None,
            region: "us-east-1".into(),
            min_lifetime: Lifetime::secs(900),
            max_lifetime: Lifetime::secs(3600),
            external: None,
        }
    }

    async fn ask(stub: &Stub, from: Option<&str>) -> Result<ListPage, Error> {
        let keys = Credential::S3(S3Keys {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: Secret::new("t".to_owned()),
            expiration: "2026-01-01T01:00:00Z".parse().unwrap(),
        });
        let bucket = BucketName::parse("lake").unwrap();
        let live = Live::new(Arc::new(FixedClock::default()));
        live.page(&storage(&stub.url), &keys, &bucket, "a b/\u{e9}/".as_bytes(), from).await
    }

    fn page(inside: &str) -> Reply {
        let body = format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\">{inside}</ListBucketResult>");
        Reply::Now(200, Vec::new(), body)
    }

    fn object(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size></Contents>"
        )
    }

    #[tokio::test]
    async fn keys_come_back_as_they_are_and_pages_follow_each_other() {
        let encoded = format!(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken>{}{}",
            object("a+b/%C3%A9/x%2By%01"),
            object("a%20b/%C3%A9/z")
        );
        let plain = format!("<IsTruncated>false</IsTruncated>{}", object("a b/\u{e9}/50%25+"));
        let stub = Stub::start([page(&encoded), page(&plain), page("")]).await;
        let first = ask(&stub, None).await.unwrap();
        let keys: Vec<&[u8]> = first.entries.iter().map(|one| &*one.key).collect();
        assert_eq!(keys, ["a b/\u{e9}/x+y\u{1}".as_bytes(), "a b/\u{e9}/z".as_bytes()]);
        assert_eq!((first.entries[0].size, first.next.as_deref()), (7, Some("t+/=")));
        let second = ask(&stub, first.next.as_deref()).await.unwrap();
        assert_eq!(&*second.entries[0].key, "a b/\u{e9}/50%25+".as_bytes(), "nothing said that it was encoded");
        assert!(second.next.is_none());
        assert!(ask(&stub, None).await.unwrap().entries.is_empty());
        let asked = stub.asked();
        assert_eq!(
            asked[1].line,
            "GET /lake?continuation-token=t%2B%2F%3D&encoding-type=url&list-type=2&max-keys=1000&prefix=a%20b%2F%C3%A9%2F"
        );
        assert!(asked.iter().all(|one| one.headers.iter().any(|(name, _)| name == "x-amz-security-token")));
    }

    #[tokio::test]
    async fn a_store_that_lies_or_refuses_is_not_believed() {
        let replies = [
            Reply::Now(403, Vec::new(), "<Error><Code>AccessDenied</Code></Error>".to_owned()),
            Reply::Now(200, Vec::new(), "<html>".to_owned()),
            page(&object("elsewhere")),
            page("<IsTruncated>true</IsTruncated>"),
            page("<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>"),
            Reply::Now(302, vec![("location", "http://127.0.0.1:1/".to_owned())], String::new()),
        ];
        let count = replies.len();
        let stub = Stub::start(replies).await;
        for number in 0..count {
            let error = ask(&stub, Some("same")).await.map(|page| page.entries).unwrap_err();
            assert_eq!(error.kind(), Kind::Upstream, "{number}: {error:?}");
        }
    }
}
