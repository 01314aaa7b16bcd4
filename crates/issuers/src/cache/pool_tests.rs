//! Several nodes with one pool.

use std::sync::Arc;

use futures::future::join_all;
use proptest::prelude::*;
use valetkey_core::credential::{AzureSas, Credential, GoogleToken, LeftOut, Narrowed, S3Keys, Trace};
use valetkey_core::id::{CallerId, StorageId};
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::nouns::pool::{Claimant, Pool as _};
use valetkey_core::scope::Action;
use valetkey_core::{Kind, Secret};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::memory::MemoryPool;

use super::tests::{Mood, World, budget, origin, world_with};
use super::*;

/// Nodes, and the pool that they share; each has a budget of its own.
fn nodes(count: u64) -> (Vec<World>, Arc<MemoryPool>) {
    let pool = Arc::new(MemoryPool::default());
    let first = world_with(Settings::default(), 900, Sharing::Caller, budget(1_000, 1_000));
    ((0..count).map(|seed| join(&first, &pool, seed, 7)).collect(), pool)
}

/// Another node: the same storage, clock and ends, and nothing in memory.
fn join(of: &World, pool: &Arc<MemoryPool>, seed: u64, key: u8) -> World {
    let ring = SharedKeyring::new(Keyring::new(&[(1, Secret::new([key; 32]))]).unwrap());
    let pooling = Pooling::new(Arc::clone(pool) as _, ring, Arc::new(SeededEntropy::new(seed + 50)));
    of.with(Some(pooling))
}

#[tokio::test]
async fn a_thousand_who_ask_three_nodes_at_once_cost_one_call() {
    let (nodes, _) = nodes(3);
    nodes[0].fake.gate.forget_permits(100_000);
    let all = join_all((0..1000).map(|number| nodes[number % 3].key("lake", 1, 3600)));
    let open = async {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        nodes[0].fake.gate.add_permits(100_000);
    };
    let (keys, ()) = tokio::join!(all, open);
    assert_eq!(nodes[0].calls(), 1);
    assert!(keys.iter().all(|key| key == "key-0"));
}

#[tokio::test]
async fn a_node_that_starts_again_has_what_was_fetched() {
    let (nodes, pool) = nodes(1);
    for bucket in ["lake", "pond"] {
        nodes[0].key(bucket, 1, 3600).await;
    }
    nodes[0].settle().await;
    // With a budget that is spent: what is there needs none.
    let mut again = join(&nodes[0], &pool, 9, 7);
    let spent = budget(1, 1);
    assert!(spent.take(origin(1, again.clock.now()).account, again.clock.now()).is_ok());
    again.fetcher = Arc::new(Fetcher { budget: spent, ..(*again.fetcher).clone() });
    assert_eq!((again.key("pond", 1, 3600).await, again.key("lake", 1, 3600).await), ("key-1".into(), "key-0".into()));
    assert_eq!(again.calls(), 2);
    assert_eq!(again.ask("sea", 1, 3600).await.unwrap_err().kind(), Kind::RateLimited);
}

#[tokio::test]
async fn nobody_takes_out_what_is_anothers() {
    let (nodes, _) = nodes(2);
    assert_eq!(nodes[0].key("lake", 1, 3600).await, "key-0");
    nodes[0].settle().await;
    assert_eq!(nodes[1].key("lake", 2, 3600).await, "key-1", "another caller's");
    assert_eq!(nodes[1].key("pond", 1, 3600).await, "key-2", "of another scope");
    assert_eq!(nodes[1].key("lake", 1, 1000).await, "key-3", "it would outlive its permit");
    let own = (*nodes[1].fetcher).clone();
    let changed = Arc::new(Fetcher { version: own.version + 1, budget: budget(10, 10), ..own });
    let (scope, origin) = (tests::scope("lake"), origin(1, nodes[1].clock.now()));
    let until = Lifetime::secs(3600).ends(nodes[1].clock.now());
    let want = Want { rights: &scope, until, said: false, origin: &origin };
    let held = nodes[1].cache.get(&changed, &want).await.unwrap();
    assert_eq!(held.issued().trace.unwrap().key_id.as_ref(), "key-4", "fetched with other settings");
    assert_eq!(nodes[1].key("lake", 1, 3600).await, "key-0");
}

#[tokio::test]
async fn what_is_put_in_anothers_place_or_sealed_with_another_key_does_not_open() {
    let (nodes, pool) = nodes(2);
    assert_eq!(
        (nodes[0].key("lake", 1, 3600).await, nodes[0].key("pond", 1, 3600).await),
        ("key-0".into(), "key-1".into())
    );
    nodes[0].settle().await;
    let sealed = pool.sealed().unwrap();
    assert!(sealed.iter().all(|sealed| !sealed.windows(5).any(|window| window == b"key-0" || window == b"caller")));
    let stranger = join(&nodes[0], &pool, 9, 8);
    assert_eq!(stranger.key("lake", 1, 3600).await, "key-2");
    stranger.settle().await;
    pool.exchange().unwrap();
    assert_eq!(
        (nodes[1].key("lake", 1, 3600).await, nodes[1].key("pond", 1, 3600).await),
        ("key-3".into(), "key-4".into())
    );
}

#[tokio::test]
async fn what_was_ended_is_handed_out_by_no_node() {
    let (nodes, _) = nodes(2);
    for node in &nodes {
        assert_eq!(node.key("lake", 1, 3600).await, "key-0");
        node.settle().await;
    }
    nodes[0].cache.forget(StorageId::from_bytes([1; 16]), &["key-0".into()]).await.unwrap();
    assert_eq!(nodes[0].key("lake", 1, 3600).await, "key-1");
    nodes[0].settle().await;
    // Once it was told.
    nodes[1].cache.look_again();
    assert_eq!((nodes[1].key("lake", 1, 3600).await, nodes[1].calls()), ("key-1".into(), 2));
    // What comes of what was ended is taken out by nobody, although it is still there.
    nodes[0].ended(CallerId::from_bytes([1; 16]));
    nodes[0].clock.advance_secs(1);
    let another = nodes[1].key("lake", 1, 3600).await;
    assert_eq!(another, "key-2");
}

#[tokio::test]
async fn a_node_that_died_keeps_the_others_waiting_for_a_moment_only() {
    let (nodes, pool) = nodes(2);
    nodes[0].fake.gate.forget_permits(100_000);
    let mut dying = Box::pin(nodes[0].key("lake", 1, 3600));
    assert!(futures::poll!(&mut dying).is_pending());
    tokio::task::yield_now().await;
    let key = pool.keys().unwrap()[0];
    assert!(!pool.claim(key, 0, Claimant([9; 16]), nodes[1].clock.now()).await.unwrap());
    let mut waiting = Box::pin(nodes[1].key("lake", 1, 3600));
    assert!(futures::poll!(&mut waiting).is_pending());
    nodes[1].clock.advance_secs(4);
    nodes[1].fake.gate.add_permits(100_000);
    assert!(["key-0", "key-1"].contains(&waiting.await.as_str()));
    assert!(nodes[1].calls() <= 2);
}

#[tokio::test]
async fn without_the_pool_each_node_asks_itself() {
    let (nodes, pool) = nodes(2);
    pool.set_away(true);
    assert_eq!(
        (nodes[0].key("lake", 1, 3600).await, nodes[1].key("lake", 1, 3600).await),
        ("key-0".into(), "key-1".into())
    );
    let refused = nodes[0].cache.forget(StorageId::from_bytes([1; 16]), &["key-0".into()]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "what other nodes hand out is not known");
    assert_eq!(nodes[0].key("lake", 1, 3600).await, "key-2", "but not here");
}

#[tokio::test]
async fn a_failure_is_no_longer_than_it_lasts_on_any_node() {
    let (nodes, _) = nodes(2);
    nodes[0].mood(Mood::Fails(Kind::Upstream));
    for node in &nodes {
        assert_eq!(node.ask("lake", 1, 3600).await.unwrap_err().kind(), Kind::Upstream);
        node.settle().await;
    }
    nodes[0].mood(Mood::Gives);
    nodes[0].clock.advance_secs(3);
    assert_eq!(
        (nodes[0].key("lake", 1, 3600).await, nodes[1].key("lake", 1, 3600).await),
        ("key-2".into(), "key-2".into())
    );
}

#[tokio::test]
async fn one_node_renews_for_all() {
    let (nodes, _) = nodes(3);
    for node in &nodes {
        assert_eq!(node.key("lake", 1, 3600).await, "key-0");
        node.settle().await;
    }
    nodes[0].clock.advance_secs(2400);
    for node in &nodes {
        node.key("lake", 1, 3600).await;
        node.settle().await;
    }
    for node in &nodes {
        assert_eq!(node.key("lake", 1, 3600).await, "key-1");
    }
    assert_eq!(nodes[0].calls(), 2);
}

proptest! {
    #[test]
    fn what_is_sealed_is_what_was_fetched(
        shape in 0..3, texts in prop::collection::vec(".{0,40}", 6), secs in prop::collection::vec(1_700_000_000_000_i64..1_900_000_000_000, 4),
        short in any::<bool>(), lease in any::<bool>(), named in any::<bool>(),
    ) {
        let at = |index: usize| Timestamp::from_millisecond(secs[index]).unwrap();
        let expiration = Timestamp::from_second(secs[0] / 1000).unwrap();
        let secret = |index: usize| Secret::new(texts[index].clone());
        let credential = match shape {
            0 => Credential::S3(S3Keys { access_key_id: texts[0].clone(), secret_access_key: secret(1), session_token: secret(2), expiration }),
            1 => Credential::Azure(AzureSas { sas_token: secret(1), expiration }),
            _ => Credential::Google(GoogleToken { access_token: secret(1), expiration }),
        };
        let trace = Trace { key_id: (&*texts[3]).into(), request_id: named.then(|| (&*texts[4]).into()), expiration };
        let narrowed = vec![
            Narrowed::action(Action::PutObject, texts[5].clone()),
            Narrowed { what: LeftOut::DirectoryKeys, why: "why".into() },
            Narrowed { what: LeftOut::Beyond(Action::PutObject), why: "leases".into() },
        ];
        let mut origin = origin(3, at(1));
        origin.lease = origin.lease.filter(|_| lease);
        let held = Held {
            issued: Issued { credential: Arc::new(credential), trace: Some(Arc::new(trace)), narrowed: narrowed.into() },
            origin,
            ends: at(1),
            lasts: at(2),
            renew: at(3),
            good: if short { jiff::SignedDuration::from_secs(60) } else { jiff::SignedDuration::MAX },
            gave: short.then_some(jiff::SignedDuration::from_secs(90)),
        };
        let plain = sealed::write(&held).unwrap();
        let read = sealed::read(&plain).unwrap();
        let told = |held: &Held| {
            let secrets = match &*held.issued.credential {
                Credential::S3(keys) => [keys.access_key_id.clone(), keys.secret_access_key.reveal().clone(), keys.session_token.reveal().clone()],
                Credential::Azure(sas) => [String::new(), String::new(), sas.sas_token.reveal().clone()],
                Credential::Google(token) => [String::new(), token.access_token.reveal().clone(), String::new()],
            };
            (format!("{held:?}"), secrets)
        };
        prop_assert_eq!(told(&held), told(&read));
        prop_assert!(sealed::read(&Secret::new(plain.reveal()[1..].to_vec())).is_none());
    }
}
