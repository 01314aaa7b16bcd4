//! What is counted of requests and refusals, until it is written.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use valetkey_core::lease::{Provenance, Refusal};
use valetkey_core::nouns::usage::{Traffic, Used, day_of};

use crate::sql::usage::{Requested, Tally};

/// Refusals that are told apart by caller before they are written: more at once are counted without whose they were, so that no
/// flood of them fills memory or the database.
const MOST_REFUSALS: usize = 10_000;

/// Refusals of one minute that are kept with their address: of callers, and of strangers, who are free to have as many addresses as
/// they like. More are counted without it.
const ADDRESSES: (usize, usize) = (1_000, 100);

/// Credentials whose use is told apart before it is written. What more of them do counts for their callers alone: it bounds memory, and
/// what is written of them.
const MOST_USED: usize = 10_000;

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
        let slice = Self {
            requests: take(&mut self.requests, most),
            refusals: take(&mut self.refusals, most),
            traffic: take(&mut self.traffic, most),
            used: take(&mut self.used, most),
        };
        let Self { requests, refusals, traffic, used } = &slice;
        let none = requests.is_empty() && refusals.is_empty() && traffic.is_empty() && used.is_empty();
        (!none).then_some(slice)
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (key, times) in other.requests {
            *self.requests.entry(key).or_default() += times;
        }
        for (key, times) in other.refusals {
            *self.refusals.entry(key).or_default() += times;
        }
        for (key, traffic) in other.traffic {
            let known = self.traffic.entry(key).or_default();
            *known = known.and(traffic);
        }
        for (lease, used) in other.used {
            self.used.entry(lease).and_modify(|known| *known = known.and(used)).or_insert(used);
        }
    }
}

fn take<K: Clone + Eq + Hash, V>(from: &mut HashMap<K, V>, most: usize) -> HashMap<K, V> {
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

    /// As many entries as there are callers with requests: of one day, and of two around midnight.
    pub(crate) fn moved(&self, origin: &Provenance, from: Option<IpAddr>, traffic: Traffic, now: Timestamp) {
        let mut tally = self.tally();
        let known = tally.traffic.entry((origin.account, day_of(now), origin.caller)).or_default();
        *known = known.and(traffic);
        let Some(lease) = origin.lease else { return };
        let used = Used { first: now, last: now, from, traffic };
        let room = tally.used.len() < MOST_USED;
        match tally.used.entry(lease) {
            Entry::Occupied(mut known) => *known.get_mut() = known.get().and(used),
            Entry::Vacant(place) if room => {
                place.insert(used);
            }
            Entry::Vacant(_) => {}
        }
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

    /// What was counted. The use of credentials changes with every request: it stays, but for when all is to be taken.
    pub(crate) fn take(&self, all: bool) -> Tally {
        let mut tally = self.tally();
        let used = if all { HashMap::new() } else { std::mem::take(&mut tally.used) };
        std::mem::replace(&mut *tally, Tally { used, ..Tally::default() })
    }

    pub(crate) fn put_back(&self, tally: Tally) {
        self.tally().add(tally);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use valetkey_core::Kind;
    use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};

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
        let tally = counter.take(true);
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
        let tally = counter.take(true);
        let (callers, strangers) = ADDRESSES;
        assert_eq!(tally.refusals.len(), callers + strangers + 2);
        assert_eq!(counted(&tally, |_| true), 10_001);
        assert_eq!(counted(&tally, |one| *one == refusal(None, Some(0))), 2);
        assert_eq!(counted(&tally, |one| *one == refusal(None, None)), 4_900);
        assert_eq!(counted(&tally, |one| *one == refusal(Some(1), None)), 4_000, "whose they are stays known");
        // Writing what was counted does not make room for more of the same minute; the next one does.
        counter.refusal(refusal(None, Some(9_999)), minute(1));
        counter.refusal(refusal(None, Some(9_999)), minute(2));
        let tally = counter.take(true);
        assert_eq!(counted(&tally, |one| one.from.is_some()), 1);
    }

    #[test]
    fn the_use_of_so_many_credentials_is_told_apart_and_the_rest_counts_for_the_caller() {
        let counter = Counter::default();
        let most = u128::try_from(MOST_USED).unwrap();
        let tell = |lease: u128| {
            let (account, caller) = (AccountId::from_bytes([1; 16]), CallerId::from_bytes([2; 16]));
            let (token, storage) = (TokenId::from_bytes([3; 16]), StorageId::from_bytes([4; 16]));
            let lease = Some(LeaseId::from_bytes(lease.to_be_bytes()));
            let origin = Provenance { lease, account, caller, token, storage, opened: Timestamp::UNIX_EPOCH };
            counter.moved(&origin, None, Traffic { requests: 1, bytes_in: 1, bytes_out: 1 }, Timestamp::UNIX_EPOCH);
        };
        (0..most + 500).for_each(tell);
        tell(7);
        // What is written each second leaves them; what is asked for, and what is written from time to time, does not.
        let often = counter.take(false);
        assert_eq!((often.traffic.len(), often.used.len()), (1, 0));
        assert_eq!(often.traffic.values().next().unwrap().requests, 10_501);
        tell(7);
        let all = counter.take(true);
        assert_eq!(all.used.len(), MOST_USED);
        assert_eq!(all.used[&LeaseId::from_bytes(7u128.to_be_bytes())].traffic.requests, 3);
        tell(most + 1);
        assert_eq!(counter.take(true).used.len(), 1, "and there is room again");
    }
}
