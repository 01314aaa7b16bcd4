//! What is known of writing: whether the last write was kept, and a small write of our own when nobody has written lately.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A write that was kept so long ago still says that writing works.
const FRESH: Duration = Duration::from_secs(5);

/// A trial that failed is not made again before this.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes written beside the database to see whether there is room: the write-ahead log alone may have some of its own left
/// when the disk has none.
const ROOM: usize = 64 * 1024;

/// How the last write ended, and when.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing was written yet.
    None,
    Kept(Instant),
    Failed,
}

/// What a question about writing is answered with, without a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    Works,
    /// A trial failed a moment ago.
    Fails,
    /// Only a trial tells.
    Unknown,
}

#[derive(Debug)]
struct State {
    last: Last,
    tried: Option<Instant>,
}

/// The database that is written.
#[derive(Clone, Debug)]
pub enum Whose {
    /// A file of this machine.
    File(PathBuf),
    /// A server's, as it is told: without a password.
    Server(Arc<str>),
}

impl From<&Path> for Whose {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Whose {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.to_owned())
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(name) => f.write_str(name),
        }
    }
}

impl Whose {
    /// Writes a file beside the database, as durable as the database itself would be, and removes it. Blocks. A server looks after
    /// its own disk.
    pub(crate) fn find_room(&self) -> std::io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push("-trial");
        let beside = path.with_file_name(name);
        let written = write_file(&beside);
        let removed = std::fs::remove_file(&beside);
        written.and(removed)
    }
}

/// What is known of writing to one database.
#[derive(Debug)]
pub(crate) struct Health {
    whose: Whose,
    state: Mutex<State>,
}

impl Health {
    pub(crate) fn new(whose: Whose) -> Self {
        Self { whose, state: Mutex::new(State { last: Last::None, tried: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change was kept. After a failure only a trial says that all is well: a change may have had nothing to write.
    pub(crate) fn kept(&self) {
        let mut state = self.state();
        match state.last {
            Last::None | Last::Kept(_) => state.last = Last::Kept(Instant::now()),
            Last::Failed => {}
        }
    }

    /// A write failed. The first failure is the one that says why.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) {
        let before = std::mem::replace(&mut self.state().last, Last::Failed);
        if !matches!(before, Last::Failed) {
            let (whose, why) = (&self.whose, causes(error));
            tracing::error!(database = %whose, error = %why, "the database `{whose}` could not be written: {why}");
        }
    }

    /// A trial was kept.
    pub(crate) fn recovered(&self) {
        let before = std::mem::replace(&mut self.state().last, Last::Kept(Instant::now()));
        if matches!(before, Last::Failed) {
            let whose = &self.whose;
            tracing::info!(database = %whose, "the database `{whose}` can be written again");
        }
    }

    /// What is known without a trial.
    pub(crate) fn known(&self) -> Known {
        let state = self.state();
        match state.last {
            Last::Kept(at) if at.elapsed() < FRESH => Known::Works,
            Last::Failed if state.tried.is_some_and(|at| at.elapsed() < PAUSE) => Known::Fails,
            Last::None | Last::Kept(_) | Last::Failed => Known::Unknown,
        }
    }

    /// Whether the last write failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state().last, Last::Failed)
    }

    /// A trial is being made.
    pub(crate) fn trying(&self) {
        self.state().tried = Some(Instant::now());
    }

    pub(crate) fn whose(&self) -> &Whose {
        &self.whose
    }
}

fn write_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&vec![0; ROOM])?;
    file.sync_all()
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words
}
