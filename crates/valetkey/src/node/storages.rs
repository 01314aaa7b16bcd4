//! The storages of a running server: what is configured of them takes effect here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use valetkey_core::account::Kept;
use valetkey_core::id::{AccountId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::configure::configure;
use valetkey_core::nouns::provider::{Hints, Provider};
use valetkey_core::nouns::registry::{NewStorage, StorageRecords};
use valetkey_core::nouns::storage_admin::{Description, Ended, StorageAdmin};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::scope::Scope;
use valetkey_core::storage::{ExternalConfig, Storage, StorageKind};
use valetkey_core::{Error, Kind};
use valetkey_gateway::Gateway;
use valetkey_issuers::cache::Cache;
use valetkey_issuers::fetchers::Fetchers;

/// The storages, behind our own endpoint and elsewhere.
pub(crate) struct NodeStorages {
    endpoint: valetkey_s3::Endpoint,
    /// The kinds there are.
    providers: Vec<Arc<dyn Provider>>,
    gateway: Arc<Gateway>,
    fetchers: Arc<Fetchers>,
    vault: Vault,
    cache: Cache,
    /// The storages behind the gateway as they are served, by what they are on record with.
    served: Mutex<HashMap<StorageId, Storage>>,
}

impl NodeStorages {
    /// The storages of a server with this endpoint of its own.
    pub(crate) fn new(
        endpoint: valetkey_s3::Endpoint,
        gateway: Gateway,
        fetchers: Arc<Fetchers>,
        vault: Vault,
        cache: Cache,
    ) -> Self {
        let embedded = valetkey_s3::Embedded { front: gateway.front.clone() };
        let gateway = Arc::new(gateway);
        let mut providers = fetchers.providers();
        providers.push(Arc::clone(&gateway) as Arc<dyn Provider>);
        providers.push(Arc::new(embedded));
        Self { endpoint, providers, gateway, fetchers, vault, cache, served: Mutex::default() }
    }

    /// Takes every store on record into service, and its buckets. What cannot be now is said in the log, and stops nothing else.
    pub(crate) async fn open_all(&self, registry: &dyn StorageRecords) -> Result<(), Error> {
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
                if storage.kind == StorageKind::Embedded {
                    self.endpoint.ensure_bucket(bucket).await?;
                } else if storage.kind.is_ours() {
                    // Whether it is there is seen when it is asked for: a storage that is away now holds nobody else up.
                    self.endpoint.keep_bucket_at(storage.id, bucket).await?;
                }
            }
        }
        self.purge_closed();
        Ok(())
    }

    /// Takes into service what another server put on record or changed there, and out of service what it removed.
    pub(crate) async fn follow(&self, registry: &dyn StorageRecords) -> Result<(), Error> {
        let storages = registry.storages().await?;
        let gone: Vec<Storage> = {
            let mut served = self.served();
            let there = |id: &StorageId| storages.iter().any(|storage| storage.id == *id);
            served.extract_if(|id, _| !there(id)).map(|(_, storage)| storage).collect()
        };
        for storage in &gone {
            self.remove(storage).await;
        }
        let buckets = registry.buckets().await?;
        for storage in storages.into_iter().filter(|storage| storage.kind == StorageKind::Gateway) {
            // First: a storage without its buckets would say that there are none.
            for (bucket, _) in buckets.iter().filter(|(_, of)| *of == storage.id) {
                self.endpoint.keep_bucket_at(storage.id, bucket).await?;
            }
            if self.served().get(&storage.id) != Some(&storage)
                && let Err(error) = self.put(&storage).await
            {
                tracing::error!(storage = %storage.name, error = ?error, "a storage cannot be served");
            }
        }
        Ok(())
    }

    /// Another node removed credentials from what all of them keep: what is kept here is looked at again.
    pub(crate) fn look_again(&self) {
        self.cache.look_again();
    }

    fn served(&self) -> MutexGuard<'_, HashMap<StorageId, Storage>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gateway is where our own endpoint is, also after that moved.
    async fn moved(&self, registry: &dyn StorageRecords, storage: Storage) -> Result<Storage, Error> {
        let front = &self.gateway.front;
        let endpoint = front.endpoint.clone().unwrap_or_default();
        let stays = storage.endpoint == endpoint && storage.internal_endpoint == front.internal_endpoint;
        if storage.kind != StorageKind::Gateway || stays {
            return Ok(storage);
        }
        let id = storage.id;
        let external = storage.external.as_deref().cloned();
        let there = NewStorage {
            endpoint,
            internal_endpoint: front.internal_endpoint.clone(),
            ..with_external(storage, external)
        };
        registry.change_storage(id, there).await
    }

    /// Seals again what was sealed with an older key, so that that key can be removed.
    pub(crate) async fn reseal(&self, registry: &dyn StorageRecords) -> Result<(), Error> {
        for storage in registry.storages().await? {
            let Some(external) = storage.external.as_deref() else { continue };
            let Some(sealed) = external.secrets.as_deref() else { continue };
            if let Some(again) = self.vault.sealed_again(&storage.name, sealed)? {
                let external = ExternalConfig { secrets: Some(again), ..external.clone() };
                let storage_id = storage.id;
                registry.change_storage(storage_id, with_external(storage, Some(external))).await?;
            }
        }
        Ok(())
    }
}

/// A storage as it is, with another configuration.
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

#[async_trait]
impl StorageAdmin for NodeStorages {
    fn read(&self, described: Description, before: Option<&Storage>) -> Result<NewStorage, Error> {
        configure(&self.providers, &self.vault, described, before)
    }

    fn hints(&self, kind: StorageKind) -> Hints {
        let provider = self.providers.iter().find(|provider| provider.kind() == kind);
        provider.map_or_else(Hints::default, |provider| provider.hints())
    }

    async fn put(&self, storage: &Storage) -> Result<(), Error> {
        // Others are made when they are first asked; what is wrong with one was refused when it was configured.
        if storage.kind == StorageKind::Gateway {
            let external = storage.external.as_deref();
            let secrets = external.and_then(|external| external.secrets.as_deref());
            let secrets = secrets.map(|sealed| self.vault.open(&storage.name, sealed)).transpose()?;
            let settings = external.map_or("{}", |external| &*external.settings);
            self.endpoint.attach((storage.id, &storage.name), self.gateway.open(settings, secrets.as_ref())?);
            self.served().insert(storage.id, storage.clone());
        }
        Ok(())
    }

    async fn ensure_bucket(&self, storage: &Storage, bucket: &BucketName) -> Result<(), Error> {
        // Elsewhere, a credential that makes buckets is none this server should have.
        if storage.kind.is_ours() { self.endpoint.ensure_bucket_at(storage.id, bucket).await } else { Ok(()) }
    }

    async fn close_bucket(&self, storage: &Storage, bucket: &BucketName, with_objects: bool) -> Result<(), Error> {
        if with_objects && storage.kind != StorageKind::Embedded {
            let said = format!(
                "the objects of the storage `{}` are not this server's to remove: the bucket goes from the record alone, without `with_objects`",
                storage.name
            );
            return Err(Error::new(Kind::Invalid, said).at("with_objects"));
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
            self.served().remove(&storage.id);
        }
        self.fetchers.forget(storage.id);
    }

    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error> {
        if storage.kind.is_ours() { Ok(()) } else { self.fetchers.of(storage)?.upstream.check(&scope.clone().into()) }
    }

    fn has_urls(&self, storage: &Storage) -> Result<(), Error> {
        if storage.kind.is_ours() { Ok(()) } else { self.fetchers.of(storage)?.upstream.check_urls() }
    }

    async fn forget(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        self.cache.forget(storage, key_ids).await
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
