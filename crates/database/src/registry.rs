//! Changes: written first, then seen by every decision, then answered. A caller who goes away midway leaves neither half.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::audit::{Author, Change, ChangeFilter, Deed};
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Noun;
use valetkey_core::field::Attribute;
use valetkey_core::grant::{Grant, NewGrant};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{LeaseRecord, LeaseState, Revocation, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::NewDataset;
use valetkey_core::nouns::node::Node;
use valetkey_core::nouns::policy_set::{Managed, Owns, State};
use valetkey_core::nouns::registry::{
    CallerFilter, Catalog, GrantFilter, LeaseFilter, LedgerHead, NewStorage, Outliving, Registry, TokenFilter,
    TokenRecord, Verified,
};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};
use valetkey_core::nouns::usage::Balance;
use valetkey_core::storage::Storage;
use valetkey_core::time::random_10;
use valetkey_core::token::{Maker, PlainToken, TokenDigest};
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::{Links, Owed};
use crate::settings::Settings;
use crate::sql::callers::{self, NewToken};
use crate::sql::db::Db;
use crate::sql::notes::{self, Notes};
use crate::sql::revocations::Also;
use crate::sql::target::Target;
use crate::sql::{change, failed, groups, lists, nodes, pages, policy, registry};

impl Database {
    pub(crate) fn noise(&self) -> [u8; 10] {
        random_10(&*self.shared.entropy)
    }

    pub(crate) async fn reader(&self) -> Result<Db, Error> {
        // Nobody waits in vain for a server that is away.
        self.in_touch()?;
        self.shared.db.reader().await
    }
}

#[async_trait]
impl Catalog for Database {
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        registry::accounts(&mut self.reader().await?).await
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error> {
        registry::account_named(&mut self.reader().await?, name).await
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Error> {
        registry::any_account(&mut self.reader().await?, id).await
    }

    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error> {
        callers::callers(&mut self.reader().await?, account).await
    }

    async fn list_callers(&self, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error> {
        lists::callers(&mut self.reader().await?, filter).await
    }

    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error> {
        callers::caller(&mut self.reader().await?, id).await
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens(&mut self.reader().await?, account).await
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error> {
        lists::tokens(&mut self.reader().await?, filter).await
    }

    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        Ok(callers::token_by_id(&mut self.reader().await?, id).await?.map(|(record, _)| record))
    }

    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error> {
        callers::token_by_digest(&mut self.reader().await?, &digest).await
    }

    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens_made_by(&mut self.reader().await?, token).await
    }

    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        registry::storages(&mut self.reader().await?).await
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        registry::buckets(&mut self.reader().await?).await
    }

    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        let known = registry::grants(&mut self.reader().await?, account).await?;
        Ok(self.shared.debts.amended_grants(known))
    }

    async fn list_grants(&self, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error> {
        let known = lists::grants(&mut self.reader().await?, filter).await?;
        Ok(self.shared.debts.amended_grants(known))
    }

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

    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error> {
        let known = groups::groups(&mut self.reader().await?, account).await?;
        Ok(self.shared.debts.amended_groups(known))
    }

    async fn plan(&self, what: &Thing) -> Result<Plan, Error> {
        self.plan_of(what).await
    }

    async fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        self.preview_with_made(change, now).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let settled = self.settle().await;
        // Before the index is read: it may get to know meanwhile, and then this is forgotten.
        let is_voided = self.shared.queue.is_voided(id);
        let Some(found) = self.find_lease(id).await? else { return settled.map(|()| None) };
        let mut record = self.record(found).await?;
        if is_voided {
            record.state = LeaseState::Void;
        }
        Ok(Some(record))
    }

    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error> {
        let longest_ms = registry::longest_ms(&mut self.reader().await?).await?;
        self.outliving_of(by, longest_ms).await
    }

    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error> {
        let found = self.of_key(key_id, limit).await?;
        self.records(found).await
    }

    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error> {
        if filter.limit > 10_000 {
            return Err(Error::new(Kind::Invalid, "the most leases to list at once are 10000").at(Attribute::Limit));
        }
        let longest_ms = registry::longest_ms(&mut self.reader().await?).await?;
        let found = self.list(filter, longest_ms).await?;
        self.records(found).await
    }

    async fn verify_against(&self, expected: Option<LedgerHead>) -> Result<Verified, Error> {
        self.settle().await?;
        self.verify(expected).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        let now = self.shared.clock.now();
        if self.is_shared() {
            return nodes::list(&mut self.reader().await?, self.chain(), now.as_millisecond()).await;
        }
        let Settings { node, embedded, .. } = &self.shared.settings;
        Ok(vec![Node {
            id: None,
            name: node.as_str().into(),
            version: nodes::VERSION.into(),
            heard: Some(now),
            live: true,
            this: true,
            chain: 1,
            head: u64::try_from(pages::head_of(&mut self.reader().await?, self.chain()).await?.seq).unwrap_or(0),
            embedded: *embedded,
        }])
    }

    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, Error> {
        notes::changes(&mut self.reader().await?, filter).await
    }
}

#[async_trait]
impl Registry for Database {
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error> {
        let account = Account {
            id: AccountId::new(now, self.noise()),
            name: name.clone(),
            standing: Standing::Active,
            metering,
            datasets_bucket: None,
            quota: OwnQuota::default(),
        };
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_account(db, &account, now).await?;
                notes.did(Deed::Made, Noun::Account, account.id, account.name.as_str());
                Ok((account, Touches::Nothing))
            })
        })
        .await
    }

    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error> {
        let database = self.clone();
        self.unbroken(async move {
            if standing == Standing::Suspended {
                database.shared.queue.end_account(id);
                let _ = database.settle().await;
            }
            let done = database.write_account(id, standing, Some(metering)).await;
            match standing {
                Standing::Suspended => {
                    // Whoever suspends it ends its credentials too; by whom that was is on record with them.
                    let at = database.shared.clock.now();
                    let by = Author::current().caller.map_or(Revoker::server(at), |by| Revoker { by, at });
                    database.or_owe(done, Owed::SuspendAccount(id), by)?;
                }
                Standing::Active => {
                    done?;
                    database.shared.debts.remove(&Owed::SuspendAccount(id));
                }
            }
            database.shared.queue.spare_account(id);
            Ok(())
        })
        .await
    }

    async fn set_datasets_bucket(&self, id: AccountId, bucket: Option<&BucketName>) -> Result<(), Error> {
        let bucket = bucket.cloned();
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::set_datasets_bucket(db, id, bucket.as_ref()).await?;
                let bucket = bucket.as_ref().map_or("none", BucketName::as_str);
                notes.did(Deed::Changed, Noun::Account, id, &format!("datasets of the bucket {bucket} first"));
                Ok(((), Touches::Account(id)))
            })
        })
        .await
    }

    async fn add_credits(&self, account: AccountId, credits: u64, now: Timestamp) -> Result<Balance, Error> {
        let database = self.clone();
        self.unbroken(async move {
            let mut turn = database.shared.db.turn().await;
            let add = async |db: &mut Db, notes: &mut Notes| {
                let stored = registry::add_credits(db, account, credits, now).await?;
                notes.did(Deed::Changed, Noun::Account, account, &format!("{credits} credits added"));
                Ok((stored, Touches::Nothing))
            };
            let stored = database.administer_in(&mut turn, add).await?;
            database.shared.queue.set_balance(account, stored);
            Ok(database.shared.queue.balance(account).unwrap_or(stored))
        })
        .await
    }

    async fn ensure_caller(
        &self,
        account: AccountId,
        name: &Name,
        role: Role,
        now: Timestamp,
    ) -> Result<CallerId, Error> {
        let (name, new) = (name.clone(), CallerId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                let caller = callers::ensure_caller(db, new, account, &name, role, now).await?;
                if caller == new {
                    notes.did(Deed::Made, Noun::Caller, new, &format!("{name}, {}", role.as_str()));
                }
                Ok((caller, Touches::Nothing))
            })
        })
        .await
    }

    async fn suspend_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        let database = self.clone();
        self.unbroken(async move {
            database.refuse_caller(id, by).await?;
            // First its credentials, in memory whatever the disk does; then itself. Either can be asked for again.
            let ended = database.end_any(Revocation::Caller(id), by).await;
            let done = database.write_suspended(id).await;
            database.or_owe(done, Owed::Suspend(id), by)?;
            if database.is_shared() {
                // What another node opened before it heard of it.
                return Ok(ended? + database.end_any(Revocation::Caller(id), by).await?);
            }
            ended
        })
        .await
    }

    async fn activate_caller(&self, id: CallerId) -> Result<(), Error> {
        let database = self.clone();
        self.unbroken(async move {
            let found = callers::caller(&mut database.reader().await?, id).await?;
            let account = found.ok_or_else(|| Error::not_found(Noun::Caller))?.account;
            database.shared.debts.forgive(|owed| *owed == Owed::Suspend(id));
            let mut turn = database.shared.db.turn().await;
            let activate = async |db: &mut Db, notes: &mut Notes| {
                callers::stand(db, id, CallerStanding::Active).await?;
                notes.did(Deed::Activated, Noun::Caller, id, "");
                Ok(((), Touches::Caller(account)))
            };
            database.administer_in(&mut turn, activate).await?;
            database.shared.queue.spare_caller(id);
            Ok(())
        })
        .await
    }

    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let (token, id) = (token.clone(), TokenId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                let new = NewToken { id, caller, digest: token.digest(), tail: token.tail(), until, maker };
                let record = callers::create_token(db, new, maker, now, notes).await?;
                Ok((record, Touches::Token(token.digest())))
            })
        })
        .await
    }

    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error> {
        self.end_which_links(Links::MadeBy(tokens.to_vec())).await
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error> {
        let database = self.clone();
        self.unbroken(async move {
            database.may_end(Target::Token(token)).await?;
            // First, so that no vend that was identified before opens a lease after the revocation's instant.
            database.shared.queue.end_token(token, by.at.as_millisecond());
            let ended = database.end(Target::Token(token), None, by, Also::EndToken(token)).await?;
            database.token_ended(token);
            Ok(ended)
        })
        .await
    }

    async fn create_storage(&self, new: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        new.check()?;
        let id = StorageId::new(now, self.noise());
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_storage(db, id, &new, now).await?;
                notes.did(Deed::Made, Noun::Storage, id, new.name.as_str());
                Ok((new.stored(id, 1), Touches::Storages))
            })
        })
        .await
    }

    async fn change_storage(&self, id: StorageId, new: NewStorage) -> Result<Storage, Error> {
        new.check()?;
        self.administer(move |db, notes| {
            Box::pin(async move {
                let version = registry::change_storage(db, id, &new).await?;
                notes.did(Deed::Changed, Noun::Storage, id, &format!("{}, version {version}", new.name));
                Ok((new.stored(id, version), Touches::Storages))
            })
        })
        .await
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, now: Timestamp) -> Result<(), Error> {
        let bucket = bucket.clone();
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_bucket(db, storage, &bucket, now).await?;
                notes.did(Deed::Made, Noun::Bucket, &bucket, &format!("of {storage}"));
                Ok(((), Touches::Buckets))
            })
        })
        .await
    }

    async fn create_dataset(&self, new: NewDataset, now: Timestamp) -> Result<DatasetId, Error> {
        let dataset = new.stored(DatasetId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                registry::create_dataset(db, &dataset, now).await?;
                notes.did(Deed::Made, Noun::Dataset, dataset.id, dataset.name.as_str());
                Ok((dataset.id, Touches::Datasets))
            })
        })
        .await
    }

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

    async fn create_group(&self, new: Group, now: Timestamp) -> Result<Group, Error> {
        let new = Group { id: GroupId::new(now, self.noise()), version: 1, made: now, ..new };
        self.administer(move |db, notes| {
            Box::pin(async move {
                groups::check(&mut *db, &new).await?;
                groups::create(db, &new).await?;
                notes.did(Deed::Made, Noun::Group, new.id, &change::about_group(&new));
                let account = new.account;
                Ok((new, Touches::Account(account)))
            })
        })
        .await
    }

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
