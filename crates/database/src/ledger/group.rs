//! The event that everybody waits for whose entry is in one page.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use valetkey_core::id::LeaseId;
use valetkey_core::{Error, Kind};

use crate::ledger::overtaken::LeftOut;

/// What became of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is on disk.
    Kept,
    /// It is not.
    Lost,
}

/// The event that everybody waits for whose entry is in one page.
#[derive(Debug, Default)]
pub(crate) struct Group {
    outcome: OnceLock<Outcome>,
    /// Leases that were left out of the page, and why.
    left_out: Mutex<HashMap<LeaseId, LeftOut>>,
    /// Whether any were: asked for each lease, without a lock.
    lacks: AtomicBool,
    /// The page, or one before it, could not be written and is tried again.
    pub(super) stuck: AtomicBool,
    done: Notify,
}

impl Group {
    /// Notes leases that were left out of the page.
    pub(super) fn leave_out(&self, leases: impl IntoIterator<Item = (LeaseId, LeftOut)>) {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).extend(leases);
        self.lacks.store(true, Ordering::Release);
    }

    /// Whether a lease whose page was written is in it.
    pub(crate) fn has(&self, lease: LeaseId) -> Result<bool, Error> {
        if !self.lacks.load(Ordering::Acquire) {
            return Ok(true);
        }
        match self.left_out.lock().unwrap_or_else(PoisonError::into_inner).get(&lease) {
            None => Ok(true),
            Some(LeftOut::Short) => Ok(false),
            Some(LeftOut::Overtaken) => Err(Error::overtaken()),
        }
    }

    /// Waits until the page is on disk.
    pub(crate) async fn kept(&self) -> Result<(), Error> {
        // INVARIANT: made before the outcome is looked at: from then on it hears of `notify_waiters`.
        let done = self.done.notified();
        if self.outcome.get().is_none() {
            done.await;
        }
        match self.outcome.get() {
            Some(Outcome::Kept) => Ok(()),
            Some(Outcome::Lost) | None => Err(unwritten()),
        }
    }

    /// Waits until the page is on disk, or it is known that it cannot be written for now.
    pub(crate) async fn kept_or_stuck(&self) -> Result<(), Error> {
        // INVARIANT: as above.
        let done = self.done.notified();
        if self.outcome.get().is_none() && !self.stuck.load(Ordering::Acquire) {
            done.await;
        }
        match self.outcome.get() {
            Some(Outcome::Kept) => Ok(()),
            Some(Outcome::Lost) | None => Err(unwritten()),
        }
    }

    pub(super) fn stick(&self) {
        self.stuck.store(true, Ordering::Release);
        self.done.notify_waiters();
    }

    pub(super) fn finish(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
        self.done.notify_waiters();
    }
}

fn unwritten() -> Error {
    Error::new(Kind::Unavailable, "the ledger could not be written").retry_after(1)
}
