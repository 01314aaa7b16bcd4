//! Looking a data directory over, with and without a server on it.

use std::path::Path;

use serde_json::Value;

use crate::process::{Server, ran, valetkey};

fn scrub(dir: &Path) -> (Option<i32>, Value) {
    let dir = dir.to_str().unwrap();
    let output = ran(&mut valetkey(&["storage", "scrub", "--data-dir", dir, "--output", "json"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code(), report)
}

#[test]
fn a_data_directory_is_looked_over_without_a_server_and_beside_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::dev(dir.path());
    let (code, beside) = scrub(dir.path());
    assert_eq!((code, &beside["damaged"], &beside["unproven"]), (Some(0), &0.into(), &0.into()), "{beside}");
    assert!(beside["objects"].as_u64().unwrap() >= 9 && beside["bytes"].as_u64().unwrap() > 1000, "{beside}");
    server.stop();
    assert_eq!(scrub(dir.path()), (Some(0), beside));

    // The disk forgets a bit of an object.
    let shards = std::fs::read_dir(dir.path().join("objects/files")).unwrap();
    let mut files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let file = files.next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, report) = scrub(dir.path());
    assert_eq!((code, &report["damaged"]), (Some(1), &1.into()), "{report}");
    let damage = &report["damages"][0];
    assert!(damage["what"].as_str().unwrap().starts_with("the object `"), "{report}");
    assert_eq!(damage["file"], file.to_str().unwrap());
    assert_eq!((&report["blobs"], &report["manifests"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn a_scrub_says_where_it_found_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = ran(&mut valetkey(&["storage", "scrub", "--data-dir", dir.path().to_str().unwrap()]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("index.sqlite"), "{said}");
    let bad = ran(&mut valetkey(&["storage", "scrub", "--config", "/no/such/file"]));
    assert_eq!(bad.status.code(), Some(2));
}

/// A database on a server that nothing is asked of.
const ELSEWHERE: [(&str, &str); 3] = [
    ("VALETKEY_DATABASE__URL", "postgres://valetkey@127.0.0.1:1/valetkey"),
    ("VALETKEY_API__PUBLIC_URL", "https://valetkey.example.com"),
    ("VALETKEY_S3__PUBLIC_URL", "https://s3.example.com"),
];

#[test]
fn a_scrub_says_nothing_of_packages_that_a_database_on_a_server_lists() {
    let dir = tempfile::tempdir().unwrap();
    Server::dev(dir.path()).stop();
    let at = dir.path().to_str().unwrap();
    let mut command = valetkey(&["storage", "scrub", "--data-dir", at]);
    let output = ran(command.envs(ELSEWHERE));
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("packages were not read"), "{said}");
    assert!(shown.contains("sound") && !shown.contains("blobs") && !shown.contains("manifests"), "{shown}");
    let mut command = valetkey(&["storage", "scrub", "--data-dir", at, "--output", "json"]);
    let output = ran(command.envs(ELSEWHERE));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["packages_read"], &report["blobs"]), (&false.into(), &Value::Null), "{report}");
}
