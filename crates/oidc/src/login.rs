//! Logins of people, with this server as the client: the login page's address, and the identity token for what a browser comes back with
//! (RFC 6749, 7636, 9207).
//!
//! Anyone may begin one, so an issuer is asked where its pages are once in a while, and a few at a time ask it for tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Semaphore;
use valetkey_core::error::Stranger;
use valetkey_core::id::ProviderId;
use valetkey_core::nouns::identity::{CameBack, IdentityProvider, LONGEST_TOKEN, LoginClient, Logins};
use valetkey_core::{Error, Kind, Secret};

use crate::known::within;
use crate::web::{Document, Web};

/// How long a discovery document is believed, and how long an issuer is left in peace that did not give one.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
const PEACE: SignedDuration = SignedDuration::from_secs(5);
/// How many at a time ask one issuer for a token: people, who come one by one.
const TURNS: usize = 8;
/// How long a login waits for one.
const WAITS: std::time::Duration = std::time::Duration::from_secs(5);
/// The largest answer that is read: three tokens of the longest kind, and some.
const MOST_BYTES: usize = 4 * LONGEST_TOKEN;

/// What is known of where issuers' pages are.
#[derive(Debug)]
pub(crate) struct Endpoints {
    web: Web,
    issuers: Mutex<HashMap<ProviderId, Arc<Issuer>>>,
}

/// What an issuer said, or why it did not; and when.
type Said = Option<(Timestamp, Result<Arc<Document>, String>)>;

#[derive(Debug)]
struct Issuer {
    name: Box<str>,
    said: tokio::sync::Mutex<Said>,
    turns: Semaphore,
}

/// An answer to the form that asks for tokens.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// What an issuer refused (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Endpoints {
    pub(crate) fn new(web: Web) -> Self {
        Self { web, issuers: Mutex::default() }
    }

    fn issuer(&self, provider: &IdentityProvider) -> Arc<Issuer> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = issuers.get(&provider.id).filter(|known| known.name == provider.issuer) {
            return Arc::clone(known);
        }
        let turns = Semaphore::new(TURNS);
        let fresh = Arc::new(Issuer { name: provider.issuer.clone(), said: tokio::sync::Mutex::default(), turns });
        issuers.insert(provider.id, Arc::clone(&fresh));
        fresh
    }

    /// What the issuer says of itself: asked once for all who wait.
    async fn document(&self, provider: &IdentityProvider, now: Timestamp) -> Result<Arc<Document>, Error> {
        let issuer = self.issuer(provider);
        let mut said = issuer.said.lock().await;
        let known = said.as_ref().filter(|(at, said)| within(*at, now, if said.is_ok() { FRESH } else { PEACE }));
        let document = if let Some((_, known)) = known {
            known.clone()
        } else {
            let asked = self.web.discover(&provider.issuer).await.and_then(secure).map(Arc::new);
            *said = Some((now, asked.clone()));
            asked
        };
        document.map_err(|why| away(provider, why))
    }
}

#[async_trait]
impl Logins for Endpoints {
    async fn login_page(
        &self,
        provider: &IdentityProvider,
        parameters: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<String, Error> {
        let client = client(provider)?;
        let document = self.document(provider, now).await?;
        let page = document.authorization_endpoint.as_deref().and_then(|page| Url::parse(page).ok());
        let mut page = page.ok_or_else(|| without_pages(provider))?;
        page.query_pairs_mut().append_pair("client_id", &client.client_id).extend_pairs(parameters);
        Ok(page.into())
    }

    async fn identity_token(
        &self,
        provider: &IdentityProvider,
        back: &CameBack<'_>,
        now: Timestamp,
    ) -> Result<Secret<String>, Error> {
        let client = client(provider)?;
        let document = self.document(provider, now).await?;
        // SECURITY: one issuer must not answer for another. Who can say who it is has to.
        let named = back.issuer.is_some() || document.authorization_response_iss_parameter_supported;
        if named && back.issuer != Some(&*provider.issuer) {
            return Err(refused("the login came back from another identity provider than it was begun at"));
        }
        let endpoint = document.token_endpoint.as_deref().ok_or_else(|| without_pages(provider))?;
        let issuer = self.issuer(provider);
        let crowded = || away(provider, "too many log in at once".to_owned());
        let turn = tokio::time::timeout(WAITS, issuer.turns.acquire()).await;
        let _turn = turn.map_err(|_| crowded())?.map_err(|_| crowded())?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &client.client_id),
            ("code", back.code.reveal()),
            ("code_verifier", back.verifier.reveal()),
            ("redirect_uri", back.redirect),
        ];
        let (status, body) = self.web.post(endpoint, &form, MOST_BYTES).await.map_err(|why| away(provider, why))?;
        given(provider, status, &body)
    }
}

/// A document whose pages are reached over TLS, or on this machine. They may have a query (RFC 6749, section 3.1).
fn secure(document: Document) -> Result<Document, String> {
    let endpoints = [&document.authorization_endpoint, &document.token_endpoint].into_iter().flatten();
    for endpoint in endpoints {
        let url = Url::parse(endpoint).map_err(|_| "an address of its login cannot be read".to_owned())?;
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let named = url.username().is_empty() && url.password().is_none();
        if !named || !(url.scheme() == "https" || (url.scheme() == "http" && here)) {
            return Err("an address of its login has to start with https://".to_owned());
        }
    }
    Ok(document)
}

/// The token of an answer. SECURITY: nothing else of it is told, nor why it cannot be read.
fn given(provider: &IdentityProvider, status: StatusCode, body: &[u8]) -> Result<Secret<String>, Error> {
    if status == StatusCode::OK {
        let tokens: Result<Tokens, _> = serde_json::from_slice(body);
        let token = tokens.ok().map(|tokens| tokens.id_token).filter(|token| token.len() <= LONGEST_TOKEN);
        return token.map(Secret::new).ok_or_else(|| away(provider, "it gave no identity token".to_owned()));
    }
    let code: Option<Refused> = serde_json::from_slice(body).ok().filter(|_| status.is_client_error());
    match code.map(|refused| refused.error).filter(|code| is_code(code)) {
        Some(code) => Err(refused(format!(
            "the identity provider `{}` does not take this login any more ({code}); begin again",
            provider.name
        ))),
        None => Err(away(provider, format!("its token endpoint answered {}", status.as_u16()))),
    }
}

/// Whether a text is as codes of refusals are.
fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn client(provider: &IdentityProvider) -> Result<&LoginClient, Error> {
    let said = || format!("people do not log in at the identity provider `{}`", provider.name);
    provider.login.as_ref().ok_or_else(|| Error::new(Kind::Invalid, said()).at("provider"))
}

fn without_pages(provider: &IdentityProvider) -> Error {
    let said = format!("the identity provider `{}` has no login page", provider.name);
    Error::new(Kind::Invalid, said).at("provider")
}

fn refused(said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Unauthenticated(Stranger::Unknown), said)
}

fn away(provider: &IdentityProvider, why: String) -> Error {
    tracing::warn!(provider = %provider.name, "a login cannot be made at an identity provider: {why}");
    let said = format!("the identity provider `{}` cannot be asked now; try again later", provider.name);
    Error::new(Kind::Unavailable, said).retry_after(5).note(why)
}
