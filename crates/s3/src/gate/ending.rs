//! How every answer ends: with its request's id, counted once; and a refusal whole, and logged once.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use s3s::{Body, S3Error, S3ErrorCode};
use valetkey_core::flood::{Flood, Passed};
use valetkey_core::id::{AccountId, CallerId};

use crate::gate::document;
use crate::gate::moved::Moved;
use crate::gate::session::Operation;
use crate::wire::conditions::FAILED;

/// The longest refusal there is.
const MAX_REFUSAL: usize = 64 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// What of a request its refusal, its log line and its count need.
pub(super) struct Note {
    pub(super) method: Method,
    pub(super) resource: String,
    pub(super) request_id: String,
    /// The access key id as presented; public, and shown only if it is one of ours.
    pub(super) key_id: Option<String>,
    pub(super) operation: Operation,
    /// The bucket and the key in it, as the log names them.
    pub(super) place: (String, Option<String>),
    /// Who asks, by the listener's word.
    pub(super) client: Option<IpAddr>,
    /// Whose key it is, once it was proven.
    pub(super) holder: Option<(AccountId, CallerId)>,
    /// What it moves, once it was proven.
    pub(super) moved: Option<Arc<Moved>>,
    /// What is odd about it, if anything is.
    pub(super) alarm: Option<Alarm>,
}

/// What is odd about a request, beside that it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alarm {
    /// Its session token was sealed for another access key, or was changed.
    OtherKey,
    /// Its key was ended before its time, and is used all the same.
    Revoked(AccountId, CallerId),
}

/// A refusal as a response. Its document is completed in [`finish`].
pub(super) fn refusal(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    text.split_once(start)?.1.split_once(end).map(|(between, _)| between)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Refusals that are logged in a second: anyone can cause them.
static REFUSALS: Flood = Flood::new(100);
/// Where the seconds are counted from.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Whether one more refusal may be logged now. Each that is not is counted: a flood of them does not fill the disk.
pub(super) fn may_log() -> Option<Passed> {
    let passed = REFUSALS.pass(STARTED.get_or_init(Instant::now).elapsed().as_secs());
    if passed.is_none() {
        metrics::counter!("vk_refusals_not_logged_total", "listener" => "s3").increment(1);
    }
    passed
}

/// Gives every response its request id, every refusal its whole document, and counts and logs it once. Says whether it was refused for
/// what the key does not open.
pub(super) async fn finish(mut response: Response<Body>, note: Note) -> (Response<Body>, bool) {
    let Note {
        method,
        resource,
        request_id,
        key_id,
        operation,
        place: (bucket, key),
        client,
        holder,
        moved: _,
        alarm: _,
    } = note;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    // The library says 200 of every HEAD; of a range S3 says 206.
    if method == Method::HEAD && response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let (status, op) = (response.status(), operation.name());
    if status.is_success() {
        metrics::counter!("vk_s3_requests_total", "op" => op, "code" => "OK").increment(1);
        // Every other body is a document of ours.
        return (if op == "GetObject" { response } else { response.map(document::plain) }, false);
    }
    let (mut parts, body) = response.into_parts();
    let document =
        Limited::new(body, MAX_REFUSAL).collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let document = String::from_utf8_lossy(&document);
    let code = between(&document, "<Code>", "</Code>").unwrap_or("InternalError").to_owned();
    metrics::counter!("vk_s3_requests_total", "op" => op, "code" => code.clone()).increment(1);
    parts.headers.remove(CONTENT_LENGTH);
    let condition = parts.headers.remove(FAILED);
    let condition = condition.as_ref().and_then(|name| name.to_str().ok());
    let condition = condition.map_or_else(String::new, |name| format!("<Condition>{}</Condition>", escape(name)));
    if status == StatusCode::NOT_MODIFIED {
        parts.headers.remove(CONTENT_TYPE);
        return (Response::from_parts(parts, Body::empty()), false);
    }
    let denied = code == S3ErrorCode::AccessDenied.as_str();
    let key_id = key_id.as_deref().unwrap_or("-");
    if let Some(Passed { held_back }) = may_log() {
        tracing::info!(
            request.id = request_id,
            s3.op = op,
            s3.code = code,
            http.status = status.as_u16(),
            key_id,
            s3.bucket = bucket,
            s3.key = key,
            caller.id = holder.map(|(_, caller)| tracing::field::display(caller)),
            caller.account = holder.map(|(account, _)| tracing::field::display(account)),
            client.address = client.map(tracing::field::display),
            held_back,
            "refused {op} with {code} (request {request_id})"
        );
    }
    if method == Method::HEAD {
        parts.headers.remove(CONTENT_TYPE);
        return (Response::from_parts(parts, Body::empty()), denied);
    }
    let said = between(&document, "<Message>", "</Message>").unwrap_or(&code);
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{said}</Message>{condition}\
         <Resource>{}</Resource><RequestId>{request_id}</RequestId></Error>",
        escape(&resource)
    );
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    (Response::from_parts(parts, Body::from(document)), denied)
}
