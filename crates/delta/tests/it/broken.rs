//! Logs that are none, and what is too much: always a refusal that says so, never a failure of the server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use valetkey_core::error::{Error, Kind};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{AsOf, Listed, ObjectFiles, TableLogs as _, TablePlace};
use valetkey_core::storage::Storage;
use valetkey_delta::{Limits, Logs};

use crate::rig::{Rig, add, bucket, first, place, said, written};

const NO_TABLE: &str = "not_found: there is no Delta table at this place";
const BROKEN: &str = "invalid: the table's log cannot be read";

async fn words(rig: &Rig, place: &TablePlace) -> [String; 4] {
    [
        said(&rig.logs.version(place, AsOf::Latest).await.unwrap_err()),
        said(&rig.logs.snapshot(place, AsOf::Latest).await.unwrap_err()),
        said(&rig.logs.files(place, AsOf::Latest).await.unwrap_err()),
        said(&rig.logs.commits(place, AsOf::Version(0), AsOf::Latest).await.unwrap_err()),
    ]
}

#[tokio::test]
async fn what_is_no_table_is_not_found() {
    let rig = Rig::new();
    rig.objects.put(&bucket(), b"dir/file.parquet", b"PAR1", written(0));
    rig.objects.put(&bucket(), b"other/_delta_log/_last_checkpoint", b"{}", written(0));
    rig.load("plain");
    for root in [
        "dir",
        "nowhere",
        "other",
        "",
        "tables",
        "tables/plai",
        "tables/plain/_delta_log",
        "tables/../tables/plain",
        "tables//plain",
        "tables/plain/",
    ] {
        assert_eq!(words(&rig, &place(root)).await, [NO_TABLE; 4], "{root}");
    }
    let elsewhere = TablePlace { bucket: BucketName::parse("nowhere").unwrap(), ..place("tables/plain") };
    assert_eq!(words(&rig, &elsewhere).await, [NO_TABLE; 4]);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_says_so() {
    let good: String = first(&json!({})).iter().map(|line| format!("{line}\n")).collect();
    let cut = &good[..good.len() - 30];
    let no_metadata = format!("{}\n", json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}));
    let bad_schema = good.replace("\\\"type\\\":\\\"long\\\"", "\\\"type\\\":\\\"wrong\\\"");
    assert_ne!(bad_schema, good);
    let bad_size = format!(
        "{good}{}\n",
        json!({"add": {"path": "p", "partitionValues": {}, "size": -1, "modificationTime": 1, "dataChange": true}})
    );
    let deep = format!("{good}{}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    for (what, text) in [
        ("cut", cut),
        ("empty", ""),
        ("zeros", "\0\0\0\0"),
        ("not JSON", "hello"),
        ("no metadata", no_metadata.as_str()),
        ("a list", "[1,2]"),
        ("bad schema", &bad_schema),
        ("deep", &deep),
    ] {
        let rig = Rig::new();
        let place = place("t");
        rig.write(&place, "00000000000000000000.json", text.as_bytes(), written(0));
        for words in words(&rig, &place).await {
            assert_eq!(words, BROKEN, "{what}");
        }
    }
    let rig = Rig::new();
    let place = place("t");
    rig.write(&place, "00000000000000000000.json", bad_size.as_bytes(), written(0));
    assert_eq!(said(&rig.logs.files(&place, AsOf::Latest).await.unwrap_err()), BROKEN);
    assert_eq!(said(&rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap_err()), BROKEN);
}

#[tokio::test]
async fn a_missing_commit_is_not_passed_over() {
    let rig = Rig::new();
    let place = rig.load("changes");
    rig.unwrite(&place, "00000000000000000002.json");
    let refused = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{}", said(&refused));
    let refused = rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{}", said(&refused));
}

#[tokio::test]
async fn a_broken_checkpoint_is_refused() {
    let rig = Rig::new();
    let place = rig.load("history");
    // A schema of groups in groups in groups: whoever reads it as it stands ends its stack.
    let group = [0x35, 2, 0x18, 1, b'x', 0x15, 2, 0];
    let (start, end) = ([0x15, 2, 0x19, 0xfc, 0xc1, 0x9a, 0x0c], [0x35, 2, 0x18, 1, b'x', 0, 0x16, 0, 0x19, 0x0c, 0]);
    let footer = [start.to_vec(), group.repeat(200_000), end.to_vec()].concat();
    let length = u32::try_from(footer.len()).unwrap();
    let deep = [b"PAR1", footer.as_slice(), &length.to_le_bytes(), b"PAR1"].concat();
    for bytes in [b"PAR1 and no more".to_vec(), deep, Vec::new()] {
        rig.write(&place, "00000000000000000004.checkpoint.parquet", &bytes, written(4));
        let refused = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{}", said(&refused));
    }
}

#[tokio::test]
async fn features_nobody_knows_are_refused_by_name() {
    let rig = Rig::new();
    let place = rig.load("unknown");
    for words in &words(&rig, &place).await[1..] {
        assert!(words.starts_with("unsupported: the table uses") && words.contains("telepathy"), "{words}");
    }
    let managed = crate::rig::place("managed");
    let mut lines = first(&json!({"delta.enableInCommitTimestamps": "true"}));
    lines[0] = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["catalogManaged"],
        "writerFeatures": ["catalogManaged", "inCommitTimestamp"],
    }});
    rig.commit(&managed, 0, &lines);
    for words in &words(&rig, &managed).await {
        assert_eq!(
            words,
            "unsupported: the table uses commits that a catalogue keeps, which this server does not support"
        );
    }
    let newer = crate::rig::place("newer");
    let mut lines = first(&json!({}));
    lines[0] = json!({"protocol": {"minReaderVersion": 99, "minWriterVersion": 99}});
    rig.commit(&newer, 0, &lines);
    for words in &words(&rig, &newer).await[1..] {
        assert!(words.starts_with("unsupported: the table uses"), "{words}");
    }
}

#[tokio::test]
async fn a_log_that_names_files_outside_itself_reads_none_of_them() {
    let rig = Rig::new();
    rig.objects.put(&bucket(), b"secret/sidecar.parquet", b"PAR1", written(0));
    let mut first = first(&json!({}));
    first[0] = json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v2Checkpoint"], "writerFeatures": ["v2Checkpoint"]}});
    for (number, hostile) in [
        "s3://lake/secret/sidecar.parquet",
        "../../secret/sidecar.parquet",
        "file:///etc/passwd",
        "s3://lake/t/_delta_log/../../secret/sidecar.parquet",
        "%2e%2e/%2e%2e/secret/sidecar.parquet",
    ]
    .into_iter()
    .enumerate()
    {
        let place = place(&format!("t{number}"));
        let sidecar = json!({"sidecar": {"path": hostile, "sizeInBytes": 4, "modificationTime": 1}});
        let lines: Vec<Value> = [vec![json!({"checkpointMetadata": {"version": 0}}), sidecar], first.clone()].concat();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        rig.commit(&place, 0, &first);
        rig.write(
            &place,
            "00000000000000000000.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
            text.as_bytes(),
            written(0),
        );
        let refused = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
        assert_eq!(said(&refused), BROKEN, "{hostile}");
        let calls = rig.objects.take_calls();
        assert!(!calls.iter().any(|call| call.contains("secret")), "{hostile}: {calls:?}");
    }
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let rig = Rig::with(Limits { files: 2, versions: 2, log_file_bytes: 10_000, ..Limits::default() });
    let place = place("t");
    rig.commit(&place, 0, &[first(&json!({})), vec![add("a"), add("b")]].concat());
    rig.commit(&place, 1, &[json!({"commitInfo": {}})]);
    assert_eq!(rig.logs.files(&place, AsOf::Latest).await.unwrap().files.len(), 2);
    assert_eq!(rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap().commits.len(), 2);
    rig.commit(&place, 2, &[add("c")]);
    let files = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&files), "invalid: there are too many files to answer with at once");
    let commits = rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&commits), "invalid: there are too many versions to answer with at once");
    rig.commit(&place, 3, &[json!({"commitInfo": {"operation": "x".repeat(10_000)}})]);
    let bytes = rig.logs.snapshot(&place, AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&bytes), "invalid: there are too many bytes of log to answer with at once");
}

/// Objects that fail, or never come.
struct Sick {
    error: Option<Kind>,
}

impl Sick {
    async fn answer<T>(&self) -> Result<T, Error> {
        match self.error {
            Some(kind) => Err(Error::new(kind, "the disk is on fire")),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl ObjectFiles for Sick {
    async fn get(
        &self,
        _: &Storage,
        _: &BucketName,
        _: &[u8],
        _: Option<std::ops::Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.answer().await
    }

    async fn head(&self, _: &Storage, _: &BucketName, _: &[u8]) -> Result<Option<Listed>, Error> {
        self.answer().await
    }

    async fn list(&self, _: &Storage, _: &BucketName, _: &[u8], _: &[u8], _: usize) -> Result<Vec<Listed>, Error> {
        self.answer().await
    }
}

#[tokio::test]
async fn a_failure_of_the_objects_keeps_its_kind() {
    for kind in [Kind::Upstream, Kind::Unavailable, Kind::Internal, Kind::NotFound(valetkey_core::error::Noun::Bucket)]
    {
        let logs = Logs::new(Arc::new(Sick { error: Some(kind) }), TaskTracker::new(), Limits::default());
        let failed = logs.files(&place("t"), AsOf::Latest).await.unwrap_err();
        assert_eq!((failed.kind(), failed.message()), (kind, "the disk is on fire"));
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let limits = Limits { at_once: 1, deadline: Duration::from_millis(50), ..Limits::default() };
    let logs = Logs::new(Arc::new(Sick { error: None }), TaskTracker::new(), limits);
    // The second one gets its turn: what the first waited for was given up with it.
    for _ in 0..2 {
        let slow = logs.files(&place("t"), AsOf::Latest).await.unwrap_err();
        assert_eq!(said(&slow), "invalid: there are too many log entries to answer with at once");
    }
}

/// A table whose objects never come, among others.
struct OneSlow(Arc<valetkey_testkit::memory::Files>);

#[async_trait]
impl ObjectFiles for OneSlow {
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(storage, bucket, key, range).await
    }

    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        self.0.head(storage, bucket, key).await
    }

    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        if prefix.starts_with(b"slow/") {
            std::future::pending::<()>().await;
        }
        self.0.list(storage, bucket, prefix, after, limit).await
    }
}

#[tokio::test]
async fn a_table_that_is_slow_to_read_keeps_no_other_waiting() {
    let rig = Rig::new();
    let plain = rig.load("plain");
    let limits = Limits { at_once: 2, at_once_of_one: 1, ..Limits::default() };
    let logs = Logs::new(Arc::new(OneSlow(Arc::clone(&rig.objects))), TaskTracker::new(), limits);
    let slow = place("slow");
    let slow = || logs.version(&slow, AsOf::Latest);
    tokio::select! {
        biased;
        _ = slow() => panic!("it never comes"),
        _ = slow() => panic!("it never comes"),
        _ = slow() => panic!("it never comes"),
        answer = logs.version(&plain, AsOf::Latest) => assert!(answer.is_ok()),
    }
}
