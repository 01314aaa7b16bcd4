//! The credentials that requests are signed with: one lease for a token and a table, while it lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use valetkey_core::id::{TableId, TokenId};
use valetkey_core::policy::Permit;
use valetkey_core::port::Revocations;
use valetkey_core::vending::Vended;

/// A credential with less time left signs nothing: a client may keep a signature for half a minute.
const LEFT: SignedDuration = SignedDuration::from_secs(60);
/// The most credentials that are kept. More callers at once cost more leases.
const MOST: usize = 10_000;

/// What is kept. It is held while a credential is vended, so that many requests at once cost one lease.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<(TokenId, TableId), Slot>>);

type Slot = Arc<tokio::sync::Mutex<Option<Vended>>>;

impl Kept {
    /// The place of a token's credential for a table.
    pub(super) fn slot(&self, whose: (TokenId, TableId), now: Timestamp) -> Slot {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&whose) && all.len() >= MOST {
            let lives = |vended: &Vended| vended.credential.expiration() > now;
            // What is held is in use.
            all.retain(|_, slot| slot.try_lock().map_or(true, |kept| kept.as_ref().is_some_and(lives)));
            if all.len() >= MOST
                && let Some(other) = all.keys().next().copied()
            {
                all.remove(&other);
            }
        }
        Arc::clone(all.entry(whose).or_default())
    }
}

/// Whether a credential that was vended before is what would be vended now.
pub(super) fn is_good(leases: &dyn Revocations, vended: &Vended, permit: &Permit, now: Timestamp) -> bool {
    let Vended { lease, credential, storage, because: _, narrowed: _ } = vended;
    let end = lease.until.min(credential.expiration());
    lease.rights == *permit.rights()
        && **storage == **permit.storage()
        && end.duration_since(now) > LEFT
        && leases.current().is_ok()
        && !leases.is_revoked(&lease.provenance())
}
