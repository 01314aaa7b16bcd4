//! Asking somebody else's API over HTTP: bounded in time and size, and every failure one of ours.
//!
//! SECURITY: of what a provider answers in an error only its short code is kept, for the log; bodies and URLs hold secrets.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use valetkey_core::time::Clock;
use valetkey_core::{Error, Kind, Secret};

use crate::kept::Fresh;

/// How long a provider may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// The longest that a provider's "try again after" is passed on for, in seconds.
const MAX_RETRY_SECS: u32 = 3600;
/// Clocks that are this far apart are worth a word in the log.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What asks.
#[derive(Clone)]
pub(crate) struct Web {
    http: Client,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

/// What was answered.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
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
    /// Asks with the client given.
    pub(crate) fn new(http: Client, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, patience: PATIENCE }
    }

    /// The same, less patient.
    #[cfg(test)]
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A `GET`.
    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.http.get(url)
    }

    /// A `POST` of a form.
    pub(crate) fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.post(url, "application/x-www-form-urlencoded", form(fields))
    }

    /// A `POST` of a body.
    pub(crate) fn post(&self, url: &str, kind: &'static str, body: String) -> RequestBuilder {
        self.http.post(url).header(CONTENT_TYPE, kind).body(body)
    }

    /// Sends and reads the answer, whatever its status.
    ///
    /// # Errors
    /// `UpstreamTimeout`, or `Upstream` when there was no answer or it was too large.
    pub(crate) async fn ask(&self, whom: &'static str, request: RequestBuilder) -> Result<Answer, Error> {
        let asked = self.now();
        let failed = |error: reqwest::Error| {
            // SECURITY: the URL of a request may hold a secret.
            let error = error.without_url();
            if error.is_timeout() {
                Error::new(Kind::UpstreamTimeout, "the object store's provider did not answer in time")
                    .note(format!("{whom} did not answer in time"))
            } else {
                failure().note(format!("{whom} could not be reached")).caused_by(error)
            }
        };
        let mut response = request.timeout(self.patience).send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(failure().note(format!("{whom} answered more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: Secret::new(body), asked, whom, now: self.now() })
    }
}

impl Answer {
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
        let code = self.code();
        let mut note = format!("{} answered {}", self.whom, self.status.as_u16());
        if let Some(code) = &code {
            note.push(' ');
            note.push_str(code);
        }
        self.note_skew(&mut note);
        // Azure Storage says 503 `ServerBusy` where others say 429.
        let busy = self.status == StatusCode::TOO_MANY_REQUESTS || code.as_deref() == Some("ServerBusy");
        if busy {
            let after = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Error::new(Kind::RateLimited, "the object store's provider has too much to do; try again later")
                .retry_after(after.unwrap_or(1).clamp(1, MAX_RETRY_SECS))
                .note(note);
        }
        failure().note(note)
    }

    /// An answer that cannot be read.
    pub(crate) fn malformed(&self, what: &str) -> Error {
        let mut note = format!("{} answered {} with {what}", self.whom, self.status.as_u16());
        self.note_skew(&mut note);
        failure().note(note)
    }

    /// A clock that is wrong is the most common reason why a good key is refused.
    fn note_skew(&self, note: &mut String) {
        let theirs = self
            .headers
            .get(DATE)
            .and_then(|value| jiff::fmt::rfc2822::parse(value.to_str().ok()?).ok())
            .map(|date| date.timestamp());
        let Some(ahead) = theirs.map(|theirs| self.now.duration_since(theirs)) else { return };
        if ahead.abs() > SKEW {
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
        let code = error.as_str().or_else(|| error.get("status").and_then(Value::as_str)).and_then(short)?;
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
        /// The fields of RFC 6749, section 5.1, that matter.
        #[derive(serde::Deserialize)]
        struct Granted {
            access_token: String,
            expires_in: Option<Value>,
            token_type: Option<String>,
        }
        let Granted { access_token, expires_in, token_type } =
            serde_json::from_slice(self.body.reveal()).map_err(|_| self.malformed("no access token"))?;
        let value = Secret::new(access_token);
        if token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(self.malformed("a token of another type"));
        }
        if value.reveal().is_empty() || !value.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.malformed("an access token that is none"));
        }
        let Some(secs) = expires_in else { return Ok((value, None)) };
        // Managed identities write the number as text.
        let secs = secs.as_i64().or_else(|| secs.as_str()?.parse().ok()).filter(|secs| *secs > 0);
        let expires = secs.and_then(|secs| self.asked.checked_add(SignedDuration::from_secs(secs)).ok());
        let expires = expires.ok_or_else(|| self.malformed("no time at which the token ends"))?;
        Ok((value, Some(whole(expires))))
    }
}

/// The instant in whole seconds, never later.
pub(crate) fn whole(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// The provider failed or refused, in words a stranger may read.
pub(crate) fn failure() -> Error {
    Error::new(Kind::Upstream, "the object store's provider refused or failed")
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

/// A server for tests that answers what it was told and remembers what it was asked.
#[cfg(test)]
pub(crate) mod stub {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::response::Response;
    use tokio::task::JoinSet;

    /// What to answer.
    pub(crate) enum Reply {
        /// A status, headers, a body.
        Now(u16, Vec<(&'static str, String)>, String),
        /// Nothing, ever.
        Never,
    }

    impl Reply {
        /// A success in JSON.
        pub(crate) fn json(body: &serde_json::Value) -> Self {
            Self::Now(200, vec![("content-type", "application/json".into())], body.to_string())
        }
    }

    /// What was asked.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub(crate) struct Asked {
        pub(crate) line: String,
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) body: String,
    }

    impl Asked {
        pub(crate) fn header(&self, name: &str) -> Option<&str> {
            self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
        }

        /// The fields of a form, decoded once.
        pub(crate) fn form(&self) -> Vec<(String, String)> {
            let decode = |text: &str| {
                assert!(!text.contains('+'), "a plus is ambiguous in a form");
                percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
            };
            let field = |field: &str| field.split_once('=').map(|(name, value)| (decode(name), decode(value))).unwrap();
            self.body.split('&').map(field).collect()
        }
    }

    /// The server; it ends with this value.
    pub(crate) struct Stub {
        pub(crate) url: String,
        asked: Arc<Mutex<Vec<Asked>>>,
        _server: JoinSet<()>,
    }

    impl Stub {
        /// Starts it; it gives the answers in their order, and 500 after the last.
        pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
            let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
            let asked = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&asked);
            let answer = move |request: Request| {
                let (replies, log) = (Arc::clone(&replies), Arc::clone(&log));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = to_bytes(body, usize::MAX).await.unwrap();
                    let line = format!("{} {}", parts.method, parts.uri);
                    let headers = parts.headers.iter();
                    let headers =
                        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    log.lock().unwrap().push(Asked { line, headers, body });
                    let reply = replies.lock().unwrap().pop_front();
                    let (status, headers, body) = match reply {
                        Some(Reply::Now(status, headers, body)) => (status, headers, body),
                        Some(Reply::Never) => std::future::pending().await,
                        None => (500, Vec::new(), "asked too often".into()),
                    };
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    response.body(Body::from(body)).unwrap()
                }
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let mut server = JoinSet::new();
            server.spawn(async move {
                axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
            });
            Self { url, asked, _server: server }
        }

        /// What it was asked so far.
        pub(crate) fn asked(&self) -> Vec<Asked> {
            self.asked.lock().unwrap().clone()
        }
    }
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
}
