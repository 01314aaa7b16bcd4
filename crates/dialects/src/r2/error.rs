//! Cloudflare's refusals: its envelope, and of its codes those that fit.
//!
//! Source of the codes from 10001 on: developers.cloudflare.com/r2/api/error-codes. The ones of this route are not published;
//! 7003, 9106 and 10000 are the API's own for a path, a header and a token. No code is above 65535, which one SDK cannot hold.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::field::Field;

use crate::edge::{Refused, Row};

/// A bucket's name that cannot be one.
const INVALID_BUCKET_NAME: u16 = 10005;
/// The codes that are not in the table.
pub(super) const CODES: &[&str] = &["10005"];

pub(super) fn row(kind: Kind) -> Row {
    let (status, code, title) = match kind {
        Kind::Malformed => (400, "10040", "The request could not be read."),
        Kind::Invalid => (400, "10040", "A value in the request is not allowed."),
        Kind::Outdated => (400, "10040", "The client is too old."),
        Kind::Unsupported => (400, "10040", "The request is not supported."),
        Kind::TooLarge => (413, "10040", "The request is too large."),
        Kind::Unauthenticated(Stranger::Missing) => {
            (401, "9106", "Missing X-Auth-Key, X-Auth-Email or Authorization headers.")
        }
        Kind::Unauthenticated(Stranger::Unknown | Stranger::Expired | Stranger::Revoked) => {
            (401, "10000", "Authentication error")
        }
        Kind::Forbidden => (403, "10003", "Access Denied."),
        Kind::NotInPlan | Kind::OutOfCredit => (403, "10042", "Not entitled."),
        Kind::NotFound(Noun::Bucket) => (404, "10006", "The specified bucket does not exist."),
        Kind::NotFound(_) => (404, "7003", "No route for the URI"),
        Kind::WrongMethod => (405, "10405", "Method not allowed."),
        Kind::AlreadyExists(_) => (409, "10073", "It exists already."),
        Kind::RateLimited => (429, "10058", "Too many requests."),
        Kind::Internal => (500, "10001", "Internal error."),
        Kind::Upstream => (502, "10001", "The object store failed."),
        Kind::Unavailable => (503, "10043", "Service temporarily unavailable."),
        Kind::UpstreamTimeout => (504, "10001", "The object store did not answer."),
    };
    Row { status, code, title }
}

#[derive(Serialize)]
struct Envelope {
    success: bool,
    errors: [Inner; 1],
    messages: [(); 0],
    result: (),
}

#[derive(Serialize)]
struct Inner {
    code: u16,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
struct Source {
    pointer: String,
}

/// Where a field stands in the request, as a JSON pointer; nothing if these requests have no such field.
fn pointer(field: &Field) -> Option<String> {
    let named = match field {
        Field::Access => "permission",
        Field::Bucket => "bucket",
        Field::Lifetime => "ttlSeconds",
        Field::Paths => "prefixes",
        Field::Other(name) => name,
        Field::Grant | Field::Parts | Field::Storage | Field::Attribute(_) => return None,
    };
    Some(format!("/{}", named.replace('~', "~0").replace('/', "~1")))
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    let pointer = refused.field.and_then(pointer);
    let code = match (refused.kind, pointer.as_deref()) {
        (Kind::Invalid, Some("/bucket")) => INVALID_BUCKET_NAME,
        // The table holds numbers only; a test says so.
        _ => refused.row.code.parse().unwrap_or(10001),
    };
    let envelope = Envelope {
        success: false,
        errors: [Inner {
            code,
            message: format!("{} {}", refused.row.title.trim_end_matches('.'), wrapped(refused.said)),
            source: pointer.map(|pointer| Source { pointer }),
        }],
        messages: [],
        result: (),
    };
    // Only strings and numbers: writing them cannot fail.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

/// The particular words behind the published ones.
fn wrapped(said: &str) -> String {
    format!("({said})")
}

/// The SDKs try again after 409 and every 5xx: not where it cannot help.
pub(super) fn headers(refused: &Refused<'_>, headers: &mut HeaderMap) {
    let again = match refused.kind {
        Kind::AlreadyExists(_) | Kind::Internal => false,
        Kind::Malformed
        | Kind::Invalid
        | Kind::Unauthenticated(_)
        | Kind::Forbidden
        | Kind::NotInPlan
        | Kind::OutOfCredit
        | Kind::NotFound(_)
        | Kind::WrongMethod
        | Kind::TooLarge
        | Kind::Outdated
        | Kind::Unsupported
        | Kind::RateLimited
        | Kind::Upstream
        | Kind::UpstreamTimeout
        | Kind::Unavailable => true,
    };
    if !again {
        headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_number_that_the_sdks_can_hold() {
        for kind in Kind::ALL {
            let code: u16 = row(*kind).code.parse().unwrap();
            assert!(code >= 1000, "{kind:?}");
        }
    }
}
