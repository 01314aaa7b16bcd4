//! OAuth's client credentials grant (RFC 6749, section 4.4), so that a recipient's file need not hold what its requests carry:
//! the client's id is the token's id, its secret the token. And the answer that the Python client asks for before each call
//! with HTTP Basic.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::error::Stranger;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::time::Lifetime;
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind, Secret, access};

use super::{NAME, Sharing, json_reply};
use crate::edge::{Call, Form, Plain, Reply, basic};

/// How long access tokens live; never longer than the token they stand for.
const LIFETIME: Lifetime = Lifetime::secs(3600);

/// The codes of OAuth's refusals (RFC 6749, section 5.2).
pub(super) const CODES: &[&str] = &["invalid_client", "invalid_request", "unsupported_grant_type"];

fn refused(kind: Kind, code: &'static str, said: &'static str) -> Error {
    Error::new(kind, said).coded(code)
}

fn unknown_client() -> Error {
    refused(Kind::Unauthenticated(Stranger::Unknown), "invalid_client", "the client's id or secret is not known")
}

fn form(body: &[u8]) -> Result<Form, Error> {
    let said = "the body is not a form of fields, each given once";
    let form = Form::read(body).map_err(|_| refused(Kind::Invalid, "invalid_request", said))?;
    match form.get("grant_type") {
        Some("client_credentials") => Ok(form),
        Some(_) => Err(refused(Kind::Invalid, "unsupported_grant_type", "the grant type is not `client_credentials`")),
        None => Err(refused(Kind::Invalid, "invalid_request", "there is no `grant_type`")),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
}

/// `POST /oauth/token`.
pub(super) async fn token(sharing: Arc<Sharing>, plain: Plain) -> Result<Reply, Error> {
    let form = form(&plain.body)?;
    let (id, secret) = match basic(&plain.headers).map_err(|_| unknown_client())? {
        Some(pair) => pair,
        None => match (form.get("client_id"), form.get("client_secret")) {
            (Some(id), Some(secret)) => (id.to_owned(), Secret::new(secret.to_owned())),
            _ => return Err(unknown_client()),
        },
    };
    let id = id.parse::<TokenId>().ok().or_else(|| TokenId::from_uuid(&id)).ok_or_else(unknown_client)?;
    let token = PlainToken::parse(secret.reveal()).map_err(|_| unknown_client())?;
    let found = sharing.shared.vending.directory.caller(&token, plain.now).await;
    let caller = found
        .map_err(|error| if matches!(error.kind(), Kind::Unauthenticated(_)) { unknown_client() } else { error })?;
    if caller.token != id {
        return Err(unknown_client());
    }
    let until = LIFETIME.ends(plain.now);
    let until = caller.token_until.map_or(until, |end| end.min(until));
    let mut nonce = [0; SEAL_NONCE_LEN];
    sharing.shared.entropy.fill(&mut nonce);
    let access = access::seal(&sharing.shared.keyring.load(), NAME, &token.digest(), until, nonce)?;
    let expires_in = until.as_second().saturating_sub(plain.now.as_second());
    json_reply(&Answer { access_token: access.reveal(), token_type: "Bearer", expires_in })
}

#[derive(Serialize)]
struct Ready {}

/// `POST` of the prefix itself: who asks is known.
pub(super) async fn ready(_: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    if !call.body.iter().all(u8::is_ascii_whitespace) {
        form(&call.body)?;
    }
    json_reply(&Ready {})
}
