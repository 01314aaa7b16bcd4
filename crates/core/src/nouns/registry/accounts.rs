//! Accounts.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::account::{Account, Metering, Standing};
use crate::error::Error;
use crate::id::AccountId;
use crate::name::{BucketName, Name};
use crate::nouns::usage::Balance;

/// Accounts, for who may know of them.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Every account, in order of their names.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;
    /// An account by its name.
    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error>;
    /// An account by its id, also one that was removed.
    async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Error>;
}

/// Makes and changes accounts.
#[async_trait]
pub trait AccountAdmin: Accounts {
    /// Makes an account.
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error>;
    /// Suspends or activates an account, or changes what a vend costs it.
    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error>;
    /// Says which bucket's datasets the callers of an account get when theirs are in several and they name none.
    async fn set_datasets_bucket(&self, id: AccountId, bucket: Option<&BucketName>) -> Result<(), Error>;
    /// Adds credits to an account.
    async fn add_credits(&self, account: AccountId, credits: u64, now: Timestamp) -> Result<Balance, Error>;
}
