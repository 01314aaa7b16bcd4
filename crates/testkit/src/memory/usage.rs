//! What accounts used, counted anew at every question.

use async_trait::async_trait;
use jiff::{Timestamp, Zoned};
use valetkey_core::Error;
use valetkey_core::id::{AccountId, TokenId};
use valetkey_core::lease::LeaseState;
use valetkey_core::port::Usage;
use valetkey_core::usage::{Balance, DayCount, Origin, Period, RequestFilter};

use super::Memory;

/// The starts of the period's days: the first where the period starts, the others at midnight of its zone.
fn days(period: &Period) -> Vec<Timestamp> {
    let mut starts = Vec::new();
    let mut next = period.from;
    while next < period.to {
        starts.push(next);
        let zoned: Zoned = next.to_zoned(period.zone.clone());
        let Ok(tomorrow) = zoned.tomorrow().and_then(|tomorrow| tomorrow.start_of_day()) else { break };
        next = tomorrow.timestamp();
    }
    starts
}

fn count(period: &Period, what: impl Iterator<Item = (Timestamp, u64)>) -> Vec<DayCount> {
    let mut rows: Vec<DayCount> = days(period).into_iter().map(|start| DayCount { start, count: 0 }).collect();
    for (at, number) in what.filter(|(at, _)| period.from <= *at && *at < period.to) {
        if let Some(row) = rows.iter_mut().rev().find(|row| row.start <= at) {
            row.count += number;
        }
    }
    rows
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
            .filter(|record| record.lease.account == account && !matches!(record.state, LeaseState::Void))
            .map(|record| (record.lease.opened, u64::from(record.lease.credits)));
        Ok(count(period, used))
    }

    async fn requests_by_day(&self, filter: &RequestFilter, period: &Period) -> Result<Vec<DayCount>, Error> {
        let world = self.world();
        let made = world.requests.iter().filter(|(account, token, origin, _)| {
            *account == filter.account
                && filter.token.is_none_or(|only| only == *token)
                && filter.origin.is_none_or(|only| only == *origin)
        });
        Ok(count(period, made.map(|(.., at)| (*at, 1))))
    }
}
