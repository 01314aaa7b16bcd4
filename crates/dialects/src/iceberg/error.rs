//! The refusals of Iceberg's REST catalog: `{error: {message, type, code}}`.

use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::error::Noun;

use crate::edge::{ClientRefused, Refused, Row};

pub(super) fn row(kind: Kind) -> Row {
    let (status, code) = match kind {
        Kind::Malformed | Kind::Invalid | Kind::TooLarge | Kind::Outdated => (400, "BadRequestException"),
        Kind::Unauthenticated(_) => (401, "NotAuthorizedException"),
        Kind::Forbidden | Kind::NotInPlan | Kind::OutOfCredit => (403, "ForbiddenException"),
        Kind::NotFound(Noun::Schema) => (404, "NoSuchNamespaceException"),
        Kind::NotFound(Noun::Table) => (404, "NoSuchTableException"),
        Kind::NotFound(_) => (404, "NotFoundException"),
        Kind::WrongMethod => (405, "UnsupportedOperationException"),
        Kind::Unsupported => (406, "UnsupportedOperationException"),
        Kind::AlreadyExists(_) => (409, "AlreadyExistsException"),
        Kind::RateLimited => (429, "TooManyRequestsException"),
        Kind::Internal => (500, "InternalServerError"),
        Kind::Upstream => (502, "ServiceFailureException"),
        Kind::Unavailable => (503, "ServiceUnavailableException"),
        Kind::UpstreamTimeout => (504, "ServiceFailureException"),
    };
    Row { status, code, title: "" }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: u16,
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    // As OAuth tells it (RFC 6749, section 5.2).
    if let Some(error) = refused.code {
        let told = ClientRefused { error, error_description: refused.said };
        return serde_json::to_vec(&told).unwrap_or_default();
    }
    let told = Told { message: refused.said, kind: refused.row.code, code: refused.row.status };
    // Only strings and a number: writing them cannot fail.
    serde_json::to_vec(&Envelope { error: told }).unwrap_or_default()
}
