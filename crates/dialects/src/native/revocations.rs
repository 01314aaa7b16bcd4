//! `POST /api/v1/revocations`: ends all that a token, a caller, an account or a grant vended, or one lease.

use std::sync::Arc;

use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, GrantId};
use valetkey_core::lease::Revocation;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::{Error, Kind};

use super::api::revocations::RevocationRequest;
use super::ended::{EndedResponse, still_taken};
use super::ending::{Extent, LastOperator};
use super::error::Problem;
use super::state::Native;
use super::{authz, wire};
use crate::edge::{Authority, Call, Reply, json};

/// What is to be ended, and the tokens it is about.
struct Meant {
    what: Revocation,
    tokens: Option<Vec<TokenRecord>>,
}

/// Ends credentials early: a member what it asked for itself, an admin its account's, an operator any.
#[utoipa::path(post, operation_id = "revoke", path = "/api/v1/revocations", tag = "leases", request_body = RevocationRequest, responses(
    (status = 200, description = "They are ended", body = EndedResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn revoke(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: RevocationRequest = json(&call.body)?;
    let (tokens, made, last) = (fields.tokens, fields.with_made, fields.last_operator);
    let Meant { what, tokens: about } = meant(&native, &call, fields).await?;
    let by = authority.by();
    let registry = &native.shared.registry;
    let mut shown = EndedResponse::default();
    match (tokens.unwrap_or(false), about) {
        (true, Some(about)) => {
            let live = about.into_iter().filter(|record| record.revoked.is_none()).collect();
            let doomed = native.doomed(&call, live, Extent::of(made), LastOperator::of(last)).await?;
            // Links first, so that none becomes a token meanwhile; but all of it is tried, whatever cannot be written.
            let links = if let Revocation::Caller(caller) = what {
                registry.by(authority).end_links(caller).await.map(drop)
            } else {
                Ok(())
            };
            let ended = doomed.end(&native, authority).await;
            // What is left was vended with tokens that had ended before.
            let left = registry.by(authority).revoke(what, by).await;
            let ended = ended?;
            shown.tokens_ended = ended.tokens.iter().map(ToString::to_string).collect();
            shown.ended = ended.leases + left?;
            links?;
        }
        (true, None) => return Err(Error::new(Kind::Invalid, "`tokens` goes with `token` or `caller`").at("tokens")),
        (false, _) if made.is_some() || last.is_some() => {
            return Err(Error::new(Kind::Invalid, "`with_made` and `last_operator` go with `tokens`").at("tokens"));
        }
        (false, about) => {
            shown.ended = registry.by(authority).revoke(what, by).await?;
            let live = |about: Vec<TokenRecord>| about.iter().filter(|record| record.is_live(call.now)).count();
            shown.live_tokens = about.map(live).map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
    shown.still_taken = still_taken(&native, by).await?;
    Reply::json(&shown)
}

async fn meant(native: &Native, call: &Call, fields: RevocationRequest) -> Result<Meant, Error> {
    let RevocationRequest { lease, token, caller, account, grant, tokens: _, with_made: _, last_operator: _ } = fields;
    let alone = |what| Meant { what, tokens: None };
    match (lease, token, caller, account, grant) {
        (Some(lease), None, None, None, None) => {
            Ok(alone(Revocation::Lease(native.lease(call, wire::named(&lease, "lease")?).await?.lease.id)))
        }
        (None, Some(token), None, None, None) => {
            let record = native.token_named(call, &token).await?;
            Ok(Meant { what: Revocation::Token(record.id), tokens: Some(vec![record]) })
        }
        (None, None, Some(caller), None, None) => {
            let known = caller_of(native, call, &caller).await?;
            let mut tokens = native.shared.registry.tokens(Some(known.account)).await?;
            tokens.retain(|record| record.caller == known.id);
            Ok(Meant { what: Revocation::Caller(known.id), tokens: Some(tokens) })
        }
        (None, None, None, Some(account), None) => {
            let account = native.account(call, Some(&account)).await?;
            authz::admin(&call.caller)?;
            Ok(alone(Revocation::Account(account.id)))
        }
        (None, None, None, None, Some(grant)) => grant_of(native, call, wire::named(&grant, "grant")?).await.map(alone),
        _ => Err(Error::new(Kind::Invalid, "name exactly one of `lease`, `token`, `caller`, `account`, `grant`")),
    }
}

async fn caller_of(native: &Native, call: &Call, text: &str) -> Result<CallerRecord, Error> {
    let known = native.caller_named(call, None, text).await?;
    if known.standing == CallerStanding::Removed {
        return Err(Error::not_found(Noun::Caller).at("caller"));
    }
    authz::not_above(&call.caller, known.role)?;
    Ok(known)
}

async fn grant_of(native: &Native, call: &Call, id: GrantId) -> Result<Revocation, Error> {
    // A grant may be everyone's in the account: what is vended under it is for admins to end.
    match call.caller.role {
        Role::Admin | Role::Operator => {}
        Role::Member | Role::Auditor | Role::Planner => return Err(Error::not_found(Noun::Grant).at("grant")),
    }
    native.account_of_grant(call, id).await.map(|_| Revocation::Grant(id))
}

impl Native {
    /// The accounts the caller may look into, its own first.
    pub(super) async fn accounts_in_reach(&self, call: &Call) -> Result<Vec<AccountId>, Error> {
        let own = call.caller.account;
        match call.caller.role {
            Role::Member | Role::Admin => Ok(vec![own]),
            Role::Operator | Role::Auditor | Role::Planner => {
                let others = self.shared.registry.accounts().await?.into_iter().map(|account| account.id);
                Ok(std::iter::once(own).chain(others.filter(|id| *id != own)).collect())
            }
        }
    }

    /// The account that has a grant, among those the caller may look into.
    pub(super) async fn account_of_grant(&self, call: &Call, id: GrantId) -> Result<AccountId, Error> {
        for account in self.accounts_in_reach(call).await? {
            if self.shared.registry.grants(account).await?.iter().any(|grant| grant.id == id) {
                return Ok(account);
            }
        }
        Err(Error::not_found(Noun::Grant).at("grant"))
    }
}
