//! Callers: `/api/v1/callers`, and those of an account: `/api/v1/accounts/{account}/callers`, `/api/v1/accounts/{account}/callers/{caller}`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::account::Standing;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::State;
use valetkey_core::nouns::registry::CallerFilter;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::time::random_10;
use valetkey_core::{Error, Kind};

use super::api::callers::{CallerChange, CallerRequest};
use super::api::word::Worded;
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::lists::Names;
use super::preview::{AccessChange, Preview};
use super::removal::{Changing, Removal, Said};
use super::state::Native;
use super::{authz, lists, wire};
use crate::edge::{Authority, Call, Query, Reply, json};

/// A caller.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerResponse {
    /// Its id.
    id: String,
    /// Its account, by id.
    account: String,
    /// Its account's name; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// Its name.
    name: String,
    /// What it may do: `member`, `admin` or `operator`.
    role: &'static str,
    /// Whether it is served: `active` or `suspended`.
    standing: &'static str,
}

impl CallerResponse {
    fn of(record: &CallerRecord) -> Self {
        let CallerRecord { id, account, name, role, standing } = record;
        Self {
            id: id.to_string(),
            account: account.to_string(),
            account_name: None,
            name: name.to_string(),
            role: role.as_str(),
            standing: standing.as_str(),
        }
    }
}

/// Callers.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerList {
    callers: Vec<CallerResponse>,
    /// What to send as `after` for the next page; nothing when there is none.
    next_after: Option<String>,
}

/// Lists callers: an operator all or one account's, an admin its account's, a member itself.
#[utoipa::path(get, operation_id = "list_all_callers", path = "/api/v1/callers", tag = "accounts", params(
    ("account" = Option<String>, Query, description = "Only this account's (name or id); for operators"),
    ("after" = Option<String>, Query, description = "The `next_after` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given"),
), responses(
    (status = 200, description = "Callers", body = CallerList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list_all(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let account = native.listed(&call, query.get("account")).await?;
    page(&native, &call, account, query).await
}

async fn page(native: &Native, call: &Call, account: Option<AccountId>, query: &Query) -> Result<Reply, Error> {
    let (after, limit) = (lists::after(query)?, lists::size(query)?);
    let found = match call.caller.role {
        Role::Member | Role::Auditor => {
            native.shared.registry.caller_by_id(call.caller.id).await?.into_iter().collect()
        }
        Role::Admin | Role::Operator | Role::Planner => {
            native.shared.registry.list_callers(&CallerFilter { account, after, limit: limit + 1 }).await?
        }
    };
    let (callers, more) = lists::page(found, limit);
    let next_after = callers.last().filter(|_| more).map(|last| lists::place(last.account, &last.name));
    let names = Names::of(native, callers.iter().map(|known| known.account), []).await?;
    let shown = |known: &CallerRecord| CallerResponse {
        account_name: names.account(known.account),
        ..CallerResponse::of(known)
    };
    Reply::json(&CallerList { callers: callers.iter().map(shown).collect(), next_after })
}

/// Lists an account's callers. For its admins; a member sees itself.
#[utoipa::path(get, operation_id = "list_callers", path = "/api/v1/accounts/{account}/callers", tag = "accounts", params(
    ("account" = String, Path, description = "The account's name or id"),
    ("after" = Option<String>, Query, description = "The `next_after` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given"),
), responses(
    (status = 200, description = "Callers", body = CallerList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let account = native.account(&call, Some(call.params.get("account")?)).await?;
    let query = &call.query;
    page(&native, &call, Some(account.id), query).await
}

/// Makes a caller, or finds the one of that name and role. For admins in their account, never for a role above their own.
#[utoipa::path(post, operation_id = "create_caller", path = "/api/v1/accounts/{account}/callers", tag = "accounts", request_body = CallerRequest, params(
    ("account" = String, Path, description = "The account's name or id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 201, description = "The caller", body = CallerResponse),
    (status = 200, description = "With `dry_run`: what it would mean", body = Preview),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let account = native.account(&call, Some(call.params.get("account")?)).await?;
    let fields: CallerRequest = json(&call.body)?;
    let name: Name = wire::named(&fields.name, "name")?;
    let role = fields.role.as_deref().map_or(Ok(Role::Member), authz::role)?;
    authz::not_above(&call.caller, role)?;
    if Changing::read(&call.query)?.is_dry() {
        let known = CallerRecord {
            id: CallerId::new(call.now, random_10(&*native.shared.entropy)),
            account: account.id,
            name,
            role,
            standing: CallerStanding::Active,
        };
        let place = native.looking(&call).await?;
        return Reply::json(&Preview::of(0, native.access_with(&place, &known, call.now).await?));
    }
    let id = native.shared.registry.by(authority).ensure_caller(account.id, &name, role, call.now).await?;
    let known = native.shared.registry.caller_by_id(id).await?.ok_or_else(|| Error::not_found(Noun::Caller))?;
    Reply::made(&CallerResponse::of(&known))
}

/// A caller that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerChanged {
    #[serde(flatten)]
    caller: CallerResponse,
    /// Whether nothing was done: then this is what would be.
    dry_run: bool,
    /// How many live leases that ended.
    ended: u64,
    /// If nothing was done: what it gains and loses of what it can reach now.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_changes: Option<Vec<AccessChange>>,
    /// Credentials that were ended with it and that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

impl Native {
    /// What suspending a caller, serving it again or giving it another name would mean: a grant may be filled in with its name.
    async fn caller_previewed(&self, call: &Call, before: CallerRecord, after: CallerRecord) -> Result<Reply, Error> {
        let (id, registry) = (before.id, &self.shared.registry);
        let place = self.looking(call).await?;
        let ended = match after.standing {
            CallerStanding::Suspended | CallerStanding::Removed => registry.plan(&Thing::Caller(id)).await?.leases,
            CallerStanding::Active => {
                let change = Amendment::Caller { id, name: after.name.clone(), role: after.role };
                registry.preview(&change, call.now).await?
            }
        };
        let put = |known: CallerRecord| {
            move |state: &mut State| match known.standing {
                CallerStanding::Suspended | CallerStanding::Removed => drop(state.callers.remove(&id)),
                CallerStanding::Active => drop(state.callers.insert(id, known)),
            }
        };
        let change = (put(before.clone()), put(after));
        let access = self.access_between(&place, before.account, call.now, change).await?;
        Reply::json(&CallerChanged {
            caller: CallerResponse::of(&before),
            dry_run: true,
            ended,
            access_changes: Some(access),
            still_taken: Vec::new(),
        })
    }

    /// A caller that the one who asks may suspend or remove: never itself, for nobody else might be there to undo it.
    async fn managed(&self, call: &Call) -> Result<CallerRecord, Error> {
        let account = self.account(call, Some(call.params.get("account")?)).await?.id;
        let found = self.caller_in(account, call.params.get("caller")?).await?;
        let found = found.filter(|known| authz::may_see(&call.caller, account, known.id));
        let known = found.ok_or_else(|| Error::not_found(Noun::Caller).at("caller"))?;
        authz::admin(&call.caller)?;
        authz::not_above(&call.caller, known.role)?;
        if known.id == call.caller.id {
            return Err(Error::new(Kind::Invalid, "nobody suspends or removes themselves").at("caller"));
        }
        Ok(known)
    }
}

/// Changes a caller's name or role; suspends it, which ends what it was given, or serves it again. For admins in their account,
/// never for a role above their own.
#[utoipa::path(patch, operation_id = "change_caller", path = "/api/v1/accounts/{account}/callers/{caller}", tag = "accounts", request_body = CallerChange, params(
    ("account" = String, Path, description = "The account's name or id"),
    ("caller" = String, Path, description = "The caller's name or id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The caller", body = CallerChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: CallerChange = json(&call.body)?;
    let known = native.managed(&call).await?;
    let by = authority.by();
    let role = fields.role.as_deref().map(authz::role).transpose()?.unwrap_or(known.role);
    authz::not_above(&call.caller, role)?;
    let name: Option<Name> = fields.name.as_deref().map(|text| wire::named(text, "name")).transpose()?;
    let name = name.unwrap_or_else(|| known.name.clone());
    if Changing::read(&call.query)?.is_dry() {
        let standing = match fields.standing {
            None => known.standing,
            Some(Worded(Standing::Suspended)) => CallerStanding::Suspended,
            Some(Worded(Standing::Active)) => CallerStanding::Active,
        };
        let after = CallerRecord { name, role, standing, ..known.clone() };
        return native.caller_previewed(&call, known, after).await;
    }
    let registry = native.shared.registry.by(authority);
    // First, so that nothing else that cannot be written keeps it from being suspended.
    let suspended = match fields.standing {
        Some(Worded(Standing::Suspended)) => Some(registry.suspend_caller(known.id, by).await),
        Some(Worded(Standing::Active)) | None => None,
    };
    let renamed = if (&name, role) == (&known.name, known.role) {
        Ok(0)
    } else {
        let change = Amendment::Caller { id: known.id, name: name.clone(), role };
        match native.by_hand(&call, authority, &[Thing::Caller(known.id)]).await {
            Ok(()) => registry.change(&change, true, by).await,
            Err(refused) => Err(refused),
        }
    };
    let known = CallerRecord { name, role, ..known };
    let ended = suspended.transpose()?;
    let renamed = renamed?;
    let standing = match fields.standing {
        None => known.standing,
        Some(Worded(Standing::Suspended)) => CallerStanding::Suspended,
        Some(Worded(Standing::Active)) => {
            registry.activate_caller(known.id).await?;
            CallerStanding::Active
        }
    };
    let ended = ended.unwrap_or(0);
    let caller = CallerResponse::of(&CallerRecord { standing, ..known });
    let still_taken = still_taken(&native, by).await?;
    Reply::json(&CallerChanged { caller, dry_run: false, ended: ended + renamed, access_changes: None, still_taken })
}

/// Removes a caller: its tokens and credentials end, the grants that were its alone go, and its name is free. For admins in their
/// account, never for a role above their own.
#[utoipa::path(delete, operation_id = "remove_caller", path = "/api/v1/accounts/{account}/callers/{caller}", tag = "accounts", params(
    ("account" = String, Path, description = "The account's name or id"),
    ("caller" = String, Path, description = "The caller's name or id"),
    ("last_operator" = Option<bool>, Query, description = "Even if no operator has a token that is good afterwards"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is gone, or what that would mean", body = CallerRemoved),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let known = native.managed(&call).await?;
    let removal = native.removed(&call, authority, &Thing::Caller(known.id), said).await?;
    let caller = CallerResponse::of(&CallerRecord { standing: CallerStanding::Removed, ..known });
    Reply::json(&CallerRemoved { caller, ended: removal.leases(), removal })
}

/// A caller that was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerRemoved {
    #[serde(flatten)]
    caller: CallerResponse,
    /// How many live leases that ended.
    ended: u64,
    #[serde(flatten)]
    removal: Removal,
}
