//! Groups: `/api/v1/groups` and `/api/v1/groups/{group}`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::claims::Condition;
use valetkey_core::error::Noun;
use valetkey_core::group::{ByClaim, Group};
use valetkey_core::id::{AccountId, CallerId, GroupId, ProviderId};
use valetkey_core::name::{Name, shortened};
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::policy_set::State;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::groups::{GroupChange, GroupRequest};
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::lists::Names;
use super::preview::AccessChange;
use super::removal::{Changing, Removal, Said};
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// A group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupResponse {
    /// Its id.
    id: String,
    /// Its name, unique in its account.
    name: String,
    /// The account's id.
    account: String,
    /// The account's name.
    account_name: Option<String>,
    /// The callers that are in it, by name.
    members: Vec<String>,
    /// The identity provider whose sessions are in it, if they hold the claims.
    provider: Option<String>,
    /// What their tokens have to claim.
    claims: Vec<String>,
    /// When it was made.
    made: String,
}

/// Groups.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupList {
    groups: Vec<GroupResponse>,
}

/// A changed group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupChanged {
    #[serde(flatten)]
    group: GroupResponse,
    /// Whether nothing was done: then this is what would be.
    dry_run: bool,
    /// How many live leases were ended, of callers that are in it no more.
    ended: u64,
    /// If nothing was done: what callers gain and lose of what they can reach now.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_changes: Option<Vec<AccessChange>>,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

pub(super) fn conditions(texts: &[String]) -> Result<Vec<Condition>, Error> {
    texts.iter().map(|text| Condition::parse(text).map_err(|error| error.at("claims"))).collect()
}

impl Native {
    /// The group of an account that is named by its name or id, as far as there is one.
    pub(super) async fn group_in(&self, account: AccountId, text: &str) -> Result<Option<Group>, Error> {
        let groups = self.shared.registry.groups(Some(account)).await?;
        Ok(groups.into_iter().find(|known| known.name.as_str() == text || known.id.to_string() == text))
    }

    /// The group that the path names: by its id, as `account/name`, or by its name in one's own account.
    async fn group(&self, call: &Call) -> Result<Group, Error> {
        let text = call.params.get("group")?;
        let missing = || Error::not_found(Noun::Group).at("group");
        if let Ok(id) = text.parse::<GroupId>() {
            let account = self.listed(call, None).await?;
            let groups = self.shared.registry.groups(account).await?;
            return groups.into_iter().find(|known| known.id == id).ok_or_else(missing);
        }
        let (account, name) = match text.split_once('/') {
            Some((account, name)) => (Some(account), name),
            None => (None, text),
        };
        self.group_in(self.account(call, account).await?.id, name).await?.ok_or_else(missing)
    }

    async fn groups_shown(&self, groups: &[Group]) -> Result<Vec<GroupResponse>, Error> {
        let names = Names::of(self, groups.iter().map(|group| group.account), []).await?;
        let providers = self.shared.identities.identity_providers().await?;
        let provider = |id: ProviderId| {
            let known = providers.iter().find(|known| known.id == id);
            known.map_or_else(|| id.to_string(), |known| known.name.to_string())
        };
        let mut callers: BTreeMap<CallerId, Name> = BTreeMap::new();
        for account in groups.iter().map(|group| group.account).collect::<BTreeSet<_>>() {
            let own = self.shared.registry.callers(account).await?;
            callers.extend(own.into_iter().map(|known| (known.id, known.name)));
        }
        let member = |id: &CallerId| callers.get(id).map_or_else(|| id.to_string(), ToString::to_string);
        let shown = |group: &Group| {
            let Group { id, account, name, members, by_claim, version: _, made } = group;
            let mut members: Vec<String> = members.iter().map(member).collect();
            members.sort_unstable();
            GroupResponse {
                id: id.to_string(),
                name: name.to_string(),
                account: account.to_string(),
                account_name: names.account(*account),
                members,
                provider: by_claim.as_ref().map(|by| provider(by.provider)),
                claims: by_claim.iter().flat_map(|by| &by.conditions).map(ToString::to_string).collect(),
                made: wire::at(*made),
            }
        };
        Ok(groups.iter().map(shown).collect())
    }

    async fn group_shown(&self, group: Group) -> Result<GroupResponse, Error> {
        let shown = self.groups_shown(&[group]).await?.pop();
        shown.ok_or_else(|| Error::internal("a group was not shown"))
    }

    /// Callers of an account that are named by their names or ids.
    async fn members(
        &self,
        account: AccountId,
        texts: &[String],
        field: &'static str,
    ) -> Result<BTreeSet<CallerId>, Error> {
        if texts.is_empty() {
            return Ok(BTreeSet::new());
        }
        let known = self.shared.registry.callers(account).await?;
        let by_name: BTreeMap<&str, CallerId> = known.iter().map(|one| (one.name.as_str(), one.id)).collect();
        let by_id: BTreeSet<CallerId> = known.iter().map(|one| one.id).collect();
        let found = |text: &String| {
            let id = text.parse().ok().filter(|id| by_id.contains(id)).or_else(|| by_name.get(&**text).copied());
            let said = || format!("the account has no caller `{}`", shortened(text));
            id.ok_or_else(|| Error::new(Kind::NotFound(Noun::Caller), said()).at(field))
        };
        texts.iter().map(found).collect()
    }

    async fn provider_named(&self, text: &str) -> Result<ProviderId, Error> {
        provider_named(&self.shared.identities.identity_providers().await?, text)
    }
}

/// The identity provider of a name or id.
pub(super) fn provider_named(all: &[Arc<IdentityProvider>], text: &str) -> Result<ProviderId, Error> {
    let found = all.iter().find(|known| known.name.as_str() == text || known.id.to_string() == text);
    found.map(|known| known.id).ok_or_else(|| Error::not_found(Noun::IdentityProvider).at("provider"))
}

pub(super) fn unpaired() -> Error {
    let said = "members by claim need an identity provider (`provider`) and what its tokens have to claim (`claims`)";
    Error::new(Kind::Invalid, said).at("claims")
}

/// Lists groups: an operator everybody's, others their account's. For admins.
#[utoipa::path(get, operation_id = "list_groups", path = "/api/v1/groups", tag = "groups", params(
    ("account" = Option<String>, Query, description = "Only this account's (name or id)"),
), responses(
    (status = 200, description = "Groups", body = GroupList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let account = native.listed(&call, call.query.get("account")).await?;
    let groups = native.shared.registry.groups(account).await?;
    Reply::json(&GroupList { groups: native.groups_shown(&groups).await? })
}

/// Shows a group. For admins of its account.
#[utoipa::path(get, operation_id = "get_group", path = "/api/v1/groups/{group}", tag = "groups", params(
    ("group" = String, Path, description = "Its id, `account/name`, or its name in one's own account"),
), responses(
    (status = 200, description = "The group", body = GroupResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn get(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let group = native.group(&call).await?;
    Reply::json(&native.group_shown(group).await?)
}

/// Adds a group. For operators.
#[utoipa::path(post, operation_id = "create_group", path = "/api/v1/groups", tag = "groups", request_body = GroupRequest, responses(
    (status = 201, description = "The group", body = GroupResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let GroupRequest { account, name, members, provider, claims } = json(&call.body)?;
    let account = native.account(&call, Some(&account)).await?.id;
    let by_claim = match (provider, claims) {
        (None, None) => None,
        (Some(provider), Some(claims)) => {
            let conditions = conditions(&claims)?;
            Some(ByClaim { provider: native.provider_named(&provider).await?, conditions })
        }
        (Some(_), None) | (None, Some(_)) => return Err(unpaired()),
    };
    let new = Group {
        id: GroupId::from_bytes([0; 16]),
        account,
        name: wire::named(&name, "name")?,
        members: native.members(account, &members.unwrap_or_default(), "members").await?,
        by_claim,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
    };
    new.check()?;
    let made = native.shared.registry.by(authority).create_group(new, call.now).await?;
    Reply::made(&native.group_shown(made).await?)
}

/// Changes a group. What was vended by grants to it to who is in it no more ends, unless the request says otherwise; if other claims are
/// asked for, to everyone who is not a named member. For operators.
#[utoipa::path(patch, operation_id = "change_group", path = "/api/v1/groups/{group}", tag = "groups", request_body = GroupChange, params(
    ("group" = String, Path, description = "Its id, `account/name`, or its name in one's own account"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The group", body = GroupChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let GroupChange { name, members, add, remove, provider, claims } = json(&call.body)?;
    let before = native.group(&call).await?;
    let mut after = before.clone();
    if let Some(text) = name {
        after.name = wire::named(&text, "name")?;
    }
    if let Some(texts) = members {
        after.members = native.members(before.account, &texts, "members").await?;
    }
    after.members.extend(native.members(before.account, &add.unwrap_or_default(), "add").await?);
    for gone in native.members(before.account, &remove.unwrap_or_default(), "remove").await? {
        after.members.remove(&gone);
    }
    let claims = claims.map(|texts| conditions(&texts)).transpose()?;
    let (of, asked) = before.by_claim.map_or((None, None), |by| (Some(by.provider), Some(by.conditions)));
    after.by_claim = match provider {
        Whom::Everyone if claims.is_none() => None,
        Whom::Everyone => return Err(unpaired()),
        Whom::Unsaid => match (of, claims) {
            (Some(provider), claims) => claims.or(asked).map(|conditions| ByClaim { provider, conditions }),
            (None, None) => None,
            (None, Some(_)) => return Err(unpaired()),
        },
        Whom::Named(text) => {
            let provider = native.provider_named(&text).await?;
            // Another provider's claims mean something else: they are said anew.
            let conditions = claims.or(asked.filter(|_| of == Some(provider))).ok_or_else(unpaired)?;
            Some(ByClaim { provider, conditions })
        }
    };
    after.check()?;
    let by = authority.by();
    let group = native.group_shown(after.clone()).await?;
    let ended = native.changed(&call, &Amendment::Group(Box::new(after.clone())), said, authority).await?;
    let access_changes = if said.is_dry() {
        let changed = after.clone();
        let change = move |state: &mut State| drop(state.groups.insert(changed.id, changed));
        Some(native.access_after(&native.looking(&call).await?, after.account, call.now, change).await?)
    } else {
        None
    };
    let still_taken = if said.is_dry() { Vec::new() } else { still_taken(&native, by).await? };
    Reply::json(&GroupChanged { group, dry_run: said.is_dry(), ended, access_changes, still_taken })
}

/// Removes a group; what was granted to it goes with it, and what was vended by that ends. For operators.
#[utoipa::path(delete, operation_id = "remove_group", path = "/api/v1/groups/{group}", tag = "groups", params(
    ("group" = String, Path, description = "Its id, `account/name`, or its name in one's own account"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let group = native.group(&call).await?;
    Reply::json(&native.removed(&call, authority, &Thing::Group(group.id), said).await?)
}
