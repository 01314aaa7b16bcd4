//! Asking a catalog of Iceberg tables that another server keeps (Iceberg's REST specification, `rest-catalog-open-api.yaml`).
//!
//! SECURITY: what proves this server goes to the hosts that its file names and no other; redirects are not followed, and what the catalog
//! answers to `/v1/config` moves nothing but the prefix of its paths. It is never asked for credentials of a storage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::name::Name;
use valetkey_core::nouns::table::{CatalogAnswer, CatalogAsk, UpstreamCatalog};
use valetkey_core::time::Clock;
use valetkey_core::{Error, Kind, Secret};

use crate::renewing::{Fresh, Renewing};
use crate::web::{Answer, Bearer, Transport, Web, origin_of, url};

/// The largest answer, in bytes. A table's metadata with ten thousand snapshots has some 8 MiB.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How long one answer may take. A commit may have the catalog write and read files.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long a catalog's prefix is known.
const PREFIX_SECS: i64 = 300;
/// So long before its end a token is replaced.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// How long a token is taken to live where the answer does not say.
const USUAL_SECS: i64 = 300;
const WHOM: &str = "the upstream catalog";
/// What a part of a path is written with.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A catalog as a file describes it.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct CatalogSpec {
    /// Its name here.
    name: String,
    /// The account that it is for.
    account: String,
    /// Its address, up to and without `/v1`.
    uri: String,
    /// What it calls the warehouse.
    #[serde(default)]
    warehouse: Option<String>,
    /// A file with a token that proves this server.
    #[serde(default)]
    token_file: Option<std::path::PathBuf>,
    /// A client of an OAuth server, instead.
    #[serde(default)]
    oauth: Option<OAuthSpec>,
}

/// How a token is fetched (RFC 6749, section 4.4).
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct OAuthSpec {
    /// Where.
    token_uri: String,
    client_id: String,
    client_secret_file: std::path::PathBuf,
    #[serde(default)]
    scope: Option<String>,
}

enum Means {
    Nothing,
    /// Read each time: it may have been replaced.
    File(std::path::PathBuf),
    OAuth {
        uri: String,
        id: String,
        secret: std::path::PathBuf,
        scope: String,
        token: Renewing<Bearer>,
    },
}

/// A catalog that is asked.
pub struct Catalog {
    name: Name,
    account: Name,
    uri: String,
    warehouse: Option<String>,
    means: Means,
    web: Web,
    prefix: Renewing<String>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("name", &self.name).field("uri", &self.uri).finish_non_exhaustive()
    }
}

fn invalid(field: &'static str, said: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, said.to_string()).at(field)
}

/// A file that holds one secret. Others cannot read it, or it is none.
fn secret(field: &'static str, path: &std::path::Path) -> Result<Secret<String>, Error> {
    use std::os::unix::fs::PermissionsExt as _;
    /// Longer than any token.
    const MOST: u64 = 64 * 1024;
    let failed = |error: &dyn std::fmt::Display| invalid(field, format!("{}: {error}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !about.is_file() || about.len() > MOST {
        return Err(failed(&"not a file, or larger than 64 KiB"));
    }
    if about.permissions().mode() & 0o007 != 0 {
        return Err(failed(&"every user of this machine may read it; `chmod 640` or less"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let text = text.trim();
    if text.is_empty() || text.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return Err(failed(&"it has no token, or more than one line"));
    }
    Ok(Secret::new(text.to_owned()))
}

/// A failure in words of its own: what asks speaks of storages.
fn of_catalog(error: Error) -> Error {
    let said = match error.kind() {
        Kind::Upstream => "the upstream catalog failed, or did not answer as a catalog does",
        Kind::UpstreamTimeout => "the upstream catalog did not answer in time",
        Kind::RateLimited => "the upstream catalog has too much to do; try again later",
        _ => return error,
    };
    let mut own = Error::new(error.kind(), said);
    if let Some(status) = error.upstream_status() {
        own = own.answered(status);
    }
    if let Some(secs) = error.retry_after_secs() {
        own = own.retry_after(secs);
    }
    own.note(error.detail().unwrap_or_default().to_owned()).caused_by(error)
}

impl CatalogSpec {
    /// What it describes.
    ///
    /// # Errors
    /// `Invalid` with the field that cannot be used.
    pub fn open(self, clock: Arc<dyn Clock>) -> Result<Catalog, Error> {
        let Self { name, account, uri, warehouse, token_file, oauth } = self;
        let uri = url(&uri, Transport::Private, "uri")?;
        let mut hosts = Hosts::new(Proof::Kept).sent("uri", origin_of(&uri)?);
        let means = match (token_file, oauth) {
            (None, None) => Means::Nothing,
            (Some(file), None) => {
                secret("token_file", &file)?;
                Means::File(file)
            }
            (None, Some(OAuthSpec { token_uri, client_id, client_secret_file, scope })) => {
                secret("oauth.client_secret_file", &client_secret_file)?;
                let uri = url(&token_uri, Transport::Private, "oauth.token_uri")?;
                hosts.send("oauth.token_uri", origin_of(&uri)?);
                // What the specification's own client asks for.
                let scope = scope.unwrap_or_else(|| "catalog".to_owned());
                Means::OAuth { uri, id: client_id, secret: client_secret_file, scope, token: Renewing::new() }
            }
            (Some(_), Some(_)) => return Err(invalid("oauth", "`token_file` proves this server already")),
        };
        let http = crate::fetchers::client()?;
        let web = Web::new(http, clock, hosts).patient(PATIENCE).roomy(MOST_BYTES).once_only();
        let name = Name::parse(&name).map_err(|error| error.at("name"))?;
        let account = Name::parse(&account).map_err(|error| error.at("account"))?;
        Ok(Catalog { name, account, uri, warehouse, means, web, prefix: Renewing::new() })
    }
}

/// What of `/v1/config` is looked at.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    defaults: Prefix,
    #[serde(default)]
    overrides: Prefix,
}

#[derive(Deserialize, Default)]
struct Prefix {
    #[serde(default)]
    prefix: Option<String>,
}

impl Catalog {
    fn now(&self) -> Timestamp {
        self.web.now()
    }

    /// An address below the catalog's own; the prefix stands as it wrote it.
    fn url(&self, prefix: &str, parts: &[&str], query: &[(&'static str, &str)]) -> String {
        let slash = if prefix.is_empty() { "" } else { "/" };
        let mut url = format!("{}/v1{slash}{prefix}", self.uri);
        for part in parts {
            url.push('/');
            url.extend(utf8_percent_encode(part, IN_PATH));
        }
        for (at, (name, value)) in query.iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, IN_PATH));
        }
        url
    }

    /// The token that proves this server, if it proves itself.
    async fn token(&self) -> Result<Option<Secret<String>>, Error> {
        let unusable = |error: Error| {
            // The path is nothing for a stranger.
            Error::new(Kind::Unavailable, "what proves this server to the upstream catalog cannot be read")
                .caused_by(error)
        };
        match &self.means {
            Means::Nothing => Ok(None),
            Means::File(file) => secret("token_file", file).map(Some).map_err(unusable),
            Means::OAuth { uri, id, secret: file, scope, token } => {
                let now = self.now();
                let fetch = async {
                    let secret = secret("oauth.client_secret_file", file).map_err(unusable)?;
                    let fields = [
                        ("grant_type", "client_credentials"),
                        ("client_id", id),
                        ("client_secret", secret.reveal()),
                        ("scope", scope),
                    ];
                    let answer = self.web.ask(WHOM, self.web.post_form(uri, &fields)).await;
                    let answer = answer.and_then(Answer::success).map_err(of_catalog)?;
                    let (value, expires) = answer.granted()?;
                    let usual = || now.checked_add(SignedDuration::from_secs(USUAL_SECS)).unwrap_or(now);
                    Ok(Bearer { value, expires: expires.unwrap_or_else(usual) }.renewed(now, AHEAD))
                };
                let known = token.get(now, |known| known.outlives(now, SignedDuration::ZERO), fetch).await?;
                Ok(Some(known.value))
            }
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let request = request.header(ACCEPT, "application/json");
        let request = match self.token().await? {
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                    .map_err(|_| Error::internal("the token for the upstream catalog is no header"))?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            None => request,
        };
        let answer = self.web.ask(WHOM, request).await.map_err(of_catalog)?;
        match answer.status.as_u16() {
            401 => {
                if let Means::OAuth { token, .. } = &self.means {
                    token.forget();
                }
                Err(answer.refused("the upstream catalog does not know this server", "", ""))
            }
            403 | 419 => Err(answer.refused("the upstream catalog refuses this server", "", "")),
            429 => Err(of_catalog(answer.refused("", "", ""))),
            503 => Err(Error::new(Kind::Unavailable, "the upstream catalog cannot answer now").retry_after(5)),
            300..=399 => Err(of_catalog(answer.malformed("a redirect, which is not followed"))),
            200..=499 => Ok(answer),
            _ => Err(answer.refused("the upstream catalog failed", "", "")),
        }
    }

    /// What stands in front of its paths, behind `/v1`.
    async fn prefix(&self) -> Result<String, Error> {
        let now = self.now();
        let fetch = async {
            let query: Vec<(&'static str, &str)> = self.warehouse.iter().map(|name| ("warehouse", &**name)).collect();
            let answer =
                self.send(self.web.get(&self.url("", &["config"], &query))).await?.success().map_err(of_catalog)?;
            let Config { defaults, overrides } = serde_json::from_slice(answer.body.reveal())
                .map_err(|error| of_catalog(answer.malformed(&format!("no configuration: {error}"))))?;
            let value = overrides.prefix.or(defaults.prefix).unwrap_or_default().trim_matches('/').to_owned();
            let is_plain = value.split('/').all(|part| !matches!(part, "." | ".."));
            if !is_plain || value.contains(['?', '#', '\\', ' ']) || value.chars().any(char::is_control) {
                return Err(of_catalog(answer.malformed("a prefix that is no path")));
            }
            let renew = now.checked_add(SignedDuration::from_secs(PREFIX_SECS)).unwrap_or(now);
            Ok(Fresh { value, renew })
        };
        self.prefix.get(now, |_| true, fetch).await
    }
}

#[async_trait]
impl UpstreamCatalog for Catalog {
    fn name(&self) -> &Name {
        &self.name
    }

    fn account(&self) -> &Name {
        &self.account
    }

    async fn ask(&self, what: &CatalogAsk<'_>) -> Result<CatalogAnswer, Error> {
        let CatalogAsk { method, path, query, body } = what;
        // SECURITY: whoever normalizes a URL takes these away, however they are written, and asks for another thing.
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(Error::new(Kind::Invalid, "a name is not empty, and not `.` or `..`"));
        }
        let url = self.url(&self.prefix().await?, path, query);
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Error::internal("that is no method"))?;
        let mut request = self.web.request(method, &url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let answer = self.send(request).await?;
        let status = answer.status.as_u16();
        let body = answer.body.reveal();
        let is_json = body.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        if status < 300 && !is_json {
            return Err(of_catalog(answer.malformed("something that is not JSON")));
        }
        Ok(CatalogAnswer { status, body: body.clone() })
    }
}

#[cfg(test)]
mod tests;
