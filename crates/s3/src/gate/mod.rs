//! The gate: proves who asks before anything else of a request is believed, and words every refusal.
//!
//! Behind it the S3 crate sees a request without its proof (no signature, no session token, path style, the body decoded)
//! and a [`Session`] beside it, which nothing but the gate makes.

pub(crate) mod alarm;
pub(crate) mod aside;
mod body;
mod cors;
mod document;
mod ending;
mod hosts;
mod moved;
mod parents;
pub(crate) mod proof;
pub(crate) mod query;
pub(crate) mod session;
pub(crate) mod slot;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXUPPER};
use futures::FutureExt as _;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use tokio_util::task::TaskTracker;
use valetkey_core::cors::Rules;
use valetkey_core::fair::{Budget, Share};
use valetkey_core::id::{LeaseId, TokenId};
use valetkey_core::keyring::{Carried, SharedKeyring, Unsealed, parse_access_key_id};
use valetkey_core::nouns::usage::Meter;
use valetkey_core::scope::Rights;
use valetkey_core::time::Entropy;
use valetkey_sigv4::{CONTENT_SHA256, ChunkKey, Claimed, Payload, Query};

use crate::Limits;
use crate::access::{Going, Turn};
use crate::bucket::Buckets;
use crate::error::{Result, crowded, internal, later, not_implemented, of_domain, refuse};
use crate::forward;
use crate::forward::context::{Cx, Incoming, Kit};
use crate::gate::alarm::Bursts;
use crate::gate::aside::{Aside, settle_range};
use crate::gate::body::{Announced, Coding, Decoded, Leftover};
use crate::gate::cors::Page;
use crate::gate::ending::{Alarm, Note, finish, refusal};
pub(crate) use crate::gate::hosts::Hosts;
use crate::gate::moved::Moved;
use crate::gate::proof::{decode, single, unproven, untimely, worded};
use crate::gate::session::{Arrived, Asked, Holder, Liveness, Operation, Reach, Session, Trailers};
use crate::gate::slot::Slot;
use crate::objects::checksum::{Algorithm, Hashes};

/// Bytes of rights too long for a session token that are kept in memory: 2,000 of the largest.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a refused request's body that are read before the refusal goes out, so that the connection stays.
const MAX_DRAIN: u64 = 1024 * 1024;
/// Of a longer one this much is let go of after the refusal, and for so long: a connection that ends while its sender sends is
/// reset, and the refusal with it. Most senders stop when they see it.
const MAX_LINGER: u64 = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The gate and what is behind it.
pub(crate) struct Gate {
    pub(crate) behind: S3Service,
    /// Which stores are served.
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) hosts: Hosts,
    pub(crate) region: HeaderValue,
    pub(crate) limits: Limits,
    pub(crate) keyring: SharedKeyring,
    pub(crate) standing: Arc<Liveness>,
    /// Counts what goes over it.
    pub(crate) meter: Arc<dyn Meter>,
    /// Counts what keys do not open.
    pub(crate) bursts: Bursts,
    /// The bytes of bodies that may be in memory.
    pub(crate) budget: Arc<Budget>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tasks: TaskTracker,
    /// What pages are allowed of buckets without rules of their own.
    pub(crate) cors: Option<Arc<Rules>>,
    pub(crate) kept: moka::sync::Cache<LeaseId, Arc<Rights>>,
    /// For requests that go on to a storage.
    pub(crate) kit: Kit,
}

/// A cache for rights that are kept with their leases.
pub(crate) fn kept() -> moka::sync::Cache<LeaseId, Arc<Rights>> {
    let weigh = |_: &LeaseId, rights: &Arc<Rights>| u32::try_from(rights.weight()).unwrap_or(u32::MAX);
    moka::sync::Cache::builder().max_capacity(KEPT_BYTES).weigher(weigh).build()
}

/// The host that a request says it is for.
fn said_host<B>(request: &Request<B>) -> &str {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

impl Gate {
    /// Answers a request.
    pub(crate) async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    {
        let mut id = [0u8; 8];
        self.entropy.fill(&mut id);
        let mut note = Note {
            method: request.method().clone(),
            resource: request.uri().path().to_owned(),
            request_id: HEXUPPER.encode(&id),
            key_id: None,
            operation: Operation::default(),
            place: (String::new(), None),
            client: request.extensions().get::<IpAddr>().copied(),
            holder: None,
            moved: None,
            alarm: None,
        };
        let page = self.page(&request);
        let asks_for_bucket = self.asks_for_bucket(&request);
        if request.method() == Method::OPTIONS {
            note.operation.tell("Preflight");
            let answered = page.preflight(request.headers()).unwrap_or_else(refusal);
            let (mut response, _) = finish(answered, note).await;
            page.tell(response.headers_mut());
            return response;
        }
        let waits = request.headers().contains_key(EXPECT);
        let http_1 = request.version() == http::Version::HTTP_11;
        let leftover: Leftover<B> = Leftover::default();
        let answered = AssertUnwindSafe(self.admit(request, &mut note, &leftover)).catch_unwind().await;
        let answered =
            answered.unwrap_or_else(|_| Err(internal("answering a request", "it panicked; the request was refused")));
        let response = match answered {
            Ok(response) => response,
            Err(error) => refusal(error),
        };
        let refused = response.status().is_client_error() || response.status().is_server_error();
        let left = leftover.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|_| refused);
        let late = response.status() == StatusCode::REQUEST_TIMEOUT;
        let closes = match left {
            // The sender waits for leave to send its body and now never gets it: whether the body comes all the same nobody can
            // know, so the connection ends, and it is told so.
            _ if waits => refused,
            None => late,
            Some(_) if late => true,
            Some(left) if left.size_hint().upper().is_some_and(|most| most <= MAX_DRAIN) => {
                drain(left, MAX_DRAIN, Duration::from_secs(1)).await;
                false
            }
            Some(left) => {
                self.tasks.spawn(drain(left, MAX_LINGER, LINGER));
                true
            }
        };
        let (moved, operation) = (note.moved.take(), note.operation.clone());
        let (alarm, holder, client) = (note.alarm, note.holder, note.client);
        let (mut response, denied) = finish(response, note).await;
        self.bursts.tell((alarm, denied), (holder, client), &*self.meter, self.standing.clock.now());
        if let Some(moved) = moved {
            moved.answered(operation.name(), response.status().as_u16());
            response = response.map(|body| moved.out(body));
        }
        page.tell(response.headers_mut());
        if asks_for_bucket {
            response.headers_mut().insert(BUCKET_REGION, self.region.clone());
        }
        if closes && http_1 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What a page asks, if one does, and what it is allowed.
    fn page<B>(&self, request: &Request<B>) -> Page {
        let (uri, headers) = (request.uri(), request.headers());
        if self.cors.is_none() && !self.buckets.has_cors() {
            return Page::new(Vec::new(), request.method(), headers);
        }
        let path = decode(uri.path()).unwrap_or_default();
        let first = || path.trim_start_matches('/').split('/').next();
        let own = self
            .hosts
            .bucket(said_host(request))
            .or_else(first)
            .map_or_else(Vec::new, |bucket| self.buckets.cors(bucket));
        let rules = if own.is_empty() { self.cors.iter().cloned().collect() } else { own };
        Page::new(rules, request.method(), headers)
    }

    /// Whether a request asks whether a bucket is there.
    fn asks_for_bucket<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path().trim_start_matches('/');
        let names = match self.hosts.bucket(said_host(request)) {
            Some(_) => path.is_empty(),
            None => !path.is_empty() && path.split_once('/').is_none_or(|(_, key)| key.is_empty()),
        };
        names && request.method() == Method::HEAD
    }

    async fn admit<B>(&self, request: Request<B>, note: &mut Note, leftover: &Leftover<B>) -> Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    {
        let (mut parts, body) = request.into_parts();
        // From here on the body is put by for the connection's sake when it is not read.
        let body = Decoded::new(Some(body), Coding::Plain { digest: None }, None, Arc::clone(leftover));
        let path = decode(parts.uri.path())?;
        let query = proof::query(parts.uri.query())?;
        let host = host(&parts)?;
        let (bucket, key) = self.place(&path, &host);
        note.place = (bucket.clone(), key.clone().filter(|_| self.limits.log_keys));
        refuse_forms(&parts)?;
        let claimed = proof::claimed(&parts, &query)?;
        let shown = &claimed.unverified_key_id;
        if parse_access_key_id(shown).is_some() || TokenId::from_hex(shown).is_some() {
            note.key_id = Some(claimed.unverified_key_id.clone());
        }
        let (session, chunk_key) = self.prove(&parts, &claimed, &path, &query, &host, &mut note.alarm).await?;
        let holder = (session.origin.account, session.origin.caller);
        let moved = Moved::of(&self.meter, &self.standing.clock, &session.origin, note.client);
        let moved = Arc::new(moved.at((&bucket, key.as_deref()), &note.request_id));
        note.moved = Some(Arc::clone(&moved));
        note.holder = Some(holder);
        parts.extensions.insert(session.clone());
        if !claimed.is_presigned() {
            parts.extensions.insert(Holder);
        }
        parts.extensions.insert(note.operation.clone());
        parts.extensions.insert(Asked { host: host.clone(), path: parts.uri.path().to_owned() });
        let length = self.measure(&parts, claimed.payload)?;
        let trailers = Trailers::default();
        let coding = coding(&parts, claimed.payload, chunk_key, &trailers)?;
        parts.extensions.insert(trailers.clone());
        self.strip(&mut parts, &query, &host, length)?;
        let Limits { idle, least_rate, document_time, .. } = self.limits;
        let body = Decoded::new(body.into_inner(), coding, length, Arc::clone(leftover));
        let body = Body::http_body(body.no_slower(idle, least_rate).telling(session.arrived.clone()).counting(moved));
        // Whoever knows what the operation takes reads it there; see `access`.
        let slot = Slot::new(body, document_time);
        parts.extensions.insert(slot.clone());
        let turn = Turn::new(Arc::clone(&self.buckets));
        parts.extensions.insert(turn.clone());
        let goes_on = session.storage_of(&note.place.0).is_some_and(|storage| self.buckets.forwards(storage));
        // Operations with documents are all posted, but for a bucket's configuration.
        let again = (goes_on || parts.method == Method::POST || query.has("cors")).then(|| parts.clone());
        let mut answered = self.behind.call(Request::from_parts(parts, Body::http_body(slot.clone()))).await;
        let mut document = None;
        if let Some(parts) = again.clone().filter(|_| slot.is_wanted()) {
            let read = self.document(&parts, &query, &slot, &session, &trailers).await?;
            answered = self.with_document(parts, read.0.clone()).await;
            document = Some(read);
        }
        if let (Some(passed), Some(parts)) = (turn.take(), again) {
            let sha256 = if let Payload::Digest(digest) = claimed.payload { Some(digest) } else { None };
            let (op, document) = (passed.op, document.as_ref().map(|(bytes, _)| bytes.clone()));
            let incoming = Incoming { slot, document, trailers, length, sha256 };
            let Going { road, bucket, number, key, .. } = passed;
            let aside = parts.extensions.get::<Aside>().cloned().unwrap_or_default();
            let asked = parts.extensions.get::<Asked>().cloned();
            let (kit, query, headers) = (self.kit.clone(), proof::query(parts.uri.query())?, parts.headers);
            let cx = Cx { kit, road, session, bucket, number, key, query, headers, aside, asked };
            return forward::answer(cx, op, incoming).await;
        }
        answered.map_err(|error| internal("answering a request", format!("{error:?}")))
    }

    /// Where a request is about: its bucket, from the host or the path, and the key.
    fn place(&self, path: &str, host: &str) -> (String, Option<String>) {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = match self.hosts.bucket(host) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        (bucket.to_owned(), Some(key).filter(|key| !key.is_empty()).map(str::to_owned))
    }

    /// Reads the document of an operation that may be done.
    async fn document(
        &self,
        parts: &Parts,
        query: &Query,
        slot: &Slot,
        session: &Session,
        trailers: &Trailers,
    ) -> Result<(Bytes, Share)> {
        let mut share = self.budget.take(session.origin.account, 0).ok_or_else(crowded)?;
        let bytes = slot.document(self.limits.max_xml_bytes, &mut share, session).await?;
        if query.has("delete") || query.has("cors") {
            verify_digests(&parts.headers, trailers, &bytes)?;
        }
        Ok((document::without_cdata(bytes), share))
    }

    /// Does it.
    async fn with_document(
        &self,
        mut parts: Parts,
        bytes: Bytes,
    ) -> std::result::Result<Response<Body>, s3s::HttpError> {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        self.behind.call(Request::from_parts(parts, Body::from(bytes))).await
    }

    /// Proves who asks: nothing of the request is believed before.
    async fn prove(
        &self,
        parts: &Parts,
        claimed: &Claimed,
        path: &str,
        query: &Query,
        host: &str,
        alarm: &mut Option<Alarm>,
    ) -> Result<(Session, ChunkKey)> {
        let ring = self.keyring.load();
        let key_id = claimed.unverified_key_id.as_str();
        if let Some(id) = TokenId::from_hex(key_id) {
            return self.prove_parent(id, parts, claimed, path, query, host).await;
        }
        let secret = ring.secret_access_key(key_id).ok_or_else(unknown_key)?;
        // As S3 does: a temporary key without its token is no key.
        let token = claimed.unverified_token.as_ref().ok_or_else(unknown_key)?;
        claimed.covered(parts).map_err(worded)?;
        let claims = ring.unseal(token.reveal(), key_id).map_err(|unsealed| {
            // Of our form, sealed with a key that we have, and not for this access key.
            *alarm = (unsealed == Unsealed::Broken).then_some(Alarm::OtherKey);
            invalid_token()
        })?;
        if !self.buckets.serves(claims.storage) {
            if self.buckets.is_elsewhere(claims.storage) {
                return Err(elsewhere());
            }
            return Err(invalid_token());
        }
        // Told before the signature is checked, but only to who holds a token that we sealed.
        let (origin, until) = (claims.provenance(), claims.until);
        let narrowed_from: Arc<[_]> = claims.origins().into_iter().skip(1).collect();
        let origins = || std::iter::once(&origin).chain(&*narrowed_from);
        if until > self.standing.clock.now() && origins().any(|one| self.standing.leases.is_revoked(one)) {
            *alarm = Some(Alarm::Revoked(origin.account, origin.caller));
        }
        self.standing.check(&origin, until)?;
        self.standing.check_all(&narrowed_from, until)?;
        claimed.timely(self.standing.clock.now()).map_err(|refused| untimely(claimed, refused))?;
        let chunk_key = claimed.verify(parts, path, query, host, &secret).map_err(|refused| unproven(refused, host))?;
        let rights = match claims.reach {
            Carried::Here(rights) => Arc::new(rights),
            Carried::WithLease => self.kept_rights(claims.lease).await?,
        };
        let reach = Reach::One(rights);
        let (standing, arrived) = (Arc::clone(&self.standing), Arrived::default());
        let session =
            Session { origin, narrowed_from, until, reach, operations: None, parent: None, standing, arrived };
        Ok((session, chunk_key))
    }

    async fn kept_rights(&self, lease: LeaseId) -> Result<Arc<Rights>> {
        if let Some(rights) = self.kept.get(&lease) {
            return Ok(rights);
        }
        let found =
            self.standing.leases.rights(lease).await.map_err(|error| of_domain("looking a lease up", &error))?;
        let rights = found.ok_or_else(invalid_token)?;
        self.kept.insert(lease, Arc::clone(&rights));
        Ok(rights)
    }

    /// How long the body is, once decoded.
    fn measure(&self, parts: &Parts, payload: Payload) -> Result<Option<u64>> {
        let missing = || refuse(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header.");
        let number = |name: &HeaderName| -> Result<Option<u64>> {
            let Some(text) = single(parts, name)? else { return Ok(None) };
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.map(Some).ok_or_else(|| refuse(S3ErrorCode::InvalidArgument, "A length is not a number."))
        };
        let length = match payload {
            Payload::SignedChunks { .. } | Payload::UnsignedChunks => {
                Some(number(&DECODED_LENGTH)?.ok_or_else(missing)?)
            }
            Payload::Unsigned | Payload::Digest(_) => {
                let length = number(&CONTENT_LENGTH)?;
                let copies = parts.headers.contains_key("x-amz-copy-source");
                if length.is_none() && parts.method == Method::PUT && !copies {
                    if parts.headers.contains_key(TRANSFER_ENCODING) {
                        return Err(missing());
                    }
                    // HTTP/1.1 without either has no body; HTTP/2 may have one of any length.
                    if parts.version != http::Version::HTTP_11 {
                        return Err(missing());
                    }
                    Some(0)
                } else {
                    length
                }
            }
        };
        if length.is_some_and(|length| length > self.limits.max_object_bytes) {
            return Err(crate::objects::intake::too_large());
        }
        Ok(length)
    }

    /// Makes of a proven request one that carries no proof, in path style.
    fn strip(&self, parts: &mut Parts, query: &Query, host: &str, length: Option<u64>) -> Result<()> {
        let bad = |_| refuse(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.");
        let path = parts.uri.path();
        let path = match self.hosts.bucket(host) {
            Some(bucket) => format!("/{bucket}{path}"),
            None => path.to_owned(),
        };
        let rest = query::without_headers(query);
        let target = if rest.is_empty() { path } else { format!("{path}?{rest}") };
        parts.uri = target.parse::<Uri>().map_err(bad)?;
        for name in [AUTHORIZATION, SECURITY_TOKEN, DECODED_LENGTH] {
            parts.headers.remove(name);
        }
        parts.headers.remove(CONTENT_SHA256);
        parts.headers.insert(HOST, HeaderValue::from_static("localhost"));
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        for (name, value) in query::headers(query) {
            // SDKs that sign a URL before there is a body put the checksum of no bytes into it. It says nothing of what is sent.
            if Algorithm::of_header(&name).is_some_and(|algorithm| value == BASE64.encode(&algorithm.of(b""))) {
                continue;
            }
            let twice = || refuse(S3ErrorCode::InvalidArgument, "A header in the query is there twice, or is not one.");
            let (name, value) = (HeaderName::try_from(name), HeaderValue::from_str(value));
            let (Ok(name), Ok(value)) = (name, value) else { return Err(twice()) };
            if parts.headers.insert(name, value).is_some() {
                return Err(twice());
            }
        }
        settle_copy_source(parts)?;
        let range = single(parts, &RANGE)?.map(str::to_owned);
        settle_range(&mut parts.headers, range.as_deref());
        parts.extensions.insert(Aside::take(&mut parts.headers, query)?);
        Ok(())
    }
}

fn unknown_key() -> S3Error {
    refuse(S3ErrorCode::InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
}

/// What a credential of objects on another server's disk is told: it is good there.
fn elsewhere() -> S3Error {
    let said = "The objects of this storage are on the disk of another server that shares the database.";
    later(refuse(S3ErrorCode::ServiceUnavailable, said), "1")
}

fn invalid_token() -> S3Error {
    refuse(S3ErrorCode::InvalidToken, "The provided token is malformed or otherwise invalid.")
}

/// The host a request is for.
fn host(parts: &Parts) -> Result<String> {
    let missing = || refuse(S3ErrorCode::InvalidRequest, "Missing required header for this request: host");
    let named = single(parts, &HOST)?;
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    match (named, authority) {
        (Some(named), Some(authority)) if named != authority => {
            Err(refuse(S3ErrorCode::InvalidRequest, "The request names two hosts."))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host.to_owned()),
        (None, None) => Err(missing()),
    }
}

/// Reads a copy's source as S3 does: decoded once, a plus sign a space. What cannot be decoded is refused, not guessed.
fn settle_copy_source(parts: &mut Parts) -> Result<()> {
    let Some(source) = single(parts, &COPY_SOURCE)? else { return Ok(()) };
    let bad = || refuse(S3ErrorCode::InvalidArgument, "The x-amz-copy-source header cannot be decoded.");
    decode(source).map_err(|_| bad())?;
    let settled = HeaderValue::from_str(&source.replace('+', "%20")).map_err(|_| bad())?;
    parts.headers.insert(COPY_SOURCE, settled);
    Ok(())
}

/// Refuses browser forms: they carry their proof where nothing here looks for it.
fn refuse_forms(parts: &Parts) -> Result<()> {
    let form = parts.headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let value = value.as_bytes().trim_ascii_start();
        value.get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
    });
    if parts.method == Method::POST && form {
        return Err(not_implemented("an upload by browser form"));
    }
    Ok(())
}

/// How the body is to be read.
fn coding(parts: &Parts, payload: Payload, key: ChunkKey, trailers: &Trailers) -> Result<Coding> {
    let announced = single(parts, &TRAILER)?;
    let names = |text: &str| -> Result<Vec<String>> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        if names.len() != 1 || names.iter().any(|name| Algorithm::of_header(name).is_none()) {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "The value specified in the x-amz-trailer header is not supported",
            ));
        }
        Ok(names)
    };
    let announced = match (announced, payload) {
        (Some(text), Payload::UnsignedChunks | Payload::SignedChunks { trailer: true }) => {
            Some(Announced { names: names(text)?, to: trailers.clone() })
        }
        (Some(_), Payload::Unsigned | Payload::Digest(_) | Payload::SignedChunks { trailer: false }) => {
            return Err(refuse(S3ErrorCode::InvalidRequest, "A trailer is announced that cannot come."));
        }
        (None, Payload::SignedChunks { trailer: true }) => {
            return Err(refuse(S3ErrorCode::InvalidRequest, "Missing required header for this request: x-amz-trailer"));
        }
        (None, _) => None,
    };
    Ok(match payload {
        Payload::Unsigned => Coding::Plain { digest: None },
        Payload::Digest(digest) => Coding::Plain { digest: Some(digest) },
        Payload::SignedChunks { .. } => Coding::Chunks { signer: Some(Box::new(key)), announced },
        Payload::UnsignedChunks => Coding::Chunks { signer: None, announced },
    })
}

/// Holds a document against the digests its headers and trailers tell.
fn verify_digests(headers: &HeaderMap, trailers: &Trailers, bytes: &Bytes) -> Result<()> {
    let bad = || refuse(S3ErrorCode::BadDigest, "The digest you specified did not match what we received.");
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).or_else(|| trailers.get(name));
    if let Some(md5) = told("content-md5") {
        let mut hashes = Hashes::new(&[]);
        hashes.update(bytes);
        if BASE64.encode(&hashes.finish().md5) != md5 {
            return Err(bad());
        }
    }
    for algorithm in Algorithm::ALL {
        if told(algorithm.header()).is_some_and(|told| told != BASE64.encode(&algorithm.of(bytes))) {
            return Err(bad());
        }
    }
    Ok(())
}

/// Lets go of some of a refused body.
async fn drain<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B, most: u64, time: Duration) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len) as u64;
            if read > most {
                break;
            }
        }
    };
    // Out of time is as good as done.
    let _ = tokio::time::timeout(time, reading).await;
}
