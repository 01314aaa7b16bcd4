//! The leases of whom a change leaves without what it was given.

use jiff::Timestamp;
use valetkey_core::grant::Grantee;
use valetkey_core::group::Group;
use valetkey_core::id::LeaseId;
use valetkey_core::nouns::removal::{Amendment, Renamed};

use super::World;

impl World {
    /// The live leases of who is no longer in a group, by grants to it.
    pub(super) fn left(&self, before: &Group, after: &Group, now: Timestamp) -> Vec<LeaseId> {
        let own = |id| self.grants.iter().any(|grant| grant.id == id && grant.to == Grantee::Group(after.id));
        let live = self.leases.iter().filter(|lease| self.is_live(lease, now) && after.leaves(before, lease.caller));
        live.filter(|lease| lease.grants.iter().any(|id| own(*id))).map(|lease| lease.id).collect()
    }

    /// The live leases of places that had a name which changes.
    pub(super) fn renamed(&self, change: &Amendment, now: Timestamp) -> Vec<LeaseId> {
        let who = match change {
            Amendment::Account(after) => {
                let before = self.accounts.iter().find(|(known, _)| known.id == after.id);
                before.filter(|(before, _)| before.name != after.name).map(|_| Renamed::Account(after.id))
            }
            Amendment::Caller { id, name, .. } => {
                let before = self.caller_records().into_iter().find(|known| known.id == *id);
                before.filter(|before| before.name != *name).map(|_| Renamed::Caller(*id))
            }
            _ => None,
        };
        let Some(who) = who else { return Vec::new() };
        let grants = who.filled(&self.grants);
        let live = self.leases.iter().filter(|lease| self.is_live(lease, now) && who.is(lease.account, lease.caller));
        live.filter(|lease| lease.grants.iter().any(|id| grants.contains(id))).map(|lease| lease.id).collect()
    }
}
