//! What is counted of requests and refusals, until it is written.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use valetkey_core::lease::Refusal;

use crate::sql::usage::{Requested, Tally};

/// Refusals that are told apart by caller before they are written: more at once are counted without whose they were, so that no
/// flood of them fills memory or the database.
const MOST_REFUSALS: usize = 10_000;

/// Refusals of one minute that are kept with their address: of callers, and of strangers, who are free to have as many addresses as
/// they like. More are counted without it.
const ADDRESSES: (usize, usize) = (1_000, 100);

/// The refusals of a minute that are kept with their address.
#[derive(Default, Debug)]
struct Addressed {
    minute: i64,
    of_callers: HashSet<Refusal>,
    of_strangers: HashSet<Refusal>,
}

impl Addressed {
    /// The refusal with its address, unless too many have one.
    fn keep(&mut self, minute: i64, refusal: Refusal) -> Refusal {
        if self.minute != minute {
            *self = Self { minute, ..Self::default() };
        }
        let (known, most) = match refusal.caller {
            Some(_) => (&mut self.of_callers, ADDRESSES.0),
            None => (&mut self.of_strangers, ADDRESSES.1),
        };
        let kept =
            refusal.from.is_none() || known.contains(&refusal) || known.len() < most && known.insert(refusal.clone());
        if kept { refusal } else { Refusal { from: None, ..refusal } }
    }
}

impl Tally {
    /// Takes so many counts out; nothing when there are none.
    pub(crate) fn split_off(&mut self, most: usize) -> Option<Self> {
        let slice = Self { requests: take(&mut self.requests, most), refusals: take(&mut self.refusals, most) };
        (!slice.requests.is_empty() || !slice.refusals.is_empty()).then_some(slice)
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (key, times) in other.requests {
            *self.requests.entry(key).or_default() += times;
        }
        for (key, times) in other.refusals {
            *self.refusals.entry(key).or_default() += times;
        }
    }
}

fn take<K: Clone + Eq + std::hash::Hash>(from: &mut HashMap<K, u64>, most: usize) -> HashMap<K, u64> {
    if from.len() <= most {
        return std::mem::take(from);
    }
    let keys: Vec<K> = from.keys().take(most).cloned().collect();
    keys.into_iter().filter_map(|key| from.remove_entry(&key)).collect()
}

/// Counts requests and refusals.
#[derive(Default)]
pub(crate) struct Counter {
    tally: Mutex<Tally>,
    addressed: Mutex<Addressed>,
    pub(crate) writing: tokio::sync::Mutex<()>,
}

impl Counter {
    pub(crate) fn request(&self, requested: Requested) {
        *self.tally().requests.entry(requested).or_default() += 1;
    }

    pub(crate) fn refusal(&self, refusal: Refusal, now: Timestamp) {
        let minute = now.as_second().div_euclid(60) * 60;
        let refusal = self.addressed.lock().unwrap_or_else(PoisonError::into_inner).keep(minute, refusal);
        let mut tally = self.tally();
        // Counted all the same when there are too many to tell apart.
        let many = tally.refusals.len() >= MOST_REFUSALS && !tally.refusals.contains_key(&(refusal.clone(), minute));
        let refusal = if many { Refusal { account: None, caller: None, from: None, ..refusal } } else { refusal };
        *tally.refusals.entry((refusal, minute)).or_default() += 1;
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    pub(crate) fn put_back(&self, tally: Tally) {
        self.tally().add(tally);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use valetkey_core::Kind;
    use valetkey_core::id::{AccountId, CallerId};

    use super::*;

    fn refusal(caller: Option<u128>, from: Option<u128>) -> Refusal {
        let from = from.map(|number| IpAddr::V6(Ipv6Addr::from(number)));
        let caller = caller.map(|number| CallerId::from_bytes(number.to_be_bytes()));
        let account = caller.map(|_| AccountId::from_bytes([1; 16]));
        Refusal { account, caller, from, dialect: "native", kind: Kind::Forbidden }
    }

    fn counted(tally: &Tally, wanted: impl Fn(&Refusal) -> bool) -> u64 {
        tally.refusals.iter().filter(|((refusal, _), _)| wanted(refusal)).map(|(_, times)| times).sum()
    }

    #[test]
    fn one_refusal_too_many_to_tell_apart_is_counted_and_takes_no_room() {
        let (counter, most) = (Counter::default(), u128::try_from(MOST_REFUSALS).unwrap());
        let tell = |number| counter.refusal(refusal(Some(number), None), Timestamp::UNIX_EPOCH);
        (0..most).for_each(tell);
        assert_eq!(counter.tally().refusals.len(), MOST_REFUSALS);
        (most..most + 50_000).for_each(tell);
        // One that was told apart before still is.
        tell(7);
        let tally = counter.take();
        assert_eq!(tally.refusals.len(), MOST_REFUSALS + 1, "all the others are one");
        assert_eq!(counted(&tally, |_| true), 60_001, "and none is dropped");
        assert_eq!(counted(&tally, |one| one.caller.is_none() && one.account.is_none()), 50_000);
        assert_eq!(counted(&tally, |one| *one == refusal(Some(7), None)), 2);
    }

    #[test]
    fn so_many_addresses_of_a_minute_are_told_apart_and_the_rest_is_counted() {
        let counter = Counter::default();
        let minute = |number: i64| Timestamp::from_second(number * 60).unwrap();
        for number in 0..5_000 {
            counter.refusal(refusal(None, Some(number)), minute(1));
            counter.refusal(refusal(Some(1), Some(number)), minute(1));
        }
        counter.refusal(refusal(None, Some(0)), minute(1));
        let tally = counter.take();
        let (callers, strangers) = ADDRESSES;
        assert_eq!(tally.refusals.len(), callers + strangers + 2);
        assert_eq!(counted(&tally, |_| true), 10_001);
        assert_eq!(counted(&tally, |one| *one == refusal(None, Some(0))), 2);
        assert_eq!(counted(&tally, |one| *one == refusal(None, None)), 4_900);
        assert_eq!(counted(&tally, |one| *one == refusal(Some(1), None)), 4_000, "whose they are stays known");
        // Writing what was counted does not make room for more of the same minute; the next one does.
        counter.refusal(refusal(None, Some(9_999)), minute(1));
        counter.refusal(refusal(None, Some(9_999)), minute(2));
        let tally = counter.take();
        assert_eq!(counted(&tally, |one| one.from.is_some()), 1);
    }
}
