//! A database copied from a file to a server and back: what was known is known there, and what was ended stays so.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::account::Metering;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::nouns::package::{Digest, Upload, UploadKey};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_database::{Copied, Copying, Database, ParentKeys, Server, Settings, Whereabouts};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{by, name};
use valetkey_testkit::contract::{Bench, Tenant};

struct World {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    seed: u64,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::default(), seed: 0 }
    }

    fn file(&self, name: &str) -> PathBuf {
        let dir = self.folder.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir.join("valetkey.db")
    }

    async fn server(&self, name: &str) -> (Whereabouts, String) {
        let beside = self.file(name);
        let folder = tempfile::Builder::new().prefix("copy").tempdir().unwrap();
        let url = support::new_database(folder.path()).await;
        (Server::new(&Secret::new(url.clone()), None, 4, beside).unwrap().into(), url)
    }

    async fn open(&mut self, at: &Whereabouts) -> (Database, Bench) {
        self.seed += 1;
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(self.seed));
        let settings = Settings { node: format!("node {}", self.seed), ..Settings::default() };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let database = Database::open(at.clone(), settings, clock, Arc::clone(&entropy), tasks, stop).await.unwrap();
        ParentKeys::open(&database, SharedKeyring::new(ring(1))).await.unwrap();
        database.keep_ring(&ring(1).check_values()).await.unwrap();
        let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&self.clock), entropy, Box::new(()));
        (database, bench)
    }
}

fn ring(key: u8) -> Keyring {
    Keyring::new(&[(1, Secret::new([key; 32]))]).unwrap()
}

async fn copy(from: &Whereabouts, to: &Whereabouts) -> Result<Copied, valetkey_core::Error> {
    Copying::begin(from, to, &ring(1).check_values()).await?.finish().await
}

/// What is there to be lost.
struct Past {
    tenant: Tenant,
    live: Lease,
    ended: Lease,
    leases: usize,
}

async fn lived(bench: &Bench) -> Past {
    let tenant = bench.tenant("acme", Metering::of(2)).await;
    bench.registry.add_credits(tenant.account.id, 100, bench.now()).await.unwrap();
    let (live, ended) = (bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap());
    bench.registry.revoke(Revocation::Lease(ended.id), by(&tenant, bench.now())).await.unwrap();
    let token = PlainToken::generate(&*bench.entropy);
    let record = bench.registry.create_token(tenant.caller, &token, None, Maker::Server, bench.now()).await.unwrap();
    bench.registry.revoke_token(record.id, by(&tenant, bench.now())).await.unwrap();
    let (account, caller, package) = (tenant.account.id, tenant.caller, name("demo"));
    let upload = Upload { key: UploadKey::from_bytes([7; 32]).digest(), account, caller, package };
    bench.packages.begin_upload(&upload, bench.now() + SignedDuration::from_secs(900), bench.now()).await.unwrap();
    let body = b"a blob of a package".to_vec();
    bench.packages.finish_upload(&upload, Digest::of(&body), body, bench.now()).await.unwrap();
    Past { tenant, live, ended, leases: 2 }
}

async fn holds(past: &Past, (database, bench): &(Database, Bench), chains: usize) {
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
    assert_eq!((verified.leases, verified.chains.len()), (past.leases as u64, chains), "{verified:?}");
    assert_eq!(bench.state(past.live.id).await, LeaseState::Live);
    assert!(bench.is_revoked(&past.ended) && !bench.is_revoked(&past.live));
    let filter = LeaseFilter { account: Some(past.tenant.account.id), limit: 100, ..LeaseFilter::default() };
    assert_eq!(bench.registry.leases(&filter).await.unwrap().len(), past.leases);
    let caller = bench.caller(&past.tenant.token).await.unwrap();
    assert_eq!(caller.account, past.tenant.account.id);
    let balance = bench.usage.balance(past.tenant.account.id).await.unwrap();
    assert_eq!((balance.granted, balance.used), (100, 2 * past.leases as u64));
}

async fn names(url: &Whereabouts, raw: &str) -> BTreeSet<String> {
    if url.is_file() {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut db = SqliteConnection::connect(raw).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap().into_iter().collect()
    } else {
        let sql = "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'";
        let mut db = PgConnection::connect(raw).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap().into_iter().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_to_a_server_and_back_with_all_that_happened_since() {
    let mut world = World::new();
    let file = Whereabouts::from(&world.file("first"));
    let (database, bench) = world.open(&file).await;
    let mut past = lived(&bench).await;
    database.close().await.unwrap();
    let (server, url) = world.server("second").await;
    let copied = copy(&file, &server).await.unwrap();
    let rows = |table: &str| copied.iter().find(|(name, _)| *name == table).unwrap().1;
    assert_eq!((rows("accounts"), rows("tokens"), rows("package_blobs")), (1, 2, 1));

    // Two nodes go on there, each with its chain.
    let nodes = [world.open(&server).await, world.open(&server).await];
    for node in &nodes {
        holds(&past, node, 2).await;
    }
    for (_, bench) in &nodes {
        bench.open(&past.tenant).await.unwrap();
        past.leases += 1;
    }
    for (database, _) in nodes {
        database.close().await.unwrap();
    }

    let back = Whereabouts::from(&world.file("third"));
    let again = copy(&server, &back).await.unwrap();
    let [listed, kept] =
        [&copied, &again].map(|all| all.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>());
    assert_eq!(listed, kept);
    let node = world.open(&back).await;
    holds(&past, &node, 2).await;
    node.1.open(&past.tenant).await.unwrap();
    past.leases += 1;
    holds(&past, &node, 2).await;
    node.0.close().await.unwrap();
    let (once_more, _) = world.server("fourth").await;
    copy(&back, &once_more).await.unwrap();
    let node = world.open(&once_more).await;
    holds(&past, &node, 2).await;
    node.0.close().await.unwrap();

    // No table of either was forgotten.
    let own = ["changes", "nodes", "trial", "_sqlx_migrations"].map(str::to_owned);
    let mut there = names(&server, &url).await;
    there.retain(|name| !own.contains(name));
    assert_eq!(there, listed);
    let mut here = names(&back, &format!("sqlite://{}", world.file("third").display())).await;
    here.retain(|name| !own.contains(name));
    assert_eq!(here, listed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_copied_is_refused_and_nothing_is_kept() {
    let mut world = World::new();
    let file = Whereabouts::from(&world.file("first"));
    let (database, bench) = world.open(&file).await;
    lived(&bench).await;
    database.close().await.unwrap();
    let (server, url) = world.server("second").await;

    let refusal = copy(&file, &file).await.unwrap_err();
    assert!(format!("{refusal:?}").contains("to itself"), "{refusal:?}");
    let refusal = Copying::begin(&file, &server, &ring(2).check_values()).await.unwrap_err();
    assert!(format!("{refusal:?}").contains("keyring"), "{refusal:?}");

    // A server that runs on either.
    let (running, _) = world.open(&server).await;
    for (from, to) in [(&file, &server), (&server, &file)] {
        let refusal = copy(from, to).await.unwrap_err();
        assert!(format!("{refusal:?}").contains("a server is running on it"), "{refusal:?}");
    }
    running.close().await.unwrap();
    let refusal = copy(&file, &server).await.unwrap_err();
    assert!(format!("{refusal:?}").contains("not empty"), "{refusal:?}");

    // One that breaks off midway leaves nothing.
    let mut db = PgConnection::connect(&url).await.unwrap();
    sqlx::query("DELETE FROM ring_keys").execute(&mut db).await.unwrap();
    sqlx::query("ALTER TABLE managed ADD COLUMN other BIGINT").execute(&mut db).await.unwrap();
    let failure = copy(&file, &server).await.unwrap_err();
    assert!(format!("{failure:?}").contains("managed"), "{failure:?}");
    for table in ["accounts", "ledger_pages", "leases"] {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    sqlx::query("ALTER TABLE managed DROP COLUMN other").execute(&mut db).await.unwrap();
    copy(&file, &server).await.unwrap();
    // What counts who holds how much works there as before.
    let counts: i64 =
        sqlx::query_scalar("SELECT count FROM holdings WHERE what = 'callers' ORDER BY count DESC LIMIT 1")
            .fetch_one(&mut db)
            .await
            .unwrap();
    sqlx::query("INSERT INTO callers (id, account, name, role, made_ms) SELECT '\\x01', id, 'one-more', 'member', 0 FROM accounts")
        .execute(&mut db)
        .await
        .unwrap();
    let more: i64 = sqlx::query_scalar("SELECT count FROM holdings WHERE what = 'callers' ORDER BY count DESC LIMIT 1")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(more, counts + 1);
}
