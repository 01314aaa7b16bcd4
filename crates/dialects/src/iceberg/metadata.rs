//! A table's newest metadata file: which one that is, and what it says. It is passed on as it is.
//!
//! SECURITY: the server reads it with its own rights, after policy said that the caller may read the table. It is untrusted text: bounded in
//! its bytes, in how many names are looked at and in time, and its location must lie in the table.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use valetkey_core::error::Noun;
use valetkey_core::nouns::share::SharedTable;
use valetkey_core::policy;
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use super::state::Iceberg;
use crate::edge::location::{directory, url};
use crate::edge::{Call, Place, json};

/// The largest metadata file that is passed on. One with ten thousand snapshots has some 8 MiB.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// The most names that are looked at for the newest. Tables that keep more say which it is in `version-hint.text`.
const MOST_NAMES: usize = 20_000;
/// Names asked for at once, which is what S3 answers at most.
const PAGE: usize = 1000;
/// How much is read of `version-hint.text`, which is shorter: a name.
const HINT: u64 = 256;
const SUFFIX: &str = ".metadata.json";

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

#[derive(Deserialize)]
struct Told {
    location: String,
    #[serde(rename = "format-version")]
    _version: u8,
}

fn broken(said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, format!("the table's metadata cannot be served: {}", said.into()))
}

fn key(table: &SharedTable, name: &str) -> Vec<u8> {
    format!("{}/metadata/{name}", table.root).into_bytes()
}

impl Iceberg {
    /// Finds the newest metadata of a table.
    pub(super) async fn newest(&self, call: &Call, table: &SharedTable) -> Result<Newest, Error> {
        let snapshot = self.shared.vending.directory.account(call.caller.account, call.now).await?;
        let permit = policy::decide(&snapshot, &call.caller, &self.ask(table)?, &call.facts(), call.now)?;
        let storage = Arc::clone(permit.storage());
        if !storage.kind.is_ours() {
            let said = "this server does not read tables at this storage, so it cannot tell their metadata";
            return Err(Error::new(Kind::Unsupported, said));
        }
        let name = match self.hinted(&storage, table).await? {
            Some(name) => name,
            None => self.highest(&storage, table).await?,
        };
        let found = self.files.head(&storage, &table.bucket, &key(table, &name)).await?;
        let found = found.ok_or_else(|| broken("`version-hint.text` names a file that is not there"))?;
        Ok(Newest { storage, name, bytes: found.size, modified: found.modified })
    }

    /// The name that `version-hint.text` says, in any of the forms that `PyIceberg` reads.
    async fn hinted(&self, storage: &Storage, table: &SharedTable) -> Result<Option<String>, Error> {
        let key = key(table, "version-hint.text");
        let read = self.files.get(storage, &table.bucket, &key, Some(0..HINT)).await?;
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
    async fn highest(&self, storage: &Storage, table: &SharedTable) -> Result<String, Error> {
        let directory = key(table, "");
        let (mut after, mut seen, mut best) = (Vec::new(), 0, Vec::<(u64, String)>::new());
        loop {
            let page = self.files.list(storage, &table.bucket, &directory, &after, PAGE).await?;
            for listed in &page {
                let name = listed.key.strip_prefix(&*directory).and_then(|name| std::str::from_utf8(name).ok());
                let Some((version, name)) = name.and_then(|name| Some((version(name)?, name))) else { continue };
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
        let (text, told) = place
            .work(move |_| {
                let told: Told = json(&text).map_err(|error| broken(error.message()))?;
                Ok((text, told))
            })
            .await?;
        directory(&storage, table, &told.location)
            .map_err(|_| broken("its location is not the directory of this table"))?;
        let location = format!("{}/metadata/{name}", url(&storage, table, &table.root));
        Ok(Metadata { storage, location, text })
    }
}

/// The version in a file's name: `00012-….metadata.json`, `v12.metadata.json`, or the compressed forms of both.
fn version(name: &str) -> Option<u64> {
    let forms = [SUFFIX, ".metadata.json.gz"];
    if name.contains('/') || !forms.iter().any(|form| name.ends_with(form)) {
        return None;
    }
    let digits = name.strip_prefix('v').unwrap_or(name);
    let end = digits.find(['-', '.'])?;
    let digits = digits.get(..end).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version;

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
}
