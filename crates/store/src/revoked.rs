//! What was ended early, in memory: asked with each request to the embedded endpoint.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::keyring::Claims;

use crate::sqlite::revocations::{End, Target};

/// Up to when what was opened is ended, and until when that has to be remembered.
#[derive(Clone, Copy, Debug)]
struct Cutoff {
    at_ms: i64,
    keep_until_ms: i64,
}

#[derive(Clone, Debug, Default)]
struct Sets {
    leases: HashMap<LeaseId, Cutoff>,
    tokens: HashMap<TokenId, Cutoff>,
    callers: HashMap<CallerId, Cutoff>,
    accounts: HashMap<AccountId, Cutoff>,
    storages: HashMap<StorageId, Cutoff>,
}

fn widen<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Cutoff>, key: K, end: &End) {
    let cutoff = map.entry(key).or_insert(Cutoff { at_ms: end.at_ms, keep_until_ms: end.keep_until_ms });
    cutoff.at_ms = cutoff.at_ms.max(end.at_ms);
    cutoff.keep_until_ms = cutoff.keep_until_ms.max(end.keep_until_ms);
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
    }

    fn has_ended(&self, now_ms: i64) -> bool {
        let Self { leases, tokens, callers, accounts, storages } = self;
        let ended = |cutoff: &Cutoff| cutoff.keep_until_ms <= now_ms;
        leases.values().any(ended)
            || tokens.values().any(ended)
            || callers.values().any(ended)
            || accounts.values().any(ended)
            || storages.values().any(ended)
    }

    fn purge(&mut self, now_ms: i64) {
        self.leases.retain(|_, end| end.keep_until_ms > now_ms);
        self.tokens.retain(|_, end| end.keep_until_ms > now_ms);
        self.callers.retain(|_, end| end.keep_until_ms > now_ms);
        self.accounts.retain(|_, end| end.keep_until_ms > now_ms);
        self.storages.retain(|_, end| end.keep_until_ms > now_ms);
    }
}

/// What was ended early.
#[derive(Debug, Default)]
pub(crate) struct Revoked(ArcSwap<Sets>);

impl Revoked {
    /// Adds some; seen by whoever asks after this returned.
    pub(crate) fn add(&self, ends: &[End]) {
        self.0.rcu(|sets| {
            let mut sets = Sets::clone(sets);
            for end in ends {
                sets.add(end);
            }
            sets
        });
    }

    /// Forgets what ends nothing any more.
    pub(crate) fn purge(&self, now_ms: i64) {
        if !self.0.load().has_ended(now_ms) {
            return;
        }
        self.0.rcu(|sets| {
            let mut sets = Sets::clone(sets);
            sets.purge(now_ms);
            sets
        });
    }

    /// Whether the credential was ended early.
    ///
    /// A credential tells its instant in whole seconds; the lease's id tells the millisecond. Where the two agree the
    /// millisecond decides, otherwise the second does. A credential opened in the very instant of the revocation is ended
    /// with the others, even if its caller may still vend: it asks again, which is the safe side.
    pub(crate) fn ends(&self, claims: &Claims) -> bool {
        let sets = self.0.load();
        if sets.leases.contains_key(&claims.lease) {
            return true;
        }
        let made_ms = claims.lease.made_ms();
        let second = claims.opened.as_second();
        let opened_ms = if made_ms.div_euclid(1000) == second { made_ms } else { second.saturating_mul(1000) };
        let before = |cutoff: Option<&Cutoff>| cutoff.is_some_and(|cutoff| opened_ms <= cutoff.at_ms);
        before(sets.tokens.get(&claims.token))
            || before(sets.callers.get(&claims.caller))
            || before(sets.accounts.get(&claims.account))
            || before(sets.storages.get(&claims.storage))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use valetkey_core::keyring::Carried;

    use super::*;

    fn claims(opened_ms: i64) -> Claims {
        let opened = Timestamp::from_millisecond(opened_ms).unwrap();
        Claims {
            lease: LeaseId::new(opened, [1; 10]),
            account: AccountId::from_bytes([2; 16]),
            caller: CallerId::from_bytes([3; 16]),
            token: TokenId::from_bytes([4; 16]),
            storage: StorageId::from_bytes([5; 16]),
            opened: Timestamp::from_second(opened.as_second()).unwrap(),
            until: Timestamp::from_second(opened.as_second() + 3600).unwrap(),
            reach: Carried::WithLease,
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
            assert!(!revoked.ends(&claims(10_500)));
            revoked.add(&[end(target, 10_500)]);
            for (opened_ms, ended) in [(9_000, true), (10_000, true), (10_499, true), (10_500, true), (10_501, false)] {
                assert_eq!(revoked.ends(&claims(opened_ms)), ended, "{target:?} {opened_ms}");
            }
            // An earlier one does not take a later one back.
            revoked.add(&[end(target, 8_000)]);
            assert!(revoked.ends(&claims(10_500)));
            let stranger = Claims {
                account: AccountId::from_bytes([9; 16]),
                caller: CallerId::from_bytes([9; 16]),
                token: TokenId::from_bytes([9; 16]),
                storage: StorageId::from_bytes([9; 16]),
                ..claims(9_000)
            };
            assert!(!revoked.ends(&stranger));
        }
    }

    #[test]
    fn where_id_and_claim_disagree_the_whole_second_decides() {
        let revoked = Revoked::default();
        revoked.add(&[end(Target::Account(AccountId::from_bytes([2; 16])), 10_500)]);
        // The id says 12.0, the claim 10: an id made elsewhere must not carry a credential past a revocation.
        let odd = Claims { lease: LeaseId::new(Timestamp::from_second(12).unwrap(), [1; 10]), ..claims(10_900) };
        assert!(revoked.ends(&odd));
    }

    #[test]
    fn a_revocation_is_kept_until_it_ends_nothing_any_more() {
        let revoked = Revoked::default();
        let lease = claims(1_000);
        revoked.add(&[end(Target::Lease(lease.lease), 2_000)]);
        revoked.purge(11_999);
        assert!(revoked.ends(&lease));
        revoked.purge(12_000);
        assert!(!revoked.ends(&lease));
    }
}
