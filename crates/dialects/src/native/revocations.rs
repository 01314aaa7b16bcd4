//! `POST /api/v1/revocations`: ends all that a token, a caller, an account or a grant vended, or one lease.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::leases::{EndedShown, still_taken};
use super::{Native, who, wire};
use crate::edge::{Call, Reply, json};

/// What to end; exactly one of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationFields {
    /// One lease, by its id.
    lease: Option<String>,
    /// Everything a token vended, by the token's id. The token itself stays.
    token: Option<String>,
    /// Everything a caller vended: by its id, its name in one's own account, or `account/name`.
    caller: Option<String>,
    /// Everything an account vended, by its id or name.
    account: Option<String>,
    /// Everything vended under a grant, by its id.
    grant: Option<String>,
}

/// Ends credentials early: a member what it asked for itself, an admin its account's, an operator any.
#[utoipa::path(post, operation_id = "revoke", path = "/api/v1/revocations", tag = "leases", request_body = RevocationFields, responses(
    (status = 200, description = "They are ended", body = EndedShown),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn revoke(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    call.query(&[])?;
    let fields: RevocationFields = json(&call.body)?;
    let what = match fields {
        RevocationFields { lease: Some(lease), token: None, caller: None, account: None, grant: None } => {
            Revocation::Lease(native.lease(&call, wire::named(&lease, "lease")?).await?.lease.id)
        }
        RevocationFields { lease: None, token: Some(token), caller: None, account: None, grant: None } => {
            Revocation::Token(native.token(&call, wire::named::<TokenId>(&token, "token")?).await?.id)
        }
        RevocationFields { lease: None, token: None, caller: Some(caller), account: None, grant: None } => {
            caller_of(&native, &call, &caller).await?
        }
        RevocationFields { lease: None, token: None, caller: None, account: Some(account), grant: None } => {
            let account = native.account(&call, Some(&account)).await?;
            who::admin(&call.caller)?;
            Revocation::Account(account.id)
        }
        RevocationFields { lease: None, token: None, caller: None, account: None, grant: Some(grant) } => {
            grant_of(&native, &call, wire::named(&grant, "grant")?).await?
        }
        RevocationFields { .. } => {
            return Err(Error::new(
                Kind::Invalid,
                "name exactly one of `lease`, `token`, `caller`, `account`, `grant`",
            ));
        }
    };
    let by = Revoker { by: call.caller.id, at: call.now };
    let ended = native.shared.registry.revoke(what, by).await?;
    Reply::json(&EndedShown { ended, still_taken: still_taken(&native, by).await? })
}

async fn caller_of(native: &Native, call: &Call, text: &str) -> Result<Revocation, Error> {
    // A name alone counts in the caller's own account only: in another one somebody may have taken the same.
    let (accounts, text) = match (text.parse::<CallerId>(), text.split_once('/')) {
        (Ok(_), _) => (native.accounts_in_reach(call).await?, text),
        (Err(_), Some((account, name))) => (vec![native.account(call, Some(account)).await?.id], name),
        (Err(_), None) => (vec![call.caller.account], text),
    };
    for account in accounts {
        if let Some((id, _, role)) = native.caller_in(account, text).await?
            && who::may_see(&call.caller, account, id)
        {
            who::not_above(&call.caller, role)?;
            return Ok(Revocation::Caller(id));
        }
    }
    let said = "no such caller; one of another account is named `account/name`, or by its id";
    Err(Error::new(Kind::NotFound(Noun::Caller), said).at("caller"))
}

async fn grant_of(native: &Native, call: &Call, id: GrantId) -> Result<Revocation, Error> {
    // A grant may be everyone's in the account: what is vended under it is for admins to end.
    match call.caller.role {
        Role::Admin | Role::Operator => {}
        Role::Member => return Err(Error::not_found(Noun::Grant).at("grant")),
    }
    native.account_of_grant(call, id).await.map(|_| Revocation::Grant(id))
}

impl Native {
    /// The accounts the caller may look into, its own first.
    pub(super) async fn accounts_in_reach(&self, call: &Call) -> Result<Vec<AccountId>, Error> {
        let own = call.caller.account;
        match call.caller.role {
            Role::Member | Role::Admin => Ok(vec![own]),
            Role::Operator => {
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
