//! The keyring's file: a line for each key, the current one first: its number, a colon, 32 bytes in base64.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use data_encoding::BASE64;
use valetkey_core::Secret;
use valetkey_core::keyring::Keyring;
use valetkey_core::time::Entropy;

/// The most keys a ring holds: the current one and those whose credentials may still live.
const MOST: usize = 8;

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
        .map_err(|error| anyhow::anyhow!("{}", error.noted().unwrap_or("the keyring is unusable").to_owned()))
}

/// Reads the ring from its file.
pub(crate) fn load(path: &Path) -> anyhow::Result<Keyring> {
    let text = Secret::new(
        fs::read_to_string(path).with_context(|| format!("the keyring {} cannot be read", path.display()))?,
    );
    read(text.reveal()).with_context(|| format!("the keyring {} is unusable", path.display()))
}

/// Makes a keyring with one new key; refuses to touch one that exists.
pub(crate) fn create(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<()> {
    if path.exists() {
        bail!("the keyring {} exists", path.display());
    }
    write(path, &vec![(1, fresh(entropy))])
}

/// Puts a new key first; the others stay, so that what they sealed lives on. The oldest goes when there are too many.
pub(crate) fn rotate(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<u8> {
    let text = Secret::new(
        fs::read_to_string(path).with_context(|| format!("the keyring {} cannot be read", path.display()))?,
    );
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

/// Writes beside the file, then moves it into place: a reader sees the old ring or the new one.
fn write(path: &Path, masters: &Masters) -> anyhow::Result<()> {
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
    fs::rename(&beside, path)?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::system::SystemEntropy;

    #[test]
    fn a_ring_is_made_once_private_and_rotates() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        create(&path, &SystemEntropy).unwrap();
        assert!(create(&path, &SystemEntropy).is_err());
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
    fn a_broken_ring_is_told_by_its_line_without_its_key() {
        let error = format!("{:#}", read("1:c2hvcnQ=").unwrap_err());
        assert_eq!(error, "line 1 of the keyring is not a number, a colon and 32 bytes in base64");
        assert!(read("").is_err());
    }
}
