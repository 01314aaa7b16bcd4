//! Single requests to a store with a credential that was vended, as its users would send them, to see what it opens.
//!
//! Of S3 and its kin the XML API (Google's takes a bearer token there), of Azure the blob service's. Nothing is tried twice, no
//! redirect is followed, and of what a store answers only its status, its code and the keys of a list are read.

mod azure;
#[cfg(test)]
mod file_tests;
mod files;
mod list;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, Url};
use valetkey_check::{Answer, Attempt, Prober, endpoint_of};
use valetkey_core::credential::Credential;
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::storage::Storage;
use valetkey_core::time::Clock;
use valetkey_core::{Error, Kind, Secret};

use crate::web::{Answer as Answered, Web, hidden, origin_of, quoted};

/// How long a store may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written: who finds it left over should know whose it is.
const BODY: &[u8] = b"Written by a check of Valetkey; it may be deleted.\n";
/// The same words come with 400 at some stores: what they say is that the credential is not taken.
const REFUSALS: [&str; 4] = ["InvalidToken", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"];
/// Without a place for objects nothing is said about them.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];

/// Sends requests to stores.
pub struct Live {
    clock: Arc<dyn Clock>,
    own: OnceLock<Client>,
    foreign: OnceLock<Client>,
}

impl Live {
    /// Nothing is sent yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, own: OnceLock::new(), foreign: OnceLock::new() }
    }

    /// The client for a store. SECURITY: it follows no redirects: what is sent holds credentials.
    fn http(&self, storage: &Storage) -> Result<Client, String> {
        let ours = storage.kind.is_ours();
        let kept = if ours { &self.own } else { &self.foreign };
        if let Some(http) = kept.get() {
            return Ok(http.clone());
        }
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")));
        // Our own endpoint is near: no proxy stands between.
        let builder = if ours { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|_| "the client for storages cannot be made".to_owned())?;
        Ok(kept.get_or_init(|| http).clone())
    }

    async fn send(&self, storage: &Storage, request: RequestBuilder) -> Result<Answered, String> {
        let web = self.web(storage)?.patient(PATIENCE).once_only();
        web.ask("the store", request).await.map_err(|error| unreachable(endpoint_of(storage), &error))
    }

    /// What asks a store, and nobody else.
    fn web(&self, storage: &Storage) -> Result<Web, String> {
        let http = self.http(storage)?;
        let endpoint = endpoint_of(storage);
        let origin = origin_of(endpoint).map_err(|_| "the storage's endpoint is not a URL".to_owned())?;
        let hosts = Hosts::new(Proof::Kept).sent("endpoint", origin);
        Ok(Web::new(http, Arc::clone(&self.clock), hosts))
    }
}

#[async_trait]
impl Prober for Live {
    async fn attempt(&self, storage: &Storage, credential: &Credential, attempt: Attempt<'_>) -> Answer {
        let answer = match credential {
            Credential::S3(keys) => xml::attempt(self, storage, &xml::Proof::Signed(keys), attempt).await,
            Credential::Google(token) => {
                xml::attempt(self, storage, &xml::Proof::Bearer(&token.access_token), attempt).await
            }
            Credential::Azure(sas) => azure::attempt(self, storage, &sas.sas_token, attempt).await,
        };
        answer.unwrap_or_else(Answer::Failed)
    }
}

/// Why there is no answer, without what the address may hold.
fn unreachable(endpoint: &str, error: &Error) -> String {
    if error.kind() == Kind::UpstreamTimeout {
        return format!("`{endpoint}` did not answer within {} s", PATIENCE.as_secs());
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    format!("`{endpoint}` cannot be reached: {}", quoted(&deepest.to_string()))
}

/// What an answer means, apart from what is in it.
fn meaning(answered: &Answered, code: &str) -> Answer {
    let status = answered.status.as_u16();
    let failed = |hint: &str| Answer::Failed(format!("the store answered {status} `{code}`{hint}"));
    match status {
        200..=299 => Answer::Allowed,
        401 | 403 => Answer::Refused { status, code: code.into() },
        400 if REFUSALS.contains(&code) => Answer::Refused { status, code: code.into() },
        404 if NO_BUCKET.contains(&code) => failed(": there is no such bucket"),
        404 => Answer::NotFound,
        300..=399 => failed(", which sends elsewhere; are the endpoint and the region right?"),
        _ => failed(""),
    }
}

/// What stands between two marks, each time, as the store wrote it.
fn between(text: &str, open: &str, close: &str) -> Vec<Box<str>> {
    let parts = text.split(open).skip(1);
    parts.filter_map(|part| part.split_once(close)).map(|(inside, _)| inside.into()).collect()
}

/// A store's word for why, or a dash.
fn code(text: &str) -> String {
    between(text, "<Code>", "</Code>").first().map_or_else(|| "-".to_owned(), |code| quoted(code))
}

/// A key as it stands in an address: a `..` between slashes is no step up.
fn unstepped(key: &str) -> String {
    key.replace("/../", "/..%2F")
}

/// A header's value that is not shown by anything that prints requests.
fn sensitive(text: &str) -> Result<HeaderValue, String> {
    hidden(text).map_err(|_| "the credential cannot be sent in a header".to_owned())
}

/// Where a store is.
fn place(storage: &Storage) -> Result<Url, String> {
    let endpoint = endpoint_of(storage);
    let url = Url::parse(endpoint).ok().filter(|url| url.host_str().is_some() && url.query().is_none());
    url.ok_or_else(|| format!("`{endpoint}` is not an address"))
}

/// A secret as it is sent.
fn bearer(token: &Secret<String>) -> Result<HeaderValue, String> {
    sensitive(&format!("Bearer {}", token.reveal()))
}
