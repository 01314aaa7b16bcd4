//! Directories that are there after a loss of power, too.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes a directory for its owner alone, and those above it that are missing, durably: what is synced in one whose own name was lost is lost
/// as well. Blocks.
///
/// # Errors
/// Of the file system.
pub fn make_directory(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_missing_is_made_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("one/two");
        for _ in 0..2 {
            make_directory(&dir).unwrap();
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(dir.join("file"), "").unwrap();
        assert!(make_directory(&dir.join("file")).is_err() && make_directory(&dir.join("file/three")).is_err());
    }
}
