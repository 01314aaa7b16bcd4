//! What was ended early, in memory: asked with each request to the embedded endpoint.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::Provenance;
use valetkey_core::policy::Permit;

use crate::sql::target::{End, Target};

/// Up to when what was opened is ended, and until when that has to be remembered.
#[derive(Clone, Copy, Debug)]
struct Cutoff {
    at_ms: i64,
    keep_until_ms: i64,
}

/// INVARIANT: changed in place, one entry at a time: a million ends are neither copied for one more nor looked through for
/// those that are over.
#[derive(Debug, Default)]
struct Sets {
    leases: HashMap<LeaseId, Cutoff>,
    tokens: HashMap<TokenId, Cutoff>,
    callers: HashMap<CallerId, Cutoff>,
    accounts: HashMap<AccountId, Cutoff>,
    storages: HashMap<StorageId, Cutoff>,
    /// Tokens whose end is not on record yet.
    dead: HashSet<TokenId>,
    /// The latest instant up to which all of somebody's is ended.
    newest_ms: i64,
    /// What is to be forgotten next. One that was widened meanwhile is in here twice, and stays until the later time.
    next: BinaryHeap<Reverse<(i64, Target)>>,
}

fn widen<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Cutoff>, key: K, end: &End) {
    let cutoff = map.entry(key).or_insert(Cutoff { at_ms: end.at_ms, keep_until_ms: end.keep_until_ms });
    cutoff.at_ms = cutoff.at_ms.max(end.at_ms);
    cutoff.keep_until_ms = cutoff.keep_until_ms.max(end.keep_until_ms);
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Cutoff>, key: &K, now_ms: i64) {
    if map.get(key).is_some_and(|cutoff| cutoff.keep_until_ms <= now_ms) {
        map.remove(key);
    }
}

impl Sets {
    fn add(&mut self, end: &End) {
        match end.target {
            Target::Lease(id) => widen(&mut self.leases, id, end),
            Target::Token(id) => widen(&mut self.tokens, id, end),
            Target::Caller(id) => widen(&mut self.callers, id, end),
            Target::Account(id) => widen(&mut self.accounts, id, end),
            Target::Storage(id) => widen(&mut self.storages, id, end),
        }
        if !matches!(end.target, Target::Lease(_)) {
            self.newest_ms = self.newest_ms.max(end.at_ms);
        }
        self.next.push(Reverse((end.keep_until_ms, end.target)));
    }

    fn purge(&mut self, now_ms: i64) {
        while let Some(Reverse((until, target))) = self.next.peek().copied()
            && until <= now_ms
        {
            self.next.pop();
            match target {
                Target::Lease(id) => forget(&mut self.leases, &id, now_ms),
                Target::Token(id) => forget(&mut self.tokens, &id, now_ms),
                Target::Caller(id) => forget(&mut self.callers, &id, now_ms),
                Target::Account(id) => forget(&mut self.accounts, &id, now_ms),
                Target::Storage(id) => forget(&mut self.storages, &id, now_ms),
            }
        }
    }

    /// The latest instant up to which all that one of these has is ended.
    fn cutoff(&self, token: TokenId, caller: CallerId, account: AccountId, storage: StorageId) -> Option<i64> {
        let found = [
            self.tokens.get(&token),
            self.callers.get(&caller),
            self.accounts.get(&account),
            self.storages.get(&storage),
        ];
        found.into_iter().flatten().map(|cutoff| cutoff.at_ms).max()
    }
}

/// What was ended early.
#[derive(Debug, Default)]
pub(crate) struct Revoked(RwLock<Sets>);

impl Revoked {
    fn read(&self) -> RwLockReadGuard<'_, Sets> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Sets> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds some; seen by whoever asks after this returned.
    pub(crate) fn add(&self, ends: &[End]) {
        /// So many at a time: requests ask in between.
        const AT_ONCE: usize = 256;
        for some in ends.chunks(AT_ONCE) {
            let mut sets = self.write();
            for end in some {
                sets.add(end);
            }
        }
    }

    /// The latest instant up to which all of somebody's is ended. The clock may have been set back to before it.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.read().newest_ms
    }

    /// When a request counts as made that is proven by a token itself, as [`Revoked::opening`] has it of leases.
    pub(crate) fn asking(&self, origin: &Provenance, now: Timestamp) -> Timestamp {
        let cutoff = self.read().cutoff(origin.token, origin.caller, origin.account, origin.storage);
        let after = cutoff.and_then(|ms| Timestamp::from_millisecond(ms.saturating_add(1)).ok());
        after.filter(|after| now.as_millisecond().saturating_add(1) < after.as_millisecond()).unwrap_or(now)
    }

    /// Forgets what ends nothing any more.
    pub(crate) fn purge(&self, now_ms: i64) {
        if self.read().next.peek().is_some_and(|Reverse((until, _))| *until <= now_ms) {
            self.write().purge(now_ms);
        }
    }

    /// Takes a token for ended, whatever the database says of it.
    pub(crate) fn bury(&self, token: TokenId) {
        self.write().dead.insert(token);
    }

    /// The database says it too now.
    pub(crate) fn unbury(&self, token: TokenId) {
        self.write().dead.remove(&token);
    }

    /// Whether the token's end is not on record yet.
    pub(crate) fn is_dead(&self, token: TokenId) -> bool {
        self.read().dead.contains(&token)
    }

    /// When a lease of a permit that was decided at an instant opens: then, or, if the clock was set back to before the last
    /// revocation that would end it, right after that one. Otherwise such a clock would make credentials that are ended from
    /// the start. `clock` is what it says now: what was decided before a revocation and comes late is ended with the rest.
    pub(crate) fn opening(&self, permit: &Permit, decided: Timestamp, clock: Timestamp) -> Timestamp {
        let cutoff = self.read().cutoff(permit.token(), permit.caller(), permit.account(), permit.storage().id);
        match cutoff.and_then(|ms| Timestamp::from_millisecond(ms.saturating_add(1)).ok()) {
            Some(after) if clock.as_millisecond().saturating_add(1) < after.as_millisecond() => decided.max(after),
            Some(_) | None => decided,
        }
    }

    /// Whether a lease was ended by itself.
    pub(crate) fn has(&self, lease: LeaseId) -> bool {
        self.read().leases.contains_key(&lease)
    }

    /// Whether the credential was ended early.
    ///
    /// A credential tells its instant in whole seconds; the lease's id tells the millisecond. Where the two agree the
    /// millisecond decides, otherwise the second does. Without a lease the instant is told exactly. A credential opened in the very instant of the revocation is ended
    /// with the others, even if its caller may still vend: it asks again, which is the safe side.
    pub(crate) fn ends(&self, origin: &Provenance) -> bool {
        let Provenance { lease, account, caller, token, storage, opened } = *origin;
        let sets = self.read();
        if lease.is_some_and(|lease| sets.leases.contains_key(&lease)) || sets.dead.contains(&token) {
            return true;
        }
        let second = opened.as_second();
        let opened_ms = match lease.map(LeaseId::made_ms) {
            None => opened.as_millisecond(),
            Some(made_ms) if made_ms.div_euclid(1000) == second => made_ms,
            Some(_) => second.saturating_mul(1000),
        };
        let cutoff = sets.cutoff(token, caller, account, storage);
        cutoff.is_some_and(|at_ms| opened_ms <= at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(opened_ms: i64) -> Provenance {
        let opened = Timestamp::from_millisecond(opened_ms).unwrap();
        Provenance {
            lease: Some(LeaseId::new(opened, [1; 10])),
            account: AccountId::from_bytes([2; 16]),
            caller: CallerId::from_bytes([3; 16]),
            token: TokenId::from_bytes([4; 16]),
            storage: StorageId::from_bytes([5; 16]),
            opened: Timestamp::from_second(opened.as_second()).unwrap(),
        }
    }

    fn end(target: Target, at_ms: i64) -> End {
        End { target, at_ms, keep_until_ms: at_ms + 10_000 }
    }

    #[test]
    fn what_was_opened_up_to_the_instant_is_ended_and_later_is_not() {
        for target in [
            Target::Token(TokenId::from_bytes([4; 16])),
            Target::Caller(CallerId::from_bytes([3; 16])),
            Target::Account(AccountId::from_bytes([2; 16])),
            Target::Storage(StorageId::from_bytes([5; 16])),
        ] {
            let revoked = Revoked::default();
            assert!(!revoked.ends(&origin(10_500)));
            revoked.add(&[end(target, 10_500)]);
            for (opened_ms, ended) in [(9_000, true), (10_000, true), (10_499, true), (10_500, true), (10_501, false)] {
                assert_eq!(revoked.ends(&origin(opened_ms)), ended, "{target:?} {opened_ms}");
            }
            // An earlier one does not take a later one back.
            revoked.add(&[end(target, 8_000)]);
            assert!(revoked.ends(&origin(10_500)));
            let stranger = Provenance {
                account: AccountId::from_bytes([9; 16]),
                caller: CallerId::from_bytes([9; 16]),
                token: TokenId::from_bytes([9; 16]),
                storage: StorageId::from_bytes([9; 16]),
                ..origin(9_000)
            };
            assert!(!revoked.ends(&stranger));
        }
    }

    #[test]
    fn where_id_and_claim_disagree_the_whole_second_decides() {
        let revoked = Revoked::default();
        revoked.add(&[end(Target::Account(AccountId::from_bytes([2; 16])), 10_500)]);
        // The id says 12.0, the claim 10: an id made elsewhere must not carry a credential past a revocation.
        let made = LeaseId::new(Timestamp::from_second(12).unwrap(), [1; 10]);
        let odd = Provenance { lease: Some(made), ..origin(10_900) };
        assert!(revoked.ends(&odd));
    }

    #[test]
    fn what_a_token_itself_asks_by_a_clock_that_was_set_back_is_alive_until_the_next_end() {
        let revoked = Revoked::default();
        let account = Target::Account(AccountId::from_bytes([2; 16]));
        revoked.add(&[end(account, 60_000)]);
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        for (clock_ms, counts_ms) in [(10_000, 60_001), (59_999, 60_001), (60_000, 60_000), (60_005, 60_005)] {
            let now = revoked.asking(&origin(clock_ms), at(clock_ms));
            assert_eq!(now, at(counts_ms), "{clock_ms}");
            let own = Provenance { lease: None, opened: now, ..origin(clock_ms) };
            // In the very millisecond of the end everything is ended.
            assert_eq!(revoked.ends(&own), clock_ms == 60_000, "{clock_ms}");
        }
        assert_eq!(revoked.newest_ms(), 60_000);
        revoked.add(&[end(account, 60_001)]);
        let own = Provenance { lease: None, opened: at(60_001), ..origin(10_000) };
        assert!(revoked.ends(&own));
    }

    #[test]
    fn a_revocation_is_kept_until_it_ends_nothing_any_more() {
        let revoked = Revoked::default();
        let lease = origin(1_000);
        revoked.add(&[end(Target::Lease(lease.lease.unwrap()), 2_000)]);
        revoked.purge(11_999);
        assert!(revoked.ends(&lease));
        revoked.purge(12_000);
        assert!(!revoked.ends(&lease));
    }

    #[test]
    fn a_revocation_that_was_made_again_is_kept_until_the_later_time() {
        let revoked = Revoked::default();
        let account = Target::Account(AccountId::from_bytes([2; 16]));
        revoked.add(&[end(account, 2_000), end(account, 5_000)]);
        revoked.purge(12_000);
        assert!(revoked.ends(&origin(5_000)));
        revoked.purge(15_000);
        assert!(!revoked.ends(&origin(5_000)));
    }

    #[test]
    fn one_more_end_costs_the_same_with_a_million_as_with_none() {
        const MANY: u64 = 1_000_000;
        let lease = |n: u64| {
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&n.to_be_bytes());
            Target::Lease(LeaseId::from_bytes(bytes))
        };
        let many: Vec<End> = (0..MANY).map(|n| end(lease(n), 1_000)).collect();
        let few = Revoked::default();
        let full = Revoked::default();
        full.add(&many);
        let took = |revoked: &Revoked| {
            let started = std::time::Instant::now();
            for n in 0..1_000 {
                revoked.add(&[end(lease(MANY + n), 1_000)]);
                revoked.purge(2_000);
            }
            started.elapsed()
        };
        let (few, full) = (took(&few), took(&full));
        // A copy of a million costs tens of milliseconds each; a thousand of them would be most of a minute.
        assert!(full < few * 100 + std::time::Duration::from_millis(500), "{full:?} against {few:?}");
    }

    #[test]
    fn a_token_whose_end_is_not_on_record_ends_what_it_vended_whenever() {
        let revoked = Revoked::default();
        let token = TokenId::from_bytes([4; 16]);
        revoked.bury(token);
        assert!(revoked.is_dead(token) && revoked.ends(&origin(999_000)));
        revoked.unbury(token);
        assert!(!revoked.is_dead(token) && !revoked.ends(&origin(999_000)));
    }
}
