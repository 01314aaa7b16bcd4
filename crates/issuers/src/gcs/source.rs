//! Google access tokens to be bounded: of a service account's key, a federated identity or the machine's metadata server,
//! and then perhaps of a service account that those may stand for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use valetkey_core::hosts::Hosts;
use valetkey_core::{Error, Kind, Secret};

use crate::gcs::key::{SCOPE, ServiceKey};
use crate::gcs::{Identity, Secrets};
use crate::own::{Own, Signed};
use crate::renewing::Renewing;
use crate::web::{Bearer, Transport, Web, form, origin_of, url, whole};

/// The machine's metadata server.
const METADATA: &str = "http://metadata.google.internal";
/// Where a service account is stood in for.
const CREDENTIALS: &str = "https://iamcredentials.googleapis.com";
/// The longest token of a service account, in seconds.
pub(super) const LONGEST_SECS: u32 = 3600;
/// The setting that holds a federated identity's configuration.
const EXTERNAL: &str = "identity.external_account";
/// A token that ends sooner is not used again.
const SPARE: SignedDuration = SignedDuration::from_mins(1);
/// Another is sought so long before one ends: what is made of it ends with it.
const AHEAD: SignedDuration = SignedDuration::from_mins(30);

/// The configuration of a federated identity, as Google's tools write it (`"type": "external_account"`).
#[derive(Clone, Debug, Deserialize)]
pub struct ExternalAccount {
    #[serde(rename = "type")]
    kind: String,
    audience: String,
    subject_token_type: String,
    token_url: String,
    #[serde(default)]
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

/// Where the other issuer's token is.
#[derive(Clone, Debug, Deserialize)]
struct CredentialSource {
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
}

/// How it is written there.
#[derive(Clone, Debug, Default, Deserialize)]
struct Format {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    subject_token_field_name: Option<String>,
}

/// A way to a token.
#[derive(Debug)]
enum Way {
    Key(Arc<ServiceKey>),
    Federated(Box<Federated>),
    Metadata { url: String },
}

#[derive(Debug)]
struct Federated {
    audience: String,
    kind: String,
    token_url: String,
    place: Place,
    field: Option<String>,
}

/// The resource name of a pool's provider, as audiences write it.
const POOLS: &str = "//iam.googleapis.com/";

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Url(String, BTreeMap<String, String>),
    /// This server itself.
    Own(Own, Signed),
}

/// Where the tokens come from, and the last one.
pub(super) struct Source {
    way: Way,
    /// Where the service account is stood in for, if one is.
    stand_in: Option<String>,
    last: Renewing<Bearer>,
}

impl Source {
    /// Takes the settings.
    pub(super) fn new(
        identity: &Identity,
        (impersonate, credentials_endpoint): (Option<&str>, Option<&str>),
        (secrets, token_service): (&Secrets, &str),
        hosts: &mut Hosts,
    ) -> Result<Self, Error> {
        let invalid = |said: &'static str, field: &'static str| Error::new(Kind::Invalid, said).at(field);
        let mut stand_in = impersonate
            .map(|account| {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
                if !account.contains('@') || !account.bytes().all(plain) {
                    return Err(invalid("this is a service account's e-mail address", "impersonate"));
                }
                let base = credentials_endpoint.unwrap_or(CREDENTIALS);
                let base = url(base, Transport::Private, "credentials_endpoint")?;
                hosts.send("credentials_endpoint", origin_of(&base)?);
                Ok(format!("{base}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"))
            })
            .transpose()?;
        let way = match identity {
            Identity::ServiceAccountKey {} => {
                let key = secrets.service_account_key.as_ref().ok_or_else(|| {
                    invalid("this identity needs the key file of a service account", "service_account_key")
                })?;
                Way::Key(Arc::new(ServiceKey::parse(key)?))
            }
            Identity::WorkloadIdentity { external_account } => {
                let own = external_account.service_account_impersonation_url.as_deref();
                let own = own.map(|own| url(own, Transport::Private, EXTERNAL)).transpose()?;
                if let Some(own) = own.as_deref().filter(|_| stand_in.is_none()) {
                    hosts.send(EXTERNAL, origin_of(own)?);
                }
                stand_in = stand_in.or(own);
                Way::Federated(Box::new(federated(external_account)?))
            }
            Identity::Valetkey { provider, algorithm } => {
                let own = secrets.own.clone().ok_or_else(|| Error::internal("this server's identity is not given"))?;
                Way::Federated(Box::new(Federated {
                    audience: format!("{POOLS}{}", pool_provider(provider)?),
                    kind: "urn:ietf:params:oauth:token-type:jwt".to_owned(),
                    token_url: token_service.to_owned(),
                    place: Place::Own(own, *algorithm),
                    field: None,
                }))
            }
            Identity::Metadata { endpoint } => {
                let base = url(endpoint.as_deref().unwrap_or(METADATA), Transport::Any, "identity.endpoint")?;
                let query = form(&[("scopes", SCOPE)]);
                Way::Metadata {
                    url: format!("{base}/computeMetadata/v1/instance/service-accounts/default/token?{query}"),
                }
            }
        };
        if matches!(way, Way::Federated(_)) && stand_in.is_none() {
            // "Restrict a credential's Cloud Storage permissions": boundaries are for tokens of service accounts.
            return Err(invalid("a federated identity stands in for a service account here; name it", "impersonate"));
        }
        match &way {
            Way::Key(key) => hosts.send("service_account_key", origin_of(&key.token_url)?),
            // Where it exchanges is said already.
            Way::Federated(federated) if matches!(federated.place, Place::Own(..)) => {}
            Way::Federated(federated) => {
                hosts.send(EXTERNAL, origin_of(&federated.token_url)?);
                if let Place::Url(place, _) = &federated.place {
                    hosts.tell(EXTERNAL, origin_of(place)?);
                }
            }
            Way::Metadata { url } => hosts.tell("identity.endpoint", origin_of(url)?),
        }
        Ok(Self { way, stand_in, last: Renewing::new() })
    }

    /// The key that signs URLs: of the service account whose tokens are bounded, which may open what they open.
    ///
    /// # Errors
    /// `Invalid` where there is none.
    pub(super) fn signs_urls(&self) -> Result<Arc<ServiceKey>, Error> {
        match (&self.way, &self.stand_in) {
            (Way::Key(key), None) => Ok(Arc::clone(key)),
            (Way::Key(_) | Way::Federated(_) | Way::Metadata { .. }, _) => Err(Error::new(
                Kind::Invalid,
                "URLs are signed with a service account's own key, which this storage's identity has not",
            )),
        }
    }

    /// Whether tokens shorter than Google's usual hour can be had.
    pub(super) fn is_free_in_length(&self) -> bool {
        self.stand_in.is_some()
    }

    /// A token that lives for `secs` at most, if its length is free; otherwise the last one or a new one.
    pub(super) async fn get(&self, web: &Web, secs: u32) -> Result<Bearer, Error> {
        let own = self.own(web).await?;
        match &self.stand_in {
            None => Ok(own),
            Some(url) => match stand_in(web, url, &own, secs.min(LONGEST_SECS)).await {
                Err(error) if error.kind() == Kind::Upstream => {
                    // Our own token may be what was refused.
                    self.forget();
                    Err(error)
                }
                stood_in => stood_in,
            },
        }
    }

    /// Forgets the last token: it was refused.
    pub(super) fn forget(&self) {
        self.last.forget();
    }

    /// Our own token: the last one or a new one.
    async fn own(&self, web: &Web) -> Result<Bearer, Error> {
        let now = web.now();
        let fetch = async { Ok(self.fetch(web).await?.renewed(now, AHEAD)) };
        self.last.get(now, |token| token.outlives(now, SPARE), fetch).await
    }

    async fn fetch(&self, web: &Web) -> Result<Bearer, Error> {
        match &self.way {
            Way::Key(key) => {
                let assertion = key.assertion(web.now())?;
                let fields = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.reveal().as_str()),
                ];
                web.ask("Google's token endpoint", web.post_form(&key.token_url, &fields)).await?.success()?.bearer()
            }
            Way::Federated(federated) => federated.token(web).await,
            Way::Metadata { url } => {
                let request = web.get(url).header("Metadata-Flavor", "Google");
                web.ask("Google's metadata server", request).await?.success()?.bearer()
            }
        }
    }
}

fn federated(external: &ExternalAccount) -> Result<Federated, Error> {
    let invalid = |said: &'static str| Error::new(Kind::Invalid, said).at(EXTERNAL);
    let ExternalAccount {
        kind,
        audience,
        subject_token_type,
        token_url,
        service_account_impersonation_url: _,
        credential_source,
    } = external;
    if kind != "external_account" {
        return Err(invalid("its `type` is not `external_account`"));
    }
    let CredentialSource { file, url: place, headers, format } = credential_source;
    let place = match (file, place) {
        (Some(file), None) => Place::File(file.clone()),
        (None, Some(place)) => {
            if headers.iter().any(|(name, value)| !plain_header(name, value)) {
                return Err(invalid(
                    "its `headers` are `Metadata: true`, `Metadata-Flavor: Google` and `Accept`, and no others",
                ));
            }
            Place::Url(metadata_url(place).ok_or_else(|| invalid("its `url` is not one"))?, headers.clone())
        }
        _ => return Err(invalid("its `credential_source` must be either a `file` or a `url`")),
    };
    let field = match (format.kind.as_deref(), &format.subject_token_field_name) {
        (None | Some("text"), None) => None,
        (Some("json"), Some(field)) => Some(field.clone()),
        _ => return Err(invalid("its `format` is `text`, or `json` with a `subject_token_field_name`")),
    };
    Ok(Federated {
        audience: audience.clone(),
        kind: subject_token_type.clone(),
        token_url: url(token_url, Transport::Private, EXTERNAL)?,
        place,
        field,
    })
}

/// The provider of a pool, by its full name.
fn pool_provider(text: &str) -> Result<&str, Error> {
    let plain = |part: &str| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "locations", "global", "workloadIdentityPools", pool, "providers", provider]
            if project.bytes().all(|b| b.is_ascii_digit()) && [*project, *pool, *provider].into_iter().all(plain) =>
        {
            Ok(text)
        }
        _ => Err(Error::new(
            Kind::Invalid,
            "this is a provider's full name, with the project's number: \
             `projects/123456789012/locations/global/workloadIdentityPools/pool/providers/valetkey`",
        )
        .at("identity.provider")),
    }
}

/// Whether a header is one that a cloud's metadata address wants to see. SECURITY: any other could make something else of the request.
fn plain_header(name: &str, value: &str) -> bool {
    match name.to_ascii_lowercase().as_str() {
        "metadata" => value.eq_ignore_ascii_case("true"),
        "metadata-flavor" => value == "Google",
        "accept" => value.len() <= 100 && value.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
        _ => false,
    }
}

/// Another cloud's metadata address, which has a query and no TLS.
fn metadata_url(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

impl Federated {
    /// Exchanges the other issuer's token ("Method: token", Security Token Service API).
    async fn token(&self, web: &Web) -> Result<Bearer, Error> {
        let Self { audience, kind, token_url, place: _, field: _ } = self;
        let subject = self.subject(web).await?;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", audience),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", kind),
            ("subject_token", subject.reveal()),
        ];
        web.ask("Google's token service", web.post_form(token_url, &fields)).await?.success()?.bearer()
    }

    /// The other issuer's token. Read each time: whoever wrote it renews it.
    async fn subject(&self, web: &Web) -> Result<Secret<String>, Error> {
        let unproven = |note: String| {
            Error::new(Kind::Unavailable, "the server cannot authenticate to the storage's provider").note(note)
        };
        let text = match &self.place {
            Place::File(file) => tokio::fs::read_to_string(file).await.map(Secret::new).map_err(|error| {
                unproven(format!("the federated token's file {} cannot be read", file.display())).caused_by(error)
            })?,
            Place::Url(url, headers) => {
                let request = headers.iter().fold(web.get(url), |request, (name, value)| request.header(name, value));
                let answer = web.ask("the federated token's issuer", request).await?.success()?;
                let text = std::str::from_utf8(answer.body.reveal()).map_err(|_| answer.malformed("no text"))?;
                Secret::new(text.to_owned())
            }
            // What a provider takes that no audience is set of ("Prepare your external identity provider").
            Place::Own(own, signed) => return own.token(&format!("https:{}", self.audience), *signed, &[]).await,
        };
        let Some(field) = &self.field else { return Ok(Secret::new(text.reveal().trim().to_owned())) };
        let json: Option<serde_json::Value> = serde_json::from_str(text.reveal()).ok();
        let token = json.as_ref().and_then(|json| json.get(field)?.as_str());
        token
            .map(|token| Secret::new(token.to_owned()))
            .ok_or_else(|| unproven(format!("the federated token's source has no field `{field}`")))
    }
}

/// A token of a service account that we may stand in for ("Method: serviceAccounts.generateAccessToken").
async fn stand_in(web: &Web, url: &str, own: &Bearer, secs: u32) -> Result<Bearer, Error> {
    #[derive(Serialize)]
    struct Wanted {
        scope: [&'static str; 1],
        lifetime: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Given {
        access_token: String,
        expire_time: String,
    }
    let wanted = serde_json::to_string(&Wanted { scope: [SCOPE], lifetime: format!("{secs}s") })
        .map_err(|error| Error::internal(error.to_string()))?;
    let request = web.post(url, "application/json", wanted).bearer_auth(own.value.reveal());
    let answer = web.ask("Google's credentials service", request).await?.success()?;
    let given: Given = serde_json::from_slice(answer.body.reveal()).map_err(|_| answer.malformed("no access token"))?;
    let value = Secret::new(given.access_token);
    let value = Secret::new(value.reveal().trim().to_owned());
    let expires: Timestamp =
        given.expire_time.trim().parse().map_err(|_| answer.malformed("no time at which the token ends"))?;
    if value.reveal().is_empty() || expires <= answer.asked {
        return Err(answer.malformed("an access token that is over"));
    }
    Ok(Bearer { value, expires: whole(expires) })
}
