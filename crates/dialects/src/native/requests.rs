//! Requests for access: `/api/v1/requests`, and what is done with one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::field::Attribute;
use valetkey_core::grant::Grant;
use valetkey_core::id::{GrantId, GroupId, RequestId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::policy_set::State as Policies;
use valetkey_core::nouns::request::{
    AccessRequest, Decision, NewRequest, RequestFilter, RequestRule, State, Whose, rule_for, words_of,
};
use valetkey_core::scope::Scope;
use valetkey_core::time::random_10;
use valetkey_core::{Error, Kind};

use super::api::requests::{AccessRequestBody, DecisionBody};
use super::authz::may_see;
use super::error::Problem;
use super::lists::{self, Names};
use super::preview::Preview;
use super::request_rules::{may_ask, no_paths, own_groups};
use super::scopes::{PathRequest, ScopeResponse, wish};
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// A request for access.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessRequestResponse {
    /// Its id.
    id: String,
    /// `pending`, `approved`, `denied`, `cancelled` or `expired`.
    state: &'static str,
    /// The account of who asks.
    account: String,
    /// The account's name.
    account_name: Option<String>,
    /// Who asks.
    caller: String,
    /// The caller's name.
    caller_name: Option<String>,
    /// Who they are at their identity provider, where they asked with a session: its name and the subject.
    known_as: Option<String>,
    /// The name of the rule that it was made under; nothing where that is gone.
    rule: Option<String>,
    #[serde(flatten)]
    scope: ScopeResponse,
    /// For how long from its approval, in seconds.
    for_secs: u32,
    /// Why.
    reason: String,
    /// When it was made.
    created_at: String,
    /// When nobody can decide it any more.
    expires_at: String,
    /// When it was decided.
    decided_at: Option<String>,
    /// Who decided it; nobody where its rule was removed.
    decided_by: Option<String>,
    /// That caller's name, with its account's and a slash in front.
    decided_by_name: Option<String>,
    /// What they said.
    note: Option<String>,
    /// The grant that was made of it, which may be gone.
    grant: Option<String>,
    /// When that grant ends.
    until: Option<String>,
    /// Whether the caller may approve or deny it now.
    may_decide: bool,
    /// Whether the caller may cancel it now.
    may_cancel: bool,
}

/// Requests for access.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessRequestList {
    /// The newest first.
    requests: Vec<AccessRequestResponse>,
    /// What to send as `before` for the next page; nothing when there is none.
    next_before: Option<String>,
}

/// The request that a grant was made of, and who approved it.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Requested {
    /// The request's id.
    id: String,
    /// Who approved it, as `account/name`.
    approved_by: Option<String>,
}

impl Requested {
    pub(super) fn cells(one: Option<&Self>) -> (String, String) {
        let cell = |text: Option<&String>| text.cloned().unwrap_or_default();
        (cell(one.map(|one| &one.id)), cell(one.and_then(|one| one.approved_by.as_ref())))
    }
}

/// The rules that there are, and the groups that the caller is in.
struct View {
    rules: Vec<RequestRule>,
    groups: BTreeSet<GroupId>,
}

impl View {
    async fn of(native: &Native, call: &Call) -> Result<Self, Error> {
        Ok(Self { rules: native.shared.registry.request_rules().await?, groups: own_groups(native, call).await? })
    }

    fn rule(&self, request: &AccessRequest) -> Option<&RequestRule> {
        self.rules.iter().find(|rule| rule.id == request.rule)
    }

    /// The rules that the caller approves by.
    fn approved(&self) -> impl Iterator<Item = &RequestRule> {
        self.rules.iter().filter(|rule| self.groups.contains(&rule.approvers))
    }

    fn approves(&self, request: &AccessRequest) -> bool {
        self.approved().any(|rule| rule.id == request.rule)
    }
}

impl Native {
    /// A caller's name with its account's, also of one that was removed.
    async fn full_name(&self, id: valetkey_core::id::CallerId) -> Result<Option<String>, Error> {
        let Some(known) = self.shared.registry.caller_by_id(id).await? else { return Ok(None) };
        let account = self.shared.registry.account_by_id(known.account).await?;
        Ok(account.map(|account| format!("{}/{}", account.name, known.name)))
    }

    async fn requests_shown(
        &self,
        call: &Call,
        view: &View,
        requests: &[AccessRequest],
    ) -> Result<Vec<AccessRequestResponse>, Error> {
        let accounts = requests.iter().map(|one| one.account);
        let names = Names::of(self, accounts, requests.iter().map(|one| one.caller)).await?;
        let mut deciders = BTreeMap::new();
        for by in requests.iter().filter_map(|one| one.decided.as_ref()?.by).collect::<BTreeSet<_>>() {
            deciders.insert(by, self.full_name(by).await?);
        }
        let shown = |one: &AccessRequest| {
            let AccessRequest { id, account, caller, scope, secs, reason, made, decided, known_as, .. } = one;
            let rule = view.rule(one);
            let by = (call.caller.id, call.caller.role);
            let may = |how| one.check(how, by, rule.map(|rule| (rule, view.approves(one))), call.now).is_ok();
            let grant = decided.as_ref().and_then(|decided| decided.grant.map(|grant| (grant, decided.at)));
            let end = |at: jiff::Timestamp| at.checked_add(jiff::SignedDuration::from_secs(i64::from(*secs))).ok();
            AccessRequestResponse {
                id: id.to_string(),
                state: one.state(call.now).as_str(),
                account: account.to_string(),
                account_name: names.account(*account),
                caller: caller.to_string(),
                caller_name: names.caller(*caller),
                known_as: known_as.as_deref().map(str::to_owned),
                rule: rule.map(|rule| rule.name.to_string()),
                scope: ScopeResponse::of(scope),
                for_secs: *secs,
                reason: reason.to_string(),
                created_at: wire::at(*made),
                expires_at: wire::at(one.waits_until()),
                decided_at: decided.as_ref().map(|decided| wire::at(decided.at)),
                decided_by: decided.as_ref().and_then(|decided| decided.by).map(|by| by.to_string()),
                decided_by_name: decided.as_ref().and_then(|decided| deciders.get(&decided.by?).cloned().flatten()),
                note: decided.as_ref().map(|decided| decided.note.to_string()).filter(|note| !note.is_empty()),
                grant: grant.map(|(grant, _)| grant.to_string()),
                until: grant.and_then(|(_, at)| end(at)).map(wire::at),
                // One that would only be too wide by now can still be denied.
                may_decide: may(Decision::Denied),
                may_cancel: may(Decision::Cancelled),
            }
        };
        Ok(requests.iter().map(shown).collect())
    }

    async fn request_shown(
        &self,
        call: &Call,
        view: &View,
        one: AccessRequest,
    ) -> Result<AccessRequestResponse, Error> {
        let shown = self.requests_shown(call, view, &[one]).await?.pop();
        shown.ok_or_else(|| Error::internal("a request was not shown"))
    }

    /// The request that the path names, as far as the caller may know of it.
    async fn known_request(&self, call: &Call, view: &View) -> Result<AccessRequest, Error> {
        let id: RequestId = wire::in_path(call.params.get("request")?, Noun::Request, "request")?;
        let found = self.shared.registry.access_request(id).await?;
        let known = |one: &AccessRequest| may_see(&call.caller, one.account, one.caller) || view.approves(one);
        found.filter(known).ok_or_else(|| Error::not_found(Noun::Request).at("request"))
    }

    /// The requests that some grants were made of, by the requests' ids.
    pub(super) async fn requested<'g>(
        &self,
        grants: impl IntoIterator<Item = &'g Grant>,
    ) -> Result<HashMap<RequestId, Requested>, Error> {
        let mut found = HashMap::new();
        for id in grants.into_iter().filter_map(|grant| grant.origin.request()).collect::<BTreeSet<_>>() {
            let by = self.shared.registry.access_request(id).await?.and_then(|one| one.decided?.by);
            let approved_by = match by {
                Some(by) => self.full_name(by).await?,
                None => None,
            };
            found.insert(id, Requested { id: id.to_string(), approved_by });
        }
        Ok(found)
    }

    /// What approving it would open, and to whom; refused as that would be.
    async fn approval_previewed(&self, call: &Call, view: &View, one: &AccessRequest) -> Result<Reply, Error> {
        let rule = view.rule(one).map(|rule| (rule, view.approves(one)));
        one.check(Decision::Approved, (call.caller.id, call.caller.role), rule, call.now)?;
        let storage = self.storage_of(one.scope.bucket()).await?;
        let id = GrantId::new(call.now, random_10(&*self.shared.entropy));
        let grant = one.grant(id, &storage, call.now)?;
        let (place, put) =
            (self.looking(call).await?, move |state: &mut Policies| drop(state.grants.insert(id, grant)));
        Reply::json(&Preview::of(0, self.access_after(&place, one.account, call.now, put).await?))
    }

    async fn decide(&self, call: &Call, authority: Authority, how: Decision) -> Result<Reply, Error> {
        let DecisionBody { note } = if call.body.is_empty() { DecisionBody::default() } else { json(&call.body)? };
        let note = match note {
            Some(text) => words_of(&text, Attribute::Note)?,
            None => "".into(),
        };
        let view = View::of(self, call).await?;
        let known = self.known_request(call, &view).await?;
        if call.query.flag("dry_run")?.unwrap_or(false) {
            return self.approval_previewed(call, &view, &known).await;
        }
        let id = known.id;
        let registry = self.shared.registry.by(authority);
        let done = registry.decide_request(id, how, note, &call.caller, call.now).await?;
        Reply::json(&self.request_shown(call, &view, done).await?)
    }
}

/// Lists requests: one's own and those under rules that one approves by; an admin those of its account, too; operators, planners and
/// auditors all.
#[utoipa::path(get, operation_id = "list_requests", path = "/api/v1/requests", tag = "requests", params(
    ("state" = Option<String>, Query, description = "Only `pending`, `approved`, `denied`, `cancelled` or `expired` ones"),
    ("decide" = Option<bool>, Query, description = "`true` for those under rules that the caller approves by, and no others"),
    ("before" = Option<String>, Query, description = "The `next_before` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given"),
), responses(
    (status = 200, description = "Requests", body = AccessRequestList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let limit = lists::size(query)?;
    let state = query.get("state").map(|text| wire::word::<State>(text, "a state of requests", "state")).transpose()?;
    let before = query.get("before").map(|text| wire::named::<RequestId>(text, "before")).transpose()?;
    let decide = query.flag("decide")?.unwrap_or(false);
    let view = View::of(&native, &call).await?;
    let approved = view.approved().map(|rule| Whose::Rule(rule.id));
    let whose: Vec<Whose> = match call.caller.role {
        _ if decide => approved.collect(),
        Role::Operator | Role::Planner | Role::Auditor => vec![Whose::Everybodys],
        Role::Admin => approved.chain([Whose::Account(call.caller.account)]).collect(),
        Role::Member => approved.chain([Whose::Caller(call.caller.id)]).collect(),
    };
    // The newest of each, of which the newest are the newest of all.
    let mut found: BTreeMap<RequestId, AccessRequest> = BTreeMap::new();
    for whose in whose {
        let filter = RequestFilter { whose, state, now: call.now, before, limit: limit + 1 };
        let some = native.shared.registry.access_requests(&filter).await?;
        found.extend(some.into_iter().map(|one| (one.id, one)));
        while found.len() > usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1) {
            found.pop_first();
        }
    }
    let (page, more) = lists::page(found.into_values().rev().collect(), limit);
    let next_before = page.last().filter(|_| more).map(|last| last.id.to_string());
    Reply::json(&AccessRequestList { requests: native.requests_shown(&call, &view, &page).await?, next_before })
}

/// Shows a request.
#[utoipa::path(get, operation_id = "get_request", path = "/api/v1/requests/{request}", tag = "requests", params(
    ("request" = String, Path, description = "Its id"),
), responses(
    (status = 200, description = "The request", body = AccessRequestResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn get(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let view = View::of(&native, &call).await?;
    let one = native.known_request(&call, &view).await?;
    Reply::json(&native.request_shown(&call, &view, one).await?)
}

/// Asks for access, under a rule that all of it is in. It waits for an approver, for a day.
#[utoipa::path(post, operation_id = "create_request", path = "/api/v1/requests", tag = "requests", request_body = AccessRequestBody, responses(
    (status = 201, description = "The request", body = AccessRequestResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let AccessRequestBody {
        bucket,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        access,
        actions,
        for_secs,
        reason,
        rule,
    } = json(&call.body)?;
    let bucket = BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?;
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?.ok_or_else(no_paths)?;
    let actions = wish(access, actions.as_deref())?.most();
    let scope = Scope::new(bucket, paths, actions)
        .ok_or_else(|| Error::new(Kind::Invalid, "the request would allow no action").at("actions"))?;
    let rule: Option<Name> = rule.map(|text| wire::named(&text, "rule")).transpose()?;
    let new = NewRequest { scope, secs: for_secs, reason: words_of(&reason, Attribute::Reason)?, rule };
    let view = View::of(&native, &call).await?;
    // SECURITY: first: of a bucket that no rule names nobody learns whether it is there.
    let own: Vec<&RequestRule> = view.rules.iter().filter(|rule| may_ask(&call, rule, &view.groups)).collect();
    rule_for(&own, new.rule.as_ref(), &new.scope, new.secs)?;
    let storage = native.storage_of(new.scope.bucket()).await?;
    native.stores.can_express(&storage, &new.scope)?;
    let made = native.shared.registry.by(authority).ask_access(new, &call.caller, call.now).await?;
    Reply::made(&native.request_shown(&call, &view, made).await?)
}

/// Approves a request: a grant of what was asked for is made, which ends when the time that was asked for is over. For members of the
/// group that its rule names, but for who asked.
#[utoipa::path(post, operation_id = "approve_request", path = "/api/v1/requests/{request}/approve", tag = "requests", request_body = DecisionBody, params(
    ("request" = String, Path, description = "Its id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The request; with `dry_run` an object with `dry_run`, `ended` and `access_changes`, as of a grant", body = AccessRequestResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn approve(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    native.decide(&call, authority, Decision::Approved).await
}

/// Denies a request. For who may approve it.
#[utoipa::path(post, operation_id = "deny_request", path = "/api/v1/requests/{request}/deny", tag = "requests", request_body = DecisionBody, params(
    ("request" = String, Path, description = "Its id"),
), responses(
    (status = 200, description = "The request", body = AccessRequestResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn deny(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    native.decide(&call, authority, Decision::Denied).await
}

/// Takes a request back that waits. For who made it, and for operators. What was approved is taken back by removing its grant.
#[utoipa::path(delete, operation_id = "cancel_request", path = "/api/v1/requests/{request}", tag = "requests", params(
    ("request" = String, Path, description = "Its id"),
), responses(
    (status = 200, description = "The request", body = AccessRequestResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn cancel(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    native.decide(&call, authority, Decision::Cancelled).await
}
