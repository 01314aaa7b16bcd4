//! TheirStack's refusals: the statuses its pages list, and its envelope.
//!
//! `E-001`, `E-007` and `E-020` are codes it is known to use. The meanings of its others are not published, so the rest
//! start with `V-` and cannot be taken for one of them.

use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::field::Field;

use crate::edge::{Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, code, title) = match kind {
        Kind::Malformed => (400, "V-400", "Malformed request"),
        Kind::TooLarge => (400, "V-413", "Request too large"),
        Kind::Outdated => (400, "V-426", "Client too old"),
        Kind::Unsupported => (400, "V-422", "Not supported"),
        Kind::Unauthenticated(_) => (401, "E-001", "Not allowed exception"),
        Kind::OutOfCredit => (402, "E-007", "Not enough credits"),
        Kind::NotInPlan => (402, "V-402", "Datasets not included in plan"),
        Kind::Forbidden => (403, "V-403", "Not allowed"),
        Kind::NotFound(_) => (404, "V-404", "Not found"),
        Kind::WrongMethod => (405, "V-405", "Method not allowed"),
        Kind::Invalid => (422, "V-422", "Validation error"),
        Kind::AlreadyExists(_) => (422, "V-409", "Already exists"),
        Kind::RateLimited => (429, "V-429", "Too many requests"),
        Kind::Internal => (500, "V-500", "Internal server error"),
        Kind::Upstream => (500, "V-502", "Storage refused"),
        Kind::Unavailable => (500, "V-503", "Temporarily unavailable"),
        Kind::UpstreamTimeout => (500, "V-504", "Storage did not answer"),
    };
    Row { status, code, title }
}

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: u64,
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    title: &'a str,
    description: String,
}

/// A field, as this API's requests name it; nothing if they have none such.
fn name(field: &Field) -> Option<&str> {
    match field {
        Field::Bucket => Some("bucket"),
        Field::Other(name) => Some(name),
        Field::Access
        | Field::Grant
        | Field::Lifetime
        | Field::Parts
        | Field::Paths
        | Field::Storage
        | Field::Attribute(_) => None,
    }
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    let description = match refused.field.and_then(name) {
        Some(field) => format!("{field}: {}", refused.said),
        None => refused.said.to_owned(),
    };
    let envelope = Envelope {
        request_id: refused.request_number,
        error: Inner { code: refused.row.code, title: refused.row.title, description },
    };
    // Only strings and a number: writing them cannot fail.
    serde_json::to_vec(&envelope).unwrap_or_default()
}
