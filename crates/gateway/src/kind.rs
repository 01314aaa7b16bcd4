//! This kind of storage: our own endpoint in front of objects that lie elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use valetkey_core::hosts::{Hosts, Trusted};
use valetkey_core::nouns::provider::{Facts, Provider, of_settings};
use valetkey_core::storage::StorageKind;
use valetkey_core::{Error, Kind, Secret};
use valetkey_s3::Backend;

use crate::Terms;
use crate::settings::Settings;

/// Opens what lies behind the endpoint.
pub struct Gateway {
    /// What is known of our own endpoint.
    pub front: Facts,
    /// Which directories of this machine may be served.
    pub local_roots: LocalRoots,
    /// Where the machine's own identity may be sent.
    pub machine_identity_hosts: Trusted,
    /// On which terms storages are used.
    pub terms: Terms,
}

/// Which directories of this machine a gateway may serve.
pub struct LocalRoots {
    /// What is below one of these.
    pub allowed: Vec<PathBuf>,
    /// But for what these are, hold or are in: the server's own.
    pub own: Vec<PathBuf>,
}

impl LocalRoots {
    /// Refuses a directory that a gateway may not serve. SECURITY: the files of a machine are given away by who starts the server
    /// there, and not by whoever has an operator's token.
    fn check(&self, root: &Path) -> Result<(), Error> {
        let refused = |said: &str| Err(invalid("settings.root", format!("`{}` {said}", root.display())));
        let Ok(real) = root.canonicalize() else { return refused("is not there, or cannot be read by the server") };
        if !real.is_dir() {
            return refused("is not a directory");
        }
        let below = |of: &PathBuf| of.canonicalize().is_ok_and(|of| real.starts_with(of));
        if !self.allowed.iter().any(below) {
            return refused("is not below a directory that the server's setting `gateway.local_roots` names");
        }
        let touches = |of: &PathBuf| of.canonicalize().is_ok_and(|of| real.starts_with(&of) || of.starts_with(&real));
        if self.own.iter().any(touches) {
            return refused("holds the server's own data");
        }
        Ok(())
    }
}

impl Gateway {
    /// The way to what lies behind.
    ///
    /// # Errors
    /// `Invalid`, naming the setting.
    pub fn open(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Arc<dyn Backend>, Error> {
        let settings = Settings::parse(settings)?;
        match &settings {
            Settings::Local { root, .. } => self.local_roots.check(root)?,
            Settings::S3 { endpoint: Some(endpoint), .. } if self.is_own(endpoint) => {
                return Err(invalid("settings.endpoint", "that is this server's own endpoint; requests would loop"));
            }
            Settings::S3 { .. } | Settings::Azure { .. } | Settings::Gcs { .. } => {}
        }
        let hosts = settings.hosts(bytes_of(secrets))?;
        // Also of what was taken before the server's file said where identities go: a token is good for whoever gets it.
        if hosts.take_a_token() {
            hosts.check(&self.machine_identity_hosts)?;
        }
        settings.open(bytes_of(secrets), &self.terms)
    }

    /// Whether an address is that of our own endpoint, as far as it is written the same.
    fn is_own(&self, endpoint: &str) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        let own = self.front.endpoint.iter().chain(&self.front.internal_endpoint);
        own.map(|url| plain(url)).any(|own| own == plain(endpoint))
    }
}

impl Provider for Gateway {
    fn kind(&self) -> StorageKind {
        StorageKind::Gateway
    }

    fn facts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Facts, Error> {
        self.open(settings, secrets).map_err(of_settings)?;
        self.hosts(settings, secrets)?.check(&self.machine_identity_hosts).map_err(of_settings)?;
        Ok(self.front.clone())
    }

    fn hosts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Hosts, Error> {
        Settings::parse(settings).and_then(|settings| settings.hosts(bytes_of(secrets))).map_err(of_settings)
    }
}

/// The secrets, as the settings read them.
fn bytes_of(secrets: Option<&Secret<String>>) -> &[u8] {
    secrets.map_or(&[], |secrets| secrets.reveal().as_bytes())
}

fn invalid(field: &'static str, said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into()).at(field)
}
