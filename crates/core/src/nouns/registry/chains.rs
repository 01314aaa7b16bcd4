//! The ledger as a whole, and its verification.

use async_trait::async_trait;

use crate::audit::{Change, ChangeFilter};
use crate::error::Error;
use crate::nouns::node::Node;

/// A page of the ledger by its number and hash: the last one stands for all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LedgerHead {
    /// Its number, from 1; 0 is the ledger without a page.
    pub seq: u64,
    /// Its hash; zeros stand for the ledger without a page.
    pub hash: [u8; 32],
}

/// What became of a head that was noted earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadFound {
    /// It is the head.
    Head,
    /// It is on the chain; the ledger has grown since.
    Grown,
    /// It is not on the chain: what was written since it was noted was changed, or is gone.
    Missing,
    /// Its page was removed when its time was over: there is nothing to compare it with.
    Swept,
}

/// What a verification of the ledger found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Leases on record.
    pub leases: u64,
    /// Pages of the ledger, each bound to the one before by its hash.
    pub pages: u64,
    /// The first page that does not fit, if one does not.
    pub broken_at: Option<u64>,
    /// The last page of this server's chain.
    pub head: LedgerHead,
    /// The last page of every chain: each server that shares the database has its own.
    pub chains: Vec<LedgerHead>,
    /// The page before the first that is there, of each chain whose oldest pages were removed.
    pub begins: Vec<LedgerHead>,
    /// What became of the head that was expected, if one was.
    pub expected: Option<HeadFound>,
    /// Revocations that were held against the chain.
    pub revocations: u64,
    /// Tokens that were held against the chain.
    pub tokens: u64,
    /// Changes of the registry on record.
    pub changes: u64,
    /// The revocations and tokens that were there before the chain covered them: it has them as they were found then.
    pub before: Option<Before>,
    /// What the database says of revocations and tokens and the chain does not, or the other way round; the first few.
    pub astray: Vec<String>,
}

impl Verified {
    /// Whether everything fits.
    pub fn intact(&self) -> bool {
        self.broken_at.is_none()
            && self.astray.is_empty()
            && !matches!(self.expected, Some(HeadFound::Missing | HeadFound::Swept))
    }
}

/// What was there when the chain began to cover it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// The page from which on it is covered.
    pub page: u64,
    /// Revocations.
    pub revocations: u64,
    /// Tokens.
    pub tokens: u64,
}

/// The ledger as a whole: that it is intact, who writes it, and what it says of changes.
#[async_trait]
pub trait Chains: Send + Sync {
    /// Reads the whole ledger and checks that each page fits the one before and that leases, revocations and tokens are what it
    /// says; and that a head which was noted earlier is on it.
    async fn verify_against(&self, expected: Option<LedgerHead>) -> Result<Verified, Error>;
    /// The same without a head.
    async fn verify_ledger(&self) -> Result<Verified, Error> {
        self.verify_against(None).await
    }
    /// The servers that share the database, in order of their chains; those that are gone, too.
    async fn nodes(&self) -> Result<Vec<Node>, Error>;
    /// Who changed what of the registry, the newest first.
    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, Error>;
}
