//! Identity providers of policy files, with their rules.

use crate::id::{AccountId, ProviderId, RuleId};
use crate::name::Name;
use crate::nouns::identity::{IdentityProvider, TrustRule};
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::policy_set::wanted::WantedProvider;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for IdentityProvider {
    known_as!("identity_provider", ProviderId, Thing::IdentityProvider, providers, Ownable::Provider);

    fn account(&self) -> Option<AccountId> {
        None
    }

    fn needs(&self) -> Vec<Thing> {
        self.rules.iter().map(|rule| Thing::Account(rule.account)).collect()
    }

    fn amendment(self) -> Amendment {
        Amendment::IdentityProvider(Box::new(self))
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn providers(&mut self) {
        for wanted in &self.wanted.providers {
            let (name, source) = (&wanted.provider.name, &*wanted.source);
            let address = format!("identity_provider/{name}");
            if !self.wanted.owns.provider(name.as_str()) {
                self.problem(source, format!("{address} is not among what `owns` names"));
                continue;
            }
            let named = |name: &Name| self.before.providers.values().find(|known| known.name == *name);
            let found = named(name).or_else(|| named(wanted.was.as_ref()?));
            if let Some(other) =
                self.before.providers.values().find(|known| {
                    known.issuer == wanted.provider.issuer && found.is_none_or(|found| found.id != known.id)
                })
            {
                let said = format!(
                    "identity_provider/{0} has this issuer already: say `was: {0}` if it is the same",
                    other.name
                );
                self.problem(source, said);
                continue;
            }
            let rules = self.rules(wanted, found);
            let provider = match found {
                Some(known) => {
                    // What else names it was read by this id.
                    if known.id != wanted.provider.id {
                        self.problem(source, format!("{address} was changed just now: plan again"));
                    }
                    self.keep(Thing::IdentityProvider(known.id), source, &address);
                    let (id, version, made) = (known.id, known.version, known.made);
                    IdentityProvider { id, version, made, rules, ..wanted.provider.clone() }
                }
                None => {
                    self.own(Thing::IdentityProvider(wanted.provider.id), source);
                    IdentityProvider { version: 1, made: self.wanted.at, rules, ..wanted.provider.clone() }
                }
            };
            if let Err(error) = provider.check() {
                let field = error.field().map(|field| format!("{field}: ")).unwrap_or_default();
                self.problem(source, format!("{field}{error}"));
            }
            self.after.providers.insert(provider.id, provider);
        }
    }

    /// The rules of a provider; one of a known name keeps its id.
    fn rules(&mut self, wanted: &WantedProvider, found: Option<&IdentityProvider>) -> Vec<TrustRule> {
        let source = &*wanted.source;
        let mut rules: Vec<TrustRule> = Vec::new();
        for rule in &wanted.rules {
            let named = |account: &&Name| **account == rule.account;
            let account = self.after.account_named(&rule.account).map(|account| account.id);
            let account =
                account.or_else(|| self.before.others.iter().find(|(_, name)| named(name)).map(|(id, _)| *id));
            let Some(account) = account else {
                // What is wrong with one that is in the files is said there.
                if !self.wanted.accounts.iter().any(|account| account.name == rule.account) {
                    self.problem(source, format!("the rule `{}`: there is no account `{}`", rule.name, rule.account));
                }
                continue;
            };
            if rules.iter().any(|known| known.name == rule.name) {
                self.problem(source, format!("the rule `{}` is said twice", rule.name));
            }
            let known = found.and_then(|found| found.rules.iter().find(|known| known.name == rule.name));
            rules.push(TrustRule {
                id: known.map_or_else(|| RuleId::from_bytes((self.mint)()), |known| known.id),
                name: rule.name.clone(),
                account,
                caller: rule.caller.clone(),
                role: rule.role,
                conditions: rule.conditions.clone(),
                outlive_secs: rule.outlive_secs,
            });
        }
        rules
    }
}
