//! The tables of workspaces and their projects.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grant;
use valetkey_core::id::{AccountId, ProjectId, StorageId, WorkspaceId};
use valetkey_core::nouns::workspace::{Project, Root, Slug, Workspace};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::failed;
use crate::sql::registry::{self, taken};
use crate::sql::rows::{self, damaged};

type WorkspaceRow = (Vec<u8>, Vec<u8>, String, String, Vec<u8>, String, String, i64, i64, i64);

fn workspace(row: WorkspaceRow) -> Result<Workspace, Error> {
    let (id, account, key, name, storage, bucket, root, is_default, made, updated) = row;
    Ok(Workspace {
        id: WorkspaceId::from_bytes(rows::id(&id)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        key: Slug::parse(&key).map_err(|_| damaged("a workspace's key"))?,
        name: name.into(),
        storage: StorageId::from_bytes(rows::id(&storage)?),
        bucket: rows::bucket(&bucket)?,
        root: Root::parse(&root).map_err(|_| damaged("a workspace's root"))?,
        is_default: is_default != 0,
        made: rows::at_ms(made)?,
        updated: rows::at_ms(updated)?,
    })
}

pub(crate) async fn workspaces(db: &mut Db, account: AccountId) -> Result<Vec<Workspace>, Error> {
    let found: Vec<WorkspaceRow> = query_as(
        "SELECT id, account, key, name, storage, bucket, root, is_default, made_ms, updated_ms
         FROM workspaces WHERE account = ? ORDER BY key",
    )
    .bind(account.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(workspace).collect()
}

/// Makes a workspace and its grants, all or nothing.
pub(crate) async fn create(db: &mut Db, new: &Workspace, grants: &[Grant], now: Timestamp) -> Result<(), Error> {
    if registry::account(&mut *db, new.account).await?.is_none() {
        return Err(Error::not_found(Noun::Account));
    }
    registry::check_place(&mut *db, new.storage, &new.bucket).await?;
    let roots: Vec<String> = query_scalar("SELECT root FROM workspaces WHERE bucket = ?")
        .bind(new.bucket.as_str().to_owned())
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
    let roots = roots.iter().map(|root| Root::parse(root).map_err(|_| damaged("a workspace's root")));
    new.check_apart(&roots.collect::<Result<Vec<_>, _>>()?)?;
    if new.is_default {
        query("UPDATE workspaces SET is_default = 0, updated_ms = ? WHERE account = ? AND is_default = 1")
            .bind(now.as_millisecond())
            .bind(new.account.to_bytes())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    query(
        "INSERT INTO workspaces (id, account, key, name, storage, bucket, root, is_default, made_ms, updated_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
    )
    .bind(new.id.to_bytes())
    .bind(new.account.to_bytes())
    .bind(new.key.as_str().to_owned())
    .bind(new.name.to_string())
    .bind(new.storage.to_bytes())
    .bind(new.bucket.as_str().to_owned())
    .bind(new.root.as_str().to_owned())
    .bind(i64::from(new.is_default))
    .bind(now.as_millisecond())
    .execute(&mut *db)
    .await
    .map_err(taken(Noun::Workspace, new.key.as_str()))?;
    for grant in grants {
        registry::create_grant(&mut *db, grant, now).await?;
    }
    Ok(())
}

/// Removes a workspace and, with it, its projects.
pub(crate) async fn remove(db: &mut Db, workspace: WorkspaceId) -> Result<(), Error> {
    let done =
        query("DELETE FROM workspaces WHERE id = ?").bind(workspace.to_bytes()).execute(db).await.map_err(failed)?;
    if done.rows_affected() == 0 { Err(Error::not_found(Noun::Workspace)) } else { Ok(()) }
}

type ProjectRow = (Vec<u8>, Vec<u8>, String, String, Option<String>, i64, i64);

fn read_project(row: ProjectRow) -> Result<Project, Error> {
    let (id, workspace, key, name, description, made, updated) = row;
    Ok(Project {
        id: ProjectId::from_bytes(rows::id(&id)?),
        workspace: WorkspaceId::from_bytes(rows::id(&workspace)?),
        key: Slug::parse(&key).map_err(|_| damaged("a project's key"))?,
        name: name.into(),
        description: description.map(Into::into),
        made: rows::at_ms(made)?,
        updated: rows::at_ms(updated)?,
    })
}

pub(crate) async fn projects(db: &mut Db, workspace: WorkspaceId) -> Result<Vec<Project>, Error> {
    let found: Vec<ProjectRow> = query_as(
        "SELECT id, workspace, key, name, description, made_ms, updated_ms FROM projects WHERE workspace = ? ORDER BY key",
    )
    .bind(workspace.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(read_project).collect()
}

pub(crate) async fn project(db: &mut Db, workspace: WorkspaceId, key: &Slug) -> Result<Option<Project>, Error> {
    let found: Option<ProjectRow> = query_as(
        "SELECT id, workspace, key, name, description, made_ms, updated_ms FROM projects WHERE workspace = ? AND key = ?",
    )
    .bind(workspace.to_bytes())
    .bind(key.as_str().to_owned())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(read_project).transpose()
}

pub(crate) async fn create_project(db: &mut Db, new: &Project) -> Result<(), Error> {
    let there: Option<i64> = query_scalar("SELECT 1 FROM workspaces WHERE id = ?")
        .bind(new.workspace.to_bytes())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    if there.is_none() {
        return Err(Error::not_found(Noun::Workspace));
    }
    let count: i64 = query_scalar("SELECT count(*) FROM projects WHERE workspace = ?")
        .bind(new.workspace.to_bytes())
        .fetch_one(&mut *db)
        .await
        .map_err(failed)?;
    Project::check_room(usize::try_from(count).unwrap_or(usize::MAX))?;
    query("INSERT INTO projects (id, workspace, key, name, description, made_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(new.id.to_bytes())
        .bind(new.workspace.to_bytes())
        .bind(new.key.as_str().to_owned())
        .bind(new.name.to_string())
        .bind(new.description.as_deref().map(ToOwned::to_owned))
        .bind(new.made.as_millisecond())
        .bind(new.updated.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(taken(Noun::Project, new.key.as_str()))?;
    Ok(())
}
