//! Leases, as lists show them.

use async_trait::async_trait;
use valetkey_core::error::Error;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{LeaseRecord, Revoker};
use valetkey_core::nouns::registry::{LeaseFilter, Leases, Outliving};

use crate::memory::Memory;

#[async_trait]
impl Leases for Memory {
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        Ok(self.world().lease(id))
    }

    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error> {
        Ok(self.world().of_key(key_id, limit))
    }

    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error> {
        Ok(self.world().list(filter))
    }

    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error> {
        Ok(self.world().outliving(by))
    }
}
