//! What there is, what files want, and what is to be done so that the one becomes the other.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use jiff::Timestamp;

use crate::account::{Account, Metering};
use crate::caller::{CallerRecord, Role};
use crate::conditions::Conditions;
use crate::error::{Error, Kind};
use crate::grant::Grant;
use crate::group::Group;
use crate::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, ProviderId, StorageId};
use crate::lease::Revoker;
use crate::name::{Name, shortened};
use crate::nouns::dataset::{Dataset, NewDataset};
use crate::nouns::removal::{Amendment, Thing};
use crate::scope::Scope;
use crate::time::Lifetime;

/// What a set may own: names of accounts and of datasets, `*` at the end of one for any that begin so.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Owns {
    /// Accounts, with all that files can say of them.
    pub accounts: BTreeSet<Box<str>>,
    /// Datasets.
    pub datasets: BTreeSet<Box<str>>,
}

fn fits(patterns: &BTreeSet<Box<str>>, name: &str) -> bool {
    patterns.iter().any(|own| own.strip_suffix('*').map_or(**own == *name, |start| name.starts_with(start)))
}

fn overlap<'a>(some: &'a BTreeSet<Box<str>>, others: &BTreeSet<Box<str>>) -> Option<&'a str> {
    let meet = |one: &str, two: &str| match (one.strip_suffix('*'), two.strip_suffix('*')) {
        (Some(one), Some(two)) => one.starts_with(two) || two.starts_with(one),
        (Some(start), None) => two.starts_with(start),
        (None, Some(start)) => one.starts_with(start),
        (None, None) => one == two,
    };
    some.iter().find(|one| others.iter().any(|two| meet(one, two))).map(|one| &**one)
}

impl Owns {
    /// Refuses a pattern that is none.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        for pattern in self.accounts.iter().chain(&self.datasets) {
            let start = pattern.strip_suffix('*').unwrap_or(pattern);
            if start.contains('*')
                || (!start.is_empty() && Name::parse(start.trim_end_matches(['-', '.', '_'])).is_err())
            {
                let said =
                    format!("`{}` is neither a name nor the beginning of one with `*` after it", shortened(pattern));
                return Err(Error::new(Kind::Invalid, said).at("owns"));
            }
        }
        Ok(())
    }

    /// Whether it may own the account of this name.
    pub fn account(&self, name: &str) -> bool {
        fits(&self.accounts, name)
    }

    /// Whether it may own the dataset of this name.
    pub fn dataset(&self, name: &str) -> bool {
        fits(&self.datasets, name)
    }

    /// A pattern of it that means something another one means, too.
    pub fn meets(&self, other: &Self) -> Option<&str> {
        overlap(&self.accounts, &other.accounts).or_else(|| overlap(&self.datasets, &other.datasets))
    }

    /// As one text, to store.
    pub fn to_text(&self) -> String {
        let lines = self.accounts.iter().map(|one| format!("account {one}"));
        lines.chain(self.datasets.iter().map(|one| format!("dataset {one}"))).collect::<Vec<_>>().join("\n")
    }

    /// Takes that text back; nothing if it is not one.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut own = Self::default();
        for line in text.lines() {
            let (kind, pattern) = line.split_once(' ')?;
            match kind {
                "account" => own.accounts.insert(pattern.into()),
                "dataset" => own.datasets.insert(pattern.into()),
                _ => return None,
            };
        }
        Some(own)
    }
}

/// Whose a thing is, and what it was when files said so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Managed {
    /// The set.
    pub owner: Name,
    /// The file and the line that say so; nothing if it was adopted since.
    pub source: Box<str>,
    /// What was said of it, in the form of who applied it; nothing if it was adopted since.
    pub applied: Box<str>,
}

/// What there is, of the accounts that a set may own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    /// Accounts.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Their callers.
    pub callers: BTreeMap<CallerId, CallerRecord>,
    /// Their grants.
    pub grants: BTreeMap<GrantId, Grant>,
    /// Their groups. Files name them, and do not own them.
    pub groups: BTreeMap<GroupId, Group>,
    /// The names of identity providers.
    pub providers: BTreeMap<ProviderId, Name>,
    /// All datasets.
    pub datasets: BTreeMap<DatasetId, Dataset>,
    /// Whose these things are; what is not in it was made by hand.
    pub managed: BTreeMap<Thing, Managed>,
    /// Every set, and what it may own.
    pub sets: BTreeMap<Name, Owns>,
}

impl State {
    /// What stands for all of it: it changes with anything that a plan looked at.
    pub fn revision(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{self:?}").as_bytes());
        HEXLOWER.encode(digest.as_ref().get(..16).unwrap_or_default())
    }

    /// The account of this name.
    pub fn account_named(&self, name: &Name) -> Option<&Account> {
        self.accounts.values().find(|account| account.name == *name)
    }

    /// What files call a thing: `grant/acme/daily`.
    pub fn address(&self, thing: &Thing) -> Option<String> {
        let of = |account: &AccountId| self.accounts.get(account).map(|account| account.name.to_string());
        Some(match thing {
            Thing::Account(id) => format!("account/{}", of(id)?),
            Thing::Caller(id) => {
                let caller = self.callers.get(id)?;
                format!("caller/{}/{}", of(&caller.account)?, caller.name)
            }
            Thing::Grant(id) => {
                let grant = self.grants.get(id)?;
                format!("grant/{}/{}", of(&grant.account)?, grant.name)
            }
            Thing::Group(id) => {
                let group = self.groups.get(id)?;
                format!("group/{}/{}", of(&group.account)?, group.name)
            }
            Thing::Dataset(id) => format!("dataset/{}", self.datasets.get(id)?.name),
            Thing::Token(_)
            | Thing::ParentKey(_)
            | Thing::Storage(_)
            | Thing::Bucket(_)
            | Thing::Workspace(_)
            | Thing::Project(_)
            | Thing::Share(_)
            | Thing::Table(_)
            | Thing::Recipient { .. }
            | Thing::Packages(_)
            | Thing::IdentityProvider(_)
            | Thing::TrustRule(_)
            | Thing::RequestRule(_) => return None,
        })
    }

    /// Everything that files can own.
    pub fn things(&self) -> impl Iterator<Item = Thing> {
        let own = |grant: &&Grant| grant.origin.is_own();
        let accounts = self.accounts.keys().copied().map(Thing::Account);
        let callers = self.callers.keys().copied().map(Thing::Caller);
        let grants = self.grants.values().filter(own).map(|grant| Thing::Grant(grant.id));
        accounts.chain(callers).chain(grants).chain(self.datasets.keys().copied().map(Thing::Dataset))
    }
}

/// An account as files want it. Its standing and its quota are no matter of files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedAccount {
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// What a vend costs it.
    pub metering: Metering,
    /// Where that is said.
    pub source: Box<str>,
}

/// A caller as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedCaller {
    /// Its account's name.
    pub account: Name,
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// What it may do.
    pub role: Role,
    /// Where that is said.
    pub source: Box<str>,
}

/// Whom files want a grant to be for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedGrantee {
    /// Every caller of the account.
    Everyone,
    /// The caller of this name.
    Caller(Name),
    /// The members of the group of this name.
    Group(Name),
}

/// A grant as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedGrant {
    /// Its account's name.
    pub account: Name,
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// Whom it is for.
    pub to: WantedGrantee,
    /// The dataset it opens.
    pub dataset: Option<Name>,
    /// The storage of its bucket.
    pub storage: StorageId,
    /// What it opens.
    pub scope: Scope,
    /// No credential of it lives longer.
    pub max_lifetime: Lifetime,
    /// It opens nothing before.
    pub from: Option<Timestamp>,
    /// It opens nothing from then on.
    pub until: Option<Timestamp>,
    /// What has to hold besides.
    pub conditions: Option<Box<Conditions>>,
    /// Where that is said.
    pub source: Box<str>,
}

/// A dataset as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedDataset {
    /// All but its id.
    pub dataset: NewDataset,
    /// The name it had before.
    pub was: Option<Name>,
    /// Where that is said.
    pub source: Box<str>,
}

/// What files want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The set's name.
    pub owner: Name,
    /// What it may own.
    pub owns: Owns,
    /// Whether what is not in the files any more is removed.
    pub prune: bool,
    /// Whether groups that are not there are taken to be, without members: there is no server that knows them.
    pub assumes_groups: bool,
    /// Accounts.
    pub accounts: Vec<WantedAccount>,
    /// Their callers.
    pub callers: Vec<WantedCaller>,
    /// Their grants.
    pub grants: Vec<WantedGrant>,
    /// Datasets.
    pub datasets: Vec<WantedDataset>,
}

/// What is to be done so that one state becomes another.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// New accounts.
    pub accounts: Vec<Account>,
    /// New callers.
    pub callers: Vec<CallerRecord>,
    /// New datasets.
    pub datasets: Vec<Dataset>,
    /// New grants.
    pub grants: Vec<Grant>,
    /// What is changed: accounts, callers, datasets and grants, in this order.
    pub amendments: Vec<Amendment>,
    /// What is removed, in the order in which it can be: grants, datasets, callers, accounts.
    pub removals: Vec<Thing>,
}

impl Changes {
    /// What makes one state of another.
    pub fn between(before: &State, after: &State) -> Self {
        let mut own = Self::default();
        for (id, account) in &after.accounts {
            match before.accounts.get(id) {
                None => own.accounts.push(account.clone()),
                Some(was) if was != account => own.amendments.push(Amendment::Account(account.clone())),
                Some(_) => {}
            }
        }
        for (id, caller) in &after.callers {
            match before.callers.get(id) {
                None => own.callers.push(caller.clone()),
                Some(was) if was != caller => {
                    let CallerRecord { id, account: _, name, role, standing: _ } = caller.clone();
                    own.amendments.push(Amendment::Caller { id, name, role });
                }
                Some(_) => {}
            }
        }
        for (id, dataset) in &after.datasets {
            match before.datasets.get(id) {
                None => own.datasets.push(dataset.clone()),
                Some(was) if was != dataset => own.amendments.push(Amendment::Dataset(dataset.clone())),
                Some(_) => {}
            }
        }
        for (id, grant) in &after.grants {
            match before.grants.get(id) {
                None => own.grants.push(grant.clone()),
                Some(was) if was != grant => own.amendments.push(Amendment::Grant(grant.clone())),
                Some(_) => {}
            }
        }
        let gone = |gone: bool, thing: Thing| gone.then_some(thing);
        own.removals
            .extend(before.grants.keys().filter_map(|id| gone(!after.grants.contains_key(id), Thing::Grant(*id))));
        own.removals.extend(
            before.datasets.keys().filter_map(|id| gone(!after.datasets.contains_key(id), Thing::Dataset(*id))),
        );
        own.removals
            .extend(before.callers.keys().filter_map(|id| gone(!after.callers.contains_key(id), Thing::Caller(*id))));
        own.removals.extend(
            before.accounts.keys().filter_map(|id| gone(!after.accounts.contains_key(id), Thing::Account(*id))),
        );
        own
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is applied: all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// The set.
    pub owner: Name,
    /// What it may own.
    pub owns: Owns,
    /// The revision of the state that the changes were made for.
    pub revision: String,
    /// The changes.
    pub changes: Changes,
    /// All that the set owns afterwards.
    pub managed: BTreeMap<Thing, Managed>,
    /// What the ledger says of it: where the files are from, and their digest.
    pub about: String,
}

/// What files own. Administration: nobody comes to it without an authority.
#[async_trait]
pub trait PolicySets: Send + Sync {
    /// Applies changes in one step, if nothing of the state has another revision by now, and ends what was vended and has more than they
    /// leave. Says how many live leases ended.
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error>;

    /// Puts things into a set, as they are, or out of any.
    async fn set_owner(&self, things: &[Thing], owner: Option<&Name>) -> Result<(), Error>;
}

/// The refusal to apply what was planned for another state.
pub fn moved() -> Error {
    Error::new(
        Kind::AlreadyExists(crate::error::Noun::Policy),
        "what the plan was made for has changed since; plan again",
    )
    .at("revision")
}
