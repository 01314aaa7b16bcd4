//! This server's own identity at a storage's provider: a token that it signs for each request, instead of a kept secret.
//!
//! SECURITY: whoever gets such a token is this server to its audience, for five minutes. So it goes only where the machine's own
//! identity may go (`Proof::MachineToken`), and names one storage of one kind and one audience: it is of no use elsewhere.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use valetkey_core::name::Name;
use valetkey_core::nouns::signing::{OwnIdentity, SigningAlgorithm, TokenFor};
use valetkey_core::storage::StorageKind;
use valetkey_core::{Error, Kind, Secret};

/// This server's identity, as one storage shows it.
#[derive(Clone)]
pub struct Own {
    identity: Option<Arc<dyn OwnIdentity>>,
    subject: Option<Box<str>>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// How a token is signed. Every cloud takes RS256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Signed {
    /// With RSA.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// With P-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Signed {
    /// The algorithm.
    pub(crate) const fn algorithm(self) -> SigningAlgorithm {
        match self {
            Self::Rs256 => SigningAlgorithm::Rs256,
            Self::Es256 => SigningAlgorithm::Es256,
        }
    }
}

impl Own {
    /// That of a storage; of one that is only described yet, no token is made.
    pub fn of(identity: Option<Arc<dyn OwnIdentity>>, kind: StorageKind, storage: Option<&Name>) -> Self {
        let subject = storage.map(|name| format!("storage:{}:{name}", kind.as_str()).into());
        Self { identity, subject }
    }

    /// Refuses what needs tokens where the server issues none.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.identity.as_ref().map(drop).ok_or_else(|| {
            let said = "this server issues no identity tokens: set `issuer.url` in its configuration";
            Error::new(Kind::Invalid, said).at("settings.identity.kind")
        })
    }

    /// A token that nobody was given yet.
    pub(crate) async fn token(
        &self,
        audience: &str,
        signed: Signed,
        more: &[(&'static str, String)],
    ) -> Result<Secret<String>, Error> {
        let unproven = |note: &'static str| {
            Error::new(Kind::Unavailable, "the server cannot authenticate to the storage's provider").note(note)
        };
        let identity = self.identity.as_ref().ok_or_else(|| unproven("`issuer.url` is not set"))?;
        let subject = self.subject.as_deref().ok_or_else(|| unproven("the storage is not on record yet"))?;
        identity.token(&TokenFor { subject, audience, algorithm: signed.algorithm(), more }).await
    }
}
