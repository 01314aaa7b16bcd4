//! Cuts a period into the days of a time zone.

use jiff::Timestamp;
use valetkey_core::nouns::usage::Period;
use valetkey_core::{Error, Kind};

/// The most days one question may be about: ten years and some.
const MOST: usize = 4_000;

/// The days of a period, each from its start up to, not including, its end. They touch, and each is longer than nothing.
pub(crate) fn of(period: &Period) -> Result<Vec<(Timestamp, Timestamp)>, Error> {
    let mut days = Vec::new();
    let mut start = period.from;
    while start < period.to {
        if days.len() == MOST {
            return Err(Error::new(Kind::Invalid, format!("the period is too long; the most is {MOST} days")));
        }
        let end = next_day(start, period).min(period.to);
        days.push((start, end));
        start = end;
    }
    Ok(days)
}

/// The first instant of the day after. A clock set back around midnight shows midnight twice: then the first that is
/// later than `start`.
fn next_day(start: Timestamp, period: &Period) -> Timestamp {
    let date = start.to_zoned(period.zone.clone()).date();
    let Ok(midnight) = date.tomorrow().map(|date| date.at(0, 0, 0, 0)) else { return Timestamp::MAX };
    let earlier = period.zone.to_ambiguous_zoned(midnight).compatible().map(|zoned| zoned.timestamp());
    match earlier {
        Ok(next) if next > start => next,
        Ok(_) => period
            .zone
            .to_ambiguous_zoned(midnight)
            .later()
            .ok()
            .map(|zoned| zoned.timestamp())
            .filter(|next| *next > start)
            .unwrap_or(Timestamp::MAX),
        Err(_) => Timestamp::MAX,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn cut(zone: &str, from: &str, to: &str) -> Vec<String> {
        let period =
            Period { from: from.parse().unwrap(), to: to.parse().unwrap(), zone: TimeZone::get(zone).unwrap() };
        let days = of(&period).unwrap();
        for pair in days.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "days touch");
        }
        days.iter().map(|(start, end)| format!("{start} {}m", end.duration_since(*start).as_mins())).collect()
    }

    #[test]
    fn days_follow_the_zone() {
        assert_eq!(
            cut("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"),
            ["2026-01-01T00:00:00Z 1095m", "2026-01-01T18:15:00Z 1440m", "2026-01-02T18:15:00Z 345m"]
        );
        // Clocks go forward on 8 March 2026: that day has 23 hours.
        assert_eq!(
            cut("America/St_Johns", "2026-03-08T03:30:00Z", "2026-03-10T02:30:00Z"),
            ["2026-03-08T03:30:00Z 1380m", "2026-03-09T02:30:00Z 1440m"]
        );
    }

    #[test]
    fn a_midnight_shown_twice_starts_one_day_only() {
        // Until 2011 Newfoundland set its clocks back at 00:01, to 23:01 of the day before.
        assert_eq!(
            cut("America/St_Johns", "2010-11-06T02:30:00Z", "2010-11-09T03:30:00Z"),
            ["2010-11-06T02:30:00Z 1440m", "2010-11-07T02:30:00Z 1500m", "2010-11-08T03:30:00Z 1440m"]
        );
        // From inside the hour that is shown twice.
        assert_eq!(
            cut("America/St_Johns", "2010-11-07T02:45:00Z", "2010-11-08T03:30:00Z"),
            ["2010-11-07T02:45:00Z 45m", "2010-11-07T03:30:00Z 1440m"]
        );
    }

    #[test]
    fn a_day_that_never_was_is_not_listed() {
        // Samoa went from 29 to 31 December 2011.
        assert_eq!(
            cut("Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z"),
            ["2011-12-29T10:00:00Z 1440m", "2011-12-30T10:00:00Z 1440m"]
        );
    }

    #[test]
    fn an_empty_period_has_no_days_and_an_endless_one_is_refused() {
        assert!(cut("UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z").is_empty());
        let all = Period { from: Timestamp::MIN, to: Timestamp::MAX, zone: TimeZone::UTC };
        assert_eq!(of(&all).unwrap_err().kind(), Kind::Invalid);
    }
}
