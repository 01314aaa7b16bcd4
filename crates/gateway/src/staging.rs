//! Files that are being written to a plain disk: beside their target under a name of their own, until they take its place. What a
//! crash leaves of them is known by that name, and that nobody writes it by its lock; it is swept.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use valetkey_s3::Space;

/// What stands behind the `#` in the name of a file that is being written, in front of a number of eight digits. Nobody else's
/// unfinished files have such names, nor can a key. With all of it a name of 240 bytes has 255.
const MARK: &str = "825385";
const DIGITS: usize = 8;
/// How often a file is tried to be made: folders go away with the last file in them, names may be taken.
const TRIES: usize = 1000;

/// Numbers that were given.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What becomes of what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// It is replaced.
    Replaced,
    /// There must be none.
    New,
}

/// A file being written: gone when dropped, unless it was finished.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
    space: Space,
    finished: bool,
}

/// Whether a file's name is that of one of ours that is being written.
fn is_ours(name: &str) -> bool {
    let number = name.rsplit_once('#').and_then(|(_, behind)| behind.strip_prefix(MARK));
    number.is_some_and(|number| number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Locks a new file; says whether it is still there under its name. A disk that knows no locks has its files swept later.
fn is_held(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => path.try_exists(),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

/// Makes a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes the folders between a bucket's directory and a file in it. The bucket's own is never made: it may be away with its disk.
fn make_folders(bucket: &Path, key: &str) -> io::Result<()> {
    let mut at = bucket.to_path_buf();
    let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        let above = at.clone();
        at.push(folder);
        match fs::create_dir(&at) {
            Ok(()) => sync(&above)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Staged {
    /// Begins a file for a key of a bucket. Blocks.
    pub(crate) fn begin(bucket: &Path, key: &str, space: &Space) -> io::Result<Self> {
        space.admit(0)?;
        let target = bucket.join(key);
        for _ in 0..TRIES {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % 10u64.pow(8);
            let mut path = target.clone().into_os_string();
            path.push(format!("#{MARK}{number:0DIGITS$}"));
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) if is_held(&file, &path)? => {
                    return Ok(Self { file, path, target, space: space.clone(), finished: false });
                }
                // Taken for left by who sweeps, in the instant before it was locked.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => match make_folders(bucket, key) {
                    Err(error) if error.kind() != ErrorKind::NotFound || !bucket.is_dir() => return Err(error),
                    Ok(()) | Err(_) => {}
                },
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("its folder goes away again and again"))
    }

    /// Adds bytes, if the disk has room for them. Blocks.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _admitted = self.space.admit(bytes.len() as u64)?;
        self.file.write_all(bytes)
    }

    /// Puts the file in its place; when this returns, it is durable. Blocks.
    ///
    /// # Errors
    /// `AlreadyExists` when there must be none and there is one.
    pub(crate) fn finish(mut self, target: Target) -> io::Result<Metadata> {
        self.file.sync_all()?;
        let metadata = self.file.metadata()?;
        match target {
            Target::Replaced => {
                fs::rename(&self.path, &self.target)?;
                self.finished = true;
            }
            Target::New => fs::hard_link(&self.path, &self.target)?,
        }
        if let Some(folder) = self.target.parent() {
            sync(folder)?;
        }
        Ok(metadata)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How long a file on a disk without locks is left alone.
const WITHOUT_LOCKS: Duration = Duration::from_hours(24);

/// Removes what was left unfinished in one directory: files of ours that nobody writes. Gives how many that were, and the
/// directories below. Blocks.
pub(crate) fn sweep(directory: &Path, now: SystemTime) -> io::Result<(usize, Vec<PathBuf>)> {
    let (mut swept, mut below) = (0, Vec::new());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            below.push(path);
            continue;
        }
        if !kind.is_file() || !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        match remove_if_left(&path, now) {
            Ok(true) => swept += 1,
            Ok(false) => {}
            // Finished meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((swept, below))
}

/// The lock is held until the file is gone: who makes one of the same name sees that it is.
fn remove_if_left(path: &Path, now: SystemTime) -> io::Result<bool> {
    let file = File::open(path)?;
    let left = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            let modified = file.metadata()?.modified()?;
            now.checked_sub(WITHOUT_LOCKS).is_some_and(|before| modified < before)
        }
    };
    if left {
        fs::remove_file(path)?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;
    use valetkey_s3::{MinFree, Room, is_full};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn any(dir: &TempDir) -> Space {
        Space::at(dir.path(), MinFree::Bytes(0))
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let dir = TempDir::new().unwrap();
        let (bucket, long) = (dir.path(), "n".repeat(240));
        let now = SystemTime::UNIX_EPOCH;
        for key in ["a", "b/c", long.as_str()] {
            let mut left = Staged::begin(bucket, key, &any(&dir)).unwrap();
            left.append(b"half").unwrap();
            // As a kill leaves it: there, and no lock on it.
            left.finished = true;
        }
        let others = ["a#1", "a#8253850000001", "a#825385000000010", "#825385x0000001", "a#82538500000001.txt"];
        for name in others {
            fs::write(bucket.join(name), "somebody's").unwrap();
        }
        let mut live = Staged::begin(bucket, "live", &any(&dir)).unwrap();
        live.append(b"half").unwrap();
        let (swept, below) = sweep(bucket, now).unwrap();
        assert_eq!((swept, below), (2, vec![bucket.join("b")]));
        assert_eq!(sweep(&bucket.join("b"), now).unwrap(), (1, vec![]));
        live.append(b" and half").unwrap();
        live.finish(Target::New).unwrap();
        let mut left: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        left.extend(["b".to_owned(), "live".to_owned()]);
        left.sort();
        assert_eq!(names(bucket), left);
        assert_eq!(fs::read(bucket.join("live")).unwrap(), b"half and half");
    }

    #[test]
    fn a_file_is_seen_whole_or_not_at_all_and_leaves_nothing_behind() {
        let dir = TempDir::new().unwrap();
        let mut one = Staged::begin(dir.path(), "a/b", &any(&dir)).unwrap();
        one.append(b"one").unwrap();
        assert!(!dir.path().join("a/b").exists());
        one.finish(Target::New).unwrap();
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"one");
        let mut two = Staged::begin(dir.path(), "a/b", &any(&dir)).unwrap();
        two.append(b"two").unwrap();
        assert_eq!(two.finish(Target::New).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"one");
        let mut three = Staged::begin(dir.path(), "a/b", &any(&dir)).unwrap();
        three.append(b"three").unwrap();
        three.finish(Target::Replaced).unwrap();
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"three");
        drop(Staged::begin(dir.path(), "a/c", &any(&dir)).unwrap());
        assert_eq!(names(&dir.path().join("a")), ["b"]);
        // A bucket that is away is not made.
        let away = dir.path().join("away");
        assert_eq!(Staged::begin(&away, "a/b", &any(&dir)).map(drop).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!away.exists());
    }

    #[test]
    fn a_disk_is_not_filled() {
        let dir = TempDir::new().unwrap();
        let space = Space::measured(MinFree::Bytes(10), Arc::new(|| Ok(Room { free: 15, total: 100 })));
        let mut staged = Staged::begin(dir.path(), "a", &space).unwrap();
        staged.append(b"five5").unwrap();
        assert!(is_full(&staged.append(b"sixsix").unwrap_err()));
        drop(staged);
        let full = Space::measured(MinFree::Bytes(16), Arc::new(|| Ok(Room { free: 15, total: 100 })));
        assert!(is_full(&Staged::begin(dir.path(), "a", &full).map(drop).unwrap_err()));
        assert!(names(dir.path()).is_empty());
    }
}
