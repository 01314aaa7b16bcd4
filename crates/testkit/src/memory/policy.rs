//! Policy sets over plain memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use valetkey_core::caller::CallerStanding;
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::AccountId;
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{
    Application, KINDS, Managed, Ownable, Owns, PolicySetAdmin, State, key_of, moved,
};
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::usage::Balance;

use super::{Memory, World};

#[derive(Default)]
pub(super) struct Sets {
    sets: BTreeMap<Name, Owns>,
    managed: BTreeMap<Thing, Managed>,
}

impl World {
    pub(super) fn owned(&self, things: &[Thing]) -> Vec<(Thing, Managed)> {
        let known = |thing: &Thing| self.policy.managed.get(thing).map(|known| (thing.clone(), known.clone()));
        things.iter().filter_map(known).collect()
    }

    pub(super) fn policy_state(&self, owner: &Name, owns: &Owns) -> State {
        let mut state = State { sets: self.policy.sets.clone(), ..State::default() };
        for (account, _) in &self.accounts {
            let own = self.policy.managed.get(&Thing::Account(account.id)).is_some_and(|known| known.owner == *owner);
            if own || owns.account(account.name.as_str()) {
                state.accounts.insert(account.id, account.clone());
            } else {
                state.others.insert(account.id, account.name.clone());
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
        state.providers = self.trust.providers.iter().map(|one| (one.id, one.clone())).collect();
        state.grants = grants;
        state.datasets = self.datasets.iter().map(|one| (one.id, one.clone())).collect();
        let mine = |thing: &Thing, known: &Managed| known.owner == *owner || state.address(thing).is_some();
        let kept = self.policy.managed.iter().filter(|(thing, known)| mine(thing, known));
        state.managed = kept.map(|(thing, known)| (thing.clone(), known.clone())).collect();
        state
    }

    /// Adds what is new.
    fn make(&mut self, one: &Ownable) -> Result<(), Error> {
        match one.clone() {
            Ownable::Account(one) => self.accounts.push((one, Balance::default())),
            Ownable::Caller(one) => self.callers.push((one.id, one.account, one.name, one.role)),
            Ownable::Dataset(one) => self.datasets.push(one),
            Ownable::Provider(one) => {
                self.check_provider(&one)?;
                self.trust.providers.push(one);
            }
            Ownable::Group(one) => {
                self.check_group(&one)?;
                self.groups.push(one);
            }
            Ownable::Grant(one) => {
                self.check_grant(&one)?;
                self.grants.push(one);
            }
        }
        Ok(())
    }

    /// All of it; of what fails nothing is to be kept.
    fn make_all(&mut self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let changes = &what.changes;
        let mut ended = 0;
        let how = How { cascade: false, last_operator: false, keep_credentials: what.keep_leases };
        for thing in changes.removals.iter().filter(|thing| matches!(thing, Thing::Grant(_))) {
            ended += self.take(thing, how, by)?.leases;
        }
        for word in KINDS {
            let is = |thing: &Thing| key_of(thing).is_some_and(|(of, _)| of == word);
            for change in changes.amendments.iter().filter(|change| is(&change.thing())) {
                ended += self.amend(change, !what.keep_leases, by)?;
            }
            for one in changes.made.iter().filter(|one| is(&one.thing())) {
                self.make(one)?;
            }
        }
        for thing in changes.removals.iter().filter(|thing| !matches!(thing, Thing::Grant(_))) {
            ended += self.take(thing, how, by)?.leases;
        }
        Ok(ended)
    }
}

#[async_trait]
impl PolicySetAdmin for Memory {
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        if world.policy_state(&what.owner, &what.owns).revision() != what.revision {
            return Err(moved());
        }
        let kept = (
            (world.accounts.clone(), world.callers.clone(), world.datasets.clone()),
            (world.trust.providers.clone(), world.groups.clone(), world.grants.clone()),
            (world.standings.clone(), world.removed.clone(), world.ended.clone()),
        );
        let ended = match world.make_all(what, by) {
            Ok(ended) => ended,
            Err(error) => {
                (world.accounts, world.callers, world.datasets) = kept.0;
                (world.trust.providers, world.groups, world.grants) = kept.1;
                (world.standings, world.removed, world.ended) = kept.2;
                return Err(error);
            }
        };
        world.policy.managed.retain(|_, known| known.owner != what.owner);
        let own = what.managed.iter().filter(|(_, known)| known.owner == what.owner);
        world.policy.managed.extend(own.map(|(thing, known)| (thing.clone(), known.clone())));
        world.policy.sets.insert(what.owner.clone(), what.owns.clone());
        world.version += 1;
        Ok(ended)
    }

    async fn break_glass(&self, _: &[(Thing, Managed)], _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn set_owner(&self, things: &[Thing], owner: Option<&Name>) -> Result<(), Error> {
        let mut world = self.world();
        for thing in things {
            let there = match thing {
                Thing::Account(id) => world.account(*id).is_ok(),
                Thing::Caller(id) => world.caller_records().iter().any(|known| known.id == *id),
                Thing::Grant(id) => world.grants.iter().any(|known| known.id == *id),
                Thing::Dataset(id) => world.datasets.iter().any(|known| known.id == *id),
                Thing::Group(id) => world.groups.iter().any(|known| known.id == *id),
                Thing::IdentityProvider(id) => world.trust.providers.iter().any(|known| known.id == *id),
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
