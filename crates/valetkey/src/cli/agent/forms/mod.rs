//! What is answered, in the form of the service that a client believes to talk to: its bodies, its headers, its refusals.

pub(super) mod aws;
pub(super) mod azure;
pub(super) mod google;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::cli::failure::{Exit, Failure};

/// An answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// An answer with text.
pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    // What is answered is a secret.
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    reply
}

/// An answer with JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    text(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// The status of a failure. SDKs ask again after a 5xx, up to ten times, so a refusal is none.
pub(super) fn status(failure: &Failure) -> StatusCode {
    match failure.exit {
        Exit::Usage => StatusCode::BAD_REQUEST,
        Exit::Unauthenticated | Exit::Denied | Exit::NotFound | Exit::Conflict | Exit::Diverged => {
            StatusCode::FORBIDDEN
        }
        Exit::Ok | Exit::Local | Exit::RateLimited | Exit::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A failure in a sentence: what, what to do about it, and where to find it in the server's log.
pub(super) fn words(failure: &Failure) -> String {
    let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let request = failure.request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default();
    format!("{failure}{hint}{request}")
}

/// A storage whose credential is of another kind.
pub(super) fn other_kind(what: &str, wanted: &str) -> Failure {
    Failure::new(Exit::Denied, format!("the storage gives {what}, and this answers with {wanted}"))
        .hint("`valetkey creds --format json` shows it")
}
