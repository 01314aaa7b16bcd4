//! Holds an object's bytes against the digests that were kept of them, while they are read: disks forget.
//!
//! What can be proven is a whole object: by the checksum kept with it or by its entity tag; of one in parts by the checksums or
//! tags of its parts, which those are made of. Of a piece of an object nothing was kept.

use std::collections::VecDeque;

use data_encoding::{BASE64, HEXLOWER};
use md5::{Digest as _, Md5};

use crate::objects::checksum::{Algorithm, Kind, Running};
use crate::objects::record::{Data, Record};

/// Which digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    Md5,
    Checksum(Algorithm),
}

enum Sum {
    Md5(Md5),
    Checksum(Running),
}

impl Sort {
    fn start(self) -> Sum {
        match self {
            Self::Md5 => Sum::Md5(Md5::new()),
            Self::Checksum(algorithm) => Sum::Checksum(Running::new(algorithm)),
        }
    }
}

impl Sum {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(sum) => sum.update(bytes),
            Self::Checksum(sum) => sum.update(bytes),
        }
    }

    fn finish(self) -> Box<[u8]> {
        match self {
            Self::Md5(sum) => sum.finalize().to_vec().into(),
            Self::Checksum(sum) => sum.finish(),
        }
    }
}

/// What is kept of an object, while its bytes go by in order.
pub(crate) struct Proof {
    sort: Sort,
    expected: Box<[u8]>,
    sum: Sum,
    /// Where the digest is one of the digests of parts: those that ended, the sizes of those that did not begin, and what is left of
    /// the one between.
    parts: Option<Parts>,
}

struct Parts {
    ended: Vec<u8>,
    next: VecDeque<u64>,
    left: u64,
}

/// A digest and, behind a `-`, of how many parts.
fn in_parts(shown: &str) -> (&str, Option<usize>) {
    match shown.rsplit_once('-') {
        Some((digest, count)) => (digest, count.parse().ok()),
        None => (shown, None),
    }
}

/// The sizes of an object's parts, if there are so many. Those without bytes have no file.
fn sizes(data: &Data, count: usize) -> Option<VecDeque<u64>> {
    let mut sizes: VecDeque<u64> = match data {
        Data::Here(bytes) if bytes.is_empty() => VecDeque::new(),
        Data::Here(bytes) => [bytes.len() as u64].into(),
        Data::Files(segments) => segments.iter().map(|segment| segment.size).collect(),
        Data::Gateway(parts) => parts.iter().copied().collect(),
    };
    // Only the last one may be so small.
    if sizes.len() + 1 == count {
        sizes.push_back(0);
    }
    (sizes.len() == count).then_some(sizes)
}

impl Proof {
    fn new(sort: Sort, expected: Option<Vec<u8>>, parts: Option<VecDeque<u64>>) -> Option<Self> {
        let width = match sort {
            Sort::Md5 => 16,
            Sort::Checksum(algorithm) => algorithm.width(),
        };
        let expected = expected.filter(|expected| expected.len() == width)?.into();
        let parts = parts.map(|mut next| {
            let left = next.pop_front().unwrap_or(0);
            Parts { ended: Vec::new(), next, left }
        });
        Some(Self { sort, expected, sum: sort.start(), parts })
    }

    /// By the checksum kept with an object.
    pub(crate) fn by_checksum(record: &Record) -> Option<Self> {
        let (algorithm, shown, kind) = record.headers.checksum()?;
        let (digest, count) = in_parts(shown);
        let parts = match kind {
            Kind::FullObject => None,
            Kind::Composite => Some(sizes(&record.data, count?)?),
        };
        Self::new(Sort::Checksum(algorithm), BASE64.decode(digest.as_bytes()).ok(), parts)
    }

    /// By its entity tag, which is ours of objects here only.
    pub(crate) fn by_tag(record: &Record) -> Option<Self> {
        let (digest, count) = in_parts(&record.etag);
        let parts = match count {
            Some(count) => Some(sizes(&record.data, count)?),
            None => None,
        };
        Self::new(Sort::Md5, HEXLOWER.decode(digest.as_bytes()).ok(), parts)
    }

    /// By whatever costs least: the checksum, or else the tag.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        Self::by_checksum(record).or_else(|| Self::by_tag(record))
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let Some(parts) = &mut self.parts else { return self.sum.update(bytes) };
        while !bytes.is_empty() {
            let here = usize::try_from(parts.left).unwrap_or(usize::MAX).min(bytes.len());
            let (own, rest) = bytes.split_at(here);
            self.sum.update(own);
            parts.left -= own.len() as u64;
            bytes = rest;
            if parts.left > 0 {
                continue;
            }
            let Some(next) = parts.next.pop_front() else {
                // More bytes than the parts have: they go into the last one, whose digest then does not fit.
                self.sum.update(bytes);
                return;
            };
            parts.left = next;
            parts.ended.extend_from_slice(&std::mem::replace(&mut self.sum, self.sort.start()).finish());
        }
    }

    /// Whether the bytes were those that the digest is of.
    pub(crate) fn holds(self) -> bool {
        let Self { sort, expected, sum, parts } = self;
        let Some(Parts { mut ended, next, left }) = parts else { return sum.finish() == expected };
        ended.extend_from_slice(&sum.finish());
        for _ in &next {
            ended.extend_from_slice(&sort.start().finish());
        }
        let mut whole = sort.start();
        whole.update(&ended);
        left == 0 && next.iter().all(|size| *size == 0) && whole.finish() == expected
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::objects::checksum::{Hashes, etag_of_parts};
    use crate::objects::files::Segment;
    use crate::objects::record::Headers;

    /// An object of parts of these sizes, or in one piece.
    fn record(bytes: &[u8], parts: Option<&[usize]>, algorithm: Algorithm, kind: Kind) -> Record {
        let mut headers = Headers::default();
        let whole = |bytes: &[u8]| {
            let mut hashes = Hashes::new(&[algorithm]);
            hashes.update(bytes);
            hashes.finish()
        };
        let (etag, shown, data) = match parts {
            None => {
                let digests = whole(bytes);
                (digests.etag(), BASE64.encode(digests.kept()), Data::Files([Segment { file: 1, size: 0 }].into()))
            }
            Some(parts) => {
                let mut rest = bytes;
                let digests: Vec<_> = parts
                    .iter()
                    .map(|size| {
                        let (own, behind) = rest.split_at(*size);
                        rest = behind;
                        whole(own)
                    })
                    .collect();
                let shown = match kind {
                    Kind::FullObject => BASE64.encode(&algorithm.of(bytes)),
                    Kind::Composite => {
                        let all: Vec<u8> = digests.iter().flat_map(|digests| digests.kept().to_vec()).collect();
                        format!("{}-{}", BASE64.encode(&algorithm.of(&all)), parts.len())
                    }
                };
                let segments = parts.iter().filter(|size| **size > 0);
                let segments = segments.map(|size| Segment { file: 1, size: *size as u64 }).collect();
                (etag_of_parts(digests.iter().map(|digests| &digests.md5)), shown, Data::Files(segments))
            }
        };
        headers.set_checksum(algorithm, &shown, kind);
        Record { size: bytes.len() as u64, etag: etag.into(), modified: Timestamp::UNIX_EPOCH, headers, data }
    }

    fn holds(proof: Option<Proof>, bytes: &[u8], step: usize) -> bool {
        let mut proof = proof.unwrap();
        bytes.chunks(step).for_each(|bytes| proof.update(bytes));
        proof.holds()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn what_was_kept_holds_of_those_bytes_and_of_no_others(
            parts in proptest::option::of(proptest::collection::vec(1usize..40, 1..5)),
            last_is_empty: bool,
            algorithm in proptest::sample::select(&Algorithm::ALL[..]),
            kind in proptest::sample::select(&[Kind::FullObject, Kind::Composite][..]),
            flipped: proptest::sample::Index,
            bit in 0u8..8,
            step in 1usize..50,
        ) {
            let mut parts = parts;
            if let Some(parts) = parts.as_mut().filter(|_| last_is_empty) {
                parts.push(0);
            }
            let kind = if parts.is_none() || !algorithm.allows(kind) { Kind::FullObject } else { kind };
            prop_assume!(parts.is_none() || algorithm.allows(kind));
            let size = parts.as_ref().map_or(57, |parts| parts.iter().sum());
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            let record = record(&bytes, parts.as_deref(), algorithm, kind);
            for proof in [Proof::of, Proof::by_checksum, Proof::by_tag] {
                prop_assert!(holds(proof(&record), &bytes, step));
                let mut other = bytes.clone();
                other[flipped.index(size)] ^= 1 << bit;
                prop_assert!(!holds(proof(&record), &other, step));
                prop_assert!(!holds(proof(&record), &bytes[1..], step));
                prop_assert!(!holds(proof(&record), &[&bytes[..], b"x"].concat(), step));
            }
        }
    }

    #[test]
    fn what_nothing_was_kept_of_is_not_proven() {
        let plain = |etag: &str, data| Record {
            size: 3,
            etag: etag.into(),
            modified: Timestamp::UNIX_EPOCH,
            headers: Headers::default(),
            data,
        };
        let here = || Data::Here(Bytes::from_static(b"abc"));
        // A store's own tag says nothing of the bytes.
        assert!(Proof::by_checksum(&plain("900150983cd24fb0d6963f7d28e17f72", here())).is_none());
        assert!(holds(Proof::of(&plain("900150983cd24fb0d6963f7d28e17f72", here())), b"abc", 2));
        for odd in ["", "abc", "0x8DA", "900150983cd24fb0d6963f7d28e17f72-3", "900150983cd24fb0d6963f7d28e17f72-x-y"] {
            assert!(Proof::of(&plain(odd, here())).is_none(), "{odd}");
        }
        assert!(Proof::of(&plain("900150983cd24fb0d6963f7d28e17f72-2", Data::Gateway(Box::default()))).is_none());
    }
}
