//! Who can do something to a place, and what a caller can do: grant by grant, by the rules that policy decides by.

use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Standing;
use crate::claims::Identity;
use crate::conditions::Facts;
use crate::error::{Error, Kind};
use crate::grant::{Grant, GrantTime, Grantee};
use crate::id::CallerId;
use crate::name::{BucketName, Name, shortened};
use crate::nouns::reach::keys::Keys;
use crate::scope::{Actions, Path, PathSet, Paths};
use crate::snapshot::Snapshot;

/// A place that is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    bucket: BucketName,
    keys: At,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum At {
    Key(Box<[u8]>),
    /// All that starts with this prefix.
    Below(Path),
    Whole,
}

impl Place {
    /// Reads `s3://bucket/key`; with a slash at its end it is all that is below, and a bucket alone is all of it.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| {
            let said = format!("`{}` is not a place; one is written s3://bucket/key", shortened(text));
            Error::new(Kind::Invalid, said)
        })?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let keys = match key {
            "" => At::Whole,
            key if key.ends_with('/') => At::Below(Path::prefix(key.as_bytes())?),
            key => match Path::object(key.as_bytes())? {
                Path::Object(key) | Path::Directory(key) | Path::Prefix(key) => At::Key(key),
            },
        };
        Ok(Self { bucket: BucketName::parse(bucket)?, keys })
    }

    /// Its bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Its key, if it is one.
    pub fn key(&self) -> Option<&[u8]> {
        match &self.keys {
            At::Key(key) => Some(key),
            At::Below(_) | At::Whole => None,
        }
    }

    /// It as paths.
    pub fn paths(&self) -> Paths {
        let only = |path: Path| PathSet::new([path]).map_or(Paths::Whole, Paths::Only);
        match &self.keys {
            At::Key(key) => only(Path::Object(key.clone())),
            At::Below(below) => only(below.clone()),
            At::Whole => Paths::Whole,
        }
    }

    /// The keys that it is.
    pub fn keys(&self) -> Keys {
        Keys::of(&self.paths())
    }

    /// How much of the place the paths cover; nothing if none of it.
    pub fn extent(&self, bucket: &BucketName, paths: &Paths) -> Option<Extent> {
        if self.bucket != *bucket {
            return None;
        }
        let all = match &self.keys {
            At::Whole => *paths == Paths::Whole,
            At::Key(key) => return paths.cover_key(key).then_some(Extent::All),
            At::Below(below) => paths.cover_path(below),
        };
        if all {
            return Some(Extent::All);
        }
        match (&self.keys, paths) {
            (At::Below(below), Paths::Only(set)) => set.iter().any(|path| below.covers_path(&path)),
            (At::Whole | At::Key(_) | At::Below(_), Paths::Whole | Paths::Only(_)) => true,
        }
        .then_some(Extent::Part)
    }
}

/// How much of a place a grant opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it.
    All,
    /// Only a part of it.
    Part,
}

/// Which access is asked about.
#[derive(Clone, Default, Debug)]
pub struct Question<'a> {
    /// Only to do one of these.
    pub actions: Option<Actions>,
    /// Only there.
    pub place: Option<&'a Place>,
    /// Only this caller's, and everyone's of its account.
    pub caller: Option<CallerId>,
    /// What the caller's live sessions are known by: they are in groups by that.
    pub sessions: &'a [Arc<Identity>],
    /// How whoever asks is known, and what else of the request is; what is not may be anything.
    pub identity: Option<&'a Identity>,
    /// The rest of it.
    pub facts: Facts<'a>,
    /// When.
    pub at: Timestamp,
}

impl Question<'_> {
    /// The account's grants that open something that is asked about, in the order of their names, from after one on; each with how much of
    /// the place it opens.
    pub fn answers(&self, snapshot: &Snapshot, after: Option<&Name>) -> Vec<(Arc<Grant>, Extent)> {
        match snapshot.account().standing {
            Standing::Suspended => return Vec::new(),
            Standing::Active => {}
        }
        let open = |grant: &Arc<Grant>| {
            if after.is_some_and(|after| grant.name <= *after) {
                return None;
            }
            self.answer(grant).map(|extent| (Arc::clone(grant), extent))
        };
        let mut found: Vec<(Arc<Grant>, Extent)> = match self.caller {
            Some(caller) => snapshot.grants_for(caller, self.sessions).filter_map(open).collect(),
            None => snapshot.all_grants().filter_map(open).collect(),
        };
        found.sort_unstable_by(|(one, _), (two, _)| one.name.cmp(&two.name));
        found
    }

    /// How much of what is asked about a grant opens; nothing if none of it.
    fn answer(&self, grant: &Grant) -> Option<Extent> {
        let Grant { id: _, name: _, account: _, to, storage: _, origin: _, scope, conditions, .. } = grant;
        let whose = match (to, self.caller) {
            // Grants to groups that a caller is not in were left out by the snapshot.
            (Grantee::Everyone | Grantee::Group(_), _) | (Grantee::Caller(_), None) => true,
            (Grantee::Caller(own), Some(caller)) => *own == caller,
        };
        let may = self.actions.is_none_or(|actions| !scope.actions().intersect(actions).is_empty());
        // What is not known, who asks from where and how it is known, may hold; what is known may not.
        let possible = conditions.as_deref().is_none_or(|own| own.may_hold(self.identity, &self.facts, self.at));
        if !whose || !may || !possible || grant.time(self.at) != GrantTime::Live {
            return None;
        }
        self.place.map_or(Some(Extent::All), |place| place.extent(scope.bucket(), scope.paths()))
    }
}
