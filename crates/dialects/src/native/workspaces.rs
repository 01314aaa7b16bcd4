//! Workspaces: `GET` and `POST /api/v1/workspaces`, `DELETE /api/v1/workspaces/{workspace}`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::account::Account;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{GrantId, WorkspaceId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::policy_set::State;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::nouns::workspace::{Access, NewWorkspace, Opening, Root, Slug, Workspace};
use valetkey_core::time::{Lifetime, random_10};
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::workspaces::{AccessWord, WorkspaceChange, WorkspaceRequest};
use super::buckets::carried;
use super::error::Problem;
use super::lists::Names;
use super::preview::Preview;
use super::removal::{Changing, Removal, Said};
use super::state::Native;
use super::{authz, lists, wire};
use crate::edge::{Authority, Call, Reply, json};

/// A workspace.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceResponse {
    /// Its id.
    id: String,
    /// Its key, unique in its account.
    key: String,
    /// Its name for people.
    name: String,
    /// The account's id.
    account: String,
    /// The account's name; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// The storage's id.
    storage: String,
    /// Its bucket.
    bucket: String,
    /// Where in the bucket, without a slash at its end.
    prefix: String,
    /// Whether it is the one meant when none is named.
    default: bool,
    /// When it was made.
    made: String,
}

impl WorkspaceResponse {
    fn of(workspace: &Workspace) -> Self {
        let Workspace { id, account, key, name, storage, bucket, root, is_default, made, updated: _ } = workspace;
        Self {
            id: id.to_string(),
            key: key.to_string(),
            name: name.to_string(),
            account: account.to_string(),
            account_name: None,
            storage: storage.to_string(),
            bucket: bucket.to_string(),
            prefix: root.to_string(),
            default: *is_default,
            made: wire::at(*made),
        }
    }
}

/// Workspaces.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceList {
    workspaces: Vec<WorkspaceResponse>,
}

/// Lists workspaces: an admin its account's, an operator all or one account's.
#[utoipa::path(get, operation_id = "list_workspaces", path = "/api/v1/workspaces", tag = "workspaces", params(
    ("account" = Option<String>, Query, description = "Only this account's (name or id); for operators"),
    ("bucket" = Option<String>, Query, description = "Only those in this bucket"),
), responses(
    (status = 200, description = "Workspaces", body = WorkspaceList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let accounts = match native.listed(&call, query.get("account")).await? {
        Some(account) => vec![account],
        None => native.accounts_in_reach(&call).await?,
    };
    let bucket = lists::bucket(query)?;
    let names = Names::of(&native, accounts.iter().copied(), []).await?;
    let mut workspaces = Vec::new();
    for account in accounts {
        let found = native.shared.workspaces.workspaces(account).await?;
        let meant = found.iter().filter(|one| bucket.as_ref().is_none_or(|bucket| one.bucket == *bucket));
        let shown = |one| WorkspaceResponse { account_name: names.account(account), ..WorkspaceResponse::of(one) };
        workspaces.extend(meant.map(shown));
    }
    Reply::json(&WorkspaceList { workspaces })
}

/// Makes a workspace and the grants that open it: `artifacts` and `cas` under its prefix. For operators.
#[utoipa::path(post, operation_id = "create_workspace", path = "/api/v1/workspaces", tag = "workspaces", request_body = WorkspaceRequest, params(
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 201, description = "The workspace", body = WorkspaceResponse),
    (status = 200, description = "With `dry_run`: what it would mean", body = Preview),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let WorkspaceRequest { account, key, name, bucket, prefix, callers, access, default, max_ttl_secs } =
        json(&call.body)?;
    let account = native.account(&call, Some(&account)).await?;
    let key: Slug = wire::named(&key, "key")?;
    let bucket = BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?;
    let storage = native.storage_of(&bucket).await?;
    carried(&storage, "workspaces are opened through")?;
    let root = prefix.map(|text| Root::parse(&text).map_err(|error| error.at("prefix"))).transpose()?;
    let access = match access {
        Some(AccessWord::Read) => Access::Read,
        Some(AccessWord::ReadWrite) | None => Access::ReadWrite,
    };
    // Where it will be if that was not told: as long and of the same letters.
    let usual = || Root::usual(account.id, WorkspaceId::from_bytes([0; 16]));
    let paths = root.clone().map_or_else(usual, Ok)?.paths().clone();
    native.opens(&storage, (&bucket, paths, access.actions()), "a workspace's two directories", "bucket")?;
    let new = NewWorkspace {
        account: account.id,
        name: wire::words(name.unwrap_or_else(|| key.to_string()), "name", 256)?.into(),
        storage: storage.id,
        bucket,
        root,
        is_default: default.unwrap_or(false),
        openings: native.openings(&account, &key, callers).await?,
        access,
        max_lifetime: match max_ttl_secs {
            Some(secs) => Lifetime::parse(secs).map_err(|error| error.at("max_ttl_secs"))?,
            None => storage.max_lifetime,
        },
        key,
    };
    if Changing::read(&call.query)?.is_dry() {
        let drawn = || random_10(&*native.shared.entropy);
        let (_, grants) =
            new.made(WorkspaceId::new(call.now, drawn()), || GrantId::new(call.now, drawn()), call.now)?;
        let put = |state: &mut State| state.grants.extend(grants.into_iter().map(|grant| (grant.id, grant)));
        let place = native.looking(&call).await?;
        return Reply::json(&Preview::of(0, native.access_after(&place, account.id, call.now, put).await?));
    }
    let made = native.shared.registry.by(authority).create_workspace(new, call.now).await?;
    Reply::made(&WorkspaceResponse::of(&made))
}

/// Removes a workspace with the grants that were made for it. What was vended under them ends too, unless the request says otherwise; the objects
/// stay, and grants that someone made beside it. For operators.
#[utoipa::path(delete, operation_id = "remove_workspace", path = "/api/v1/workspaces/{workspace}", tag = "workspaces", params(
    ("workspace" = String, Path, description = "The workspace's id or key"),
    ("account" = Option<String>, Query, description = "Its account (name or id); the caller's own if not given"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended for it live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = WorkspaceRemoved),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let query = &call.query;
    let said = Said::read(query)?;
    let workspace = native.workspace(&call, query.get("account")).await?;
    let removal = native.removed(&call, authority, &Thing::Workspace(workspace.id), said).await?;
    Reply::json(&WorkspaceRemoved { removed: workspace.id.to_string(), credentials_ended: said.ends(), removal })
}

/// A removed workspace.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceRemoved {
    /// Its id.
    removed: String,
    /// Whether what was vended for it was ended too.
    credentials_ended: bool,
    #[serde(flatten)]
    removal: Removal,
}

/// Changes a workspace's name, or makes it the default one. For operators.
#[utoipa::path(patch, operation_id = "change_workspace", path = "/api/v1/workspaces/{workspace}", tag = "workspaces", request_body = WorkspaceChange, params(
    ("workspace" = String, Path, description = "The workspace's id or key"),
    ("account" = Option<String>, Query, description = "Its account (name or id); the caller's own if not given"),
), responses(
    (status = 200, description = "The workspace", body = WorkspaceResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let query = &call.query;
    let WorkspaceChange { name, default } = json(&call.body)?;
    let Workspace { id, account, .. } = native.workspace(&call, query.get("account")).await?;
    let name = name.map(|text| wire::words(text, "name", 256)).transpose()?.map(Into::into);
    let change = Amendment::Workspace { id, account, name, is_default: default };
    let by = authority.by();
    native.shared.registry.by(authority).change(&change, false, by).await?;
    Reply::json(&WorkspaceResponse::of(&native.workspace(&call, query.get("account")).await?))
}

impl Native {
    /// The workspace that the path names, by key or id; by id whatever its account, for whom every account is within reach.
    async fn workspace(&self, call: &Call, account: Option<&str>) -> Result<Workspace, Error> {
        let given = call.params.get("workspace")?;
        let accounts = match (account, given.parse::<WorkspaceId>()) {
            (None, Ok(_)) => self.accounts_in_reach(call).await?,
            (account, _) => vec![self.account(call, account).await?.id],
        };
        let named = |workspace: &&Workspace| workspace.key.as_str() == given || workspace.id.to_string() == given;
        for account in accounts {
            let workspaces = self.shared.workspaces.workspaces(account).await?;
            if let Some(found) = workspaces.iter().find(named) {
                return Ok(found.clone());
            }
        }
        Err(Error::not_found(Noun::Workspace).at("workspace"))
    }

    /// The grants a workspace is made with: named after it and whom they are for.
    async fn openings(&self, account: &Account, key: &Slug, callers: Whom<Vec<String>>) -> Result<Vec<Opening>, Error> {
        let named = |text: String| Name::parse(&text).map_err(|error| error.at("key"));
        let words = "say whom it is opened for: callers' names, or `null` for everyone";
        let Some(callers) = callers.said("callers", words)? else {
            return Ok(vec![Opening { name: named(format!("workspace-{key}"))?, to: Grantee::Everyone }]);
        };
        if callers.is_empty() || callers.len() > 1000 {
            return Err(Error::new(Kind::Invalid, "name 1 to 1000 callers, or `null` for everyone").at("callers"));
        }
        let known = self.shared.registry.callers(account.id).await?;
        let opening = |text: &String| {
            let own = text.split_once('/').filter(|(of, _)| authz::is_named(account, of));
            let text = own.map_or(text.as_str(), |(_, name)| name);
            let found = known.iter().find(|known| known.name.as_str() == text || known.id.to_string() == text);
            let found = found.ok_or_else(|| Error::not_found(Noun::Caller).at("callers"))?;
            Ok(Opening { name: named(format!("workspace-{key}-{}", found.name))?, to: Grantee::Caller(found.id) })
        };
        callers.iter().map(opening).collect()
    }
}
