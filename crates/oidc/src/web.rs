//! Asking an issuer: little, not for long, without following it anywhere, and no machine of one's own network unless that is set.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;
use valetkey_core::Error;
use valetkey_core::nouns::identity::check_url;

/// How long an issuer may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest discovery document that is read, in bytes.
const MOST_DISCOVERY: usize = 64 * 1024;

/// What asks issuers.
#[derive(Clone, Debug)]
pub struct Web {
    http: Client,
    private: Arc<[String]>,
}

/// What of a discovery document is needed.
#[derive(Deserialize, Debug)]
pub(crate) struct Document {
    issuer: String,
    pub(crate) jwks_uri: String,
    pub(crate) authorization_endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    /// Whether it says who it is where a browser comes back (RFC 9207).
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) max_age: Option<i64>,
}

impl Web {
    /// With these hosts allowed to be machines of one's own network.
    ///
    /// # Errors
    /// `Internal`.
    pub fn new(private: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let private: Arc<[String]> = private.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .dns_resolver(Arc::new(Public { private: Arc::clone(&private) }))
            .build()
            .map_err(|error| Error::internal("the client for identity providers cannot be made").caused_by(error))?;
        Ok(Self { http, private })
    }

    /// An issuer's discovery document.
    pub(crate) async fn discover(&self, issuer: &str) -> Result<Document, String> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let answer = self.get(&format!("{base}/.well-known/openid-configuration"), MOST_DISCOVERY).await?;
        let document: Document = serde_json::from_slice(&answer.body)
            .map_err(|_| "its discovery document cannot be read, or lacks `issuer` or `jwks_uri`".to_owned())?;
        if document.issuer != issuer {
            return Err("its discovery document is that of another issuer".to_owned());
        }
        check_url(&document.jwks_uri, "jwks_uri").map_err(|error| error.message().to_owned())?;
        Ok(document)
    }

    /// What is at an address, if it is no more than so many bytes. One that breaks off or fails is asked once more, within the same time.
    pub(crate) async fn get(&self, url: &str, most: usize) -> Result<Answer, String> {
        let url = self.url(url)?;
        let began = Instant::now();
        let first = self.once(url.clone(), most, PATIENCE).await;
        let left = PATIENCE.saturating_sub(began.elapsed());
        match first {
            Err(Unanswered { passes: true, .. }) if !left.is_zero() => self.once(url, most, left).await,
            first => first,
        }
        .map_err(|unanswered| unanswered.said)
    }

    async fn once(&self, url: Url, most: usize, patience: Duration) -> Result<Answer, Unanswered> {
        let broken = |error: reqwest::Error| Unanswered { said: failed(&error), passes: !error.is_timeout() };
        let mut response = self.http.get(url).timeout(patience).send().await.map_err(broken)?;
        let status = response.status();
        if status != StatusCode::OK {
            let passes = matches!(status.as_u16(), 500 | 502 | 504);
            return Err(Unanswered { said: format!("it answered {}", status.as_u16()), passes });
        }
        let max_age = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).and_then(max_age);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            keep(&mut body, &chunk, most).map_err(|said| Unanswered { said, passes: false })?;
        }
        Ok(Answer { body, max_age })
    }

    /// What an address answers to a form, if it is no more than so many bytes.
    pub(crate) async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        most: usize,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let mut written = Url::parse("http://form.invalid/").map_err(|_| "a form could not be written".to_owned())?;
        written.query_pairs_mut().extend_pairs(form);
        let request = self.http.post(self.url(url)?).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header(ACCEPT, "application/json");
        let sent = request.body(written.query().unwrap_or_default().to_owned()).send().await;
        let mut response = sent.map_err(|error| failed(&error))?;
        Ok((response.status(), body(&mut response, most).await?))
    }

    /// An address that may be asked.
    fn url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|_| "its address cannot be read".to_owned())?;
        self.allows(&url)?;
        Ok(url)
    }

    /// Refuses an address that is written in numbers and is not public: no name is looked up for it.
    fn allows(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !is_public(address) && !named(&self.private, host) => Err(private(host)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

async fn body(response: &mut Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        keep(&mut body, &chunk, most)?;
    }
    Ok(body)
}

fn keep(body: &mut Vec<u8>, chunk: &[u8], most: usize) -> Result<(), String> {
    if body.len() + chunk.len() > most {
        return Err(format!("it answered more than {most} bytes"));
    }
    body.extend_from_slice(chunk);
    Ok(())
}

/// Why nothing was answered, and whether a second request may do better: one after a silence would only double the wait.
struct Unanswered {
    said: String,
    passes: bool,
}

fn failed(error: &reqwest::Error) -> String {
    if error.is_timeout() { "it did not answer in time".to_owned() } else { format!("no answer: {}", cause(error)) }
}

/// What a failure comes of, without the address.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn named(private: &[String], host: &str) -> bool {
    private.iter().any(|own| own == host)
}

fn private(host: &str) -> String {
    format!("`{host}` is a machine of a private network, and `identity.private_hosts` does not name it")
}

fn max_age(value: &str) -> Option<i64> {
    let mut parts = value.split(',').map(str::trim);
    parts.find_map(|part| part.strip_prefix("max-age="))?.parse().ok()
}

/// Finds the addresses of names, but those of one's own network only for hosts that may be there.
struct Public {
    private: Arc<[String]>,
}

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = named(&self.private, &name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|at| allowed || is_public(at.ip())).collect();
            if kept.is_empty() {
                return Err(private(name.as_str()).into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let [first, second, .., high, low] = v6.segments();
            let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
            let inner = Ipv4Addr::new(one, two, three, four);
            match v6.segments() {
                // IPv4 in IPv6: mapped, and translated (RFC 6052).
                [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(inner),
                // Global unicast is this and nothing else; of it, 6to4 and documentation are not public.
                _ => first & 0xe000 == 0x2000 && first != 0x2002 && (first, second) != (0x2001, 0x0db8),
            }
        }
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [first, second, third, _] = v4.octets();
    let special = match first {
        0 | 240..=255 => true,
        100 => (64..=127).contains(&second),
        192 => (second, third) == (0, 0),
        198 => matches!(second, 18 | 19),
        _ => false,
    };
    !(special
        || v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_ones_own_network_are_not_public() {
        for bad in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::7f00:1",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
        for good in ["1.1.1.1", "140.82.112.3", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
    }

    #[tokio::test]
    async fn a_private_machine_is_asked_only_if_it_is_named() {
        for url in [
            "http://127.0.0.1:1/x",
            "http://[::1]:1/x",
            "http://localhost:1/x",
            "http://0x7f000001:1/",
            "http://127.1:1/",
        ] {
            let refused = Web::new([]).unwrap().get(url, 10).await.err().unwrap();
            assert!(refused.contains("private"), "{url}: {refused}");
        }
        let web = Web::new(["LOCALHOST".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        for url in ["http://127.0.0.1:1/x", "http://localhost:1/x"] {
            let refused = web.get(url, 10).await.err().unwrap();
            assert!(!refused.contains("private"), "{url}: {refused}");
        }
    }

    #[test]
    fn an_issuer_may_say_how_long() {
        assert_eq!(max_age("public, max-age=300, must-revalidate"), Some(300));
        assert_eq!(max_age("no-store"), None);
    }
}
