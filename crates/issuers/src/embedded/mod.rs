//! Credentials of the embedded S3 endpoint: sealed here, checked there, with nothing kept in between.

use std::sync::Arc;

use valetkey_core::Error;
use valetkey_core::credential::{Credential, S3Keys};
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::lease::Lease;
use valetkey_core::policy::Permit;
use valetkey_core::time::Entropy;

/// Issues credentials of the embedded S3 endpoint.
pub struct Embedded {
    keyring: SharedKeyring,
    entropy: Arc<dyn Entropy>,
}

impl Embedded {
    /// Issues with the ring's current key.
    pub fn new(keyring: SharedKeyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keyring, entropy }
    }

    /// Seals a lease into a credential.
    ///
    /// # Errors
    /// `Internal` when sealing fails.
    pub fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Credential, Error> {
        let ring = self.keyring.load();
        let access_key_id = ring.access_key_id(lease.id)?;
        let secret_access_key = ring
            .secret_access_key(&access_key_id)
            .ok_or_else(|| Error::internal("the ring does not know the key id it just made"))?;
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        let session_token = ring.seal_narrowed(lease, permit.leases(), &access_key_id, nonce)?;
        Ok(Credential::S3(S3Keys { access_key_id, secret_access_key, session_token, expiration: lease.until }))
    }
}
