//! Callers and groups.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Error;
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GroupId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::{CallerAdmin, CallerFilter, Callers};

use crate::memory::Memory;

#[async_trait]
impl Callers for Memory {
    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error> {
        let world = self.world();
        let mut callers = world.caller_records();
        callers.retain(|known| known.account == account && known.standing != CallerStanding::Removed);
        callers.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(callers)
    }

    async fn list_callers(&self, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error> {
        let CallerFilter { account, after, limit } = *filter;
        let mut callers = self.world().caller_records();
        let place = |known: &CallerRecord| (known.account, known.name.clone());
        callers.retain(|known| {
            known.standing != CallerStanding::Removed
                && account.is_none_or(|only| only == known.account)
                && after.is_none_or(|after| after < (known.account, known.name.as_str()))
        });
        callers.sort_by_key(place);
        callers.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(callers)
    }

    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error> {
        Ok(self.world().caller_records().into_iter().find(|known| known.id == id))
    }

    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error> {
        let world = self.world();
        let mut groups = world.groups.clone();
        groups.retain(|group| account.is_none_or(|only| only == group.account));
        groups.sort_by_key(|group| (group.name.clone(), group.id));
        Ok(groups)
    }
}

#[async_trait]
impl CallerAdmin for Memory {
    async fn ensure_caller(
        &self,
        account: AccountId,
        name: &Name,
        role: Role,
        now: Timestamp,
    ) -> Result<CallerId, Error> {
        let id = CallerId::new(now, self.random());
        let mut world = self.world();
        world.account(account)?;
        if let Some(known) = world.caller_records().iter().find(|known| known.account == account && known.name == *name)
        {
            known.has_role(role)?;
            return Ok(known.id);
        }
        world.callers.push((id, account, name.clone(), role));
        Ok(id)
    }

    async fn suspend_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        world.check_caller(id)?;
        world.standings.insert(id, CallerStanding::Suspended);
        Ok(world.end(Revocation::Caller(id), by))
    }

    async fn activate_caller(&self, id: CallerId) -> Result<(), Error> {
        let mut world = self.world();
        world.check_caller(id)?;
        world.standings.remove(&id);
        Ok(())
    }

    async fn create_group(&self, new: Group, now: Timestamp) -> Result<Group, Error> {
        let new = Group { id: GroupId::new(now, self.random()), version: 1, made: now, ..new };
        let mut world = self.world();
        world.check_group(&new)?;
        world.groups.push(new.clone());
        world.version += 1;
        Ok(new)
    }
}
