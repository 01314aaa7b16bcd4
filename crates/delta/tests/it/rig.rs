//! Tables put into memory: from tests/tables, or line by line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use valetkey_core::Error;
use valetkey_core::id::StorageId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::table::{AddedFile, TablePlace, Whereabouts};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_delta::{Limits, Logs};
use valetkey_testkit::memory::Files;

pub(crate) const BUCKET: &str = "lake";
/// When the first commit of a table is written; each later one an hour after.
pub(crate) const START: i64 = 1_700_000_000;

pub(crate) struct Rig {
    pub(crate) objects: Arc<Files>,
    pub(crate) logs: Logs,
}

pub(crate) fn bucket() -> BucketName {
    BucketName::parse(BUCKET).unwrap()
}

pub(crate) fn place(root: &str) -> TablePlace {
    let storage = Storage {
        id: StorageId::from_bytes([5; 16]),
        name: Name::parse("own").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://s3.localhost".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    };
    TablePlace { storage: Arc::new(storage), bucket: bucket(), root: root.as_bytes().into(), credential: None }
}

/// When the commit of a version was written.
pub(crate) fn written(version: u64) -> Timestamp {
    Timestamp::from_second(START + 3600 * i64::try_from(version).unwrap()).unwrap()
}

fn tables() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables")
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let objects = Arc::new(Files::default());
        let logs = Logs::new(Arc::clone(&objects) as Arc<_>, TaskTracker::new(), limits);
        Self { objects, logs }
    }

    /// Puts a checked-in table at `tables/<name>`.
    pub(crate) fn load(&self, name: &str) -> TablePlace {
        let root = tables().join(name);
        assert!(root.is_dir(), "no table {name}");
        for entry in walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap) {
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(tables()).unwrap().to_str().unwrap();
                let version = entry.file_name().to_str().unwrap().get(..20).and_then(|digits| digits.parse().ok());
                let bytes = std::fs::read(entry.path()).unwrap();
                let key = format!("tables/{path}");
                self.objects.put(&bucket(), key.as_bytes(), &bytes, written(version.unwrap_or(0)));
            }
        }
        place(&format!("tables/{name}"))
    }

    /// Writes a commit of lines.
    pub(crate) fn commit(&self, place: &TablePlace, version: u64, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write(place, &format!("{version:020}.json"), text.as_bytes(), written(version));
    }

    /// Writes a file of the log.
    pub(crate) fn write(&self, place: &TablePlace, name: &str, bytes: &[u8], at: Timestamp) {
        let key = [&place.root, b"/_delta_log/" as &[u8], name.as_bytes()].concat();
        self.objects.put(&bucket(), &key, bytes, at);
    }

    /// Removes a file of the log.
    pub(crate) fn unwrite(&self, place: &TablePlace, name: &str) {
        let key = [&place.root, b"/_delta_log/" as &[u8], name.as_bytes()].concat();
        self.objects.remove(&bucket(), &key);
    }
}

/// What a table begins with.
pub(crate) fn first(configuration: &Value) -> Vec<Value> {
    let schema =
        json!({"type": "struct", "fields": [{"name": "id", "type": "long", "nullable": true, "metadata": {}}]});
    vec![
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": {
            "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_string(), "partitionColumns": [], "configuration": configuration,
        }}),
    ]
}

pub(crate) fn add(path: &str) -> Value {
    json!({"add": {
        "path": path, "partitionValues": {}, "size": 7, "modificationTime": 1, "dataChange": true,
    }})
}

pub(crate) fn remove(path: &str) -> Value {
    json!({"remove": {"path": path, "deletionTimestamp": 2, "dataChange": true}})
}

/// The keys of files, which must all be in the table.
pub(crate) fn keys(files: &[AddedFile]) -> Vec<String> {
    files
        .iter()
        .map(|file| match &file.place {
            Whereabouts::Inside(key) => String::from_utf8(key.to_vec()).unwrap(),
            other => panic!("{} is {other:?}", file.path),
        })
        .collect()
}

pub(crate) fn paths(files: &[AddedFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

/// A refusal: its kind and words.
pub(crate) fn said(error: &Error) -> String {
    format!("{}: {}", error.kind().slug(), error.message())
}
