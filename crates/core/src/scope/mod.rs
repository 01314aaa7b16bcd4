//! Where a credential may reach: a bucket, paths in it, and actions. The algebra everything else rests on.
//!
//! Keys are opaque bytes after exactly one percent-decoding: no normalising of `..`, `//`, case or Unicode, anywhere.

mod action;
mod encode;
mod path;
mod paths;

pub use action::{Action, Actions};
pub use path::{MAX_KEY_BYTES, Path};
pub use paths::{PathSet, Paths};

use crate::name::BucketName;

/// Where a credential may reach.
///
/// * exactly one bucket
/// * never an empty set of paths, never an empty set of actions: an empty one is a refusal, not "everything"
/// * the whole bucket is spelt out ([`Paths::Whole`])
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Scope {
    bucket: BucketName,
    paths: Paths,
    actions: Actions,
}

/// What a request to list keys under a prefix may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// Nothing: the prefix lies outside the scope.
    Refused,
    /// Every key under the prefix.
    All,
    /// Only the keys under the prefix that the scope covers: the prefix itself lies on the scope's border.
    Covered,
}

impl Scope {
    /// Puts a scope together; nothing if there would be no action in it.
    pub fn new(bucket: BucketName, paths: Paths, actions: Actions) -> Option<Self> {
        if actions.is_empty() { None } else { Some(Self { bucket, paths, actions }) }
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The paths.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The actions.
    pub fn actions(&self) -> Actions {
        self.actions
    }

    /// Whether this action on this key of this bucket is inside the scope.
    pub fn covers(&self, bucket: &str, key: &[u8], action: Action) -> bool {
        let Self { bucket: own, paths, actions } = self;
        own.as_str() == bucket && actions.contains(action) && paths.cover_key(key)
    }

    /// What a request to list the keys under `prefix` may see. `action` is the listing asked for.
    pub fn listing(&self, bucket: &str, prefix: &[u8], action: Action) -> Listing {
        let Self { bucket: own, paths, actions } = self;
        if own.as_str() != bucket || !actions.contains(action) {
            return Listing::Refused;
        }
        paths.listing(prefix)
    }

    /// Whether everything `inner` reaches is inside this scope too.
    pub fn covers_scope(&self, inner: &Self) -> bool {
        // INVARIANT: no `..` here; a new dimension of a scope must be compared before this builds again.
        let Self { bucket, paths, actions } = inner;
        *bucket == self.bucket && self.paths.cover_paths(paths) && self.actions.contains_all(*actions)
    }

    /// What both scopes reach; nothing if they share nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let Self { bucket, paths, actions } = other;
        if *bucket != self.bucket {
            return None;
        }
        Self::new(self.bucket.clone(), self.paths.intersect(paths)?, self.actions.intersect(*actions))
    }

    /// Narrows to the given paths and actions, if all of them are inside; otherwise refuses.
    #[must_use]
    pub fn narrow(&self, paths: Paths, actions: Actions) -> Option<Self> {
        let narrowed = Self::new(self.bucket.clone(), paths, actions)?;
        self.covers_scope(&narrowed).then_some(narrowed)
    }
}
