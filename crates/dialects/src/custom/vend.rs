//! One route of a file: from its path, its fields and its caller to an ask, and from what was vended to the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::error::Noun;
use valetkey_core::field::Field as At;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::workspace::{self, Workspace};
use valetkey_core::policy;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::field::{self, Given};
use super::route::RouteSpec;
use super::template::Values;
use super::text::{Known, Opens, is_segment};
use super::told;
use super::written::{Access, Means};
use crate::edge::{Call, Reply, Shared};

/// What the handler of a route works with.
pub(super) struct Own {
    pub(super) shared: Arc<Shared>,
    pub(super) name: &'static str,
    pub(super) route: RouteSpec,
}

/// What a request means, by the key of each field.
type Said = BTreeMap<&'static str, Given>;

pub(super) async fn vend(own: Arc<Own>, call: Call) -> Result<Reply, Error> {
    let route = &own.route;
    let said = field::read(&route.fields, &call)?;
    let snapshot = own.shared.vending.directory.account(call.caller.account, call.now).await?;
    let known = known(route, &call, &snapshot, &said)?;
    of_account(route, &snapshot, &known)?;
    let (target, workspace) = own.target(&call, &known, &said).await?;
    let ask = Ask {
        dialect: own.name,
        target,
        wanted: route.wanted(&said)?,
        lifetime: route.lifetime(&said),
        carries: route.carries,
    };
    let vended = match own.shared.vending.vend(&call.caller, &ask).await {
        // The record knows why. The caller may not know that there is a workspace.
        Err(error) if workspace.is_some() && !policy::opens(&snapshot, &call.caller, &ask, &call.facts(), call.now) => {
            return Err(Error::not_found(Noun::Workspace).really(error.reason()));
        }
        vended => vended.map_err(|error| route.named(error))?,
    };
    let values = told::answer((&vended, &call), &snapshot, workspace.as_ref(), kept(route, &known, &said))?;
    let body = route.answer.write(&values);
    body.map(|body| Reply::written(body, "application/json"))
        .map_err(|said| Error::internal(format!("the answer of `{}` {said}", route.path)))
}

/// What texts may name.
fn known(route: &RouteSpec, call: &Call, snapshot: &Snapshot, said: &Said) -> Result<Known, Error> {
    let mut known =
        Known::from([("caller", call.caller.name.to_string()), ("account", snapshot.account().name.to_string())]);
    for name in route.names() {
        known.insert(name, call.params.get(name)?.to_owned());
    }
    for field in route.fields.iter().filter(|field| field.is_word()) {
        if let Some(Given::Word(text)) = said.get(field.key) {
            known.insert(field.key, text.clone());
        }
    }
    Ok(known)
}

/// What templates may name of a request.
fn kept(route: &RouteSpec, known: &Known, said: &Said) -> Values {
    let named = route.names().filter_map(|name| Some((name, Value::from(known.get(name)?.as_str()))));
    let fields =
        route.fields.iter().map(|field| (field.key, said.get(field.key).map_or_else(|| Value::from(()), Value::from)));
    named.chain(fields).collect()
}

/// The account that a route names is the caller's own, by name or id; there is no other.
fn of_account(route: &RouteSpec, snapshot: &Snapshot, known: &Known) -> Result<(), Error> {
    let Some(account) = &route.account else { return Ok(()) };
    let (given, own) = (account.named(known)?, snapshot.account());
    if own.name.as_str() == given || own.id.to_string() == given {
        return Ok(());
    }
    Err(Error::not_found(Noun::Account))
}

impl Own {
    async fn target(&self, call: &Call, known: &Known, said: &Said) -> Result<(Target, Option<Workspace>), Error> {
        let route = &self.route;
        let directory = route.meant(said, Means::Prefix);
        let target = match &route.opens {
            Opens::Datasets => {
                let bucket = route.meant(said, Means::Bucket).map(BucketName::parse).transpose();
                Target::Datasets { bucket: bucket.map_err(|error| route.named(error.at(At::Bucket)))? }
            }
            Opens::Grant(grant) => {
                let grant = GrantRef::parse(&grant.named(known)?).map_err(|_| Error::not_found(Noun::Grant))?;
                Target::Grant { grant, paths: directory.map(|inside| route.directory(None, inside)).transpose()? }
            }
            Opens::Workspace(key) => {
                let missing = || Error::not_found(Noun::Workspace);
                let all = self.shared.workspaces.workspaces(call.caller.account).await?;
                let found = workspace::find(&all, &key.named(known)?).ok_or_else(missing)?.clone();
                return Ok((found.target(), Some(found)));
            }
            Opens::Place(bucket, prefix) => {
                let bucket = BucketName::parse(&bucket.filled(known)?).map_err(|_| Error::not_found(Noun::Bucket))?;
                let own = prefix.as_ref().map(|prefix| prefix.filled(known)).transpose()?;
                let paths = match (own, directory) {
                    (None, None) => Paths::Whole,
                    (Some(own), None) => Paths::only([Path::directory(own.as_bytes())?])?,
                    (own, Some(inside)) => route.directory(own.as_deref(), inside)?,
                };
                Target::Place { bucket, paths }
            }
        };
        Ok((target, None))
    }
}

impl RouteSpec {
    /// The value of the field that has this meaning.
    fn meant<'s>(&self, said: &'s Said, means: Means) -> Option<&'s str> {
        match said.get(self.field(means)?)? {
            Given::Word(text) => Some(text),
            Given::Number(_) => None,
        }
    }

    fn field(&self, means: Means) -> Option<&'static str> {
        self.fields.iter().find(|field| field.means == Some(means)).map(|field| field.key)
    }

    /// A directory inside of another, or of the bucket.
    fn directory(&self, own: Option<&str>, inside: &str) -> Result<Paths, Error> {
        let bad = |said: &'static str| self.named(Error::new(Kind::Invalid, said).at(At::Paths));
        if !inside.split('/').all(is_segment) {
            return Err(bad(
                "a directory is written without slashes around it or twice in a row, and has no `.` or `..`",
            ));
        }
        let whole = own.map_or_else(|| inside.to_owned(), |own| format!("{own}/{inside}"));
        Paths::only([Path::directory(whole.as_bytes()).map_err(|error| self.named(error.at(At::Paths)))?])
    }

    fn wanted(&self, said: &Said) -> Result<Wanted, Error> {
        if let Opens::Workspace(_) = self.opens {
            // SECURITY: a workspace is opened to write where that is granted, but for a route that only reads.
            let (usual, most) = (Workspace::wanted(), self.access.actions());
            return Ok(Wanted::between(usual.least().intersect(most), usual.most().intersect(most)));
        }
        let access = match self.meant(said, Means::Access) {
            None => self.access,
            Some(word) => {
                let access =
                    [Access::Read, Access::Write, Access::ReadWrite].into_iter().find(|own| own.word() == word);
                let access = access.filter(|access| self.access.actions().contains_all(access.actions()));
                let said = format!("this route gives no more than `{}`", self.access.word());
                access.ok_or_else(|| self.named(Error::new(Kind::Forbidden, said).at(At::Access)))?
            }
        };
        Ok(match self.opens {
            Opens::Datasets => Wanted::at_most(access.actions()),
            Opens::Grant(_) | Opens::Place(..) | Opens::Workspace(_) => {
                Wanted::between(access.essential(), access.actions())
            }
        })
    }

    fn lifetime(&self, said: &Said) -> Asked {
        match self.field(Means::Ttl).and_then(|key| said.get(key)) {
            Some(Given::Number(secs)) if self.tells_end => Asked::For(Lifetime::secs(*secs)),
            // The answer has no place to say that it is shorter.
            Some(Given::Number(secs)) => Asked::Exactly(Lifetime::secs(*secs)),
            Some(Given::Word(_)) | None => Asked::Usual(self.lifetime),
        }
    }

    /// A refusal with the request's own name for what is at fault.
    fn named(&self, error: Error) -> Error {
        let means = match error.fault() {
            Some(At::Bucket) => Means::Bucket,
            Some(At::Paths) => Means::Prefix,
            Some(At::Lifetime) => Means::Ttl,
            Some(At::Access) => Means::Access,
            Some(At::Grant | At::Parts | At::Storage | At::Attribute(_) | At::Other(_)) | None => return error,
        };
        match self.fields.iter().find(|field| field.means == Some(means)) {
            Some(field) => error.at(field.told_as()),
            None => error,
        }
    }
}

impl Access {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
        }
    }

    const fn actions(self) -> Actions {
        match self {
            Self::Read => Actions::READ,
            Self::Write => Actions::WRITE,
            Self::ReadWrite => Actions::READ_WRITE,
        }
    }

    /// Without these the word would be a lie.
    const fn essential(self) -> Actions {
        const NONE: Actions = Actions::NONE;
        match self {
            Self::Read => NONE.with(Action::GetObject),
            Self::Write => NONE.with(Action::PutObject),
            Self::ReadWrite => NONE.with(Action::GetObject).with(Action::PutObject),
        }
    }
}
