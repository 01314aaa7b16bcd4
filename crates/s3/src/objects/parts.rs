//! Parts of an upload: as they are here, and as a client lists them to complete it.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use valetkey_core::id::{AccountId, CallerId};

use crate::objects::condition::{Clash, Condition};
use crate::objects::files::FileId;

/// Every part but the last has at least so many bytes.
pub(crate) const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// An upload's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UploadId([u8; 16]);

impl UploadId {
    /// Reads the name as the index has it.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name as the index compares it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the name as clients write it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// The name as clients write it.
    pub(crate) fn shown(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// Who an upload belongs to: nobody else adds to it or ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    pub(crate) caller: CallerId,
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) size: u64,
    pub(super) file: Option<FileId>,
    pub(crate) md5: [u8; 16],
    pub(crate) checksum: Box<[u8]>,
    pub(crate) modified: Timestamp,
}

/// A part as the client lists it to complete an upload.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) number: i32,
    pub(crate) etag: Box<str>,
    /// The checksum of it, if the client told one: of the upload's algorithm.
    pub(crate) checksum: Option<Box<[u8]>>,
}

/// What the client says of the whole when it completes an upload.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) parts: Vec<Listed>,
    pub(crate) condition: Condition,
    /// Its size, if told.
    pub(crate) size: Option<u64>,
    /// Its checksum as shown, if told.
    pub(crate) checksum: Option<String>,
}

/// Why an upload could not be completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Incomplete {
    NoSuchUpload,
    /// A part is not there, or its tag or checksum is another.
    InvalidPart,
    /// A part but the last is too small.
    TooSmall,
    /// The size or the checksum of the whole is another.
    WrongSize,
    WrongChecksum,
    Clash(Clash),
}

/// Finds the listed parts among those there are.
pub(super) fn chosen(there: &[Part], listed: &[Listed]) -> std::result::Result<Vec<Part>, Incomplete> {
    let mut chosen = Vec::with_capacity(listed.len());
    for Listed { number, etag, checksum } in listed {
        let at = there.binary_search_by_key(number, |part| part.number).map_err(|_| Incomplete::InvalidPart)?;
        let part = there.get(at).ok_or(Incomplete::InvalidPart)?;
        if HEXLOWER.encode(&part.md5) != **etag || checksum.as_ref().is_some_and(|told| *told != part.checksum) {
            return Err(Incomplete::InvalidPart);
        }
        chosen.push(part.clone());
    }
    match chosen.split_last() {
        Some((_, others)) if others.iter().all(|part| part.size >= MIN_PART_BYTES) => Ok(chosen),
        Some(_) => Err(Incomplete::TooSmall),
        None => Err(Incomplete::InvalidPart),
    }
}
