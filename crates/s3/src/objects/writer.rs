//! The one task that writes the index: changes that come together share a transaction, and so an fsync.
//!
//! A change runs to its end whether or not its request is still there, so that what follows a commit (readers' caches
//! forget, old files go) is never lost with a dropped request.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use valetkey_core::cors::Rules;
use valetkey_sql::{Fault, Writer as Index};

use crate::error::{Result, internal, of_disk, unavailable};
use crate::objects::cache::Cache;
use crate::objects::files::{Draft, FileId, Files};

/// Changes that may wait; more wait outside. Four batches: enough that the writer never waits for the next one.
const QUEUE: usize = 256;
/// Changes that share one commit at most: by then the fsync is a small part of each, and nobody waits for more than 63 others.
const BATCH: usize = 64;

/// What follows a change's commit.
#[derive(Default)]
pub(crate) struct After {
    /// Objects whose cached records are no longer true.
    pub(crate) forget: Vec<(i64, Box<[u8]>)>,
    /// Files that the index now refers to.
    pub(crate) keep: Vec<Draft>,
    /// Files that it no longer refers to, object by object.
    pub(crate) remove: Vec<Vec<FileId>>,
    /// Buckets' CORS rules.
    pub(crate) cors: Vec<(i64, Option<Arc<Rules>>)>,
}

/// Whether a change is made while the disk is as full as it may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenFull {
    /// It frees room, or what it is about is there already.
    Made,
    /// It brings something new.
    Refused,
}

/// A change of the index. It may decide not to change anything; an error undoes its whole batch.
#[async_trait]
pub(crate) trait Change: Send + 'static {
    /// What the one who asked for it learns.
    type Answer: Send + 'static;

    /// Whether it is made while the disk is as full as it may become.
    fn when_full(&self) -> WhenFull;

    /// Applies the change.
    async fn apply(self, index: &mut SqliteConnection, after: &mut After) -> sqlx::Result<Self::Answer>;
}

/// A change without its type.
#[async_trait]
trait Job: Send {
    async fn apply(&mut self, index: &mut SqliteConnection, after: &mut After) -> sqlx::Result<()>;
    /// Tells the one who asked that the answer is durable. Dropping the job instead tells that it failed.
    fn done(self: Box<Self>);
}

struct Pending<C: Change> {
    change: Option<C>,
    answer: Option<C::Answer>,
    reply: oneshot::Sender<C::Answer>,
}

#[async_trait]
impl<C: Change> Job for Pending<C> {
    async fn apply(&mut self, index: &mut SqliteConnection, after: &mut After) -> sqlx::Result<()> {
        if let Some(change) = self.change.take() {
            self.answer = Some(change.apply(index, after).await?);
        }
        Ok(())
    }

    fn done(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // The request may be gone; its change stays.
            drop(self.reply.send(answer));
        }
    }
}

/// Hands changes to the task that writes the index. The task ends when the last writer is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    index: Arc<Index>,
    files: Arc<Files>,
}

impl Writer {
    pub(crate) fn start(index: Index, cache: Arc<Cache>, files: Arc<Files>, tasks: &TaskTracker) -> Self {
        let (jobs, receive) = mpsc::channel(QUEUE);
        let index = Arc::new(index);
        tasks.spawn(run(Arc::clone(&index), receive, cache, Arc::clone(&files)));
        Self { jobs, index, files }
    }

    /// Applies a change; when this returns, it is durable.
    pub(crate) async fn apply<C: Change>(&self, change: C) -> Result<C::Answer> {
        if change.when_full() == WhenFull::Refused {
            self.files.has_room().map_err(|error| of_disk("writing the index", error))?;
        }
        let (reply, answer) = oneshot::channel();
        let job = Pending { change: Some(change), answer: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| unavailable("writing the index", "its task has ended"))?;
        answer.await.map_err(|_| unavailable("writing the index", "the change was not committed"))
    }

    /// Whether the index can be written.
    pub(crate) async fn works(&self) -> sqlx::Result<()> {
        self.index.works().await
    }
}

async fn run(index: Arc<Index>, mut jobs: mpsc::Receiver<Box<dyn Job>>, cache: Arc<Cache>, files: Arc<Files>) {
    let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(BATCH);
    let mut doubtful = Vec::new();
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let mut after = After::default();
        let changes = async |db: &mut SqliteConnection| {
            for job in &mut batch {
                job.apply(db, &mut after).await?;
            }
            Ok::<(), sqlx::Error>(())
        };
        match index.change(changes).await {
            Ok(()) => {
                let After { forget, keep, remove, cors } = after;
                for (bucket, key) in forget {
                    cache.forget(bucket, &key);
                }
                for (bucket, rules) in cors {
                    cache.cors().set(bucket, rules);
                }
                keep.into_iter().for_each(Draft::keep);
                batch.drain(..).for_each(Job::done);
                if !remove.is_empty() {
                    let old = Arc::clone(&files);
                    files.later(move || remove.into_iter().for_each(|group| old.remove(group)));
                }
                if !doubtful.is_empty() {
                    settle(&index, &mut doubtful).await;
                }
            }
            Err(Fault::Undone(error)) => {
                internal("changing the index", error);
                batch.clear();
            }
            Err(Fault::Unknown(error)) => {
                // Whether it is on disk is known when another change was committed. Until then the files stay, and readers
                // look again.
                internal("committing the index", error);
                doubtful.extend(after.keep);
                for (bucket, key) in after.forget {
                    cache.forget(bucket, &key);
                }
                batch.clear();
            }
        }
    }
    doubtful.into_iter().for_each(Draft::keep);
    index.close().await;
}

/// Keeps the files that the index refers to after all and removes the others: a disk that is full needs their room. Called
/// after a commit, so that the one before, of which nobody knew, is there or never will be.
async fn settle(index: &Index, doubtful: &mut Vec<Draft>) {
    let mut turn = index.turn().await;
    while let Some(draft) = doubtful.pop() {
        let id = draft.id();
        let known = async |db: &mut SqliteConnection| {
            sqlx::query_scalar::<_, i64>("SELECT id FROM files WHERE id = ?").bind(id).fetch_optional(db).await
        };
        match turn.ask(known).await {
            Ok(Some(_)) => draft.keep(),
            Ok(None) => drop(draft),
            Err(error) => {
                internal("looking for a data file in the index", error);
                doubtful.push(draft);
                return;
            }
        }
    }
}
