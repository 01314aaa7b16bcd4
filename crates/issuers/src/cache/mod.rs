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
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use valetkey_core::credential::{Credential, Issued, Narrowed, Trace};
use valetkey_core::id::{CallerId, StorageId};
use valetkey_core::lease::Provenance;
use valetkey_core::port::Revocations;
use valetkey_core::scope::Scope;
use valetkey_core::storage::Sharing;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::{Error, Kind};

use budget::Turn;
use room::make_room;

pub use budget::Budget;

use crate::upstream::{self, Fetched, SessionName, Upstream, Wish};

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
}

/// What a permit allows.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// What the credential opens.
    pub scope: &'a Arc<Scope>,
    /// Until when, at the latest.
    pub until: Timestamp,
    /// Whether somebody said so: then it is until then, and not for half of it.
    pub said: bool,
    /// For whom; what ends a credential of this provenance ends what is fetched for it.
    pub origin: &'a Provenance,
}

/// A credential that was fetched.
#[derive(Debug)]
pub struct Held {
    /// What the store gave, as it is handed out.
    issued: Issued,
    /// For whom it was fetched.
    origin: Provenance,
    /// It ends at this instant at the latest.
    ends: Timestamp,
    /// It is good until this instant at least.
    lasts: Timestamp,
    /// From then on it is renewed when somebody uses it.
    renew: Timestamp,
    /// It is good while so much is left of it, also for a permit that would have more: the store gave no more.
    good: SignedDuration,
    /// How long the store let it live, where that was less than asked: it gives no more to who asks again.
    gave: Option<SignedDuration>,
}

impl Held {
    /// The credential, to be handed out.
    pub fn issued(&self) -> Issued {
        self.issued.clone()
    }
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
}

/// INVARIANT: everything that decides what a credential opens, and for whom, is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    storage: StorageId,
    version: u64,
    scope: Arc<Scope>,
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

/// A fetch asks for so much less than the permit allows: what an answer may take.
const MARGIN_SECS: u32 = 10;
/// Below this nothing is handed out, even if the store is out of order.
const FLOOR_SECS: u32 = 60;
/// Credentials with different ends that are kept of one key.
const KEPT: usize = 4;
/// A scope the store has no room for is not tried again for so long.
const INVALID_SECS: u32 = 60;
/// From this share of a store's room for policies on, it is said in the log.
const CROWDED_PERCENT: u8 = 80;
/// Clocks further apart than this are not believed when a store gives less than asked.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

fn secs(count: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(count))
}

/// By so much a credential may be shorter than what somebody said.
fn tolerance(life: SignedDuration) -> SignedDuration {
    secs(Lifetime::secs(u32::try_from(life.as_secs()).unwrap_or(0)).tolerance_secs())
}

/// The least that is left of what is handed out, of one that was asked to live so long.
fn floor(asked: u32) -> u32 {
    FLOOR_SECS.min(asked / 4)
}

/// The budget is spent; there is more in so many seconds.
fn spent(pause: u32) -> Error {
    Error::new(Kind::RateLimited, "the credential rate limit of this storage is exceeded").retry_after(pause)
}

fn later(instant: Timestamp, count: u32) -> Timestamp {
    instant.checked_add(secs(count)).unwrap_or(Timestamp::MAX)
}

impl Held {
    /// Whether it is over when the permit is.
    fn within(&self, terms: &Terms) -> bool {
        self.ends <= terms.latest
    }

    fn left(&self, now: Timestamp) -> SignedDuration {
        self.lasts.duration_since(now)
    }

    /// Whether enough is left of it.
    fn serves(&self, terms: &Terms) -> bool {
        let left = self.left(terms.now);
        if terms.said {
            return left >= terms.need || self.gave.is_some_and(|gave| left >= gave - tolerance(gave));
        }
        left >= terms.need.min(self.good)
    }
}

/// What a permit means for what may be handed out now.
struct Terms {
    now: Timestamp,
    /// Whether somebody said how long.
    said: bool,
    /// What to ask for.
    ask: Lifetime,
    /// No credential handed out may end later.
    latest: Timestamp,
    /// So much must be left of a credential.
    need: SignedDuration,
    /// So much must be left while the store is out of order.
    floor: SignedDuration,
    class: u32,
}

impl Terms {
    fn of(settings: &Settings, fetcher: &Fetcher, want: &Want<'_>, now: Timestamp) -> Result<Self, Error> {
        let until = want.until;
        let allowed =
            Lifetime::between(now, until).ok_or_else(|| Error::internal("a permit is over before its credential"))?;
        let least = fetcher.least.as_secs();
        let allowed_secs = allowed.as_secs();
        // A permit ends at a whole second and was decided a moment ago: some of what it allows is gone already.
        if allowed_secs.saturating_add(MARGIN_SECS) < least {
            return Err(Error::new(
                Kind::Invalid,
                format!("{allowed} is too short for this store; its shortest key lives {least} s"),
            ));
        }
        // Of what somebody said a twentieth may be missing in all, and the store takes a while.
        let margin =
            if want.said { (allowed_secs / 40).clamp(1, MARGIN_SECS) } else { MARGIN_SECS.min(allowed_secs / 10) };
        let (ask, latest) = if allowed_secs - margin >= least {
            (allowed_secs - margin, until)
        } else {
            (least, later(until, MARGIN_SECS))
        };
        Ok(Self {
            now,
            said: want.said,
            ask: Lifetime::secs(ask),
            latest,
            need: secs(if want.said { allowed_secs - allowed.tolerance_secs() } else { settings.need(ask) }),
            floor: secs(floor(ask)),
            // Of what is allowed and not of what is asked: two who may have the same must come to the same.
            class: u32::BITS - allowed_secs.saturating_add(1).leading_zeros(),
        })
    }
}

impl Cache {
    /// An empty cache. What it fetches runs as tasks of the tracker, so that a caller who goes away takes nothing from others.
    pub fn new(
        settings: Settings,
        leases: Arc<dyn Revocations>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tasks: TaskTracker,
    ) -> Self {
        let settings = Settings { max_entries: settings.max_entries.max(16), ..settings };
        Self { inner: Arc::new(Inner { settings, leases, clock, entropy, tasks, slots: Mutex::default() }) }
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

    /// Does not hand out again what a store calls by these names.
    pub fn forget(&self, storage: StorageId, key_ids: &[Box<str>]) {
        let named = |held: &Arc<Held>| held.issued.trace.as_ref().is_some_and(|trace| key_ids.contains(&trace.key_id));
        for (_, slot) in self.inner.slots().iter_mut().filter(|(key, _)| key.storage == storage) {
            slot.held.retain(|held| !named(held));
        }
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
            scope: want.scope.clone(),
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
                    slot.flight = Some(Self::fetch(this, fetcher, want, terms, look.key.clone(), Turn::Now));
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
        let refusal = match denied {
            Some(denied) => denied.error.again(),
            None => match fetcher.budget.take(want.origin.account, terms.now) {
                Ok(turn) => {
                    let flight = Self::fetch(this, fetcher, want, &terms, key, turn);
                    slot.flight = Some(flight.clone());
                    return Ok(Step::Wait(flight, enough));
                }
                Err(pause) => spent(pause),
            },
        };
        enough.map(Step::Have).ok_or(refusal)
    }

    /// Starts a fetch.
    fn fetch(
        this: &Arc<Self>,
        fetcher: &Arc<Fetcher>,
        want: &Want<'_>,
        terms: &Terms,
        key: Key,
        turn: Turn,
    ) -> watch::Receiver<Landed> {
        let (tell, flight) = watch::channel(None);
        let (this, fetcher, scope) = (this.clone(), fetcher.clone(), want.scope.clone());
        let origin = want.origin.clone();
        let session = match fetcher.sharing {
            Sharing::Caller => SessionName::of(&origin.caller.to_string()),
            Sharing::Anyone => SessionName::of("valetkey-shared"),
        };
        let (ask, asked) = (terms.ask, terms.now);
        let tasks = this.tasks.clone();
        let span = upstream::span(&fetcher.name);
        let fetching = async move {
            if let Err(pause) = fetcher.budget.wait(turn, &*this.clock).await {
                // Whoever asks again may have better luck: nothing is remembered of it.
                let denied = Arc::new(this.denied(spent(pause)));
                this.land(&key, |_, _| ());
                tell.send_replace(Some(Err(denied)));
                return;
            }
            // What the turn took is gone from what the permit allows.
            let sent = this.clock.now();
            let waited = u32::try_from(sent.duration_since(asked).as_secs()).unwrap_or(0);
            let lifetime = Lifetime::secs(ask.as_secs().saturating_sub(waited)).max(fetcher.least.min(ask));
            let wish = Wish { scope: &scope, lifetime, session: &session, now: sent };
            let answer = fetcher.upstream.fetch(&wish).await;
            let landed = match answer.and_then(|fetched| this.held(fetched, origin, lifetime, sent)) {
                Ok(held) => {
                    this.land(&key, |slot, now| slot.keep(held, now));
                    Ok(())
                }
                Err(error) => {
                    let (storage, reason) = (fetcher.name.to_string(), error.kind().slug());
                    tracing::Span::current().record("error.type", reason).record("otel.status_code", "ERROR");
                    metrics::counter!("vk_upstream_failures_total", "storage" => storage, "reason" => reason)
                        .increment(1);
                    let denied = Arc::new(this.denied(error));
                    if denied.error.kind() == Kind::RateLimited {
                        fetcher.budget.pause(denied.until);
                    }
                    this.land(&key, |slot, _| slot.denied = Some(denied.clone()));
                    Err(denied)
                }
            };
            tell.send_replace(Some(landed));
        };
        tasks.spawn(tracing::Instrument::instrument(fetching, span));
        flight
    }

    fn land(&self, key: &Key, change: impl FnOnce(&mut Slot, Timestamp)) {
        let now = self.clock.now();
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(key) {
            slot.flight = None;
            change(slot, now);
        }
    }

    /// What was fetched, to be kept and handed out, if it lives long enough to be of use.
    fn held(&self, fetched: Fetched, origin: Provenance, asked: Lifetime, sent: Timestamp) -> Result<Arc<Held>, Error> {
        let Fetched { credential, upstream_request_id, packed_policy_percent, narrowed } = fetched;
        let told = credential.expiration();
        if let Some(percent) = packed_policy_percent.filter(|percent| *percent >= CROWDED_PERCENT) {
            tracing::warn!(caller = %origin.caller, percent, "a session policy takes nearly all the room its store has for one");
        }
        let issued = issued(credential, upstream_request_id, narrowed);
        let (now, life) = (self.clock.now(), asked.as_secs());
        let ends = later(now, life).min(told.checked_add(SKEW).unwrap_or(Timestamp::MAX));
        let lasts = later(sent, life).min(told);
        let left = told.duration_since(now);
        if left < secs(floor(life)) {
            let wait = u32::try_from(left.as_secs()).unwrap_or(0) + 1;
            return Err(Error::new(Kind::Upstream, "the store gave a key that is over in a moment; try again later")
                .retry_after(wait)
                .note(format!("asked for {asked} at {sent}, and the credential ends {told}")));
        }
        let own = lasts.duration_since(sent);
        let gave = (own < secs(life - life / 20)).then_some(own);
        // A store that gives what is left of one it keeps itself gives no more by being asked again at once.
        let short = own < secs(life - life / 20) && own / 2 < secs(self.settings.need(life));
        let (good, ahead) = if short {
            ((own / 4).max(secs(floor(life))), own / 2)
        } else {
            let mut chance = [0; 4];
            self.entropy.fill(&mut chance);
            // Up to a twentieth of its life earlier: what was fetched together is not renewed together.
            let jitter = u32::from_be_bytes(chance) % (life / 20).max(1);
            (SignedDuration::MAX, secs(self.settings.need(life) + life / 6 + jitter))
        };
        let renew = lasts.checked_sub(ahead).unwrap_or(sent);
        Ok(Arc::new(Held { issued, origin, ends, lasts, renew, good, gave }))
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
