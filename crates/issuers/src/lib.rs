//! Turns a permit and its lease into a credential: one folder for each kind of store.
//!
//! INVARIANT: a credential never reaches further or lives longer than its permit.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::ask::Asked;
use valetkey_core::credential::Issued;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, Provenance};
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::scope::Rights;
use valetkey_core::time::Lifetime;

pub mod azure;
pub mod cache;
pub mod catalog;
pub mod embedded;
pub mod fetchers;
pub mod gcs;
pub mod kind;
pub mod own;
#[cfg(test)]
mod own_tests;
mod presign;
pub mod probe;
pub mod r2;
mod renewing;
pub mod sts;
pub mod upstream;
#[cfg(test)]
mod url_tests;
mod urls;
mod web;

use crate::cache::{Cache, Fetcher, Want};
use crate::embedded::Embedded;
use crate::fetchers::Fetchers;
use crate::upstream::{Fetched, SessionName, Wish};

/// Sends each permit to the issuer of its store's kind.
pub struct Issuers {
    embedded: Embedded,
    fetchers: Arc<Fetchers>,
    cache: Cache,
}

impl Issuers {
    /// The issuers there are.
    pub fn new(embedded: Embedded, fetchers: Arc<Fetchers>, cache: Cache) -> Self {
        Self { embedded, fetchers, cache }
    }
}

/// A credential that is made here, of what the store trusts this server with: it takes no longer than to look for one that
/// is kept, and ends to the second when it may.
fn signed(fetchers: &Fetchers, fetcher: &Fetcher, rights: &Rights, until: Timestamp) -> Option<Result<Issued, Error>> {
    let now = fetchers.now();
    // Both ends in whole seconds, as they are written.
    let secs = until.as_second().saturating_sub(now.as_second());
    let lifetime = Lifetime::secs(u32::try_from(secs).ok().filter(|secs| *secs > 0)?);
    let wish = Wish { rights, lifetime, session: &SessionName::of("valetkey"), now };
    let signed = fetcher.upstream.sign(&wish)?;
    Some(signed.map(|Fetched { credential, upstream_request_id, narrowed, packed_policy_percent: _ }| {
        cache::issued(credential, upstream_request_id, narrowed)
    }))
}

/// Whether somebody said how long.
fn said(permit: &Permit) -> bool {
    match permit.asked() {
        Asked::Usual(_) => false,
        Asked::For(_) | Asked::Exactly(_) => true,
    }
}

/// Where a permit's credential comes from. What is renewed ahead of need is nobody's lease yet.
fn origin(permit: &Permit, lease: Option<LeaseId>, opened: Timestamp) -> Provenance {
    Provenance {
        lease,
        account: permit.account(),
        caller: permit.caller(),
        token: permit.token(),
        storage: permit.storage().id,
        opened,
    }
}

#[async_trait]
impl Issuer for Issuers {
    fn ready(&self, permit: &Permit) -> Result<Option<Issued>, Error> {
        if permit.storage().kind.is_ours() {
            return Ok(None);
        }
        let fetcher = self.fetchers.of(permit.storage())?;
        if let Some(signed) = signed(&self.fetchers, &fetcher, permit.rights(), permit.until()) {
            return signed.map(Some);
        }
        // In whole seconds, as of a lease: what was decided in the second of a revocation is ended by it.
        let origin = origin(permit, None, web::whole(self.fetchers.now()));
        let want = Want { rights: permit.rights(), until: permit.until(), said: said(permit), origin: &origin };
        Ok(self.cache.kept(&fetcher, &want)?.map(|held| held.issued()))
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        // The lease is what the ledger keeps: it must be this permit's.
        if lease.rights != *permit.rights() || lease.until > permit.until() || lease.account != permit.account() {
            return Err(Error::internal(format!("lease {} is not of the permit it came with", lease.id)));
        }
        if permit.storage().kind.is_ours() {
            return self.embedded.issue(permit, lease).map(Issued::own);
        }
        let fetcher = self.fetchers.of(permit.storage())?;
        if let Some(signed) = signed(&self.fetchers, &fetcher, permit.rights(), lease.until) {
            return signed;
        }
        let origin = origin(permit, Some(lease.id), lease.opened);
        let want = Want { rights: permit.rights(), until: lease.until, said: said(permit), origin: &origin };
        Ok(self.cache.get(&fetcher, &want).await?.issued())
    }
}
