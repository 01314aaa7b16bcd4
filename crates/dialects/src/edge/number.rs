//! Request numbers: unique on this node, rising, and small enough for a JSON number (below 2^53).

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use valetkey_core::name::holds_secret;

/// Gives numbers to requests. It starts at the microsecond it was made in, so that a restart does not repeat numbers as
/// long as there are fewer than a million requests a second; microseconds stay below 2^53 until the year 2255.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn starting(now: Timestamp) -> Self {
        Self(AtomicU64::new(u64::try_from(now.as_microsecond()).unwrap_or(0)))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) & ((1 << 53) - 1)
    }
}

/// The header that carries a request's id, both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken from a client: it stands in each log line of its request. A UUID has 36 characters.
const LONGEST: usize = 128;

/// The id to answer with: the client's, if it is one and plain, otherwise the number.
pub(super) fn request_id(headers: &http::HeaderMap, number: u64) -> HeaderValue {
    let mut given = headers.get_all(&REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if plain(id.as_bytes()) && !id.to_str().is_ok_and(holds_secret) => id.clone(),
        _ => HeaderValue::from(number),
    }
}

fn plain(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_fit_a_json_number() {
        let numbers = Numbers::starting(Timestamp::MAX);
        assert!(numbers.next() < 1 << 53);
        let numbers = Numbers::starting("2026-01-01T00:00:00Z".parse().unwrap());
        let first = numbers.next();
        assert!(numbers.next() > first && first < 1 << 53);
    }

    #[test]
    fn a_token_in_a_request_id_is_not_repeated() {
        let id = |given: &str| {
            let mut headers = http::HeaderMap::new();
            headers.append("x-request-id", HeaderValue::from_str(given).unwrap());
            request_id(&headers, 7).to_str().unwrap().to_owned()
        };
        for traced in ["4bf92f3577b34da6a3ce929d0e0e4736", "2a89a5de-c7dd-4bc4-b52e-2d2db90b57c6"] {
            assert_eq!(id(traced), traced);
        }
        let token = format!("vkt_{}_3nQ8Zz", "aB1".repeat(14) + "c");
        for secret in [&token, &format!("id:{token}"), "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"] {
            assert_eq!(id(secret), "7", "{secret}");
        }
    }

    #[test]
    fn a_request_id_that_could_break_a_log_is_not_repeated() {
        let id = |given: &'static [u8]| {
            let mut headers = http::HeaderMap::new();
            headers.append("x-request-id", HeaderValue::from_bytes(given).unwrap());
            request_id(&headers, 7)
        };
        assert_eq!(id(b"01J-abc.9"), "01J-abc.9");
        for bad in [&b""[..], b"a b", b"a\"b", b"\xff", &[b'x'; 129]] {
            assert_eq!(id(bad.to_vec().leak()), "7");
        }
    }
}
