//! What policy sets own.

use async_trait::async_trait;
use valetkey_core::Error;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Managed, Owns, State};
use valetkey_core::nouns::registry::PolicySets;
use valetkey_core::nouns::removal::Thing;

use crate::database::Database;
use crate::sql::{failed, policy};

#[async_trait]
impl PolicySets for Database {
    async fn owned(&self, things: &[Thing]) -> Result<Vec<(Thing, Managed)>, Error> {
        let mut reader = self.reader().await?;
        let mut found = Vec::new();
        for thing in things {
            found.extend(policy::owner(&mut reader, thing).await?.map(|known| (thing.clone(), known)));
        }
        Ok(found)
    }

    async fn policy_state(&self, owner: &Name, owns: &Owns) -> Result<State, Error> {
        let mut view = self.shared.db.view().await?;
        let state = policy::state(&mut view, owner, owns).await?;
        view.end_view().await.map_err(failed)?;
        Ok(state)
    }
}
