//! What there will be when the files are applied, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::{Account, OwnQuota, Standing};
use crate::caller::{CallerRecord, CallerStanding};
use crate::grant::{Grant, Grantee, Origin};
use crate::id::{AccountId, CallerId, DatasetId, GrantId, GroupId};
use crate::name::Name;
use crate::nouns::policy_set::state::{Managed, State, Wanted, WantedGrantee};
use crate::nouns::removal::Thing;

/// Something that stands in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it is said.
    pub source: Box<str>,
    /// What is wrong.
    pub said: String,
}

struct Settling<'a> {
    before: &'a State,
    wanted: &'a Wanted,
    after: State,
    kept: BTreeSet<Thing>,
    problems: Vec<Problem>,
    mint: &'a mut dyn FnMut() -> [u8; 16],
}

/// What there will be. New things get ids of `mint`.
///
/// # Errors
/// All that stands in the way.
pub fn settle(before: &State, wanted: &Wanted, mint: &mut dyn FnMut() -> [u8; 16]) -> Result<State, Vec<Problem>> {
    let mut own = Settling { before, wanted, after: before.clone(), kept: BTreeSet::new(), problems: Vec::new(), mint };
    own.overlaps();
    own.accounts();
    own.callers();
    own.datasets();
    own.grants();
    if wanted.prune {
        own.prune();
    }
    own.after.sets.insert(wanted.owner.clone(), wanted.owns.clone());
    if own.problems.is_empty() { Ok(own.after) } else { Err(own.problems) }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    fn problem(&mut self, source: &str, said: String) {
        self.problems.push(Problem { source: source.into(), said });
    }

    fn overlaps(&mut self) {
        for (name, owns) in &self.before.sets {
            if *name != self.wanted.owner
                && let Some(pattern) = self.wanted.owns.meets(owns)
            {
                let said =
                    format!("`owns` says `{pattern}`, and so does the set `{name}`: two sets own nothing together");
                self.problems.push(Problem { source: "owns".into(), said });
            }
        }
    }

    /// Takes a thing that is there into the set, or says why not; and notes where that is said.
    fn keep(&mut self, thing: Thing, source: &str, address: &str) {
        let owner = self.wanted.owner.clone();
        match self.before.managed.get(&thing) {
            Some(known) if known.owner != owner => {
                let said = format!("{address} belongs to the set `{}`", known.owner);
                return self.problem(source, said);
            }
            None if self.before.address(&thing).is_some() => {
                // An account is adopted with all that is in it.
                let all =
                    if matches!(thing, Thing::Account(_)) { format!("'{address}/*'") } else { address.to_owned() };
                let said = format!("{address} exists, made by hand: `valetkey policy adopt {all} --owner {owner}`");
                return self.problem(source, said);
            }
            Some(_) | None => {}
        }
        self.own(thing, source);
    }

    fn own(&mut self, thing: Thing, source: &str) {
        if !self.kept.insert(thing.clone()) {
            return self.problem(source, "this is said of something that another entry means, too".to_owned());
        }
        let applied = self.before.managed.get(&thing).map(|known| known.applied.clone()).unwrap_or_default();
        self.after.managed.insert(thing, Managed { owner: self.wanted.owner.clone(), source: source.into(), applied });
    }

    fn accounts(&mut self) {
        for wanted in &self.wanted.accounts {
            let (name, source) = (&wanted.name, &*wanted.source);
            let address = format!("account/{name}");
            if !self.wanted.owns.account(name.as_str()) {
                self.problem(source, format!("{address} is not among what `owns` names"));
                continue;
            }
            let found = self.before.account_named(name);
            let found = found.or_else(|| self.before.account_named(wanted.was.as_ref()?)).cloned();
            let account = match found {
                Some(known) => {
                    self.keep(Thing::Account(known.id), source, &address);
                    Account { name: name.clone(), metering: wanted.metering, ..known }
                }
                None => {
                    let id = AccountId::from_bytes((self.mint)());
                    self.own(Thing::Account(id), source);
                    Account {
                        id,
                        name: name.clone(),
                        standing: Standing::Active,
                        metering: wanted.metering,
                        datasets_bucket: None,
                        quota: OwnQuota::default(),
                    }
                }
            };
            self.after.accounts.insert(account.id, account);
        }
    }

    /// The id of an account that the files name: theirs.
    fn account(&mut self, name: &Name, source: &str) -> Option<AccountId> {
        let found = self.after.account_named(name).map(|account| account.id);
        let found = found.filter(|id| self.kept.contains(&Thing::Account(*id)));
        // What is wrong with one that is in the files is said there.
        if found.is_none() && !self.wanted.accounts.iter().any(|account| account.name == *name) {
            self.problem(source, format!("the account `{name}` is not in the files"));
        }
        found
    }

    fn callers(&mut self) {
        let by_name: BTreeMap<(AccountId, &Name), &CallerRecord> =
            self.before.callers.values().map(|known| ((known.account, &known.name), known)).collect();
        for wanted in &self.wanted.callers {
            let (name, source) = (&wanted.name, &*wanted.source);
            let Some(account) = self.account(&wanted.account, source) else { continue };
            let found = by_name.get(&(account, name));
            let found = found.or_else(|| by_name.get(&(account, wanted.was.as_ref()?))).copied();
            let caller = match found {
                Some(known) => {
                    self.keep(Thing::Caller(known.id), source, &format!("caller/{}/{name}", wanted.account));
                    CallerRecord { name: name.clone(), role: wanted.role, ..known.clone() }
                }
                None => {
                    let id = CallerId::from_bytes((self.mint)());
                    self.own(Thing::Caller(id), source);
                    CallerRecord {
                        id,
                        account,
                        name: name.clone(),
                        role: wanted.role,
                        standing: CallerStanding::Active,
                    }
                }
            };
            self.after.callers.insert(caller.id, caller);
        }
    }

    fn datasets(&mut self) {
        for wanted in &self.wanted.datasets {
            let (new, source) = (&wanted.dataset, &*wanted.source);
            let address = format!("dataset/{}", new.name);
            if !self.wanted.owns.dataset(new.name.as_str()) {
                self.problem(source, format!("{address} is not among what `owns` names"));
                continue;
            }
            let named = |name: &Name| self.before.datasets.values().find(|known| known.name == *name);
            let found = named(&new.name).or_else(|| named(wanted.was.as_ref()?)).cloned();
            let dataset = match found {
                Some(known) => {
                    if (known.storage, &known.bucket, &known.path) != (new.storage, &new.bucket, &new.path) {
                        let said = format!(
                            "{address} is elsewhere, and a dataset stays where it is: give this one another name"
                        );
                        self.problem(source, said);
                    }
                    self.keep(Thing::Dataset(known.id), source, &address);
                    // What files cannot say of it stays.
                    let (dictionary, sample) = (known.dictionary, known.sample);
                    crate::nouns::dataset::Dataset { dictionary, sample, ..new.clone().stored(known.id) }
                }
                None => {
                    let id = DatasetId::from_bytes((self.mint)());
                    self.own(Thing::Dataset(id), source);
                    new.clone().stored(id)
                }
            };
            self.after.datasets.insert(dataset.id, dataset);
        }
    }

    fn grants(&mut self) {
        let callers: BTreeMap<(AccountId, Name), CallerId> =
            self.after.callers.values().map(|known| ((known.account, known.name.clone()), known.id)).collect();
        let datasets: BTreeMap<Name, DatasetId> =
            self.after.datasets.values().map(|known| (known.name.clone(), known.id)).collect();
        let groups: BTreeMap<(AccountId, &Name), GroupId> =
            self.before.groups.values().map(|known| ((known.account, &known.name), known.id)).collect();
        let by_name: BTreeMap<(AccountId, &Name), &Grant> =
            self.before.grants.values().map(|known| ((known.account, &known.name), known)).collect();
        for wanted in &self.wanted.grants {
            let (name, source) = (&wanted.name, &*wanted.source);
            let Some(account) = self.account(&wanted.account, source) else { continue };
            let (to, missing) = match &wanted.to {
                WantedGrantee::Everyone => (Some(Grantee::Everyone), String::new()),
                WantedGrantee::Caller(caller) => (
                    callers.get(&(account, caller.clone())).copied().map(Grantee::Caller),
                    format!("there is no caller `{}/{caller}`", wanted.account),
                ),
                WantedGrantee::Group(_) if self.wanted.assumes_groups => {
                    (Some(Grantee::Group(GroupId::from_bytes((self.mint)()))), String::new())
                }
                WantedGrantee::Group(group) => (
                    groups.get(&(account, group)).copied().map(Grantee::Group),
                    format!("there is no group `{}/{group}`, and files do not make groups", wanted.account),
                ),
            };
            let Some(to) = to else {
                self.problem(source, missing);
                continue;
            };
            let origin = match &wanted.dataset {
                None => Origin::Plain,
                Some(dataset) => match datasets.get(dataset) {
                    Some(id) => Origin::Dataset(*id),
                    None => {
                        self.problem(source, format!("there is no dataset `{dataset}`"));
                        continue;
                    }
                },
            };
            let found = by_name.get(&(account, name));
            let found = found.or_else(|| by_name.get(&(account, wanted.was.as_ref()?))).copied();
            if found.is_some_and(|known| !known.origin.is_own()) {
                self.problem(source, format!("the grant `{name}` was made by a share, a workspace or a request"));
                continue;
            }
            let same = |known: &Grant| {
                (known.to, known.storage, known.origin, known.scope.bucket())
                    == (to, wanted.storage, origin, wanted.scope.bucket())
            };
            let id = match found {
                Some(known) => {
                    let thing = Thing::Grant(known.id);
                    if same(known) {
                        self.keep(thing, source, &format!("grant/{}/{name}", wanted.account));
                        known.id
                    } else {
                        // Whose it is and where stays with a grant: another one takes its place.
                        self.keep(thing.clone(), source, &format!("grant/{}/{name}", wanted.account));
                        self.forget(&thing);
                        let id = GrantId::from_bytes((self.mint)());
                        self.own(Thing::Grant(id), source);
                        id
                    }
                }
                None => {
                    let id = GrantId::from_bytes((self.mint)());
                    self.own(Thing::Grant(id), source);
                    id
                }
            };
            let (scope, max_lifetime) = (wanted.scope.clone(), wanted.max_lifetime);
            let (storage, from, until) = (wanted.storage, wanted.from, wanted.until);
            let (name, conditions) = (name.clone(), wanted.conditions.clone());
            let grant = Grant { id, name, account, to, storage, origin, scope, max_lifetime, from, until, conditions };
            self.after.grants.insert(id, grant);
        }
    }

    fn forget(&mut self, thing: &Thing) {
        self.after.managed.remove(thing);
        match thing {
            Thing::Account(id) => drop(self.after.accounts.remove(id)),
            Thing::Caller(id) => drop(self.after.callers.remove(id)),
            Thing::Grant(id) => drop(self.after.grants.remove(id)),
            Thing::Dataset(id) => drop(self.after.datasets.remove(id)),
            Thing::Token(_)
            | Thing::ParentKey(_)
            | Thing::Group(_)
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
            | Thing::RequestRule(_) => {}
        }
    }

    /// Removes what the set owns and the files do not name any more; nothing of anybody else goes with it.
    fn prune(&mut self) {
        let gone: Vec<Thing> = self
            .before
            .managed
            .iter()
            .filter(|(thing, known)| known.owner == self.wanted.owner && !self.kept.contains(thing))
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in &gone {
            self.forget(thing);
        }
        for thing in gone {
            let address = self.before.address(&thing).unwrap_or_default();
            let groups = self.after.groups.keys().copied().map(Thing::Group);
            let left =
                self.after.things().chain(groups).find(|other| self.hangs_on(other, &thing)).map(|other| {
                    self.before.address(&other).or_else(|| self.after.address(&other)).unwrap_or_default()
                });
            if let Some(left) = left {
                self.problem(
                    "",
                    format!("{address} is not in the files any more, and {left}, which is not the set's, needs it"),
                );
            }
        }
    }

    /// Whether a thing cannot be without another.
    fn hangs_on(&self, thing: &Thing, other: &Thing) -> bool {
        match (thing, other) {
            (Thing::Caller(id), Thing::Account(account)) => {
                self.after.callers.get(id).is_some_and(|own| own.account == *account)
            }
            (Thing::Group(id), Thing::Account(account)) => {
                self.after.groups.get(id).is_some_and(|own| own.account == *account)
            }
            (Thing::Grant(id), other) => self.after.grants.get(id).is_some_and(|own| match other {
                Thing::Account(account) => own.account == *account,
                Thing::Caller(caller) => own.to == Grantee::Caller(*caller),
                Thing::Group(group) => own.to == Grantee::Group(*group),
                Thing::Dataset(dataset) => own.origin.dataset() == Some(*dataset),
                Thing::Token(_)
                | Thing::ParentKey(_)
                | Thing::Grant(_)
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
                | Thing::RequestRule(_) => false,
            }),
            _ => false,
        }
    }
}
