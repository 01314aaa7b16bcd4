//! Checks the signatures of identity tokens with the keys that their issuers publish, and issues those of this server.
//!
//! What a token claims is judged in the domain (`core/nouns/identity`); here it is read, and its signature checked by `jsonwebtoken`.
//! SECURITY: nothing of a token says where its keys are (`jku`, `x5u`) or what they are (`jwk`, `x5c`): such fields are not read.

mod keys;
mod known;
mod login;
mod own;
mod token;
mod web;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::nouns::identity::{CameBack, Claims, IdentityProvider, Logins, Signatures, not_taken};
use valetkey_core::{Error, Kind, Secret};

use self::keys::{Choice, KeySet};
use self::known::Known;
use self::login::Endpoints;
use self::token::Token;

pub use own::Own;
pub use web::Web;

/// Checks signatures, and knows the keys to check them with; and asks where people log in.
#[derive(Debug)]
pub struct Oidc {
    known: Known,
    endpoints: Endpoints,
}

impl Oidc {
    /// With keys asked for as that allows.
    pub fn new(web: Web) -> Self {
        Self { known: Known::new(web.clone()), endpoints: Endpoints::new(web) }
    }
}

#[async_trait]
impl Logins for Oidc {
    async fn login_page(
        &self,
        provider: &IdentityProvider,
        parameters: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<String, Error> {
        self.endpoints.login_page(provider, parameters, now).await
    }

    async fn identity_token(
        &self,
        provider: &IdentityProvider,
        back: &CameBack<'_>,
        now: Timestamp,
    ) -> Result<Secret<String>, Error> {
        self.endpoints.identity_token(provider, back, now).await
    }
}

#[async_trait]
impl Signatures for Oidc {
    async fn verified(&self, provider: &Arc<IdentityProvider>, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let token = Token::read(token, &provider.algorithms)?;
        let claims = token.unverified_claims()?;
        // What would be refused in any case has no keys asked for.
        provider.plausible(&claims, now)?;
        let keys = self.known.keys(provider, now).await?;
        let (algorithm, kid) = (token.algorithm, token.kid.as_deref());
        let choice = match keys.choose(algorithm, kid) {
            Choice::Unknown => self.known.asked_again(provider, now).await?.choose(algorithm, kid).one()?,
            known => known.one()?,
        };
        token.verify(&choice)?;
        Ok(claims)
    }

    fn check_keys(&self, jwks: &str) -> Result<(), Error> {
        match KeySet::read(jwks.as_bytes()) {
            Some(keys) if !keys.is_empty() => Ok(()),
            Some(_) | None => {
                let said = "the keys are not a JSON Web Key Set with a key that signs: RSA of 2048 bits or more, P-256, P-384 or Ed25519";
                Err(Error::new(Kind::Invalid, said).at("jwks"))
            }
        }
    }
}

impl Choice {
    fn one(self) -> Result<keys::Key, Error> {
        match self {
            Self::One(key) => Ok(key),
            Self::Unknown => Err(not_taken("signed with a key that its issuer does not publish")),
            Self::Unfit => Err(not_taken("its key does not fit how it says that it is signed, or more than one does")),
        }
    }
}
