//! What one account keeps is bounded, however it comes, and counted right through every change.

use std::sync::Arc;

use tempfile::TempDir;
use valetkey_core::account::{Kept, OwnLimit, OwnQuota};
use valetkey_s3::Quota;

use crate::multipart::until_files;
use crate::rig::{Answer, Credential, Rig, noise};

async fn rig(quota: Quota) -> Rig {
    Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.limits.quota = quota).await
}

async fn put(rig: &Rig, key: &Credential, target: &str, size: usize) -> Answer {
    rig.send(rig.ask("PUT", target).body(noise(1, size)), key).await
}

async fn part(rig: &Rig, key: &Credential, id: &str, number: u32, size: usize) -> Answer {
    put(rig, key, &format!("/lake/parts?partNumber={number}&uploadId={id}"), size).await
}

async fn complete(rig: &Rig, key: &Credential, id: &str, part: &Answer) -> Answer {
    let etag = part.ok().header("etag").unwrap();
    let whole = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    rig.send(rig.ask("POST", &format!("/lake/parts?uploadId={id}")).body(whole), key).await
}

#[tokio::test]
async fn an_account_keeps_so_many_bytes_and_no_more() {
    let rig = rig(Quota { bytes: Some(1_000_000), objects: None }).await;
    let key = rig.whole();
    let refused = |answer: &Answer| answer.is(403, "QuotaExceeded");
    put(&rig, &key, "/lake/a", 600_000).await.ok();
    put(&rig, &key, "/lake/small", 10_000).await.ok();
    refused(&put(&rig, &key, "/lake/b", 400_000).await);
    rig.get("/lake/b", &key).await.is(404, "NoSuchKey");
    put(&rig, &key, "/lake/b", 390_000).await.ok();
    refused(&put(&rig, &key, "/lake/c", 1).await);
    let copy = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "lake/small");
    refused(&rig.send(copy, &key).await);
    let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &key).await.one("UploadId");
    refused(&part(&rig, &key, &id, 1, 10).await);
    until_files(&rig, 2).await;
    // Deleting makes room, and a part takes some, whether or not it becomes an object.
    rig.send(rig.ask("DELETE", "/lake/a"), &key).await.ok();
    part(&rig, &key, &id, 1, 500_000).await.ok();
    refused(&put(&rig, &key, "/lake/c", 100_001).await);
    // A part in place of another, and one that is left out.
    let kept = part(&rig, &key, &id, 1, 80_000).await;
    part(&rig, &key, &id, 2, 20_000).await.ok();
    put(&rig, &key, "/lake/c", 500_000).await.ok();
    refused(&put(&rig, &key, "/lake/d", 1).await);
    complete(&rig, &key, &id, &kept).await.ok();
    put(&rig, &key, "/lake/d", 20_000).await.ok();
    refused(&put(&rig, &key, "/lake/e", 1).await);
    // What is given up is free again.
    for gone in ["parts", "c", "d"] {
        rig.send(rig.ask("DELETE", &format!("/lake/{gone}")), &key).await.ok();
    }
    let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &key).await.one("UploadId");
    part(&rig, &key, &id, 1, 600_000).await.ok();
    refused(&put(&rig, &key, "/lake/e", 1).await);
    rig.send(rig.ask("DELETE", &format!("/lake/parts?uploadId={id}")), &key).await.ok();
    put(&rig, &key, "/lake/e", 600_000).await.ok();
    until_files(&rig, 2).await;
}

#[tokio::test]
async fn an_accounts_own_quota_holds_from_the_next_request_on_and_bounds_writes_alone() {
    let rig = rig(Quota { bytes: Some(1_000_000), objects: None }).await;
    let key = rig.whole();
    let own = |bytes, objects| {
        *rig.leases.quota.lock().unwrap() = OwnQuota { bytes: OwnLimit::of(bytes), objects: OwnLimit::of(objects) };
    };
    let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &key).await.one("UploadId");
    let ready = part(&rig, &key, &id, 1, 10).await;
    put(&rig, &key, "/lake/a", 600_000).await.ok();
    put(&rig, &key, "/lake/b", 600_000).await.is(403, "QuotaExceeded");
    own(Some(2_000_000), Some(2));
    put(&rig, &key, "/lake/b", 600_000).await.ok();
    put(&rig, &key, "/lake/c", 10).await.is(403, "QuotaExceeded");
    complete(&rig, &key, &id, &ready).await.is(403, "QuotaExceeded");
    own(Some(0), Some(0));
    complete(&rig, &key, &id, &ready).await.ok();
    put(&rig, &key, "/lake/c", 900_000).await.ok();
    let account = rig.endpoint.kept(None).await.unwrap();
    assert_eq!(account.into_values().collect::<Vec<_>>(), [Kept { bytes: 2_100_010, objects: 4 }]);
    // Below what is there: what is there stays, and is read and deleted.
    own(Some(1000), Some(1));
    for (target, size) in [("/lake/d", 1), ("/lake/a", 1)] {
        put(&rig, &key, target, size).await.is(403, "QuotaExceeded");
    }
    let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &key).await.one("UploadId");
    part(&rig, &key, &id, 1, 10).await.is(403, "QuotaExceeded");
    assert_eq!(rig.get("/lake/a", &key).await.ok().body.len(), 600_000);
    rig.send(rig.ask("GET", "/lake"), &key).await.ok();
    for gone in ["a", "b", "c", "parts"] {
        rig.send(rig.ask("DELETE", &format!("/lake/{gone}")), &key).await.ok();
    }
    put(&rig, &key, "/lake/d", 1000).await.ok();
    put(&rig, &key, "/lake/d", 1).await.is(403, "QuotaExceeded");
    own(None, None);
    put(&rig, &key, "/lake/e", 900_000).await.ok();
    put(&rig, &key, "/lake/f", 900_000).await.is(403, "QuotaExceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_get_no_further_than_one() {
    let rig = rig(Quota { bytes: Some(1_000_000), objects: None }).await;
    let key = rig.whole();
    let targets: Vec<String> = (0..16).map(|n| format!("/lake/o{n}")).collect();
    let puts = targets.iter().map(|target| put(&rig, &key, target, 300_000));
    let answers = futures::future::join_all(puts).await;
    let stored = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(stored <= 3, "{stored}");
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| answer.outcome().1 == "QuotaExceeded"));
    until_files(&rig, stored).await;
    // What was refused left nothing behind that counts.
    for n in stored..3 {
        put(&rig, &key, &format!("/lake/more{n}"), 300_000).await.ok();
    }
    put(&rig, &key, "/lake/last", 300_000).await.is(403, "QuotaExceeded");
}

#[tokio::test]
async fn an_account_keeps_so_many_objects_and_may_replace_them() {
    let rig = rig(Quota { bytes: None, objects: Some(2) }).await;
    let key = rig.whole();
    put(&rig, &key, "/lake/a", 10).await.ok();
    put(&rig, &key, "/lake/b", 300_000).await.ok();
    for size in [0, 10, 300_000] {
        put(&rig, &key, "/lake/c", size).await.is(403, "QuotaExceeded");
        put(&rig, &key, "/lake/b", size).await.ok();
    }
    let id = rig.send(rig.ask("POST", "/lake/parts?uploads="), &key).await.one("UploadId");
    let one = part(&rig, &key, &id, 1, 10).await;
    complete(&rig, &key, &id, &one).await.is(403, "QuotaExceeded");
    rig.send(rig.ask("DELETE", "/lake/a"), &key).await.ok();
    complete(&rig, &key, &id, &one).await.ok();
    put(&rig, &key, "/lake/c", 10).await.is(403, "QuotaExceeded");
    until_files(&rig, 2).await;
}

#[tokio::test]
async fn one_that_began_when_there_was_room_is_stored_only_if_there_is_some_left() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rig = rig(Quota { bytes: Some(1_000_000), objects: None }).await;
    let key = rig.whole();
    let slow = rig.ask("PUT", "/lake/slow").told("UNSIGNED-PAYLOAD").body(noise(1, 300_000));
    let wire = slow.unsigned("expect", "100-continue").signed(&key);
    let (head, body) = wire.split_at(wire.len() - 300_000);
    let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(head).await.unwrap();
    let mut asked = [0; 25];
    socket.read_exact(&mut asked).await.unwrap();
    // Others are stored meanwhile.
    for n in 0..3 {
        put(&rig, &key, &format!("/lake/o{n}"), 300_000).await.ok();
    }
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("QuotaExceeded"), "{answer}");
    until_files(&rig, 3).await;
}

#[tokio::test]
async fn an_account_has_so_many_uploads_open_and_takes_none_from_another() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.limits.max_account_uploads = 2).await;
    let (one, other) = (rig.whole(), rig.whole_of_another());
    let begin = |key| rig.send(rig.ask("POST", "/lake/parts?uploads="), key);
    let first = begin(&one).await.one("UploadId");
    let second = begin(&one).await.one("UploadId");
    let refused = begin(&one).await;
    refused.is(403, "QuotaExceeded");
    assert!(refused.text().contains("has 2 multipart uploads open"), "{}", refused.text());
    begin(&other).await.ok();
    // What is open goes on, and what is ended makes room: by being aborted, and by being completed.
    let kept = part(&rig, &one, &first, 1, 10).await;
    rig.send(rig.ask("DELETE", &format!("/lake/parts?uploadId={second}")), &one).await.ok();
    begin(&one).await.ok();
    begin(&one).await.is(403, "QuotaExceeded");
    complete(&rig, &one, &first, &kept).await.ok();
    begin(&one).await.ok();
    begin(&one).await.is(403, "QuotaExceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_uploads_begun_at_once_are_no_more_than_are_allowed() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.limits.max_account_uploads = 3).await;
    let key = rig.whole();
    let answers = futures::future::join_all((0..16).map(|_| rig.send(rig.ask("POST", "/lake/x?uploads="), &key))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
}
