//! A tenant: TheirStack's team, Dreadnode's organization, Cloudflare's account, a Delta Sharing provider.

use crate::id::AccountId;
use crate::name::{BucketName, Name};

/// A tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name, unique on this server.
    pub name: Name,
    /// Whether its callers are served.
    pub standing: Standing,
    /// What a vend costs it.
    pub metering: Metering,
    /// The bucket whose datasets its callers get when theirs lie in several and they name none.
    pub datasets_bucket: Option<BucketName>,
}

/// Whether an account's callers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Served.
    Active,
    /// Refused until an operator activates it again.
    Suspended,
}

/// What a vend costs an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metering {
    /// Nothing.
    Free,
    /// So many credits for each credential; without enough credits left a vend is refused.
    PerVend {
        /// Credits for one credential; at least one.
        credits: u32,
    },
}

impl Metering {
    /// Metering by the number of credits a vend costs; none means free.
    pub const fn of(credits: u32) -> Self {
        if credits == 0 { Self::Free } else { Self::PerVend { credits } }
    }

    /// Credits for one credential.
    pub const fn credits(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::PerVend { credits } => credits,
        }
    }
}
