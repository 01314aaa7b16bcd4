//! Why something is allowed or not, and who one is: `POST /api/v1/explain`, `GET /api/v1/me`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::{Caller, CallerRecord, Role};
use valetkey_core::conditions::{Facts, Judged};
use valetkey_core::error::Noun;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::policy::{self, Verdict};
use valetkey_core::scope::{Action, MAX_KEY_BYTES};
use valetkey_core::{Error, Kind};

use super::accounts::{AccountResponse, BalanceResponse};
use super::api::explain::ExplainRequest;
use super::api::scopes::Access;
use super::error::Problem;
use super::requests::Requested;
use super::scopes::action;
use super::state::Native;
use super::{conditions, wire};
use crate::edge::{Call, Reply, json};

/// A grant, to name it by.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantName {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
}

/// A condition of a grant.
#[derive(Serialize, ToSchema)]
pub(super) struct ConditionResponse {
    /// The condition in words.
    condition: String,
    /// `holds`, `fails`, or `unknown` where what it is about is not known of the request: then it does not hold.
    held: &'static str,
}

/// What one grant says.
#[derive(Serialize, ToSchema)]
pub(super) struct Considered {
    /// The grant.
    grant: GrantName,
    /// `allows`, `other_bucket`, `only_through_share`, `outside_paths`, `lacks_action`, `early`, `ended`,
    /// `condition_fails` or `account_suspended`.
    verdict: &'static str,
    /// Its conditions, each as held or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<ConditionResponse>,
    /// The share that made the grant, where it opens the key through that alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    /// The request that the grant was made of, and who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Requested>,
}

/// Whether it is allowed, and what every grant says.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanation {
    /// Whether it is allowed.
    allowed: bool,
    /// Who would do it.
    caller: String,
    /// Where.
    bucket: String,
    /// To what.
    key: String,
    /// What.
    action: &'static str,
    /// The grant that allows it.
    grant: Option<GrantName>,
    /// Not allowed by a grant, and open all the same: to a client of Delta Sharing, through this share.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_through_share: Option<String>,
    /// The caller's grants, the telling ones first.
    considered: Vec<Considered>,
    /// How many more there are that are not listed.
    unlisted: usize,
}

/// Explains whether a caller may do something to a key, and why.
#[utoipa::path(post, operation_id = "explain", path = "/api/v1/explain", tag = "explain", request_body = ExplainRequest, responses(
    (status = 200, description = "The explanation", body = Explanation),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn explain(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let ExplainRequest { bucket, key, action, access, caller, account, from, session_name, external_id } =
        json(&call.body)?;
    let bucket = BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::new(Kind::Invalid, format!("a key has 1 to {MAX_KEY_BYTES} bytes")).at("key"));
    }
    let action = one_action(action.as_deref(), access)?;
    if account.is_some() && caller.is_none() {
        return Err(Error::new(Kind::Invalid, "name the `caller` of that account").at("caller"));
    }
    let account = native.account(&call, account.as_deref()).await?.id;
    let caller = subject(&native, &call, account, caller.as_deref()).await?;
    let from = from.map(|text| conditions::address(&text, "from")).transpose()?;
    // Of another's requests nothing is known but what is said here.
    let here = if caller.id == call.caller.id { call.facts() } else { Facts::default() };
    let from = from.or(here.from);
    let snapshot = native.shared.vending.directory.account(account, call.now).await?;
    let (known, who, place, now) = (Arc::clone(&snapshot), caller.clone(), (bucket.clone(), key.clone()), call.now);
    let explained = move || {
        let (session_name, external_id) = (session_name.as_deref(), external_id.as_deref());
        let facts = Facts { from, session_name, external_id };
        Ok(policy::explain(&known, &who, action, &place.0, place.1.as_bytes(), &facts, now))
    };
    let found = native.shared.heavy.weigh(call.caller.account, snapshot.size(), explained).await?;
    let name = |id: valetkey_core::id::GrantId, name: &Name| GrantName { id: id.to_string(), name: name.to_string() };
    let allowed_by = found.allowed_by.and_then(|id| {
        let by_id = valetkey_core::ask::GrantRef::Id(id);
        snapshot.grant(&caller, &by_id).map(|grant| name(grant.id, &grant.name))
    });
    // Only a key of a shared table costs this question.
    let through =
        |one: &policy::Considered| one.grant.origin.share().filter(|_| one.verdict == Verdict::OnlyThroughShare);
    let asked = found.considered.iter().any(|one| through(one).is_some());
    let shares = if asked { native.shared.shares.shares().await? } else { Vec::new() };
    let share = |one: &policy::Considered| {
        let id = through(one)?;
        shares.iter().find(|share| share.id == id).map(|share| share.name.to_string())
    };
    let requested = native.requested(found.considered.iter().map(|one| &*one.grant)).await?;
    let request = |one: &policy::Considered| requested.get(&one.grant.origin.request()?).cloned();
    let open_through_share = if found.allowed_by.is_some() { None } else { found.considered.iter().find_map(share) };
    Reply::json(&Explanation {
        allowed: found.allowed_by.is_some(),
        caller: caller.name.to_string(),
        bucket: bucket.to_string(),
        key,
        action: action.as_str(),
        grant: allowed_by,
        open_through_share,
        considered: found
            .considered
            .iter()
            .map(|one| Considered {
                grant: name(one.grant.id, &one.grant.name),
                verdict: one.verdict.as_str(),
                conditions: one.conditions.iter().map(judged).collect(),
                share: share(one),
                request: request(one),
            })
            .collect(),
        unlisted: found.unlisted,
    })
}

fn judged(one: &Judged) -> ConditionResponse {
    ConditionResponse { condition: one.said.clone(), held: one.held.as_str() }
}

fn one_action(name: Option<&str>, access: Option<Access>) -> Result<Action, Error> {
    match (name, access) {
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, "`access` and `action` say the same; give one").at("action"))
        }
        (Some(name), None) => action(name, "action"),
        (None, None | Some(Access::Read)) => Ok(Action::GetObject),
        (None, Some(Access::Write)) => Ok(Action::PutObject),
        (None, Some(Access::ReadWrite | Access::Custom)) => {
            Err(Error::new(Kind::Invalid, "ask about `read` and `write` one at a time").at("access"))
        }
    }
}

/// Whom it is about: oneself, or for admins another.
async fn subject(
    native: &Native,
    call: &Call,
    account: valetkey_core::id::AccountId,
    given: Option<&str>,
) -> Result<Caller, Error> {
    let own = (*call.caller).clone();
    let Some(text) = given else { return Ok(own) };
    if account == own.account && (text == own.name.as_str() || text == own.id.to_string()) {
        return Ok(own);
    }
    let missing = || Error::not_found(Noun::Caller).at("caller");
    match call.caller.role {
        Role::Admin | Role::Operator | Role::Auditor | Role::Planner => {}
        Role::Member => return Err(missing()),
    }
    let CallerRecord { id, account, name, role, standing } =
        native.caller_in(account, text).await?.ok_or_else(missing)?;
    // Its grants are no answer: whatever they say, it is refused.
    standing.served().map_err(|error| error.at("caller"))?;
    // Only asked about, never acted as: the token is the asking one's. It is known as its newest session is.
    let identity = native.shared.identities.live_identities(id, call.now).await?.into_iter().next();
    let (token, token_until, held) = (own.token, None, None);
    Ok(Caller { id, account, name, role, token, token_until, held, identity, as_of: 0 })
}

/// Who is asking.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The caller's id.
    id: String,
    /// The caller's name.
    name: String,
    /// What it may do: `member`, `admin`, `auditor`, `planner` or `operator`.
    role: &'static str,
    /// Its account.
    account: AccountResponse,
    /// The id of the token used.
    token: String,
    /// When that token ends.
    token_expires: Option<String>,
    /// How the caller is known, if an identity provider's token proved it.
    identity: Option<IdentityResponse>,
    /// The groups that it is in, by name.
    groups: Vec<String>,
    /// The account's credits.
    credits: BalanceResponse,
}

/// The identity token that a session came of.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityResponse {
    /// The identity provider's name.
    provider: String,
    /// The rule that admitted the token.
    rule: String,
    /// Who the token stands for at its issuer.
    subject: String,
    /// The token's own id (`jti`).
    token_id: Option<String>,
}

/// Shows who is asking.
#[utoipa::path(get, operation_id = "me", path = "/api/v1/me", tag = "explain", responses(
    (status = 200, description = "The caller", body = Me),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn me(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let account = native.account(&call, None).await?;
    let balance = native.shared.usage.balance(account.id).await?;
    let Caller { id, account: _, name, role, token, token_until, held: _, identity: _, as_of: _ } = &*call.caller;
    let snapshot = native.shared.vending.directory.account(account.id, call.now).await?;
    let mut groups = native.shared.registry.groups(Some(account.id)).await?;
    let own = snapshot.groups_of(&call.caller);
    groups.retain(|group| own.contains(&group.id));
    let session = native.shared.identities.session(*token).await?;
    Reply::json(&Me {
        id: id.to_string(),
        name: name.to_string(),
        role: role.as_str(),
        account: native.account_shown(&account).await,
        token: token.to_string(),
        token_expires: token_until.map(wire::at),
        identity: session.map(|session| IdentityResponse {
            provider: session.provider.into(),
            rule: session.rule.into(),
            subject: session.subject.into(),
            token_id: session.jti.map(Into::into),
        }),
        groups: groups.iter().map(|group| group.name.to_string()).collect(),
        credits: BalanceResponse { granted: balance.granted, used: balance.used },
    })
}
