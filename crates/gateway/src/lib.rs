//! Other people's stores behind the embedded S3 endpoint: another S3, Azure, Google, or a plain disk.
//!
//! Enforcement is the endpoint's; what is here only carries bytes, with credentials that never leave it. Every key is exact:
//! one that a store cannot express, or would change into another, is refused.
mod cloud;
mod document;
mod failure;
mod forward;
mod hosts;
mod http;
mod key;
mod kind;
mod lasting;
mod local;
mod machine;
mod memory;
mod objects;
mod settings;
mod staging;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::Error;
use valetkey_core::hosts::Platform;
use valetkey_s3::{Backend, MinFree};

pub use crate::kind::{Gateway, LocalRoots};
pub use crate::settings::{Identity, Settings};

/// On which terms stores are used: the same for all of a server.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long a store may be silent, and how long what a client waits for may take. Sending an object adds to it.
    pub wait: Duration,
    /// How much of the disk of a plain directory stays free.
    pub min_free: MinFree,
    /// Where the platform that the server runs on tells who it is, if it does.
    pub platform: Option<Platform>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { wait: Duration::from_secs(20), min_free: MinFree::Usual, platform: None }
    }
}

/// Opens the way to a store. Nothing is asked of it yet.
///
/// `settings` is a JSON object with `backend` (`s3`, `azure`, `gcs`, `local`) and what that needs; `secrets` is one too, or
/// empty where the machine itself has credentials.
///
/// # Errors
/// `Invalid`, with the field that is wrong; nothing of the secrets is repeated.
pub fn open(settings: &str, secrets: &[u8]) -> Result<Arc<dyn Backend>, Error> {
    Settings::parse(settings)?.open(secrets, &Terms::default())
}

/// A store that forgets everything: for tests.
pub fn memory() -> Arc<dyn Backend> {
    Arc::new(memory::open())
}
