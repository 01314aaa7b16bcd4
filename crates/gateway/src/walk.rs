//! Goes through the directories of a plain disk, for listings.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path as FilePath;
use std::time::SystemTime;

use jiff::Timestamp;
use valetkey_s3::Entry;

use crate::key::{self, Rules, is_unfinished};

/// The library's tag for a file, so that listings tell the same as look-ups.
pub(crate) fn tag(metadata: &Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0u64;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{inode:x}-{:x}-{:x}", modified.unwrap_or_default().as_micros(), metadata.len())
}

/// What a listing looks for.
pub(crate) struct Walk<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) from: &'a [u8],
    pub(crate) limit: usize,
    /// Whether one of all that is in a folder below the prefix is enough.
    pub(crate) rolled: bool,
    pub(crate) found: Vec<Entry>,
}

impl Walk<'_> {
    /// Goes through a directory in the order of keys, which is that of names with a `/` behind those of folders. Folders in which
    /// nothing can be told are not opened. Blocks.
    pub(crate) fn walk(&mut self, directory: &FilePath, at: &str) -> io::Result<()> {
        // Where only one folder can hold what is wanted, the others are not looked at.
        if let Some((one, _)) = self.prefix.strip_prefix(at).and_then(|rest| rest.split_once('/')) {
            let below = directory.join(one);
            let plain = !matches!(one, "" | "." | "..");
            if plain && fs::symlink_metadata(&below).is_ok_and(|metadata| metadata.is_dir()) {
                self.walk(&below, &format!("{at}{one}/"))?;
            }
            return Ok(());
        }
        let mut names = Vec::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // Gone meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            let Some(name) = name.to_str() else { continue };
            let mut key = format!("{at}{name}");
            if kind.is_dir() {
                key.push('/');
                let inside = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                let later = key.as_bytes() >= self.from || self.from.starts_with(key.as_bytes());
                if inside && later {
                    names.push((key, entry));
                }
            } else if kind.is_file()
                && key.starts_with(self.prefix)
                && key.as_bytes() >= self.from
                && !is_unfinished(name)
                && key::path(&key, Rules::Files).is_ok()
            {
                names.push((key, entry));
            }
        }
        names.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        for (key, entry) in names {
            if self.found.len() == self.limit {
                return Ok(());
            }
            if key.ends_with('/') {
                let most = self.limit;
                if self.rolled && key.starts_with(self.prefix) && key.len() > self.prefix.len() {
                    self.limit = self.found.len() + 1;
                }
                self.walk(&entry.path(), &key)?;
                self.limit = most;
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let time = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
            let modified = Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
            self.found.push(Entry { key, size: metadata.len(), tag: tag(&metadata), modified });
        }
        Ok(())
    }
}
