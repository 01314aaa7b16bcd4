//! A credential that is narrowed from a lease of the caller's own: it opens nothing that the lease does not, and ends with it. Policy holds
//! it against the lease as it holds what is signed with a credential against that credential.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::ask::{AskedPart, By, Target, Wanted};
use valetkey_core::caller::{Caller, Held, Role};
use valetkey_core::error::Noun;
use valetkey_core::field::Field;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, LeaseRecord, LeaseState, Provenance};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Paths, Rights};
use valetkey_core::{Error, Kind};

use super::state::Native;
use crate::edge::Call;

const FIELD: &str = "from_lease";

/// A lease that something is narrowed from, and its caller, as far and as long as the lease opens anything.
pub(super) struct Before {
    pub(super) caller: Caller,
    rights: Arc<Rights>,
}

/// What became of the credential, or of what it was narrowed from, is known here before it is on record.
fn origins(lease: &Lease, narrowed_from: &[LeaseId]) -> impl Iterator<Item = Provenance> {
    let own = lease.provenance();
    let opened =
        |id: &LeaseId| Timestamp::from_millisecond(id.made_ms()).map_or(lease.opened, |at| at.min(lease.opened));
    let before = narrowed_from.iter().map(|id| Provenance { lease: Some(*id), opened: opened(id), ..own.clone() });
    std::iter::once(own.clone()).chain(before.collect::<Vec<_>>())
}

impl Native {
    /// Takes a lease of the caller's own for what it may hand on.
    ///
    /// # Errors
    /// `NotFound` also of another caller's, `Forbidden` of one that has ended.
    pub(super) async fn before(&self, call: &Call, id: LeaseId) -> Result<Before, Error> {
        let (shared, caller) = (&self.shared, &call.caller);
        // SECURITY: whoever signs with a key narrows that key, and nothing beside it.
        if caller.held.is_some() {
            return Err(Error::new(Kind::Forbidden, "a key that signs is narrowed by itself").at(FIELD));
        }
        let record = shared.registry.lease(id).await?;
        let own = |record: &LeaseRecord| record.lease.caller == caller.id && record.lease.account == caller.account;
        let record = record.filter(own).ok_or_else(|| Error::not_found(Noun::Lease).at(FIELD))?;
        let LeaseRecord { lease, state, trace, from: _, asked_with: _, narrowed_from } = record;
        let until = trace.map_or(lease.until, |trace| trace.expiration.min(lease.until));
        let ended = |said: &str| Err(Error::new(Kind::Forbidden, format!("the lease {id} {said}")).at(FIELD));
        match state {
            LeaseState::Void => return ended("is void: no credential came of it"),
            LeaseState::Revoked(by) => return ended(&format!("was ended at {:.0}", by.at)),
            LeaseState::Live if until <= call.now => return ended(&format!("has expired, at {until:.0}")),
            LeaseState::Live => {}
        }
        shared.leases.current()?;
        if origins(&lease, &narrowed_from).any(|origin| shared.leases.is_revoked(&origin)) {
            return ended("was ended");
        }
        // It ends with its token, whichever asks now.
        let token = shared.registry.token_by_id(lease.token).await?;
        let token = token.filter(|token| token.is_live(call.now) && token.caller == lease.caller);
        let Some(token) = token else { return ended("was vended for a token that has ended") };
        let caller = Caller {
            id: caller.id,
            account: caller.account,
            name: caller.name.clone(),
            role: Role::Member,
            token: token.id,
            token_until: token.until,
            identity: shared.identities.identity(token.id).await?,
            held: Some(Arc::new(Held {
                opens: vec![(lease.storage, Arc::clone(&lease.rights))],
                conditional: Vec::new(),
                until: Some(until),
                leases: narrowed_from.iter().copied().chain([lease.id]).collect(),
            })),
            as_of: caller.as_of,
        };
        Ok(Before { caller, rights: lease.rights })
    }
}

impl Before {
    /// What is asked for of the lease, which may say less than it would of a grant: no bucket is the lease's, no paths are all of it.
    ///
    /// # Errors
    /// `Forbidden` of what the lease does not open.
    pub(super) fn ask(
        &self,
        bucket: Option<&BucketName>,
        parts: Option<Vec<AskedPart>>,
        paths: Option<Paths>,
        wanted: Wanted,
    ) -> Result<(Target, Wanted), Error> {
        let own = self.rights.bucket();
        if bucket.is_some_and(|bucket| bucket != own) {
            return Err(Error::new(Kind::Forbidden, "the lease opens nothing in this bucket").at(Field::Bucket));
        }
        match (parts, paths) {
            (Some(parts), _) => {
                let inside = |part: AskedPart| {
                    let wanted = self.inside(&part.paths, part.wanted)?;
                    Ok(AskedPart { wanted, ..part })
                };
                let parts = parts.into_iter().map(inside).collect::<Result<Vec<_>, Error>>()?;
                let wanted = Wanted::of_parts(&parts);
                Ok((Target::Parts { by: By::Bucket(own.clone()), parts }, wanted))
            }
            (None, Some(paths)) => {
                let wanted = self.inside(&paths, wanted)?;
                Ok((Target::Place { bucket: own.clone(), paths }, wanted))
            }
            (None, None) => {
                if !self.rights.actions().contains_all(wanted.least()) {
                    return Err(outside().at(Field::Access));
                }
                let most = Rights::of(own.clone(), Paths::Whole, wanted.most());
                let rest = most.and_then(|most| self.rights.intersect(&most));
                let rest = rest.ok_or_else(|| outside().at(Field::Access))?;
                let actions = rest.actions();
                let wanted = Wanted::between(wanted.least(), actions);
                Ok((Target::of_parts(By::Bucket(own.clone()), rest.parts()), wanted))
            }
        }
    }

    /// What of a wish the lease leaves on these paths.
    fn inside(&self, paths: &Paths, wanted: Wanted) -> Result<Wanted, Error> {
        let may = self.rights.parts().actions_on(paths);
        let most = wanted.most().intersect(may);
        if may.is_empty() {
            return Err(outside().at(Field::Paths));
        }
        if most.is_empty() || !may.contains_all(wanted.least()) {
            return Err(outside().at(Field::Access));
        }
        Ok(Wanted::between(wanted.least(), most))
    }
}

/// The refusal of what is more than the lease.
fn outside() -> Error {
    Error::new(Kind::Forbidden, "the lease does not open that")
}
