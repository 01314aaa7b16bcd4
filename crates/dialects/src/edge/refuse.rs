//! A refusal on its way out: the one place that makes HTTP of it.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use valetkey_core::{Error, Kind};

use super::refusal::Refused;
use super::route::Dialect;

/// Turns a refusal into HTTP.
pub(super) fn response(
    dialect: &Dialect,
    error: &Error,
    request_id: &HeaderValue,
    number: u64,
    allow: Option<&HeaderValue>,
) -> Response {
    let row = (dialect.row)(error.kind());
    let refused = Refused {
        row,
        kind: error.kind(),
        said: error.message(),
        field: error.fault(),
        code: error.code().filter(|code| dialect.codes.contains(code)),
        request_id: request_id.to_str().unwrap_or_default(),
        request_number: number,
    };
    let mut response = Response::new(Body::from((dialect.body)(&refused)));
    *response.status_mut() = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(dialect.body_type));
    if let Kind::Unauthenticated(why) = error.kind()
        && let Some(challenge) = dialect.proof.challenge(why)
    {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(secs) = error.retry_after_secs().or_else(|| usual_wait(error.kind())) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    (dialect.refused)(&refused, headers);
    if let Some(allow) = allow {
        headers.insert(header::ALLOW, allow.clone());
    }
    response
}

/// When to come again after a store failed or was silent and did not say when: it may be well again in a moment.
fn usual_wait(kind: Kind) -> Option<u32> {
    matches!(kind, Kind::Upstream | Kind::UpstreamTimeout).then_some(5)
}
