//! What pages of other origins are told: on every answer, so that they can read refusals too, and before they ask.
//!
//! SECURITY: nothing here opens anything. A page needs a key or a signed URL as everybody does, and no answer allows it to send
//! what a browser would add by itself (`Access-Control-Allow-Credentials`).

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};
use s3s::{Body, S3Error};
use valetkey_core::cors::{Allowed, Rules};

use crate::error::{Result, refuse_custom};

/// What an answer depends on.
const DEPENDS: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// What a page asks, and what its bucket allows.
pub(super) struct Page {
    rules: Vec<Arc<Rules>>,
    origin: Option<String>,
    method: Method,
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn forbidden() -> S3Error {
    let said = "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request \
                method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
                resource's CORS spec.";
    refuse_custom("AccessForbidden", StatusCode::FORBIDDEN, said)
}

impl Page {
    pub(super) fn new(rules: Vec<Arc<Rules>>, method: &Method, headers: &HeaderMap) -> Self {
        Self { rules, origin: one(headers, &ORIGIN).map(str::to_owned), method: method.clone() }
    }

    /// Answers a page that asks whether it may.
    pub(super) fn preflight(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        let asked = self.origin.as_deref().zip(one(headers, &ACCESS_CONTROL_REQUEST_METHOD));
        let (origin, method) = asked.ok_or_else(|| {
            let said = "Insufficient information. Origin and Access-Control-Request-Method request headers needed.";
            refuse_custom("BadRequest", StatusCode::BAD_REQUEST, said)
        })?;
        let names = if headers.contains_key(ACCESS_CONTROL_REQUEST_HEADERS) {
            one(headers, &ACCESS_CONTROL_REQUEST_HEADERS).ok_or_else(forbidden)?
        } else {
            ""
        };
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let allowed = self.rules.iter().find_map(|rules| rules.preflight(origin, method, &names));
        let allowed = allowed.ok_or_else(forbidden)?;
        let mut response = Response::new(Body::empty());
        let told = response.headers_mut();
        tell(told, &allowed);
        let mut add = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                told.insert(name, value);
            }
        };
        add(ACCESS_CONTROL_ALLOW_METHODS, &allowed.methods());
        if !names.is_empty() {
            add(ACCESS_CONTROL_ALLOW_HEADERS, &names.join(", "));
        }
        if let Some(secs) = allowed.max_age_secs() {
            add(ACCESS_CONTROL_MAX_AGE, &secs.to_string());
        }
        Ok(response)
    }

    /// Tells on an answer what a page may read of it, and that it depends on who asked.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if self.rules.is_empty() {
            return;
        }
        headers.append(VARY, DEPENDS);
        let Some(origin) = self.origin.as_deref().filter(|_| self.method != Method::OPTIONS) else { return };
        if let Some(allowed) = self.rules.iter().find_map(|rules| rules.answer(origin, self.method.as_str())) {
            tell(headers, &allowed);
        }
    }
}

fn tell(headers: &mut HeaderMap, allowed: &Allowed<'_>) {
    let exposed = allowed.exposed();
    let told =
        [(ACCESS_CONTROL_ALLOW_ORIGIN, Some(allowed.origin)), (ACCESS_CONTROL_EXPOSE_HEADERS, exposed.as_deref())];
    for (name, text) in told {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}
