//! What is to be done so that one state becomes another, and who does it in one step.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::{Error, Kind, Noun};
use crate::lease::Revoker;
use crate::name::Name;
use crate::nouns::policy_set::kind::{Kind as _, Ownable, every_kind};
use crate::nouns::policy_set::state::{Managed, Owns, State};
use crate::nouns::removal::{Amendment, Thing};

/// What is to be done so that one state becomes another.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// What is new, in an order in which it can be made.
    pub made: Vec<Ownable>,
    /// What is changed, in the same order of kinds.
    pub amendments: Vec<Amendment>,
    /// What is removed, in the order in which it can be: the reverse.
    pub removals: Vec<Thing>,
}

impl Changes {
    /// What makes one state of another.
    pub fn between(before: &State, after: &State) -> Self {
        let mut own = Self::default();
        every_kind!(Own => {
            let (old, new) = (Own::all(before), Own::all(after));
            for (id, one) in new {
                match old.get(id) {
                    None => own.made.push(one.clone().whole()),
                    Some(was) if was != one => own.amendments.push(one.clone().amendment()),
                    Some(_) => {}
                }
            }
            let gone = old.keys().filter(|id| !new.contains_key(id)).map(|id| Own::thing(*id));
            own.removals.splice(0..0, gone);
        });
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
    /// Whether what was vended and has more than the changes leave lives on, where it may.
    pub keep_leases: bool,
    /// What the ledger says of it: where the files are from, and their digest.
    pub about: String,
}

/// What files own. Administration: nobody comes to it without an authority.
#[async_trait]
pub trait PolicySetAdmin: Send + Sync {
    /// Applies changes in one step, if nothing of the state has another revision by now, and ends what was vended and has more than they
    /// leave. Says how many live leases ended.
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error>;

    /// Puts on record that things of sets are changed by hand, and why.
    async fn break_glass(&self, things: &[(Thing, Managed)], reason: &str) -> Result<(), Error>;

    /// Puts things into a set, as they are, or out of any.
    async fn set_owner(&self, things: &[Thing], owner: Option<&Name>) -> Result<(), Error>;
}

/// The refusal to apply what was planned for another state.
pub fn moved() -> Error {
    Error::new(Kind::AlreadyExists(Noun::Policy), "what the plan was made for has changed since; plan again")
        .at("revision")
}
