//! Who can do something to a place, and what a caller can do: grant by grant, by the rules that policy decides by.

use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Standing;
use crate::claims::Identity;
use crate::conditions::{Conditions, Facts};
use crate::error::{Error, Kind};
use crate::grant::{Grant, GrantTime, Grantee};
use crate::id::CallerId;
use crate::name::{BucketName, Name, shortened};
use crate::nouns::reach::keys::Keys;
use crate::scope::{Actions, Path, PathSet, Paths, Scope};
use crate::snapshot::Snapshot;
use crate::template::{Claimed, Met, Opens, Subject, Template};

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

impl Place {
    /// The same of a template that is not filled in: how much of the place it opens to somebody.
    fn met(&self, template: &Template) -> Option<(Extent, Met)> {
        if self.bucket != *template.bucket() {
            return None;
        }
        let met = match &self.keys {
            At::Whole => Met { all: false, said: template.said() },
            At::Key(key) => template.meets(&Path::Object(key.clone()))?,
            At::Below(below) => template.meets(below)?,
        };
        Some((if met.all { Extent::All } else { Extent::Part }, met))
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
    /// That caller's name, which templates are filled in with.
    pub name: Option<&'a Name>,
    /// What the caller's live sessions are known by: they are in groups by that.
    pub sessions: &'a [Arc<Identity>],
    /// How whoever asks is known, and what else of the request is; what is not may be anything.
    pub identity: Option<&'a Identity>,
    /// The rest of it.
    pub facts: Facts<'a>,
    /// When.
    pub at: Timestamp,
}

/// A grant that opens something that is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The grant; a template as far as it can be filled in.
    pub grant: Grant,
    /// How much of the place it opens.
    pub extent: Extent,
    /// For whom it does, in the words of a condition, if it is a template of which that is not known.
    pub only: Option<String>,
}

enum Found<'s> {
    Settled(&'s Arc<Grant<Scope>>, Extent),
    Template(Box<Answer>),
}

impl Found<'_> {
    fn name(&self) -> &Name {
        match self {
            Self::Settled(grant, _) => &grant.name,
            Self::Template(answer) => &answer.grant.name,
        }
    }
}

impl Question<'_> {
    /// The account's grants that open something that is asked about, in the order of their names, from after one on; each with how much of
    /// the place it opens.
    pub fn answers(&self, snapshot: &Snapshot, after: Option<&Name>) -> impl Iterator<Item = Answer> {
        let mut found = match snapshot.account().standing {
            Standing::Suspended => Vec::new(),
            Standing::Active => self.found(snapshot, after),
        };
        found.sort_unstable_by(|one, two| one.name().cmp(two.name()));
        found.into_iter().map(|one| match one {
            Found::Settled(grant, extent) => Answer { grant: Grant::clone(grant).into(), extent, only: None },
            Found::Template(answer) => *answer,
        })
    }

    fn found<'s>(&self, snapshot: &'s Snapshot, after: Option<&Name>) -> Vec<Found<'s>> {
        let is_next = |name: &Name| after.is_none_or(|after| name > after);
        let settled = |grant: &'s Arc<Grant<Scope>>| {
            let may = is_next(&grant.name) && self.may(grant, grant.scope.actions());
            let extent = |place: &Place| place.extent(grant.scope.bucket(), grant.scope.paths());
            Some(Found::Settled(grant, self.place.map_or(Some(Extent::All), extent).filter(|_| may)?))
        };
        let account = &snapshot.account().name;
        let template = |grant: &'s Arc<Grant<Template>>| {
            let answer = || self.template(grant, self.name, account);
            is_next(&grant.name).then(answer)?.map(|answer| Found::Template(Box::new(answer)))
        };
        if let Some(caller) = self.caller {
            let templates = snapshot.templates_for(caller, self.sessions).filter_map(template);
            snapshot.settled_for(caller, self.sessions).filter_map(settled).chain(templates).collect()
        } else {
            let templates = snapshot.all_templates().filter_map(template);
            snapshot.all_settled().filter_map(settled).chain(templates).collect()
        }
    }

    /// What a template answers for a caller of an account, or for somebody: what is not known of who asks may be anything, what is may not.
    pub fn template(&self, grant: &Grant<Template>, caller: Option<&Name>, account: &Name) -> Option<Answer> {
        if !self.may(grant, grant.scope.actions()) {
            return None;
        }
        let claims = self.identity.map_or(Claimed::Unknown, |identity| Claimed::By(Some(identity)));
        let scope = grant.scope.fill(&Subject { caller, account, claims }).ok()?;
        let (extent, only) = match (&scope, self.place) {
            (Opens::Scope(scope), Some(place)) => (place.extent(scope.bucket(), scope.paths())?, None),
            (Opens::Scope(_), None) => (Extent::All, None),
            (Opens::Template(rest), Some(place)) => {
                let (extent, met) = place.met(rest)?;
                (extent, Some(met.said))
            }
            (Opens::Template(rest), None) => (Extent::All, Some(rest.said())),
        };
        Some(Answer { grant: grant.clone().opening(scope), extent, only })
    }

    /// Whether a grant may open anything to who is asked about, wherever.
    fn may<O>(&self, grant: &Grant<O>, actions: Actions) -> bool {
        let whose = match (&grant.to, self.caller) {
            // Grants to groups that a caller is not in were left out by the snapshot.
            (Grantee::Everyone | Grantee::Group(_), _) | (Grantee::Caller(_), None) => true,
            (Grantee::Caller(own), Some(caller)) => *own == caller,
        };
        let asked = self.actions.is_none_or(|wanted| !actions.intersect(wanted).is_empty());
        // What is not known, who asks from where and how it is known, may hold; what is known may not.
        let may_hold = |own: &Conditions| own.may_hold(self.identity, &self.facts, self.at);
        let possible = grant.conditions.as_deref().is_none_or(may_hold);
        whose && asked && possible && grant.time(self.at) == GrantTime::Live
    }
}
