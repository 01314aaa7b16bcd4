//! The keyring's file: a line for each key, the current one first: its number, a colon, 32 bytes in base64.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use data_encoding::BASE64;
use valetkey_core::Secret;
use valetkey_core::keyring::{CheckValue, Keyring, goes_on};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::time::Entropy;
use valetkey_database::{Database, ParentKeys};

/// The most keys a ring holds: the current one and those whose credentials may still live.
const MOST: usize = 8;

/// The keyring that belongs to a database is not there. Never mended by a new one: what the old one sealed would be lost.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Lost(String);

impl Lost {
    /// What to do about it.
    pub(crate) const HINT: &'static str = "restore it from your backup, with the database it was backed up with; nothing makes this keyring again (is there no \
         backup, `valetkey server init --replace-lost-keyring` says what is lost with it)";

    /// The file is missing, and the database is there.
    fn missing(keyring: &Path, database: &Path) -> Self {
        let (keyring, database) = (keyring.display(), database.display());
        Self(format!("the keyring {keyring} is missing, and the database {database} was used with it"))
    }
}

/// The keyring's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the keyring {} cannot be read", .0.display())]
pub(crate) struct Unread(PathBuf);

type Masters = Vec<(u8, Secret<[u8; 32]>)>;

fn parse(text: &str) -> anyhow::Result<Masters> {
    let mut masters = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself is never repeated in an error: it holds the key.
        let wrong = || format!("line {} of the keyring is not a number, a colon and 32 bytes in base64", index + 1);
        let (number, key) = line.split_once(':').with_context(wrong)?;
        let bytes = BASE64.decode(key.trim().as_bytes()).ok().with_context(wrong)?;
        let key: [u8; 32] = bytes.try_into().ok().with_context(wrong)?;
        masters.push((number.trim().parse().ok().with_context(wrong)?, Secret::new(key)));
    }
    Ok(masters)
}

fn render(masters: &Masters) -> Secret<String> {
    let mut text =
        String::from("# valetkey keyring: the first key makes credentials, all of them verify. Keep it secret.\n");
    for (number, key) in masters {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number}:{}", BASE64.encode(key.reveal()));
    }
    Secret::new(text)
}

/// Makes a ring of the text of a keyring.
pub(crate) fn read(text: &str) -> anyhow::Result<Keyring> {
    Keyring::new(&parse(text)?)
        .map_err(|error| anyhow::anyhow!("{}", error.detail().unwrap_or("the keyring is unusable").to_owned()))
}

/// Reads the ring from its file.
pub(crate) fn load(path: &Path) -> anyhow::Result<Keyring> {
    if mode(path).is_some_and(|mode| mode & 0o022 != 0) {
        bail!("others can write the keyring {}: `chmod 600` it, and make sure that it is yours", path.display());
    }
    let text = Secret::new(fs::read_to_string(path).with_context(|| Unread(path.to_owned()))?);
    read(text.reveal()).with_context(|| format!("the keyring {} is unusable", path.display()))
}

/// The rights of a file or directory.
fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|about| about.permissions().mode() & 0o777)
}

/// What others can read of the keyring and of the directory it belongs to, in words; nothing if nobody can.
pub(crate) fn loose(keyring: &Path, data_dir: &Path) -> Vec<String> {
    let open = |path: &Path| mode(path).is_some_and(|mode| mode & 0o077 != 0);
    let mut found = Vec::new();
    if open(keyring) {
        let path = keyring.display();
        found.push(format!("others can read the keyring {path}, and make credentials with it; `chmod 600` it"));
    }
    if open(data_dir) {
        found.push(format!("others can look into the data directory {0}; `chmod 700` it", data_dir.display()));
    }
    found
}

/// Refuses to go on without the keyring that a database was used with.
///
/// # Errors
/// [`Lost`].
pub(crate) fn present(path: &Path, database: &Path) -> anyhow::Result<()> {
    if !path.exists() && database.exists() {
        return Err(Lost::missing(path, database).into());
    }
    Ok(())
}

/// Refuses a ring that is not the one a database was used with, or cannot open what is sealed in it.
///
/// # Errors
/// [`Lost`]; `Unavailable`.
pub(crate) async fn prove(ring: &Keyring, store: &Database, vault: &Vault) -> anyhow::Result<()> {
    goes_on(&store.known_ring().await?, &ring.check_values()).map_err(|misfit| Lost(misfit.to_string()))?;
    let mut sealed: Vec<String> = Vec::new();
    for token in ParentKeys::unopened(store, ring).await? {
        sealed.push(format!("the secret of the parent access key {token}"));
    }
    for storage in valetkey_core::nouns::registry::Storages::storages(store).await? {
        let secrets = storage.external.as_deref().and_then(|external| external.secrets.as_deref());
        if secrets.is_some_and(|secrets| vault.open(&storage.name, secrets).is_err()) {
            sealed.push(format!("the secrets of the storage {}", storage.name));
        }
    }
    match sealed.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            Err(Lost(format!("the keyring does not open what is sealed in the database: {first}{more}")).into())
        }
    }
}

/// Makes a keyring with one new key; refuses to touch one that exists, and to make another one for a database that is there.
pub(crate) fn create(path: &Path, database: &Path, entropy: &dyn Entropy) -> anyhow::Result<()> {
    if path.exists() {
        bail!("the keyring {} exists", path.display());
    }
    present(path, database)?;
    write(path, &vec![(1, fresh(entropy))])
}

/// Another ring for a database whose own is lost, with a number that none of the known keys has.
pub(crate) fn another(known: &[CheckValue], entropy: &dyn Entropy) -> anyhow::Result<Replacement> {
    let number = (1..=u8::MAX).find(|number| known.iter().all(|key| key.number != *number));
    let masters = vec![(number.context("every key number is in use")?, fresh(entropy))];
    let ring = read(render(&masters).reveal())?;
    Ok(Replacement { masters, ring })
}

/// A ring that is not written yet.
pub(crate) struct Replacement {
    masters: Masters,
    pub(crate) ring: Keyring,
}

impl Replacement {
    /// Writes it beside its place, durable: from then on it can be put there without anything that could fail for want of room.
    pub(crate) fn prepare(&self, path: &Path) -> anyhow::Result<Prepared> {
        Ok(Prepared { beside: write_beside(path, &self.masters)?, path: path.to_owned() })
    }
}

/// Puts a new key first; the others stay, so that what they sealed lives on. The oldest goes when there are too many.
pub(crate) fn rotate(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<u8> {
    let text = Secret::new(fs::read_to_string(path).with_context(|| Unread(path.to_owned()))?);
    let mut masters = parse(text.reveal())?;
    let current = masters.first().map_or(0, |(number, _)| *number);
    // Numbers go round; one still in use is passed over.
    let number = (1..=u8::MAX)
        .map(|step| current.wrapping_add(step))
        .find(|number| masters.iter().all(|(used, _)| used != number))
        .context("every key number is in use")?;
    masters.insert(0, (number, fresh(entropy)));
    masters.truncate(MOST);
    write(path, &masters)?;
    Ok(number)
}

fn fresh(entropy: &dyn Entropy) -> Secret<[u8; 32]> {
    let mut key = [0; 32];
    entropy.fill(&mut key);
    Secret::new(key)
}

/// A ring beside its place.
pub(crate) struct Prepared {
    beside: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Puts it into its place.
    pub(crate) fn put(self) -> anyhow::Result<()> {
        put(&self.beside, &self.path)
    }

    /// Takes it away again.
    pub(crate) fn withdraw(self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// Writes beside the file, then moves it into place: a reader sees the old ring or the new one.
fn write(path: &Path, masters: &Masters) -> anyhow::Result<()> {
    put(&write_beside(path, masters)?, path)
}

fn put(beside: &Path, path: &Path) -> anyhow::Result<()> {
    fs::rename(beside, path)?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn write_beside(path: &Path, masters: &Masters) -> anyhow::Result<PathBuf> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("{} cannot be written", beside.display()))?;
    file.write_all(render(masters).reveal().as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::system::SystemEntropy;

    #[test]
    fn a_ring_is_made_once_private_and_rotates() {
        let dir = tempfile::tempdir().unwrap();
        let (path, database) = (dir.path().join("keyring"), dir.path().join("valetkey.db"));
        create(&path, &database, &SystemEntropy).unwrap();
        assert!(create(&path, &database, &SystemEntropy).is_err());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{:?}", load(&path).unwrap()), "[1]");
        assert_eq!(rotate(&path, &SystemEntropy).unwrap(), 2);
        assert_eq!(format!("{:?}", load(&path).unwrap()), "[2, 1]");
        for _ in 0..20 {
            rotate(&path, &SystemEntropy).unwrap();
        }
        assert_eq!(format!("{:?}", load(&path).unwrap()), "[22, 21, 20, 19, 18, 17, 16, 15]");
    }

    #[test]
    fn a_lost_ring_is_not_made_again_for_a_database_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, database) = (dir.path().join("keyring"), dir.path().join("valetkey.db"));
        fs::write(&database, "").unwrap();
        let refused = create(&path, &database, &SystemEntropy).unwrap_err();
        assert!(refused.downcast_ref::<Lost>().is_some() && !path.exists(), "{refused}");
    }

    #[test]
    fn a_ring_that_others_can_read_is_told_and_one_they_can_write_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        create(&path, &dir.path().join("valetkey.db"), &SystemEntropy).unwrap();
        let rights = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        rights(dir.path(), 0o700);
        for (keyring, directory, told) in [(0o600, 0o700, 0), (0o400, 0o700, 0), (0o640, 0o700, 1), (0o604, 0o755, 2)] {
            rights(&path, keyring);
            rights(dir.path(), directory);
            assert_eq!(loose(&path, dir.path()).len(), told, "{keyring:o} {directory:o}");
            load(&path).unwrap();
        }
        for mode in [0o620, 0o602, 0o666] {
            rights(&path, mode);
            assert!(format!("{:#}", load(&path).unwrap_err()).contains("others can write"), "{mode:o}");
        }
    }

    #[test]
    fn a_broken_ring_is_told_by_its_line_without_its_key() {
        let error = format!("{:#}", read("1:c2hvcnQ=").unwrap_err());
        assert_eq!(error, "line 1 of the keyring is not a number, a colon and 32 bytes in base64");
        assert!(read("").is_err());
    }
}
