//! Objects of a store that somebody else runs, read with a credential that was vended for it: a table's log, its metadata.
//!
//! Bounded in time and bytes; no redirect is followed, and what a store answers is not believed further than what was asked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use valetkey_core::credential::Credential;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{Listed, ObjectFiles, VendedFiles};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind, Secret};
use valetkey_sigv4::{Slash, encode};

use crate::probe::list::Page;
use crate::probe::xml::{Proof, Request, proven};
use crate::probe::{Live, azure, code, place, unstepped};
use crate::web::{Answer, failure};

/// How long a store may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest page that is read, in bytes: a thousand of the longest keys, encoded, and what stands around them.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Objects of one page: the most that S3 lists.
const PAGE: usize = 1000;
/// Pages that are read for one answer: a store may have more to say of a page than it has objects.
const MOST_PAGES: usize = 250;

/// Reads with one credential.
struct Elsewhere {
    live: Arc<Live>,
    credential: Arc<Credential>,
}

impl VendedFiles for Live {
    fn with(self: Arc<Self>, credential: Arc<Credential>) -> Arc<dyn ObjectFiles> {
        Arc::new(Elsewhere { live: self, credential })
    }
}

fn unsent(said: String) -> Error {
    failure().note(said)
}

/// A key as it is asked for: stores take text.
fn text(key: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(key).map_err(|_| Error::new(Kind::Invalid, "a key that is not UTF-8 cannot be asked for"))
}

/// A refusal of a store. What it does not let the credential do, it will not the next time either.
fn refused(answer: &Answer) -> Error {
    let text = String::from_utf8_lossy(answer.body.reveal());
    let header = answer.header("x-ms-error-code").map(str::to_owned);
    let error = answer.refused("the storage refused to read the table", &header.unwrap_or_else(|| code(&text)), "");
    match answer.status.as_u16() {
        401 | 403 | 404 if error.kind() == Kind::Upstream => {
            let said = "the storage does not let the table be read with what was vended for it";
            let note = error.detail().unwrap_or_default().to_owned();
            Error::new(Kind::Invalid, said).note(note)
        }
        _ => error,
    }
}

impl Elsewhere {
    fn proof(&self) -> Result<Proof<'_>, &Secret<String>> {
        match &*self.credential {
            Credential::S3(keys) => Ok(Proof::Signed(keys)),
            Credential::Google(token) => Ok(Proof::Bearer(&token.access_token)),
            Credential::Azure(sas) => Err(&sas.sas_token),
        }
    }

    /// A request about an object, or about a list of them.
    fn request(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        (method, key): (Method, Option<&str>),
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Error> {
        let sas = match self.proof() {
            Ok(proof) => {
                let request = Request { method, key, query, body: b"", headers: &[] };
                return proven(&self.live, storage, &proof, bucket.as_str(), request).map_err(unsent);
            }
            Err(sas) => sas,
        };
        let mut url = place(storage).map_err(unsent)?;
        let mut path = format!("{}/{bucket}", url.path().trim_end_matches('/'));
        if let Some(key) = key {
            path.push('/');
            encode(key.as_bytes(), Slash::Kept, &mut path);
        }
        url.set_path(&unstepped(&path));
        let mut written = String::new();
        for (name, value) in query {
            written.extend([name, "="]);
            encode(value.as_bytes(), Slash::Encoded, &mut written);
            written.push('&');
        }
        // SECURITY: the address holds the credential from here on; nothing prints it, and failures are told without it.
        url.set_query(Some(&format!("{written}{}", sas.reveal())));
        let http = self.live.http(storage).map_err(unsent)?;
        Ok(http.request(method, url).header("x-ms-version", azure::VERSION))
    }

    async fn ask(&self, storage: &Storage, request: RequestBuilder, most: usize) -> Result<Answer, Error> {
        let web = self.live.web(storage).map_err(unsent)?.patient(PATIENCE).roomy(most);
        web.ask("the storage", request).await
    }

    /// A page of objects below a prefix, and where the next begins.
    async fn page(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        (prefix, after): (&str, &str),
        from: Option<&str>,
    ) -> Result<(Vec<Listed>, Option<String>), Error> {
        if self.proof().is_err() {
            // The signature of a directory lists no deeper. It cannot be told where to begin, but for the page.
            let mut query = vec![
                ("restype", "container"),
                ("comp", "list"),
                ("delimiter", "/"),
                ("maxresults", "5000"),
                ("prefix", prefix),
            ];
            query.extend(from.map(|from| ("marker", from)));
            let request = self.request(storage, bucket, (Method::GET, None), &query)?;
            let answer = self.ask(storage, request, MOST_BYTES).await?;
            return if answer.status.is_success() { blobs(&answer) } else { Err(refused(&answer)) };
        }
        let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("max-keys", "1000"), ("prefix", prefix)];
        match from {
            Some(from) => query.push(("continuation-token", from)),
            None if !after.is_empty() => query.push(("start-after", after)),
            None => {}
        }
        query.sort_unstable();
        let request = self.request(storage, bucket, (Method::GET, None), &query)?;
        let answer = self.ask(storage, request, MOST_BYTES).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        Page::read(&answer)?.listed(&answer)
    }
}

/// A page of Azure's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blobs: Entries,
    next_marker: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entries {
    #[serde(rename = "$value", default)]
    all: Vec<Entry>,
}

/// Blobs and directories stand among each other, in the order of their names.
#[derive(Deserialize)]
enum Entry {
    Blob(Blob),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Last-Modified")]
    modified: String,
    #[serde(rename = "Content-Length")]
    size: Option<u64>,
    /// `directory`, where names are a tree.
    #[serde(rename = "ResourceType")]
    kind: Option<String>,
}

fn time(answer: &Answer, text: &str) -> Result<Timestamp, Error> {
    let read = jiff::fmt::rfc2822::parse(text).map(|read| read.timestamp());
    read.map_err(|_| answer.malformed("a time that is none"))
}

fn blobs(answer: &Answer) -> Result<(Vec<Listed>, Option<String>), Error> {
    let text = std::str::from_utf8(answer.body.reveal()).map_err(|_| answer.malformed("a list that is no text"))?;
    let page: Blobs = Some(text.trim_start_matches('\u{feff}'))
        .filter(|text| text.contains("<EnumerationResults"))
        .and_then(|text| quick_xml::de::from_str(text).ok())
        .ok_or_else(|| answer.malformed("no list"))?;
    let files = page.blobs.all.into_iter().filter_map(|entry| match entry {
        Entry::Blob(blob) if blob.properties.kind.as_deref() != Some("directory") => Some(blob),
        Entry::Blob(_) | Entry::Other => None,
    });
    let listed = files.map(|Blob { name, properties }| {
        let size = properties.size.ok_or_else(|| answer.malformed("a blob without a size"))?;
        Ok(Listed { key: name.into_bytes().into(), size, modified: time(answer, &properties.modified)? })
    });
    Ok((listed.collect::<Result<_, Error>>()?, page.next_marker.filter(|marker| !marker.is_empty())))
}

/// The part of an object that was asked for: all of it came where a store knows no ranges.
fn cut(answer: &Answer, range: &Range<u64>) -> Result<Vec<u8>, Error> {
    let body = answer.body.reveal();
    if answer.status.as_u16() == 206 {
        let from = answer.header(CONTENT_RANGE.as_str()).and_then(|said| said.strip_prefix("bytes "));
        let from = from.and_then(|said| said.split('-').next()).and_then(|start| start.parse::<u64>().ok());
        if from != Some(range.start) || body.len() as u64 > range.end - range.start {
            return Err(answer.malformed("another part of the object"));
        }
        return Ok(body.clone());
    }
    let at = |end: u64| usize::try_from(end).unwrap_or(usize::MAX).min(body.len());
    Ok(body.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec())
}

#[async_trait]
impl ObjectFiles for Elsewhere {
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let range = range.unwrap_or(0..u64::MAX);
        if range.is_empty() {
            return Ok(self.head(storage, bucket, key).await?.map(|_| Vec::new()));
        }
        let request = self.request(storage, bucket, (Method::GET, Some(text(key)?)), &[])?;
        let (last, most) = if range.end == u64::MAX {
            (String::new(), MOST_BYTES)
        } else {
            let most = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            ((range.end - 1).to_string(), most.max(MOST_BYTES))
        };
        let request = request.header(RANGE, format!("bytes={}-{last}", range.start));
        let answer = self.ask(storage, request, most).await?;
        match answer.status.as_u16() {
            200 | 206 => cut(&answer, &range).map(Some),
            // There are no such bytes: it ends before.
            416 => Ok(Some(Vec::new())),
            404 if is_missing(&answer) => Ok(None),
            _ => Err(refused(&answer)),
        }
    }

    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        let request = self.request(storage, bucket, (Method::HEAD, Some(text(key)?)), &[])?;
        let answer = self.ask(storage, request, MOST_BYTES).await?;
        match answer.status.as_u16() {
            200 => {
                let size = answer.header(CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok());
                let size = size.ok_or_else(|| answer.malformed("an object without a size"))?;
                let modified = answer.header(LAST_MODIFIED.as_str()).unwrap_or_default();
                Ok(Some(Listed { key: key.into(), size, modified: time(&answer, modified)? }))
            }
            404 => Ok(None),
            _ => Err(refused(&answer)),
        }
    }

    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        let (below, begin) = (text(prefix)?, text(after)?);
        let (mut all, mut from): (Vec<Listed>, Option<String>) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let (page, next) = self.page(storage, bucket, (below, begin), from.as_deref()).await?;
            for listed in page {
                let last = all.last().map_or(after, |last: &Listed| &last.key);
                if !listed.key.starts_with(prefix) {
                    return Err(failure().note("the storage listed an object that was not asked for"));
                }
                // What is not behind the one before was seen, or a store has no order, which nothing here could read.
                if &*listed.key > last {
                    all.push(listed);
                }
            }
            if all.len() >= limit || next.is_none() {
                all.truncate(limit);
                return Ok(all);
            }
            if next == from {
                return Err(failure().note("the storage's list continues nowhere"));
            }
            from = next;
        }
        Err(Error::new(Kind::Invalid, format!("there are more than {} objects in a directory", MOST_PAGES * PAGE)))
    }
}

/// Whether the object is what is missing, rather than the place for objects.
fn is_missing(answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(answer.body.reveal());
    let code = answer.header("x-ms-error-code").map_or_else(|| code(&text), str::to_owned);
    !super::NO_BUCKET.contains(&code.as_str())
}
