//! Accounts of policy files.

use crate::account::{Account, OwnQuota, Standing};
use crate::id::AccountId;
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for Account {
    known_as!("account", AccountId, Thing::Account, accounts, Ownable::Account);

    fn account(&self) -> Option<AccountId> {
        None
    }

    fn needs(&self) -> Vec<Thing> {
        Vec::new()
    }

    fn amendment(self) -> Amendment {
        Amendment::Account(self)
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn accounts(&mut self) {
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
}
