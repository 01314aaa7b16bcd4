//! Tokens.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::caller::{CallerStanding, Role};
use crate::error::Error;
use crate::id::{AccountId, CallerId, TokenId};
use crate::lease::Revoker;
use crate::name::Name;
use crate::token::{Maker, PlainToken, TokenDigest};

/// A token as its list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub caller: CallerId,
    /// The caller's name.
    pub caller_name: Name,
    /// The caller's account.
    pub account: AccountId,
    /// What the caller may do.
    pub role: Role,
    /// Its last four characters.
    pub tail: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When it was ended early.
    pub revoked: Option<Timestamp>,
    /// The token that made it; none for the server itself, and for tokens from before this was kept.
    pub made_by: Option<TokenId>,
    /// Whether its caller is served.
    pub standing: CallerStanding,
}

impl TokenRecord {
    /// Whether it proves its caller at an instant.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none()
            && self.until.is_none_or(|until| now < until)
            && match self.standing {
                CallerStanding::Active => true,
                CallerStanding::Suspended | CallerStanding::Removed => false,
            }
    }
}

/// Which tokens to list: in the order they were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenFilter {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only this caller's.
    pub caller: Option<CallerId>,
    /// Only those made at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those made after this one: the last of the page before.
    pub after: Option<TokenId>,
    /// At most so many.
    pub limit: u32,
}

/// Tokens, without what proves their callers.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// A token by its id, also one that has ended.
    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error>;
    /// A token by what is kept of it, also one that has ended.
    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error>;
    /// The tokens that a token made, those that they made, and so on; ended ones too.
    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error>;
    /// The tokens of an account, or of all.
    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error>;
    /// A page of the tokens of one account or all.
    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error>;
}

/// Makes and ends tokens.
#[async_trait]
pub trait TokenAdmin: Tokens {
    /// Stores a new token of a caller (only its digest). It ends as its maker allows; a maker that has ended makes none.
    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error>;
    /// Ends the links that were not used yet and that one of these tokens made. Says how many.
    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error>;
    /// Ends a token; its credentials end with it. Says how many live leases that were.
    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error>;
}
