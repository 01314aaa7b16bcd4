//! Looking a data directory over, with and without a server on it.

use std::path::Path;

use serde_json::Value;

use crate::process::{Server, ran, valetkey};

/// Part of an object that the demo writes.
const WORDS: &[u8] = b"Write here with the key of the caller";

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

    // The disk forgets a bit of a small object, which lies in the index.
    let index = dir.path().join("objects/index.sqlite");
    let mut bytes = std::fs::read(&index).unwrap();
    let at = bytes.windows(WORDS.len()).position(|window| window == WORDS).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&index, bytes).unwrap();
    let (code, report) = scrub(dir.path());
    assert_eq!((code, &report["damaged"]), (Some(1), &1.into()), "{report}");
    let damage = &report["damages"][0];
    assert_eq!(damage["what"], "the object `flights-lake/flights/staging/README.txt`");
    assert_eq!(damage["file"], index.to_str().unwrap());
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
