//! How full a disk may become: what is written to it by strangers stops before it is full, so that what must go on (the ledger,
//! revocations, the removal of what takes the room) has room to.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The room that is kept free at most where nobody says how much.
const USUAL: u64 = 1024 * 1024 * 1024;
/// On a small disk it is only so large a part of it: one in so many.
const USUAL_PART: u64 = 20;

/// How much of a disk stays free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MinFree {
    /// One GiB, or a twentieth of the disk if that is less.
    #[default]
    Usual,
    /// So many bytes.
    Bytes(u64),
}

impl MinFree {
    /// How many bytes that is of a disk of so many.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Usual => USUAL.min(total / USUAL_PART),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What is known of a disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// How many can still be written.
    pub free: u64,
    /// How many it has.
    pub total: u64,
}

impl Room {
    /// Asks the system about the disk that a directory is on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn at(dir: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}

/// Says how full a disk is.
type Measure = Arc<dyn Fn() -> io::Result<Room> + Send + Sync>;

/// A disk that is not to become full. Clones share what is on its way to it.
#[derive(Clone)]
pub struct Space {
    measure: Measure,
    least: MinFree,
    /// Bytes that were admitted and are not written yet.
    coming: Arc<AtomicU64>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("least", &self.least).finish_non_exhaustive()
    }
}

/// The disk is as full as it may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{free} bytes are free on the disk, and {least} are kept free (`s3.min_free_bytes`)")]
struct Low {
    free: u64,
    least: u64,
}

/// Leave to write: held while the bytes are on their way.
pub struct Admitted {
    coming: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Space {
    /// The disk that a directory is on.
    pub fn at(dir: &Path, least: MinFree) -> Self {
        let dir = dir.to_owned();
        Self::measured(least, Arc::new(move || Room::at(&dir)))
    }

    /// A disk of which something else says how full it is.
    pub fn measured(least: MinFree, measure: Measure) -> Self {
        Self { measure, least, coming: Arc::default() }
    }

    /// Leave to write so many bytes now; none of the room that is kept free is given away, whoever else asks. Asks the system: takes
    /// a microsecond on a local disk.
    ///
    /// # Errors
    /// `StorageFull` when the disk is as full as it may become.
    pub fn admit(&self, bytes: u64) -> io::Result<Admitted> {
        let before = self.coming.fetch_add(bytes, Ordering::SeqCst);
        let admitted = Admitted { coming: Arc::clone(&self.coming), bytes };
        // A disk that does not say how full it is, is not guarded; one that is full says so when it is written to.
        let Ok(Room { free, total }) = (self.measure)() else { return Ok(admitted) };
        let least = self.least.of(total);
        let coming = before.saturating_add(bytes);
        if least > 0 && free.saturating_sub(coming) < least {
            return Err(io::Error::new(ErrorKind::StorageFull, Low { free, least }));
        }
        Ok(admitted)
    }
}

/// Whether an error says that a disk is as full as it may become, though not full.
pub(crate) fn is_low(error: &io::Error) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref::<Low>()).is_some()
}

/// Whether an error says that a disk is full, or as full as it may become.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    #[test]
    fn little_is_kept_free_of_a_small_disk() {
        assert_eq!(MinFree::Usual.of(1000 * GIB), GIB);
        assert_eq!(MinFree::Usual.of(20 * GIB), GIB);
        assert_eq!(MinFree::Usual.of(10 * GIB), GIB / 2);
        assert_eq!(MinFree::Usual.of(0), 0);
        assert_eq!(MinFree::Bytes(7).of(1000 * GIB), 7);
    }

    #[test]
    fn what_is_on_its_way_counts_until_it_is_there() {
        let free = Arc::new(AtomicU64::new(100));
        let own = Arc::clone(&free);
        let room = move || Ok(Room { free: own.load(Ordering::SeqCst), total: 1000 });
        let space = Space::measured(MinFree::Bytes(50), Arc::new(room));
        let first = space.admit(30).unwrap();
        let refused = space.clone().admit(21).map(drop).unwrap_err();
        assert!(is_full(&refused), "{refused}");
        let second = space.admit(20).unwrap();
        assert!(space.admit(1).is_err());
        // The first is written: it counts once.
        free.store(70, Ordering::SeqCst);
        drop(first);
        assert!(space.admit(1).is_err());
        drop(second);
        space.admit(20).map(drop).unwrap();
        free.store(49, Ordering::SeqCst);
        assert!(space.admit(0).is_err());
        // Nothing is kept free: it is for the disk to say.
        let all = Space::measured(MinFree::Bytes(0), Arc::new(|| Ok(Room { free: 0, total: 10 })));
        assert!(all.admit(1000).is_ok());
        // Nobody knows.
        let unknown = Space::measured(MinFree::Usual, Arc::new(|| Err(ErrorKind::Unsupported.into())));
        assert!(unknown.admit(1000).is_ok());
    }

    #[test]
    fn the_system_knows_the_disk_of_a_directory() {
        let room = Room::at(&std::env::temp_dir()).unwrap();
        assert!(room.total > 0 && room.free <= room.total);
    }
}
