//! Disks forget: what is no longer what was written is not given out as if it were, and a scrub finds all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use valetkey_s3::{Config, Damage, Endpoint, Scrubbed, scrub};

use crate::multipart::until_files;
use crate::rig::{Answer, Credential, Rig, STORAGE, noise};

/// The data files, the largest first.
fn files(rig: &Rig) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shard in std::fs::read_dir(rig.dir.path().join("objects/files")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            found.push(file.unwrap().path());
        }
    }
    found.sort_by_key(|file| std::cmp::Reverse(std::fs::metadata(file).unwrap().len()));
    found
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// One bit is another now.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

async fn scrubbed(rig: &Rig) -> (Scrubbed, Vec<Damage>) {
    let mut found = Vec::new();
    let mut tell = |damage: &Damage| found.push(damage.clone());
    let done = scrub(&rig.dir.path().join("objects"), &mut tell).await.unwrap();
    (done, found)
}

/// Puts an object in parts of these sizes.
async fn in_parts(rig: &Rig, key: &Credential, begin: (&str, &str), sizes: &[usize]) -> Vec<u8> {
    let ask = rig.ask("POST", "/lake/parts?uploads=").header("x-amz-checksum-algorithm", begin.0);
    let id = rig.send(ask.header("x-amz-checksum-type", begin.1), key).await.one("UploadId");
    let (mut listed, mut whole) = (String::new(), Vec::new());
    for (at, size) in sizes.iter().enumerate() {
        let (body, number) = (noise(at as u64 + 1, *size), at + 1);
        let ask = rig.ask("PUT", &format!("/lake/parts?partNumber={number}&uploadId={id}")).body(body.clone());
        let etag = rig.send(ask, key).await.ok().header("etag").unwrap().to_owned();
        listed.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        whole.extend(body);
    }
    let ask = rig.ask("POST", &format!("/lake/parts?uploadId={id}"));
    let done = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    rig.send(ask.body(done), key).await.ok();
    whole
}

/// It ended before its last bytes, with an error: the connection did not end where the answer said it would.
#[track_caller]
fn broke_off(answer: &Answer, size: usize) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
    assert!(answer.body.len() < size, "all of it came");
}

#[tokio::test]
async fn a_whole_object_that_is_not_what_was_written_ends_with_an_error() {
    let rig = Rig::start().await;
    let key = rig.whole();
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] {
        let named = |ask: crate::rig::Ask| ask.header("x-amz-sdk-checksum-algorithm", algorithm);
        // In one chunk: before anything of it is sent.
        rig.send(named(rig.ask("PUT", "/lake/o").body(noise(1, 100_000))), &key).await.ok();
        until_files(&rig, 1).await;
        assert!(rig.get("/lake/o", &key).await.body == noise(1, 100_000));
        flip(&files(&rig)[0], 99_999);
        rig.get("/lake/o", &key).await.is(500, "InternalError");
        let copy = rig.ask("PUT", "/lake/copy").header("x-amz-copy-source", "lake/o");
        rig.send(copy, &key).await.is(500, "InternalError");
        rig.get("/lake/copy", &key).await.is(404, "NoSuchKey");
        // Of a piece nothing is known, and what is said of it needs no bytes.
        let some = rig.send(rig.ask("GET", "/lake/o").header("range", "bytes=0-9"), &key).await;
        assert!(some.status == 206 && some.body == noise(1, 100_000)[..10]);
        rig.send(rig.ask("HEAD", "/lake/o"), &key).await.ok();
        // In several: before its last bytes are.
        rig.send(named(rig.ask("PUT", "/lake/o").body(noise(2, 1_000_000))), &key).await.ok();
        until_files(&rig, 1).await;
        flip(&files(&rig)[0], 0);
        broke_off(&rig.get("/lake/o", &key).await, 1_000_000);
        let copy = rig.ask("PUT", "/lake/copy").header("x-amz-copy-source", "lake/o");
        rig.send(copy, &key).await.is(500, "InternalError");
        until_files(&rig, 1).await;
        let (done, found) = scrubbed(&rig).await;
        assert_eq!((done.objects, done.damaged, found.len()), (1, 1, 1));
        assert!(found[0].what.contains("`lake/o`") && found[0].file == files(&rig)[0], "{found:?}");
        // Written anew it is sound again.
        rig.send(named(rig.ask("PUT", "/lake/o").body(noise(3, 1_000_000))), &key).await.ok();
        assert!(rig.get("/lake/o", &key).await.body == noise(3, 1_000_000));
        until_files(&rig, 1).await;
        assert_eq!(scrubbed(&rig).await.0.damaged, 0);
    }
}

#[tokio::test]
async fn an_object_in_parts_is_proven_by_what_is_kept_of_its_parts() {
    let rig = Rig::start().await;
    let key = rig.whole();
    let sizes = [5 * 1024 * 1024, 5 * 1024 * 1024 + 1, 1000];
    for begin in
        [("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT")]
    {
        let all = [(0, 5_000_000), (1, 5), (2, 999)];
        // The rest of it is tested on its own: this costs thirty megabytes each.
        for (at, byte) in if begin.0 == "CRC32" { &all[..] } else { &all[2..] } {
            let whole = in_parts(&rig, &key, begin, &sizes).await;
            until_files(&rig, 3).await;
            assert!(rig.get("/lake/parts", &key).await.body == whole, "{begin:?}");
            assert_eq!(scrubbed(&rig).await.0.damaged, 0, "{begin:?}");
            // The largest is the second part.
            let file = &files(&rig)[[1, 0, 2][*at]];
            flip(file, *byte);
            broke_off(&rig.get("/lake/parts", &key).await, whole.len());
            let (done, found) = scrubbed(&rig).await;
            assert_eq!((done.objects, done.damaged), (1, 1), "{begin:?} {at}");
            assert!(found[0].what.contains("`lake/parts`"), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_too_short_or_gone_is_no_success() {
    let rig = Rig::start().await;
    let key = rig.whole();
    rig.send(rig.ask("PUT", "/lake/o").body(noise(1, 1_000_000)), &key).await.ok();
    until_files(&rig, 1).await;
    let file = files(&rig).remove(0);
    std::fs::File::options().write(true).open(&file).unwrap().set_len(900_000).unwrap();
    rig.get("/lake/o", &key).await.is(500, "InternalError");
    let range = |range: &str| rig.ask("GET", "/lake/o").header("range", range);
    rig.send(range("bytes=0-999999"), &key).await.is(500, "InternalError");
    rig.send(range("bytes=899990-900010"), &key).await.is(500, "InternalError");
    assert_eq!(rig.send(range("bytes=0-899999"), &key).await.body.len(), 900_000);
    let (_, found) = scrubbed(&rig).await;
    assert!(found.len() == 1 && found[0].why.contains("shorter"), "{found:?}");
    std::fs::remove_file(&file).unwrap();
    rig.get("/lake/o", &key).await.is(500, "InternalError");
    let (_, found) = scrubbed(&rig).await;
    assert!(found.len() == 1 && found[0].why.contains("missing") && found[0].file == file, "{found:?}");
    // In the middle of several files, and before a byte of the first one is sent.
    in_parts(&rig, &key, ("CRC32", "COMPOSITE"), &[5 * 1024 * 1024, 5 * 1024 * 1024 + 1, 1000]).await;
    until_files(&rig, 3).await;
    std::fs::File::options().write(true).open(&files(&rig)[0]).unwrap().set_len(5).unwrap();
    rig.get("/lake/parts", &key).await.is(500, "InternalError");
}

#[tokio::test]
async fn small_objects_and_unfinished_parts_are_proven_too() {
    let dir = {
        let rig = Rig::start().await;
        let key = rig.whole();
        rig.send(rig.ask("PUT", "/lake/small").body("some words"), &key).await.ok();
        rig.send(rig.ask("PUT", "/lake/other").body("other words"), &key).await.ok();
        rig.send(rig.ask("PUT", "/lake/empty"), &key).await.ok();
        let id = rig.send(rig.ask("POST", "/lake/open?uploads="), &key).await.one("UploadId");
        let part = rig.ask("PUT", &format!("/lake/open?partNumber=7&uploadId={id}")).body(noise(1, 300_000));
        rig.send(part, &key).await.ok();
        let (done, found) = scrubbed(&rig).await;
        let bytes = 10 + 11 + 300_000;
        assert_eq!(done, Scrubbed { objects: 3, parts: 1, bytes, damaged: 0, unproven: 0 }, "{found:?}");
        flip(&files(&rig)[0], 100);
        let index = rig.dir.path().join("objects/index.sqlite");
        let mut index = SqliteConnectOptions::new().filename(index).connect().await.unwrap();
        let changed = sqlx::query("UPDATE contents SET bytes = x'736f6d6520576f726473' WHERE length(bytes) = 10");
        assert_eq!(changed.execute(&mut index).await.unwrap().rows_affected(), 1);
        index.close().await.unwrap();
        // Another process finds it, one that remembers nothing.
        let there = TempDir::new().unwrap();
        copy(rig.dir.path(), there.path());
        Arc::new(there)
    };
    let rig = Rig::start_in(dir, |_| {}).await;
    let key = rig.whole();
    rig.get("/lake/small", &key).await.is(500, "InternalError");
    assert_eq!(rig.get("/lake/other", &key).await.text(), "other words");
    assert_eq!(rig.get("/lake/empty", &key).await.text(), "");
    let (done, mut found) = scrubbed(&rig).await;
    found.sort_by(|one, other| one.what.cmp(&other.what));
    assert_eq!((done.damaged, found.len()), (2, 2), "{found:?}");
    assert!(found[0].what.contains("part 7") && found[0].what.contains("open"), "{found:?}");
    assert!(found[1].what.contains("`lake/small`") && found[1].file.ends_with("index.sqlite"), "{found:?}");
}

#[tokio::test]
async fn a_scrub_of_nothing_says_so_and_one_of_rubbish_names_the_file() {
    let dir = TempDir::new().unwrap();
    let missing = scrub(dir.path(), &mut |_| {}).await.unwrap_err();
    assert!(missing.to_string().contains("index.sqlite"), "{missing}");
    std::fs::write(dir.path().join("index.sqlite"), noise(1, 5000)).unwrap();
    let rubbish = scrub(dir.path(), &mut |_| {}).await.unwrap_err();
    assert!(rubbish.to_string().contains("index.sqlite"), "{rubbish}");
}

#[tokio::test]
async fn what_keeps_a_server_from_starting_is_named() {
    let rig = Rig::start().await;
    for name in ["index.sqlite", "files", "lock"] {
        let dir = TempDir::new().unwrap();
        match name {
            "lock" => std::fs::create_dir(dir.path().join(name)).unwrap(),
            _ => std::fs::write(dir.path().join(name), noise(1, 5000)).unwrap(),
        }
        let config = Config::new(STORAGE, dir.path().to_owned());
        let Err(error) = Endpoint::open(config, rig.world()).await else { panic!("{name}") };
        assert!(error.to_string().contains(dir.path().join(name).to_str().unwrap()), "{error}");
    }
}
