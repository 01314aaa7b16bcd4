//! Who may ask for what: `/api/v1/request-rules` and `/api/v1/request-rules/{rule}`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, GroupId, RequestRuleId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::nouns::request::RequestRule;
use valetkey_core::scope::Scope;
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::requests::{RequestRuleChange, RequestRuleRequest};
use super::error::Problem;
use super::lists::Names;
use super::removal::{Changing, Removal, Said};
use super::scopes::{PathRequest, ScopeResponse, wish};
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// A rule of who may ask for what.
#[derive(Serialize, ToSchema)]
pub(super) struct RequestRuleResponse {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// The account whose callers may ask; nothing for those of every account.
    account: Option<String>,
    /// The account's name.
    account_name: Option<String>,
    /// Only this caller of it, or `group:NAME`; nothing for everyone.
    askers: Option<String>,
    /// The group whose members approve, as `account/name`.
    approvers: String,
    #[serde(flatten)]
    scope: ScopeResponse,
    /// The longest that it may be asked for, in seconds.
    max_secs: u32,
    /// Whether the caller may ask under it.
    may_ask: bool,
    /// Whether the caller is one of its approvers.
    may_approve: bool,
    /// When it was made.
    created_at: String,
}

/// Rules of who may ask for what.
#[derive(Serialize, ToSchema)]
pub(super) struct RequestRuleList {
    /// In the order of their names.
    request_rules: Vec<RequestRuleResponse>,
}

/// The groups that the caller is in.
pub(super) async fn own_groups(native: &Native, call: &Call) -> Result<BTreeSet<GroupId>, Error> {
    let snapshot = native.shared.vending.directory.account(call.caller.account, call.now).await?;
    Ok(snapshot.groups_of(&call.caller).into_iter().collect())
}

/// Whether a rule lets the caller ask, who is in these groups.
pub(super) fn may_ask(call: &Call, rule: &RequestRule, groups: &BTreeSet<GroupId>) -> bool {
    let in_group = rule.asking_group().is_some_and(|group| groups.contains(&group));
    rule.is_for(call.caller.account, call.caller.id, in_group)
}

fn may_see(call: &Call, rule: &RequestRule, groups: &BTreeSet<GroupId>) -> bool {
    match call.caller.role {
        Role::Operator | Role::Planner | Role::Auditor => true,
        Role::Admin if rule.account == Some(call.caller.account) => true,
        Role::Admin | Role::Member => may_ask(call, rule, groups) || groups.contains(&rule.approvers),
    }
}

impl Native {
    async fn rules_shown(&self, call: &Call, rules: &[RequestRule]) -> Result<Vec<RequestRuleResponse>, Error> {
        let own = own_groups(self, call).await?;
        let groups = if rules.is_empty() { Vec::new() } else { self.shared.registry.groups(None).await? };
        let groups: BTreeMap<GroupId, _> = groups.into_iter().map(|one| (one.id, (one.account, one.name))).collect();
        let callers = rules.iter().filter_map(|rule| match rule.askers {
            Grantee::Caller(id) => Some(id),
            Grantee::Everyone | Grantee::Group(_) => None,
        });
        let accounts = rules.iter().filter_map(|rule| rule.account);
        let accounts = accounts.chain(groups.values().map(|(account, _)| *account));
        let names = Names::of(self, accounts, callers).await?;
        let shown = |rule: &RequestRule| {
            let RequestRule { id, name, account, askers, scope, most_secs, approvers, version: _, made } = rule;
            RequestRuleResponse {
                id: id.to_string(),
                name: name.to_string(),
                account: account.map(|id| id.to_string()),
                account_name: account.and_then(|id| names.account(id)),
                askers: match askers {
                    Grantee::Everyone => None,
                    Grantee::Caller(id) => Some(names.caller(*id).unwrap_or_else(|| id.to_string())),
                    Grantee::Group(id) => Some(format!(
                        "group:{}",
                        groups.get(id).map_or_else(|| id.to_string(), |(_, name)| name.to_string())
                    )),
                },
                approvers: match groups.get(approvers) {
                    Some((of, name)) => format!("{}/{name}", names.account(*of).unwrap_or_default()),
                    None => approvers.to_string(),
                },
                scope: ScopeResponse::of(scope),
                max_secs: *most_secs,
                may_ask: may_ask(call, rule, &own),
                may_approve: own.contains(approvers),
                created_at: wire::at(*made),
            }
        };
        Ok(rules.iter().map(shown).collect())
    }

    async fn rule_shown(&self, call: &Call, rule: RequestRule) -> Result<RequestRuleResponse, Error> {
        let shown = self.rules_shown(call, &[rule]).await?.pop();
        shown.ok_or_else(|| Error::internal("a request rule was not shown"))
    }

    /// The rule that the path names, by name or id.
    async fn request_rule(&self, call: &Call) -> Result<RequestRule, Error> {
        let text = call.params.get("rule")?;
        let id: Option<RequestRuleId> = text.parse().ok();
        let rules = self.shared.registry.request_rules().await?;
        let found = rules.into_iter().find(|rule| id.map_or(rule.name.as_str() == text, |id| rule.id == id));
        found.ok_or_else(|| Error::not_found(Noun::RequestRule).at("rule"))
    }

    /// The group of approvers that is named: by its id, as `account/name`, or by its name in the rule's account.
    async fn approvers(&self, call: &Call, account: Option<AccountId>, text: &str) -> Result<GroupId, Error> {
        let missing = || Error::not_found(Noun::Group).at("approvers");
        if let Ok(id) = text.parse::<GroupId>() {
            return Ok(id);
        }
        let (account, name) = match (text.split_once('/'), account) {
            (Some((of, name)), _) => {
                (self.account(call, Some(of)).await.map_err(|error| error.at("approvers"))?.id, name)
            }
            (None, Some(account)) => (account, text),
            (None, None) => {
                let said = "name the group as `account/name`: the rule is for every account";
                return Err(Error::new(Kind::Invalid, said).at("approvers"));
            }
        };
        Ok(self.group_in(account, name).await?.ok_or_else(missing)?.id)
    }

    async fn askers(&self, account: Option<AccountId>, text: Option<&str>) -> Result<Grantee, Error> {
        match (account, text) {
            (_, None) => Ok(Grantee::Everyone),
            (Some(account), Some(text)) => self.grantee(account, Some(text)).await.map_err(|error| error.at("askers")),
            (None, Some(_)) => {
                let said = "name the `account` whose callers these are";
                Err(Error::new(Kind::Invalid, said).at("account"))
            }
        }
    }
}

fn no_action() -> Error {
    Error::new(Kind::Invalid, "the rule would allow no action").at("actions")
}

/// Lists the rules under which the caller may ask or approve; all of them to operators, planners and auditors, and to admins those of
/// their account.
#[utoipa::path(get, operation_id = "list_request_rules", path = "/api/v1/request-rules", tag = "requests", responses(
    (status = 200, description = "Rules", body = RequestRuleList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let own = own_groups(&native, &call).await?;
    let mut rules = native.shared.registry.request_rules().await?;
    rules.retain(|rule| may_see(&call, rule, &own));
    Reply::json(&RequestRuleList { request_rules: native.rules_shown(&call, &rules).await? })
}

/// Adds a rule. For operators.
#[utoipa::path(post, operation_id = "create_request_rule", path = "/api/v1/request-rules", tag = "requests", request_body = RequestRuleRequest, responses(
    (status = 201, description = "The rule", body = RequestRuleResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let RequestRuleRequest {
        name,
        account,
        askers,
        approvers,
        bucket,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        access,
        actions,
        max_secs,
    } = json(&call.body)?;
    let account = account.said("account", "say whose callers may ask: an account, or `null` for every account")?;
    let account = match account {
        Some(text) => Some(native.account(&call, Some(&text)).await?.id),
        None => None,
    };
    let bucket = BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?;
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?.ok_or_else(no_paths)?;
    let actions = wish(access, actions.as_deref())?.most();
    let new = RequestRule {
        id: RequestRuleId::from_bytes([0; 16]),
        name: wire::named(&name, "name")?,
        account,
        askers: native.askers(account, askers.as_deref()).await?,
        scope: Scope::new(bucket, paths, actions).ok_or_else(no_action)?,
        most_secs: max_secs,
        approvers: native.approvers(&call, account, &approvers).await?,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
    };
    new.check()?;
    let made = native.shared.registry.by(authority).create_request_rule(new, call.now).await?;
    Reply::made(&native.rule_shown(&call, made).await?)
}

/// The refusal of what names no place.
pub(super) fn no_paths() -> Error {
    let said = "name a `prefix`, `prefixes` or `objects`, or say `\"whole_bucket\": true`";
    Error::new(Kind::Invalid, said).at("prefix")
}

/// Changes a rule. What waits under it is approved as the rule is then; what was approved stays. For operators.
#[utoipa::path(patch, operation_id = "change_request_rule", path = "/api/v1/request-rules/{rule}", tag = "requests", request_body = RequestRuleChange, params(
    ("rule" = String, Path, description = "Its name or id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would be"),
), responses(
    (status = 200, description = "The rule", body = RequestRuleResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let RequestRuleChange {
        name,
        askers,
        approvers,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        access,
        actions,
        max_secs,
    } = json(&call.body)?;
    let before = native.request_rule(&call).await?;
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?;
    let actions = match (access, actions.as_deref()) {
        (None, None) => before.scope.actions(),
        (access, actions) => wish(access, actions)?.most(),
    };
    let (bucket, paths) = (before.scope.bucket().clone(), paths.unwrap_or_else(|| before.scope.paths().clone()));
    let after = RequestRule {
        name: name.as_deref().map(|text| wire::named(text, "name")).transpose()?.unwrap_or_else(|| before.name.clone()),
        askers: match askers {
            Whom::Unsaid => before.askers,
            Whom::Everyone => Grantee::Everyone,
            Whom::Named(text) => native.askers(before.account, Some(&text)).await?,
        },
        scope: Scope::new(bucket, paths, actions).ok_or_else(no_action)?,
        most_secs: max_secs.unwrap_or(before.most_secs),
        approvers: match approvers {
            Some(text) => native.approvers(&call, before.account, &text).await?,
            None => before.approvers,
        },
        ..before
    };
    after.check()?;
    native.changed(&call, &Amendment::RequestRule(Box::new(after.clone())), said, authority).await?;
    Reply::json(&native.rule_shown(&call, after).await?)
}

/// Removes a rule; what waits under it is cancelled, and what was approved stays. For operators.
#[utoipa::path(delete, operation_id = "remove_request_rule", path = "/api/v1/request-rules/{rule}", tag = "requests", params(
    ("rule" = String, Path, description = "Its name or id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let rule = native.request_rule(&call).await?;
    Reply::json(&native.removed(&call, authority, &Thing::RequestRule(rule.id), said).await?)
}
