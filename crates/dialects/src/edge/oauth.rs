//! OAuth's client credentials grant (RFC 6749, section 4.4), for dialects whose clients ask for it: the client's id is the token's id, its
//! secret the token. What they get is a sealed access token, for the one dialect, which ends with the token it stands for.

use serde::Serialize;
use valetkey_core::error::Stranger;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::time::Lifetime;
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind, Secret, access};

use super::{Form, Plain, Shared, basic};

/// How long access tokens live; never longer than the token they stand for.
const LIFETIME: Lifetime = Lifetime::secs(3600);

/// The codes of OAuth's refusals (RFC 6749, section 5.2).
pub const CLIENT_CODES: &[&str] = &["invalid_client", "invalid_request", "unsupported_grant_type"];

fn refused(kind: Kind, code: &'static str, said: &'static str) -> Error {
    Error::new(kind, said).coded(code)
}

fn unknown_client() -> Error {
    refused(Kind::Unauthenticated(Stranger::Unknown), "invalid_client", "the client's id or secret is not known")
}

/// Reads a form that asks for this grant.
///
/// # Errors
/// `Invalid` with OAuth's code.
pub fn client_form(body: &[u8]) -> Result<Form, Error> {
    let said = "the body is not a form of fields, each given once";
    let form = Form::read(body).map_err(|_| refused(Kind::Invalid, "invalid_request", said))?;
    match form.get("grant_type") {
        Some("client_credentials") => Ok(form),
        Some(_) => Err(refused(Kind::Invalid, "unsupported_grant_type", "the grant type is not `client_credentials`")),
        None => Err(refused(Kind::Invalid, "invalid_request", "there is no `grant_type`")),
    }
}

/// A refusal as OAuth tells it (RFC 6749, section 5.2).
#[derive(Serialize)]
pub struct ClientRefused<'a> {
    /// Its code.
    pub error: &'a str,
    /// Words for people.
    pub error_description: &'a str,
}

/// An access token, as OAuth tells it.
#[derive(Serialize)]
pub struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
}

/// Makes an access token of a dialect for who proves to be its client.
///
/// # Errors
/// `Unauthenticated` or `Invalid` with OAuth's code.
pub async fn access_token(shared: &Shared, plain: &Plain, dialect: &'static str) -> Result<TokenAnswer, Error> {
    let form = client_form(&plain.body)?;
    let (id, secret) = match basic(&plain.headers).map_err(|_| unknown_client())? {
        Some(pair) => pair,
        None => match (form.get("client_id"), form.get("client_secret")) {
            (Some(id), Some(secret)) => (id.to_owned(), Secret::new(secret.to_owned())),
            _ => return Err(unknown_client()),
        },
    };
    let id = id.parse::<TokenId>().ok().or_else(|| TokenId::from_uuid(&id)).ok_or_else(unknown_client)?;
    let token = PlainToken::parse(secret.reveal()).map_err(|_| unknown_client())?;
    let found = shared.vending.directory.caller(&token, plain.now).await;
    let caller = found
        .map_err(|error| if matches!(error.kind(), Kind::Unauthenticated(_)) { unknown_client() } else { error })?;
    if caller.token != id {
        return Err(unknown_client());
    }
    let until = LIFETIME.ends(plain.now);
    let until = caller.token_until.map_or(until, |end| end.min(until));
    let mut nonce = [0; SEAL_NONCE_LEN];
    shared.entropy.fill(&mut nonce);
    let access = access::seal(&shared.keyring.load(), dialect, &token.digest(), until, nonce)?;
    let expires_in = until.as_second().saturating_sub(plain.now.as_second());
    Ok(TokenAnswer { access_token: access.reveal().to_owned(), token_type: "Bearer", expires_in })
}
