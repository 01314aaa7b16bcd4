//! A plain disk: each bucket a directory below one root, each key a file. Nothing but the bytes is kept there.
//!
//! SECURITY: nothing outside the root is reached. Keys have no `..`; a symbolic link on the way is as good as not there to a
//! reader, and a writer is refused. Who may make links below the root while a request runs could lead it elsewhere: whoever writes
//! there beside us must be trusted as far as this process is.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Attributes, ObjectStore, ObjectStoreExt as _, PutMode};
use valetkey_s3::{Backend, Entry, Failure, Found, Header, Opened, Upload, Version, When, Window};

use crate::failure;
use crate::key::{self, Rules, is_unfinished};
use crate::objects;

/// A directory of buckets.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// The library's own way from keys to files, to hold ours against.
    paths: LocalFileSystem,
    /// Buckets that have another name there.
    names: BTreeMap<String, String>,
}

/// What lies at a key's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Nothing,
    File,
    Folder,
    /// An object stands where a folder would have to.
    Blocked,
    /// A symbolic link, or something that is neither file nor folder.
    Strange,
}

fn failed(error: &io::Error) -> Failure {
    Failure::Failed(error.to_string())
}

/// Looks what lies at a key's place, without following links. Blocks.
fn look(bucket: &FilePath, key: &str) -> io::Result<Place> {
    let mut at = bucket.to_path_buf();
    let mut segments = key.split('/').peekable();
    while let Some(segment) = segments.next() {
        at.push(segment);
        let metadata = match fs::symlink_metadata(&at) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::Nothing),
            Err(error) => return Err(error),
        };
        let last = segments.peek().is_none();
        if metadata.is_dir() {
            if last {
                return Ok(Place::Folder);
            }
        } else if metadata.is_file() {
            return Ok(if last { Place::File } else { Place::Blocked });
        } else {
            return Ok(Place::Strange);
        }
    }
    Ok(Place::Nothing)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten().map_err(|error| failed(&error))
}

impl Disk {
    /// A directory that must be there.
    pub(crate) fn open(root: &FilePath, names: BTreeMap<String, String>) -> Result<Self, String> {
        let paths = LocalFileSystem::new_with_prefix(root).map_err(|error| error.to_string())?;
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        Ok(Self { root, paths, names })
    }

    /// The bucket's directory.
    async fn bucket(&self, bucket: &str) -> Result<(PathBuf, Arc<dyn ObjectStore>), Failure> {
        let directory = self.root.join(self.names.get(bucket).map_or(bucket, String::as_str));
        blocking(move || {
            // Not a link: what it leads to could be anything.
            if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
                return Ok(None);
            }
            let files = LocalFileSystem::new_with_prefix(&directory).map_err(io::Error::other)?;
            let objects: Arc<dyn ObjectStore> = Arc::new(files.with_fsync(true).with_automatic_cleanup(true));
            Ok(Some((directory, objects)))
        })
        .await?
        .ok_or(Failure::NoBucket)
    }

    /// A key's file, if it is one.
    async fn file(&self, bucket: &str, key: &str) -> Result<Option<(Arc<dyn ObjectStore>, Path)>, Failure> {
        let path = self.path(key).map_err(Failure::Unfit)?;
        let (directory, store) = match self.bucket(bucket).await {
            Ok(found) => found,
            Err(Failure::NoBucket) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let key = key.to_owned();
        let place = blocking(move || look(&directory, &key)).await?;
        Ok((place == Place::File).then_some((store, path)))
    }

    /// Where to write a key.
    async fn target(&self, bucket: &str, key: &str) -> Result<(Arc<dyn ObjectStore>, Path), Failure> {
        let path = self.path(key).map_err(Failure::Unfit)?;
        let (directory, store) = self.bucket(bucket).await?;
        let key = key.to_owned();
        match blocking(move || look(&directory, &key)).await? {
            Place::Nothing | Place::File => Ok((store, path)),
            Place::Folder => Err(Failure::Unfit("there are objects below it, and a file cannot be a folder")),
            Place::Blocked => Err(Failure::Unfit("there is an object above it, and a file cannot be a folder")),
            Place::Strange => Err(Failure::Unfit("there is no plain file or folder in its place")),
        }
    }

    fn path(&self, key: &str) -> Result<Path, &'static str> {
        let path = key::path(key, Rules::Files)?;
        // SECURITY: the library goes through a URL to the file's name; what does not come out as it went in is refused.
        match self.paths.path_to_filesystem(&path) {
            Ok(file) if file.as_os_str() == self.root.join(key).as_os_str() => Ok(path),
            Ok(_) | Err(_) => Err("it is no file's name"),
        }
    }
}

/// The library's tag for a file, so that listings tell the same as look-ups.
fn tag(metadata: &Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0u64;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{inode:x}-{:x}-{:x}", modified.unwrap_or_default().as_micros(), metadata.len())
}

/// What a listing looks for.
struct Walk<'a> {
    prefix: &'a str,
    from: &'a [u8],
    limit: usize,
    found: Vec<Entry>,
}

impl Walk<'_> {
    /// Goes through a directory in the order of keys, which is that of names with a `/` behind those of folders. Folders in which
    /// nothing can be told are not opened. Blocks.
    fn walk(&mut self, directory: &FilePath, at: &str) -> io::Result<()> {
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
                self.walk(&entry.path(), &key)?;
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

#[async_trait]
impl Backend for Disk {
    fn fits(&self, key: &str) -> Result<(), &'static str> {
        self.path(key).map(drop)
    }

    fn keeps(&self, _: &str, _: &str) -> bool {
        false
    }

    async fn probe(&self, bucket: &str) -> Result<(), Failure> {
        let (directory, _) = self.bucket(bucket).await?;
        blocking(move || fs::read_dir(directory).map(drop)).await
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        match self.file(bucket, key).await? {
            Some((store, path)) => objects::head(&*store, &path).await,
            None => Ok(None),
        }
    }

    async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Result<Option<Opened>, Failure> {
        let Some((store, path)) = self.file(bucket, key).await? else { return Ok(None) };
        objects::read(&*store, &path, window, only.map(|version| format!("\"{}\"", version.tag))).await
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes, _: &[Header], when: When) -> Result<Version, Failure> {
        let (store, path) = self.target(bucket, key).await?;
        let mode = match when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            // A disk has no such write. Writers of one key take turns at the endpoint; one beside it may come between.
            When::Is(version) => match objects::head(&*store, &path).await? {
                Some(found) if found.version == version => PutMode::Overwrite,
                Some(_) | None => return Err(Failure::Clash),
            },
        };
        objects::put(&*store, &path, bytes, mode, Attributes::new()).await
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        _: &[Header],
        size: Option<u64>,
    ) -> Result<Box<dyn Upload>, Failure> {
        let (store, path) = self.target(bucket, key).await?;
        objects::begin(store, path, size, Attributes::new()).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let Some((store, path)) = self.file(bucket, key).await? else { return Ok(()) };
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure::of(&error)),
        }
    }

    async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Result<Vec<Entry>, Failure> {
        let (directory, _) = self.bucket(bucket).await?;
        let (prefix, from) = (prefix.to_owned(), from.to_vec());
        blocking(move || {
            let mut walk = Walk { prefix: &prefix, from: &from, limit, found: Vec::new() };
            walk.walk(&directory, "")?;
            Ok(walk.found)
        })
        .await
    }
}
