//! R2's session tokens: an HS256 JSON Web Token, signed with the parent's secret access key as text.

use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use valetkey_core::{Error, Secret};
use zeroize::Zeroizing;

use crate::r2::Permission;

/// What a token says, in the order Cloudflare's own sample writes it.
#[derive(Serialize)]
pub(crate) struct Claims<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) scope: Permission,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paths: Option<PathClaims>,
    pub(crate) sub: &'a str,
    pub(crate) iss: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
}

/// Where it reaches; both lists are always written, and never both empty.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathClaims {
    pub(crate) prefix_paths: Vec<String>,
    pub(crate) object_paths: Vec<String>,
}

/// The secret access key and the session token.
pub(crate) fn mint(claims: &Claims<'_>, parent: &Secret<String>) -> Result<(Secret<String>, Secret<String>), Error> {
    let claims = serde_json::to_vec(claims)
        .map_err(|error| Error::internal("R2's claims could not be written").caused_by(error))?;
    let head = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let mut jwt = Zeroizing::new(format!("{head}.{}", BASE64URL_NOPAD.encode(&claims)));
    let key = hmac::Key::new(hmac::HMAC_SHA256, parent.reveal().as_bytes());
    let signature = BASE64URL_NOPAD.encode(hmac::sign(&key, jwt.as_bytes()).as_ref());
    jwt.push('.');
    jwt.push_str(&signature);
    let secret = HEXLOWER.encode(digest::digest(&digest::SHA256, jwt.as_bytes()).as_ref());
    let token = BASE64.encode(Zeroizing::new(format!("jwt/{}", *jwt)).as_bytes());
    Ok((Secret::new(secret), Secret::new(token)))
}

/// When a token ends, if it is one as documented.
pub(crate) fn expiration(session_token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Exp {
        exp: i64,
    }
    let text = Zeroizing::new(BASE64_NOPAD.decode(session_token.trim_end_matches('=').as_bytes()).ok()?);
    let jwt = std::str::from_utf8(&text).ok()?.strip_prefix("jwt/")?;
    let claims = BASE64URL_NOPAD.decode(jwt.split('.').nth(1)?.as_bytes()).ok()?;
    Timestamp::from_second(serde_json::from_slice::<Exp>(&claims).ok()?.exp).ok()
}
