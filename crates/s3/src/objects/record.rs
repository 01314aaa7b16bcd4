//! What the index knows of an object, and how it is written down.

use bytes::Bytes;
use jiff::Timestamp;

use crate::objects::checksum::{Algorithm, Kind};
use crate::objects::condition::Existing;
use crate::objects::files::{FileId, Segment};

/// Where an object's bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Data {
    /// Here; small objects only.
    Here(Bytes),
    /// In files, in order.
    Files(Box<[Segment]>),
    /// In another store; in parts of these sizes, if it came in parts.
    Gateway(Box<[u64]>),
}

impl Data {
    /// The files, the first one first.
    pub(crate) fn files(&self) -> Vec<FileId> {
        match self {
            Self::Here(_) | Self::Gateway(_) => Vec::new(),
            Self::Files(segments) => segments.iter().map(|segment| segment.file).collect(),
        }
    }
}

/// An object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// How many bytes it has.
    pub(crate) size: u64,
    /// Its entity tag, without quotes.
    pub(crate) etag: Box<str>,
    /// When it was written.
    pub(crate) modified: Timestamp,
    /// The headers it came with, to go out as they came in.
    pub(crate) headers: Headers,
    /// Its bytes.
    pub(crate) data: Data,
}

impl Record {
    /// What conditions are held against.
    pub(crate) fn existing(&self) -> Existing<'_> {
        Existing { etag: &self.etag, modified: self.modified }
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let Self { size: _, etag, modified: _, headers, data } = self;
        let data = match data {
            Data::Here(bytes) => bytes.len(),
            Data::Files(segments) => segments.len() * size_of::<Segment>(),
            Data::Gateway(parts) => parts.len() * size_of::<u64>(),
        };
        200 + etag.len() + headers.0.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() + data
    }
}

/// The headers kept with an object: content headers, the user's metadata, the checksum and its kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(Box<str>, Box<[u8]>)>);

/// The header that says how a checksum was made.
pub(crate) const CHECKSUM_TYPE: &str = "x-amz-checksum-type";

impl Headers {
    /// Adds a header.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.into(), value.into()));
    }

    /// A header's value, as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| &**own == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Puts an object's checksum among its headers, in place of one that was there.
    pub(crate) fn set_checksum(&mut self, algorithm: Algorithm, shown: &str, kind: Kind) {
        self.0.retain(|(name, _)| Algorithm::of_header(name).is_none() && &**name != CHECKSUM_TYPE);
        self.add(algorithm.header(), shown.as_bytes());
        self.add(CHECKSUM_TYPE, kind.as_str().as_bytes());
    }

    /// The object's checksum, as shown, and its kind.
    pub(crate) fn checksum(&self) -> Option<(Algorithm, &str, Kind)> {
        let (algorithm, shown) = self
            .0
            .iter()
            .find_map(|(name, value)| Some((Algorithm::of_header(name)?, std::str::from_utf8(value).ok()?)))?;
        Some((algorithm, shown, self.text(CHECKSUM_TYPE).and_then(Kind::parse).unwrap_or(Kind::FullObject)))
    }

    /// Writes the headers down: lengths before bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for bytes in self.0.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out
    }

    /// Reads what [`Headers::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn piece<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
            let (length, rest) = from.split_first_chunk::<4>()?;
            let (piece, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            *from = rest;
            Some(piece)
        }
        let mut headers = Self::default();
        while !bytes.is_empty() {
            let name = std::str::from_utf8(piece(&mut bytes)?).ok()?;
            headers.add(name, piece(&mut bytes)?);
        }
        Some(headers)
    }
}

/// Writes segments down: sixteen bytes each.
pub(crate) fn encode_segments(segments: &[Segment]) -> Vec<u8> {
    segments.iter().flat_map(|Segment { file, size }| [file.to_be_bytes(), size.to_be_bytes()]).flatten().collect()
}

/// Reads what [`encode_segments`] wrote.
pub(crate) fn decode_segments(bytes: &[u8]) -> Option<Box<[Segment]>> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| {
        pairs
            .iter()
            .map(|pair| {
                let (file, size) = pair.split_at(8);
                let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
                Segment { file: number(file).cast_signed(), size: number(size) }
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_segments_read_back_as_written() {
        let mut headers = Headers::default();
        headers.add("content-type", b"text/plain");
        headers.add("x-amz-meta-a", b"\xc3\xa9");
        headers.set_checksum(Algorithm::Crc32, "AAAA", Kind::FullObject);
        headers.set_checksum(Algorithm::Crc32c, "BBBB", Kind::Composite);
        let back = Headers::decode(&headers.encode()).unwrap();
        assert_eq!(back, headers);
        assert_eq!(back.checksum(), Some((Algorithm::Crc32c, "BBBB", Kind::Composite)));
        assert!(Headers::decode(b"\x00\x00\x00\x09abc").is_none());
        let segments = [Segment { file: 1 << 40, size: 5 }, Segment { file: 7, size: u64::MAX }];
        assert_eq!(&*decode_segments(&encode_segments(&segments)).unwrap(), &segments);
        assert!(decode_segments(&[0; 15]).is_none());
    }
}
