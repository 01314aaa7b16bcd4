//! Asking somebody else's API over HTTP: bounded in time and size, and every failure one of ours.
//!
//! SECURITY: of what a provider answers in an error only its short code is kept, for the log; bodies and URLs hold secrets.

#[cfg(test)]
pub(crate) mod stub;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;
use valetkey_core::hosts::{Hosts, Origin};
use valetkey_core::time::Clock;
use valetkey_core::{Error, Kind, Secret};

use crate::renewing::Fresh;

/// How long a provider may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes: credentials have a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;
/// The longest that a provider's "try again after" is passed on for, in seconds.
const MAX_RETRY_SECS: u32 = 3600;
/// What providers call being asked too often where their status does not say so: Azure Storage, AWS and those who speak like it,
/// Cloudflare.
const BUSY: [&str; 12] = [
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "Throttled",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequests",
    "TooManyRequestsException",
    "RequestThrottled",
    "RequestThrottledException",
    "10058",
    "971",
];
/// Clocks that are this far apart are worth a word in the log.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What asks.
#[derive(Clone)]
pub(crate) struct Web {
    http: Client,
    clock: Arc<dyn Clock>,
    patience: Duration,
    hosts: Arc<Hosts>,
    reach: Reach,
    again: bool,
    most: usize,
}

/// Where requests may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// Where the store said that they go.
    Said,
    /// Where the machine's own surroundings say.
    Surroundings,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Secret<Vec<u8>>,
    /// When it was asked for: whatever lives "so many seconds" lives from here, or a little longer.
    pub(crate) asked: Timestamp,
    whom: &'static str,
    now: Timestamp,
}

/// An access token of a provider, to ask it further things.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    /// The token.
    pub(crate) value: Secret<String>,
    /// When it ends, at the earliest.
    pub(crate) expires: Timestamp,
}

impl Bearer {
    /// Whether it lives so much longer.
    pub(crate) fn outlives(&self, now: Timestamp, by: SignedDuration) -> bool {
        self.expires.duration_since(now) > by
    }

    /// From when another should be sought: so long before its end, or when half of its life is over.
    pub(crate) fn renewed(self, now: Timestamp, ahead: SignedDuration) -> Fresh<Self> {
        let ahead = ahead.min(self.expires.duration_since(now) / 2);
        let renew = self.expires.checked_sub(ahead).unwrap_or(now);
        Fresh { value: self, renew }
    }
}

impl Web {
    /// Asks with the client given, and nobody but these hosts.
    pub(crate) fn new(http: Client, clock: Arc<dyn Clock>, hosts: Hosts) -> Self {
        Self {
            http,
            clock,
            patience: PATIENCE,
            hosts: Arc::new(hosts),
            reach: Reach::Said,
            again: true,
            most: MAX_ANSWER,
        }
    }

    /// Who is asked.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The same, for what the machine's own surroundings say and no settings.
    pub(crate) fn of_surroundings(self) -> Self {
        Self { reach: Reach::Surroundings, ..self }
    }

    /// The same, waiting so long for one answer.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, for what is asked once only: to see what comes of it.
    pub(crate) fn once_only(self) -> Self {
        Self { again: false, ..self }
    }

    /// The same, for answers of at most so many bytes.
    pub(crate) fn roomy(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A `GET`.
    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.http.get(url)
    }

    /// Any other request.
    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// A `POST` of a form.
    pub(crate) fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.post(url, "application/x-www-form-urlencoded", form(fields))
    }

    /// A `POST` of a body.
    pub(crate) fn post(&self, url: &str, kind: &'static str, body: String) -> RequestBuilder {
        self.http.post(url).header(CONTENT_TYPE, kind).body(body)
    }

    /// Sends and reads the answer, whatever its status. One that breaks off or fails is sent once more, within the same time, if
    /// it may be: all that is asked here gives the same when it is asked twice, but for deleting.
    ///
    /// # Errors
    /// `UpstreamTimeout`, or `Upstream` when there was no answer or it was too large.
    pub(crate) async fn ask(&self, whom: &'static str, request: RequestBuilder) -> Result<Answer, Error> {
        let request = request.build().map_err(|error| unsent(whom, error))?;
        let again = if self.again && *request.method() != Method::DELETE { request.try_clone() } else { None };
        let deadline = Instant::now() + self.patience;
        let failed = |answer: &Answer| matches!(answer.status.as_u16(), 500 | 502 | 504) && !answer.is_busy();
        let first = self.once(whom, request, self.patience).await;
        let broke = match &first {
            Ok(answer) => failed(answer),
            Err(error) => error.kind() == Kind::Upstream && std::error::Error::source(error).is_some(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(again) = again.filter(|_| broke && !left.is_zero()) else { return first };
        match self.once(whom, again, left).await {
            Ok(answer) if !failed(&answer) => Ok(answer),
            // It is the same again, or worse.
            Ok(_) | Err(_) => first,
        }
    }

    async fn once(&self, whom: &'static str, mut request: Request, patience: Duration) -> Result<Answer, Error> {
        *request.timeout_mut() = Some(patience);
        let asked = self.now();
        let failed = |error| unsent(whom, error);
        // SECURITY: nothing goes to a host that was not said when secrets were taken, however its URL came about.
        if self.reach == Reach::Said && !self.hosts.allow(&origin(request.url())) {
            return Err(Error::internal(format!(
                "{whom} is at `{}`, which is not said to be asked",
                origin(request.url())
            )));
        }
        let mut response = self.http.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.most {
                return Err(failure().note(format!("{whom} answered more than {} bytes", self.most)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: Secret::new(body), asked, whom, now: self.now() })
    }
}

/// A request that got no answer, or not all of it.
fn unsent(whom: &'static str, error: reqwest::Error) -> Error {
    // SECURITY: the URL of a request may hold a secret.
    let error = error.without_url();
    if error.is_timeout() {
        Error::new(Kind::UpstreamTimeout, "the object store's provider did not answer in time")
            .note(format!("{whom} did not answer in time"))
    } else {
        failure().note(format!("{whom} could not be reached")).caused_by(error)
    }
}

impl Answer {
    /// Whether the provider says that it has too much to do, in its own way.
    fn is_busy(&self) -> bool {
        let text = std::str::from_utf8(self.body.reveal()).unwrap_or_default();
        self.headers.contains_key(RETRY_AFTER)
            || self.code().is_some_and(|code| BUSY.contains(&&*code))
            || BUSY.iter().any(|code| code.len() > 5 && text.contains(code))
    }

    /// The answer, if it is a success.
    ///
    /// # Errors
    /// `RateLimited` when the provider has too much to do, otherwise `Upstream`.
    pub(crate) fn success(self) -> Result<Self, Error> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// A header's value, if it is plain.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What the refusal is to us.
    fn refusal(&self) -> Error {
        self.refused(FAILED, self.code().as_deref().unwrap_or_default(), "")
    }

    /// A refusal by the provider's own code, in words for strangers, with more for the log: `RateLimited` when it has too much to
    /// do, otherwise `Upstream`.
    pub(crate) fn refused(&self, said: &'static str, code: &str, more: &str) -> Error {
        let mut note = format!("{} answered {}", self.whom, self.status.as_u16());
        for words in [code, more].into_iter().filter(|words| !words.is_empty()) {
            note.extend([" ", words]);
        }
        self.note_skew(&mut note);
        if self.status == StatusCode::TOO_MANY_REQUESTS || BUSY.contains(&code) {
            let after = self.header(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse().ok());
            return Error::new(Kind::RateLimited, "the object store's provider has too much to do; try again later")
                .retry_after(after.unwrap_or(1).clamp(1, MAX_RETRY_SECS))
                .answered(self.status.as_u16())
                .note(note);
        }
        refused(said).answered(self.status.as_u16()).note(note)
    }

    /// An answer that cannot be read.
    pub(crate) fn malformed(&self, what: &str) -> Error {
        let mut note = format!("{} answered {} with {what}", self.whom, self.status.as_u16());
        self.note_skew(&mut note);
        failure().answered(self.status.as_u16()).note(note)
    }

    /// By how much our clock is ahead of theirs, to the second, if they say what theirs is.
    pub(crate) fn ahead(&self) -> Option<SignedDuration> {
        let theirs = jiff::fmt::rfc2822::parse(self.header(DATE.as_str())?).ok()?;
        Some(whole(self.now).duration_since(theirs.timestamp()))
    }

    /// A clock that is wrong is the most common reason why a good key is refused.
    fn note_skew(&self, note: &mut String) {
        if let Some(ahead) = self.ahead().filter(|ahead| ahead.abs() > SKEW) {
            let (secs, side) = (ahead.abs().as_secs(), if ahead.is_negative() { "behind" } else { "ahead of" });
            // Writing to a string cannot fail.
            let _ = write!(note, "; our clock is {secs} s {side} theirs");
        }
    }

    /// The provider's own short code of a refusal.
    fn code(&self) -> Option<String> {
        if let Some(code) = self.headers.get("x-ms-error-code") {
            return code.to_str().ok().and_then(short);
        }
        let body: Value = serde_json::from_slice(self.body.reveal()).ok()?;
        let error = body.get("error")?;
        // Google writes a `status` beside a number, Azure's management a `code`.
        let code = error
            .as_str()
            .or_else(|| ["status", "code"].iter().find_map(|name| error.get(*name)?.as_str()))
            .and_then(short)?;
        // Microsoft Entra tells more by number.
        match body.get("error_codes").and_then(|codes| codes.get(0)).and_then(Value::as_u64) {
            Some(number) => Some(format!("{code} {number}")),
            None => Some(code),
        }
    }

    /// The access token of an OAuth answer.
    pub(crate) fn bearer(&self) -> Result<Bearer, Error> {
        let (value, expires) = self.granted()?;
        let expires = expires.ok_or_else(|| self.malformed("no time at which the token ends"))?;
        Ok(Bearer { value, expires })
    }

    /// The access token of an OAuth answer, and its end if it says one.
    pub(crate) fn granted(&self) -> Result<(Secret<String>, Option<Timestamp>), Error> {
        /// The fields of RFC 6749, section 5.1, that matter, and the one that managed identities write beside or instead.
        #[derive(serde::Deserialize)]
        struct Granted {
            access_token: String,
            expires_in: Option<Value>,
            expires_on: Option<Value>,
            token_type: Option<String>,
        }
        let Granted { access_token, expires_in, expires_on, token_type } =
            serde_json::from_slice(self.body.reveal()).map_err(|_| self.malformed("no access token"))?;
        let value = Secret::new(access_token);
        let value = Secret::new(value.reveal().trim().to_owned());
        if token_type.is_some_and(|kind| !kind.trim().eq_ignore_ascii_case("bearer")) {
            return Err(self.malformed("a token of another type"));
        }
        if value.reveal().is_empty() || !value.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.malformed("an access token that is none"));
        }
        if expires_in.is_none() && expires_on.is_none() {
            return Ok((value, None));
        }
        let lives = expires_in.as_ref().and_then(seconds).filter(|secs| *secs > 0);
        let expires = match lives {
            Some(secs) => self.asked.checked_add(SignedDuration::from_secs(secs)).ok(),
            None => expires_on.as_ref().and_then(seconds).and_then(|secs| Timestamp::from_second(secs).ok()),
        };
        let expires = expires.filter(|end| *end > self.asked);
        let expires = expires.ok_or_else(|| self.malformed("no time at which the token ends"))?;
        Ok((value, Some(whole(expires))))
    }
}

/// A number of seconds, as a number or as text, whole or not: never more than it says.
fn seconds(value: &Value) -> Option<i64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
    part.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    whole.parse().ok()
}

/// The instant in whole seconds, never later.
pub(crate) fn whole(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// What strangers are told of a failure that nobody asked for.
const FAILED: &str = "the object store's provider refused or failed";

/// The provider failed or refused, in words a stranger may read.
pub(crate) fn failure() -> Error {
    refused(FAILED)
}

/// A refusal or failure of the provider, in words for strangers.
pub(crate) fn refused(said: &'static str) -> Error {
    Error::new(Kind::Upstream, said)
}

/// A provider's words for our log: short, printable, and without what looks like a secret.
pub(crate) fn quoted(words: &str) -> String {
    valetkey_core::name::redacted(words).chars().take(300).flat_map(char::escape_debug).collect()
}

/// An id of a request, if it is one.
pub(crate) fn request_id(text: &str) -> Option<String> {
    let good =
        (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+/=:".contains(&b));
    good.then(|| text.to_owned())
}

/// A header's value that no log shows.
///
/// # Errors
/// `Internal` when it cannot be one.
pub(crate) fn hidden(text: &str) -> Result<HeaderValue, Error> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| Error::internal("a secret cannot be sent as a header's value"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A provider's code, if it looks like one.
fn short(code: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    // SECURITY: longer ones may be tokens.
    (!code.is_empty() && code.len() <= 64 && code.bytes().all(plain)).then(|| code.to_owned())
}

/// A form's body.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');
    let mut body = String::new();
    for (name, value) in fields {
        let start = if body.is_empty() { "" } else { "&" };
        body.extend([start, name, "="]);
        body.extend(utf8_percent_encode(value, KEPT));
    }
    body
}

/// The host of a URL.
pub(crate) fn origin(url: &Url) -> Origin {
    Origin::new(url.scheme(), url.host_str().unwrap_or_default(), url.port())
}

/// The host of a URL that was read before.
pub(crate) fn origin_of(url: &str) -> Result<Origin, Error> {
    Url::parse(url).map(|url| origin(&url)).map_err(|_| Error::new(Kind::Invalid, "this is not a URL"))
}

/// Which URLs a setting may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// `https`, or `http` on this machine: something secret is sent there.
    Private,
    /// `https` or `http`.
    Any,
}

/// Reads a setting's URL: without its last slash, without anything behind its path.
///
/// # Errors
/// `Invalid`.
pub(crate) fn url(text: &str, transport: Transport, field: &'static str) -> Result<String, Error> {
    let invalid = |said: &'static str| Error::new(Kind::Invalid, said).at(field);
    let url = Url::parse(text).map_err(|_| invalid("this is not a URL"))?;
    let local = url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    match (url.scheme(), transport) {
        ("https", _) | ("http", Transport::Any) => {}
        ("http", Transport::Private) if local => {}
        _ => return Err(invalid("a URL here starts with `https://` (`http://` is taken on this machine only)")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a URL here has no user, no query and no fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_once() {
        assert_eq!(form(&[("a", "b c&d=é%+"), ("e", "")]), "a=b%20c%26d%3D%C3%A9%25%2B&e=");
    }

    #[test]
    fn a_secret_is_sent_over_tls_or_not_at_all() {
        for good in
            ["https://login.microsoftonline.com", "http://127.0.0.1:10000/a", "http://[::1]:1", "http://localhost/"]
        {
            assert!(url(good, Transport::Private, "x").is_ok(), "{good}");
        }
        for bad in
            ["http://example.com", "ftp://x", "x", "https://u:p@x", "https://x?y", "https://x#y", "http://127.0.0.1.x"]
        {
            assert_eq!(url(bad, Transport::Private, "x").unwrap_err().field(), Some("x"), "{bad}");
        }
        assert_eq!(url("http://169.254.169.254/x/", Transport::Any, "x").unwrap(), "http://169.254.169.254/x");
    }

    #[test]
    fn a_code_is_short_and_plain() {
        assert_eq!(short("AuthorizationPermissionMismatch").as_deref(), Some("AuthorizationPermissionMismatch"));
        for bad in ["", "two words", "new\nline", &"x".repeat(65)] {
            assert_eq!(short(bad), None);
        }
    }

    fn web(stub: &stub::Stub) -> Web {
        let clock = Arc::new(valetkey_testkit::clock::FixedClock::default());
        let hosts = Hosts::new(valetkey_core::hosts::Proof::Kept).sent("endpoint", origin_of(&stub.url).unwrap());
        Web::new(Client::new(), clock, hosts)
    }

    #[tokio::test]
    async fn the_end_of_a_token_is_understood_however_it_is_written() {
        // The fixed clock stands at the start of 2026, which is second 1767225600.
        for (fields, lives) in [
            (r#""expires_in":3599"#, Some(3599)),
            (r#""expires_in":"3599""#, Some(3599)),
            (r#""expires_in":"3599.0""#, Some(3599)),
            (r#""expires_in":3599.9"#, Some(3599)),
            (r#""expires_in":" 3599 ""#, Some(3599)),
            (r#""expires_on":1767229199"#, Some(3599)),
            (r#""expires_on":"1767229199""#, Some(3599)),
            (r#""expires_on":"1767229199.0""#, Some(3599)),
            (r#""expires_on":1767229199.0"#, Some(3599)),
            (r#""expires_in":"","expires_on":"1767229199""#, Some(3599)),
            (r#""expires_in":300,"expires_on":"1767229199""#, Some(300)),
            (r#""expires_on":"1767225600""#, None),
            (r#""expires_on":"soon""#, None),
            (r#""expires_in":-1"#, None),
            (r#""expires_in":"1e3""#, None),
            (r#""expires_in":true"#, None),
        ] {
            let body = format!("{{\"access_token\":\" eyJ.x \\n\",\"token_type\":\"Bearer\",{fields}}}");
            let stub = stub::Stub::start([stub::Reply::Now(200, Vec::new(), body)]).await;
            let web = web(&stub);
            let answer = web.ask("x", web.get(&stub.url)).await.unwrap();
            let bearer = answer.bearer().ok();
            assert_eq!(
                bearer.as_ref().map(|bearer| bearer.expires.duration_since(web.now()).as_secs()),
                lives,
                "{fields}"
            );
            assert!(
                bearer.is_none_or(|bearer| bearer.value.reveal() == "eyJ.x"),
                "white space around it is none of it"
            );
        }
    }

    #[tokio::test]
    async fn what_fails_is_asked_once_more_and_nothing_else_is() {
        let reply = |status: u16, body: &str| stub::Reply::Now(status, Vec::new(), body.to_owned());
        for (first, method, calls, status) in [
            (reply(500, ""), Method::POST, 2, 200),
            (reply(502, "<html>"), Method::GET, 2, 200),
            (reply(504, ""), Method::POST, 2, 200),
            (reply(500, ""), Method::DELETE, 1, 500),
            (reply(500, "<Code>SlowDown</Code>"), Method::POST, 1, 500),
            (stub::Reply::Now(500, vec![("retry-after", "9".to_owned())], String::new()), Method::POST, 1, 500),
            (reply(503, ""), Method::POST, 1, 503),
            (reply(429, ""), Method::POST, 1, 429),
            (reply(403, ""), Method::POST, 1, 403),
            (reply(200, ""), Method::POST, 1, 200),
        ] {
            let stub = stub::Stub::start([first, reply(200, "")]).await;
            let web = web(&stub);
            let answer = web.ask("x", web.request(method.clone(), &stub.url).body("b")).await.unwrap();
            assert_eq!((answer.status.as_u16(), stub.asked().len()), (status, calls), "{method}");
            assert!(stub.asked().iter().all(|asked| asked.body == "b"));
        }
        let stub = stub::Stub::start([reply(500, ""), reply(500, ""), reply(200, "")]).await;
        let web = web(&stub);
        assert_eq!(web.ask("x", web.get(&stub.url)).await.unwrap().status.as_u16(), 500);
        assert_eq!(stub.asked().len(), 2, "once more, and no more");
        // Both within the one time that an answer may take.
        let stub = stub::Stub::start([reply(500, ""), stub::Reply::Never]).await;
        let web = self::web(&stub).patient(Duration::from_millis(300));
        assert_eq!(web.ask("x", web.get(&stub.url)).await.unwrap().status.as_u16(), 500);
        assert_eq!(stub.asked().len(), 2);
        let stub = stub::Stub::start([stub::Reply::Never]).await;
        let web = self::web(&stub).patient(Duration::from_millis(300));
        assert_eq!(web.ask("x", web.get(&stub.url)).await.map(drop).unwrap_err().kind(), Kind::UpstreamTimeout);
        assert_eq!(stub.asked().len(), 1, "who was silent is not asked again");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_is_opened_once_more() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hosts = Hosts::new(valetkey_core::hosts::Proof::Kept).sent("endpoint", origin_of(&url).unwrap());
        let web = Web::new(Client::new(), Arc::new(valetkey_testkit::clock::FixedClock::default()), hosts);
        let serve = async {
            let mut buffer = [0; 4096];
            let (mut first, _) = listener.accept().await.unwrap();
            drop(first.read(&mut buffer).await);
            drop(first);
            let (mut second, _) = listener.accept().await.unwrap();
            drop(second.read(&mut buffer).await);
            second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        };
        let (answer, ()) = tokio::join!(web.ask("x", web.get(&url)), serve);
        assert_eq!(answer.unwrap().body.reveal(), b"ok");
    }
}
