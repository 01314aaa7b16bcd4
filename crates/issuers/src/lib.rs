//! Turns a permit and its lease into a credential: one folder for each kind of store.
//!
//! INVARIANT: a credential never reaches further or lives longer than its permit.

use std::sync::Arc;

use async_trait::async_trait;
use valetkey_core::Error;
use valetkey_core::credential::Credential;
use valetkey_core::lease::Lease;
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::storage::StorageKind;

pub mod embedded;

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
