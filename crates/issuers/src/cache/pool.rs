//! What nodes that share a database keep together: one of them fetches, the others open what it kept.
//!
//! SECURITY: what is kept is sealed with the keyring and bound to a digest of all that decides what it opens and for whom, so that a row
//! put in another's place does not open. What is taken out is held against the permit, the revocations and the time like what is
//! kept here; times are those of the node that fetched (nodes whose clocks differ are told of, `database/hearing.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use valetkey_core::Error;
use valetkey_core::id::{CallerId, StorageId};
use valetkey_core::keyring::{SEAL_NONCE_LEN, SharedKeyring};
use valetkey_core::nouns::pool::{Claimant, NewPooled, Pool, PoolKey};
use valetkey_core::time::{Clock, Entropy};

use super::held::Held;
use super::{Inner, Key, sealed};

/// What the seals are for.
const PURPOSE: &str = "pooled credential";
/// How often a claim is extended: three times before it would be over.
const EXTEND: Duration = Duration::from_secs(1);
/// The pauses between two looks at what another node fetches: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);
/// The longest that another node's fetch is waited for: longer than any storage is.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pool, and what seals what is in it.
pub struct Pooling {
    pool: Arc<dyn Pool>,
    keyring: SharedKeyring,
    entropy: Arc<dyn Entropy>,
}

/// The right to fetch, for all nodes.
pub(super) struct Claim {
    key: PoolKey,
    claimant: Claimant,
}

/// What was found.
pub(super) enum Found {
    /// What another node fetched; it is kept here now.
    Landed,
    /// Nothing: it is for this node to fetch.
    Claimed(Claim),
    /// The database cannot be asked.
    Nothing,
}

impl Pooling {
    /// A pool, and the keyring that all of its nodes have.
    pub fn new(pool: Arc<dyn Pool>, keyring: SharedKeyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { pool, keyring, entropy }
    }

    fn chance<const N: usize>(&self) -> [u8; N] {
        let mut chance = [0; N];
        self.entropy.fill(&mut chance);
        chance
    }

    /// Takes in what another node fetched, waits for what it fetches, or claims the fetch.
    pub(super) async fn find(
        &self,
        cache: &Inner,
        key: &Key,
        takes: impl Fn(&Held, Timestamp) -> bool + Send,
    ) -> Found {
        match self.found(cache, key, takes).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = ?error, "what other nodes fetched is not known");
                Found::Nothing
            }
        }
    }

    async fn found(
        &self,
        cache: &Inner,
        key: &Key,
        takes: impl Fn(&Held, Timestamp) -> bool + Send,
    ) -> Result<Found, Error> {
        let claim = Claim { key: digest(key), claimant: Claimant(self.chance()) };
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            let (now, forgotten) = (cache.clock.now(), cache.forgotten());
            let seen = self.pool.look(claim.key, now).await?;
            let held = seen.sealed.as_deref().and_then(|sealed| self.open(claim.key, sealed));
            if let Some(held) = held.filter(|held| takes(held, now)) {
                if cache.take_in(key, Arc::new(held), forgotten) {
                    return Ok(Found::Landed);
                }
                continue;
            }
            if self.pool.claim(claim.key, seen.version, claim.claimant, now).await? {
                return Ok(Found::Claimed(claim));
            }
            if began.elapsed() > PATIENCE {
                return Ok(Found::Nothing);
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Does something under a claim, which is extended meanwhile.
    pub(super) async fn holding<T>(&self, claim: &Claim, clock: &dyn Clock, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(EXTEND) => {
                    if let Err(error) = self.pool.extend(claim.key, claim.claimant, clock.now()).await {
                        tracing::warn!(error = ?error, "other nodes may ask for the same credential");
                    }
                }
            }
        }
    }

    /// Keeps what was fetched for the other nodes, or leaves the next fetch to them.
    pub(super) async fn settle(&self, claim: Claim, storage: StorageId, held: Option<&Held>) {
        let settled = match held {
            Some(held) => self.keep(claim.key, storage, held).await,
            None => self.pool.give_up(claim.key, claim.claimant).await,
        };
        if let Err(error) = settled {
            tracing::warn!(error = ?error, "other nodes do not know what was fetched");
        }
    }

    async fn keep(&self, key: PoolKey, storage: StorageId, held: &Held) -> Result<(), Error> {
        let plain = sealed::write(held)?;
        let nonce = self.chance::<SEAL_NONCE_LEN>();
        let sealed = self.keyring.load().seal_bytes(PURPOSE, &key.0, plain.reveal(), nonce)?.into();
        let key_id = held.issued.trace.as_ref().map(|trace| trace.key_id.clone()).unwrap_or_default();
        self.pool.keep(key, NewPooled { storage, key_id, sealed, ends: held.lasts }).await
    }

    /// What was sealed; nothing where its key is gone, or another version wrote it.
    fn open(&self, key: PoolKey, sealed: &[u8]) -> Option<Held> {
        sealed::read(&self.keyring.load().open_bytes(PURPOSE, &key.0, sealed)?)
    }

    pub(super) async fn remove(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        self.pool.remove(storage, key_ids).await
    }
}

/// INVARIANT: everything of a key is in it, each of a length that is known or comes before it.
fn digest(key: &Key) -> PoolKey {
    let Key { storage, version, rights, caller, class } = key;
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"1");
    bytes.extend_from_slice(&storage.to_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes.push(u8::from(caller.is_some()));
    bytes.extend_from_slice(&caller.map_or([0; 16], CallerId::to_bytes));
    rights.encode(&mut bytes);
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    PoolKey(key)
}
