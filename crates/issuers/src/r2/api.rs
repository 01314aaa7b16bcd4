//! Cloudflare's API on the wire: requests and answers (API reference, `POST /accounts/{account_id}/r2/temp-access-credentials` and
//! `DELETE …/tokens/{token_id}`).

use std::fmt;

use serde::{Deserialize, Serialize};
use valetkey_core::Error;

use crate::r2::Permission;
use crate::web::{Answer, quoted};

/// What is asked of `temp-access-credentials`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiRequest<'a> {
    pub(super) bucket: &'a str,
    pub(super) parent_access_key_id: &'a str,
    pub(super) permission: Permission,
    pub(super) ttl_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefixes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<&'a [String]>,
}

/// What is asked, in notes.
pub(super) const WHOM: &str = "Cloudflare's API";

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    success: bool,
    result: Option<serde_json::Value>,
    #[serde(default)]
    errors: Vec<ApiError>,
}

/// What it gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiKeys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: String,
}

impl ApiKeys {
    fn trimmed(mut self) -> Self {
        for part in [&mut self.access_key_id, &mut self.secret_access_key, &mut self.session_token] {
            let end = part.trim_end().len();
            part.truncate(end);
            let start = part.len() - part.trim_start().len();
            part.drain(..start);
        }
        self
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeys")
    }
}

#[derive(Deserialize)]
struct ApiError {
    code: i64,
    #[serde(default)]
    message: String,
}

/// The result of what was asked, if it was done.
pub(super) fn accepted(answer: &Answer, said: &'static str) -> Result<Option<serde_json::Value>, Error> {
    let envelope: Option<Envelope> = serde_json::from_slice(answer.body.reveal()).ok();
    let Some(Envelope { success, result, errors }) = envelope else {
        return Err(if answer.status.is_success() {
            answer.malformed("not its JSON")
        } else {
            answer.refused(said, "", "not its JSON")
        });
    };
    if answer.status.is_success() && success {
        return Ok(result);
    }
    let all: Vec<String> = errors.iter().map(|error| format!("{} {}", error.code, quoted(&error.message))).collect();
    // Of several, the first has the word.
    let code = errors.first().map(|error| error.code.to_string()).unwrap_or_default();
    Err(answer.refused(said, &code, &format!("({})", all.join("; "))))
}

/// What `temp-access-credentials` gave.
pub(super) fn read(answer: &Answer) -> Result<ApiKeys, Error> {
    // SECURITY: the parser's own words may repeat a secret.
    accepted(answer, "the storage refused to give a credential")?
        .and_then(|result| serde_json::from_value::<ApiKeys>(result).ok())
        .map(ApiKeys::trimmed)
        .filter(|keys| {
            !keys.access_key_id.is_empty() && !keys.secret_access_key.is_empty() && !keys.session_token.is_empty()
        })
        .ok_or_else(|| answer.malformed("no key"))
}
