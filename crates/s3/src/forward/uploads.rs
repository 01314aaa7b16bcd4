//! Uploads in parts, which the storage keeps. An upload's name is the storage's own, sealed with whose it is: any node opens it, and
//! nobody else's opens here.

use data_encoding::BASE64URL_NOPAD;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use s3s::{Body, S3Error, S3ErrorCode};
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::scope::Action;

use crate::error::{Result, denied, internal, refuse};
use crate::forward::context::{CHECKSUMS, Cx, Incoming, add, empty, written};
use crate::forward::held::{self, Held};
use crate::forward::late::{Late, patient};
use crate::forward::objects::{COPIED, SOURCE, told_of_write};
use crate::forward::road::{DOCUMENT_TIME, MAX_DOCUMENT};
use crate::forward::xml::Node;
use crate::gateway::port::Sending;
use crate::objects::condition::Condition;
use crate::wire::conditions::{Of, conditions};
use crate::wire::multipart::{no_such_upload, part_number};
use crate::wire::put::Told;

/// What upload names are sealed for.
const PURPOSE: &str = "an upload at a storage behind the gateway";
/// The longest name of an upload at a storage. AWS's have 128 bytes, R2's some 400.
const MAX_ID: usize = 2048;

const BEGINNING: &str = "beginning an upload";
const PUTTING: &str = "writing a part";
const COMPLETING: &str = "completing an upload";

const CREATED: &[&str] = &["Bucket", "Key", "UploadId"];
const PART: &[&str] =
    &["ETag", "PartNumber", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"];
const PARTS: &[&str] = &[
    "Bucket",
    "ChecksumAlgorithm",
    "ChecksumType",
    "IsTruncated",
    "Key",
    "LastModified",
    "MaxParts",
    "NextPartNumberMarker",
    "Part",
    "PartNumberMarker",
    "Size",
    "StorageClass",
    "UploadId",
];

fn malformed() -> S3Error {
    refuse(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// The parts that a request to complete lists, as the storage is told of them: there is one, and each is whole. The rest is the storage's
/// to say.
fn listed(document: &[u8]) -> Result<Node> {
    let mut node = Node::parse(document).filter(|node| node.name == "CompleteMultipartUpload").ok_or_else(malformed)?;
    node.children.retain(|child| child.name == "Part");
    for part in &mut node.children {
        part.only(PART);
        let number = part.text_of("PartNumber").is_some_and(|number| number.trim().parse::<u32>().is_ok());
        if !number || part.text_of("ETag").is_none_or(|etag| etag.trim().is_empty()) {
            return Err(malformed());
        }
    }
    if node.children.is_empty() { Err(malformed()) } else { Ok(node) }
}

impl Cx {
    /// What a name is bound to: a storage, an account and who of it began the upload, a bucket and a key.
    fn bound(&self) -> Result<Vec<u8>> {
        let storage = self.session.storage_of(&self.bucket).ok_or_else(denied)?;
        let origin = &self.session.origin;
        let mut bound = [storage.to_bytes(), origin.account.to_bytes(), origin.caller.to_bytes()].concat();
        // No name of a bucket has a slash.
        for text in [self.bucket.as_str(), "/", self.key()] {
            bound.extend_from_slice(text.as_bytes());
        }
        Ok(bound)
    }

    fn sealed(&self, id: &str) -> Result<String> {
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.kit.entropy.fill(&mut nonce);
        let sealed = self.kit.keyring.load().seal_bytes(PURPOSE, &self.bound()?, id.as_bytes(), nonce);
        Ok(BASE64URL_NOPAD.encode(&sealed.map_err(|error| internal("sealing an upload's name", error))?))
    }

    /// The storage's name of the upload that the request is about. What was sealed for another is no upload's name.
    fn upload(&self) -> Result<String> {
        let text = self.parameter("uploadId").ok_or_else(no_such_upload)?;
        let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| no_such_upload())?;
        let opened = self.kit.keyring.load().open_bytes(PURPOSE, &self.bound()?, &sealed).ok_or_else(no_such_upload)?;
        String::from_utf8(opened.reveal().clone()).map_err(|_| no_such_upload())
    }

    fn number(&self) -> Result<String> {
        let number = self.parameter("partNumber").and_then(|number| number.parse().ok());
        part_number(number.unwrap_or(0)).map(|number| number.to_string())
    }

    pub(super) async fn create_upload(self) -> Result<Response<Body>> {
        let condition = conditions(&self.aside, Of::Write)?;
        // Nothing is written yet: what holds could be asked for ever. Who may not read the object may ask only whether it is there.
        let reads = self.session.reach.covers(&self.bucket, self.key().as_bytes(), Action::GetObject);
        if !condition.is_none() && !condition.is_absent() && !reads {
            return Err(denied());
        }
        self.meets(&condition, Of::Write).await?;
        let mut given = self.given(&["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-storage-class"])?;
        self.describing(&mut given)?;
        let asking = self.asking(Method::POST, &[("uploads", "")], given);
        let answer = self.road.act(self.session.live().await?, BEGINNING, asking).await?;
        let mut headers = told_of_write(answer.headers());
        for name in ["x-amz-checksum-algorithm", "x-amz-checksum-type"] {
            headers.extend(
                answer
                    .headers()
                    .get(name)
                    .map(|value| (name.parse().ok(), value.clone()))
                    .and_then(|(name, value): (Option<http::HeaderName>, HeaderValue)| name.map(|name| (name, value))),
            );
        }
        let mut share = self.share()?;
        let limits = (Some(&mut share), DOCUMENT_TIME);
        let root = ("InitiateMultipartUploadResult", MAX_DOCUMENT);
        let mut node = self.road.document(BEGINNING, answer, root, limits).await?;
        node.only(CREATED);
        let id = node.text_of("UploadId").filter(|id| (1..=MAX_ID).contains(&id.len()));
        let id = id.ok_or_else(|| self.road.strange(BEGINNING, "it does not say the upload's name"))?;
        let sealed = self.sealed(id)?;
        self.own_names(&mut node);
        node.set("UploadId", &sealed);
        Ok(written(&node.document(), headers))
    }

    /// Puts our names of the bucket and the key into a document.
    fn own_names(&self, node: &mut Node) {
        node.set("Bucket", &self.bucket);
        node.set("Key", self.key());
    }

    pub(super) async fn put_part(self, incoming: Incoming) -> Result<Response<Body>> {
        let told = Told::read(&self.headers, incoming.trailers)?;
        let (number, id) = (self.number()?, self.upload()?);
        let mut given = self.given(CHECKSUMS)?;
        given.extend(self.given(&["content-md5"])?);
        let (slot, length, sha256) = (incoming.slot, incoming.length.unwrap_or(0), incoming.sha256);
        let held = Held { slot, told, length, sha256, condition: Condition::default() };
        let asking = self.asking(Method::PUT, &[("partNumber", &number), ("uploadId", &id)], given);
        let headers = self.road.plain(PUTTING, held::send(&self, PUTTING, asking, held).await?).await?;
        if !headers.contains_key(ETAG) {
            return Err(self.road.strange(PUTTING, "it does not say the entity tag of what was written"));
        }
        Ok(empty(StatusCode::OK, told_of_write(&headers)))
    }

    pub(super) async fn copy_part(self) -> Result<Response<Body>> {
        let (source, number, id) = (self.source()?, self.number()?, self.upload()?);
        let mut given = self.given(SOURCE)?;
        given.extend(self.given(&["x-amz-copy-source-range"])?);
        let mut asking = self.asking(Method::PUT, &[("partNumber", &number), ("uploadId", &id)], given);
        (asking.source, asking.works) = (Some(source), true);
        let live = self.session.live().await?;
        let kit = self.kit.clone();
        patient(&kit, async move {
            let answer = self.road.act(live, PUTTING, asking).await?;
            self.copied(answer, "CopyPartResult").await
        })
        .await
    }

    pub(super) async fn complete_upload(self, document: &[u8]) -> Result<Response<Body>> {
        let condition = conditions(&self.aside, Of::Write)?;
        let (parts, id) = (listed(document)?, self.upload()?);
        if let Err(error) = self.meets(&condition, Of::Write).await
            && self.is_open(&id).await?
        {
            return Err(error);
        }
        let mut given = self.given(CHECKSUMS)?;
        given.extend(self.given(&["x-amz-checksum-type", "x-amz-mp-object-size"])?);
        given.extend(self.conditions()?);
        add(&mut given, CONTENT_TYPE.as_str(), b"application/xml")?;
        let mut asking = self.asking(Method::POST, &[("uploadId", &id)], given);
        (asking.body, asking.works) = (Sending::Whole(parts.document().into()), true);
        let live = self.session.live().await?;
        let kit = self.kit.clone();
        patient(&kit, async move {
            let answer = self.road.act(live, COMPLETING, asking).await;
            let answer = self.written_over(answer).await;
            let answer = answer?;
            let (headers, mut share) = (told_of_write(answer.headers()), self.share()?);
            let (root, limits) = ("CompleteMultipartUploadResult", (Some(&mut share), self.working()));
            let mut node = self.road.document(COMPLETING, answer, (root, MAX_DOCUMENT), limits).await?;
            node.only(&[COPIED, &["Location", "Bucket", "Key"]].concat());
            // Ceph does not always say the entity tag of what was made.
            self.own_names(&mut node);
            node.set("Location", &self.asked.as_ref().map(|asked| asked.url(self.kit.is_https)).unwrap_or_default());
            Ok(Late { headers, node })
        })
        .await
    }

    /// Whether an upload is not ended. One that is may have been completed: the storage tells who asks again what came of it, and makes
    /// nothing.
    async fn is_open(&self, id: &str) -> Result<bool> {
        let (live, query) = (self.session.live().await?, [("max-parts", "1"), ("uploadId", id)]);
        match self.road.read(&live, COMPLETING, self.asking(Method::GET, &query, HeaderMap::new())).await {
            Ok(_) => Ok(true),
            Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn abort_upload(self) -> Result<Response<Body>> {
        let id = self.upload()?;
        let asking = self.asking(Method::DELETE, &[("uploadId", &id)], HeaderMap::new());
        let answer = self.road.act(self.session.live().await?, "ending an upload", asking).await?;
        self.road.plain("ending an upload", answer).await?;
        Ok(empty(StatusCode::NO_CONTENT, HeaderMap::new()))
    }

    pub(super) async fn list_parts(self) -> Result<Response<Body>> {
        let doing = "listing an upload's parts";
        let id = self.upload()?;
        let mut query = vec![("uploadId", id.as_str())];
        for name in ["max-parts", "part-number-marker"] {
            query.extend(self.parameter(name).map(|value| (name, value)));
        }
        let live = self.session.live().await?;
        let answer = self.road.read(&live, doing, self.asking(Method::GET, &query, HeaderMap::new())).await?;
        let mut share = self.share()?;
        let limits = (Some(&mut share), DOCUMENT_TIME);
        let mut node = self.road.document(doing, answer, ("ListPartsResult", MAX_DOCUMENT), limits).await?;
        node.only(&[PARTS, PART].concat());
        self.own_names(&mut node);
        node.set("UploadId", self.parameter("uploadId").unwrap_or_default());
        Ok(written(&node.document(), HeaderMap::new()))
    }
}
