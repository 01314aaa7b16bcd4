//! Who one is and what there is for one: the user, its organization, and the workspaces it may know of.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use valetkey_core::account::{Account, Standing};
use valetkey_core::ask::{Ask, Asked, Wanted};
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::nouns::workspace::{self, Workspace};
use valetkey_core::policy;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Shape;
use valetkey_core::{Error, Kind};

use super::{Dreadnode, NAME};
use crate::edge::{Call, Reply};

/// An instant in whole seconds with `Z`.
pub(super) fn at(instant: Timestamp) -> String {
    format!("{instant:.0}")
}

#[derive(Serialize)]
struct User<'a> {
    id: String,
    /// We keep none, and the SDK needs one: in a domain that can have no mail (RFC 2606).
    email_address: String,
    username: &'a str,
    is_platform_admin: bool,
}

pub(super) async fn user(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.snapshot(&call).await?;
    let caller = &call.caller;
    Reply::json(&User {
        id: caller.id.to_string(),
        email_address: format!("{}@{}.invalid", caller.name, snapshot.account().name),
        username: caller.name.as_str(),
        is_platform_admin: match caller.role {
            Role::Operator => true,
            Role::Admin | Role::Member | Role::Auditor | Role::Planner => false,
        },
    })
}

/// How long sandboxes may run: none do here. The SDK demands the fields.
#[derive(Serialize)]
struct Sandboxes {
    effective_max_sandbox_runtime_seconds: u32,
    max_sandbox_runtime_source_level: &'static str,
    effective_default_sandbox_runtime_seconds: u32,
    default_sandbox_runtime_source_level: &'static str,
    platform_max_sandbox_runtime_seconds: u32,
    platform_default_sandbox_runtime_seconds: u32,
}

const NO_SANDBOXES: Sandboxes = Sandboxes {
    effective_max_sandbox_runtime_seconds: 0,
    max_sandbox_runtime_source_level: "platform",
    effective_default_sandbox_runtime_seconds: 0,
    default_sandbox_runtime_source_level: "platform",
    platform_max_sandbox_runtime_seconds: 0,
    platform_default_sandbox_runtime_seconds: 0,
};

#[derive(Serialize)]
struct Organization<'a> {
    id: String,
    name: &'a str,
    key: &'a str,
    is_active: bool,
    created_at: String,
    updated_at: String,
    #[serde(flatten)]
    sandboxes: Sandboxes,
}

impl<'a> Organization<'a> {
    fn of(account: &'a Account) -> Result<Self, Error> {
        let made = Timestamp::from_millisecond(account.id.made_ms())
            .map_err(|error| Error::internal("an account's id holds no timestamp").caused_by(error))?;
        Ok(Self {
            id: account.id.to_string(),
            name: account.name.as_str(),
            key: account.name.as_str(),
            is_active: match account.standing {
                Standing::Active => true,
                Standing::Suspended => false,
            },
            created_at: at(made),
            // What changes of an account is not told here.
            updated_at: at(made),
            sandboxes: NO_SANDBOXES,
        })
    }
}

pub(super) async fn organizations(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.snapshot(&call).await?;
    Reply::json(&[Organization::of(snapshot.account())?])
}

pub(super) async fn organization(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.organization(&call).await?;
    Reply::json(&Organization::of(snapshot.account())?)
}

#[derive(Serialize)]
struct WorkspaceShown<'a> {
    id: String,
    key: &'a str,
    name: &'a str,
    org_id: String,
    org_name: &'a str,
    is_active: bool,
    is_default: bool,
    created_at: String,
    updated_at: String,
}

impl<'a> WorkspaceShown<'a> {
    fn of(workspace: &'a Workspace, account: &'a Account) -> Self {
        let Workspace { id, account: _, key, name, storage: _, bucket: _, root: _, is_default, made, updated } =
            workspace;
        Self {
            id: id.to_string(),
            key: key.as_str(),
            name,
            org_id: account.id.to_string(),
            org_name: account.name.as_str(),
            is_active: true,
            is_default: *is_default,
            created_at: at(*made),
            updated_at: at(*updated),
        }
    }
}

pub(super) async fn workspaces(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.organization(&call).await?;
    let mut shown = Vec::new();
    let all = dreadnode.shared.workspaces.workspaces(call.caller.account).await?;
    for workspace in all.iter() {
        if dreadnode.opens(&snapshot, &call, workspace, Workspace::wanted()) {
            shown.push(WorkspaceShown::of(workspace, snapshot.account()));
        }
    }
    Reply::json(&shown)
}

pub(super) async fn workspace(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.organization(&call).await?;
    let workspace = dreadnode.workspace(&snapshot, &call).await?;
    Reply::json(&WorkspaceShown::of(&workspace, snapshot.account()))
}

impl Dreadnode {
    /// The caller's own account.
    pub(super) async fn snapshot(&self, call: &Call) -> Result<Arc<Snapshot>, Error> {
        self.shared.vending.directory.account(call.caller.account, call.now).await
    }

    /// The organization that the path names: the caller's own account, by name or id. Another one does not exist.
    pub(super) async fn organization(&self, call: &Call) -> Result<Arc<Snapshot>, Error> {
        let given = call.params.get("org")?;
        let snapshot = self.snapshot(call).await?;
        let account = snapshot.account();
        if account.name.as_str() == given || account.id.to_string() == given {
            return Ok(snapshot);
        }
        Err(Error::new(Kind::NotFound(Noun::Account), "no such organization"))
    }

    /// What the credentials of a workspace are asked for with.
    pub(super) fn ask(&self, workspace: &Workspace, wanted: Wanted) -> Ask {
        Ask {
            dialect: NAME,
            target: workspace.target(),
            wanted,
            lifetime: Asked::Usual(self.settings.lifetime),
            carries: Shape::S3_ONLY,
        }
    }

    /// Whether the caller's grants open a workspace for this.
    pub(super) fn opens(&self, snapshot: &Snapshot, call: &Call, workspace: &Workspace, wanted: Wanted) -> bool {
        policy::opens(snapshot, &call.caller, &self.ask(workspace, wanted), &call.facts(), call.now)
    }

    /// The workspace that the path names. One that the caller's grants do not open does not exist for it.
    pub(super) async fn workspace(&self, snapshot: &Snapshot, call: &Call) -> Result<Workspace, Error> {
        let all = self.shared.workspaces.workspaces(call.caller.account).await?;
        match workspace::find(&all, call.params.get("workspace")?) {
            Some(found) if self.opens(snapshot, call, found, Workspace::wanted()) => Ok(found.clone()),
            Some(_) | None => Err(Error::not_found(Noun::Workspace)),
        }
    }
}
