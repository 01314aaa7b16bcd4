//! What is kept in memory of who may what.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use valetkey_core::account::OwnQuota;
use valetkey_core::caller::{Caller, CallerStanding};
use valetkey_core::claims::Identity;
use valetkey_core::error::Stranger;
use valetkey_core::id::{AccountId, LeaseId, TokenId};
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::parent::Parent;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::share::SharedWith;
use valetkey_core::nouns::signing::SigningKey;
use valetkey_core::nouns::workspace::Workspace;
use valetkey_core::scope::Rights;
use valetkey_core::secret::Secret;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::token::TokenDigest;
use valetkey_core::{Error, Kind};

use crate::cache::Cache;
use crate::ledger::overtaken::Changed;

/// The most parents kept in memory.
pub(crate) const MOST_PARENTS: usize = 10_000;

/// The most bytes of claims that tokens in memory have together: those of a hundred thousand are some hundred bytes each. An identity token
/// may claim a hundred times that.
const MOST_CLAIMS: usize = 64 << 20;

/// What is kept in memory of the directory.
pub(crate) struct Memory {
    /// Tokens that are somebody's, ended ones too.
    pub(crate) known: Cache<TokenDigest, Known>,
    /// Tokens that were nobody's, and until when that is believed. Apart, so that a flood of them pushes no caller out.
    pub(crate) unknown: Cache<TokenDigest, i64>,
    pub(crate) snapshots: Cache<AccountId, Settled>,
    pub(crate) datasets: Cache<(), Arc<[Dataset]>>,
    pub(crate) workspaces: Cache<AccountId, Arc<[Workspace]>>,
    pub(crate) rights: Cache<LeaseId, Arc<Rights>>,
    /// Tokens that are parent access keys, ended ones too.
    pub(crate) parents: Cache<TokenId, KnownParent>,
    /// Ids that name no parent, and until when that is believed.
    pub(crate) no_parents: Cache<TokenId, i64>,
    pub(crate) shared_with: Cache<AccountId, Arc<SharedWith>>,
    pub(crate) quotas: Cache<AccountId, OwnQuota>,
    pub(crate) providers: Cache<(), Arc<[Arc<IdentityProvider>]>>,
    pub(crate) signing_keys: Cache<(), Arc<[SigningKey]>>,
}

/// What memory keeps and a change makes untrue. No change of the registry can be written without saying it
/// (`Database::administer_in`): what was forgotten here would go on being decided by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Touches {
    /// Nothing that is kept.
    Nothing,
    /// What this token, which is new, proves.
    Token(TokenDigest),
    /// What a token, which may be a parent access key, proves: it has ended.
    Ended(TokenId),
    /// A parent access key that is new, and grants with it.
    Parent { account: AccountId, id: TokenId, digest: TokenDigest },
    /// Another node made tokens, and perhaps grants of an account with them.
    Tokens(Option<AccountId>),
    /// What the tokens of one of the account's callers prove, and what they open.
    Caller(AccountId),
    /// What the account is and has.
    Account(AccountId),
    /// The same of several.
    Accounts(Vec<AccountId>),
    /// The storages, which every account's snapshot has.
    Storages,
    /// The buckets: nothing that is kept here, but what serves them has to know of them.
    Buckets,
    /// Which credentials of external storages may be handed out again: nothing that is kept here.
    Pool,
    /// The catalogue.
    Datasets,
    /// Whatever is kept.
    Everything,
}

/// The first byte of what a change touched, as the other nodes are told.
mod touched {
    pub(super) const NOTHING: u8 = 0;
    pub(super) const TOKENS: u8 = 1;
    pub(super) const ENDED: u8 = 2;
    pub(super) const CALLER: u8 = 3;
    pub(super) const ACCOUNTS: u8 = 4;
    pub(super) const STORAGES: u8 = 5;
    pub(super) const DATASETS: u8 = 6;
    pub(super) const EVERYTHING: u8 = 7;
    pub(super) const BUCKETS: u8 = 8;
    pub(super) const POOL: u8 = 9;
}

impl Touches {
    /// As the other nodes are told.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let ids = |tag: u8, ids: &[&[u8]]| std::iter::once(tag).chain(ids.concat()).collect();
        match self {
            Self::Nothing => ids(touched::NOTHING, &[]),
            // INVARIANT: without its digest, which may be a secret access key.
            Self::Token(_) | Self::Tokens(None) => ids(touched::TOKENS, &[]),
            Self::Ended(token) => ids(touched::ENDED, &[&token.to_bytes()]),
            Self::Parent { account, .. } | Self::Tokens(Some(account)) => ids(touched::TOKENS, &[&account.to_bytes()]),
            Self::Caller(account) => ids(touched::CALLER, &[&account.to_bytes()]),
            Self::Account(account) => ids(touched::ACCOUNTS, &[&account.to_bytes()]),
            Self::Accounts(accounts) => {
                let all: Vec<[u8; 16]> = accounts.iter().map(|account| account.to_bytes()).collect();
                std::iter::once(touched::ACCOUNTS).chain(all.concat()).collect()
            }
            Self::Storages => ids(touched::STORAGES, &[]),
            Self::Buckets => ids(touched::BUCKETS, &[]),
            Self::Pool => ids(touched::POOL, &[]),
            Self::Datasets => ids(touched::DATASETS, &[]),
            Self::Everything => ids(touched::EVERYTHING, &[]),
        }
    }

    /// Whose rights it changes, so that what was decided before is not believed. What is new takes nothing from anybody.
    pub(crate) fn change(&self, changed: &mut Changed) {
        match self {
            Self::Nothing
            | Self::Token(_)
            | Self::Tokens(_)
            | Self::Parent { .. }
            | Self::Buckets
            | Self::Pool
            | Self::Datasets => {}
            Self::Ended(token) => drop(changed.tokens.insert(*token)),
            Self::Caller(account) => {
                changed.callers.insert(*account);
                changed.accounts.insert(*account);
            }
            Self::Account(account) => drop(changed.accounts.insert(*account)),
            Self::Accounts(accounts) => changed.accounts.extend(accounts),
            Self::Storages => changed.all_grants = true,
            Self::Everything => (changed.all_callers, changed.all_grants) = (true, true),
        }
    }

    /// What another node was told. What this version does not know touches everything.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let known = || {
            let (tag, rest) = bytes.split_first()?;
            let id = |at: usize| rest.get(at..at + 16)?.try_into().ok();
            Some(match *tag {
                touched::NOTHING => Self::Nothing,
                touched::TOKENS if rest.is_empty() => Self::Tokens(None),
                touched::TOKENS => Self::Tokens(Some(AccountId::from_bytes(id(0)?))),
                touched::ENDED => Self::Ended(TokenId::from_bytes(id(0)?)),
                touched::CALLER => Self::Caller(AccountId::from_bytes(id(0)?)),
                touched::ACCOUNTS => {
                    let (all, []) = rest.as_chunks::<16>() else { return None };
                    Self::Accounts(all.iter().map(|id| AccountId::from_bytes(*id)).collect())
                }
                touched::STORAGES => Self::Storages,
                touched::BUCKETS => Self::Buckets,
                touched::POOL => Self::Pool,
                touched::DATASETS => Self::Datasets,
                _ => return None,
            })
        };
        known().unwrap_or(Self::Everything)
    }
}

impl Memory {
    pub(crate) fn new(tokens: usize, accounts: usize) -> Self {
        Self {
            known: Cache::weighing(tokens, MOST_CLAIMS, Known::claims),
            unknown: Cache::new(10_000),
            snapshots: Cache::new(accounts),
            datasets: Cache::new(1),
            workspaces: Cache::new(accounts),
            rights: Cache::new(1_000),
            parents: Cache::new(MOST_PARENTS),
            no_parents: Cache::new(MOST_PARENTS),
            shared_with: Cache::new(accounts),
            quotas: Cache::new(accounts),
            providers: Cache::new(1),
            signing_keys: Cache::new(1),
        }
    }

    /// Forgets what a change touched.
    pub(crate) fn forget(&self, touched: Touches) {
        match touched {
            Touches::Nothing | Touches::Buckets | Touches::Pool => {}
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
            Touches::Tokens(account) => {
                self.unknown.forget_all();
                self.no_parents.forget_all();
                if let Some(account) = account {
                    self.forget_account(&account);
                }
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
        self.providers.forget_all();
        self.signing_keys.forget_all();
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
    pub(crate) fn of(record: TokenRecord, identity: Option<Arc<Identity>>, as_of: i64) -> Self {
        let (revoked, standing) = (record.revoked, record.standing);
        Self { caller: Arc::new(caller_of(record, identity, as_of)), revoked, standing }
    }

    /// About how many bytes its claims take: as text, and read.
    fn claims(&self) -> usize {
        self.caller.identity.as_ref().map_or(0, |identity| identity.claims.as_str().len() * 3)
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
pub(crate) fn caller_of(record: TokenRecord, identity: Option<Arc<Identity>>, as_of: i64) -> Caller {
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
    Caller { id: caller, account, name: caller_name, role, token: id, token_until: until, held: None, identity, as_of }
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
