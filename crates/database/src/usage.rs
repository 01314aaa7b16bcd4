//! What accounts used: counted in memory, written each second and before anybody asks.

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
use valetkey_core::lease::{Provenance, Refusal};
use valetkey_core::nouns::usage::{
    Balance, DayCount, HourCount, Meter, Origin, Period, RefusedCount, RequestFilter, Traffic, TrafficDay,
    TrafficFilter, Usage, Used,
};

use crate::database::Database;
use crate::days;
use crate::sql;
use crate::sql::notes::Unsaid;
use crate::sql::usage::Requested;

/// Counts written while the writing connection is held: the ledger waits for it.
const SLICE: usize = 100;

impl Database {
    /// Writes what was counted; the use of credentials only if `all` is. What cannot be written is kept for the next time.
    pub(crate) async fn write_counts(&self, all: bool) -> Result<(), Error> {
        // One at a time: who asks next must not overtake what is taken and not written yet.
        let _one = self.shared.counter.writing.lock().await;
        let mut tally = self.shared.counter.take(all);
        while let Some(slice) = tally.split_off(SLICE) {
            if let Err(error) =
                self.shared.db.unsaid(Unsaid::Counts, async |db| sql::usage::add(db, &slice).await).await
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
        let database = self.clone();
        self.unbroken(async move { database.write_counts(true).await }).await
    }
}

impl Meter for Database {
    fn moved(&self, origin: &Provenance, from: Option<IpAddr>, traffic: Traffic, now: Timestamp) {
        self.shared.counter.moved(origin, from, traffic, now);
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.shared.counter.refusal(refusal, now);
    }
}

#[async_trait]
impl Usage for Database {
    fn request(&self, account: AccountId, token: TokenId, origin: Origin, now: Timestamp) {
        self.shared.counter.request(Requested { account, token, origin, second: now.as_second() });
    }

    async fn balance(&self, account: AccountId) -> Result<Balance, Error> {
        if let Some(balance) = self.shared.queue.balance(account) {
            return Ok(balance);
        }
        let mut reader = self.reader().await?;
        let balance = sql::registry::balance(&mut reader, account).await?;
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
        let mut reader = self.reader().await?;
        // Counted by whole seconds: the one that the period's end cuts is counted with it.
        let second_of = |end: &Timestamp| end.as_second() + i64::from(end.subsec_nanosecond() > 0);
        let last = days.last().map_or(i64::MIN, |(_, end)| second_of(end));
        let mut counts = Vec::with_capacity(days.len());
        // The next second that has any: days without use cost nothing.
        let mut next = None;
        for (start, end) in &days {
            let (from, to) = (start.as_second(), second_of(end));
            if next.is_none_or(|next| next < from) {
                let found = sql::usage::first_request(&mut reader, filter, from, last).await?;
                next = Some(found.unwrap_or(i64::MAX));
            }
            let count = match next {
                Some(next) if next < to => sql::usage::requests(&mut reader, filter, from, to).await?,
                Some(_) | None => 0,
            };
            counts.push(DayCount { start: *start, count });
        }
        Ok(counts)
    }
    async fn refusals_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<RefusedCount>, Error> {
        self.settle_counts().await?;
        let mut reader = self.reader().await?;
        let rows = sql::usage::refusals(&mut reader, account, from.as_second()).await?;
        let counted = |(hour_s, kind, count): (i64, String, i64)| {
            let hour = Timestamp::from_second(hour_s).ok()?;
            Some(RefusedCount { hour, kind: kind.into(), count: u64::try_from(count).ok()? })
        };
        Ok(rows.into_iter().filter_map(counted).collect())
    }

    async fn vends_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<HourCount>, Error> {
        let hours = self.opened_by_hour(account, from.as_millisecond()).await?;
        let counted = |(hour_ms, count)| Some(HourCount { hour: Timestamp::from_millisecond(hour_ms).ok()?, count });
        Ok(hours.into_iter().filter_map(counted).collect())
    }

    async fn traffic_by_day(&self, filter: &TrafficFilter) -> Result<Vec<TrafficDay>, Error> {
        self.settle_counts().await?;
        let found = sql::usage::traffic_by_day(&mut self.reader().await?, filter).await?;
        let day = |(day, traffic)| Some(TrafficDay { start: Timestamp::from_second(day).ok()?, traffic });
        Ok(found.into_iter().filter_map(day).collect())
    }

    async fn traffic_by_caller(&self, filter: &TrafficFilter, most: u32) -> Result<Vec<(CallerId, Traffic)>, Error> {
        self.settle_counts().await?;
        sql::usage::traffic_by_caller(&mut self.reader().await?, filter, most).await
    }

    async fn used(&self, lease: LeaseId) -> Result<Option<Used>, Error> {
        self.settle_counts().await?;
        sql::usage::used(&mut self.reader().await?, lease).await
    }
}
