//! Where the paths of a log lead: percent-encoded URIs in, keys out.
//!
//! SECURITY: a log is written by whoever may write the table. What it names is read and signed by the server, so a path
//! that could be taken for two places leads nowhere.

use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use url::Url;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{Key, TablePlace, Whereabouts};

/// The directory of a table's log.
pub(crate) const LOG_DIR: &[u8] = b"_delta_log";
/// The longest key S3 has.
const MAX_KEY_BYTES: usize = 1024;
/// What a key's bytes may be in a URL as they are.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Whether a key reads the same to everyone: no empty, `.` or `..` segment, and S3 takes its length.
pub(crate) fn is_plain(key: &[u8]) -> bool {
    key.len() <= MAX_KEY_BYTES && key.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
}

/// The key of something under a directory; the empty directory is the whole bucket.
pub(crate) fn below(directory: &[u8], relative: &[u8]) -> Key {
    if directory.is_empty() { relative.into() } else { [directory, b"/", relative].concat().into() }
}

/// What is left of a key below a directory.
pub(crate) fn relative<'k>(directory: &[u8], key: &'k [u8]) -> Option<&'k [u8]> {
    if directory.is_empty() { Some(key) } else { key.strip_prefix(directory)?.strip_prefix(b"/") }
}

/// Reads a URI's path: every `%` starts an escape, and there is no query and no fragment.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let good = match byte {
            b'?' | b'#' => false,
            b'%' => {
                rest.next().is_some_and(|b| b.is_ascii_hexdigit()) && rest.next().is_some_and(|b| b.is_ascii_hexdigit())
            }
            _ => true,
        };
        if !good {
            return None;
        }
    }
    Some(percent_decode(path.as_bytes()).collect())
}

/// Whether a key goes through a log's directory. What is there is the log of this table or of one beside or below it, and
/// to read it would show more than the version that was asked for.
fn is_log(key: &[u8]) -> bool {
    key.split(|byte| *byte == b'/').any(|segment| segment == LOG_DIR)
}

/// A file of the table by what its key has behind the root.
fn inside(place: &TablePlace, relative: &[u8]) -> Whereabouts {
    let key = below(&place.root, relative);
    if relative.is_empty() || is_log(relative) || !is_plain(&key) {
        return Whereabouts::Outside;
    }
    Whereabouts::Inside(key)
}

/// Where a path of a log leads.
pub(crate) fn whereabouts(place: &TablePlace, path: &str) -> Whereabouts {
    let scheme = path.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    let Some(scheme) = scheme else {
        return decoded(path).map_or(Whereabouts::Outside, |relative| inside(place, &relative));
    };
    let absolute = || {
        if !["s3", "s3a", "s3n"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (bucket, key) = path.get(scheme.len()..)?.strip_prefix("://")?.split_once('/')?;
        let (bucket, key) = (BucketName::parse(bucket).ok()?, decoded(key)?);
        if !is_plain(&key) {
            return None;
        }
        if bucket == place.bucket
            && let Some(relative) = relative(&place.root, &key)
        {
            return Some(inside(place, relative));
        }
        if is_log(&key) {
            return None;
        }
        Some(Whereabouts::Elsewhere { bucket, key: key.into() })
    };
    absolute().unwrap_or(Whereabouts::Outside)
}

/// The object that a deletion vector is in; nothing if it is inline.
pub(crate) fn vector_file(place: &TablePlace, storage_type: &str, path_or_inline: &str) -> Option<Whereabouts> {
    match storage_type {
        "i" => None,
        "p" => Some(whereabouts(place, path_or_inline)),
        "u" => Some(vector_name(path_or_inline).map_or(Whereabouts::Outside, |name| inside(place, name.as_bytes()))),
        _ => Some(Whereabouts::Outside),
    }
}

/// The name of a file of deletion vectors: a directory (maybe none) and a UUID in Z85, which is its last 20 characters.
fn vector_name(text: &str) -> Option<String> {
    let (directory, uuid) = text.split_at_checked(text.len().checked_sub(20)?)?;
    if !directory.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=')) {
        return None;
    }
    let hex = HEXLOWER.encode(&z85(uuid.as_bytes())?);
    let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
    let file = format!("deletion_vector_{}.bin", parts.join("-"));
    Some(if directory.is_empty() { file } else { format!("{directory}/{file}") })
}

/// Reads Z85: five characters for four bytes. Source: RFC 32 of `ZeroMQ`.
fn z85(text: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let (groups, rest) = text.as_chunks::<5>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 4);
    for group in groups {
        let mut number = 0u64;
        for digit in group {
            number = number * 85 + DIGITS.iter().position(|known| known == digit)? as u64;
        }
        bytes.extend_from_slice(&u32::try_from(number).ok()?.to_be_bytes());
    }
    Some(bytes)
}

/// The URL by which the kernel knows a directory or an object of a table's bucket. No byte of a key means anything in it.
pub(crate) fn url_of(bucket: &BucketName, key: &[u8]) -> String {
    format!("s3://{bucket}/{}", percent_encode(key, PLAIN))
}

/// The key of such a URL.
pub(crate) fn key_of(bucket: &BucketName, url: &Url) -> Option<Vec<u8>> {
    let ours = url.scheme() == "s3"
        && url.host_str() == Some(bucket.as_str())
        && url.port().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if ours { decoded(url.path().strip_prefix('/')?) } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use valetkey_core::id::StorageId;
    use valetkey_core::name::Name;
    use valetkey_core::storage::{Storage, StorageKind};
    use valetkey_core::time::Lifetime;

    use super::*;

    fn place(root: &[u8]) -> TablePlace {
        let storage = Storage {
            id: StorageId::from_bytes([0; 16]),
            name: Name::parse("s").unwrap(),
            kind: StorageKind::Embedded,
            endpoint: "http://s3.localhost".into(),
            internal_endpoint: None,
            region: "us-east-1".into(),
            min_lifetime: Lifetime::secs(1),
            max_lifetime: Lifetime::secs(3600),
            external: None,
        };
        TablePlace {
            storage: Arc::new(storage),
            bucket: BucketName::parse("lake").unwrap(),
            root: root.into(),
            credential: None,
        }
    }

    fn elsewhere(bucket: &str, key: &str) -> Whereabouts {
        Whereabouts::Elsewhere { bucket: BucketName::parse(bucket).unwrap(), key: key.as_bytes().into() }
    }

    #[test]
    fn paths_lead_where_the_protocol_says() {
        let place = place(b"dir/tbl");
        for (path, key) in [
            ("part-0.parquet", "dir/tbl/part-0.parquet"),
            ("a=1/b=x%20y/part.parquet", "dir/tbl/a=1/b=x y/part.parquet"),
            ("a=x%2520y/p.parquet", "dir/tbl/a=x%20y/p.parquet"),
            ("c=x:y/p.parquet", "dir/tbl/c=x:y/p.parquet"),
            ("c=%C3%A9/p", "dir/tbl/c=\u{e9}/p"),
            ("a b", "dir/tbl/a b"),
            ("...", "dir/tbl/..."),
            ("a%2Fb", "dir/tbl/a/b"),
            ("_change_data/cdc-0.parquet", "dir/tbl/_change_data/cdc-0.parquet"),
            ("s3://lake/dir/tbl/p%20q", "dir/tbl/p q"),
            ("S3A://lake/dir/tbl/p", "dir/tbl/p"),
        ] {
            assert_eq!(whereabouts(&place, path), Whereabouts::Inside(key.as_bytes().into()), "{path}");
        }
        for (path, place_) in [
            ("s3://other/dir/tbl/p", elsewhere("other", "dir/tbl/p")),
            ("s3n://lake/dir/tbl2/p", elsewhere("lake", "dir/tbl2/p")),
            ("s3://lake/dir/p", elsewhere("lake", "dir/p")),
            ("s3://lake/dir/tbl", elsewhere("lake", "dir/tbl")),
        ] {
            assert_eq!(whereabouts(&place, path), place_, "{path}");
        }
    }

    #[test]
    fn what_climbs_out_or_is_ambiguous_leads_nowhere() {
        let place = place(b"dir/tbl");
        let long = "x".repeat(1025);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "//lake/dir/tbl/p",
            "../tbl2/p",
            "a/../../tbl2/p",
            "a/../b",
            "./p",
            "a//b",
            "a/",
            "%2e%2e/p",
            "..%2Fp",
            "a%2F..%2F..%2Fp",
            "a%2f%2fb",
            "p%",
            "p%2",
            "p%zz",
            "p?versionId=1",
            "p#x",
            "_delta_log/00000000000000000000.json",
            "%5Fdelta_log/00000000000000000000.json",
            "s3://lake/dir/tbl/_delta_log/00000000000000000000.json",
            "below/_delta_log/00000000000000000000.json",
            "s3://lake/aux/_delta_log/00000000000000000000.json",
            "s3://lake/dir/tbl/../tbl2/p",
            "s3://lake/dir/tbl/%2e%2e/tbl2/p",
            "s3://lake//dir/tbl/p",
            "s3://lake",
            "s3:/lake/p",
            "s3://user@lake/dir/tbl/p",
            "s3://lake:80/dir/tbl/p",
            "s3:///dir/tbl/p",
            "s3://LAKE/dir/tbl/p",
            "gs://lake/dir/tbl/p",
            "file:///dir/tbl/p",
            "https://lake/dir/tbl/p",
            "data:x",
            &long,
        ] {
            assert_eq!(whereabouts(&place, path), Whereabouts::Outside, "{path}");
        }
    }

    #[test]
    fn deletion_vectors_are_found_by_their_descriptor() {
        // The example of the Delta protocol, "Derived Fields" of deletion vectors.
        let place = place(b"t");
        let found = vector_file(&place, "u", "ab^-aqEH.-t@S}K{vb[*k^");
        let key = b"t/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        assert_eq!(found, Some(Whereabouts::Inside(key[..].into())));
        let key = b"t/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        assert_eq!(vector_file(&place, "u", "^-aqEH.-t@S}K{vb[*k^"), Some(Whereabouts::Inside(key[..].into())));
        assert_eq!(vector_file(&place, "p", "s3://lake/t/x.bin"), Some(Whereabouts::Inside(b"t/x.bin"[..].into())));
        assert_eq!(vector_file(&place, "i", "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"), None);
        for bad in [
            "",
            "short",
            "../^-aqEH.-t@S}K{vb[*k^",
            "a/b^-aqEH.-t@S}K{vb[*k^",
            "\u{e9}aaaaaaaaaaaaaaaaaaa",
            "~~~~~~~~~~~~~~~~~~~~",
        ] {
            assert_eq!(vector_file(&place, "u", bad), Some(Whereabouts::Outside), "{bad}");
        }
        assert_eq!(vector_file(&place, "x", "t/x.bin"), Some(Whereabouts::Outside));
    }

    proptest! {
        #[test]
        fn whatever_a_log_says_stays_under_the_root_or_says_that_it_does_not(
            root in "[a-z%. ]{1,4}(/[a-z]{1,4}){0,2}",
            path in prop_oneof![
                ".*",
                "(s3|S3A|s3n|gs)://(lake|other)/[a-z./%2eEfF]{0,30}",
                "((\\.|%2e|%2E|/|%2f|%2F|a|_delta_log|%5f){0,8})",
            ],
        ) {
            let place = place(root.as_bytes());
            let out = whereabouts(&place, &path);
            match out {
                Whereabouts::Inside(key) => {
                    let below = relative(&place.root, &key);
                    prop_assert!(below.is_some_and(|below| !below.is_empty() && !is_log(below)));
                    prop_assert!(is_plain(&key) || !is_plain(root.as_bytes()));
                }
                Whereabouts::Elsewhere { bucket, key } => {
                    prop_assert!(is_plain(&key));
                    prop_assert!(bucket != place.bucket || relative(&place.root, &key).is_none());
                }
                Whereabouts::Outside => {}
            }
        }

        #[test]
        fn keys_survive_the_kernels_urls(key in proptest::collection::vec(any::<u8>(), 1..40)) {
            let bucket = BucketName::parse("lake").unwrap();
            if is_plain(&key) {
                let url = Url::parse(&url_of(&bucket, &key)).unwrap();
                prop_assert_eq!(key_of(&bucket, &url), Some(key));
            }
        }

        #[test]
        fn an_encoded_path_leads_to_the_key_it_was_made_of(relative in "[ -~\u{e0}-\u{ff}]{1,30}") {
            let place = place(b"dir/tbl");
            let written = percent_encode(relative.as_bytes(), PLAIN).to_string();
            let expected = inside(&place, relative.as_bytes());
            prop_assert_eq!(whereabouts(&place, &written), expected);
        }
    }
}
