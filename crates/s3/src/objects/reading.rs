//! Reads a range of an object as a stream: one chunk with the client, the next one on its way from the disk. A whole object is held
//! against the digest that was kept of it: its last chunk goes out only if all of it is what was written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Future as _, Stream};
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::JoinHandle;

use crate::error::Unread;
use crate::objects::files::{FileId, Files, Hold};
use crate::objects::proof::Proof;
use crate::objects::record::{Data, Record};

/// Bytes read from the disk at once; twice as many are in memory for one download. Half an upload's: there are more readers.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A run of bytes in one file.
struct Run {
    file: FileId,
    start: u64,
    length: u64,
}

/// The file being read, where its run ends, and the runs behind it.
struct Cursor {
    files: Arc<Files>,
    current: Option<(File, u64)>,
    runs: VecDeque<Run>,
    /// Bytes that were not read yet.
    left: u64,
    /// What the bytes are held against, if that is known of them.
    proof: Option<Proof>,
    /// Keeps the files of an object that has several.
    _hold: Option<Hold>,
}

impl Cursor {
    /// Opens the next run if there is no current one. Blocks.
    fn open(&mut self) -> io::Result<()> {
        while self.current.as_ref().is_none_or(|(_, left)| *left == 0) {
            let Some(Run { file, start, length }) = self.runs.pop_front() else { return Ok(()) };
            let mut opened = self.files.read(file)?;
            if opened.metadata()?.len() < start.saturating_add(length) {
                return Err(short(&self.files, file));
            }
            if start > 0 {
                opened.seek(SeekFrom::Start(start))?;
            }
            self.current = Some((opened, length));
        }
        Ok(())
    }

    /// The next chunk. Blocks.
    fn read(mut self) -> io::Result<(Self, Bytes)> {
        self.open()?;
        let Some((file, left)) = &mut self.current else {
            return if self.left == 0 { Ok((self, Bytes::new())) } else { Err(damaged("its pieces are too few")) };
        };
        let wanted = CHUNK_BYTES.min(*left);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let got = file.by_ref().take(wanted).read_to_end(&mut chunk)?;
        if got as u64 != wanted {
            return Err(damaged("a data file is shorter than the index says"));
        }
        *left -= wanted;
        self.left = self.left.saturating_sub(wanted);
        if let Some(proof) = &mut self.proof {
            proof.update(&chunk);
        }
        if self.left == 0 && self.proof.take().is_some_and(|proof| !proof.holds()) {
            return Err(damaged(ROTTEN));
        }
        Ok((self, chunk.into()))
    }

    /// Looks that all files to be read are as long as they should be. Blocks.
    fn measure(&self) -> io::Result<()> {
        for Run { file, start, length } in &self.runs {
            if self.files.length(*file)? < start.saturating_add(*length) {
                return Err(short(&self.files, *file));
            }
        }
        Ok(())
    }
}

/// What is said of bytes that changed by themselves.
pub(crate) const ROTTEN: &str = "its bytes no longer fit the digest that was kept of them";

/// What an object's bytes can no longer be: counted here, where it is seen.
fn damaged(said: impl Into<String>) -> io::Error {
    metrics::counter!("vk_s3_damaged_objects_total").increment(1);
    io::Error::new(ErrorKind::InvalidData, said.into())
}

fn short(files: &Files, file: FileId) -> io::Error {
    damaged(format!("its data file {} is shorter than the index says", files.path(file).display()))
}

/// A range of an object's bytes.
pub(crate) struct Reading {
    /// Bytes ready to go.
    ready: Option<Bytes>,
    /// Where it goes on once those were taken.
    behind: Option<Cursor>,
    /// The next chunk.
    next: Option<JoinHandle<io::Result<(Cursor, Bytes)>>>,
    remaining: u64,
    /// Which object it is, for the log.
    what: String,
}

impl Reading {
    /// Starts to read. Nothing if the files are gone: the object was replaced after its record was read. `what` is which object
    /// it is, for the log.
    pub(crate) async fn start(
        files: &Arc<Files>,
        record: &Record,
        range: Range<u64>,
        what: String,
    ) -> io::Result<Option<Self>> {
        let length = range.end.saturating_sub(range.start);
        let mut proof = if range == (0..record.size) { Proof::of(record) } else { None };
        let segments = match &record.data {
            Data::Here(bytes) => {
                let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len());
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).clamp(start, bytes.len());
                let bytes = bytes.slice(start..end);
                if let Some(proof) = &mut proof {
                    proof.update(&bytes);
                }
                if bytes.len() as u64 != length || proof.is_some_and(|proof| !proof.holds()) {
                    return Err(damaged(ROTTEN));
                }
                return Ok(Some(Self { ready: Some(bytes), behind: None, next: None, remaining: length, what }));
            }
            Data::Files(segments) => segments,
            Data::Gateway(_) => return Err(io::Error::other("the object is in another storage")),
        };
        let hold = match &**segments {
            [first, _, ..] => Some((files.hold(first.file), first.file)),
            [] | [_] => None,
        };
        let mut runs = VecDeque::new();
        let mut at = 0;
        for segment in segments {
            let (start, end) = (range.start.max(at), range.end.min(at + segment.size));
            if start < end {
                runs.push_back(Run { file: segment.file, start: start - at, length: end - start });
            }
            at += segment.size;
        }
        let own = Arc::clone(files);
        let opened = files
            .blocking(move || {
                // Whoever holds the first file and finds it there keeps the others (see `Files::remove`).
                if let Some((_, first)) = &hold {
                    own.read(*first)?;
                }
                let hold = hold.map(|(hold, _)| hold);
                let cursor = Cursor { files: own, current: None, runs, left: length, proof, _hold: hold };
                cursor.measure()?;
                cursor.read()
            })
            .await;
        match opened {
            Ok((cursor, ready)) => {
                Ok(Some(Self { ready: Some(ready), behind: Some(cursor), next: None, remaining: length, what }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fetch(&mut self, cursor: Cursor) {
        let ready = self.ready.as_ref().map_or(0, |ready| ready.len() as u64);
        if self.remaining > ready {
            let files = Arc::clone(&cursor.files);
            self.next = Some(files.start(move || cursor.read()));
        }
    }
}

impl Stream for Reading {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ready.as_ref().is_none_or(Bytes::is_empty) {
            // Whoever asks for more has taken what there was: from now on the next chunk is read ahead.
            if let Some(cursor) = self.behind.take() {
                self.fetch(cursor);
            }
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let fetched = ready!(Pin::new(next).poll(cx)).map_err(io::Error::other).flatten();
            self.next = None;
            match fetched {
                Ok((cursor, bytes)) => {
                    self.ready = Some(bytes);
                    self.fetch(cursor);
                }
                Err(error) => {
                    let what = &self.what;
                    tracing::error!(object = what, error = %error, "reading {what} failed: {error}");
                    return Poll::Ready(Some(Err(Unread.into())));
                }
            }
        }
        Poll::Ready(self.ready.take().filter(|bytes| !bytes.is_empty()).map(|bytes| {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
            Ok(bytes)
        }))
    }
}

impl ByteStream for Reading {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }
}
