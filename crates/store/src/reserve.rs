//! Room that the ledger keeps for itself: a file beside the database, given up when the disk is full, so that what ends credentials can
//! still be written. While it is given up nothing is handed out, so that nothing else takes its room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::Store;

/// The file's name, after the database's.
const SUFFIX: &str = "-reserve";

/// The reserve of a database.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Given up, and not made anew yet.
    out: AtomicBool,
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
    fn give(&self) -> bool {
        let given = fs::remove_file(&self.path).is_ok();
        if given {
            self.out.store(true, Ordering::Release);
        }
        given
    }

    /// Makes it, where it is not there.
    fn make(&self) -> io::Result<()> {
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

impl Store {
    /// Gives the reserve up after something could not be written. Says whether to try it again.
    pub(crate) async fn give_reserve(&self) -> bool {
        let store = self.clone();
        let given = self.shared.tasks.spawn_blocking(move || store.shared.reserve.give()).await.unwrap_or(false);
        if given {
            self.shared.queue.hold(true);
            metrics::counter!("vk_ledger_reserve_given_total").increment(1);
            tracing::error!(
                "the ledger's reserve is given up, so that what ends credentials can be written: nothing is handed out until there is room \
                 for it again"
            );
        }
        given
    }

    /// Makes the reserve, where there is room for it.
    pub(crate) async fn make_reserve(&self) {
        let store = self.clone();
        let making = move || store.shared.reserve.make();
        let bytes = match self.shared.tasks.spawn_blocking(making).await {
            Ok(Ok(())) => {
                self.shared.queue.hold(false);
                if self.shared.reserve.out.swap(false, Ordering::AcqRel) {
                    tracing::info!("the ledger has its reserve again");
                }
                self.shared.reserve.bytes
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the ledger's reserve could not be made");
                0
            }
            Err(_) => 0,
        };
        metrics::gauge!("vk_ledger_reserve_bytes").set(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
    }
}
