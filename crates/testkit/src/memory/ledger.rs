//! Leases in memory. What became of one is not stored with it but found anew, from what was voided and what was ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::Author;
use valetkey_core::credential::Trace;
use valetkey_core::error::{Error, Kind, Stranger};
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{Lease, LeaseRecord, LeaseState, Provenance, Refusal, Revocation, Revoker};
use valetkey_core::nouns::registry::{LeaseFilter, Outliving};
use valetkey_core::policy::Permit;
use valetkey_core::port::{Ledger, Revocations};
use valetkey_core::scope::Rights;

use crate::memory::{Memory, World};

fn in_time(lease: &Lease, at: Timestamp) -> bool {
    lease.opened <= at && at < lease.until
}

impl World {
    /// Whether a lease is one of those that a revocation is about, or was narrowed from one.
    pub(super) fn is_about(&self, what: Revocation, lease: &Lease) -> bool {
        let before = self.narrowed_from.get(&lease.id).map_or(&[][..], |before| before);
        self.is_about_itself(what, lease)
            || before.iter().filter_map(|id| self.find_lease(*id)).any(|before| self.is_about_itself(what, before))
    }

    fn is_about_itself(&self, what: Revocation, lease: &Lease) -> bool {
        let asked = self.asked_with.get(&lease.id);
        match what {
            Revocation::Lease(id) => lease.id == id,
            Revocation::Token(id) => lease.token == id || asked.is_some_and(|(token, _, _)| *token == id),
            Revocation::Caller(id) => lease.caller == id || asked.is_some_and(|(_, caller, _)| *caller == id),
            Revocation::Account(id) => lease.account == id || asked.is_some_and(|(_, _, account)| *account == id),
            Revocation::Storage(id) => lease.storage == id,
            Revocation::Grant(id) => lease.grants.contains(&id),
        }
    }

    /// The token that asks, where it is another than a permit's, and whose it is.
    fn asks_with(&self, permit: &Permit) -> Option<(TokenId, CallerId, AccountId)> {
        let token = Author::current().token.filter(|token| *token != permit.token())?;
        let (_, record) = self.tokens.iter().find(|(_, record)| record.id == token)?;
        Some((token, record.caller, record.account))
    }

    fn find_lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.id == id)
    }

    /// What became of a lease: void, or ended by the first revocation that came in its time.
    fn state(&self, lease: &Lease) -> LeaseState {
        if self.voided.contains(&lease.id) {
            return LeaseState::Void;
        }
        let ends = self.ended.iter().filter(|(what, by)| self.is_about(*what, lease) && in_time(lease, by.at));
        ends.map(|(_, by)| *by).min_by_key(|by| by.at).map_or(LeaseState::Live, LeaseState::Revoked)
    }

    pub(super) fn is_live(&self, lease: &Lease, at: Timestamp) -> bool {
        in_time(lease, at)
            && match self.state(lease) {
                LeaseState::Live => true,
                LeaseState::Revoked(by) => at < by.at,
                LeaseState::Void => false,
            }
    }

    fn lease_record(&self, lease: &Lease) -> LeaseRecord {
        let trace = self.traces.iter().find(|(id, _)| *id == lease.id).map(|(_, trace)| trace.clone());
        let from = self.addresses.get(&lease.id).copied();
        let asked_with = self.asked_with.get(&lease.id).map(|(token, _, _)| *token);
        let narrowed_from = self.narrowed_from.get(&lease.id).cloned().unwrap_or_default();
        LeaseRecord { lease: lease.clone(), state: self.state(lease), trace, from, asked_with, narrowed_from }
    }

    pub(super) fn lease(&self, id: LeaseId) -> Option<LeaseRecord> {
        self.find_lease(id).map(|lease| self.lease_record(lease))
    }

    /// Leases, the newest first.
    pub(super) fn list(&self, filter: &LeaseFilter<'_>) -> Vec<LeaseRecord> {
        let LeaseFilter { account, caller, token, grant, bucket, asked_with, since, live_at, before, limit } = *filter;
        let mut found: Vec<&Lease> = self
            .leases
            .iter()
            .filter(|lease| {
                account.is_none_or(|only| only == lease.account)
                    && caller.is_none_or(|only| only == lease.caller)
                    && token.is_none_or(|only| only == lease.token)
                    && grant.is_none_or(|only| lease.grants.contains(&only))
                    && bucket.is_none_or(|only| only == lease.rights.bucket())
                    && since.is_none_or(|since| since <= lease.opened)
                    && asked_with
                        .is_none_or(|only| self.asked_with.get(&lease.id).is_some_and(|(with, _, _)| *with == only))
                    && live_at.is_none_or(|at| self.is_live(lease, at))
                    && before.is_none_or(|before| lease.id < before)
            })
            .collect();
        found.sort_by_key(|lease| std::cmp::Reverse(lease.id));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        found.into_iter().map(|lease| self.lease_record(lease)).collect()
    }

    /// The leases that were handed the credential of this name, the newest first.
    pub(super) fn of_key(&self, key_id: &str, limit: u32) -> Vec<LeaseRecord> {
        let mut ids: Vec<LeaseId> =
            self.traces.iter().filter(|(_, trace)| &*trace.key_id == key_id).map(|(id, _)| *id).collect();
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        ids.into_iter().filter_map(|id| self.lease(id)).collect()
    }

    /// What `by` ended at or after an instant, and its store takes on: one row for each store.
    pub(super) fn outliving(&self, by: Revoker) -> Vec<Outliving> {
        let mut found: BTreeMap<StorageId, Outliving> = BTreeMap::new();
        for (id, trace) in &self.traces {
            let Some(lease) = self.find_lease(*id) else { continue };
            let LeaseState::Revoked(ended) = self.state(lease) else { continue };
            if ended.by == by.by && ended.at >= by.at && trace.expiration > ended.at {
                let storage = lease.storage;
                let none = Outliving { storage, key_ids: Vec::new(), leases: 0, until: Timestamp::MIN };
                let row = found.entry(storage).or_insert(none);
                if !row.key_ids.contains(&trace.key_id) {
                    row.key_ids.push(trace.key_id.clone());
                    row.key_ids.sort();
                }
                row.leases += 1;
                row.until = row.until.max(trace.expiration);
            }
        }
        found.into_values().collect()
    }

    /// Ends credentials early, and says how many live ones that were.
    pub(super) fn end(&mut self, what: Revocation, by: Revoker) -> u64 {
        // The instant is the one it takes effect at, not the one it was asked for at. There is no clock here, but it
        // cannot be earlier than the newest lease.
        let at = self.leases.iter().map(|lease| lease.opened).fold(by.at, Timestamp::max);
        let ended = self.leases.iter().filter(|lease| self.is_about(what, lease) && self.is_live(lease, at)).count();
        self.ended.push((what, Revoker { by: by.by, at }));
        u64::try_from(ended).unwrap_or(u64::MAX)
    }

    /// Refuses a permit whose token or grant was ended after it was decided.
    fn still_holds(&self, permit: &Permit, now: Timestamp) -> Result<(), Error> {
        let grants = &permit.because().grants;
        let barred = |what: Revocation| matches!(what, Revocation::Grant(grant) if grants.contains(&grant));
        if self.ended.iter().any(|(what, by)| barred(*what) && now <= by.at) {
            return Err(Error::new(Kind::Forbidden, "the grant was revoked"));
        }
        let asks_with = self.asks_with(permit).map(|(token, _, _)| token);
        let asks = |token: TokenId| token == permit.token() || asks_with == Some(token);
        if self.tokens.iter().any(|(_, token)| asks(token.id) && token.revoked.is_some()) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token was revoked"));
        }
        let asker = self.asks_with(permit).map(|(_, caller, _)| caller);
        if [Some(permit.caller()), asker].into_iter().flatten().any(|caller| self.standing(caller).served().is_err()) {
            return Err(Error::new(Kind::Forbidden, "the caller is suspended"));
        }
        let before = permit.leases().iter().filter_map(|id| self.find_lease(*id));
        if before.into_iter().any(|before| matches!(self.state(before), LeaseState::Revoked(_))) {
            return Err(Error::new(Kind::Forbidden, "the lease that this is narrowed from was ended"));
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn open(&self, permit: &Permit, trace: Option<&Trace>, now: Timestamp) -> Result<Lease, Error> {
        let id = LeaseId::new(now, self.random());
        let mut world = self.world();
        world.still_holds(permit, now)?;
        let (_, balance) = world.account(permit.account())?;
        let (required, left) = (u64::from(permit.credits()), balance.granted.saturating_sub(balance.used));
        if left < required {
            let said = format!("required: {required} API credits, {left} available");
            return Err(Error::new(Kind::OutOfCredit, said));
        }
        balance.used += required;
        let lease = Lease {
            id,
            account: permit.account(),
            caller: permit.caller(),
            token: permit.token(),
            storage: permit.storage().id,
            rights: Arc::clone(permit.rights()),
            grants: Arc::clone(&permit.because().grants),
            dialect: permit.dialect().into(),
            credits: permit.credits(),
            opened: now,
            until: permit.until(),
        };
        world.addresses.extend(Author::current().from.map(|from| (id, from)));
        let asks_with = world.asks_with(permit);
        world.asked_with.extend(asks_with.map(|asker| (id, asker)));
        if !permit.leases().is_empty() {
            world.narrowed_from.insert(id, permit.leases().into());
        }
        world.leases.push(lease.clone());
        world.traces.extend(trace.map(|trace| (id, trace.clone())));
        Ok(lease)
    }

    async fn issued(&self, lease: &Lease, trace: &Trace, _now: Timestamp) -> Result<(), Error> {
        self.world().traces.push((lease.id, trace.clone()));
        Ok(())
    }

    async fn void(&self, lease: &Lease, _kind: Kind, _now: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        // Only the first time are its credits given back.
        if world.voided.insert(lease.id) {
            let (_, balance) = world.account(lease.account)?;
            balance.used = balance.used.saturating_sub(u64::from(lease.credits));
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.world().refusals.push((refusal, now));
    }
}

#[async_trait]
impl Revocations for Memory {
    fn is_revoked(&self, origin: &Provenance) -> bool {
        let world = self.world();
        match origin.lease.and_then(|lease| world.find_lease(lease)) {
            Some(lease) => !matches!(world.state(lease), LeaseState::Live),
            // One that its holder made itself.
            None => world.ended.iter().any(|(what, by)| match what {
                Revocation::Lease(id) => Some(*id) == origin.lease,
                Revocation::Token(id) => *id == origin.token && origin.opened <= by.at,
                Revocation::Caller(id) => *id == origin.caller && origin.opened <= by.at,
                Revocation::Account(id) => *id == origin.account && origin.opened <= by.at,
                Revocation::Storage(id) => *id == origin.storage && origin.opened <= by.at,
                Revocation::Grant(_) => false,
            }),
        }
    }

    async fn rights(&self, lease: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        Ok(self.world().find_lease(lease).map(|lease| Arc::clone(&lease.rights)))
    }
}
