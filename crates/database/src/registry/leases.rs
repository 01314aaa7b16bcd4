//! Leases, as lists show them.

use async_trait::async_trait;
use valetkey_core::field::Attribute;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{LeaseRecord, LeaseState, Revoker};
use valetkey_core::nouns::registry::{LeaseFilter, Leases, Outliving};
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::sql::registry;

#[async_trait]
impl Leases for Database {
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let settled = self.settle().await;
        // Before the index is read: it may get to know meanwhile, and then this is forgotten.
        let is_voided = self.shared.queue.is_voided(id);
        let Some(found) = self.find_lease(id).await? else { return settled.map(|()| None) };
        let mut record = self.record(found).await?;
        if is_voided {
            record.state = LeaseState::Void;
        }
        Ok(Some(record))
    }

    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error> {
        let found = self.of_key(key_id, limit).await?;
        self.records(found).await
    }

    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error> {
        if filter.limit > 10_000 {
            return Err(Error::new(Kind::Invalid, "the most leases to list at once are 10000").at(Attribute::Limit));
        }
        let longest_ms = registry::longest_ms(&mut self.reader().await?).await?;
        let found = self.list(filter, longest_ms).await?;
        self.records(found).await
    }

    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error> {
        let longest_ms = registry::longest_ms(&mut self.reader().await?).await?;
        self.outliving_of(by, longest_ms).await
    }
}
