//! Files of the user's alone.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
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

/// Puts text in the place of a file's, whole or not at all: a file that a link leads to is replaced, not the link; one that was not there is
/// its user's alone. The name of the new file ends in `suffix` meanwhile.
///
/// # Errors
/// When it cannot be written, or is no file: a device or a pipe would be lost.
pub(crate) fn replace(path: &Path, text: &str, suffix: &str) -> std::io::Result<()> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
        Err(error) => return Err(error),
    };
    let about = std::fs::metadata(&real).ok();
    if about.as_ref().is_some_and(|about| !about.is_file()) {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    let new = real.with_file_name(name);
    let _ = std::fs::remove_file(&new);
    let written = (|| {
        let mut file = private().create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Some(about) = about {
            std::fs::set_permissions(&new, about.permissions())?;
        }
        std::fs::rename(&new, &real)
    })();
    written.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_and_neither_a_link_to_it_nor_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("config"), dir.path().join("link"));
        replace(&file, "one", ".new").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("config", &link).unwrap();
        replace(&link, "two", ".new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        symlink("not-there", dir.path().join("dangling")).unwrap();
        assert!(replace(&dir.path().join("dangling"), "three", ".new").is_err());
        // A pipe stands for every device: as root, `/dev/null` could be replaced.
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(replace(&pipe, "three", ".new").is_err());
        assert!(!std::fs::metadata(&pipe).unwrap().is_file());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    }
}
