//! What accounts used: counted in memory, written each second and before anybody asks.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, TokenId};
use valetkey_core::lease::Refusal;
use valetkey_core::port::Usage;
use valetkey_core::usage::{Balance, DayCount, Origin, Period, RequestFilter};

use crate::days;
use crate::sqlite;
use crate::sqlite::failed;
use crate::sqlite::notes::Unsaid;
use crate::sqlite::usage::{Requested, Tally};
use crate::store::Store;

/// Counts written while the writing connection is held: the ledger waits for it.
const SLICE: usize = 100;

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
    fn split_off(&mut self, most: usize) -> Option<Self> {
        let slice = Self { requests: take(&mut self.requests, most), refusals: take(&mut self.refusals, most) };
        (!slice.requests.is_empty() || !slice.refusals.is_empty()).then_some(slice)
    }

    fn add(&mut self, other: Self) {
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
    writing: tokio::sync::Mutex<()>,
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

    fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    fn put_back(&self, tally: Tally) {
        self.tally().add(tally);
    }
}

impl Store {
    /// Writes what was counted. What cannot be written is kept for the next time.
    pub(crate) async fn write_counts(&self) -> Result<(), Error> {
        // One at a time: who asks next must not overtake what is taken and not written yet.
        let _one = self.shared.counter.writing.lock().await;
        let mut tally = self.shared.counter.take();
        while let Some(slice) = tally.split_off(SLICE) {
            if let Err(error) =
                self.shared.db.unsaid(Unsaid::Counts, async |db| sqlite::usage::add(db, &slice).await).await
            {
                tally.add(slice);
                self.shared.counter.put_back(tally);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes the counts where dropping the question midway cannot lose them.
    async fn settle_counts(&self) -> Result<(), Error> {
        let store = self.clone();
        self.unbroken(async move { store.write_counts().await }).await
    }
}

#[async_trait]
impl Usage for Store {
    fn request(&self, account: AccountId, token: TokenId, origin: Origin, now: Timestamp) {
        self.shared.counter.request(Requested { account, token, origin, second: now.as_second() });
    }

    async fn balance(&self, account: AccountId) -> Result<Balance, Error> {
        if let Some(balance) = self.shared.queue.balance(account) {
            return Ok(balance);
        }
        let mut reader = self.shared.db.readers().acquire().await.map_err(failed)?;
        let balance = sqlite::registry::balance(&mut reader, account).await?;
        balance.ok_or_else(|| Error::not_found(Noun::Account))
    }

    async fn credits_by_day(&self, account: AccountId, period: &Period) -> Result<Vec<DayCount>, Error> {
        let days = days::of(period)?;
        let stretches: Vec<(i64, i64)> =
            days.iter().map(|(start, end)| (start.as_millisecond(), end.as_millisecond())).collect();
        let sums = self.credits_in(account, &stretches).await?;
        Ok(days.iter().zip(sums).map(|((start, _), count)| DayCount { start: *start, count }).collect())
    }

    async fn requests_by_day(&self, filter: &RequestFilter, period: &Period) -> Result<Vec<DayCount>, Error> {
        let days = days::of(period)?;
        self.settle_counts().await?;
        let mut reader = self.shared.db.readers().acquire().await.map_err(failed)?;
        // Counted by whole seconds: the one that the period's end cuts is counted with it.
        let second_of = |end: &Timestamp| end.as_second() + i64::from(end.subsec_nanosecond() > 0);
        let last = days.last().map_or(i64::MIN, |(_, end)| second_of(end));
        let mut counts = Vec::with_capacity(days.len());
        // The next second that has any: days without use cost nothing.
        let mut next = None;
        for (start, end) in &days {
            let (from, to) = (start.as_second(), second_of(end));
            if next.is_none_or(|next| next < from) {
                let found = sqlite::usage::first_request(&mut reader, filter, from, last).await?;
                next = Some(found.unwrap_or(i64::MAX));
            }
            let count = match next {
                Some(next) if next < to => sqlite::usage::requests(&mut reader, filter, from, to).await?,
                Some(_) | None => 0,
            };
            counts.push(DayCount { start: *start, count });
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use valetkey_core::Kind;
    use valetkey_core::id::CallerId;

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
