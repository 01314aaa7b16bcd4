//! Files of the user's alone.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

/// Between two looks whether others let go of a file.
const PAUSE: Duration = Duration::from_millis(25);

/// How a file is opened to be written that only its user can read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Waits for the lock beside the file; goes without one that others hold for too long.
///
/// # Errors
/// When nothing can be kept there at all.
pub(crate) async fn lock(path: &Path, timeout: Duration) -> std::io::Result<Option<File>> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    let file = private().create(true).truncate(false).open(path.with_extension("lock"))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) if waited < timeout => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A directory that only its user can use.
pub(crate) fn make_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
