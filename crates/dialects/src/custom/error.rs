//! The usual refusals of an API of one's own; a file may say others.

use valetkey_core::Kind;

use crate::edge::Row;

/// What a refusal looks like where a file does not say.
pub(super) const BODY: &str =
    r#"{"error":{{ code }},"message":{{ said }},"field":{{ field }},"request_id":{{ request_id }}}"#;

pub(super) fn row(kind: Kind) -> Row {
    let (status, title) = match kind {
        Kind::Malformed => (400, "Malformed request"),
        Kind::Unsupported => (400, "Not supported"),
        Kind::Unauthenticated(_) => (401, "Not authenticated"),
        Kind::OutOfCredit => (402, "No credits left"),
        Kind::Forbidden | Kind::NotInPlan => (403, "Not allowed"),
        Kind::NotFound(_) => (404, "Not found"),
        Kind::WrongMethod => (405, "Method not allowed"),
        Kind::AlreadyExists(_) => (409, "Already exists"),
        Kind::TooLarge => (413, "Request too large"),
        Kind::Invalid => (422, "Validation error"),
        Kind::Outdated => (426, "Client too old"),
        Kind::RateLimited => (429, "Too many requests"),
        Kind::Internal => (500, "Internal server error"),
        Kind::Upstream => (502, "Storage refused"),
        Kind::Unavailable => (503, "Temporarily unavailable"),
        Kind::UpstreamTimeout => (504, "Storage did not answer"),
    };
    Row { status, code: kind.slug(), title }
}

/// Whether a file may say that a refusal has this status.
pub(super) fn is_status(status: u16) -> bool {
    (400..=599).contains(&status)
}
