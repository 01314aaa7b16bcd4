//! Where entries wait for the disk: one growing page, and one event that wakes everybody whose entry is in it.
//!
//! An entry is written straight into the page's bytes; the only thing made for it is a reference to the page's event.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;
use valetkey_core::audit::Author;
use valetkey_core::credential::Trace;
use valetkey_core::error::Stranger;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, TokenId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::usage::Balance;
use valetkey_core::policy::{AsOf, Permit};
use valetkey_core::time::Entropy;
use valetkey_core::{Error, Kind};

use crate::ledger::group::{Group, Outcome};
use crate::ledger::overtaken::{Changed, LeftOut, Overtaken};
use crate::settings::LedgerMode;
use crate::sql::entry::{self, Asker, Entry, LongScope, Opened, ScopeBytes, Voided};
use crate::sql::nodes::Turn;
use crate::sql::pages::Page;

/// An account without credits here is asked about so often: a flood of its refusals must not become one of queries.
const ASKED: Duration = Duration::from_secs(1);

/// Random bytes drawn at once: asking the system for each lease's ten costs more than writing the entry.
const NOISE: usize = 2560;

/// A request that was identified or decided so long ago is not on its way any more: an hour.
const STALE_MS: i64 = 3_600_000;

/// A vend that was decided before a grant's credentials were ended opened its lease or was refused within that time, whatever
/// the clock that instants are told by did meanwhile.
const BARRED: Duration = Duration::from_mins(1);

/// What is promised of leases that count as opened when they are queued: none that is older than this is lost. While an older
/// one waits nothing more is handed out.
pub(crate) const PROMISED: Duration = Duration::from_millis(100);

/// A page on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) page: Page,
    group: Arc<Group>,
    /// When the first entry came.
    since: Option<Instant>,
}

impl Waiting {
    fn stamp(&mut self, ms: i64, known: i64) {
        let page = &mut self.page;
        if page.is_empty() {
            self.since = Some(Instant::now());
            (page.first_ms, page.last_ms, page.known) = (ms, ms, known);
        } else {
            page.first_ms = page.first_ms.min(ms);
            page.last_ms = page.last_ms.max(ms);
        }
    }
}

#[derive(Default)]
struct State {
    next: Waiting,
    closed: bool,
    balances: HashMap<AccountId, Balance>,
    /// When the database was asked last for the credits of an account that has none left here.
    asked: HashMap<AccountId, Instant>,
    /// What pages that are being written took, for balances that are read meanwhile.
    writing: HashMap<AccountId, u64>,
    /// The page that is being written.
    written: Option<Arc<Waiting>>,
    voided: HashSet<LeaseId>,
    /// Grants whose credentials were ended: a vend decided before that must not open a lease after it.
    barred: HashMap<GrantId, Bar>,
    /// Tokens that were ended, and when: a vend of one that was identified before must not open a lease after it.
    ended: HashMap<TokenId, i64>,
    /// Callers that were suspended or removed, and when: the same holds of their vends.
    refused: HashMap<CallerId, i64>,
    /// Nothing is handed out: the ledger lives of its reserve.
    held: bool,
    /// Accounts that are being suspended.
    suspended: HashSet<AccountId>,
    /// What another node changed, and when that was heard: what was decided before opens nothing.
    overtaken: Overtaken,
    /// The last change of the registry that is known.
    known: i64,
    long: HashMap<usize, (Arc<valetkey_core::scope::Rights>, Option<Arc<LongScope>>)>,
    noise: Vec<u8>,
    /// The latest instant at which a lease was opened. The clock may have been set back to before it.
    newest_ms: i64,
}

/// Up to when what was decided under a grant opens nothing, and since when that is so.
#[derive(Clone, Copy, Debug)]
struct Bar {
    until_ms: i64,
    since: Instant,
}

impl Bar {
    fn holds(&self, ms: i64) -> bool {
        // Without an end the grant itself is going.
        ms <= self.until_ms && (self.until_ms == i64::MAX || self.since.elapsed() < BARRED)
    }
}

pub(crate) struct Queue {
    state: Mutex<State>,
    pub(crate) wake: Notify,
    most: usize,
    mode: LedgerMode,
    /// Other nodes write the same database.
    shared: bool,
}

/// What became of an attempt to open a lease.
pub(crate) enum Pushed {
    /// It waits for the disk.
    Waits(Lease, Arc<Group>),
    /// The account's credits are not in memory yet.
    NeedsBalance,
}

impl Queue {
    pub(crate) fn new(most: usize, mode: LedgerMode, shared: bool) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), most, mode, shared }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a lease of a permit, and keeps with it how a store knows its credential if that is known already.
    pub(crate) fn open(
        &self,
        permit: &Permit,
        trace: Option<&Trace>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Pushed, Error> {
        let ms = now.as_millisecond();
        let credits = permit.credits();
        let mut state = self.state();
        let state = &mut *state;
        self.admit(state)?;
        self.in_time(state)?;
        if state.held {
            return Err(
                Error::new(Kind::Unavailable, "the disk is full, and the ledger lives of its reserve").retry_after(5)
            );
        }
        if !state.barred.is_empty()
            && permit.because().grants.iter().any(|grant| state.barred.get(grant).is_some_and(|bar| bar.holds(ms)))
        {
            return Err(Error::new(Kind::Forbidden, "the grant was revoked"));
        }
        let author = Author::current();
        let asked_with = author.token.filter(|token| *token != permit.token());
        let is_ended = |token: &TokenId| state.ended.contains_key(token);
        if !state.ended.is_empty() && (is_ended(&permit.token()) || asked_with.as_ref().is_some_and(is_ended)) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token was revoked"));
        }
        let is_refused = |caller: &CallerId| state.refused.contains_key(caller);
        if !state.refused.is_empty()
            && (is_refused(&permit.caller()) || asked_with.and(author.caller).as_ref().is_some_and(is_refused))
        {
            return Err(Error::new(Kind::Forbidden, "the caller is suspended"));
        }
        if !state.suspended.is_empty() && state.suspended.contains(&permit.account()) {
            return Err(Error::new(Kind::Forbidden, "the account is suspended"));
        }
        let AsOf { caller, grants } = permit.as_of();
        let Overtaken { callers: identities, grants: rights } = &state.overtaken;
        if identities.holds(permit.account(), caller) || rights.holds(permit.account(), grants) {
            return Err(Error::overtaken());
        }
        if credits > 0 {
            let Some(balance) = state.balances.get_mut(&permit.account()) else { return Ok(Pushed::NeedsBalance) };
            let left = balance.granted.saturating_sub(balance.used);
            if left < u64::from(credits) {
                if self.shared && state.asked.get(&permit.account()).is_none_or(|at| at.elapsed() > ASKED) {
                    // Another node may have given some.
                    state.asked.retain(|_, at| at.elapsed() <= ASKED);
                    state.asked.insert(permit.account(), Instant::now());
                    state.balances.remove(&permit.account());
                    return Ok(Pushed::NeedsBalance);
                }
                return Err(Error::new(
                    Kind::OutOfCredit,
                    format!("required: {credits} API credits, {left} available"),
                ));
            }
            balance.used += u64::from(credits);
            state.next.page.charges.entry(permit.account()).or_default().taken += u64::from(credits);
        }
        let lease = Lease {
            id: LeaseId::new(now, ten(&mut state.noise, entropy)),
            account: permit.account(),
            caller: permit.caller(),
            token: permit.token(),
            storage: permit.storage().id,
            rights: Arc::clone(permit.rights()),
            grants: Arc::clone(&permit.because().grants),
            dialect: permit.dialect().into(),
            credits,
            // What is stored is what is answered: whole milliseconds.
            opened: Timestamp::from_millisecond(ms).unwrap_or(now),
            until: permit.until(),
        };
        state.newest_ms = state.newest_ms.max(ms);
        let wake = state.next.page.is_empty() || state.next.page.len() == self.most / 2;
        state.next.stamp(ms, state.known);
        let asker = Asker { from: author.from, with: asked_with, narrowed_from: permit.leases() };
        match long(state, &lease) {
            None => entry::write_opened(&lease, &ScopeBytes::Inline(&lease.rights), asker, &mut state.next.page.body),
            Some(scope) => {
                if !state.next.page.scopes.iter().any(|known| known.digest == scope.digest) {
                    state.next.page.scopes.push(Arc::clone(&scope));
                }
                entry::write_opened(&lease, &ScopeBytes::Stored(scope), asker, &mut state.next.page.body);
            }
        }
        state.next.page.opens += 1;
        if let Some(trace) = trace {
            entry::write_issued(lease.id, trace, ms, &mut state.next.page.body);
            state.next.page.issues += 1;
        }
        let group = Arc::clone(&state.next.group);
        if wake {
            self.wake.notify_one();
        }
        Ok(Pushed::Waits(lease, group))
    }

    /// The latest instant at which a lease was opened.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.state().newest_ms
    }

    /// Leases were opened up to this instant, before or elsewhere.
    pub(crate) fn opened_until(&self, ms: i64) {
        let mut state = self.state();
        state.newest_ms = state.newest_ms.max(ms);
    }

    /// Says that a lease is about to be voided; `false` if it was already and is not in the index yet.
    pub(crate) fn claim_void(&self, lease: LeaseId) -> bool {
        self.state().voided.insert(lease)
    }

    /// Takes a claim back, or forgets the voids that the index has.
    pub(crate) fn forget_voids<'a>(&self, leases: impl IntoIterator<Item = &'a LeaseId>) {
        let mut state = self.state();
        for lease in leases {
            state.voided.remove(lease);
        }
    }

    /// Remembers voids that are in the pages but not in the index yet.
    pub(crate) fn remember_voids(&self, leases: impl IntoIterator<Item = LeaseId>) {
        self.state().voided.extend(leases);
    }

    /// Whether the lease was voided and the index may not know.
    pub(crate) fn is_voided(&self, lease: LeaseId) -> bool {
        self.state().voided.contains(&lease)
    }

    /// Voids a lease that was claimed before.
    pub(crate) fn void(&self, voided: &Voided) -> Result<Arc<Group>, Error> {
        self.push(voided.at_ms, |page| {
            entry::write_voided(voided, &mut page.body);
            if voided.credits > 0 {
                page.charges.entry(voided.account).or_default().returned += u64::from(voided.credits);
            }
            page.voids += 1;
        })
    }

    /// Keeps how a store knows the credential that came of a lease.
    pub(crate) fn issued(&self, lease: LeaseId, trace: &Trace, at_ms: i64) -> Result<Arc<Group>, Error> {
        self.in_time(&self.state())?;
        self.push(at_ms, |page| {
            entry::write_issued(lease, trace, at_ms, &mut page.body);
            page.issues += 1;
        })
    }

    fn push(&self, at_ms: i64, write: impl FnOnce(&mut Page)) -> Result<Arc<Group>, Error> {
        let mut state = self.state();
        let state = &mut *state;
        self.admit(state)?;
        let wake = state.next.page.is_empty() || state.next.page.len() == self.most / 2;
        state.next.stamp(at_ms, state.known);
        write(&mut state.next.page);
        let group = Arc::clone(&state.next.group);
        if wake {
            self.wake.notify_one();
        }
        Ok(group)
    }

    /// Entries that wait.
    pub(crate) fn len(&self) -> usize {
        self.state().next.page.len()
    }

    /// The event of the last page that anything waits in. Pages are written in order: when it is on disk, all are.
    pub(crate) fn waiting(&self) -> Option<Arc<Group>> {
        let state = self.state();
        if state.next.page.is_empty() {
            state.written.as_ref().map(|written| Arc::clone(&written.group))
        } else {
            Some(Arc::clone(&state.next.group))
        }
    }

    /// Leases that are not on disk yet. Where a lease counts as opened when it is queued, its credential may be out.
    pub(crate) fn unwritten(&self, wanted: impl Fn(&Opened) -> bool) -> Vec<Opened> {
        // Copied, so that nobody waits while it is read.
        let (waits, written) = {
            let state = self.state();
            (state.next.page.body.clone(), state.written.clone())
        };
        let bodies = [Some(&waits[..]), written.as_ref().map(|written| &written.page.body[..])];
        let wanted = |entry| match entry {
            Entry::Opened(opened) if wanted(&opened) => Some(opened),
            _ => None,
        };
        bodies.into_iter().flatten().flat_map(entry::read).flatten().filter_map(wanted).collect()
    }

    /// The page that is being written could not be: whoever asks what was opened is told so and does not wait.
    pub(crate) fn stick(&self) {
        let state = self.state();
        if let Some(written) = &state.written {
            written.group.stick();
        }
        state.next.group.stick();
    }

    /// Takes the page, for the writer.
    pub(crate) fn take(&self) -> Option<Arc<Waiting>> {
        let mut state = self.state();
        if state.next.page.is_empty() {
            return None;
        }
        let body = Vec::with_capacity(state.next.page.body.len());
        let next = Waiting { page: Page { body, ..Page::default() }, ..Waiting::default() };
        let taken = Arc::new(std::mem::replace(&mut state.next, next));
        for (account, charge) in &taken.page.charges {
            *state.writing.entry(*account).or_default() += charge.taken;
        }
        state.written = Some(Arc::clone(&taken));
        Some(taken)
    }

    /// Leaves leases out of the page that is being written, with what came of them; a page without them is written in its place.
    pub(crate) fn leave_out(
        &self,
        waiting: &Waiting,
        known: i64,
        which: impl Fn(&Opened) -> Option<LeftOut>,
    ) -> Arc<Waiting> {
        let (page, left_out) = waiting.page.without(known, which);
        let mut state = self.state();
        for (account, charge) in &waiting.page.charges {
            let less = charge.taken - page.charges.get(account).map_or(0, |kept| kept.taken);
            if let Some(taken) = state.writing.get_mut(account) {
                *taken = taken.saturating_sub(less);
            }
            if let Some(balance) = state.balances.get_mut(account) {
                balance.used = balance.used.saturating_sub(less);
            }
        }
        for (_, account) in left_out.iter().filter(|((_, why), _)| *why == LeftOut::Short) {
            // Asked for again when it is needed.
            state.balances.remove(account);
        }
        waiting.group.leave_out(left_out.into_iter().map(|(one, _)| one));
        let kept = Arc::new(Waiting { page, group: Arc::clone(&waiting.group), since: waiting.since });
        state.written = Some(Arc::clone(&kept));
        kept
    }

    /// Says which change of the registry is known, and what was changed up to it: what was decided before opens nothing more.
    pub(crate) fn overtake(&self, known: i64, changed: &Changed, now_ms: i64) {
        let mut state = self.state();
        state.known = state.known.max(known);
        state.overtaken.callers.add(changed.all_callers, &changed.callers, known);
        state.overtaken.grants.add(changed.all_grants, &changed.accounts, known);
        for token in &changed.tokens {
            state.ended.insert(*token, now_ms);
        }
    }

    /// The last change of the registry that is known.
    pub(crate) fn known(&self) -> i64 {
        self.state().known
    }

    /// This node made a change, which is known if the one before it is.
    pub(crate) fn changed(&self, turn: Turn) {
        let mut state = self.state();
        if state.known == turn.before {
            state.known = turn.number;
        }
    }

    /// Tells everybody what became of their page. The writer still holds its connection, so that nobody reads a balance
    /// in between.
    pub(crate) fn finish(&self, Waiting { page, group, .. }: &Waiting, outcome: Outcome) {
        {
            let mut state = self.state();
            let State { balances, writing, written, next, .. } = &mut *state;
            *written = None;
            next.group.stuck.store(false, Ordering::Release);
            for (account, charge) in &page.charges {
                if let Some(taken) = writing.get_mut(account) {
                    *taken = taken.saturating_sub(charge.taken);
                    if *taken == 0 {
                        writing.remove(account);
                    }
                }
                if let Some(balance) = balances.get_mut(account) {
                    let back = match outcome {
                        Outcome::Kept => charge.returned,
                        Outcome::Lost => charge.taken,
                    };
                    balance.used = balance.used.saturating_sub(back);
                }
            }
        }
        group.finish(outcome);
    }

    /// Takes nothing more. What waits is still written.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// An account's credits, if they are in memory.
    pub(crate) fn balance(&self, account: AccountId) -> Option<Balance> {
        self.state().balances.get(&account).copied()
    }

    /// Accounts whose credits are in memory.
    pub(crate) fn balanced(&self) -> Vec<AccountId> {
        self.state().balances.keys().copied().collect()
    }

    /// Puts an account's credits into memory, as the database has them. The caller holds the writing connection.
    pub(crate) fn set_balance(&self, account: AccountId, stored: Balance) {
        let mut state = self.state();
        let queued = state.next.page.charges.get(&account).map_or(0, |charge| charge.taken);
        let writing = state.writing.get(&account).copied().unwrap_or(0);
        let used = stored.used.saturating_add(queued).saturating_add(writing);
        state.balances.insert(account, Balance { granted: stored.granted, used });
    }

    /// Refuses every later entry of a grant that was decided up to an instant. Says since when.
    pub(crate) fn bar(&self, grant: GrantId, until_ms: i64) -> Instant {
        let since = Instant::now();
        let mut state = self.state();
        state.barred.retain(|_, bar| bar.until_ms == i64::MAX || bar.since.elapsed() < BARRED);
        let bar = state.barred.entry(grant).or_insert(Bar { until_ms, since });
        *bar = Bar { until_ms: until_ms.max(bar.until_ms), since };
        since
    }

    /// Whether a bar without an end is there since it was put there: nobody ended it meanwhile, or put another there.
    pub(crate) fn bars(&self, grant: GrantId, since: Instant) -> bool {
        self.state().barred.get(&grant).is_some_and(|bar| bar.until_ms == i64::MAX && bar.since == since)
    }

    /// Ends a bar that had no end.
    pub(crate) fn bar_no_longer_than(&self, grant: GrantId, until_ms: i64) {
        self.state().barred.insert(grant, Bar { until_ms, since: Instant::now() });
    }

    /// Refuses every later entry of a token.
    pub(crate) fn end_token(&self, token: TokenId, now_ms: i64) {
        let mut state = self.state();
        state.ended.retain(|_, at| now_ms.saturating_sub(*at) < STALE_MS);
        state.ended.insert(token, now_ms);
    }

    /// Refuses every later entry of a caller, until it is spared.
    pub(crate) fn end_caller(&self, caller: CallerId, now_ms: i64) {
        let mut state = self.state();
        state.refused.retain(|_, at| now_ms.saturating_sub(*at) < STALE_MS);
        state.refused.insert(caller, now_ms);
    }

    /// Hands nothing out, or goes on.
    pub(crate) fn hold(&self, held: bool) {
        self.state().held = held;
    }

    /// Refuses every later entry of an account, until it is spared: as long as that it is suspended is not on record.
    pub(crate) fn end_account(&self, account: AccountId) {
        self.state().suspended.insert(account);
    }

    /// What is on record of the account decides again.
    pub(crate) fn spare_account(&self, account: AccountId) {
        self.state().suspended.remove(&account);
    }

    /// Takes that back: the caller is served again.
    pub(crate) fn spare_caller(&self, caller: CallerId) {
        self.state().refused.remove(&caller);
    }
}

impl Queue {
    fn admit(&self, state: &State) -> Result<(), Error> {
        if state.closed {
            return Err(Error::new(Kind::Unavailable, "the server is shutting down").retry_after(1));
        }
        if state.next.page.len() >= self.most {
            return Err(Error::new(Kind::Unavailable, "too many requests wait for the ledger").retry_after(1));
        }
        Ok(())
    }

    /// Refuses to hand anything out while something that was handed out before waits for the disk longer than is promised.
    fn in_time(&self, state: &State) -> Result<(), Error> {
        let oldest = state.written.as_deref().unwrap_or(&state.next).since;
        match self.mode {
            LedgerMode::Relaxed if oldest.is_some_and(|since| since.elapsed() > PROMISED) => {
                Err(Error::new(Kind::Unavailable, "the ledger is not written as fast as is promised").retry_after(1))
            }
            LedgerMode::Relaxed | LedgerMode::Durable => Ok(()),
        }
    }
}

fn ten(noise: &mut Vec<u8>, entropy: &dyn Entropy) -> [u8; 10] {
    if noise.len() < 10 {
        noise.resize(NOISE, 0);
        entropy.fill(noise);
    }
    let mut bytes = [0; 10];
    let from = noise.len().saturating_sub(10);
    bytes.copy_from_slice(noise.get(from..).unwrap_or(&[0; 10]));
    noise.truncate(from);
    bytes
}

/// The scope as it is stored once, if it is long. Remembered by address while the scope is held here, so that a bundle of
/// a thousand paths is encoded once and not for each vend.
fn long(state: &mut State, lease: &Lease) -> Option<Arc<LongScope>> {
    if !entry::may_be_long(&lease.rights) {
        return None;
    }
    let address = Arc::as_ptr(&lease.rights).addr();
    if let Some((_, known)) = state.long.get(&address) {
        return known.clone();
    }
    if state.long.len() >= 256 {
        state.long.clear();
    }
    let scope = LongScope::of(&lease.rights).map(Arc::new);
    state.long.insert(address, (Arc::clone(&lease.rights), scope.clone()));
    scope
}
