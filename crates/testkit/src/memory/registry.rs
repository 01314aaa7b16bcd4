//! Making and ending things in memory.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, Standing};
use valetkey_core::caller::Role;
use valetkey_core::dataset::Dataset;
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::grant::Grant;
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{Lease, LeaseRecord, LeaseState, Revocation, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::port::{LeaseFilter, NewStorage, Registry, TokenRecord, Verified};
use valetkey_core::storage::Storage;
use valetkey_core::token::PlainToken;
use valetkey_core::usage::Balance;

use super::{Memory, World};

fn exists(noun: Noun, name: impl std::fmt::Display) -> Error {
    Error::new(Kind::AlreadyExists(noun), format!("a {noun} `{name}` exists"))
}

impl World {
    fn end(&mut self, now: Timestamp, by: Revoker, matches: impl Fn(&Lease) -> bool) -> u64 {
        let mut ended = 0;
        for record in &mut self.leases {
            let live = matches!(record.state, LeaseState::Live) && now < record.lease.until;
            if live && matches(&record.lease) {
                record.state = LeaseState::Revoked(by);
                ended += 1;
            }
        }
        ended
    }
}

#[async_trait]
impl Registry for Memory {
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error> {
        let id = AccountId::new(now, self.random());
        let mut world = self.world();
        if world.accounts.iter().any(|(account, _)| account.name == *name) {
            return Err(exists(Noun::Account, name));
        }
        let account = Account { id, name: name.clone(), standing: Standing::Active, metering };
        world.accounts.push((account.clone(), Balance::default()));
        world.version += 1;
        Ok(account)
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut accounts: Vec<Account> = self.world().accounts.iter().map(|(account, _)| account.clone()).collect();
        accounts.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(accounts)
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error> {
        let world = self.world();
        Ok(world.accounts.iter().map(|(account, _)| account).find(|account| account.name == *name).cloned())
    }

    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error> {
        let mut world = self.world();
        let (account, _) = world.account(id)?;
        account.standing = standing;
        account.metering = metering;
        world.version += 1;
        Ok(())
    }

    async fn add_credits(&self, account: AccountId, credits: u64, _now: Timestamp) -> Result<Balance, Error> {
        let mut world = self.world();
        let (_, balance) = world.account(account)?;
        balance.granted = balance.granted.saturating_add(credits);
        Ok(*balance)
    }

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
        let known = world.callers.iter().find(|(_, of, own, _)| *of == account && own == name);
        match known {
            Some((id, _, _, own)) if *own == role => Ok(*id),
            Some(_) => Err(exists(Noun::Caller, name)),
            None => {
                world.callers.push((id, account, name.clone(), role));
                Ok(id)
            }
        }
    }

    async fn callers(&self, account: AccountId) -> Result<Vec<(CallerId, Name, Role)>, Error> {
        let world = self.world();
        let callers = world.callers.iter().filter(|(_, of, ..)| *of == account);
        Ok(callers.map(|(id, _, name, role)| (*id, name.clone(), *role)).collect())
    }

    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let id = TokenId::new(now, self.random());
        let mut world = self.world();
        let (_, account, caller_name, role) = world
            .callers
            .iter()
            .find(|(id, ..)| *id == caller)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Caller))?;
        let tail = token.tail();
        let record = TokenRecord { id, caller, caller_name, account, role, tail, made: now, until, revoked: None };
        world.tokens.push((token.digest(), record.clone()));
        Ok(record)
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        let world = self.world();
        let records = world.tokens.iter().map(|(_, record)| record);
        Ok(records.filter(|record| account.is_none_or(|only| only == record.account)).cloned().collect())
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<(), Error> {
        let mut world = self.world();
        let (_, record) = world
            .tokens
            .iter_mut()
            .find(|(_, record)| record.id == token)
            .ok_or_else(|| Error::not_found(Noun::Token))?;
        record.revoked.get_or_insert(by.at);
        world.end(by.at, by, |lease| lease.token == token);
        Ok(())
    }

    async fn create_storage(&self, storage: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        let id = StorageId::new(now, self.random());
        let mut world = self.world();
        if world.storages.iter().any(|known| known.name == storage.name) {
            return Err(exists(Noun::Storage, &storage.name));
        }
        let storage = stored(id, storage);
        world.storages.push(storage.clone());
        world.version += 1;
        Ok(storage)
    }

    async fn change_storage(&self, id: StorageId, storage: NewStorage) -> Result<(), Error> {
        let mut world = self.world();
        let known =
            world.storages.iter_mut().find(|known| known.id == id).ok_or_else(|| Error::not_found(Noun::Storage))?;
        *known = stored(id, storage);
        world.version += 1;
        Ok(())
    }

    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        let mut storages = self.world().storages.clone();
        storages.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(storages)
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, _now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        if !world.storages.iter().any(|known| known.id == storage) {
            return Err(Error::not_found(Noun::Storage));
        }
        if world.buckets.iter().any(|(known, _)| known == bucket) {
            return Err(exists(Noun::Bucket, bucket));
        }
        world.buckets.push((bucket.clone(), storage));
        Ok(())
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        let mut buckets = self.world().buckets.clone();
        buckets.sort();
        Ok(buckets)
    }

    async fn create_dataset(&self, dataset: Dataset, now: Timestamp) -> Result<DatasetId, Error> {
        let id = DatasetId::new(now, self.random());
        let mut world = self.world();
        if world.datasets.iter().any(|known| known.name == dataset.name) {
            return Err(exists(Noun::Dataset, &dataset.name));
        }
        if !world.buckets.contains(&(dataset.bucket.clone(), dataset.storage)) {
            return Err(Error::not_found(Noun::Bucket));
        }
        world.datasets.push(Dataset { id, ..dataset });
        Ok(id)
    }

    async fn create_grant(&self, grant: Grant, now: Timestamp) -> Result<GrantId, Error> {
        let id = GrantId::new(now, self.random());
        let mut world = self.world();
        world.account(grant.account)?;
        if world.grants.iter().any(|known| known.account == grant.account && known.name == grant.name) {
            return Err(exists(Noun::Grant, &grant.name));
        }
        if !world.buckets.contains(&(grant.scope.bucket().clone(), grant.storage)) {
            return Err(Error::not_found(Noun::Bucket));
        }
        world.grants.push(Grant { id, ..grant });
        world.version += 1;
        Ok(id)
    }

    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        Ok(self.world().grants.iter().filter(|grant| grant.account == account).cloned().collect())
    }

    async fn remove_grant(
        &self,
        account: AccountId,
        grant: GrantId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        let mut world = self.world();
        let before = world.grants.len();
        world.grants.retain(|known| known.id != grant || known.account != account);
        if world.grants.len() == before {
            return Err(Error::not_found(Noun::Grant));
        }
        world.version += 1;
        if end_credentials {
            world.end(by.at, by, |lease| lease.grants.contains(&grant));
        }
        Ok(())
    }

    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        Ok(self.world().end(by.at, by, |lease| match what {
            Revocation::Lease(id) => lease.id == id,
            Revocation::Token(id) => lease.token == id,
            Revocation::Caller(id) => lease.caller == id,
            Revocation::Account(id) => lease.account == id,
            Revocation::Grant(id) => lease.grants.contains(&id),
        }))
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        Ok(self.world().leases.iter().find(|record| record.lease.id == id).cloned())
    }

    async fn leases(&self, filter: &LeaseFilter) -> Result<Vec<LeaseRecord>, Error> {
        let LeaseFilter { account, caller, live_at, before, limit } = *filter;
        let world = self.world();
        let mut found: Vec<LeaseRecord> = world
            .leases
            .iter()
            .filter(|LeaseRecord { lease, state }| {
                account.is_none_or(|only| only == lease.account)
                    && caller.is_none_or(|only| only == lease.caller)
                    && live_at.is_none_or(|now| matches!(state, LeaseState::Live) && now < lease.until)
                    && before.is_none_or(|before| lease.id < before)
            })
            .cloned()
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse(record.lease.id));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn verify_ledger(&self) -> Result<Verified, Error> {
        let leases = u64::try_from(self.world().leases.len()).unwrap_or(u64::MAX);
        Ok(Verified { leases, pages: 0, broken_at: None })
    }
}

fn stored(id: StorageId, storage: NewStorage) -> Storage {
    let NewStorage { name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime } = storage;
    Storage { id, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime }
}
