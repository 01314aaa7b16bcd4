//! Our own refusals: problem details (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::Kind;
use valetkey_core::field::Field;

use super::exchange;
use crate::edge::{Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, title) = match kind {
        Kind::Malformed => (400, "The request cannot be read"),
        Kind::Invalid => (422, "A value is not allowed"),
        Kind::Unauthenticated(_) => (401, "The caller is not known"),
        Kind::Forbidden => (403, "Not allowed"),
        Kind::NotInPlan => (403, "Not in the account's plan"),
        Kind::OutOfCredit => (402, "Not enough credits"),
        Kind::NotFound(_) => (404, "Not found"),
        Kind::AlreadyExists(_) => (409, "Exists already"),
        Kind::WrongMethod => (405, "Method not allowed"),
        Kind::TooLarge => (413, "The body is too large"),
        Kind::Outdated => (426, "The client is too old"),
        Kind::Unsupported => (422, "It is not supported"),
        Kind::RateLimited => (429, "Too many requests"),
        Kind::Upstream => (502, "The object store refused"),
        Kind::UpstreamTimeout => (504, "The object store did not answer"),
        Kind::Unavailable => (503, "Temporarily unavailable"),
        Kind::Internal => (500, "The server failed"),
    };
    Row { status, code: kind.slug(), title }
}

/// A field, as this API names it. What administration says of a noun is called here as the domain calls it.
fn name(field: &Field) -> &str {
    match field {
        Field::Access => "access",
        Field::Bucket => "bucket",
        Field::Grant => "grant",
        Field::Lifetime => "ttl_secs",
        Field::Parts => "parts",
        Field::Paths => "paths",
        Field::Storage => "storage",
        Field::Attribute(attribute) => attribute.as_str(),
        Field::Other(name) => name,
    }
}

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// A URI for the kind of refusal; `urn:valetkey:problem:` and the code.
    #[serde(rename = "type")]
    uri: String,
    /// The kind of refusal in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// The field of the request at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The kind of refusal, to program against.
    code: &'a str,
    /// The request's id, as in the header `x-request-id`.
    request_id: &'a str,
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    if let Some(told) = exchange::body(refused) {
        return told;
    }
    let problem = Problem {
        uri: format!("urn:valetkey:problem:{}", refused.row.code),
        title: refused.row.title,
        status: refused.row.status,
        detail: refused.said,
        field: refused.field.map(name),
        code: refused.row.code,
        request_id: refused.request_id,
    };
    // Only strings and a number: writing them cannot fail.
    serde_json::to_vec(&problem).unwrap_or_default()
}
