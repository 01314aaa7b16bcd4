//! The disk is not filled: below its mark nothing new is stored, however it comes, and what frees room goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use valetkey_s3::{MinFree, Room, Space};

use crate::multipart::until_files;
use crate::rig::{Answer, Credential, Rig, noise};

const MIB: u64 = 1024 * 1024;

/// An endpoint whose disk is as full as the tests say; ten MiB are kept free.
async fn rig() -> (Rig, Arc<AtomicU64>) {
    rig_with(0).await
}

/// The same; whenever the disk is looked at, there is so much less.
async fn rig_with(less: u64) -> (Rig, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(1000 * MIB));
    let own = Arc::clone(&free);
    let measure = Arc::new(move || Ok(Room { free: own.fetch_sub(less, Ordering::SeqCst), total: 2000 * MIB }));
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| {
        config.space = Space::measured(MinFree::Bytes(10 * MIB), measure);
    });
    (rig.await, free)
}

#[track_caller]
fn no_room(answer: &Answer) {
    answer.is(503, "ServiceUnavailable");
    assert_eq!(answer.header("retry-after"), Some("30"));
}

async fn begun(rig: &Rig, target: &str, credential: &Credential) -> String {
    rig.send(rig.ask("POST", &format!("{target}?uploads=")), credential).await.one("UploadId")
}

async fn part(rig: &Rig, target: &str, id: &str, credential: &Credential, body: Vec<u8>) -> Answer {
    rig.send(rig.ask("PUT", &format!("{target}?partNumber=1&uploadId={id}")).body(body), credential).await
}

#[tokio::test]
async fn below_the_mark_nothing_new_is_stored_and_room_can_be_freed() {
    let (rig, free) = rig().await;
    let key = rig.whole();
    for (name, size) in [("small", 100), ("large", 300_000), ("more", 100), ("most", 300_000)] {
        rig.send(rig.ask("PUT", &format!("/lake/{name}")).body(noise(1, size)), &key).await.ok();
    }
    let (ending, completing) = (begun(&rig, "/lake/ending", &key).await, begun(&rig, "/lake/done", &key).await);
    part(&rig, "/lake/ending", &ending, &key, noise(2, 300_000)).await.ok();
    let etag =
        part(&rig, "/lake/done", &completing, &key, noise(3, 300_000)).await.ok().header("etag").unwrap().to_owned();
    until_files(&rig, 4).await;

    free.store(10 * MIB - 1, Ordering::SeqCst);
    let copy = |target: &str| rig.ask("PUT", target).header("x-amz-copy-source", "lake/large");
    for refused in [
        rig.ask("PUT", "/lake/new").body(noise(4, 100)),
        rig.ask("PUT", "/lake/new").body(noise(4, 300_000)),
        rig.ask("PUT", "/lake/new"),
        rig.ask("PUT", "/lake/small").body(noise(4, 1)),
        copy("/lake/new"),
        rig.ask("POST", "/lake/new?uploads="),
        rig.ask("PUT", &format!("/lake/ending?partNumber=2&uploadId={ending}")).body(noise(4, 10)),
        copy(&format!("/lake/ending?partNumber=2&uploadId={ending}")),
    ] {
        no_room(&rig.send(refused, &key).await);
    }
    until_files(&rig, 4).await;
    assert!(rig.get("/lake/small", &key).await.body == noise(1, 100));
    assert!(rig.get("/lake/large", &key).await.body == noise(1, 300_000));
    assert_eq!(rig.get("/lake?list-type=2", &key).await.all("Key").len(), 4);
    // What is there already may become an object; what is given up goes.
    let whole = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    rig.send(rig.ask("POST", &format!("/lake/done?uploadId={completing}")).body(whole), &key).await.ok();
    rig.send(rig.ask("DELETE", &format!("/lake/ending?uploadId={ending}")), &key).await.ok();
    rig.send(rig.ask("DELETE", "/lake/large"), &key).await.ok();
    let many = "<Delete><Object><Key>small</Key></Object><Object><Key>most</Key></Object></Delete>";
    let digest = data_encoding::BASE64.encode(&<[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(many)));
    rig.send(rig.ask("POST", "/lake?delete=").header("content-md5", &digest).body(many), &key).await.ok();
    assert_eq!(rig.get("/lake?list-type=2", &key).await.all("Key"), ["done", "more"]);
    until_files(&rig, 1).await;

    free.store(20 * MIB, Ordering::SeqCst);
    rig.send(rig.ask("PUT", "/lake/new").body(noise(4, 300_000)), &key).await.ok();
}

#[tokio::test]
async fn an_upload_ends_where_the_room_does() {
    // Each look at the disk finds half a MiB less, until it is asked to find more.
    let (rig, free) = rig_with(MIB / 2).await;
    let key = rig.whole();
    free.store(1000 * MIB, Ordering::SeqCst);
    let id = begun(&rig, "/lake/parts", &key).await;
    for target in ["/lake/one".to_owned(), format!("/lake/parts?partNumber=1&uploadId={id}")] {
        let put = |size: usize| rig.ask("PUT", &target).told("UNSIGNED-PAYLOAD").body(noise(1, size));
        // There is room when it begins.
        free.store(11 * MIB, Ordering::SeqCst);
        no_room(&rig.send(put(3 * 1024 * 1024 / 2), &key).await);
        until_files(&rig, 0).await;
        free.store(1000 * MIB, Ordering::SeqCst);
        rig.send(put(3 * 1024 * 1024 / 2), &key).await.ok();
        until_files(&rig, 1).await;
        rig.send(rig.ask("DELETE", "/lake/one"), &key).await.ok();
        until_files(&rig, usize::from(target != "/lake/one")).await;
    }
}
