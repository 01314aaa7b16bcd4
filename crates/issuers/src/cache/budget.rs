//! How often a store may be asked: a bucket of tokens under the provider's own quota.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use valetkey_core::storage::Quota;

/// How often a store may be asked.
pub struct Budget {
    per_sec: u64,
    burst: u64,
    state: Mutex<State>,
}

struct State {
    /// In parts of a token, of which a second's worth of milliseconds make one; so nothing is ever rounded.
    parts: u64,
    at: Timestamp,
    paused: Timestamp,
}

const TOKEN: u64 = 1_000;

impl Budget {
    /// Of a store's quota; at least one a second and one at once.
    pub fn new(quota: Quota) -> Self {
        let (per_sec, burst) = (u64::from(quota.calls_per_sec.max(1)), u64::from(quota.burst.max(1)));
        let state = State { parts: burst * TOKEN, at: Timestamp::MIN, paused: Timestamp::MIN };
        Self { per_sec, burst, state: Mutex::new(state) }
    }

    fn fill(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.duration_since(state.at).as_millis()).unwrap_or(0);
        state.parts = state.parts.saturating_add(passed.saturating_mul(self.per_sec)).min(self.burst * TOKEN);
        // A clock set back gives nothing twice.
        state.at = state.at.max(now);
        state
    }

    /// Takes one, or says after how many seconds there is one.
    pub(crate) fn take(&self, now: Timestamp) -> Result<(), u32> {
        let mut state = self.fill(now);
        state.parts = self.left(&state, now)?;
        Ok(())
    }

    /// Whether there is one, or after how many seconds; takes none.
    pub(crate) fn has(&self, now: Timestamp) -> Result<(), u32> {
        self.left(&self.fill(now), now).map(drop)
    }

    /// What would be left with one less.
    fn left(&self, state: &State, now: Timestamp) -> Result<u64, u32> {
        if let Some(parts) = state.parts.checked_sub(TOKEN).filter(|_| now >= state.paused) {
            return Ok(parts);
        }
        let missing = TOKEN.saturating_sub(state.parts).div_ceil(self.per_sec).div_ceil(1000);
        let paused = u64::try_from(state.paused.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000);
        Err(u32::try_from(missing.max(paused).max(1)).unwrap_or(u32::MAX))
    }

    /// Takes one if half of them are there: for what nobody waits for.
    pub(crate) fn spare(&self, now: Timestamp) -> bool {
        let mut state = self.fill(now);
        let half = (self.burst * TOKEN / 2).max(TOKEN);
        if now < state.paused || state.parts < half {
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

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn budget(calls_per_sec: u32, burst: u32) -> Budget {
        Budget::new(Quota { calls_per_sec, burst })
    }

    #[test]
    fn a_burst_then_the_rate() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let budget = budget(1, 3);
        for _ in 0..3 {
            assert_eq!(budget.take(start), Ok(()));
        }
        assert_eq!((budget.take(start), budget.has(start)), (Err(1), Err(1)));
        assert_eq!(budget.take(start + 999.milliseconds()), Err(1));
        assert_eq!(budget.has(start + 1000.milliseconds()), Ok(()), "looking takes none");
        assert_eq!(budget.take(start + 1000.milliseconds()), Ok(()));
        assert_eq!(budget.take(start), Err(1), "a clock set back gives nothing");
        assert!(!budget.spare(start + 2.seconds()) && budget.spare(start + 3.seconds()));
        budget.pause(start + 30.seconds());
        assert_eq!(budget.take(start + 20.seconds()), Err(10));
        assert!(!budget.spare(start + 20.seconds()));
        assert_eq!(budget.take(start + 30.seconds()), Ok(()));
        assert_eq!(Budget::new(Quota { calls_per_sec: 0, burst: 0 }).take(start), Ok(()));
    }
}
