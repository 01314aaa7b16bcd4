//! Grants of policy files.

use std::collections::BTreeMap;

use crate::grant::{Grant, Grantee, Origin};
use crate::id::{AccountId, CallerId, DatasetId, GrantId, GroupId};
use crate::name::Name;
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::policy_set::wanted::WantedGrantee;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for Grant {
    known_as!("grant", GrantId, Thing::Grant, grants, Ownable::Grant);

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn needs(&self) -> Vec<Thing> {
        let to = match self.to {
            Grantee::Everyone => None,
            Grantee::Caller(caller) => Some(Thing::Caller(caller)),
            Grantee::Group(group) => Some(Thing::Group(group)),
        };
        let dataset = self.origin.dataset().map(Thing::Dataset);
        std::iter::once(Thing::Account(self.account)).chain(to).chain(dataset).collect()
    }

    fn is_own(&self) -> bool {
        self.origin.is_own()
    }

    fn amendment(self) -> Amendment {
        Amendment::Grant(self)
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn grants(&mut self) {
        let callers: BTreeMap<(AccountId, Name), CallerId> =
            self.after.callers.values().map(|known| ((known.account, known.name.clone()), known.id)).collect();
        let datasets: BTreeMap<Name, DatasetId> =
            self.after.datasets.values().map(|known| (known.name.clone(), known.id)).collect();
        let groups: BTreeMap<(AccountId, Name), GroupId> =
            self.after.groups.values().map(|known| ((known.account, known.name.clone()), known.id)).collect();
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
                WantedGrantee::Group(group) => {
                    let found = groups.get(&(account, group.clone())).copied();
                    let assumed = || self.wanted.assumes_groups.then(|| GroupId::from_bytes((self.mint)()));
                    let missing = format!("there is no group `{}/{group}`", wanted.account);
                    (found.or_else(assumed).map(Grantee::Group), missing)
                }
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
                        self.after.forget(&thing);
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
}
