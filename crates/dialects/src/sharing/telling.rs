//! The lines of an answer, told piece by piece: each is written and signed when the reader took the piece before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::IntoIter;

use http::{HeaderName, HeaderValue};
use valetkey_core::Error;
use valetkey_core::nouns::table::{AddedFile, FileAction, TableCommits};

use super::capabilities::{Capabilities, FILE_IDS, Format, HEADER};
use super::files::Signer;
use super::lines::{Commit, Lines};
use super::table::{Found, Log};
use super::{NDJSON, Sharing};
use crate::edge::{Call, PIECE, Piece, Place, Reply, Telling};

/// The header with the version that an answer is about.
pub(super) const VERSION: HeaderName = HeaderName::from_static("delta-table-version");

pub(super) enum Told {
    /// Files of a version, by their number; and the version, where a certain one was asked for.
    Files { files: Arc<[AddedFile]>, kept: IntoIter<u32>, of: Option<Commit> },
    /// A span of commits.
    Commits { span: Box<TableCommits>, items: IntoIter<Item> },
}

/// One line of a span, by the number of its commit.
#[derive(Clone, Copy)]
pub(super) enum Item {
    Protocol(usize),
    Metadata(usize),
    Action(usize, usize),
}

/// An answer on its way.
pub(super) struct Answer {
    pub(super) lines: Lines,
    pub(super) told: Told,
    /// Nothing where there are no files.
    pub(super) signer: Option<Signer>,
    /// Whether the last line says that the answer is whole.
    pub(super) end: bool,
    /// What asks for the same version again, where that was asked for.
    pub(super) refresh: Option<String>,
}

/// What an answer is made for.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) found: &'a Found,
    pub(super) log: &'a Log<'a>,
    pub(super) capabilities: &'a Capabilities,
    /// How the ids of files are made, if that is asked for.
    pub(super) ids: Option<Format>,
    /// Whether a last line says that the answer is whole.
    pub(super) end: bool,
}

impl Asked<'_> {
    /// The answer's lines, of which none is written yet.
    pub(super) fn lines(&self, sharing: &Sharing, format: Format) -> Lines {
        let Found { table, storage, .. } = self.found;
        let mut lines = Lines::new(format, table, sharing.access(table, storage));
        lines.ids = self.ids.unwrap_or(format);
        lines
    }

    /// The answer, about a version.
    pub(super) async fn reply(
        &self,
        place: Place,
        answer: Answer,
        version: u64,
        format: Format,
    ) -> Result<Reply, Error> {
        let reply = lines_reply(place, answer, version, self.capabilities, format).await?;
        Ok(match self.ids {
            Some(ids) => reply.header(FILE_IDS, HeaderValue::from_static(ids.as_str())),
            None => reply,
        })
    }
}

fn missing() -> Error {
    Error::internal("there is no such line")
}

impl Answer {
    /// Writes the next line, if there is one.
    fn line(&mut self) -> Result<bool, Error> {
        let Self { lines, told, signer, end: _, refresh: _ } = self;
        let signer = || signer.as_ref().ok_or_else(|| Error::internal("there is nothing that signs"));
        match told {
            Told::Files { files, kept, of } => {
                let Some(number) = kept.next() else { return Ok(false) };
                let file = usize::try_from(number).ok().and_then(|number| files.get(number)).ok_or_else(missing)?;
                let urls = signer()?.sign(&file.place, file.deletion_vector.as_ref())?;
                lines.file(file, &urls, *of)?;
            }
            Told::Commits { span, items } => {
                let Some(item) = items.next() else { return Ok(false) };
                match item {
                    Item::Protocol(commit) => {
                        let commit = span.commits.get(commit).ok_or_else(missing)?;
                        let protocol = commit.protocol.as_ref().ok_or_else(missing)?;
                        lines.protocol(protocol, Some(commit.version))?;
                    }
                    Item::Metadata(commit) => {
                        let commit = span.commits.get(commit).ok_or_else(missing)?;
                        let metadata = commit.metadata.as_ref().ok_or_else(missing)?;
                        lines.metadata_of(metadata, Some(commit.version), None, None)?;
                    }
                    Item::Action(commit, action) => {
                        let commit = span.commits.get(commit).ok_or_else(missing)?;
                        let action = commit.actions.get(action).ok_or_else(missing)?;
                        let at = Commit { version: commit.version, committed_ms: Some(commit.committed_ms) };
                        act(lines, signer()?, action, at)?;
                    }
                }
            }
        }
        Ok(true)
    }
}

fn act(lines: &mut Lines, signer: &Signer, action: &FileAction, at: Commit) -> Result<(), Error> {
    match action {
        FileAction::Add(file) => {
            let urls = signer.sign(&file.place, file.deletion_vector.as_ref())?;
            lines.added(file, &urls, at)
        }
        FileAction::Remove(file) => {
            let urls = signer.sign(&file.place, file.deletion_vector.as_ref())?;
            lines.removed(file, &urls, at)
        }
        FileAction::Cdc(file) => {
            let urls = signer.sign(&file.place, None)?;
            lines.changed(file, &urls, at)
        }
    }
}

impl Telling for Answer {
    fn more(&mut self) -> Result<Piece, Error> {
        while self.lines.written() < PIECE {
            if !self.line()? {
                if self.end {
                    self.lines.end(self.signer.as_ref().map(Signer::until), self.refresh.as_deref())?;
                }
                return Ok(Piece { bytes: self.lines.take(), is_last: true });
            }
        }
        Ok(Piece { bytes: self.lines.take(), is_last: false })
    }
}

/// About how many bytes a line says of a file, beside its URL.
pub(super) fn told_of(file: &AddedFile) -> usize {
    let AddedFile { path, stats, partition_values, tags, .. } = file;
    let pairs = |pairs: &BTreeMap<String, Option<String>>| {
        pairs.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len) + 8).sum::<usize>()
    };
    // Quotes are written with a backslash.
    let statistics = |text: &String| text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    2 * path.len() + stats.as_ref().map_or(0, statistics) + pairs(partition_values) + pairs(tags)
}

/// An answer of several lines about a version.
pub(super) async fn lines_reply(
    place: Place,
    answer: impl Telling,
    version: u64,
    capabilities: &Capabilities,
    format: Format,
) -> Result<Reply, Error> {
    let reply = place.answer(answer, NDJSON).await?;
    Ok(reply.header(VERSION, HeaderValue::from(version)).header(HEADER, capabilities.answered(format)))
}
