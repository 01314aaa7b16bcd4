//! Instants as flags take them: RFC 3339, or a date, which means the whole of its day (in UTC).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

fn of_date(date: Date) -> Option<Timestamp> {
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn read(text: &str, whole_day: impl Fn(Date) -> Option<Timestamp>) -> Result<Timestamp, String> {
    let refused =
        || format!("`{}` is not a timestamp; one is written 2026-12-31T18:00:00Z, or 2026-12-31", text.escape_debug());
    if text.len() == 10
        && let Ok(date) = text.parse::<Date>()
    {
        return whole_day(date).ok_or_else(refused);
    }
    text.parse().map_err(|_| refused())
}

/// The first time of something: of a date its beginning.
pub(crate) fn from(text: &str) -> Result<Timestamp, String> {
    read(text, of_date)
}

/// The end of something: of a date its end, so that the day is still part of it.
pub(crate) fn until(text: &str) -> Result<Timestamp, String> {
    let end = read(text, |date| of_date(date.checked_add(1.day()).ok()?))?;
    let now = crate::cli::now();
    if end <= now {
        return Err(format!("`{}` is over already: it is {now:.0}", text.escape_debug()));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_all_of_its_day() {
        let of = |read: fn(&str) -> Result<Timestamp, String>, text| read(text).map(|at| at.to_string());
        assert_eq!(of(from, "2999-12-31").unwrap(), "2999-12-31T00:00:00Z");
        assert_eq!(of(until, "2999-12-31").unwrap(), "3000-01-01T00:00:00Z");
        assert_eq!(of(until, "2999-02-28T01:00:00+01:00").unwrap(), "2999-02-28T00:00:00Z");
        for odd in ["", "tomorrow", "2999-13-01", "2999-02-30", "31.12.2999", "2999-12-31T00:00", "9999-12-31"] {
            assert!(of(until, odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_end_that_is_past_is_said() {
        assert!(until("2020-01-01").unwrap_err().contains("`2020-01-01` is over already"));
        assert!(until("2020-01-01T00:00:00Z").is_err());
        assert!(from("2020-01-01").is_ok());
    }
}
