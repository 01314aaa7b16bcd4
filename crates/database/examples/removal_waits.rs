//! How long removing one grant of very many takes, and how long a vend waits meanwhile.
//!
//! `cargo run --release --example removal_waits -p valetkey-database`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it fails by panicking and talks by printing"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Ledger as _;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::{ask, by, new_grant, reads};

/// Grants, tokens and live leases of the account.
const MANY: u32 = 100_000;
/// Grants that are removed.
const REMOVED: u32 = 5;

struct Machine;

impl Clock for Machine {
    #[expect(clippy::disallowed_methods, reason = "this is a program's own clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// So many copies of the account's only grant and token, as rows: each by itself would take a commit.
async fn fill(path: &std::path::Path) {
    let mut db = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let many = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})");
    for sql in [
        format!(
            "{many} INSERT INTO grants (id, account, name, storage, scope, max_lifetime_s, made_ms)
             SELECT randomblob(16), account, 'copy-' || i, storage, scope, max_lifetime_s, made_ms FROM grants, n WHERE name NOT LIKE 'going-%'"
        ),
        format!("UPDATE holding_limits SET most = 10 * {MANY} WHERE what = 'tokens'"),
        format!(
            "DROP TRIGGER tokens_held; {many} INSERT INTO tokens (id, caller, digest, tail, made_ms, form, account)
             SELECT randomblob(16), caller, randomblob(32), tail, made_ms, form, account FROM tokens, n"
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
    }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("valetkey.db");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let settings = Settings { queue: 1_000_000, ..Settings::default() };
    let database = Database::open(&path, settings, Arc::new(Machine), Arc::clone(&entropy), tasks, stop).await.unwrap();
    let database = Arc::new(database);
    let clock = Arc::new(FixedClock::default());
    clock.advance_secs(Machine.now().as_second() - clock.now().as_second());
    let bench = Bench::of(&database, clock, entropy, Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = Arc::new(bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap());
    let mut grants = Vec::new();
    for number in 0..REMOVED {
        let grant = new_grant(tenant.account.id, &tenant.storage, &format!("going-{number}"), reads("lake", &["x"]));
        grants.push(database.create_grant(grant, Machine.now()).await.unwrap());
    }
    fill(&path).await;
    for _ in 0..MANY / 1000 {
        let opened = (0..1000).map(|_| database.open(&permit, None, Machine.now()));
        for lease in futures::future::join_all(opened).await {
            lease.unwrap();
        }
    }
    for indexed in [false, true] {
        if indexed {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        // Vends, one after the other, and the longest that one of them took.
        let (over, longest, vends) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let vending = {
            let (database, permit) = (Arc::clone(&database), Arc::clone(&permit));
            let (over, longest, vends) = (Arc::clone(&over), Arc::clone(&longest), Arc::clone(&vends));
            #[expect(clippy::disallowed_methods, reason = "it is waited for below")]
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    drop(database.open(&permit, None, Machine.now()).await);
                    longest.fetch_max(u64::try_from(started.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
                    vends.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let usual = longest.swap(0, Ordering::Relaxed);
        let started = Instant::now();
        let grant = grants.pop().unwrap();
        database.remove_grant(tenant.account.id, grant, true, by(&tenant, Machine.now())).await.unwrap();
        let took = started.elapsed();
        over.store(true, Ordering::Relaxed);
        vending.await.unwrap();
        println!(
            "{MANY} grants, tokens and live leases, {}: `grant rm` took {} ms; the longest vend {}.{:03} ms, without it {}.{:03} ms",
            if indexed { "indexed" } else { "in pages" },
            took.as_millis(),
            longest.load(Ordering::Relaxed) / 1000,
            longest.load(Ordering::Relaxed) % 1000,
            usual / 1000,
            usual % 1000,
        );
    }
    database.close().await.unwrap();
}
