//! Dreadnode's refusals: `{code, detail, type, errors?}` with the statuses its pages list.
//!
//! Only `authentication_error` is published as a `type`; the others are those its SDK uses for its own errors, and ours in
//! the same manner where it has none. They are stable.

use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::field::Field;

use crate::edge::{Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, code, title) = match kind {
        Kind::Malformed | Kind::TooLarge | Kind::Unsupported => (400, "invalid_request", "Invalid request"),
        Kind::Unauthenticated(_) => (401, "authentication_error", "Authentication failed"),
        Kind::Forbidden | Kind::NotInPlan => (403, "forbidden", "Access forbidden"),
        Kind::NotFound(_) => (404, "not_found", "Not found"),
        // Not one of the published statuses, but HTTP's only one for this.
        Kind::WrongMethod => (405, "method_not_allowed", "Method not allowed"),
        Kind::AlreadyExists(_) => (409, "conflict", "Already exists"),
        Kind::Invalid => (422, "validation_error", "Validation error"),
        Kind::Outdated => (426, "upgrade_required", "Upgrade required"),
        Kind::RateLimited => (429, "rate_limited", "Rate limited"),
        // The SDK takes a 429 that speaks of credit for its `InsufficientCreditsError`.
        Kind::OutOfCredit => (429, "insufficient_credits", "Not enough credits"),
        Kind::Internal => (500, "internal_error", "Internal server error"),
        Kind::Unavailable => (500, "unavailable", "Temporarily unavailable"),
        Kind::Upstream => (502, "bad_gateway", "Bad gateway"),
        Kind::UpstreamTimeout => (504, "gateway_timeout", "Gateway timeout"),
    };
    Row { status, code, title }
}

#[derive(Serialize)]
struct Envelope<'a> {
    code: u16,
    detail: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[Item<'a>; 1]>,
}

#[derive(Serialize)]
struct Item<'a> {
    loc: Vec<&'a str>,
    msg: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A field with its place in the request, as in `body.key`; its requests have none of what an ask is made of.
fn place(field: &Field) -> Option<&str> {
    match field {
        Field::Other(place) => Some(place),
        Field::Access
        | Field::Bucket
        | Field::Grant
        | Field::Lifetime
        | Field::Parts
        | Field::Paths
        | Field::Storage
        | Field::Attribute(_) => None,
    }
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    let errors = match refused.kind {
        Kind::Invalid => Some([Item {
            loc: refused.field.and_then(place).unwrap_or("request").split('.').collect(),
            msg: refused.said,
            kind: "value_error",
        }]),
        Kind::Malformed
        | Kind::TooLarge
        | Kind::Unauthenticated(_)
        | Kind::Forbidden
        | Kind::NotInPlan
        | Kind::NotFound(_)
        | Kind::WrongMethod
        | Kind::AlreadyExists(_)
        | Kind::Outdated
        | Kind::Unsupported
        | Kind::RateLimited
        | Kind::OutOfCredit
        | Kind::Internal
        | Kind::Unavailable
        | Kind::Upstream
        | Kind::UpstreamTimeout => None,
    };
    let envelope = Envelope { code: refused.row.status, detail: refused.said, kind: refused.row.code, errors };
    // Only strings and a number: writing them cannot fail.
    serde_json::to_vec(&envelope).unwrap_or_default()
}
