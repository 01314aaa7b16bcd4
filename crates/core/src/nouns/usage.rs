//! What accounts used: credits and requests, by day.

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{AccountId, CallerId, LeaseId, TokenId};
use crate::lease::{Provenance, Refusal};

/// An account's credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// All that were ever granted.
    pub granted: u64,
    /// Those of them that were used.
    pub used: u64,
}

impl Balance {
    /// The balance after more was granted. As far as databases count.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn with(self, credits: u64) -> Result<Self, Error> {
        let granted = self.granted.checked_add(credits).filter(|sum| i64::try_from(*sum).is_ok());
        let too_many =
            || Error::new(Kind::Invalid, "these are more credits than can be counted").at(Attribute::Credits);
        Ok(Self { granted: granted.ok_or_else(too_many)?, ..self })
    }
}

/// The period a usage question is about: from `from` up to, not including, `to`, in days of a time zone.
#[derive(Clone, Debug)]
pub struct Period {
    /// From when.
    pub from: Timestamp,
    /// To when, exclusive.
    pub to: Timestamp,
    /// Whose days.
    pub zone: TimeZone,
}

/// Where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// A program, with a token.
    Api,
    /// The web application.
    App,
}

/// One day's count. A day that the period cuts starts where the period does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayCount {
    /// When the day starts.
    pub start: Timestamp,
    /// How many.
    pub count: u64,
}

/// Which requests to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestFilter {
    /// Whose.
    pub account: AccountId,
    /// Only those made with this token.
    pub token: Option<TokenId>,
    /// Only those from there.
    pub origin: Option<Origin>,
}

/// How many asks were refused in one hour, for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedCount {
    /// When the hour starts.
    pub hour: Timestamp,
    /// Why, by its slug.
    pub kind: Box<str>,
    /// How many.
    pub count: u64,
}

/// How many of something there were in one hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HourCount {
    /// When the hour starts.
    pub hour: Timestamp,
    /// How many.
    pub count: u64,
}

/// What went over the S3 endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Requests whose sender was proven, also those that were refused for what they asked.
    pub requests: u64,
    /// Bytes that were sent to it, decoded.
    pub bytes_in: u64,
    /// Bytes of its responses.
    pub bytes_out: u64,
}

impl Traffic {
    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }
}

/// How the credential of a lease was used at the S3 endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// When it first was.
    pub first: Timestamp,
    /// When it last was.
    pub last: Timestamp,
    /// The address that used it last, if that is known.
    pub from: Option<IpAddr>,
    /// What went over it.
    pub traffic: Traffic,
}

impl Used {
    /// Both, in any order.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (older, newer) = if self.last <= other.last { (self, other) } else { (other, self) };
        Self {
            first: self.first.min(other.first),
            last: newer.last,
            from: newer.from.or(older.from),
            traffic: self.traffic.and(other.traffic),
        }
    }
}

/// What went over the S3 endpoint on one day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrafficDay {
    /// When the day starts, in UTC.
    pub start: Timestamp,
    /// How much.
    pub traffic: Traffic,
}

/// Whose traffic to sum up, of days in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrafficFilter {
    /// Whose.
    pub account: AccountId,
    /// Only this caller's.
    pub caller: Option<CallerId>,
    /// From the day of this instant on.
    pub from: Timestamp,
    /// Up to, not including, the day that begins then or later.
    pub to: Timestamp,
}

/// The second that the day of an instant starts at, in UTC.
pub fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400) * 86_400
}

/// A request to the S3 endpoint that is over, with the credential that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRequest {
    /// Its own id, which its response had.
    pub id: Box<str>,
    /// When its sender was proven.
    pub at: Timestamp,
    /// How long it took from then on, in milliseconds.
    pub took_ms: u64,
    /// Where the credential comes from.
    pub origin: Provenance,
    /// The address that sent it, if that is known.
    pub from: Option<IpAddr>,
    /// The operation, in S3's words.
    pub operation: &'static str,
    /// The bucket.
    pub bucket: Box<str>,
    /// The key in it; none of what is about the bucket.
    pub key: Option<Box<str>>,
    /// The status of its response.
    pub status: u16,
    /// What it moved.
    pub traffic: Traffic,
}

/// Where the S3 endpoint tells what went over it. It is asked with each request: nothing of it waits for anything.
pub trait Meter: Send + Sync {
    /// Counts what went with a credential, from an address, some time soon.
    fn moved(&self, origin: &Provenance, from: Option<IpAddr>, traffic: Traffic, now: Timestamp);

    /// Records a refusal that somebody may want to look into, some time soon.
    fn refused(&self, refusal: Refusal, now: Timestamp);

    /// Whether each request to a bucket is to be told.
    fn watches(&self, bucket: &str) -> bool {
        let _ = bucket;
        false
    }

    /// Tells of a request to such a bucket.
    fn requested(&self, request: ObjectRequest) {
        let _ = request;
    }
}

/// What accounts used.
#[async_trait]
pub trait Usage: Meter {
    /// Counts a request, some time soon.
    fn request(&self, account: AccountId, token: TokenId, origin: Origin, now: Timestamp);

    /// An account's credits.
    async fn balance(&self, account: AccountId) -> Result<Balance, Error>;

    /// Credits used, one row for each day of the period, in order.
    async fn credits_by_day(&self, account: AccountId, period: &Period) -> Result<Vec<DayCount>, Error>;

    /// Requests made, one row for each day of the period, in order.
    async fn requests_by_day(&self, filter: &RequestFilter, period: &Period) -> Result<Vec<DayCount>, Error>;

    /// Asks that were refused since an hour began, in order of hours and reasons: an account's, or everybody's with those of strangers.
    async fn refusals_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<RefusedCount>, Error>;

    /// Credentials that were vended since an hour began, in order of hours: an account's, or everybody's.
    async fn vends_by_hour(&self, account: Option<AccountId>, from: Timestamp) -> Result<Vec<HourCount>, Error>;

    /// What went over the S3 endpoint, in order of days; those without any are left out.
    async fn traffic_by_day(&self, filter: &TrafficFilter) -> Result<Vec<TrafficDay>, Error>;

    /// The same by caller, those with the most bytes first; so many of them.
    async fn traffic_by_caller(&self, filter: &TrafficFilter, most: u32) -> Result<Vec<(CallerId, Traffic)>, Error>;

    /// How the credential of a lease was used; nothing if it was not.
    async fn used(&self, lease: LeaseId) -> Result<Option<Used>, Error>;
}
