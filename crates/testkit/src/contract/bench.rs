//! What a contract works on: the ports of one implementation, and a tenant that may vend.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::account::{Account, Metering, Quotas};
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::conditions::Facts;
use valetkey_core::grant::{Grantee, NewGrant};
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId};
use valetkey_core::lease::{Lease, LeaseState, Provenance, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::identity::IdentityAdmin;
use valetkey_core::nouns::package::Packages;
use valetkey_core::nouns::policy_set::PolicySetAdmin;
use valetkey_core::nouns::registry::{NewStorage, Registry, TokenRecord};
use valetkey_core::nouns::request::RequestAdmin;
use valetkey_core::nouns::share::ShareAdmin;
use valetkey_core::nouns::signing::SigningAdmin;
use valetkey_core::nouns::usage::Usage;
use valetkey_core::nouns::workspace::WorkspaceAdmin;
use valetkey_core::policy::{self, Permit};
use valetkey_core::port::{Directory, Ledger, Revocations};
use valetkey_core::scope::{Actions, Path, Paths, Scope};
use valetkey_core::storage::{Shape, Storage, StorageKind};
use valetkey_core::template::Opens;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::token::{Maker, PlainToken};

use crate::clock::FixedClock;

/// The ports of one implementation, empty at first.
pub struct Bench {
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What the endpoint asks.
    pub leases: Arc<dyn Revocations>,
    /// What was used.
    pub usage: Arc<dyn Usage>,
    /// What accounts may keep.
    pub quotas: Arc<dyn Quotas>,
    /// Changes.
    pub registry: Arc<dyn Registry>,
    /// Workspaces and projects.
    pub workspaces: Arc<dyn WorkspaceAdmin>,
    /// Identity providers.
    pub identities: Arc<dyn IdentityAdmin>,
    /// The keys that sign identity tokens.
    pub signing: Arc<dyn SigningAdmin>,
    /// Requests for access.
    pub requests: Arc<dyn RequestAdmin>,
    /// What files own.
    pub policies: Arc<dyn PolicySetAdmin>,
    /// Packages.
    pub packages: Arc<dyn Packages>,
    /// What is shared.
    pub shares: Arc<dyn ShareAdmin>,
    /// The clock the implementation was given.
    pub clock: Arc<FixedClock>,
    /// Randomness for tokens.
    pub entropy: Arc<dyn Entropy>,
    /// What must live as long as the bench.
    pub kept: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bench")
    }
}

/// An account with a caller, its token, and a grant of `lake`, directory `jobs/daily`, to read.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The account.
    pub account: Account,
    /// The caller.
    pub caller: CallerId,
    /// Its token.
    pub token: PlainToken,
    /// The token's record.
    pub record: TokenRecord,
    /// The store.
    pub storage: Storage,
    /// The grant.
    pub grant: GrantId,
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A bucket's name.
pub fn bucket(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

/// A scope to read some directories.
pub fn reads(of: &str, directories: &[&str]) -> Scope {
    let paths: Vec<Path> = directories.iter().map(|path| Path::directory(path.as_bytes()).unwrap()).collect();
    Scope::new(bucket(of), Paths::only(paths).unwrap(), Actions::READ).unwrap()
}

/// A store to be added.
pub fn new_storage(text: &str) -> NewStorage {
    NewStorage {
        name: name(text),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:9000".into(),
        internal_endpoint: None,
        region: "local".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(604_800),
        external: None,
    }
}

/// A grant to be added.
pub fn new_grant(account: AccountId, storage: &Storage, text: &str, scope: impl Into<Opens>) -> NewGrant {
    NewGrant {
        name: name(text),
        account,
        to: Grantee::Everyone,
        storage: storage.id,
        dataset: None,
        scope: scope.into(),
        max_lifetime: Lifetime::secs(604_800),
        from: None,
        until: None,
        conditions: None,
    }
}

/// An ask for a grant, as it is, for an hour.
pub fn ask(grant: GrantId) -> Ask {
    Ask {
        dialect: "native",
        target: Target::Grant { grant: GrantRef::Id(grant), paths: None },
        wanted: Wanted::all_of(Actions::READ),
        lifetime: Asked::For(Lifetime::secs(3600)),
        carries: Shape::ALL,
    }
}

impl Bench {
    /// The bench of something that is every port at once.
    pub fn of<S>(
        store: &Arc<S>,
        clock: Arc<FixedClock>,
        entropy: Arc<dyn Entropy>,
        kept: Box<dyn Any + Send + Sync>,
    ) -> Self
    where
        S: Directory
            + Ledger
            + Revocations
            + Usage
            + Quotas
            + Registry
            + WorkspaceAdmin
            + IdentityAdmin
            + SigningAdmin
            + RequestAdmin
            + PolicySetAdmin
            + Packages
            + ShareAdmin
            + 'static,
    {
        Self {
            directory: Arc::<S>::clone(store),
            ledger: Arc::<S>::clone(store),
            leases: Arc::<S>::clone(store),
            usage: Arc::<S>::clone(store),
            quotas: Arc::<S>::clone(store),
            registry: Arc::<S>::clone(store),
            workspaces: Arc::<S>::clone(store),
            identities: Arc::<S>::clone(store),
            signing: Arc::<S>::clone(store),
            requests: Arc::<S>::clone(store),
            policies: Arc::<S>::clone(store),
            packages: Arc::<S>::clone(store),
            shares: Arc::<S>::clone(store),
            clock,
            entropy,
            kept,
        }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store and bucket named `lake`, made when they are not there.
    pub async fn lake(&self) -> Storage {
        if let Some(storage) =
            self.registry.storages().await.unwrap().into_iter().find(|storage| storage.name == name("lake"))
        {
            return storage;
        }
        let storage = self.registry.create_storage(new_storage("lake"), self.now()).await.unwrap();
        self.registry.create_bucket(storage.id, &bucket("lake"), self.now()).await.unwrap();
        storage
    }

    /// Makes a tenant.
    pub async fn tenant(&self, text: &str, metering: Metering) -> Tenant {
        let now = self.now();
        let storage = self.lake().await;
        let account = self.registry.create_account(&name(text), metering, now).await.unwrap();
        let caller = self.registry.ensure_caller(account.id, &name("ann"), Role::Member, now).await.unwrap();
        let token = PlainToken::generate(&*self.entropy);
        let record = self.registry.create_token(caller, &token, None, Maker::Server, now).await.unwrap();
        let grant = new_grant(account.id, &storage, "daily", reads("lake", &["jobs/daily"]));
        let grant = self.registry.create_grant(grant, now).await.unwrap();
        Tenant { account, caller, token, record, storage, grant }
    }

    /// Who a token proves.
    pub async fn caller(&self, token: &PlainToken) -> Result<Arc<Caller>, Error> {
        self.directory.caller(token, self.now()).await
    }

    /// Decides an ask of a token's caller.
    pub async fn decide(&self, token: &PlainToken, ask: &Ask) -> Result<Permit, Error> {
        let caller = self.caller(token).await?;
        let snapshot = self.directory.account(caller.account, self.now()).await?;
        policy::decide(&snapshot, &caller, ask, &Facts::default(), self.now())
    }

    /// Opens a lease of a tenant's grant.
    pub async fn open(&self, tenant: &Tenant) -> Result<Lease, Error> {
        // As `Vending` does, also where the caller is another by now.
        let mut opened = self.open_once(tenant).await;
        for _ in 0..2 {
            if !opened.as_ref().is_err_and(Error::is_overtaken) {
                break;
            }
            opened = self.open_once(tenant).await;
        }
        opened
    }

    async fn open_once(&self, tenant: &Tenant) -> Result<Lease, Error> {
        let permit = self.decide(&tenant.token, &ask(tenant.grant)).await?;
        self.ledger.open(&permit, None, self.now()).await
    }

    /// Whether a lease's credential was ended early.
    pub fn is_revoked(&self, lease: &Lease) -> bool {
        self.leases.is_revoked(&provenance(lease))
    }

    /// What became of a lease.
    pub async fn state(&self, lease: LeaseId) -> LeaseState {
        self.registry.lease(lease).await.unwrap().unwrap().state
    }
}

/// Where a lease's credential comes from, as its session token says it.
pub fn provenance(lease: &Lease) -> Provenance {
    Provenance { opened: Timestamp::from_second(lease.opened.as_second()).unwrap(), ..lease.provenance() }
}

/// Somebody who ends things now.
pub fn by(tenant: &Tenant, at: Timestamp) -> Revoker {
    Revoker { by: tenant.caller, at }
}
