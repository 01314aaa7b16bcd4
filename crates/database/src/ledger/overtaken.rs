//! What other nodes change while a lease is on its way: what was decided without it opens nothing.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use valetkey_core::id::{AccountId, LeaseId, TokenId};

use crate::sql::entry::{self, Entry, Opened};
use crate::sql::pages::Page;

/// So long a decision can be on its way, at the longest.
const BARRED: Duration = Duration::from_mins(1);

/// What other nodes changed, and with which change: what was decided without it is not believed. Kept as long as a decision can be on
/// its way.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    pub(super) callers: Overtaking,
    pub(super) grants: Overtaking,
}

/// The last changes of everybody's and of each account's.
#[derive(Debug, Default)]
pub(super) struct Overtaking {
    all: Option<(i64, Instant)>,
    accounts: HashMap<AccountId, (i64, Instant)>,
}

impl Overtaking {
    pub(super) fn add(&mut self, all: bool, accounts: &HashSet<AccountId>, number: i64) {
        let now = Instant::now();
        if all {
            self.all = Some((number, now));
        }
        self.accounts.retain(|_, (_, since)| since.elapsed() < BARRED);
        self.accounts.extend(accounts.iter().map(|account| (*account, (number, now))));
    }

    /// Whether something that is known with a change is not true any more.
    pub(super) fn holds(&self, account: AccountId, as_of: i64) -> bool {
        let later = |bar: &(i64, Instant)| as_of < bar.0 && bar.1.elapsed() < BARRED;
        self.all.as_ref().is_some_and(later) || self.accounts.get(&account).is_some_and(later)
    }
}

/// Whose rights other nodes changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Everybody may be another, or not there any more.
    pub(crate) all_callers: bool,
    /// Everybody may have been granted something else.
    pub(crate) all_grants: bool,
    /// The accounts of which the same holds.
    pub(crate) callers: HashSet<AccountId>,
    pub(crate) accounts: HashSet<AccountId>,
    /// Tokens that ended.
    pub(crate) tokens: HashSet<TokenId>,
}

impl Changed {
    /// Whether a lease may have been decided by what is not true any more.
    pub(crate) fn concerns(&self, lease: &Opened) -> bool {
        let token = |token: &TokenId| self.tokens.contains(token);
        self.all_callers
            || self.all_grants
            || self.callers.contains(&lease.account)
            || self.accounts.contains(&lease.account)
            || token(&lease.token)
            || lease.asked_with.as_ref().is_some_and(token)
    }
}

/// Leases that were left out of a page, why, and whose they are.
pub(super) type LeftOuts = Vec<((LeaseId, LeftOut), AccountId)>;

/// Why a lease was left out of its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeftOut {
    /// Another node changed what it was decided by.
    Overtaken,
    /// Other nodes took its account's credits.
    Short,
}

impl Page {
    /// The page without some leases and what came of them; and those.
    pub(super) fn without(&self, known: i64, which: impl Fn(&Opened) -> Option<LeftOut>) -> (Self, LeftOuts) {
        let mut left_out = HashMap::new();
        let mut kept = Self {
            charges: self.charges.clone(),
            scopes: self.scopes.clone(),
            voids: self.voids,
            known,
            ..Self::default()
        };
        (kept.first_ms, kept.last_ms) = (self.first_ms, self.last_ms);
        for (bytes, entry) in entry::framed_entries(&self.body) {
            let stays = match &entry {
                Entry::Opened(opened) => {
                    if let Some(why) = which(opened) {
                        left_out.insert(opened.id, (why, opened.account));
                        if let Some(charge) = kept.charges.get_mut(&opened.account) {
                            charge.taken = charge.taken.saturating_sub(u64::from(opened.credits));
                        }
                        false
                    } else {
                        kept.opens += 1;
                        true
                    }
                }
                Entry::Issued(issued) => {
                    let stays = !left_out.contains_key(&issued.lease);
                    kept.issues += u32::from(stays);
                    stays
                }
                Entry::Voided(_) | Entry::Note(_) => true,
            };
            if stays {
                kept.body.extend_from_slice(bytes);
            }
        }
        (kept, left_out.into_iter().map(|(id, (why, account))| ((id, why), account)).collect())
    }
}
