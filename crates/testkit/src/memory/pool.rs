//! What nodes keep together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::id::StorageId;
use valetkey_core::nouns::pool::{CLAIM, Claimant, NewPooled, Pool, PoolKey, Pooled};
use valetkey_core::{Error, Kind};

/// A pool over plain memory, which can be away.
#[derive(Debug, Default)]
pub struct MemoryPool(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    away: bool,
    rows: HashMap<PoolKey, Row>,
}

#[derive(Debug, Default)]
struct Row {
    version: i64,
    claimed: Option<(Claimant, Timestamp)>,
    fetched: Option<NewPooled>,
}

impl MemoryPool {
    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.away { Err(Error::new(Kind::Unavailable, "the pool is away")) } else { Ok(state) }
    }

    /// Whether it can be reached, from now on.
    pub fn set_away(&self, away: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).away = away;
    }

    /// Exchanges what is kept of the keys, as somebody would who can write the database.
    ///
    /// # Errors
    /// `Unavailable` when it is away.
    pub fn exchange(&self) -> Result<(), Error> {
        let mut state = self.state()?;
        let mut all: Vec<_> = state.rows.values_mut().filter_map(|row| row.fetched.take()).collect();
        all.rotate_left(1);
        state.rows.values_mut().zip(all).for_each(|(row, fetched)| row.fetched = Some(fetched));
        Ok(())
    }

    /// The keys of which something is known.
    ///
    /// # Errors
    /// `Unavailable` when it is away.
    pub fn keys(&self) -> Result<Vec<PoolKey>, Error> {
        Ok(self.state()?.rows.keys().copied().collect())
    }

    /// What is kept, sealed.
    ///
    /// # Errors
    /// `Unavailable` when it is away.
    pub fn sealed(&self) -> Result<Vec<Box<[u8]>>, Error> {
        Ok(self.state()?.rows.values().filter_map(|row| Some(row.fetched.as_ref()?.sealed.clone())).collect())
    }
}

#[async_trait]
impl Pool for MemoryPool {
    async fn look(&self, key: PoolKey, now: Timestamp) -> Result<Pooled, Error> {
        let state = self.state()?;
        let Some(row) = state.rows.get(&key) else { return Ok(Pooled::default()) };
        let sealed = row.fetched.as_ref().filter(|fetched| fetched.ends > now).map(|fetched| fetched.sealed.clone());
        Ok(Pooled { sealed, version: row.version })
    }

    async fn claim(&self, key: PoolKey, version: i64, claimant: Claimant, now: Timestamp) -> Result<bool, Error> {
        let mut state = self.state()?;
        let row = state.rows.entry(key).or_default();
        if row.version != version || row.claimed.is_some_and(|(_, until)| until > now) {
            return Ok(false);
        }
        row.claimed = now.checked_add(CLAIM).ok().map(|until| (claimant, until));
        Ok(true)
    }

    async fn extend(&self, key: PoolKey, claimant: Claimant, now: Timestamp) -> Result<(), Error> {
        let mut state = self.state()?;
        if let Some(Row { claimed: Some((by, until)), .. }) = state.rows.get_mut(&key)
            && *by == claimant
        {
            *until = now.checked_add(CLAIM).unwrap_or(*until);
        }
        Ok(())
    }

    async fn keep(&self, key: PoolKey, fetched: NewPooled) -> Result<(), Error> {
        let mut state = self.state()?;
        let row = state.rows.entry(key).or_default();
        *row = Row { version: row.version + 1, claimed: None, fetched: Some(fetched) };
        Ok(())
    }

    async fn give_up(&self, key: PoolKey, claimant: Claimant) -> Result<(), Error> {
        let mut state = self.state()?;
        if let Some(row) = state.rows.get_mut(&key) {
            row.claimed = row.claimed.filter(|(by, _)| *by != claimant);
        }
        Ok(())
    }

    async fn remove(&self, storage: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        let named = |fetched: &NewPooled| fetched.storage == storage && key_ids.contains(&fetched.key_id);
        self.state()?.rows.retain(|_, row| !row.fetched.as_ref().is_some_and(named));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryPool;

    #[tokio::test]
    async fn keeps_what_pools_promise() {
        crate::contract::pool::what_is_kept_is_there_until_it_is_over_or_removed(&MemoryPool::default()).await;
        crate::contract::pool::one_claims_at_a_time(&MemoryPool::default()).await;
    }
}
