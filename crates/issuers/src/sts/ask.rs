//! Asking an API of AWS's kind: signed, and once more with other credentials of this server if it does not take the first.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use valetkey_core::Error;
use valetkey_core::hosts::{Hosts, Origin};
use valetkey_sigv4::{Signing, sha256, sign};

use crate::sts::parent::{Keys, Parents};
use crate::sts::wire::Refused;
use crate::web::{Answer, Web, hidden, origin};

/// The type of the body; it is signed.
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// What is asked, and where.
#[derive(Debug)]
pub(crate) struct Api {
    url: Url,
    /// As it is signed: the port only where it is not the scheme's own.
    host: String,
    region: String,
    service: &'static str,
    action: &'static str,
}

impl Api {
    /// An action of a service.
    pub(crate) fn new(url: Url, region: String, service: &'static str, action: &'static str) -> Self {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { url, host, region, service, action }
    }

    /// What is asked.
    pub(crate) const fn action(&self) -> &'static str {
        self.action
    }

    /// Where it is.
    pub(crate) fn origin(&self) -> Origin {
        origin(&self.url)
    }
}

/// What asks.
pub(crate) struct Asker {
    web: Web,
    /// What signs; nothing where a token in each request proves this server.
    parents: Option<Parents>,
}

impl Asker {
    /// Asks with these credentials.
    pub(crate) fn new(web: Web, parents: Option<Parents>) -> Self {
        Self { web, parents }
    }

    /// Who is asked.
    pub(crate) fn hosts(&self) -> &Hosts {
        self.web.hosts()
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.web.now()
    }

    /// Asks without a signature.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn ask_unsigned<T>(
        &self,
        api: &Api,
        body: String,
        read: fn(&Answer) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let request = self.web.request(reqwest::Method::POST, api.url.as_str());
        let request = request.header(CONTENT_TYPE, FORM).body(body);
        read(&self.web.ask(api.action, request).await.map_err(Refused::Other)?)
    }

    /// Asks. Tells also which credentials were taken.
    ///
    /// # Errors
    /// `Parent` when neither these credentials nor others are taken.
    pub(crate) async fn ask<T>(
        &self,
        api: &Api,
        body: &str,
        now: Timestamp,
        read: fn(&Answer) -> Result<T, Refused>,
    ) -> Result<(T, Arc<Keys>), Refused> {
        let parents = self.parents.as_ref().ok_or_else(|| Refused::Other(Error::internal("nothing signs here")))?;
        let keys = parents.keys(now).await.map_err(Refused::Other)?;
        match self.once(api, body, &keys, now, read).await {
            Err(Refused::Parent(error)) => {
                if !parents.distrust(&keys).await {
                    return Err(Refused::Other(error));
                }
                let other = parents.keys(now).await.map_err(Refused::Other)?;
                if other.access_key_id == keys.access_key_id && other.session_token.is_none() {
                    return Err(Refused::Other(error));
                }
                self.once(api, body, &other, now, read).await.map(|given| (given, other))
            }
            answer => answer.map(|given| (given, keys)),
        }
    }

    async fn once<T>(
        &self,
        api: &Api,
        body: &str,
        keys: &Keys,
        now: Timestamp,
        read: fn(&Answer) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let Api { url, host, region, service, action } = api;
        let signing = Signing {
            method: "POST",
            host,
            path: url.path(),
            query: "",
            header: ("content-type", FORM),
            body_sha256: &sha256(body.as_bytes()),
            region,
            service,
        };
        let signed = sign(&signing, &keys.signer(), now);
        let mut request = self
            .web
            .request(reqwest::Method::POST, url.as_str())
            .header(CONTENT_TYPE, FORM)
            .header("x-amz-date", &signed.date)
            .header(AUTHORIZATION, hidden(&signed.authorization).map_err(Refused::Other)?)
            .body(body.to_owned());
        if let Some(token) = &keys.session_token {
            request = request.header("x-amz-security-token", hidden(token.reveal()).map_err(Refused::Other)?);
        }
        read(&self.web.ask(action, request).await.map_err(Refused::Other)?)
    }
}
