//! Making and ending things in memory.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::audit::{Change, ChangeFilter};
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::grant::{Grant, Grantee, NewGrant};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{LeaseRecord, Revocation, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::NewDataset;
use valetkey_core::nouns::node::Node;
use valetkey_core::nouns::policy_set::{Managed, Owns, State};
use valetkey_core::nouns::registry::{
    CallerFilter, Catalog, GrantFilter, LeaseFilter, LedgerHead, NewStorage, Outliving, Registry, TokenFilter,
    TokenRecord, Verified,
};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};
use valetkey_core::nouns::rules::{self, GrantFound, Place, PlaceFound};
use valetkey_core::nouns::usage::Balance;
use valetkey_core::storage::Storage;
use valetkey_core::token::{Maker, PlainToken, TokenDigest};

use crate::memory::{Memory, World};

impl World {
    fn check_storage(&self, storage: StorageId) -> Result<(), Error> {
        let known = self.storages.iter().any(|known| known.id == storage);
        if known { Ok(()) } else { Err(Error::not_found(Noun::Storage)) }
    }

    /// The storage of a bucket.
    pub(super) fn bucket_of(&self, bucket: &BucketName) -> Option<StorageId> {
        self.buckets.iter().find(|(known, _)| known == bucket).map(|(_, of)| *of)
    }

    fn place_found(&self, place: Place<'_>) -> PlaceFound {
        PlaceFound { storage: self.check_storage(place.storage).is_ok(), bucket_of: self.bucket_of(place.bucket) }
    }

    pub(super) fn check_place(&self, storage: StorageId, bucket: &BucketName) -> Result<(), Error> {
        let place = Place { storage, bucket };
        place.check(self.place_found(place))
    }

    /// Whose the caller is that something is for.
    pub(super) fn grantee_of(&self, to: Grantee) -> Option<AccountId> {
        match to {
            Grantee::Everyone => None,
            Grantee::Caller(caller) => self.callers.iter().find(|(id, ..)| *id == caller).map(|(_, of, ..)| *of),
            Grantee::Group(group) => self.groups.iter().find(|known| known.id == group).map(|known| known.account),
        }
    }

    /// Refuses a grant that names what is not there, or what does not belong together.
    pub(super) fn check_grant(&self, grant: &Grant) -> Result<(), Error> {
        let dataset = self.datasets.iter().find(|known| Some(known.id) == grant.origin.dataset());
        let found = GrantFound {
            account: self.accounts.iter().any(|(account, _)| account.id == grant.account),
            caller_of: self.grantee_of(grant.to),
            place: self.place_found(Place { storage: grant.storage, bucket: grant.scope.bucket() }),
            dataset: dataset.map(|known| (known.storage, known.bucket.clone())),
        };
        found.check(grant)
    }

    /// Refuses a group that names what is not there, or has the name of another.
    pub(super) fn check_group(&mut self, group: &Group) -> Result<(), Error> {
        group.check()?;
        self.account(group.account)?;
        for member in &group.members {
            let known = self.caller_records().into_iter().find(|known| known.id == *member);
            rules::check_member(group.account, known.map(|known| known.account))?;
        }
        if let Some(by) = &group.by_claim
            && self.trust.providers.iter().all(|known| known.id != by.provider)
        {
            return Err(Error::not_found(Noun::IdentityProvider));
        }
        let same = |known: &Group| (known.account, &known.name) == (group.account, &group.name) && known.id != group.id;
        if self.groups.iter().any(same) {
            return Err(Error::taken(Noun::Group, &group.name));
        }
        Ok(())
    }

    pub(super) fn caller_records(&self) -> Vec<CallerRecord> {
        let record = |(id, account, name, role): &(CallerId, AccountId, Name, Role)| {
            let standing = self.standing(*id);
            CallerRecord { id: *id, account: *account, name: name.clone(), role: *role, standing }
        };
        self.callers.iter().map(record).collect()
    }

    fn check_caller(&self, id: CallerId) -> Result<(), Error> {
        let known = self.callers.iter().any(|(known, ..)| *known == id);
        if known && self.standing(id) != CallerStanding::Removed { Ok(()) } else { Err(Error::not_found(Noun::Caller)) }
    }

    /// A token's record with what was changed of its caller since.
    pub(super) fn current(&self, record: &TokenRecord) -> TokenRecord {
        let name = self.callers.iter().find(|(id, ..)| *id == record.caller).map(|(_, _, name, _)| name.clone());
        let caller_name = name.unwrap_or_else(|| record.caller_name.clone());
        TokenRecord { caller_name, standing: self.standing(record.caller), ..record.clone() }
    }

    /// The end that a maker allows to what it makes now.
    pub(super) fn until_of(
        &self,
        maker: Maker,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let own = self.tokens.iter().map(|(_, record)| record).find(|record| Some(record.id) == maker.token());
        rules::until_of(maker, own.map(|own| self.current(own)).as_ref(), asked, now)
    }

    /// Stores a token whose end was settled.
    pub(super) fn insert_token(
        &mut self,
        id: TokenId,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let (_, account, caller_name, role) = self
            .callers
            .iter()
            .find(|(id, ..)| *id == caller)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Caller))?;
        self.standing(caller).takes_tokens()?;
        if self.tokens.iter().any(|(known, _)| *known == token.digest()) {
            return Err(Error::new(Kind::AlreadyExists(Noun::Token), "the token is stored already"));
        }
        let (tail, revoked, standing) = (token.tail(), None, CallerStanding::Active);
        let made_by = maker.token();
        if maker.outlives() {
            self.outliving.push(id);
        }
        let record =
            TokenRecord { id, caller, caller_name, account, role, tail, made: now, until, revoked, made_by, standing };
        self.tokens.push((token.digest(), record.clone()));
        Ok(record)
    }

    /// Refuses to revoke what never was.
    fn check_revocation(&self, what: Revocation) -> Result<(), Error> {
        let (known, noun) = match what {
            Revocation::Lease(id) => (self.leases.iter().any(|known| known.id == id), Noun::Lease),
            Revocation::Token(id) => (self.tokens.iter().any(|(_, known)| known.id == id), Noun::Token),
            Revocation::Caller(id) => (self.callers.iter().any(|(known, ..)| *known == id), Noun::Caller),
            Revocation::Account(id) => (self.accounts.iter().any(|(known, _)| known.id == id), Noun::Account),
            Revocation::Storage(id) => (self.storages.iter().any(|known| known.id == id), Noun::Storage),
            Revocation::Grant(id) => {
                (self.grants.iter().any(|known| known.id == id) || self.removed.contains(&id), Noun::Grant)
            }
        };
        if known { Ok(()) } else { Err(Error::not_found(noun)) }
    }
}

#[async_trait]
impl Catalog for Memory {
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut accounts: Vec<Account> = self.world().accounts.iter().map(|(account, _)| account.clone()).collect();
        accounts.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(accounts)
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error> {
        let world = self.world();
        Ok(world.accounts.iter().map(|(account, _)| account).find(|account| account.name == *name).cloned())
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Error> {
        let world = self.world();
        Ok(world.accounts.iter().chain(&world.gone).map(|(account, _)| account).find(|known| known.id == id).cloned())
    }

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

    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        Ok(self.tokens(None).await?.into_iter().find(|record| record.id == id))
    }

    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error> {
        let found = self.world().tokens.iter().find(|(known, _)| *known == digest).map(|(_, record)| record.id);
        match found {
            Some(id) => self.token_by_id(id).await,
            None => Ok(None),
        }
    }

    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
        let all = self.tokens(None).await?;
        let mut made = vec![token];
        // In the order they were made: a maker stands before what it made.
        for record in &all {
            if record.made_by.is_some_and(|maker| made.contains(&maker)) {
                made.push(record.id);
            }
        }
        Ok(all.into_iter().filter(|record| record.id != token && made.contains(&record.id)).collect())
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        let world = self.world();
        let records = world.tokens.iter().map(|(_, record)| record);
        let own = records.filter(|record| account.is_none_or(|only| only == record.account));
        Ok(own.map(|record| world.current(record)).collect())
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error> {
        let TokenFilter { account, caller, since, after, limit } = *filter;
        let mut tokens = self.tokens(account).await?;
        tokens.retain(|known| {
            caller.is_none_or(|only| only == known.caller)
                && since.is_none_or(|since| since <= known.made)
                && after.is_none_or(|after| after < known.id)
        });
        tokens.sort_by_key(|known| known.id);
        tokens.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(tokens)
    }

    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        let mut storages = self.world().storages.clone();
        storages.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(storages)
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        let mut buckets = self.world().buckets.clone();
        buckets.sort();
        Ok(buckets)
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

    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        let world = self.world();
        let mut grants: Vec<Grant> = world.grants.iter().filter(|grant| grant.account == account).cloned().collect();
        grants.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(grants)
    }

    async fn owned(&self, things: &[Thing]) -> Result<Vec<(Thing, Managed)>, Error> {
        Ok(self.world().owned(things))
    }

    async fn policy_state(&self, owner: &Name, owns: &Owns) -> Result<State, Error> {
        Ok(self.world().policy_state(owner, owns))
    }

    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error> {
        let world = self.world();
        let mut groups = world.groups.clone();
        groups.retain(|group| account.is_none_or(|only| only == group.account));
        groups.sort_by_key(|group| (group.name.clone(), group.id));
        Ok(groups)
    }

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

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        Ok(self.world().lease(id))
    }

    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error> {
        Ok(self.world().list(filter))
    }

    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error> {
        Ok(self.world().outliving(by))
    }

    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error> {
        Ok(self.world().of_key(key_id, limit))
    }

    async fn verify_against(&self, _: Option<LedgerHead>) -> Result<Verified, Error> {
        let world = self.world();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // Each entry is a page of its own; no hash binds them, because nobody else can reach them.
        let pages = count(world.leases.len() + world.voided.len());
        Ok(Verified {
            leases: count(world.leases.len()),
            pages,
            broken_at: None,
            head: LedgerHead { seq: pages, hash: [0; 32] },
            chains: vec![LedgerHead { seq: pages, hash: [0; 32] }],
            begins: Vec::new(),
            expected: None,
            revocations: 0,
            tokens: 0,
            changes: 0,
            before: None,
            astray: Vec::new(),
        })
    }

    /// Nobody else sees this memory: who changed it is not kept.
    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(vec![Node {
            id: None,
            name: "memory".into(),
            version: "0.0.0".into(),
            heard: None,
            live: true,
            this: true,
            chain: 1,
            head: 0,
            embedded: true,
        }])
    }

    async fn changes(&self, _: &ChangeFilter) -> Result<Vec<Change>, Error> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Registry for Memory {
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error> {
        let id = AccountId::new(now, self.random());
        let mut world = self.world();
        if world.accounts.iter().any(|(account, _)| account.name == *name) {
            return Err(Error::taken(Noun::Account, name));
        }
        let (standing, quota) = (Standing::Active, OwnQuota::default());
        let account = Account { id, name: name.clone(), standing, metering, datasets_bucket: None, quota };
        world.accounts.push((account.clone(), Balance::default()));
        world.version += 1;
        Ok(account)
    }

    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error> {
        let mut world = self.world();
        let (account, _) = world.account(id)?;
        account.standing = standing;
        account.metering = metering;
        world.version += 1;
        Ok(())
    }

    async fn set_datasets_bucket(&self, id: AccountId, bucket: Option<&BucketName>) -> Result<(), Error> {
        let mut world = self.world();
        let (account, _) = world.account(id)?;
        account.datasets_bucket = bucket.cloned();
        world.version += 1;
        Ok(())
    }

    async fn add_credits(&self, account: AccountId, credits: u64, _now: Timestamp) -> Result<Balance, Error> {
        let mut world = self.world();
        let (_, balance) = world.account(account)?;
        *balance = balance.with(credits)?;
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

    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let id = TokenId::new(now, self.random());
        let mut world = self.world();
        let until = world.until_of(maker, until, now)?;
        let record = world.insert_token(id, caller, token, until, maker, now)?;
        Ok(record)
    }

    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error> {
        Ok(self.world().shared.end_links_made_by(tokens))
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        let (_, record) = world
            .tokens
            .iter_mut()
            .find(|(_, record)| record.id == token)
            .ok_or_else(|| Error::not_found(Noun::Token))?;
        record.revoked.get_or_insert(by.at);
        Ok(world.end(Revocation::Token(token), by))
    }

    async fn create_storage(&self, storage: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        storage.check()?;
        let id = StorageId::new(now, self.random());
        let mut world = self.world();
        if world.storages.iter().any(|known| known.name == storage.name) {
            return Err(Error::taken(Noun::Storage, &storage.name));
        }
        let storage = storage.stored(id, 1);
        world.storages.push(storage.clone());
        world.version += 1;
        Ok(storage)
    }

    async fn change_storage(&self, id: StorageId, storage: NewStorage) -> Result<Storage, Error> {
        storage.check()?;
        let mut world = self.world();
        let before = world.storages.iter().find(|known| known.id == id && known.kind == storage.kind);
        let before = before.ok_or_else(|| Error::not_found(Noun::Storage))?;
        let version = before.external.as_ref().map_or(1, |external| external.version);
        if world.storages.iter().any(|known| known.name == storage.name && known.id != id) {
            return Err(Error::taken(Noun::Storage, &storage.name));
        }
        let storage = storage.stored(id, version + 1);
        world.storages.retain(|known| known.id != id);
        world.storages.push(storage.clone());
        world.version += 1;
        Ok(storage)
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, _now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        world.check_storage(storage)?;
        if world.buckets.iter().any(|(known, _)| known == bucket) {
            return Err(Error::taken(Noun::Bucket, bucket));
        }
        world.buckets.push((bucket.clone(), storage));
        Ok(())
    }

    async fn create_dataset(&self, new: NewDataset, now: Timestamp) -> Result<DatasetId, Error> {
        let id = DatasetId::new(now, self.random());
        let dataset = new.stored(id);
        let mut world = self.world();
        world.check_place(dataset.storage, &dataset.bucket)?;
        if world.datasets.iter().any(|known| known.name == dataset.name) {
            return Err(Error::taken(Noun::Dataset, &dataset.name));
        }
        world.datasets.push(dataset);
        Ok(id)
    }

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

    async fn create_group(&self, new: Group, now: Timestamp) -> Result<Group, Error> {
        let new = Group { id: GroupId::new(now, self.random()), version: 1, made: now, ..new };
        let mut world = self.world();
        world.check_group(&new)?;
        world.groups.push(new.clone());
        world.version += 1;
        Ok(new)
    }

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
