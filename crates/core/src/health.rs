//! How external storages have answered this node lately. In memory only: people look at it, nothing is decided by it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::error::Kind;
use crate::id::StorageId;
use crate::time::Clock;

/// No answer yet.
const NEVER: i64 = i64::MIN;

/// What is seen of every storage.
#[derive(Clone)]
pub struct Health {
    clock: Arc<dyn Clock>,
    all: Arc<Mutex<HashMap<StorageId, Watched>>>,
}

/// What is seen of one storage, told by whatever asks it.
#[derive(Clone)]
pub struct Watched {
    clock: Arc<dyn Clock>,
    notes: Arc<Notes>,
}

struct Notes {
    /// When it last did what was asked of it, in milliseconds.
    worked: AtomicI64,
    /// How often in a row it failed since.
    failures: AtomicU32,
    failed: Mutex<Option<(Timestamp, Kind)>>,
}

/// How a storage has answered since this node started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// When it last did what was asked of it.
    pub worked: Option<Timestamp>,
    /// When it last failed, and with what.
    pub failed: Option<(Timestamp, Kind)>,
    /// How often in a row it failed since it last worked.
    pub failures: u32,
}

impl Health {
    /// Nothing is seen yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, all: Arc::default() }
    }

    /// Where to tell how this storage answers. What was told stays when its settings change.
    pub fn of(&self, storage: StorageId) -> Watched {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let notes = Notes { worked: NEVER.into(), failures: 0.into(), failed: Mutex::default() };
            Watched { clock: Arc::clone(&self.clock), notes: Arc::new(notes) }
        };
        all.entry(storage).or_insert_with(new).clone()
    }

    /// What was told of this storage.
    pub fn seen(&self, storage: StorageId) -> Seen {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&storage).map(Watched::seen).unwrap_or_default()
    }

    /// Forgets a storage that is no more.
    pub fn forget(&self, storage: StorageId) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&storage);
    }
}

impl Watched {
    /// It did what was asked of it.
    pub fn worked(&self) {
        let notes = &self.notes;
        notes.worked.store(self.clock.now().as_millisecond(), Ordering::Relaxed);
        if notes.failures.load(Ordering::Relaxed) != 0 {
            notes.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It failed.
    pub fn failed(&self, kind: Kind) {
        let notes = &self.notes;
        *notes.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.now(), kind));
        // At the highest count it stays: more is not told apart.
        let _ = notes.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
    }

    fn seen(&self) -> Seen {
        let notes = &self.notes;
        let worked = notes.worked.load(Ordering::Relaxed);
        Seen {
            worked: (worked != NEVER).then(|| Timestamp::from_millisecond(worked).ok()).flatten(),
            failed: *notes.failed.lock().unwrap_or_else(PoisonError::into_inner),
            failures: notes.failures.load(Ordering::Relaxed),
        }
    }
}

impl Seen {
    /// In one word: `unknown`, `working` or `failing`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self { failures: 1.., .. } => "failing",
            Self { worked: Some(_), .. } => "working",
            Self { .. } => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.fetch_add(1, Ordering::Relaxed)).unwrap()
        }
    }

    #[test]
    fn the_last_answer_counts_and_failures_in_a_row_are_counted() {
        let health = Health::new(Arc::new(Hand(1_000.into())));
        let [one, other] = [1, 2].map(|number| StorageId::new(Timestamp::from_second(number).unwrap(), [0; 10]));
        assert_eq!((health.seen(one), health.seen(one).as_str()), (Seen::default(), "unknown"));
        let watched = health.of(one);
        watched.worked();
        assert_eq!(health.seen(one).as_str(), "working");
        for _ in 0..3 {
            watched.failed(Kind::UpstreamTimeout);
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        let seen = Seen { worked: Some(at(1_000)), failed: Some((at(1_003), Kind::UpstreamTimeout)), failures: 3 };
        assert_eq!((health.seen(one), seen.as_str()), (seen, "failing"));
        // Whoever opens it anew goes on with what was seen.
        health.of(one).worked();
        assert_eq!(health.seen(one), Seen { worked: Some(at(1_004)), failures: 0, ..seen });
        assert_eq!(health.seen(one).as_str(), "working");
        assert_eq!(health.seen(other), Seen::default());
        health.forget(one);
        assert_eq!(health.seen(one), Seen::default());
    }
}
