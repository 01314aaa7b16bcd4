//! A clock that stands still until told.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use valetkey_core::time::Clock;

/// A clock that stands still until told. Starts at 2026-01-01T00:00:00Z.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl Default for FixedClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_767_225_600_000))
    }
}

impl FixedClock {
    /// Moves the clock forward (or back).
    pub fn advance_secs(&self, secs: i64) {
        self.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
