//! A login in the browser of this machine: it comes back to a port of ours on the loopback address (RFC 8252, section 7.3).

use std::cell::Cell;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};

use crate::cli::failure::{Exit, Failure};

/// How long someone may take to log in.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long a browser may take for its request.
const CONNECTION: Duration = Duration::from_secs(10);
/// The largest head of a request: a code and a state are far shorter.
const HEAD_BYTES: usize = 16 * 1024;

/// A browser opens a few connections at a time.
const MOST_OPEN: usize = 16;

/// Where a browser comes back to.
pub(super) struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// What the issuer sent with the browser.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Back {
    /// A code to get tokens for.
    Code(String),
    /// A refusal, by its code.
    Refused(String),
}

impl Loopback {
    /// Takes a port.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn open() -> Result<Self, Failure> {
        let taken = |error: std::io::Error| {
            Failure::local(format!("no port can be taken for the browser to come back to: {error}"))
                .hint("--device needs none")
        };
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(taken)?;
        let port = listener.local_addr().map_err(taken)?.port();
        Ok(Self { listener, port })
    }

    /// The address to come back to. The IP address, not a name: what a name means can be changed.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }

    /// Waits for the browser of the login that has this state; from that issuer, if it names itself.
    ///
    /// # Errors
    /// When it does not come.
    pub(super) async fn wait(self, state: &str, issuer: Option<&str>) -> Result<Back, Failure> {
        let late = tokio::time::sleep(PATIENCE);
        tokio::pin!(late);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = self.listener.accept(), if open.len() < MOST_OPEN => {
                    open.push(converse(stream, state, issuer));
                }
                // Only the first counts.
                Some(Some(back)) = open.next(), if !open.is_empty() => return Ok(back),
                () = &mut late => return Err(Failure::new(Exit::Unauthenticated, "nobody logged in within ten minutes")),
            }
        }
    }
}

/// One request, and what it brought when the page is written.
async fn converse(stream: TcpStream, state: &str, issuer: Option<&str>) -> Option<Back> {
    let found = Cell::new(None);
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let back = read(request.method(), request.uri(), state, issuer);
        let page = page(back.as_ref());
        found.set(back);
        Ok::<_, Infallible>(page)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION, connection).await;
    found.into_inner()
}

/// What a request brings, if it is the one that is waited for.
///
/// SECURITY: any page that the browser shows can send one here; it does not know the state.
fn read(method: &Method, uri: &hyper::Uri, state: &str, issuer: Option<&str>) -> Option<Back> {
    if method != Method::GET || uri.path() != "/callback" {
        return None;
    }
    let url = Url::parse(&format!("http://127.0.0.1/?{}", uri.query()?)).ok()?;
    let one = |name: &str| {
        let mut values = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        values.next().filter(|_| values.next().is_none())
    };
    if one("state")? != state || issuer.is_some_and(|issuer| one("iss").as_deref() != Some(issuer)) {
        return None;
    }
    match (one("code"), one("error")) {
        (Some(code), None) => Some(Back::Code(code)),
        (None, Some(error)) => Some(Back::Refused(error)),
        _ => None,
    }
}

/// SECURITY: nothing of the request is on the page.
fn page(back: Option<&Back>) -> Response<Full<Bytes>> {
    let (status, text) = match back {
        Some(Back::Code(_)) => {
            (StatusCode::OK, "Back to the terminal: the login continues there. This window can be closed.")
        }
        Some(Back::Refused(_)) => {
            (StatusCode::OK, "The login was refused. The terminal says why. This window can be closed.")
        }
        None => (StatusCode::BAD_REQUEST, "This is not the login that is waited for."),
    };
    let mut page = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *page.status_mut() = status;
    let fixed = [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in fixed {
        page.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    page
}

/// Opens a page in the user's browser, as far as there is one.
pub(super) fn open(page: &Url) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let silent = std::process::Stdio::null;
    std::process::Command::new(program)
        .arg(page.as_str())
        .stdin(silent())
        .stdout(silent())
        .stderr(silent())
        .spawn()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, issuer: Option<&str>) -> Option<Back> {
        read(&Method::GET, &uri.parse().unwrap(), "s t", issuer)
    }

    #[test]
    fn only_the_login_that_was_begun_comes_back() {
        assert_eq!(of("/callback?code=a%2Fb&state=s%20t", None), Some(Back::Code("a/b".to_owned())));
        assert_eq!(
            of("/callback?error=access_denied&state=s+t", None),
            Some(Back::Refused("access_denied".to_owned()))
        );
        for other in [
            "/callback",
            "/callback?code=a",
            "/callback?code=a&state=other",
            "/callback?code=a&state=s%20t&state=s%20t",
            "/callback?code=a&code=b&state=s%20t",
            "/callback?code=a&error=b&state=s%20t",
            "/callback?state=s%20t",
            "/other?code=a&state=s%20t",
        ] {
            assert_eq!(of(other, None), None, "{other}");
        }
        assert_eq!(read(&Method::POST, &"/callback?code=a&state=s+t".parse().unwrap(), "s t", None), None);
    }

    #[test]
    fn an_issuer_that_names_itself_is_the_one_that_was_asked() {
        let issuer = Some("https://id.example/");
        assert!(of("/callback?code=a&state=s+t&iss=https%3A%2F%2Fid.example%2F", issuer).is_some());
        for other in ["", "&iss=https%3A%2F%2Fid.example", "&iss=https%3A%2F%2Fevil.example%2F"] {
            assert_eq!(of(&format!("/callback?code=a&state=s+t{other}"), issuer), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_page_says_nothing_of_the_request_and_the_first_counts() {
        let loopback = Loopback::open().await.unwrap();
        let back = loopback.address();
        let asks = async {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let other = http.get(format!("{back}?code=x&state=<b>")).send().await.unwrap();
            assert_eq!(other.status(), 400);
            assert!(!other.text().await.unwrap().contains("<b>"));
            http.get(format!("{back}?code=first&state=s+t")).send().await.unwrap().text().await.unwrap()
        };
        let (found, text) = tokio::join!(loopback.wait("s t", None), asks);
        assert_eq!(found.unwrap(), Back::Code("first".to_owned()));
        assert!(text.contains("terminal") && !text.contains("first"));
    }
}
