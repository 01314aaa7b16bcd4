//! A full disk, one that is mounted and, where nobody may mount, one that only says so: what ends credentials is on record all the same,
//! out of the ledger's reserve.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::lease::{LeaseState, Revocation};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::by;
use valetkey_testkit::disk::FaultyDisk;

/// A file system of a few megabytes. Only root mounts one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at).output().ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }

    /// Fills it to its last byte.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        for size in [64 * 1024, 512, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What is ended on a full disk is on record, and nothing is handed out until there is room.
async fn full(root: &Path, fill: impl Fn(), free: impl Fn()) {
    let clock = Arc::new(FixedClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(9));
    let settings = Settings { reserve_bytes: 2 << 20, ..Settings::default() };
    let path = root.join("valetkey.db");
    let ticking = Arc::clone(&clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let database = Arc::new(Database::open(&path, settings, ticking, Arc::clone(&entropy), tasks, stop).await.unwrap());
    let bench = Bench::of(&database, clock, entropy, Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let leases = [bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap()];
    let reserve = root.join("valetkey.db-reserve");
    let kept = || std::fs::metadata(&reserve).is_ok_and(|known| known.len() == 2 << 20);
    while !kept() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fill();
    while bench.open(&tenant).await.is_ok() {}
    assert!(kept(), "a vend does not take the reserve");
    for lease in &leases {
        database.revoke(Revocation::Lease(lease.id), by(&tenant, bench.now())).await.unwrap();
        assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)));
    }
    database.revoke_token(tenant.record.id, by(&tenant, bench.now())).await.unwrap();
    assert!(!database.owes() && !kept());
    let refused = database.ready().await.unwrap_err();
    assert_eq!((refused.kind(), refused.message().contains("reserve")), (Kind::Unavailable, true));
    let other = bench.tenant("globex", Metering::Free).await;
    let refused = bench.open(&other).await.unwrap_err();
    assert!(refused.kind() == Kind::Unavailable && refused.message().contains("reserve"), "{refused:?}");
    free();
    while database.ready().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(kept());
    bench.open(&other).await.unwrap();
    assert!(database.verify_ledger().await.unwrap().intact());
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_is_really_full_the_reserve_is_what_ends_are_written_in() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else { return };
    full(&disk.0, || disk.fill(), || disk.free()).await;
}

#[test]
fn on_a_disk_that_says_it_is_full_the_reserve_is_what_ends_are_written_in() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "on_a_disk_that_says_it_is_full_the_reserve_is_what_ends_are_written_in";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(full(disk.root(), || disk.fill(), || disk.heal()));
}
