//! What accounts used: credits and requests, by day.

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{AccountId, TokenId};

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

/// What accounts used.
#[async_trait]
pub trait Usage: Send + Sync {
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
}
