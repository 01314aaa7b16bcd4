//! What a request leaves of what is granted, and which grant it means: only ever less than policy then decides on.

use valetkey_core::ask::{GrantRef, Target};
use valetkey_core::error::Noun;
use valetkey_core::field::Field;
use valetkey_core::grant::Grant;
use valetkey_core::id::{GrantId, StorageId};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Actions, Paths, Scope};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::arn::{ANY, Role};
use super::error::malformed_policy;
use super::policy::{self, Left};
use super::state::{EVERYTHING, facts};
use crate::edge::Call;

/// Without a policy everything is left.
const ALL: Left = Left { bucket: None, paths: Paths::Whole, actions: EVERYTHING };

/// Reads the policies of a request.
///
/// # Errors
/// `Invalid` for what is not understood exactly.
pub(super) fn left(call: &Call) -> Result<Left, Error> {
    let mut left = match call.query.get("Policy") {
        Some(text) => policy::read(text).map_err(|error| error.at("Policy"))?,
        None => ALL,
    };
    for (name, arn) in call.query.all("PolicyArns.member.") {
        left.actions = left.actions.intersect(managed(arn).ok_or_else(|| {
            let said = "of managed policies only `AmazonS3ReadOnlyAccess` and `AmazonS3FullAccess` are known";
            malformed_policy(said).at(name.to_owned())
        })?);
    }
    Ok(left)
}

/// What one of AWS' managed policies leaves.
fn managed(arn: &str) -> Option<Actions> {
    let partition = arn.strip_prefix("arn:")?.split(':').next()?;
    match arn.strip_prefix("arn:")?.strip_prefix(partition)? {
        ":iam::aws:policy/AmazonS3FullAccess" => Some(EVERYTHING),
        ":iam::aws:policy/AmazonS3ReadOnlyAccess" => Some(Actions::READ),
        _ => None,
    }
}

/// What is to be asked for.
pub(super) struct Meant {
    pub(super) target: Target,
    /// At most this.
    pub(super) actions: Actions,
    /// The role's name, as answers tell it.
    pub(super) role: String,
    /// The grant that it is, if it is one.
    pub(super) grant: Option<GrantId>,
}

/// Finds what a request means by its role and its policy.
///
/// # Errors
/// `NotFound` for a grant that the caller may not know of, `Forbidden` where nothing is left, or more than one is meant.
pub(super) fn meant(snapshot: &Snapshot, call: &Call, role: &Role, left: &Left) -> Result<Meant, Error> {
    let caller = &call.caller;
    let which = match (role, &left.bucket) {
        (Role::Grant(which), _) => which.clone(),
        (Role::Any, Some(bucket)) => {
            let (paths, actions) = match opened(call, None, bucket, left) {
                Some(scope) => (scope.paths().clone(), scope.actions()),
                None => return Err(nothing()),
            };
            let target = Target::Place { bucket: bucket.clone(), paths };
            return Ok(Meant { target, actions, role: ANY.to_owned(), grant: None });
        }
        (Role::Any, None) => GrantRef::Id(only(snapshot, call)?),
    };
    let grant = snapshot.grant(caller, &which).ok_or_else(|| Error::not_found(Noun::Grant).at(Field::Grant))?;
    let bucket = grant.scope.bucket();
    if left.bucket.as_ref().is_some_and(|named| named != bucket) {
        return Err(nothing());
    }
    let paths = grant.scope.paths().intersect(&left.paths).ok_or_else(nothing)?;
    let rest = Left { bucket: None, paths, actions: grant.scope.actions().intersect(left.actions) };
    let scope = opened(call, Some(grant.storage), bucket, &rest).ok_or_else(nothing)?;
    Ok(Meant {
        target: Target::Grant { grant: GrantRef::Id(grant.id), paths: Some(scope.paths().clone()) },
        actions: scope.actions(),
        role: grant.name.to_string(),
        grant: Some(grant.id),
    })
}

pub(super) fn nothing() -> Error {
    Error::new(Kind::Forbidden, "the session policy allows nothing of what is granted")
}

/// What is left of that within what the caller's key opens; of several scopes of a key the one that gives most. Policy holds it against
/// the key once more.
fn opened(call: &Call, storage: Option<StorageId>, bucket: &BucketName, left: &Left) -> Option<Scope> {
    let whole = Scope::new(bucket.clone(), left.paths.clone(), left.actions)?;
    let Some(held) = &call.caller.held else { return Some(whole) };
    if storage.is_some_and(|storage| held.covers(storage, &whole, |_| true)) {
        return Some(whole);
    }
    let conditional = held.conditional.iter().map(|(_, own, scope)| (own, scope));
    let all = held.opens.iter().map(|(own, scope)| (own, scope)).chain(conditional);
    let at = all.filter(|(own, _)| storage.is_none_or(|storage| storage == **own));
    at.filter_map(|(_, scope)| scope.intersect(&whole))
        .max_by_key(|scope| (scope.paths() == whole.paths(), scope.actions().iter().count()))
}

/// The caller's grant, if there is just one that is live and that its key opens anything of.
fn only(snapshot: &Snapshot, call: &Call) -> Result<GrantId, Error> {
    let opens = |grant: &Grant| {
        let left = Left { bucket: None, paths: grant.scope.paths().clone(), actions: grant.scope.actions() };
        opened(call, Some(grant.storage), grant.scope.bucket(), &left).is_some()
    };
    let known = facts(call);
    let own = snapshot.grants(&call.caller).filter(|grant| grant.origin.share().is_none());
    let mut live = own.filter(|grant| grant.is_open(&call.caller, &known, call.now) && opens(grant));
    match (live.next(), live.next()) {
        (Some(grant), None) => Ok(grant.id),
        (None, _) => Err(Error::new(Kind::Forbidden, "nothing is granted to this caller")),
        (Some(_), Some(_)) => Err(Error::new(
            Kind::Forbidden,
            "this caller has several grants: name one in `RoleArn`, or a bucket in `Policy`",
        )),
    }
}
