//! Tables whose logs are made up: what reads logs and what signs URLs, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::Credential;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{
    AddedFile, AsOf, ChangeFile, DeletionVector, FileAction, RemovedFile, TableCommit, TableCommits, TableFiles,
    TableLogs, TableMetadata, TablePlace, TableProtocol, TableSnapshot, Unserved, Whereabouts,
};
use valetkey_core::port::{SignedUrls, UrlSigner};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Secret};

use crate::sharing::Urls;

/// Logs of tables by the last part of their directory: `plain`, `deleting` (deletion vectors), `mapped` (column mapping), `zoneless`
/// (timestamps without a time zone), /// `escaping` (a file elsewhere), `spread` (a file in an auxiliary location), `wide` (many files); anything else is no table.
struct MadeUp;

pub(super) fn urls() -> Urls {
    Urls { logs: Arc::new(MadeUp), signer: Arc::new(Plainly) }
}

const LAST: u64 = 2;

fn committed_ms(version: u64) -> i64 {
    1_767_225_600_000 + i64::try_from(version).unwrap() * 60_000
}

fn root(place: &TablePlace) -> &str {
    std::str::from_utf8(&place.root).unwrap()
}

fn kind(place: &TablePlace) -> Result<&str, Error> {
    assert_eq!(place.credential.is_some(), !place.storage.kind.is_ours(), "elsewhere it is read with what was vended");
    let kind = root(place).rsplit('/').next().unwrap();
    let known = ["plain", "deleting", "mapped", "zoneless", "escaping", "spread", "wide"].contains(&kind);
    if known { Ok(kind) } else { Err(Unserved::NotATable.into()) }
}

fn version_of(at: AsOf) -> Result<u64, Error> {
    match at {
        AsOf::Latest => Ok(LAST),
        AsOf::Version(version) if version <= LAST => Ok(version),
        AsOf::Version(asked) => Err(Unserved::NoVersion { asked, first: 0, last: LAST }.into()),
        AsOf::FirstSince(at) => (0..=LAST)
            .find(|version| committed_ms(*version) >= at.as_millisecond())
            .ok_or_else(|| Unserved::TooLate(at).into()),
        AsOf::LastUntil(at) => (0..=LAST)
            .rev()
            .find(|version| committed_ms(*version) <= at.as_millisecond())
            .ok_or_else(|| Unserved::TooEarly(at).into()),
    }
}

fn snapshot(place: &TablePlace, version: u64, counted: bool) -> Result<TableSnapshot, Error> {
    let kind = kind(place)?;
    let mut configuration = BTreeMap::from([("delta.enableChangeDataFeed".to_owned(), "true".to_owned())]);
    let features = match kind {
        "deleting" => {
            configuration.insert("delta.enableDeletionVectors".to_owned(), "true".to_owned());
            Some(vec!["deletionVectors".to_owned(), "v2Checkpoint".to_owned()])
        }
        "mapped" => {
            configuration.insert("delta.columnMapping.mode".to_owned(), "name".to_owned());
            Some(vec!["columnMapping".to_owned()])
        }
        "zoneless" => Some(vec!["timestampNtz".to_owned()]),
        _ => None,
    };
    Ok(TableSnapshot {
        version,
        protocol: TableProtocol {
            min_reader_version: if features.is_some() { 3 } else { 1 },
            min_writer_version: if features.is_some() { 7 } else { 4 },
            writer_features: features.clone(),
            reader_features: features,
        },
        metadata: TableMetadata {
            id: "11111111-2222-3333-4444-555555555555".to_owned(),
            name: Some(kind.to_owned()),
            description: None,
            format_provider: "parquet".to_owned(),
            format_options: BTreeMap::new(),
            schema: r#"{"type":"struct","fields":[]}"#.to_owned(),
            partition_columns: vec!["day".to_owned()],
            configuration,
            created_ms: Some(committed_ms(0)),
        },
        size: counted.then_some(300),
        files: counted.then_some(3),
    })
}

fn added(place: &TablePlace, number: u64) -> AddedFile {
    let path = format!("day=2026-07-0{number}/part%20{number}.parquet");
    let key = format!("{}/day=2026-07-0{number}/part {number}.parquet", root(place));
    let (path, place_of) = match (kind(place).unwrap(), number) {
        ("escaping", 2) => (
            "s3://lake/secret/x.parquet".to_owned(),
            Whereabouts::Elsewhere { bucket: place.bucket.clone(), key: b"secret/x.parquet".as_slice().into() },
        ),
        ("spread", 2) => (
            "s3://lake/aux/spread/x.parquet".to_owned(),
            Whereabouts::Elsewhere { bucket: place.bucket.clone(), key: b"aux/spread/x.parquet".as_slice().into() },
        ),
        _ => (path, Whereabouts::Inside(key.into_bytes().into())),
    };
    let deleting = kind(place).unwrap() == "deleting" && number == 1;
    AddedFile {
        path,
        place: place_of,
        partition_values: BTreeMap::from([("day".to_owned(), (number < 3).then(|| format!("2026-07-0{number}")))]),
        size: 100,
        modified_ms: committed_ms(number),
        data_change: true,
        stats: Some(format!(r#"{{"numRecords":{}}}"#, number * 10)),
        tags: BTreeMap::new(),
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
        deletion_vector: deleting.then(|| DeletionVector {
            storage_type: "u".to_owned(),
            path_or_inline_dv: "ab^-aqEH.-t@S}K{vb[*k^".to_owned(),
            offset: Some(4),
            size_in_bytes: 40,
            cardinality: 6,
            file: Some(Whereabouts::Inside(format!("{}/dv.bin", root(place)).into_bytes().into())),
        }),
    }
}

#[async_trait]
impl TableLogs for MadeUp {
    async fn version(&self, place: &TablePlace, at: AsOf) -> Result<u64, Error> {
        kind(place)?;
        version_of(at)
    }

    async fn snapshot(&self, place: &TablePlace, at: AsOf) -> Result<TableSnapshot, Error> {
        snapshot(place, version_of(at)?, false)
    }

    async fn files(&self, place: &TablePlace, at: AsOf) -> Result<TableFiles, Error> {
        let snapshot = snapshot(place, version_of(at)?, true)?;
        if kind(place)? == "wide" {
            let file = |number: usize| AddedFile {
                path: format!("part-{number:05}.parquet"),
                place: Whereabouts::Inside(format!("{}/part-{number:05}.parquet", root(place)).into_bytes().into()),
                ..added(place, 1)
            };
            return Ok(TableFiles { snapshot, files: (0..WIDE).map(file).collect(), committed_ms: None });
        }
        let committed_ms = (at != AsOf::Latest).then(|| committed_ms(snapshot.version));
        Ok(TableFiles { snapshot, files: (1..=3).map(|number| added(place, number)).collect(), committed_ms })
    }

    async fn changes(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error> {
        let (start, end) = (version_of(start)?, version_of(end)?);
        if end < start {
            return Err(Unserved::Backwards { start, end }.into());
        }
        let before = snapshot(place, start, false)?;
        let commit = |version: u64| {
            let file = added(place, version + 1);
            let actions = match version {
                0 => vec![FileAction::Add(file)],
                1 => vec![FileAction::Remove(RemovedFile {
                    path: file.path,
                    place: file.place,
                    deleted_ms: Some(committed_ms(1)),
                    data_change: true,
                    extended: Some(true),
                    partition_values: Some(file.partition_values),
                    size: Some(100),
                    stats: None,
                    tags: BTreeMap::new(),
                    base_row_id: None,
                    default_row_commit_version: None,
                    deletion_vector: None,
                })],
                _ => vec![FileAction::Cdc(ChangeFile {
                    path: "_change_data/cdc.parquet".to_owned(),
                    place: Whereabouts::Inside(format!("{}/_change_data/cdc.parquet", root(place)).into_bytes().into()),
                    partition_values: BTreeMap::new(),
                    size: 50,
                    tags: BTreeMap::new(),
                })],
            };
            let mut metadata = before.metadata.clone();
            metadata.name = Some("renamed".to_owned());
            TableCommit {
                version,
                committed_ms: committed_ms(version),
                protocol: None,
                metadata: (version == 1).then_some(metadata),
                actions,
            }
        };
        Ok(TableCommits {
            start,
            end,
            commits: (start..=end).map(commit).collect(),
            latest: snapshot(place, LAST, false)?,
            before: before.clone(),
        })
    }

    async fn commits(&self, place: &TablePlace, start: AsOf, end: AsOf) -> Result<TableCommits, Error> {
        self.changes(place, start, end).await
    }
}

/// Files of the table `wide`.
pub(super) const WIDE: usize = 20_000;
/// URLs signed of that table's files.
pub(super) static SIGNED: AtomicUsize = AtomicUsize::new(0);

/// Signs nothing, so that answers are the same in every run. Refuses to sign on the thread that serves: one signature takes
/// no time, all of an answer's do.
struct Plainly;

#[async_trait]
impl UrlSigner for Plainly {
    fn signs(
        &self,
        _storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        assert!(until <= credential.expiration() && now < until);
        Ok(Box::new(Unsigned { bucket: bucket.clone(), serving: thread::current().id() }))
    }
}

struct Unsigned {
    bucket: BucketName,
    serving: ThreadId,
}

impl SignedUrls for Unsigned {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        assert_ne!(thread::current().id(), self.serving, "URLs are signed beside the runtime");
        if key.starts_with(b"t/wide/") {
            SIGNED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Secret::new(format!("https://signed/{}/{}", self.bucket, String::from_utf8_lossy(key))))
    }
}
