//! What was narrowed from a lease ends with it: after a restart, and on the other nodes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind, Secret};
use valetkey_database::{Database, Server, Settings, Whereabouts};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::by;
use valetkey_testkit::contract::narrowed::inside;
use valetkey_testkit::contract::{Bench, Tenant};

async fn open(at: Whereabouts, clock: &Arc<FixedClock>, seed: u64) -> (Database, Bench) {
    let settings = Settings { node: format!("node {seed}"), ..Settings::default() };
    let (own, entropy) = (Arc::<FixedClock>::clone(clock) as Arc<dyn Clock>, Arc::new(SeededEntropy::new(seed)));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let database = Database::open(at, settings, own, entropy, tasks, stop).await.unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed + 100));
    let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(clock), entropy, Box::new(()));
    (database, bench)
}

#[tokio::test]
async fn what_was_narrowed_is_told_and_ended_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let at = || Whereabouts::from(&folder.path().join("valetkey.db"));
    let clock = Arc::new(FixedClock::default());
    let (database, bench) = open(at(), &clock, 1).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let (first, other) = (bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap());
    let child = inside(&bench, &tenant, tenant.grant, &[&first]).await.unwrap();
    let apart = inside(&bench, &tenant, tenant.grant, &[&other]).await.unwrap();
    clock.advance_secs(1);
    assert_eq!(bench.registry.revoke(Revocation::Lease(first.id), by(&tenant, bench.now())).await.unwrap(), 2);
    database.close().await.unwrap();

    let (database, bench) = open(at(), &clock, 2).await;
    for (lease, before, ended) in [(&child, first.id, true), (&apart, other.id, false)] {
        let record = bench.registry.lease(lease.id).await.unwrap().unwrap();
        assert_eq!(*record.narrowed_from, [before]);
        assert_eq!((bench.is_revoked(lease), record.state != LeaseState::Live), (ended, ended));
    }
    let late = inside(&bench, &tenant, tenant.grant, &[&first]).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Forbidden);
    // One that is in the index by now.
    assert_eq!(bench.registry.revoke(Revocation::Lease(other.id), by(&tenant, bench.now())).await.unwrap(), 2);
    assert!(bench.is_revoked(&apart) && bench.state(apart.id).await != LeaseState::Live);
    assert!(database.verify_ledger().await.unwrap().intact());
}

/// As `Vending` does where another node changed something meanwhile.
async fn inside_at_last(bench: &Bench, tenant: &Tenant, before: &Lease) -> Result<Lease, Error> {
    loop {
        let opened = inside(bench, tenant, tenant.grant, &[before]).await;
        if !opened.as_ref().is_err_and(Error::is_overtaken) {
            return opened;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_narrowed_on_one_node_ends_with_what_another_node_ends() {
    let folder = tempfile::tempdir().unwrap();
    let url = support::new_database(folder.path()).await;
    let at = || Server::new(&Secret::new(url.clone()), None, 4, folder.path().join("valetkey.db")).unwrap().into();
    let clock = Arc::new(FixedClock::default());
    let (one, here) = open(at(), &clock, 1).await;
    let (two, there) = open(at(), &clock, 2).await;
    let tenant = here.tenant("acme", Metering::Free).await;
    let first = here.open(&tenant).await.unwrap();
    let child = inside_at_last(&there, &tenant, &first).await.unwrap();
    clock.advance_secs(1);
    assert_eq!(here.registry.revoke(Revocation::Lease(first.id), by(&tenant, here.now())).await.unwrap(), 2);
    assert!(here.is_revoked(&child));
    // What is on its way there is refused, whether it was heard of yet or not.
    let late = inside_at_last(&there, &tenant, &first).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Forbidden, "{late:?}");
    let began = Instant::now();
    while !there.is_revoked(&child) {
        assert!(began.elapsed() < Duration::from_secs(1), "it lives on another node");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for bench in [&here, &there] {
        assert!(matches!(bench.state(child.id).await, LeaseState::Revoked(_)));
    }
    assert!(one.verify_ledger().await.unwrap().intact());
    two.close().await.unwrap();
    one.close().await.unwrap();
}
