//! A running server: the implementations chosen, wired and listening. Both `valetkey dev` and `valetkey server run` are
//! this with different settings.

pub(crate) mod audit;
pub(crate) mod catalogs;
mod door;
mod figures;
mod front;
pub(crate) mod health;
pub(crate) mod listen;
pub(crate) mod log;
mod objects;
pub(crate) mod opening;
#[cfg(feature = "otel")]
pub(crate) mod otel;
#[cfg(not(feature = "otel"))]
#[path = "no_otel.rs"]
pub(crate) mod otel;
pub(crate) mod own;
pub(crate) mod ring;
mod room;
mod sealed;
pub(crate) mod signals;
mod stalls;
mod storages;
pub(crate) mod system;
pub(crate) mod tls;
mod traced;
mod validity;
pub(crate) mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use valetkey_core::account::Quotas;
use valetkey_core::fair::Budget;
use valetkey_core::health::Health;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::nouns::administration::Administration;
use valetkey_core::nouns::identity::{Identities, Signatures};
use valetkey_core::nouns::package::Packages;
use valetkey_core::nouns::parent::{ParentAdmin, Parents};
use valetkey_core::nouns::pool::Pool;
use valetkey_core::nouns::registry::Catalog;
use valetkey_core::nouns::share::Shares;
use valetkey_core::nouns::signing::OwnIdentity;
use valetkey_core::nouns::storage_admin::StorageAdmin;
use valetkey_core::nouns::trail::Trail;
use valetkey_core::nouns::usage::{Meter, Usage};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::nouns::workspace::Workspaces;
use valetkey_core::port::{Directory, Issuer, Ledger, Revocations, UrlSigner};
use valetkey_core::storage::Storage;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::token::PlainToken;
use valetkey_core::vending::Vending;

use valetkey_database::{ParentKeys, Whereabouts};
use valetkey_dialects::edge::{Console, EdgeLimits, Heavy, Registrar, Shared};
use valetkey_dialects::{access_grants, custom, dreadnode, iceberg, native, r2, sharing, sts, theirstack, unity};
use valetkey_issuers::Issuers;
use valetkey_issuers::cache::{self, Cache, Pooling};
use valetkey_issuers::embedded::Embedded;
use valetkey_issuers::kind::Surroundings;
use valetkey_issuers::probe;
use valetkey_oidc::{Oidc, Own, Web};

use crate::config::Config;
use crate::node::listen::{Ends, Listener};
use crate::node::otel::Telemetry;
use crate::node::signals::Signals;
use crate::node::storages::NodeStorages;
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::tls::Tls;
use crate::node::traced::Traced;

/// A running server.
pub(crate) struct Node {
    pub(crate) api_url: String,
    pub(crate) s3_url: String,
    /// What is done with it from inside of the process.
    pub(crate) handles: Handles,
    stores: Arc<NodeStorages>,
    store: Arc<valetkey_database::Database>,
    /// This server as an issuer of identity tokens, if it is one.
    own: Option<Arc<Own>>,
    ready: Arc<AtomicBool>,
    /// Ends the listeners.
    ends: Ends,
    /// Ends everything behind them.
    end: CancellationToken,
    conversations: TaskTracker,
    tasks: TaskTracker,
    /// Locked while this lives.
    _lock: File,
    shutdown: (Duration, Duration),
    signals: Signals,
    telemetry: Option<Telemetry>,
}

/// What the demo sets its world up with.
pub(crate) struct Handles {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) registry: Arc<dyn Administration>,
    /// The parent access keys.
    pub(crate) parents: Arc<ParentKeys>,
    pub(crate) endpoint: valetkey_s3::Endpoint,
    /// The embedded storage.
    pub(crate) storage: Storage,
    /// The console, where it is on.
    pub(crate) console: Option<Arc<Console>>,
    /// Whether nobody but this machine reaches the API's listener.
    pub(crate) near: bool,
}

impl Handles {
    /// A link that signs into the console with this token, once, within a minute; nothing where the console is off, or others can reach it.
    pub(crate) fn console_link(&self, api_url: &str, token: &str) -> Option<String> {
        let console = self.console.as_ref().filter(|_| self.near)?;
        let token = PlainToken::parse(token).ok()?;
        let code = console.link(&token, &*self.entropy, self.clock.now());
        Some(format!("{}/console/#code={}", api_url.trim_end_matches('/'), code.reveal()))
    }
}

/// What the dialects alone are given.
struct Given {
    vending: Vending,
    signer: Arc<dyn UrlSigner>,
    keyring: SharedKeyring,
    /// The bytes of bodies that both listeners may hold at once.
    bodies: Arc<Budget>,
    health: Health,
    /// The APIs that files describe.
    own: Vec<custom::Spec>,
}

/// Takes a data directory for this server. Before anything in it is changed: a second server would put its own addresses in
/// place of those of the first, and end.
pub(crate) fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("server.lock");
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            anyhow::bail!(
                "another server runs on the data directory {}; name another one with --data-dir",
                data_dir.display()
            )
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

/// Where a node's database is.
pub(crate) fn database(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("valetkey.db")
}

/// Reads the certificates that are configured: of the API and of the S3 endpoint.
fn read_tls(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<[Option<Tls>; 2]> {
    Ok([
        Tls::read(&config.api.tls_cert_file, &config.api.tls_key_file, true, Arc::clone(clock))?,
        Tls::read(&config.s3.tls_cert_file, &config.s3.tls_key_file, config.s3.http2, Arc::clone(clock))?,
    ])
}

/// Whether the certificates that are configured can be used now, and why clients may refuse them all the same.
pub(crate) fn check_tls(config: &Config, clock: &dyn Clock) -> anyhow::Result<[Option<String>; 2]> {
    Ok([
        Tls::check(&config.api.tls_cert_file, &config.api.tls_key_file, clock)?,
        Tls::check(&config.s3.tls_cert_file, &config.s3.tls_key_file, clock)?,
    ])
}

/// The environment as it is when the server starts; what is not text is of no use to anyone.
fn surroundings() -> Surroundings {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    Surroundings { environment: std::env::vars_os().filter_map(text).collect(), home: std::env::home_dir() }
}

fn cache_settings(upstream: &crate::config::Upstream) -> cache::Settings {
    let crate::config::Upstream {
        max_credentials,
        min_remaining_secs,
        deny_secs,
        token_dirs: _,
        machine_identity_hosts: _,
    } = upstream;
    let (min_remaining_secs, deny_secs) = (*min_remaining_secs, *deny_secs);
    cache::Settings { max_entries: *max_credentials, min_remaining_secs, deny_secs }
}

fn dreadnode_settings(config: &crate::config::Dreadnode) -> Result<dreadnode::Settings, valetkey_core::Error> {
    let crate::config::Dreadnode { default_ttl_secs, min_sdk_version, max_blob_bytes } = config;
    Ok(dreadnode::Settings {
        lifetime: Lifetime::secs(*default_ttl_secs),
        min_sdk: if min_sdk_version.is_empty() { None } else { Some(dreadnode::Version::parse(min_sdk_version)?) },
        blob_bytes: *max_blob_bytes,
    })
}

impl Node {
    /// Starts everything and listens.
    pub(crate) async fn start(config: &Config, telemetry: Option<Telemetry>) -> anyhow::Result<Self> {
        system::keep_memory_private();
        let signals = Signals::listen().context("signals cannot be waited for")?;
        let metrics = health::record()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        // Before anything is listened to: whoever forgot to make one should hear of that first.
        let (keyring, specs) = (opening::keyring(config)?, own::configured(config)?);
        if let Whereabouts::Server(_) = config.database()? {
            // What is known is at the database: another server needs no setting up.
            std::fs::create_dir_all(&config.data_dir)
                .with_context(|| format!("{} cannot be made", config.data_dir.display()))?;
        }
        let lock = lock(&config.data_dir)?;
        opening::warn_of_loose(config);
        let [api_tls, s3_tls] = read_tls(config, &clock)?;
        let [api, s3] = room::listeners(config, [api_tls.clone(), s3_tls.clone()]);
        let (api, s3) = (Listener::bind(api).await?, Listener::bind(s3).await?);
        let or = |set: &str, own: String| if set.is_empty() { own } else { set.trim_end_matches('/').to_owned() };
        let (api_url, s3_url) = (or(&config.api.public_url, api.url()), or(&config.s3.public_url, s3.url()));

        let (ends, end) = (Ends::new(), CancellationToken::new());
        let (conversations, tasks) = (TaskTracker::new(), TaskTracker::new());
        let store = opening::open_store(config, &clock, &entropy, &tasks, &end, config.s3.embedded).await?;
        let vault = Vault::new(keyring.clone(), Arc::clone(&entropy));
        // Before anything is written: with another ring it would be sealed so that the right one cannot open it.
        ring::prove(&keyring.load(), &store, &vault).await?;
        let own = opening::own(config, &store, &keyring, (&clock, &entropy)).await?;
        let health = Health::new(Arc::clone(&clock));
        let fetchers = opening::fetchers(config, &vault, own.clone(), (&clock, &entropy, &health), store.live_nodes())?;
        let storage = opening::embedded_storage(&*store, config, &s3_url, &*clock).await?;
        let parents = Arc::new(ParentKeys::open(&store, keyring.clone()).await?);
        let (meter, watching) = audit::watching(&config.audit, Arc::clone(&store) as Arc<dyn Meter>, &clock);
        watching.start(&(Arc::clone(&store) as Arc<dyn Catalog>), &tasks, &end);
        let bodies = Budget::new(config.limits.body_bytes);
        let endpoint = valetkey_s3::Endpoint::open(
            objects::config(config, &storage, &s3_url)?,
            valetkey_s3::World {
                keyring: keyring.clone(),
                leases: Arc::clone(&store) as Arc<dyn Revocations>,
                parents: Arc::clone(&parents) as Arc<dyn Parents>,
                quotas: Arc::clone(&store) as Arc<dyn Quotas>,
                health: health.clone(),
                meter,
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
                budget: Arc::clone(&bodies),
                tasks: tasks.clone(),
            },
        )
        .await
        .context("the embedded storage cannot be opened")?;
        let leases = Arc::clone(&store) as Arc<dyn Revocations>;
        let kept = cache_settings(&config.upstream);
        let pool = Pooling::new(Arc::clone(&store) as Arc<dyn Pool>, keyring.clone(), Arc::clone(&entropy));
        let cache = Cache::new(kept, leases, Arc::clone(&clock), Arc::clone(&entropy), tasks.clone(), Some(pool));
        let gateway = opening::gateway(config, &storage)?;
        let stores =
            Arc::new(NodeStorages::new(endpoint.clone(), gateway, Arc::clone(&fetchers), vault, cache.clone()));
        stores.reseal(&*store).await?;
        store.keep_ring(&keyring.load().check_values()).await?;
        opening::tell_of_operators(&*store, &*clock).await?;
        stores.open_all(&*store).await?;
        let embedded = Embedded::new(keyring.clone(), Arc::clone(&entropy));
        let issuers = Arc::new(Issuers::new(embedded, fetchers, cache));
        let vending = Vending {
            clock: Arc::clone(&clock),
            directory: Arc::clone(&store) as Arc<dyn Directory>,
            ledger: Arc::clone(&store) as Arc<dyn Ledger>,
            issuer: Arc::clone(&issuers) as Arc<dyn Issuer>,
        };
        let vending = if telemetry.is_some() { traced::ports(vending) } else { vending };
        let handles = Handles {
            clock,
            entropy,
            registry: Arc::clone(&store) as Arc<dyn Administration>,
            parents,
            endpoint,
            storage,
            console: config.console.then(|| Arc::new(Console::new(&api_url))),
            near: listen::near(api.address(), &api_url),
        };
        let node = Self {
            api_url,
            s3_url,
            handles,
            stores,
            store,
            own,
            ready: Arc::new(AtomicBool::new(true)),
            ends,
            end,
            conversations,
            tasks,
            _lock: lock,
            shutdown: patience(&config.shutdown),
            signals,
            telemetry,
        };
        let given = Given { vending, signer: issuers, keyring: keyring.clone(), bodies, health, own: specs };
        node.serve(config, metrics, node.dialects(config, given)?, [api, s3]).await?;
        node.watch(config, keyring, [api_tls, s3_tls]);
        Ok(node)
    }

    fn dialects(&self, config: &Config, given: Given) -> anyhow::Result<valetkey_dialects::edge::Service> {
        let Given { vending, signer, keyring, bodies, health, own } = given;
        let oidc = Arc::new(Oidc::new(Web::new(config.identity.private_hosts.iter().cloned())?));
        let shared = Arc::new(Shared {
            vending,
            registry: Registrar::new(
                Arc::clone(&self.handles.registry),
                Arc::clone(&self.handles.parents) as Arc<dyn ParentAdmin>,
            ),
            trail: Arc::clone(&self.store) as Arc<dyn Trail>,
            usage: Arc::clone(&self.store) as Arc<dyn Usage>,
            workspaces: Arc::clone(&self.store) as Arc<dyn Workspaces>,
            packages: Arc::clone(&self.store) as Arc<dyn Packages>,
            entropy: Arc::clone(&self.handles.entropy),
            shares: Arc::clone(&self.store) as Arc<dyn Shares>,
            keyring,
            parents: Arc::clone(&self.handles.parents) as Arc<dyn Parents>,
            leases: Arc::clone(&self.store) as Arc<dyn Revocations>,
            identities: Arc::clone(&self.store) as Arc<dyn Identities>,
            own: self.own.clone().map(|own| own as Arc<dyn OwnIdentity>),
            signatures: Arc::clone(&oidc) as Arc<dyn Signatures>,
            logins: oidc,
            console: self.handles.console.clone(),
            heavy: Heavy::new(room::heavy_limits(config)),
            bodies,
            health,
        });
        let sharing = sharing::Settings {
            prefix: config.sharing.prefix.clone(),
            public_url: self.api_url.clone(),
            url_lifetime: Lifetime::secs(config.sharing.url_ttl_secs),
            credential_lifetime: Lifetime::secs(config.sharing.credential_ttl_secs),
        };
        let limits = EdgeLimits {
            body_bytes: config.api.max_body_bytes,
            body_time: Duration::from_secs(config.api.body_timeout_secs),
            rates: room::rate_limits(config)?,
            nodes: self.store.live_nodes(),
            cors: objects::api_cors(config)?,
        };
        let urls = self.urls(config, &signer);
        let logs = urls.as_ref().map(|urls| Arc::clone(&urls.logs));
        // A dialect is a folder there and a line here.
        let mut dialects = vec![
            native::dialect(
                &shared,
                native::Settings {
                    lifetime: Lifetime::secs(config.native.default_ttl_secs),
                    sharing_url: sharing.endpoint(),
                    described: custom::described(&own),
                },
                Arc::clone(&self.stores) as Arc<dyn StorageAdmin>,
                Arc::new(probe::Live::new(Arc::clone(&self.handles.clock))),
                (logs.clone(), Arc::new(self.handles.endpoint.clone())),
                Arc::new(self.handles.endpoint.clone()),
            ),
            theirstack::dialect(
                &shared,
                theirstack::Settings {
                    lifetime: Lifetime::secs(config.theirstack.default_ttl_secs),
                    url_lifetime: Lifetime::secs(config.theirstack.url_ttl_secs),
                    ..theirstack::Settings::default()
                },
                theirstack::Files {
                    own: Arc::new(self.handles.endpoint.clone()),
                    elsewhere: Arc::new(probe::Live::new(Arc::clone(&self.handles.clock))),
                    signer,
                    tasks: self.tasks.clone(),
                },
            ),
            dreadnode::dialect(&shared, dreadnode_settings(&config.dreadnode)?),
            r2::dialect(&shared),
            sharing::dialect(&shared, sharing, urls),
            sts::dialect(
                &shared,
                sts::Settings {
                    lifetime: Lifetime::secs(config.sts.default_ttl_secs),
                    strict_durations: config.sts.strict_durations,
                },
            ),
            access_grants::dialect(&shared, access_grants::Settings { region: config.access_grants.region.clone() }),
            unity::dialect(
                &shared,
                unity::Settings { lifetime: Lifetime::secs(config.unity.credential_ttl_secs) },
                logs,
            ),
            iceberg::dialect(
                &shared,
                iceberg::Settings {
                    lifetime: Lifetime::secs(config.iceberg.credential_ttl_secs),
                    upstreams: catalogs::configured(config, &self.handles.clock)?,
                },
                Arc::new(self.handles.endpoint.clone()),
                Arc::new(probe::Live::new(Arc::clone(&self.handles.clock))),
            ),
        ];
        custom::add(&shared, &mut dialects, own)?;
        Ok(valetkey_dialects::edge::Service::new(shared, limits, dialects)?)
    }

    /// What serves the files of shared tables by URL: the reader of their logs, and the signer.
    #[cfg(feature = "delta")]
    #[expect(clippy::unnecessary_wraps, reason = "a build without the reader has none")]
    fn urls(&self, config: &Config, signer: &Arc<dyn UrlSigner>) -> Option<sharing::Urls> {
        let limits = valetkey_delta::Limits {
            deadline: Duration::from_secs(u64::from(config.sharing.log_timeout_secs)),
            files: usize::try_from(config.sharing.max_files).unwrap_or(usize::MAX),
            entry_bytes: config.sharing.max_answer_bytes,
            versions: u64::from(config.sharing.max_versions),
            ..valetkey_delta::Limits::default()
        };
        let logs = valetkey_delta::Logs::new(Arc::new(self.handles.endpoint.clone()), self.tasks.clone(), limits)
            .with_elsewhere(Arc::new(probe::Live::new(Arc::clone(&self.handles.clock))));
        Some(sharing::Urls { logs: Arc::new(logs), signer: Arc::clone(signer) })
    }

    /// Nothing: this build does not read the tables' logs.
    #[cfg(not(feature = "delta"))]
    #[expect(clippy::unused_self, reason = "a build with the reader asks for more")]
    fn urls(&self, _: &Config, _: &Arc<dyn UrlSigner>) -> Option<sharing::Urls> {
        None
    }

    async fn serve(
        &self,
        config: &Config,
        metrics: health::Metrics,
        dialects: valetkey_dialects::edge::Service,
        [api, s3]: [Listener; 2],
    ) -> anyhow::Result<()> {
        let health = health::Health {
            ready: Arc::clone(&self.ready),
            store: Arc::clone(&self.store),
            objects: self.handles.endpoint.clone(),
        };
        let has_metrics = config.metrics.listen.is_empty();
        let own = if has_metrics {
            health::routes(health, Some(metrics.clone()))
        } else {
            let address: SocketAddr = config.metrics.listen.parse().with_context(|| {
                format!("`metrics.listen` is `{}`, which is not an address and a port", config.metrics.listen)
            })?;
            let listener = Listener::bind(room::watchers(address)).await?;
            let routes = health::routes(health.clone(), Some(metrics.clone()));
            self.conversations.spawn(listener.serve(routes, self.ends.clone(), self.conversations.clone()));
            health::routes(health, None)
        };
        let door = door::Door { objects: self.handles.endpoint.clone(), dialects: dialects.clone(), path: sts::PATH };
        let router = front::Front {
            own,
            has_metrics,
            dialects,
            console: self.handles.console.as_ref().map(|_| Arc::new(valetkey_console::Pages::new())),
        };
        let on = self.telemetry.is_some();
        let api_service = Traced { inner: router, listener: "api", on };
        let s3_service = Traced { inner: door, listener: "s3", on };
        self.conversations.spawn(api.serve(api_service, self.ends.clone(), self.conversations.clone()));
        self.conversations.spawn(s3.serve(s3_service, self.ends.clone(), self.conversations.clone()));
        if let Some(sending) =
            self.telemetry.as_ref().map(|telemetry| telemetry.metrics(metrics.clone(), self.end.clone()))
        {
            self.tasks.spawn(sending);
        }
        self.tasks.spawn(metrics.keep(self.end.clone()));
        Ok(())
    }

    fn watch(&self, config: &Config, keyring: SharedKeyring, tls: [Option<Tls>; 2]) {
        if let Some(mut elsewhere) = self.store.pool_elsewhere() {
            let (stores, end) = (Arc::clone(&self.stores), self.end.clone());
            self.tasks.spawn(async move {
                while let Some(Ok(())) = end.run_until_cancelled(elsewhere.changed()).await {
                    stores.look_again();
                }
            });
        }
        if let Some(mut elsewhere) = self.store.storages_elsewhere() {
            let (stores, registry) = (Arc::clone(&self.stores), Arc::clone(&self.handles.registry));
            let end = self.end.clone();
            self.tasks.spawn(async move {
                while let Some(Ok(())) = end.run_until_cancelled(elsewhere.changed()).await {
                    if let Err(error) = stores.follow(&*registry).await {
                        tracing::error!(error = ?error, "what another server changed of storages is not followed yet");
                        elsewhere.mark_changed();
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            });
        }
        let mut watched = Vec::new();
        if config.keys.inline.reveal().is_empty() {
            let sealed = sealed::Sealed {
                stores: Arc::clone(&self.stores),
                registry: Arc::clone(&self.handles.registry),
                parents: Arc::clone(&self.handles.parents),
                own: self.own.clone(),
                store: Arc::clone(&self.store),
            };
            watched.push(sealed.watched(config.keyring_file(), keyring, self.tasks.clone()));
        }
        for (what, tls) in ["certificate of the API", "certificate of the S3 endpoint"].into_iter().zip(tls) {
            if let Some(tls) = tls {
                watched.push(watch::Watched {
                    what,
                    files: tls.files().map(std::path::Path::to_owned).to_vec(),
                    reload: Arc::new(move || tls.reload()),
                });
            }
        }
        self.tasks.spawn(watch::watch(watched, self.end.clone()));
        let figures = figures::Watched {
            store: Arc::clone(&self.store),
            data_dir: config.data_dir.clone(),
            clock: Arc::clone(&self.handles.clock),
        };
        self.tasks.spawn(figures.keep(self.end.clone()));
        audit::start(&config.audit, self);
        if let Some(own) = &self.own {
            self.tasks.spawn(opening::rotate(Arc::clone(own), config.issuer.rotate_days, self.end.clone()));
        }
        let (endpoint, data_dir) = (self.handles.endpoint.clone(), config.data_dir.clone());
        self.tasks.spawn(objects::sweep_daily(endpoint, data_dir, self.end.clone()));
        if config.s3.max_upload_age_secs > 0 {
            let age = jiff::SignedDuration::from_secs(i64::from(config.s3.max_upload_age_secs));
            let (endpoint, clock) = (self.handles.endpoint.clone(), Arc::clone(&self.handles.clock));
            self.tasks.spawn(objects::end_old_uploads(endpoint, clock, age, self.end.clone()));
        }
    }

    /// Waits for an interrupt or a termination signal, then shuts down.
    pub(crate) async fn until_stopped(mut self) {
        self.signals.next().await;
        self.shut_down().await;
    }

    /// Shuts down: not ready any more, a wait so that balancers see it, no new connections, open requests finished, everything
    /// written. A second signal ends the process at once.
    pub(crate) async fn shut_down(self) {
        let (delay, drain) = self.shutdown;
        let mut signals = self.signals;
        info!("shutting down");
        self.ready.store(false, Ordering::Release);
        self.ends.leaving.cancel();
        let orderly = async {
            tokio::time::sleep(delay).await;
            self.ends.stop.cancel();
            self.conversations.close();
            if tokio::time::timeout(drain, self.conversations.wait()).await.is_err() {
                warn!("open requests were cut off after {} s", drain.as_secs());
                self.ends.cut.cancel();
            }
            self.end.cancel();
            self.tasks.close();
            if let Err(error) = self.store.close().await {
                warn!(%error, detail = error.detail(), "the database could not be closed in order");
            }
            // The endpoint's own work ends with the last of its handles; the listener's is gone by now.
            drop((self.handles, self.stores));
            if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.is_err() {
                warn!("a background task did not end");
            }
            if let Some(telemetry) = self.telemetry {
                telemetry.end().await;
            }
        };
        tokio::select! {
            () = orderly => info!("shut down"),
            () = signals.next() => warn!("a second signal; ending at once"),
        }
    }
}

/// How long the server waits before it closes its listeners, and then for open requests.
fn patience(shutdown: &crate::config::Shutdown) -> (Duration, Duration) {
    (Duration::from_secs(shutdown.delay_secs), Duration::from_secs(shutdown.drain_secs))
}
