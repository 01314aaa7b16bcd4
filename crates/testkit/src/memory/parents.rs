//! Parent access keys in memory, their secrets as they are.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::error::{Error, Noun};
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::parent::{Child, NewParent, Parent, ParentAdmin, ParentRecord, Parents};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::port::Directory as _;
use valetkey_core::token::PlainToken;

use crate::memory::{Memory, World};

impl World {
    fn parent_record(&self, token: &TokenRecord) -> ParentRecord {
        let own = self
            .grants
            .iter()
            .filter(|grant| grant.to == Grantee::Caller(token.caller) && grant.origin.share().is_none());
        let mut own: Vec<&Grant> = own.collect();
        own.sort_by(|one, two| one.name.cmp(&two.name));
        let reach = own.iter().map(|grant| (grant.scope.bucket().clone(), grant.scope.actions())).collect();
        ParentRecord { token: token.clone(), reach }
    }
}

#[async_trait]
impl Parents for Memory {
    async fn parent(&self, token: TokenId, now: Timestamp) -> Result<Option<Arc<Parent>>, Error> {
        let (record, secret) = {
            let world = self.world();
            let secret = world.parents.iter().find(|(own, _)| *own == token).map(|(_, secret)| secret.clone());
            let record = world.tokens.iter().find(|(_, record)| record.id == token).map(|(_, record)| record.clone());
            match (record, secret) {
                (Some(record), Some(secret))
                    if record.revoked.is_none() && world.standing(record.caller).served().is_ok() =>
                {
                    (record, secret)
                }
                _ => return Ok(None),
            }
        };
        let TokenRecord { id, caller, caller_name, account, role, until, .. } = record;
        let caller = Caller {
            id: caller,
            account,
            name: caller_name,
            role,
            token: id,
            token_until: until,
            held: None,
            identity: None,
            as_of: 0,
        };
        if caller.in_time(now).is_err() {
            return Ok(None);
        }
        let snapshot = self.account(account, now).await?;
        Ok(Some(Arc::new(Parent::of(Arc::new(caller), secret, &snapshot, now))))
    }

    async fn parents(&self, account: Option<AccountId>) -> Result<Vec<ParentRecord>, Error> {
        let world = self.world();
        let own = world.tokens.iter().map(|(_, record)| record).filter(|record| {
            account.is_none_or(|only| only == record.account) && world.parents.iter().any(|(id, _)| *id == record.id)
        });
        Ok(own.map(|record| world.parent_record(&world.current(record))).collect())
    }
}

#[async_trait]
impl ParentAdmin for Memory {
    async fn create_parent(&self, new: NewParent, token: &PlainToken, now: Timestamp) -> Result<ParentRecord, Error> {
        new.check(now)?;
        let (account, name, maker) = (new.account, new.name.clone(), new.maker);
        let (caller, id) = (CallerId::new(now, self.random()), TokenId::new(now, self.random()));
        let ids: Vec<GrantId> = new.buckets.iter().map(|_| GrantId::new(now, self.random())).collect();
        let mut world = self.world();
        world.account(account)?;
        let until = world.until_of(maker, new.until, now)?;
        if world.callers.iter().any(|(_, of, own, _)| *of == account && *own == name) {
            return Err(new.taken());
        }
        let mut grants = Vec::new();
        for (bucket, id) in new.buckets.iter().zip(ids) {
            let grant = new.grant(id, caller, bucket, world.bucket_of(bucket))?;
            if world.grants.iter().chain(&grants).any(|known| known.account == account && known.name == grant.name) {
                return Err(Error::taken(Noun::Grant, &grant.name));
            }
            grants.push(grant);
        }
        world.callers.push((caller, account, name.clone(), Role::Member));
        world.grants.extend(grants);
        let record = world.insert_token(id, caller, token, until, maker, now)?;
        world.parents.push((id, token.secret_access_key()));
        world.version += 1;
        Ok(world.parent_record(&record))
    }

    async fn end_child(&self, child: &Child, by: Revoker) -> Result<(), Error> {
        self.world().ended.push((Revocation::Lease(child.lease()), by));
        Ok(())
    }
}
