//! How people sign in to the console at an identity provider: this server is its client (authorization code with PKCE).
//!
//! The browser keeps what was begun in a sealed cookie, so that any node can go on. It comes back to a page of the console, which sends
//! the code like a token: from a page of this origin, with that cookie. The identity token stays here, and is judged as every other.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use valetkey_core::claims::Claims;
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::nouns::console::{BegunLogin, ConsoleSession, LOGIN};
use valetkey_core::nouns::identity::{CameBack, IdentityProvider};
use valetkey_core::token::TokenDigest;
use valetkey_core::{Error, Kind, Secret};

use super::session::{Console, cookie, single};
use super::{Shared, identity};

/// The page that a browser comes back to.
const BACK: &str = "/console/signed-in";

/// What a browser came back with.
#[derive(Debug)]
pub struct LoginBack {
    /// What it was sent with.
    pub state: String,
    /// What the identity token is given for.
    pub code: Secret<String>,
    /// Who the provider says that it is, if it does.
    pub issuer: Option<String>,
}

impl Console {
    fn login_cookie(&self) -> &'static str {
        if self.is_secure() { "__Host-valetkey-login" } else { "valetkey-console-login" }
    }

    /// Begins a login at a provider. Gives the address of its login page, and the cookie that remembers it.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if people do not log in there; `Unavailable` if it cannot be asked.
    pub async fn begin(
        &self,
        shared: &Shared,
        dialect: &'static str,
        headers: &HeaderMap,
        provider: &str,
        now: Timestamp,
    ) -> Result<(String, HeaderValue), Error> {
        // The provider sends the browser to one address; another one would not have the cookie.
        if single(headers, &ORIGIN)?.is_none_or(|origin| !origin.eq_ignore_ascii_case(self.origin())) {
            let said = format!("who logs in comes back to `{}`: open the console there", self.origin());
            return Err(Error::new(Kind::Invalid, said));
        }
        let providers = shared.identities.identity_providers().await?;
        let provider = providers.iter().find(|known| known.name.as_str() == provider);
        let missing = || Error::not_found(Noun::IdentityProvider).at("provider");
        let provider = provider.filter(|known| known.login.is_some()).ok_or_else(missing)?;
        let (mut secret, mut nonce) = ([0; 32], [0; SEAL_NONCE_LEN]);
        shared.entropy.fill(&mut secret);
        shared.entropy.fill(&mut nonce);
        let begun = BegunLogin::new(provider.id, secret, now);
        let back = self.back();
        let parameters = [
            ("response_type", "code"),
            ("scope", &*scope(provider)),
            ("redirect_uri", &*back),
            ("state", &*begun.state()),
            ("nonce", &*begun.nonce()),
            ("code_challenge", &*begun.challenge()),
            ("code_challenge_method", "S256"),
        ];
        let page = shared.logins.login_page(provider, &parameters, now).await?;
        let sealed = begun.seal(&shared.keyring.load(), dialect, nonce)?;
        Ok((page, self.header(self.login_cookie(), sealed.reveal(), LOGIN.as_secs())?))
    }

    /// Signs in who logged in at a provider. Gives the session and its cookie.
    ///
    /// # Errors
    /// `Unauthenticated` if the login was begun elsewhere, or the provider does not confirm it; `Forbidden` if no rule admits who it is;
    /// `Unavailable` if the provider cannot be asked.
    pub async fn log_in(
        &self,
        shared: &Shared,
        dialect: &'static str,
        headers: &HeaderMap,
        back: LoginBack,
        now: Timestamp,
    ) -> Result<(ConsoleSession, HeaderValue), Error> {
        let cookie = cookie(headers, self.login_cookie())?.ok_or_else(|| {
            let said = "no login was begun in this browser within ten minutes; begin again";
            Error::new(Kind::Unauthenticated(Stranger::Unknown), said)
        })?;
        let begun = BegunLogin::open(&shared.keyring.load(), dialect, cookie, &back.state, now)?;
        let token = self.logged_in(shared, &begun, &back, now).await?;
        self.open(shared, dialect, token, now).await
    }

    /// Whom a login proves: the session of its identity token.
    async fn logged_in(
        &self,
        shared: &Shared,
        begun: &BegunLogin,
        back: &LoginBack,
        now: Timestamp,
    ) -> Result<TokenDigest, Error> {
        let LoginBack { state: _, code, issuer } = back;
        let providers = shared.identities.identity_providers().await?;
        let provider = providers.iter().find(|known| known.id == begun.provider);
        let provider = provider.ok_or_else(|| Error::not_found(Noun::IdentityProvider).at("provider"))?;
        let (verifier, redirect) = (begun.verifier(), self.back());
        let came = CameBack { code, issuer: issuer.as_deref(), verifier: &verifier, redirect: &redirect };
        let token = shared.logins.identity_token(provider, &came, now).await?;
        let claims = identity::unverified(token.reveal());
        if !claims.is_some_and(|claims| is_of(&claims, provider, begun)) {
            let said = "the identity provider answered with the token of another login; begin again";
            return Err(Error::new(Kind::Unauthenticated(Stranger::Unknown), said));
        }
        identity::known(shared, token.reveal(), now).await
    }

    fn back(&self) -> String {
        format!("{}{BACK}", self.origin())
    }
}

/// Whether claims are of this login (`OpenID` Connect Core, section 3.1.3.7). Whether they are true is asked after.
fn is_of(claims: &Claims, provider: &IdentityProvider, begun: &BegunLogin) -> bool {
    claims.issuer() == Some(&*provider.issuer) && claims.nonce() == Some(&*begun.nonce())
}

/// What is asked for: what the command line asks for, but for the right to renew, which nobody here would use.
fn scope(provider: &IdentityProvider) -> String {
    let all = provider.login.iter().flat_map(|login| &login.scopes).map(|scope| &**scope);
    all.filter(|scope| *scope != "offline_access").collect::<Vec<_>>().join(" ")
}
