//! Turns a permit and its lease into a credential: one folder for each kind of store.
//!
//! INVARIANT: a credential never reaches further or lives longer than its permit.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::Credential;
use valetkey_core::lease::Lease;
use valetkey_core::name::BucketName;
use valetkey_core::policy::Permit;
use valetkey_core::port::{Issuer, UrlSigner};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::{Error, Secret};

pub mod azure;
pub mod cache;
mod call;
pub mod embedded;
pub mod gcs;
mod kept;
mod presign;
pub mod r2;
pub mod sts;
pub mod upstream;
mod web;

/// Sends each permit to the issuer of its store's kind.
pub struct Issuers {
    embedded: Arc<embedded::Embedded>,
}

impl Issuers {
    /// The issuers there are.
    pub fn new(embedded: Arc<embedded::Embedded>) -> Self {
        Self { embedded }
    }
}

#[async_trait]
impl Issuer for Issuers {
    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Credential, Error> {
        match permit.storage().kind {
            StorageKind::Embedded => self.embedded.issue(permit, lease).await,
        }
    }
}

#[async_trait]
impl UrlSigner for Issuers {
    async fn sign_urls(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        keys: &[&[u8]],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Secret<String>>, Error> {
        match (storage.kind, credential) {
            (StorageKind::Embedded, Credential::S3(credential)) => {
                presign::s3_urls(storage, credential, bucket, keys, now, until)
            }
            (StorageKind::Embedded, Credential::Azure(_) | Credential::Google(_)) => {
                Err(Error::internal("the embedded store's credentials are S3 keys"))
            }
        }
    }
}
