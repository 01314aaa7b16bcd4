//! Callers of policy files.

use std::collections::BTreeMap;

use crate::caller::{CallerRecord, CallerStanding};
use crate::id::{AccountId, CallerId};
use crate::name::Name;
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for CallerRecord {
    known_as!("caller", CallerId, Thing::Caller, callers, Ownable::Caller);

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn needs(&self) -> Vec<Thing> {
        vec![Thing::Account(self.account)]
    }

    fn amendment(self) -> Amendment {
        let Self { id, account: _, name, role, standing: _ } = self;
        Amendment::Caller { id, name, role }
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn callers(&mut self) {
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
                    let standing = CallerStanding::Active;
                    CallerRecord { id, account, name: name.clone(), role: wanted.role, standing }
                }
            };
            self.after.callers.insert(caller.id, caller);
        }
    }
}
