//! How many leases a second the ledger opens, and what each costs of the processor.
//!
//! `cargo run --release --example ledger_rate -p valetkey-database`, with `taskset -c 0` before it for one core.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it fails by panicking and talks by printing"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::audit::Author;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::policy::Permit;
use valetkey_core::port::Ledger;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, LedgerMode, Settings};
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::ask;

const LASTS: Duration = Duration::from_secs(3);

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

/// Processor time of this process so far, in microseconds.
fn processor_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    ticks * 10_000
}

fn report(how: &str, at_once: usize, done: u64, took: Duration, processor: u64) {
    let millis = u64::try_from(took.as_millis()).unwrap();
    let tenths = processor * 10 / done.max(1);
    println!("{how:<22} {at_once:>4} at once {:>8}/s {:>4}.{} us each", done * 1000 / millis, tenths / 10, tenths % 10);
}

/// Runs something in many tasks at once for a while, and counts how often it succeeds.
async fn measure<F, Fut>(how: &str, at_once: usize, one: F)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let (tasks, over, done) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (before, started) = (processor_us(), Instant::now());
    for _ in 0..at_once {
        let (over, done, one) = (Arc::clone(&over), Arc::clone(&done), one.clone());
        tasks.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                if one().await {
                    done.fetch_add(1, Ordering::Relaxed);
                    // As a server does between two requests.
                    tokio::task::yield_now().await;
                } else {
                    // Behind, the queue may fill faster than it empties: then a server refuses, and its client waits.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    tokio::time::sleep(LASTS).await;
    over.store(true, Ordering::Relaxed);
    tasks.close();
    tasks.wait().await;
    report(how, at_once, done.load(Ordering::Relaxed), started.elapsed(), processor_us() - before);
}

async fn ledger(mode: LedgerMode, metering: Metering, from: Option<IpAddr>, how: &str) {
    for at_once in [1, 16, 64, 256] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { ledger: mode, ..Settings::default() };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let path = folder.path().join("valetkey.db");
        let database =
            Database::open(&path, settings, Arc::new(Machine), Arc::new(Machine), tasks, stop).await.unwrap();
        let database = Arc::new(database);
        let bench = Bench::of(&database, Arc::new(FixedClock::default()), Arc::new(Machine), Box::new(()));
        let tenant = bench.tenant("acme", metering).await;
        bench.registry.add_credits(tenant.account.id, u64::from(u32::MAX), bench.now()).await.unwrap();
        let permit: Arc<Permit> = Arc::new(bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap());
        let opening = Arc::clone(&database);
        measure(how, at_once, move || {
            let (database, permit) = (Arc::clone(&opening), Arc::clone(&permit));
            let author = Author { from, ..Author::SERVER };
            author.during(Box::pin(async move { database.open(&permit, None, Machine.now()).await.is_ok() }))
        })
        .await;
        if at_once == 64 {
            let leases = database.verify_ledger().await.unwrap().leases;
            let started = Instant::now();
            database.leases(&LeaseFilter { limit: 1, ..LeaseFilter::default() }).await.unwrap();
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap().max(1);
            println!("{how:<22} indexed {leases} leases on demand, {}/s", leases * 1000 / millis);
        }
        database.close().await.unwrap();
    }
}

/// What the ledger is measured against: each lease its own row, its own commit.
async fn row_by_row() {
    for at_once in [1, 16, 64, 256] {
        let folder = tempfile::tempdir().unwrap();
        let mut db = SqliteConnectOptions::new()
            .filename(folder.path().join("rows.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging()
            .connect()
            .await
            .unwrap();
        sqlx::query("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)").execute(&mut db).await.unwrap();
        let db = Arc::new(tokio::sync::Mutex::new(db));
        measure("a row and commit each", at_once, move || {
            let db = Arc::clone(&db);
            async move {
                let mut db = db.lock().await;
                sqlx::query("INSERT INTO rows (body) VALUES (?)").bind(vec![7u8; 180]).execute(&mut *db).await.is_ok()
            }
        })
        .await;
    }
}

#[tokio::main]
async fn main() {
    let from = Some(IpAddr::from([192, 0, 2, 7]));
    ledger(LedgerMode::Durable, Metering::Free, from, "durable").await;
    ledger(LedgerMode::Durable, Metering::Free, None, "durable, no address").await;
    ledger(LedgerMode::Durable, Metering::of(1), from, "durable, metered").await;
    ledger(LedgerMode::Relaxed, Metering::Free, from, "behind").await;
    row_by_row().await;
}
