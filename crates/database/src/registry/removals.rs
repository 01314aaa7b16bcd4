//! Removing and changing.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::registry::{RemovalAdmin, Removals};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};

use crate::database::Database;

#[async_trait]
impl Removals for Database {
    async fn plan(&self, what: &Thing) -> Result<Plan, Error> {
        self.plan_of(what).await
    }

    async fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        self.preview_with_made(change, now).await
    }
}

#[async_trait]
impl RemovalAdmin for Database {
    async fn remove(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error> {
        let (database, what) = (self.clone(), what.clone());
        self.unbroken(async move { database.take(&what, how, by).await }).await
    }

    async fn change(&self, change: &Amendment, end_credentials: bool, by: Revoker) -> Result<u64, Error> {
        let (database, change) = (self.clone(), change.clone());
        let work = async move { Box::pin(database.amend_with_made(&change, !end_credentials, by)).await };
        self.unbroken(work).await
    }

    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        let database = self.clone();
        metrics::counter!("vk_revocations_total", "what" => what.kind()).increment(1);
        self.unbroken(async move { database.end_any(what, by).await }).await
    }
}
