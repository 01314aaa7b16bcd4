//! This kind of storage: our own endpoint in front of its own objects.

use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::nouns::provider::{Facts, Provider};
use valetkey_core::storage::StorageKind;
use valetkey_core::{Error, Secret};

/// The embedded storage. The server makes it, so that nothing is configured of it.
pub struct Embedded {
    /// What is known of our own endpoint.
    pub front: Facts,
}

impl Provider for Embedded {
    fn kind(&self) -> StorageKind {
        StorageKind::Embedded
    }

    fn facts(&self, _: &str, _: Option<&Secret<String>>) -> Result<Facts, Error> {
        Ok(self.front.clone())
    }

    fn hosts(&self, _: &str, _: Option<&Secret<String>>) -> Result<Hosts, Error> {
        Ok(Hosts::new(Proof::Kept))
    }
}
