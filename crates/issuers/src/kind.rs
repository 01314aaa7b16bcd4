//! The kinds of storage that are asked for credentials, as rows: one lies beside each kind, and `fetchers` lists them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use valetkey_core::fair::LiveNodes;
use valetkey_core::health::Health;
use valetkey_core::hosts::Trusted;
use valetkey_core::name::Name;
use valetkey_core::nouns::provider::{Hints, MAX_BYTES, of_settings};
use valetkey_core::nouns::signing::OwnIdentity;
use valetkey_core::nouns::vault::Vault;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind, Secret};

use crate::own::Own;
use crate::upstream::Upstream;

/// A kind of storage that is asked for credentials.
pub(crate) struct UpstreamKind {
    pub(crate) kind: StorageKind,
    /// What asks for its credentials, as configured.
    pub(crate) open: fn(Given<'_>) -> Result<Arc<dyn Upstream>, Error>,
    /// Refuses settings that are not taken any more, and go on where they were taken.
    pub(crate) outdated: fn(&Given<'_>) -> Result<(), Error>,
    /// What is most often wrong with it.
    pub(crate) hints: Hints,
}

/// What is configured of one storage, and what it is opened with.
pub(crate) struct Given<'a> {
    pub(crate) kind: StorageKind,
    /// JSON; nothing in it is secret.
    pub(crate) settings: &'a str,
    pub(crate) secrets: Option<&'a Secret<String>>,
    /// SECURITY: follows no redirects: what is sent holds secrets.
    pub(crate) http: reqwest::Client,
    pub(crate) world: &'a Environment,
    /// Which storage it is, of one that is on record.
    pub(crate) storage: Option<&'a Name>,
}

/// What fetchers need of the world.
#[derive(Clone)]
pub struct Environment {
    /// Opens the storages' secrets.
    pub vault: Vault,
    /// What of the process the usual chain of AWS credentials may see.
    pub surroundings: Surroundings,
    /// Where the files with other issuers' tokens are that settings may name.
    pub token_dirs: Vec<PathBuf>,
    /// Where the machine's own identity may be sent.
    pub machine_identity_hosts: Trusted,
    /// This server as an issuer of identity tokens, if it is one.
    pub identity: Option<Arc<dyn OwnIdentity>>,
    /// Where it is told how storages answer.
    pub health: Health,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Who else asks the same storages.
    pub nodes: LiveNodes,
}

/// What of the process a chain of credentials may see: the environment as it was when the process started.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The environment's variables.
    pub environment: HashMap<String, String>,
    /// Where the home directory is.
    pub home: Option<PathBuf>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may have secrets in it.
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

pub(crate) fn invalid(said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into())
}

impl<'a> Given<'a> {
    /// The kind's settings. The parser's words name the field; settings have nothing secret in them.
    pub(crate) fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.settings.len() > MAX_BYTES {
            return Err(invalid(format!("settings have at most {MAX_BYTES} bytes")).at("settings"));
        }
        serde_json::from_str(self.settings).map_err(|error| {
            let said = error.to_string();
            // Where in the text is of no use: it is not the one that was written.
            let said = said.split(" at line ").next().unwrap_or_default().to_owned();
            let kind = self.kind.as_str();
            invalid(format!("these are not the settings of a storage of kind `{kind}`: {said}")).at("settings")
        })
    }

    /// This server's own identity there.
    pub(crate) fn own(&self) -> Own {
        Own::of(self.world.identity.clone(), self.kind, self.storage)
    }

    /// The secrets, of a kind that cannot do without.
    pub(crate) fn needed(&self) -> Result<&'a Secret<String>, Error> {
        self.secrets.ok_or_else(|| invalid("a storage of this kind needs secrets").at("secrets"))
    }
}

/// An upstream that was made of settings, or the refusal of one of them.
pub(crate) fn opened<U: Upstream + 'static>(made: Result<U, Error>) -> Result<Arc<dyn Upstream>, Error> {
    made.map(|upstream| Arc::new(upstream) as Arc<dyn Upstream>).map_err(of_settings)
}
