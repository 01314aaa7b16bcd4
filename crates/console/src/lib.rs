//! The console's pages: files that are part of the binary, and the headers that keep a browser from doing more with them than they
//! need. It knows nothing of who looks: what pages show they ask the API for.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};

/// What `console/dist` has: names and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Where the pages are.
const BASE: &str = "/console";
/// What of that is not a page: where a page signs in and out.
const NO_PAGES: [&str; 2] = ["session", "login"];
/// The one document. Which page it shows is decided by its script, from the path.
const DOCUMENT: &str = "index.html";

/// SECURITY: scripts and styles of this server only, nothing inline, no `eval`; no string becomes HTML (trusted types); nothing of other
/// origins is asked, and no page of others has it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const SENT: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

struct File {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: &'static str,
    /// Its name says what is in it: it never changes.
    immutable: bool,
}

/// The pages, ready to be served.
pub struct Pages {
    files: BTreeMap<&'static str, File>,
}

impl Default for Pages {
    fn default() -> Self {
        Self::new()
    }
}

impl Pages {
    /// Those that this build has.
    pub fn new() -> Self {
        let file = |(name, bytes): &(&'static str, &'static [u8])| {
            let digest = BASE64URL_NOPAD.encode(&Sha256::digest(bytes));
            let etag = HeaderValue::from_str(&format!("\"{digest}\"")).ok()?;
            let immutable = name.starts_with("assets/");
            Some((*name, File { bytes: Bytes::from_static(bytes), etag, content_type: type_of(name), immutable }))
        };
        Self { files: FILES.iter().filter_map(file).collect() }
    }

    /// Answers what is asked for of the console, and leads a browser that asks for the root to it; nothing for all else.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let path = request.uri().path();
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        if path == "/" || path == BASE {
            let html = path == BASE || accepts_html(request.headers());
            return (reads && html).then(|| plain(StatusCode::SEE_OTHER, [(LOCATION, "/console/")]));
        }
        let name = path.strip_prefix(BASE)?.strip_prefix('/')?;
        if NO_PAGES.contains(&name.trim_end_matches('/')) {
            return None;
        }
        if !reads {
            return Some(plain(StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]));
        }
        // Whatever has no file is a page, but among the assets: a wrong name there must not look like a script.
        let page = || if name.starts_with("assets/") { None } else { self.files.get(DOCUMENT) };
        let Some(file) = self.files.get(name).or_else(page) else {
            return Some(plain(StatusCode::NOT_FOUND, [(CACHE_CONTROL, "no-store")]));
        };
        Some(file.answer(request))
    }
}

impl File {
    fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let known = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let own = self.etag.to_str().unwrap_or_default();
        let is_known = known.flat_map(|list| list.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == own);
        let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let caching = if self.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut response = plain(status, [(CACHE_CONTROL, caching)]);
        response.headers_mut().insert(ETAG, self.etag.clone());
        if is_known {
            return response;
        }
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if request.method() == Method::HEAD {
            response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
        } else {
            *response.body_mut() = self.bytes.clone();
        }
        response
    }
}

/// An answer without a body, with what every answer carries.
fn plain<const N: usize>(status: StatusCode, more: [(HeaderName, &'static str); N]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in SENT {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser asks: it says that it takes HTML.
fn accepts_html(headers: &HeaderMap) -> bool {
    let told = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    told.flat_map(|list| list.split(','))
        .any(|part| part.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Pages::new().answer(&request.body(()).unwrap())
    }

    fn asset(ending: &str) -> String {
        let all = FILES.iter().map(|(name, _)| format!("/console/{name}"));
        all.into_iter().find(|name| name.contains("/assets/") && name.ends_with(ending)).unwrap()
    }

    #[test]
    fn every_answer_has_the_strict_headers() {
        for path in
            ["/console", "/console/", "/console/leases", "/console/assets/none.js", &asset(".js"), &asset(".css")]
        {
            let response = ask("GET", path, &[]).unwrap();
            for (name, value) in SENT {
                assert_eq!(response.headers()[name], value, "{path}");
            }
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn any_path_is_the_document_but_among_the_assets_and_the_session() {
        for path in ["/console/", "/console/leases", "/console/leases/x", "/console/index.html", "/console/%00"] {
            let response = ask("GET", path, &[]).unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
            assert_eq!(response.headers()["cache-control"], "no-cache");
        }
        assert_eq!(ask("GET", "/console/assets/none.js", &[]).unwrap().status(), 404);
        for path in
            ["/console/session", "/console/session/", "/console/login", "/consolex", "/api/v1/me", "/v1/console/"]
        {
            assert!(ask("GET", path, &[]).is_none(), "{path}");
        }
        assert_eq!(ask("POST", "/console/", &[]).unwrap().status(), 405);
    }

    #[test]
    fn assets_are_kept_for_good_and_compared_by_their_tag() {
        let path = asset(".js");
        let full = ask("GET", &path, &[]).unwrap();
        assert_eq!(full.headers()["cache-control"], "public, max-age=31536000, immutable");
        let head = ask("HEAD", &path, &[]).unwrap();
        assert_eq!(
            (head.body().len(), head.headers()["content-length"].to_str().unwrap()),
            (0, &*full.body().len().to_string())
        );
        let etag = full.headers()["etag"].to_str().unwrap();
        let same = ask("GET", &path, &[("if-none-match", &format!("\"x\", W/{etag}"))]).unwrap();
        assert_eq!((same.status(), same.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(ask("GET", &path, &[("if-none-match", "\"x\"")]).unwrap().status(), 200);
    }

    #[test]
    fn only_a_browser_is_led_from_the_root_to_the_console() {
        let led = ask("GET", "/", &[("accept", "text/html,application/xhtml+xml;q=0.9")]).unwrap();
        assert_eq!(
            (led.status(), &led.headers()["location"]),
            (StatusCode::SEE_OTHER, &HeaderValue::from_static("/console/"))
        );
        for headers in [&[][..], &[("accept", "*/*")], &[("accept", "application/json")]] {
            assert!(ask("GET", "/", headers).is_none());
        }
        assert!(ask("POST", "/", &[("accept", "text/html")]).is_none());
    }
}
