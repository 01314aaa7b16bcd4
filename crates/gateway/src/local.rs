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
use object_store::{ObjectStore, ObjectStoreExt as _};
use valetkey_s3::{
    Backend, Entry, Failure, Found, Header, MinFree, Opened, Space, Upload, Version, When, Window, is_full,
};

use crate::failure;
use crate::key::{self, Rules};
use crate::objects;
use crate::staging::{self, Staged, Target};
use crate::walk::{Walk, tag};

/// A directory of buckets.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// The library's own way from keys to files, to hold ours against.
    paths: LocalFileSystem,
    /// Buckets that have another name there.
    names: BTreeMap<String, String>,
    /// The disk itself.
    space: Space,
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
    if is_full(error) { Failure::Full } else { Failure::Failed(error.to_string()) }
}

/// What a failure to put a file in its place is.
fn misplaced(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::AlreadyExists { Failure::Clash } else { failed(error) }
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

/// Opens a bucket's directory, if it is one. Blocks.
fn open(directory: &FilePath) -> io::Result<Option<Arc<dyn ObjectStore>>> {
    // Not a link: what it leads to could be anything.
    if !fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(None);
    }
    if is_blurred(directory) {
        return Err(io::Error::other("the disk takes names that differ in case for the same: it cannot be served"));
    }
    let files = LocalFileSystem::new_with_prefix(directory).map_err(io::Error::other)?;
    Ok(Some(Arc::new(files.with_fsync(true).with_automatic_cleanup(true))))
}

/// Whether the disk finds a directory under another name too. SECURITY: there, one key would be several, and a scope that opens one
/// of them opens what lies under the others. Told by the bucket's own name, so not of one that has no letters.
fn is_blurred(directory: &FilePath) -> bool {
    #[cfg(unix)]
    fn place(metadata: &Metadata) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.dev(), metadata.ino())
    }
    #[cfg(not(unix))]
    fn place(_: &Metadata) {}
    let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { return true };
    let other = name.to_ascii_uppercase();
    let other = if other == name { name.to_ascii_lowercase() } else { other };
    match (fs::symlink_metadata(directory), fs::symlink_metadata(directory.with_file_name(&other))) {
        (Ok(one), Ok(two)) => other != name && place(&one) == place(&two),
        _ => false,
    }
}

/// Removes a folder if there are only folders in it: what writes that were given up leave. Blocks.
fn clear(folder: &FilePath) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    for entry in entries {
        let Ok(entry) = entry else { return false };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || !clear(&entry.path()) {
            return false;
        }
    }
    fs::remove_dir(folder).is_ok()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten().map_err(|error| failed(&error))
}

impl Disk {
    /// A directory that must be there.
    pub(crate) fn open(root: &FilePath, names: BTreeMap<String, String>, min_free: MinFree) -> Result<Self, String> {
        let paths = LocalFileSystem::new_with_prefix(root).map_err(|error| error.to_string())?;
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        let space = Space::at(&root, min_free);
        Ok(Self { root, paths, names, space })
    }

    fn directory(&self, bucket: &str) -> PathBuf {
        self.root.join(self.names.get(bucket).map_or(bucket, String::as_str))
    }

    /// Whether a bucket is there in which nothing was found. What is away with its directory, or with the whole disk, is not gone:
    /// it may be there again.
    async fn standing(&self, bucket: &str) -> Result<(), Failure> {
        let (root, directory) = (self.root.clone(), self.directory(bucket));
        let found = blocking(move || {
            let bucket = fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir());
            Ok((bucket, root.is_dir()))
        });
        match found.await? {
            (true, _) => Ok(()),
            (false, true) => Err(Failure::NoBucket),
            (false, false) => Err(Failure::Unavailable("the root of the disk is not there".to_owned())),
        }
    }

    /// What was found; or nothing, if the bucket is there.
    async fn found<T>(&self, bucket: &str, found: Option<T>) -> Result<Option<T>, Failure> {
        if found.is_none() {
            self.standing(bucket).await?;
        }
        Ok(found)
    }

    /// Nothing is there where a bucket's directory should be.
    async fn away(&self, bucket: &str) -> Failure {
        self.standing(bucket).await.err().unwrap_or(Failure::NoBucket)
    }

    /// A key's file, if it is one.
    async fn file(&self, bucket: &str, key: &str) -> Result<Option<(Arc<dyn ObjectStore>, Path)>, Failure> {
        let path = self.path(key).map_err(Failure::Unfit)?;
        let (directory, key) = (self.directory(bucket), key.to_owned());
        let store = blocking(move || match open(&directory)? {
            Some(store) if look(&directory, &key)? == Place::File => Ok(Some(store)),
            Some(_) | None => Ok(None),
        });
        let found = store.await?.map(|store| (store, path));
        self.found(bucket, found).await
    }

    /// Begins a key's file.
    async fn begun(&self, bucket: &str, key: &str) -> Result<Staged, Failure> {
        self.path(key).map_err(Failure::Unfit)?;
        let (directory, key, space) = (self.directory(bucket), key.to_owned(), self.space.clone());
        let found = blocking(move || {
            if open(&directory)?.is_none() {
                return Ok(None);
            }
            let mut place = look(&directory, &key)?;
            if place == Place::Folder && clear(&directory.join(&key)) {
                place = Place::Nothing;
            }
            let fits = matches!(place, Place::Nothing | Place::File);
            let staged = if fits { Some(Staged::begin(&directory, &key, &space)?) } else { None };
            Ok(Some((staged, place)))
        });
        let Some((staged, place)) = found.await? else { return Err(self.away(bucket).await) };
        if let Some(staged) = staged {
            return Ok(staged);
        }
        match place {
            Place::Nothing | Place::File => Err(self.away(bucket).await),
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

/// Puts a file in its place.
async fn placed(staged: Staged, target: Target) -> Result<Version, Failure> {
    let placed = tokio::task::spawn_blocking(move || staged.finish(target)).await;
    let metadata = placed.map_err(io::Error::other).flatten().map_err(|error| misplaced(&error))?;
    Ok(Version { tag: tag(&metadata), id: None })
}

/// An upload on its way; none after a failure.
struct Flow(Option<Staged>);

#[async_trait]
impl Upload for Flow {
    async fn push(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let mut staged = self.0.take().ok_or_else(|| failed(&io::Error::other("the upload is over")))?;
        self.0 = Some(blocking(move || staged.append(&bytes).map(|()| staged)).await?);
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Version, Failure> {
        let staged = self.0.take().ok_or_else(|| failed(&io::Error::other("the upload is over")))?;
        placed(staged, Target::Replaced).await
    }

    async fn abort(mut self: Box<Self>) {
        let staged = self.0.take();
        // What cannot be removed is swept.
        let _ = blocking(move || {
            drop(staged);
            Ok(())
        })
        .await;
    }
}

impl Disk {
    /// Objects in the order of their keys; of each folder below the prefix one, if it is to be `rolled`.
    async fn walked(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        (limit, rolled): (usize, bool),
    ) -> Result<Vec<Entry>, Failure> {
        let (directory, prefix, from) = (self.directory(bucket), prefix.to_owned(), from.to_vec());
        let found = blocking(move || {
            if open(&directory)?.is_none() {
                return Ok(None);
            }
            let mut walk = Walk { prefix: &prefix, from: &from, limit, rolled, found: Vec::new() };
            walk.walk(&directory, "")?;
            Ok(Some(walk.found))
        });
        let Some(found) = found.await? else { return Err(self.away(bucket).await) };
        if found.is_empty() {
            self.standing(bucket).await?;
        }
        Ok(found)
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
        let directory = self.directory(bucket);
        let found = blocking(move || match open(&directory)? {
            Some(_) => fs::read_dir(directory).map(Some),
            None => Ok(None),
        });
        match found.await? {
            Some(_) => Ok(()),
            None => Err(self.away(bucket).await),
        }
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        match self.file(bucket, key).await? {
            Some((store, path)) => self.found(bucket, objects::head(&*store, &path).await?).await,
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
        let only = only.map(|version| format!("\"{}\"", version.tag));
        self.found(bucket, objects::read(&*store, &path, window, only).await?).await
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes, _: &[Header], when: When) -> Result<Version, Failure> {
        let target = match when {
            When::Always => Target::Replaced,
            When::Absent => Target::New,
            // A disk has no such write. Writers of one key take turns at the endpoint; one beside it may come between.
            When::Is(version) => match self.head(bucket, key).await? {
                Some(found) if found.version == version => Target::Replaced,
                Some(_) | None => return Err(Failure::Clash),
            },
        };
        let mut staged = self.begun(bucket, key).await?;
        let staged = blocking(move || staged.append(&bytes).map(|()| staged)).await?;
        placed(staged, target).await
    }

    async fn begin(&self, bucket: &str, key: &str, _: &[Header], _: Option<u64>) -> Result<Box<dyn Upload>, Failure> {
        Ok(Box::new(Flow(Some(self.begun(bucket, key).await?))))
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let Some((store, path)) = self.file(bucket, key).await? else { return Ok(()) };
        match store.delete(&path).await {
            Ok(()) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => self.standing(bucket).await,
            Err(error) => Err(failure::of(&error)),
        }
    }

    async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Result<Vec<Entry>, Failure> {
        self.walked(bucket, prefix, from, (limit, false)).await
    }

    async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        self.walked(bucket, prefix, from, (limit, true)).await.map(Some)
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, Failure> {
        let (mut swept, mut next, now) = (0, vec![self.root.clone()], SystemTime::from(now));
        while let Some(directory) = next.pop() {
            let own = directory.clone();
            let (here, below) = match blocking(move || staging::sweep(&own, now)).await {
                Ok(found) => found,
                // Gone meanwhile, or not ours to read: what is in it is not ours either.
                Err(error) => {
                    tracing::debug!(error = %error, "{} was not swept: {error}", directory.display());
                    continue;
                }
            };
            swept += here;
            next.extend(below);
        }
        Ok(swept)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use futures::TryStreamExt as _;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn disk() -> (TempDir, Disk) {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("root/lake")).unwrap();
        let disk =
            Disk::open(&dir.path().join("root"), [("here".to_owned(), "lake".to_owned())].into(), MinFree::Bytes(0))
                .unwrap();
        (dir, disk)
    }

    async fn put(disk: &Disk, key: &str, when: When) -> Result<Version, Failure> {
        disk.put("lake", key, Bytes::copy_from_slice(key.as_bytes()), &[], when).await
    }

    async fn keys(disk: &Disk, prefix: &str, from: &[u8], limit: usize) -> Vec<String> {
        disk.list("lake", prefix, from, limit).await.unwrap().into_iter().map(|entry| entry.key).collect()
    }

    #[tokio::test]
    async fn nothing_outside_the_root_is_reached_by_links() {
        let (dir, disk) = disk();
        let (outside, lake) = (dir.path().join("outside"), dir.path().join("root/lake"));
        fs::create_dir_all(outside.join("deep")).unwrap();
        fs::write(outside.join("secret"), "s3cret").unwrap();
        fs::write(outside.join("deep/secret"), "s3cret").unwrap();
        symlink(&outside, lake.join("folder")).unwrap();
        symlink(outside.join("secret"), lake.join("file")).unwrap();
        symlink(outside.join("missing"), lake.join("dangling")).unwrap();
        symlink(&lake, dir.path().join("root/linked")).unwrap();
        for key in ["folder/secret", "folder/deep/secret", "file", "folder", "dangling"] {
            assert_eq!(disk.head("lake", key).await, Ok(None), "{key}");
            assert!(disk.read("lake", key, Window::Whole, None).await.unwrap().is_none(), "{key}");
            assert!(matches!(put(&disk, key, When::Always).await, Err(Failure::Unfit(_))), "{key}");
            assert!(matches!(disk.begin("lake", key, &[], None).await, Err(Failure::Unfit(_))), "{key}");
            disk.delete("lake", key).await.unwrap();
        }
        assert_eq!(keys(&disk, "", b"", 10).await, [""; 0]);
        assert_eq!(keys(&disk, "folder/", b"", 10).await, [""; 0]);
        assert_eq!(disk.probe("linked").await, Err(Failure::NoBucket));
        assert_eq!(disk.head("linked", "a").await, Err(Failure::NoBucket));
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s3cret");
        for odd in ["../outside/secret", "/etc/passwd", "folder/../x"] {
            assert!(disk.fits(odd).is_err() && keys(&disk, odd, b"", 10).await.is_empty(), "{odd}");
        }
    }

    #[test]
    fn names_that_differ_in_case_are_two() {
        let (dir, _disk) = disk();
        let lake = dir.path().join("root/lake");
        assert!(!is_blurred(&lake));
        fs::create_dir(dir.path().join("root/LAKE")).unwrap();
        assert!(!is_blurred(&lake));
        assert!(!is_blurred(&dir.path().join("root/LAKE")));
    }

    #[tokio::test]
    async fn a_file_is_no_folder_and_a_folder_no_file() {
        let (_dir, disk) = disk();
        put(&disk, "a/b", When::Always).await.unwrap();
        for key in ["a", "a/b/c", "a/b/c/d"] {
            assert!(matches!(put(&disk, key, When::Always).await, Err(Failure::Unfit(_))), "{key}");
            assert_eq!(disk.head("lake", key).await, Ok(None));
            disk.delete("lake", key).await.unwrap();
        }
        // What is deleted leaves no folder, and what was given up none that is in the way.
        disk.delete("lake", "a/b").await.unwrap();
        put(&disk, "a", When::Always).await.unwrap();
        drop(disk.begin("lake", "b/c/d", &[], None).await.unwrap());
        let upload = disk.begin("lake", "c/d", &[], None).await.unwrap();
        assert_eq!(keys(&disk, "", b"", 10).await, ["a"], "what is unfinished is not listed");
        upload.abort().await;
        put(&disk, "c", When::Always).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_unfinished_is_no_key_of_its_own() {
        let (dir, disk) = disk();
        let lake = dir.path().join("root/lake");
        let keys_of_others = ["h#b#1", "#1", "a#1#2", "h#1"];
        for key in keys_of_others {
            fs::write(lake.join(key), "half").unwrap();
        }
        // What the library makes itself is called so too.
        let mut upload = disk.begin("lake", "up#load", &[], None).await.unwrap();
        upload.push(Bytes::from_static(b"half")).await.unwrap();
        let staged = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let staged: Vec<String> =
            fs::read_dir(&lake).unwrap().map(staged).filter(|name| name.starts_with("up")).collect();
        assert_eq!(staged.len(), 1);
        for key in keys_of_others.into_iter().chain(staged.iter().map(String::as_str)) {
            assert!(disk.fits(key).is_err(), "{key}");
            assert!(matches!(disk.head("lake", key).await, Err(Failure::Unfit(_))), "{key}");
            assert!(matches!(disk.read("lake", key, Window::Whole, None).await, Err(Failure::Unfit(_))), "{key}");
            assert!(matches!(put(&disk, key, When::Always).await, Err(Failure::Unfit(_))), "{key}");
            assert!(matches!(disk.begin("lake", key, &[], None).await, Err(Failure::Unfit(_))), "{key}");
            assert!(matches!(disk.delete("lake", key).await, Err(Failure::Unfit(_))), "{key}");
        }
        assert_eq!(keys(&disk, "", b"", 10).await, [""; 0]);
        upload.complete().await.unwrap();
        assert_eq!(keys(&disk, "", b"", 10).await, ["up#load"]);
        for key in keys_of_others {
            assert_eq!(fs::read_to_string(lake.join(key)).unwrap(), "half");
        }
    }

    #[tokio::test]
    async fn what_is_away_with_its_disk_is_not_gone() {
        let (dir, disk) = disk();
        put(&disk, "k", When::Always).await.unwrap();
        let (root, lake) = (dir.path().join("root"), dir.path().join("root/lake"));
        for (place, root_is_there) in [(&lake, true), (&root, false)] {
            let aside = dir.path().join("aside");
            fs::rename(place, &aside).unwrap();
            for failure in [
                disk.probe("lake").await.unwrap_err(),
                disk.head("lake", "k").await.unwrap_err(),
                disk.read("lake", "k", Window::Whole, None).await.map(drop).unwrap_err(),
                put(&disk, "k", When::Always).await.unwrap_err(),
                disk.begin("lake", "k", &[], None).await.map(drop).unwrap_err(),
                disk.delete("lake", "k").await.unwrap_err(),
                disk.list("lake", "", b"", 9).await.unwrap_err(),
            ] {
                match failure {
                    Failure::NoBucket => assert!(root_is_there),
                    Failure::Unavailable(_) => assert!(!root_is_there),
                    other => panic!("{other:?}"),
                }
            }
            fs::rename(&aside, place).unwrap();
            assert!(disk.head("lake", "k").await.unwrap().is_some());
        }
        // What is not there in a bucket that is, is not there.
        assert_eq!(disk.head("lake", "other").await, Ok(None));
        assert!(disk.read("lake", "other", Window::Whole, None).await.unwrap().is_none());
        assert_eq!(disk.delete("lake", "other").await, Ok(()));
        assert_eq!(keys(&disk, "other", b"", 9).await, [""; 0]);
    }

    #[tokio::test]
    async fn conditions_hold() {
        let (_dir, disk) = disk();
        let one = put(&disk, "k", When::Absent).await.unwrap();
        assert_eq!(put(&disk, "k", When::Absent).await, Err(Failure::Clash));
        let two = put(&disk, "k", When::Is(one.clone())).await.unwrap();
        assert_eq!(put(&disk, "k", When::Is(one.clone())).await, Err(Failure::Clash));
        assert!(matches!(disk.read("lake", "k", Window::Whole, Some(&one)).await, Err(Failure::Clash)));
        let opened = disk.read("here", "k", Window::Last(1), Some(&two)).await.unwrap().unwrap();
        assert_eq!(opened.range, 0..1);
        assert_eq!(opened.bytes.try_collect::<Vec<_>>().await.unwrap().concat(), b"k");
    }

    #[tokio::test]
    async fn a_listing_tells_the_tags_that_look_ups_tell() {
        let (_dir, disk) = disk();
        for key in ["a", "b/c", "b%2Fc", "d\\e", "f#1g", "%2e%2e", "C:x", "é", "a b"] {
            put(&disk, key, When::Always).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        let listed = disk.list("lake", "", b"", 100).await.unwrap();
        assert_eq!(listed.len(), 9);
        for entry in listed {
            let found = disk.head("lake", &entry.key).await.unwrap().unwrap();
            assert_eq!((found.version.tag, found.size, found.modified), (entry.tag, entry.size, entry.modified));
            assert_eq!(found.size, entry.key.len() as u64);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn listings_are_in_the_order_of_keys(
            names in proptest::collection::btree_set("[ab./é -]{1,6}", 0..20),
            prefix in "[ab/]{0,3}",
            from in "[ab./]{0,3}",
            limit in 1usize..6,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (_dir, disk) = disk();
            let mut all = Vec::new();
            runtime.block_on(async {
                for key in names.iter().filter(|key| disk.fits(key).is_ok()) {
                    if put(&disk, key, When::Always).await.is_ok() {
                        all.push(key.clone());
                    }
                }
                all.sort();
                all.retain(|key| key.starts_with(&prefix) && *key >= from);
                all.truncate(limit);
                prop_assert_eq!(keys(&disk, &prefix, from.as_bytes(), limit).await, all);
                Ok(())
            })?;
        }
    }
}
