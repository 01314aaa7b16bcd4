//! Taking a bucket out of service. Its row stays under a name that no bucket can have, so that nothing made of its name later is
//! answered with what was in it; what was in it is removed piece by piece, also by the next start.

use std::sync::PoisonError;

use async_trait::async_trait;
use valetkey_core::id::StorageId;

use crate::error::Result;
use crate::gate::session::Live;
use crate::objects::writer::{After, Change, WhenFull};
use crate::objects::{BucketId, Condition, Index, Objects, sql};

/// What ends the name of a bucket that is closed; its number follows. No bucket's name has a slash.
const CLOSED: char = '/';

/// Whether a row's name is that of a closed bucket.
pub(super) fn is_closed(name: &str) -> bool {
    name.contains(CLOSED)
}

/// How a bucket was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Closing {
    /// It is.
    Done,
    /// It has objects, and stays.
    NotEmpty,
}

struct CloseBucket {
    storage: Option<StorageId>,
    name: String,
    with_objects: bool,
}

fn storage_bytes(storage: Option<StorageId>) -> Vec<u8> {
    storage.map(|storage| storage.to_bytes().to_vec()).unwrap_or_default()
}

#[async_trait]
impl Change for CloseBucket {
    type Answer = Closing;

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<Closing> {
        let storage = storage_bytes(self.storage);
        let id: Option<BucketId> = sqlx::query_scalar("SELECT id FROM buckets WHERE storage = ? AND name = ?")
            .bind(&storage)
            .bind(&self.name)
            .fetch_optional(&mut *index)
            .await?;
        let Some(id) = id else { return Ok(Closing::Done) };
        if self.storage.is_none() && !self.with_objects {
            let any: Option<i64> = sqlx::query_scalar("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1")
                .bind(id)
                .fetch_optional(&mut *index)
                .await?;
            if any.is_some() {
                return Ok(Closing::NotEmpty);
            }
        }
        sqlx::query("UPDATE buckets SET name = ? WHERE id = ?")
            .bind(format!("{}{CLOSED}{id}", self.name))
            .bind(id)
            .execute(index)
            .await?;
        Ok(Closing::Done)
    }
}

struct ReopenBucket {
    storage: Option<StorageId>,
    name: String,
}

#[async_trait]
impl Change for ReopenBucket {
    type Answer = Option<BucketId>;

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<Option<BucketId>> {
        let storage = storage_bytes(self.storage);
        let open: Option<BucketId> = sqlx::query_scalar("SELECT id FROM buckets WHERE storage = ? AND name = ?")
            .bind(&storage)
            .bind(&self.name)
            .fetch_optional(&mut *index)
            .await?;
        if open.is_some() {
            return Ok(open);
        }
        // The newest of that name.
        let closed: Option<BucketId> = sqlx::query_scalar(
            "SELECT id FROM buckets WHERE storage = ?1 AND substr(name, 1, length(?2) + 1) = ?2 || '/' ORDER BY id DESC LIMIT 1",
        )
        .bind(&storage)
        .bind(&self.name)
        .fetch_optional(&mut *index)
        .await?;
        let Some(id) = closed else { return Ok(None) };
        sqlx::query("UPDATE buckets SET name = ? WHERE id = ?").bind(&self.name).bind(id).execute(index).await?;
        Ok(Some(id))
    }
}

/// Forgets what is kept here of the objects of a bucket elsewhere.
struct DropFacts(BucketId);

#[async_trait]
impl Change for DropFacts {
    type Answer = ();

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM facts WHERE bucket = ?").bind(self.0).execute(index).await?;
        Ok(())
    }
}

impl Objects {
    /// Closes a bucket: from then on there is none of this name. One of this store is closed only empty, unless its objects are to
    /// go with it.
    pub(crate) async fn close_bucket(
        &self,
        storage: Option<StorageId>,
        name: &str,
        with_objects: bool,
    ) -> Result<Closing> {
        let closing = self.writer.apply(CloseBucket { storage, name: name.to_owned(), with_objects }).await?;
        match (closing, storage) {
            (Closing::NotEmpty, _) => {}
            (Closing::Done, None) => {
                self.buckets.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            }
            (Closing::Done, Some(storage)) => {
                self.foreign.write().unwrap_or_else(PoisonError::into_inner).remove(&(storage, name.into()));
            }
        }
        Ok(closing)
    }

    /// Takes that back, as long as nothing was purged.
    pub(crate) async fn reopen_bucket(&self, storage: Option<StorageId>, name: &str) -> Result<()> {
        let Some(id) = self.writer.apply(ReopenBucket { storage, name: name.to_owned() }).await? else { return Ok(()) };
        match storage {
            None => self.buckets.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), id),
            Some(storage) => {
                let mut foreign = self.foreign.write().unwrap_or_else(PoisonError::into_inner);
                foreign.insert((storage, name.into()), id)
            }
        };
        Ok(())
    }

    /// Removes what is left in closed buckets: uploads first, so that none becomes an object. Says how many objects those were.
    /// Stops between two pieces when it is told to.
    pub(crate) async fn purge_closed(&self, stop: impl Fn() -> bool) -> Result<u64> {
        /// So many at a time: other writes go between.
        const AT_ONCE: i64 = 200;
        let closed: Vec<BucketId> = sqlx::query_scalar("SELECT id FROM buckets WHERE instr(name, '/') > 0")
            .fetch_all(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        let mut removed = 0;
        for bucket in closed {
            loop {
                if stop() {
                    return Ok(removed);
                }
                let uploads = self.abort_uploads_to(bucket, AT_ONCE).await?;
                let keys: Vec<Vec<u8>> = sqlx::query_scalar("SELECT key FROM objects WHERE bucket = ? LIMIT ?")
                    .bind(bucket)
                    .bind(AT_ONCE)
                    .fetch_all(&self.index)
                    .await
                    .map_err(sql("reading the index"))?;
                if uploads == 0 && keys.is_empty() {
                    break;
                }
                for key in keys {
                    // Without a condition nothing clashes.
                    let _ = self.delete(Live::of_server(), bucket, &key, Condition::default()).await?;
                    removed += 1;
                }
            }
            self.writer.apply(DropFacts(bucket)).await?;
        }
        Ok(removed)
    }
}
