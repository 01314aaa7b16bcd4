//! Azure's managed identity, as virtual machines and App Service have it.
//!
//! Its clients want a token of Entra, whose rights are a whole account's. What Valetkey vends for Azure is narrower than any such token
//! can be: a shared access signature. So this says so, in the form that its clients show, instead of letting them try one provider
//! after the other.

use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::cli::agent::forms::{Reply, json, status, words};
use crate::cli::creds::key::{Key, Material};
use crate::cli::failure::{Exit, Failure};

/// As virtual machines say it, and as App Service does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    error: &'a str,
    #[serde(rename = "error_description")]
    error_description: &'a str,
    status_code: u16,
    message: &'a str,
}

/// A refusal.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    json(status, &Refusal { error: code, error_description: message, status_code: status.as_u16(), message })
}

/// A failure. The clients know no 403 and would try the next identity; to them it is a request that cannot be served.
pub(crate) fn failure(failure: &Failure) -> Reply {
    let status = match status(failure) {
        StatusCode::FORBIDDEN => StatusCode::BAD_REQUEST,
        other => other,
    };
    let code = if status == StatusCode::BAD_REQUEST { "invalid_request" } else { "temporarily_unavailable" };
    refusal(status, code, &words(failure))
}

/// Whether a request has the header that a page in a browser cannot send unasked.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get("metadata").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// What keeps this credential from being a token.
pub(crate) fn token(key: &Key) -> Failure {
    let what = key.material.as_str();
    let hint = match &key.material {
        Material::Azure(_) => {
            "tools that take a signature renew it with `valetkey`'s package for Python, or by `valetkey creds`"
        }
        Material::S3(_) | Material::Google(_) => "`valetkey agent env` prints what its own tools read",
    };
    Failure::new(Exit::Denied, format!("the storage gives {what}, which is no token of Entra")).hint(hint)
}
