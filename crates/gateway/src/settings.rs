//! What is configured of a store behind the endpoint, and the credentials it is used with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, RetryConfig};
use serde::Deserialize;
use valetkey_core::hosts::{Hosts, Origin, Platform, Proof};
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::{Error, Kind as ErrorKind, Secret};
use valetkey_s3::Backend;

use crate::Terms;
use crate::cloud::{Cloud, Kind, Store};
use crate::failure::text;
use crate::forward::{Parts, Place, Speaker};
use crate::hosts::{Shown, Within, origin};
use crate::http::{self, Straight};
use crate::lasting::Lasting;
use crate::local::Disk;
use crate::machine::machine_keys;

/// A name that every store takes, to see whether a bucket could be opened.
const SOME_BUCKET: &str = "valetkey";
/// The region of a store that none is said of.
const REGION: &str = "us-east-1";

/// What is configured of a store; nothing of it is secret.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "backend", rename_all = "lowercase", deny_unknown_fields)]
pub enum Settings {
    /// Another store that speaks S3.
    S3 {
        /// Its URL; AWS itself, if there is none.
        endpoint: Option<String>,
        /// The region to name in signatures.
        region: Option<String>,
        /// Whether a bucket's name stands in the path (the default) or in front of the host.
        path_style: Option<bool>,
        /// Whether its URL may be `http`.
        #[serde(default)]
        allow_http: bool,
        /// Whether it takes a body's checksum behind the body; if this does not say, only AWS does.
        trailing_checksums: Option<bool>,
        /// Whether it takes each key as it is, also one with `..` between slashes; if this does not say, only AWS does.
        exact_keys: Option<bool>,
        /// Buckets that have another name there.
        #[serde(default)]
        buckets: BTreeMap<String, String>,
    },
    /// Azure Blob Storage; a bucket is a container.
    Azure {
        /// The account's name.
        account: String,
        /// Its URL, if it is not Azure's own.
        endpoint: Option<String>,
        /// Whether its URL may be `http`.
        #[serde(default)]
        allow_http: bool,
        /// The tenant of the application that `client_secret` is of.
        tenant_id: Option<String>,
        /// The application that `client_secret` is of, or the identity.
        client_id: Option<String>,
        /// Where the machine's own identity comes from, if it is that; the machine's metadata address, if this does not say.
        identity: Option<Identity>,
        /// Buckets that have another name there.
        #[serde(default)]
        buckets: BTreeMap<String, String>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Its URL, if it is not Google's own.
        endpoint: Option<String>,
        /// Whether its URL may be `http`.
        #[serde(default)]
        allow_http: bool,
        /// Buckets that have another name there.
        #[serde(default)]
        buckets: BTreeMap<String, String>,
    },
    /// A plain disk; a bucket is a directory below the root.
    Local {
        /// The directory of the buckets.
        root: PathBuf,
        /// Buckets that have another name there.
        #[serde(default)]
        buckets: BTreeMap<String, String>,
    },
}

/// Where the machine's own identity comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The machine's metadata address.
    ManagedIdentity,
    /// The platform that the server runs on, as its environment says.
    AppServiceIdentity,
}

/// The credentials of a store. They never leave this crate but to the store itself.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    account_key: Option<String>,
    sas_token: Option<String>,
    client_secret: Option<String>,
    service_account_key: Option<serde_json::Value>,
}

/// The credentials of a store, by whose they are.
#[derive(Clone, Debug)]
enum Secrets {
    /// None: the machine has its own.
    Machine,
    Keys {
        id: String,
        secret: Secret<String>,
        token: Option<Secret<String>>,
    },
    AccountKey(Secret<String>),
    SasToken(Secret<String>),
    ClientSecret(Secret<String>),
    ServiceAccount(Secret<String>),
}

fn bad(field: &'static str, words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, words.into()).at(field)
}

impl Secrets {
    fn parse(json: &[u8], backend: &'static str) -> Result<Self, Error> {
        let words = match backend {
            "s3" => "the secrets are a JSON object with `access_key_id`, `secret_access_key` and maybe `session_token`",
            "azure" => "the secrets are a JSON object with one of `account_key`, `sas_token`, `client_secret`",
            "gcs" => "the secrets are a JSON object with `service_account_key`",
            _ => "a plain disk has no secrets",
        };
        if json.trim_ascii().is_empty() {
            return Ok(Self::Machine);
        }
        // SECURITY: the parser's own words may repeat a secret.
        let written: Written = serde_json::from_slice(json).map_err(|_| bad("secrets", words))?;
        let Written {
            access_key_id,
            secret_access_key,
            session_token,
            account_key,
            sas_token,
            client_secret,
            service_account_key,
        } = written;
        let key = service_account_key.map(|key| match key {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        });
        let token = session_token.map(Secret::new);
        let all = (access_key_id, secret_access_key, account_key, sas_token, client_secret, key);
        let secrets = match all {
            (None, None, None, None, None, None) if token.is_none() => Some(Self::Machine),
            (Some(id), Some(secret), None, None, None, None) if backend == "s3" => {
                return Ok(Self::Keys { id, secret: Secret::new(secret), token });
            }
            (None, None, Some(key), None, None, None) if backend == "azure" => Some(Self::AccountKey(Secret::new(key))),
            (None, None, None, Some(sas), None, None) if backend == "azure" => Some(Self::SasToken(Secret::new(sas))),
            (None, None, None, None, Some(secret), None) if backend == "azure" => {
                Some(Self::ClientSecret(Secret::new(secret)))
            }
            (None, None, None, None, None, Some(key)) if backend == "gcs" => {
                Some(Self::ServiceAccount(Secret::new(key)))
            }
            _ => None,
        };
        secrets.filter(|_| token.is_none()).ok_or_else(|| bad("secrets", words))
    }
}

fn url(endpoint: Option<&str>, allow_http: bool) -> Result<(), Error> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let plain = endpoint.starts_with("http://");
    if plain && !allow_http {
        return Err(bad(
            "endpoint",
            "an endpoint with `http` needs `allow_http`: what goes there can be read on the way",
        ));
    }
    let rest = endpoint.strip_prefix("https://").or(endpoint.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    // SECURITY: a secret in a URL ends up in logs, and so this is not repeated.
    if host.is_empty() || rest.contains(['?', '#', '@']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad(
            "endpoint",
            "the endpoint is the URL of a storage: `https`, a host, maybe a path, and nothing else",
        ));
    }
    Ok(())
}

/// A part of a host's name or a path: an id or a domain. SECURITY: it becomes part of an address.
fn plain(text: &str, field: &'static str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(fits) || text.contains("..") || text.starts_with('.') {
        return Err(bad(field, "this is an id or a domain: letters, digits, `-` and `.`"));
    }
    Ok(())
}

/// A region, as credentials' issuers take it. SECURITY: it becomes part of an address.
fn checked_region(text: &str) -> Result<(), Error> {
    if !(1..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(bad("region", format!("`{}` is not a region: 1 to 64 letters, digits and `-`", shortened(text))));
    }
    Ok(())
}

/// An account of Azure's. SECURITY: it becomes part of an address.
fn checked_account(text: &str) -> Result<(), Error> {
    if !(3..=24).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err(bad("account", "an account's name has 3 to 24 characters of a-z and 0-9"));
    }
    Ok(())
}

/// The names that buckets have there.
fn names(buckets: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    for (here, there) in buckets {
        BucketName::parse(here).map_err(|error| error.at("buckets"))?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$');
        if !(1..=222).contains(&there.len()) || there.starts_with('.') || !there.bytes().all(fits) {
            return Err(bad("buckets", format!("`{}` is not a bucket's name", shortened(there))));
        }
    }
    Ok(buckets.clone())
}

/// A client waits in front of us: rather a clear refusal soon than an answer late.
fn retry(wait: Duration) -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 3, retry_timeout: wait }
}

/// Opens one bucket to see whether any could be: what is wrong is told now, not with the first request.
fn tried(cloud: Cloud, open: impl FnOnce() -> Result<Store, object_store::Error>) -> Result<Arc<dyn Backend>, Error> {
    open().map(drop).map_err(|error| unopened(&error))?;
    Ok(Arc::new(cloud))
}

fn unopened(error: &object_store::Error) -> Error {
    bad("secrets", "the storage cannot be opened with these settings and secrets").note(text(error))
}

/// A client of S3's with these credentials, or with those that the machine has.
fn amazon(secrets: Secrets) -> AmazonS3Builder {
    let Secrets::Keys { id, secret, token } = secrets else { return machine_keys() };
    let builder = AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.reveal().clone());
    match token {
        Some(token) => builder.with_token(token.reveal().clone()),
        None => builder,
    }
}

fn both<S>(store: S) -> Store
where
    S: object_store::ObjectStore + object_store::list::PaginatedListStore,
{
    let store = Arc::new(store);
    Store { objects: Arc::clone(&store) as Arc<_>, lists: store }
}

impl Settings {
    /// Reads settings from JSON.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn parse(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(|error| {
            let said = error.to_string();
            // Where in the text is of no use: it is not the one that was written.
            let said = said.split(" at line ").next().unwrap_or_default();
            // SECURITY: the parser repeats a value of another kind, and a URL may hold a password.
            let said = if said.contains('@') { "a value is of another kind" } else { said };
            bad("settings", format!("these are not settings of a gateway: {said}"))
        })
    }

    /// Where its requests go, with these secrets: what the settings make part of an address is checked here.
    ///
    /// # Errors
    /// `Invalid`, with the field that is wrong.
    pub fn hosts(&self, secrets: &[u8]) -> Result<Hosts, Error> {
        let mut hosts = Hosts::new(Proof::Kept);
        match self {
            Self::S3 { endpoint, region, path_style, allow_http, trailing_checksums: _, exact_keys: _, buckets: _ } => {
                url(endpoint.as_deref(), *allow_http)?;
                let region = region.as_deref().unwrap_or(REGION);
                checked_region(region)?;
                if matches!(Secrets::parse(secrets, "s3")?, Secrets::Machine) {
                    hosts = Hosts::new(Proof::MachineSignature);
                }
                let usual = if path_style.unwrap_or(true) {
                    Origin::new("https", &format!("s3.{region}.amazonaws.com"), None)
                } else {
                    Origin::new("https", &format!("*.s3.{region}.amazonaws.com"), None)
                };
                hosts.send("endpoint", endpoint.as_deref().map_or(Ok(usual), |url| origin(url, "endpoint"))?);
            }
            Self::Azure { account, endpoint, allow_http, tenant_id, client_id, identity, buckets: _ } => {
                url(endpoint.as_deref(), *allow_http)?;
                checked_account(account)?;
                for (text, field) in [(tenant_id, "tenant_id"), (client_id, "client_id")] {
                    text.as_deref().map_or(Ok(()), |text| plain(text, field))?;
                }
                let secrets = Secrets::parse(secrets, "azure")?;
                if identity.is_some() && !matches!(secrets, Secrets::Machine) {
                    return Err(bad("identity", "this is of the machine's own identity, and there are secrets"));
                }
                match secrets {
                    Secrets::ClientSecret(_) => {
                        hosts.send("tenant_id", Origin::new("https", "login.microsoftonline.com", None));
                    }
                    Secrets::Machine => hosts = Hosts::new(Proof::MachineToken),
                    Secrets::Keys { .. }
                    | Secrets::AccountKey(_)
                    | Secrets::SasToken(_)
                    | Secrets::ServiceAccount(_) => {}
                }
                let usual = Origin::new("https", &format!("{account}.blob.core.windows.net"), None);
                hosts.send("endpoint", endpoint.as_deref().map_or(Ok(usual), |url| origin(url, "endpoint"))?);
            }
            Self::Gcs { endpoint, allow_http, buckets: _ } => {
                url(endpoint.as_deref(), *allow_http)?;
                let mut usual = Origin::new("https", "storage.googleapis.com", None);
                match Secrets::parse(secrets, "gcs")? {
                    Secrets::ServiceAccount(key) => {
                        // A key file may say where its store is.
                        #[derive(Deserialize)]
                        struct Said {
                            gcs_base_url: Option<String>,
                        }
                        let said = serde_json::from_str::<Said>(key.reveal()).ok().and_then(|said| said.gcs_base_url);
                        if let Some(said) = said {
                            usual = origin(&said, "secrets")?;
                        }
                    }
                    Secrets::Machine => hosts = Hosts::new(Proof::MachineToken),
                    Secrets::Keys { .. } | Secrets::AccountKey(_) | Secrets::SasToken(_) | Secrets::ClientSecret(_) => {
                    }
                }
                hosts.send("endpoint", endpoint.as_deref().map_or(Ok(usual), |url| origin(url, "endpoint"))?);
            }
            Self::Local { .. } => {
                Secrets::parse(secrets, "local")?;
            }
        }
        Ok(hosts)
    }

    /// The platform that is asked for the server's identity, if one is.
    fn platform<'a>(&self, terms: &'a Terms) -> Result<Option<&'a Platform>, Error> {
        match self {
            Self::Azure { identity: Some(Identity::AppServiceIdentity), .. } => {
                Platform::needed(terms.platform.as_ref(), "identity").map(Some)
            }
            Self::Azure { .. } | Self::S3 { .. } | Self::Gcs { .. } | Self::Local { .. } => Ok(None),
        }
    }

    /// Opens the way to the store.
    ///
    /// # Errors
    /// `Invalid`, with the field that is wrong.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of storage")]
    pub fn open(&self, secrets: &[u8], terms: &Terms) -> Result<Arc<dyn Backend>, Error> {
        let mut hosts = self.hosts(secrets)?;
        let platform = self.platform(terms)?;
        let shown = platform.map(|platform| Shown::to(platform, &mut hosts)).transpose()?;
        let hosts = Arc::new(hosts);
        let within =
            || Within { hosts: Arc::clone(&hosts), straight: Straight { wait: terms.wait }, shown: shown.clone() };
        let cloud = |kind, names, open| Cloud::new(kind, names, open).waiting(terms.wait);
        match self {
            Self::S3 { endpoint, region, path_style, allow_http, trailing_checksums, exact_keys, buckets } => {
                let mut builder = amazon(Secrets::parse(secrets, "s3")?)
                    .with_region(region.as_deref().unwrap_or(REGION))
                    .with_virtual_hosted_style_request(!path_style.unwrap_or(true))
                    .with_client_options(http::options(*allow_http))
                    .with_http_connector(within())
                    .with_retry(retry(terms.wait))
                    // One by one: not every store has the other.
                    .with_disable_bulk_delete(true);
                let url = endpoint.iter().map(|url| url.trim_end_matches('/'));
                builder = url.fold(builder, AmazonS3Builder::with_endpoint);
                let some = builder.clone().with_bucket_name(SOME_BUCKET).build().map_err(|error| unopened(&error))?;
                let credentials: AwsCredentialProvider = Arc::new(Lasting::new(Arc::clone(some.credentials())));
                builder = builder.with_credentials(Arc::clone(&credentials));
                let speaker = Speaker::open(Parts {
                    place: Place::of(
                        endpoint.as_deref(),
                        region.as_deref().unwrap_or(REGION),
                        path_style.unwrap_or(true),
                    ),
                    names: names(buckets)?,
                    region: region.clone().unwrap_or_else(|| REGION.to_owned()),
                    credentials,
                    hosts: Arc::clone(&hosts),
                    wait: terms.wait,
                    trailers: *trailing_checksums,
                    exact: *exact_keys,
                })?;
                let open = move |bucket: &str| builder.clone().with_bucket_name(bucket).build().map(both);
                Ok(Arc::new(cloud(Kind::S3, names(buckets)?, Box::new(open)).speaking(Arc::new(speaker))))
            }
            Self::Azure { account, endpoint, allow_http, tenant_id, client_id, identity: _, buckets } => {
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_account(account)
                    .with_client_options(http::options(*allow_http))
                    .with_http_connector(within())
                    .with_allow_http(*allow_http)
                    .with_retry(retry(terms.wait));
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
                }
                builder = match Secrets::parse(secrets, "azure")? {
                    Secrets::AccountKey(key) => builder.with_access_key(key.reveal()),
                    Secrets::SasToken(sas) => {
                        builder.with_config(AzureConfigKey::SasKey, sas.reveal().trim_start_matches('?'))
                    }
                    Secrets::ClientSecret(secret) => {
                        let missing = |field| {
                            bad(
                                field,
                                "a `client_secret` is of an application: its `tenant_id` and `client_id` are missing",
                            )
                        };
                        let tenant = tenant_id.as_ref().ok_or_else(|| missing("tenant_id"))?;
                        let client = client_id.as_ref().ok_or_else(|| missing("client_id"))?;
                        builder.with_client_secret_authorization(client, secret.reveal(), tenant)
                    }
                    _ => match client_id {
                        Some(client) => builder.with_client_id(client),
                        None => builder,
                    },
                };
                let metadata = platform.map(|platform| &platform.endpoint);
                builder = metadata.into_iter().fold(builder, MicrosoftAzureBuilder::with_msi_endpoint);
                let some =
                    builder.clone().with_container_name(SOME_BUCKET).build().map_err(|error| unopened(&error))?;
                builder = builder.with_credentials(Arc::new(Lasting::new(Arc::clone(some.credentials()))));
                let open = move |bucket: &str| builder.clone().with_container_name(bucket).build().map(both);
                let own = open.clone();
                tried(cloud(Kind::Azure, names(buckets)?, Box::new(open)), || own(SOME_BUCKET))
            }
            Self::Gcs { endpoint, allow_http, buckets } => {
                let mut builder = GoogleCloudStorageBuilder::new()
                    .with_client_options(http::options(*allow_http))
                    .with_http_connector(within())
                    .with_retry(retry(terms.wait));
                if let Some(endpoint) = endpoint {
                    builder = builder.with_base_url(endpoint.trim_end_matches('/'));
                }
                if let Secrets::ServiceAccount(key) = Secrets::parse(secrets, "gcs")? {
                    builder = builder.with_service_account_key(key.reveal());
                }
                let some = builder.clone().with_bucket_name(SOME_BUCKET).build().map_err(|error| unopened(&error))?;
                builder = builder.with_credentials(Arc::new(Lasting::new(Arc::clone(some.credentials()))));
                let open = move |bucket: &str| builder.clone().with_bucket_name(bucket).build().map(both);
                let own = open.clone();
                tried(cloud(Kind::Gcs, names(buckets)?, Box::new(open)), || own(SOME_BUCKET))
            }
            Self::Local { root, buckets } => {
                if !root.is_absolute() {
                    return Err(bad("root", "the root of a plain disk is an absolute path"));
                }
                let disk = Disk::open(root, names(buckets)?, terms.min_free);
                let disk =
                    disk.map_err(|error| bad("root", "the root is not a directory that can be opened").note(error))?;
                Ok(Arc::new(disk))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[u8] = br#"{"access_key_id":"AKIA","secret_access_key":"s3cret/value"}"#;

    fn open(settings: &str, secrets: &[u8]) -> Result<Arc<dyn Backend>, Error> {
        Settings::parse(settings)?.open(secrets, &Terms::default())
    }

    #[tokio::test]
    async fn every_kind_opens() {
        let dir = tempfile::TempDir::new().unwrap();
        let local = format!(r#"{{"backend":"local","root":"{}"}}"#, dir.path().display());
        let google = br#"{"service_account_key":{"private_key":"x","private_key_id":"x","client_email":"a@b","disable_oauth":true}}"#;
        for (settings, secrets) in [
            (r#"{"backend":"s3"}"#, KEYS),
            (r#"{"backend":"s3"}"#, &b""[..]),
            (r#"{"backend":"s3","endpoint":"https://s3.example/","region":"eu-1","path_style":false}"#, KEYS),
            (r#"{"backend":"s3","endpoint":"http://127.0.0.1:9","allow_http":true,"buckets":{"here":"there"}}"#, KEYS),
            (r#"{"backend":"azure","account":"name"}"#, br#"{"account_key":"c2VjcmV0"}"#),
            (r#"{"backend":"azure","account":"name"}"#, br#"{"sas_token":"?sv=1&sig=x"}"#),
            (r#"{"backend":"azure","account":"name","tenant_id":"t","client_id":"c"}"#, br#"{"client_secret":"x"}"#),
            (r#"{"backend":"azure","account":"name"}"#, b"{}"),
            (r#"{"backend":"azure","account":"name","identity":"managed-identity"}"#, b""),
            (r#"{"backend":"gcs"}"#, &google[..]),
            (local.as_str(), b""),
        ] {
            assert_eq!(open(settings, secrets).err().map(|error| format!("{error:?}")), None, "{settings}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_repeated() {
        for (settings, secrets, field) in [
            ("", &b""[..], "settings"),
            ("{}", b"", "settings"),
            (r#"{"backend":"ftp"}"#, b"", "settings"),
            (r#"{"backend":"s3","bucket":"x"}"#, KEYS, "settings"),
            (r#"{"backend":"s3","endpoint":"http://s3.example"}"#, KEYS, "endpoint"),
            (r#"{"backend":"s3","endpoint":"ftp://s3.example"}"#, KEYS, "endpoint"),
            (r#"{"backend":"s3","endpoint":"https://user:s3cret@s3.example"}"#, KEYS, "endpoint"),
            (r#"{"backend":"s3","endpoint":"http://user:s3cret@s3.example"}"#, KEYS, "endpoint"),
            (r#"{"backend":"s3","endpoint":"user:s3cret@s3.example"}"#, KEYS, "endpoint"),
            (r#"{"backend":"azure","account":"acct","endpoint":"https://user:s3cret@blob.example"}"#, b"", "endpoint"),
            (r#"{"backend":"s3","allow_http":"https://user:s3cret@s3.example"}"#, KEYS, "settings"),
            (r#"{"backend":"s3","endpoint":"https://s3.example/?sig=s3cret"}"#, KEYS, "endpoint"),
            (r#"{"backend":"s3","region":"evil.example/x"}"#, KEYS, "region"),
            (r#"{"backend":"s3","region":"x.evil.example:1#"}"#, KEYS, "region"),
            (r#"{"backend":"s3","region":"","endpoint":"https://s3.example"}"#, KEYS, "region"),
            (r#"{"backend":"azure","account":"localhost:18444/x"}"#, br#"{"sas_token":"sig=s3cret"}"#, "account"),
            (r#"{"backend":"azure","account":"evil.example?"}"#, br#"{"sas_token":"sig=s3cret"}"#, "account"),
            (r#"{"backend":"azure","account":"Name"}"#, b"", "account"),
            (
                r#"{"backend":"azure","account":"name","tenant_id":"../t","client_id":"c"}"#,
                br#"{"client_secret":"s3cret"}"#,
                "tenant_id",
            ),
            (
                r#"{"backend":"azure","account":"name","tenant_id":"t","client_id":"c/d"}"#,
                br#"{"client_secret":"s3cret"}"#,
                "client_id",
            ),
            (r#"{"backend":"azure","account":"name","identity":"app-service-identity"}"#, b"", "identity"),
            (r#"{"backend":"azure","account":"name","identity":"account-key"}"#, b"", "settings"),
            (
                r#"{"backend":"azure","account":"name","identity":"managed-identity"}"#,
                br#"{"sas_token":"sig=s3cret"}"#,
                "identity",
            ),
            (r#"{"backend":"s3","buckets":{"here":"../there"}}"#, KEYS, "buckets"),
            (r#"{"backend":"s3","buckets":{"here":".hidden"}}"#, KEYS, "buckets"),
            (r#"{"backend":"s3","buckets":{"Not a name":"there"}}"#, KEYS, "buckets"),
            (r#"{"backend":"s3"}"#, br#"{"access_key_id":"s3cret"}"#, "secrets"),
            (r#"{"backend":"s3"}"#, br#"{"session_token":"s3cret"}"#, "secrets"),
            (r#"{"backend":"s3"}"#, br#"{"s3cret":"s3cret"}"#, "secrets"),
            (r#"{"backend":"s3"}"#, br#"{"account_key":"s3cret"}"#, "secrets"),
            (r#"{"backend":"s3"}"#, br#"["s3cret""#, "secrets"),
            (r#"{"backend":"azure","account":"name"}"#, KEYS, "secrets"),
            (r#"{"backend":"azure","account":"name"}"#, br#"{"account_key":"s3cret not base64"}"#, "secrets"),
            (r#"{"backend":"azure","account":"name"}"#, br#"{"client_secret":"s3cret"}"#, "tenant_id"),
            (r#"{"backend":"gcs"}"#, br#"{"service_account_key":"s3cret"}"#, "secrets"),
            (r#"{"backend":"local","root":"relative"}"#, b"", "root"),
            (r#"{"backend":"local","root":"/no/such/place"}"#, b"", "root"),
            (r#"{"backend":"local","root":"/"}"#, KEYS, "secrets"),
        ] {
            let Err(error) = open(settings, secrets) else { panic!("{settings}") };
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some(field)), "{settings}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
