//! Credentials of foreign stores, kept while they are good for somebody: one call for many who ask at once, renewed ahead of
//! need, and still handed out while the store is out of order.
//!
//! SECURITY: what is handed out is decided by a permit, each time; this only saves the store's work.
//! * A credential goes to those alone who ask for exactly its scope at its store, and to its caller alone unless the operator
//!   lets callers share.
//! * It never outlives the permit it is handed out for. One that would is left where it is, and one with a shorter life is
//!   fetched. A fetch asks for a little less than the permit allows, so that the time the store takes to answer is inside; only
//!   where the store's shortest lifetime leaves no room for that may a credential end later, by at most that margin.
//! * It is not handed out again once the lease, token, caller or account it was fetched for was ended.
//! * Where somebody said how long, all of it is left but a twentieth and a minute at most, or it is fetched anew.
//! * It is never nearly over: at least half of what the permit allows is left of it, or `min_remaining_secs`. Where the store gave
//!   less than that, what it gave is handed out and kept like any other, with its true end: at least a quarter of its own life is
//!   left of it, and a minute.
//!
//! Time is the clock's: how long a credential lives is reckoned from when it was asked for and answered here, not from what the
//! store's clock says, so that clocks that differ neither shorten nor stretch anything.

mod budget;
mod flight;
mod held;
mod pool;
#[cfg(test)]
mod pool_tests;
mod room;
mod sealed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use valetkey_core::credential::{Credential, Issued, Narrowed, Trace};
use valetkey_core::health::Watched;
use valetkey_core::id::{CallerId, StorageId};
use valetkey_core::lease::Provenance;
use valetkey_core::port::Revocations;
use valetkey_core::scope::Rights;
use valetkey_core::storage::Sharing;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::{Error, Kind};

use budget::Turn;
use held::{Terms, later};
use room::make_room;

pub use budget::Budget;
pub use held::Held;
pub use pool::Pooling;

use crate::upstream::Upstream;

/// How much is kept, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The most keys that are kept.
    pub max_entries: usize,
    /// A key handed out lives at least so long, or half of what the permit allows if that is less.
    pub min_remaining_secs: u32,
    /// A failure is remembered so long, in seconds.
    pub deny_secs: u32,
}

impl Settings {
    /// So much is left of a credential that is handed out, of one that was asked to live so long.
    fn need(&self, asked: u32) -> u32 {
        self.min_remaining_secs.min(asked / 2)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_entries: 10_000, min_remaining_secs: 900, deny_secs: 2 }
    }
}

/// A store to fetch from.
#[derive(Clone)]
pub struct Fetcher {
    /// Which it is.
    pub storage: StorageId,
    /// How people call it.
    pub name: Box<str>,
    /// Which version of its settings this is: what was fetched with another is not handed out any more.
    pub version: u64,
    /// How it is asked.
    pub upstream: Arc<dyn Upstream>,
    /// The shortest lifetime it gives.
    pub least: Lifetime,
    /// Who may be given the same credential.
    pub sharing: Sharing,
    /// How often it may be asked.
    pub budget: Arc<Budget>,
    /// Where it is told how it answers.
    pub health: Watched,
}

/// What a permit allows.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// What the credential opens.
    pub rights: &'a Arc<Rights>,
    /// Until when, at the latest.
    pub until: Timestamp,
    /// Whether somebody said so: then it is until then, and not for half of it.
    pub said: bool,
    /// For whom; what ends a credential of this provenance ends what is fetched for it.
    pub origin: &'a Provenance,
}

/// The cache.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    leases: Arc<dyn Revocations>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tasks: TaskTracker,
    slots: Mutex<HashMap<Key, Slot>>,
    /// What the nodes of one database keep together.
    pool: Option<Pooling>,
    /// How often everything was forgotten: what was taken out of the pool before is looked at again.
    forgotten: AtomicU64,
}

/// INVARIANT: everything that decides what a credential opens, and for whom, is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    storage: StorageId,
    version: u64,
    rights: Arc<Rights>,
    caller: Option<CallerId>,
    /// Lifetimes of about the same length, within a factor of two: long ones are not fetched where short ones are wanted.
    class: u32,
}

#[derive(Default)]
struct Slot {
    /// The newest last.
    held: Vec<Arc<Held>>,
    /// A fetch under way.
    flight: Option<watch::Receiver<Landed>>,
    denied: Option<Arc<Denied>>,
}

/// What became of a fetch; nothing while it is under way.
type Landed = Option<Result<(), Arc<Denied>>>;

/// A failure, to be told to everyone who waited for it, and to those who ask again at once.
struct Denied {
    error: Error,
    until: Timestamp,
}

/// What is kept for someone who asks. Holds the lock, so that what is done about it is done before anyone else looks.
struct Look<'a> {
    /// Good for the permit.
    have: Option<Arc<Held>>,
    /// Good enough while the store is out of order.
    enough: Option<Arc<Held>>,
    denied: Option<Arc<Denied>>,
    /// A fetch is under way.
    waits: bool,
    terms: Terms,
    key: Key,
    slots: Option<MutexGuard<'a, HashMap<Key, Slot>>>,
}

/// What to do for someone who asks.
enum Step {
    Have(Arc<Held>),
    /// Wait for a fetch; if it fails, what there is is still good enough.
    Wait(watch::Receiver<Landed>, Option<Arc<Held>>),
}

/// Credentials with different ends that are kept of one key.
const KEPT: usize = 4;
/// A scope the store has no room for is not tried again for so long.
const INVALID_SECS: u32 = 60;

/// The budget is spent; there is more in so many seconds.
fn spent(pause: u32) -> Error {
    Error::new(Kind::RateLimited, "the credential rate limit of this storage is exceeded").retry_after(pause)
}

impl Cache {
    /// An empty cache, and what the nodes of its database keep together. What it fetches runs as tasks of the tracker, so that a caller who goes away takes nothing from others.
    pub fn new(
        settings: Settings,
        leases: Arc<dyn Revocations>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tasks: TaskTracker,
        pool: Option<Pooling>,
    ) -> Self {
        let settings = Settings { max_entries: settings.max_entries.max(16), ..settings };
        let (slots, forgotten) = (Mutex::default(), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { settings, leases, clock, entropy, tasks, slots, pool, forgotten }) }
    }

    /// A credential that is kept and good for a permit. Renews it in the background when it is time.
    ///
    /// # Errors
    /// What [`Self::get`] would refuse with at once: a failure that is remembered, a budget that is spent.
    pub fn kept(&self, fetcher: &Arc<Fetcher>, want: &Want<'_>) -> Result<Option<Arc<Held>>, Error> {
        let Look { have, enough, denied, waits, terms, .. } = Inner::look(&self.inner, fetcher, want)?;
        if have.is_some() || enough.is_some() || waits {
            return Ok(have);
        }
        match denied {
            Some(denied) => Err(denied.error.again()),
            None => fetcher.budget.has(want.origin.account, terms.now).map(|()| None).map_err(spent),
        }
    }

    /// A credential for a permit: one that is kept, or a new one.
    ///
    /// # Errors
    /// Those of the upstream; `RateLimited` when its budget is spent; never while a credential is kept that is good enough.
    pub async fn get(&self, fetcher: &Arc<Fetcher>, want: &Want<'_>) -> Result<Arc<Held>, Error> {
        // Twice: what another one fetched may be good for longer than this permit. Once more if the store takes too long.
        for attempt in 0..4 {
            // A store that is slow gives a key that is shorter than was said, and not none.
            let want = &Want { said: want.said && attempt < 2, ..*want };
            match Inner::step(&self.inner, fetcher, want)? {
                Step::Have(held) => return Ok(held),
                Step::Wait(mut flight, enough) => {
                    let landed = match flight.wait_for(Option::is_some).await {
                        Ok(landed) => landed.clone(),
                        Err(_) => None,
                    };
                    match (landed, enough) {
                        (Some(Ok(())), _) if self.inner.leases.is_revoked(want.origin) => {
                            return Err(
                                Error::new(Kind::Unavailable, "what was asked for was ended meanwhile").retry_after(1)
                            );
                        }
                        (Some(Ok(())), _) => {}
                        (_, Some(held)) => return Ok(held),
                        (Some(Err(denied)), None) => return Err(denied.error.again()),
                        (None, None) => return Err(Error::internal("fetching a credential broke off")),
                    }
                }
            }
        }
        Err(Error::new(Kind::UpstreamTimeout, "the store did not answer in time")
            .note("its answers took so long that each credential outlived its permit"))
    }

    /// Does not hand out again what a store calls by these names; nor does another node.
    ///
    /// # Errors
    /// `Unavailable`: what other nodes hand out is not known.
    pub async fn forget(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        let named = |held: &Arc<Held>| held.issued.trace.as_ref().is_some_and(|trace| key_ids.contains(&trace.key_id));
        let forget = || {
            for (_, slot) in self.inner.slots().iter_mut().filter(|(key, _)| key.storage == storage) {
                slot.held.retain(|held| !named(held));
            }
        };
        forget();
        if let Some(pool) = &self.inner.pool {
            pool.remove(storage, key_ids).await?;
            // What was taken out of the pool meanwhile.
            self.inner.forgotten.fetch_add(1, Ordering::SeqCst);
            forget();
        }
        Ok(())
    }

    /// Looks again, in what nodes keep together, before anything is handed out that is kept here.
    pub fn look_again(&self) {
        let mut slots = self.inner.slots();
        self.inner.forgotten.fetch_add(1, Ordering::SeqCst);
        slots.values_mut().for_each(|slot| slot.held.clear());
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.inner.slots().len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept for a permit.
    fn look<'a>(this: &'a Arc<Self>, fetcher: &Arc<Fetcher>, want: &Want<'_>) -> Result<Look<'a>, Error> {
        let terms = Terms::of(&this.settings, fetcher, want, this.clock.now())?;
        let key = Key {
            storage: fetcher.storage,
            version: fetcher.version,
            rights: want.rights.clone(),
            caller: (fetcher.sharing == Sharing::Caller).then_some(want.origin.caller),
            class: terms.class,
        };
        let mut slots = this.slots();
        let mut look = Look { have: None, enough: None, denied: None, waits: false, terms, key, slots: None };
        if let Some(slot) = slots.get_mut(&look.key) {
            let terms = &look.terms;
            slot.held.retain(|held| !this.leases.is_revoked(&held.origin));
            let best = slot.held.iter().filter(|held| held.within(terms)).max_by_key(|held| held.lasts).cloned();
            if slot.flight.as_ref().is_some_and(|flight| flight.has_changed().is_err()) {
                // Its task is gone; if it landed, it took itself out before.
                slot.flight = None;
            }
            look.waits = slot.flight.is_some();
            look.denied = slot.denied.clone().filter(|denied| denied.until > terms.now);
            if let Some(held) = best.clone().filter(|held| held.serves(terms)) {
                // Ahead of need, and only with what of the budget nobody waits for.
                if terms.now >= held.renew
                    && slot.flight.is_none()
                    && look.denied.is_none()
                    && fetcher.budget.spare(terms.now)
                {
                    slot.flight =
                        Some(Self::fetch(this, fetcher, want, *terms, look.key.clone(), Some(Turn::Now), true));
                }
                look.have = Some(held);
            } else {
                look.enough = best.filter(|held| held.left(terms.now) >= terms.floor);
            }
        }
        look.slots = Some(slots);
        Ok(look)
    }

    fn step(this: &Arc<Self>, fetcher: &Arc<Fetcher>, want: &Want<'_>) -> Result<Step, Error> {
        let Look { have, enough, denied, waits: _, terms, key, slots } = Self::look(this, fetcher, want)?;
        if let Some(held) = have {
            return Ok(Step::Have(held));
        }
        let mut slots = slots.unwrap_or_else(|| this.slots());
        if slots.len() >= this.settings.max_entries && !slots.contains_key(&key) {
            make_room(&mut slots, this.settings.max_entries, terms.now);
        }
        let slot = slots.entry(key.clone()).or_default();
        if let Some(flight) = &slot.flight {
            return Ok(Step::Wait(flight.clone(), enough));
        }
        let turn = match (denied, &this.pool) {
            (Some(denied), _) => Err(denied.error.again()),
            // Where another node may have one, it is known only later whether a turn is needed.
            (None, Some(_)) => Ok(None),
            (None, None) => fetcher.budget.take(want.origin.account, terms.now).map(Some).map_err(spent),
        };
        let refusal = match turn {
            Ok(turn) => {
                let flight = Self::fetch(this, fetcher, want, terms, key, turn, false);
                slot.flight = Some(flight.clone());
                return Ok(Step::Wait(flight, enough));
            }
            Err(refusal) => refusal,
        };
        enough.map(Step::Have).ok_or(refusal)
    }

    fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Keeps what another node fetched, unless something was forgotten since it was looked for.
    fn take_in(&self, key: &Key, held: Arc<Held>, forgotten: u64) -> bool {
        let now = self.clock.now();
        let mut slots = self.slots();
        if self.forgotten() != forgotten {
            return false;
        }
        if let Some(slot) = slots.get_mut(key) {
            slot.flight = None;
            slot.keep(held, now);
        }
        true
    }

    fn land(&self, key: &Key, change: impl FnOnce(&mut Slot, Timestamp)) {
        let now = self.clock.now();
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(key) {
            slot.flight = None;
            change(slot, now);
        }
    }

    fn denied(&self, error: Error) -> Denied {
        let deny = match error.kind() {
            Kind::RateLimited => error.retry_after_secs().unwrap_or(1),
            Kind::Invalid => INVALID_SECS,
            _ => self.settings.deny_secs,
        };
        Denied { error, until: later(self.clock.now(), deny) }
    }
}

impl Slot {
    fn keep(&mut self, held: Arc<Held>, now: Timestamp) {
        self.denied = None;
        self.held.retain(|own| own.lasts > now);
        if self.held.len() >= KEPT {
            self.held.remove(0);
        }
        self.held.push(held);
    }

    fn lasts(&self) -> Timestamp {
        self.held.iter().map(|held| held.lasts).max().unwrap_or(Timestamp::MIN)
    }
}

/// What a store gave, as it is handed out.
pub(crate) fn issued(credential: Credential, request_id: Option<String>, narrowed: Vec<Narrowed>) -> Issued {
    let trace = Trace {
        key_id: key_id(&credential).into(),
        request_id: request_id.map(Into::into),
        expiration: credential.expiration(),
    };
    Issued { credential: Arc::new(credential), trace: Some(Arc::new(trace)), narrowed: narrowed.into() }
}

/// What a store's log calls a credential; where it has no name there, its SHA-256.
fn key_id(credential: &Credential) -> String {
    let secret = match credential {
        Credential::S3(keys) => return keys.access_key_id.clone(),
        Credential::Azure(sas) => &sas.sas_token,
        Credential::Google(token) => &token.access_token,
    };
    format!("sha256:{}", HEXLOWER.encode(digest::digest(&digest::SHA256, secret.reveal().as_bytes()).as_ref()))
}
