//! Where an agent is found: a directory of the user's alone, with its socket, its port and the secret that others come of.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use valetkey_core::Secret;
use valetkey_core::time::Entropy as _;

use crate::cli::failure::{Exit, Failure};
use crate::cli::private::{make_directory, private};
use crate::node::system::SystemEntropy;

/// Bytes of the agent's secret.
const SECRET_BYTES: u64 = 32;
/// What an agent says of itself is shorter.
const MAX_NOTE_BYTES: u64 = 4096;

/// Where an agent is, or would be.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// Directory of the agent's socket; `valetkey` in `XDG_RUNTIME_DIR`, unless given
    #[arg(long, value_name = "DIR", env = "VALETKEY_AGENT_DIR", hide_env_values = true)]
    agent_dir: Option<PathBuf>,
    /// Where the system keeps such things.
    #[arg(long, env = "XDG_RUNTIME_DIR", hide = true)]
    xdg_runtime_dir: Option<PathBuf>,
}

/// An agent's directory, checked.
pub(crate) struct Home {
    directory: PathBuf,
}

/// What an agent says of itself. No secret is in it.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Note {
    pub(super) pid: u32,
    /// So that the next agent takes the same: URLs that were given out still work.
    pub(super) port: u16,
}

impl Place {
    fn path(&self) -> Result<PathBuf, Failure> {
        let Self { agent_dir, xdg_runtime_dir } = self;
        let of_system = xdg_runtime_dir.as_ref().filter(|path| path.is_absolute() && path.is_dir());
        let own = of_system.map(|path| path.join("valetkey"));
        let home = || std::env::home_dir().map(|home| home.join(".cache/valetkey/agent"));
        agent_dir.clone().or(own).or_else(home).ok_or_else(|| {
            Failure::local("there is no directory for the agent's socket").hint("--agent-dir DIR names one")
        })
    }

    /// Makes the directory if need be.
    ///
    /// # Errors
    /// When others could put something into it, or read there.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        let directory = self.path()?;
        let failed =
            |error: std::io::Error| Failure::local(format!("`{}` cannot be used: {error}", directory.display()));
        make_directory(&directory).map_err(failed)?;
        check(&directory).map_err(failed)?;
        Ok(Home { directory })
    }
}

/// SECURITY: a socket in a directory that others can write could be theirs.
#[cfg(unix)]
fn check(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::symlink_metadata(directory)?;
    let other = |why: &str| Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why.to_owned()));
    if !about.is_dir() {
        return other("it is not a directory");
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        return other("it belongs to another user");
    }
    if about.mode() & 0o077 != 0 {
        return other("others can use it; `chmod 700` it");
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(_: &Path) -> std::io::Result<()> {
    Ok(())
}

impl Home {
    /// A directory in it for a command's own agent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn below(&self, name: &str) -> Result<Self, Failure> {
        let directory = self.directory.join(name);
        let failed =
            |error: std::io::Error| Failure::local(format!("`{}` cannot be used: {error}", directory.display()));
        make_directory(&directory).map_err(failed)?;
        check(&directory).map_err(failed)?;
        Ok(Self { directory })
    }

    /// Removes it, with what is in it.
    pub(crate) fn remove(&self) {
        // What is left opens nothing.
        let _ = std::fs::remove_dir_all(&self.directory);
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// A directory that stays empty.
    pub(crate) fn empty(&self) -> std::io::Result<PathBuf> {
        let empty = self.directory.join("empty");
        make_directory(&empty).map(|()| empty)
    }

    /// Takes the place of the one agent; it is free again when the file is dropped.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let path = self.directory.join("agent.lock");
        let failed = |error: std::io::Error| Failure::local(format!("`{}` cannot be locked: {error}", path.display()));
        let file = private().create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Failure::new(Exit::Conflict, "an agent of yours is running already")
                    .hint("`valetkey agent status` shows it; --agent-dir DIR is for another one"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The secret that an agent's others come of: kept, so that what was given out works with the next agent.
    pub(super) fn secret(&self) -> Result<Secret<Vec<u8>>, Failure> {
        let path = self.directory.join("secret");
        let failed = |error: std::io::Error| Failure::local(format!("`{}` cannot be used: {error}", path.display()));
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(&path) {
            let _ = file.take(SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        }
        if bytes.len() as u64 != SECRET_BYTES {
            bytes = drawn();
            self.write("secret", &bytes).map_err(failed)?;
        }
        Ok(Secret::new(bytes))
    }

    /// What the agent before said of itself.
    pub(super) fn note(&self) -> Note {
        let file = File::open(self.directory.join("agent.json")).ok();
        let mut text = Vec::new();
        let read = file.and_then(|file| file.take(MAX_NOTE_BYTES).read_to_end(&mut text).ok());
        read.and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Says where this one is.
    pub(super) fn say(&self, note: &Note) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(note).unwrap_or_default();
        self.write("agent.json", &bytes).map(|_| ()).map_err(|error| {
            Failure::local(format!("`{}` cannot be written: {error}", self.directory.join("agent.json").display()))
        })
    }

    /// A file of the user's alone, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
        let (path, new) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let _ = std::fs::remove_file(&new);
        let mut file = private().create_new(true).open(&new)?;
        file.write_all(bytes)?;
        std::fs::rename(&new, &path).map(|()| path)
    }
}

/// A new secret.
pub(crate) fn drawn() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    SystemEntropy.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place(directory: &Path) -> Place {
        Place { agent_dir: Some(directory.to_owned()), xdg_runtime_dir: None }
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_can_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("a/b");
        let home = place(&own).home().unwrap();
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
        let written = home.write("x", b"1").unwrap();
        assert_eq!(std::fs::metadata(written).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(place(&own).home().is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("a"), &link).unwrap();
        assert!(place(&link).home().is_err());
    }

    #[test]
    fn there_is_one_agent_and_its_secret_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = place(&dir.path().join("a")).home().unwrap();
        let held = home.lock().unwrap();
        assert_eq!(home.lock().unwrap_err().exit, Exit::Conflict);
        drop(held);
        assert!(home.lock().is_ok());
        let first = home.secret().unwrap();
        assert_eq!(first.reveal(), home.secret().unwrap().reveal());
        home.say(&Note { pid: 1, port: 7 }).unwrap();
        assert_eq!(home.note().port, 7);
    }
}
