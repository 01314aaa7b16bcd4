//! Where a check of a store may work, and for how long: what policy holds it to.

use data_encoding::HEXLOWER;

use crate::scope::{Path, Paths};
use crate::storage::Storage;
use crate::time::Lifetime;

/// Below this every check has its own directory.
const ROOT: &[u8] = b".valetkey/checks/";
/// The characters of a check's id: ten random bytes, in hexadecimal.
const ID_CHARS: usize = 20;

/// The directory of a check, which chance names.
pub fn directory(random: [u8; ID_CHARS / 2]) -> String {
    format!("{}{}", String::from_utf8_lossy(ROOT), HEXLOWER.encode(&random))
}

/// The directory of one check that all of the paths are below, if there is one.
pub fn directory_of(paths: &Paths) -> Option<Box<[u8]>> {
    let Paths::Only(set) = paths else { return None };
    let mut directories = set.iter().map(|path| directory_of_path(&path));
    let first = directories.next()??;
    directories.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn directory_of_path(path: &Path) -> Option<Box<[u8]>> {
    let inside = path.bytes().strip_prefix(ROOT)?;
    let (id, below) = (inside.get(..ID_CHARS)?, inside.get(ID_CHARS..)?.strip_prefix(b"/")?);
    let hex = id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // A store of files may read a path as its file system does.
    let plain = below.split(|byte| *byte == b'/').all(|part| !matches!(part, b"." | b".." | b""));
    (hex && plain).then(|| path.bytes().get(..ROOT.len() + ID_CHARS).map(Into::into)).flatten()
}

/// A check takes no longer; what is refused because a credential is over would prove nothing.
const LEAST: Lifetime = Lifetime::secs(120);

/// How long the credentials of a check live: as short as the store gives them, but long enough for the check.
pub fn lifetime_at(storage: &Storage) -> Lifetime {
    storage.min_lifetime.max(LEAST).min(storage.max_lifetime)
}
