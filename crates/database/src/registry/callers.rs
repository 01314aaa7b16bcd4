//! Callers and groups.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Noun;
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GroupId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::{CallerAdmin, CallerFilter, Callers};

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::Owed;
use crate::sql::callers;
use crate::sql::db::Db;
use crate::sql::notes::Notes;
use crate::sql::{change, groups, lists};

#[async_trait]
impl Callers for Database {
    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error> {
        callers::callers(&mut self.reader().await?, account).await
    }

    async fn list_callers(&self, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error> {
        lists::callers(&mut self.reader().await?, filter).await
    }

    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error> {
        callers::caller(&mut self.reader().await?, id).await
    }

    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error> {
        let known = groups::groups(&mut self.reader().await?, account).await?;
        Ok(self.shared.debts.amended_groups(known))
    }
}

#[async_trait]
impl CallerAdmin for Database {
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
}
