//! Which versions a log has, and when each was committed.

use std::collections::{BTreeMap, BTreeSet};

use valetkey_core::nouns::table::Unserved;

use crate::engine::LogFiles;
use crate::unserved::Refused;

/// Files of a log listed at once: the most that S3 lists.
const PAGE: usize = 1000;
/// Files of a log that are looked at for one answer: 200 pages of a listing, 20 seconds at 100 ms each.
const MOST_FILES: usize = 200_000;

/// A commit's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommitFile {
    /// When the object was written, in milliseconds since 1970.
    pub(crate) modified_ms: i64,
    pub(crate) size: u64,
}

/// What a file of the log is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFile {
    /// The commit of a version.
    Commit(u64),
    /// All of a checkpoint of a version, or a part of it.
    Checkpoint(u64),
    /// Something else of a version: a checksum, a compaction.
    Beside(u64),
    /// Not of a version.
    Other,
}

impl LogFile {
    pub(crate) fn of(name: &str) -> Self {
        let Some((digits, rest)) = name.split_at_checked(20) else { return Self::Other };
        let version = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
        match version {
            None => Self::Other,
            Some(version) if rest == ".json" => Self::Commit(version),
            Some(version) if rest.starts_with(".checkpoint.") => Self::Checkpoint(version),
            Some(version) => Self::Beside(version),
        }
    }
}

/// The name of a commit's file.
pub(crate) fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The files of a log, as its listing shows them.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) commits: BTreeMap<u64, CommitFile>,
    checkpoints: BTreeSet<u64>,
}

impl History {
    /// Lists the whole log.
    pub(crate) fn read(files: &LogFiles) -> Result<Self, Refused> {
        let mut history = Self::default();
        let mut after = files.directory().to_vec();
        let mut seen = 0;
        loop {
            let page = files.page(files.directory(), &after, PAGE)?;
            let is_last = page.len() < PAGE;
            seen += page.len();
            for listed in &page {
                match files.name(&listed.key).map_or(LogFile::Other, LogFile::of) {
                    LogFile::Commit(version) => {
                        let file = CommitFile { modified_ms: listed.modified.as_millisecond(), size: listed.size };
                        history.commits.insert(version, file);
                    }
                    LogFile::Checkpoint(version) => drop(history.checkpoints.insert(version)),
                    // Digits sort before everything else that a log has.
                    LogFile::Other if files.name(&listed.key).is_none_or(|name| name > ":") => return Ok(history),
                    LogFile::Beside(_) | LogFile::Other => {}
                }
            }
            match page.last() {
                Some(last) if !is_last => after = last.key.to_vec(),
                Some(_) | None => return Ok(history),
            }
            if seen > MOST_FILES {
                return Err(Unserved::TooMuch("log entries").into());
            }
        }
    }

    /// The last version there is.
    pub(crate) fn last(&self) -> Option<u64> {
        self.commits.keys().next_back().max(self.checkpoints.last()).copied()
    }

    /// The first version that can be put together from what is still there.
    pub(crate) fn first(&self) -> Option<u64> {
        let commit = self.commits.keys().next().copied();
        if commit == Some(0) { Some(0) } else { self.checkpoints.first().copied().or(commit) }
    }

    /// When each commit was made, in milliseconds since 1970, by the times of the files: each at least a millisecond later
    /// than the one before, as the protocol's other readers count them.
    pub(crate) fn times(&self) -> BTreeMap<u64, i64> {
        let mut last = i64::MIN;
        let time = |(version, file): (&u64, &CommitFile)| {
            last = file.modified_ms.max(last.saturating_add(1));
            (*version, last)
        };
        self.commits.iter().map(time).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_log_are_told_apart() {
        for (name, file) in [
            ("00000000000000000007.json", LogFile::Commit(7)),
            ("00000000000000000010.checkpoint.parquet", LogFile::Checkpoint(10)),
            ("00000000000000000010.checkpoint.0000000001.0000000002.parquet", LogFile::Checkpoint(10)),
            ("00000000000000000010.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json", LogFile::Checkpoint(10)),
            ("00000000000000000010.crc", LogFile::Beside(10)),
            ("00000000000000000004.00000000000000000006.compacted.json", LogFile::Beside(4)),
            ("_last_checkpoint", LogFile::Other),
            ("_sidecars/00000000000000000010.json", LogFile::Other),
            ("0000000000000000007.json", LogFile::Other),
            ("99999999999999999999.json", LogFile::Other),
            ("+0000000000000000007.json", LogFile::Other),
        ] {
            assert_eq!(LogFile::of(name), file, "{name}");
        }
    }

    #[test]
    fn times_always_rise() {
        let mut history = History::default();
        for (version, modified_ms) in [(3, 100), (4, 100), (5, 90), (6, 200)] {
            history.commits.insert(version, CommitFile { modified_ms, size: 1 });
        }
        assert_eq!(history.times().into_values().collect::<Vec<_>>(), [100, 101, 102, 200]);
        assert_eq!((history.first(), history.last()), (Some(3), Some(6)));
        history.checkpoints.insert(5);
        assert_eq!((history.first(), history.last()), (Some(5), Some(6)));
    }
}
