//! A disk that is full or fails to sync when a test says so, on any Linux and without being root: a few lines of C that
//! the test builds and loads before the C library.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "how a test finds itself again in the process that it started")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = "FAULTY_DISK_ROOT";
const CONTROL: &str = "FAULTY_DISK_CONTROL";

/// What the disk may fail with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing grows any more.
    Full,
    /// `fsync` and `fdatasync` fail.
    Unsync,
    /// Nothing can be read.
    Unread,
}

impl Fault {
    /// Those of what is written.
    pub const ALL: [Self; 2] = [Self::Full, Self::Unsync];

    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unsync => "unsync",
            Self::Unread => "unread",
        }
    }
}

/// A directory whose files fail when told.
#[derive(Debug)]
pub struct FaultyDisk {
    root: PathBuf,
    control: PathBuf,
}

impl FaultyDisk {
    /// Runs a test again, in a process over such a disk, and says in there that it is the one; out here it waits for that
    /// process, fails if it failed, and says nothing. `test` is the test's name as the test runner knows it.
    ///
    /// # Panics
    /// When the other process fails.
    pub fn enter(test: &str, scratch: &Path) -> Option<Self> {
        if let (Ok(root), Ok(control)) = (std::env::var(ROOT), std::env::var(CONTROL)) {
            return Some(Self { root: root.into(), control: control.into() });
        }
        let (root, control) = (scratch.join("disk"), scratch.join("control"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&control).unwrap();
        let source = scratch.join("disk.c");
        fs::write(&source, include_str!("disk.c")).unwrap();
        let library = scratch.join("disk.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let built = cc.status().unwrap();
        assert!(built.success(), "the faulty disk cannot be built");
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("LD_PRELOAD", &library)
            .env(ROOT, root.canonicalize().unwrap())
            .env(CONTROL, &control)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && said.contains("1 passed"),
            "{said}\n{}",
            String::from_utf8_lossy(&again.stderr)
        );
        None
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Fails from now on.
    ///
    /// # Panics
    /// When the test's own files cannot be written.
    pub fn fail(&self, fault: Fault) {
        fs::write(self.control.join(fault.name()), []).unwrap();
    }

    /// Has no more room than what its files take now: what goes makes room for what comes.
    ///
    /// # Panics
    /// When its files cannot be looked at, or the test's own files not be written.
    pub fn fill(&self) {
        let sizes = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        fs::write(self.control.join("room"), sizes.sum::<u64>().to_string()).unwrap();
    }

    /// Is well again.
    pub fn heal(&self) {
        let _ = fs::remove_file(self.control.join("room"));
        for fault in [Fault::Full, Fault::Unsync, Fault::Unread] {
            let _ = fs::remove_file(self.control.join(fault.name()));
        }
    }
}
