//! Reads a range of an object as a stream: one chunk with the client, the next one on its way from the disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Future as _, Stream};
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::JoinHandle;

use crate::objects::files::{FileId, Files, Hold};
use crate::objects::record::{Data, Record};

/// Bytes read from the disk at once; twice as many are in memory for one download.
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
    /// Keeps the files of an object that has several.
    _hold: Option<Hold>,
}

impl Cursor {
    /// Opens the next run if there is no current one. Blocks.
    fn open(&mut self) -> io::Result<()> {
        while self.current.as_ref().is_none_or(|(_, left)| *left == 0) {
            let Some(Run { file, start, length }) = self.runs.pop_front() else { return Ok(()) };
            let mut opened = self.files.read(file)?;
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
        let Some((file, left)) = &mut self.current else { return Ok((self, Bytes::new())) };
        let wanted = CHUNK_BYTES.min(*left);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let got = file.by_ref().take(wanted).read_to_end(&mut chunk)?;
        if got as u64 != wanted {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a data file is shorter than the index says"));
        }
        *left -= wanted;
        Ok((self, chunk.into()))
    }
}

/// A range of an object's bytes.
pub(crate) struct Reading {
    /// Bytes ready to go.
    ready: Option<Bytes>,
    /// The next chunk.
    next: Option<JoinHandle<io::Result<(Cursor, Bytes)>>>,
    remaining: u64,
}

impl Reading {
    /// Starts to read. Nothing if the files are gone: the object was replaced after its record was read.
    pub(crate) async fn start(files: &Arc<Files>, record: &Record, range: Range<u64>) -> io::Result<Option<Self>> {
        let length = range.end.saturating_sub(range.start);
        let segments = match &record.data {
            Data::Here(bytes) => {
                let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len());
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).clamp(start, bytes.len());
                return Ok(Some(Self { ready: Some(bytes.slice(start..end)), next: None, remaining: length }));
            }
            Data::Files(segments) => segments,
            Data::Behind(_) => return Err(io::Error::other("the object lies in another store")),
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
                let cursor = Cursor { files: own, current: None, runs, _hold: hold.map(|(hold, _)| hold) };
                cursor.read()
            })
            .await;
        match opened {
            Ok((cursor, ready)) => {
                let mut reading = Self { ready: Some(ready), next: None, remaining: length };
                reading.fetch(cursor);
                Ok(Some(reading))
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
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let fetched = ready!(Pin::new(next).poll(cx)).map_err(io::Error::other).flatten();
            self.next = None;
            match fetched {
                Ok((cursor, bytes)) => {
                    self.ready = Some(bytes);
                    self.fetch(cursor);
                }
                Err(error) => {
                    tracing::error!(error = %error, "reading a data file failed: {error}");
                    return Poll::Ready(Some(Err(error.into())));
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
