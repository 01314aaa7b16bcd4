//! How long questions about leases take right after a flood of vends.
//!
//! `cargo run --release --example flood -p valetkey-database [-- LEASES]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it fails by panicking and talks by printing"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::id::CallerId;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Ledger;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, LedgerMode, Settings};
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::{ask, by};

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

#[tokio::main]
async fn main() {
    let leases: u64 = std::env::args().nth(1).map_or(1_200_000, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("valetkey.db");
    let settings = Settings { ledger: LedgerMode::Relaxed, queue: 65_536, ..Settings::default() };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let database = Database::open(&path, settings, Arc::new(Machine), Arc::new(Machine), tasks, stop).await.unwrap();
    let database = Arc::new(database);
    let bench = Bench::of(&database, Arc::new(FixedClock::default()), Arc::new(Machine), Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    let started = Instant::now();
    let mut opened = 0;
    while opened < leases {
        if database.open(&permit, None, Machine.now()).await.is_ok() {
            opened += 1;
        } else {
            // The queue is full: a server refuses, and its client waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    println!("{opened} leases opened in {:.1?}", started.elapsed());
    let all = LeaseFilter { limit: 50, ..LeaseFilter::default() };
    let nobody = LeaseFilter { caller: Some(CallerId::from_bytes([9; 16])), ..all };
    let live = LeaseFilter { account: Some(tenant.account.id), live_at: Some(Machine.now()), ..all };
    for (what, filter) in [("the newest", all), ("the live ones of an account", live), ("those of nobody", nobody)] {
        let started = Instant::now();
        let listed = database.leases(&filter).await.unwrap().len();
        println!("{what:<28} {listed:>3} in {:>9.1?}", started.elapsed());
    }
    let started = Instant::now();
    database.leases_of_key("ASIA", 50).await.unwrap();
    println!("{:<32} in {:>9.1?}", "those of a store's key", started.elapsed());
    let started = Instant::now();
    database.outliving(by(&tenant, Machine.now())).await.unwrap();
    println!("{:<32} in {:>9.1?}", "what outlives its revocation", started.elapsed());
    database.close().await.unwrap();
}
