//! What a request leaves of what is granted, and which grant it means: only ever less than policy then decides on.

use std::collections::BTreeMap;

use valetkey_core::ask::{By, GrantRef, Target};
use valetkey_core::error::Noun;
use valetkey_core::field::Field;
use valetkey_core::grant::Grant;
use valetkey_core::id::{GrantId, StorageId};
use valetkey_core::scope::{Actions, Part, Parts, Paths, Rights, Scope};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::arn::{ANY, Role};
use super::error::malformed_policy;
use super::policy::{self, Left};
use super::state::{EVERYTHING, facts};
use crate::edge::Call;

/// These actions wherever they are granted.
fn anywhere(actions: Actions) -> Option<Parts> {
    Part::new(Paths::Whole, actions).map(Parts::from)
}

/// Reads the policies of a request.
///
/// # Errors
/// `Invalid` for what is not understood exactly.
pub(super) fn left(call: &Call) -> Result<Left, Error> {
    let mut left = match call.query.get("Policy") {
        Some(text) => policy::read(text).map_err(|error| error.at("Policy"))?,
        None => Left { bucket: None, parts: anywhere(EVERYTHING) },
    };
    for (name, arn) in call.query.all("PolicyArns.member.") {
        let only = managed(arn).ok_or_else(|| {
            let said = "of managed policies only `AmazonS3ReadOnlyAccess` and `AmazonS3FullAccess` are known";
            malformed_policy(said).at(name.to_owned())
        })?;
        left.parts = left.parts.zip(anywhere(only)).and_then(|(own, only)| own.intersect(&only));
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
    let parts = left.parts.as_ref().ok_or_else(nothing)?;
    let which = match (role, &left.bucket) {
        (Role::Grant(which), _) => which.clone(),
        (Role::Any, Some(bucket)) => {
            let rights = Rights::new(bucket.clone(), parts.clone());
            let rights = opened(call, None, &rights).ok_or_else(nothing)?;
            let target = Target::of_parts(By::Bucket(bucket.clone()), rights.parts());
            return Ok(Meant { target, actions: rights.actions(), role: ANY.to_owned(), grant: None });
        }
        (Role::Any, None) => GrantRef::Id(only(snapshot, call)?),
    };
    let grant = snapshot.grant(caller, &which).ok_or_else(|| Error::not_found(Noun::Grant).at(Field::Grant))?;
    let bucket = grant.scope.bucket();
    if left.bucket.as_ref().is_some_and(|named| named != bucket) {
        return Err(nothing());
    }
    let granted = Rights::from(grant.scope.clone());
    let rest = granted.intersect(&Rights::new(bucket.clone(), parts.clone())).ok_or_else(nothing)?;
    let rights = opened(call, Some(grant.storage), &rest).ok_or_else(nothing)?;
    Ok(Meant {
        target: Target::of_parts(By::Grant(GrantRef::Id(grant.id)), rights.parts()),
        actions: rights.actions(),
        role: grant.name.to_string(),
        grant: Some(grant.id),
    })
}

pub(super) fn nothing() -> Error {
    Error::new(Kind::Forbidden, "the session policy allows nothing of what is granted")
}

/// What of that the caller's key opens: with all that is granted on no conditions in one storage, or with one grant that has some;
/// whichever gives most. Policy holds it against the key once more.
fn opened(call: &Call, storage: Option<StorageId>, whole: &Rights) -> Option<Rights> {
    let Some(held) = &call.caller.held else { return Some(whole.clone()) };
    if storage.is_some_and(|storage| held.covers(storage, whole, |_| true)) {
        return Some(whole.clone());
    }
    let here = |own: StorageId| storage.is_none_or(|storage| storage == own);
    let mut plain: BTreeMap<StorageId, Rights> = BTreeMap::new();
    for (own, rights) in held.opens.iter().filter(|(own, _)| here(*own)) {
        let Some(inside) = rights.intersect(whole) else { continue };
        let sum = plain.get(own).and_then(|before| before.union(&inside)).unwrap_or(inside);
        plain.insert(*own, sum);
    }
    let conditional = held.conditional.iter().filter(|(_, own, _)| here(*own));
    let conditional = conditional.filter_map(|(_, _, rights)| rights.intersect(whole));
    let places = whole.parts().places();
    plain
        .into_values()
        .chain(conditional)
        .max_by_key(|rights| (rights.parts().places() == places, rights.actions().iter().count()))
}

/// The caller's grant, if there is just one that is live and that its key opens anything of.
fn only(snapshot: &Snapshot, call: &Call) -> Result<GrantId, Error> {
    let opens = |grant: &Grant<Scope>| opened(call, Some(grant.storage), &grant.scope.clone().into()).is_some();
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
