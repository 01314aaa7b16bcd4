//! This server as an issuer of identity tokens: `/api/v1/signing-keys` for operators, and for anyone what clouds read of it (`OpenID`
//! Connect Discovery 1.0, section 4; RFC 7517).

use std::sync::Arc;

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use valetkey_core::error::Noun;
use valetkey_core::nouns::signing::{
    KeyState, OwnIdentity, SigningAlgorithm, SigningKey, newest, next_signs_from, published,
};
use valetkey_core::{Error, Kind};

use super::api::signing::SigningKeyRequest;
use super::error::Problem;
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Plain, Reply, json};

/// Where the keys are, below the issuer.
pub(super) const JWKS: &str = "/.well-known/jwks.json";
/// What is published may be kept for five minutes: a new key is published a day before it signs.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A key that signs identity tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeyResponse {
    /// What its tokens call it.
    kid: String,
    /// How it signs: `ES256` or `RS256`.
    algorithm: &'static str,
    /// `next`: published, and does not sign yet. `signing`. `retiring`: signs no more, and is published until its tokens are over. `over`:
    /// not published any more.
    state: &'static str,
    /// When it was made.
    made: String,
    /// From when it signs.
    signs_from: String,
    /// Until when it is published, where another one follows.
    published_until: Option<String>,
}

/// The keys that sign identity tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeyList {
    /// What the tokens say issued them.
    issuer: String,
    /// In the order they were made.
    signing_keys: Vec<SigningKeyResponse>,
}

#[derive(Serialize)]
struct Discovery<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 2],
    scopes_supported: [&'static str; 1],
    claims_supported: [&'static str; 7],
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<Box<RawValue>>,
}

impl Native {
    fn own(&self) -> Result<&dyn OwnIdentity, Error> {
        let off = || Error::new(Kind::NotFound(Noun::Route), "this server issues no identity tokens (`issuer.url`)");
        self.shared.own.as_deref().ok_or_else(off)
    }

    async fn keys_shown(&self, call: &Call) -> Result<SigningKeyList, Error> {
        let own = self.own()?;
        let keys = own.keys().await?;
        let shown = |key: &SigningKey| SigningKeyResponse {
            kid: key.kid.to_string(),
            algorithm: key.algorithm.as_str(),
            state: key.state(&keys, call.now).as_str(),
            made: wire::at(key.made),
            signs_from: wire::at(key.signs_from),
            published_until: key.published_until(&keys).map(wire::at),
        };
        Ok(SigningKeyList { issuer: own.issuer().to_owned(), signing_keys: keys.iter().map(shown).collect() })
    }
}

/// Lists the keys that sign identity tokens of this server. For operators and auditors.
#[utoipa::path(get, operation_id = "list_signing_keys", path = "/api/v1/signing-keys", tag = "identity", responses(
    (status = 200, description = "The keys", body = SigningKeyList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    Reply::json(&native.keys_shown(&call).await?)
}

/// Makes the next key of each algorithm: it is published at once, and signs a day later. For operators.
#[utoipa::path(post, operation_id = "rotate_signing_keys", path = "/api/v1/signing-keys", tag = "identity", request_body = SigningKeyRequest, responses(
    (status = 201, description = "The keys", body = SigningKeyList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn rotate(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let SigningKeyRequest { algorithm, at_once } = json(&call.body)?;
    let algorithms = match algorithm {
        Some(text) => vec![wire::word(&text, "an algorithm", "algorithm")?],
        None => SigningAlgorithm::ALL.to_vec(),
    };
    let own = native.own()?;
    let keys = own.keys().await?;
    // First all of what may be refused.
    let from = |algorithm| Ok((algorithm, next_signs_from(&keys, algorithm, at_once.unwrap_or(false), call.now)?));
    let wanted: Vec<_> = algorithms.into_iter().map(from).collect::<Result<_, Error>>()?;
    let registry = native.shared.registry.by(authority);
    for (algorithm, signs_from) in wanted {
        let new = own.make_key(algorithm, signs_from, call.now).await?;
        registry.add_signing_key(new, newest(&keys, algorithm).map(|key| &*key.kid), call.now).await?;
    }
    Reply::made(&native.keys_shown(&call).await?)
}

/// Withdraws a key at once, as when it has leaked: no token of it is taken any more, as soon as clouds look at the published keys again.
/// Another one signs in the place of one that signs. For operators.
#[utoipa::path(delete, operation_id = "withdraw_signing_key", path = "/api/v1/signing-keys/{kid}", tag = "identity", params(
    ("kid" = String, Path, description = "The key"),
), responses(
    (status = 200, description = "The keys that are left", body = SigningKeyList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn withdraw(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let own = native.own()?;
    let keys = own.keys().await?;
    let kid = call.params.get("kid")?;
    let key = keys.iter().find(|key| &*key.kid == kid);
    let key = key.ok_or_else(|| Error::not_found(Noun::SigningKey).at("kid"))?;
    let instead = match key.state(&keys, call.now) {
        KeyState::Signing => Some(own.make_key(key.algorithm, call.now, call.now).await?),
        KeyState::Next | KeyState::Retiring | KeyState::Over => None,
    };
    native.shared.registry.by(authority).withdraw_signing_key(kid, instead, call.now).await?;
    Reply::json(&native.keys_shown(&call).await?)
}

/// What clouds read first.
#[expect(clippy::unused_async, reason = "a handler may wait")]
pub(super) async fn discovery(native: Arc<Native>, _: Plain) -> Result<Reply, Error> {
    let issuer = native.own()?.issuer();
    let document = Discovery {
        issuer,
        jwks_uri: format!("{issuer}{JWKS}"),
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256", "ES256"],
        scopes_supported: ["openid"],
        claims_supported: ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"],
    };
    Ok(Reply::json(&document)?.header(CACHE_CONTROL, KEPT))
}

/// The public halves of the keys.
pub(super) async fn jwks(native: Arc<Native>, plain: Plain) -> Result<Reply, Error> {
    // SECURITY: a row of the database alone is no key of this server's.
    let keys = native.own()?.genuine_keys().await?;
    let public = |key: &SigningKey| {
        RawValue::from_string(key.public.to_string()).map_err(|_| Error::internal("a signing key is no JSON"))
    };
    let keys = published(&keys, plain.now).map(public).collect::<Result<_, _>>()?;
    Ok(Reply::json(&KeySet { keys })?.header(CACHE_CONTROL, KEPT))
}
