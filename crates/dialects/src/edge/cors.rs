//! What pages of other origins are told on routes that vend. SECURITY: a page needs its caller's token as everybody does; a browser
//! never adds one by itself, and is never allowed to send what it would.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use valetkey_core::cors::Rules;

/// Headers of an answer that a page may read.
pub const EXPOSED: &[&str] = &["Retry-After", "X-Request-Id"];

/// What an answer depends on.
const DEPENDS: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The method that a page wants to know about, if this is how it asks.
pub(super) fn asked(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    one(headers, &ACCESS_CONTROL_REQUEST_METHOD)?.parse().ok()
}

fn add(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Answers a page that asks whether it may. Without an allowance the browser does not ask further.
pub(super) fn preflight(rules: &Rules, method: &Method, headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let told = response.headers_mut();
    told.insert(VARY, DEPENDS);
    let names = one(headers, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let allowed = one(headers, &ORIGIN).and_then(|origin| rules.preflight(origin, method.as_str(), &names));
    match allowed {
        None => *response.status_mut() = StatusCode::FORBIDDEN,
        Some(allowed) => {
            add(told, ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin);
            add(told, ACCESS_CONTROL_ALLOW_METHODS, method.as_str());
            if !names.is_empty() {
                add(told, ACCESS_CONTROL_ALLOW_HEADERS, &names.join(", "));
            }
            if let Some(secs) = allowed.max_age_secs() {
                add(told, ACCESS_CONTROL_MAX_AGE, &secs.to_string());
            }
        }
    }
    response
}

/// Tells on an answer what a page may read of it.
pub(super) fn tell(rules: &Rules, method: &Method, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.append(VARY, DEPENDS);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let Some(allowed) = origin.and_then(|origin| rules.answer(origin, method.as_str())) else { return };
    add(headers, ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin);
    if let Some(names) = allowed.exposed() {
        add(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &names);
    }
}
