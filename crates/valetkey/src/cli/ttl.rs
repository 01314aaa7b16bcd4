//! Lengths of time as people write them: `90s`, `15m`, `1h30m`, `7d`.

use serde_json::Value;

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::output::Out;
use crate::cli::show;

/// Warns of a longest life that the storage of a bucket never gives. What cannot be found out is not said.
pub(crate) async fn warn_beyond(client: &Client<'_>, out: &Out, max_ttl: Option<u32>, bucket: Option<&str>) {
    let (Some(asked), Some(bucket)) = (max_ttl, bucket) else { return };
    let Ok(buckets) = client.ask(Route::to(op::LIST_BUCKETS, [])).await else { return };
    let of = |row: &Value, name: &str, wanted: &str| show::text(row, &[name]) == Some(wanted);
    let known = show::rows(&buckets).iter().find(|row| of(row, "bucket", bucket));
    let Some(storage) = known.and_then(|row| show::text(row, &["storage"])) else { return };
    let Ok(storages) = client.ask(Route::to(op::LIST_STORAGES, [])).await else { return };
    let known = show::rows(&storages).iter().find(|row| of(row, "name", storage) || of(row, "id", storage));
    let name = known.and_then(|row| show::text(row, &["name"])).unwrap_or(storage);
    let most = known.and_then(|row| show::find(row, &["max_ttl_secs"])).and_then(Value::as_u64);
    if let Some(most) = most.filter(|most| u64::from(asked) > *most) {
        out.warn(&format!(
            "the storage {name} gives at most {}, so that no credential lives for {}",
            show::length(most),
            show::length(asked.into())
        ));
    }
}

/// Reads a length of time as whole seconds.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let refused = || format!("`{}` is not a length of time; one is written 90s, 15m, 1h30m or 7d", text.escape_debug());
    let mut total: u32 = 0;
    let mut digits = String::new();
    for char in text.chars() {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        let unit = match char {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(refused()),
        };
        let number: u32 = digits.parse().map_err(|_| refused())?;
        digits.clear();
        total = number.checked_mul(unit).and_then(|secs| total.checked_add(secs)).ok_or_else(refused)?;
    }
    if !digits.is_empty() {
        return Err(format!("`{}` has no unit at its end; write {digits}s for seconds", text.escape_debug()));
    }
    if total == 0 { Err(refused()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, secs) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("1w1s", 604_801)] {
            assert_eq!(parse(text), Ok(secs), "{text}");
        }
        for text in ["", "0s", "10", "h", "1h30", "-1s", "1.5h", "1 h", "99999999999s", "200000d", "1y", "１s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
