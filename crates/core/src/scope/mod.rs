//! What may be done where: a bucket, paths in it, and actions. The algebra everything else rests on. A [`Scope`] has one set of paths and
//! one of actions, as a grant has; [`Rights`] have paths of its own for each action, as a credential may.
//!
//! Keys are opaque bytes after exactly one percent-decoding: no normalising of `..`, `//`, case or Unicode, anywhere.

mod action;
mod encode;
mod parts;
mod path;
mod paths;
mod rights;

pub use action::{Action, Actions};
pub use parts::{Part, Parts};
pub use path::{MAX_KEY_BYTES, Path};
pub use paths::{PathSet, Paths};
pub use rights::Rights;

use crate::name::BucketName;

/// What a grant opens: some actions, all of them on the same paths.
///
/// * exactly one bucket
/// * never an empty set of paths, never an empty set of actions: an empty one is a refusal, not "everything"
/// * the whole bucket is spelt out ([`Paths::Whole`])
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Scope {
    bucket: BucketName,
    part: Part,
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
        Some(Self { bucket, part: Part::new(paths, actions)? })
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The paths.
    pub fn paths(&self) -> &Paths {
        self.part.paths()
    }

    /// The actions.
    pub fn actions(&self) -> Actions {
        self.part.actions()
    }

    /// Whether this action on this key of this bucket is inside the scope.
    pub fn covers(&self, bucket: &str, key: &[u8], action: Action) -> bool {
        let Self { bucket: own, part } = self;
        own.as_str() == bucket && part.actions().contains(action) && part.paths().cover_key(key)
    }

    /// What a request to list the keys under `prefix` may see. `action` is the listing asked for.
    pub fn listing(&self, bucket: &str, prefix: &[u8], action: Action) -> Listing {
        let Self { bucket: own, part } = self;
        if own.as_str() != bucket || !part.actions().contains(action) {
            return Listing::Refused;
        }
        part.paths().listing(prefix)
    }

    /// Whether everything `inner` reaches is inside this scope too.
    pub fn covers_scope(&self, inner: &Self) -> bool {
        // INVARIANT: no `..` here; a new dimension of a scope must be compared before this builds again.
        let Self { bucket, part } = inner;
        *bucket == self.bucket && self.paths().cover_paths(part.paths()) && self.actions().contains_all(part.actions())
    }

    /// What both scopes reach; nothing if they share nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let Self { bucket, part } = other;
        if *bucket != self.bucket {
            return None;
        }
        let paths = self.paths().intersect(part.paths())?;
        Self::new(self.bucket.clone(), paths, self.actions().intersect(part.actions()))
    }

    /// Narrows to the given paths and actions, if all of them are inside; otherwise refuses.
    #[must_use]
    pub fn narrow(&self, paths: Paths, actions: Actions) -> Option<Self> {
        let narrowed = Self::new(self.bucket.clone(), paths, actions)?;
        self.covers_scope(&narrowed).then_some(narrowed)
    }
}
