//! What there is of what a set may own, and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;

use crate::account::Account;
use crate::caller::CallerRecord;
use crate::error::{Error, Kind};
use crate::grant::Grant;
use crate::group::Group;
use crate::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, ProviderId};
use crate::name::{Name, shortened};
use crate::nouns::dataset::Dataset;
use crate::nouns::identity::IdentityProvider;
use crate::nouns::removal::Thing;

/// What a set may own: names of accounts, datasets and identity providers, `*` at the end of one for any that begin so.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Owns {
    /// Accounts, with all that files can say of them.
    pub accounts: BTreeSet<Box<str>>,
    /// Datasets.
    pub datasets: BTreeSet<Box<str>>,
    /// Identity providers, with their rules.
    pub providers: BTreeSet<Box<str>>,
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
        for pattern in self.lists().into_iter().flat_map(|(_, patterns)| patterns) {
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

    /// Its lists, and the word that each is stored by.
    fn lists(&self) -> [(&'static str, &BTreeSet<Box<str>>); 3] {
        let Self { accounts, datasets, providers } = self;
        [("account", accounts), ("dataset", datasets), ("identity_provider", providers)]
    }

    /// Everything.
    pub fn everything() -> Self {
        let all = || BTreeSet::from(["*".into()]);
        Self { accounts: all(), datasets: all(), providers: all() }
    }

    /// Whether it may own the account of this name.
    pub fn account(&self, name: &str) -> bool {
        fits(&self.accounts, name)
    }

    /// Whether it may own the dataset of this name.
    pub fn dataset(&self, name: &str) -> bool {
        fits(&self.datasets, name)
    }

    /// Whether it may own the identity provider of this name.
    pub fn provider(&self, name: &str) -> bool {
        fits(&self.providers, name)
    }

    /// A pattern of it that means something another one means, too.
    pub fn meets<'a>(&'a self, other: &Self) -> Option<&'a str> {
        self.lists().into_iter().zip(other.lists()).find_map(|((_, some), (_, others))| overlap(some, others))
    }

    /// As one text, to store.
    pub fn to_text(&self) -> String {
        let lines =
            self.lists().into_iter().flat_map(|(word, list)| list.iter().map(move |one| format!("{word} {one}")));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Takes that text back; nothing if it is not one.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut own = Self::default();
        for line in text.lines() {
            let (kind, pattern) = line.split_once(' ')?;
            match kind {
                "account" => own.accounts.insert(pattern.into()),
                "dataset" => own.datasets.insert(pattern.into()),
                "identity_provider" => own.providers.insert(pattern.into()),
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
    /// Their groups.
    pub groups: BTreeMap<GroupId, Group>,
    /// The names of all other accounts.
    pub others: BTreeMap<AccountId, Name>,
    /// All identity providers.
    pub providers: BTreeMap<ProviderId, IdentityProvider>,
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

    /// The name of an account, whether it is one that the set may own or not.
    pub fn account_name(&self, id: AccountId) -> Option<&Name> {
        self.accounts.get(&id).map(|account| &account.name).or_else(|| self.others.get(&id))
    }
}
