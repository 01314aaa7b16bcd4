//! Which leases were ended early, by whom and when.

use std::collections::HashMap;

use valetkey_core::Error;
use valetkey_core::id::CallerId;
use valetkey_core::lease::Revoker;

use crate::sql::db::{Db, query_as};
use crate::sql::entry::{Glance, Opened};
use crate::sql::target::{End, Target};
use crate::sql::{failed, rows};

impl Target {
    /// All that a lease may be ended by.
    fn of(lease: &Opened) -> [Self; 5] {
        [
            Self::Lease(lease.id),
            Self::Token(lease.token),
            Self::Caller(lease.caller),
            Self::Account(lease.account),
            Self::Storage(lease.storage),
        ]
    }

    /// Whether it ends a lease.
    pub(crate) fn ends_opened(self, lease: &Opened) -> bool {
        Self::of(lease).contains(&self)
    }

    pub(super) fn ends(self, lease: &Glance<'_>) -> bool {
        match self {
            Self::Lease(id) => lease.id == id,
            Self::Token(id) => lease.token == id,
            Self::Caller(id) => lease.caller == id,
            Self::Account(id) => lease.account == id,
            Self::Storage(id) => lease.storage == id,
        }
    }
}

impl End {
    /// The end of one lease.
    pub(crate) fn of_lease(lease: &Opened, at_ms: i64) -> Self {
        Self { target: Target::Lease(lease.id), at_ms, keep_until_ms: lease.until_s.saturating_mul(1000) }
    }
}

/// Revocations by what they end, to ask of many leases.
#[derive(Debug, Default)]
pub(crate) struct Ends(HashMap<Target, Vec<Revoker>>);

impl Ends {
    /// Those made since: earlier ones end nothing that was opened later.
    pub(crate) async fn since(db: &mut Db, ms: i64) -> Result<Self, Error> {
        let found: Vec<(i64, Vec<u8>, i64, Vec<u8>)> =
            query_as("SELECT kind, target, at_ms, by_caller FROM revocations WHERE at_ms >= ? ORDER BY at_ms")
                .bind(ms)
                .fetch_all(db)
                .await
                .map_err(failed)?;
        let mut ends: HashMap<Target, Vec<Revoker>> = HashMap::new();
        for (kind, target, at_ms, by) in found {
            let by = Revoker { by: CallerId::from_bytes(rows::id(&by)?), at: rows::at_ms(at_ms)? };
            ends.entry(Target::read(kind, &target)?).or_default().push(by);
        }
        Ok(Self(ends))
    }

    /// Whether one of them ended the lease, then and by them.
    pub(crate) fn has(&self, lease: &Opened, by: Revoker) -> bool {
        self.targets(lease).any(|end| *end == by) && lease.in_time(by.at.as_millisecond())
    }

    fn targets(&self, lease: &Opened) -> impl Iterator<Item = &Revoker> {
        Target::of(lease).into_iter().filter_map(|target| self.0.get(&target)).flatten()
    }

    /// The first that ended the lease, if one did while it was live.
    pub(crate) fn of(&self, lease: &Opened) -> Option<Revoker> {
        if self.0.is_empty() {
            return None;
        }
        self.targets(lease).filter(|end| lease.in_time(end.at.as_millisecond())).min_by_key(|end| end.at).copied()
    }
}
