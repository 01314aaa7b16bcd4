//! The ports: what the road needs of the world. Stores and issuers stand behind them; so do the tests.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::caller::Caller;
use crate::credential::{Credential, Issued, Trace};
use crate::error::{Error, Kind};
use crate::id::{AccountId, LeaseId};
use crate::lease::{Lease, Provenance, Refusal};
use crate::name::BucketName;
use crate::policy::Permit;
use crate::scope::Rights;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::token::{PlainToken, TokenDigest};

/// Answers who a token is and what its account was granted. Read-mostly: when warm it makes no query.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The last change of the registry that what is read from here on is known with ([`Caller::as_of`]); 0 where one server makes them.
    fn as_of(&self) -> i64 {
        0
    }

    /// Finds the caller a token proves. An ended one is refused as `Revoked`, one out of time as `Expired`.
    async fn caller(&self, token: &PlainToken, now: Timestamp) -> Result<Arc<Caller>, Error> {
        self.caller_by_digest(token.digest(), now).await
    }

    /// The same, from what is kept of the token.
    async fn caller_by_digest(&self, token: TokenDigest, now: Timestamp) -> Result<Arc<Caller>, Error>;

    /// The account as policy sees it.
    async fn account(&self, id: AccountId, now: Timestamp) -> Result<Arc<Snapshot>, Error>;
}

/// Keeps every lease and every decision. Append-only.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Opens a lease of a permit. INVARIANT: when this returns, the lease is durable. Refuses an account that is out of
    /// credit, and what comes while the queue is full (`Unavailable`).
    /// With a `trace`, the credential is known already, and one write keeps both.
    async fn open(&self, permit: &Permit, trace: Option<&Trace>, now: Timestamp) -> Result<Lease, Error>;

    /// Records how the store knows the credential that came of a lease. INVARIANT: when this returns, that is durable.
    async fn issued(&self, lease: &Lease, trace: &Trace, now: Timestamp) -> Result<(), Error>;

    /// Records that no credential came of a lease that was opened here, and gives its credits back; once, however often it is
    /// said. Stores that fail make many of these: it costs what a lease does.
    async fn void(&self, lease: &Lease, kind: Kind, now: Timestamp) -> Result<(), Error>;

    /// Records a refusal, some time soon.
    fn refused(&self, refusal: Refusal, now: Timestamp);
}

/// Turns a permit and its lease into a credential at one kind of store.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// A credential that is there already and is good for the permit, without asking anybody.
    ///
    /// # Errors
    /// What issuing would be refused with, where that is known without asking anybody: no lease is opened for it then.
    fn ready(&self, permit: &Permit) -> Result<Option<Issued>, Error>;

    /// Issues. The credential never reaches further or lives longer than its permit.
    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error>;
}

/// Makes URLs that each open one object with a vended credential, and end with it.
#[async_trait]
pub trait UrlSigner: Send + Sync {
    /// What signs URLs to get objects of a bucket with a credential. They open from `now` and end at `until` or with the
    /// credential, whichever is first.
    ///
    /// # Errors
    /// `Invalid` when the store has no URLs that open one object each.
    fn signs(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error>;

    /// Whether a URL of this store shows the whole credential that it was signed with, so that it opens all that the credential
    /// opens: such a credential may open nothing but the objects that the URLs are for.
    fn shows_credential(&self, _storage: &Storage) -> bool {
        false
    }

    /// The URL that gets one object, with a credential of these rights: as [`Self::signs`], at stores too where each URL needs a
    /// signature of its own.
    ///
    /// # Errors
    /// `Invalid` when the store has no URLs, or when this one would open more than what the rights name object by object.
    fn one(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        key: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Secret<String>, Error> {
        self.signs(storage, credential, rights.bucket(), now, until)?.url(key)
    }

    /// What signs URLs to get the objects that a vended credential's rights open, at every store that has such URLs: also where what
    /// signs them has to be fetched first. Each opens its object alone, whatever the credential opens.
    ///
    /// # Errors
    /// `Invalid` when the store has no URLs that open one object each; what fetching fails with.
    async fn signs_each(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        self.signs(storage, credential, rights.bucket(), now, until)
    }
}

/// Signs one URL at a time, without waiting for anything: a table may have more files than fit into memory as URLs.
pub trait SignedUrls: Send + Sync {
    /// The URL that gets the object of this key, and no other.
    ///
    /// # Errors
    /// `Internal` for an object that the credential does not open, where the store would not refuse it.
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error>;
}

/// What the embedded endpoint asks about a credential whose seal it checked.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Whether the credential was ended early. Answered from memory.
    fn is_revoked(&self, origin: &Provenance) -> bool;

    /// Whether what is known of revocations is of now: another server may have ended what this one takes.
    ///
    /// # Errors
    /// `Unavailable` when it was not heard of for longer than is allowed.
    fn current(&self) -> Result<(), Error> {
        Ok(())
    }

    /// When something counts as opened that is proven by a token itself and not by a lease: now, or, if the clock was set back to
    /// before the last revocation that would end it, right after that one.
    fn opening(&self, origin: &Provenance, now: Timestamp) -> Timestamp {
        let _ = origin;
        now
    }

    /// The rights of a lease whose token was too small for them.
    async fn rights(&self, lease: LeaseId) -> Result<Option<Arc<Rights>>, Error>;
}
