//! Removing and changing.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::Error;
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::registry::{RemovalAdmin, Removals};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};

use crate::memory::Memory;

#[async_trait]
impl Removals for Memory {
    async fn plan(&self, what: &Thing) -> Result<Plan, Error> {
        let world = self.world();
        let now = world.newest();
        let mut plan = world.plan(what, now)?;
        plan.leases = world.ending(&plan, now);
        Ok(plan)
    }

    async fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        self.world().preview_with_made(change, now)
    }
}

#[async_trait]
impl RemovalAdmin for Memory {
    async fn remove(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error> {
        self.world().take(what, how, by)
    }

    async fn change(&self, change: &Amendment, end_credentials: bool, by: Revoker) -> Result<u64, Error> {
        self.world().amend_with_made(change, end_credentials, by)
    }

    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        world.check_revocation(what)?;
        Ok(world.end(what, by))
    }
}
