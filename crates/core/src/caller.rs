//! Who is asking, proven by a token, or by a key that comes of one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::claims::Identity;
use crate::error::{Error, Kind, Noun, Stranger};
use crate::field::Attribute;
use crate::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use crate::name::Name;
use crate::scope::{Action, Paths, Rights};
use crate::word::words;

words! {
    /// What a caller may do beside asking for credentials.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum Role {
        /// Asks for credentials, sees and ends its own leases.
        Member => "member",
        /// Also sees and ends the leases and tokens of its account.
        Admin => "admin",
        /// Sees leases, the ledger and who may reach what, of all accounts; nothing else.
        Auditor => "auditor",
        /// Sees everything of all accounts and changes nothing; asks for credentials like a member.
        Planner => "planner",
        /// Also makes accounts, storages, datasets and grants.
        Operator => "operator",
    }
}

/// Whether a caller is served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallerStanding {
    /// Served.
    Active,
    /// Refused until it is activated again.
    Suspended,
    /// Gone. Its record stays, so that its leases can be told whose they were; its name is free again.
    Removed,
}

impl CallerStanding {
    /// The name people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }

    /// Refuses who is not served.
    ///
    /// # Errors
    /// `Forbidden` for a suspended one, `Unauthenticated(Revoked)` for one that is gone.
    pub fn served(self) -> Result<(), Error> {
        match self {
            Self::Active => Ok(()),
            Self::Suspended => Err(Error::new(Kind::Forbidden, "the caller is suspended")),
            Self::Removed => Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the caller was removed")),
        }
    }

    /// Refuses a new token for who would not be served with it.
    ///
    /// # Errors
    /// `Invalid` for a suspended one, `NotFound` for one that is gone.
    pub fn takes_tokens(self) -> Result<(), Error> {
        match self {
            Self::Active => Ok(()),
            Self::Suspended => {
                Err(Error::new(Kind::Invalid, "the caller is suspended: activate it first").at(Attribute::Caller))
            }
            Self::Removed => Err(Error::not_found(Noun::Caller)),
        }
    }
}

/// A caller as its account's list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerRecord {
    /// Its id.
    pub id: CallerId,
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// What it may do beside asking for credentials.
    pub role: Role,
    /// Whether it is served.
    pub standing: CallerStanding,
}

impl CallerRecord {
    /// Refuses to be taken for a caller of the same name that has another role.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub fn has_role(&self, role: Role) -> Result<(), Error> {
        if self.role == role {
            return Ok(());
        }
        let said = format!("the caller `{}` already exists, with the role {}", self.name, self.role.as_str());
        Err(Error::new(Kind::AlreadyExists(Noun::Caller), said).at(Attribute::Role))
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
    /// What the key allows that it signed with, if it was a key and not the token.
    pub held: Option<Arc<Held>>,
    /// What its identity token claims, if it is known by one.
    pub identity: Option<Arc<Identity>>,
    /// The last change of the registry that this is known with, where several servers make them; else 0.
    pub as_of: i64,
}

/// What a key allows its holder to have vended: nothing wider, nothing longer, and nothing that outlives it. Policy holds every
/// permit against it, so that no dialect can forget to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// What the key opens, each at its storage.
    pub opens: Vec<(StorageId, Arc<Rights>)>,
    /// What grants with conditions add to that, each as far as its own conditions hold.
    pub conditional: Vec<(GrantId, StorageId, Arc<Rights>)>,
    /// When the key ends, if that is sooner than its token.
    pub until: Option<Timestamp>,
    /// The leases it comes of, the first one first, its own last: the end of any of them ends what is vended to it. None for a key
    /// that is a token itself.
    pub leases: Vec<LeaseId>,
}

impl Held {
    /// Whether the key opens all of that, path by path and action by action; by grants with conditions where those hold.
    pub fn covers(&self, storage: StorageId, rights: &Rights, holds: impl Fn(GrantId) -> bool) -> bool {
        let conditional = self.conditional.iter().filter(|(_, at, _)| *at == storage);
        let conditional = conditional.filter(|(grant, ..)| holds(*grant)).map(|(_, _, own)| own);
        let plain = self.opens.iter().filter(|(at, _)| *at == storage).map(|(_, own)| own);
        let here: Vec<&Arc<Rights>> = plain.chain(conditional).filter(|own| own.bucket() == rights.bucket()).collect();
        let opens = |paths: &Paths, action: Action| {
            here.iter().any(|own| own.paths_of(action).is_some_and(|own| own.cover_paths(paths)))
        };
        let all = |paths: &Paths, action: Action| match paths {
            Paths::Whole => opens(paths, action),
            Paths::Only(set) => set.iter().all(|path| Paths::only([path]).is_ok_and(|path| opens(&path, action))),
        };
        rights.parts().iter().all(|part| part.actions().iter().all(|action| all(part.paths(), action)))
    }
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
