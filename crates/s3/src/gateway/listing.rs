//! Pages of keys in another store. What came with one call to it and was not told yet answers the next look.

use std::collections::{HashMap, VecDeque};

use crate::error::Result;
use crate::gateway::{Gateway, failed, shown_tag};
use crate::objects::listing::{
    self, Ask, Entry, InIndex, Page, Rolled, Rows, Span, behind, common, common_prefix, past,
};

/// Keys asked for with one call where many may stand for one common prefix: the most that S3 lists at once.
const BATCH: usize = 1000;

/// The keys of a bucket as they come.
struct There<'a> {
    behind: &'a Gateway,
    /// What every key of the listing starts with.
    whole: &'a str,
    /// What every key in `ready` starts with.
    prefix: String,
    /// Keys that came and were not told.
    ready: VecDeque<Entry>,
    /// Where the keys behind those start.
    at: Vec<u8>,
    /// Whether there are none.
    over: bool,
    /// Whether keys are rolled up into common prefixes: then what is asked for next may well have come with this.
    rolled: bool,
}

impl There<'_> {
    async fn fetch(&mut self, limit: usize) -> Result<()> {
        let own = self.behind;
        let found = own.backend.list(&own.name, &self.prefix, &self.at, limit).await;
        let found = found.map_err(|failure| failed("listing objects", &failure))?;
        self.over = found.len() < limit;
        let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(()) };
        let facts = own.objects.facts_between(own.bucket, first.key.as_bytes(), last.key.as_bytes()).await?;
        let mut facts: HashMap<Vec<u8>, _> = facts.into_iter().map(|brief| (brief.key.clone(), brief)).collect();
        self.at = behind(last.key.as_bytes());
        for entry in found {
            let brief = facts.remove(entry.key.as_bytes());
            let brief = brief.filter(|brief| brief.tag == entry.tag && brief.size == entry.size);
            self.ready.push_back(Entry {
                etag: brief.map_or_else(|| shown_tag(&entry.tag), |brief| brief.etag),
                key: entry.key.into_bytes(),
                size: entry.size,
                modified: entry.modified,
            });
        }
        Ok(())
    }
}

impl Rows for There<'_> {
    async fn rows(&mut self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let narrower = end.map(|end| common(from, end)).filter(|common| common.starts_with(self.whole));
        let prefix = narrower.unwrap_or_else(|| self.whole.to_owned());
        if prefix != self.prefix {
            self.ready.clear();
            (self.prefix, self.at, self.over) = (prefix, from.to_vec(), false);
        }
        let inside = |entry: &Entry| end.is_none_or(|end| entry.key.as_slice() < end);
        loop {
            while self.ready.front().is_some_and(|entry| entry.key.as_slice() < from) {
                self.ready.pop_front();
            }
            if self.at.as_slice() < from {
                self.at = from.to_vec();
            }
            if self.over || self.ready.len() >= limit || self.ready.back().is_some_and(|last| !inside(last)) {
                break;
            }
            self.fetch(if self.rolled { BATCH } else { limit }).await?;
        }
        let told = self.ready.iter().take(limit).take_while(|entry| inside(entry)).count();
        Ok(self.ready.drain(..told).collect())
    }

    async fn firsts(
        &mut self,
        from: &[u8],
        end: Option<&[u8]>,
        rolled: Rolled<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>> {
        let own = self.behind;
        // The store is asked about everything below the prefix: a span that is narrower could begin or end within a folder.
        let whole = Span::of_prefix(rolled.prefix);
        if rolled.delimiter != b"/" || rolled.prefix != self.whole.as_bytes() || end != whole.end.as_deref() {
            return Ok(None);
        }
        // Where that begins within one, its rest is asked for by itself: the folder comes before it.
        let within = common_prefix(from, rolled.prefix, Some(rolled.delimiter)).filter(|folder| *folder != from);
        let (mut firsts, mut start) = (Vec::new(), from.to_vec());
        if let Some(folder) = within {
            let Some(past) = past(folder) else { return Ok(None) };
            firsts = self.rows(from, Some(&past), 1).await?;
            start = past;
        }
        let found = own.backend.list_folders(&own.name, self.whole, &start, limit).await;
        let Some(found) = found.map_err(|failure| failed("listing objects", &failure))? else { return Ok(None) };
        for entry in found {
            let key = entry.key.into_bytes();
            let facts = if key.ends_with(b"/") { None } else { own.objects.facts(own.bucket, &key).await? };
            let facts = facts.filter(|facts| facts.tag == entry.tag && facts.size == entry.size);
            let etag = facts.map_or_else(|| shown_tag(&entry.tag), |facts| facts.etag.into());
            firsts.push(Entry { key, etag, size: entry.size, modified: entry.modified });
        }
        firsts.truncate(limit);
        Ok(Some(firsts))
    }
}

/// The keys there, and the markers of folders that are kept here.
struct Both<'a> {
    there: There<'a>,
    markers: InIndex<'a>,
}

impl Rows for Both<'_> {
    async fn rows(&mut self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let markers = self.markers.rows(from, end, limit).await?;
        let there = self.there.rows(from, end, limit).await?;
        let (both, mut rest) = merged(markers, there, limit);
        // What came and was not told is told next.
        while let Some(entry) = rest.pop_back() {
            self.there.ready.push_front(entry);
        }
        Ok(both)
    }

    async fn firsts(
        &mut self,
        from: &[u8],
        end: Option<&[u8]>,
        rolled: Rolled<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>> {
        let Some(there) = self.there.firsts(from, end, rolled, limit).await? else { return Ok(None) };
        let Some(markers) = self.markers.firsts(from, end, rolled, limit).await? else { return Ok(None) };
        Ok(Some(merged(markers, there, limit).0))
    }
}

/// Two lists in order as one, of so many at most; and what is left of the second.
fn merged(markers: Vec<Entry>, there: Vec<Entry>, limit: usize) -> (Vec<Entry>, VecDeque<Entry>) {
    if markers.is_empty() {
        return (there, VecDeque::new());
    }
    let (mut markers, mut there) = (VecDeque::from(markers), VecDeque::from(there));
    let mut both = Vec::new();
    while both.len() < limit {
        let next = match (markers.front(), there.front()) {
            (Some(marker), Some(other)) if marker.key < other.key => markers.pop_front(),
            (Some(_), None) => markers.pop_front(),
            (_, Some(_)) => there.pop_front(),
            (None, None) => None,
        };
        match next {
            Some(entry) => both.push(entry),
            None => break,
        }
    }
    (both, there)
}

impl Gateway {
    /// A page of the bucket's keys. `shows` is asked about every key before it is told or counted.
    pub(crate) async fn list(&self, ask: Ask<'_>, shows: impl Fn(&[u8]) -> bool) -> Result<Page> {
        // Keys there are text: none starts with what is not.
        let Ok(whole) = std::str::from_utf8(ask.prefix) else { return Ok(Page::default()) };
        let (ready, at) = (VecDeque::new(), Vec::new());
        let rolled = ask.delimiter.is_some();
        let there = There { behind: self, whole, prefix: whole.to_owned(), ready, at, over: false, rolled };
        let markers = InIndex { objects: &self.objects, bucket: self.bucket };
        listing::page(&mut Both { there, markers }, ask, shows).await
    }
}
