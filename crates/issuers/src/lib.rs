//! Turns a permit and its lease into a credential: one folder for each kind of store.
//!
//! INVARIANT: a credential never reaches further or lives longer than its permit.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::{Credential, Issued};
use valetkey_core::id::LeaseId;
use valetkey_core::keyring::{Carried, Claims};
use valetkey_core::lease::Lease;
use valetkey_core::name::BucketName;
use valetkey_core::policy::Permit;
use valetkey_core::port::{Issuer, SignedUrls, UrlSigner};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::{Error, Kind};

pub mod azure;
pub mod cache;
pub mod embedded;
pub mod gcs;
mod kept;
mod presign;
pub mod probe;
pub mod r2;
mod sigv4;
pub mod sources;
pub mod sts;
pub mod upstream;
mod web;

use crate::cache::{Cache, Want};
use crate::embedded::Embedded;
use crate::sources::Sources;

/// Sends each permit to the issuer of its store's kind.
pub struct Issuers {
    embedded: Embedded,
    sources: Arc<Sources>,
    cache: Cache,
}

impl Issuers {
    /// The issuers there are.
    pub fn new(embedded: Embedded, sources: Arc<Sources>, cache: Cache) -> Self {
        Self { embedded, sources, cache }
    }
}

/// For whom a permit's credential is, in the words that say what was ended.
fn origin(permit: &Permit, lease: Option<LeaseId>, opened: Timestamp) -> Claims {
    Claims {
        // What is renewed ahead of need is nobody's lease yet: no lease has this id.
        lease: lease.unwrap_or(LeaseId::from_bytes([0; 16])),
        account: permit.account(),
        caller: permit.caller(),
        token: permit.token(),
        storage: permit.storage().id,
        opened,
        until: permit.until(),
        reach: Carried::WithLease,
    }
}

#[async_trait]
impl Issuer for Issuers {
    fn ready(&self, permit: &Permit) -> Result<Option<Issued>, Error> {
        if permit.storage().kind.is_ours() {
            return Ok(None);
        }
        let source = self.sources.of(permit.storage())?;
        let origin = origin(permit, None, self.sources.now());
        let want = Want { scope: permit.scope(), until: permit.until(), origin: &origin };
        Ok(self.cache.kept(&source, &want)?.map(|held| held.issued()))
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        // The lease is what the ledger keeps: it must be this permit's.
        if lease.scope != *permit.scope() || lease.until > permit.until() || lease.account != permit.account() {
            return Err(Error::internal(format!("lease {} is not of the permit it came with", lease.id)));
        }
        if permit.storage().kind.is_ours() {
            return self.embedded.issue(lease).map(Issued::own);
        }
        let source = self.sources.of(permit.storage())?;
        let origin = origin(permit, Some(lease.id), lease.opened);
        let want = Want { scope: permit.scope(), until: lease.until, origin: &origin };
        Ok(self.cache.get(&source, &want).await?.issued())
    }
}

impl UrlSigner for Issuers {
    fn signs(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        match (storage.kind, credential) {
            (StorageKind::Embedded | StorageKind::Gateway | StorageKind::Sts, Credential::S3(credential)) => {
                Ok(Box::new(presign::S3Urls::new(storage, credential, bucket, now, until)?))
            }
            // SECURITY: at R2 the session token, which is in each URL, is the whole credential; a signature of Azure's opens
            // what it was made for, which is more than one file; a Google token in a URL is no signature.
            _ => Err(Error::new(
                Kind::Invalid,
                format!("a store of kind `{}` has no URLs that open one file each", storage.kind.as_str()),
            )),
        }
    }
}
