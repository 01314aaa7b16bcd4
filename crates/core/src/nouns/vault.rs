//! Keeps the secrets of storages: sealed with the server's keyring, and bound to the storage's name.

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::keyring::{SEAL_NONCE_LEN, SharedKeyring};
use crate::name::Name;
use crate::nouns::provider::MAX_BYTES;
use crate::secret::Secret;
use crate::time::Entropy;

/// What the secrets of a storage are sealed for.
const PURPOSE: &str = "storage secrets";

/// Seals and opens the secrets of storages.
#[derive(Clone)]
pub struct Vault {
    keyring: SharedKeyring,
    entropy: Arc<dyn Entropy>,
}

impl Vault {
    /// One with this keyring.
    pub fn new(keyring: SharedKeyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keyring, entropy }
    }

    /// Seals a storage's secrets.
    ///
    /// # Errors
    /// `Invalid` when there are too many, `Internal` when sealing fails.
    pub fn seal(&self, storage: &Name, secrets: &Secret<String>) -> Result<Box<[u8]>, Error> {
        if secrets.reveal().len() > MAX_BYTES {
            return Err(Error::new(Kind::Invalid, format!("secrets have at most {MAX_BYTES} bytes")).at("secrets"));
        }
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let ring = self.keyring.load();
        let sealed = ring.seal_bytes(PURPOSE, storage.as_str().as_bytes(), secrets.reveal().as_bytes(), nonce)?;
        Ok(sealed.into())
    }

    /// A storage's secrets, opened.
    ///
    /// # Errors
    /// `Internal` when the key they were sealed with is gone.
    pub fn open(&self, storage: &Name, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let lost =
            || Error::internal(format!("the secrets of storage {storage} cannot be opened; was its key removed?"));
        let ring = self.keyring.load();
        let opened = ring.open_bytes(PURPOSE, storage.as_str().as_bytes(), sealed).ok_or_else(lost)?;
        String::from_utf8(opened.reveal().clone()).map(Secret::new).map_err(|_| lost())
    }

    /// The same secrets sealed with the newest key; nothing if they are already.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::seal`].
    pub fn sealed_again(&self, storage: &Name, sealed: &[u8]) -> Result<Option<Box<[u8]>>, Error> {
        if self.keyring.load().is_current(sealed) {
            return Ok(None);
        }
        self.seal(storage, &self.open(storage, sealed)?).map(Some)
    }
}
