//! Whole or not at all: under concurrent writers and readers, and over a crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use valetkey_s3::{Config, Endpoint};

use crate::multipart::until_files;
use crate::rig::{BUCKET, Rig, STORAGE, noise};

/// Every file below a directory.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_sees_the_old_or_the_new_object_whole() {
    let rig = Arc::new(Rig::start().await);
    let credential = rig.whole();
    // From inline to several chunks, so that every way of keeping an object is replaced by every other.
    let bodies: Arc<Vec<Vec<u8>>> =
        Arc::new([100, 20_000, 300_000, 900_000].map(|size| noise(size as u64, size)).into());
    rig.put(BUCKET, "o", bodies[0].clone()).await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (rig, credential, bodies, over) =
                (Arc::clone(&rig), credential.clone(), Arc::clone(&bodies), Arc::clone(&over));
            rig.tasks.clone().spawn(async move {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) {
                    let got = rig.get("/lake/o", &credential).await;
                    assert_eq!(got.status, 200, "{}", got.text());
                    assert!(bodies.contains(&got.body), "{} bytes that nobody wrote", got.body.len());
                    seen += 1;
                }
                seen
            })
        })
        .collect();
    for turn in 0..60 {
        let body = bodies[turn * 7 % bodies.len()].clone();
        rig.send(rig.ask("PUT", "/lake/o").body(body.clone()), &credential).await.ok();
        // Whoever wrote reads it at once.
        assert!(rig.get("/lake/o", &credential).await.body == body);
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    rig.send(rig.ask("DELETE", "/lake/o"), &credential).await.ok();
    until_files(&rig, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_creates_a_key() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for round in 0..5 {
        let target = format!("/lake/o{round}");
        let puts = (0..16).map(|n| {
            let ask = rig.ask("PUT", &target).header("if-none-match", "*").body(noise(n, 20_000 + n as usize));
            rig.send(ask, &credential)
        });
        let answers = futures::future::join_all(puts).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        let lost = answers.iter().filter(|answer| answer.status == 412).count();
        assert_eq!((won, lost), (1, 15));
    }
    until_files(&rig, 5).await;
    // And of many that change what they read, all but one are told to read again.
    let etag = rig.get("/lake/o0", &credential).await.header("etag").unwrap().to_owned();
    let puts = (0..16)
        .map(|n| rig.send(rig.ask("PUT", "/lake/o0").header("if-match", &etag).body(noise(100 + n, 50)), &credential));
    let answers = futures::future::join_all(puts).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash_and_the_rest_is_swept() {
    let crashed = Arc::new(TempDir::new().unwrap());
    let (small, large) = (noise(1, 500), noise(2, 500_000));
    let credential;
    {
        let rig = Rig::start().await;
        credential = rig.whole();
        rig.send(rig.ask("PUT", "/lake/small").body(small.clone()), &credential).await.ok();
        rig.send(rig.ask("PUT", "/lake/large").body(large.clone()), &credential).await.ok();
        rig.send(rig.ask("PUT", "/lake/gone").body(large.clone()), &credential).await.ok();
        rig.send(rig.ask("DELETE", "/lake/gone"), &credential).await.ok();
        let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &credential).await.one("UploadId");
        let part = rig.ask("PUT", &format!("/lake/parts?partNumber=1&uploadId={id}")).body(large.clone());
        rig.send(part, &credential).await.ok();
        until_files(&rig, 2).await;
        // What a kill leaves: everything as it is on the disk now, with nothing closed, and files that were written but
        // never referred to.
        let (from, to) = (rig.dir.path().join("objects"), crashed.path().join("objects"));
        for entry in walk(&from) {
            let target = to.join(entry.strip_prefix(&from).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(&entry, target).unwrap();
        }
        let shard = to.join("files/00");
        std::fs::create_dir_all(&shard).unwrap();
        for name in ["0000010000001000", "0000000000000040"] {
            std::fs::write(shard.join(name), b"half an obj").unwrap();
        }
        let config = Config::new(STORAGE, from);
        assert!(Endpoint::open(config, rig.world()).await.is_err(), "two have one directory");
    }
    let rig = Rig::start_in(crashed, |_| {}).await;
    until_files(&rig, 2).await;
    assert!(rig.get("/lake/small", &credential).await.body == small);
    assert!(rig.get("/lake/large", &credential).await.body == large);
    rig.get("/lake/gone", &credential).await.is(404, "NoSuchKey");
    rig.get("/lake/parts", &credential).await.is(404, "NoSuchKey");
    // Written after the sweep began, and not swept.
    rig.send(rig.ask("PUT", "/lake/new").body(large.clone()), &credential).await.ok();
    assert!(rig.get("/lake/new", &credential).await.body == large);
}

#[tokio::test]
async fn a_multipart_object_is_read_to_its_end_though_it_was_deleted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rig = Rig::start().await;
    let credential = rig.whole();
    let id = rig.send(rig.ask("POST", "/lake/o?uploads="), &credential).await.one("UploadId");
    let bodies = [noise(1, 5 * 1024 * 1024), noise(2, 5 * 1024 * 1024), noise(3, 100)];
    let mut parts = String::new();
    for (at, body) in bodies.iter().enumerate() {
        let ask = rig.ask("PUT", &format!("/lake/o?partNumber={}&uploadId={id}", at + 1)).body(body.clone());
        let etag = rig.send(ask, &credential).await.ok().header("etag").unwrap().to_owned();
        parts.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", at + 1));
    }
    let complete = rig.ask("POST", &format!("/lake/o?uploadId={id}"));
    let complete = complete.body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"));
    rig.send(complete, &credential).await.ok();
    let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&rig.ask("GET", "/lake/o").signed(&credential)).await.unwrap();
    let mut got = vec![0; 1000];
    socket.read_exact(&mut got).await.unwrap();
    rig.send(rig.ask("DELETE", "/lake/o"), &credential).await.ok();
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
    socket.read_to_end(&mut got).await.unwrap();
    assert!(got.ends_with(&bodies.concat()));
    until_files(&rig, 0).await;
}

#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let rig = Rig::start().await;
    let credential = rig.whole();
    let ask = rig.ask("PUT", "/lake/o").header("content-length", "9000000").told("UNSIGNED-PAYLOAD");
    let wire = ask.body(noise(1, 3_000_000)).signed(&credential);
    let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&wire).await.unwrap();
    until_files(&rig, 1).await;
    drop(socket);
    until_files(&rig, 0).await;
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
}

#[tokio::test]
async fn a_completion_is_known_after_a_restart() {
    let restarted = Arc::new(TempDir::new().unwrap());
    let rig = Rig::start().await;
    let credential = rig.whole();
    let id = rig.send(rig.ask("POST", "/lake/o?uploads="), &credential).await.one("UploadId");
    let part = rig.send(rig.ask("PUT", &format!("/lake/o?partNumber=1&uploadId={id}")).body("x"), &credential).await;
    let part = part.ok().header("etag").unwrap().to_owned();
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = |rig: &Rig| rig.ask("POST", &format!("/lake/o?uploadId={id}")).body(document.clone());
    let first = rig.send(complete(&rig), &credential).await.ok().one("ETag");
    let (from, to) = (rig.dir.path().join("objects"), restarted.path().join("objects"));
    for entry in walk(&from) {
        let target = to.join(entry.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&entry, target).unwrap();
    }
    let rig = Rig::start_in(restarted, |_| {}).await;
    assert_eq!(rig.send(complete(&rig), &credential).await.ok().one("ETag"), first);
}

#[tokio::test]
async fn a_bucket_of_before_its_age_was_kept_is_as_old_as_the_next_start() {
    let dir = Arc::new(TempDir::new().unwrap());
    let rig = Rig::start().await;
    rig.put(BUCKET, "a", "kept").await;
    let (from, to) = (rig.dir.path().join("objects"), dir.path().join("objects"));
    for entry in walk(&from) {
        let target = to.join(entry.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&entry, target).unwrap();
    }
    let mut index = SqliteConnectOptions::new().filename(to.join("index.sqlite")).connect().await.unwrap();
    for sql in ["ALTER TABLE buckets DROP COLUMN created_ms", "DELETE FROM _sqlx_migrations WHERE version = 6"] {
        sqlx::query(sql).execute(&mut index).await.unwrap();
    }
    index.close().await.unwrap();
    let rig = Rig::start_in(dir, |_| {}).await;
    let key = rig.whole();
    assert_eq!(rig.get("/lake/a", &key).await.body, b"kept");
    assert_eq!(rig.get("/", &key).await.one("CreationDate"), "2026-01-01T00:00:00.000Z");
}
