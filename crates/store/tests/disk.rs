//! A disk that is full, or whose fsync fails, and then is well again: everything works as before, without a restart.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::lease::{LeaseState, Revocation};
use valetkey_core::name::Name;
use valetkey_core::port::{LeaseFilter, Leases as _, Registry as _, Usage as _};
use valetkey_core::time::{Clock, Entropy};
use valetkey_store::{Settings, Store};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::{by, claims};
use valetkey_testkit::disk::{Fault, FaultyDisk};

struct Rig {
    store: Arc<Store>,
    bench: Bench,
}

async fn start(disk: &FaultyDisk, settings: Settings) -> Rig {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(3));
    let clock = Arc::new(FixedClock::default());
    let path = disk.root().join("valetkey.db");
    let ticking = Arc::clone(&clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let store = Store::open(&path, settings, ticking, Arc::clone(&entropy), tasks, stop).await.unwrap();
    let store = Arc::new(store);
    let bench = Bench::of(&store, clock, entropy, Box::new(()));
    Rig { store, bench }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

async fn until_ready(store: &Store) {
    while store.ready().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes until the disk takes no more: what has a place in the write-ahead log already can still be written.
async fn until_refused(rig: &Rig, tenant: &valetkey_testkit::contract::Tenant) {
    for _ in 0..10_000 {
        if let Err(error) = rig.bench.open(tenant).await {
            assert_eq!((error.kind(), error.retry_after_secs()), (Kind::Unavailable, Some(1)), "{error:?}");
            return;
        }
    }
    panic!("the disk does not fail");
}

#[test]
fn after_a_write_that_failed_everything_works_again_without_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "after_a_write_that_failed_everything_works_again_without_a_restart";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        let rig = start(&disk, Settings::default()).await;
        let (store, bench) = (&rig.store, &rig.bench);
        // Metered: its pages change credits too.
        let tenant = bench.tenant("acme", Metering::PerVend { credits: 1 }).await;
        let account = tenant.account.id;
        store.add_credits(account, 1_000_000, bench.now()).await.unwrap();
        for fault in Fault::ALL {
            let before = bench.open(&tenant).await.unwrap();
            store.ready().await.unwrap();
            disk.fail(fault);
            until_refused(&rig, &tenant).await;
            let name = Name::parse(&format!("late-{}", before.id)).unwrap();
            for _ in 0..3 {
                let refused = store.create_account(&name, Metering::Free, bench.now()).await.unwrap_err();
                assert_eq!(refused.kind(), Kind::Unavailable, "{refused:?}");
                bench.open(&tenant).await.unwrap_err();
            }
            let unready = store.ready().await.unwrap_err();
            assert_eq!(unready.kind(), Kind::Unavailable, "{fault:?}");
            disk.heal();
            until_ready(store).await;
            // Every writer: the ledger, the registry, credits, revocations, counts, the index of leases.
            let after = bench.open(&tenant).await.unwrap();
            match store.create_account(&name, Metering::Free, bench.now()).await {
                Ok(_) => {}
                // An account that was refused because a sync failed may be there all the same.
                Err(error) => {
                    assert!(fault == Fault::Unsync && matches!(error.kind(), Kind::AlreadyExists(_)), "{error:?}")
                }
            }
            store.revoke(Revocation::Lease(before.id), by(&tenant, bench.now())).await.unwrap();
            assert!(store.is_revoked(&claims(&before)) && !store.is_revoked(&claims(&after)));
            assert!(matches!(bench.state(before.id).await, LeaseState::Revoked(_)));
            let filter = LeaseFilter { account: Some(account), limit: 10_000, ..LeaseFilter::default() };
            let leases = store.leases(&filter).await.unwrap();
            assert!(leases.iter().any(|one| one.lease.id == after.id));
            // One credit for each lease that is kept: what memory gave back for a page that was kept after all is noticed.
            let kept = u64::try_from(leases.len()).unwrap();
            while store.balance(account).await.unwrap().used != kept {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(store.verify_ledger().await.unwrap().broken_at, None);
        }
        store.close().await.unwrap();
    });
}
