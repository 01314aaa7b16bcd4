//! Every port over plain memory: the second implementation of the contract, and what other crates test against. Nothing of
//! it lasts, and it is as slow and as obvious as it can be.

mod files;
mod identity;
mod ledger;
mod left;
mod parents;
mod policy;
mod pool;
mod registry;
mod removal;
mod requests;
mod shares;
mod shortening;
mod signing;
mod trail;
mod usage;
mod workspaces;

pub use files::Files;
pub use pool::MemoryPool;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Secret;
use valetkey_core::account::Account;
use valetkey_core::caller::{Caller, CallerStanding, Role};
use valetkey_core::credential::{Credential, Issued, S3Keys, Trace};
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::grant::Grant;
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::keyring::Keyring;
use valetkey_core::lease::{Lease, Refusal, Revocation, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::{Dataset, Datasets};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::signing::SigningKey;
use valetkey_core::nouns::usage::{Balance, Origin, Traffic, Used};
use valetkey_core::policy::Permit;
use valetkey_core::port::{Directory, Issuer};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Storage;
use valetkey_core::time::{Entropy, random_10};
use valetkey_core::token::TokenDigest;

/// Every port over plain memory.
pub struct Memory {
    entropy: Arc<dyn Entropy>,
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    accounts: Vec<(Account, Balance)>,
    /// Accounts that were removed, under the names they have since.
    gone: Vec<(Account, Balance)>,
    callers: Vec<(CallerId, AccountId, Name, Role)>,
    /// Those that are not active.
    standings: HashMap<CallerId, CallerStanding>,
    tokens: Vec<(TokenDigest, TokenRecord)>,
    /// Those that may outlive the token that made them.
    outliving: Vec<TokenId>,
    parents: Vec<(TokenId, Secret<String>)>,
    storages: Vec<Storage>,
    buckets: Vec<(BucketName, StorageId)>,
    datasets: Vec<Dataset>,
    grants: Vec<Grant>,
    groups: Vec<Group>,
    /// Grants that are gone: what was vended under them can still be ended.
    removed: Vec<GrantId>,
    leases: Vec<Lease>,
    /// Where leases were asked for from.
    addresses: HashMap<LeaseId, IpAddr>,
    /// With which other token leases were asked for, and whose that is.
    asked_with: HashMap<LeaseId, (TokenId, CallerId, AccountId)>,
    /// What leases were narrowed from, the first one first.
    narrowed_from: HashMap<LeaseId, Arc<[LeaseId]>>,
    /// What went over the S3 endpoint: whose, when, how much.
    traffic: Vec<(AccountId, CallerId, Timestamp, Traffic)>,
    used: HashMap<LeaseId, Used>,
    traces: Vec<(LeaseId, Trace)>,
    voided: HashSet<LeaseId>,
    ended: Vec<(Revocation, Revoker)>,
    refusals: Vec<(Refusal, Timestamp)>,
    destinations: HashMap<String, trail::Destination>,
    requests: Vec<(AccountId, TokenId, Origin, Timestamp)>,
    shelf: workspaces::Shelf,
    shared: shares::Shared,
    trust: identity::Trust,
    signing: Vec<SigningKey>,
    asked: requests::Asked,
    policy: policy::Sets,
    /// Rises with every change a snapshot may show.
    version: u64,
    snapshots: HashMap<AccountId, (u64, Arc<Snapshot>)>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// Starts with nothing in it.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, world: Mutex::default() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> [u8; 10] {
        random_10(&*self.entropy)
    }

    /// Every refusal that was recorded, in order.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.world().refusals.iter().map(|(refusal, _)| refusal.clone()).collect()
    }
}

impl World {
    fn standing(&self, caller: CallerId) -> CallerStanding {
        self.standings.get(&caller).copied().unwrap_or(CallerStanding::Active)
    }

    fn account(&mut self, id: AccountId) -> Result<&mut (Account, Balance), Error> {
        self.accounts.iter_mut().find(|(account, _)| account.id == id).ok_or_else(|| Error::not_found(Noun::Account))
    }
}

#[async_trait]
impl Datasets for Memory {
    async fn datasets(&self) -> Result<Arc<[Dataset]>, Error> {
        let mut datasets = self.world().datasets.clone();
        datasets.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(datasets.into())
    }
}

#[async_trait]
impl Directory for Memory {
    async fn caller_by_digest(&self, digest: TokenDigest, now: Timestamp) -> Result<Arc<Caller>, Error> {
        let world = self.world();
        let stranger = |why: Stranger, said: &'static str| Error::new(Kind::Unauthenticated(why), said);
        let (_, record) = world
            .tokens
            .iter()
            .find(|(own, _)| *own == digest)
            .ok_or_else(|| stranger(Stranger::Unknown, "the token is not known here"))?;
        if record.revoked.is_some() {
            return Err(stranger(Stranger::Revoked, "the token was revoked"));
        }
        world.standing(record.caller).served()?;
        let caller = Caller {
            id: record.caller,
            account: record.account,
            name: record.caller_name.clone(),
            role: record.role,
            token: record.id,
            token_until: record.until,
            held: None,
            identity: world.identity(record.id),
            as_of: 0,
        };
        caller.in_time(now)?;
        Ok(Arc::new(caller))
    }

    async fn account(&self, id: AccountId, now: Timestamp) -> Result<Arc<Snapshot>, Error> {
        let mut world = self.world();
        if let Some((version, snapshot)) = world.snapshots.get(&id)
            && *version == world.version
        {
            return Ok(Arc::clone(snapshot));
        }
        let account = world.account(id)?.0.clone();
        let storages: Vec<Arc<Storage>> = world.storages.iter().cloned().map(Arc::new).collect();
        let grants: Vec<Grant> = world.grants.iter().filter(|grant| grant.account == id).cloned().collect();
        let groups: Vec<Group> = world.groups.iter().filter(|group| group.account == id).cloned().collect();
        let snapshot = Arc::new(Snapshot::new(account, storages, grants, now).with_groups(groups));
        let version = world.version;
        world.snapshots.insert(id, (version, Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

/// Issues the embedded endpoint's own credentials, as the real issuer does.
pub struct SealingIssuer {
    /// The keys.
    pub ring: Keyring,
    /// Randomness, for nonces.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for SealingIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingIssuer")
    }
}

#[async_trait]
impl Issuer for SealingIssuer {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        Ok(None)
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        let access_key_id = self.ring.access_key_id(lease.id)?;
        let secret_access_key = self
            .ring
            .secret_access_key(&access_key_id)
            .ok_or_else(|| Error::internal("the ring does not know the key it just used"))?;
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        let session_token = self.ring.seal_narrowed(lease, permit.leases(), &access_key_id, nonce)?;
        let expiration = permit.until();
        let keys = S3Keys { access_key_id, secret_access_key, session_token, expiration };
        Ok(Issued::own(Credential::S3(keys)))
    }
}
