//! Delta Sharing's refusals: `{errorCode, message}`, with the codes the reference server uses where it has one.
//!
//! Nothing that would stay so however often one asks is a 5xx: the Python client tries those again for more than a minute.

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use valetkey_core::Kind;

use crate::edge::{ClientRefused, Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, code) = match kind {
        Kind::Malformed | Kind::TooLarge => (400, "MALFORMED_REQUEST"),
        Kind::Invalid => (400, "INVALID_PARAMETER_VALUE"),
        Kind::Outdated | Kind::Unsupported => (400, "UNSUPPORTED_OPERATION"),
        Kind::AlreadyExists(_) => (400, "RESOURCE_ALREADY_EXISTS"),
        Kind::Unauthenticated(_) => (401, "UNAUTHENTICATED"),
        Kind::Forbidden | Kind::NotInPlan | Kind::OutOfCredit => (403, "PERMISSION_DENIED"),
        Kind::NotFound(_) => (404, "RESOURCE_DOES_NOT_EXIST"),
        Kind::WrongMethod => (405, "UNSUPPORTED_OPERATION"),
        Kind::RateLimited => (429, "RESOURCE_EXHAUSTED"),
        Kind::Internal => (500, "INTERNAL_ERROR"),
        Kind::Upstream => (502, "INTERNAL_ERROR"),
        Kind::Unavailable => (503, "TEMPORARILY_UNAVAILABLE"),
        Kind::UpstreamTimeout => (504, "TEMPORARILY_UNAVAILABLE"),
    };
    Row { status, code, title: "" }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    error_code: &'a str,
    message: &'a str,
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    // Only strings: writing them cannot fail.
    match refused.code {
        // As OAuth tells it (RFC 6749, section 5.2).
        Some(error) => serde_json::to_vec(&ClientRefused { error, error_description: refused.said }),
        None => serde_json::to_vec(&Envelope { error_code: refused.row.code, message: refused.said }),
    }
    .unwrap_or_default()
}

pub(super) fn headers(refused: &Refused<'_>, headers: &mut HeaderMap) {
    if let (Kind::Unauthenticated(_), Some(_)) = (refused.kind, refused.code) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"delta-sharing\""));
    }
}
