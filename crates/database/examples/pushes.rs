//! What pushes of packages cost those who vend: how long a metered vend takes without them and beside many.
//!
//! `cargo run --release --example pushes -p valetkey-database`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it fails by panicking and talks by printing"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, Packages, Upload, UploadKey};
use valetkey_core::port::Ledger;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::ask;

const LASTS: Duration = Duration::from_secs(8);
const VENDORS: usize = 8;
const BLOB: usize = 8 << 20;

struct Machine;

impl Clock for Machine {
    #[expect(clippy::disallowed_methods, reason = "this is a program's own clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Entropy for Machine {
    #[expect(clippy::disallowed_methods, reason = "this is a program's own source of randomness")]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).unwrap();
    }
}

async fn measure(pushers: usize) {
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let path = folder.path().join("valetkey.db");
    let database =
        Database::open(&path, Settings::default(), Arc::new(Machine), Arc::new(Machine), tasks, stop).await.unwrap();
    let database = Arc::new(database);
    let bench = Bench::of(&database, Arc::new(FixedClock::default()), Arc::new(Machine), Box::new(()));
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    bench.registry.add_credits(tenant.account.id, u64::from(u32::MAX), bench.now()).await.unwrap();
    let permit = Arc::new(bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap());
    let (work, over, pushed) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    for _ in 0..pushers {
        let (database, over, pushed) = (Arc::clone(&database), Arc::clone(&over), Arc::clone(&pushed));
        let (account, caller) = (tenant.account.id, tenant.caller);
        work.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Away from the threads that vend: this is the client's work.
                let making = tokio::task::spawn_blocking(|| {
                    let (mut key, mut body) = ([0; 32], vec![0; BLOB]);
                    Machine.fill(&mut key);
                    Machine.fill(&mut body);
                    (key, Digest::of(&body), body)
                });
                let (key, digest, body) = making.await.unwrap();
                let key = UploadKey::from_bytes(key).digest();
                let upload = Upload { key, account, caller, package: Name::parse("demo").unwrap() };
                let now = Machine.now();
                database.begin_upload(&upload, now + jiff::SignedDuration::from_secs(600), now).await.unwrap();
                database.finish_upload(&upload, digest, body, now).await.unwrap();
                pushed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    for _ in 0..VENDORS {
        let (database, over, permit, times) =
            (Arc::clone(&database), Arc::clone(&over), Arc::clone(&permit), Arc::clone(&times));
        work.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let started = Instant::now();
                database.open(&permit, None, Machine.now()).await.unwrap();
                times.lock().unwrap().push(started.elapsed());
            }
        });
    }
    tokio::time::sleep(LASTS).await;
    over.store(true, Ordering::Relaxed);
    work.close();
    work.wait().await;
    let mut times = std::mem::take(&mut *times.lock().unwrap());
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{pushers:>3} pushers of {} MiB: {:>5} vends, p50 {:>9.2?}, p99 {:>9.2?}; {} blobs",
        BLOB >> 20,
        times.len(),
        at(50),
        at(99),
        pushed.load(Ordering::Relaxed)
    );
    database.close().await.unwrap();
}

#[tokio::main]
async fn main() {
    for pushers in [0, 24] {
        measure(pushers).await;
    }
}
