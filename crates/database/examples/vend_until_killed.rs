//! Opens leases as fast as it can and prints the id of each as soon as it may be handed out, until somebody kills it.
//! `tests/killed.rs` does, and then looks for every printed id in the ledger.
//!
//! `vend_until_killed DATABASE ACCOUNT AT_ONCE`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's child: it fails by panicking and talks by printing"
)]

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Ledger;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::ask;

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
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap());
    let account = arguments.next().unwrap();
    let at_once: usize = arguments.next().unwrap().parse().unwrap();
    let tasks = TaskTracker::new();
    let (clock, entropy) = (Arc::new(Machine), Arc::new(Machine));
    let settings = Settings::default();
    let stop = CancellationToken::new();
    let database = Database::open(&path, settings, clock, Arc::<Machine>::clone(&entropy) as _, tasks.clone(), stop);
    let database = Arc::new(database.await.unwrap());
    let bench = Bench::of(&database, Arc::new(FixedClock::default()), entropy, Box::new(()));
    // A price, so that the path with a transaction is the one that is killed.
    let tenant = bench.tenant(&account, Metering::of(1)).await;
    database.add_credits(tenant.account.id, u64::from(u32::MAX), Machine.now()).await.unwrap();
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    for _ in 0..at_once {
        let (database, permit) = (Arc::clone(&database), permit.clone());
        tasks.spawn(async move {
            loop {
                let lease = database.open(&permit, None, Machine.now()).await.unwrap();
                println!("{}", lease.id);
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}
