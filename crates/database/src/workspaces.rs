//! Workspaces from memory when warm, and their projects. Changes are written first, then seen, then answered.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, GrantId, ProjectId, WorkspaceId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::workspace::{NewWorkspace, Project, Slug, Workspace, WorkspaceAdmin, Workspaces};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::workspaces;

#[async_trait]
impl Workspaces for Database {
    async fn workspaces(&self, account: AccountId) -> Result<Arc<[Workspace]>, Error> {
        let kept = &self.shared.memory.workspaces;
        if let Some(found) = kept.get(&account) {
            return Ok(found);
        }
        let _one = kept.loading(&account).await;
        if let Some(found) = kept.get(&account) {
            return Ok(found);
        }
        let since = kept.generation();
        let found: Arc<[Workspace]> = workspaces::workspaces(&mut self.reader().await?, account).await?.into();
        kept.keep(since, account, Arc::clone(&found));
        Ok(found)
    }

    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, Error> {
        workspaces::projects(&mut self.reader().await?, workspace).await
    }

    async fn project(&self, workspace: WorkspaceId, key: &Slug) -> Result<Option<Project>, Error> {
        workspaces::project(&mut self.reader().await?, workspace, key).await
    }

    async fn create_project(
        &self,
        workspace: WorkspaceId,
        key: &Slug,
        name: &str,
        description: Option<&str>,
        now: Timestamp,
    ) -> Result<Project, Error> {
        let id = ProjectId::new(now, self.noise());
        let (key, name, description) = (key.clone(), name.into(), description.map(Into::into));
        let project = Project { id, workspace, key, name, description, made: now, updated: now };
        self.administer(move |db, notes| {
            Box::pin(async move {
                workspaces::create_project(db, &project).await?;
                notes.did(Deed::Made, Noun::Project, project.id, project.key.as_str());
                Ok((project, Touches::Nothing))
            })
        })
        .await
    }
}

#[async_trait]
impl WorkspaceAdmin for Database {
    async fn create_workspace(&self, new: NewWorkspace, now: Timestamp) -> Result<Workspace, Error> {
        let grant_id = || GrantId::new(now, self.noise());
        let (workspace, grants) = new.made(WorkspaceId::new(now, self.noise()), grant_id, now)?;
        self.administer(move |db, notes| {
            Box::pin(async move {
                workspaces::create(db, &workspace, &grants, now).await?;
                notes.did(Deed::Made, Noun::Workspace, workspace.id, workspace.key.as_str());
                let touches = Touches::Account(workspace.account);
                Ok((workspace, touches))
            })
        })
        .await
    }

    async fn remove_workspace(
        &self,
        account: AccountId,
        workspace: WorkspaceId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        let known = self.workspaces(account).await?;
        if known.iter().all(|one| one.id != workspace) {
            return Err(Error::not_found(Noun::Workspace));
        }
        self.remove(&Thing::Workspace(workspace), How::ending(end_credentials), by).await.map(drop)
    }
}
