//! Identity providers: who else's word is taken for who a caller is, and under which rules.
//!
//! A token of one becomes a session: a token of ours in all that follows (leases, the ledger, its end), known by the digest of the
//! identity token itself, of which nothing else is kept.

mod judge;
mod preset;
mod provider;
mod rule;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::claims::Identity;
use crate::error::Error;
use crate::id::{CallerId, ProviderId, RuleId, TokenId};
use crate::lease::Revoker;
use crate::name::{Name, shortened};
use crate::secret::Secret;
use crate::token::{PlainToken, TokenDigest};

pub use crate::claims::{ClaimName, Claims, Condition, Wanted};
pub use judge::not_taken;
pub use preset::Preset;
pub use provider::{
    Algorithm, IdentityProvider, JwtDigest, KeySource, LONGEST_TOKEN, LoginClient, MOST_KEY_BYTES, Proven, TrustRule,
    check_url,
};
pub use rule::{CallerTemplate, SubjectClaim};

/// The most tokens that one identity token is exchanged for.
pub const MOST_EXCHANGES: i64 = 16;

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The provider as the token was judged by it.
    pub provider: Arc<IdentityProvider>,
    /// The rule that admits it.
    pub rule: TrustRule,
    /// The caller's name.
    pub caller: Name,
    /// Who it stands for.
    pub subject: Box<str>,
    /// The token's own id.
    pub jti: Option<Box<str>>,
    /// When it was issued.
    pub issued: Option<Timestamp>,
    /// When the session ends.
    pub until: Timestamp,
    /// The token.
    pub jwt: JwtDigest,
    /// What it claims.
    pub claims: Arc<Claims>,
    /// What proves the session: the token itself, or one of ours that it was exchanged for.
    pub by: SessionProof,
}

/// What proves a session.
#[derive(Clone, Debug)]
pub enum SessionProof {
    /// The identity token.
    Itself,
    /// A token of ours.
    Token(PlainToken),
}

impl NewSession {
    /// The session of a token that was judged.
    pub fn of(
        provider: &Arc<IdentityProvider>,
        claims: &Claims,
        jwt: JwtDigest,
        by: SessionProof,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let Proven { provider: _, rule, caller, subject, jti, issued, until } = provider.judge(claims, now)?;
        let (rule, provider, claims) = (rule.clone(), Arc::clone(provider), Arc::new(claims.clone()));
        Ok(Self { provider, rule, caller, subject, jti, issued, until, jwt, claims, by })
    }

    /// What is kept of what proves it, and the last characters that it is told by.
    pub fn digest(&self) -> (TokenDigest, String) {
        match &self.by {
            SessionProof::Itself => {
                let jwt = data_encoding::HEXLOWER.encode(self.jwt.signed());
                (self.provider.digest_of(&self.jwt), jwt.get(..4).unwrap_or_default().to_owned())
            }
            SessionProof::Token(token) => (token.digest(), token.tail()),
        }
    }

    /// What only callers of this template may be: a token never becomes a caller that somebody made by hand, or that another rule
    /// made, unless its rule names that one caller. Nothing for a rule that does.
    pub fn made_for(&self) -> Option<String> {
        let template = &self.rule.caller;
        (!template.is_fixed()).then(|| format!("{} {template}", self.provider.id))
    }
}

/// A session, as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The token of ours that it is.
    pub token: TokenId,
    /// The provider's name.
    pub provider: Box<str>,
    /// The rule's name, as it was.
    pub rule: Box<str>,
    /// Who it stands for.
    pub subject: Box<str>,
    /// The token's own id.
    pub jti: Option<Box<str>>,
}

/// Which sessions are ended. Tokens that were issued before it are not taken any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cutoff {
    /// All of a provider.
    Provider,
    /// Those of one rule.
    Rule(RuleId),
    /// Those of a subject.
    Subject(Box<str>),
    /// The one of this token id, also if it was never seen.
    TokenId(Box<str>),
}

impl Cutoff {
    /// Its number and text, as databases keep them.
    pub fn parts(&self) -> (i64, String) {
        match self {
            Self::Provider => (0, String::new()),
            Self::Rule(rule) => (1, rule.to_string()),
            Self::Subject(subject) => (2, subject.to_string()),
            Self::TokenId(jti) => (3, jti.to_string()),
        }
    }

    /// What it ends, for people.
    pub fn said(&self) -> String {
        match self {
            Self::Provider => "all sessions".to_owned(),
            Self::Rule(rule) => format!("the sessions of the rule {rule}"),
            Self::Subject(subject) => format!("the sessions of `{}`", shortened(subject)),
            Self::TokenId(jti) => format!("the session of the token `{}`", shortened(jti)),
        }
    }

    /// Whether a token falls under it that was issued then: one that does not say when is taken for older.
    pub fn ends(&self, at: Timestamp, issued: Option<Timestamp>) -> bool {
        matches!(self, Self::TokenId(_)) || issued.is_none_or(|issued| issued <= at)
    }
}

/// Checks signatures of identity tokens.
#[async_trait]
pub trait Signatures: Send + Sync {
    /// The claims of a token that its provider signed. Keys are asked for where they are not known.
    ///
    /// # Errors
    /// `Unauthenticated`; `Unavailable` if the provider's keys cannot be had.
    async fn verified(&self, provider: &Arc<IdentityProvider>, token: &str, now: Timestamp) -> Result<Claims, Error>;

    /// Refuses keys that none can be used of.
    ///
    /// # Errors
    /// `Invalid`.
    fn check_keys(&self, jwks: &str) -> Result<(), Error>;
}

/// What a browser came back with from a provider's login page, and what it was sent there with.
#[derive(Debug)]
pub struct CameBack<'a> {
    /// The code that an identity token is given for.
    pub code: &'a Secret<String>,
    /// Who the provider says that it is, if it does (RFC 9207).
    pub issuer: Option<&'a str>,
    /// What proves that the login was begun here (RFC 7636).
    pub verifier: &'a Secret<String>,
    /// Where it came back to.
    pub redirect: &'a str,
}

/// Asks identity providers at which people log in, with this server as the client.
#[async_trait]
pub trait Logins: Send + Sync {
    /// The address of the provider's login page, with these parameters.
    ///
    /// # Errors
    /// `Unavailable` if the provider cannot be asked where that is; `Invalid` if it has none.
    async fn login_page(
        &self,
        provider: &IdentityProvider,
        parameters: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<String, Error>;

    /// The identity token of a login. Nothing of it is checked yet.
    ///
    /// # Errors
    /// `Unauthenticated` if the provider refuses or another one answered; `Unavailable` if it cannot be asked.
    async fn identity_token(
        &self,
        provider: &IdentityProvider,
        back: &CameBack<'_>,
        now: Timestamp,
    ) -> Result<Secret<String>, Error>;
}

/// What is known of identity providers and their sessions.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Every provider with its rules, in order of their names. From memory when warm.
    async fn identity_providers(&self) -> Result<Arc<[Arc<IdentityProvider>]>, Error>;

    /// Opens a session of a token that was judged; the caller is made if it is not there. What proves it is found in the directory from
    /// then on; a session that is open already is found as it is.
    ///
    /// # Errors
    /// `Unauthenticated(Revoked)` for a token that was ended; `Unavailable` if the provider was changed meanwhile;
    /// `AlreadyExists` for a caller that the rule may not use; `RateLimited` for too many.
    async fn open_session(&self, new: NewSession, now: Timestamp) -> Result<(), Error>;

    /// The session that a token of ours is, if it is one.
    async fn session(&self, token: TokenId) -> Result<Option<Session>, Error>;

    /// What the identity token claims that a token of ours came of, if it came of one.
    async fn identity(&self, token: TokenId) -> Result<Option<Arc<Identity>>, Error>;

    /// What the identity tokens claim of a caller's live sessions, the newest first; of very many, not all.
    async fn live_identities(&self, caller: CallerId, now: Timestamp) -> Result<Vec<Arc<Identity>>, Error>;
}

/// Makes identity providers and ends their sessions.
#[async_trait]
pub trait IdentityAdmin: Identities {
    /// Adds a provider, without rules: its id, version and time are set here.
    async fn create_identity_provider(&self, new: IdentityProvider, now: Timestamp) -> Result<IdentityProvider, Error>;

    /// Ends sessions, and refuses tokens that were issued before. Says how many live leases ended.
    async fn end_sessions(&self, provider: ProviderId, what: &Cutoff, by: Revoker) -> Result<u64, Error>;
}
