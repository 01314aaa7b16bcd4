//! What policy sets own.

use async_trait::async_trait;
use valetkey_core::error::Error;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Managed, Owns, State};
use valetkey_core::nouns::registry::PolicySets;
use valetkey_core::nouns::removal::Thing;

use crate::memory::Memory;

#[async_trait]
impl PolicySets for Memory {
    async fn owned(&self, things: &[Thing]) -> Result<Vec<(Thing, Managed)>, Error> {
        Ok(self.world().owned(things))
    }

    async fn policy_state(&self, owner: &Name, owns: &Owns) -> Result<State, Error> {
        Ok(self.world().policy_state(owner, owns))
    }
}
