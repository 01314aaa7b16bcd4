//! Room that the ledger keeps for itself: a file beside the database, given up when the disk is full, so that what ends credentials can
//! still be written. While it is given up nothing is handed out, so that nothing else takes its room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file's name, after the database's.
const SUFFIX: &str = "-reserve";

/// The reserve of a database.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    pub(crate) bytes: u64,
    /// Given up, and not made anew yet.
    pub(crate) out: AtomicBool,
}

impl Reserve {
    /// Beside a database; so many bytes, 0 for none.
    pub(crate) fn beside(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(SUFFIX);
        Self { path: path.into(), bytes, out: AtomicBool::new(false) }
    }

    /// Whether it is given up.
    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Acquire)
    }

    /// Gives it up. Says whether that made room.
    pub(crate) fn give(&self) -> bool {
        let given = fs::remove_file(&self.path).is_ok();
        if given {
            self.out.store(true, Ordering::Release);
        }
        given
    }

    /// Makes it, where it is not there.
    pub(crate) fn make(&self) -> io::Result<()> {
        if self.bytes == 0 {
            let _ = fs::remove_file(&self.path);
            return Ok(());
        }
        if fs::metadata(&self.path).is_ok_and(|known| known.len() >= self.bytes) {
            return Ok(());
        }
        let made = self.fill();
        if made.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        made
    }

    /// Bytes that no file system leaves out: a hole would keep nothing.
    fn fill(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        let block: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
        let mut left = self.bytes;
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(block.len()).min(block.len());
            file.write_all(block.get(..some).unwrap_or(&block))?;
            left -= u64::try_from(some).unwrap_or(left);
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 200_000;

    fn len(reserve: &Reserve) -> Option<u64> {
        fs::metadata(&reserve.path).ok().map(|known| known.len())
    }

    #[test]
    fn a_reserve_is_made_whole_given_once_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("valetkey.db"), BYTES);
        assert_eq!(reserve.path, folder.path().join("valetkey.db-reserve"));
        assert!(!reserve.give() && !reserve.is_out(), "there is none yet: nothing was given up");
        reserve.make().unwrap();
        assert_eq!(len(&reserve), Some(BYTES));
        assert!(fs::read(&reserve.path).unwrap().chunks(4096).all(|page| page.iter().any(|byte| *byte != 0)));
        assert!(reserve.give() && reserve.is_out());
        assert_eq!(len(&reserve), None);
        assert!(!reserve.give(), "a second time there is no room to give");
        reserve.make().unwrap();
        assert_eq!(len(&reserve), Some(BYTES));
    }

    #[test]
    fn one_that_is_there_is_left_and_one_that_is_too_short_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("valetkey.db"), BYTES);
        fs::write(&reserve.path, vec![7; 300_000]).unwrap();
        reserve.make().unwrap();
        assert_eq!(len(&reserve), Some(300_000));
        fs::write(&reserve.path, b"cut short").unwrap();
        reserve.make().unwrap();
        assert_eq!(len(&reserve), Some(BYTES));
        // An operator wants none.
        Reserve::beside(&folder.path().join("valetkey.db"), 0).make().unwrap();
        assert_eq!(len(&reserve), None);
    }

    #[test]
    fn one_that_cannot_be_made_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("absent/valetkey.db"), BYTES);
        reserve.make().unwrap_err();
        assert!(!reserve.give() && !reserve.is_out());
    }
}
