//! Pages of keys: range scans of the index that skip over what one common prefix stands for.

use jiff::Timestamp;
use sqlx::Row as _;

use crate::error::Result;
use crate::objects::{BucketId, Objects, sql};

/// Rows read at once while common prefixes are being skipped.
const SMALL_BATCH: usize = 16;
/// Rows read at once at most.
const LARGE_BATCH: usize = 1000;

/// The keys from `start` on, up to and without `end`; without an end, all of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

impl Span {
    /// The keys that start with a prefix.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: past(prefix) }
    }

    /// One key.
    pub(crate) fn of_key(key: &[u8]) -> Self {
        Self { start: key.to_vec(), end: Some(behind(key)) }
    }
}

/// The least key greater than all that start with the prefix; nothing if there is none.
pub(crate) fn past(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut past = prefix.get(..=kept)?.to_vec();
    let last = past.last_mut()?;
    *last += 1;
    Some(past)
}

/// The least key greater than this one.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

/// What a page ended with, and so where the next one starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// Behind this key.
    Key(Vec<u8>),
    /// Behind everything that starts so.
    Prefix(Vec<u8>),
}

impl Mark {
    /// The bytes it names.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Key(bytes) | Self::Prefix(bytes) => bytes,
        }
    }

    /// The least key that may follow; nothing if none may.
    fn resume(&self) -> Option<Vec<u8>> {
        match self {
            Self::Key(key) => Some(behind(key)),
            Self::Prefix(prefix) => past(prefix),
        }
    }
}

/// What to list.
pub(crate) struct Ask<'a> {
    /// Every key of the spans starts with it.
    pub(crate) prefix: &'a [u8],
    /// Keys that have it behind the prefix are told as one common prefix. Never empty.
    pub(crate) delimiter: Option<&'a [u8]>,
    /// Where to start.
    pub(crate) from: Option<&'a Mark>,
    /// At most so many keys and common prefixes.
    pub(crate) limit: usize,
    /// The keys that may be told of: sorted, none overlapping another.
    pub(crate) spans: &'a [Span],
}

/// A key of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: Timestamp,
}

/// A page.
#[derive(Default, Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) prefixes: Vec<Vec<u8>>,
    /// What the page ended with, if there is more.
    pub(crate) next: Option<Mark>,
}

/// The common prefix that stands for a key, if one does.
pub(crate) fn common_prefix<'k>(key: &'k [u8], prefix: &[u8], delimiter: Option<&[u8]>) -> Option<&'k [u8]> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.strip_prefix(prefix)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// Where the keys of a listing are read from. Each time is asked for keys behind those of the time before.
pub(crate) trait Rows {
    /// The keys from one on, up to and without an end, in order; fewer than `limit` if there are no more.
    fn rows(
        &mut self,
        from: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>>> + Send;
}

/// A page of keys. `shows` is asked about every key before it is told or counted.
pub(crate) async fn page(rows: &mut impl Rows, ask: Ask<'_>, shows: impl Fn(&[u8]) -> bool) -> Result<Page> {
    let Ask { prefix, delimiter, from, limit, spans } = ask;
    let mut page = Page::default();
    let mut seek = match from.map(Mark::resume) {
        None => Vec::new(),
        Some(Some(seek)) => seek,
        Some(None) => return Ok(page),
    };
    if limit == 0 {
        return Ok(page);
    }
    let mut last: Option<Mark> = None;
    let mut batch = if delimiter.is_some() { SMALL_BATCH } else { LARGE_BATCH.min(limit + 1) };
    for span in spans {
        if seek < span.start {
            seek.clone_from(&span.start);
        }
        loop {
            if span.end.as_ref().is_some_and(|end| seek >= *end) {
                break;
            }
            // One more than still fits tells whether there is more.
            let wanted = batch.min(limit + 1 - page.entries.len() - page.prefixes.len());
            let found = rows.rows(&seek, span.end.as_deref(), wanted).await?;
            let (read, mut told) = (found.len(), 0usize);
            for entry in found {
                if entry.key < seek {
                    continue;
                }
                if !shows(&entry.key) {
                    seek = behind(&entry.key);
                    continue;
                }
                if page.entries.len() + page.prefixes.len() == limit {
                    page.next = last;
                    return Ok(page);
                }
                told += 1;
                if let Some(common) = common_prefix(&entry.key, prefix, delimiter) {
                    page.prefixes.push(common.to_vec());
                    last = Some(Mark::Prefix(common.to_vec()));
                    let Some(past) = past(common) else { return Ok(page) };
                    seek = past;
                } else {
                    seek = behind(&entry.key);
                    last = Some(Mark::Key(entry.key.clone()));
                    page.entries.push(entry);
                }
            }
            if read < wanted {
                break;
            }
            batch = if told * 2 >= read { (batch * 2).min(LARGE_BATCH) } else { SMALL_BATCH };
        }
    }
    Ok(page)
}

/// The keys of a bucket in the index.
pub(crate) struct InIndex<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) bucket: BucketId,
}

impl Rows for InIndex<'_> {
    async fn rows(&mut self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.objects.rows(self.bucket, from, end, limit).await
    }
}

impl Objects {
    /// A page of a bucket's keys. `shows` is asked about every key before it is told or counted.
    pub(crate) async fn list(&self, bucket: BucketId, ask: Ask<'_>, shows: impl Fn(&[u8]) -> bool) -> Result<Page> {
        page(&mut InIndex { objects: self, bucket }, ask, shows).await
    }

    async fn rows(&self, bucket: BucketId, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = match end {
            Some(end) => sqlx::query(
                "SELECT key, size, etag, modified_ms FROM objects \
                 WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
            )
            .bind(bucket)
            .bind(from)
            .bind(end)
            .bind(limit),
            None => sqlx::query(
                "SELECT key, size, etag, modified_ms FROM objects WHERE bucket = ? AND key >= ? ORDER BY key LIMIT ?",
            )
            .bind(bucket)
            .bind(from)
            .bind(limit),
        };
        let rows = query.fetch_all(&self.index).await.map_err(sql("listing the index"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<Entry> {
            Ok(Entry {
                key: row.try_get(0)?,
                size: row.try_get::<i64, _>(1)?.cast_unsigned(),
                etag: row.try_get(2)?,
                modified: Timestamp::from_millisecond(row.try_get(3)?).unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(sql("listing the index"))
    }
}
