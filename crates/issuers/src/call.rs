//! One call of a store's API: bounded in time and size, and failures in our own kinds.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use valetkey_core::{Error, Kind};
use zeroize::Zeroizing;

use crate::upstream::refused;

/// The largest answer that is read: credentials have a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// What a store answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// May have secrets in it.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Sends a request and reads the whole answer, whatever its status.
///
/// # Errors
/// `UpstreamTimeout`, or `Upstream` when the store cannot be reached or answers too much.
pub(crate) async fn call(request: RequestBuilder, timeout: Duration) -> Result<Answered, Error> {
    // The address may have secrets in it, and who configured it knows it.
    let failed = |error: reqwest::Error| {
        let error = error.without_url();
        if error.is_timeout() {
            Error::new(Kind::UpstreamTimeout, "the store did not answer in time").caused_by(error)
        } else {
            refused("the store cannot be reached").caused_by(error)
        }
    };
    let mut response = request.timeout(timeout).send().await.map_err(failed)?;
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(
                refused("the store's answer cannot be used").note(format!("it has more than {MAX_BYTES} bytes"))
            );
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status: response.status(), headers: response.headers().clone(), body })
}

/// A refusal because the store is asked too often: after the time it says, or a second.
pub(crate) fn throttled(headers: &HeaderMap) -> Error {
    let secs = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<u32>().ok())
        .unwrap_or(1);
    Error::new(Kind::RateLimited, "the store is asked for too many keys").retry_after(secs.clamp(1, 3600))
}

/// Words of a store for our log: short, printable, and without what looks like a secret.
pub(crate) fn quoted(words: &str) -> String {
    valetkey_core::name::redacted(words).chars().take(300).flat_map(char::escape_debug).collect()
}

/// An id of a request, if it is one.
pub(crate) fn request_id(text: &str) -> Option<String> {
    let good =
        (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+/=:".contains(&b));
    good.then(|| text.to_owned())
}
