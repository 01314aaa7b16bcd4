//! What the server itself reads of what a caller may read: a table's log, its metadata.
//!
//! SECURITY: at our own endpoint it reads with its own rights, and policy is asked before, so that nothing is read for who could not have
//! it. A store that somebody else runs is read with a credential that is vended for the caller on the same road as any other: decided,
//! bounded by the caller's grant, and on record as the caller's before it is fetched. It is never handed out unless the caller asked for it.

use std::sync::Arc;

use valetkey_core::Error;
use valetkey_core::ask::Ask;
use valetkey_core::credential::Credential;
use valetkey_core::policy;
use valetkey_core::storage::Storage;
use valetkey_core::vending::Vended;

use super::{Call, Place, Shared};

/// The right to read a place for a caller.
pub struct Reading {
    /// The store.
    pub storage: Arc<Storage>,
    /// What it is read with, where somebody else runs the store.
    pub vended: Option<Vended>,
}

impl Reading {
    /// The credential, where the store is not ours.
    pub fn credential(&self) -> Option<Arc<Credential>> {
        self.vended.as_ref().map(|vended| Arc::clone(&vended.credential))
    }
}

impl Shared {
    /// Decides whether the caller may have what is asked for, waits for a place among the heavy answers, and vends there what the
    /// server reads it with, if it needs something.
    ///
    /// # Errors
    /// Those of a vend; `RateLimited` and `Unavailable` as for other heavy answers.
    pub async fn reading(&self, call: &Call, ask: &Ask) -> Result<(Place, Reading), Error> {
        let snapshot = self.vending.directory.account(call.caller.account, call.now).await?;
        let permit = policy::decide(&snapshot, &call.caller, ask, &call.facts(), call.now)?;
        let storage = Arc::clone(permit.storage());
        let place = self.heavy.enter(call.caller.account).await?;
        if storage.kind.is_ours() {
            return Ok((place, Reading { storage, vended: None }));
        }
        let vended = place.in_time(self.vending.vend_knowing(&call.caller, ask, &call.facts())).await?;
        Ok((place, Reading { storage: Arc::clone(&vended.storage), vended: Some(vended) }))
    }
}
