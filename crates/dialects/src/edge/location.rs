//! Where a table is, as a URL says it, and what a client calls a location, read back to keys: a table's directory, an auxiliary
//! one, or a part of either.
//!
//! SECURITY: what is vended is exactly what is read here, and it is echoed as it was asked. So anything that somebody else could
//! read in another way is refused, rather than repaired: encoded slashes and dots, empty segments, queries, fragments.

use percent_encoding::percent_decode_str;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{SharedTable, TableRoot};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::{Error, Kind};

/// The longest location that is read, in bytes.
const LONGEST: usize = 4096;

/// One way to name a bucket in a URL.
struct Form {
    /// What stands first; all of them mean the same, and the first is the one we write.
    schemes: &'static [&'static str],
    /// What stands between the slashes: all of it, with whatever is in front of the name or behind it.
    authority: String,
    /// What stands in front of the keys; empty, or without a slash at either end.
    path: String,
}

/// Every way to name a bucket of a store; the first is the one we write.
fn forms(storage: &Storage, bucket: &BucketName) -> Vec<Form> {
    let named = |schemes, authority: String| Form { schemes, authority, path: String::new() };
    let within = |authority: String| Form { schemes: &["https"], authority, path: bucket.to_string() };
    match storage.kind.shape() {
        Shape::S3 => vec![named(&["s3", "s3a", "s3n"], bucket.to_string())],
        Shape::Google => vec![named(&["gs"], bucket.to_string())],
        Shape::Azure => match azures_own(&storage.endpoint) {
            Some((account, zone)) => vec![
                named(&["abfss", "abfs"], format!("{bucket}@{account}.dfs.{zone}")),
                named(&["wasbs", "wasb"], format!("{bucket}@{account}.blob.{zone}")),
                within(format!("{account}.blob.{zone}")),
                within(format!("{account}.dfs.{zone}")),
            ],
            None => vec![addressed(&storage.endpoint, bucket)],
        },
    }
}

/// The account and the zone of an endpoint in the form that Azure's own have; others Hadoop's names cannot say.
fn azures_own(endpoint: &str) -> Option<(&str, &str)> {
    let host = endpoint.strip_prefix("https://")?;
    let (account, rest) = host.split_once('.')?;
    let zone = rest.strip_prefix("blob.")?;
    let plain = |text: &str| !text.is_empty() && !text.contains(['/', ':', '@']);
    (plain(account) && plain(zone)).then_some((account, zone))
}

/// A bucket below an endpoint's own address.
fn addressed(endpoint: &str, bucket: &BucketName) -> Form {
    let (schemes, rest): (&[&str], _) = match endpoint.strip_prefix("http://") {
        Some(rest) => (&["http"], rest),
        None => (&["https"], endpoint.strip_prefix("https://").unwrap_or(endpoint)),
    };
    let (authority, above) = rest.split_once('/').unwrap_or((rest, ""));
    let above = above.trim_matches('/');
    let path = if above.is_empty() { bucket.to_string() } else { format!("{above}/{bucket}") };
    Form { schemes, authority: authority.to_owned(), path }
}

/// The URL of a directory of a table.
pub fn url(storage: &Storage, table: &SharedTable, root: &TableRoot) -> String {
    // There is always one.
    let Some(Form { schemes, authority, path }) = forms(storage, &table.bucket).into_iter().next() else {
        return String::new();
    };
    let scheme = schemes.first().copied().unwrap_or_default();
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{authority}/{path}{slash}{root}")
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
pub fn directory(storage: &Storage, table: &SharedTable, location: &str) -> Result<Vec<u8>, Error> {
    let key = below(storage, &table.bucket, location)?;
    let inside = |root: &TableRoot| root.holds(&key);
    if std::iter::once(&table.root).chain(&table.auxiliary).any(inside) { Ok(key) } else { Err(foreign()) }
}

/// The key that a location names in a bucket of a storage.
///
/// # Errors
/// `Invalid` when it is another bucket, the bucket itself, or could be read in another way.
pub fn below(storage: &Storage, bucket: &BucketName, location: &str) -> Result<Vec<u8>, Error> {
    let (scheme, authority, path) = parts(location)?;
    // SECURITY: the whole authority, so that a user or a port, another account or another zone makes it another place.
    let named = |form: &Form| {
        form.schemes.iter().any(|own| own.eq_ignore_ascii_case(scheme))
            && form.authority.eq_ignore_ascii_case(authority)
    };
    let form = forms(storage, bucket).into_iter().find(named).ok_or_else(foreign)?;
    let path = match form.path.as_str() {
        "" => path,
        above => path.strip_prefix(above).and_then(|rest| rest.strip_prefix('/')).ok_or_else(foreign)?,
    };
    segments(path)
}

/// The bucket and the key that a location names, before it is known in which storage that is: whoever asks so compares with
/// [`below`] once that is known.
///
/// # Errors
/// `Invalid` when it names no bucket, or could be read in another way.
pub fn named(location: &str) -> Result<(BucketName, Vec<u8>), Error> {
    let (scheme, authority, path) = parts(location)?;
    let bucket = match scheme.to_ascii_lowercase().as_str() {
        "s3" | "s3a" | "s3n" | "gs" => authority,
        "abfs" | "abfss" | "wasb" | "wasbs" => {
            authority.split_once('@').map(|(container, _)| container).ok_or_else(|| unclear("it names no container"))?
        }
        _ => return Err(unclear("a location starts with `s3://`, `gs://` or `abfss://`")),
    };
    let bucket = BucketName::parse(&bucket.to_ascii_lowercase()).map_err(|error| error.at("location"))?;
    Ok((bucket, segments(path)?))
}

/// Scheme, authority and path.
fn parts(location: &str) -> Result<(&str, &str, &str), Error> {
    if location.len() > LONGEST || location.chars().any(char::is_control) {
        return Err(unclear("the location is too long, or has control characters"));
    }
    let (scheme, rest) = location.split_once("://").ok_or_else(|| unclear("the location is not a URL"))?;
    if rest.contains(['?', '#', '\\']) {
        return Err(unclear("a location has no query, fragment or backslash"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((scheme, authority, path))
}

/// The key that a path is, decoded once.
fn segments(path: &str) -> Result<Vec<u8>, Error> {
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
    Ok(segments.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use valetkey_core::id::{ShareId, StorageId, TableId};
    use valetkey_core::nouns::table::{History, SharedName, TableAccess};
    use valetkey_core::scope::Path;
    use valetkey_core::storage::StorageKind;
    use valetkey_core::time::Lifetime;

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
            format: None,
        }
    }

    fn storage(kind: StorageKind, endpoint: &str) -> Storage {
        Storage {
            id: StorageId::from_bytes([1; 16]),
            name: "s".parse().unwrap(),
            kind,
            endpoint: endpoint.into(),
            internal_endpoint: None,
            region: "auto".into(),
            min_lifetime: Lifetime::secs(60),
            max_lifetime: Lifetime::secs(3600),
            external: None,
        }
    }

    fn ours() -> Storage {
        storage(StorageKind::Embedded, "http://127.0.0.1:7071")
    }

    fn read_at(storage: &Storage, location: &str) -> Result<String, String> {
        directory(storage, &table(), location)
            .map(|key| String::from_utf8_lossy(&key).into_owned())
            .map_err(|error| error.message().to_owned())
    }

    fn read(location: &str) -> Result<String, String> {
        read_at(&ours(), location)
    }

    const AZURE: &str = "https://acct.blob.core.windows.net";
    const EMULATOR: &str = "http://127.0.0.1:10000/devstoreaccount1";

    #[test]
    fn a_location_is_written_as_its_stores_clients_say_it() {
        let table = table();
        for (kind, endpoint, written) in [
            (StorageKind::Embedded, "http://127.0.0.1:7071", "s3://lake/wh/t1"),
            (StorageKind::Gateway, "http://127.0.0.1:7071", "s3://lake/wh/t1"),
            (StorageKind::Sts, "https://s3.eu-west-1.amazonaws.com", "s3://lake/wh/t1"),
            (StorageKind::R2, "https://x.r2.cloudflarestorage.com", "s3://lake/wh/t1"),
            (StorageKind::Gcs, "https://storage.googleapis.com", "gs://lake/wh/t1"),
            (StorageKind::Azure, AZURE, "abfss://lake@acct.dfs.core.windows.net/wh/t1"),
            (
                StorageKind::Azure,
                "https://a1.blob.core.chinacloudapi.cn",
                "abfss://lake@a1.dfs.core.chinacloudapi.cn/wh/t1",
            ),
            (StorageKind::Azure, "https://blobs.example.com", "https://blobs.example.com/lake/wh/t1"),
            (
                StorageKind::Azure,
                "https://acct.blob.core.windows.net:444",
                "https://acct.blob.core.windows.net:444/lake/wh/t1",
            ),
            (StorageKind::Azure, EMULATOR, "http://127.0.0.1:10000/devstoreaccount1/lake/wh/t1"),
        ] {
            let storage = storage(kind, endpoint);
            assert_eq!(url(&storage, &table, &table.root), written);
            assert_eq!(read_at(&storage, written).as_deref(), Ok("wh/t1"), "what is written reads back");
        }
    }

    #[test]
    fn a_location_is_read_by_every_name_of_its_own_store_and_by_none_of_another() {
        let azure = storage(StorageKind::Azure, AZURE);
        for location in [
            "abfss://lake@acct.dfs.core.windows.net/wh/t1/",
            "abfs://lake@acct.dfs.core.windows.net/wh/t1",
            "ABFSS://lake@ACCT.dfs.core.windows.net/wh/t1",
            "wasbs://lake@acct.blob.core.windows.net/wh/t1",
            "wasb://lake@acct.blob.core.windows.net/wh/t1",
            "https://acct.blob.core.windows.net/lake/wh/t1",
            "HTTPS://ACCT.blob.core.windows.net/lake/wh/t1/",
            "https://acct.dfs.core.windows.net/lake/wh/t1",
        ] {
            assert_eq!(read_at(&azure, location).as_deref(), Ok("wh/t1"), "{location}");
        }
        for location in [
            "abfss://lake@other.dfs.core.windows.net/wh/t1",
            "abfss://lake@acct.dfs.core.windows.net.evil.com/wh/t1",
            "abfss://lake@acct.dfs.core.windows.net:443/wh/t1",
            "abfss://lake@acct.blob.core.windows.net/wh/t1",
            "abfss://lake@acct/wh/t1",
            "abfss://lake/wh/t1",
            "abfss://pond@acct.dfs.core.windows.net/wh/t1",
            "abfss://lake@acct2@acct.dfs.core.windows.net/wh/t1",
            "abfss://acct.dfs.core.windows.net/lake/wh/t1",
            "abfss://lake@acct.dfs.core.windows.net/wh/t12",
            "abfss://lake@acct.dfs.core.windows.net/wh/t1/../../x",
            "wasbs://lake@acct.dfs.core.windows.net/wh/t1",
            "http://acct.blob.core.windows.net/lake/wh/t1",
            "https://acct.blob.core.windows.net/pond/wh/t1",
            "https://acct.blob.core.windows.net/wh/t1",
            "https://acct.blob.core.windows.net/lake2/wh/t1",
            "https://acct.blob.core.windows.net:443/lake/wh/t1",
            "https://lake@acct.dfs.core.windows.net/lake/wh/t1",
            "https://other.dfs.core.windows.net/lake/wh/t1",
            "https://acct.file.core.windows.net/lake/wh/t1",
            "s3://lake/wh/t1",
            "gs://lake/wh/t1",
        ] {
            assert_eq!(read_at(&azure, location).unwrap_err(), foreign().message(), "{location}");
        }
        let emulator = storage(StorageKind::Azure, EMULATOR);
        for (location, inside) in [
            ("http://127.0.0.1:10000/devstoreaccount1/lake/wh/t1/day=1", true),
            ("http://127.0.0.1:10000/devstoreaccount1/lake/wh/t12", false),
            ("http://127.0.0.1:10000/devstoreaccount1/lake2/wh/t1", false),
            ("http://127.0.0.1:10000/devstoreaccount1/lake/../lake/wh/t1", false),
            ("http://127.0.0.1:10000/devstoreaccount2/lake/wh/t1", false),
            ("http://127.0.0.1:10000/lake/wh/t1", false),
            ("http://127.0.0.1:10001/devstoreaccount1/lake/wh/t1", false),
            ("https://127.0.0.1:10000/devstoreaccount1/lake/wh/t1", false),
            ("http://u@127.0.0.1:10000/devstoreaccount1/lake/wh/t1", false),
        ] {
            assert_eq!(read_at(&emulator, location).is_ok(), inside, "{location}");
        }
        let google = storage(StorageKind::Gcs, "https://storage.googleapis.com");
        assert_eq!(read_at(&google, "gs://lake/wh/t1/x").as_deref(), Ok("wh/t1/x"));
        for location in ["s3://lake/wh/t1", "gs://pond/wh/t1", "gcs://lake/wh/t1", "gs://lake@x/wh/t1"] {
            assert!(read_at(&google, location).is_err(), "{location}");
        }
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
        let foreign = foreign().message().to_owned();
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// Whatever the text: what is read of it lies inside, and nothing in it would be read in another way.
        #[test]
        fn no_location_leaves_the_table(parts in prop::collection::vec(prop::sample::select(vec![
            "s3://lake/", "s3a://", "lake", "wh", "t1", "t12", "old", "/", "/", "/", "//", ".", "..", "%2e", "%2E%2E", "%2f", "%5c",
            "%25", "%00", "%c3%a9", "?", "#", "@", ":", "-secret", "_delta_log", "\\", " ", "é", "=", "*", "${", "wh/t1", "/wh/t1/",
        ]), 0..9)) {
            for location in [parts.concat(), format!("s3://lake/wh/t1{}", parts.concat()), format!("s3://lake/wh/t1/{}", parts.concat())] {
                if let Ok(key) = directory(&ours(), &table(), &location) {
                    let scope = Path::directory(&key).unwrap();
                    let roots = [&b"wh/t1"[..], b"old/t1"].map(|root| Path::directory(root).unwrap());
                    prop_assert!(roots.iter().any(|root| root.covers_path(&scope)), "{location}");
                    prop_assert!(key.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b"..")), "{location}");
                }
            }
        }
    }
}
