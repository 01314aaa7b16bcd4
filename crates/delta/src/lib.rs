//! Reads Delta logs: which files a version of a table has, and what its commits changed.
//!
//! The kernel replays a log (checkpoints, compactions, column mapping, deletion vectors) over an engine of ours, which reads
//! through the [`ObjectFiles`] port and nothing else. A replay waits for its objects, so each has a thread for itself; how
//! many run at once, how long each may take and how much it may read are bounded.
mod bounds;
mod cache;
mod commits;
mod engine;
mod history;
mod places;
mod replay;
mod session;
mod unserved;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{AcquireError, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{
    AsOf, ObjectFiles, TableCommits, TableFiles, TableLogs, TablePlace, TableSnapshot, Unserved, VendedFiles,
};
use valetkey_core::{Error, Kind};

use crate::cache::Cache;
use crate::commits::Told;
use crate::engine::{Budget, LogEngine, LogFiles, Most};
use crate::places::is_plain;
use crate::session::Session;
use crate::unserved::Refused;

/// What reading logs may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Logs read at once. Each takes a thread and, at its worst, twice `log_file_bytes` of memory.
    pub at_once: usize,
    /// How many of those may be of one table, so that one that is slow to read does not keep all others waiting.
    pub at_once_of_one: usize,
    /// How long one answer may take, and how long one may wait for its turn.
    pub deadline: Duration,
    /// The most files one answer may name.
    pub files: usize,
    /// About the most bytes of memory for the entries of one answer's files.
    pub entry_bytes: usize,
    /// The most versions one answer may span.
    pub versions: u64,
    /// The most bytes one file of a log may have (a checkpoint, mostly).
    pub log_file_bytes: u64,
    /// The most bytes of a log that are read for one answer.
    pub log_bytes: u64,
    /// The most bytes of memory for what is remembered of tables.
    pub cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 4,
            at_once_of_one: 2,
            deadline: Duration::from_secs(30),
            files: 100_000,
            entry_bytes: 256 * 1024 * 1024,
            versions: 10_000,
            log_file_bytes: 64 * 1024 * 1024,
            log_bytes: 512 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A table, told apart from others.
type TableKey = (StorageId, BucketName, Box<[u8]>);

/// Reads the logs of Delta tables.
pub struct Logs {
    objects: Arc<dyn ObjectFiles>,
    /// What reads where somebody else runs the store.
    elsewhere: Option<Arc<dyn VendedFiles>>,
    tasks: TaskTracker,
    limits: Limits,
    turns: Arc<Semaphore>,
    /// The turns of each table that somebody waits for.
    of_tables: Mutex<HashMap<TableKey, Weak<Semaphore>>>,
    cache: Arc<Cache>,
}

impl Logs {
    /// A reader of the logs that `objects` holds.
    pub fn new(objects: Arc<dyn ObjectFiles>, tasks: TaskTracker, limits: Limits) -> Self {
        let turns = Arc::new(Semaphore::new(limits.at_once.max(1)));
        let cache = Arc::new(Cache::new(limits.cache_bytes));
        Self { objects, elsewhere: None, tasks, limits, turns, of_tables: Mutex::default(), cache }
    }

    /// The same, which also reads where somebody else runs the store, with what was vended for it.
    #[must_use]
    pub fn with_elsewhere(self, elsewhere: Arc<dyn VendedFiles>) -> Self {
        Self { elsewhere: Some(elsewhere), ..self }
    }

    /// What reads a table's objects.
    fn objects_of(&self, place: &TablePlace) -> Result<Arc<dyn ObjectFiles>, Error> {
        let Some(credential) = &place.credential else { return Ok(Arc::clone(&self.objects)) };
        let elsewhere = self.elsewhere.as_ref().ok_or_else(|| Error::internal("nothing reads at this storage"))?;
        Ok(Arc::clone(elsewhere).with(Arc::clone(credential)))
    }

    /// The turns of one table.
    fn turns_of(&self, place: &TablePlace) -> Arc<Semaphore> {
        let key = (place.storage.id, place.bucket.clone(), place.root.clone());
        let mut all = self.of_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(&key).and_then(Weak::upgrade) {
            return turns;
        }
        // Few are waited for at once: the others go whenever a new one comes.
        all.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.limits.at_once_of_one.max(1)));
        all.insert(key, Arc::downgrade(&turns));
        turns
    }

    /// Does the work of one answer when it is its turn.
    async fn answer<T: Send + 'static>(
        &self,
        place: &TablePlace,
        work: impl FnOnce(&Session<'_>) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Error> {
        let Limits { deadline, files, entry_bytes, versions, log_file_bytes, log_bytes, .. } = self.limits;
        if !place.root.is_empty() && !is_plain(&place.root) {
            return Err(Unserved::NotATable.into());
        }
        let busy = || Error::new(Kind::Unavailable, "too many tables are being read").retry_after(1);
        let turns = async {
            // First the table's own: whoever waits for that holds nobody else up.
            let own = self.turns_of(place).acquire_owned().await;
            Ok::<_, AcquireError>((own?, Arc::clone(&self.turns).acquire_owned().await?))
        };
        let turn = tokio::time::timeout(deadline, turns).await.map_err(|_| busy())?.map_err(|_| busy())?;
        // Ends the work when nobody waits for it any more, for whatever reason.
        let stopped = CancellationToken::new();
        let _stop = stopped.clone().drop_guard();
        let (objects, runtime) = (self.objects_of(place)?, Handle::current());
        let budget = Budget { file_bytes: log_file_bytes, total_bytes: log_bytes };
        let (place, cache) = (place.clone(), Arc::clone(&self.cache));
        let task = self.tasks.spawn_blocking(move || {
            let _turn = turn;
            let log = LogFiles::new(objects, place, runtime, budget, stopped);
            let session = Session {
                engine: LogEngine::new(log),
                cache: &cache,
                most: Most { files, bytes: entry_bytes, versions },
            };
            LogFiles::quietly(|| session.run(work))
        });
        match tokio::time::timeout(deadline, task).await {
            Ok(Ok(done)) => done.map_err(Error::from),
            // The kernel met what its authors did not: a broken log far more likely than a broken server.
            Ok(Err(panicked)) => Err(Unserved::Broken(panicked.to_string()).into()),
            // Asking again would take as long.
            Err(_) => Err(Unserved::TooMuch("log entries").into()),
        }
    }
}

#[async_trait]
impl TableLogs for Logs {
    async fn version(&self, place: &TablePlace, at: AsOf) -> Result<u64, Error> {
        self.answer(place, move |session| session.version(at)).await
    }

    async fn snapshot(&self, place: &TablePlace, at: AsOf) -> Result<TableSnapshot, Error> {
        self.answer(place, move |session| session.snapshot(at)).await
    }

    async fn files(&self, place: &TablePlace, at: AsOf) -> Result<TableFiles, Error> {
        self.answer(place, move |session| session.files(at)).await
    }

    async fn changes(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error> {
        self.answer(place, move |session| session.commits(start, end, Told::Changes)).await
    }

    async fn commits(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error> {
        self.answer(place, move |session| session.commits(start, end, Told::Files)).await
    }
}
