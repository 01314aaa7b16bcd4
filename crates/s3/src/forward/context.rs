//! One request that goes on to a storage, with all that is known of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use s3s::{Body, S3ErrorCode};
use tokio_util::task::TaskTracker;
use valetkey_core::fair::{Budget, Share};
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::time::Entropy;
use valetkey_sigv4::Query;

use crate::Limits;
use crate::error::{Result, crowded, refuse};
use crate::forward::road::Road;
use crate::gate::aside::Aside;
use crate::gate::session::{Asked, Session, Trailers};
use crate::gate::slot::Slot;
use crate::gateway::port::{Asking, Sending};
use crate::objects::{BucketId, Objects};

/// Buckets of which the index has nothing (see [`crate::forward::kept`]). One that is in here stays so.
#[derive(Default)]
pub(crate) struct Bare(Mutex<HashSet<BucketId>>);

impl Bare {
    pub(super) fn has(&self, bucket: BucketId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&bucket)
    }

    pub(super) fn add(&self, bucket: BucketId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket);
    }
}

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) keyring: SharedKeyring,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) tasks: TaskTracker,
    pub(crate) objects: Arc<Objects>,
    pub(crate) bare: Arc<Bare>,
    pub(crate) limits: Limits,
    pub(crate) is_https: bool,
}

/// A request's body, as the gate left it.
pub(crate) struct Incoming {
    pub(crate) slot: Slot,
    /// The document, if the operation takes one; all of it is here.
    pub(crate) document: Option<Bytes>,
    pub(crate) trailers: Trailers,
    /// How long it is, if that was said.
    pub(crate) length: Option<u64>,
    /// The digest that was signed, if one was.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// A request that may go on.
#[derive(Clone)]
pub(crate) struct Cx {
    pub(crate) kit: Kit,
    pub(crate) road: Road,
    pub(crate) session: Session,
    pub(crate) bucket: String,
    /// Its number in the index: what is kept of objects that were written before requests went on as they are.
    pub(crate) number: BucketId,
    pub(crate) key: Option<String>,
    pub(crate) query: Query,
    /// What came, without proof, conditions and content headers.
    pub(crate) headers: HeaderMap,
    pub(crate) aside: Aside,
    pub(crate) asked: Option<Asked>,
}

/// The names of the checksum headers.
pub(super) const CHECKSUMS: &[&str] = &[
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// The headers of an answer that are told, beside the user's metadata.
const TOLD: &[&str] = &[
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "x-amz-archive-status",
    "x-amz-checksum-type",
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-object-size",
    "x-amz-restore",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-amz-version-id",
];

/// The start of a document that is begun before the rest of it is known.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

impl Cx {
    /// The key. There is one where an operation is about an object.
    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// A request for the storage about the same thing.
    pub(super) fn asking(&self, method: Method, query: &[(&str, &str)], headers: HeaderMap) -> Asking {
        Asking {
            method,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            headers,
            source: None,
            body: Sending::Whole(Bytes::new()),
            works: false,
            now: self.session.standing.clock.now(),
        }
    }

    /// What this request may take of memory.
    pub(super) fn share(&self) -> Result<Share> {
        self.kit.budget.take(self.session.origin.account, 0).ok_or_else(crowded)
    }

    /// These of the headers that came.
    pub(super) fn given(&self, names: &[&str]) -> Result<HeaderMap> {
        let mut given = HeaderMap::new();
        for name in names {
            let own = self.headers.get_all(*name).iter().chain(self.aside.headers().get_all(*name));
            for value in own {
                add(&mut given, name, value.as_bytes())?;
            }
        }
        Ok(given)
    }

    /// The conditions of a write that go on. A single tag goes without its quotes: Ceph takes them for a part of it, and the other
    /// storages know both forms.
    pub(super) fn conditions(&self) -> Result<HeaderMap> {
        let mut given = HeaderMap::new();
        for name in ["if-match", "if-none-match"] {
            let Some(text) = self.aside.text(name) else { continue };
            let tag =
                text.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).filter(|tag| !tag.contains('"'));
            add(&mut given, name, tag.unwrap_or(&text).as_bytes())?;
        }
        Ok(given)
    }

    /// The parameter of a query, if it is there once.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.once(name)
    }
}

/// Adds a header that can be signed.
pub(super) fn add(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<()> {
    let bad = || {
        refuse(S3ErrorCode::InvalidArgument, "A header is not text, and the storage behind this bucket takes no other.")
    };
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (name, value) = (HeaderName::try_from(name), HeaderValue::from_bytes(text.as_bytes()));
    headers.append(name.map_err(|_| bad())?, value.map_err(|_| bad())?);
    Ok(())
}

/// What of an answer's head is told.
pub(super) fn told(headers: &HeaderMap) -> HeaderMap {
    let mut told = HeaderMap::new();
    for (name, value) in headers {
        let own = name.as_str();
        if TOLD.contains(&own) || CHECKSUMS.contains(&own) || own.starts_with("x-amz-meta-") {
            told.append(name.clone(), value.clone());
        }
    }
    told
}

/// An answer with headers and nothing else.
pub(super) fn empty(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer with a document.
pub(super) fn written(document: &str, mut headers: HeaderMap) -> Response<Body> {
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let mut response = Response::new(Body::from(format!("{DECLARATION}{document}")));
    *response.headers_mut() = headers;
    response
}
