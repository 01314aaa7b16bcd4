//! Heavy answers: those whose work grows with what a stranger put into a table. They are made on threads beside the runtime, few
//! at once, each account waiting in a line of its own; and they are told piece by piece, so that neither a thread nor the
//! whole text is held for a reader that is slow.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use valetkey_core::id::AccountId;
use valetkey_core::{Error, Kind};

use super::reply::Reply;

/// What heavy answers may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeavyLimits {
    /// Answers at once, from the first look at a table to the last byte.
    pub at_once: usize,
    /// How many of those may be of one account.
    pub of_one: usize,
    /// How many more of one account may wait for their turn; others are told to come again.
    pub waiting_of_one: usize,
    /// Threads that work on them.
    pub threads: usize,
    /// How long one may take, the wait for its turn and for its reader included.
    pub time: Duration,
    /// About the most bytes of one.
    pub bytes: u64,
}

impl Default for HeavyLimits {
    fn default() -> Self {
        Self {
            at_once: 6,
            of_one: 3,
            waiting_of_one: 8,
            threads: 1,
            time: Duration::from_mins(2),
            bytes: 256 * 1024 * 1024,
        }
    }
}

/// Makes heavy answers.
#[derive(Clone)]
pub struct Heavy(Arc<Pool>);

struct Pool {
    limits: HeavyLimits,
    places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    accounts: Mutex<HashMap<AccountId, Weak<OfOne>>>,
}

/// The line of one account.
struct OfOne {
    line: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The right to make one heavy answer, until it is told or its time is over.
pub struct Place {
    pool: Arc<Pool>,
    deadline: Instant,
    /// Those of one account find each other as long as one of them is here.
    _account: Arc<OfOne>,
    _held: [OwnedSemaphorePermit; 3],
}

/// Says that nobody waits for the work any more.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// A part of an answer.
pub struct Piece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is the last one.
    pub is_last: bool,
}

/// An answer that is told piece by piece.
pub trait Telling: Send + 'static {
    /// The next piece: some [`PIECE`] bytes.
    fn more(&mut self) -> Result<Piece, Error>;
}

/// So many grants are looked at where the question came in: that takes less than a millisecond.
const LIGHT: usize = 4_000;

/// About how many bytes are made at once: some hundred lines, so that a thread is asked for seldom and little waits for a slow reader.
pub const PIECE: usize = 128 * 1024;

impl Heavy {
    /// A pool with nobody in it.
    pub fn new(limits: HeavyLimits) -> Self {
        let turns = |number: usize| Arc::new(Semaphore::new(number.max(1)));
        let (places, threads) = (turns(limits.at_once), turns(limits.threads));
        Self(Arc::new(Pool { limits, places, threads, accounts: Mutex::default() }))
    }

    fn of(&self, account: AccountId) -> Arc<OfOne> {
        let mut all = self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(&account).and_then(Weak::upgrade) {
            return own;
        }
        // Few are here at once: the others go whenever a new one comes.
        all.retain(|_, own| own.strong_count() > 0);
        let HeavyLimits { of_one, waiting_of_one, .. } = self.0.limits;
        let of_one = of_one.max(1);
        let line = Arc::new(Semaphore::new(of_one + waiting_of_one));
        let own = Arc::new(OfOne { line, turns: Arc::new(Semaphore::new(of_one)) });
        all.insert(account, Arc::downgrade(&own));
        own
    }

    /// Does work that grows with how many grants an account has: where they are many, in a place of who asks, beside the runtime.
    ///
    /// # Errors
    /// Those of the work; `RateLimited` and `Unavailable` as for other heavy answers.
    pub async fn weigh<T: Send + 'static>(
        &self,
        account: AccountId,
        grants: usize,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if grants <= LIGHT {
            return work();
        }
        self.enter(account).await?.work(move |_| work()).await
    }

    /// Waits for a place. Each account has at most as many in the line for all as it may have places, so that none waits
    /// longer than for one answer of each other account.
    ///
    /// # Errors
    /// `RateLimited` when too many of the account wait already, or when no place came free in time.
    pub async fn enter(&self, account: AccountId) -> Result<Place, Error> {
        let full = || {
            metrics::counter!("vk_heavy_answers_refused_total").increment(1);
            let said = "too many heavy requests of this account are being worked on; try again in 1 s";
            Error::new(Kind::RateLimited, said).retry_after(1)
        };
        let deadline = Instant::now() + self.0.limits.time;
        let own = self.of(account);
        let in_line = Arc::clone(&own.line).try_acquire_owned().map_err(|_| full())?;
        let turns = async {
            let turn = Arc::clone(&own.turns).acquire_owned().await.map_err(|_| full())?;
            let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| full())?;
            Ok::<_, Error>([in_line, turn, place])
        };
        let held = tokio::time::timeout_at(deadline, turns).await.map_err(|_| full())??;
        Ok(Place { pool: Arc::clone(&self.0), deadline, _account: own, _held: held })
    }
}

impl Place {
    /// About the most bytes that the answer may have.
    pub fn most_bytes(&self) -> u64 {
        self.pool.limits.bytes
    }

    /// Waits for something that belongs to the answer, no longer than there is time for it.
    ///
    /// # Errors
    /// `Unavailable` when the time is over.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = || {
            let secs = self.pool.limits.time.as_secs();
            let said = format!("the answer was not made within {secs} s; ask for less of the table at once");
            Error::new(Kind::Unavailable, said).retry_after(10)
        };
        tokio::time::timeout_at(self.deadline, work).await.map_err(|_| late())?
    }

    /// Does a part of the work beside the runtime, when a thread is free for it.
    ///
    /// # Errors
    /// Those of the work; `Unavailable` when the time is over.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stop) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = async {
            let turn = Arc::clone(&self.pool.threads).acquire_owned().await;
            let turn = turn.map_err(|_| Error::internal("there are no threads for heavy answers"))?;
            let stop = Stop::default();
            let _stop = StopsIt(stop.clone());
            let task = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work(&stop)
            });
            task.await.map_err(|error| Error::internal("a heavy answer failed").caused_by(error))?
        };
        self.in_time(done).await
    }

    async fn step<T: Telling>(&self, mut telling: T) -> Result<(T, Piece), Error> {
        self.work(move |_| telling.more().map(|piece| (telling, piece))).await
    }

    /// Answers piece by piece, each made when the one before was taken. What fails before the first is a refusal; what fails
    /// behind it ends the connection, so that nobody takes the part for the whole.
    ///
    /// # Errors
    /// Those of the first piece.
    pub async fn answer(self, telling: impl Telling, body_type: &'static str) -> Result<Reply, Error> {
        let (telling, first) = self.step(telling).await?;
        if first.is_last {
            return Ok(Reply::written(first.bytes, body_type));
        }
        let told = first.bytes.len() as u64;
        // A hint of what one comes to is taken before; this only stops one that outgrew it.
        let most = self.most_bytes().saturating_mul(2);
        let rest = stream::unfold(Some((self, telling, told)), move |state| async move {
            let (place, telling, told) = state?;
            let next = place.step(telling).await.and_then(|(telling, piece)| {
                let told = told.saturating_add(piece.bytes.len() as u64);
                if told > most {
                    return Err(Error::internal(format!("an answer outgrew {most} bytes")));
                }
                Ok((telling, piece, told))
            });
            match next {
                Ok((_, piece, _)) if piece.is_last => Some((Ok(Bytes::from(piece.bytes)), None)),
                Ok((telling, piece, told)) => Some((Ok(Bytes::from(piece.bytes)), Some((place, telling, told)))),
                Err(error) => {
                    metrics::counter!("vk_heavy_answers_cut_total").increment(1);
                    tracing::warn!(%error, detail = error.detail(), told, "an answer was cut off");
                    Some((Err(std::io::Error::other(error.to_string())), None))
                }
            }
        });
        let first = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(first.bytes)) });
        Ok(Reply::streamed(Body::from_stream(first.chain(rest)), body_type))
    }
}

impl Stop {
    /// Refuses to go on when nobody waits any more.
    ///
    /// # Errors
    /// `Unavailable`, which nobody hears.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Unavailable, "nobody waits for this answer any more"));
        }
        Ok(())
    }
}

struct StopsIt(Stop);

impl Drop for StopsIt {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn account(byte: u8) -> AccountId {
        AccountId::from_bytes([byte; 16])
    }

    fn pool(at_once: usize, of_one: usize, waiting_of_one: usize) -> Heavy {
        Heavy::new(HeavyLimits { at_once, of_one, waiting_of_one, ..HeavyLimits::default() })
    }

    #[tokio::test]
    async fn one_account_leaves_places_to_others_and_waits_no_longer_than_its_line() {
        let heavy = pool(4, 2, 1);
        let (first, _second) = (heavy.enter(account(1)).await.unwrap(), heavy.enter(account(1)).await.unwrap());
        let third = heavy.enter(account(1));
        let mut third = std::pin::pin!(third);
        assert!(third.as_mut().now_or_never().is_none());
        let fourth = heavy.enter(account(1)).await.err().unwrap();
        assert_eq!((fourth.kind(), fourth.retry_after_secs()), (Kind::RateLimited, Some(1)));
        let _others = (heavy.enter(account(2)).await.unwrap(), heavy.enter(account(3)).await.unwrap());
        drop(first);
        third.await.unwrap();
        assert!(heavy.enter(account(1)).await.is_ok(), "what ended leaves nothing behind");
    }

    #[tokio::test]
    async fn work_over_many_grants_waits_for_a_place_and_over_few_does_not() {
        let heavy = pool(1, 1, 0);
        let (here, there) = (std::thread::current().id(), || Ok(std::thread::current().id()));
        assert_eq!(heavy.weigh(account(1), LIGHT, there).await.unwrap(), here);
        assert_ne!(heavy.weigh(account(1), LIGHT + 1, there).await.unwrap(), here);
        let place = heavy.enter(account(1)).await.unwrap();
        assert_eq!(heavy.weigh(account(1), LIGHT, there).await.unwrap(), here);
        assert_eq!(heavy.weigh(account(1), LIGHT + 1, there).await.unwrap_err().kind(), Kind::RateLimited);
        drop(place);
    }

    #[tokio::test]
    async fn one_deadline_holds_for_the_wait_the_work_and_the_reader() {
        let heavy = Heavy::new(HeavyLimits { at_once: 1, time: Duration::from_millis(50), ..HeavyLimits::default() });
        let place = heavy.enter(account(1)).await.unwrap();
        let waited = heavy.enter(account(2)).await.err().unwrap();
        assert_eq!(waited.kind(), Kind::RateLimited);
        let late = place.in_time(std::future::pending::<Result<(), Error>>()).await.unwrap_err();
        assert_eq!((late.kind(), late.retry_after_secs()), (Kind::Unavailable, Some(10)));
        let reply = place.answer(Counting(0), "text/plain").await;
        assert_eq!(reply.err().unwrap().kind(), Kind::Unavailable, "its time is over");
        heavy.enter(account(2)).await.unwrap();
    }

    /// Tells its pieces without an end.
    struct Counting(u32);

    impl Telling for Counting {
        fn more(&mut self) -> Result<Piece, Error> {
            self.0 += 1;
            Ok(Piece { bytes: vec![b'x'; PIECE], is_last: false })
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_and_its_place_is_free_again() {
        use http_body_util::BodyExt as _;
        let heavy = Heavy::new(HeavyLimits { at_once: 1, bytes: 1024 * 1024, ..HeavyLimits::default() });
        let place = heavy.enter(account(1)).await.unwrap();
        let mut body = place.answer(Counting(0), "text/plain").await.unwrap().body;
        let mut read = 0;
        let cut = loop {
            match body.frame().await {
                Some(Ok(frame)) => read += frame.into_data().unwrap().len(),
                other => break other,
            }
        };
        assert!(matches!(cut, Some(Err(_))));
        assert_eq!(read, 2 * 1024 * 1024);
        heavy.enter(account(2)).await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_frees_its_place_and_stops_the_work() {
        let heavy = pool(1, 1, 0);
        let place = heavy.enter(account(1)).await.unwrap();
        let (began, starts) = std::sync::mpsc::channel();
        let (ended, mut end) = tokio::sync::mpsc::channel(1);
        let work = place.work(move |stop| {
            let _ = began.send(());
            let stopped = loop {
                match stop.check() {
                    Ok(()) => std::thread::yield_now(),
                    Err(error) => break error,
                }
            };
            let _ = ended.blocking_send(());
            Err::<(), _>(stopped)
        });
        {
            let mut work = std::pin::pin!(work);
            assert!(work.as_mut().now_or_never().is_none());
            starts.recv().unwrap();
        }
        end.recv().await.unwrap();
        drop(place);
        heavy.enter(account(2)).await.unwrap();
    }
}
