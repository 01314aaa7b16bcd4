//! What is kept in memory of who may what.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use valetkey_core::account::OwnQuota;
use valetkey_core::caller::{Caller, CallerStanding};
use valetkey_core::error::Stranger;
use valetkey_core::id::{AccountId, LeaseId, TokenId};
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::parent::Parent;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::share::SharedWith;
use valetkey_core::nouns::workspace::Workspace;
use valetkey_core::scope::Scope;
use valetkey_core::secret::Secret;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::token::TokenDigest;
use valetkey_core::{Error, Kind};

use crate::cache::Cache;

/// The most parents kept in memory.
pub(crate) const MOST_PARENTS: usize = 10_000;

/// What is kept in memory of the directory.
pub(crate) struct Memory {
    /// Tokens that are somebody's, ended ones too.
    pub(crate) known: Cache<TokenDigest, Known>,
    /// Tokens that were nobody's, and until when that is believed. Apart, so that a flood of them pushes no caller out.
    pub(crate) unknown: Cache<TokenDigest, i64>,
    pub(crate) snapshots: Cache<AccountId, Settled>,
    pub(crate) datasets: Cache<(), Arc<[Dataset]>>,
    pub(crate) workspaces: Cache<AccountId, Arc<[Workspace]>>,
    pub(crate) scopes: Cache<LeaseId, Arc<Scope>>,
    /// Tokens that are parent access keys, ended ones too.
    pub(crate) parents: Cache<TokenId, KnownParent>,
    /// Ids that name no parent, and until when that is believed.
    pub(crate) no_parents: Cache<TokenId, i64>,
    pub(crate) shared_with: Cache<AccountId, Arc<SharedWith>>,
    pub(crate) quotas: Cache<AccountId, OwnQuota>,
}

/// What memory keeps and a change makes untrue. No change of the registry can be written without saying it
/// (`Database::administer_in`): what was forgotten here would go on being decided by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Touches {
    /// Nothing that is kept.
    Nothing,
    /// What this token proves.
    Token(TokenDigest),
    /// What a token, which may be a parent access key, proves: it has ended.
    Ended(TokenId),
    /// A parent access key that is new, and grants with it.
    Parent { account: AccountId, id: TokenId, digest: TokenDigest },
    /// What the tokens of one of the account's callers prove, and what they open.
    Caller(AccountId),
    /// What the account is and has.
    Account(AccountId),
    /// The same of several.
    Accounts(Vec<AccountId>),
    /// The storages, which every account's snapshot has.
    Storages,
    /// The catalogue.
    Datasets,
    /// Whatever is kept.
    Everything,
}

impl Memory {
    pub(crate) fn new(tokens: usize, accounts: usize) -> Self {
        Self {
            known: Cache::new(tokens),
            unknown: Cache::new(10_000),
            snapshots: Cache::new(accounts),
            datasets: Cache::new(1),
            workspaces: Cache::new(accounts),
            scopes: Cache::new(1_000),
            parents: Cache::new(MOST_PARENTS),
            no_parents: Cache::new(MOST_PARENTS),
            shared_with: Cache::new(accounts),
            quotas: Cache::new(accounts),
        }
    }

    /// Forgets what a change touched.
    pub(crate) fn forget(&self, touched: Touches) {
        match touched {
            Touches::Nothing => {}
            Touches::Token(digest) => {
                self.known.forget(&digest);
                self.unknown.forget(&digest);
            }
            Touches::Ended(token) => {
                self.known.forget_all();
                self.parents.forget(&token);
            }
            Touches::Parent { account, id, digest } => {
                self.unknown.forget(&digest);
                self.no_parents.forget(&id);
                self.forget_account(&account);
            }
            Touches::Caller(account) => {
                self.known.forget_all();
                self.parents.forget_all();
                self.forget_account(&account);
            }
            Touches::Account(account) => self.forget_account(&account),
            Touches::Accounts(accounts) => accounts.iter().for_each(|account| self.forget_account(account)),
            Touches::Storages => self.snapshots.forget_all(),
            Touches::Datasets => self.datasets.forget_all(),
            Touches::Everything => self.forget_all(),
        }
    }

    fn forget_account(&self, account: &AccountId) {
        self.snapshots.forget(account);
        self.workspaces.forget(account);
        self.shared_with.forget(account);
        self.quotas.forget(account);
    }

    /// Forgets everything that somebody else may have changed.
    pub(crate) fn forget_all(&self) {
        self.known.forget_all();
        self.unknown.forget_all();
        self.snapshots.forget_all();
        self.datasets.forget_all();
        self.workspaces.forget_all();
        self.parents.forget_all();
        self.no_parents.forget_all();
        self.shared_with.forget_all();
        self.quotas.forget_all();
    }
}

/// A token that is somebody's.
#[derive(Clone)]
pub(crate) struct Known {
    caller: Arc<Caller>,
    revoked: Option<Timestamp>,
    standing: CallerStanding,
}

impl Known {
    pub(crate) fn of(record: TokenRecord) -> Self {
        let (revoked, standing) = (record.revoked, record.standing);
        Self { caller: Arc::new(caller_of(record)), revoked, standing }
    }

    pub(crate) fn at(&self, now: Timestamp) -> Result<Arc<Caller>, Error> {
        if let Some(at) = self.revoked {
            return Err(Error::new(
                Kind::Unauthenticated(Stranger::Revoked),
                format!("the token was revoked at {at:.0}"),
            ));
        }
        self.standing.served()?;
        self.caller.in_time(now)?;
        Ok(Arc::clone(&self.caller))
    }
}

/// Whom a token proves.
pub(crate) fn caller_of(record: TokenRecord) -> Caller {
    let TokenRecord {
        id,
        caller,
        caller_name,
        account,
        role,
        until,
        revoked: _,
        standing: _,
        tail: _,
        made: _,
        made_by: _,
    } = record;
    Caller { id: caller, account, name: caller_name, role, token: id, token_until: until, held: None }
}

/// A snapshot, and when the next of its grants begins or ends: from then on another one serves faster.
#[derive(Clone)]
pub(crate) struct Settled {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) to: Option<Timestamp>,
}

impl Settled {
    pub(crate) fn at(self, now: Timestamp) -> Option<Arc<Snapshot>> {
        self.to.is_none_or(|to| now < to).then_some(self.snapshot)
    }
}

/// A parent as memory keeps it, ended ones too.
#[derive(Clone)]
pub(crate) struct KnownParent {
    pub(crate) caller: Arc<Caller>,
    pub(crate) ended: bool,
    pub(crate) secret: Secret<String>,
    /// What it was put together to, of which snapshot: as long as that one stands, it is the answer.
    pub(crate) settled: Arc<ArcSwapOption<(Arc<Snapshot>, Arc<Parent>)>>,
}

impl KnownParent {
    pub(crate) fn at(&self, snapshot: &Arc<Snapshot>, now: Timestamp) -> Arc<Parent> {
        if let Some(kept) = &*self.settled.load()
            && Arc::ptr_eq(&kept.0, snapshot)
        {
            return Arc::clone(&kept.1);
        }
        let parent = Arc::new(Parent::of(Arc::clone(&self.caller), self.secret.clone(), snapshot, now));
        self.settled.store(Some(Arc::new((Arc::clone(snapshot), Arc::clone(&parent)))));
        parent
    }
}
