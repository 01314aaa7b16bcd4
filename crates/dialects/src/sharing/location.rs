//! What a client calls a location, read back to keys: a table's directory, an auxiliary one, or a part of either.
//!
//! SECURITY: what is vended is exactly what is read here, and it is echoed as it was asked. So anything that somebody else could
//! read in another way is refused, rather than repaired: encoded slashes and dots, empty segments, queries, fragments.

use percent_encoding::percent_decode_str;
use valetkey_core::share::{SharedTable, TableRoot};
use valetkey_core::{Error, Kind};

/// The longest location that is read, in bytes.
const LONGEST: usize = 4096;

/// The schemes that mean the same store, each group in one row; the first is the one we write.
const ALIASES: [&[&str]; 4] = [&["s3", "s3a", "s3n"], &["abfss", "abfs"], &["wasbs", "wasb"], &["gs"]];

/// Whether two schemes mean the same kind of store.
fn alike(one: &str, other: &str) -> bool {
    let row = |scheme: &str| ALIASES.iter().position(|row| row.iter().any(|own| own.eq_ignore_ascii_case(scheme)));
    row(one).is_some() && row(one) == row(other)
}

fn foreign() -> Error {
    let said = "the requested location must be the same as or under this table's configured storage location";
    Error::new(Kind::Invalid, said).at("location")
}

fn unclear(what: &'static str) -> Error {
    Error::new(Kind::Invalid, what).at("location")
}

/// The directory of the table's bucket that a location names.
///
/// # Errors
/// `Invalid` when it is not the table's directory, an auxiliary one, or below one of them.
pub(super) fn directory(table: &SharedTable, location: &str) -> Result<Vec<u8>, Error> {
    if location.len() > LONGEST || location.chars().any(char::is_control) {
        return Err(unclear("the location is too long, or has control characters"));
    }
    let (scheme, rest) = location.split_once("://").ok_or_else(|| unclear("the location is not a URL"))?;
    if rest.contains(['?', '#', '\\']) {
        return Err(unclear("a location has no query, fragment or backslash"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // Only S3 stores are served by keys; a user or a port in front of or behind the name makes it another one.
    if !alike(scheme, "s3") || !authority.eq_ignore_ascii_case(table.bucket.as_str()) {
        return Err(foreign());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "." => continue,
            // RFC 3986, section 5.2.4; above the bucket there is nothing.
            ".." => {
                segments.pop().ok_or_else(foreign)?;
                continue;
            }
            "" => return Err(unclear("a location has no empty segments")),
            _ => {}
        }
        let mut rest = segment.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
            let after = rest.get(at + 1..).unwrap_or_default();
            if !after.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return Err(unclear("the location has a `%` without two hexadecimal digits"));
            }
            rest = after;
        }
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        if matches!(&*decoded, b"." | b"..")
            || decoded.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f))
        {
            return Err(unclear("the location has an encoded slash, dot segment or control character"));
        }
        segments.push(decoded);
    }
    let key = segments.join(&b'/');
    let inside = |root: &TableRoot| root.holds(&key);
    if std::iter::once(&table.root).chain(&table.auxiliary).any(inside) { Ok(key) } else { Err(foreign()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use valetkey_core::id::{ShareId, StorageId, TableId};
    use valetkey_core::name::BucketName;
    use valetkey_core::scope::Path;
    use valetkey_core::share::{History, SharedName, TableAccess};

    use super::*;

    fn table() -> SharedTable {
        SharedTable {
            id: TableId::from_bytes([1; 16]),
            share: ShareId::from_bytes([1; 16]),
            schema: SharedName::part("s").unwrap(),
            name: SharedName::part("t").unwrap(),
            storage: StorageId::from_bytes([1; 16]),
            bucket: BucketName::parse("lake").unwrap(),
            root: TableRoot::parse("wh/t1").unwrap(),
            auxiliary: vec![TableRoot::parse("old/t1").unwrap()],
            access: TableAccess::Both,
            history: History::Shared,
        }
    }

    fn read(location: &str) -> Result<String, String> {
        directory(&table(), location)
            .map(|key| String::from_utf8_lossy(&key).into_owned())
            .map_err(|error| error.said().to_owned())
    }

    #[test]
    fn a_location_is_the_tables_directory_or_below_it() {
        for (location, key) in [
            ("s3://lake/wh/t1", "wh/t1"),
            ("s3://lake/wh/t1/", "wh/t1"),
            ("s3a://lake/wh/t1", "wh/t1"),
            ("S3N://LAKE/wh/t1", "wh/t1"),
            ("s3://lake/wh/t1/_delta_log", "wh/t1/_delta_log"),
            ("s3://lake/wh/t1/day=1/h=2/", "wh/t1/day=1/h=2"),
            ("s3://lake/wh/t1/day=a%20b", "wh/t1/day=a b"),
            ("s3://lake/wh/t1/day=a%2520b", "wh/t1/day=a%20b"),
            ("s3://lake/wh/./t1/x/../y", "wh/t1/y"),
            ("s3://lake/wh/t2/../t1", "wh/t1"),
            ("s3://lake/old/t1/part", "old/t1/part"),
        ] {
            assert_eq!(read(location).as_deref(), Ok(key), "{location}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_foreign_and_what_is_unclear_is_refused() {
        let foreign = foreign().said().to_owned();
        for location in [
            "s3://lake/wh/t12",
            "s3://lake/wh/t1-secret",
            "s3://lake/wh",
            "s3://lake/wh/T1",
            "s3://pond/wh/t1",
            "s3://lake.evil/wh/t1",
            "s3://lake:443/wh/t1",
            "s3://user@lake/wh/t1",
            "gs://lake/wh/t1",
            "abfss://lake/wh/t1",
            "wasb://lake/wh/t1",
            "https://lake/wh/t1",
            "file://lake/wh/t1",
            "s3://lake/wh/t1/..",
            "s3://lake/wh/t1/../t2",
            "s3://lake/wh/t1/../../..",
            "s3://lake/../wh/t1",
            "s3://lake/wh/t1%",
            "s3://lake/wh%74",
        ] {
            let said = read(location).unwrap_err();
            assert!(said == foreign || location.ends_with("t1%"), "{location}: {said}");
        }
        for location in [
            "",
            "wh/t1",
            "s3:/lake/wh/t1",
            "s3://lake",
            "s3://lake/",
            "s3://",
            "s3://lake//wh/t1",
            "s3://lake/wh//t1",
            "s3://lake/wh/t1//",
            "s3://lake/wh/t1//x",
            "s3://lake/wh/t1?x=1",
            "s3://lake/wh/t1#x",
            "s3://lake/wh/t1/%2e%2e/t2",
            "s3://lake/wh/t1/%2E",
            "s3://lake/wh/t1/a%2fb",
            "s3://lake/wh/t1/%00",
            "s3://lake/wh/t1/%zz",
            "s3://lake/wh/t1\\..\\t2",
            "s3://lake/wh/t1/\n",
        ] {
            assert!(read(location).is_err(), "{location}");
        }
    }

    #[test]
    fn schemes_of_one_store_are_alike() {
        for (one, other) in [("s3", "s3a"), ("S3N", "s3"), ("abfs", "abfss"), ("wasb", "WASBS"), ("gs", "gs")] {
            assert!(alike(one, other), "{one} {other}");
        }
        for (one, other) in [("s3", "gs"), ("abfs", "wasb"), ("http", "http"), ("", ""), ("s3", "s3b")] {
            assert!(!alike(one, other), "{one} {other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// Whatever the text: what is read of it lies inside, and nothing in it would be read in another way.
        #[test]
        fn no_location_leaves_the_table(parts in prop::collection::vec(prop::sample::select(vec![
            "s3://lake/", "s3a://", "lake", "wh", "t1", "t12", "old", "/", "/", "/", "//", ".", "..", "%2e", "%2E%2E", "%2f", "%5c",
            "%25", "%00", "%c3%a9", "?", "#", "@", ":", "-secret", "_delta_log", "\\", " ", "é", "=", "*", "${", "wh/t1", "/wh/t1/",
        ]), 0..9)) {
            for location in [parts.concat(), format!("s3://lake/wh/t1{}", parts.concat()), format!("s3://lake/wh/t1/{}", parts.concat())] {
                if let Ok(key) = directory(&table(), &location) {
                    let scope = Path::directory(&key).unwrap();
                    let roots = [&b"wh/t1"[..], b"old/t1"].map(|root| Path::directory(root).unwrap());
                    prop_assert!(roots.iter().any(|root| root.covers_path(&scope)), "{location}");
                    prop_assert!(key.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b"..")), "{location}");
                }
            }
        }
    }
}
