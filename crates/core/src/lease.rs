//! The record of a vended credential: for the ledger, for ending it early, for credits.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::credential::Trace;
use crate::error::Kind;
use crate::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use crate::scope::Rights;

/// The record of a vended credential, durable before the credential exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its id; the credential's access key id is derived from it.
    pub id: LeaseId,
    /// The account.
    pub account: AccountId,
    /// Who asked.
    pub caller: CallerId,
    /// With which token.
    pub token: TokenId,
    /// At which store.
    pub storage: StorageId,
    /// What it opens.
    pub rights: Arc<Rights>,
    /// The grants that decided.
    pub grants: Arc<[GrantId]>,
    /// In which dialect it was asked for.
    pub dialect: Cow<'static, str>,
    /// What it cost.
    pub credits: u32,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ends by itself; whole seconds.
    pub until: Timestamp,
}

impl Lease {
    /// Where its credential comes from.
    pub fn provenance(&self) -> Provenance {
        let Self { id, account, caller, token, storage, opened, .. } = *self;
        Provenance { lease: Some(id), account, caller, token, storage, opened }
    }
}

/// Where a credential comes from: whatever of this is ended ends the credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Its lease; none where a token itself is what asks, or nobody's lease is open yet.
    pub lease: Option<LeaseId>,
    /// The account.
    pub account: AccountId,
    /// Who asked.
    pub caller: CallerId,
    /// With which token.
    pub token: TokenId,
    /// At which storage.
    pub storage: StorageId,
    /// When it was opened; of a lease, as its credential says it.
    pub opened: Timestamp,
}

/// Who ended a lease early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoker {
    /// The caller that asked for it.
    pub by: CallerId,
    /// When.
    pub at: Timestamp,
}

impl Revoker {
    /// The server itself, or nobody who is known.
    pub const fn server(at: Timestamp) -> Self {
        Self { by: CallerId::from_bytes([0; 16]), at }
    }
}

/// What became of a lease. That its time is over is not a state: it is `now`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseState {
    /// Open until its end.
    Live,
    /// Ended early.
    Revoked(Revoker),
    /// No credential came of it: the issuer refused.
    Void,
}

/// A lease as the ledger tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRecord {
    /// The lease.
    pub lease: Lease,
    /// What became of it.
    pub state: LeaseState,
    /// How the store knows the credential, where somebody else runs it.
    pub trace: Option<Trace>,
    /// The address it was asked for from: a trusted proxy's word, or the connection's. Nothing for the server itself, and for leases from
    /// before this was kept.
    pub from: Option<IpAddr>,
    /// The token it was asked with, where that is another than the lease's: whoever is in charge of a key asks on its behalf. It ends with
    /// that one, too.
    pub asked_with: Option<TokenId>,
    /// The leases it was narrowed from, the first one first: it ends with any of them. None where it was vended for a token.
    pub narrowed_from: Arc<[LeaseId]>,
}

/// A refusal as the ledger keeps it. Under a flood equal ones are counted, never dropped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// The account, if the caller was known.
    pub account: Option<AccountId>,
    /// The caller, if known.
    pub caller: Option<CallerId>,
    /// The address that asked, if known.
    pub from: Option<IpAddr>,
    /// The dialect.
    pub dialect: &'static str,
    /// Why.
    pub kind: Kind,
}

/// What ends credentials early: each with the instant; credentials opened later are not touched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Revocation {
    /// One lease.
    Lease(LeaseId),
    /// Everything a token vended.
    Token(TokenId),
    /// Everything a caller vended.
    Caller(CallerId),
    /// Everything an account vended.
    Account(AccountId),
    /// Everything that is for a store.
    Storage(StorageId),
    /// Everything vended under a grant. Found through the ledger when it is made, then kept as leases.
    Grant(GrantId),
}

impl Revocation {
    /// What it ends, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Lease(_) => "lease",
            Self::Token(_) => "token",
            Self::Caller(_) => "caller",
            Self::Account(_) => "account",
            Self::Storage(_) => "storage",
            Self::Grant(_) => "grant",
        }
    }
}
