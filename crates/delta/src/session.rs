//! One answer's work on one table's log, on a thread that may wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use delta_kernel::KernelError;
use delta_kernel::history_manager::error::LogHistoryError;
use delta_kernel::history_manager::{HistoryCommitType, first_version_after, latest_version_as_of};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use jiff::Timestamp;
use valetkey_core::nouns::table::{AddedFile, AsOf, TableCommits, TableFiles, TableSnapshot, Unserved};

use crate::cache::{Cache, Cached, Tip};
use crate::commits::{self, Read, Told};
use crate::engine::{LogEngine, Most};
use crate::history::{CommitFile, History, LogFile, commit_name};
use crate::replay;
use crate::unserved::Refused;

/// The property that says that commits tell their own time.
const IN_COMMIT_TIMES: &str = "delta.enableInCommitTimestamps";

/// The work of one answer.
pub(crate) struct Session<'c> {
    pub(crate) engine: LogEngine,
    pub(crate) cache: &'c Cache,
    pub(crate) most: Most,
}

/// A span of versions that is there.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
}

/// An instant in the log's own measure: times of commits are whole milliseconds, and one that is not ended before.
fn floor_ms(at: Timestamp) -> i64 {
    at.as_millisecond().saturating_sub(i64::from(at.subsec_nanosecond() % 1_000_000 < 0))
}

/// The first whole millisecond at or after an instant.
fn ceil_ms(at: Timestamp) -> i64 {
    at.as_millisecond().saturating_add(i64::from(at.subsec_nanosecond() % 1_000_000 > 0))
}

/// Whether the kernel found no commit on the asked side of an instant.
fn is_out_of_range(error: &KernelError) -> bool {
    match error {
        KernelError::LogHistory(error) => {
            matches!(**error, LogHistoryError::TimestampOutOfRange { .. } | LogHistoryError::NoCommitsFound { .. })
        }
        _ => false,
    }
}

impl Session<'_> {
    /// Runs the work; what the reading of objects failed with goes before what the kernel made of it.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&Self) -> Result<T, Refused>) -> Result<T, Refused> {
        work(self).map_err(|refused| self.engine.files.failure().unwrap_or(refused))
    }

    pub(crate) fn version(&self, at: AsOf) -> Result<u64, Refused> {
        let latest = self.latest()?;
        let version = self.resolve(&latest.snapshot, at)?;
        if version < latest.snapshot.version() {
            let history = History::read(&self.engine.files)?;
            if !history.commits.contains_key(&version) && history.first() != Some(version) {
                return Err(Self::missing(version, &history));
            }
        }
        Ok(version)
    }

    /// A version, without its files.
    pub(crate) fn snapshot(&self, at: AsOf) -> Result<TableSnapshot, Refused> {
        replay::described(&self.cached(at)?.snapshot)
    }

    /// A version with its files.
    pub(crate) fn files(&self, at: AsOf) -> Result<TableFiles, Refused> {
        let mut files = self.files_at(at)?;
        if at != AsOf::Latest {
            files.committed_ms = self.committed_ms(&files.snapshot)?;
        }
        Ok(files)
    }

    /// When a version was committed, as far as the log still says.
    fn committed_ms(&self, of: &TableSnapshot) -> Result<Option<i64>, Refused> {
        let files = &self.engine.files;
        if says_time(&of.metadata.configuration)
            && let Some(bytes) = files.get(&files.key(&commit_name(of.version)), None)?
            && let Some(said) = commits::read(&files.place, of.version, &bytes, Told::Files)?.in_commit_ms
        {
            return Ok(Some(said));
        }
        Ok(History::read(files)?.times().get(&of.version).copied())
    }

    fn files_at(&self, at: AsOf) -> Result<TableFiles, Refused> {
        match self.files_of(self.cached(at)?) {
            // What was remembered names the files of the log as they were. They are cleaned away when a checkpoint stands
            // for them, though the log ends where it did.
            Err(Refused::Unserved(Unserved::Broken(_))) => {
                self.engine.files.failure();
                self.cache.forget(&self.engine.files.place);
                self.files_of(self.cached(at)?)
            }
            done => done,
        }
    }

    fn files_of(&self, cached: Cached) -> Result<TableFiles, Refused> {
        let mut snapshot = replay::described(&cached.snapshot)?;
        let place = &self.engine.files.place;
        let known = cached.files.clone().or_else(|| self.cache.lent_files(place, cached.tip?));
        let files: Arc<[AddedFile]> = if let Some(files) = known {
            files
        } else {
            let files = replay::files(&self.engine, &cached.snapshot, self.most)?;
            if cached.tip.is_some() {
                self.cache.put(place, Cached { files: Some(Arc::clone(&files)), ..cached });
            }
            files
        };
        snapshot.size = Some(files.iter().fold(0, |sum, file| sum.saturating_add(file.size)));
        snapshot.files = Some(files.len() as u64);
        Ok(TableFiles { snapshot, files, committed_ms: None })
    }

    /// The commits of a span.
    pub(crate) fn commits(&self, start: AsOf, end: AsOf, told: Told) -> Result<TableCommits, Refused> {
        let files = &self.engine.files;
        let latest = self.latest()?;
        // What is there now says whether the kernel would read these files; earlier versions need no more than it.
        let newest = replay::described(&latest.snapshot)?;
        let Span { start, end } = self.span(&latest.snapshot, start, end)?;
        if end - start >= self.most.versions {
            return Err(Unserved::TooMuch("versions").into());
        }
        let before = replay::described(&self.at_version(start, &latest)?.snapshot)?;
        let history = History::read(files)?;
        let times = history.times();
        let mut keeps = before.metadata.keeps_changes();
        let mut says_time = says_time(&before.metadata.configuration);
        let mut commits = Vec::new();
        let (mut actions, mut read) = (0, 0usize);
        for version in start..=end {
            let bytes = match times.get(&version) {
                Some(_) => files.get(&files.key(&commit_name(version)), None)?,
                None => None,
            };
            let (Some(bytes), Some(time)) = (bytes, times.get(&version)) else {
                return Err(Unserved::Vacuumed(version).into());
            };
            read = read.saturating_add(bytes.len());
            if read > self.most.bytes {
                return Err(Unserved::TooMuch("bytes of its log").into());
            }
            let Read { mut commit, in_commit_ms } = commits::read(&files.place, version, &bytes, told)?;
            if let Some(metadata) = &commit.metadata {
                keeps = metadata.keeps_changes();
                says_time = self::says_time(&metadata.configuration);
            }
            if told == Told::Changes && !keeps {
                return Err(Unserved::NoChanges(version).into());
            }
            commit.committed_ms = if says_time { in_commit_ms.unwrap_or(*time) } else { *time };
            actions += commit.actions.len();
            if actions > self.most.files {
                return Err(Unserved::TooMuch("files").into());
            }
            commits.push(commit);
        }
        Ok(TableCommits { start, end, before, latest: newest, commits })
    }

    /// The versions that a span means. An end past the last version is the last version.
    fn span(&self, latest: &SnapshotRef, start: AsOf, end: AsOf) -> Result<Span, Refused> {
        let last = latest.version();
        let start = self.resolve(latest, start)?;
        let end = match end {
            AsOf::Version(end) => end.min(last),
            AsOf::LastUntil(_) => match self.resolve(latest, end) {
                Err(Refused::Unserved(Unserved::TooLate(_))) => last,
                other => other?,
            },
            AsOf::Latest | AsOf::FirstSince(_) => self.resolve(latest, end)?,
        };
        if end < start {
            return Err(Unserved::Backwards { start, end }.into());
        }
        Ok(Span { start, end })
    }

    /// Which version is meant: one that is not after the last.
    fn resolve(&self, latest: &SnapshotRef, at: AsOf) -> Result<u64, Refused> {
        let last = latest.version();
        match at {
            AsOf::Latest => Ok(last),
            AsOf::Version(asked) if asked <= last => Ok(asked),
            AsOf::Version(asked) => Err(Self::missing(asked, &History::read(&self.engine.files)?)),
            AsOf::FirstSince(at) => self.first_since(latest, ceil_ms(at))?.ok_or_else(|| Unserved::TooLate(at).into()),
            AsOf::LastUntil(at) => {
                // Later than every commit, nobody can say yet what the last one will be.
                self.first_since(latest, ceil_ms(at))?.ok_or(Unserved::TooLate(at))?;
                self.last_until(latest, floor_ms(at))?.ok_or_else(|| Unserved::TooEarly(at).into())
            }
        }
    }

    /// The first version at or after an instant.
    fn first_since(&self, latest: &SnapshotRef, ms: i64) -> Result<Option<u64>, Refused> {
        if !says_time(latest.metadata_configuration()) {
            let times = self.times(latest.version())?;
            return Ok(times.iter().find(|(_, time)| **time >= ms).map(|(version, _)| *version));
        }
        match first_version_after(latest, &self.engine, ms, HistoryCommitType::Published) {
            Ok(commit) => Ok(Some(commit.version)),
            Err(error) if is_out_of_range(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The last version at or before an instant.
    fn last_until(&self, latest: &SnapshotRef, ms: i64) -> Result<Option<u64>, Refused> {
        if !says_time(latest.metadata_configuration()) {
            let times = self.times(latest.version())?;
            return Ok(times.iter().take_while(|(_, time)| **time <= ms).last().map(|(version, _)| *version));
        }
        match latest_version_as_of(latest, &self.engine, ms, HistoryCommitType::Published) {
            Ok(commit) => Ok(Some(commit.version)),
            Err(error) if is_out_of_range(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// When each commit up to a version was made, by the times of the files.
    fn times(&self, last: u64) -> Result<BTreeMap<u64, i64>, Refused> {
        let mut times = History::read(&self.engine.files)?.times();
        times.retain(|version, _| *version <= last);
        Ok(times)
    }

    /// Why a version is not there.
    fn missing(asked: u64, history: &History) -> Refused {
        match (history.first(), history.last()) {
            (Some(first), Some(last)) => Unserved::NoVersion { asked, first, last }.into(),
            _ => Unserved::NotATable.into(),
        }
    }

    fn cached(&self, at: AsOf) -> Result<Cached, Refused> {
        let latest = self.latest()?;
        let version = self.resolve(&latest.snapshot, at)?;
        self.at_version(version, &latest)
    }

    /// An earlier version is put together anew, and not kept.
    fn at_version(&self, version: u64, latest: &Cached) -> Result<Cached, Refused> {
        if version == latest.snapshot.version() {
            return Ok(latest.clone());
        }
        let built = Snapshot::builder_for(self.engine.files.table_url()).at_version(version).build(&self.engine);
        match built {
            Ok(snapshot) => Ok(Cached { snapshot, files: None, tip: None }),
            Err(error) => {
                let history = History::read(&self.engine.files)?;
                let is_there = history.first().is_some_and(|first| first <= version);
                Err(if is_there { error.into() } else { Self::missing(version, &history) })
            }
        }
    }

    /// The newest version: what is remembered if the log still ends where it did, else what the log says now.
    fn latest(&self) -> Result<Cached, Refused> {
        let place = &self.engine.files.place;
        if let Some(known) = self.cache.get(place)
            && let Some(tip) = known.tip
        {
            match self.since(tip)? {
                Since::Nothing => return Ok(known),
                Since::More => {
                    let updated = Snapshot::builder_from(Arc::clone(&known.snapshot)).build(&self.engine);
                    if let Ok(snapshot) = updated {
                        return self.remember(snapshot);
                    }
                    self.engine.files.failure();
                }
                Since::Replaced => {}
            }
            self.cache.forget(place);
        }
        match Snapshot::builder_for(self.engine.files.table_url()).build(&self.engine) {
            Ok(snapshot) => self.remember(snapshot),
            Err(error) => {
                let is_table = History::read(&self.engine.files)?.last().is_some();
                Err(if is_table { error.into() } else { Unserved::NotATable.into() })
            }
        }
    }

    fn remember(&self, snapshot: SnapshotRef) -> Result<Cached, Refused> {
        let files = &self.engine.files;
        let (version, key) = (snapshot.version(), files.key(&commit_name(snapshot.version())));
        let after = key.strip_suffix(b"n").unwrap_or(&key);
        let first = files.page(files.directory(), after, 1)?.into_iter().next().filter(|first| *first.key == *key);
        let tip = first.map(|first| Tip {
            version,
            file: CommitFile { modified_ms: first.modified.as_millisecond(), size: first.size },
        });
        let cached = Cached { snapshot, files: None, tip };
        if cached.tip.is_some() {
            self.cache.put(&files.place, cached.clone());
        }
        Ok(cached)
    }

    /// What a log has behind the commit it ended with.
    fn since(&self, tip: Tip) -> Result<Since, Refused> {
        let files = &self.engine.files;
        let key = files.key(&commit_name(tip.version));
        let page = files.page(files.directory(), key.strip_suffix(b"n").unwrap_or(&key), 2)?;
        let mut page = page.iter();
        let now = page.next().filter(|first| *first.key == *key);
        let now = now.map(|first| CommitFile { modified_ms: first.modified.as_millisecond(), size: first.size });
        if now != Some(tip.file) {
            return Ok(Since::Replaced);
        }
        let next = page.next().and_then(|next| files.name(&next.key)).map_or(LogFile::Other, LogFile::of);
        Ok(if next == LogFile::Other { Since::Nothing } else { Since::More })
    }
}

/// What became of a log since it was read.
enum Since {
    Nothing,
    More,
    Replaced,
}

/// Whether the commits of a table with these properties tell their own time.
fn says_time<'p>(properties: impl IntoIterator<Item = (&'p String, &'p String)>) -> bool {
    properties.into_iter().any(|(name, on)| name == IN_COMMIT_TIMES && on.eq_ignore_ascii_case("true"))
}
