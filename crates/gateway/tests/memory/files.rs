//! Objects in another store, as the server itself reads them; and a store that fails.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use valetkey_core::id::{AccountId, CallerId, StorageId, TokenId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{Parent, ParentScope};
use valetkey_core::scope::{Actions, Paths, Rights};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Secret, caller};
use valetkey_s3::{Backend, Entry, Failure, Found, Header, Opened, Upload, Version, When, Window};
use valetkey_testkit::contract::files::{OBJECTS, objects_are_read_as_they_were_put};

use crate::rig::{BUCKET, Credential, OTHER_BUCKET, Rig, STORAGE, noise};

#[tokio::test]
async fn the_server_reads_objects_of_other_stores_as_they_were_put() {
    let rig = Rig::start().await;
    for (key, bytes) in OBJECTS {
        rig.put(BUCKET, key, bytes.to_vec()).await;
    }
    let storage = Storage {
        id: rig.storage,
        name: Name::parse("behind").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://s3.localhost".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    };
    objects_are_read_as_they_were_put(&rig.endpoint, &storage, &BucketName::parse(BUCKET).unwrap()).await;
}

const PARENT: &str = "0123456789abcdef0123456789abcdef";
const PARENT_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn parent(reach: &[(StorageId, &str)]) -> Arc<Parent> {
    let token = TokenId::from_hex(PARENT).unwrap();
    let caller = caller::Caller {
        id: CallerId::from_bytes([3; 16]),
        account: AccountId::from_bytes([4; 16]),
        name: Name::parse("job").unwrap(),
        role: caller::Role::Member,
        token,
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    };
    let reach = reach.iter().map(|(storage, bucket)| ParentScope {
        storage: *storage,
        rights: Arc::new(Rights::of(BucketName::parse(bucket).unwrap(), Paths::Whole, Actions::READ_WRITE).unwrap()),
        max_lifetime: Lifetime::secs(3600),
    });
    let secret = Secret::new(PARENT_SECRET.to_owned());
    Arc::new(Parent { token, caller: Arc::new(caller), secret, reach: reach.collect(), conditional: Vec::new() })
}

#[tokio::test]
async fn a_parent_reaches_buckets_of_several_stores_and_copies_between_them() {
    let rig = Rig::start().await;
    let own = BucketName::parse("own").unwrap();
    rig.endpoint.ensure_bucket(&own).await.unwrap();
    rig.endpoint.ensure_bucket(&BucketName::parse(OTHER_BUCKET).unwrap()).await.unwrap();
    let reach = [(rig.storage, BUCKET), (STORAGE, "own"), (rig.storage, OTHER_BUCKET), (STORAGE, OTHER_BUCKET)];
    rig.parents.0.lock().unwrap().push(parent(&reach));
    let key = Credential {
        lease: rig.whole().lease,
        key_id: PARENT.to_owned(),
        secret: PARENT_SECRET.to_owned(),
        token: String::new(),
    };
    let body = noise(1, 9 * 1024 * 1024);
    rig.send(rig.ask("PUT", "/lake/o").body(body.clone()), &key).await.ok();
    let there = rig.behind.as_ref().unwrap();
    assert!(there.head(BUCKET, "o").await.unwrap().is_some());
    let copy = |to: &str, from: &str| rig.ask("PUT", to).header("x-amz-copy-source", from);
    rig.send(copy("/own/copy", "lake/o"), &key).await.ok();
    assert!(rig.endpoint.has_object(&own, "copy").await.unwrap());
    rig.send(copy("/lake/back", "own/copy"), &key).await.ok();
    assert!(rig.get("/lake/back", &key).await.body == body);
    // Of two buckets of one name the server's own is meant, whatever the order of the grants.
    rig.send(rig.ask("PUT", "/other/o").body("own"), &key).await.ok();
    assert!(there.head(OTHER_BUCKET, "o").await.unwrap().is_none());
    // What it no longer reaches in one store, it does not reach in another.
    rig.parents.0.lock().unwrap().clear();
    rig.parents.0.lock().unwrap().push(parent(&[(STORAGE, BUCKET)]));
    rig.get("/lake/o", &key).await.is(404, "NoSuchBucket");
    let slow = rig.ask("PUT", "/lake/slow").body(vec![7; 100]);
    rig.parents.0.lock().unwrap().clear();
    rig.parents.0.lock().unwrap().push(parent(&reach));
    let moved = || {
        rig.parents.0.lock().unwrap().clear();
        rig.parents.0.lock().unwrap().push(parent(&[(STORAGE, BUCKET)]));
    };
    rig.halting(slow, &key, moved).await.is(400, "ExpiredToken");
    assert!(there.head(BUCKET, "slow").await.unwrap().is_none());
}

/// A store that fails, in its own words.
struct Broken(Failure);

#[async_trait]
impl Backend for Broken {
    fn fits(&self, _: &str) -> Result<(), &'static str> {
        Ok(())
    }

    fn keeps(&self, _: &str, _: &str) -> bool {
        true
    }

    async fn probe(&self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    async fn head(&self, _: &str, _: &str) -> Result<Option<Found>, Failure> {
        Err(self.0.clone())
    }

    async fn read(&self, _: &str, _: &str, _: Window, _: Option<&Version>) -> Result<Option<Opened>, Failure> {
        let found = Found {
            size: 10,
            version: Version { tag: "t".to_owned(), id: None },
            modified: jiff::Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
        };
        match &self.0 {
            // Breaks in the middle.
            Failure::Clash => {
                let bytes = [Ok(Bytes::from_static(b"12345")), Err(Failure::Failed("s3cret".to_owned()))];
                Ok(Some(Opened { found, range: 0..10, bytes: futures::stream::iter(bytes).boxed() }))
            }
            failure => Err(failure.clone()),
        }
    }

    async fn put(&self, _: &str, _: &str, _: Bytes, _: &[Header], _: When) -> Result<Version, Failure> {
        Err(self.0.clone())
    }

    async fn begin(&self, _: &str, _: &str, _: &[Header], _: Option<u64>) -> Result<Box<dyn Upload>, Failure> {
        Err(self.0.clone())
    }

    async fn delete(&self, _: &str, _: &str) -> Result<(), Failure> {
        Err(self.0.clone())
    }

    async fn list(&self, _: &str, _: &str, _: &[u8], _: usize) -> Result<Vec<Entry>, Failure> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn what_fails_there_is_told_without_details() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let said = || "https://there.example/?sig=s3cret".to_owned();
    for (failure, status, code) in [
        (Failure::Throttled(said()), 503, "SlowDown"),
        (Failure::Unavailable(said()), 503, "ServiceUnavailable"),
        (Failure::Failed(said()), 502, "InternalError"),
        (Failure::NoBucket, 404, "NoSuchBucket"),
    ] {
        rig.endpoint.attach((rig.storage, &"behind".parse().unwrap()), Arc::new(Broken(failure)));
        for (method, target, body) in [
            ("GET", "/lake/o", vec![]),
            ("GET", "/lake?list-type=2", vec![]),
            ("PUT", "/lake/o", vec![7; 10]),
            ("PUT", "/lake/o", vec![7; 9 * 1024 * 1024]),
            ("DELETE", "/lake/o", vec![]),
        ] {
            let answer = rig.send(rig.ask(method, target).body(body), &credential).await;
            answer.is(status, code);
            assert!(!answer.text().contains("s3cret") && !answer.text().contains("example"), "{}", answer.text());
        }
        assert_eq!(rig.send(rig.ask("HEAD", "/lake/o"), &credential).await.status, status);
    }
    rig.endpoint.attach((rig.storage, &"behind".parse().unwrap()), Arc::new(Broken(Failure::Clash)));
    let torn = rig.get("/lake/o", &credential).await;
    assert!(torn.body.len() < 10, "the connection ends before the announced length");
    assert!(!torn.text().contains("s3cret"));
}
