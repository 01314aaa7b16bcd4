//! The bytes of packages: each blob a file of its own beside the database, written once, found by its row alone.
//!
//! The connection that writes belongs to the ledger, so that only a row of some hundred bytes goes through it. A file is durable
//! before its row is written: a row always has its file. A file without a row (the server died in between, or the row could
//! not be written) is nobody's, and is swept an hour after it was made.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use valetkey_core::nouns::package::Digest;
use valetkey_core::time::{Entropy, random_10};
use valetkey_core::{Error, Kind};

use crate::ledger::queue::Queue;
use crate::settings::Room;
use crate::sql::packages::FileName;

/// A file that is so old and has no row has none on its way: an upload ends long before.
pub(crate) const ORPHAN_MS: i64 = 3_600_000;

/// Files that are written at the same time. The ledger waits for the same disk: more pushes wait here.
const AT_ONCE: usize = 1;

/// Bytes written before they are brought to the disk, and before the ledger goes first: what one of its pages may wait for.
const STRETCH: usize = 512 << 10;

/// The longest that the ledger is let go first: a disk that takes none of its pages must not keep the pushes for ever.
const LEDGER_FIRST: Duration = Duration::from_secs(1);

impl FileName {
    fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let made = u64::try_from(now.as_millisecond()).unwrap_or(0).to_be_bytes();
        let mut bytes = [0; 16];
        for (slot, byte) in bytes.iter_mut().zip(made.into_iter().skip(2).chain(random_10(entropy))) {
            *slot = byte;
        }
        Self::from_bytes(bytes)
    }

    fn number(self) -> u128 {
        u128::from_be_bytes(self.to_bytes())
    }

    fn made_ms(self) -> i64 {
        i64::try_from(self.number() >> 80).unwrap_or(i64::MAX)
    }

    fn text(self) -> String {
        format!("{:032x}", self.number())
    }

    fn parse(text: &str) -> Option<Self> {
        (text.len() == 32)
            .then(|| u128::from_str_radix(text, 16).ok().map(|number| Self::from_bytes(number.to_be_bytes())))?
    }

    /// Where it is in the directory of blobs.
    pub(crate) fn below(self, root: &Path) -> PathBuf {
        root.join(self.shard()).join(self.text())
    }

    /// The directory it is in: by its last byte, which is random.
    fn shard(self) -> String {
        format!("{:02x}", self.number() & 0xff)
    }
}

/// The directory of blobs.
pub(crate) struct Blobs {
    root: PathBuf,
    /// Files that are being written, or whose row is.
    young: Mutex<HashSet<FileName>>,
    turns: Semaphore,
    room: Room,
    tasks: TaskTracker,
}

/// A file that is durable and has no row yet. While this lives it is not swept.
pub(crate) struct Written {
    blobs: Arc<Blobs>,
    name: FileName,
    size: u64,
}

impl Blobs {
    /// The blobs beside a database.
    pub(crate) fn beside(database: &Path, limit: Room, tasks: TaskTracker) -> Arc<Self> {
        let root = database.with_file_name("packages");
        Arc::new(Self { root, young: Mutex::default(), turns: Semaphore::new(AT_ONCE), room: limit, tasks })
    }

    fn young(&self) -> MutexGuard<'_, HashSet<FileName>> {
        self.young.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: FileName) -> PathBuf {
        name.below(&self.root)
    }

    /// Writes a blob; when this returns, its bytes and its name are on disk. Whoever waits for the ledger goes first.
    ///
    /// # Errors
    /// `Unavailable`: the disk is full or failing.
    pub(crate) async fn write(
        self: &Arc<Self>,
        body: Vec<u8>,
        now: Timestamp,
        entropy: &dyn Entropy,
        ledger: &Queue,
    ) -> Result<Written, Error> {
        let name = FileName::new(now, entropy);
        let _turn = self.turns.acquire().await.map_err(|error| cannot_write(io::Error::other(error)))?;
        self.young().insert(name);
        let written = Written { blobs: Arc::clone(self), name, size: u64::try_from(body.len()).unwrap_or(u64::MAX) };
        match self.write_file(name, body, ledger).await {
            Ok(()) => Ok(written),
            Err(error) => {
                written.remove().await;
                Err(cannot_write(error))
            }
        }
    }

    async fn write_file(self: &Arc<Self>, name: FileName, body: Vec<u8>, ledger: &Queue) -> io::Result<()> {
        let (shard, path) = (self.root.join(name.shard()), self.path(name));
        let (made, room) = (shard.clone(), self.room.clone());
        let mut file = self
            .blocking(move || {
                room.admit(0)?;
                DirBuilder::new().recursive(true).mode(0o700).create(made)?;
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
            })
            .await?;
        let mut body = Bytes::from(body);
        while !body.is_empty() {
            if let Some(page) = ledger.waiting() {
                // Whether it is kept is not asked here.
                let _ = tokio::time::timeout(LEDGER_FIRST, page.kept()).await;
            }
            let stretch = body.split_to(body.len().min(STRETCH));
            let room = self.room.clone();
            let write = move || {
                room.admit(stretch.len())?;
                file.write_all(&stretch)?;
                file.sync_data()?;
                Ok(file)
            };
            file = self.blocking(write).await?;
        }
        let blobs = Arc::clone(self);
        self.blocking(move || {
            file.sync_all()?;
            // Each name on the way to it, whoever made it: a directory that has not changed costs nothing.
            File::open(shard)?.sync_all()?;
            File::open(&blobs.root)?.sync_all()?;
            // A database named without a directory lies in the present one.
            let above = blobs.root.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.tasks.spawn_blocking(work).await.map_err(io::Error::other).flatten()
    }

    /// Reads a blob, whole.
    ///
    /// # Errors
    /// `Internal` when the file is gone or holds something else than was pushed.
    pub(crate) async fn read(self: &Arc<Self>, name: FileName, digest: Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let work = move || {
            let mut body = Vec::new();
            File::open(&path)?.read_to_end(&mut body)?;
            if Digest::of(&body) == digest { Ok(body) } else { Err(io::Error::other("its bytes have changed")) }
        };
        self.blocking(work).await.map_err(|error| {
            metrics::counter!("vk_package_blobs_damaged").increment(1);
            let path = self.path(name);
            tracing::error!(
                blob.digest = %digest, blob.file = %path.display(), error = %error,
                "the blob {digest} cannot be read from {}", path.display()
            );
            Error::internal("a blob of a package cannot be read").caused_by(error)
        })
    }

    /// The files that may be nobody's: made an hour ago or earlier, and not being written.
    ///
    /// A file is looked up among the young before its row is: a row is written while its file is young.
    pub(crate) async fn old(self: &Arc<Self>, now: Timestamp) -> Result<Vec<FileName>, Error> {
        let blobs = Arc::clone(self);
        self.blocking(move || blobs.list(now.as_millisecond()))
            .await
            .map_err(|error| Error::new(Kind::Unavailable, "the blobs of packages cannot be listed").caused_by(error))
    }

    fn list(&self, now_ms: i64) -> io::Result<Vec<FileName>> {
        let shards = match fs::read_dir(&self.root) {
            Ok(shards) => shards,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for shard in shards {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shard.path())? {
                let name = file?.file_name();
                // What is not named like ours is not ours.
                found.extend(name.to_str().and_then(FileName::parse));
            }
        }
        found.retain(|name| name.made_ms().saturating_add(ORPHAN_MS) <= now_ms && !self.young().contains(name));
        Ok(found)
    }

    pub(crate) async fn remove(self: &Arc<Self>, name: FileName) {
        let path = self.path(name);
        if let Err(error) = self.blocking(move || fs::remove_file(path)).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(
                blob.file = %name.text(), error = %error,
                "the file {} of a blob could not be removed; it is tried again", name.text()
            );
        }
    }
}

fn cannot_write(error: io::Error) -> Error {
    Error::new(Kind::Unavailable, "the blob cannot be written").retry_after(1).caused_by(error)
}

impl Written {
    /// What its row names it.
    pub(crate) fn name(&self) -> FileName {
        self.name
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Removes it: it is known that no row names it.
    pub(crate) async fn remove(self) {
        self.blobs.remove(self.name).await;
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.blobs.young().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_it_was_made_and_reads_back() {
        let name = FileName::new(
            Timestamp::from_millisecond(1_767_225_600_123).unwrap(),
            &valetkey_testkit::chance::SeededEntropy::new(1),
        );
        assert_eq!(name.made_ms(), 1_767_225_600_123);
        assert_eq!(FileName::parse(&name.text()), Some(name));
        assert_eq!(FileName::from_bytes(name.to_bytes()), name);
        for bad in ["", "x", "README.md", &"g".repeat(32), &"0".repeat(31)] {
            assert_eq!(FileName::parse(bad), None, "{bad}");
        }
    }
}
