//! How often a store may be asked: a bucket of tokens under the provider's own quota, shared fairly between accounts, and divided by
//! the nodes that are live.
//!
//! While there are tokens, who asks gets one. When there are none, those who ask wait for a moment, and each account in turn gets
//! the next one: whoever asks for very many waits behind its own asks and not before those of others. Who would have to wait longer is
//! refused at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use valetkey_core::fair::LiveNodes;
use valetkey_core::id::AccountId;
use valetkey_core::storage::Quota;
use valetkey_core::time::Clock;

/// The longest that anybody waits for a turn. Shorter than what a fetch leaves for the store's answer.
const PATIENCE_MS: u64 = 5_000;

/// How often a store may be asked.
pub struct Budget {
    per_sec: u64,
    burst: u64,
    patience_ms: u64,
    nodes: LiveNodes,
    state: Mutex<State>,
}

struct State {
    /// In parts of a token.
    parts: u64,
    at: Timestamp,
    paused: Timestamp,
    /// Those who wait, by their account.
    waiting: HashMap<AccountId, VecDeque<oneshot::Sender<()>>>,
    /// The accounts that wait, the next one first.
    turns: VecDeque<AccountId>,
}

/// A turn at a store.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It is there.
    Now,
    /// It comes.
    Later(oneshot::Receiver<()>),
}

/// Parts of a token: so many that each millisecond brings some, and rounding a share of them down loses next to nothing.
const TOKEN: u64 = 1_000_000;

impl Budget {
    /// This node's share of a store's quota; of the quota, at least one a second and one at once.
    pub fn new(quota: Quota, nodes: LiveNodes) -> Self {
        let (per_sec, burst) = (u64::from(quota.calls_per_sec.max(1)), u64::from(quota.burst.max(1)));
        let state = State {
            parts: u64::from(nodes.share(quota.burst.max(1))) * TOKEN,
            at: Timestamp::MIN,
            paused: Timestamp::MIN,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
        };
        Self { per_sec, burst, patience_ms: PATIENCE_MS, nodes, state: Mutex::new(state) }
    }

    /// Parts that a millisecond brings.
    fn per_ms(&self) -> u64 {
        (self.per_sec * (TOKEN / 1000) / u64::from(self.nodes.count())).max(1)
    }

    /// The most parts there are.
    fn most(&self) -> u64 {
        self.burst.div_ceil(u64::from(self.nodes.count())) * TOKEN
    }

    /// The same, where nobody waits.
    #[cfg(test)]
    pub(crate) fn impatient(self) -> Self {
        Self { patience_ms: 0, ..self }
    }

    /// What there is now, after those who wait were given theirs.
    fn fill(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.duration_since(state.at).as_millis()).unwrap_or(0);
        state.parts = state.parts.saturating_add(passed.saturating_mul(self.per_ms())).min(self.most());
        // A clock set back gives nothing twice.
        state.at = state.at.max(now);
        while now >= state.paused && state.parts >= TOKEN && state.serve() {
            state.parts -= TOKEN;
        }
        state
    }

    /// Takes a turn for an account, or says after how many seconds there is one.
    pub(crate) fn take(&self, account: AccountId, now: Timestamp) -> Result<Turn, u32> {
        let mut state = self.fill(now);
        if state.is_free(now) {
            state.parts -= TOKEN;
            return Ok(Turn::Now);
        }
        self.room(&state, account, now)?;
        let (tell, told) = oneshot::channel();
        let State { waiting, turns, .. } = &mut *state;
        let own = waiting.entry(account).or_default();
        if own.is_empty() {
            turns.push_back(account);
        }
        own.push_back(tell);
        Ok(Turn::Later(told))
    }

    /// Whether an account would be given a turn, or after how many seconds; takes none.
    pub(crate) fn has(&self, account: AccountId, now: Timestamp) -> Result<(), u32> {
        let state = self.fill(now);
        if state.is_free(now) { Ok(()) } else { self.room(&state, account, now) }
    }

    /// Whether an account's next ask would wait for so long only as anybody may.
    fn room(&self, state: &State, account: AccountId, now: Timestamp) -> Result<(), u32> {
        // Before it come all of its own, and of each other account as many.
        let own = state.waiting.get(&account).map_or(0, VecDeque::len);
        let ahead: usize = state.waiting.values().map(|waiting| waiting.len().min(own + 1)).sum();
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX).saturating_add(1).saturating_mul(TOKEN);
        let missing = ahead.saturating_sub(state.parts).div_ceil(self.per_ms());
        let paused = u64::try_from(state.paused.duration_since(now).as_millis()).unwrap_or(0);
        let wait = missing.max(paused);
        if wait <= self.patience_ms {
            return Ok(());
        }
        Err(u32::try_from(wait.div_ceil(1000).max(1)).unwrap_or(u32::MAX))
    }

    /// Waits for a turn that was taken.
    ///
    /// # Errors
    /// After how many seconds to come again, if it did not come in time.
    pub(crate) async fn wait(self: &Arc<Self>, turn: Turn, clock: &dyn Clock) -> Result<(), u32> {
        let Turn::Later(mut turn) = turn else { return Ok(()) };
        let patience = Instant::now() + Duration::from_millis(self.patience_ms);
        loop {
            // Whoever waits has the others served, too: nothing else has to run for that.
            let next = self.next(clock.now());
            let left = patience.saturating_duration_since(Instant::now());
            match timeout(next.min(left), &mut turn).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(1),
                Err(_) if left.is_zero() => {
                    turn.close();
                    // It may have come just now.
                    return turn.try_recv().map_err(|_| 1);
                }
                Err(_) => {}
            }
        }
    }

    /// Serves who can be served; how long until the next can be.
    fn next(&self, now: Timestamp) -> Duration {
        let state = self.fill(now);
        let missing = TOKEN.saturating_sub(state.parts).div_ceil(self.per_ms());
        let paused = u64::try_from(state.paused.duration_since(now).as_millis()).unwrap_or(0);
        Duration::from_millis(missing.max(paused).max(1))
    }

    /// Takes one if half of them are there and nobody waits: for what nobody waits for.
    pub(crate) fn spare(&self, now: Timestamp) -> bool {
        let mut state = self.fill(now);
        let half = (self.most() / 2).max(TOKEN);
        if !state.is_free(now) || state.parts < half {
            return false;
        }
        state.parts -= TOKEN;
        true
    }

    /// Takes none until then: the provider said so.
    pub(crate) fn pause(&self, until: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.paused = state.paused.max(until);
    }
}

impl State {
    fn is_free(&self, now: Timestamp) -> bool {
        self.turns.is_empty() && now >= self.paused && self.parts >= TOKEN
    }

    /// Gives the next account that waits its turn; whether anybody took one.
    fn serve(&mut self) -> bool {
        while let Some(account) = self.turns.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&account) else { continue };
            let mut served = false;
            // Who went away takes nothing.
            while !served && let Some(next) = waiting.pop_front() {
                served = next.send(()).is_ok();
            }
            if waiting.is_empty() {
                self.waiting.remove(&account);
            } else {
                self.turns.push_back(account);
            }
            if served {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn budget(calls_per_sec: u32, burst: u32) -> Budget {
        Budget::new(Quota { calls_per_sec, burst }, LiveNodes::default())
    }

    fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (start, own) = (start(), account(1));
        let budget = budget(1, 3).impatient();
        let take = |now| budget.take(own, now).map(|turn| assert!(matches!(turn, Turn::Now)));
        for _ in 0..3 {
            assert_eq!(take(start), Ok(()));
        }
        assert_eq!((take(start), budget.has(own, start)), (Err(1), Err(1)));
        assert_eq!(take(start + 999.milliseconds()), Err(1));
        assert_eq!(budget.has(own, start + 1000.milliseconds()), Ok(()), "looking takes none");
        assert_eq!(take(start + 1000.milliseconds()), Ok(()));
        assert_eq!(take(start), Err(1), "a clock set back gives nothing");
        assert!(!budget.spare(start + 2.seconds()) && budget.spare(start + 3.seconds()));
        budget.pause(start + 30.seconds());
        assert_eq!(take(start + 20.seconds()), Err(10));
        assert!(!budget.spare(start + 20.seconds()));
        assert_eq!(take(start + 30.seconds()), Ok(()));
        assert!(Budget::new(Quota { calls_per_sec: 0, burst: 0 }, LiveNodes::default()).take(own, start).is_ok());
    }

    /// One account asks for 45 new scopes a second, others for 16 keys each, one after the other.
    #[test]
    fn an_account_that_asks_for_very_many_leaves_the_others_their_turns() {
        for (rate, burst, others) in [(5_u32, 5, 1_usize), (10, 10, 1), (10, 300, 3), (4, 1, 2)] {
            let budget = budget(rate, burst);
            let mut given = vec![0; others];
            let mut waits: Vec<Option<oneshot::Receiver<()>>> = (0..others).map(|_| None).collect();
            let (mut hogs, mut refused) = (Vec::new(), 0);
            for ms in 0..20_000_i64 {
                let now = start() + ms.milliseconds();
                if ms % 22 == 0 {
                    match budget.take(account(1), now) {
                        Ok(Turn::Later(turn)) => hogs.push(turn),
                        Ok(Turn::Now) => {}
                        Err(wait) => {
                            refused += 1;
                            assert!((5..=7).contains(&wait), "{wait}");
                        }
                    }
                }
                if ms < 10_000 {
                    // The hog comes first.
                    continue;
                }
                for (index, wait) in waits.iter_mut().enumerate() {
                    let number = u8::try_from(index).unwrap() + 2;
                    match wait.as_mut().map(oneshot::Receiver::try_recv) {
                        Some(Ok(())) => given[index] += 1,
                        Some(Err(oneshot::error::TryRecvError::Empty)) => continue,
                        Some(Err(oneshot::error::TryRecvError::Closed)) | None => {}
                    }
                    *wait = None;
                    if given[index] < 16 {
                        match budget.take(account(number), now).expect("there is room for who asks for little") {
                            Turn::Later(turn) => *wait = Some(turn),
                            Turn::Now => given[index] += 1,
                        }
                    }
                }
            }
            let fair = usize::try_from(rate).unwrap() * 10 / (others + 1);
            assert!(given.iter().all(|given| *given >= fair.min(16) - 1), "{rate} a second: {given:?}");
            assert!(refused > 0, "who asks for more than there is, is told so");
            let state = budget.state.lock().unwrap();
            let waiting: usize = state.waiting.values().map(VecDeque::len).sum();
            assert!(waiting <= usize::try_from(rate).unwrap() * 5 + 1, "{waiting} wait");
        }
    }

    #[test]
    fn sixteen_at_once_get_their_turns_beside_one_who_asks_for_very_many() {
        let budget = budget(10, 10);
        while budget.take(account(1), start()).is_ok() {}
        let mut own: Vec<Turn> = (0..16).map(|_| budget.take(account(2), start()).unwrap()).collect();
        for ms in (0..5000).step_by(20) {
            drop(budget.fill(start() + ms.milliseconds()));
            drop(budget.take(account(1), start() + ms.milliseconds()));
        }
        let mut given = 0;
        for turn in &mut own {
            let Turn::Later(turn) = turn else { panic!("there was none left") };
            given += usize::from(turn.try_recv().is_ok());
        }
        assert_eq!(given, 16);
    }

    #[test]
    fn who_goes_away_takes_no_turn() {
        let budget = budget(1, 1);
        assert!(matches!(budget.take(account(1), start()), Ok(Turn::Now)));
        drop(budget.take(account(1), start()).unwrap());
        let Turn::Later(mut turn) = budget.take(account(2), start()).unwrap() else { panic!("there is none") };
        assert!(!budget.spare(start() + 900.milliseconds()));
        drop(budget.fill(start() + 1.seconds()));
        assert_eq!(turn.try_recv(), Ok(()));
        assert!(matches!(budget.take(account(1), start() + 2.seconds()), Ok(Turn::Now)));
    }

    #[tokio::test]
    async fn who_waits_has_itself_served_and_is_told_when_its_turn_does_not_come() {
        use valetkey_testkit::clock::FixedClock;
        let clock = Arc::new(FixedClock::default());
        let budget = Arc::new(budget(1000, 1));
        assert!(matches!(budget.take(account(1), clock.now()), Ok(Turn::Now)));
        let turn = budget.take(account(1), clock.now()).unwrap();
        let mut waiting = Box::pin(budget.wait(turn, &*clock));
        assert!(futures::poll!(&mut waiting).is_pending());
        clock.advance_secs(1);
        assert_eq!(waiting.await, Ok(()));
        // A clock that stands still brings no turn.
        let hurried = Arc::new(Budget {
            patience_ms: 20,
            ..Budget::new(Quota { calls_per_sec: 1000, burst: 1 }, LiveNodes::default())
        });
        assert!(matches!(hurried.take(account(1), clock.now()), Ok(Turn::Now)));
        let turn = hurried.take(account(1), clock.now()).unwrap();
        assert_eq!(hurried.wait(turn, &*clock).await, Err(1));
    }

    #[test]
    fn nodes_divide_the_rate_and_what_is_there_at_once() {
        for (calls_per_sec, burst, count) in [(30, 9, 3), (10, 1, 3), (1, 1, 7), (300, 300, 1)] {
            let nodes = LiveNodes::default();
            nodes.set(count);
            let budget = Budget::new(Quota { calls_per_sec, burst }, nodes).impatient();
            let mut given = 0;
            for ms in 0..20_000 {
                while budget.take(account(1), start() + ms.milliseconds()).is_ok() {
                    given += 1;
                }
            }
            let most = 20 * calls_per_sec / count + burst.div_ceil(count);
            assert!((most - 1..=most).contains(&given), "{calls_per_sec} a second, {count} nodes: {given} of {most}");
        }
    }
}
