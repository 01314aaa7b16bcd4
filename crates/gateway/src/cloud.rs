//! Stores of objects over HTTP: another S3, Azure, Google.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::{self, Path};
use object_store::{Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, UpdateVersion};
use valetkey_s3::{Backend, Entry, Failure, Forward, Found, Header, Opened, Upload, Version, When, Window, before};

use crate::Terms;
use crate::failure::{self, text};
use crate::http::{self, Expect, bare, patience};
use crate::key::{self, Rules};
use crate::objects::{self, META, attribute, modified};

/// Keys that one call lists at most.
const PAGE: usize = 1000;
/// Look-ups at once of what a listing cannot tell apart.
const LOOKS: usize = 16;

/// Pages in a row that may bring nothing new.
const IDLE: usize = 100;

/// Whose store it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    S3,
    Azure,
    Gcs,
    Memory,
}

/// One bucket of a store.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) lists: Arc<dyn PaginatedListStore>,
}

/// How a bucket is opened.
type Open = Box<dyn Fn(&str) -> Result<Store, Error> + Send + Sync>;

/// A store over HTTP.
pub(crate) struct Cloud {
    kind: Kind,
    /// Buckets that have another name there.
    names: BTreeMap<String, String>,
    open: Open,
    stores: Mutex<HashMap<String, Store>>,
    /// The longest that one call may take, with all it is tried again.
    wait: Duration,
    /// The way for requests as they are, if it speaks S3.
    forward: Option<Arc<dyn Forward>>,
}

impl Cloud {
    /// A store whose buckets are opened so.
    pub(crate) fn new(kind: Kind, names: BTreeMap<String, String>, open: Open) -> Self {
        Self { kind, names, open, stores: Mutex::default(), wait: Terms::default().wait, forward: None }
    }

    /// The same, waited for so long.
    pub(crate) fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// The same, with a way for requests as they are.
    pub(crate) fn speaking(self, forward: Arc<dyn Forward>) -> Self {
        Self { forward: Some(forward), ..self }
    }

    /// Does something of which a client waits for the end, and that sends so many bytes.
    async fn within<T>(&self, bytes: usize, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let patience = patience(self.wait, bytes as u64);
        tokio::time::timeout(patience, work)
            .await
            .unwrap_or_else(|_| Err(Failure::Unavailable(format!("no answer within {} s", patience.as_secs()))))
    }

    fn store(&self, bucket: &str) -> Result<Store, Failure> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(bucket) {
            return Ok(store.clone());
        }
        let name = self.names.get(bucket).map_or(bucket, String::as_str);
        let store = (self.open)(name).map_err(|error| Failure::Failed(text(&error)))?;
        stores.insert(bucket.to_owned(), store.clone());
        Ok(store)
    }

    fn rules(&self) -> Rules {
        if self.kind == Kind::Azure { Rules::Azure } else { Rules::Plain }
    }

    fn path(&self, key: &str) -> Result<Path, Failure> {
        key::path(key, self.rules()).map_err(Failure::Unfit)
    }

    /// A tag as the store wants to hear it.
    fn quoted(tag: &str) -> String {
        if tag.starts_with("W/") { tag.to_owned() } else { format!("\"{tag}\"") }
    }

    fn attributes(&self, headers: &[Header]) -> Attributes {
        let mut attributes = Attributes::new();
        for (name, value) in headers.iter().filter(|(name, value)| self.keeps(name, value)) {
            if let Some(attribute) = attribute(name) {
                attributes.insert(attribute, value.clone().into());
            }
        }
        attributes
    }

    /// Objects of size zero may be what some tools leave where they made a folder (`folder/`), whose key the library cuts: those are
    /// not there under the key that was told.
    async fn there(&self, store: &Store, entries: Vec<Entry>) -> Result<Vec<Entry>, Failure> {
        if self.kind == Kind::Memory || entries.iter().all(|entry| entry.size > 0) {
            return Ok(entries);
        }
        let looked = futures::stream::iter(entries).map(|entry| async {
            if entry.size > 0 {
                return Ok(Some(entry));
            }
            let found = objects::head(&*store.objects, &self.path(&entry.key)?).await?;
            Ok(found.map(|_| entry))
        });
        let looked: Vec<Option<Entry>> = looked.buffered(LOOKS).try_collect().await?;
        Ok(looked.into_iter().flatten().collect())
    }
}

/// The key that the library could not read, if that is what failed.
fn unreadable(error: &Error) -> Option<&str> {
    match error {
        Error::InvalidPath { source: path::Error::EmptySegment { path } | path::Error::BadSegment { path, .. } } => {
            Some(path)
        }
        _ => None,
    }
}

/// How far a listing has come. A store that does not understand where to go on begins anew each time, and would for ever.
#[derive(Default)]
struct Progress {
    greatest: String,
    tokens: HashSet<String>,
    idle: usize,
    /// The last key that was passed because it could not be read.
    passed: Option<String>,
}

impl Progress {
    fn none() -> Failure {
        Failure::Failed("the storage's listing comes no further: it repeats itself".to_owned())
    }

    /// Takes note of a page, and of the token behind it.
    fn page<'a>(&mut self, keys: impl Iterator<Item = &'a str>, token: Option<&str>) -> Result<(), Failure> {
        let known = token.is_some_and(|token| !self.tokens.insert(token.to_owned()));
        match keys.max().filter(|key| *key > self.greatest.as_str()) {
            Some(key) => (self.greatest, self.idle) = (key.to_owned(), 0),
            None => self.idle += 1,
        }
        if self.idle > 0 && (known || self.idle > IDLE) { Err(Self::none()) } else { Ok(()) }
    }

    /// Takes note of a key that is passed.
    fn pass(&mut self, key: &str) -> Result<(), Failure> {
        if self.passed.as_deref().is_some_and(|passed| key <= passed) {
            return Err(Self::none());
        }
        self.passed = Some(key.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Backend for Cloud {
    fn fits(&self, key: &str) -> Result<(), &'static str> {
        key::path(key, self.rules()).map(drop)
    }

    fn keeps(&self, name: &str, value: &str) -> bool {
        // What comes back from a header is trimmed, and some signatures see one space where there are two.
        let plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && value.trim() == value
            && !value.is_empty()
            && !value.contains("  ");
        plain
            && match name.strip_prefix(META) {
                // Names there are those of variables.
                Some(own) if self.kind == Kind::Azure => {
                    own.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                        && own.bytes().next().is_some_and(|first| !first.is_ascii_digit())
                }
                Some(own) => !own.is_empty(),
                // Google unpacks what says that it is packed, and tells another size.
                None => attribute(name).is_some() && !(self.kind == Kind::Gcs && name == "content-encoding"),
            }
    }

    fn forward(&self) -> Option<Arc<dyn Forward>> {
        self.forward.clone()
    }

    async fn probe(&self, bucket: &str) -> Result<(), Failure> {
        let store = self.store(bucket)?;
        let options =
            PaginatedListOptions { max_keys: Some(1), extensions: Expect::Listing(1).said(), ..Default::default() };
        let asked = async {
            match store.lists.list_paginated(None, options).await {
                Err(error) if unreadable(&error).is_none() => Err(failure::of(&error)),
                Ok(_) | Err(_) => Ok(()),
            }
        };
        self.within(0, asked).await
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        let (store, path) = (self.store(bucket)?, self.path(key)?);
        self.within(0, objects::head(&*store.objects, &path)).await
    }

    async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Result<Option<Opened>, Failure> {
        let only = only.map(|version| Self::quoted(&version.tag));
        let (store, path) = (self.store(bucket)?, self.path(key)?);
        self.within(0, objects::read(&*store.objects, &path, window, only)).await
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        headers: &[Header],
        when: When,
    ) -> Result<Version, Failure> {
        let (store, path) = (self.store(bucket)?, self.path(key)?);
        let update = |tag: String, id| PutMode::Update(UpdateVersion { e_tag: Some(tag), version: id });
        let mode = match &when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            When::Is(Version { tag, id }) => update(Self::quoted(tag), id.clone()),
        };
        let attributes = || self.attributes(headers);
        let put = objects::put(&*store.objects, &path, bytes.clone(), mode, attributes());
        match (self.within(bytes.len(), put).await, when) {
            // Ceph takes the quotes for a part of the tag, and so no quoted one is ever right. Asked without them only if it is
            // what is there: a store that ignores what it does not understand would else overwrite another version.
            (Err(Failure::Clash), When::Is(version)) if self.kind == Kind::S3 => {
                let found = self.within(0, objects::head(&*store.objects, &path)).await?;
                if found.is_none_or(|found| found.version != version) {
                    return Err(Failure::Clash);
                }
                let mode = update(version.tag, version.id);
                self.within(bytes.len(), objects::put(&*store.objects, &path, bytes.clone(), mode, attributes())).await
            }
            (put, _) => put,
        }
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &[Header],
        size: Option<u64>,
    ) -> Result<Box<dyn Upload>, Failure> {
        let begun = objects::begin(self.store(bucket)?.objects, self.path(key)?, size, self.attributes(headers));
        self.within(0, begun).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let (store, path) = (self.store(bucket)?, self.path(key)?);
        let deleted = async {
            let mut deleted = store.objects.delete(&path).await;
            // Done twice is as good as done once. The library does not know that of its bulk deletes.
            if deleted.as_ref().is_err_and(|error| http::is_broken_off(error)) {
                deleted = store.objects.delete(&path).await;
            }
            match deleted {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failure::of(&error)),
            }
        };
        self.within(0, deleted).await
    }

    async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Result<Vec<Entry>, Failure> {
        let store = self.store(bucket)?;
        let mut entries: Vec<Entry> = Vec::new();
        let (mut offset, mut token) = (before(from, prefix), None);
        let (mut size, mut progress) = (limit.min(PAGE), Progress::default());
        // The library drops the blob that is named as the prefix is.
        let asked = match prefix.char_indices().next_back() {
            Some((last, _)) if self.kind == Kind::Azure => prefix.get(..last).unwrap_or_default(),
            _ => prefix,
        };
        loop {
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(size),
                page_token: token.clone(),
                extensions: Expect::Listing(size).said(),
                ..PaginatedListOptions::default()
            };
            let asked = Some(asked).filter(|asked| !asked.is_empty());
            let page = async { Ok(store.lists.list_paginated(asked, options).await) };
            let page = match self.within(0, page).await? {
                Ok(page) => page,
                Err(error) => match unreadable(&error) {
                    None => return Err(failure::of(&error)),
                    // One key that we cannot hold fails the whole page: pages are halved until it stands alone, and passed.
                    Some(_) if size > 1 => {
                        size = size.div_ceil(2);
                        continue;
                    }
                    Some(key) => {
                        progress.pass(key)?;
                        (offset, token, size) = (Some(key.to_owned()), None, limit.min(PAGE));
                        continue;
                    }
                },
            };
            let keys = page.result.objects.iter().map(|meta| meta.location.as_ref());
            progress.page(keys, page.page_token.as_deref())?;
            let mut told = Vec::new();
            for meta in page.result.objects {
                let key = meta.location.as_ref();
                let last = told.last().or(entries.last()).map(|entry: &Entry| entry.key.as_str());
                // SECURITY: keys that the library has cut come out of order, or do not start as was asked.
                let fits = key.as_bytes() >= from && key.starts_with(prefix) && last.is_none_or(|last| key > last);
                if fits && self.fits(key).is_ok() {
                    let (tag, modified) = (bare(meta.e_tag.as_deref()), modified(&meta));
                    told.push(Entry { key: key.to_owned(), size: meta.size, tag, modified });
                }
            }
            entries.extend(self.there(&store, told).await?);
            token = page.page_token;
            if entries.len() >= limit || token.is_none() {
                entries.truncate(limit);
                return Ok(entries);
            }
        }
    }

    async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        // What the library drops of Azure's listings is not missed behind a slash: no blob that fits is named so.
        if self.kind == Kind::Azure && !prefix.is_empty() && !prefix.ends_with('/') {
            return Ok(None);
        }
        let store = self.store(bucket)?;
        let (offset, mut token) = (before(from, prefix), None);
        let (size, mut progress) = (limit.min(PAGE), Progress::default());
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let options = PaginatedListOptions {
                offset: offset.clone(),
                delimiter: Some("/".into()),
                max_keys: Some(size),
                page_token: token.clone(),
                extensions: Expect::Listing(size).said(),
            };
            let asked = Some(prefix).filter(|asked| !asked.is_empty());
            let page = async { Ok(store.lists.list_paginated(asked, options).await) };
            let page = match self.within(0, page).await? {
                Ok(page) => page,
                // A key or a folder that we cannot hold: found by listing every key.
                Err(error) if unreadable(&error).is_some() => return Ok(None),
                Err(error) => return Err(failure::of(&error)),
            };
            let objects = page.result.objects;
            let folders = page.result.common_prefixes.iter().map(|folder| format!("{folder}/"));
            let folders: Vec<String> = folders.filter(|folder| folder.starts_with(prefix)).collect();
            let keys = objects.iter().map(|meta| meta.location.as_ref()).chain(folders.iter().map(String::as_str));
            progress.page(keys, page.page_token.as_deref())?;
            let fits = |key: &str| key.as_bytes() >= from && key.starts_with(prefix) && self.fits(key).is_ok();
            let mut told: Vec<Entry> = Vec::new();
            for meta in objects.into_iter().filter(|meta| fits(meta.location.as_ref())) {
                let (tag, modified) = (bare(meta.e_tag.as_deref()), modified(&meta));
                told.push(Entry { key: meta.location.to_string(), size: meta.size, tag, modified });
            }
            let mut told = self.there(&store, told).await?;
            for key in folders {
                if key.strip_suffix('/').is_some_and(|folder| self.fits(folder).is_ok()) && key.as_bytes() >= from {
                    told.push(Entry { key, size: 0, tag: String::new(), modified: Timestamp::UNIX_EPOCH });
                }
            }
            told.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            // SECURITY: what the library has cut comes out of order.
            let last = entries.last().map(|entry| entry.key.clone());
            entries.extend(told.into_iter().filter(|entry| last.as_ref().is_none_or(|last| entry.key > *last)));
            token = page.page_token;
            if entries.len() >= limit || token.is_none() {
                entries.truncate(limit);
                return Ok(Some(entries));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ListResult;
    use object_store::ObjectMeta;
    use object_store::list::PaginatedListResult;
    use object_store::memory::InMemory;

    use super::*;

    /// Lists raw keys as the library does: cuts slashes at their ends, and fails a page with a key it does not know.
    struct Raw(Vec<(&'static str, u64)>, usize);

    #[async_trait]
    impl PaginatedListStore for Raw {
        async fn list_paginated(
            &self,
            prefix: Option<&str>,
            opts: PaginatedListOptions,
        ) -> object_store::Result<PaginatedListResult> {
            let behind = opts.page_token.or(opts.offset).unwrap_or_default();
            let keys = self.0.iter().filter(|(key, _)| key.starts_with(prefix.unwrap_or_default()) && **key > *behind);
            let limit = opts.max_keys.unwrap_or(1000).min(self.1);
            let page: Vec<_> = keys.clone().take(limit).collect();
            let page_token = page.last().filter(|_| keys.count() > limit).map(|(key, _)| (*key).to_owned());
            let mut objects = Vec::new();
            for (key, size) in page {
                let last_modified = std::time::SystemTime::UNIX_EPOCH.into();
                let (location, e_tag) = (Path::parse(key)?, Some("\"t\"".to_owned()));
                objects.push(ObjectMeta { location, last_modified, size: *size, e_tag, version: None });
            }
            let extensions = object_store::Extensions::new();
            Ok(PaginatedListResult { result: ListResult { common_prefixes: vec![], objects, extensions }, page_token })
        }
    }

    async fn listed(kind: Kind, keys: &[(&'static str, u64)], page: usize, ask: (&str, &[u8], usize)) -> Vec<String> {
        let objects = Arc::new(InMemory::new());
        for (key, size) in keys {
            // What can be read is there under its own name.
            if let Ok(path) = key::path(key, Rules::Plain) {
                let bytes = vec![0; usize::try_from(*size).unwrap()];
                objects.put(&path, bytes.into()).await.unwrap();
            }
        }
        let store = Store { objects, lists: Arc::new(Raw(keys.to_vec(), page)) };
        let cloud = Cloud::new(kind, BTreeMap::new(), Box::new(move |_| Ok(store.clone())));
        let (prefix, from, limit) = ask;
        let entries = cloud.list("lake", prefix, from, limit).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect()
    }

    #[tokio::test]
    async fn keys_that_cannot_be_told_fail_no_listing_and_become_no_others() {
        let keys = [
            ("a", 1),
            ("a//b", 1),
            ("a/b", 1),
            ("b/", 0),
            ("b/../c", 1),
            ("b/d", 0),
            ("c//", 1),
            ("c//x", 1),
            ("d", 1),
            ("e/", 0),
        ];
        for page in [1, 2, 3, 1000] {
            for limit in [3, 1000] {
                let got = listed(Kind::S3, &keys, page, ("", b"", limit)).await;
                assert_eq!(got, ["a", "a/b", "b/d", "d"][..got.len()], "{page} {limit}");
                assert_eq!(got.len(), limit.min(4));
            }
            assert_eq!(listed(Kind::S3, &keys, page, ("b/", b"", 9)).await, ["b/d"]);
            assert_eq!(listed(Kind::S3, &keys, page, ("", b"a/b\0", 9)).await, ["b/d", "d"]);
            assert_eq!(listed(Kind::S3, &keys, page, ("", b"a/b", 1)).await, ["a/b"]);
            assert_eq!(listed(Kind::S3, &keys, page, ("", b"b0", 9)).await, ["d"]);
            assert_eq!(listed(Kind::Azure, &keys, page, ("a/b", b"", 9)).await, ["a/b"]);
        }
    }

    /// A store that goes wrong about where a listing goes on.
    #[derive(Clone, Copy, Debug)]
    enum Stuck {
        /// Always the first page and the same token.
        Token,
        /// Always the first page, with ever other tokens.
        Tokens,
        /// Begins anew behind a key that cannot be read.
        Offset,
        /// One of two pages in turn, the later keys first.
        Unsorted,
        /// No keys, but a token.
        Empty,
    }

    struct Circle(Stuck, std::sync::atomic::AtomicUsize);

    #[async_trait]
    impl PaginatedListStore for Circle {
        async fn list_paginated(
            &self,
            _: Option<&str>,
            _: PaginatedListOptions,
        ) -> object_store::Result<PaginatedListResult> {
            let count = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert!(count < 1000, "{:?}", self.0);
            let (key, token) = match self.0 {
                Stuck::Token => (Some("a"), "t".to_owned()),
                Stuck::Tokens => (Some("a"), count.to_string()),
                Stuck::Offset => (Some("a//b"), "t".to_owned()),
                Stuck::Unsorted => (Some(if count.is_multiple_of(2) { "b" } else { "a" }), (count % 2).to_string()),
                Stuck::Empty => (None, count.to_string()),
            };
            let mut objects = Vec::new();
            if let Some(key) = key {
                let last_modified = std::time::SystemTime::UNIX_EPOCH.into();
                objects.push(ObjectMeta {
                    location: Path::parse(key)?,
                    last_modified,
                    size: 1,
                    e_tag: None,
                    version: None,
                });
            }
            let result = ListResult { common_prefixes: vec![], objects, extensions: object_store::Extensions::new() };
            Ok(PaginatedListResult { result, page_token: Some(token) })
        }
    }

    #[tokio::test]
    async fn a_listing_that_comes_no_further_fails() {
        for stuck in [Stuck::Token, Stuck::Tokens, Stuck::Offset, Stuck::Unsorted, Stuck::Empty] {
            for from in [&b""[..], b"c"] {
                let lists = Arc::new(Circle(stuck, std::sync::atomic::AtomicUsize::new(0)));
                let store = Store { objects: Arc::new(InMemory::new()), lists };
                let cloud = Cloud::new(Kind::S3, BTreeMap::new(), Box::new(move |_| Ok(store.clone())));
                let failure = cloud.list("lake", "", from, 1000).await.unwrap_err();
                let Failure::Failed(said) = failure else { panic!("{stuck:?}: {failure:?}") };
                assert!(said.contains("comes no further"), "{said}");
            }
        }
    }

    #[tokio::test]
    async fn many_keys_that_cannot_be_told_are_passed() {
        let names: Vec<String> = (0..300).map(|at| format!("a/{at:04}//x")).collect();
        let mut keys: Vec<(&'static str, u64)> = names.iter().map(|name| (&*name.clone().leak(), 1)).collect();
        keys.push(("b", 1));
        assert_eq!(listed(Kind::S3, &keys, 1000, ("", b"", 9)).await, ["b"]);
    }

    #[test]
    fn a_store_keeps_what_comes_back_from_it_as_it_was() {
        let cloud =
            |kind| Cloud::new(kind, BTreeMap::new(), Box::new(|_| Err(Error::NotSupported { source: "x".into() })));
        for (name, value, s3, azure) in [
            ("content-type", "a/b", true, true),
            ("cache-control", "no-store, private", true, true),
            ("expires", "soon", false, false),
            ("x-amz-checksum-crc32", "AAAAAA==", false, false),
            ("x-amz-meta-colour", "blue", true, true),
            ("x-amz-meta-my-colour", "blue", true, false),
            ("x-amz-meta-1", "blue", true, false),
            ("x-amz-meta-colour", "bl\u{e9}u", false, false),
            ("x-amz-meta-colour", "light  blue", false, false),
            ("x-amz-meta-colour", " blue", false, false),
            ("x-amz-meta-colour", "", false, false),
            ("x-amz-meta-", "blue", false, false),
        ] {
            assert_eq!(cloud(Kind::S3).keeps(name, value), s3, "{name}: {value}");
            assert_eq!(cloud(Kind::Azure).keeps(name, value), azure, "{name}: {value}");
        }
    }
}
