//! A node at a server of Postgres: which chain it writes, and whether the server answers it.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sql::chain::Chain;

/// The longest that a statement is waited for: longer than the server lets one take.
const SILENCE: Duration = Duration::from_secs(35);
/// A server that has answered nothing for so long, on any connection, is away: it is asked for something each second. A little more
/// than after what nothing is vended any more.
const AWAY: Duration = Duration::from_secs(6);
/// How often a statement that is waited for looks whether it is away; and no statement is given up sooner.
const LOOK: Duration = Duration::from_secs(1);

/// A node, as all of its connections know it.
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<State>);

#[derive(Debug)]
struct State {
    chain: AtomicI64,
    /// By what the database knows that a chain is this node's.
    holder: [u8; 16],
    began: Instant,
    /// When the server answered last, in milliseconds since then.
    answered_ms: AtomicU64,
    /// When it answered again after it had been away: connections of before may be silent for ever.
    back_ms: AtomicU64,
}

impl Seat {
    /// A node that drew this name, and has no chain yet.
    pub(crate) fn new(holder: [u8; 16]) -> Self {
        let (chain, answered_ms, back_ms) = (AtomicI64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(State { chain, holder, began: Instant::now(), answered_ms, back_ms }))
    }

    /// The chain that it writes.
    pub(crate) fn chain(&self) -> Chain {
        Chain::new(self.0.chain.load(Ordering::SeqCst))
    }

    /// Its name.
    pub(crate) fn holder(&self) -> Vec<u8> {
        self.0.holder.to_vec()
    }

    /// It writes this chain from now on. INVARIANT: whoever says so has the turn to write, so that no page is written on a chain that is
    /// another node's by then.
    pub(crate) fn take(&self, chain: Chain) {
        self.0.chain.store(chain.number(), Ordering::SeqCst);
    }

    /// Now, in milliseconds since it began.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn answered(&self) {
        let now_ms = self.now_ms();
        let before_ms = self.0.answered_ms.fetch_max(now_ms, Ordering::Relaxed);
        if u128::from(now_ms.saturating_sub(before_ms)) > AWAY.as_millis() {
            self.0.back_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    fn is_away(&self) -> bool {
        let silent_ms = self.now_ms().saturating_sub(self.0.answered_ms.load(Ordering::Relaxed));
        u128::from(silent_ms) > AWAY.as_millis()
    }

    /// Whether a connection that was opened then may be one that nobody answers any more.
    pub(super) fn is_stale(&self, opened_ms: u64) -> bool {
        opened_ms < self.0.back_ms.load(Ordering::Relaxed)
    }
}

/// What a server answers. A connection that was cut without a word is given up.
pub(super) async fn heard<T>(
    seat: Option<&Seat>,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let (mut asked, began) = (pin!(asked), Instant::now());
    let began_ms = seat.map_or(0, Seat::now_ms);
    loop {
        if let Ok(answer) = tokio::time::timeout(LOOK, &mut asked).await {
            if let (Some(seat), Ok(_) | Err(sqlx::Error::Database(_))) = (seat, &answer) {
                seat.answered();
            }
            return answer;
        }
        // Or it was away since, and answers others again.
        let lost = seat.is_some_and(|seat| seat.is_away() || seat.is_stale(began_ms));
        if lost || began.elapsed() > SILENCE {
            let silent = io::Error::new(io::ErrorKind::TimedOut, "the server of the database is silent");
            return Err(sqlx::Error::Io(silent));
        }
    }
}
