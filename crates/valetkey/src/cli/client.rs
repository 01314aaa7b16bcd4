//! A thin client of the native API: one request, one answer, every refusal a [`Failure`] with its exit code.

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url, redirect};
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use valetkey_dialects::edge::Carrier;
use valetkey_dialects::native::BREAK_GLASS;
use valetkey_dialects::native::api::operations::Operation;

use crate::cli::connection::Target;
use crate::cli::failure::{Exit, Failure, Said};
use crate::cli::output::Out;
use crate::cli::trust::{self, causes};

/// More than any answer of the API.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The native API of one server, as one caller.
pub(crate) struct Client<'a> {
    http: reqwest::Client,
    to: Target,
    out: &'a Out,
}

/// An operation of the API on something: its method, the segments of its path, and its query.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Route {
    /// An operation, and the names in its path.
    pub(crate) fn to<const N: usize>(operation: Operation<N>, names: [&str; N]) -> Self {
        Self { segments: operation.segments(names), method: operation.method, query: Vec::new() }
    }

    /// Adds a pair to the query.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a pair to the query, if there is a value.
    #[must_use]
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    fn below(&self, base: &Url) -> Result<Url, Failure> {
        let mut url = base.clone();
        // SECURITY: such a segment would vanish, and what was meant for one thing would be done to all of its kind.
        if let Some(odd) = self.segments.iter().find(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err(Failure::usage(format!("`{odd}` names nothing")));
        }
        // SECURITY: what stands in a URL stands in logs.
        if self.segments.iter().any(|segment| segment.starts_with("vkt_")) {
            return Err(Failure::usage("that is a token itself, not an id")
                .hint("pass it by standard input: `valetkey token revoke -`, `valetkey incident -`"));
        }
        url.path_segments_mut()
            .map_err(|()| Failure::usage("the server's URL cannot have a path"))?
            .pop_if_empty()
            .extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// A problem object of the API (RFC 9457). Lenient: whatever is missing or odd is left out.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
}

/// What came back, whole.
struct Answer {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl<'a> Client<'a> {
    /// Makes ready to talk to a server. Nothing is sent yet.
    pub(crate) fn new(to: Target, out: &'a Out) -> Result<Self, Failure> {
        let unusable = |error: reqwest::Error| Failure::local(format!("cannot set up TLS: {}", causes(&error)));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("valetkey-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(to.timeout.min(std::time::Duration::from_secs(10)))
            .timeout(to.timeout)
            // SECURITY: a redirect would take the token to a place nobody named.
            .redirect(redirect::Policy::none());
        if to.loopback {
            // SECURITY: nor does it go through a proxy when it is meant for this machine.
            builder = builder.no_proxy();
        }
        if to.url.scheme() == "http" {
            // The system's certificates take time to read and are not needed.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = &to.ca_cert {
            let (path, pem) = (pem.0.display(), &pem.1);
            let none = || {
                Failure::local(format!("`{path}` holds no certificate that can be read"))
                    .hint("it takes PEM: -----BEGIN CERTIFICATE-----")
            };
            let certs = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| none())?;
            if certs.is_empty() {
                return Err(none());
            }
            builder = builder.tls_certs_merge(certs);
        }
        Ok(Self { http: builder.build().map_err(unusable)?, to, out })
    }

    /// The server, for caches.
    pub(crate) fn server(&self) -> &str {
        self.to.url.as_str()
    }

    /// Where requests go.
    pub(crate) fn to(&self) -> &Target {
        &self.to
    }

    /// The API's URL.
    pub(crate) fn base(&self) -> &Url {
        &self.to.url
    }

    /// What time it is at an address: whatever answers there says so in a header. Nothing is sent that proves who asks.
    pub(crate) async fn date(&self, url: &Url) -> Result<Option<jiff::Timestamp>, Silent> {
        let of_us = |failure| Silent { failure, tls: None };
        let http = if *url == self.to.url { self.http.clone() } else { elsewhere(self.to.timeout).map_err(of_us)? };
        let asked = http.get(url.clone()).send().await;
        let answer = asked.map_err(|error| {
            let server = trust::Server { url: url.as_str(), loopback: false, plain: url.scheme() == "http" };
            Silent { failure: trust::refused(&server, &error), tls: trust::tls(&error) }
        })?;
        let date = answer.headers().get(reqwest::header::DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        Ok(date)
    }

    /// The token, for caches.
    pub(crate) fn token(&self) -> &valetkey_core::Secret<String> {
        &self.to.token
    }

    /// Whether it asks with that token.
    pub(crate) fn asks_with(&self, token: &valetkey_core::Secret<String>) -> bool {
        self.to.token.ct_eq(token.reveal())
    }

    /// The same with another token.
    pub(crate) fn with_token(&self, token: valetkey_core::Secret<String>) -> Self {
        let Target { url, token: _, ca_cert, break_glass, timeout, loopback } = &self.to;
        let (url, ca_cert, break_glass) = (url.clone(), ca_cert.clone(), break_glass.clone());
        let to = Target { url, token, ca_cert, break_glass, timeout: *timeout, loopback: *loopback };
        Self { http: self.http.clone(), to, out: self.out }
    }

    /// The longest a request may take.
    pub(crate) fn timeout(&self) -> std::time::Duration {
        self.to.timeout
    }

    /// Asks for something, or has something removed: without a body.
    pub(crate) async fn ask(&self, route: Route) -> Result<Value, Failure> {
        self.call(&route, None::<&()>).await
    }

    /// Has something made, changed or done, as a body says.
    pub(crate) async fn send<T: Serialize + ?Sized + Sync>(&self, route: Route, body: &T) -> Result<Value, Failure> {
        self.call(&route, Some(body)).await
    }

    /// Asks for a page of a list in another form than JSON: as it came, and where the next one begins.
    pub(crate) async fn page(&self, route: &Route) -> Result<(String, Option<String>), Failure> {
        let (bytes, headers) = self.fetch(route, None::<&()>).await?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::local("the server's answer is no text"))?;
        Ok((text, headers.get("next-after").and_then(|value| value.to_str().ok()).map(str::to_owned)))
    }

    async fn call<T: Serialize + ?Sized + Sync>(&self, route: &Route, body: Option<&T>) -> Result<Value, Failure> {
        let (bytes, headers) = self.fetch(route, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            let mut failure = Failure::local("the server's answer is not JSON").hint(not_ours(self.server()));
            failure.request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
            failure
        })
    }

    async fn fetch<T: Serialize + ?Sized + Sync>(
        &self,
        route: &Route,
        body: Option<&T>,
    ) -> Result<(Vec<u8>, HeaderMap), Failure> {
        let _progress = self.out.progress("waiting for the server");
        let url = route.below(&self.to.url)?;
        let mut request =
            self.http.request(route.method.clone(), url).header(reqwest::header::ACCEPT, "application/json");
        let token = self.to.token.reveal();
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(reason) = &self.to.break_glass {
            let value = HeaderValue::from_bytes(reason.as_bytes());
            request = request.header(BREAK_GLASS, value.map_err(|_| Failure::usage("the reason is one line of text"))?);
        }
        if let Some(body) = body {
            // Fields in the order of their names, whatever says them.
            let body = serde_json::to_value(body).map_err(|_| Failure::local("the request cannot be written"))?;
            request = request.json(&body);
        }
        let Answer { status, headers, bytes } = self.sent(request).await?;
        if !(200..300).contains(&status) {
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let request_id = header("x-request-id").map(str::to_owned);
            return Err(refusal(status, &bytes, request_id, header("retry-after"), header("location")));
        }
        Ok((bytes, headers))
    }

    /// Sends a request to an API that is not ours, at a path of the server, with the token where that API has it. Whatever it answers is
    /// the answer: its status, and its text.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        carrier: Carrier,
        (headers, body): (HeaderMap, Option<String>),
    ) -> Result<(u16, String), Failure> {
        let url =
            self.to.url.join(path).ok().filter(|url| path.starts_with('/') && url.origin() == self.to.url.origin());
        // SECURITY: `//host` is another server's, which would get the token.
        let url = url.ok_or_else(|| Failure::usage(format!("`{path}` is not a path of the server")))?;
        if path.contains("vkt_") {
            return Err(Failure::usage("a token is not sent in a URL, which is logged"));
        }
        let _progress = self.out.progress("waiting for the server");
        let token = self.to.token.reveal();
        let request = self.http.request(method, url).headers(headers);
        let mut request = match carrier {
            Carrier::Bearer => request.bearer_auth(token),
            Carrier::Basic(user) => request.basic_auth(user, Some(token)),
            Carrier::Header(name) => request.header(name, token),
        };
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        let Answer { status, bytes, .. } = self.sent(request).await?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::local("the server's answer is not text"))?;
        Ok((status, text))
    }

    async fn sent(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broke_off(&error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Failure::local("the server's answer is too large to be one of the API"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status == 400 && bytes.starts_with(b"This port takes TLS") {
            let server = self.server().trim_end_matches('/');
            let hint = format!("use {}", server.replacen("http://", "https://", 1));
            return Err(Failure::new(
                Exit::Unreachable,
                format!("`{server}` cannot be reached: it takes TLS on that port"),
            )
            .hint(hint));
        }
        Ok(Answer { status, bytes, headers: std::mem::take(response.headers_mut()) })
    }

    /// SECURITY: half an answer is no answer, whatever can be read of it.
    fn broke_off(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return self.unreachable(error);
        }
        let server = self.server().trim_end_matches('/');
        Failure::new(Exit::Unreachable, format!("`{server}` broke off in the middle of its answer"))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let server = self.server().trim_end_matches('/');
        if error.is_timeout() {
            let secs = self.to.timeout.as_secs();
            return Failure::new(Exit::Unreachable, format!("`{server}` did not answer within {secs} s"))
                .hint("--timeout-secs N waits longer");
        }
        trust::refused(
            &trust::Server { url: server, loopback: self.to.loopback, plain: self.to.url.scheme() == "http" },
            error,
        )
    }
}

/// What did not answer: why, and what TLS had to do with it.
pub(crate) struct Silent {
    pub(crate) failure: Failure,
    pub(crate) tls: Option<trust::Tls>,
}

/// A client for what is not the API: with the system's certificates, whatever the API's URL is.
fn elsewhere(timeout: std::time::Duration) -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder().timeout(timeout).redirect(redirect::Policy::none());
    builder.build().map_err(|error| Failure::local(format!("cannot set up TLS: {}", causes(&error))))
}

fn not_ours(server: &str) -> String {
    format!("is `{server}` the API of Valetkey?")
}

fn refusal(
    status: u16,
    body: &[u8],
    request_id: Option<String>,
    retry_after: Option<&str>,
    location: Option<&str>,
) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let ours = problem.as_ref().is_some_and(|problem| problem.detail.is_some() || problem.title.is_some());
    let Problem { r#type, title, detail, code, field, hint, request_id: own_id } = problem.unwrap_or_default();
    let exit = Exit::of_status(status);
    let message = detail.or_else(|| title.clone()).unwrap_or_else(|| match location {
        Some(location) if (300..400).contains(&status) => format!("the server sends elsewhere: `{location}`"),
        Some(_) | None => format!("the server answered with status {status} and no reason"),
    });
    let retry_after_secs = retry_after.and_then(|secs| secs.trim().parse::<u64>().ok());
    let hint = hint.or_else(|| match exit {
        _ if (300..400).contains(&status) => Some("pass that address to --server, if you trust it".to_owned()),
        Exit::Unauthenticated => Some("check --token-file, VALETKEY_TOKEN and VALETKEY_TOKEN_FILE".to_owned()),
        Exit::RateLimited => Some(match retry_after_secs {
            Some(secs) => format!("try again in {secs} s"),
            None => "try again later".to_owned(),
        }),
        Exit::Ok
        | Exit::Local
        | Exit::Usage
        | Exit::Denied
        | Exit::NotFound
        | Exit::Conflict
        | Exit::Unreachable
        | Exit::Diverged => (!ours).then(|| "is that the API of Valetkey?".to_owned()),
    });
    Failure {
        exit: if exit == Exit::Ok { Exit::Local } else { exit },
        message,
        hint,
        request_id: own_id.or(request_id),
        said: Some(Box::new(Said { problem: r#type, title, status: Some(status), code, field, retry_after_secs })),
    }
}

#[cfg(test)]
mod tests {
    use valetkey_dialects::native::api::operations as op;

    use super::*;

    fn url(lease: &str) -> Result<String, Failure> {
        Route::to(op::GET_LEASE, [lease])
            .below(&Url::parse("http://127.0.0.1:7070/").unwrap())
            .map(|url| url.to_string())
    }

    #[test]
    fn a_segment_is_one_segment_whatever_is_in_it() {
        assert_eq!(url("a/b?c#d%2F e").unwrap(), "http://127.0.0.1:7070/api/v1/leases/a%2Fb%3Fc%23d%252F%20e");
    }

    #[test]
    fn a_segment_that_would_vanish_is_refused() {
        for odd in ["", ".", ".."] {
            assert_eq!(url(odd).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn a_token_never_stands_in_a_url() {
        let failure = url("vkt_0000000000000000000000000000000000000000000_abcdef").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!format!("{failure:?}").contains("vkt_0"), "{failure:?}");
    }

    #[test]
    fn a_base_path_is_kept_and_a_query_encoded() {
        let base = Url::parse("https://keys.example/valet/").unwrap();
        let route = Route::to(op::LIST_LEASES, []).with("caller", "a&b=c").with_some("before", None::<&str>);
        assert_eq!(route.below(&base).unwrap().as_str(), "https://keys.example/valet/api/v1/leases?caller=a%26b%3Dc");
    }

    #[test]
    fn a_problem_keeps_the_servers_words() {
        let body = br#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"no grant covers `x`","code":"forbidden","field":"prefix","request_id":"req_9"}"#;
        let failure = refusal(403, body, None, None, None);
        assert_eq!(failure.exit, Exit::Denied);
        assert_eq!(failure.message, "no grant covers `x`");
        assert_eq!(failure.request_id.as_deref(), Some("req_9"));
        assert_eq!(failure.code(), "forbidden");
    }

    #[test]
    fn an_answer_that_is_no_problem_is_still_a_refusal() {
        let failure = refusal(418, b"<html>", Some("r1".to_owned()), None, None);
        assert_eq!(failure.exit, Exit::Local);
        assert_eq!(failure.message, "the server answered with status 418 and no reason");
        let failure = refusal(302, b"", None, None, Some("https://evil.example/"));
        assert_eq!(failure.exit, Exit::Local);
        assert!(failure.message.contains("evil.example"));
        let failure = refusal(429, b"{}", None, Some("7"), None);
        assert_eq!(failure.hint.as_deref(), Some("try again in 7 s"));
    }
}
