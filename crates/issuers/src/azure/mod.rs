//! Azure Blob Storage and Data Lake Storage: a shared access signature, made here, of a key that a user delegated.
//!
//! | | |
//! |---|---|
//! | whole bucket | the container (`sr=c`) |
//! | one object | the blob (`sr=b`) |
//! | one directory | the directory (`sr=d`, `sdd`), only in accounts with a hierarchical namespace |
//! | anything else | refused: a signature opens one resource |
//!
//! Letters: get-object `r`; put-object and multipart-upload together `acw`; delete-object `d`; list-bucket (beside
//! get-object) `l`. What comes with a letter on Azure's side: `l` also shows blobs whose blocks are not committed, `acw` also
//! takes leases and snapshots, `d` also breaks leases. The signature never reaches further than the rights of the identity.
//!
//! There is no `st` (a signature holds at once); a delegation key starts 15 minutes ago, so clocks may differ by that.
//! A signature cannot be ended alone: revoking the account's delegation keys ends every signature made of them within
//! minutes, and regenerating the account's key those made of it; without that they end when their time is over.

mod delegation;
mod revoke;
mod sas;
mod scope;
#[cfg(test)]
mod tests;
mod token;
mod urls;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use valetkey_core::credential::{AzureSas, Credential};
use valetkey_core::hosts::{Hosts, Platform, Proof};
use valetkey_core::nouns::provider::{Beyond, Documented, Extra, Facts, Hints, of_settings};
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Action, Rights};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::{Error, Kind, Secret};

use crate::kind::{UpstreamKind, opened};
use crate::own::Own;
use crate::upstream::{Fetched, Upstream, UrlWish, Wish, by_hand, by_lever};
use crate::web::{Transport, Web, origin_of, url};
use delegation::Delegation;
use revoke::Lever;
use sas::{Protocol, Signer};
use token::{STORAGE, Tokens, Who};
use urls::Of;

/// This kind of storage.
pub(crate) const KIND: UpstreamKind = UpstreamKind {
    kind: StorageKind::Azure,
    open: |given| {
        let bytes = given.secrets.map(|secrets| secrets.reveal().as_bytes());
        let mut secrets = bytes.map(Secrets::parse).transpose()?.unwrap_or_default();
        secrets.platform = Platform::of(&given.world.surroundings.environment);
        secrets.own = Some(given.own());
        let (clock, entropy) = (Arc::clone(&given.world.clock), Arc::clone(&given.world.entropy));
        opened(Azure::new(&given.settings()?, secrets, given.http, clock, entropy))
    },
    outdated: |given| {
        let settings: Settings = given.settings()?;
        if matches!(settings.identity, Identity::Valetkey { .. }) {
            given.own().check()?;
        }
        settings.check_http().map_err(of_settings)
    },
    hints: Hints {
        vend: Some("is the identity right, and may it make user delegation keys?"),
        rights: Some("does the identity hold `Storage Blob Data Contributor` on the container?"),
        beyond: &[
            (Extra::Snapshot, Documented::Open),
            (Extra::Earlier, Documented::Open),
            (Extra::Version, Documented::Open),
            (Extra::Lease, Documented::Open),
            (Extra::Metadata, Documented::Open),
            (Extra::Retag, Documented::Open),
            (Extra::Undelete, Documented::Open),
            (Extra::BreakLease, Documented::Open),
        ],
        also: BEYOND,
    },
};

/// What signatures allow beyond their actions.
const BEYOND: &[Beyond] = &[
    Beyond {
        with: Action::GetObject,
        when: "(`r`)",
        also: "reading earlier versions and snapshots",
        avoided: "an account that keeps none",
    },
    Beyond {
        with: Action::ListBucket,
        when: "(`l`)",
        also: "the names of earlier versions, of snapshots and of blobs that are not committed",
        avoided: "",
    },
    Beyond {
        with: Action::PutObject,
        when: "(`a`, `c`, `w`)",
        also: "leases that never expire, snapshots, tags and metadata, undelete",
        avoided: "",
    },
    Beyond { with: Action::DeleteObject, when: "(`d`)", also: "breaking leases", avoided: "" },
];

/// An account's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The storage account's name.
    pub account: String,
    /// Its endpoint, if it is not `https://<account>.blob.core.windows.net`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the endpoint may be `http` though it is another machine; only where the account's own key signs.
    #[serde(default)]
    pub allow_http: bool,
    /// Whether its names are a tree.
    #[serde(default)]
    pub namespace: Namespace,
    /// Whether its logs tell one signature's uses from another's.
    #[serde(default)]
    pub correlation: Correlation,
    /// Who this server is to it.
    pub identity: Identity,
    /// How signatures are ended before their time; if this is not there, they are not.
    #[serde(default)]
    pub revoke: Option<RevokeSettings>,
}

/// How signatures are ended: the account's user delegation keys are revoked, all of them. Where the account is in Azure's management.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeSettings {
    /// The id of its subscription.
    pub subscription: String,
    /// The name of its resource group.
    pub resource_group: String,
    /// Where Azure's management is asked, if not at `https://management.azure.com`.
    #[serde(default)]
    pub management_endpoint: Option<String>,
}

/// Whether a signature of a delegated key carries an id (`scid`) that the account writes into its logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    /// Each its own.
    #[default]
    Logged,
    /// None: emulators do not know it.
    None,
}

/// Whether an account's names are a tree of directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Names are just names.
    #[default]
    Flat,
    /// Directories exist (Data Lake Storage).
    Hierarchical,
}

/// Who this server is to an account.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Identity {
    /// An application with a secret.
    ClientSecret {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// Where Entra gives tokens, if not at `https://login.microsoftonline.com`.
        #[serde(default)]
        authority: Option<String>,
    },
    /// An application that a token of another issuer stands for, which somebody keeps fresh in a file.
    WorkloadIdentity {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// The file.
        token_file: PathBuf,
        /// Where Entra gives tokens, if not at `https://login.microsoftonline.com`.
        #[serde(default)]
        authority: Option<String>,
    },
    /// An application, or a managed identity, that takes tokens of this server itself for its own (a federated credential).
    Valetkey {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// Where Entra gives tokens, if not at `https://login.microsoftonline.com`.
        #[serde(default)]
        authority: Option<String>,
    },
    /// The identity of the machine this runs on.
    ManagedIdentity {
        /// Which, if it has several.
        #[serde(default)]
        client: Option<String>,
        /// Where it is asked for, if not at the machine's metadata address.
        #[serde(default)]
        endpoint: Option<String>,
    },
    /// The identity of the App Service, Container App or Function this runs in: where it is asked for and with what, the server's own
    /// environment says (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`).
    AppServiceIdentity {
        /// Which, if it has several.
        #[serde(default)]
        client: Option<String>,
    },
    /// Nobody: the account's own key signs. For accounts without Entra, and emulators.
    AccountKey {},
}

/// An account's secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Of the identity `client-secret`.
    pub client_secret: Option<Secret<String>>,
    /// Of the identity `account-key`, in base64.
    pub account_key: Option<Secret<String>>,
    /// Of the identity `app-service-identity`: not given, but of the server's own environment.
    pub platform: Option<Platform>,
    /// Of the identity `valetkey`: not given, but this server's own.
    pub own: Option<Own>,
}

impl Settings {
    /// Refuses an endpoint that what is handed out would be sent to in the clear. What was taken before goes on.
    ///
    /// # Errors
    /// `Invalid` with the field's name.
    pub fn check_http(&self) -> Result<(), Error> {
        let invalid = |said: &'static str, field: &'static str| Err(Error::new(Kind::Invalid, said).at(field));
        if self.allow_http && !matches!(self.identity, Identity::AccountKey {}) {
            return invalid("a token of Entra goes over `https` alone; this is for `account-key`", "allow_http");
        }
        let plain = self.endpoint.as_deref().and_then(|endpoint| reqwest::Url::parse(endpoint).ok());
        let Some(plain) = plain.filter(|url| url.scheme() == "http" && !self.allow_http) else { return Ok(()) };
        let host = plain.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let near = host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|ip| match ip {
                IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
                IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
            });
        if near {
            return Ok(());
        }
        invalid(
            "an endpoint with `http` needs `allow_http`, but for private addresses: signatures sent there can be read on the way",
            "endpoint",
        )
    }
}

impl Secrets {
    /// Reads them from JSON.
    ///
    /// # Errors
    /// `Invalid` when it is none or has other fields.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Read {
            client_secret: Option<String>,
            account_key: Option<String>,
        }
        // SECURITY: the parser's own words may repeat a secret.
        let read: Read = serde_json::from_slice(json).map_err(|_| {
            Error::new(
                Kind::Invalid,
                "the secrets of an Azure store are an object with `client_secret` or `account_key`",
            )
            .at("secrets")
        })?;
        let Read { client_secret, account_key } = read;
        let (client_secret, account_key) = (client_secret.map(Secret::new), account_key.map(Secret::new));
        Ok(Self { client_secret, account_key, platform: None, own: None })
    }
}

/// An account.
pub struct Azure {
    account: String,
    endpoint: String,
    namespace: Namespace,
    correlation: Correlation,
    protocol: Protocol,
    web: Web,
    entropy: Arc<dyn Entropy>,
    keys: Keys,
    lever: Option<Lever>,
}

/// Shorter ones would be over before anyone has used them; Azure itself sets no least.
const SHORTEST: Lifetime = Lifetime::secs(60);
/// How long a delegation key lives at most ("Get User Delegation Key": seven days).
const LONGEST: Lifetime = Lifetime::secs(604_800);

/// Whose key signs.
enum Keys {
    Delegated(Box<Delegation>),
    Account(Secret<Vec<u8>>),
}

impl Azure {
    /// Takes an account's settings.
    ///
    /// SECURITY: `http` must follow no redirects: what is posted holds secrets, and a redirect would post it elsewhere.
    ///
    /// # Errors
    /// `Invalid` with the field's name.
    pub fn new(
        settings: &Settings,
        secrets: Secrets,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let Settings { account, endpoint, allow_http: _, namespace, correlation, identity, revoke } = settings;
        let Secrets { client_secret, account_key, platform, own } = secrets;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(3..=24).contains(&account.len()) || !account.bytes().all(plain) {
            return Err(
                Error::new(Kind::Invalid, "an account's name has 3 to 24 characters of a-z and 0-9").at("account")
            );
        }
        let unused = match identity {
            Identity::ClientSecret { .. } => account_key.as_ref().map(|_| "account_key"),
            Identity::AccountKey {} => client_secret.as_ref().map(|_| "client_secret"),
            Identity::WorkloadIdentity { .. }
            | Identity::Valetkey { .. }
            | Identity::ManagedIdentity { .. }
            | Identity::AppServiceIdentity { .. } => {
                client_secret.as_ref().map(|_| "client_secret").or(account_key.as_ref().map(|_| "account_key"))
            }
        };
        if let Some(field) = unused {
            return Err(Error::new(Kind::Invalid, "this identity has no use for this secret").at(field));
        }
        // SECURITY: a token of Entra is sent to the endpoint, the account's key never is.
        let transport = if matches!(identity, Identity::AccountKey {}) { Transport::Any } else { Transport::Private };
        let endpoint = match endpoint {
            Some(endpoint) => url(endpoint, transport, "endpoint")?,
            None => format!("https://{account}.blob.core.windows.net"),
        };
        let protocol = if endpoint.starts_with("https://") { Protocol::HttpsOnly } else { Protocol::Any };
        let mut hosts = Hosts::new(match identity {
            Identity::ClientSecret { .. } | Identity::AccountKey {} => Proof::Kept,
            Identity::WorkloadIdentity { .. }
            | Identity::Valetkey { .. }
            | Identity::ManagedIdentity { .. }
            | Identity::AppServiceIdentity { .. } => Proof::MachineToken,
        })
        .sent("endpoint", origin_of(&endpoint)?);
        let who = Who { identity, secret: client_secret, platform: platform.as_ref(), own };
        let lever = revoke.as_ref().map(|revoke| Lever::new(revoke, account, who.clone(), &mut hosts)).transpose()?;
        let keys = match Tokens::new(who, STORAGE, &mut hosts)? {
            Some(tokens) => Keys::Delegated(Box::new(Delegation::new(&endpoint, tokens))),
            None => Keys::Account(account_bytes(account_key)?),
        };
        Ok(Self {
            account: account.clone(),
            endpoint,
            namespace: *namespace,
            correlation: *correlation,
            protocol,
            web: Web::new(http, clock, hosts),
            entropy,
            keys,
            lever,
        })
    }

    /// The same, less patient.
    #[cfg(test)]
    fn patient(mut self, patience: std::time::Duration) -> Self {
        self.web = self.web.patient(patience);
        self
    }

    /// An id by which a signature's uses are found in the account's logs (a random UUID, as the service wants it).
    fn correlation(&self) -> Option<String> {
        if self.correlation == Correlation::None {
            return None;
        }
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        let random = u128::from_be_bytes(bytes);
        let uuid = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{uuid:032x}");
        let part = |range| hex.get(range).unwrap_or_default();
        Some([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
    }
}

fn account_bytes(key: Option<Secret<String>>) -> Result<Secret<Vec<u8>>, Error> {
    let invalid = |said: &'static str| Error::new(Kind::Invalid, said).at("account_key");
    let key = key.ok_or_else(|| invalid("this identity needs the account's key"))?;
    let bytes = BASE64.decode(key.reveal().trim().as_bytes()).map_err(|_| invalid("an account's key is base64"))?;
    if bytes.len() < 16 {
        return Err(invalid("an account's key is longer"));
    }
    Ok(Secret::new(bytes))
}

#[async_trait]
impl Upstream for Azure {
    fn check(&self, rights: &Rights) -> Result<(), Error> {
        scope::compile(rights, self.namespace).map(|_| ())
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let Wish { rights, lifetime, session: _, now } = wish;
        let mut compiled = scope::compile(rights, self.namespace)?;
        compiled.narrowed.extend(Beyond::of(BEYOND, compiled.permissions.actions()));
        let wanted = lifetime.ends(*now);
        let (expiration, sas_token, id) = match &self.keys {
            Keys::Account(key) => {
                let query = sas::sign(&self.account, &compiled, self.protocol, wanted, &Signer::Account(key));
                (wanted, query, None)
            }
            Keys::Delegated(delegation) => {
                let life = SignedDuration::from_secs(i64::from(lifetime.as_secs()));
                let key = delegation.key(&self.web, life, *now).await?;
                // A signature ends with its key, whatever it says.
                let expiration = wanted.min(key.expires);
                let correlation = self.correlation();
                let signer = Signer::Delegated(&key, correlation.as_deref().unwrap_or_default());
                let query = sas::sign(&self.account, &compiled, self.protocol, expiration, &signer);
                (expiration, query, correlation)
            }
        };
        Ok(Fetched {
            credential: Credential::Azure(AzureSas { sas_token, expiration }),
            upstream_request_id: id,
            packed_policy_percent: None,
            narrowed: compiled.narrowed,
        })
    }

    fn check_urls(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn signs_urls(&self, wish: &UrlWish<'_>) -> Result<Box<dyn SignedUrls>, Error> {
        let UrlWish { endpoint, credential, rights, now, until } = *wish;
        let (key, until) = match &self.keys {
            Keys::Account(key) => (urls::Key::Account(key.clone()), until),
            Keys::Delegated(delegation) => {
                let key = delegation.key(&self.web, until.duration_since(now), now).await?;
                let until = until.min(key.expires);
                (urls::Key::Delegated(key), until)
            }
        };
        let of = Of { account: &self.account, namespace: self.namespace, protocol: self.protocol };
        Ok(Box::new(urls::Urls::new(of, (endpoint, rights), credential, key, until)))
    }

    fn facts(&self) -> Facts {
        Facts {
            endpoint: Some(self.endpoint.as_str().into()),
            internal_endpoint: None,
            region: "auto".into(),
            least: SHORTEST,
            most: LONGEST,
            revocation: by_lever(self.lever.is_some()),
        }
    }

    fn hosts(&self) -> &Hosts {
        self.web.hosts()
    }

    /// Revokes the account's delegation keys: whatever instant is named, all signatures made of them end.
    async fn end_credentials(&self, _before: Timestamp) -> Result<Ended, Error> {
        match (&self.lever, &self.keys) {
            (Some(lever), Keys::Delegated(delegation)) => {
                let ended = lever.revoke(&self.web).await?;
                delegation.forget();
                Ok(ended)
            }
            (_, Keys::Account(_)) => Err(by_hand("regenerate the account's key at Azure and set the new one here")),
            (None, Keys::Delegated(_)) => {
                let instead =
                    "revoke the account's user delegation keys at Azure, or set `revoke` of the store's settings";
                Err(by_hand(instead).at("settings.revoke"))
            }
        }
    }
}
