//! Snapshots and files of well-formed tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{AsOf, ObjectFiles as _, TableFiles, TableLogs as _, Whereabouts};
use valetkey_delta::{Limits, Logs};

use crate::rig::{Rig, add, bucket, first, keys, paths, place, remove, said};

/// Every file that a version names is an object, of the size that the log says.
async fn all_are_there(rig: &Rig, found: &TableFiles) {
    let storage = place("x").storage;
    for (file, key) in found.files.iter().zip(keys(&found.files)) {
        let head = rig.objects.head(&storage, &bucket(), key.as_bytes()).await.unwrap();
        assert_eq!(head.unwrap_or_else(|| panic!("no {key}")).size, file.size, "{key}");
    }
}

#[tokio::test]
async fn a_plain_table_is_described() {
    let rig = Rig::new();
    let place = rig.load("plain");
    let found = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    all_are_there(&rig, &found).await;
    assert_eq!((found.snapshot.version, found.snapshot.files), (0, Some(1)));
    assert_eq!(found.snapshot.size, Some(found.files[0].size));
    let metadata = &found.snapshot.metadata;
    assert_eq!((metadata.name.as_deref(), metadata.description.as_deref()), (Some("numbers"), Some("three numbers")));
    assert_eq!((metadata.format_provider.as_str(), metadata.partition_columns.len()), ("parquet", 0));
    assert!(metadata.created_ms.is_some() && !metadata.keeps_changes());
    let schema: Value = serde_json::from_str(&metadata.schema).unwrap();
    assert_eq!(schema["fields"][0]["name"], "id");
    assert_eq!(found.snapshot.protocol.min_reader_version, 1);
    assert_eq!(found.snapshot.protocol.reader_features, None);
    let stats: Value = serde_json::from_str(found.files[0].stats.as_ref().unwrap()).unwrap();
    assert_eq!(stats["numRecords"], 3);
    assert!(found.files[0].data_change && found.files[0].deletion_vector.is_none());

    let snapshot = rig.logs.snapshot(&place, AsOf::Latest).await.unwrap();
    assert_eq!(snapshot.metadata, found.snapshot.metadata);
    assert_eq!(rig.logs.version(&place, AsOf::Latest).await.unwrap(), 0);
}

#[tokio::test]
async fn partition_values_and_keys_are_exact() {
    let rig = Rig::new();
    let found = rig.logs.files(&rig.load("partitioned"), AsOf::Latest).await.unwrap();
    all_are_there(&rig, &found).await;
    assert_eq!(found.snapshot.metadata.partition_columns, ["place", "day"]);
    let values: Vec<BTreeMap<String, Option<String>>> =
        found.files.iter().map(|file| file.partition_values.clone()).collect();
    let mut places: Vec<Option<&str>> = values.iter().map(|values| values["place"].as_deref()).collect();
    places.sort_unstable();
    let expected = ["50%", "a b", "a:b", "k=v", "plain", "q?#", "x/y", "\u{e9}"];
    assert_eq!(places, [None].into_iter().chain(expected.map(Some)).collect::<Vec<_>>());
    let mut days: Vec<Option<&str>> = values.iter().map(|values| values["day"].as_deref()).collect();
    days.sort_unstable();
    days.dedup();
    assert_eq!(days, [None, Some("2013-01-01"), Some("2013-01-02")]);
}

#[tokio::test]
async fn a_checkpoint_and_what_came_after_it_make_the_files() {
    let rig = Rig::new();
    let place = rig.load("history");
    let mut counts = Vec::new();
    for version in 0..=6 {
        let found = rig.logs.files(&place, AsOf::Version(version)).await.unwrap();
        all_are_there(&rig, &found).await;
        assert_eq!(found.snapshot.version, version);
        counts.push(found.files.len());
    }
    assert_eq!(counts, [1, 2, 3, 4, 5, 5, 1]);
    let expected = rig.logs.files(&place, AsOf::Version(5)).await.unwrap();
    for version in 0..4 {
        rig.unwrite(&place, &format!("{version:020}.json"));
    }
    let found = rig.logs.files(&place, AsOf::Version(5)).await.unwrap();
    assert_eq!(found.files, expected.files, "the checkpoint says the same as the commits before it");
    let refused = rig.logs.files(&place, AsOf::Version(3)).await.unwrap_err();
    assert_eq!(said(&refused), "invalid: the table has no version 3; it has versions 4 to 6");
    assert_eq!(refused.field(), Some("version"));
}

#[tokio::test]
async fn a_log_that_is_cleaned_up_under_what_is_remembered_is_read_anew() {
    let (rig, whole) = (Rig::new(), Rig::new());
    let (place, _) = (rig.load("history"), whole.load("history"));
    let name = "00000000000000000004.checkpoint.parquet";
    let key = format!("tables/history/_delta_log/{name}");
    let checkpoint = rig.objects.get(&place.storage, &bucket(), key.as_bytes(), None).await.unwrap().unwrap();
    for later in ["00000000000000000005.json", "00000000000000000006.json", name, "_last_checkpoint"] {
        rig.unwrite(&place, later);
    }
    assert_eq!(rig.logs.snapshot(&place, AsOf::Latest).await.unwrap().version, 4);
    rig.write(&place, name, &checkpoint, crate::rig::written(4));
    for version in 0..4 {
        rig.unwrite(&place, &format!("{version:020}.json"));
    }
    let found = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!(found.files, whole.logs.files(&place, AsOf::Version(4)).await.unwrap().files);
}

/// Written line by line: deltalake writes neither.
#[tokio::test]
async fn newer_checkpoints_and_compactions_say_the_same_as_the_commits() {
    let rig = Rig::new();
    let place = place("t");
    let mut begin = first(&json!({}));
    begin[0] = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v2Checkpoint"], "writerFeatures": ["v2Checkpoint"],
    }});
    let text = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    rig.commit(&place, 0, &[begin.clone(), vec![add("a")]].concat());
    rig.commit(&place, 1, &[add("b"), add("c")]);
    rig.commit(&place, 2, &[remove("b"), add("d")]);
    let commits = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!(paths(&commits.files), ["a", "c", "d"]);

    let compacted = text(&[add("c"), add("d"), remove("b")]);
    let at = crate::rig::written(2);
    rig.write(&place, "00000000000000000001.00000000000000000002.compacted.json", compacted.as_bytes(), at);
    let objects = Arc::clone(&rig.objects) as Arc<_>;
    let logs = Logs::new(objects, TaskTracker::new(), Limits::default());
    assert_eq!(paths(&logs.files(&place, AsOf::Latest).await.unwrap().files), ["a", "c", "d"]);

    let checkpoint =
        [vec![json!({"checkpointMetadata": {"version": 2}})], begin, vec![add("a"), add("c"), add("d")]].concat();
    let name = "00000000000000000002.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json";
    rig.write(&place, name, text(&checkpoint).as_bytes(), at);
    for version in 0..2 {
        rig.unwrite(&place, &format!("{version:020}.json"));
    }
    rig.commit(&place, 3, &[add("e")]);
    let found = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!((found.snapshot.version, paths(&found.files)), (3, vec!["a", "c", "d", "e"]));
    let snapshot = rig.logs.snapshot(&place, AsOf::Version(2)).await.unwrap();
    assert_eq!(snapshot.protocol.reader_features.as_deref(), Some(&["v2Checkpoint".to_owned()][..]));
}

#[tokio::test]
async fn column_mapping_keeps_the_names_of_the_log() {
    let rig = Rig::new();
    let found = rig.logs.files(&rig.load("mapped"), AsOf::Latest).await.unwrap();
    assert_eq!(found.snapshot.metadata.partition_columns, ["day"]);
    assert_eq!(found.snapshot.metadata.configuration["delta.columnMapping.mode"], "name");
    let protocol = &found.snapshot.protocol;
    assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (2, 5));
    let file = &found.files[0];
    assert_eq!(file.partition_values, BTreeMap::from([("col-bbb".to_owned(), Some("mon".to_owned()))]));
    assert_eq!(keys(&found.files), ["tables/mapped/Vd/part-0.parquet"]);
    let stats: Value = serde_json::from_str(file.stats.as_ref().unwrap()).unwrap();
    assert_eq!(stats, json!({"numRecords": 1, "minValues": {"col-aaa": 7}}));
}

#[tokio::test]
async fn deletion_vectors_are_told_with_their_place() {
    let rig = Rig::new();
    let found = rig.logs.files(&rig.load("vectors"), AsOf::Latest).await.unwrap();
    let protocol = &found.snapshot.protocol;
    assert_eq!(protocol.reader_features.as_deref(), Some(&["deletionVectors".to_owned()][..]));
    assert_eq!(
        paths(&found.files),
        ["part-0.parquet", "part-1.parquet", "part-2.parquet", "s3://other/shared/part-3.parquet"]
    );
    let vector = found.files[0].deletion_vector.as_ref().unwrap();
    assert_eq!((vector.storage_type.as_str(), vector.offset), ("u", Some(4)));
    assert_eq!((vector.size_in_bytes, vector.cardinality), (40, 6));
    let key = b"tables/vectors/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
    assert_eq!(vector.file, Some(Whereabouts::Inside(key[..].into())));
    assert_eq!((found.files[0].base_row_id, found.files[0].default_row_commit_version), (Some(3), Some(1)));
    assert_eq!(found.files[0].tags, BTreeMap::from([("k".to_owned(), None)]));
    let inline = found.files[1].deletion_vector.as_ref().unwrap();
    assert_eq!((inline.storage_type.as_str(), &inline.file), ("i", &None));
    let absolute = found.files[2].deletion_vector.as_ref().unwrap();
    assert_eq!(absolute.file, Some(Whereabouts::Inside(b"tables/vectors/dv x.bin"[..].into())));
    let elsewhere = Whereabouts::Elsewhere {
        bucket: BucketName::parse("other").unwrap(),
        key: b"shared/part-3.parquet"[..].into(),
    };
    assert_eq!(found.files[3].place, elsewhere);
}

#[tokio::test]
async fn files_that_climb_out_are_told_as_outside() {
    let rig = Rig::new();
    let place = place("dir/tbl");
    let hostile = [
        "../tbl2/p.parquet",
        "%2e%2e/tbl2/p",
        "/etc/passwd",
        "_delta_log/00000000000000000000.json",
        "file:///etc/passwd",
    ];
    let lines: Vec<Value> = first(&json!({})).into_iter().chain(hostile.map(add)).chain([add("good")]).collect();
    rig.commit(&place, 0, &lines);
    let found = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!(found.files.len(), hostile.len() + 1);
    for file in &*found.files {
        assert_eq!(file.place == Whereabouts::Outside, file.path != "good", "{}", file.path);
    }
    let read = rig.objects.take_calls();
    assert!(read.iter().all(|call| call.contains("dir/tbl/_delta_log/")), "{read:?}");
}

#[tokio::test]
async fn a_table_may_be_a_whole_bucket_or_have_any_key() {
    for root in ["", "a b/50%/\u{e9}", "a%20b", "x?y#z", "t.t/~"] {
        let rig = Rig::new();
        let at = place(root);
        let prefix = if root.is_empty() { String::new() } else { format!("{root}/") };
        let commit: String = first(&json!({})).iter().chain(&[add("p%20q")]).map(|line| format!("{line}\n")).collect();
        let key = format!("{prefix}_delta_log/00000000000000000000.json");
        rig.objects.put(&bucket(), key.as_bytes(), commit.as_bytes(), crate::rig::written(0));
        let found = rig.logs.files(&at, AsOf::Latest).await.unwrap();
        assert_eq!(keys(&found.files), [format!("{prefix}p q")], "{root}");
    }
}

#[tokio::test]
async fn what_is_remembered_follows_the_log() {
    let rig = Rig::new();
    let place = place("t");
    let latest = async || paths(&rig.logs.files(&place, AsOf::Latest).await.unwrap().files).join(" ");
    rig.commit(&place, 0, &[first(&json!({})), vec![add("a")]].concat());
    assert_eq!(latest().await, "a");
    rig.objects.take_calls();
    assert_eq!(latest().await, "a");
    assert_eq!(rig.objects.take_calls(), ["list t/_delta_log/"], "nothing is read twice while nothing changes");
    rig.commit(&place, 1, &[add("b"), remove("a")]);
    rig.commit(&place, 2, &[add("c")]);
    assert_eq!(latest().await, "b c");
    assert_eq!(rig.logs.version(&place, AsOf::Latest).await.unwrap(), 2);
    let snapshot = rig.logs.snapshot(&place, AsOf::Version(1)).await.unwrap();
    assert_eq!(snapshot.version, 1);

    // The table is made anew: its log ends elsewhere, and then in a version that was there before.
    rig.unwrite(&place, "00000000000000000001.json");
    rig.unwrite(&place, "00000000000000000002.json");
    assert_eq!(latest().await, "a");
    rig.commit(&place, 1, &[add("x")]);
    assert_eq!(latest().await, "a x");
    rig.write(&place, "00000000000000000001.json", format!("{}\n", add("yy")).as_bytes(), crate::rig::written(9));
    assert_eq!(latest().await, "a yy");
    for version in 0..2 {
        rig.unwrite(&place, &format!("{version:020}.json"));
    }
    let refused = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&refused), "not_found: there is no Delta table at this place");
}

/// The table that `valetkey dev` shares: `demo/README.md` says what is in it.
#[tokio::test]
async fn the_demos_table_is_what_its_description_says() {
    let rig = Rig::new();
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/data/flights-lake");
    for entry in walkdir::WalkDir::new(data.join("tables")).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            let key = entry.path().strip_prefix(&data).unwrap().to_str().unwrap();
            rig.objects.put(&bucket(), key.as_bytes(), &std::fs::read(entry.path()).unwrap(), crate::rig::written(0));
        }
    }
    let place = place("tables/flights");
    let mut rows = Vec::new();
    for version in 0..4 {
        let found = rig.logs.files(&place, AsOf::Version(version)).await.unwrap();
        all_are_there(&rig, &found).await;
        let counts = found.files.iter().map(|file| {
            let stats: Value = serde_json::from_str(file.stats.as_ref().unwrap()).unwrap();
            stats["numRecords"].as_u64().unwrap()
        });
        rows.push(counts.sum::<u64>());
    }
    assert_eq!(rows, [2699, 3614, 3586, 3586]);
    let changes = rig.logs.changes(&place, AsOf::Version(0), AsOf::Latest).await.unwrap();
    assert_eq!(changes.commits.len(), 4);
    assert!(changes.before.metadata.keeps_changes());
}
