//! The storages that are asked for credentials: their kinds, and what asks each of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use valetkey_core::hosts::Hosts;
use valetkey_core::id::StorageId;
use valetkey_core::name::Name;
use valetkey_core::nouns::provider::{Facts, Hints, Provider, of_settings};
use valetkey_core::storage::{ExternalConfig, Storage, StorageKind};
use valetkey_core::{Error, Secret};

use crate::cache::{Budget, Fetcher};
use crate::kind::{Environment, Given, UpstreamKind, invalid};
use crate::upstream::Upstream;
use crate::{azure, gcs, r2, sts};

/// The kinds there are.
const KINDS: [&UpstreamKind; 4] = [&sts::KIND, &r2::KIND, &azure::KIND, &gcs::KIND];

/// The storages that are asked for credentials, each made when it is first needed.
pub struct Fetchers {
    world: Environment,
    http: OnceLock<reqwest::Client>,
    known: RwLock<HashMap<StorageId, (u64, Arc<Fetcher>)>>,
}

/// A kind of storage that is asked for credentials, as an operator configures it.
struct External {
    fetchers: Arc<Fetchers>,
    kind: &'static UpstreamKind,
}

impl Provider for External {
    fn kind(&self) -> StorageKind {
        self.kind.kind
    }

    fn facts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Facts, Error> {
        self.fetchers.upstream(self.kind.kind, settings, secrets).map(|upstream| upstream.facts())
    }

    fn hosts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Hosts, Error> {
        self.fetchers.hosts(self.kind.kind, settings, secrets)
    }

    fn hints(&self) -> Hints {
        self.kind.hints
    }
}

/// A client that asks somebody else. SECURITY: it follows no redirects: what is sent holds secrets.
///
/// # Errors
/// `Internal` when TLS cannot be set up.
pub(crate) fn client() -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::internal("the client for storages cannot be made").caused_by(error))
}

impl Fetchers {
    /// None yet.
    pub fn new(world: Environment) -> Self {
        Self { world, http: OnceLock::new(), known: RwLock::default() }
    }

    /// The client that asks.
    fn http(&self) -> Result<reqwest::Client, Error> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let http = client()?;
        Ok(self.http.get_or_init(|| http).clone())
    }

    /// The kinds of storage that are asked for credentials.
    pub fn providers(self: &Arc<Self>) -> Vec<Arc<dyn Provider>> {
        let provider = |kind: &'static UpstreamKind| External { fetchers: Arc::clone(self), kind };
        KINDS.into_iter().map(|kind| Arc::new(provider(kind)) as Arc<dyn Provider>).collect()
    }

    /// What settings and secrets describe.
    fn upstream(
        &self,
        kind: StorageKind,
        settings: &str,
        secrets: Option<&Secret<String>>,
    ) -> Result<Arc<dyn Upstream>, Error> {
        let upstream = self.built(kind, settings, secrets, None)?;
        (row(kind)?.outdated)(&self.given(kind, settings, secrets, None)?)?;
        upstream.hosts().check(&self.world.machine_identity_hosts).map_err(of_settings)?;
        Ok(upstream)
    }

    fn hosts(&self, kind: StorageKind, settings: &str, secrets: Option<&Secret<String>>) -> Result<Hosts, Error> {
        self.built(kind, settings, secrets, None).map(|upstream| upstream.hosts().clone())
    }

    fn built(
        &self,
        kind: StorageKind,
        settings: &str,
        secrets: Option<&Secret<String>>,
        storage: Option<&Name>,
    ) -> Result<Arc<dyn Upstream>, Error> {
        self.check_files(settings)?;
        (row(kind)?.open)(self.given(kind, settings, secrets, storage)?)
    }

    fn given<'a>(
        &'a self,
        kind: StorageKind,
        settings: &'a str,
        secrets: Option<&'a Secret<String>>,
        storage: Option<&'a Name>,
    ) -> Result<Given<'a>, Error> {
        Ok(Given { kind, settings, secrets, http: self.http()?, world: &self.world, storage })
    }

    /// Refuses settings that name a file elsewhere. SECURITY: what is in it is sent to an address that the settings name too.
    fn check_files(&self, json: &str) -> Result<(), Error> {
        const FILES: [(&str, &str); 2] = [
            ("/identity/token_file", "settings.identity.token_file"),
            (
                "/identity/external_account/credential_source/file",
                "settings.identity.external_account.credential_source.file",
            ),
        ];
        // What is no JSON is refused where it is read.
        let settings: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        for (place, field) in FILES {
            let Some(file) = settings.pointer(place).and_then(serde_json::Value::as_str) else { continue };
            let real = Path::new(file).canonicalize();
            let inside = |dir: &PathBuf| {
                dir.canonicalize().is_ok_and(|dir| real.as_ref().is_ok_and(|real| real.starts_with(dir)))
            };
            if !self.world.token_dirs.iter().any(inside) {
                let said = "the file is not there, or not below a directory that the server's setting `upstream.token_dirs` names";
                return Err(invalid(said).at(field));
            }
        }
        Ok(())
    }

    /// What is asked for a store's credentials.
    ///
    /// # Errors
    /// `Internal` when what is kept of the store cannot be used.
    pub fn of(&self, storage: &Storage) -> Result<Arc<Fetcher>, Error> {
        let external = storage
            .external
            .as_deref()
            .ok_or_else(|| Error::internal(format!("storage {} has no settings", storage.name)))?;
        let known = |all: &HashMap<StorageId, (u64, Arc<Fetcher>)>| {
            // One decided a moment ago may still name the version before; the newest counts.
            all.get(&storage.id).filter(|(version, _)| *version >= external.version).map(|(_, fetcher)| fetcher.clone())
        };
        if let Some(fetcher) = known(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(fetcher);
        }
        let fetcher = Arc::new(self.make(storage, external)?);
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetcher) = known(&all) {
            return Ok(fetcher);
        }
        all.insert(storage.id, (external.version, fetcher.clone()));
        Ok(fetcher)
    }

    fn make(&self, storage: &Storage, external: &ExternalConfig) -> Result<Fetcher, Error> {
        let secrets =
            external.secrets.as_deref().map(|sealed| self.world.vault.open(&storage.name, sealed)).transpose()?;
        let unusable = |error: Error| {
            Error::internal("the configuration of the storage cannot be used")
                .note(format!("storage {}: {error:?}", storage.name))
        };
        let built = self.built(storage.kind, &external.settings, secrets.as_ref(), Some(&storage.name));
        let upstream = built.map_err(unusable)?;
        // What was taken before the server's file said where identities go: a signature is of no use to anybody else, a token is.
        if upstream.hosts().take_a_token() {
            upstream.hosts().check(&self.world.machine_identity_hosts).map_err(unusable)?;
        }
        let least = upstream.facts().least;
        Ok(Fetcher {
            storage: storage.id,
            name: storage.name.as_str().into(),
            version: external.version,
            upstream,
            least,
            sharing: external.sharing,
            budget: Arc::new(Budget::new(external.quota, self.world.nodes.clone())),
            health: self.world.health.of(storage.id),
        })
    }

    /// Forgets a storage that is no more, and how it answered.
    pub fn forget(&self, storage: StorageId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&storage);
        self.world.health.forget(storage);
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }
}

/// What is known of a kind.
fn row(kind: StorageKind) -> Result<&'static UpstreamKind, Error> {
    let found = KINDS.into_iter().find(|row| row.kind == kind);
    found.ok_or_else(|| Error::internal(format!("a storage of kind `{}` is asked for nothing", kind.as_str())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use valetkey_core::Kind;
    use valetkey_core::hosts::{PROVIDERS, Trusted};
    use valetkey_core::keyring::{Keyring, SharedKeyring};
    use valetkey_core::nouns::vault::Vault;
    use valetkey_testkit::chance::SeededEntropy;
    use valetkey_testkit::clock::FixedClock;

    use super::*;
    use crate::kind::Surroundings;

    fn fetchers(trusted: &[&str]) -> Fetchers {
        let entropy = Arc::new(SeededEntropy::new(1));
        Fetchers::new(Environment {
            vault: Vault::new(
                SharedKeyring::new(Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap()),
                Arc::clone(&entropy) as _,
            ),
            surroundings: Surroundings::default(),
            token_dirs: vec![std::env::temp_dir()],
            machine_identity_hosts: Trusted::parse(trusted.iter().copied()).unwrap(),
            identity: None,
            health: valetkey_core::health::Health::new(Arc::new(FixedClock::default())),
            clock: Arc::new(FixedClock::default()),
            entropy,
            nodes: valetkey_core::fair::LiveNodes::default(),
        })
    }

    fn refused(fetchers: &Fetchers, kind: StorageKind, settings: &Value) -> Option<String> {
        let error = fetchers.upstream(kind, &settings.to_string(), None).err()?;
        assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
        Some(error.field().unwrap().to_owned())
    }

    /// Settings of a store without secrets: the machine's own identity is what proves the server.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one table of cases")]
    fn the_machines_identity_goes_only_where_the_servers_file_allows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let google = |fetcher: Value, token_url: &str, stand_in: &str| {
            json!({"identity": {"kind": "workload-identity", "external_account": {
                "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": token_url,
                "service_account_impersonation_url": stand_in, "credential_source": fetcher,
            }}})
        };
        let azure_of_entra = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r";
        let (sts, iam) = ("https://sts.googleapis.com/v1/token", "https://iamcredentials.googleapis.com/v1/x");
        let url = |url: &str| json!({"url": url, "headers": {"Metadata": "True"}});
        let managed = |more: Value| {
            let mut settings = json!({"account": "acct", "identity": {"kind": "managed-identity"}});
            settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            settings
        };
        let federated = |authority: Value| json!({"account": "acct", "identity": {"kind": "workload-identity", "tenant": "t", "client": "c", "token_file": path, "authority": authority}});
        let role = "arn:aws:iam::123456789012:role/r";
        let external = Some("settings.identity.external_account");
        let (azure, gcs, aws) = (StorageKind::Azure, StorageKind::Gcs, StorageKind::Sts);
        let cases = [
            (gcs, json!({"identity": {"kind": "metadata"}}), None),
            (gcs, json!({"identity": {"kind": "metadata"}, "impersonate": "a@b.example"}), None),
            (gcs, google(json!({"file": path}), sts, iam), None),
            (gcs, google(url(azure_of_entra), sts, iam), None),
            (azure, managed(json!({})), None),
            (azure, managed(json!({"endpoint": "https://acct.blob.core.windows.net"})), None),
            (azure, federated(Value::Null), None),
            (aws, json!({"region": "eu-west-1", "role_arn": role}), None),
            (
                gcs,
                json!({"identity": {"kind": "metadata", "endpoint": "http://evil.example"}}),
                Some("settings.identity.endpoint"),
            ),
            (
                gcs,
                json!({"identity": {"kind": "metadata", "endpoint": "http://127.0.0.1:8080"}}),
                Some("settings.identity.endpoint"),
            ),
            (
                gcs,
                json!({"identity": {"kind": "metadata"}, "token_service": "https://evil.example/v1/token"}),
                Some("settings.token_service"),
            ),
            (
                gcs,
                json!({"identity": {"kind": "metadata"}, "impersonate": "a@b.example", "credentials_endpoint": "https://evil.example"}),
                Some("settings.credentials_endpoint"),
            ),
            (gcs, google(url("http://10.0.0.1/secret"), sts, iam), external),
            (gcs, google(url("http://169.254.169.254:8080/"), sts, iam), external),
            (gcs, google(url("http://user@169.254.169.254.evil.example/"), sts, iam), external),
            (gcs, google(json!({"url": azure_of_entra, "headers": {"Authorization": "Bearer x"}}), sts, iam), external),
            (
                gcs,
                google(json!({"url": azure_of_entra, "headers": {"Metadata": "true", "Host": "x"}}), sts, iam),
                external,
            ),
            (gcs, google(json!({"url": azure_of_entra, "headers": {"Metadata": "true\r\nX: y"}}), sts, iam), external),
            (gcs, google(json!({"file": path}), "https://evil.example/v1/token", iam), external),
            (gcs, google(url(azure_of_entra), "https://evil.example/v1/token", iam), external),
            (gcs, google(json!({"file": path}), sts, "https://evil.example/x"), external),
            (azure, managed(json!({"endpoint": "https://evil.example"})), Some("settings.endpoint")),
            (azure, managed(json!({"endpoint": "http://127.0.0.1:10000/acct"})), Some("settings.endpoint")),
            (
                azure,
                managed(json!({"identity": {"kind": "managed-identity", "endpoint": "http://evil.example/token"}})),
                Some("settings.identity.endpoint"),
            ),
            (
                azure,
                managed(
                    json!({"revoke": {"subscription": "s", "resource_group": "g", "management_endpoint": "https://evil.example"}}),
                ),
                Some("settings.revoke.management_endpoint"),
            ),
            (azure, federated(json!("https://evil.example")), Some("settings.identity.authority")),
            (
                aws,
                json!({"region": "eu-west-1", "role_arn": role, "sts_endpoint": "https://evil.example"}),
                Some("settings.sts_endpoint"),
            ),
            (
                aws,
                json!({"region": "eu-west-1", "role_arn": role, "revoke": {"role_policy": "valetkey-x", "iam_endpoint": "https://evil.example"}}),
                Some("settings.revoke.iam_endpoint"),
            ),
        ];
        let usual = fetchers(&PROVIDERS);
        for (kind, settings, field) in &cases {
            assert_eq!(refused(&usual, *kind, settings).as_deref(), *field, "{settings}");
        }
        // What the server's file says counts, for what is asked and for what is sent; headers stay a short list.
        let wide = ["*.googleapis.com", "169.254.169.254:8080", "evil.example", "127.0.0.1", "10.0.0.1"];
        let named = fetchers(
            &[
                &wide[..],
                &[
                    "169.254.169.254.evil.example",
                    "acct.blob.core.windows.net",
                    "*.microsoftonline.com",
                    "*.*.amazonaws.com",
                    "iam.amazonaws.com",
                    "*.azure.com",
                ],
            ]
            .concat(),
        );
        for (kind, settings, _) in &cases {
            let headers = settings.to_string();
            let bad = headers.contains("Authorization") || headers.contains("Host") || headers.contains("X: y");
            assert_eq!(refused(&named, *kind, settings).is_some(), bad, "{settings}");
        }
    }

    /// With kept secrets an operator may name any store; where they go is said of each setting, from what requests are made of.
    #[test]
    fn each_kind_says_where_its_secrets_go() {
        let fetchers = fetchers(&[]);
        let hosts = |kind, settings: &Value, secrets: &Value| {
            fetchers.hosts(kind, &settings.to_string(), Some(&Secret::new(secrets.to_string()))).unwrap()
        };
        let with = |base: &Value, more: &Value| {
            let mut all = base.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let sts = json!({"region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/r"});
        let keys = json!({"access_key_id": "AKIA", "secret_access_key": "x"});
        let r2 = json!({"account_id": "acct", "parent_access_key_id": "p"});
        let token = json!({"api_token": "t"});
        let azure = json!({"account": "acct", "identity": {"kind": "client-secret", "tenant": "t", "client": "c"}});
        let secret = json!({"client_secret": "x"});
        let evil = "https://evil.example";
        for (kind, base, secrets, more, new) in [
            (StorageKind::Sts, &sts, &keys, json!({"role_arn": "arn:aws:iam::123456789012:role/other"}), None),
            (StorageKind::Sts, &sts, &keys, json!({"sts_endpoint": evil}), Some("sts_endpoint https://evil.example")),
            (
                StorageKind::Sts,
                &sts,
                &keys,
                json!({"region": "us-east-1"}),
                Some("sts_endpoint https://sts.us-east-1.amazonaws.com"),
            ),
            (
                StorageKind::Sts,
                &sts,
                &keys,
                json!({"revoke": {"role_policy": "valetkey-x", "iam_endpoint": evil}}),
                Some("revoke.iam_endpoint https://evil.example"),
            ),
            (
                StorageKind::R2,
                &r2,
                &token,
                json!({"jurisdiction": "eu"}),
                Some("host https://acct.eu.r2.cloudflarestorage.com"),
            ),
            (StorageKind::R2, &r2, &token, json!({"api_base_url": evil}), Some("api_base_url https://evil.example")),
            (StorageKind::R2, &r2, &token, json!({"host": "evil.example"}), Some("host https://evil.example")),
            (StorageKind::Azure, &azure, &secret, json!({"namespace": "hierarchical"}), None),
            (
                StorageKind::Azure,
                &azure,
                &secret,
                json!({"account": "other"}),
                Some("endpoint https://other.blob.core.windows.net"),
            ),
            (
                StorageKind::Azure,
                &azure,
                &secret,
                json!({"endpoint": "https://login.microsoftonline.com"}),
                Some("endpoint https://login.microsoftonline.com"),
            ),
            (
                StorageKind::Azure,
                &azure,
                &secret,
                json!({"identity": {"kind": "client-secret", "tenant": "t", "client": "c", "authority": "https://acct.blob.core.windows.net"}}),
                Some("identity.authority https://acct.blob.core.windows.net"),
            ),
            (
                StorageKind::Azure,
                &azure,
                &secret,
                json!({"revoke": {"subscription": "s", "resource_group": "g", "management_endpoint": evil}}),
                Some("revoke.management_endpoint https://evil.example"),
            ),
        ] {
            let before = hosts(kind, base, secrets);
            let now = hosts(kind, &with(base, &more), secrets);
            let beyond = now.beyond(&before).map(|(setting, origin)| format!("{setting} {origin}"));
            assert_eq!(beyond.as_deref(), new, "{more}");
            assert!(now.check(&Trusted::parse([]).unwrap()).is_ok(), "secrets of its own go where the operator says");
        }
    }

    #[test]
    fn a_signature_of_the_accounts_key_is_for_https_or_for_near_hosts() {
        let fetchers = fetchers(&[]);
        let key = Secret::new(json!({"account_key": "c2VjcmV0IGtleSBvZiB0aGUgYWNjb3VudA=="}).to_string());
        for (endpoint, allow, good) in [
            ("https://blobs.example/acct", false, true),
            ("http://127.0.0.1:10000/acct", false, true),
            ("http://localhost:10000/acct", false, true),
            ("http://[::1]:10000/acct", false, true),
            ("http://10.1.2.3:10000/acct", false, true),
            ("http://azurite:10000/acct", true, true),
            ("http://azurite:10000/acct", false, false),
            ("http://blobs.example/acct", false, false),
            ("http://8.8.8.8/acct", false, false),
            ("http://127.0.0.1.evil.example/acct", false, false),
        ] {
            let settings = json!({"account": "acct", "endpoint": endpoint, "allow_http": allow, "identity": {"kind": "account-key"}});
            let answer = fetchers.upstream(StorageKind::Azure, &settings.to_string(), Some(&key));
            let field = answer.map(drop).err().and_then(|error| error.field().map(str::to_owned));
            assert_eq!(field.as_deref(), (!good).then_some("settings.endpoint"), "{endpoint}");
            // What was taken before goes on.
            assert!(fetchers.built(StorageKind::Azure, &settings.to_string(), Some(&key), None).is_ok());
        }
        let settings = json!({"account": "acct", "allow_http": true, "identity": {"kind": "managed-identity"}});
        assert_eq!(refused(&fetchers, StorageKind::Azure, &settings).as_deref(), Some("settings.allow_http"));
    }

    /// The lines of the manual's table of what a kind allows beyond its actions.
    fn lines(kind: StorageKind) -> Vec<String> {
        let page = include_str!("../../../docs/storages.md");
        let section = page.split("\n## ").find(|one| one.starts_with("What a credential allows beyond its actions"));
        let begins = format!("| `{}` |", kind.as_str());
        section.unwrap().lines().filter(|line| line.starts_with(&begins)).map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_and_a_response_say_what_is_beyond_in_the_same_words() {
        for kind in KINDS {
            let mut said = Vec::new();
            for row in kind.hints.also {
                let when = if row.when.is_empty() { String::new() } else { format!(" {}", row.when) };
                let avoided = if row.avoided.is_empty() { String::new() } else { format!(" {}", row.avoided) };
                said.push(format!("| `{}` | {}{when} | {} |{avoided} |", kind.kind.as_str(), row.with, row.also));
                assert_eq!(row.said().to_string(), format!("beyond {}: {}", row.with, row.also));
            }
            if said.is_empty() {
                let told = lines(kind.kind);
                assert!(told.len() == 1 && told[0].contains("nothing beyond"), "{told:?}");
            } else {
                assert_eq!(lines(kind.kind), said);
            }
        }
    }
}
