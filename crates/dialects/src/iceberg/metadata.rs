//! A table's newest metadata file: which one that is, and what it says. It is passed on but for properties that are not a table's.
//!
//! SECURITY: the server reads it after policy said that the caller may read the table ([`Reading`]). It is untrusted text: bounded in
//! its bytes, in how many names are looked at and in time, and its location must lie in the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use valetkey_core::error::Noun;
use valetkey_core::nouns::table::{ObjectFiles, SharedTable};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use super::state::Iceberg;
use crate::edge::location::{directory, url};
use crate::edge::{Call, Place, Reading, json};

/// The largest metadata file that is passed on. One with ten thousand snapshots has some 8 MiB.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// The most names that are looked at for the newest. Tables that keep more say which it is in `version-hint.text`.
const MOST_NAMES: usize = 20_000;
/// Names asked for at once, which is what S3 answers at most.
const PAGE: usize = 1000;
/// How much is read of `version-hint.text`, which is shorter: a name.
const HINT: u64 = 256;
const SUFFIX: &str = ".metadata.json";

/// What reads a table's metadata.
pub(super) struct Source {
    pub(super) reading: Reading,
    files: Arc<dyn ObjectFiles>,
}

/// Where a table's newest metadata is.
pub(super) struct Newest {
    pub(super) storage: Arc<Storage>,
    /// Its name in the table's `metadata` directory.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

/// A table's newest metadata.
pub(super) struct Metadata {
    pub(super) storage: Arc<Storage>,
    /// Its own location.
    pub(super) location: String,
    /// A JSON object.
    pub(super) text: Vec<u8>,
}

/// The fields of the metadata, each as it was written; of a name that is there twice the last.
type Fields = BTreeMap<String, Box<RawValue>>;

/// The properties that Iceberg gives a table, by their name or what it begins with. SECURITY: clients take whatever else stands there for
/// settings of their own (`s3.signer.uri`, `py-io-impl`, `uri`, `header.*`, …): whoever writes the table would have them load code, and send
/// their tokens and requests to another host.
const PASSED: [&str; 12] = [
    "comment",
    "commit.",
    "compatibility.",
    "created-at",
    "encryption.",
    "format-version",
    "gc.enabled",
    "history.",
    "owner",
    "read.",
    "schema.name-mapping.",
    "write.",
];

/// Whether a table may say that of itself. What names a class is nothing of the data.
fn is_passed(name: &str) -> bool {
    let known = |known: &&str| if known.ends_with('.') { name.starts_with(*known) } else { name == *known };
    PASSED.iter().any(known) && name.rsplit(['.', '-']).next() != Some("impl")
}

/// Reads metadata: its location, and the text that is passed on.
pub(super) fn served(text: &[u8]) -> Result<(String, Vec<u8>), Error> {
    fn field<T: DeserializeOwned>(fields: &Fields, name: &str) -> Result<Option<T>, Error> {
        let Some(raw) = fields.get(name) else { return Ok(None) };
        let read = serde_json::from_str(raw.get()).map_err(|error| broken(format!("`{name}`: {error}")))?;
        Ok(Some(read))
    }
    let mut fields: Fields = json(text).map_err(|error| broken(error.message()))?;
    let location = field(&fields, "location")?.ok_or_else(|| broken("it has no `location`"))?;
    field::<u8>(&fields, "format-version")?.ok_or_else(|| broken("it has no `format-version`"))?;
    let own: Option<BTreeMap<String, String>> = field(&fields, "properties")?;
    if let Some(mut own) = own {
        own.retain(|name, _| is_passed(name));
        let kept = serde_json::value::to_raw_value(&own);
        let kept = kept.map_err(|error| Error::internal("properties could not be written").caused_by(error))?;
        fields.insert("properties".to_owned(), kept);
    }
    let text = serde_json::to_vec(&fields);
    Ok((location, text.map_err(|error| Error::internal("metadata could not be written").caused_by(error))?))
}

fn broken(said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, format!("the table's metadata cannot be served: {}", said.into()))
}

fn key(table: &SharedTable, name: &str) -> Vec<u8> {
    format!("{}/metadata/{name}", table.root).into_bytes()
}

impl Iceberg {
    /// What reads a table's metadata for a caller, in a place for heavy answers.
    pub(super) async fn source(&self, call: &Call, table: &SharedTable) -> Result<(Place, Source), Error> {
        let (place, reading) = self.shared.reading(call, &self.ask(table)?).await?;
        let files = match reading.credential() {
            Some(credential) => Arc::clone(&self.elsewhere).with(credential),
            None => Arc::clone(&self.files),
        };
        Ok((place, Source { reading, files }))
    }
}

impl Source {
    /// Finds the newest metadata of a table.
    pub(super) async fn newest(&self, table: &SharedTable) -> Result<Newest, Error> {
        let name = match self.hinted(table).await? {
            Some(name) => name,
            None => self.highest(table).await?,
        };
        let found = self.files.head(&self.reading.storage, &table.bucket, &key(table, &name)).await?;
        let found = found.ok_or_else(|| broken("`version-hint.text` names a file that is not there"))?;
        let storage = Arc::clone(&self.reading.storage);
        Ok(Newest { storage, name, bytes: found.size, modified: found.modified })
    }

    /// The name that `version-hint.text` says, in any of the forms that `PyIceberg` reads.
    async fn hinted(&self, table: &SharedTable) -> Result<Option<String>, Error> {
        let key = key(table, "version-hint.text");
        let read = self.files.get(&self.reading.storage, &table.bucket, &key, Some(0..HINT)).await?;
        let Some(read) = read else { return Ok(None) };
        let text = std::str::from_utf8(&read).map(str::trim).unwrap_or_default();
        let plain = !text.is_empty() && !text.contains('/') && !text.chars().any(char::is_control);
        if !plain || read.len() as u64 >= HINT {
            return Err(broken("`version-hint.text` is not a version or a file's name"));
        }
        Ok(Some(match text {
            _ if text.ends_with(SUFFIX) => text.to_owned(),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{text}{SUFFIX}"),
            _ => format!("{text}{SUFFIX}"),
        }))
    }

    /// The file with the highest version.
    async fn highest(&self, table: &SharedTable) -> Result<String, Error> {
        let directory = key(table, "");
        let (mut after, mut seen, mut best) = (Vec::new(), 0, Vec::<(u64, String)>::new());
        loop {
            let page = self.files.list(&self.reading.storage, &table.bucket, &directory, &after, PAGE).await?;
            for listed in &page {
                let name = listed.key.strip_prefix(&*directory).and_then(|name| std::str::from_utf8(name).ok());
                let Some((version, name)) = name.and_then(|name| Some((version(name)?, name))) else { continue };
                if version == TOO_LARGE {
                    return Err(broken("a file's version is too large; write `version-hint.text`"));
                }
                if best.first().is_none_or(|(highest, _)| version >= *highest) {
                    best.retain(|(highest, _)| *highest == version);
                    best.push((version, name.to_owned()));
                }
            }
            seen += page.len();
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.key.to_vec(),
                Some(_) | None => break,
            }
            if seen >= MOST_NAMES {
                return Err(broken("there are too many files; write `version-hint.text`"));
            }
        }
        match best.as_slice() {
            [] => Err(Error::new(Kind::NotFound(Noun::Table), "there is no Iceberg table at this place")),
            [(_, name)] if name.contains(".gz") => Err(broken("it is compressed")),
            [(_, name)] => Ok(name.clone()),
            _ => Err(broken("two files have the highest version; write `version-hint.text`")),
        }
    }

    /// Reads the newest metadata of a table, in a place for heavy answers.
    pub(super) async fn read(&self, place: &Place, table: &SharedTable, newest: Newest) -> Result<Metadata, Error> {
        let Newest { storage, name, bytes, modified: _ } = newest;
        if bytes > MOST_BYTES {
            return Err(broken(format!("it has {bytes} bytes; the most is {MOST_BYTES}; expire old snapshots")));
        }
        let file = key(table, &name);
        let read = self.files.get(&storage, &table.bucket, &file, Some(0..MOST_BYTES));
        let text = place.in_time(read).await?.unwrap_or_default();
        let (location, text) = place.work(move |_| served(&text)).await?;
        directory(&storage, table, &location).map_err(|_| broken("its location is not the directory of this table"))?;
        let location = format!("{}/metadata/{name}", url(&storage, table, &table.root));
        Ok(Metadata { storage, location, text })
    }
}

/// Stands for a version that is too large to be compared.
const TOO_LARGE: u64 = u64::MAX;

/// The version in a file's name: `00012-….metadata.json`, `v12.metadata.json`, or the compressed forms of both.
fn version(name: &str) -> Option<u64> {
    let forms = [SUFFIX, ".metadata.json.gz"];
    if name.contains('/') || !forms.iter().any(|form| name.ends_with(form)) {
        return None;
    }
    let digits = name.strip_prefix('v').unwrap_or(name);
    let end = digits.find(['-', '.'])?;
    let digits = digits.get(..end).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(TOO_LARGE))
}

#[cfg(test)]
mod tests {
    use super::{TOO_LARGE, is_passed, served, version};

    #[test]
    fn versions_are_read_of_names_and_nothing_else_is() {
        for (name, number) in [
            ("00012-0a1b.metadata.json", 12),
            ("v7.metadata.json", 7),
            ("00003-0a1b.gz.metadata.json", 3),
            ("v3.metadata.json.gz", 3),
        ] {
            assert_eq!(version(name), Some(number), "{name}");
        }
        assert_eq!(version("99999999999999999999999-x.metadata.json"), Some(TOO_LARGE));
        for name in [
            "snap-1.avro",
            "x.metadata.json",
            "-1.metadata.json",
            ".metadata.json",
            "1/2-a.metadata.json",
            "1a-b.metadata.json",
        ] {
            assert_eq!(version(name), None, "{name}");
        }
    }

    #[test]
    fn a_table_says_nothing_of_its_readers_settings() {
        for name in
            ["write.format.default", "history.expire.max-snapshot-age-ms", "schema.name-mapping.default", "owner"]
        {
            assert!(is_passed(name), "{name}");
        }
        for name in [
            "py-io-impl",
            "io-impl",
            "s3.signer",
            "s3.signer.uri",
            "s3.proxy-uri",
            "client.region",
            "gcs.oauth2.token",
            "adls.connection-string",
            "uri",
            "token",
            "credential",
            "oauth2-server-uri",
            "header.Authorization",
            "rest.sigv4-enabled",
            "warehouse",
            "metrics-reporter-impl",
            "write.py-location-provider.impl",
            "write.location-provider.impl",
            "writes",
            "owners",
        ] {
            assert!(!is_passed(name), "{name}");
        }
        let text = br#"{"properties":{"owner":"a"},"location":"s3://a/b","format-version":2,"x":1e400,
            "properties":{"s3.signer.uri":"https://elsewhere.example","owner":"ann"}}"#;
        let (location, text) = served(text).unwrap();
        assert_eq!(location, "s3://a/b");
        let told = r#"{"format-version":2,"location":"s3://a/b","properties":{"owner":"ann"},"x":1e400}"#;
        assert_eq!(String::from_utf8(text).unwrap(), told);
        for bad in [
            r#"{"location":"s3://a/b"}"#,
            r#"{"format-version":2}"#,
            r#"{"location":"a","format-version":2,"properties":[]}"#,
        ] {
            assert!(served(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
