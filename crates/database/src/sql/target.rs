//! What ends credentials early, as it is stored.

use valetkey_core::Error;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};

use crate::sql::rows;

/// What a stored revocation ends. A grant's are found and stored as leases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Target {
    Lease(LeaseId),
    Token(TokenId),
    Caller(CallerId),
    Account(AccountId),
    Storage(StorageId),
}

impl Target {
    pub(crate) const fn kind(self) -> u8 {
        match self {
            Self::Lease(_) => 0,
            Self::Token(_) => 1,
            Self::Caller(_) => 2,
            Self::Account(_) => 3,
            Self::Storage(_) => 4,
        }
    }

    pub(crate) const fn bytes(self) -> [u8; 16] {
        match self {
            Self::Lease(id) => id.to_bytes(),
            Self::Token(id) => id.to_bytes(),
            Self::Caller(id) => id.to_bytes(),
            Self::Account(id) => id.to_bytes(),
            Self::Storage(id) => id.to_bytes(),
        }
    }

    pub(crate) fn read(kind: i64, bytes: &[u8]) -> Result<Self, Error> {
        let id = rows::id(bytes)?;
        match kind {
            0 => Ok(Self::Lease(LeaseId::from_bytes(id))),
            1 => Ok(Self::Token(TokenId::from_bytes(id))),
            2 => Ok(Self::Caller(CallerId::from_bytes(id))),
            3 => Ok(Self::Account(AccountId::from_bytes(id))),
            4 => Ok(Self::Storage(StorageId::from_bytes(id))),
            _ => Err(rows::damaged("a kind of revocation")),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lease(id) => id.fmt(f),
            Self::Token(id) => id.fmt(f),
            Self::Caller(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::Storage(id) => id.fmt(f),
        }
    }
}

/// A revocation as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) target: Target,
    pub(crate) at_ms: i64,
    pub(crate) keep_until_ms: i64,
}
