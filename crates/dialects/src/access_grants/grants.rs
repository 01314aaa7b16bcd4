//! What a caller has, as this API shows it: each path of a grant is a grant of its own, as far as the key that signed opens it.
//!
//! SECURITY: this only chooses what to ask for and what to show; policy decides, and compares with the key once more.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights, Scope};
use valetkey_core::snapshot::Snapshot;

use super::target::{Place, written};
use crate::edge::Call;

/// What this API says of actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permission {
    Read,
    Write,
    ReadWrite,
}

impl Permission {
    pub(super) const ALL: [Self; 3] = [Self::ReadWrite, Self::Read, Self::Write];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadWrite => "READWRITE",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == text)
    }

    /// What clients take it for: whoever has less does not have it.
    pub(super) const fn least(self) -> Actions {
        const READ: Actions = Actions::NONE.with(Action::GetObject).with(Action::ListBucket);
        const WRITE: Actions = Actions::WRITE.with(Action::DeleteObject);
        match self {
            Self::Read => READ,
            Self::Write => WRITE,
            Self::ReadWrite => READ.union(WRITE),
        }
    }

    /// The same with what goes along if it is granted.
    pub(super) const fn most(self) -> Actions {
        match self {
            Self::Read | Self::ReadWrite => self.least().with(Action::GetBucketInfo).with(Action::ListUploads),
            Self::Write => self.least(),
        }
    }

    /// The one that says the most of what is allowed; none where none does.
    fn of(actions: Actions) -> Option<Self> {
        Self::ALL.into_iter().find(|own| actions.contains_all(own.least()))
    }
}

/// One path of a grant, or all of its bucket, and what is allowed there.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) grant: Arc<Grant<Scope>>,
    /// The whole bucket, or one path.
    pub(super) paths: Paths,
    pub(super) actions: Actions,
}

impl Part {
    pub(super) fn path(&self) -> Option<Path> {
        only(&self.paths)
    }

    /// How close it is around what it covers: of two that cover the same, one is inside the other.
    fn depth(&self) -> (usize, u8) {
        self.path().map_or((0, 0), |path| {
            let kind = match path {
                Path::Prefix(_) => 1,
                Path::Directory(_) => 2,
                Path::Object(_) => 3,
            };
            (path.bytes().len(), kind)
        })
    }
}

/// The path of a set that has one.
fn only(paths: &Paths) -> Option<Path> {
    match paths {
        Paths::Whole => None,
        Paths::Only(set) => set.iter().next(),
    }
}

/// The whole bucket as it is, and each path for itself.
fn each(paths: &Paths) -> Vec<Paths> {
    match paths {
        Paths::Whole => vec![Paths::Whole],
        Paths::Only(set) => set.iter().filter_map(|path| Paths::only([path]).ok()).collect(),
    }
}

/// Whether a key says anything about a grant. One that is a token itself opens what is granted to its caller by name; one that was vended
/// opens one scope. So a list costs no more than there are grants.
fn concerns(call: &Call, grant: &Grant<Scope>) -> bool {
    let Some(held) = call.caller.held.as_deref() else { return false };
    let named = match grant.to {
        Grantee::Caller(caller) => caller == call.caller.id,
        Grantee::Everyone | Grantee::Group(_) => false,
    };
    let here =
        |(storage, own): &(StorageId, Arc<Rights>)| *storage == grant.storage && own.bucket() == grant.scope.bucket();
    if held.leases.is_empty() { named } else { held.opens.iter().any(here) }
}

/// The parts of some paths of a grant that the key opens.
fn opened(call: &Call, grant: &Arc<Grant<Scope>>, paths: &Paths) -> Vec<Part> {
    let part = |paths, actions| Part { grant: Arc::clone(grant), paths, actions };
    match call.caller.held.as_deref() {
        Some(held) if concerns(call, grant) => {
            if held.leases.is_empty() {
                return each(paths).into_iter().map(|paths| part(paths, grant.scope.actions())).collect();
            }
            let here = held
                .opens
                .iter()
                .filter(|(storage, own)| *storage == grant.storage && own.bucket() == grant.scope.bucket());
            let mut parts: Vec<Part> = Vec::new();
            for (_, own) in here {
                let inside = own.parts().iter().filter_map(|part| part.paths().intersect(paths));
                for paths in inside.flat_map(|inside| each(&inside)) {
                    let actions = own.parts().actions_on(&paths).intersect(grant.scope.actions());
                    if !parts.iter().any(|known| known.paths == paths && known.actions == actions) {
                        parts.push(part(paths, actions));
                    }
                }
            }
            parts
        }
        Some(_) | None => Vec::new(),
    }
}

/// The closest part around a place that allows all of that.
pub(super) fn closest(
    snapshot: &Snapshot,
    call: &Call,
    place: &Place,
    at: Option<&Path>,
    permission: Permission,
) -> Option<Part> {
    let Place { bucket, paths, text: _ } = place;
    let filled = snapshot.filled(&call.caller, Some(bucket));
    let near: Box<dyn Iterator<Item = &Arc<Grant<Scope>>>> = match at {
        Some(path) => Box::new(snapshot.near(&call.caller, bucket, path)),
        None => Box::new(snapshot.whole(&call.caller, bucket)),
    };
    let parts =
        near.chain(&filled).filter(|grant| grant.is_open(&call.caller, &call.facts(), call.now)).flat_map(|grant| {
            let own = around(grant, at);
            own.map(|own| opened(call, grant, &own)).unwrap_or_default()
        });
    parts
        .filter(|part| part.paths.cover_paths(paths) && part.actions.contains_all(permission.least()))
        .filter(|part| written(bucket, part.path().as_ref()).is_some())
        .max_by_key(|part| {
            let end = part.grant.max_lifetime.ends(call.now);
            let end = part.grant.ends(call.now).map_or(end, |until| until.min(end));
            (part.depth(), end, std::cmp::Reverse(part.grant.id))
        })
}

/// What of a grant's paths covers one.
fn around(grant: &Grant<Scope>, path: Option<&Path>) -> Option<Paths> {
    match (grant.scope.paths(), path) {
        (Paths::Whole, _) => Some(Paths::Whole),
        (Paths::Only(_), None) => None,
        (Paths::Only(set), Some(path)) => {
            set.iter().find(|own| own.covers_path(path)).and_then(|own| Paths::only([own]).ok())
        }
    }
}

/// A grant as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// The grant's own id and what tells its paths apart. Ordered by when grants were made.
    pub(super) id: String,
    pub(super) scope: String,
    /// What stands behind the bucket in it.
    pub(super) sub_prefix: String,
    pub(super) permission: Permission,
    pub(super) location: Location,
    pub(super) made_ms: i64,
}

/// Where grants are: a bucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Location {
    pub(super) bucket: BucketName,
    pub(super) storage: StorageId,
}

impl Location {
    pub(super) fn of(grant: &Grant<Scope>) -> Self {
        Self { bucket: grant.scope.bucket().clone(), storage: grant.storage }
    }

    pub(super) fn id(&self) -> String {
        let Self { bucket, storage } = self;
        digest(&format!("{storage} {bucket}"), 16)
    }

    pub(super) fn scope(&self) -> String {
        format!("s3://{}", self.bucket)
    }
}

fn digest(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    data_encoding::HEXLOWER.encode(digest.get(..bytes).unwrap_or_default())
}

/// The caller's live grants that the key says anything about.
pub(super) fn live<'s>(snapshot: &'s Snapshot, call: &'s Call) -> impl Iterator<Item = Arc<Grant<Scope>>> {
    snapshot.grants(&call.caller).filter(move |grant| {
        grant.origin.share().is_none() && grant.is_open(&call.caller, &call.facts(), call.now) && concerns(call, grant)
    })
}

/// What lists show of a grant: a directory is two entries, since it opens the key of its own name too.
pub(super) fn entries(call: &Call, grant: &Arc<Grant<Scope>>) -> Vec<Entry> {
    let bucket = grant.scope.bucket();
    let mut all = Vec::new();
    for part in opened(call, grant, grant.scope.paths()) {
        let Some(permission) = Permission::of(part.actions) else { continue };
        let path = part.path();
        let own_key = match &path {
            Some(Path::Directory(key)) => Path::object(key).ok(),
            Some(Path::Object(_) | Path::Prefix(_)) | None => None,
        };
        let scopes = [written(bucket, path.as_ref()), own_key.and_then(|key| written(bucket, Some(&key)))];
        for scope in scopes.into_iter().flatten() {
            let location = Location::of(grant);
            let sub_prefix = scope.strip_prefix(&format!("{}/", location.scope())).unwrap_or_default().to_owned();
            let id = format!("{}-{}", grant.id.as_hex(), digest(&format!("{} {scope}", permission.as_str()), 8));
            all.push(Entry { id, scope, sub_prefix, permission, location, made_ms: grant.id.made_ms() });
        }
    }
    all
}
