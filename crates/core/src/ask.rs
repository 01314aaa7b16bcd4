//! What a caller wants, already parsed: no dialect is left in it.

use crate::id::GrantId;
use crate::name::{BucketName, Name};
use crate::scope::{Actions, Paths};
use crate::time::Lifetime;

/// What a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The dialect it was asked in, for the ledger.
    pub dialect: &'static str,
    /// What it should open.
    pub target: Target,
    /// What it should allow.
    pub wanted: Wanted,
    /// For how long.
    pub lifetime: Asked,
}

/// What the credential should open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Every dataset the caller was granted, in one bucket; which, if there are several.
    Datasets {
        /// The bucket, needed only when the datasets lie in more than one.
        bucket: Option<BucketName>,
    },
    /// One grant by id or name, whole or narrowed to paths inside it.
    Grant {
        /// Which.
        grant: GrantRef,
        /// The paths inside it; all of it when absent.
        paths: Option<Paths>,
    },
    /// A place, whichever grants open it.
    Place {
        /// The bucket.
        bucket: BucketName,
        /// The paths.
        paths: Paths,
    },
}

/// A grant, as a caller names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrantRef {
    /// By its id.
    Id(GrantId),
    /// By its name in the caller's account.
    Name(Name),
}

impl GrantRef {
    /// Reads an id or a name.
    ///
    /// # Errors
    /// `Invalid` when it is neither.
    pub fn parse(text: &str) -> Result<Self, crate::Error> {
        if text.starts_with(GrantId::PREFIX) && text.len() == GrantId::PREFIX.len() + 26 {
            return text.parse().map(Self::Id);
        }
        Name::parse(text).map(Self::Name)
    }
}

/// What the credential should allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// All of these; without one of them it is of no use and refused.
    AllOf(Actions),
    /// Those of these that are granted, at least one.
    AtMost(Actions),
}

impl Wanted {
    /// What a grant of `granted` gives of it; nothing if that is of no use.
    pub fn of(self, granted: Actions) -> Option<Actions> {
        match self {
            Self::AllOf(actions) => granted.contains_all(actions).then_some(actions),
            Self::AtMost(actions) => Some(granted.intersect(actions)),
        }
        .filter(|actions| !actions.is_empty())
    }
}

/// For how long the credential should live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The caller did not say; the dialect's own length, cut silently to what is allowed.
    Usual(Lifetime),
    /// The caller said.
    For(Lifetime),
}
