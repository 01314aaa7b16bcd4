//! The refusals of Iceberg's REST catalog: `{error: {message, type, code}}`.

use serde::Serialize;
use valetkey_core::Kind;
use valetkey_core::error::Noun;

use super::upstream::CODES as UPSTREAM;
use crate::edge::{CLIENT_CODES, ClientRefused, Refused, Row};

/// What its refusals may say beside the table.
pub(super) const CODES: &[&str] = &{
    let [unknown, request, grant] = *CLIENT_CODES else { panic!("OAuth has other codes now") };
    let [failed, state, view, namespace] = UPSTREAM;
    [unknown, request, grant, failed, state, view, namespace]
};

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
    if let Some(error) = refused.code.filter(|code| CLIENT_CODES.contains(code)) {
        let told = ClientRefused { error, error_description: refused.said };
        return serde_json::to_vec(&told).unwrap_or_default();
    }
    let kind = refused.code.unwrap_or(refused.row.code);
    let told = Told { message: refused.said, kind, code: refused.row.status };
    // Only strings and a number: writing them cannot fail.
    serde_json::to_vec(&Envelope { error: told }).unwrap_or_default()
}
