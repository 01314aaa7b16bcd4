//! Grants.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::grant::{Grant, NewGrant};
use valetkey_core::id::{AccountId, GrantId};
use valetkey_core::nouns::registry::{GrantAdmin, GrantFilter, Grants};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::{change, lists, registry};

#[async_trait]
impl Grants for Database {
    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        let known = registry::grants(&mut self.reader().await?, account).await?;
        Ok(self.shared.debts.amended_grants(known))
    }

    async fn list_grants(&self, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error> {
        let known = lists::grants(&mut self.reader().await?, filter).await?;
        Ok(self.shared.debts.amended_grants(known))
    }
}

#[async_trait]
impl GrantAdmin for Database {
    async fn create_grant(&self, new: NewGrant, now: Timestamp) -> Result<GrantId, Error> {
        let grant = new.stored(GrantId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_grant(db, &grant, now).await?;
                notes.did(Deed::Made, Noun::Grant, grant.id, &change::about_grant(&grant));
                Ok((grant.id, Touches::Account(grant.account)))
            })
        })
        .await
    }
}
