//! Who is asking, proven by a token.

use jiff::Timestamp;

use crate::error::{Error, Kind, Stranger};
use crate::id::{AccountId, CallerId, TokenId};
use crate::name::Name;

/// What a caller may do beside asking for credentials.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Asks for credentials, sees and ends its own leases.
    Member,
    /// Also sees and ends the leases of its account, and makes and ends its account's tokens.
    Admin,
    /// Also makes accounts, storages, datasets and grants, in every account.
    Operator,
}

impl Role {
    /// Every role once.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Operator];

    /// The name people write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// Reads the name people write.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Who is asking: made only by a [`crate::port::Directory`] that checked the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Its id.
    pub id: CallerId,
    /// The tenant it belongs to.
    pub account: AccountId,
    /// Its name, unique in its account.
    pub name: Name,
    /// What it may do beside asking for credentials.
    pub role: Role,
    /// The token it proved itself with.
    pub token: TokenId,
    /// When that token ends; no credential of it lives longer.
    pub token_until: Option<Timestamp>,
}

impl Caller {
    /// Refuses a caller whose token's time is over.
    ///
    /// # Errors
    /// `Unauthenticated(Expired)`.
    pub fn in_time(&self, now: Timestamp) -> Result<&Self, Error> {
        match self.token_until {
            Some(until) if until <= now => {
                Err(Error::new(Kind::Unauthenticated(Stranger::Expired), format!("the token expired at {until:.0}")))
            }
            Some(_) | None => Ok(self),
        }
    }
}
