//! The newest file of each dataset: read from its bucket, and kept for a minute, so that a list of datasets costs no listing.
//!
//! What is read is the same for everybody; who may know of it is decided before anybody asks here. One reading for all who ask at
//! the same time, bounded in time and in objects; those who wait for a store wait in a row of that store's, in which each account
//! has its turn, and nobody waits long: what is not known in time is not told, and is known the next time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use valetkey_core::credential::Credential;
use valetkey_core::fair::Places;
use valetkey_core::id::{AccountId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::dataset::{Dataset, Newest};
use valetkey_core::nouns::table::ListPage;
use valetkey_core::nouns::table::{Key, Listed};
use valetkey_core::scope::Path;
use valetkey_core::storage::Storage;
use valetkey_core::time::Clock;
use valetkey_core::{Error, Kind};

use super::Files;

/// So long it is kept what the newest file is.
const KEPT: SignedDuration = SignedDuration::from_mins(1);
/// So long it is kept that a store failed.
const FAILED: SignedDuration = SignedDuration::from_secs(15);
/// So long one reading may take, with the wait for its turn.
const READING: Duration = Duration::from_mins(1);
/// The most objects below one directory that are looked at: listings come in the order of keys, so that the newest may be the last.
const MOST_OBJECTS: usize = 250_000;
/// Objects of one page: the most that S3 lists.
const PAGE: usize = 1000;
/// Readings of one store at once, and how many of one account may wait for a turn.
const AT_ONCE: usize = 8;
const WAITING: usize = 1024;
/// The most places of which something is kept.
const MOST_KEPT: usize = 100_000;

/// Where files are, and which of them is wanted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Spot {
    storage: StorageId,
    /// Of the storage's settings: with others it may be another bucket.
    version: u64,
    bucket: BucketName,
    path: Path,
    newest: Newest,
    /// What explains the files, or shows a few rows of them, and is none of them.
    beside: [Option<Key>; 2],
}

impl Spot {
    pub(super) fn of(dataset: &Dataset, storage: &Storage) -> Self {
        Self {
            storage: storage.id,
            version: storage.external.as_ref().map_or(0, |external| external.version),
            bucket: dataset.bucket.clone(),
            path: dataset.path.clone(),
            newest: dataset.newest,
            beside: [dataset.dictionary.clone(), dataset.sample.clone()],
        }
    }

    /// Whether an object is one of the dataset's files: not what stands for a directory, nor what stands beside them.
    fn counts(&self, key: &Key) -> bool {
        self.path.covers_key(key) && !key.ends_with(b"/") && !self.beside.contains(&Some(key.clone()))
    }

    /// Whether one file is newer than another.
    fn newer(&self, one: &Listed, other: &Listed) -> bool {
        match self.newest {
            Newest::ByTime => (one.modified, &one.key) > (other.modified, &other.key),
            Newest::ByKey => one.key > other.key,
        }
    }
}

/// What a reading came to.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The newest file.
    File(Arc<Listed>),
    /// There is none.
    Nothing,
    /// The store failed, or there are too many.
    Failed,
}

enum Entry {
    Reading { since: Instant, told: watch::Receiver<Option<Found>> },
    Read { at: Timestamp, found: Found },
}

impl Entry {
    fn is_fresh(&self, now: Timestamp) -> bool {
        match self {
            // One whose task is gone without a word is over.
            Self::Reading { told, .. } => told.has_changed().is_ok() || told.borrow().is_some(),
            Self::Read { at, found } => {
                let kept = match found {
                    Found::File(_) | Found::Nothing => KEPT,
                    Found::Failed => FAILED,
                };
                // A clock that was set back makes nothing last longer.
                (SignedDuration::ZERO..kept).contains(&now.duration_since(*at))
            }
        }
    }
}

/// What is known of the newest files.
pub(super) struct Shelf {
    pub(super) files: Files,
    /// So long anybody waits for a reading, from its beginning.
    pub(super) patience: Duration,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<Spot, Entry>>,
    turns: Mutex<HashMap<StorageId, Arc<Places>>>,
}

impl Shelf {
    pub(super) fn new(files: Files, patience: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { files, patience, clock, kept: Mutex::default(), turns: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Spot, Entry>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing has to be read to know it.
    pub(super) fn knows(&self, spot: &Spot) -> bool {
        let now = self.clock.now();
        self.kept().get(spot).is_some_and(|entry| entry.is_fresh(now))
    }

    /// The newest file of a place; nothing if that is not known by then, or not within the patience. Where somebody else runs the store it is read with a
    /// credential.
    pub(super) async fn newest(
        self: &Arc<Self>,
        spot: Spot,
        storage: &Arc<Storage>,
        credential: Option<&Arc<Credential>>,
        (account, until): (AccountId, Instant),
    ) -> Option<Found> {
        let (since, mut told) = {
            let now = self.clock.now();
            let mut kept = self.kept();
            match kept.get(&spot).filter(|entry| entry.is_fresh(now)) {
                Some(Entry::Read { found, .. }) => return Some(found.clone()),
                Some(Entry::Reading { since, told }) => (*since, told.clone()),
                None if credential.is_none() && !storage.kind.is_ours() => return None,
                None => {
                    if kept.len() >= MOST_KEPT {
                        kept.retain(|_, entry| entry.is_fresh(now));
                    }
                    if kept.len() >= MOST_KEPT {
                        return None;
                    }
                    let (tell, told) = watch::channel(None);
                    let since = Instant::now();
                    kept.insert(spot.clone(), Entry::Reading { since, told: told.clone() });
                    self.start(spot, Arc::clone(storage), credential.cloned(), account, tell);
                    (since, told)
                }
            }
        };
        let found = timeout_at(until.min(since + self.patience), told.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// Reads, whoever still waits for it.
    fn start(
        self: &Arc<Self>,
        spot: Spot,
        storage: Arc<Storage>,
        credential: Option<Arc<Credential>>,
        account: AccountId,
        tell: watch::Sender<Option<Found>>,
    ) {
        let this = Arc::clone(self);
        self.files.tasks.spawn(async move {
            let turn = this.turns_at(storage.id).place(account);
            let reading = async {
                let Some(turn) = turn else {
                    return Err(Error::new(Kind::RateLimited, "too many datasets of the account wait to be read"));
                };
                let _place = turn.await;
                this.read(&spot, &storage, credential.as_deref()).await
            };
            let late = || Error::new(Kind::UpstreamTimeout, "the storage did not list in time");
            let found = match timeout(READING, reading).await.unwrap_or_else(|_| Err(late())) {
                Ok(Some(file)) => Found::File(Arc::new(file)),
                Ok(None) => Found::Nothing,
                Err(error) => {
                    let (storage, bucket) = (&storage.name, &spot.bucket);
                    tracing::warn!(%storage, %bucket, error = ?error, "the newest file of a dataset could not be found");
                    Found::Failed
                }
            };
            let at = this.clock.now();
            this.kept().insert(spot, Entry::Read { at, found: found.clone() });
            tell.send_replace(Some(found));
        });
    }

    fn turns_at(&self, storage: StorageId) -> Arc<Places> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(storage).or_insert_with(|| Places::new(AT_ONCE, WAITING)))
    }

    async fn read(
        &self,
        spot: &Spot,
        storage: &Storage,
        credential: Option<&Credential>,
    ) -> Result<Option<Listed>, Error> {
        let mut prefix = spot.path.bytes().to_vec();
        if let Path::Directory(_) = spot.path {
            prefix.push(b'/');
        }
        let (mut best, mut seen, mut from): (Option<Listed>, usize, Option<String>) = (None, 0, None);
        let mut after: Vec<u8> = Vec::new();
        loop {
            let ListPage { entries, next } = if let Some(credential) = credential {
                let elsewhere = &self.files.elsewhere;
                elsewhere.page(storage, credential, &spot.bucket, &prefix, from.as_deref()).await?
            } else {
                let entries = self.files.own.list(storage, &spot.bucket, &prefix, &after, PAGE).await?;
                let next = (entries.len() >= PAGE).then(String::new);
                ListPage { entries, next }
            };
            // A page without objects counts too: a store that has no end of them is not followed.
            seen = seen.saturating_add(entries.len().max(PAGE / 10));
            if let Some(last) = entries.last() {
                after = last.key.to_vec();
            }
            for file in entries {
                if spot.counts(&file.key) && best.as_ref().is_none_or(|best| spot.newer(&file, best)) {
                    best = Some(file);
                }
            }
            from = next;
            if from.is_none() {
                return Ok(best);
            }
            if seen >= MOST_OBJECTS {
                let said = format!("there are more than {MOST_OBJECTS} objects in the dataset");
                return Err(Error::new(Kind::Invalid, said));
            }
        }
    }
}
