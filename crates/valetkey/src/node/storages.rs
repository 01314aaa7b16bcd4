//! The stores of a running server: what an operator describes is read here, whoever runs the store, and takes effect here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use valetkey_core::account::Kept;
use valetkey_core::hosts::{Hosts, Proof, Trusted};
use valetkey_core::id::{AccountId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::registry::{NewStorage, Registry};
use valetkey_core::nouns::storage_admin::{Description, Ended, StorageAdmin};
use valetkey_core::scope::Scope;
use valetkey_core::storage::{ExternalConfig, Revocability, Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind, Secret};
use valetkey_issuers::cache::Cache;
use valetkey_issuers::fetchers::{Fetchers, of_settings};

/// The stores, behind our own endpoint and elsewhere.
pub(crate) struct NodeStorages {
    endpoint: valetkey_s3::Endpoint,
    /// Where our own endpoint is, to its users, and to those inside the cluster.
    url: Box<str>,
    internal_url: Option<Box<str>>,
    region: Box<str>,
    /// The shortest and the longest lifetime of its credentials.
    lifetimes: (Lifetime, Lifetime),
    fetchers: Arc<Fetchers>,
    local_roots: LocalRoots,
    /// Where the machine's own identity may be sent.
    machine_identity_hosts: Trusted,
    terms: valetkey_gateway::Terms,
    cache: Cache,
}

/// Which directories of this machine a gateway may serve.
pub(crate) struct LocalRoots {
    /// What is below one of these.
    pub(crate) allowed: Vec<PathBuf>,
    /// But for what these are, hold or are in: the server's own.
    pub(crate) own: Vec<PathBuf>,
}

impl LocalRoots {
    /// Refuses a directory that a gateway may not serve. SECURITY: the files of a machine are given away by who starts the server
    /// there, and not by whoever has an operator's token.
    fn check(&self, root: &Path) -> Result<(), Error> {
        let refused = |said: &str| Err(invalid("settings.root", format!("`{}` {said}", root.display())));
        let Ok(real) = root.canonicalize() else { return refused("is not there, or cannot be read by the server") };
        if !real.is_dir() {
            return refused("is not a directory");
        }
        let below = |of: &PathBuf| of.canonicalize().is_ok_and(|of| real.starts_with(of));
        if !self.allowed.iter().any(below) {
            return refused("is not below a directory that the server's setting `gateway.local_roots` names");
        }
        let touches = |of: &PathBuf| of.canonicalize().is_ok_and(|of| real.starts_with(&of) || of.starts_with(&real));
        if self.own.iter().any(touches) {
            return refused("holds the server's own data");
        }
        Ok(())
    }
}

/// What a kind of store knows of itself.
struct Known {
    endpoint: Option<Box<str>>,
    region: Box<str>,
    least: Lifetime,
    most: Lifetime,
    revocation: Revocability,
}

impl NodeStorages {
    /// The stores of a server whose own endpoint is `own`.
    pub(crate) fn new(
        (endpoint, own): (valetkey_s3::Endpoint, &Storage),
        fetchers: Arc<Fetchers>,
        (local_roots, terms): (LocalRoots, valetkey_gateway::Terms),
        machine_identity_hosts: Trusted,
        cache: Cache,
    ) -> Self {
        let Storage { endpoint: url, internal_endpoint, region, min_lifetime, max_lifetime, .. } = own.clone();
        let lifetimes = (min_lifetime, max_lifetime);
        Self {
            endpoint,
            url,
            internal_url: internal_endpoint,
            region,
            lifetimes,
            fetchers,
            local_roots,
            machine_identity_hosts,
            terms,
            cache,
        }
    }

    /// The way to what lies behind a gateway.
    fn opened(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Arc<dyn valetkey_s3::Backend>, Error> {
        let settings = valetkey_gateway::Settings::parse(settings)?;
        match &settings {
            valetkey_gateway::Settings::Local { root, .. } => self.local_roots.check(root)?,
            valetkey_gateway::Settings::S3 { endpoint: Some(endpoint), .. } if self.is_own(endpoint) => {
                return Err(invalid(
                    "settings.endpoint",
                    "that is this server's own endpoint: its requests would go round",
                ));
            }
            valetkey_gateway::Settings::S3 { .. }
            | valetkey_gateway::Settings::Azure { .. }
            | valetkey_gateway::Settings::Gcs { .. } => {}
        }
        let hosts = settings.hosts(bytes_of(secrets))?;
        // Also of what was taken before the server's file said where identities go: a token is good for whoever gets it.
        if hosts.take_a_token() {
            hosts.check(&self.machine_identity_hosts)?;
        }
        settings.open(bytes_of(secrets), &self.terms)
    }

    /// Whether an address is that of our own endpoint, as far as it is written the same.
    fn is_own(&self, endpoint: &str) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        let own = std::iter::once(&self.url).chain(&self.internal_url);
        own.map(|url| plain(url)).any(|own| own == plain(endpoint))
    }

    /// What the kind knows, with its settings read.
    fn known(&self, described: &Description, settings: &str, secrets: Option<&Secret<String>>) -> Result<Known, Error> {
        let (least, most) = self.lifetimes;
        match described.kind {
            kind if kind.is_ours() => {
                if kind == StorageKind::Gateway {
                    self.opened(settings, secrets).map_err(of_settings)?;
                    let hosts = valetkey_gateway::Settings::parse(settings)?.hosts(bytes_of(secrets))?;
                    hosts.check(&self.machine_identity_hosts).map_err(of_settings)?;
                }
                Ok(Known {
                    endpoint: Some(self.url.clone()),
                    region: self.region.clone(),
                    least,
                    most,
                    revocation: Revocability::Immediate,
                })
            }
            kind => {
                let upstream = self.fetchers.upstream(kind, settings, secrets)?;
                let place = upstream.place();
                Ok(Known {
                    endpoint: place.endpoint.map(Into::into),
                    region: place.region.into(),
                    least: place.least,
                    most: place.most,
                    revocation: upstream.revocability(),
                })
            }
        }
    }

    /// Refuses settings that would send kept secrets where they were not sent before.
    fn stays(&self, kind: StorageKind, old: &str, new: &str, secrets: Option<&Secret<String>>) -> Result<(), Error> {
        let hosts = |settings: &str| match kind {
            StorageKind::Embedded => Ok(Hosts::new(Proof::Kept)),
            StorageKind::Gateway => valetkey_gateway::Settings::parse(settings)
                .and_then(|settings| settings.hosts(bytes_of(secrets)))
                .map_err(of_settings),
            StorageKind::Sts | StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => {
                self.fetchers.hosts(kind, settings, secrets)
            }
        };
        let new = hosts(new)?;
        // Of settings that cannot be read any more nothing is known: then everything is another place.
        let old = hosts(old).unwrap_or_else(|_| Hosts::new(Proof::Kept));
        match new.beyond(&old) {
            None => Ok(()),
            Some((setting, origin)) => Err(invalid(
                "secrets",
                format!(
                    "`{origin}` (of `settings.{setting}`) is not where the secrets were sent before; say them again"
                ),
            )),
        }
    }

    /// The settings and secrets beside what is described of them: as they are described, or as they were.
    fn secrets(
        &self,
        described: &Description,
        before: Option<&ExternalConfig>,
    ) -> Result<Option<Secret<String>>, Error> {
        match (&described.secrets, before.and_then(|before| before.secrets.as_deref())) {
            (Some(secrets), _) => Ok(Some(secrets.clone())),
            (None, Some(sealed)) => self.fetchers.open(&described.name, sealed).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Takes every store on record into service, and its buckets. What cannot be now is said in the log, and stops nothing else.
    pub(crate) async fn open_all(&self, registry: &dyn Registry) -> Result<(), Error> {
        let buckets = registry.buckets().await?;
        for storage in registry.storages().await? {
            let storage = self.moved(registry, storage).await?;
            if let Err(error) = self.put(&storage).await {
                tracing::error!(storage = %storage.name, error = ?error, "a storage cannot be served");
                continue;
            }
            for (bucket, _) in buckets.iter().filter(|(_, of)| *of == storage.id) {
                // One that was being removed, and is on record all the same, stays.
                self.reopen_bucket(&storage, bucket).await?;
                match storage.kind {
                    StorageKind::Embedded => self.endpoint.ensure_bucket(bucket).await?,
                    // Whether it is there is seen when it is asked for: a store that is away now holds nobody else up.
                    StorageKind::Gateway => self.endpoint.keep_bucket_at(storage.id, bucket).await?,
                    StorageKind::Sts | StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => {}
                }
            }
        }
        self.purge_closed();
        Ok(())
    }

    /// A gateway is where our own endpoint is, also after that moved.
    async fn moved(&self, registry: &dyn Registry, storage: Storage) -> Result<Storage, Error> {
        let stays = storage.endpoint == self.url && storage.internal_endpoint == self.internal_url;
        if storage.kind != StorageKind::Gateway || stays {
            return Ok(storage);
        }
        let id = storage.id;
        let external = storage.external.as_deref().cloned();
        let there = NewStorage {
            endpoint: self.url.clone(),
            internal_endpoint: self.internal_url.clone(),
            ..with_external(storage, external)
        };
        registry.change_storage(id, there).await
    }

    /// Seals again what was sealed with an older key, so that that key can be removed.
    pub(crate) async fn reseal(&self, registry: &dyn Registry) -> Result<(), Error> {
        for storage in registry.storages().await? {
            let Some(external) = storage.external.as_deref() else { continue };
            let Some(sealed) = external.secrets.as_deref() else { continue };
            if let Some(again) = self.fetchers.sealed_again(&storage.name, sealed)? {
                let external = ExternalConfig { secrets: Some(again), ..external.clone() };
                let storage_id = storage.id;
                registry.change_storage(storage_id, with_external(storage, Some(external))).await?;
            }
        }
        Ok(())
    }
}

/// A store as it is, with another external.
fn with_external(storage: Storage, external: Option<ExternalConfig>) -> NewStorage {
    let Storage { id: _, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external: _ } =
        storage;
    NewStorage {
        name,
        kind,
        endpoint,
        internal_endpoint,
        region,
        min_lifetime,
        max_lifetime,
        external: external.map(Arc::new),
    }
}

/// A gateway's secrets, as it reads them.
fn bytes_of(secrets: Option<&Secret<String>>) -> &[u8] {
    secrets.map_or(&[], |secrets| secrets.reveal().as_bytes())
}

fn invalid(field: &'static str, said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into()).at(field)
}

/// A lifetime inside what the store gives.
fn lifetime(
    given: Option<Lifetime>,
    before: Option<Lifetime>,
    usual: Lifetime,
    known: &Known,
    field: &'static str,
) -> Result<Lifetime, Error> {
    let (least, most) = (known.least, known.most);
    match given {
        Some(given) if (least..=most).contains(&given) => Ok(given),
        Some(given) => {
            Err(invalid(field, format!("{given} is not possible; this store's least is {least} and its most {most}")))
        }
        None => Ok(before.unwrap_or(usual).clamp(least, most)),
    }
}

#[async_trait]
impl StorageAdmin for NodeStorages {
    fn read(&self, described: Description, before: Option<&Storage>) -> Result<NewStorage, Error> {
        let kind = described.kind;
        let old = before.and_then(|before| before.external.as_deref());
        let embedded = kind == StorageKind::Embedded;
        if embedded && before.is_none() {
            return Err(invalid(
                "kind",
                "the server makes its one embedded store itself; say which other `kind` this is",
            ));
        }
        for (given, field) in [
            (described.settings.is_some(), "settings"),
            (described.secrets.is_some(), "secrets"),
            (described.sharing.is_some(), "sharing"),
            (described.quota.is_some(), "calls_per_sec"),
        ] {
            let vending = matches!(field, "sharing" | "calls_per_sec");
            if given && (embedded || (vending && kind.is_ours())) {
                return Err(invalid(field, format!("a store of kind `{}` has none", kind.as_str())));
            }
        }
        if kind == StorageKind::Gateway && (described.endpoint.is_some() || described.internal_endpoint.is_some()) {
            return Err(invalid(
                "endpoint",
                "a gateway is where our own endpoint is; set `s3.public_url` of the server",
            ));
        }
        let settings = described.settings.as_deref().or(old.map(|old| &*old.settings)).unwrap_or("{}");
        let secrets = self.secrets(&described, old)?;
        // SECURITY: who may say where a store is may not thereby have its secrets sent there.
        if let (Some(old), Some(new), None) = (old, described.settings.as_deref(), &described.secrets)
            && old.secrets.is_some()
        {
            self.stays(kind, &old.settings, new, secrets.as_ref())?;
        }
        let known = self.known(&described, settings, secrets.as_ref())?;
        let ours = kind.is_ours();
        let endpoint = described
            .endpoint
            .or_else(|| before.map(|before| before.endpoint.clone()))
            .or(known.endpoint.clone())
            .ok_or_else(|| invalid("endpoint", "say where its users reach it"))?;
        let min_lifetime = lifetime(
            described.min_lifetime,
            before.map(|before| before.min_lifetime),
            known.least,
            &known,
            "min_ttl_secs",
        )?;
        let max_lifetime = lifetime(
            described.max_lifetime,
            before.map(|before| before.max_lifetime),
            known.most,
            &known,
            "max_ttl_secs",
        )?;
        if max_lifetime < min_lifetime {
            let said = format!("the longest lifetime {max_lifetime} is shorter than the shortest {min_lifetime}");
            return Err(invalid("max_ttl_secs", said));
        }
        let external = if embedded {
            None
        } else {
            let sealed = secrets.as_ref().map(|secrets| self.fetchers.seal(&described.name, secrets)).transpose()?;
            Some(ExternalConfig {
                settings: settings.into(),
                secrets: sealed,
                sharing: described.sharing.or(old.map(|old| old.sharing)).unwrap_or_default(),
                quota: described.quota.or(old.map(|old| old.quota)).unwrap_or_default(),
                revocation: known.revocation,
                version: 1,
            })
        };
        Ok(NewStorage {
            name: described.name,
            kind,
            endpoint,
            internal_endpoint: described
                .internal_endpoint
                .or_else(|| before.and_then(|before| before.internal_endpoint.clone()))
                .or_else(|| self.internal_url.clone().filter(|_| ours)),
            region: described.region.or_else(|| before.map(|before| before.region.clone())).unwrap_or(known.region),
            min_lifetime,
            max_lifetime,
            external: external.map(Arc::new),
        })
    }

    async fn put(&self, storage: &Storage) -> Result<(), Error> {
        match storage.kind {
            StorageKind::Gateway => {
                let external = storage.external.as_deref();
                let secrets = external.and_then(|external| external.secrets.as_deref());
                let secrets = secrets.map(|sealed| self.fetchers.open(&storage.name, sealed)).transpose()?;
                let settings = external.map_or("{}", |external| &*external.settings);
                self.endpoint.attach((storage.id, &storage.name), self.opened(settings, secrets.as_ref())?);
                Ok(())
            }
            // Made when it is first asked; what is wrong with it was refused when it was read.
            StorageKind::Embedded | StorageKind::Sts | StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => {
                Ok(())
            }
        }
    }

    async fn ensure_bucket(&self, storage: &Storage, bucket: &BucketName) -> Result<(), Error> {
        match storage.kind {
            StorageKind::Embedded | StorageKind::Gateway => self.endpoint.ensure_bucket_at(storage.id, bucket).await,
            // A credential that makes buckets is none this server should have.
            StorageKind::Sts | StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => Ok(()),
        }
    }

    async fn close_bucket(&self, storage: &Storage, bucket: &BucketName, with_objects: bool) -> Result<(), Error> {
        if with_objects && storage.kind != StorageKind::Embedded {
            let said = format!(
                "the objects of the storage `{}` are not this server's to remove: the bucket goes from the record alone, without `with_objects`",
                storage.name
            );
            return Err(invalid("with_objects", said));
        }
        if storage.kind.is_ours() {
            self.endpoint.close_bucket(storage.id, bucket, with_objects).await?;
        }
        Ok(())
    }

    async fn reopen_bucket(&self, storage: &Storage, bucket: &BucketName) -> Result<(), Error> {
        if storage.kind.is_ours() { self.endpoint.reopen_bucket(storage.id, bucket).await } else { Ok(()) }
    }

    fn purge_closed(&self) {
        self.endpoint.purge_closed();
    }

    async fn kept(&self, account: Option<AccountId>) -> Result<HashMap<AccountId, Kept>, Error> {
        self.endpoint.kept(account).await
    }

    fn quota(&self) -> valetkey_s3::Quota {
        self.endpoint.quota()
    }

    async fn remove(&self, storage: &Storage) {
        if storage.kind == StorageKind::Gateway {
            self.endpoint.detach(storage.id);
        }
    }

    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error> {
        if storage.kind.is_ours() { Ok(()) } else { self.fetchers.of(storage)?.upstream.check(scope) }
    }

    fn forget(&self, storage: StorageId, key_ids: &[Box<str>]) {
        self.cache.forget(storage, key_ids);
    }

    async fn end_credentials(&self, storage: &Storage) -> Result<Ended, Error> {
        if storage.kind.is_ours() {
            // It asks about each request: that they are on record as ended is all it takes.
            let done = "our own endpoint refuses them from the next request on".to_owned();
            return Ok(Ended { done, notes: Vec::new() });
        }
        self.fetchers.of(storage)?.upstream.end_credentials(self.fetchers.now()).await
    }
}
