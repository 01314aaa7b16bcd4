//! Accounts.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::audit::{Author, Deed};
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::lease::Revoker;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::registry::{AccountAdmin, Accounts};
use valetkey_core::nouns::usage::Balance;

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::Owed;
use crate::sql::db::Db;
use crate::sql::notes::Notes;
use crate::sql::registry;

#[async_trait]
impl Accounts for Database {
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        registry::accounts(&mut self.reader().await?).await
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error> {
        registry::account_named(&mut self.reader().await?, name).await
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Error> {
        registry::any_account(&mut self.reader().await?, id).await
    }
}

#[async_trait]
impl AccountAdmin for Database {
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
}
