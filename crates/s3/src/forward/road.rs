//! The way to a storage that speaks S3: what takes effect there spends a proof that the credential lives, and an answer that is a
//! refusal becomes one of ours.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderValue, LAST_MODIFIED};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use s3s::{S3Error, S3ErrorCode};
use tokio::time::timeout;
use valetkey_core::fair::Share;

use crate::error::{Result, crowded, later, refuse};
use crate::forward::xml::Node;
use crate::gate::session::Live;
use crate::gateway::door::Named;
use crate::gateway::failed;
use crate::gateway::port::{Answer, Asking, Failure, Forward};
use crate::wire::conditions::FAILED;

/// The most bytes of an answer's document that is no listing. The one with the parts of an upload is the longest: 1,000 of them.
pub(super) const MAX_DOCUMENT: usize = 1024 * 1024;
/// The most bytes that are read of a refusal.
const MAX_REFUSAL: usize = 64 * 1024;
/// The most bytes of an answer that is due without a document: some storages say a word.
const MAX_PLAIN: usize = 4 * 1024;
/// How long is waited for them, and for a document that has begun: its head was in time.
const REFUSAL_TIME: Duration = Duration::from_secs(5);
pub(super) const DOCUMENT_TIME: Duration = Duration::from_secs(30);

/// Refusals that are about the storage's own credential, its address or its clock: a client can do nothing about them, and would ask
/// for another credential.
const OURS: &[&str] = &[
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "CredentialsNotSupported",
    "ExpiredToken",
    "IncorrectEndpoint",
    "InvalidAccessKeyId",
    "InvalidPayer",
    "InvalidSecurity",
    "InvalidToken",
    "MissingSecurityHeader",
    "NotSignedUp",
    "PermanentRedirect",
    "Redirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
    "XAmzContentSHA256Mismatch",
];

/// The way to one storage.
#[derive(Clone)]
pub(crate) struct Road {
    to: Arc<dyn Forward>,
    named: Named,
}

/// What a request is about, for an answer whose status alone tells what is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    Bucket,
    Object,
}

impl Road {
    pub(crate) fn new((to, named): (Arc<dyn Forward>, Named)) -> Self {
        Self { to, named }
    }

    pub(super) fn takes_trailers(&self) -> bool {
        self.to.takes_trailers()
    }

    /// Asks for something. Gives only an answer that is none of failure.
    pub(super) async fn read(&self, _: &Live, doing: &'static str, asking: Asking) -> Result<Answer> {
        self.ask(doing, asking).await
    }

    /// Does something there.
    pub(super) async fn act(&self, _: Live, doing: &'static str, asking: Asking) -> Result<Answer> {
        self.ask(doing, asking).await
    }

    /// Refuses a key that the storage would take for another.
    pub(super) fn takes_key(&self, doing: &'static str, key: &str) -> Result<()> {
        self.to.takes_key(key).map_err(|failure| self.failed(doing, &failure))
    }

    /// Does something of which the last bytes come only with such a proof (see [`crate::forward::held`]).
    pub(super) async fn stream(&self, doing: &'static str, asking: Asking) -> Result<Answer> {
        self.ask(doing, asking).await
    }

    async fn ask(&self, doing: &'static str, asking: Asking) -> Result<Answer> {
        let head = asking.method == Method::HEAD;
        let about = if asking.key.is_some() { About::Object } else { About::Bucket };
        let answer = self.to.send(asking).await.map_err(|failure| self.failed(doing, &failure))?;
        let status = answer.status();
        if status.is_success() || matches!(status.as_u16(), 304 | 404 | 412 | 416) {
            self.named.worked();
        }
        if status.is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        // Its status says what it is, if its words do not come.
        let collected = async { if head { Ok(Bytes::new()) } else { collect(body, MAX_REFUSAL, |_| true).await } };
        let document = match timeout(REFUSAL_TIME, collected).await {
            Ok(Ok(document)) => document,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let said = Node::parse(&document).filter(|said| said.name == "Error");
        match said {
            Some(said) => Err(self.refused(doing, (status, &parts.headers), &said)),
            None if head || status == StatusCode::NOT_MODIFIED => Err(self.bare(doing, about, status, &parts.headers)),
            None => Err(self.strange(doing, format!("status {status} without a refusal that can be read"))),
        }
    }

    /// What a failure is to the client; counted.
    pub(super) fn failed(&self, doing: &'static str, failure: &Failure) -> S3Error {
        self.named.count(failure);
        failed(doing, failure)
    }

    /// An answer that makes no sense.
    pub(super) fn strange(&self, doing: &'static str, said: impl Into<String>) -> S3Error {
        self.failed(doing, &Failure::Failed(said.into()))
    }

    /// A refusal of which only the status is known: that of a `HEAD`.
    fn bare(&self, doing: &'static str, about: About, status: StatusCode, headers: &HeaderMap) -> S3Error {
        let mut error = match (status.as_u16(), about) {
            (304, _) => refuse(S3ErrorCode::NotModified, "Not Modified"),
            (403, _) => self.denied(doing),
            (404, About::Object) => refuse(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
            (404, About::Bucket) => refuse(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist"),
            (412, _) => {
                refuse(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
            }
            (416, _) => refuse(S3ErrorCode::InvalidRange, "The requested range is not satisfiable"),
            (503, _) => return self.failed(doing, &Failure::Unavailable(status.to_string())),
            (400 | 405 | 409, _) => {
                let mut error =
                    refuse(S3ErrorCode::InvalidRequest, "The storage behind this bucket refused the request.");
                error.set_status_code(status);
                error
            }
            _ => return self.strange(doing, format!("status {status}")),
        };
        error.set_headers(told(headers));
        error
    }

    /// The storage's own credential may not do it.
    fn denied(&self, doing: &'static str) -> S3Error {
        tracing::warn!(doing, "the storage behind the gateway denied its credential access while {doing}");
        self.named.count(&Failure::Failed(String::new()));
        refuse(S3ErrorCode::AccessDenied, "The storage behind this bucket denies this.")
    }

    /// A refusal of the storage. Its words are not told: they may name hosts, accounts, keys and other buckets.
    pub(super) fn refused(
        &self,
        doing: &'static str,
        (status, headers): (StatusCode, &HeaderMap),
        said: &Node,
    ) -> S3Error {
        let code = said.text_of("Code").unwrap_or_default().trim();
        let known = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = if known { code } else { "InternalError" };
        let s3_code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
        // A refusal in an answer that began as a success has the status of its code.
        let status =
            if status.is_success() { s3_code.status_code().unwrap_or(StatusCode::BAD_GATEWAY) } else { status };
        match (status.as_u16(), code) {
            (_, code) if OURS.contains(&code) => return self.strange(doing, format!("it said {code}")),
            (429, _) | (_, "SlowDown") => {
                return later(self.failed(doing, &Failure::Throttled(code.to_owned())), retry_after(headers));
            }
            (503, _) => {
                return later(self.failed(doing, &Failure::Unavailable(code.to_owned())), retry_after(headers));
            }
            (501, "NotImplemented") | (304 | 400 | 402..=499, _) => {}
            _ => return self.strange(doing, format!("status {status}, {code}")),
        }
        if code == "AccessDenied" {
            return self.denied(doing);
        }
        let mut error = refuse(s3_code, words(code));
        error.set_status_code(status);
        let mut told = told(headers);
        let is_header =
            |name: &&str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        let condition = said.text_of("Condition").filter(is_header);
        if let Some(condition) = condition.and_then(|name| HeaderValue::from_str(name).ok()) {
            told.insert(FAILED, condition);
        }
        error.set_headers(told);
        error
    }

    /// The document of an answer, whose root has this name. A refusal behind the status of a success is one.
    pub(super) async fn document(
        &self,
        doing: &'static str,
        answer: Answer,
        (root, most): (&str, usize),
        (mut share, within): (Option<&mut Share>, Duration),
    ) -> Result<Node> {
        let (parts, body) = answer.into_parts();
        // Counted as it comes; as a tree it takes some times as much.
        let mut fits = true;
        let reach = |bytes: usize| {
            fits = share.as_mut().is_none_or(|share| share.reach(bytes.saturating_mul(4)));
            fits
        };
        let collected = timeout(within, collect(body, most, reach)).await;
        if !fits {
            return Err(crowded());
        }
        let bytes = collected
            .map_err(|_| Failure::Unavailable(format!("its answer was not there within {} s", within.as_secs())))
            .and_then(|collected| collected)
            .map_err(|failure| self.failed(doing, &failure))?;
        let Some(node) = Node::parse(&bytes) else {
            return Err(self.strange(doing, "the answer is no document"));
        };
        match node.name.as_str() {
            "Error" => Err(self.refused(doing, (parts.status, &parts.headers), &node)),
            name if name == root => Ok(node),
            _ => Err(self.strange(doing, format!("the answer is no {root}"))),
        }
    }

    /// The headers of an answer that has no document. One that has is another's, a page that wants a login, or a refusal behind the status
    /// of a success.
    pub(super) async fn plain(&self, doing: &'static str, answer: Answer) -> Result<HeaderMap> {
        let (parts, body) = answer.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is = |page: &[u8]| kind.get(..page.len()).is_some_and(|start| start.eq_ignore_ascii_case(page));
        if is(b"text/html") || is(b"application/xhtml") {
            return Err(self.strange(doing, "the answer is a web page"));
        }
        let said = match timeout(REFUSAL_TIME, collect(body, MAX_PLAIN, |_| true)).await {
            Ok(Ok(said)) => said,
            Ok(Err(failure)) => return Err(self.failed(doing, &failure)),
            Err(_) => return Err(self.failed(doing, &Failure::Unavailable("its answer did not end".to_owned()))),
        };
        match (Node::parse(&said).filter(|said| said.name == "Error"), said.trim_ascii_start().first()) {
            (Some(refusal), _) => Err(self.refused(doing, (parts.status, &parts.headers), &refusal)),
            (None, Some(b'<' | b'{' | b'[')) => Err(self.strange(doing, "the answer is a document, and none was due")),
            (None, _) => Ok(parts.headers),
        }
    }
}

/// What Amazon S3 says with a code. Source: Amazon S3 API Reference, "Error responses", and recorded answers.
fn words(code: &str) -> &'static str {
    match code {
        "BadDigest" => "The Content-MD5 or checksum value that you specified did not match what the server received.",
        "ConditionalRequestConflict" => {
            "The conditional request cannot succeed due to a conflicting operation against this resource."
        }
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed object size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed size",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidDigest" => "The Content-MD5 or checksum value that you specified is not valid.",
        "InvalidObjectState" => "The operation is not valid for the object's storage class",
        "InvalidPart" => {
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
        }
        "InvalidPartNumber" => "The requested partnumber is not satisfiable",
        "InvalidPartOrder" => "The list of parts was not in ascending order. Parts must be ordered by part number.",
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidRequest" => "Invalid Request",
        "InvalidStorageClass" => "The storage class you specified is not valid",
        "InvalidTag" => {
            "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation."
        }
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MetadataTooLarge" => "Your metadata headers exceed the maximum allowed metadata size",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchUpload" => {
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        }
        "NoSuchVersion" => "The specified version does not exist.",
        "NotImplemented" => "A header or query you provided implies functionality that is not implemented.",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeout" => {
            "Your socket connection to the server was not read from or written to within the timeout period."
        }
        _ => "The storage behind this bucket refused the request.",
    }
}

/// The headers of a refusal that are told.
fn told(headers: &HeaderMap) -> HeaderMap {
    let mut told = HeaderMap::new();
    for name in [ETAG, LAST_MODIFIED, CONTENT_RANGE, CACHE_CONTROL, EXPIRES] {
        if let Some(value) = headers.get(&name) {
            told.insert(name, value.clone());
        }
    }
    for name in ["x-amz-delete-marker", "x-amz-version-id"] {
        if let Some(value) = headers.get(name) {
            told.insert(name, value.clone());
        }
    }
    told
}

/// After how many seconds to come again, as the storage says it.
fn retry_after(headers: &HeaderMap) -> &'static str {
    let secs = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    match secs {
        None | Some(0 | 1) => "1",
        Some(2..=5) => "5",
        Some(_) => "30",
    }
}

/// Reads a body to its end, as long as there is room for so many bytes.
pub(super) async fn collect(
    mut body: impl http_body::Body<Data = Bytes, Error = Failure> + Unpin,
    most: usize,
    mut has_room: impl FnMut(usize) -> bool,
) -> std::result::Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > most || !has_room(bytes.len() + data.len()) {
            return Err(Failure::Failed(format!(
                "an answer of more than {most} bytes, or more than there is room for"
            )));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
