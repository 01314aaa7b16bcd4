//! Credentials of external storages that nodes keep together.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::StorageId;
use valetkey_core::nouns::pool::{Claimant, NewPooled, Pool, PoolKey, Pooled};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::{nodes, pool};

/// The most that are kept after a sweep: each is some 2 KB, and twice as many as a node keeps in memory by default.
const MOST: i64 = 20_000;

#[async_trait]
impl Pool for Database {
    async fn look(&self, key: PoolKey, now: Timestamp) -> Result<Pooled, Error> {
        pool::look(&mut self.reader().await?, key, now).await
    }

    async fn claim(&self, key: PoolKey, version: i64, claimant: Claimant, now: Timestamp) -> Result<bool, Error> {
        if !self.is_shared() {
            // One process: whoever asks there asks once.
            return Ok(true);
        }
        let claim = async |db: &mut Db| pool::claim(db, key, version, claimant, now).await;
        self.shared.db.unsaid(Unsaid::Pool, claim).await
    }

    async fn extend(&self, key: PoolKey, claimant: Claimant, now: Timestamp) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        self.shared.db.unsaid(Unsaid::Pool, async |db| pool::extend(db, key, claimant, now).await).await
    }

    async fn keep(&self, key: PoolKey, fetched: NewPooled) -> Result<(), Error> {
        self.shared.db.unsaid(Unsaid::Pool, async |db| pool::keep(db, key, &fetched).await).await
    }

    async fn give_up(&self, key: PoolKey, claimant: Claimant) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        self.shared.db.unsaid(Unsaid::Pool, async |db| pool::give_up(db, key, claimant).await).await
    }

    async fn remove(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        if key_ids.is_empty() {
            return Ok(());
        }
        let at_ms = self.shared.clock.now().as_millisecond();
        let remove = async |db: &mut Db| {
            // A change like any other: so each node hears of it, and of what was ended before it.
            let turn = if db.is_postgres() { Some(nodes::exclude(db).await?) } else { None };
            for key_id in key_ids {
                pool::remove(db, storage, key_id).await?;
            }
            if let Some(turn) = turn {
                nodes::tell(db, turn, at_ms, Touches::Pool.bytes()).await?;
            }
            Ok(turn)
        };
        if let Some(turn) = self.shared.db.unsaid(Unsaid::Pool, remove).await? {
            self.shared.queue.changed(turn);
        }
        Ok(())
    }
}

impl Database {
    /// Removes what is over.
    pub(crate) async fn sweep_pool(&self, now_ms: i64) -> Result<u64, Error> {
        self.shared.db.unsaid(Unsaid::Pool, async |db| pool::sweep(db, now_ms, MOST).await).await
    }
}
