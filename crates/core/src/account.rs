//! A tenant: TheirStack's team, Dreadnode's organization, Cloudflare's account, a Delta Sharing provider.

use async_trait::async_trait;

use crate::error::Error;
use crate::id::AccountId;
use crate::name::{BucketName, Name};
use crate::word::words;

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
    /// The bucket whose datasets its callers get when theirs are in several and they name none.
    pub datasets_bucket: Option<BucketName>,
    /// How much it may keep, where that is said for it alone.
    pub quota: OwnQuota,
}

words! {
    /// Whether an account's callers are served.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Standing {
        /// Served.
        Active => "active",
        /// Refused until an operator activates it again.
        Suspended => "suspended",
    }
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

/// How much an account may keep at the embedded store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Quota {
    /// Bytes of objects and of parts of uploads; none: any.
    pub bytes: Option<u64>,
    /// Objects; none: any.
    pub objects: Option<u64>,
}

/// How much one account may keep, as an operator says for it alone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OwnQuota {
    /// Bytes of objects and of parts of uploads.
    pub bytes: OwnLimit,
    /// Objects.
    pub objects: OwnLimit,
}

impl OwnQuota {
    /// What holds for the account on a server where the others have this.
    pub fn or(self, others: Quota) -> Quota {
        let Self { bytes, objects } = self;
        Quota { bytes: bytes.or(others.bytes), objects: objects.or(others.objects) }
    }
}

/// One limit of an account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OwnLimit {
    /// The server's.
    #[default]
    Default,
    /// None, whatever the server's is.
    Any,
    /// So many at most.
    Most(u64),
}

impl OwnLimit {
    /// The limit as it is written: 0 is any, nothing the server's.
    pub const fn of(number: Option<u64>) -> Self {
        match number {
            None => Self::Default,
            Some(0) => Self::Any,
            Some(most) => Self::Most(most),
        }
    }

    /// How it is written.
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Any => Some(0),
            Self::Most(most) => Some(most),
        }
    }

    fn or(self, others: Option<u64>) -> Option<u64> {
        match self {
            Self::Default => others,
            Self::Any => None,
            Self::Most(most) => Some(most),
        }
    }
}

/// What an account keeps at the embedded store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// Bytes of objects and of parts of uploads.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
}

/// What the embedded store asks before it takes what an account writes.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// How much the account may keep, if that is said for it alone: as it is now.
    async fn own_quota(&self, account: AccountId) -> Result<OwnQuota, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_own_limit_comes_before_the_servers() {
        let others = Quota { bytes: Some(10), objects: None };
        let own = |bytes, objects| OwnQuota { bytes: OwnLimit::of(bytes), objects: OwnLimit::of(objects) };
        assert_eq!(own(None, None).or(others), others);
        assert_eq!(own(Some(20), Some(3)).or(others), Quota { bytes: Some(20), objects: Some(3) });
        assert_eq!(own(Some(0), Some(0)).or(others), Quota::default());
        for number in [None, Some(0), Some(7)] {
            assert_eq!(OwnLimit::of(number).number(), number);
        }
    }
}
