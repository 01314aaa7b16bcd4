//! Who may know and do what: the one place where this API looks at roles.

use jiff::Timestamp;
use valetkey_core::account::Account;
use valetkey_core::caller::{Caller, CallerRecord, Role};
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::name::Name;
use valetkey_core::token::Maker;
use valetkey_core::{Error, Kind};

use super::state::Native;
use super::wire;
use crate::edge::Call;

/// Refuses who is neither an operator nor lets itself be told everything. SECURITY: the edge lets only operators change anything of all
/// accounts (`Route::admits`).
pub(super) fn operator(caller: &Caller) -> Result<(), Error> {
    match caller.role {
        Role::Operator | Role::Auditor | Role::Planner => Ok(()),
        Role::Admin | Role::Member => Err(Error::new(Kind::Forbidden, "only an operator may do this")),
    }
}

/// Refuses who is neither admin nor operator.
pub(super) fn admin(caller: &Caller) -> Result<(), Error> {
    match caller.role {
        Role::Operator | Role::Admin | Role::Auditor | Role::Planner => Ok(()),
        Role::Member => Err(Error::new(Kind::Forbidden, "only an admin of the account may do this")),
    }
}

/// Refuses to touch a role above one's own: nobody makes or ends what could do more than themselves.
pub(super) fn not_above(caller: &Caller, role: Role) -> Result<(), Error> {
    if role <= caller.role {
        return Ok(());
    }
    let (role, own) = (role.as_str(), caller.role.as_str());
    Err(Error::new(Kind::Forbidden, format!("a caller of role `{own}` may not handle one of role `{role}`")).at("role"))
}

/// Who makes what proves a caller: the token of the one that asks, which only an operator may let it outlive.
pub(super) fn maker(call: &Call, outlive: Option<bool>) -> Result<Maker, Error> {
    match (outlive, call.caller.role) {
        (None | Some(false), _) => Ok(Maker::Token(call.caller.token)),
        (Some(true), Role::Operator) => Ok(Maker::Outlived(call.caller.token)),
        (Some(true), Role::Admin | Role::Member | Role::Auditor | Role::Planner) => {
            Err(Error::new(Kind::Forbidden, "only an operator lets a thing outlive the token that makes it")
                .at("outlive"))
        }
    }
}

/// Says that what was made ends earlier than was asked, if it does.
pub(super) fn cuts(asked: Option<Timestamp>, until: Option<Timestamp>) -> Vec<String> {
    match until {
        Some(until) if asked.is_none_or(|asked| until < asked) => {
            vec![format!(
                "ends at {}, with the token that makes it; an operator may let it `outlive` that",
                wire::at(until)
            )]
        }
        Some(_) | None => Vec::new(),
    }
}

/// Whether the caller may know of something that belongs to `owner` in `account`.
pub(super) fn may_see(caller: &Caller, account: AccountId, owner: CallerId) -> bool {
    match caller.role {
        Role::Operator | Role::Auditor | Role::Planner => true,
        Role::Admin => caller.account == account,
        Role::Member => caller.account == account && caller.id == owner,
    }
}

/// Reads a role's name.
pub(super) fn role(text: &str) -> Result<Role, Error> {
    wire::word(text, "a role", "role")
}

/// Whether an account is the one that is named by its name or id.
pub(super) fn is_named(account: &Account, text: &str) -> bool {
    account.name.as_str() == text || account.id.to_string() == text
}

impl Native {
    /// Whose things a list shows: everybody's only to an operator that names no account.
    pub(super) async fn listed(&self, call: &Call, given: Option<&str>) -> Result<Option<AccountId>, Error> {
        match (call.caller.role, given) {
            (Role::Operator | Role::Auditor | Role::Planner, None) => Ok(None),
            (_, given) => Ok(Some(self.account(call, given).await?.id)),
        }
    }

    /// Whose things of callers a list shows: the caller's that is named; a member's own, whatever it names.
    pub(super) async fn caller_of_list(
        &self,
        call: &Call,
        account: Option<&str>,
        given: Option<&str>,
    ) -> Result<Option<CallerRecord>, Error> {
        match (given, call.caller.role) {
            (Some(text), _) => self.caller_named(call, account, text).await.map(Some),
            (None, Role::Member) => self.shared.registry.caller_by_id(call.caller.id).await,
            (None, Role::Admin | Role::Operator | Role::Auditor | Role::Planner) => Ok(None),
        }
    }

    /// Whom a grant is for: a caller of the account that is named by its name or id, a group of it as `group:NAME`, or everyone.
    pub(super) async fn grantee(&self, account: AccountId, caller: Option<&str>) -> Result<Grantee, Error> {
        let Some(text) = caller else { return Ok(Grantee::Everyone) };
        // No caller has a colon in its name.
        if let Some(name) = text.strip_prefix("group:") {
            let found = self.group_in(account, name).await?;
            return found.map(|known| Grantee::Group(known.id)).ok_or_else(|| Error::not_found(Noun::Group).at("to"));
        }
        let found = self.caller_in(account, text).await?;
        found.map(|known| Grantee::Caller(known.id)).ok_or_else(|| Error::not_found(Noun::Caller).at("to"))
    }

    /// The account named, or the caller's own. Another account exists only for operators.
    pub(super) async fn account(&self, call: &Call, given: Option<&str>) -> Result<Account, Error> {
        let own = self.shared.vending.directory.account(call.caller.account, call.now).await?.account().clone();
        let Some(text) = given else { return Ok(own) };
        let is = |account: &Account| is_named(account, text);
        if is(&own) {
            return Ok(own);
        }
        let missing = || Error::not_found(Noun::Account).at("account");
        match call.caller.role {
            Role::Operator | Role::Auditor | Role::Planner => {}
            Role::Admin | Role::Member => return Err(missing()),
        }
        if let Ok(name) = Name::parse(text)
            && let Some(account) = self.shared.registry.account_named(&name).await?
        {
            return Ok(account);
        }
        self.shared.registry.accounts().await?.into_iter().find(is).ok_or_else(missing)
    }

    /// A caller that the one who asks may know of: by its id, also if it was removed, as `account/name`, or by its name in an account,
    /// one's own if not given.
    pub(super) async fn caller_named(
        &self,
        call: &Call,
        account: Option<&str>,
        text: &str,
    ) -> Result<CallerRecord, Error> {
        let (given, name) = match (account, text.split_once('/')) {
            (None, Some((account, name))) => (Some(account), name),
            (account, _) => (account, text),
        };
        let found = match text.parse::<CallerId>() {
            Ok(id) => self.shared.registry.caller_by_id(id).await?,
            Err(_) => self.caller_in(self.account(call, given).await?.id, name).await?,
        };
        let of = match given {
            Some(account) => Some(self.account(call, Some(account)).await?.id),
            None => None,
        };
        let said = "no such caller; one of another account is named `account/name`, or by its id";
        found
            .filter(|known| may_see(&call.caller, known.account, known.id) && of.is_none_or(|of| of == known.account))
            .ok_or_else(|| Error::new(Kind::NotFound(Noun::Caller), said).at("caller"))
    }

    /// The caller of an account that is named by its name, `account/name` or its id, if there is one.
    pub(super) async fn caller_in(&self, account: AccountId, text: &str) -> Result<Option<CallerRecord>, Error> {
        let name = match text.split_once('/') {
            Some((of, name)) => {
                let own = self.shared.registry.account_by_id(account).await?;
                if own.is_some_and(|own| is_named(&own, of)) { name } else { return Ok(None) }
            }
            None => text,
        };
        let callers = self.shared.registry.callers(account).await?;
        Ok(callers.into_iter().find(|known| known.name.as_str() == name || known.id.to_string() == name))
    }
}
