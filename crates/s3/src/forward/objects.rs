//! Objects: read, written, copied and deleted at the storage, whose answers go to the client.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, RANGE};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use s3s::dto::CopySource;
use s3s::{Body, S3ErrorCode};

use crate::access::allowed_source;
use crate::error::{Result, Unread, not_implemented, refuse};
use crate::forward::context::{CHECKSUMS, Cx, Incoming, add, empty, told, written};
use crate::forward::held::{self, Held};
use crate::forward::late::{Late, patient};
use crate::forward::road::{DOCUMENT_TIME, MAX_DOCUMENT};
use crate::gateway::port::Answer;
use crate::objects::condition::{Clash, Condition, Existing};
use crate::wire::clashed;
use crate::wire::conditions::{Of, conditions, date, failed};
use crate::wire::put::{Told, kept};

/// The conditions and ranges of a reader, which the storage holds against the object.
const READER: &[&str] = &[
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "x-amz-checksum-mode",
];
/// The conditions on a copy's source.
pub(super) const SOURCE: &[&str] = &[
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
];
const READING: &str = "reading an object";
const WRITING: &str = "writing an object";
const COPYING: &str = "copying an object";
const DELETING: &str = "deleting an object";

/// The elements of a copy's result.
pub(super) const COPIED: &[&str] = &[
    "ETag",
    "LastModified",
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
    "ChecksumType",
];
/// Those of an object's attributes and of its tags.
const ATTRIBUTES: &[&str] = &[
    "Checksum",
    "ETag",
    "IsTruncated",
    "MaxParts",
    "NextPartNumberMarker",
    "ObjectParts",
    "ObjectSize",
    "Part",
    "PartNumber",
    "PartNumberMarker",
    "PartsCount",
    "Size",
    "StorageClass",
    "TotalPartsCount",
];
const TAGS: &[&str] = &["TagSet", "Tag", "Key", "Value"];

fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// Whether the range that an answer has is the one that was asked for, as far as one was: from its first byte on, or so many at the end.
fn is_asked(asked: Option<&str>, first: u64, last: u64, whole: &str) -> bool {
    let Some(asked) = asked.and_then(|asked| asked.trim().strip_prefix("bytes=")) else { return false };
    match asked.split_once('-') {
        Some(("", count)) => {
            let (Ok(count), Ok(whole)) = (count.parse::<u64>(), whole.parse::<u64>()) else { return false };
            first == whole.saturating_sub(count) && last.saturating_add(1) == whole
        }
        Some((from, to)) => from.parse() == Ok(first) && to.parse().map_or(to.is_empty(), |to: u64| last <= to),
        None => false,
    }
}

/// Holds the head of an object's answer against itself and what was asked: what does not fit is told before a byte of it went on.
fn fitting(answer: &Answer, asked: Option<&str>, part: bool) -> std::result::Result<u64, &'static str> {
    let headers = answer.headers();
    if headers.get(ETAG).is_none_or(HeaderValue::is_empty) {
        return Err("it has no entity tag, as every object has");
    }
    let length = number(headers.get(CONTENT_LENGTH)).ok_or("it does not say how long it is")?;
    let range = || {
        let (range, whole) =
            headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        // Of a part nobody knows which bytes it has.
        (part || is_asked(asked, first, last, whole)).then_some(())?;
        last.checked_sub(first)?.checked_add(1)
    };
    match answer.status() {
        StatusCode::OK => Ok(length),
        StatusCode::PARTIAL_CONTENT if range() == Some(length) => Ok(length),
        StatusCode::PARTIAL_CONTENT => {
            Err("the range it says it has is not as long as it is, or not the one that was asked for")
        }
        _ => Err("its status is none of an object's"),
    }
}

impl Cx {
    pub(super) async fn get(self, method: Method) -> Result<Response<Body>> {
        let live = self.session.live().await?;
        let part: Vec<(&str, &str)> =
            self.parameter("partNumber").map(|part| ("partNumber", part)).into_iter().collect();
        let head = method == Method::HEAD;
        let given = self.given(READER)?;
        let asked = given.get(RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
        let asking = self.asking(method, &part, given);
        let answer = self.road.read(&live, READING, asking).await?;
        let length =
            fitting(&answer, asked.as_deref(), !part.is_empty()).map_err(|said| self.road.strange(READING, said))?;
        let (parts, body) = answer.into_parts();
        let mut headers = told(&parts.headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        self.overlay(&live, &mut headers).await?;
        for (name, value) in self.aside.overridden() {
            headers.insert(name, value.clone());
        }
        let mut response = empty(parts.status, headers);
        if !head {
            let (road, place) = (self.road.clone(), self.shown());
            *response.body_mut() = Body::http_body_unsync(body.map_err(move |failure| {
                road.failed(READING, &failure);
                tracing::warn!(object = place, "reading {place} from the storage behind the gateway broke off");
                Unread
            }));
        }
        Ok(response)
    }

    fn shown(&self) -> String {
        crate::objects::shown(&self.bucket, self.key().as_bytes())
    }

    pub(super) async fn attributes(self) -> Result<Response<Body>> {
        let given = self.given(&["x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"])?;
        self.described("attributes", given, ("GetObjectAttributesResponse", ATTRIBUTES)).await
    }

    pub(super) async fn tagging(self) -> Result<Response<Body>> {
        self.described("tagging", HeaderMap::new(), ("Tagging", TAGS)).await
    }

    async fn described(self, what: &str, given: HeaderMap, (root, names): (&str, &[&str])) -> Result<Response<Body>> {
        let live = self.session.live().await?;
        let answer = self.road.read(&live, READING, self.asking(Method::GET, &[(what, "")], given)).await?;
        let headers = told(answer.headers());
        let mut share = self.share()?;
        let limits = (Some(&mut share), DOCUMENT_TIME);
        let mut node = self.road.document(READING, answer, (root, MAX_DOCUMENT), limits).await?;
        let checksums = [names, COPIED].concat();
        node.only(if root == "Tagging" { names } else { &checksums });
        Ok(written(&node.document(), headers))
    }

    pub(super) async fn put(self, incoming: Incoming) -> Result<Response<Body>> {
        let told_of = Told::read(&self.headers, incoming.trailers)?;
        let condition = conditions(&self.aside, Of::Write)?;
        let mut given = self.conditions()?;
        given.extend(self.given(CHECKSUMS)?);
        given.extend(self.given(&["content-md5", "x-amz-storage-class"])?);
        self.describing(&mut given)?;
        let (slot, length, sha256) = (incoming.slot, incoming.length.unwrap_or(0), incoming.sha256);
        let held = Held { slot, told: told_of, length, sha256, condition };
        let answer = held::send(&self, WRITING, self.asking(Method::PUT, &[], given), held).await;
        let answer = self.written_over(answer).await;
        let headers = self.road.plain(WRITING, answer?).await?;
        if !headers.contains_key(ETAG) {
            return Err(self.road.strange(WRITING, "it does not say the entity tag of what was written"));
        }
        Ok(empty(StatusCode::OK, told_of_write(&headers)))
    }

    /// The headers that are kept with an object, of those that came.
    pub(super) fn describing(&self, given: &mut HeaderMap) -> Result<()> {
        kept(&self.headers, &self.aside)?.0.iter().try_for_each(|(name, value)| add(given, name, value))
    }

    pub(super) async fn delete(self) -> Result<Response<Body>> {
        let condition = conditions(&self.aside, Of::Write)?;
        match self.holds(&condition).await? {
            Ok(()) => {}
            // What is not there is as good as deleted.
            Err(Clash::Missing) => return Ok(empty(StatusCode::NO_CONTENT, HeaderMap::new())),
            Err(clash) => return Err(clashed(clash)),
        }
        let asking = self.asking(Method::DELETE, &[], self.conditions()?);
        let answer = self.road.act(self.session.live().await?, DELETING, asking).await;
        let answer = self.written_over(answer).await;
        let headers = self.road.plain(DELETING, answer?).await?;
        Ok(empty(StatusCode::NO_CONTENT, told_of_write(&headers)))
    }

    pub(super) async fn copy(self) -> Result<Response<Body>> {
        let source = self.source()?;
        let (write, of_r2) = (conditions(&self.aside, Of::Write)?, conditions(&self.aside, Of::Destination)?);
        if !write.is_none() && !of_r2.is_none() {
            let said = "Expecting either If-Match and If-None-Match or cf-copy-destination-if-… headers, not both.";
            return Err(refuse(S3ErrorCode::InvalidRequest, said));
        }
        self.meets(&write, Of::Write).await?;
        self.meets(&of_r2, Of::Destination).await?;
        let mut given = self.conditions()?;
        given.extend(self.given(SOURCE)?);
        given.extend(self.given(&["x-amz-checksum-algorithm", "x-amz-storage-class", "x-amz-tagging-directive"])?);
        match self.headers.get("x-amz-metadata-directive").map(HeaderValue::as_bytes) {
            None | Some(b"COPY") => {}
            Some(b"REPLACE") => {
                add(&mut given, "x-amz-metadata-directive", b"REPLACE")?;
                self.describing(&mut given)?;
            }
            Some(_) => return Err(refuse(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
        }
        let mut asking = self.asking(Method::PUT, &[], given);
        (asking.source, asking.works) = (Some(source), true);
        let live = self.session.live().await?;
        let kit = self.kit.clone();
        patient(&kit, async move {
            let answer = self.road.act(live, COPYING, asking).await;
            let answer = self.written_over(answer).await;
            self.copied(answer?, "CopyObjectResult").await
        })
        .await
    }

    /// The result of a copy.
    pub(super) async fn copied(&self, answer: Answer, root: &str) -> Result<Late> {
        let (headers, mut share) = (told_of_write(answer.headers()), self.share()?);
        let limits = (Some(&mut share), self.working());
        let mut node = self.road.document(COPYING, answer, (root, MAX_DOCUMENT), limits).await?;
        node.only(COPIED);
        if node.text_of("ETag").is_none_or(str::is_empty) {
            return Err(self.road.strange(COPYING, "it does not say the entity tag of what was written"));
        }
        Ok(Late { headers, node })
    }

    /// How long a storage may work on one thing while it says that it does.
    pub(super) fn working(&self) -> Duration {
        self.kit.limits.idle.saturating_mul(30)
    }

    /// Where a copy comes from, if that may be read and is in the same storage.
    pub(super) fn source(&self) -> Result<(String, String)> {
        let bad = || refuse(S3ErrorCode::InvalidArgument, "The x-amz-copy-source header cannot be decoded.");
        let text = self.headers.get("x-amz-copy-source").and_then(|value| value.to_str().ok()).ok_or_else(bad)?;
        let source = CopySource::parse(text).map_err(|_| bad())?;
        allowed_source(Some(&self.session), &source)?;
        let CopySource::Bucket { bucket, key, .. } = source else {
            return Err(not_implemented("a copy from an access point"));
        };
        if self.session.storage_of(&bucket) != self.session.storage_of(&self.bucket) {
            return Err(not_implemented("a copy from another storage"));
        }
        Ok((bucket.into(), key.into()))
    }

    /// Refuses what a condition of a write forbids.
    pub(super) async fn meets(&self, condition: &Condition, of: Of) -> Result<()> {
        self.holds(condition).await?.map_err(|clash| match clash {
            Clash::Failed(part) => failed(of, part),
            clash @ (Clash::Missing | Clash::Quota) => clashed(clash),
        })
    }

    /// Holds a condition of a write against what is there now.
    pub(super) async fn holds(&self, condition: &Condition) -> Result<std::result::Result<(), Clash>> {
        if condition.is_none() {
            return Ok(Ok(()));
        }
        Ok(match self.look().await? {
            Some((etag, modified)) => condition.check(Some(Existing { etag: &etag, modified })),
            None => condition.check(None),
        })
    }

    /// The entity tag of what is there, and since when.
    async fn look(&self) -> Result<Option<(String, Timestamp)>> {
        let live = self.session.live().await?;
        let asking = self.asking(Method::HEAD, &[], HeaderMap::new());
        let answer = match self.road.read(&live, "looking an object up", asking).await {
            Ok(answer) => answer,
            Err(error) if *error.code() == S3ErrorCode::NoSuchKey => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let found = text(ETAG).zip(text(LAST_MODIFIED).and_then(date));
        let (etag, modified) =
            found.ok_or_else(|| self.road.strange("looking an object up", "it says no entity tag or no time"))?;
        Ok(Some((etag.trim_matches('"').to_owned(), modified)))
    }
}

/// What of the answer to a write is told.
pub(super) fn told_of_write(headers: &HeaderMap) -> HeaderMap {
    let mut told = told(headers);
    for name in [CONTENT_TYPE, http::header::CONTENT_ENCODING, CONTENT_RANGE] {
        told.remove(name);
    }
    told
}
