//! The last of something that is fetched and lives for a while: renewed ahead of its end, by one caller at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use valetkey_core::Error;

/// After a renewal failed, the next is tried so much later.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The last one.
pub(crate) struct Renewing<T> {
    last: Mutex<Option<Last<T>>>,
    turn: tokio::sync::Mutex<()>,
}

struct Last<T> {
    value: T,
    renew: Timestamp,
}

/// What was fetched, and from when another is sought.
pub(crate) struct Fresh<T> {
    /// What was fetched.
    pub(crate) value: T,
    /// From when another is sought.
    pub(crate) renew: Timestamp,
}

impl<T: Clone> Renewing<T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new(None), turn: tokio::sync::Mutex::new(()) }
    }

    /// The last one if it serves, or a new one. While the last one serves, nobody waits for another and a failure to
    /// fetch one is none.
    ///
    /// # Errors
    /// What fetching fails with.
    pub(crate) async fn get(
        &self,
        now: Timestamp,
        serves: impl Fn(&T) -> bool,
        fetch: impl Future<Output = Result<Fresh<T>, Error>>,
    ) -> Result<T, Error> {
        let (fresh, serving) = self.serving(now, &serves);
        let _turn = match (serving, self.turn.try_lock()) {
            (Some(value), _) if fresh => return Ok(value),
            (_, Ok(turn)) => turn,
            (Some(value), Err(_)) => return Ok(value),
            (None, Err(_)) => {
                let turn = self.turn.lock().await;
                // Who had the turn before may have fetched it.
                if let (true, Some(value)) = self.serving(now, &serves) {
                    return Ok(value);
                }
                turn
            }
        };
        match fetch.await {
            Ok(Fresh { value, renew }) => {
                *self.last() = Some(Last { value: value.clone(), renew });
                Ok(value)
            }
            Err(error) => match &mut *self.last() {
                Some(last) if serves(&last.value) => {
                    last.renew = now.checked_add(PAUSE).unwrap_or(now);
                    Ok(last.value.clone())
                }
                _ => Err(error),
            },
        }
    }

    /// Forgets it: it was refused.
    pub(crate) fn forget(&self) {
        *self.last() = None;
    }

    /// The last one if it serves, and whether it need not be renewed yet.
    fn serving(&self, now: Timestamp, serves: impl Fn(&T) -> bool) -> (bool, Option<T>) {
        match &*self.last() {
            Some(Last { value, renew }) if serves(value) => (now < *renew, Some(value.clone())),
            _ => (false, None),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Last<T>>> {
        // Every change of it is one assignment, so it is whole even if its holder panicked.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;
    use valetkey_core::Kind;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn fresh(value: u32, renew: i64) -> Fresh<u32> {
        Fresh { value, renew: at(renew) }
    }

    fn down() -> Result<Fresh<u32>, Error> {
        Err(Error::new(Kind::Upstream, "down"))
    }

    #[tokio::test]
    async fn it_is_fetched_once_and_renewed_ahead() {
        let kept = Renewing::new();
        let always = |_: &u32| true;
        assert_eq!(kept.get(at(0), always, async { Ok(fresh(1, 10)) }).await.unwrap(), 1);
        assert_eq!(kept.get(at(9), always, async { Ok(fresh(2, 10)) }).await.unwrap(), 1);
        // A failed renewal is tried again later, and nobody notices.
        assert_eq!(kept.get(at(10), always, async { down() }).await.unwrap(), 1);
        assert_eq!(kept.get(at(39), always, async { Ok(fresh(2, 99)) }).await.unwrap(), 1);
        assert_eq!(kept.get(at(40), always, async { Ok(fresh(2, 99)) }).await.unwrap(), 2);
        // What does not serve is not given out.
        assert_eq!(kept.get(at(41), |_: &u32| false, async { down() }).await.unwrap_err().kind(), Kind::Upstream);
        kept.forget();
        assert!(kept.get(at(41), always, async { down() }).await.is_err());
    }

    #[tokio::test]
    async fn one_renews_and_the_others_do_not_wait() {
        let kept = Renewing::new();
        kept.get(at(0), |_| true, async { Ok(fresh(1, 10)) }).await.unwrap();
        let (answer, answered) = oneshot::channel();
        let renewal = kept.get(at(20), |_| true, async { Ok(fresh(answered.await.unwrap(), 99)) });
        let other = async {
            let got = kept.get(at(20), |_| true, async { Ok(fresh(7, 99)) }).await.unwrap();
            answer.send(2).unwrap();
            got
        };
        let (renewed, meanwhile) = tokio::join!(biased; renewal, other);
        assert_eq!((renewed.unwrap(), meanwhile), (2, 1));
    }

    #[tokio::test]
    async fn many_who_wait_make_one_request() {
        let kept = Renewing::new();
        let calls = AtomicU32::new(0);
        let one = || {
            kept.get(at(0), |_| true, async {
                tokio::task::yield_now().await;
                Ok(fresh(calls.fetch_add(1, Ordering::SeqCst), 10))
            })
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (0, 0, 0));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
