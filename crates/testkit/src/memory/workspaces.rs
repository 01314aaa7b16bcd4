//! Workspaces, projects and packages in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::{AccountId, CallerId, GrantId, ProjectId, WorkspaceId};
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, MOST_UPLOADS, Manifest, Packages, Reference, Tag, Upload};
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::workspace::{NewWorkspace, Project, Slug, Workspace, WorkspaceAdmin, Workspaces};

use crate::memory::Memory;

/// Everything of workspaces.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) workspaces: Vec<Workspace>,
    pub(super) projects: Vec<Project>,
    uploads: Vec<(Upload, Timestamp)>,
    blobs: BTreeMap<(AccountId, Digest), Vec<u8>>,
    manifests: BTreeMap<(AccountId, Name, Digest), Manifest>,
    tags: BTreeMap<(AccountId, Name, Tag), Digest>,
}

impl Shelf {
    /// Whether an account has packages.
    pub(super) fn has_packages(&self, account: AccountId) -> bool {
        self.blobs.keys().any(|(of, _)| *of == account) || self.manifests.keys().any(|(of, ..)| *of == account)
    }

    /// Forgets the packages of an account.
    pub(super) fn drop_packages(&mut self, account: AccountId) {
        self.uploads.retain(|(upload, _)| upload.account != account);
        self.blobs.retain(|(of, _), _| *of != account);
        self.manifests.retain(|(of, ..), _| *of != account);
        self.tags.retain(|(of, ..), _| *of != account);
    }

    fn of(&self, caller: CallerId) -> usize {
        self.uploads.iter().filter(|(upload, _)| upload.caller == caller).count()
    }
}

#[async_trait]
impl Workspaces for Memory {
    async fn workspaces(&self, account: AccountId) -> Result<Arc<[Workspace]>, Error> {
        let world = self.world();
        let own = world.shelf.workspaces.iter().filter(|known| known.account == account);
        let mut own: Vec<Workspace> = own.cloned().collect();
        own.sort_by(|one, two| one.key.cmp(&two.key));
        Ok(own.into())
    }

    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, Error> {
        let world = self.world();
        let own = world.shelf.projects.iter().filter(|project| project.workspace == workspace);
        let mut own: Vec<Project> = own.cloned().collect();
        own.sort_by(|one, two| one.key.cmp(&two.key));
        Ok(own)
    }

    async fn project(&self, workspace: WorkspaceId, key: &Slug) -> Result<Option<Project>, Error> {
        let world = self.world();
        let is = |project: &&Project| project.workspace == workspace && project.key == *key;
        Ok(world.shelf.projects.iter().find(is).cloned())
    }

    async fn create_project(
        &self,
        workspace: WorkspaceId,
        key: &Slug,
        name: &str,
        description: Option<&str>,
        now: Timestamp,
    ) -> Result<Project, Error> {
        let id = ProjectId::new(now, self.random());
        let (key, name, description) = (key.clone(), name.into(), description.map(Into::into));
        let project = Project { id, workspace, key, name, description, made: now, updated: now };
        let mut world = self.world();
        if !world.shelf.workspaces.iter().any(|known| known.id == workspace) {
            return Err(Error::not_found(Noun::Workspace));
        }
        let own = || world.shelf.projects.iter().filter(|known| known.workspace == workspace);
        Project::check_room(own().count())?;
        if own().any(|known| known.key == project.key) {
            return Err(Error::taken(Noun::Project, &project.key));
        }
        world.shelf.projects.push(project.clone());
        Ok(project)
    }
}

#[async_trait]
impl WorkspaceAdmin for Memory {
    async fn create_workspace(&self, new: NewWorkspace, now: Timestamp) -> Result<Workspace, Error> {
        let grant_id = || GrantId::new(now, self.random());
        let (made, grants) = new.made(WorkspaceId::new(now, self.random()), grant_id, now)?;
        let mut world = self.world();
        world.account(made.account)?;
        world.check_place(made.storage, &made.bucket)?;
        let in_bucket = world.shelf.workspaces.iter().filter(|known| known.bucket == made.bucket);
        made.check_apart(&in_bucket.map(|known| known.root.clone()).collect::<Vec<_>>())?;
        if world.shelf.workspaces.iter().any(|known| known.account == made.account && known.key == made.key) {
            return Err(Error::taken(Noun::Workspace, &made.key));
        }
        for (at, grant) in grants.iter().enumerate() {
            world.check_grant(grant)?;
            let same =
                |known: &&valetkey_core::grant::Grant| known.account == grant.account && known.name == grant.name;
            if world.grants.iter().chain(grants.iter().take(at)).any(|known| same(&known)) {
                return Err(Error::taken(Noun::Grant, &grant.name));
            }
        }
        if made.is_default {
            let defaults = world.shelf.workspaces.iter_mut().filter(|known| known.account == made.account);
            for old in defaults.filter(|known| known.is_default) {
                old.is_default = false;
                old.updated = now;
            }
        }
        world.grants.extend(grants);
        world.shelf.workspaces.push(made.clone());
        world.version += 1;
        Ok(made)
    }

    async fn remove_workspace(
        &self,
        account: AccountId,
        workspace: WorkspaceId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        if self.workspaces(account).await?.iter().all(|known| known.id != workspace) {
            return Err(Error::not_found(Noun::Workspace));
        }
        self.world().take(&Thing::Workspace(workspace), How::ending(end_credentials), by).map(drop)
    }
}

#[async_trait]
impl Packages for Memory {
    async fn begin_upload(&self, upload: &Upload, until: Timestamp, now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        let kept = &mut world.shelf;
        kept.uploads.retain(|(_, until)| now < *until);
        while u32::try_from(kept.of(upload.caller)).is_ok_and(|open| open >= MOST_UPLOADS) {
            let Some(oldest) = kept.uploads.iter().position(|(open, _)| open.caller == upload.caller) else { break };
            kept.uploads.remove(oldest);
        }
        kept.uploads.push((upload.clone(), until));
        Ok(())
    }

    async fn finish_upload(&self, upload: &Upload, digest: Digest, body: Vec<u8>, now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        let kept = &mut world.shelf;
        let is = |(open, until): &(Upload, Timestamp)| open == upload && now < *until;
        let at = kept.uploads.iter().position(is).ok_or_else(|| Error::not_found(Noun::Package))?;
        digest.check(Digest::of(&body))?;
        kept.uploads.remove(at);
        kept.blobs.insert((upload.account, digest), body);
        Ok(())
    }

    async fn blob(&self, account: AccountId, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.world().shelf.blobs.get(&(account, digest)).cloned())
    }

    async fn blob_size(&self, account: AccountId, digest: Digest) -> Result<Option<u64>, Error> {
        let world = self.world();
        Ok(world.shelf.blobs.get(&(account, digest)).map(|body| u64::try_from(body.len()).unwrap_or(u64::MAX)))
    }

    async fn put_manifest(
        &self,
        account: AccountId,
        package: &Name,
        tag: Option<&Tag>,
        manifest: &Manifest,
        needs: &[Digest],
        _now: Timestamp,
    ) -> Result<(), Error> {
        let mut world = self.world();
        let kept = &mut world.shelf;
        if let Some(missing) = needs.iter().find(|digest| !kept.blobs.contains_key(&(account, **digest))) {
            return Err(Manifest::lacks(*missing));
        }
        kept.manifests.insert((account, package.clone(), manifest.digest), manifest.clone());
        if let Some(tag) = tag {
            kept.tags.insert((account, package.clone(), tag.clone()), manifest.digest);
        }
        Ok(())
    }

    async fn manifest(
        &self,
        account: AccountId,
        package: &Name,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        let world = self.world();
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => world.shelf.tags.get(&(account, package.clone(), tag.clone())).copied(),
        };
        Ok(digest.and_then(|digest| world.shelf.manifests.get(&(account, package.clone(), digest)).cloned()))
    }

    async fn tags(&self, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error> {
        let world = self.world();
        let own = world.shelf.tags.keys().filter(|(of, name, _)| *of == account && name == package);
        Ok(own.map(|(_, _, tag)| tag.clone()).collect())
    }
}
