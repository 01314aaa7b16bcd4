//! Turns a permit and its lease into a credential: one folder for each kind of store.
//!
//! INVARIANT: a credential never reaches further or lives longer than its permit.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::ask::Asked;
use valetkey_core::credential::{Credential, Issued};
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, Provenance};
use valetkey_core::name::BucketName;
use valetkey_core::policy::Permit;
use valetkey_core::port::{Issuer, SignedUrls, UrlSigner};
use valetkey_core::scope::{Path, Paths, Scope};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind, Secret};

pub mod azure;
pub mod cache;
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

    /// A credential that is made here, of what the store trusts this server with: it takes no longer than to look for one that
    /// is kept, and ends to the second when it may.
    fn signed(&self, fetcher: &Fetcher, scope: &Scope, until: Timestamp) -> Option<Result<Issued, Error>> {
        let now = self.fetchers.now();
        // Both ends in whole seconds, as they are written.
        let secs = until.as_second().saturating_sub(now.as_second());
        let lifetime = Lifetime::secs(u32::try_from(secs).ok().filter(|secs| *secs > 0)?);
        let wish = Wish { scope, lifetime, session: &SessionName::of("valetkey"), now };
        let signed = fetcher.upstream.sign(&wish)?;
        Some(signed.map(|Fetched { credential, upstream_request_id, narrowed, packed_policy_percent: _ }| {
            cache::issued(credential, upstream_request_id, narrowed)
        }))
    }

    /// A URL of R2. SECURITY: the session token in it is the whole credential. So it is one for this object alone, where it can be
    /// made here; or what was vended for single objects, which all stand in the same answer.
    fn one_of_r2(
        &self,
        storage: &Storage,
        credential: &Credential,
        scope: &Scope,
        key: &[u8],
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Secret<String>, Error> {
        let fetcher = self.fetchers.of(storage)?;
        let alone = Paths::only([Path::object(key)?])?;
        let alone = scope
            .narrow(alone, scope.actions())
            .ok_or_else(|| Error::internal("a URL was asked for an object that its credential does not open"))?;
        let until = until.min(credential.expiration());
        if let Some(issued) = self.signed(&fetcher, &alone, until) {
            return Ok(presign::S3Urls::new(storage, issued?.credential.s3()?, scope.bucket(), now, until)?.url(key));
        }
        let listed = match scope.paths() {
            Paths::Whole => false,
            Paths::Only(paths) => paths.iter().all(|path| matches!(path, Path::Object(_))),
        };
        if !listed {
            return Err(Error::new(Kind::Invalid, "a URL of this store would open more than its object"));
        }
        Ok(presign::S3Urls::new(storage, credential.s3()?, scope.bucket(), now, until)?.url(key))
    }
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
        if let Some(signed) = self.signed(&fetcher, permit.scope(), permit.until()) {
            return signed.map(Some);
        }
        // In whole seconds, as of a lease: what was decided in the second of a revocation is ended by it.
        let origin = origin(permit, None, web::whole(self.fetchers.now()));
        let want = Want { scope: permit.scope(), until: permit.until(), said: said(permit), origin: &origin };
        Ok(self.cache.kept(&fetcher, &want)?.map(|held| held.issued()))
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        // The lease is what the ledger keeps: it must be this permit's.
        if lease.scope != *permit.scope() || lease.until > permit.until() || lease.account != permit.account() {
            return Err(Error::internal(format!("lease {} is not of the permit it came with", lease.id)));
        }
        if permit.storage().kind.is_ours() {
            return self.embedded.issue(permit, lease).map(Issued::own);
        }
        let fetcher = self.fetchers.of(permit.storage())?;
        if let Some(signed) = self.signed(&fetcher, permit.scope(), lease.until) {
            return signed;
        }
        let origin = origin(permit, Some(lease.id), lease.opened);
        let want = Want { scope: permit.scope(), until: lease.until, said: said(permit), origin: &origin };
        Ok(self.cache.get(&fetcher, &want).await?.issued())
    }
}

impl UrlSigner for Issuers {
    fn shows_credential(&self, storage: &Storage) -> bool {
        let of_store = |fetcher: Arc<Fetcher>| !fetcher.upstream.signs();
        storage.kind == StorageKind::R2 && self.fetchers.of(storage).is_ok_and(of_store)
    }

    fn one(
        &self,
        storage: &Storage,
        credential: &Credential,
        scope: &Scope,
        key: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Secret<String>, Error> {
        if storage.kind == StorageKind::R2 {
            return self.one_of_r2(storage, credential, scope, key, (now, until));
        }
        Ok(self.signs(storage, credential, scope.bucket(), now, until)?.url(key))
    }

    fn signs(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        match storage.kind {
            StorageKind::Embedded | StorageKind::Gateway | StorageKind::Sts => {
                Ok(Box::new(presign::S3Urls::new(storage, credential.s3()?, bucket, now, until)?))
            }
            // SECURITY: at R2 the session token, which is in each URL, is the whole credential; a signature of Azure's opens
            // what it was made for, which is more than one file; a Google token in a URL is no signature.
            StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => Err(Error::new(
                Kind::Invalid,
                format!("a store of kind `{}` has no URLs that open one file each", storage.kind.as_str()),
            )),
        }
    }
}
