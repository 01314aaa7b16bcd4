//! What is sealed with the keyring, and is sealed again when its first key is another.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;
use valetkey_core::Error;
use valetkey_core::keyring::{SharedKeyring, goes_on};
use valetkey_core::nouns::administration::Administration;
use valetkey_database::{Database, ParentKeys};
use valetkey_oidc::Own;

use crate::node::ring;
use crate::node::storages::NodeStorages;
use crate::node::watch::Watched;

/// Who has something sealed.
pub(super) struct Sealed {
    pub(super) stores: Arc<NodeStorages>,
    pub(super) registry: Arc<dyn Administration>,
    pub(super) parents: Arc<ParentKeys>,
    pub(super) own: Option<Arc<Own>>,
    pub(super) store: Arc<Database>,
}

fn told(what: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::error!(error = ?error, "{what} could not be sealed with the new key");
    }
}

impl Sealed {
    async fn again(&self, ring: &SharedKeyring) {
        told("secrets of storages", self.stores.reseal(&*self.registry).await);
        told("parent access keys", self.parents.reseal().await);
        if let Some(own) = &self.own {
            told("signing keys", own.reseal().await);
        }
        let known = ring.load().check_values();
        if let Err(error) = self.store.keep_ring(&known).await {
            tracing::error!(error = ?error, "the new keyring could not be remembered");
        }
    }

    /// The keyring's file: what is in it is taken up when it changes.
    pub(super) fn watched(self, file: PathBuf, keyring: SharedKeyring, tasks: TaskTracker) -> Watched {
        let sealed = Arc::new(self);
        Watched {
            what: "keyring",
            files: vec![file.clone()],
            reload: Arc::new(move || {
                let new = ring::load(&file)?;
                goes_on(&keyring.load().check_values(), &new.check_values())?;
                keyring.replace(new);
                let (sealed, keyring) = (Arc::clone(&sealed), keyring.clone());
                tasks.spawn(async move { sealed.again(&keyring).await });
                Ok(())
            }),
        }
    }
}
