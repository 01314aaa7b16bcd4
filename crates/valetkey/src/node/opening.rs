//! What a node is opened with: the ring, what opens the secrets of stores, and what is told of both before anything is served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use valetkey_core::caller::Role;
use valetkey_core::fair::LiveNodes;
use valetkey_core::health::Health;
use valetkey_core::hosts::Trusted;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::name::Name;
use valetkey_core::nouns::provider::Facts;
use valetkey_core::nouns::registry::{NewStorage, StorageRecords, Tokens};
use valetkey_core::nouns::signing::{OwnIdentity, SigningAdmin};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_gateway::{Gateway, LocalRoots};
use valetkey_issuers::fetchers::Fetchers;
use valetkey_issuers::kind::Environment;
use valetkey_oidc::Own;

use crate::config::{Config, LedgerMode};
use crate::node::{database, objects, ring};

/// Reads the ring that is configured.
pub(crate) fn keyring(config: &Config) -> anyhow::Result<SharedKeyring> {
    let inline = config.keys.inline.reveal();
    let ring = if inline.is_empty() {
        ring::present(&config.keyring_file(), &database(config))?;
        ring::load(&config.keyring_file())?
    } else {
        ring::read(inline)?
    };
    Ok(SharedKeyring::new(ring))
}

/// This server as an issuer of identity tokens, if it is one: with keys.
pub(super) async fn own(
    config: &Config,
    store: &Arc<valetkey_database::Database>,
    keyring: &SharedKeyring,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> anyhow::Result<Option<Arc<Own>>> {
    if config.issuer.url.is_empty() {
        return Ok(None);
    }
    let store = Arc::clone(store) as Arc<dyn SigningAdmin>;
    let own = Own::new(&config.issuer.url, store, keyring.clone(), Arc::clone(clock), Arc::clone(entropy));
    // Who starts the server can withdraw a key that nothing opens any more.
    if let Err(error) = own.reseal().await {
        tracing::error!(error = ?error, "signing keys could not be sealed with the keyring's first key");
    }
    own.settle(None).await?;
    Ok(Some(Arc::new(own)))
}

/// Makes the next keys of an issuer when it is time: looks at once, since no server may run for a day, and every hour.
pub(super) async fn rotate(own: Arc<Own>, days: u32, end: CancellationToken) {
    let oldest = (days > 0).then(|| SignedDuration::from_hours(24 * i64::from(days)));
    let mut looks = tokio::time::interval(Duration::from_hours(1));
    while end.run_until_cancelled(looks.tick()).await.is_some() {
        if let Err(error) = own.settle(oldest).await {
            tracing::error!(error = ?error, "the next signing keys could not be made");
        }
    }
}

/// What asks for the credentials of storages that somebody else runs.
pub(crate) fn fetchers(
    config: &Config,
    vault: &Vault,
    own: Option<Arc<Own>>,
    (clock, entropy, health): (&Arc<dyn Clock>, &Arc<dyn Entropy>, &Health),
    nodes: LiveNodes,
) -> anyhow::Result<Arc<Fetchers>> {
    Ok(Arc::new(Fetchers::new(Environment {
        vault: vault.clone(),
        surroundings: super::surroundings(),
        token_dirs: config.upstream.token_dirs.clone(),
        machine_identity_hosts: machine_identity_hosts(config)?,
        identity: own.map(|own| own as Arc<dyn OwnIdentity>),
        health: health.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        nodes,
    })))
}

/// What opens the storages behind our own endpoint.
pub(super) fn gateway(config: &Config, own: &Storage) -> anyhow::Result<Gateway> {
    Ok(Gateway {
        front: Facts::of(own),
        local_roots: LocalRoots {
            allowed: config.gateway.local_roots.clone(),
            own: vec![config.data_dir.clone(), config.keyring_file()],
        },
        machine_identity_hosts: machine_identity_hosts(config)?,
        terms: objects::terms(config, &super::surroundings().environment),
    })
}

/// Where the machine's own identity may go.
fn machine_identity_hosts(config: &Config) -> anyhow::Result<Trusted> {
    Ok(Trusted::parse(config.upstream.machine_identity_hosts.iter().map(String::as_str))?)
}

/// What others can read of the keyring and the data directory, in words.
pub(crate) fn loose(config: &Config) -> Vec<String> {
    ring::loose(&config.keyring_file(), &config.data_dir)
}

/// Logs it.
pub(super) fn warn_of_loose(config: &Config) {
    for said in loose(config) {
        tracing::warn!("{said}");
    }
}

/// Logs which tokens of operators were made on this machine: nobody else would hear of one that should not be there.
pub(super) async fn tell_of_operators(tokens: &dyn Tokens, clock: &dyn Clock) -> anyhow::Result<()> {
    for token in tokens.tokens(None).await? {
        if token.role == Role::Operator && token.made_by.is_none() && token.is_live(clock.now()) {
            info!(token.id = %token.id, "the operator's token {} was made on this machine at {:.0}", token.id, token.made);
        }
    }
    Ok(())
}

/// Finds or makes the embedded store's entry, and brings it up to what is configured.
pub(super) async fn embedded_storage(
    registry: &dyn StorageRecords,
    config: &Config,
    s3_url: &str,
    clock: &dyn Clock,
) -> anyhow::Result<Storage> {
    let name = Name::parse("embedded")?;
    let wanted = NewStorage {
        name: name.clone(),
        kind: StorageKind::Embedded,
        endpoint: s3_url.into(),
        internal_endpoint: (!config.s3.internal_url.is_empty())
            .then(|| config.s3.internal_url.trim_end_matches('/').into()),
        region: config.s3.region.as_str().into(),
        min_lifetime: Lifetime::secs(config.s3.min_ttl_secs),
        max_lifetime: Lifetime::secs(config.s3.max_ttl_secs),
        external: None,
    };
    let Some(known) = registry.storages().await?.into_iter().find(|storage| storage.name == name) else {
        return Ok(registry.create_storage(wanted, clock.now()).await?);
    };
    let current = wanted.clone().stored(known.id, 1);
    if current != known {
        registry.change_storage(known.id, wanted).await?;
    }
    Ok(current)
}

/// Opens a node's database, as configured.
pub(crate) async fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    tasks: &TaskTracker,
    end: &CancellationToken,
    embedded: bool,
) -> anyhow::Result<Arc<valetkey_database::Database>> {
    open_store_at(config.database()?, config, (clock, entropy), tasks, end, embedded).await
}

/// The same of a database that is elsewhere.
pub(crate) async fn open_store_at(
    at: valetkey_database::Whereabouts,
    config: &Config,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
    tasks: &TaskTracker,
    end: &CancellationToken,
    embedded: bool,
) -> anyhow::Result<Arc<valetkey_database::Database>> {
    let space = valetkey_s3::Space::at(&config.data_dir, config.s3.min_free());
    let settings = valetkey_database::Settings {
        room: valetkey_database::Room::as_said(Arc::new(move |bytes| space.admit(bytes).map(drop))),
        ledger: match config.ledger.mode {
            LedgerMode::Durable => valetkey_database::LedgerMode::Durable,
            LedgerMode::Relaxed => valetkey_database::LedgerMode::Relaxed,
        },
        queue: match config.ledger.mode {
            LedgerMode::Durable => valetkey_database::Settings::default().queue,
            // Nobody waits for these, so a checkpoint of the database must fit in; some 200 bytes each.
            LedgerMode::Relaxed => 65_536,
        },
        holdings: config.limits.holdings.0.clone(),
        retention: valetkey_database::Retention {
            refusals_secs: config.retention.refusals_secs,
            requests_secs: config.retention.requests_secs,
            ledger_secs: config.retention.ledger_secs,
            ended_secs: config.retention.ended_secs,
        },
        archive: Some(config.ledger.archive_dir.clone()).filter(|dir| !dir.as_os_str().is_empty()),
        reserve_bytes: config.ledger.reserve_bytes,
        node: config.database.node.clone(),
        embedded,
        staleness: valetkey_database::Staleness {
            vend: std::time::Duration::from_secs(config.database.max_staleness_secs),
            s3: std::time::Duration::from_secs(config.s3.max_staleness_secs),
        },
        ..valetkey_database::Settings::default()
    };
    let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
    let store =
        valetkey_database::Database::open(at.clone(), settings, clock, entropy, tasks.clone(), end.clone()).await;
    Ok(Arc::new(store.with_context(|| format!("the database `{at}` cannot be opened"))?))
}

/// Whether the database was used with a keyring before.
pub(crate) async fn is_ring_known(config: &Config) -> anyhow::Result<bool> {
    let clock: Arc<dyn Clock> = Arc::new(super::system::SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(super::system::SystemEntropy);
    let store = open_store(config, &clock, &entropy, &TaskTracker::new(), &CancellationToken::new(), false).await?;
    let known = store.known_ring().await?;
    store.close().await?;
    Ok(!known.is_empty())
}
