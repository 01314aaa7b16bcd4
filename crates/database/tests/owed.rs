//! What was ended and cannot be written, each time it is tried: it stays ended, holds back nothing else that is owed, and is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Kind, Secret};
use valetkey_database::{Database, Server, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::by;

/// As a disk answers that is full, for the revocations that are listed.
const REFUSING: [&str; 3] = [
    "CREATE TABLE refused (target BYTEA NOT NULL)",
    "CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
     BEGIN
         IF EXISTS (SELECT 1 FROM refused r WHERE r.target = NEW.target) THEN
             RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
         END IF;
         RETURN NEW;
     END $$",
    "CREATE TRIGGER refuse BEFORE INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION refuse()",
];

async fn until_owed(database: &Database, many: usize) {
    let waited = Instant::now();
    while database.owed() != many {
        assert!(waited.elapsed() < Duration::from_secs(20), "{} are owed, not {many}", database.owed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_never_written_stays_an_end_holds_no_other_back_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = support::new_database(folder.path()).await;
    let server = Server::new(&Secret::new(url.clone()), None, 4, folder.path().join("valetkey.db")).unwrap();
    let clock = Arc::new(FixedClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(31));
    let ticking = Arc::clone(&clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let opened = Database::open(server, Settings::default(), ticking, Arc::clone(&entropy), tasks, stop).await;
    let database = Arc::new(opened.unwrap());
    let bench = Bench::of(&database, clock, entropy, Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let (never, later, other) =
        (bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap());
    let mut raw = PgConnection::connect(&url).await.unwrap();
    for sql in REFUSING {
        sqlx::query(sql).execute(&mut raw).await.unwrap();
    }
    let id = |lease: &Lease| lease.id.to_bytes().to_vec();
    for lease in [&never, &later] {
        sqlx::query("INSERT INTO refused (target) VALUES ($1)").bind(id(lease)).execute(&mut raw).await.unwrap();
        let refused = database.revoke(Revocation::Lease(lease.id), by(&tenant, bench.now())).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable, "{refused:?}");
        assert!(refused.message().contains("not on record yet"), "{refused:?}");
        assert!(bench.is_revoked(lease));
    }
    until_owed(&database, 2).await;
    // What can be written is, before and after it.
    database.revoke(Revocation::Lease(other.id), by(&tenant, bench.now())).await.unwrap();
    assert!(database.owes());
    sqlx::query("DELETE FROM refused WHERE target = $1").bind(id(&later)).execute(&mut raw).await.unwrap();
    until_owed(&database, 1).await;
    let written = "SELECT target FROM revocations ORDER BY target";
    let mut both = vec![id(&later), id(&other)];
    both.sort();
    assert_eq!(sqlx::query_scalar::<_, Vec<u8>>(written).fetch_all(&mut raw).await.unwrap(), both);
    assert!(matches!(bench.state(later.id).await, LeaseState::Revoked(_)));
    assert!(bench.is_revoked(&never));
    assert_eq!(database.owed(), 1, "it is still told");
    // And when it can be written at last, it is.
    sqlx::query("DELETE FROM refused").execute(&mut raw).await.unwrap();
    until_owed(&database, 0).await;
    assert!(matches!(bench.state(never.id).await, LeaseState::Revoked(_)));
    assert!(database.verify_ledger().await.unwrap().intact());
    database.close().await.unwrap();
}
