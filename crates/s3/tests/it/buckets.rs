//! Which buckets a credential is told of.

use std::sync::Arc;

use tempfile::TempDir;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::time::Clock as _;

use crate::rig::{BUCKET, Credential, OTHER_BUCKET, Rig, STORAGE};

async fn names(rig: &Rig, query: &str, credential: &Credential) -> Vec<String> {
    rig.get(&format!("/{query}"), credential).await.ok().all("Name")
}

#[tokio::test]
async fn a_credential_is_told_of_the_bucket_it_opens_anything_in_and_of_no_other() {
    let rig = Rig::start().await;
    let object = Paths::only([Path::object(b"a/1").unwrap()]).unwrap();
    for paths in [Paths::Whole, object] {
        for actions in [Actions::READ, Actions::READ_WRITE, Actions::of(&[Action::DeleteObject])] {
            for bucket in [BUCKET, OTHER_BUCKET] {
                let credential = rig.vend_for(bucket, paths.clone(), actions, 3600);
                assert_eq!(names(&rig, "", &credential).await, [bucket]);
                assert_eq!(names(&rig, "?x-id=ListBuckets", &credential).await, [bucket]);
            }
        }
    }
    let said = rig.get("/", &rig.whole()).await;
    assert!(said.one("ID").starts_with("acc_"));
    let text = said.text();
    let created = rig.clock.now().to_string();
    let created = created.split('.').next().unwrap().trim_end_matches('Z').to_owned();
    assert!(said.one("CreationDate").starts_with(&created), "{text}");
    assert!(text.contains("<ListAllMyBucketsResult"), "{text}");
    // A bucket that is not there, or is another store's, is not told.
    rig.endpoint.ensure_bucket_at(STORAGE, &BucketName::parse("only-here").unwrap()).await.unwrap();
    let absent = rig.vend_for("absent", Paths::Whole, Actions::READ, 3600);
    assert!(names(&rig, "", &absent).await.is_empty());
    let elsewhere = rig.vend_for("only-here", Paths::Whole, Actions::READ, 3600);
    assert_eq!(names(&rig, "", &elsewhere).await.is_empty(), rig.is_behind());
}

#[tokio::test]
async fn what_narrows_the_list_is_understood_or_refused() {
    let rig = Rig::start().await;
    let key = rig.whole();
    for query in ["?prefix=la", "?prefix=lake", "?prefix=", "?max-buckets=1", "?max-buckets=10000"] {
        let said = rig.get(&format!("/{query}"), &key).await;
        assert_eq!(
            (said.ok().all("Name"), said.all("ContinuationToken")),
            (vec![BUCKET.to_owned()], vec![]),
            "{query}"
        );
    }
    assert_eq!(rig.get("/?prefix=la", &key).await.one("Prefix"), "la");
    assert!(names(&rig, "?prefix=lakes", &key).await.is_empty());
    // Behind `a`, and behind `lake` itself.
    assert_eq!(names(&rig, "?continuation-token=a2E", &key).await, [BUCKET]);
    assert!(names(&rig, "?continuation-token=a2xha2U", &key).await.is_empty());
    for bad in ["max-buckets=0", "max-buckets=-1", "max-buckets=10001", "max-buckets=x", "continuation-token=%21"] {
        rig.get(&format!("/?{bad}"), &key).await.is(400, "InvalidArgument");
    }
    for unknown in ["bucket-region=eu-central-1", "delimiter=%2F", "max-keys=1"] {
        rig.get(&format!("/?{unknown}"), &key).await.is(501, "NotImplemented");
    }
    rig.get("/?prefix=a&prefix=lake", &key).await.is(400, "InvalidRequest");
}

#[tokio::test]
async fn who_has_no_live_credential_is_told_nothing() {
    let rig = Rig::start().await;
    let (short, ended) = (rig.vend_for(BUCKET, Paths::Whole, Actions::READ, 60), rig.whole());
    assert_eq!(names(&rig, "", &short).await, [BUCKET]);
    rig.clock.advance_secs(60);
    rig.get("/", &short).await.is(400, "ExpiredToken");
    rig.leases.revoked.lock().unwrap().insert(ended.lease);
    rig.get("/", &ended).await.is(400, "ExpiredToken");
    let stranger = format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", rig.host());
    rig.raw(stranger.into_bytes()).await.is(403, "AccessDenied");
}

#[tokio::test]
async fn where_buckets_are_not_listed_nobody_is_told() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.list_buckets = false).await;
    rig.get("/", &rig.whole()).await.is(403, "AccessDenied");
    rig.get("/lake?list-type=2", &rig.whole()).await.ok();
}

#[tokio::test]
async fn where_a_bucket_is_is_told_to_who_asks_whether_it_is_there_whatever_the_answer() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.region = "eu-west-1".into()).await;
    let (own, narrow) = (rig.whole(), rig.directory("a", Actions::of(&[Action::GetObject])));
    for (target, credential, status) in
        [("/lake", &own, 200), ("/lake/", &own, 200), ("/lake", &narrow, 403), ("/none", &own, 403)]
    {
        let answer = rig.send(rig.ask("HEAD", target), credential).await;
        assert_eq!((answer.status, answer.header("x-amz-bucket-region")), (status, Some("eu-west-1")), "{target}");
    }
    for (method, target) in [("HEAD", "/lake/a/1"), ("GET", "/lake"), ("HEAD", "/")] {
        let answer = rig.send(rig.ask(method, target), &own).await;
        assert_eq!(answer.header("x-amz-bucket-region"), None, "{method} {target}");
    }
}
