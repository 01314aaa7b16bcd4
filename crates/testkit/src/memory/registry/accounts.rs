//! Accounts.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::AccountId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::registry::{AccountAdmin, Accounts};
use valetkey_core::nouns::usage::Balance;

use crate::memory::Memory;

#[async_trait]
impl Accounts for Memory {
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
}

#[async_trait]
impl AccountAdmin for Memory {
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
}
