//! A scope as bytes, for sealed tokens and the ledger: compact, versioned, and read back through the same parsers.

use crate::name::BucketName;
use crate::scope::{Actions, Path, Paths, Scope};

const VERSION: u8 = 1;

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    // A key has at most 1,024 bytes and a bucket's name 63: both fit.
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = from.split_first_chunk::<2>()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *from = rest;
    Some(bytes)
}

impl Scope {
    /// What stands at the fourth byte and on of every encoded scope of a bucket, and of no other bucket's: for a look at many of them that
    /// reads none. Only [`Scope::encode`] says where a bucket is, and a test holds this to it.
    pub fn bucket_mark(bucket: &BucketName) -> Vec<u8> {
        let mut mark = Vec::with_capacity(65);
        put(bucket.as_str().as_bytes(), &mut mark);
        mark
    }

    /// Writes the scope after what is in the buffer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { bucket, paths, actions } = self;
        out.push(VERSION);
        out.extend_from_slice(&actions.bits().to_be_bytes());
        put(bucket.as_str().as_bytes(), out);
        match paths {
            Paths::Whole => out.extend_from_slice(&0u32.to_be_bytes()),
            Paths::Only(set) => {
                out.extend_from_slice(&u32::try_from(set.len()).unwrap_or(u32::MAX).to_be_bytes());
                for path in set.iter() {
                    out.push(match path {
                        Path::Object(_) => b'o',
                        Path::Directory(_) => b'd',
                        Path::Prefix(_) => b'p',
                    });
                    put(path.bytes(), out);
                }
            }
        }
    }

    /// Reads a scope from the start of the bytes and moves past it; nothing if they are not one.
    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let (version, rest) = from.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (bits, rest) = rest.split_first_chunk::<2>()?;
        let actions = Actions::from_bits(u16::from_be_bytes(*bits))?;
        *from = rest;
        let bucket = BucketName::parse(std::str::from_utf8(take(from)?).ok()?).ok()?;
        let (count, rest) = from.split_first_chunk::<4>()?;
        *from = rest;
        let count = u32::from_be_bytes(*count);
        if count == 0 {
            return Self::new(bucket, Paths::Whole, actions);
        }
        let mut paths = Vec::new();
        for _ in 0..count {
            let (kind, rest) = from.split_first()?;
            *from = rest;
            let bytes = take(from)?;
            paths.push(
                match kind {
                    b'o' => Path::object(bytes),
                    b'd' => Path::directory(bytes),
                    b'p' => Path::prefix(bytes),
                    _ => return None,
                }
                .ok()?,
            );
        }
        Self::new(bucket, Paths::only(paths).ok()?, actions)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_scope_reads_back_as_written(
            keys in prop::collection::vec((0..3, prop::collection::vec(any::<u8>(), 1..40)), 0..20),
            bits in 1u16..1024,
        ) {
            let paths: Vec<Path> = keys.iter().filter_map(|(kind, bytes)| match kind {
                0 => Path::object(bytes).ok(),
                1 => Path::directory(bytes).ok(),
                _ => Path::prefix(bytes).ok(),
            }).collect();
            let paths = Paths::only(paths).unwrap_or(Paths::Whole);
            let scope = Scope::new(BucketName::parse("lake").unwrap(), paths, Actions::from_bits(bits).unwrap()).unwrap();
            let mut written = Vec::new();
            scope.encode(&mut written);
            let mut rest = &written[..];
            prop_assert_eq!(Scope::decode(&mut rest), Some(scope));
            prop_assert!(rest.is_empty());
            prop_assert!(written[3..].starts_with(&Scope::bucket_mark(&BucketName::parse("lake").unwrap())));
            for cut in 0..written.len() {
                prop_assert_eq!(Scope::decode(&mut &written[..cut]), None);
            }
        }

        #[test]
        fn noise_is_not_a_scope_that_panics(noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Scope::decode(&mut &noise[..]);
        }
    }
}
