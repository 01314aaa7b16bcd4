//! Takes a body in: into memory while it is small, then into a file, digesting it on the way. Memory stays flat.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use s3s::{S3ErrorCode, StdError};
use valetkey_core::fair::Share;

use crate::error::{Result, crowded, of_body, of_disk, refuse};
use crate::objects::checksum::{Algorithm, Digests, Hashes};
use crate::objects::files::{Draft, Files};
use crate::objects::usage::Claim;

/// Bytes handed to the disk at once; twice as many are in memory for one upload. Below this each write costs a turn of the blocking pool
/// more than it writes.
const BATCH_BYTES: usize = 512 * 1024;

/// A body that was taken in, and that nobody sees yet.
pub(crate) struct Taken {
    /// Where it is.
    pub(crate) place: Place,
    /// How many bytes it has.
    pub(crate) size: u64,
    pub(crate) digests: Digests,
    /// What its account is charged for it until it is stored, if it may not keep any number of bytes.
    pub(crate) claim: Option<Claim>,
}

/// Where a body was taken to.
pub(crate) enum Place {
    /// Memory.
    Here(Bytes),
    /// A file, durable.
    File(Draft),
}

/// How a body is to be taken in.
pub(crate) struct Terms<'a> {
    /// The checksums to make beside the MD5, the one to keep first.
    pub(crate) algorithms: &'a [Algorithm],
    /// Bodies up to this size stay in memory.
    pub(crate) inline_bytes: usize,
    /// Larger ones are refused.
    pub(crate) max_bytes: u64,
    /// What of it is in memory; nothing for what the server itself writes, and has in memory anyway.
    pub(crate) share: Option<Share>,
}

struct Pour {
    draft: Draft,
    hashes: Hashes,
}

impl Pour {
    fn write(mut self, batch: &[Bytes]) -> io::Result<Self> {
        self.draft.append(batch)?;
        for bytes in batch {
            self.hashes.update(bytes);
        }
        Ok(self)
    }
}

/// Takes a body in.
pub(crate) async fn take(
    files: &Arc<Files>,
    mut body: impl Stream<Item = std::result::Result<Bytes, StdError>> + Unpin,
    terms: Terms<'_>,
    mut claim: Option<Claim>,
) -> Result<Taken> {
    let Terms { algorithms, inline_bytes, max_bytes, mut share } = terms;
    let mut grow = |bytes: usize| share.as_mut().is_none_or(|share| share.reach(bytes));
    let writing = "writing a data file";
    files.has_room().map_err(|error| of_disk(writing, error))?;
    let mut size: u64 = 0;
    let mut batch = Batch::default();
    // What the disk is doing while the next batch arrives.
    let mut pouring: Option<tokio::task::JoinHandle<io::Result<Pour>>> = None;
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| of_body(&*error))?;
        size += bytes.len() as u64;
        if size > max_bytes {
            return Err(too_large());
        }
        if let Some(claim) = &mut claim {
            claim.grow(bytes.len() as u64).await?;
        }
        // As many are on their way to the disk.
        let mut full = batch.bytes + bytes.len() >= BATCH_BYTES;
        if !grow(2 * (batch.bytes + bytes.len())) {
            // What is here goes now: then there is room for what came, or for none.
            if batch.bytes > 0 {
                pouring = Some(pour(files, pouring.take(), batch.take(), algorithms).await?);
            }
            if !grow(bytes.len()) {
                return Err(crowded());
            }
            full = true;
        }
        batch.push(bytes);
        if full {
            pouring = Some(pour(files, pouring.take(), batch.take(), algorithms).await?);
        }
    }
    if let Some(claim) = &mut claim {
        claim.settle().await?;
    }
    if pouring.is_none() && batch.bytes <= inline_bytes {
        let bytes = batch.joined();
        let mut hashes = Hashes::new(algorithms);
        hashes.update(&bytes);
        return Ok(Taken { place: Place::Here(bytes), size, digests: hashes.finish(), claim });
    }
    let last = pour(files, pouring, batch.take(), algorithms).await?;
    let pour = settle(last).await?;
    let (draft, digests) = files
        .blocking(move || {
            let Pour { mut draft, hashes } = pour;
            draft.sync()?;
            Ok((draft, hashes.finish()))
        })
        .await
        .map_err(|error| of_disk(writing, error))?;
    Ok(Taken { place: Place::File(draft), size, digests, claim })
}

/// The refusal of a body that is too large.
pub(crate) fn too_large() -> s3s::S3Error {
    refuse(S3ErrorCode::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size.")
}

async fn settle(pouring: tokio::task::JoinHandle<io::Result<Pour>>) -> Result<Pour> {
    pouring.await.map_err(io::Error::other).flatten().map_err(|error| of_disk("writing a data file", error))
}

async fn pour(
    files: &Arc<Files>,
    before: Option<tokio::task::JoinHandle<io::Result<Pour>>>,
    batch: Vec<Bytes>,
    algorithms: &[Algorithm],
) -> Result<tokio::task::JoinHandle<io::Result<Pour>>> {
    let before = match before {
        Some(pouring) => Some(settle(pouring).await?),
        None => None,
    };
    let (own, algorithms) = (Arc::clone(files), algorithms.to_vec());
    Ok(files.start(move || {
        let pour = match before {
            Some(pour) => pour,
            None => Pour { draft: own.create()?, hashes: Hashes::new(&algorithms) },
        };
        pour.write(&batch)
    }))
}

/// Bytes on their way to the disk.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// Pieces so small that keeping them apart would cost more memory than their bytes.
    small: BytesMut,
}

impl Batch {
    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        if bytes.len() < 1024 {
            self.small.extend_from_slice(&bytes);
        } else {
            self.settle();
            self.pieces.push(bytes);
        }
    }

    fn settle(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.settle();
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }

    fn joined(&mut self) -> Bytes {
        let mut pieces = self.take();
        if pieces.len() == 1 { pieces.pop().unwrap_or_default() } else { pieces.concat().into() }
    }
}
