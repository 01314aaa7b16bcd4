//! Groups of policy files.

use std::collections::BTreeMap;

use crate::group::Group;
use crate::id::{AccountId, CallerId, GroupId};
use crate::name::Name;
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for Group {
    known_as!("group", GroupId, Thing::Group, groups, Ownable::Group);

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn needs(&self) -> Vec<Thing> {
        let provider = self.by_claim.iter().map(|by| Thing::IdentityProvider(by.provider));
        std::iter::once(Thing::Account(self.account)).chain(provider).collect()
    }

    fn amendment(self) -> Amendment {
        Amendment::Group(Box::new(self))
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn groups(&mut self) {
        let callers: BTreeMap<(AccountId, Name), CallerId> =
            self.after.callers.values().map(|known| ((known.account, known.name.clone()), known.id)).collect();
        let by_name: BTreeMap<(AccountId, &Name), &Group> =
            self.before.groups.values().map(|known| ((known.account, &known.name), known)).collect();
        for wanted in &self.wanted.groups {
            let (name, source) = (&wanted.name, &*wanted.source);
            let Some(account) = self.account(&wanted.account, source) else { continue };
            let mut members = std::collections::BTreeSet::new();
            for member in &wanted.members {
                match callers.get(&(account, member.clone())) {
                    Some(id) => drop(members.insert(*id)),
                    None => self.problem(source, format!("there is no caller `{}/{member}`", wanted.account)),
                }
            }
            let found = by_name.get(&(account, name));
            let found = found.or_else(|| by_name.get(&(account, wanted.was.as_ref()?))).copied();
            let by_claim = wanted.by_claim.clone();
            let group = match found {
                Some(known) => {
                    self.keep(Thing::Group(known.id), source, &format!("group/{}/{name}", wanted.account));
                    Group { name: name.clone(), members, by_claim, ..known.clone() }
                }
                None => {
                    let id = GroupId::from_bytes((self.mint)());
                    self.own(Thing::Group(id), source);
                    Group { id, account, name: name.clone(), members, by_claim, version: 1, made: self.wanted.at }
                }
            };
            if let Err(error) = group.check() {
                let field = error.field().map(|field| format!("{field}: ")).unwrap_or_default();
                self.problem(source, format!("{field}{error}"));
            }
            self.after.groups.insert(group.id, group);
        }
    }
}
