//! A scope as bytes, for sealed tokens and the ledger: compact, versioned, and read back through the same parsers.

use crate::name::BucketName;
use crate::scope::{Actions, Part, Parts, Path, Paths, Rights, Scope};

/// One set of actions on one set of paths.
const ONE: u8 = 1;
/// Several. What is of one part is written as such.
const SEVERAL: u8 = 2;

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

fn take_byte(from: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = from.split_first()?;
    *from = rest;
    Some(*byte)
}

fn take_actions(from: &mut &[u8]) -> Option<Actions> {
    let (bits, rest) = from.split_first_chunk::<2>()?;
    *from = rest;
    Actions::from_bits(u16::from_be_bytes(*bits))
}

/// What every scope begins with: what is known of it without reading its paths.
fn put_head(version: u8, actions: Actions, bucket: &BucketName, out: &mut Vec<u8>) {
    out.push(version);
    out.extend_from_slice(&actions.bits().to_be_bytes());
    put(bucket.as_str().as_bytes(), out);
}

fn take_head(from: &mut &[u8]) -> Option<(u8, Actions, BucketName)> {
    let (version, actions) = (take_byte(from)?, take_actions(from)?);
    let bucket = BucketName::parse(std::str::from_utf8(take(from)?).ok()?).ok()?;
    Some((version, actions, bucket))
}

fn put_paths(paths: &Paths, out: &mut Vec<u8>) {
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

fn take_paths(from: &mut &[u8]) -> Option<Paths> {
    let (count, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    let count = u32::from_be_bytes(*count);
    if count == 0 {
        return Some(Paths::Whole);
    }
    let mut paths = Vec::new();
    for _ in 0..count {
        let kind = take_byte(from)?;
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
    Paths::only(paths).ok()
}

impl Scope {
    /// What stands at the fourth byte and on of every encoded scope of a bucket, and of no other bucket's: for a look at many of them that
    /// reads none. Rights have it there too. Only `put_head` says where a bucket is, and a test holds this to it.
    pub fn bucket_mark(bucket: &BucketName) -> Vec<u8> {
        let mut mark = Vec::with_capacity(65);
        put(bucket.as_str().as_bytes(), &mut mark);
        mark
    }

    /// Writes the scope after what is in the buffer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { bucket, part } = self;
        put_head(ONE, part.actions(), bucket, out);
        put_paths(part.paths(), out);
    }

    /// Reads a scope from the start of the bytes and moves past it; nothing if they are not one.
    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let (version, actions, bucket) = take_head(from)?;
        if version != ONE {
            return None;
        }
        Self::new(bucket, take_paths(from)?, actions)
    }
}

impl Rights {
    /// Writes the rights after what is in the buffer: those of one part as a scope is written.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (bucket, parts) = (self.bucket(), self.parts());
        if let Some(part) = parts.only() {
            put_head(ONE, part.actions(), bucket, out);
            put_paths(part.paths(), out);
            return;
        }
        put_head(SEVERAL, parts.actions(), bucket, out);
        // There are no more parts than actions.
        out.push(u8::try_from(parts.iter().count()).unwrap_or(u8::MAX));
        for part in parts.iter() {
            out.extend_from_slice(&part.actions().bits().to_be_bytes());
            put_paths(part.paths(), out);
        }
    }

    /// Reads rights from the start of the bytes and moves past them; nothing if they are none.
    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let (version, actions, bucket) = take_head(from)?;
        match version {
            ONE => Self::of(bucket, take_paths(from)?, actions),
            SEVERAL => {
                let count = take_byte(from)?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    let actions = take_actions(from)?;
                    parts.push(Part::new(take_paths(from)?, actions)?);
                }
                // Only what is written so is read: nothing says the same in two ways.
                let read = Parts::new(parts.iter().cloned()).filter(|read| read.iter().eq(&parts))?;
                (read.only().is_none() && read.actions() == actions).then(|| Self::new(bucket, read))
            }
            _ => None,
        }
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
        fn rights_read_back_as_written(
            given in prop::collection::vec(
                (1u16..1024, prop::collection::vec((0..3, prop::collection::vec(any::<u8>(), 1..20)), 0..4)), 1..6,
            ),
        ) {
            let parts = given.iter().map(|(bits, keys)| {
                let paths: Vec<Path> = keys.iter().filter_map(|(kind, bytes)| match kind {
                    0 => Path::object(bytes).ok(),
                    1 => Path::directory(bytes).ok(),
                    _ => Path::prefix(bytes).ok(),
                }).collect();
                Part::new(Paths::only(paths).unwrap_or(Paths::Whole), Actions::from_bits(*bits).unwrap()).unwrap()
            });
            let bucket = BucketName::parse("lake").unwrap();
            let rights = Rights::new(bucket.clone(), Parts::new(parts.collect::<Vec<_>>()).unwrap());
            let mut written = Vec::new();
            rights.encode(&mut written);
            prop_assert!(written[3..].starts_with(&Scope::bucket_mark(&bucket)));
            for cut in 0..written.len() {
                prop_assert_eq!(Rights::decode(&mut &written[..cut]), None);
            }
            // Those of one part are a scope's bytes, and several are no scope.
            let one = rights.parts().only().map(|part| {
                Scope::new(bucket, part.paths().clone(), part.actions()).unwrap()
            });
            prop_assert_eq!(written[0], if one.is_some() { 1 } else { 2 });
            prop_assert_eq!(Scope::decode(&mut &written[..]), one);
            written.push(7);
            let mut rest = &written[..];
            prop_assert_eq!(Rights::decode(&mut rest), Some(rights));
            prop_assert_eq!(rest, &[7]);
        }

        #[test]
        fn noise_is_not_a_scope_that_panics(mut noise in prop::collection::vec(any::<u8>(), 0..64), version in 0u8..3) {
            let _ = (Scope::decode(&mut &noise[..]), Rights::decode(&mut &noise[..]));
            // Past the bucket's name, too.
            noise.splice(0..0, [version, 0, 7].into_iter().chain(Scope::bucket_mark(&BucketName::parse("lake").unwrap())));
            let _ = (Scope::decode(&mut &noise[..]), Rights::decode(&mut &noise[..]));
        }
    }

    #[test]
    fn nothing_else_is_several_parts() {
        let bucket = BucketName::parse("lake").unwrap();
        let written = |actions: u16, parts: &[(u16, &Paths)]| {
            let mut out = Vec::new();
            put_head(2, Actions::from_bits(actions).unwrap(), &bucket, &mut out);
            out.push(u8::try_from(parts.len()).unwrap());
            for (bits, paths) in parts {
                out.extend_from_slice(&bits.to_be_bytes());
                put_paths(paths, &mut out);
            }
            Rights::decode(&mut &out[..])
        };
        let (whole, a) = (&Paths::Whole, &Paths::only([Path::directory(b"a").unwrap()]).unwrap());
        assert!(written(7, &[(3, whole), (4, a)]).is_some());
        for (why, actions, parts) in [
            ("no part", 0, &[][..]),
            ("one part", 3, &[(3, whole)]),
            ("in another order", 7, &[(4, a), (3, whole)]),
            ("an action twice", 7, &[(3, whole), (5, a)]),
            ("the same paths twice", 7, &[(3, a), (4, a)]),
            ("a part without an action", 3, &[(0, a), (3, whole)]),
            ("another sum of actions", 15, &[(3, whole), (4, a)]),
        ] {
            assert_eq!(written(actions, parts), None, "{why}");
        }
    }
}
