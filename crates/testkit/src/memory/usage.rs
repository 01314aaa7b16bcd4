//! What accounts used, counted anew at every question.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use valetkey_core::account::{OwnQuota, Quotas};
use valetkey_core::error::{Error, Kind};
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
use valetkey_core::lease::{Provenance, Refusal};
use valetkey_core::nouns::usage::{
    Balance, DayCount, HourCount, Meter, Origin, Period, RefusedCount, RequestFilter, Traffic, TrafficDay,
    TrafficFilter, Usage, Used, day_of,
};

use crate::memory::{Memory, World};

/// The most days one question may be about: ten years and some.
const MOST_DAYS: usize = 4_000;

/// The starts of the period's days: the first where the period starts, the others at midnight of its zone.
fn days(period: &Period) -> Result<Vec<Timestamp>, Error> {
    let mut starts = Vec::new();
    let mut next = Some(period.from);
    while let Some(start) = next.filter(|start| *start < period.to) {
        if starts.len() == MOST_DAYS {
            let said = format!("the period is too long; the most is {MOST_DAYS} days");
            return Err(Error::new(Kind::Invalid, said));
        }
        starts.push(start);
        next = midnight_after(start, &period.zone);
    }
    Ok(starts)
}

/// The midnight that ends the day of an instant. A clock set back around midnight shows it twice: then the first that is
/// later.
fn midnight_after(instant: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = instant.to_zoned(zone.clone()).date().tomorrow().ok()?.at(0, 0, 0, 0);
    let shown = zone.to_ambiguous_zoned(midnight);
    [shown.clone().compatible(), shown.later()]
        .into_iter()
        .flatten()
        .map(|zoned| zoned.timestamp())
        .find(|at| *at > instant)
}

fn count(period: &Period, what: impl Iterator<Item = (Timestamp, u64)>) -> Result<Vec<DayCount>, Error> {
    let mut rows: Vec<DayCount> = days(period)?.into_iter().map(|start| DayCount { start, count: 0 }).collect();
    for (at, number) in what.filter(|(at, _)| period.from <= *at && *at < period.to) {
        if let Some(row) = rows.iter_mut().rev().find(|row| row.start <= at) {
            row.count += number;
        }
    }
    Ok(rows)
}

#[async_trait]
impl Quotas for Memory {
    async fn own_quota(&self, account: AccountId) -> Result<OwnQuota, Error> {
        Ok(self.world().account(account).map_or_else(|_| OwnQuota::default(), |(account, _)| account.quota))
    }
}

impl World {
    /// What a question is about: on which day, whose, how much.
    fn traffic_of(&self, filter: &TrafficFilter) -> impl Iterator<Item = (i64, CallerId, Traffic)> {
        let TrafficFilter { account, caller, from, to } = *filter;
        let meant = move |(own, by, at, _): &&(AccountId, CallerId, Timestamp, Traffic)| {
            *own == account
                && caller.is_none_or(|only| only == *by)
                && (day_of(from)..to.as_second()).contains(&day_of(*at))
        };
        self.traffic.iter().filter(meant).map(|(_, by, at, traffic)| (day_of(*at), *by, *traffic))
    }
}

impl Meter for Memory {
    fn moved(&self, origin: &Provenance, from: Option<IpAddr>, traffic: Traffic, now: Timestamp) {
        let mut world = self.world();
        world.traffic.push((origin.account, origin.caller, now, traffic));
        if let Some(lease) = origin.lease {
            let used = Used { first: now, last: now, from, traffic };
            world.used.entry(lease).and_modify(|known| *known = known.and(used)).or_insert(used);
        }
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.world().refusals.push((refusal, now));
    }
}

#[async_trait]
impl Usage for Memory {
    fn request(&self, account: AccountId, token: TokenId, origin: Origin, now: Timestamp) {
        self.world().requests.push((account, token, origin, now));
    }

    async fn balance(&self, account: AccountId) -> Result<Balance, Error> {
        Ok(self.world().account(account)?.1)
    }

    async fn credits_by_day(&self, account: AccountId, period: &Period) -> Result<Vec<DayCount>, Error> {
        let world = self.world();
        let used = world
            .leases
            .iter()
            .filter(|lease| lease.account == account && !world.voided.contains(&lease.id))
            .map(|lease| (lease.opened, u64::from(lease.credits)));
        count(period, used)
    }

    async fn requests_by_day(&self, filter: &RequestFilter, period: &Period) -> Result<Vec<DayCount>, Error> {
        let world = self.world();
        let made = world.requests.iter().filter(|(account, token, origin, _)| {
            *account == filter.account
                && filter.token.is_none_or(|only| only == *token)
                && filter.origin.is_none_or(|only| only == *origin)
        });
        count(period, made.map(|(.., at)| (*at, 1)))
    }

    async fn refusals_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<RefusedCount>, Error> {
        let mut counts = BTreeMap::new();
        for (refusal, at) in &self.world().refusals {
            let second = at.as_second();
            let minute = second - second.rem_euclid(60);
            if minute >= from.as_second() && account.is_none_or(|account| refusal.account == Some(account)) {
                *counts.entry((minute - minute.rem_euclid(3600), refusal.kind.slug())).or_default() += 1;
            }
        }
        let counted = |((hour, kind), count): ((i64, &str), u64)| {
            Some(RefusedCount { hour: Timestamp::from_second(hour).ok()?, kind: kind.into(), count })
        };
        Ok(counts.into_iter().filter_map(counted).collect())
    }

    async fn vends_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<HourCount>, Error> {
        let world = self.world();
        let mut counts = BTreeMap::new();
        for lease in world.leases.iter().filter(|lease| !world.voided.contains(&lease.id) && lease.opened >= from) {
            if account.is_none_or(|account| lease.account == account) {
                let second = lease.opened.as_second();
                *counts.entry(second - second.rem_euclid(3600)).or_default() += 1;
            }
        }
        let counted = |(hour, count)| Some(HourCount { hour: Timestamp::from_second(hour).ok()?, count });
        Ok(counts.into_iter().filter_map(counted).collect())
    }

    async fn traffic_by_day(&self, filter: &TrafficFilter) -> Result<Vec<TrafficDay>, Error> {
        let mut days: BTreeMap<i64, Traffic> = BTreeMap::new();
        for (day, _, traffic) in self.world().traffic_of(filter) {
            let known = days.entry(day).or_default();
            *known = known.and(traffic);
        }
        let day = |(day, traffic)| Some(TrafficDay { start: Timestamp::from_second(day).ok()?, traffic });
        Ok(days.into_iter().filter_map(day).collect())
    }

    async fn traffic_by_caller(&self, filter: &TrafficFilter, most: u32) -> Result<Vec<(CallerId, Traffic)>, Error> {
        let mut callers: BTreeMap<CallerId, Traffic> = BTreeMap::new();
        for (_, caller, traffic) in self.world().traffic_of(filter) {
            let known = callers.entry(caller).or_default();
            *known = known.and(traffic);
        }
        let mut all: Vec<_> = callers.into_iter().collect();
        all.sort_by_key(|(caller, traffic)| (std::cmp::Reverse(traffic.bytes_in + traffic.bytes_out), *caller));
        all.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(all)
    }

    async fn used(&self, lease: LeaseId) -> Result<Option<Used>, Error> {
        Ok(self.world().used.get(&lease).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(zone: &str, from: &str, to: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let period = Period { from: from.parse().unwrap(), to: to.parse().unwrap(), zone };
        days(&period).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_midnight_shown_twice_starts_one_day_only() {
        // Until 2011 Newfoundland set its clocks back at 00:01, to 23:01 of the day before.
        assert_eq!(
            starts("America/St_Johns", "2010-11-06T02:30:00Z", "2010-11-09T03:30:00Z"),
            ["2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"]
        );
        // From inside the hour that is shown twice.
        assert_eq!(
            starts("America/St_Johns", "2010-11-07T02:45:00Z", "2010-11-08T03:30:00Z"),
            ["2010-11-07T02:45:00Z", "2010-11-07T03:30:00Z"]
        );
    }

    #[test]
    fn a_day_that_never_was_is_not_listed() {
        // Samoa went from 29 to 31 December 2011.
        assert_eq!(
            starts("Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z"),
            ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]
        );
    }
}
