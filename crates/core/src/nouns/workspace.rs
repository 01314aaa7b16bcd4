//! A named place of an account with two parts to work in, and the projects in it: Dreadnode's workspaces.
//!
//! That a workspace is on record opens nothing. Grants do, and whom they open it for is who may know of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ask::{Target, Wanted};
use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::grant::{Grant, Grantee, Origin};
use crate::id::{AccountId, GrantId, ProjectId, StorageId, WorkspaceId};
use crate::lease::Revoker;
use crate::name::{BucketName, Name, shortened};
use crate::scope::{Action, Actions, Path, Paths, Scope};
use crate::time::Lifetime;

/// What a workspace is of no use without: reading and listing.
pub const READ: Actions = Actions::NONE.with(Action::GetObject).with(Action::ListBucket);

/// Everything a workspace is ever opened for: no deleting, and nothing about the bucket itself.
pub const WORK: Actions = READ.with(Action::PutObject).with(Action::MultipartUpload).with(Action::AbortUpload);

/// The most projects of one workspace.
pub const MOST_PROJECTS: usize = 10_000;

/// What a workspace or a project is called in a URL.
///
/// * 1 to 63 characters of `a-z`, `0-9` and `-`: what Dreadnode's client takes
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Box<str>);

impl Slug {
    /// Reads a slug.
    ///
    /// # Errors
    /// `Invalid` when it breaks the promise above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&text.len()) || !text.bytes().all(plain) {
            return Err(Error::new(
                Kind::Invalid,
                format!("`{}` is not a key; one has 1 to 63 characters of a-z, 0-9, `-`", shortened(text)),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl FromStr for Slug {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The longest root: what a client puts behind it is short, and the whole must stay a key.
const LONGEST_ROOT: usize = 512;

/// Where in its bucket a workspace is. Clients put `/artifacts/…` and `/cas/…` behind it.
///
/// * 1 to 512 bytes of text without control characters
/// * no empty segments: it neither starts nor ends with `/`, nor has `//` in it
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    text: Box<str>,
    /// Made once: every vend asks for them.
    paths: Paths,
}

impl Root {
    /// Reads a root.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LONGEST_ROOT
            || text.split('/').any(|part| matches!(part, "" | "." | ".."))
            || text.chars().any(char::is_control)
        {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` is not a workspace's prefix; one has 1 to {LONGEST_ROOT} bytes and no slash at its start, at its end or twice in a row, and no part is `.` or `..`",
                    shortened(text)
                ),
            ));
        }
        let part = |name: &str| Path::directory(format!("{text}/{name}").as_bytes());
        Ok(Self { paths: Paths::only([part("artifacts")?, part("cas")?])?, text: text.into() })
    }

    /// Where a workspace is that was not told.
    ///
    /// # Errors
    /// None: ids make a root.
    pub fn usual(account: AccountId, workspace: WorkspaceId) -> Result<Self, Error> {
        Self::parse(&format!("{account}/workspaces/{workspace}"))
    }

    /// The root as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The two parts there are to work in.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether one root lies in the other, or they are the same.
    pub fn overlaps(&self, other: &Self) -> bool {
        let inside =
            |one: &str, two: &str| one.strip_prefix(two).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        inside(&self.text, &other.text) || inside(&other.text, &self.text)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

/// A named place of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The account it is of.
    pub account: AccountId,
    /// Its key, unique in its account.
    pub key: Slug,
    /// Its name for people.
    pub name: Box<str>,
    /// The store it is at.
    pub storage: StorageId,
    /// The bucket it is in.
    pub bucket: BucketName,
    /// Where in the bucket. No other workspace's root of the same bucket lies in it, nor it in one.
    pub root: Root,
    /// Whether it is the one meant when none is named; at most one of an account is.
    pub is_default: bool,
    /// When it was made.
    pub made: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Workspace {
    /// What a credential for it opens.
    pub fn target(&self) -> Target {
        Target::Place { bucket: self.bucket.clone(), paths: self.root.paths().clone() }
    }

    /// What a credential for it allows: to read at least, and to write where that is granted too.
    pub const fn wanted() -> Wanted {
        Wanted::between(READ, WORK)
    }

    /// A grant that opens it.
    ///
    /// # Errors
    /// None: no access is without actions.
    pub fn grant(
        &self,
        id: GrantId,
        opening: &Opening,
        access: Access,
        max_lifetime: Lifetime,
    ) -> Result<Grant, Error> {
        let scope = Scope::new(self.bucket.clone(), self.root.paths().clone(), access.actions());
        Ok(Grant {
            id,
            name: opening.name.clone(),
            account: self.account,
            to: opening.to,
            storage: self.storage,
            origin: Origin::Workspace(self.id),
            scope: scope.ok_or_else(|| Error::internal("a workspace's grant without actions"))?.into(),
            max_lifetime,
            from: None,
            until: None,
            conditions: None,
        })
    }

    /// Refuses a workspace whose place is not its own, among those of its bucket.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_apart(&self, others: &[Root]) -> Result<(), Error> {
        if others.iter().any(|other| other.overlaps(&self.root)) {
            let said = format!("the prefix `{}` overlaps another workspace's in this bucket", self.root);
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Prefix));
        }
        Ok(())
    }
}

/// The workspace of that key in a list that is in order of keys.
pub fn find<'a>(workspaces: &'a [Workspace], key: &str) -> Option<&'a Workspace> {
    let at = workspaces.binary_search_by(|workspace| workspace.key.as_str().cmp(key)).ok()?;
    workspaces.get(at)
}

/// What those a new workspace is opened for may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read and list.
    Read,
    /// Also write, whole or in parts.
    ReadWrite,
}

impl Access {
    /// The actions.
    pub const fn actions(self) -> Actions {
        match self {
            Self::Read => READ,
            Self::ReadWrite => WORK,
        }
    }
}

/// A grant to be made with a workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The grant's name, unique in the account.
    pub name: Name,
    /// Whom it is for.
    pub to: Grantee,
}

/// A workspace to be made, and whom it is opened for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewWorkspace {
    /// The account it is of.
    pub account: AccountId,
    /// Its key.
    pub key: Slug,
    /// Its name for people.
    pub name: Box<str>,
    /// The store it is at.
    pub storage: StorageId,
    /// The bucket it is in.
    pub bucket: BucketName,
    /// Where in the bucket; [`Root::usual`] if not told.
    pub root: Option<Root>,
    /// Whether it takes the place of the account's default one.
    pub is_default: bool,
    /// Whom it is opened for.
    pub openings: Vec<Opening>,
    /// What they may do.
    pub access: Access,
    /// No credential of theirs lives longer.
    pub max_lifetime: Lifetime,
}

impl NewWorkspace {
    /// The workspace as it will be, and the grants that open it.
    ///
    /// # Errors
    /// As [`Root::usual`] and [`Workspace::grant`].
    pub fn made(
        self,
        id: WorkspaceId,
        mut grant_id: impl FnMut() -> GrantId,
        now: Timestamp,
    ) -> Result<(Workspace, Vec<Grant>), Error> {
        let Self { account, key, name, storage, bucket, root, is_default, openings, access, max_lifetime } = self;
        let root = root.map_or_else(|| Root::usual(account, id), Ok)?;
        let made = Workspace { id, account, key, name, storage, bucket, root, is_default, made: now, updated: now };
        let grants = openings.iter().map(|opening| made.grant(grant_id(), opening, access, max_lifetime));
        let grants = grants.collect::<Result<_, _>>()?;
        Ok((made, grants))
    }
}

/// A name for what belongs together in a workspace. It opens nothing and closes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The workspace it is in.
    pub workspace: WorkspaceId,
    /// Its key, unique in its workspace.
    pub key: Slug,
    /// Its name for people.
    pub name: Box<str>,
    /// A sentence for people.
    pub description: Option<Box<str>>,
    /// When it was made.
    pub made: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Project {
    /// Refuses one more in a workspace that has so many.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_room(there: usize) -> Result<(), Error> {
        if there >= MOST_PROJECTS {
            let said = format!("the workspace has {MOST_PROJECTS} projects, which is the most");
            return Err(Error::new(Kind::Invalid, said));
        }
        Ok(())
    }
}

/// Keeps workspaces and their projects. Every change is durable when the call returns, and seen by every read made
/// afterwards on this node.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// The workspaces of an account, in order of their keys. When warm it makes no query.
    async fn workspaces(&self, account: AccountId) -> Result<Arc<[Workspace]>, Error>;

    /// The projects of a workspace, in order of their keys.
    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, Error>;

    /// One project of a workspace.
    async fn project(&self, workspace: WorkspaceId, key: &Slug) -> Result<Option<Project>, Error>;

    /// Makes a project; `Invalid` when the workspace has [`MOST_PROJECTS`].
    async fn create_project(
        &self,
        workspace: WorkspaceId,
        key: &Slug,
        name: &str,
        description: Option<&str>,
        now: Timestamp,
    ) -> Result<Project, Error>;
}

/// Makes and removes workspaces. Administration: nobody comes to it without an authority.
#[async_trait]
pub trait WorkspaceAdmin: Workspaces {
    /// Makes a workspace and the grants that open it, all or nothing.
    async fn create_workspace(&self, new: NewWorkspace, now: Timestamp) -> Result<Workspace, Error>;

    /// Removes a workspace, its projects and the grants that were made for it; with `end_credentials` what was vended under
    /// those ends too. The objects, and grants that somebody made beside it, stay.
    async fn remove_workspace(
        &self,
        account: AccountId,
        workspace: WorkspaceId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_no_empty_segment() {
        for bad in ["", "/", "/a", "a/", "a//b", "a\n", "..", "../a", "a/./b", &"x".repeat(513)] {
            assert!(Root::parse(bad).is_err(), "{bad:?}");
        }
        let root = Root::parse("a/b").unwrap();
        let paths = root.paths();
        assert!(paths.cover_key(b"a/b/artifacts/x") && paths.cover_key(b"a/b/cas/sha256/ab/cd/x"));
        for outside in [&b"a/b"[..], b"a/b/", b"a/b/x", b"a/b/casx", b"a/b/cas-/x", b"a/b/artifact", b"a"] {
            assert!(!paths.cover_key(outside), "{}", outside.escape_ascii());
        }
        assert!(Root::parse(&"x".repeat(512)).is_ok());
    }

    #[test]
    fn roots_overlap_by_segment() {
        let overlap = |one: &str, two: &str| Root::parse(one).unwrap().overlaps(&Root::parse(two).unwrap());
        assert!(overlap("a", "a") && overlap("a", "a/b") && overlap("a/b", "a"));
        assert!(!overlap("a", "ab") && !overlap("a/b", "a/c") && !overlap("a-b", "a"));
    }

    #[test]
    fn slugs_are_what_the_client_takes() {
        assert_eq!(Slug::parse("a-1").unwrap().as_str(), "a-1");
        for bad in ["", "A", "a_b", "a.b", "a/b", "ä", &"x".repeat(64)] {
            assert!(Slug::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_deletes_in_a_workspace() {
        for action in [Action::DeleteObject, Action::ListUploads, Action::GetBucketInfo, Action::PutBucketConfig] {
            assert!(!WORK.contains(action));
        }
        assert!(WORK.contains_all(READ));
    }
}
