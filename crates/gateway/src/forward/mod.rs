//! Requests as they are, to a storage that speaks S3: signed with its own credentials, sent to its own host and nowhere else.
//!
//! `object_store` knows paths and not keys, and its client rewrites what looks like one of a file system (`a/../b`).

mod chunks;
mod watch;
mod way;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self as client, Client};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::aws::AwsCredentialProvider;
use tokio::time::{Instant, sleep};
use valetkey_core::Secret;
use valetkey_core::hosts::{Hosts, Origin};
use valetkey_s3::{Answer, Asking, Coming, Failure, Forward, Sending};
use valetkey_sigv4::{SigningKey, Slash, Whole, encode, encode_path, sha256, sign_whole};

use crate::failure;
use crate::forward::chunks::{Chunked, Coding};
use crate::forward::watch::{Paced, Watch, Watched};
use crate::forward::way::Way;
use crate::http::patience;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
const DECODED: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");

/// What is said of a body whose digest is not known, where nobody can change it on the way.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Bodies up to this size are always digested: that costs less than the request does.
const DIGESTED: usize = 64 * 1024;
/// How much longer than for another answer is waited for one that a storage works on.
const WORK: u32 = 30;
/// How long after a failure a request that may be sent twice is sent again, once: the first pause of `object_store`, which asks the
/// other storages.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that nobody uses and that are kept: as many as a busy server has requests under way; each is some kilobytes.
const KEPT: usize = 256;
/// How long a connection that nobody uses is kept. Storages close theirs after some 5 to 60 s; one that was closed is noticed.
const IDLE: Duration = Duration::from_secs(20);

/// Where a storage is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    scheme: &'static str,
    /// The host, and the port where it is not the scheme's own.
    authority: String,
    /// What comes before the bucket's name; without a slash at its end.
    path: String,
    /// Where a bucket's name stands.
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    Path,
    Host,
    /// Nowhere: the host is the bucket's.
    Bound,
}

impl Place {
    /// Reads it from settings that were checked.
    pub(crate) fn of(endpoint: Option<&str>, region: &str, path_style: bool) -> Self {
        let Some(endpoint) = endpoint else {
            let style = if path_style { Style::Path } else { Style::Host };
            let authority = format!("s3.{region}.amazonaws.com");
            return Self { scheme: "https", authority, path: String::new(), style };
        };
        let (scheme, rest) = match endpoint.strip_prefix("http://") {
            Some(rest) => ("http", rest),
            None => ("https", endpoint.strip_prefix("https://").unwrap_or(endpoint)),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if scheme == "http" { ":80" } else { ":443" };
        let authority = authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
        let path = path.trim_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Self { scheme, authority, path, style: if path_style { Style::Path } else { Style::Bound } }
    }

    fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    /// Whether nobody on the way can change what is sent.
    fn is_safe(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        self.scheme == "https" || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
    }

    /// Whether it is Amazon's own.
    pub(crate) fn is_amazon(&self) -> bool {
        self.host().ends_with(".amazonaws.com")
    }

    /// The authority and the path of a bucket or an object there.
    fn at(&self, bucket: &str, key: Option<&str>) -> (String, String) {
        let key = key.map(encode_path);
        let (authority, mut path) = match self.style {
            Style::Path => (self.authority.clone(), format!("{}/{}", self.path, encode_path(bucket))),
            Style::Host => (format!("{bucket}.{}", self.authority), self.path.clone()),
            Style::Bound => (self.authority.clone(), self.path.clone()),
        };
        match key {
            Some(key) => path.extend(["/", &key]),
            None if path.is_empty() => path.push('/'),
            None => {}
        }
        (authority, path)
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Error>;

/// The way to a storage.
pub(crate) struct Speaker {
    client: Client<HttpsConnector<Way>, Body>,
    place: Place,
    /// Buckets that have another name there.
    names: BTreeMap<String, String>,
    region: String,
    credentials: AwsCredentialProvider,
    hosts: Arc<Hosts>,
    wait: Duration,
    trailers: bool,
    exact: bool,
}

/// What a [`Speaker`] is made of.
pub(crate) struct Parts {
    pub(crate) place: Place,
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) region: String,
    pub(crate) credentials: AwsCredentialProvider,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) wait: Duration,
    /// Whether checksums are taken behind bodies; where that was not said, only by Amazon.
    pub(crate) trailers: Option<bool>,
    /// Whether each key is taken as it is; where that was not said, only by Amazon.
    pub(crate) exact: Option<bool>,
}

impl Speaker {
    /// Opens the way. Nothing is asked yet.
    ///
    /// # Errors
    /// When the machine's own certificates cannot be read.
    pub(crate) fn open(parts: Parts) -> Result<Self, valetkey_core::Error> {
        let failed =
            |error: &dyn std::fmt::Display| valetkey_core::Error::internal(format!("no certificates: {error}"));
        let Parts { place, names, region, credentials, hosts, wait, trailers, exact } = parts;
        let storage =
            format!("{}://{}/", place.scheme, place.authority).parse::<Uri>().map_err(|error| failed(&error))?;
        let way = Way::to(&storage, &Matcher::from_env(), Duration::from_secs(5).min(wait));
        let builder = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|error| failed(&error))?;
        let connector = builder.https_or_http().enable_http1().wrap_connector(way);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let trailers = trailers.unwrap_or_else(|| place.is_amazon());
        let exact = exact.unwrap_or_else(|| place.is_amazon());
        Ok(Self { client, place, names, region, credentials, hosts, wait, trailers, exact })
    }

    fn name<'a>(&'a self, bucket: &'a str) -> &'a str {
        self.names.get(bucket).map_or(bucket, String::as_str)
    }

    /// A request's head and body, signed.
    async fn signed(&self, asking: Asking, watch: &Watch) -> Result<Request<Body>, Failure> {
        let prefixes = asking.query.iter().filter(|(name, _)| name == "prefix").map(|(_, value)| value.as_str());
        let source = asking.source.as_ref().map(|(_, key)| key.as_str());
        asking.key.as_deref().into_iter().chain(source).chain(prefixes).try_for_each(|key| self.takes_key(key))?;
        let Asking { method, bucket, key, query, mut headers, source, body, works: _, now } = asking;
        let credential = tokio::time::timeout(self.wait, self.credentials.get_credential()).await;
        let credential = credential
            .map_err(|_| Failure::Unavailable("no credential in time".to_owned()))?
            .map_err(|error| failure::of(&error))?;
        let (authority, path) = self.place.at(self.name(&bucket), key.as_deref());
        self.guard(&authority)?;
        let query = canonical(&query);
        let unfit = |_| Failure::Unfit("it cannot be part of a request");
        let mut put = |name: HeaderName, value: &str| -> Result<(), Failure> {
            headers.insert(name, HeaderValue::from_str(value).map_err(unfit)?);
            Ok(())
        };
        put(HOST, &authority)?;
        if let Some((bucket, key)) = source {
            put(SOURCE, &encode_path(&format!("{}/{key}", self.name(&bucket))))?;
        }
        let secret = Secret::new(credential.secret_key.clone());
        let signing = SigningKey::new(&secret, now, &self.region, "s3");
        put(DATE, &signing.date)?;
        if let Some(token) = &credential.token {
            let mut token = HeaderValue::from_str(token).map_err(unfit)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let (digest, coding) = self.digest(&body, &mut headers);
        headers.insert(DIGEST, HeaderValue::from_str(&digest).map_err(unfit)?);
        let whole =
            Whole { method: method.as_str(), path: &path, query: &query, headers: &headers, body_sha256: &digest };
        let proof =
            sign_whole(&whole, &credential.key_id, signing).map_err(|_| Failure::Unfit("a header is not text"))?;
        let mut authorization = HeaderValue::from_str(&proof.authorization).map_err(unfit)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(USER_AGENT, HeaderValue::from_static("valetkey"));
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let uri: Uri = format!("{}://{authority}{target}", self.place.scheme).parse().map_err(unfit_uri)?;
        let (length, body) = match (body, coding) {
            (Sending::Whole(bytes), _) => {
                let length =
                    (!bytes.is_empty() || matches!(method, Method::PUT | Method::POST)).then_some(bytes.len() as u64);
                (length, Full::new(bytes).map_err(Into::into).boxed_unsync())
            }
            (Sending::Coming(Coming { length, bytes, .. }), None) => {
                (Some(length), Watched::new(bytes, watch.clone()).map_err(Into::into).boxed_unsync())
            }
            (Sending::Coming(Coming { length, bytes, .. }), Some(coding)) => {
                let encoded = coding.length(length);
                let chunked = Chunked::new(Watched::new(bytes, watch.clone()), coding, proof.chunks);
                (Some(encoded), chunked.map_err(Into::into).boxed_unsync())
            }
        };
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        Ok(request)
    }

    /// What is told of a body's digest, and how the body goes if not as it is.
    fn digest(&self, body: &Sending, headers: &mut HeaderMap) -> (String, Option<Coding>) {
        let safe = self.place.is_safe();
        let stream = match body {
            Sending::Whole(bytes) if safe && bytes.len() > DIGESTED => return (UNSIGNED.to_owned(), None),
            Sending::Whole(bytes) => return (sha256(bytes), None),
            Sending::Coming(stream) => stream,
        };
        if let (Some(digest), None) = (stream.sha256, stream.trailer) {
            return (data_encoding::HEXLOWER.encode(&digest), None);
        }
        if safe && stream.trailer.is_none() {
            return (UNSIGNED.to_owned(), None);
        }
        headers.insert(DECODED, HeaderValue::from(stream.length));
        if let Some(trailer) = stream.trailer {
            headers.insert(TRAILER, HeaderValue::from_static(trailer));
        }
        let coding = Coding { signed: !safe, trailer: stream.trailer };
        (coding.name().to_owned(), Some(coding))
    }

    /// Sends it, and waits so long for the head of an answer to a request without a body. A connection that broke is the inner error.
    async fn once(&self, asking: Asking, wait: Duration) -> Result<Result<Answer, client::Error>, Failure> {
        let bytes = match &asking.body {
            Sending::Whole(bytes) => bytes.len() as u64,
            Sending::Coming(_) => 0,
        };
        let wait = if asking.works { wait.saturating_mul(WORK) } else { wait };
        let pause = if asking.works { self.wait.saturating_mul(WORK) } else { self.wait };
        let (head, watch) = (patience(wait, bytes), Watch::default());
        let sending = self.client.request(self.signed(asking, &watch).await?);
        let silent = || Failure::Unavailable(format!("it was silent for {} s", head.as_secs()));
        let answer = watch.within(head, sending).await.ok_or_else(silent)?;
        Ok(answer.map(|answer| answer.map(|body| Paced::new(body, pause).boxed_unsync())))
    }

    /// SECURITY: what becomes part of an address cannot lead the credentials elsewhere.
    fn guard(&self, authority: &str) -> Result<(), Failure> {
        let uri: Uri = format!("{}://{authority}/", self.place.scheme).parse().map_err(unfit_uri)?;
        let origin = uri.host().map(|host| Origin::new(self.place.scheme, host, uri.port_u16()));
        if origin.is_some_and(|origin| self.hosts.allow(&origin)) {
            return Ok(());
        }
        Err(Failure::Failed("the request goes to a host that the settings do not say".to_owned()))
    }
}

fn unfit_uri(_: http::uri::InvalidUri) -> Failure {
    Failure::Unfit("it cannot be part of an address")
}

/// A query in its canonical form.
fn canonical(query: &[(String, String)]) -> String {
    let encoded = |text: &str| {
        let mut out = String::new();
        encode(text.as_bytes(), Slash::Encoded, &mut out);
        out
    };
    let mut pairs: Vec<(String, String)> = query.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The same request, if it does the same when it is sent twice: it reads, or deletes without a condition.
fn repeated(asking: &Asking) -> Option<Asking> {
    let Asking { method, bucket, key, query, headers, source: None, body: Sending::Whole(body), works, now } = asking
    else {
        return None;
    };
    let same = match *method {
        Method::GET | Method::HEAD => body.is_empty(),
        Method::DELETE => !headers.keys().any(|name| name.as_str().contains("if-")),
        Method::POST => query.iter().any(|(name, _)| name == "delete"),
        _ => false,
    };
    same.then(|| Asking {
        method: method.clone(),
        bucket: bucket.clone(),
        key: key.clone(),
        query: query.clone(),
        headers: headers.clone(),
        source: None,
        body: Sending::Whole(body.clone()),
        works: *works,
        now: *now,
    })
}

/// Whether a request ends an upload.
fn aborts(asking: &Asking) -> bool {
    asking.method == Method::DELETE && asking.query.iter().any(|(name, _)| name == "uploadId")
}

/// Whether a second request may do better. One after a silence would only double the wait.
fn may_pass(sent: &Result<Answer, client::Error>) -> bool {
    sent.as_ref().map_or(true, |answer| matches!(answer.status().as_u16(), 500 | 502 | 503 | 504))
}

/// What went wrong on the way, in words that hold neither an address nor a secret.
fn broken(error: &client::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    Failure::Unavailable(text)
}

#[async_trait]
impl Forward for Speaker {
    fn takes_trailers(&self) -> bool {
        self.trailers
    }

    /// SECURITY: a storage that joins keys to paths of its disk takes `a/../b` for `b`, which is outside of what was asked for.
    fn takes_key(&self, key: &str) -> Result<(), Failure> {
        let climbs = key.split(['/', '\\']).any(|segment| segment == "..");
        if climbs && !self.exact {
            return Err(Failure::Unfit("a `..` between slashes; storages with `exact_keys` take such keys"));
        }
        Ok(())
    }

    async fn send(&self, asking: Asking) -> Result<Answer, Failure> {
        let (again, aborts, began) = (repeated(&asking), aborts(&asking), Instant::now());
        let sent = self.once(asking, self.wait).await?;
        let left = self.wait.saturating_sub(began.elapsed() + PAUSE);
        let Some(again) = again.filter(|_| may_pass(&sent) && !left.is_zero()) else {
            return sent.map_err(|error| broken(&error));
        };
        sleep(PAUSE).await;
        let mut answer = self.once(again, left).await?.map_err(|error| broken(&error))?;
        if aborts && answer.status() == StatusCode::NOT_FOUND {
            // The first time ended it.
            let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
            (*answer.status_mut(), *answer.body_mut()) = (StatusCode::NO_CONTENT, nothing);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_where_the_settings_say() {
        for (endpoint, path_style, key, at) in [
            (None, true, None, ("s3.eu-1.amazonaws.com", "/lake")),
            (None, false, Some("a b/../c"), ("lake.s3.eu-1.amazonaws.com", "/a%20b/../c")),
            (None, false, None, ("lake.s3.eu-1.amazonaws.com", "/")),
            (Some("https://A.example:443/"), true, Some("/a//"), ("a.example", "/lake//a//")),
            (Some("http://a.example:81/x/"), true, Some("k"), ("a.example:81", "/x/lake/k")),
            (Some("https://lake.a.example"), false, Some("k"), ("lake.a.example", "/k")),
        ] {
            let place = Place::of(endpoint, "eu-1", path_style);
            let found = place.at("lake", key);
            assert_eq!((found.0.as_str(), found.1.as_str()), at);
        }
    }

    #[test]
    fn bodies_go_unsigned_where_nobody_can_change_them() {
        for (endpoint, safe) in [
            ("https://a.example", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://a.example", false),
            ("http://10.0.0.1", false),
            ("http://localhost.a.example", false),
        ] {
            assert_eq!(Place::of(Some(endpoint), "r", true).is_safe(), safe, "{endpoint}");
        }
        assert!(
            Place::of(None, "r", true).is_amazon()
                && !Place::of(Some("https://amazonaws.com.evil.example"), "r", true).is_amazon()
        );
    }
}
