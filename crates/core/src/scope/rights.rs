//! What a credential may access.

use crate::name::BucketName;
use crate::scope::{Action, Actions, Listing, Part, Parts, Path, Paths, Scope};

/// What a credential may access: in exactly one bucket, for each action its paths.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rights {
    bucket: BucketName,
    parts: Parts,
}

impl From<Scope> for Rights {
    fn from(scope: Scope) -> Self {
        let Scope { bucket, part } = scope;
        Self { bucket, parts: part.into() }
    }
}

impl Rights {
    /// Puts them together.
    pub const fn new(bucket: BucketName, parts: Parts) -> Self {
        Self { bucket, parts }
    }

    /// The same actions on all of these paths; nothing if there is no action.
    pub fn of(bucket: BucketName, paths: Paths, actions: Actions) -> Option<Self> {
        Some(Self { bucket, parts: Part::new(paths, actions)?.into() })
    }

    /// The bucket.
    pub const fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The parts: what is allowed where.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Everything that is allowed anywhere in the bucket.
    pub fn actions(&self) -> Actions {
        self.parts.actions()
    }

    /// Where in the bucket an action is allowed; nothing if it is not.
    pub fn paths_of(&self, action: Action) -> Option<&Paths> {
        self.parts.paths_of(action)
    }

    /// Whether this action on this key of this bucket is allowed.
    pub fn covers(&self, bucket: &str, key: &[u8], action: Action) -> bool {
        self.bucket.as_str() == bucket && self.parts.cover(key, action)
    }

    /// What a request to list the keys under `prefix` may see. `action` is the listing asked for.
    pub fn listing(&self, bucket: &str, prefix: &[u8], action: Action) -> Listing {
        if self.bucket.as_str() == bucket { self.parts.listing(prefix, action) } else { Listing::Refused }
    }

    /// Whether everything `inner` allows is allowed here too.
    pub fn cover_rights(&self, inner: &Self) -> bool {
        // INVARIANT: no `..` here; a new dimension must be compared before this builds again.
        let Self { bucket, parts } = inner;
        *bucket == self.bucket && self.parts.cover_parts(parts)
    }

    /// What both allow; nothing if they share nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let Self { bucket, parts } = other;
        if *bucket != self.bucket {
            return None;
        }
        Some(Self { bucket: self.bucket.clone(), parts: self.parts.intersect(parts)? })
    }

    /// What either allows; nothing if they are of different buckets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Option<Self> {
        let Self { bucket, parts } = other;
        (*bucket == self.bucket).then(|| Self { bucket: self.bucket.clone(), parts: self.parts.union(parts) })
    }

    /// What of it is allowed on one object, on that object alone.
    #[must_use]
    pub fn on_object(&self, key: &[u8]) -> Option<Self> {
        let alone = Paths::only([Path::object(key).ok()?]).ok()?;
        let actions = self.parts.actions_on(&alone);
        Self::of(self.bucket.clone(), alone, actions)
    }

    /// About how many bytes it takes in memory, for a cache.
    pub fn weight(&self) -> usize {
        let of = |part: &Part| match part.paths() {
            Paths::Whole => 64,
            Paths::Only(set) => set.iter().map(|path| path.bytes().len() + 32).sum(),
        };
        self.parts.iter().map(of).sum()
    }
}
