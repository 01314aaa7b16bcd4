//! The library's calls in our words, the same for every store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, WriteMultipart,
};
use valetkey_s3::{Failure, Found, Header, Opened, Upload, Version, Window};

use crate::failure::{self, text};
use crate::http::{Expect, bare};

/// Bytes of one piece of an upload; a store takes at most 10,000 pieces, each but the last at least 5 MiB.
const PIECE: usize = 8 * 1024 * 1024;
/// Pieces that an object of known size is cut into at most.
const PIECES: u64 = 9_000;
/// Bytes of an upload that are on their way at once.
const ON_THE_WAY: usize = 8 * 1024 * 1024;

/// What names of user metadata start with.
pub(crate) const META: &str = "x-amz-meta-";

/// What the library calls a header.
pub(crate) fn attribute(name: &str) -> Option<Attribute> {
    Some(match name {
        "cache-control" => Attribute::CacheControl,
        "content-disposition" => Attribute::ContentDisposition,
        "content-encoding" => Attribute::ContentEncoding,
        "content-language" => Attribute::ContentLanguage,
        "content-type" => Attribute::ContentType,
        name => Attribute::Metadata(name.strip_prefix(META)?.to_owned().into()),
    })
}

fn headers(attributes: &Attributes) -> Vec<Header> {
    let header = |(attribute, value): (&Attribute, &AttributeValue)| {
        let name = match attribute {
            Attribute::CacheControl => "cache-control".to_owned(),
            Attribute::ContentDisposition => "content-disposition".to_owned(),
            Attribute::ContentEncoding => "content-encoding".to_owned(),
            Attribute::ContentLanguage => "content-language".to_owned(),
            Attribute::ContentType => "content-type".to_owned(),
            Attribute::Metadata(name) => format!("{META}{}", name.to_ascii_lowercase()),
            _ => return None,
        };
        Some((name, value.to_string()))
    };
    let mut headers: Vec<_> = attributes.iter().filter_map(header).collect();
    headers.sort();
    headers
}

pub(crate) fn modified(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or_default()
}

/// What the library says of an object, in our words.
pub(crate) fn found(meta: &ObjectMeta, attributes: &Attributes) -> Found {
    let version = Version { tag: bare(meta.e_tag.as_deref()), id: meta.version.clone() };
    Found { size: meta.size, version, modified: modified(meta), headers: headers(attributes) }
}

/// What a store says of an object; nothing if there is none.
pub(crate) async fn head(store: &dyn ObjectStore, path: &Path) -> Result<Option<Found>, Failure> {
    let options = GetOptions { head: true, extensions: Expect::Object.said(), ..GetOptions::default() };
    match store.get_opts(path, options).await {
        Ok(got) => Ok(Some(found(&got.meta, &got.attributes))),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failure::of(&error)),
    }
}

/// Opens bytes of an object.
pub(crate) async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    window: Window,
    only: Option<String>,
) -> Result<Option<Opened>, Failure> {
    let range = match window {
        Window::Whole => None,
        Window::Range(range) if range.end == u64::MAX => Some(GetRange::Offset(range.start)),
        Window::Range(range) => Some(GetRange::Bounded(range)),
        Window::Last(count) => Some(GetRange::Suffix(count)),
    };
    let options = GetOptions { range, if_match: only, extensions: Expect::Object.said(), ..GetOptions::default() };
    match store.get_opts(path, options).await {
        Ok(got) => {
            let (found, range) = (found(&got.meta, &got.attributes), got.range.clone());
            // The library reads on and on behind the end of a file that is shorter than it was.
            let ended = |bytes: &Bytes| bytes.is_empty();
            let bytes = got.into_stream().map_err(|error| failure::of(&error));
            let bytes = bytes.try_take_while(move |bytes| std::future::ready(Ok(!ended(bytes)))).boxed();
            Ok(Some(Opened { found, range, bytes }))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failure::of(&error)),
    }
}

async fn version(store: &dyn ObjectStore, path: &Path, put: PutResult) -> Result<Version, Failure> {
    let tag = bare(put.e_tag.as_deref());
    // Ceph tells none of an object in parts.
    if !tag.is_empty() {
        return Ok(Version { tag, id: put.version });
    }
    let found = head(store, path).await?;
    found.map(|found| found.version).ok_or_else(|| Failure::Failed("what was written is not there".to_owned()))
}

/// Puts an object at once.
pub(crate) async fn put(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
    mode: PutMode,
    attributes: Attributes,
) -> Result<Version, Failure> {
    let conditional = mode != PutMode::Overwrite;
    let options = PutOptions { mode, attributes, ..PutOptions::default() };
    match store.put_opts(path, PutPayload::from(bytes), options).await {
        Ok(put) => version(store, path, put).await,
        Err(error) => Err(match failure::of(&error) {
            // Two writers at once, and nobody asked for a condition.
            Failure::Clash if !conditional => Failure::Throttled(text(&error)),
            failure => failure,
        }),
    }
}

/// Begins an upload.
pub(crate) async fn begin(
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: Option<u64>,
    attributes: Attributes,
) -> Result<Box<dyn Upload>, Failure> {
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let upload = store.put_multipart_opts(&path, options).await.map_err(|error| failure::of(&error))?;
    let least = size.unwrap_or(0).div_ceil(PIECES);
    let piece = PIECE.max(usize::try_from(least).unwrap_or(PIECE)).next_multiple_of(1024 * 1024);
    let write = WriteMultipart::new_with_chunk_size(upload, piece);
    Ok(Box::new(Flow { write, piece, filled: 0, at_once: (ON_THE_WAY / piece).max(1), store, path }))
}

/// An upload on its way.
struct Flow {
    write: WriteMultipart,
    /// Bytes of a piece, and how many of the next one are there.
    piece: usize,
    filled: usize,
    /// Pieces on their way at once.
    at_once: usize,
    store: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl Upload for Flow {
    async fn push(&mut self, bytes: Bytes) -> Result<(), Failure> {
        // The next piece fills while others are on their way; it waits for them when it is to go.
        self.filled += bytes.len();
        if self.filled >= self.piece {
            self.filled %= self.piece;
            self.write.wait_for_capacity(self.at_once).await.map_err(|error| failure::of(&error))?;
        }
        self.write.put(bytes);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        self.write.wait_for_capacity(0).await.map_err(|error| failure::of(&error))
    }

    async fn complete(self: Box<Self>) -> Result<Version, Failure> {
        let Self { write, store, path, .. } = *self;
        let put = write.finish().await.map_err(|error| match failure::of(&error) {
            Failure::Clash => Failure::Throttled(text(&error)),
            failure => failure,
        })?;
        version(&*store, &path, put).await
    }

    async fn abort(self: Box<Self>) {
        if let Err(error) = self.write.abort().await {
            let error = text(&error);
            tracing::warn!(error, "an upload to the storage behind the gateway could not be ended: {error}");
        }
    }
}
