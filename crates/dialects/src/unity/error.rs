//! Unity Catalog's refusals: `{error_code, message, details}`. Some clients need all three.

use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::error::Noun;

use crate::edge::{Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, code) = match kind {
        Kind::Malformed | Kind::Invalid | Kind::TooLarge | Kind::Outdated => (400, "INVALID_ARGUMENT"),
        Kind::Unauthenticated(_) => (401, "UNAUTHENTICATED"),
        Kind::Forbidden | Kind::NotInPlan | Kind::OutOfCredit => (403, "PERMISSION_DENIED"),
        Kind::NotFound(Noun::Share) => (404, "CATALOG_NOT_FOUND"),
        Kind::NotFound(Noun::Schema) => (404, "SCHEMA_NOT_FOUND"),
        Kind::NotFound(Noun::Table) => (404, "TABLE_NOT_FOUND"),
        Kind::NotFound(_) => (404, "NOT_FOUND"),
        Kind::WrongMethod => (405, "UNIMPLEMENTED"),
        Kind::AlreadyExists(_) => (409, "ALREADY_EXISTS"),
        Kind::RateLimited => (429, "RESOURCE_EXHAUSTED"),
        Kind::Internal => (500, "INTERNAL"),
        Kind::Unsupported => (501, "UNIMPLEMENTED"),
        Kind::Upstream => (502, "INTERNAL"),
        Kind::Unavailable => (503, "UNAVAILABLE"),
        Kind::UpstreamTimeout => (504, "DEADLINE_EXCEEDED"),
    };
    Row { status, code, title: "" }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error_code: &'a str,
    message: &'a str,
    details: [Detail<'a>; 1],
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    reason: &'a str,
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    let code = refused.row.code;
    let detail = Detail { kind: "type.googleapis.com/google.rpc.ErrorInfo", reason: code };
    // Only strings: writing them cannot fail.
    serde_json::to_vec(&Envelope { error_code: code, message: refused.said, details: [detail] }).unwrap_or_default()
}
