//! Google Cloud Storage: an access token of a service account, exchanged for one that a Credential Access Boundary bounds.
//!
//! A bounded token ends with the token it was made of, and that lives Google's usual hour: shorter ones exist only for a
//! service account that is stood in for (`impersonate`), and without it a lifetime of less than an hour is refused, because
//! what was handed out would live longer than it may. The token never reaches further than the service account's rights.
//!
//! Objects only: nothing of the bucket's own is opened, and a listing must name a prefix that the scope covers. A token cannot
//! be ended alone; taking the service account's rights away ends all of them within minutes.

mod boundary;
mod cel;
mod key;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod url_tests;
mod urls;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use valetkey_core::credential::{Credential, GoogleToken};
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::nouns::provider::{Beyond, Documented, Extra, Facts, Hints};
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Action, Rights};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::{Error, Kind, Secret};

use crate::kind::{UpstreamKind, opened};
use crate::own::{Own, Signed};
use crate::upstream::{Fetched, Upstream, UrlWish, Wish, by_hand, by_lever};
use crate::web::{Answer, Transport, Web, origin_of, url};
pub use source::ExternalAccount;
use source::{LONGEST_SECS, Source};

/// Shorter ones would be over before anyone has used them.
const SHORTEST: Lifetime = Lifetime::secs(60);
/// Where tokens are exchanged.
const TOKEN_SERVICE: &str = "https://sts.googleapis.com/v1/token";
/// By how much a token may end later than it should, for the time its making took.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

/// This kind of storage.
pub(crate) const KIND: UpstreamKind = UpstreamKind {
    kind: StorageKind::Gcs,
    open: |given| {
        let bytes = given.secrets.map(|secrets| secrets.reveal().as_bytes());
        let mut secrets = bytes.map(Secrets::parse).transpose()?.unwrap_or_default();
        secrets.own = Some(given.own());
        let clock = Arc::clone(&given.world.clock);
        opened(Gcs::new(&given.settings()?, &secrets, given.http, clock))
    },
    outdated: |given| match given.settings::<Settings>()?.identity {
        Identity::Valetkey { .. } => given.own().check(),
        Identity::ServiceAccountKey {} | Identity::WorkloadIdentity { .. } | Identity::Metadata { .. } => Ok(()),
    },
    hints: Hints {
        vend: Some("is the identity right, and may it make tokens of the account it stands in for?"),
        rights: Some("does the service account hold `Storage Object User` on the bucket?"),
        beyond: &[
            (Extra::List, Documented::Open),
            (Extra::Undelete, Documented::Open),
            (Extra::Retention, Documented::Open),
        ],
        also: BEYOND,
    },
};

/// What tokens allow beyond their actions, where they have that role.
const BEYOND: &[Beyond] = &[Beyond {
    with: Action::PutObject,
    when: "with Google's own roles (`legacyBucketWriter`)",
    also: "the other rights of that role: listing, restoring, retention",
    avoided: "custom roles in `roles.create`, `roles.delete`",
}];

/// A store's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who this server is to Google.
    pub identity: Identity,
    /// The service account whose tokens are bounded, if not the identity's own: its e-mail address. The identity needs
    /// `roles/iam.serviceAccountTokenCreator` on it (on itself, too).
    #[serde(default)]
    pub impersonate: Option<String>,
    /// Roles of one's own that hold less than Google's.
    #[serde(default)]
    pub roles: CustomRoles,
    /// Where tokens are exchanged, if not at `https://sts.googleapis.com/v1/token`.
    #[serde(default)]
    pub token_service: Option<String>,
    /// Where a service account is stood in for, if not at `https://iamcredentials.googleapis.com`.
    #[serde(default)]
    pub credentials_endpoint: Option<String>,
}

/// Who this server is to Google.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Identity {
    /// A service account with a key (in the secrets).
    ServiceAccountKey {},
    /// A federated identity.
    WorkloadIdentity {
        /// Its configuration, as Google's tools write it.
        external_account: Box<ExternalAccount>,
    },
    /// This server itself: a token that it signs, which a workload identity pool takes.
    Valetkey {
        /// The pool's provider: `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`.
        provider: String,
        /// How the token is signed.
        #[serde(default)]
        algorithm: Signed,
    },
    /// The service account of the machine this runs on.
    Metadata {
        /// The metadata server, if not `http://metadata.google.internal`.
        #[serde(default)]
        endpoint: Option<String>,
    },
}

/// Roles of one's own, by their full names (`projects/<project>/roles/<role>`). Each must hold what is said and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomRoles {
    /// `storage.objects.get`.
    #[serde(default)]
    pub read: Option<String>,
    /// `storage.objects.list`.
    #[serde(default)]
    pub list: Option<String>,
    /// `storage.objects.create`, `storage.multipartUploads.create`, `.abort` and `.listParts`.
    #[serde(default)]
    pub create: Option<String>,
    /// `storage.objects.delete`.
    #[serde(default)]
    pub delete: Option<String>,
}

impl CustomRoles {
    fn check(&self) -> Result<(), Error> {
        let Self { read, list, create, delete } = self;
        let fields = [(read, "roles.read"), (list, "roles.list"), (create, "roles.create"), (delete, "roles.delete")];
        for (role, field) in fields {
            let Some(role) = role else { continue };
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
            let parts: Vec<&str> = role.split('/').collect();
            let named = matches!(&parts[..], ["projects" | "organizations", of, "roles", id] if !of.is_empty() && !id.is_empty());
            if !named || !role.bytes().all(plain) {
                return Err(Error::new(
                    Kind::Invalid,
                    "a role of one's own is named `projects/<project>/roles/<role>` or `organizations/<id>/roles/<role>`",
                )
                .at(field));
            }
        }
        Ok(())
    }
}

/// A store's secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The key file of a service account, as Google gives it.
    pub service_account_key: Option<Secret<String>>,
    /// Of the identity `valetkey`: not given, but this server's own.
    pub own: Option<Own>,
}

impl Secrets {
    /// Reads them from JSON. The key file may stand there as an object or as text.
    ///
    /// # Errors
    /// `Invalid` when it is none or has other fields.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Read {
            service_account_key: Option<serde_json::Value>,
        }
        // SECURITY: the parser's own words may repeat a secret.
        let read: Read = serde_json::from_slice(json).map_err(|_| {
            Error::new(Kind::Invalid, "the secrets of a Google store are an object with `service_account_key`")
                .at("secrets")
        })?;
        let key = read.service_account_key.map(|key| match key {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        });
        Ok(Self { service_account_key: key.map(Secret::new), own: None })
    }
}

/// A project's buckets, as one service account reaches them.
pub struct Gcs {
    web: Web,
    source: Source,
    roles: CustomRoles,
    token_service: String,
}

impl Gcs {
    /// Takes a store's settings.
    ///
    /// SECURITY: `http` must follow no redirects: what is posted holds secrets, and a redirect would post it elsewhere.
    ///
    /// # Errors
    /// `Invalid` with the field's name.
    pub fn new(
        settings: &Settings,
        secrets: &Secrets,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let Settings { identity, impersonate, roles, token_service, credentials_endpoint } = settings;
        let key = secrets.service_account_key.as_ref();
        if key.is_some() && !matches!(identity, Identity::ServiceAccountKey {}) {
            return Err(Error::new(Kind::Invalid, "this identity has no use for this secret").at("service_account_key"));
        }
        roles.check()?;
        let token_service = token_service.as_deref().unwrap_or(TOKEN_SERVICE);
        let token_service = url(token_service, Transport::Private, "token_service")?;
        let mut hosts = Hosts::new(match identity {
            Identity::ServiceAccountKey {} => Proof::Kept,
            Identity::WorkloadIdentity { .. } | Identity::Valetkey { .. } | Identity::Metadata { .. } => {
                Proof::MachineToken
            }
        })
        .sent("token_service", origin_of(&token_service)?);
        let stands_in = (impersonate.as_deref(), credentials_endpoint.as_deref());
        let source = Source::new(identity, stands_in, (secrets, &token_service), &mut hosts)?;
        Ok(Self { web: Web::new(http, clock, hosts), source, roles: roles.clone(), token_service })
    }

    /// The same, less patient.
    #[cfg(test)]
    fn patient(mut self, patience: std::time::Duration) -> Self {
        self.web = self.web.patient(patience);
        self
    }

    /// Exchanges a token for one that the boundary bounds ("Method: token", Security Token Service API).
    async fn exchange(&self, token: &Secret<String>, options: &str) -> Result<Answer, Error> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", token.reveal()),
            ("options", options),
        ];
        let answer = self.web.ask("Google's token service", self.web.post_form(&self.token_service, &fields)).await?;
        if matches!(answer.status.as_u16(), 400 | 401 | 403) {
            self.source.forget();
        }
        let asked_badly = answer.status.as_u16() == 400;
        answer.success().map_err(|error| {
            if !asked_badly {
                return error;
            }
            // Google says no more than `invalid_request` when the bounded token would be too long.
            let note = format!("{}; the boundary has {} bytes", error.detail().unwrap_or_default(), options.len());
            error.note(note)
        })
    }
}

#[async_trait]
impl Upstream for Gcs {
    fn check(&self, rights: &Rights) -> Result<(), Error> {
        boundary::compile(rights, &self.roles).map(|_| ())
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let Wish { rights, lifetime, session: _, now } = wish;
        let mut compiled = boundary::compile(rights, &self.roles)?;
        if compiled.options.has_role(boundary::BUCKET_WRITER) {
            compiled.narrowed.extend(BEYOND.iter().map(Beyond::said));
        }
        let options = compiled.options.json()?;
        if lifetime.as_secs() < LONGEST_SECS && !self.source.is_free_in_length() {
            return Err(Error::new(
                Kind::Invalid,
                format!("a token of this store lives {LONGEST_SECS} s, and {lifetime} are allowed at most"),
            )
            .note("shorter tokens need `impersonate` in the store's settings"));
        }
        let source = self.source.get(&self.web, lifetime.as_secs()).await?;
        let answer = self.exchange(&source.value, &options).await?;
        let bounded = bounded(&answer, source.expires)?;
        let allowed = lifetime.ends(*now);
        // SECURITY: what is said of its end changes nothing about it: one that lives too long is not handed out.
        if bounded.expiration > allowed.checked_add(SLACK).unwrap_or(allowed) {
            return Err(answer.malformed("a token that lives longer than it may"));
        }
        let expiration = bounded.expiration.min(allowed);
        Ok(Fetched {
            credential: Credential::Google(GoogleToken { expiration, ..bounded }),
            upstream_request_id: answer.header("x-request-id").map(str::to_owned),
            packed_policy_percent: None,
            narrowed: compiled.narrowed,
        })
    }

    fn check_urls(&self) -> Result<(), Error> {
        self.source.signs_urls().map(|_| ())
    }

    async fn signs_urls(&self, wish: &UrlWish<'_>) -> Result<Box<dyn SignedUrls>, Error> {
        Ok(Box::new(urls::Urls::new(self.source.signs_urls()?, wish)?))
    }

    fn facts(&self) -> Facts {
        let least = if self.source.is_free_in_length() { SHORTEST } else { Lifetime::secs(LONGEST_SECS) };
        Facts {
            endpoint: Some("https://storage.googleapis.com".into()),
            internal_endpoint: None,
            region: "auto".into(),
            least,
            most: Lifetime::secs(LONGEST_SECS),
            revocation: by_lever(false),
        }
    }

    fn hosts(&self) -> &Hosts {
        self.web.hosts()
    }

    async fn end_credentials(&self, _before: Timestamp) -> Result<Ended, Error> {
        Err(by_hand(
            "take its roles from the service account at Google, or disable the account, until the last token is over",
        ))
    }
}

/// The bounded token. It ends with the token it was made of, or sooner if the exchange says so.
fn bounded(answer: &Answer, source: Timestamp) -> Result<GoogleToken, Error> {
    #[derive(Deserialize)]
    struct Issued {
        issued_token_type: String,
    }
    let issued: Issued =
        serde_json::from_slice(answer.body.reveal()).map_err(|_| answer.malformed("no bounded token"))?;
    if issued.issued_token_type != "urn:ietf:params:oauth:token-type:access_token" {
        return Err(answer.malformed("a token of another type"));
    }
    let (access_token, expires) = answer.granted()?;
    let expiration = expires.map_or(source, |expires| expires.min(source));
    if expiration <= answer.asked {
        return Err(answer.malformed("a token that is over"));
    }
    Ok(GoogleToken { access_token, expiration })
}
