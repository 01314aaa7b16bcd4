//! Callers that an identity provider proves: its token, taken as it is. The first time it is checked and becomes a session; from then on
//! it is known by its digest, like any token of ours, until its provider or a rule of it is changed.

use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use valetkey_core::audit::Author;
use valetkey_core::caller::Caller;
use valetkey_core::error::Stranger;
use valetkey_core::nouns::identity::{
    Claims, IdentityProvider, JwtDigest, LONGEST_TOKEN, NewSession, SessionProof, not_taken,
};
use valetkey_core::token::{PlainToken, TokenDigest};
use valetkey_core::{Error, Kind};

use super::Shared;

/// Whether a token has the form of a JSON Web Token.
pub(super) fn is_jwt(presented: &str) -> bool {
    presented.split('.').count() == 3
}

/// Whom an identity token proves.
pub(super) async fn caller(
    shared: &Shared,
    presented: &str,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<Arc<Caller>, Error> {
    let provider = provider(shared, presented, now).await?;
    let digest = provider.digest_of(&JwtDigest::of(presented));
    let directory = &shared.vending.directory;
    match directory.caller_by_digest(digest, now).await {
        Err(error) if error.kind() == Kind::Unauthenticated(Stranger::Unknown) => {}
        known => return known,
    }
    open(shared, &provider, presented, SessionProof::Itself, from, now).await?;
    directory.caller_by_digest(digest, now).await
}

/// The digest by which an identity token is known that proves somebody.
pub(super) async fn known(shared: &Shared, presented: &str, now: Timestamp) -> Result<TokenDigest, Error> {
    caller(shared, presented, Author::current().from, now).await?;
    Ok(provider(shared, presented, now).await?.digest_of(&JwtDigest::of(presented)))
}

/// Exchanges an identity token for one of ours. Says what whoever gets it is.
///
/// # Errors
/// `Unauthenticated`, or `Forbidden` where no rule admits it.
pub async fn exchange(
    shared: &Shared,
    presented: &str,
    fits: impl FnOnce(&IdentityProvider) -> Result<(), Error>,
    now: Timestamp,
) -> Result<(PlainToken, Arc<Caller>), Error> {
    if !is_jwt(presented) {
        return Err(not_taken("it is no JSON Web Token"));
    }
    let provider = provider(shared, presented, now).await?;
    fits(&provider)?;
    let token = PlainToken::generate(&*shared.entropy);
    let from = Author::current().from;
    open(shared, &provider, presented, SessionProof::Token(token.clone()), from, now).await?;
    let caller = shared.vending.directory.caller(&token, now).await?;
    Ok((token, caller))
}

/// The provider that a token says it is of, if the token would be taken of it now. SECURITY: of a token that is known by its digest this is
/// true as it was when its signature was checked; of any other nothing is believed yet.
async fn provider(shared: &Shared, presented: &str, now: Timestamp) -> Result<Arc<IdentityProvider>, Error> {
    if presented.len() > LONGEST_TOKEN {
        return Err(not_taken(format!("it has more than {LONGEST_TOKEN} bytes")));
    }
    let claims = unverified(presented).ok_or_else(|| not_taken("its claims cannot be read"))?;
    let issuer = claims.issuer().ok_or_else(|| not_taken("it does not say who issued it"))?;
    // SECURITY: such a token proves this server to a cloud; who got one there is nobody here, whatever providers say.
    if shared.own.as_ref().is_some_and(|own| own.issuer() == issuer) {
        return Err(not_taken("this server issued it, for others"));
    }
    let providers = shared.identities.identity_providers().await?;
    let provider = providers.iter().find(|known| &*known.issuer == issuer);
    let provider = provider.ok_or_else(|| not_taken("its issuer is not one that is trusted here"))?;
    provider.plausible(&claims, now)?;
    Ok(Arc::clone(provider))
}

/// What a token claims, believed by nobody yet.
pub(super) fn unverified(presented: &str) -> Option<Claims> {
    Claims::read(&BASE64URL_NOPAD.decode(presented.split('.').nth(1)?.as_bytes()).ok()?)
}

async fn open(
    shared: &Shared,
    provider: &Arc<IdentityProvider>,
    presented: &str,
    by: SessionProof,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), Error> {
    let claims = shared.signatures.verified(provider, presented, now).await?;
    let new = NewSession::of(provider, &claims, JwtDigest::of(presented), by, now)?;
    let name = new.caller.clone();
    let opened = Author { from, ..Author::SERVER }.during(shared.identities.open_session(new, now)).await;
    opened.map_err(|error| {
        if !matches!(error.kind(), Kind::AlreadyExists(_)) {
            return error;
        }
        // Whose token it is must not learn which callers there are.
        let said = "the identity token's rule may not be used for this caller";
        Error::new(Kind::Forbidden, said).note(format!("`{name}`: {}", error.message()))
    })
}
