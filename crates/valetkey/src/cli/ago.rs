//! Instants as people think of them: `5m ago`, `in 3h`.

use jiff::Timestamp;

/// A time seen from another one, rounded towards it.
pub(crate) fn seen_from(now: Timestamp, at: Timestamp) -> String {
    let secs = at.as_second().saturating_sub(now.as_second());
    let long = secs.unsigned_abs();
    let units = [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    // Two of a unit at least, so that `in 1d` never stands for nearly two.
    let (unit, name) = units.into_iter().find(|(unit, _)| long >= 2 * unit).unwrap_or((1, "s"));
    let count = long / unit;
    match (count, secs) {
        (0, _) => "now".to_owned(),
        (count, 1..) => format!("in {count}{name}"),
        (count, _) => format!("{count}{name} ago"),
    }
}

/// The same of a time as the API writes it; nothing of other text.
pub(crate) fn of_text(now: Timestamp, text: &str) -> Option<String> {
    // A number or a name is no instant, whatever a lenient parser makes of it.
    let looks = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T');
    let at: Timestamp = if looks { text.parse().ok()? } else { return None };
    Some(seen_from(now, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_told_by_how_far_away_it_is() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let of = |text: &str| of_text(now, text).unwrap();
        for (text, wanted) in [
            ("2026-01-01T00:00:00.9Z", "now"),
            ("2026-01-01T00:00:59Z", "in 59s"),
            ("2026-01-01T00:01:59Z", "in 119s"),
            ("2025-12-31T23:55:00Z", "5m ago"),
            ("2026-01-01T03:59:00Z", "in 3h"),
            ("2026-01-08T00:00:00Z", "in 7d"),
            ("2025-01-02T00:00:00Z", "364d ago"),
            ("2099-01-01T00:00:00Z", "in 73y"),
        ] {
            assert_eq!(of(text), wanted, "{text}");
        }
        assert_eq!([of_text(now, "20260101"), of_text(now, "lse_T"), of_text(now, "-")], [None, None, None]);
    }
}
