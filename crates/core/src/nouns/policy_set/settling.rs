//! What there will be, in the making: what every kind of thing does with what files want of it.

use std::collections::BTreeSet;

use crate::id::AccountId;
use crate::name::Name;
use crate::nouns::policy_set::state::{Managed, State};
use crate::nouns::policy_set::wanted::Wanted;
use crate::nouns::removal::Thing;

/// Something that stands in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it is said.
    pub source: Box<str>,
    /// What is wrong.
    pub said: String,
}

pub(super) struct Settling<'a> {
    pub(super) before: &'a State,
    pub(super) wanted: &'a Wanted,
    pub(super) after: State,
    pub(super) kept: BTreeSet<Thing>,
    pub(super) problems: Vec<Problem>,
    pub(super) mint: &'a mut dyn FnMut() -> [u8; 16],
}

impl Settling<'_> {
    pub(super) fn problem(&mut self, source: &str, said: String) {
        self.problems.push(Problem { source: source.into(), said });
    }

    /// Takes a thing that is there into the set, or says why not; and notes where that is said.
    pub(super) fn keep(&mut self, thing: Thing, source: &str, address: &str) {
        let owner = self.wanted.owner.clone();
        match self.before.managed.get(&thing) {
            Some(known) if known.owner == owner => self.own(thing, source),
            Some(known) => {
                let said = format!("{address} belongs to the set `{}`", known.owner);
                self.problem(source, said);
            }
            None => {
                // An account is adopted with all that is in it.
                let all =
                    if matches!(thing, Thing::Account(_)) { format!("'{address}/*'") } else { address.to_owned() };
                let said = format!("{address} exists, made by hand: `valetkey policy adopt {all} --owner {owner}`");
                self.problem(source, said);
            }
        }
    }

    pub(super) fn own(&mut self, thing: Thing, source: &str) {
        if !self.kept.insert(thing.clone()) {
            return self.problem(source, "this is said of something that another entry means, too".to_owned());
        }
        let applied = self.before.managed.get(&thing).map(|known| known.applied.clone()).unwrap_or_default();
        self.after.managed.insert(thing, Managed { owner: self.wanted.owner.clone(), source: source.into(), applied });
    }

    /// The id of an account that the files name: theirs.
    pub(super) fn account(&mut self, name: &Name, source: &str) -> Option<AccountId> {
        let found = self.after.account_named(name).map(|account| account.id);
        let found = found.filter(|id| self.kept.contains(&Thing::Account(*id)));
        // What is wrong with one that is in the files is said there.
        if found.is_none() && !self.wanted.accounts.iter().any(|account| account.name == *name) {
            self.problem(source, format!("the account `{name}` is not in the files"));
        }
        found
    }
}
