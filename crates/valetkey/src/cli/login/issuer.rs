//! What is asked of an identity provider when people log in: its discovery document, and its token endpoint.
//!
//! Three forms (RFC 6749, 7636, 8628) sent by our own client. The `oauth2` crate would bring older randomness and hashes, reads the
//! machine's clock, and has nothing of the bounds here.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use valetkey_core::Secret;
use valetkey_core::nouns::identity::{LONGEST_TOKEN, check_url};

use crate::cli::connection::Target;
use crate::cli::failure::{Exit, Failure};
use crate::cli::trust;

/// The largest answer that is read: a discovery document has 4 KiB, tokens have 16 at most.
const MOST_BYTES: usize = 256 * 1024;
/// How long an issuer may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that is shown of what an issuer says.
const MOST_SAID: usize = 200;

/// What of a discovery document is needed.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// An identity provider, as a client of it.
pub(super) struct Issuer {
    http: reqwest::Client,
    pub(super) client_id: String,
    document: Document,
}

/// What an issuer refused (RFC 6749, section 5.2).
#[derive(Deserialize)]
pub(super) struct Refused {
    /// Its code.
    pub(super) error: String,
    error_description: Option<String>,
}

/// What came of an ask.
pub(super) enum Answer<T> {
    Given(T),
    Refused(Refused),
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    refresh_token: Option<String>,
}

/// What a login is.
pub(super) struct Tokens {
    pub(super) id_token: Secret<String>,
    pub(super) refresh_token: Option<Secret<String>>,
    pub(super) until: Timestamp,
    nonce: Option<String>,
}

/// What the device flow starts with (RFC 8628, section 3.2).
#[derive(Deserialize)]
pub(super) struct Device {
    #[serde(rename = "device_code")]
    secret: String,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    pub(super) expires_in: u64,
    pub(super) interval: Option<u64>,
}

impl Issuer {
    /// Asks the issuer where it is asked. The server's certificate authorities are trusted for it, too.
    ///
    /// # Errors
    /// When it cannot be reached, or answers something else.
    pub(super) async fn discover(issuer: &str, client_id: &str, to: &Target) -> Result<Self, Failure> {
        check_url(issuer, "issuer").map_err(|error| Failure::local(format!("the issuer {}", error.message())))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("valetkey-cli/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none());
        if let Some((_, pem)) = &to.ca_cert {
            let certs = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
            builder = builder.tls_certs_merge(certs);
        }
        let http = builder.build();
        let http = http.map_err(|error| Failure::local(format!("cannot set up TLS: {}", trust::causes(&error))))?;
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let at = url(&format!("{base}/.well-known/openid-configuration"))?;
        let document: Document = match read(http.get(at.clone()), &at).await? {
            Answer::Given(document) => document,
            Answer::Refused(refused) => return Err(refused.failure(issuer)),
        };
        if document.issuer != issuer {
            return Err(odd(issuer, "its discovery document is that of another issuer"));
        }
        Ok(Self { http, client_id: client_id.to_owned(), document })
    }

    /// The issuer's name for itself.
    pub(super) fn name(&self) -> &str {
        &self.document.issuer
    }

    /// Whether it names itself where a browser comes back (RFC 9207).
    pub(super) fn names_itself(&self) -> bool {
        self.document.authorization_response_iss_parameter_supported
    }

    /// Where a browser is sent.
    pub(super) fn page(&self, parameters: &[(&str, &str)]) -> Result<Url, Failure> {
        let endpoint = self.document.authorization_endpoint.as_deref();
        let mut page = url(endpoint.ok_or_else(|| odd(self.name(), "it has no login page; try --device"))?)?;
        page.query_pairs_mut().append_pair("client_id", &self.client_id).extend_pairs(parameters);
        Ok(page)
    }

    /// Whether a login without a browser on this machine is possible.
    pub(super) fn has_device_flow(&self) -> bool {
        self.document.device_authorization_endpoint.is_some()
    }

    /// Begins a login on another device.
    pub(super) async fn device(&self, scope: &str) -> Result<Device, Failure> {
        let endpoint = self.document.device_authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| odd(self.name(), "it has no login by another device (RFC 8628)"))?;
        match self.post(endpoint, &[("scope", scope)]).await? {
            Answer::Given(device) => Ok(device),
            Answer::Refused(refused) => Err(refused.failure(self.name())),
        }
    }

    /// Asks whether the login on another device is done.
    pub(super) async fn device_token(&self, device: &Device) -> Result<Answer<Tokens>, Failure> {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        self.tokens(&[("grant_type", grant), ("device_code", &device.secret)]).await
    }

    /// Gets the tokens for a code.
    pub(super) async fn code(&self, code: &str, verifier: &str, back: &str) -> Result<Answer<Tokens>, Failure> {
        self.tokens(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", back),
        ])
        .await
    }

    /// Gets new tokens.
    pub(super) async fn renewed(&self, refresh_token: &Secret<String>) -> Result<Answer<Tokens>, Failure> {
        self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token.reveal())]).await
    }

    /// Ends a login there (RFC 7009), if that is possible.
    pub(super) async fn end(&self, refresh_token: &Secret<String>) -> Result<bool, Failure> {
        let Some(endpoint) = self.document.revocation_endpoint.as_deref() else { return Ok(false) };
        let form = [("token", refresh_token.reveal().as_str()), ("token_type_hint", "refresh_token")];
        let (status, _) = self.send(endpoint, &form).await?;
        Ok(status.is_success())
    }

    async fn tokens(&self, form: &[(&str, &str)]) -> Result<Answer<Tokens>, Failure> {
        let given: TokenAnswer = match self.post(&self.document.token_endpoint, form).await? {
            Answer::Given(given) => given,
            Answer::Refused(refused) => return Ok(Answer::Refused(refused)),
        };
        let Some(token) = given.id_token.filter(|token| token.len() <= LONGEST_TOKEN) else {
            return Err(odd(self.name(), "it gave no identity token"));
        };
        let claims = Claims::of(&token).ok_or_else(|| odd(self.name(), "its identity token cannot be read"))?;
        let until = claims.until().ok_or_else(|| odd(self.name(), "its identity token has no end"))?;
        let (id_token, refresh_token) = (Secret::new(token), given.refresh_token.map(Secret::new));
        Ok(Answer::Given(Tokens { id_token, refresh_token, until, nonce: claims.nonce }))
    }

    async fn post<T: DeserializeOwned>(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Answer<T>, Failure> {
        let (status, body) = self.send(endpoint, form).await?;
        parsed(status, &body, endpoint)
    }

    async fn send(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Vec<u8>), Failure> {
        check_url(endpoint, "endpoint").map_err(|error| odd(self.name(), error.message()))?;
        let at = url(endpoint)?;
        let mut written = url("http://form.invalid/")?;
        written.query_pairs_mut().append_pair("client_id", &self.client_id).extend_pairs(form);
        let request = self.http.post(at.clone()).header("content-type", "application/x-www-form-urlencoded");
        asked(request.body(written.query().unwrap_or_default().to_owned()), &at).await
    }
}

impl Tokens {
    /// Whether they are of the login that was begun with that (Connect Core, section 3.1.3.7).
    pub(super) fn answer(&self, nonce: &str) -> bool {
        self.nonce.as_deref() == Some(nonce)
    }
}

/// What is read of an identity token on this side. Nothing is believed for it: the server checks it.
#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nonce: Option<String>,
}

impl Claims {
    fn of(token: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is within the range that is checked")]
    fn until(&self) -> Option<Timestamp> {
        // Until the year 9999: as far as a timestamp goes.
        self.exp
            .filter(|exp| (0.0..253_402_207_200.0).contains(exp))
            .and_then(|exp| Timestamp::from_second(exp as i64).ok())
    }
}

impl Refused {
    /// As what a command failed of.
    pub(super) fn failure(&self, issuer: &str) -> Failure {
        let said = self.error_description.as_deref().unwrap_or(&self.error);
        let said: String = said.chars().take(MOST_SAID).collect();
        Failure::new(Exit::Unauthenticated, format!("`{issuer}` refuses: {said}"))
    }
}

fn odd(issuer: &str, why: &str) -> Failure {
    Failure::local(format!("`{issuer}` cannot be used: {why}"))
}

fn url(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|error| Failure::local(format!("an address of the issuer cannot be read: {error}")))
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder, at: &Url) -> Result<Answer<T>, Failure> {
    let (status, body) = asked(request, at).await?;
    parsed(status, &body, at.as_str())
}

async fn asked(request: reqwest::RequestBuilder, at: &Url) -> Result<(StatusCode, Vec<u8>), Failure> {
    let failed = |error: &reqwest::Error| {
        trust::refused(&trust::Server { url: at.as_str(), loopback: false, plain: at.scheme() == "http" }, error)
    };
    let mut response =
        request.header("accept", "application/json").send().await.map_err(|error| failed(&error.without_url()))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error.without_url()))? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(odd(at.as_str(), "it answered too much"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

fn parsed<T: DeserializeOwned>(status: StatusCode, body: &[u8], at: &str) -> Result<Answer<T>, Failure> {
    if status.is_success() {
        // SECURITY: without what stands there, which may be a token.
        let given = serde_json::from_slice(body).map(Answer::Given);
        return given.map_err(|_| odd(at, "its answer is not what it should be"));
    }
    match serde_json::from_slice(body) {
        Ok(refused) if status.is_client_error() => Ok(Answer::Refused(refused)),
        _ => Err(Failure::new(
            Exit::Unreachable,
            format!("`{at}` answered with status {} and no reason", status.as_u16()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn an_identity_token_says_until_when_and_for_which_login() {
        let claims = Claims::of(&token(r#"{"exp":1700000000.5,"nonce":"n"}"#)).unwrap();
        assert_eq!(claims.until().unwrap().as_second(), 1_700_000_000);
        assert_eq!(claims.nonce.as_deref(), Some("n"));
        for odd in [r"{}", r#"{"exp":-1}"#, r#"{"exp":1e300}"#] {
            assert_eq!(Claims::of(&token(odd)).unwrap().until(), None, "{odd}");
        }
        for odd in ["", "a", "a.b.c", &token("[]"), &token(r#"{"exp":"x"}"#)] {
            assert!(Claims::of(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_refusal_is_told_short_and_anything_else_is_no_answer() {
        let long = format!(r#"{{"error":"invalid_grant","error_description":"{}"}}"#, "x".repeat(5000));
        let Answer::Refused(refused) = parsed::<Device>(StatusCode::BAD_REQUEST, long.as_bytes(), "i").unwrap() else {
            panic!("it is a refusal");
        };
        assert!(refused.failure("i").message.len() < 300);
        for (status, body) in [(500, r#"{"error":"x"}"#), (400, "<html>"), (302, ""), (200, "<html>"), (200, "{}")] {
            assert!(
                parsed::<Device>(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "i").is_err(),
                "{status} {body}"
            );
        }
    }
}
