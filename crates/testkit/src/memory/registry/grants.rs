//! Grants.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Noun};
use valetkey_core::grant::{Grant, Grantee, NewGrant};
use valetkey_core::id::{AccountId, CallerId, GrantId};
use valetkey_core::nouns::registry::{GrantAdmin, GrantFilter, Grants};

use crate::memory::Memory;

#[async_trait]
impl Grants for Memory {
    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        let world = self.world();
        let mut grants: Vec<Grant> = world.grants.iter().filter(|grant| grant.account == account).cloned().collect();
        grants.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(grants)
    }

    async fn list_grants(&self, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error> {
        let GrantFilter { account, name, caller, bucket, since, after, limit } = *filter;
        let world = self.world();
        let of = caller.and_then(|id| world.callers.iter().find(|(known, ..)| *known == id)).map(|known| known.1);
        let may_use = |grant: &Grant, caller: CallerId| match grant.to {
            Grantee::Everyone => of == Some(grant.account),
            Grantee::Caller(own) => own == caller,
            Grantee::Group(group) => {
                world.groups.iter().any(|known| known.id == group && known.members.contains(&caller))
            }
        };
        let mut grants = world.grants.clone();
        grants.retain(|grant| {
            account.is_none_or(|only| only == grant.account)
                && name.is_none_or(|only| only == grant.name.as_str())
                && caller.is_none_or(|caller| may_use(grant, caller))
                && bucket.is_none_or(|only| only == grant.scope.bucket())
                && since.is_none_or(|since| since.as_millisecond() <= grant.id.made_ms())
                && after.is_none_or(|after| after < (grant.account, grant.name.as_str()))
        });
        grants.sort_by_key(|grant| (grant.account, grant.name.clone()));
        grants.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(grants)
    }
}

#[async_trait]
impl GrantAdmin for Memory {
    async fn create_grant(&self, new: NewGrant, now: Timestamp) -> Result<GrantId, Error> {
        let id = GrantId::new(now, self.random());
        let grant = new.stored(id);
        let mut world = self.world();
        world.check_grant(&grant)?;
        if world.grants.iter().any(|known| known.account == grant.account && known.name == grant.name) {
            return Err(Error::taken(Noun::Grant, &grant.name));
        }
        world.grants.push(grant);
        world.version += 1;
        Ok(id)
    }
}
