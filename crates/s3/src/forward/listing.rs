//! Listings: a page of the storage's is a page of ours where all that is under its prefix may be told. On a scope's border pages are put
//! together of what may (see [`crate::objects::listing`]), from what is read here.

use std::collections::VecDeque;

use http::header::HeaderMap;
use http::{Method, Response};
use jiff::Timestamp;
use s3s::{Body, S3ErrorCode};
use valetkey_core::fair::Share;
use valetkey_core::scope::Action;
use valetkey_sigv4::{decode, encode_path};

use crate::error::{Result, denied, refuse};
use crate::forward::context::{Cx, written};
use crate::forward::road::{DOCUMENT_TIME, MAX_DOCUMENT, Road};
use crate::forward::xml::Node;
use crate::gate::session::Live;
use crate::gateway::port::{Asking, Sending};
use crate::objects::listing::{self, Ask, Entry, Page, Rolled, Rows, Span, before, behind, common, past};

const LISTING: &str = "listing objects";
const ROOT: &str = "ListBucketResult";
/// The most keys on a page.
const MAX_KEYS: usize = 1000;
/// How many bytes of a page each key may have: one of 1,024 bytes has up to six times as many where each is a reference.
const MAX_ENTRY: usize = 8 * 1024;

/// The elements of a listing. Whose an object is at the storage is not told.
const LISTED: &[&str] = &[
    "ChecksumAlgorithm",
    "ChecksumType",
    "CommonPrefixes",
    "Contents",
    "ContinuationToken",
    "Delimiter",
    "ETag",
    "EncodingType",
    "IsTruncated",
    "Key",
    "KeyCount",
    "LastModified",
    "Marker",
    "MaxKeys",
    "Name",
    "NextContinuationToken",
    "NextMarker",
    "Prefix",
    "Size",
    "StartAfter",
    "StorageClass",
];
/// Those that are written as the encoding says.
const NAMES: &[&str] = &["Delimiter", "Key", "Marker", "NextMarker", "Prefix", "StartAfter"];

/// A name as it is, from how the storage wrote it.
fn plain(text: &str, encoded: bool) -> Option<String> {
    if encoded { decode(&text.replace('+', " ")).ok() } else { Some(text.to_owned()) }
}

/// Whether a document says that names in it are encoded. Older storages do not know how.
fn is_encoded(node: &Node) -> bool {
    node.text_of("EncodingType").is_some_and(|kind| kind.trim() == "url")
}

/// Writes the names in a document as the client wants them. Gives nothing if one cannot be read.
fn renamed(node: &mut Node, encoded: bool, wanted: bool) -> Option<()> {
    for child in &mut node.children {
        if NAMES.contains(&child.name.as_str()) && child.children.is_empty() {
            match (encoded, wanted) {
                (true, true) | (false, false) => {}
                (true, false) => child.text = plain(&child.text, true)?,
                (false, true) => child.text = encode_path(&child.text),
            }
        } else {
            renamed(child, encoded, wanted)?;
        }
    }
    Some(())
}

impl Cx {
    pub(super) async fn list(self, version_2: bool) -> Result<Response<Body>> {
        let wanted = match self.parameter("encoding-type") {
            None => false,
            Some("url") => true,
            Some(_) => {
                return Err(refuse(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request"));
            }
        };
        let bad =
            || refuse(S3ErrorCode::InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647");
        let keys = match self.parameter("max-keys").filter(|text| !text.is_empty()) {
            Some(text) => usize::try_from(text.parse::<i32>().map_err(|_| bad())?).map_err(|_| bad())?.min(MAX_KEYS),
            None => MAX_KEYS,
        };
        let most = keys.to_string();
        let mut query = vec![("encoding-type", "url"), ("max-keys", most.as_str())];
        let names: &[&str] = if version_2 {
            &["prefix", "delimiter", "continuation-token", "start-after"]
        } else {
            &["prefix", "delimiter", "marker"]
        };
        for name in names {
            query.extend(self.parameter(name).map(|value| (*name, value)));
        }
        if version_2 {
            query.push(("list-type", "2"));
        }
        let live = self.session.live().await?;
        let answer = self.road.read(&live, LISTING, self.asking(Method::GET, &query, HeaderMap::new())).await?;
        let (mut share, limit) = (self.share()?, MAX_DOCUMENT + keys * MAX_ENTRY);
        let limits = (Some(&mut share), DOCUMENT_TIME);
        let mut node = self.road.document(LISTING, answer, (ROOT, limit), limits).await?;
        let encoded = is_encoded(&node);
        self.told(&mut node, encoded)?;
        renamed(&mut node, encoded, wanted).ok_or_else(|| self.road.strange(LISTING, "a name in it cannot be read"))?;
        node.set("Name", &self.bucket);
        node.set("MaxKeys", &most);
        node.set("ContinuationToken", self.parameter("continuation-token").unwrap_or_default());
        if !wanted {
            node.children.retain(|child| child.name != "EncodingType");
        } else if !encoded {
            node.children.push(Node::of("EncodingType", "url"));
        }
        if self.parameter("fetch-owner") == Some("true") {
            let id = Node::of("ID", self.session.origin.account.to_string());
            let owner = Node { name: "Owner".to_owned(), text: String::new(), children: vec![id] };
            for child in node.children.iter_mut().filter(|child| child.name == "Contents") {
                child.children.push(owner.clone());
            }
        }
        Ok(written(&node.document(), HeaderMap::new()))
    }

    /// Leaves in a page what may be told. The storage was asked for nothing else; asked again because it is not believed.
    fn told(&self, node: &mut Node, encoded: bool) -> Result<()> {
        let prefix = self.parameter("prefix").unwrap_or_default();
        let scope =
            self.session.reach.listing(&self.bucket, prefix.as_bytes(), Action::ListBucket).ok_or_else(denied)?;
        node.only(LISTED);
        let more = node.text_of("IsTruncated").is_some_and(|text| text.trim() == "true");
        if more && node.text_of("KeyCount").is_some() && node.text_of("NextContinuationToken").is_none_or(str::is_empty)
        {
            return Err(self.road.strange(LISTING, "it continues, and does not say where"));
        }
        let before = node.children.len();
        node.children.retain(|child| match child.name.as_str() {
            "Contents" => child.text_of("Key").and_then(|key| plain(key, encoded)).is_some_and(|key| {
                key.starts_with(prefix) && scope.covers(&self.bucket, key.as_bytes(), Action::ListBucket)
            }),
            "CommonPrefixes" => {
                child.text_of("Prefix").and_then(|key| plain(key, encoded)).is_some_and(|key| key.starts_with(prefix))
            }
            _ => true,
        });
        if node.children.len() < before {
            return Err(self.road.strange(LISTING, "it lists what was not asked for"));
        }
        Ok(())
    }
}

/// The keys of a bucket as they come.
struct There<'a> {
    road: &'a Road,
    live: &'a Live,
    /// What it may take of memory.
    share: Option<&'a mut Share>,
    bucket: &'a str,
    now: Timestamp,
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
    /// Whether what is asked for next may well have come with this.
    rolled: bool,
}

impl There<'_> {
    /// Asks for a page of the keys from one on; and whether there are more.
    async fn page(&mut self, prefix: &str, from: &[u8], delimiter: &str, limit: usize) -> Result<(Vec<Entry>, bool)> {
        let limit = limit.clamp(1, MAX_KEYS);
        let most = limit.to_string();
        let start = before(from, prefix);
        let mut query =
            vec![("encoding-type", "url"), ("list-type", "2"), ("max-keys", most.as_str()), ("prefix", prefix)];
        query.extend(start.as_deref().map(|start| ("start-after", start)));
        query.extend(
            Some(delimiter).filter(|delimiter| !delimiter.is_empty()).map(|delimiter| ("delimiter", delimiter)),
        );
        let asking = asking(self.bucket, None, Method::GET, &query, self.now);
        let answer = self.road.read(self.live, LISTING, asking).await?;
        let limits = (self.share.as_deref_mut(), DOCUMENT_TIME);
        let node = self.road.document(LISTING, answer, (ROOT, MAX_DOCUMENT + limit * MAX_ENTRY), limits).await?;
        let (encoded, mut entries) = (is_encoded(&node), Vec::new());
        for child in &node.children {
            let entry = match child.name.as_str() {
                "Contents" => entry(child, encoded),
                "CommonPrefixes" => child.text_of("Prefix").and_then(|text| plain(text, encoded)).map(folder),
                _ => continue,
            };
            entries.push(entry.ok_or_else(|| self.road.strange(LISTING, "an entry of it cannot be read"))?);
        }
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|one, other| one.key == other.key);
        let truncated = node.text_of("IsTruncated").is_some_and(|text| text.trim() == "true");
        let last = entries.last().map(|entry| entry.key.as_slice());
        if entries.iter().any(|entry| !entry.key.starts_with(prefix.as_bytes()))
            || (truncated && last.is_none_or(|last| last < from))
        {
            return Err(self.road.strange(LISTING, "it lists what was not asked for"));
        }
        entries.retain(|entry| entry.key.as_slice() >= from);
        Ok((entries, truncated))
    }
}

fn entry(child: &Node, encoded: bool) -> Option<Entry> {
    Some(Entry {
        key: plain(child.text_of("Key")?, encoded)?.into_bytes(),
        size: child.text_of("Size")?.trim().parse().ok()?,
        etag: child.text_of("ETag").unwrap_or_default().trim().trim_matches('"').to_owned(),
        modified: child.text_of("LastModified")?.trim().parse().ok()?,
    })
}

/// A folder, for whatever is in it.
fn folder(key: String) -> Entry {
    Entry { key: key.into_bytes(), size: 0, etag: String::new(), modified: Timestamp::UNIX_EPOCH }
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
            let asked = if self.rolled { MAX_KEYS } else { limit };
            let (prefix, at) = (self.prefix.clone(), self.at.clone());
            let (found, more) = self.page(&prefix, &at, "", asked).await?;
            self.over = !more;
            if let Some(last) = found.last() {
                self.at = behind(&last.key);
            }
            self.ready.extend(found);
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
        // The storage is asked about everything below the prefix: a span that is narrower could begin or end within a folder.
        let whole = Span::of_prefix(rolled.prefix);
        let begins = listing::common_prefix(from, rolled.prefix, Some(rolled.delimiter)).is_none();
        if rolled.prefix != self.whole.as_bytes() || end != whole.end.as_deref() || !begins {
            return Ok(None);
        }
        let Ok(delimiter) = std::str::from_utf8(rolled.delimiter) else { return Ok(None) };
        let (mut firsts, mut at) = (Vec::new(), from.to_vec());
        while firsts.len() < limit {
            let (found, more) = self.page(self.whole, &at, delimiter, limit - firsts.len()).await?;
            let Some(last) = found.last().map(|last| last.key.clone()) else { break };
            firsts.extend(found);
            let common = listing::common_prefix(&last, rolled.prefix, Some(rolled.delimiter)) == Some(&last);
            match if common { past(&last) } else { Some(behind(&last)) } {
                Some(next) if more => at = next,
                _ => break,
            }
        }
        firsts.truncate(limit);
        Ok(Some(firsts))
    }
}

fn asking(bucket: &str, key: Option<&str>, method: Method, query: &[(&str, &str)], now: Timestamp) -> Asking {
    Asking {
        method,
        bucket: bucket.to_owned(),
        key: key.map(str::to_owned),
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        headers: HeaderMap::new(),
        source: None,
        body: Sending::Whole(bytes::Bytes::new()),
        works: false,
        now,
    }
}

/// A page of a bucket's keys, of what may be told. `shows` is asked about every key before it is told or counted.
pub(crate) async fn list(
    road: &Road,
    (live, share): (&Live, Option<&mut Share>),
    (bucket, now): (&str, Timestamp),
    ask: Ask<'_>,
    shows: impl Fn(&[u8]) -> bool,
) -> Result<Page> {
    // Keys there are text: none starts with what is not.
    let Ok(whole) = std::str::from_utf8(ask.prefix) else { return Ok(Page::default()) };
    let (prefix, rolled) = (whole.to_owned(), ask.delimiter.is_some());
    let (ready, at) = (VecDeque::new(), Vec::new());
    let mut there = There { road, live, share, bucket, now, whole, prefix, ready, at, over: false, rolled };
    listing::page(&mut there, ask, shows).await
}

/// Whether there is such an object.
pub(crate) async fn exists(road: &Road, live: &Live, (bucket, now): (&str, Timestamp), key: &str) -> Result<bool> {
    match road.read(live, "looking an object up", asking(bucket, Some(key), Method::HEAD, &[], now)).await {
        Ok(_) => Ok(true),
        Err(error) if *error.code() == S3ErrorCode::NoSuchKey => Ok(false),
        Err(error) => Err(error),
    }
}
