//! The data files: named by a number, written once, seen by readers only through the index.
//!
//! A file needs no temporary name and no rename: until the index refers to it nobody can ask for it, and what a crash left
//! unreferred is swept at the next start, told from files being written by the generation in its number.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use crate::space::Space;

/// A data file's number.
pub(crate) type FileId = i64;

/// Directories that files are spread over. Part of the names on disk: another number would not find what is there.
const SHARDS: i64 = 64;
/// Bits of a number that count within a generation.
const COUNTER_BITS: u32 = 40;

/// One piece of an object, in a file of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) file: FileId,
    pub(crate) size: u64,
}

fn shard_below(root: &Path, id: FileId) -> PathBuf {
    root.join(format!("{:02x}", id.rem_euclid(SHARDS)))
}

/// Where a file lies below the directory of data files.
pub(crate) fn path_below(root: &Path, id: FileId) -> PathBuf {
    shard_below(root, id).join(format!("{id:016x}"))
}

/// The same error, with the name of the file it is about.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[derive(Default)]
struct Held {
    readers: usize,
    /// What to remove when the last reader leaves.
    doomed: Vec<FileId>,
}

/// The directory of data files.
pub(crate) struct Files {
    root: PathBuf,
    generation: i64,
    next: AtomicI64,
    /// Objects of several files that are being read, by their first file: all of it stays until the last reader leaves.
    held: Mutex<HashMap<FileId, Held>>,
    /// The disk they are on.
    space: Space,
    tasks: TaskTracker,
}

impl Files {
    /// Opens the directory; makes it if there is none.
    pub(crate) fn open(root: &Path, generation: i64, space: Space, tasks: TaskTracker) -> io::Result<Self> {
        let mut made = false;
        for shard in 0..SHARDS {
            let shard = root.join(format!("{shard:02x}"));
            if !shard.is_dir() {
                fs::create_dir_all(&shard)?;
                made = true;
            }
        }
        if made {
            File::open(root)?.sync_all()?;
            root.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
        }
        let (root, held) = (root.to_owned(), Mutex::default());
        Ok(Self { root, generation, next: AtomicI64::new(0), held, space, tasks })
    }

    fn shard(&self, id: FileId) -> PathBuf {
        shard_below(&self.root, id)
    }

    /// Where a file lies.
    pub(crate) fn path(&self, id: FileId) -> PathBuf {
        path_below(&self.root, id)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<FileId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that was never given before.
    pub(crate) fn fresh(&self) -> FileId {
        (self.generation << COUNTER_BITS) | self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses while the disk is as full as it may become: before anything of a body is read.
    pub(crate) fn has_room(&self) -> io::Result<()> {
        self.space.admit(0).map(drop)
    }

    /// Makes a file to be written. Blocks.
    pub(crate) fn create(self: &Arc<Self>) -> io::Result<Draft> {
        let id = self.fresh();
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(id))?;
        Ok(Draft { files: Arc::clone(self), id, file, fate: Fate::Remove })
    }

    /// Opens a file to be read. Blocks.
    pub(crate) fn read(&self, id: FileId) -> io::Result<File> {
        let path = self.path(id);
        File::open(&path).map_err(|error| named(&path, &error))
    }

    /// How many bytes a file has. Blocks.
    pub(crate) fn length(&self, id: FileId) -> io::Result<u64> {
        let path = self.path(id);
        fs::metadata(&path).map(|metadata| metadata.len()).map_err(|error| named(&path, &error))
    }

    /// Keeps an object of several files whole while it is read.
    pub(crate) fn hold(self: &Arc<Self>, first: FileId) -> Hold {
        self.held().entry(first).or_default().readers += 1;
        Hold { files: Arc::clone(self), first }
    }

    /// Removes the files of one object that the index no longer refers to, when its last reader has left. Blocks.
    pub(crate) fn remove(&self, group: Vec<FileId>) {
        let Some((first, rest)) = group.split_first() else { return };
        {
            // INVARIANT: the first file goes while the lock is held, so that a reader who holds it and can open it knows
            // that the others stay.
            let mut held = self.held();
            if let Some(held) = held.get_mut(first) {
                held.doomed = group;
                return;
            }
            self.unlink(*first);
        }
        for id in rest {
            self.unlink(*id);
        }
    }

    fn unlink(&self, id: FileId) {
        if let Err(error) = fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = id, error = %error, "data file {id} could not be removed; the next start tries again");
        }
    }

    /// The numbers of the files that earlier generations left in one shard. Blocks.
    pub(crate) fn earlier(&self, shard: i64) -> io::Result<Vec<FileId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join(format!("{shard:02x}")))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| i64::from_str_radix(name, 16).ok());
            found.extend(id.filter(|id| id >> COUNTER_BITS < self.generation));
        }
        Ok(found)
    }

    /// Every shard's number.
    pub(crate) fn shards() -> impl Iterator<Item = i64> {
        0..SHARDS
    }

    /// Runs something that blocks where blocking is allowed; shutdown waits for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.start(work).await.map_err(io::Error::other)?
    }

    /// Starts something that blocks where blocking is allowed; shutdown waits for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> tokio::task::JoinHandle<io::Result<T>> {
        self.tasks.spawn_blocking(work)
    }

    /// Runs something that blocks, some time soon.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn_blocking(work);
        } else {
            work();
        }
    }
}

/// What becomes of a draft's file when the draft is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Remove,
    Keep,
}

/// A file being written: gone when dropped, unless the index took it.
pub(crate) struct Draft {
    files: Arc<Files>,
    id: FileId,
    file: File,
    fate: Fate,
}

impl Draft {
    /// Its number.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Where to read what was written.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Writes more, if the disk has room for it: the only way to. Blocks.
    pub(crate) fn append(&mut self, batch: &[Bytes]) -> io::Result<()> {
        let bytes = batch.iter().map(|bytes| bytes.len() as u64).sum();
        let _admitted = self.files.space.admit(bytes)?;
        batch.iter().try_for_each(|bytes| self.file.write_all(bytes))
    }

    /// Makes the file durable: its bytes and its name. Blocks.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(self.files.shard(self.id))?.sync_all()
    }

    /// The index refers to it, or may: it stays.
    pub(crate) fn keep(mut self) {
        self.fate = Fate::Keep;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.fate == Fate::Remove {
            let (files, id) = (Arc::clone(&self.files), self.id);
            self.files.later(move || files.unlink(id));
        }
    }
}

/// Keeps the files of one object while it lives.
pub(crate) struct Hold {
    files: Arc<Files>,
    first: FileId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.files.held();
        let Some(held) = all.get_mut(&self.first) else { return };
        held.readers -= 1;
        if held.readers > 0 {
            return;
        }
        let doomed = std::mem::take(&mut held.doomed);
        all.remove(&self.first);
        drop(all);
        if !doomed.is_empty() {
            let files = Arc::clone(&self.files);
            self.files.later(move || files.remove(doomed));
        }
    }
}
