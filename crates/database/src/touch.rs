//! What a node knows of its touch with a database that others write, too.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use valetkey_core::fair::LiveNodes;

use crate::sql::seat::Seat;

/// What a node knows of its touch with the database.
#[derive(Debug)]
pub(crate) struct Touch {
    /// This node, and the chain that it writes.
    pub(crate) seat: Seat,
    /// Its name, for who looks.
    pub(crate) name: String,
    /// When the database was last asked what was changed, and answered.
    pub(crate) heard: Mutex<Instant>,
    /// One asks at a time.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// The last change of another node that touched storages or buckets.
    pub(crate) storages: watch::Sender<i64>,
    /// The last change of another node that may have ended a credential of an external storage.
    pub(crate) pool: watch::Sender<i64>,
    /// How many nodes are live.
    pub(crate) live: LiveNodes,
    /// The last change that what is read from here on is known with.
    pub(crate) as_of: AtomicI64,
}

impl Touch {
    pub(crate) fn new(seat: Seat, name: String, known: i64) -> Self {
        Self {
            seat,
            name,
            heard: Mutex::new(Instant::now()),
            asking: tokio::sync::Mutex::default(),
            storages: watch::Sender::new(0),
            pool: watch::Sender::new(0),
            live: LiveNodes::default(),
            as_of: AtomicI64::new(known),
        }
    }

    /// The last change that what is read from here on is known with.
    pub(crate) fn as_of(&self) -> i64 {
        self.as_of.load(Ordering::SeqCst)
    }

    pub(crate) fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, asked: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = asked.max(*heard);
    }

    pub(crate) fn silence(&self) -> Duration {
        self.heard().elapsed()
    }
}
