//! Digests of objects: the MD5 of the `ETag`, and the checksums a client may ask for.

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

/// A checksum algorithm of S3's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (iSCSI).
    Crc32c,
    /// CRC-64/NVME, the one S3 takes when nobody chose.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// How a multipart object's checksum is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Of the parts' checksums, with `-N` behind it.
    Composite,
    /// Of all the bytes.
    FullObject,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Composite, Self::FullObject].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Algorithm {
    /// Every algorithm once.
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-checksum-algorithm`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries the value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    pub(crate) fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header() == name)
    }

    /// The kind a multipart upload has when nobody chose.
    pub(crate) fn usual_kind(self) -> Kind {
        if self == Self::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }

    /// Whether there is a multipart checksum of this kind.
    pub(crate) fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::Composite => self != Self::Crc64Nvme,
            Kind::FullObject => self.crc().is_some(),
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// How many bytes a value has.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn crc_bytes(self, value: u64) -> Box<[u8]> {
        let bytes = value.to_be_bytes();
        bytes.get(8 - self.width().min(8)..).unwrap_or_default().into()
    }

    /// The checksum of the whole, of its pieces' checksums and sizes; nothing if this algorithm has no such thing.
    pub(crate) fn combine<'a>(self, pieces: impl IntoIterator<Item = (&'a [u8], u64)>) -> Option<Box<[u8]>> {
        let crc = self.crc()?;
        let mut sum = crc_fast::checksum(crc, b"");
        for (bytes, size) in pieces {
            let value = bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
            sum = crc_fast::checksum_combine(crc, sum, value, size);
        }
        Some(self.crc_bytes(sum))
    }

    /// The checksum of some bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> Box<[u8]> {
        let mut running = Running::new(self);
        running.update(bytes);
        running.finish()
    }
}

/// A checksum while it is made.
pub(super) enum Running {
    Crc(Algorithm, Box<crc_fast::Digest>),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Running {
    /// Starts one.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm.crc() {
            Some(crc) => Self::Crc(algorithm, Box::new(crc_fast::Digest::new(crc))),
            None if algorithm == Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            None => Self::Sha256(sha2::Sha256::new()),
        }
    }

    /// Takes more bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Ends it.
    pub(super) fn finish(self) -> Box<[u8]> {
        match self {
            Self::Crc(algorithm, digest) => algorithm.crc_bytes(digest.finalize()),
            Self::Sha1(digest) => digest.finalize().to_vec().into(),
            Self::Sha256(digest) => digest.finalize().to_vec().into(),
        }
    }
}

/// The digests of a body while it streams by.
pub(crate) struct Hashes {
    md5: Option<Md5>,
    checksums: Vec<(Algorithm, Running)>,
}

/// The digests of a body that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    /// For the `ETag` and `Content-MD5`.
    pub(crate) md5: [u8; 16],
    /// The checksums, the one to keep first.
    pub(crate) checksums: Vec<(Algorithm, Box<[u8]>)>,
}

impl Hashes {
    /// Starts the digests: the MD5 and these checksums, the one to keep first.
    pub(crate) fn new(algorithms: &[Algorithm]) -> Self {
        let checksums = algorithms.iter().map(|algorithm| (*algorithm, Running::new(*algorithm))).collect();
        Self { md5: Some(Md5::new()), checksums }
    }

    /// The same without the MD5: in the end it is all zeros.
    pub(crate) fn without_md5(algorithms: &[Algorithm]) -> Self {
        Self { md5: None, ..Self::new(algorithms) }
    }

    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        for (_, running) in &mut self.checksums {
            running.update(bytes);
        }
    }

    /// Ends the digests.
    pub(crate) fn finish(self) -> Digests {
        let checksums = self.checksums.into_iter().map(|(algorithm, running)| (algorithm, running.finish())).collect();
        Digests { md5: self.md5.map_or_else(<[u8; 16]>::default, |md5| md5.finalize().into()), checksums }
    }
}

impl Digests {
    /// The `ETag` of an object written at once, without its quotes.
    pub(crate) fn etag(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.md5)
    }

    /// The checksum to keep.
    pub(crate) fn kept(&self) -> &[u8] {
        self.checksums.first().map_or(&[], |(_, checksum)| checksum)
    }

    /// A checksum, if it was made.
    pub(crate) fn of(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.checksums.iter().find(|(own, _)| *own == algorithm).map(|(_, checksum)| &**checksum)
    }
}

/// The `ETag` of an object in parts, without its quotes: the MD5 of the parts' MD5s, and how many they are.
pub(crate) fn etag_of_parts<'a>(md5s: impl ExactSizeIterator<Item = &'a [u8; 16]>) -> String {
    let count = md5s.len();
    let mut sum = Md5::new();
    for md5 in md5s {
        sum.update(md5);
    }
    let bytes: [u8; 16] = sum.finalize().into();
    format!("{}-{count}", data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_the_published_values() {
        // The check value of each algorithm: the checksum of the nine digits.
        let shown = |algorithm: Algorithm| data_encoding::HEXLOWER.encode(&algorithm.of(b"123456789"));
        assert_eq!(shown(Algorithm::Crc32), "cbf43926");
        assert_eq!(shown(Algorithm::Crc32c), "e3069283");
        assert_eq!(shown(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(shown(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(shown(Algorithm::Sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    }

    #[test]
    fn pieces_combine_to_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let (one, two) = (algorithm.of(b"1234"), algorithm.of(b"56789"));
            assert_eq!(algorithm.combine([(&*one, 4), (&*two, 5)]), Some(algorithm.of(b"123456789")));
        }
        assert_eq!(Algorithm::Sha256.combine([]), None);
    }
}
