//! What was ended early, in memory: asked with each request to the embedded endpoint.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
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
        }
    }

    fn purge(&mut self, now_ms: i64) {
        self.leases.retain(|_, end| end.keep_until_ms > now_ms);
        self.tokens.retain(|_, end| end.keep_until_ms > now_ms);
        self.callers.retain(|_, end| end.keep_until_ms > now_ms);
        self.accounts.retain(|_, end| end.keep_until_ms > now_ms);
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
            ends.iter().for_each(|end| sets.add(end));
            sets
        });
    }

    /// Forgets what ends nothing any more.
    pub(crate) fn purge(&self, now_ms: i64) {
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
    }
}
