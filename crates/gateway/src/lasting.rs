//! Credentials of a storage that outlast a short failure of who gives them.
//!
//! `object_store` asks for another token from five minutes before the end of the one it has, with each request, and then forgets that one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::{CredentialProvider, Result};
use tokio::time::Instant;

/// For so long after it was given a credential is taken where no other can be had. One that has ended is refused by its storage.
const LASTS: Duration = Duration::from_secs(270);
/// For so long nobody is asked again, whether a credential was given or refused.
const PAUSE: Duration = Duration::from_secs(1);

/// What gives credentials, and what it gave last.
pub(crate) struct Lasting<C> {
    from: Arc<dyn CredentialProvider<Credential = C>>,
    ran: Ran,
    kept: Mutex<Kept<C>>,
}

/// For how long it has been there.
type Ran = Box<dyn Fn() -> Duration + Send + Sync>;

struct Kept<C> {
    given: Option<(Duration, Arc<C>)>,
    asked: Option<Duration>,
}

impl<C> Lasting<C> {
    pub(crate) fn new(from: Arc<dyn CredentialProvider<Credential = C>>) -> Self {
        let began = Instant::now();
        Self::timed(from, Box::new(move || began.elapsed()))
    }

    fn timed(from: Arc<dyn CredentialProvider<Credential = C>>, ran: Ran) -> Self {
        Self { from, ran, kept: Mutex::new(Kept { given: None, asked: None }) }
    }

    /// What was given not longer ago than this.
    fn given(&self, within: Duration) -> Option<Arc<C>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.given
            .as_ref()
            .filter(|(when, _)| (self.ran)().saturating_sub(*when) < within)
            .map(|(_, credential)| Arc::clone(credential))
    }

    fn was_asked(&self, within: Duration) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.asked.is_some_and(|when| (self.ran)().saturating_sub(when) < within)
    }
}

impl<C> fmt::Debug for Lasting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lasting")
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Lasting<C> {
    type Credential = C;

    async fn get_credential(&self) -> Result<Arc<C>> {
        if self.was_asked(PAUSE)
            && let Some(credential) = self.given(LASTS)
        {
            return Ok(credential);
        }
        let found = self.from.get_credential().await;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.ran)();
        kept.asked = Some(now);
        match found {
            Ok(credential) => {
                kept.given = Some((now, Arc::clone(&credential)));
                Ok(credential)
            }
            Err(error) => {
                drop(kept);
                self.given(LASTS).ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Giver {
        asked: AtomicU32,
        fails: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl CredentialProvider for Giver {
        type Credential = u32;

        async fn get_credential(&self) -> Result<Arc<u32>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if self.fails.load(Ordering::SeqCst) {
                return Err(object_store::Error::NotImplemented {
                    operation: "giving".to_owned(),
                    implementer: "a test".to_owned(),
                });
            }
            Ok(Arc::new(asked))
        }
    }

    #[tokio::test]
    async fn what_was_given_outlasts_a_failure_but_not_its_own_end() {
        let giver = Arc::new(Giver::default());
        let now = Arc::new(AtomicU32::new(0));
        let clock = Arc::clone(&now);
        let ran = Box::new(move || Duration::from_secs(clock.load(Ordering::SeqCst).into()));
        let lasting = Lasting::timed(Arc::clone(&giver) as Arc<_>, ran);
        let advance = |secs: u32| now.fetch_add(secs, Ordering::SeqCst);
        giver.fails.store(true, Ordering::SeqCst);
        assert!(lasting.get_credential().await.is_err(), "nothing was given yet");
        advance(1);
        giver.fails.store(false, Ordering::SeqCst);
        assert_eq!(*lasting.get_credential().await.unwrap(), 1_u32);
        assert_eq!(*lasting.get_credential().await.unwrap(), 1_u32, "nobody is asked with each request");
        advance(1);
        assert_eq!(*lasting.get_credential().await.unwrap(), 2_u32);
        giver.fails.store(true, Ordering::SeqCst);
        advance(260);
        for _ in 0..3 {
            assert_eq!(*lasting.get_credential().await.unwrap(), 2_u32);
        }
        assert_eq!(giver.asked.load(Ordering::SeqCst), 4, "a failure is not waited for with each request");
        advance(10);
        assert!(lasting.get_credential().await.is_err());
    }
}
