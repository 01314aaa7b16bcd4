//! A refusal on its way out: what a dialect's tables see of it, and the one place that makes HTTP of it.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use valetkey_core::error::Stranger;
use valetkey_core::{Error, Kind};

use super::route::Dialect;

/// A dialect's status and code for one kind of refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The HTTP status.
    pub status: u16,
    /// The dialect's own code.
    pub code: &'static str,
    /// The dialect's words for it.
    pub title: &'static str,
}

/// What a dialect's envelope may show of a refusal: never what is for the log.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The dialect's row for it.
    pub row: Row,
    /// Why.
    pub kind: Kind,
    /// The words for the caller.
    pub said: &'a str,
    /// The field of the request at fault.
    pub field: Option<&'a str>,
    /// The request's id, as the answer's header has it.
    pub request_id: &'a str,
    /// The request's number.
    pub request_number: u64,
}

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
        said: error.said(),
        field: error.field(),
        request_id: request_id.to_str().unwrap_or_default(),
        request_number: number,
    };
    let mut response = Response::new(Body::from((dialect.body)(&refused)));
    *response.status_mut() = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(dialect.body_type));
    if let Kind::Unauthenticated(why) = error.kind() {
        // RFC 6750, section 3: a token that was sent and not taken is named, one that was not sent is only asked for.
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(match why {
                Stranger::Missing => "Bearer",
                Stranger::Unknown | Stranger::Expired | Stranger::Revoked => "Bearer error=\"invalid_token\"",
            }),
        );
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
