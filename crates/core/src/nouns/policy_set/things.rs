//! Any thing that files can own, by what its kind says of it.

use crate::account::Account;
use crate::caller::CallerRecord;
use crate::grant::Grant;
use crate::group::Group;
use crate::id::AccountId;
use crate::name::Name;
use crate::nouns::dataset::Dataset;
use crate::nouns::identity::IdentityProvider;
use crate::nouns::policy_set::kind::{Kind, Ownable, every_kind};
use crate::nouns::policy_set::state::State;
use crate::nouns::removal::Thing;

impl Ownable {
    /// Which thing it is.
    pub fn thing(&self) -> Thing {
        match self {
            Self::Account(own) => Thing::Account(own.id),
            Self::Caller(own) => Thing::Caller(own.id),
            Self::Dataset(own) => Thing::Dataset(own.id),
            Self::Provider(own) => Thing::IdentityProvider(own.id),
            Self::Group(own) => Thing::Group(own.id),
            Self::Grant(own) => Thing::Grant(own.id),
        }
    }
}

/// The words for the kinds of things that files can own, in an order in which they can be made.
pub const KINDS: [&str; 6] =
    [Account::WORD, CallerRecord::WORD, Dataset::WORD, IdentityProvider::WORD, Group::WORD, Grant::WORD];

/// What a thing is stored by, if files can own it: the word for its kind, and its id.
pub fn key_of(thing: &Thing) -> Option<(&'static str, [u8; 16])> {
    every_kind!(Own => {
        if let Some(id) = Own::id_of(thing) {
            return Some((Own::WORD, Own::bytes(id)));
        }
    });
    None
}

/// The thing that is stored by that; nothing for a word that is none.
pub fn thing_of(word: &str, id: [u8; 16]) -> Option<Thing> {
    every_kind!(Own => {
        if word == Own::WORD {
            return Some(Own::thing(Own::of_bytes(id)));
        }
    });
    None
}

impl State {
    /// A thing that is there.
    pub fn found(&self, thing: &Thing) -> Option<Ownable> {
        every_kind!(Own => {
            if let Some(id) = Own::id_of(thing) {
                return Own::all(self).get(&id).cloned().map(Own::whole);
            }
        });
        None
    }

    /// The account that a thing is of, or is.
    pub fn account_of(&self, thing: &Thing) -> Option<AccountId> {
        if let Thing::Account(id) = thing {
            return Some(*id);
        }
        every_kind!(Own => {
            if let Some(id) = Own::id_of(thing) {
                return Own::all(self).get(&id).and_then(Own::account);
            }
        });
        None
    }

    /// The name of a thing.
    pub fn name_of(&self, thing: &Thing) -> Option<&Name> {
        every_kind!(Own => {
            if let Some(id) = Own::id_of(thing) {
                return Own::all(self).get(&id).map(Own::name);
            }
        });
        None
    }

    /// What files call a thing: `grant/acme/daily`.
    pub fn address(&self, thing: &Thing) -> Option<String> {
        every_kind!(Own => {
            if let Some(id) = Own::id_of(thing) {
                let own = Own::all(self).get(&id)?;
                let account = match own.account() {
                    Some(account) => format!("{}/", self.account_name(account)?),
                    None => String::new(),
                };
                return Some(format!("{}/{account}{}", Own::WORD, own.name()));
            }
        });
        None
    }

    /// Everything that files can own, kind by kind.
    pub fn things(&self) -> Vec<Thing> {
        let mut all = Vec::new();
        every_kind!(Own => {
            all.extend(Own::all(self).values().filter(|own| own.is_own()).map(|own| Own::thing(own.id())));
        });
        all
    }

    /// Takes a thing out.
    pub fn forget(&mut self, thing: &Thing) {
        self.managed.remove(thing);
        every_kind!(Own => {
            if let Some(id) = Own::id_of(thing) {
                Own::all_mut(self).remove(&id);
            }
        });
    }

    /// What each thing that files can own cannot be without.
    pub(super) fn needs(&self) -> Vec<(Thing, Thing)> {
        let mut all = Vec::new();
        every_kind!(Own => {
            for own in Own::all(self).values().filter(|own| own.is_own()) {
                all.extend(own.needs().into_iter().map(|needed| (needed, Own::thing(own.id()))));
            }
        });
        all
    }
}
