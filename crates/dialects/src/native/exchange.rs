//! `POST /oauth/token`: an identity token for a short one of ours (RFC 8693), for clients that carry only that.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::{Error, Kind};

use super::state::Native;
use crate::edge::{Form, Plain, Refused, Reply, exchange};

/// RFC 8693, sections 2.1 and 3.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 3] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token", ACCESS_TOKEN];

/// What of a request is understood. What else is there would narrow or widen something, or say that it does.
const FIELDS: [&str; 8] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "audience",
    "resource",
    "scope",
    "client_id",
];

/// The codes of OAuth's refusals (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
const REQUEST: &str = "invalid_request";
const UNSUPPORTED: &str = "unsupported_grant_type";
const INVALID_GRANT: &str = "invalid_grant";
const SCOPE: &str = "invalid_scope";
const TARGET: &str = "invalid_target";
pub(super) const CODES: &[&str] = &[REQUEST, UNSUPPORTED, INVALID_GRANT, SCOPE, TARGET];

#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: i64,
}

fn refused(code: &'static str, said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Malformed, said).coded(code)
}

/// Exchanges a token.
pub(super) async fn token(native: Arc<Native>, plain: Plain) -> Result<Reply, Error> {
    let form =
        Form::read(&plain.body).map_err(|_| refused(REQUEST, "the body is not a form of fields, each given once"))?;
    if let Some(other) = form.names().find(|name| !FIELDS.contains(name)) {
        let said = format!("the parameter `{}` is not understood", valetkey_core::name::shortened(other));
        return Err(refused(REQUEST, said));
    }
    match form.get("grant_type") {
        Some(GRANT) => {}
        Some(_) => return Err(refused(UNSUPPORTED, format!("the grant type is not `{GRANT}`"))),
        None => return Err(refused(REQUEST, "there is no `grant_type`")),
    }
    let presented = form.get("subject_token").ok_or_else(|| refused(REQUEST, "there is no `subject_token`"))?;
    if !form.get("subject_token_type").is_some_and(|kind| SUBJECT_TYPES.contains(&kind)) {
        return Err(refused(REQUEST, format!("`subject_token_type` is one of {}", SUBJECT_TYPES.join(", "))));
    }
    if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(refused(REQUEST, format!("the only token that is made is `{ACCESS_TOKEN}`")));
    }
    if form.get("scope").is_some_and(|scope| !scope.trim().is_empty()) {
        return Err(refused(
            SCOPE,
            "a token is not narrowed by a scope: narrow the credentials that you ask for with it",
        ));
    }
    // What was not taken is not valid: by whom, and why, is on record as of any token.
    let unfit = |error: Error| {
        if !matches!(error.kind(), Kind::Unauthenticated(_) | Kind::Forbidden) {
            return error;
        }
        let why = error.detail().unwrap_or_default().to_owned();
        refused(INVALID_GRANT, error.message().to_owned()).really(error.kind()).note(why)
    };
    // Before there is a session, which nobody would hold: an identity token buys only so many.
    let mut elsewhere = None;
    let fits = |provider: &IdentityProvider| {
        let foreign =
            |name: &&str| form.get(name).is_some_and(|asked| !provider.audiences.iter().any(|own| **own == *asked));
        elsewhere = ["audience", "resource"].into_iter().find(foreign);
        elsewhere.map_or(Ok(()), |_| Err(Error::new(Kind::Invalid, "it is for another server")))
    };
    let exchanged = exchange(&native.shared, presented, fits, plain.now).await;
    if let Some(name) = elsewhere {
        let said = format!("`{name}` is not this server, by any of the names that its identity provider knows");
        return Err(refused(TARGET, said));
    }
    let (token, caller) = exchanged.map_err(unfit)?;
    let until = caller.token_until.ok_or_else(|| Error::internal("a session has no end"))?;
    let expires_in = until.as_second().saturating_sub(plain.now.as_second());
    let (token_type, issued_token_type) = ("Bearer", ACCESS_TOKEN);
    Reply::json(&Answer { access_token: token.reveal(), issued_token_type, token_type, expires_in })
}

#[derive(Serialize)]
struct Told<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// A refusal as OAuth tells it, if it is one of its.
pub(super) fn body(refused: &Refused<'_>) -> Option<Vec<u8>> {
    let error = refused.code.filter(|code| CODES.contains(code))?;
    // Only strings: writing them cannot fail.
    serde_json::to_vec(&Told { error, error_description: refused.said }).ok()
}

/// Says of such a refusal what it is.
pub(super) fn headers(refused: &Refused<'_>, headers: &mut HeaderMap) {
    if refused.code.is_some_and(|code| CODES.contains(&code)) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
}
