//! One ask and the credential that answers it: vended once for many readers, renewed ahead while someone reads it.
//!
//! [`keep`] alone asks the server; readers wait for it in [`Slot::get`]. So one that goes away takes nothing from the others, and what
//! it waited for is there when it comes again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use valetkey_core::time::{Clock as _, Entropy as _};

use crate::cli::agent::login::Login;
use crate::cli::creds::ask::Ask;
use crate::cli::creds::cache::{Said, UNASKED, is_away, renewal};
use crate::cli::creds::key::Key;
use crate::cli::creds::{confirm, vend};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use crate::node::system::{SystemClock, SystemEntropy};

/// What is given out must last a request, at least; of short ones, a quarter of their life.
const LAST_RESORT: SignedDuration = SignedDuration::from_secs(60);
/// How long a reader waits for the server. SDKs give up after one or two seconds, and find it ready when they ask again.
const VENDING: Duration = Duration::from_secs(20);
/// How long a reader waits for the server's word that a kept credential was not ended: within the second that the SDK for
/// JavaScript waits.
const CONFIRMING: Duration = Duration::from_millis(700);
/// For how long a refusal answers the next readers: SDKs ask up to ten times in a few seconds.
const REFUSED_FOR: SignedDuration = SignedDuration::from_secs(3);
/// The longest pause between tries while the server is away.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The least time between two vends, whatever the server vends.
const PACE: SignedDuration = SignedDuration::from_secs(1);
/// The most leases that are remembered in order to be ended: those of half a day at the shortest life that SDKs go well with.
const LEASES: usize = 64;

/// An ask, and what is held for it.
pub(crate) struct Slot {
    pub(crate) ask: Ask,
    held: RefCell<Held>,
    /// How many readers wait.
    waiting: Cell<usize>,
    /// The longest remaining life that one of them needs.
    least: Cell<SignedDuration>,
    used: Cell<Timestamp>,
    gone: Cell<bool>,
    wanted: Notify,
    done: Notify,
}

#[derive(Default)]
struct Held {
    kept: Option<Kept>,
    failed: Option<Failed>,
    leases: Vec<(String, Timestamp)>,
}

struct Kept {
    key: Rc<Key>,
    vended: Timestamp,
    asked: Timestamp,
    renew: Timestamp,
}

struct Failed {
    failure: Failure,
    again: Timestamp,
    times: u32,
}

/// What is to be done for a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Vend,
    /// Ask whether this lease was ended.
    Confirm(String),
    /// Nothing until then, or until someone reads.
    Rest(Option<Duration>),
}

impl Kept {
    /// Whether it may be given out: never with less than what a request needs.
    fn is_good(&self, now: Timestamp, least: SignedDuration) -> bool {
        let floor = LAST_RESORT.min(self.key.expiration.duration_since(self.vended) / 4).max(least);
        self.vended <= now && self.key.expiration.duration_since(now) > floor
    }

    fn is_unasked(&self, now: Timestamp) -> bool {
        let last = self.vended.max(self.asked);
        last <= now && now.duration_since(last) < UNASKED
    }
}

/// Counts a reader for as long as it waits.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Slot {
    /// Holds nothing yet.
    pub(crate) fn new(ask: Ask) -> Self {
        Self {
            ask,
            held: RefCell::default(),
            waiting: Cell::new(0),
            least: Cell::new(SignedDuration::ZERO),
            used: Cell::new(SystemClock.now()),
            gone: Cell::new(false),
            wanted: Notify::new(),
            done: Notify::new(),
        }
    }

    /// When it was last read.
    pub(super) fn used(&self) -> Timestamp {
        self.used.get()
    }

    /// What is known of it, without a secret.
    pub(super) fn about(&self) -> serde_json::Value {
        let held = self.held.borrow();
        let kept = held.kept.as_ref();
        serde_json::json!({
            "ask": self.ask,
            "lease_id": kept.map(|kept| &kept.key.lease),
            "expiration": kept.map(|kept| kept.key.expires()),
            "failure": held.failed.as_ref().map(|failed| failed.failure.message.clone()),
        })
    }

    /// Ends its keeping.
    pub(super) fn leave(&self) {
        self.gone.set(true);
        self.wanted.notify_one();
    }

    /// The credential, with at least that much of its life left.
    ///
    /// # Errors
    /// What the server says; that it is away, when nothing good is kept.
    pub(crate) async fn get(&self, least: SignedDuration) -> Result<Rc<Key>, Failure> {
        let deadline = Instant::now() + VENDING;
        let (mut confirmed, mut least) = (false, least);
        loop {
            let done = self.done.notified();
            let now = SystemClock.now();
            // Again after a vend: what a reader waited for was read.
            self.used.set(now);
            let kept = match self.look(now, least) {
                Look::Good(key) => return Ok(key),
                Look::Unconfirmed(key) if confirmed => return Ok(key),
                Look::Unconfirmed(key) => Some(key),
                Look::Refused(failure) => return Err(failure),
                Look::Nothing => None,
            };
            let _waiting = Waiting::new(&self.waiting);
            self.least.set(self.least.get().max(least));
            self.wanted.notify_one();
            confirmed = kept.is_some();
            if let Some(key) = kept {
                if timeout(CONFIRMING, done).await.is_err() {
                    return Ok(key);
                }
            } else {
                let silent = format!("the server has not answered within {} s", VENDING.as_secs());
                timeout_at(deadline, done).await.map_err(|_| Failure::new(Exit::Unreachable, silent))?;
                // Once: a server that never gives that much is not asked for it again and again.
                least = SignedDuration::ZERO;
            }
        }
    }

    fn look(&self, now: Timestamp, least: SignedDuration) -> Look {
        let held = self.held.borrow();
        let failed = held.failed.as_ref().filter(|failed| now < failed.again);
        match (&held.kept, failed) {
            (Some(kept), _) if kept.is_good(now, least) => {
                let key = Rc::clone(&kept.key);
                if kept.is_unasked(now) || failed.is_some() { Look::Good(key) } else { Look::Unconfirmed(key) }
            }
            (_, Some(failed)) => Look::Refused(failed.failure.clone()),
            (_, None) => Look::Nothing,
        }
    }

    fn next(&self, now: Timestamp) -> Step {
        let held = self.held.borrow();
        let until = |at: Timestamp| Some(Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let is_wanted = self.waiting.get() > 0;
        if let Some(failed) = held.failed.as_ref().filter(|failed| now < failed.again) {
            return Step::Rest(until(failed.again).filter(|_| held.kept.is_some()));
        }
        let Some(kept) = &held.kept else {
            return if is_wanted { Step::Vend } else { Step::Rest(None) };
        };
        // What nobody has read since it was vended is not renewed: it would be on record, and for nobody.
        let is_read = self.used.get() >= kept.vended;
        let is_due = (is_wanted && !kept.is_good(now, self.least.get())) || (is_read && now >= kept.renew);
        let paced = kept.vended.saturating_add(PACE).unwrap_or(now);
        if kept.vended > now || (is_due && now >= paced) {
            Step::Vend
        } else if is_due {
            Step::Rest(until(paced))
        } else if is_wanted && !kept.is_unasked(now) {
            Step::Confirm(kept.key.lease.clone())
        } else {
            // Whether it was read is looked at then.
            Step::Rest(until(kept.renew).filter(|_| now < kept.renew))
        }
    }

    /// Takes what was vended, or why nothing was; says what is worth saying.
    fn take(&self, vended: Result<Key, Failure>, now: Timestamp, out: &Out) {
        let mut held = self.held.borrow_mut();
        self.least.set(SignedDuration::ZERO);
        match vended.and_then(|key| checked(key, now)) {
            Ok(key) => {
                out.note(&key.summary());
                held.leases.retain(|(_, until)| *until > now);
                if !key.lease.is_empty() && held.leases.len() < LEASES {
                    held.leases.push((key.lease.clone(), key.expiration));
                }
                let renew = earlier(now, renewal(now, key.expiration));
                held.kept = Some(Kept { key: Rc::new(key), vended: now, asked: now, renew });
                held.failed = None;
            }
            Err(failure) => Self::failed(&mut held, failure, now, out),
        }
    }

    fn failed(held: &mut Held, failure: Failure, now: Timestamp, out: &Out) {
        let times = held.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
        // What breaks (500), or is no answer of the API (a proxy's 403 in HTML), says nothing of the caller either. What is kept is
        // good until its end.
        let is_said = failure.said.as_deref().is_some_and(|said| said.code.is_some());
        let is_away = is_away(&failure) || failure.exit == Exit::Local || !is_said;
        if !is_away {
            held.kept = None;
        }
        let longest = if is_away { LONGEST_PAUSE } else { REFUSED_FOR };
        let doubled = SignedDuration::from_secs(1 << times.min(5));
        let pause = if is_away { doubled.min(longest) } else { longest };
        let told = failure.said.as_deref().and_then(|said| said.retry_after_secs).unwrap_or_default().min(60);
        let pause = spread(pause).max(SignedDuration::from_secs(i64::try_from(told).unwrap_or(60)));
        if times == 1 {
            out.warn(&failure.to_string());
        }
        held.failed = Some(Failed { failure, again: now.saturating_add(pause).unwrap_or(now), times });
    }

    fn confirmed(&self, said: Result<Said, Failure>, now: Timestamp, out: &Out) {
        let mut held = self.held.borrow_mut();
        match said {
            Ok(Said::Good) => {
                if let Some(kept) = &mut held.kept {
                    kept.asked = now;
                }
            }
            Ok(Said::Ended) => held.kept = None,
            Err(failure) => Self::failed(&mut held, failure, now, out),
        }
    }

    /// Ends what was vended and still lives, as far as that is possible in that time.
    pub(crate) async fn end(&self, login: &Login<'_>, within: Duration) {
        let now = SystemClock.now();
        let leases: Vec<String> =
            self.held.borrow().leases.iter().filter(|(_, until)| *until > now).map(|(id, _)| id.clone()).collect();
        let Ok(client) = login.client().await else { return };
        let ended = leases.iter().map(|id| crate::cli::creds::end(&client, id));
        // They end by themselves, if this does not end them.
        let _ = timeout(within, futures::future::join_all(ended)).await;
    }
}

enum Look {
    Good(Rc<Key>),
    /// Good as far as is known, and not asked about for a minute.
    Unconfirmed(Rc<Key>),
    Refused(Failure),
    Nothing,
}

/// A credential that lives at all, by this machine's clock.
fn checked(key: Key, now: Timestamp) -> Result<Key, Failure> {
    if key.expiration <= now {
        return Err(Failure::local(format!("the server vended a credential that ended at {}", key.expires()))
            .hint("is this machine's clock right? `valetkey doctor` compares it with the server's"));
    }
    Ok(key)
}

/// Up to a tenth earlier than planned, so that many agents do not renew in the same second.
fn earlier(from: Timestamp, to: Timestamp) -> Timestamp {
    let span = to.duration_since(from);
    to.saturating_sub(span / 1000 * chance(100)).unwrap_or(to)
}

/// Between three and five quarters of a pause.
fn spread(pause: SignedDuration) -> SignedDuration {
    pause / 100 * (75 + chance(50))
}

fn chance(below: i32) -> i32 {
    let mut bytes = [0; 2];
    SystemEntropy.fill(&mut bytes);
    i32::from(u16::from_le_bytes(bytes)) % below
}

/// Does for a slot what is to be done, until it leaves.
pub(super) async fn keep(slot: &Slot, login: &Login<'_>, out: &Out) {
    while !slot.gone.get() {
        match slot.next(SystemClock.now()) {
            Step::Vend => {
                let vended = match login.client().await {
                    Ok(client) => vend(&client, &slot.ask).await.map(|(key, _)| key),
                    Err(failure) => Err(failure),
                };
                slot.take(vended, SystemClock.now(), out);
                slot.done.notify_waiters();
            }
            Step::Confirm(lease) => {
                let said = match login.client().await {
                    Ok(client) => confirm(&client, &lease).await,
                    Err(failure) => Err(failure),
                };
                slot.confirmed(said, SystemClock.now(), out);
                slot.done.notify_waiters();
            }
            Step::Rest(Some(pause)) => {
                // An hour at most: the wall clock may move otherwise than this one, above all while the machine sleeps.
                let pause = pause.clamp(Duration::from_millis(5), Duration::from_hours(1));
                tokio::select! { () = sleep(pause) => {}, () = slot.wanted.notified() => {} }
            }
            Step::Rest(None) => slot.wanted.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::cli::failure::Said as Answered;
    use crate::cli::output::{Color, Format, Talk};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + secs).unwrap()
    }

    fn key(until: i64) -> Key {
        Key::read(&json!({
            "lease_id": "lea_1", "access_key_id": "A", "secret_access_key": "s", "session_token": "t", "bucket": "b",
            "expiration": at(until).to_string(), "endpoint_url": "https://s3.example",
        }))
        .unwrap()
    }

    fn out() -> Out {
        Out::new(Format::Table, Color::Never, Talk::Quiet)
    }

    /// One that was vended at the time 0, and read then.
    fn slot(life: i64) -> Slot {
        let slot = Slot::new(Ask::default());
        slot.take(Ok(key(life)), at(0), &out());
        slot.used.set(at(0));
        slot
    }

    fn given(slot: &Slot, now: i64) -> bool {
        matches!(slot.look(at(now), SignedDuration::ZERO), Look::Good(_) | Look::Unconfirmed(_))
    }

    #[test]
    fn what_is_read_is_renewed_ahead_and_what_is_not_is_left() {
        let slot = slot(3600);
        assert!(matches!(slot.next(at(0)), Step::Rest(Some(pause)) if pause >= Duration::from_secs(1600)));
        assert_eq!(slot.next(at(1800)), Step::Vend);
        slot.take(Ok(key(5400)), at(1800), &out());
        assert_eq!(slot.next(at(5000)), Step::Rest(None), "nobody read the second");
    }

    #[test]
    fn many_agents_neither_renew_nor_ask_again_at_one_moment() {
        let planned = renewal(at(0), at(36_000));
        let agents: Vec<Slot> = (0..200).map(|_| slot(36_000)).collect();
        let renewals: BTreeSet<Timestamp> =
            agents.iter().filter_map(|slot| Some(slot.held.borrow().kept.as_ref()?.renew)).collect();
        let earliest = planned.saturating_sub(planned.duration_since(at(0)) / 10).unwrap();
        assert!(renewals.iter().all(|at| (earliest..=planned).contains(at)), "{renewals:?}");
        assert!(renewals.len() > 50, "{} moments for 200 agents", renewals.len());
        let again: BTreeSet<Timestamp> = agents
            .iter()
            .filter_map(|slot| {
                slot.take(Err(Failure::new(Exit::Unreachable, "x")), at(0), &out());
                Some(slot.held.borrow().failed.as_ref()?.again)
            })
            .collect();
        let (first, last) = (again.first().unwrap(), again.last().unwrap());
        assert!(again.len() > 25, "{} moments for 200 agents", again.len());
        assert!(first.duration_since(at(0)) >= SignedDuration::from_millis(1500));
        assert!(last.duration_since(at(0)) <= SignedDuration::from_millis(2500));
    }

    #[test]
    fn nothing_is_given_that_does_not_last_a_request() {
        for (life, last) in [(3600, 3539), (10, 7)] {
            let slot = slot(life);
            assert!(given(&slot, last) && !given(&slot, last + 1), "{life}");
        }
        assert!(!given(&slot(3600), -1), "a clock that went back proves nothing");
        let least = SignedDuration::from_mins(26);
        assert!(matches!(slot(900).look(at(0), least), Look::Nothing));
    }

    #[test]
    fn a_server_that_is_away_takes_nothing_and_a_refusal_takes_what_is_kept() {
        let slot = slot(3600);
        for exit in [Exit::Unreachable, Exit::RateLimited, Exit::Local] {
            slot.take(Err(Failure::new(exit, "x")), at(1800), &out());
            assert!(given(&slot, 1800));
            assert!(matches!(slot.next(at(1800)), Step::Rest(Some(_))), "not asked again at once");
            assert_eq!(slot.next(at(1900)), Step::Vend);
        }
        slot.take(Err(Failure::new(Exit::Denied, "a proxy's page")), at(1950), &out());
        assert!(given(&slot, 1950));
        let said = Some(Box::new(Answered { code: Some("forbidden".to_owned()), ..Answered::default() }));
        slot.take(Err(Failure { said, ..Failure::new(Exit::Denied, "no") }), at(2000), &out());
        assert!(matches!(slot.look(at(2000), SignedDuration::ZERO), Look::Refused(failure) if failure.message == "no"));
        assert!(matches!(slot.look(at(2010), SignedDuration::ZERO), Look::Nothing), "a reader later asks again");
    }

    #[test]
    fn what_is_kept_for_a_minute_is_confirmed_for_a_reader() {
        let slot = slot(3600);
        let _waiting = Waiting::new(&slot.waiting);
        assert!(matches!(slot.next(at(59)), Step::Rest(_)));
        assert_eq!(slot.next(at(60)), Step::Confirm("lea_1".to_owned()));
        slot.confirmed(Ok(Said::Good), at(60), &out());
        assert!(matches!(slot.next(at(61)), Step::Rest(_)));
        slot.confirmed(Ok(Said::Ended), at(120), &out());
        assert!(!given(&slot, 120));
        assert_eq!(slot.next(at(121)), Step::Vend);
    }

    #[test]
    fn a_server_that_vends_what_is_over_is_not_asked_without_a_pause() {
        let slot = slot(10);
        slot.take(Ok(key(-5)), at(9), &out());
        assert!(
            matches!(slot.look(at(9), SignedDuration::ZERO), Look::Refused(failure) if failure.exit == Exit::Local)
        );
        let _waiting = Waiting::new(&slot.waiting);
        slot.take(Ok(key(20)), at(19), &out());
        slot.least.set(SignedDuration::from_mins(26));
        assert!(matches!(slot.next(at(19)), Step::Rest(Some(_))));
    }
}
