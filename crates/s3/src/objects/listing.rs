//! Pages of keys: range scans of the index that skip over what one common prefix stands for.

use jiff::Timestamp;
use sqlx::Row as _;

use crate::error::Result;
use crate::objects::{BucketId, Objects, sql};

/// Rows read at once while common prefixes are being skipped: of what is read behind a prefix nearly all is thrown away.
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

/// A text that comes before `from` and before everything behind it, and after as much of the rest as can be said: where to
/// start a listing that excludes its start. Nothing where a listing starts anyway, with `prefix`.
pub fn before(from: &[u8], prefix: &str) -> Option<String> {
    if from <= prefix.as_bytes() {
        return None;
    }
    let (last, rest) = from.split_last()?;
    let text = |bytes: &[u8]| {
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default()).into_owned()
    };
    let start = text(rest);
    let start = match last {
        // The least greater than all that start so: all of them but the last come before.
        0x21..=0x7f if start.len() == rest.len() => format!("{start}{}\u{10fffd}", char::from(*last - 1)),
        // Behind a key (a zero): exactly that key. Else as much as is text.
        _ => start,
    };
    Some(start).filter(|start| !start.is_empty() && start.as_bytes() < from)
}

/// What all keys of a span start with, as text.
pub(crate) fn common(from: &[u8], end: &[u8]) -> String {
    let same = from.iter().zip(end).take_while(|(one, other)| one == other).count();
    let bytes = from.get(..same).unwrap_or_default();
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default()).into_owned()
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

    /// The same, but of all the keys that one common prefix stands for the first at least; nothing if no road here skips the
    /// others. INVARIANT: what is left out has the same common prefix as the key before it.
    fn firsts(
        &mut self,
        _from: &[u8],
        _end: Option<&[u8]>,
        _rolled: Rolled<'_>,
        _limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<Entry>>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// What keys are rolled up by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolled<'a> {
    /// Every key starts with it.
    pub(crate) prefix: &'a [u8],
    /// Keys that have it behind the prefix are rolled up. Never empty.
    pub(crate) delimiter: &'a [u8],
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
    // Whether the common prefixes were so many in what came last that the keys behind them are skipped.
    let mut rolling = false;
    for span in spans {
        if seek < span.start {
            seek.clone_from(&span.start);
        }
        loop {
            if span.end.as_ref().is_some_and(|end| seek >= *end) {
                break;
            }
            // One more than still fits tells whether there is more.
            let room = limit + 1 - page.entries.len() - page.prefixes.len();
            let rolled = delimiter.filter(|_| rolling).map(|delimiter| Rolled { prefix, delimiter });
            let firsts = match rolled {
                Some(rolled) => rows.firsts(&seek, span.end.as_deref(), rolled, room.min(LARGE_BATCH)).await?,
                None => None,
            };
            let skipped = firsts.is_some();
            let wanted = if skipped { room.min(LARGE_BATCH) } else { batch.min(room) };
            let found = match firsts {
                Some(found) => found,
                None => rows.rows(&seek, span.end.as_deref(), wanted).await?,
            };
            let (read, mut told, mut prefixes) = (found.len(), 0usize, 0usize);
            let mut hidden = false;
            for entry in found {
                if entry.key < seek {
                    continue;
                }
                if !shows(&entry.key) {
                    seek = behind(&entry.key);
                    // Another key of the same common prefix may be told of: it was left out.
                    hidden = skipped;
                    if hidden {
                        break;
                    }
                    continue;
                }
                if page.entries.len() + page.prefixes.len() == limit {
                    page.next = last;
                    return Ok(page);
                }
                told += 1;
                if let Some(common) = common_prefix(&entry.key, prefix, delimiter) {
                    prefixes += 1;
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
            if hidden {
                rolling = false;
                continue;
            }
            if read < wanted {
                break;
            }
            batch = if told * 2 >= read { (batch * 2).min(LARGE_BATCH) } else { SMALL_BATCH };
            rolling = if skipped { prefixes * 2 >= read } else { told * 2 < read };
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

    async fn firsts(
        &mut self,
        from: &[u8],
        end: Option<&[u8]>,
        rolled: Rolled<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>> {
        // A delimiter that no other bytes come behind cannot be skipped past so.
        let Some(past) = past(rolled.delimiter) else { return Ok(None) };
        self.objects.firsts(self.bucket, (from, end), rolled, &past, limit).await.map(Some)
    }
}

fn entries(rows: &[sqlx::sqlite::SqliteRow]) -> Result<Vec<Entry>> {
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

/// Steps from each key to the least one behind its common prefix (or behind itself, if it has none): a search of the index for
/// each key told, however many lie between; `CROSS` has it look each of them up, and not read the whole bucket for them. `||` keeps bytes as they are, and `CAST` makes them bytes again.
const FIRSTS: &str = "\
WITH RECURSIVE head(key) AS ( \
    SELECT (SELECT key FROM objects WHERE bucket = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT 1) \
    UNION ALL \
    SELECT (SELECT key FROM objects WHERE bucket = ?1 \
        AND key >= CASE instr(substr(head.key, ?4 + 1), ?5) \
            WHEN 0 THEN CAST(head.key || X'00' AS BLOB) \
            ELSE CAST(substr(head.key, 1, ?4 + instr(substr(head.key, ?4 + 1), ?5) - 1) || ?6 AS BLOB) END \
        AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT 1) \
    FROM head WHERE head.key IS NOT NULL LIMIT ?7) \
SELECT objects.key, size, etag, modified_ms FROM head \
CROSS JOIN objects ON objects.bucket = ?1 AND objects.key = head.key ORDER BY objects.key";

impl Objects {
    /// A page of a bucket's keys. `shows` is asked about every key before it is told or counted.
    pub(crate) async fn list(&self, bucket: BucketId, ask: Ask<'_>, shows: impl Fn(&[u8]) -> bool) -> Result<Page> {
        page(&mut InIndex { objects: self, bucket }, ask, shows).await
    }

    /// Keys of a bucket, in order.
    pub(crate) async fn rows(
        &self,
        bucket: BucketId,
        from: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>> {
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
        entries(&query.fetch_all(&self.index).await.map_err(sql("listing the index"))?)
    }

    async fn firsts(
        &self,
        bucket: BucketId,
        (from, end): (&[u8], Option<&[u8]>),
        Rolled { prefix, delimiter }: Rolled<'_>,
        past: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let query = sqlx::query(FIRSTS)
            .bind(bucket)
            .bind(from)
            .bind(end)
            .bind(i64::try_from(prefix.len()).unwrap_or(i64::MAX))
            .bind(delimiter)
            .bind(past)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        entries(&query.fetch_all(&self.index).await.map_err(sql("listing the index"))?)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions as _};

    use super::*;

    #[tokio::test]
    async fn the_keys_of_a_common_prefix_are_not_read() {
        let mut index = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        sqlx::migrate!("./migrations").run(&mut index).await.unwrap();
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FIRSTS}"))).fetch_all(&mut index).await;
        let steps: Vec<String> = plan.unwrap().iter().map(|row| row.get("detail")).collect();
        let reads: Vec<&String> = steps.iter().filter(|step| step.contains("objects")).collect();
        assert_eq!(reads.len(), 3, "{steps:?}");
        for read in reads {
            assert!(read.starts_with("SEARCH") && read.contains("bucket=? AND key"), "{steps:?}");
        }
    }
}
