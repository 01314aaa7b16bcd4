//! What a caller wants, already parsed: no dialect is left in it.

use crate::error::{Error, Kind};
use crate::field::Field;
use crate::id::{GrantId, ShareId, StorageId};
use crate::name::{BucketName, Name};
use crate::scope::{Actions, Parts, Paths};
use crate::storage::Shape;
use crate::time::Lifetime;

/// The most bytes that the paths of one ask may have together. They are kept with every lease of it, so without a bound one
/// caller could fill the disk of all.
pub const MOST_PATH_BYTES: usize = 8 * 1024;

/// The most parts of one ask. Of a credential there are never more than there are actions.
pub const MOST_PARTS: usize = 16;

/// What a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The dialect it was asked in, for the ledger.
    pub dialect: &'static str,
    /// What it should open.
    pub target: Target,
    /// What it should allow; where the target has parts, each says that for itself.
    pub wanted: Wanted,
    /// For how long.
    pub lifetime: Asked,
    /// What the dialect's answer can carry: a store that gives something else is refused.
    pub carries: &'static [Shape],
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
    /// Several parts of one bucket, in one credential.
    Parts {
        /// What decides on them.
        by: By,
        /// Each with what it should allow. None says what another does in vain: together they allow what either does.
        parts: Vec<AskedPart>,
    },
    /// A place, as far as a share that the caller was granted opens it.
    Shared {
        /// Through which share.
        share: ShareId,
        /// The bucket.
        bucket: BucketName,
        /// The paths.
        paths: Paths,
    },
    /// A place of a check's own at a store, to prove there what credentials open. No grant opens it: it is for operators alone.
    Probe {
        /// The store.
        storage: StorageId,
        /// A bucket of its.
        bucket: BucketName,
        /// The paths, all below the directory of one check ([`crate::probe::directory_of`]).
        paths: Paths,
    },
}

/// What decides on the parts of an ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// One grant, by id or name.
    Grant(GrantRef),
    /// Whichever grants open them in this bucket.
    Bucket(BucketName),
}

/// A part of what is asked for: refused with the whole ask where it is not granted, unless nothing of it has to be ([`Wanted::at_most`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedPart {
    /// Where.
    pub paths: Paths,
    /// What it should allow.
    pub wanted: Wanted,
}

impl Target {
    /// What to ask for, so that as much of these parts is given as is granted.
    pub fn of_parts(by: By, parts: &Parts) -> Self {
        match (parts.only(), by) {
            (Some(part), By::Grant(grant)) => Self::Grant { grant, paths: Some(part.paths().clone()) },
            (Some(part), By::Bucket(bucket)) => Self::Place { bucket, paths: part.paths().clone() },
            (None, by) => {
                let asked =
                    |paths: &Paths, actions| AskedPart { paths: paths.clone(), wanted: Wanted::at_most(actions) };
                let own = parts.iter().map(|part| asked(part.paths(), part.actions()));
                // What is allowed in more places than these is allowed here too: where no more is granted than these, so much is given.
                let wider = parts.iter().filter_map(|part| {
                    let here = parts.actions_on(part.paths()).iter().filter(|action| !part.actions().contains(*action));
                    let more = here.fold(Actions::NONE, Actions::with);
                    (!more.is_empty()).then(|| asked(part.paths(), more))
                });
                Self::Parts { by, parts: own.chain(wider).collect() }
            }
        }
    }

    /// Each set of paths that the caller named.
    pub fn named(&self) -> Vec<&Paths> {
        match self {
            Self::Datasets { bucket: _ } => Vec::new(),
            Self::Grant { grant: _, paths } => paths.iter().collect(),
            Self::Parts { by: _, parts } => parts.iter().map(|part| &part.paths).collect(),
            Self::Place { bucket: _, paths }
            | Self::Shared { share: _, bucket: _, paths }
            | Self::Probe { storage: _, bucket: _, paths } => vec![paths],
        }
    }

    /// Refuses more bytes of paths than one ask may have, and more parts.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn bounded(&self) -> Result<(), Error> {
        if let Self::Parts { by: _, parts } = self
            && !(1..=MOST_PARTS).contains(&parts.len())
        {
            let said = format!("there are {} parts; an ask has 1 to {MOST_PARTS}", parts.len());
            return Err(Error::new(Kind::Invalid, said).at(Field::Parts));
        }
        few_bytes(self.named())
    }
}

/// Refuses more bytes of paths than one credential may have.
///
/// # Errors
/// `Invalid`.
pub fn few_bytes<'a>(all: impl IntoIterator<Item = &'a Paths>) -> Result<(), Error> {
    let of = |paths: &Paths| match paths {
        Paths::Whole => 0,
        Paths::Only(set) => set.iter().map(|path| path.bytes().len()).sum::<usize>(),
    };
    let bytes: usize = all.into_iter().map(of).sum();
    if bytes <= MOST_PATH_BYTES {
        return Ok(());
    }
    let said = format!("the paths have {bytes} bytes together; the most for one credential is {MOST_PATH_BYTES}");
    Err(Error::new(Kind::Invalid, said).at(Field::Paths))
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

/// What the credential should allow: of `most`, whatever is granted; without `least` it is of no use and refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    least: Actions,
    most: Actions,
}

impl Wanted {
    /// Of parts that each say it for themselves, whatever any of them wants.
    pub fn of_parts(parts: &[AskedPart]) -> Self {
        Self::at_most(parts.iter().fold(Actions::NONE, |sum, part| sum.union(part.wanted.most)))
    }

    /// All of these, or a refusal.
    pub const fn all_of(actions: Actions) -> Self {
        Self { least: actions, most: actions }
    }

    /// Those of these that are granted, at least one.
    pub const fn at_most(most: Actions) -> Self {
        Self { least: Actions::NONE, most }
    }

    /// Those of `most` that are granted, `least` among them.
    pub const fn between(least: Actions, most: Actions) -> Self {
        Self { least, most: most.union(least) }
    }

    /// Without these it is of no use.
    pub const fn least(self) -> Actions {
        self.least
    }

    /// More than these is never given.
    pub const fn most(self) -> Actions {
        self.most
    }

    /// What a grant of `granted` gives of it; nothing if that is of no use.
    pub fn of(self, granted: Actions) -> Option<Actions> {
        let given = granted.intersect(self.most);
        (granted.contains_all(self.least) && !given.is_empty()).then_some(given)
    }
}

/// For how long the credential should live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The caller did not say; the dialect's own length, cut silently to what is allowed.
    Usual(Lifetime),
    /// The caller said: what is shorter is said in the answer.
    For(Lifetime),
    /// The caller said, and the answer has no place to say otherwise: what is shorter is refused.
    Exactly(Lifetime),
}
