//! What goes over the endpoint is counted once, for whoever was proven, however a request ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use valetkey_core::Kind;
use valetkey_core::error::Stranger;
use valetkey_core::nouns::usage::{ObjectRequest, Traffic};
use valetkey_core::scope::{Actions, Paths};

use crate::rig::{Credential, OTHER_BUCKET, Rig, noise};

/// The sum of what was told, once so many requests are over.
async fn told(rig: &Rig, requests: u64) -> Traffic {
    loop {
        let all = rig.leases.moved.lock().unwrap().clone();
        let sum = all.iter().fold(Traffic::default(), |sum, (.., traffic)| sum.and(*traffic));
        assert!(sum.requests <= requests, "{all:?}");
        if sum.requests == requests {
            rig.leases.moved.lock().unwrap().clear();
            return sum;
        }
        rig.leases.told.notified().await;
    }
}

const fn bytes(bytes_in: u64, bytes_out: u64) -> Traffic {
    Traffic { requests: 1, bytes_in, bytes_out }
}

#[tokio::test]
async fn bytes_are_counted_both_ways_for_the_holder_of_the_key() {
    let rig = Rig::start().await;
    let key = rig.directory("a", Actions::READ_WRITE);
    for size in [0, 1, 1000, 5_000_000] {
        rig.send(rig.ask("PUT", "/lake/a/x").body(noise(1, size)), &key).await.ok();
        assert_eq!(told(&rig, 1).await, bytes(size as u64, 0), "{size}");
        assert_eq!(rig.get("/lake/a/x", &key).await.ok().body.len(), size);
        assert_eq!(told(&rig, 1).await, bytes(0, size as u64), "{size}");
        rig.send(rig.ask("HEAD", "/lake/a/x"), &key).await.ok();
        assert_eq!(told(&rig, 1).await, bytes(0, 0), "a HEAD has no body");
    }
    rig.send(rig.ask("GET", "/lake/a/x").header("range", "bytes=10-1000009"), &key).await.ok();
    assert_eq!(told(&rig, 1).await, bytes(0, 1_000_000));
    let listed = rig.get("/lake?list-type=2&prefix=a%2F", &key).await;
    assert_eq!(told(&rig, 1).await, bytes(0, listed.ok().body.len() as u64));
    // A request that is refused moved what it says; one that nobody proved is nobody's.
    let refused = rig.get("/lake/b/x", &key).await;
    refused.is(403, "AccessDenied");
    assert_eq!(told(&rig, 1).await, bytes(0, refused.body.len() as u64));
    rig.get("/lake/a/x", &Credential { secret: "x".repeat(43), ..key.clone() }).await.is(403, "SignatureDoesNotMatch");
    rig.get("/lake/a/x", &key).await.ok();
    assert_eq!(told(&rig, 1).await, bytes(0, 5_000_000));
}

#[tokio::test]
async fn what_breaks_off_counts_for_what_came_and_each_caller_for_itself() {
    let idle = Duration::from_millis(200);
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| config.limits.idle = idle).await;
    let (one, two) = (rig.whole(), rig.whole_of_another());
    // Half of it comes.
    let ask = rig.ask("PUT", "/lake/half").body(noise(2, 400_000)).signed(&one);
    rig.raw(ask[..ask.len() - 200_000].to_vec()).await;
    let sum = told(&rig, 1).await;
    assert!((1..=200_000).contains(&sum.bytes_in), "{sum:?}");
    rig.send(rig.ask("PUT", "/lake/one").body(noise(1, 10)), &one).await.ok();
    rig.send(rig.ask("PUT", "/lake/two").body(noise(1, 20)), &two).await.ok();
    let whose = loop {
        let all = rig.leases.moved.lock().unwrap().clone();
        if all.len() == 2 {
            break all;
        }
        rig.leases.told.notified().await;
    };
    assert_eq!(whose.iter().map(|(_, _, traffic)| traffic.bytes_in).collect::<Vec<_>>(), [10, 20]);
    assert_eq!(whose.iter().map(|(account, ..)| account).collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(whose[0].0, rig.account);
}

/// The next request to the bucket that is watched.
async fn requested(rig: &Rig) -> ObjectRequest {
    loop {
        let next = rig.leases.requested.lock().unwrap().pop();
        match next {
            Some(request) => return request,
            None => rig.leases.told.notified().await,
        }
    }
}

#[tokio::test]
async fn a_request_to_a_watched_bucket_is_told_with_its_lease_and_no_other_is() {
    let rig = Rig::start().await;
    let (here, other) = (rig.whole(), rig.vend_for(OTHER_BUCKET, Paths::Whole, Actions::READ_WRITE, 3600));
    rig.send(rig.ask("PUT", "/lake/a").body("x"), &here).await.ok();
    let put = rig.send(rig.ask("PUT", "/other/a/b%20c").body(noise(1, 100_000)), &other).await;
    let one = requested(&rig).await;
    assert_eq!(
        (one.operation, &*one.bucket, one.key.as_deref(), one.status),
        ("PutObject", "other", Some("a/b c"), 200)
    );
    assert_eq!(one.traffic, bytes(100_000, 0));
    assert_eq!((one.origin.lease, one.origin.account), (Some(other.lease), rig.account));
    assert_eq!(Some(&*one.id), put.ok().header("x-amz-request-id"));
    rig.get("/other/a/b%20c", &other).await.ok();
    let one = requested(&rig).await;
    assert_eq!((one.operation, one.traffic), ("GetObject", bytes(0, 100_000)));
    let none = rig.get("/other/none", &other).await;
    none.is(404, "NoSuchKey");
    assert_eq!(requested(&rig).await.status, 404);
    rig.get("/other?list-type=2", &other).await.ok();
    let one = requested(&rig).await;
    assert_eq!((one.operation, one.key), ("ListObjectsV2", None));
    // Who holds a key of another place is told, too; who proves nothing is not.
    rig.get("/other/a", &here).await.is(403, "AccessDenied");
    assert_eq!((requested(&rig).await.status, rig.leases.requested.lock().unwrap().len()), (403, 0));
    rig.get("/other/a", &Credential { secret: "x".repeat(43), ..other.clone() }).await.is(403, "SignatureDoesNotMatch");
    assert_eq!(rig.leases.requested.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn refusals_that_are_worth_a_look_are_told_and_others_are_not() {
    let rig = Rig::start().await;
    let (one, two) = (rig.directory("a", Actions::READ), rig.whole_of_another());
    let told = || {
        let all = std::mem::take(&mut *rig.leases.refused.lock().unwrap());
        all.into_iter().map(|refusal| (refusal.account, refusal.dialect, refusal.kind)).collect::<Vec<_>>()
    };
    rig.get("/lake/a/none", &one).await.is(404, "NoSuchKey");
    rig.get("/lake/a/x", &Credential { secret: "x".repeat(43), ..one.clone() }).await.is(403, "SignatureDoesNotMatch");
    rig.get("/lake/a/x", &Credential { token: "vks2.x".to_owned(), ..one.clone() }).await.is(400, "InvalidToken");
    assert_eq!(told(), []);
    // A session token with another access key.
    rig.get("/lake/a/x", &Credential { token: two.token.clone(), ..one.clone() }).await.is(400, "InvalidToken");
    assert_eq!(told(), [(None, "s3", Kind::Unauthenticated(Stranger::Unknown))]);
    // Outside of what the key opens.
    rig.get("/lake/b/x", &one).await.is(403, "AccessDenied");
    assert_eq!(told(), [(Some(rig.account), "s3", Kind::Forbidden)]);
    // Ended before its time; and one whose time is over, which is nothing special.
    rig.leases.revoked.lock().unwrap().insert(one.lease);
    rig.get("/lake/a/x", &one).await.is(400, "ExpiredToken");
    assert_eq!(told(), [(Some(rig.account), "s3", Kind::Unauthenticated(Stranger::Revoked))]);
    rig.clock.advance_secs(3600);
    rig.get("/lake/a/x", &one).await.is(400, "ExpiredToken");
    assert_eq!(told(), []);
}
