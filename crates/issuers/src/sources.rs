//! The stores that somebody else runs: their settings read, their secrets sealed, and what is asked of each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use valetkey_core::id::StorageId;
use valetkey_core::keyring::{SEAL_NONCE_LEN, SharedKeyring};
use valetkey_core::name::Name;
use valetkey_core::storage::{Backend, Storage, StorageKind};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind, Secret};

use crate::cache::{Budget, Source};
use crate::sts::Surroundings;
use crate::upstream::Upstream;
use crate::{azure, gcs, r2, sts};

/// What the secrets of a store are sealed for.
const PURPOSE: &str = "storage secrets";
/// The longest text of settings or secrets.
const MAX_BYTES: usize = 64 * 1024;

/// What sources need of the world.
#[derive(Clone)]
pub struct World {
    /// Seals the stores' secrets.
    pub keyring: SharedKeyring,
    /// What of the process the usual chain of AWS credentials may see.
    pub surroundings: Surroundings,
    /// Where the files with other issuers' tokens are that settings may name.
    pub token_dirs: Vec<PathBuf>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The stores that are asked for credentials, made when they are first needed.
pub struct Sources {
    world: World,
    http: OnceLock<reqwest::Client>,
    known: RwLock<HashMap<StorageId, (u64, Arc<Source>)>>,
}

fn invalid(said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into())
}

/// Reads a kind's settings. The parser's words name the field; settings have nothing secret in them.
fn settings<T: DeserializeOwned>(kind: StorageKind, json: &str) -> Result<T, Error> {
    if json.len() > MAX_BYTES {
        return Err(invalid(format!("settings have at most {MAX_BYTES} bytes")).at("settings"));
    }
    serde_json::from_str(json).map_err(|error| {
        let said = error.to_string();
        // Where in the text is of no use: it is not the one that was written.
        let said = said.split(" at line ").next().unwrap_or_default().to_owned();
        invalid(format!("these are not the settings of a store of kind `{}`: {said}", kind.as_str())).at("settings")
    })
}

/// A refusal of one setting, named as its writer knows it.
pub fn of_settings(error: Error) -> Error {
    match error.field().map(str::to_owned) {
        Some(field) if field != "secrets" && !field.starts_with("settings") => error.at(format!("settings.{field}")),
        Some(_) => error,
        None => error.at("settings"),
    }
}

impl Sources {
    /// None yet.
    pub fn new(world: World) -> Self {
        Self { world, http: OnceLock::new(), known: RwLock::default() }
    }

    /// The client that asks. SECURITY: it follows no redirects: what is sent holds secrets.
    fn http(&self) -> Result<reqwest::Client, Error> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("the client for stores cannot be made").caused_by(error))?;
        Ok(self.http.get_or_init(|| http).clone())
    }

    /// What settings and secrets describe.
    ///
    /// # Errors
    /// `Invalid` with the field's name when they cannot work.
    pub fn upstream(
        &self,
        kind: StorageKind,
        json: &str,
        secrets: Option<&Secret<String>>,
    ) -> Result<Arc<dyn Upstream>, Error> {
        let World { surroundings, clock, entropy, .. } = &self.world;
        self.check_files(json)?;
        let (http, clock) = (self.http()?, Arc::clone(clock));
        let given = |secrets: Option<&Secret<String>>| {
            secrets.cloned().ok_or_else(|| invalid("a store of this kind needs secrets").at("secrets"))
        };
        let bytes = || secrets.map(|secrets| secrets.reveal().as_bytes());
        Ok(match kind {
            StorageKind::Sts => {
                let secrets = match secrets {
                    Some(secrets) => sts::Secrets::parse(secrets)?,
                    None => sts::Secrets::Chain(surroundings.clone()),
                };
                Arc::new(sts::Sts::new(settings(kind, json)?, secrets, http, clock).map_err(of_settings)?)
            }
            StorageKind::R2 => {
                let secrets = r2::Secrets::parse(&given(secrets)?)?;
                Arc::new(r2::R2::new(settings(kind, json)?, secrets, http, clock).map_err(of_settings)?)
            }
            StorageKind::Azure => {
                let secrets = bytes().map(azure::Secrets::parse).transpose()?.unwrap_or_default();
                let settings = settings(kind, json)?;
                Arc::new(azure::Azure::new(&settings, secrets, http, clock, Arc::clone(entropy)).map_err(of_settings)?)
            }
            StorageKind::Gcs => {
                let secrets = bytes().map(gcs::Secrets::parse).transpose()?.unwrap_or_default();
                Arc::new(gcs::Gcs::new(&settings(kind, json)?, &secrets, http, clock).map_err(of_settings)?)
            }
            StorageKind::Embedded | StorageKind::Gateway => {
                return Err(Error::internal(format!("a store of kind `{}` is asked for nothing", kind.as_str())));
            }
        })
    }

    /// Refuses settings that name a file elsewhere. SECURITY: what is in it is sent to an address that the settings name too.
    fn check_files(&self, json: &str) -> Result<(), Error> {
        const FILES: [(&str, &str); 2] = [
            ("/identity/token_file", "settings.identity.token_file"),
            (
                "/identity/external_account/credential_source/file",
                "settings.identity.external_account.credential_source.file",
            ),
        ];
        // What is no JSON is refused where it is read.
        let settings: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        for (place, field) in FILES {
            let Some(file) = settings.pointer(place).and_then(serde_json::Value::as_str) else { continue };
            let real = Path::new(file).canonicalize();
            let inside = |dir: &PathBuf| {
                dir.canonicalize().is_ok_and(|dir| real.as_ref().is_ok_and(|real| real.starts_with(dir)))
            };
            if !self.world.token_dirs.iter().any(inside) {
                let said = "the file is not there, or not below a directory that the server's setting `upstream.token_dirs` names";
                return Err(invalid(said).at(field));
            }
        }
        Ok(())
    }

    /// Seals a store's secrets.
    ///
    /// # Errors
    /// `Invalid` when there are too many, `Internal` when sealing fails.
    pub fn seal(&self, storage: &Name, secrets: &Secret<String>) -> Result<Box<[u8]>, Error> {
        if secrets.reveal().len() > MAX_BYTES {
            return Err(invalid(format!("secrets have at most {MAX_BYTES} bytes")).at("secrets"));
        }
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.world.entropy.fill(&mut nonce);
        let ring = self.world.keyring.load();
        let sealed = ring.seal_bytes(PURPOSE, storage.as_str().as_bytes(), secrets.reveal().as_bytes(), nonce)?;
        Ok(sealed.into())
    }

    /// A store's secrets, opened.
    ///
    /// # Errors
    /// `Internal` when the key they were sealed with is gone.
    pub fn open(&self, storage: &Name, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let lost =
            || Error::internal(format!("the secrets of storage {storage} cannot be opened; was its key removed?"));
        let ring = self.world.keyring.load();
        let opened = ring.open_bytes(PURPOSE, storage.as_str().as_bytes(), sealed).ok_or_else(lost)?;
        String::from_utf8(opened.reveal().clone()).map(Secret::new).map_err(|_| lost())
    }

    /// The same secrets sealed with the newest key; nothing if they are already.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::seal`].
    pub fn sealed_again(&self, storage: &Name, sealed: &[u8]) -> Result<Option<Box<[u8]>>, Error> {
        if self.world.keyring.load().is_current(sealed) {
            return Ok(None);
        }
        self.seal(storage, &self.open(storage, sealed)?).map(Some)
    }

    /// What is asked for a store's credentials.
    ///
    /// # Errors
    /// `Internal` when what is kept of the store cannot be used.
    pub fn of(&self, storage: &Storage) -> Result<Arc<Source>, Error> {
        let backend = storage
            .backend
            .as_deref()
            .ok_or_else(|| Error::internal(format!("storage {} has no settings", storage.name)))?;
        let known = |all: &HashMap<StorageId, (u64, Arc<Source>)>| {
            // One decided a moment ago may still name the version before; the newest counts.
            all.get(&storage.id).filter(|(version, _)| *version >= backend.version).map(|(_, source)| source.clone())
        };
        if let Some(source) = known(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(source);
        }
        let source = Arc::new(self.make(storage, backend)?);
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known(&all) {
            return Ok(source);
        }
        all.insert(storage.id, (backend.version, source.clone()));
        Ok(source)
    }

    fn make(&self, storage: &Storage, backend: &Backend) -> Result<Source, Error> {
        let secrets = backend.secrets.as_deref().map(|sealed| self.open(&storage.name, sealed)).transpose()?;
        let upstream = self.upstream(storage.kind, &backend.settings, secrets.as_ref()).map_err(|error| {
            Error::internal("what is configured of the store cannot be used")
                .note(format!("storage {}: {error:?}", storage.name))
        })?;
        let least = upstream.place().least;
        Ok(Source {
            storage: storage.id,
            version: backend.version,
            upstream,
            least,
            sharing: backend.sharing,
            budget: Budget::new(backend.quota),
        })
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }
}
