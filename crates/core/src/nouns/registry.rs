//! What is kept of accounts, callers, tokens, storages, grants and leases, as administration reads and changes it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::account::{Account, Metering, Standing};
use crate::audit::{Change, ChangeFilter};
use crate::caller::{CallerRecord, CallerStanding, Role};
use crate::error::{Error, Noun};
use crate::grant::{Grant, NewGrant};
use crate::group::Group;
use crate::id::{AccountId, CallerId, DatasetId, GrantId, LeaseId, StorageId, TokenId};
use crate::lease::{LeaseRecord, Revocation, Revoker};
use crate::name::{BucketName, Name};
use crate::nouns::dataset::{Datasets, NewDataset};
use crate::nouns::node::Node;
use crate::nouns::policy_set::{Managed, Owns, State};
use crate::nouns::removal::{Amendment, How, Plan, Thing};
use crate::nouns::request::Requests;
use crate::nouns::usage::Balance;
use crate::storage::{ExternalConfig, Storage, StorageKind};
use crate::time::Lifetime;
use crate::token::{Maker, PlainToken, TokenDigest};

/// A token as its list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub caller: CallerId,
    /// The caller's name.
    pub caller_name: Name,
    /// The caller's account.
    pub account: AccountId,
    /// What the caller may do.
    pub role: Role,
    /// Its last four characters.
    pub tail: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When it was ended early.
    pub revoked: Option<Timestamp>,
    /// The token that made it; none for the server itself, and for tokens from before this was kept.
    pub made_by: Option<TokenId>,
    /// Whether its caller is served.
    pub standing: CallerStanding,
}

impl TokenRecord {
    /// Whether it proves its caller at an instant.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none()
            && self.until.is_none_or(|until| now < until)
            && match self.standing {
                CallerStanding::Active => true,
                CallerStanding::Suspended | CallerStanding::Removed => false,
            }
    }
}

/// A store to be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStorage {
    /// Its name.
    pub name: Name,
    /// How scopes are enforced there.
    pub kind: StorageKind,
    /// The URL its users reach it at.
    pub endpoint: Box<str>,
    /// The URL it is reached at from inside a cluster.
    pub internal_endpoint: Option<Box<str>>,
    /// The region to name in signatures.
    pub region: Box<str>,
    /// No credential lives shorter.
    pub min_lifetime: Lifetime,
    /// No credential lives longer.
    pub max_lifetime: Lifetime,
    /// What is configured of it, where somebody else runs it.
    pub external: Option<Arc<ExternalConfig>>,
}

impl NewStorage {
    /// The store, once it has an id and a version.
    pub fn stored(self, id: StorageId, version: u64) -> Storage {
        let Self { name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external } = self;
        let external = external.map(|external| Arc::new(ExternalConfig { version, ..Arc::unwrap_or_clone(external) }));
        Storage { id, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external }
    }
}

/// Which leases to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaseFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only this caller's.
    pub caller: Option<CallerId>,
    /// Only those that this token opened.
    pub token: Option<TokenId>,
    /// Only those that this grant decided, alone or with others.
    pub grant: Option<GrantId>,
    /// Only those of this bucket.
    pub bucket: Option<&'a BucketName>,
    /// Only those opened at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those that were asked for with this token on behalf of another.
    pub asked_with: Option<TokenId>,
    /// Only those that are live at this instant.
    pub live_at: Option<Timestamp>,
    /// Only those opened before this one (the newest come first): the last id of the page before.
    pub before: Option<LeaseId>,
    /// At most so many.
    pub limit: u32,
}

/// Which grants to list: in the order of their accounts, and of their names in each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GrantFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only that of this name, in each account.
    pub name: Option<&'a str>,
    /// Only those that this caller may use: its own, and those for everyone of its account.
    pub caller: Option<CallerId>,
    /// Only those of this bucket.
    pub bucket: Option<&'a BucketName>,
    /// Only those made at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those after this name in this account: the last of the page before.
    pub after: Option<(AccountId, &'a str)>,
    /// At most so many.
    pub limit: u32,
}

/// Which callers to list: in the order of their accounts, and of their names in each. Those that were removed are not listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallerFilter<'a> {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only those after this name in this account: the last of the page before.
    pub after: Option<(AccountId, &'a str)>,
    /// At most so many.
    pub limit: u32,
}

/// Which tokens to list: in the order they were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenFilter {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only this caller's.
    pub caller: Option<CallerId>,
    /// Only those made at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those made after this one: the last of the page before.
    pub after: Option<TokenId>,
    /// At most so many.
    pub limit: u32,
}

/// Credentials that were ended here and that their store, which somebody else runs, takes until their time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outliving {
    /// The store.
    pub storage: StorageId,
    /// What the store calls them.
    pub key_ids: Vec<Box<str>>,
    /// Leases that were ended.
    pub leases: u64,
    /// When the store stops taking the last of them.
    pub until: Timestamp,
}

/// A page of the ledger by its number and hash: the last one stands for all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LedgerHead {
    /// Its number, from 1; 0 is the ledger without a page.
    pub seq: u64,
    /// Its hash; zeros stand for the ledger without a page.
    pub hash: [u8; 32],
}

/// What became of a head that was noted earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadFound {
    /// It is the head.
    Head,
    /// It is on the chain; the ledger has grown since.
    Grown,
    /// It is not on the chain: what was written since it was noted was changed, or is gone.
    Missing,
    /// Its page was removed when its time was over: there is nothing to compare it with.
    Swept,
}

/// What a verification of the ledger found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Leases on record.
    pub leases: u64,
    /// Pages of the ledger, each bound to the one before by its hash.
    pub pages: u64,
    /// The first page that does not fit, if one does not.
    pub broken_at: Option<u64>,
    /// The last page of this server's chain.
    pub head: LedgerHead,
    /// The last page of every chain: each server that shares the database has its own.
    pub chains: Vec<LedgerHead>,
    /// The page before the first that is there, of each chain whose oldest pages were removed.
    pub begins: Vec<LedgerHead>,
    /// What became of the head that was expected, if one was.
    pub expected: Option<HeadFound>,
    /// Revocations that were held against the chain.
    pub revocations: u64,
    /// Tokens that were held against the chain.
    pub tokens: u64,
    /// Changes of the registry on record.
    pub changes: u64,
    /// The revocations and tokens that were there before the chain covered them: it has them as they were found then.
    pub before: Option<Before>,
    /// What the database says of revocations and tokens and the chain does not, or the other way round; the first few.
    pub astray: Vec<String>,
}

impl Verified {
    /// Whether everything fits.
    pub fn intact(&self) -> bool {
        self.broken_at.is_none()
            && self.astray.is_empty()
            && !matches!(self.expected, Some(HeadFound::Missing | HeadFound::Swept))
    }
}

/// What was there when the chain began to cover it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// The page from which on it is covered.
    pub page: u64,
    /// Revocations.
    pub revocations: u64,
    /// Tokens.
    pub tokens: u64,
}

/// What there is, for who may know of it: nothing of it changes anything.
#[async_trait]
pub trait Catalog: Datasets + Requests {
    /// Every account, in order of their names.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;
    /// An account by its name.
    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error>;
    /// An account by its id, also one that was removed.
    async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Error>;
    /// The callers of an account, in order of their names; without those that were removed.
    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error>;
    /// A page of the callers of one account or all.
    async fn list_callers(&self, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error>;
    /// A caller by its id, also one that was removed.
    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error>;
    /// A token by its id, also one that has ended.
    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error>;
    /// A token by what is kept of it, also one that has ended.
    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error>;
    /// The tokens that a token made, those that they made, and so on; ended ones too.
    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error>;
    /// The tokens of an account, or of all.
    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error>;
    /// A page of the tokens of one account or all.
    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error>;
    /// Every store, in order of their names.
    async fn storages(&self) -> Result<Vec<Storage>, Error>;
    /// Every bucket and its store, in order of their names.
    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error>;
    /// The grants of an account.
    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error>;
    /// A page of the grants of one account or all.
    async fn list_grants(&self, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error>;
    /// Those of some things that policy sets own, and whose they are.
    async fn owned(&self, things: &[Thing]) -> Result<Vec<(Thing, Managed)>, Error>;
    /// What there is of the accounts that a policy set may own, or owns.
    async fn policy_state(&self, owner: &Name, owns: &Owns) -> Result<State, Error>;
    /// The groups of an account, or of all, in order of their names.
    async fn groups(&self, account: Option<AccountId>) -> Result<Vec<Group>, Error>;
    /// What removing a thing means: what goes with it, what stands in the way, and what ends. Nothing is changed.
    async fn plan(&self, what: &Thing) -> Result<Plan, Error>;
    /// How many live leases a change would end, refused where the change would be. Nothing is changed.
    async fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error>;
    /// The credentials among those that somebody ended, from an instant on, that their stores take on: one row for each store.
    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error>;
    /// A lease by its id.
    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error>;
    /// The leases that were handed the credential of this name at their store, the newest first.
    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error>;
    /// Leases, the newest first.
    async fn leases(&self, filter: &LeaseFilter<'_>) -> Result<Vec<LeaseRecord>, Error>;
    /// Reads the whole ledger and checks that each page fits the one before and that leases, revocations and tokens are what it
    /// says; and that a head which was noted earlier is on it.
    async fn verify_against(&self, expected: Option<LedgerHead>) -> Result<Verified, Error>;
    /// The servers that share the database, in order of their chains; those that are gone, too.
    async fn nodes(&self) -> Result<Vec<Node>, Error>;
    /// The same without a head.
    async fn verify_ledger(&self) -> Result<Verified, Error> {
        self.verify_against(None).await
    }
    /// Who changed what of the registry, the newest first.
    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, Error>;
}

/// Makes and ends what the directory answers with. Every change is durable when the call returns, and seen by every
/// decision made afterwards on this node.
#[async_trait]
pub trait Registry: Catalog {
    /// Makes an account.
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error>;
    /// Suspends or activates an account, or changes what a vend costs it.
    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error>;
    /// Says which bucket's datasets the callers of an account get when theirs are in several and they name none.
    async fn set_datasets_bucket(&self, id: AccountId, bucket: Option<&BucketName>) -> Result<(), Error>;
    /// Adds credits to an account.
    async fn add_credits(&self, account: AccountId, credits: u64, now: Timestamp) -> Result<Balance, Error>;
    /// Makes a caller, or finds the one that has the name and the role. One with another role is `AlreadyExists`.
    async fn ensure_caller(
        &self,
        account: AccountId,
        name: &Name,
        role: Role,
        now: Timestamp,
    ) -> Result<CallerId, Error>;
    /// Suspends a caller and ends what it was given. Says how many live leases ended.
    async fn suspend_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error>;
    /// Serves a suspended caller again.
    async fn activate_caller(&self, id: CallerId) -> Result<(), Error>;
    /// Removes a caller: its tokens, links to download one and credentials end, what was granted to it alone is taken back, and
    /// its name is free. Says how many live leases ended.
    async fn remove_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        Ok(self.remove(&Thing::Caller(id), How::ALL, by).await?.leases)
    }
    /// Stores a new token of a caller (only its digest). It ends as its maker allows; a maker that has ended makes none.
    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error>;
    /// Ends the links that were not used yet and that one of these tokens made. Says how many.
    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error>;
    /// Ends a token; its credentials end with it. Says how many live leases that were.
    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error>;
    /// Adds a store.
    async fn create_storage(&self, storage: NewStorage, now: Timestamp) -> Result<Storage, Error>;
    /// Changes the addresses, limits and settings of a store; its kind stays. The version of its configuration goes up by one,
    /// whatever it says.
    async fn change_storage(&self, id: StorageId, storage: NewStorage) -> Result<Storage, Error>;
    /// Adds a bucket of a store. A bucket's name is unique on this server.
    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, now: Timestamp) -> Result<(), Error>;
    /// Adds a dataset to the catalogue.
    async fn create_dataset(&self, dataset: NewDataset, now: Timestamp) -> Result<DatasetId, Error>;
    /// Adds a grant; the bucket must be one of the storage's.
    async fn create_grant(&self, grant: NewGrant, now: Timestamp) -> Result<GrantId, Error>;
    /// Adds a group: its id, version and time are set here.
    async fn create_group(&self, new: Group, now: Timestamp) -> Result<Group, Error>;
    /// Removes a grant; with `end_credentials` what was vended under it ends too.
    async fn remove_grant(
        &self,
        account: AccountId,
        grant: GrantId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        if self.grants(account).await?.iter().all(|known| known.id != grant) {
            return Err(Error::not_found(Noun::Grant));
        }
        self.remove(&Thing::Grant(grant), How::ending(end_credentials), by).await.map(drop)
    }
    /// Removes a thing with what goes with it, in one step, and ends what was vended for it. Its name is free again, and nothing that
    /// is made of that name has anything of it. Refuses what [`Plan::allows`] does not.
    async fn remove(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error>;
    /// Changes what is there. With `end_credentials` what was vended and has more than that allows afterwards ends; says how many
    /// live leases those were.
    async fn change(&self, change: &Amendment, end_credentials: bool, by: Revoker) -> Result<u64, Error>;
    /// Ends credentials early; when this returns, the next request with one of them is refused. Says how many live
    /// leases that were.
    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error>;
}
