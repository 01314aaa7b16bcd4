//! Policy sets over plain memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use valetkey_core::caller::CallerStanding;
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::AccountId;
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Application, Changes, Managed, Owns, PolicySets, State, moved};
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::usage::Balance;

use super::{Memory, World};

#[derive(Default)]
pub(super) struct Sets {
    sets: BTreeMap<Name, Owns>,
    managed: BTreeMap<Thing, Managed>,
}

impl World {
    pub(super) fn policy_state(&self, owner: &Name, owns: &Owns) -> State {
        let mut state = State { sets: self.policy.sets.clone(), ..State::default() };
        for (account, _) in &self.accounts {
            let own = self.policy.managed.get(&Thing::Account(account.id)).is_some_and(|known| known.owner == *owner);
            if own || owns.account(account.name.as_str()) {
                state.accounts.insert(account.id, account.clone());
            }
        }
        let there = |account: &AccountId| state.accounts.contains_key(account);
        let callers = self
            .caller_records()
            .into_iter()
            .filter(|one| there(&one.account) && one.standing != CallerStanding::Removed);
        let callers: BTreeMap<_, _> = callers.map(|one| (one.id, one)).collect();
        let grants: BTreeMap<_, _> =
            self.grants.iter().filter(|one| there(&one.account)).map(|one| (one.id, one.clone())).collect();
        let groups = self.groups.iter().filter(|one| there(&one.account)).map(|one| (one.id, one.clone())).collect();
        state.callers = callers;
        state.groups = groups;
        state.providers = self.provider_names();
        state.grants = grants;
        state.datasets = self.datasets.iter().map(|one| (one.id, one.clone())).collect();
        let mine = |thing: &Thing, known: &Managed| known.owner == *owner || state.address(thing).is_some();
        let kept = self.policy.managed.iter().filter(|(thing, known)| mine(thing, known));
        state.managed = kept.map(|(thing, known)| (thing.clone(), known.clone())).collect();
        state
    }

    /// Adds what is new: all of it, or nothing.
    fn add(&mut self, changes: &Changes) -> Result<(), Error> {
        let before = (self.accounts.len(), self.callers.len(), self.datasets.len());
        self.accounts.extend(changes.accounts.iter().map(|account| (account.clone(), Balance::default())));
        self.callers.extend(changes.callers.iter().map(|one| (one.id, one.account, one.name.clone(), one.role)));
        self.datasets.extend(changes.datasets.iter().cloned());
        let checked = changes.grants.iter().try_for_each(|grant| self.check_grant(grant));
        if checked.is_ok() {
            self.grants.extend(changes.grants.iter().cloned());
        } else {
            self.accounts.truncate(before.0);
            self.callers.truncate(before.1);
            self.datasets.truncate(before.2);
        }
        checked
    }
}

#[async_trait]
impl PolicySets for Memory {
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        if world.policy_state(&what.owner, &what.owns).revision() != what.revision {
            return Err(moved());
        }
        let changes = &what.changes;
        world.add(changes)?;
        let mut ended = 0;
        let how = How { cascade: false, last_operator: false, keep_credentials: false };
        for thing in changes.removals.iter().filter(|thing| matches!(thing, Thing::Grant(_))) {
            ended += world.take(thing, how, by)?.leases;
        }
        for change in &changes.amendments {
            ended += world.amend(change, true, by)?;
        }
        for thing in changes.removals.iter().filter(|thing| !matches!(thing, Thing::Grant(_))) {
            ended += world.take(thing, how, by)?.leases;
        }
        world.policy.managed.retain(|_, known| known.owner != what.owner);
        let own = what.managed.iter().filter(|(_, known)| known.owner == what.owner);
        world.policy.managed.extend(own.map(|(thing, known)| (thing.clone(), known.clone())));
        world.policy.sets.insert(what.owner.clone(), what.owns.clone());
        world.version += 1;
        Ok(ended)
    }

    async fn set_owner(&self, things: &[Thing], owner: Option<&Name>) -> Result<(), Error> {
        let mut world = self.world();
        for thing in things {
            let there = match thing {
                Thing::Account(id) => world.account(*id).is_ok(),
                Thing::Caller(id) => world.caller_records().iter().any(|known| known.id == *id),
                Thing::Grant(id) => world.grants.iter().any(|known| known.id == *id),
                Thing::Dataset(id) => world.datasets.iter().any(|known| known.id == *id),
                _ => false,
            };
            if !there {
                return Err(Error::not_found(Noun::Policy));
            }
            match owner {
                Some(owner) => {
                    let known = Managed { owner: owner.clone(), source: "".into(), applied: "".into() };
                    world.policy.managed.insert(thing.clone(), known);
                }
                None => drop(world.policy.managed.remove(thing)),
            }
        }
        Ok(())
    }
}
