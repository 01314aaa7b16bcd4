//! Several nodes on one database of Postgres: what one changes, ends and charges holds on all.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "what a test spawns, it waits for")]

#[path = "support/protocol.rs"]
mod protocol;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::audit::{ChangeFilter, Deed};
use valetkey_core::caller::Role;
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Kind, Secret};
use valetkey_database::{Database, LedgerMode, Server, Settings, Staleness};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{ask, by, name};
use valetkey_testkit::contract::{Bench, Tenant};

/// What is promised: a change holds on every node after so long.
const SECOND: Duration = Duration::from_secs(1);

struct Cluster {
    url: String,
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    nodes: Vec<(Database, Bench)>,
    restarts: u64,
}

impl Cluster {
    async fn of(nodes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = support::new_database(folder.path()).await;
        let mut own = Self { url, folder, clock: Arc::new(FixedClock::default()), nodes: Vec::new(), restarts: 0 };
        for seed in 0..nodes {
            own.join(seed, Staleness::default()).await;
        }
        own
    }

    async fn join(&mut self, seed: u64, staleness: Staleness) {
        let node = self.started(seed, staleness).await;
        self.nodes.push(node);
    }

    async fn restart(&mut self, node: usize) {
        self.nodes[node].0.clone().close().await.unwrap();
        self.restarts += 1;
        self.nodes[node] = self.started(1000 * self.restarts, Staleness::default()).await;
    }

    async fn started(&self, seed: u64, staleness: Staleness) -> (Database, Bench) {
        let settings = Settings { node: format!("node {seed}"), staleness, ..Settings::default() };
        let database = open(self.server(), settings, &self.clock, seed).await.unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed + 100));
        let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&self.clock), entropy, Box::new(()));
        (database, bench)
    }

    fn server(&self) -> Server {
        Server::new(&Secret::new(self.url.clone()), None, 4, self.folder.path().join("valetkey.db")).unwrap()
    }

    fn bench(&self, node: usize) -> &Bench {
        &self.nodes[node].1
    }

    async fn raw(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Every chain fits, and what the database says is on them.
    async fn verify(&self) -> valetkey_core::nouns::registry::Verified {
        let verified = self.nodes[0].0.verify_ledger().await.unwrap();
        assert!(verified.intact(), "{verified:?}");
        verified
    }
}

async fn open(
    server: Server,
    settings: Settings,
    clock: &Arc<FixedClock>,
    seed: u64,
) -> Result<Database, valetkey_core::Error> {
    let clock = Arc::<FixedClock>::clone(clock) as Arc<dyn Clock>;
    let entropy = Arc::new(SeededEntropy::new(seed + 1));
    Database::open(server, settings, clock, entropy, TaskTracker::new(), CancellationToken::new()).await
}

/// Waits until it is so, at most as long as is promised.
async fn soon(what: &str, mut so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < SECOND, "{what} took longer than a second");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_makes_is_there_on_the_others() {
    let cluster = Cluster::of(3).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    let mut leases = Vec::new();
    for node in 0..3 {
        // Nobody asked for it there before: nothing is known that could be wrong.
        leases.push(cluster.bench(node).open(&tenant).await.unwrap());
    }
    let listed = |node: usize| {
        let bench = cluster.bench(node);
        async move {
            let filter = LeaseFilter { account: Some(tenant.account.id), limit: 10, ..LeaseFilter::default() };
            let mut found: Vec<_> =
                bench.registry.leases(&filter).await.unwrap().into_iter().map(|record| record.lease.id).collect();
            found.sort_unstable();
            found
        }
    };
    let mut all: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    all.sort_unstable();
    for node in 0..3 {
        assert_eq!(listed(node).await, all, "{node}");
        for lease in &leases {
            assert_eq!(cluster.bench(node).state(lease.id).await, LeaseState::Live);
        }
    }
    let verified = cluster.verify().await;
    assert_eq!((verified.leases, verified.chains.len()), (3, 3), "each has a chain of its own");
    let filter = ChangeFilter { limit: 100, ..ChangeFilter::default() };
    let changes = cluster.nodes[2].0.changes(&filter).await.unwrap();
    assert!(changes.iter().any(|change| change.deed.as_ref() == Deed::Made.as_str()), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_works_on_every_node_though_it_was_tried_before() {
    let cluster = Cluster::of(2).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    let token = PlainToken::generate(&*cluster.bench(0).entropy);
    assert!(cluster.bench(1).caller(&token).await.is_err(), "nobody's yet, and that is remembered");
    let registry = &cluster.bench(0).registry;
    registry.create_token(tenant.caller, &token, None, Maker::Server, cluster.clock.now()).await.unwrap();
    soon("a new token", async || cluster.bench(1).caller(&token).await.is_ok()).await;
    // What is told of it is not what it proves: that may be a secret access key.
    let touched: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT touched FROM changes").fetch_all(&mut cluster.raw().await).await.unwrap();
    assert!(touched.iter().all(|bytes| bytes.len() <= 17), "{touched:?}");
}

/// Ways to end what a tenant has.
fn endings(tenant: &Tenant) -> Vec<(&'static str, Ending)> {
    let all = How { cascade: true, ..How::ALL };
    vec![
        ("the token is revoked", Ending::Token),
        ("the caller is suspended", Ending::Suspend),
        ("credentials of the account end", Ending::Only(Revocation::Account(tenant.account.id))),
        ("credentials of the grant end", Ending::Only(Revocation::Grant(tenant.grant))),
        ("the grant is removed", Ending::Remove(Thing::Grant(tenant.grant), all)),
        ("the caller is removed", Ending::Remove(Thing::Caller(tenant.caller), all)),
        ("the account is removed", Ending::Remove(Thing::Account(tenant.account.id), all)),
    ]
}

enum Ending {
    Token,
    Suspend,
    Only(Revocation),
    Remove(Thing, How),
}

impl Ending {
    async fn run(&self, bench: &Bench, tenant: &Tenant) {
        let by = by(tenant, bench.now());
        match self {
            Self::Token => drop(bench.registry.revoke_token(tenant.record.id, by).await.unwrap()),
            Self::Suspend => drop(bench.registry.suspend_caller(tenant.caller, by).await.unwrap()),
            Self::Only(what) => drop(bench.registry.revoke(*what, by).await.unwrap()),
            Self::Remove(what, how) => drop(bench.registry.remove(what, *how, by).await.unwrap()),
        }
    }

    /// Whether nothing may be vended afterwards.
    fn is_lasting(&self) -> bool {
        !matches!(self, Self::Only(_))
    }
}

/// While one node ends something the others vend as fast as they can: whatever they handed out is ended everywhere within a second, and
/// on record as ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_vended_meanwhile_outlives_an_end() {
    let cluster = Arc::new(Cluster::of(3).await);
    // An operator stays, whoever goes.
    let root = cluster.bench(0).tenant("root", Metering::Free).await;
    let registry = &cluster.bench(0).registry;
    let operator =
        registry.ensure_caller(root.account.id, &name("op"), Role::Operator, cluster.clock.now()).await.unwrap();
    let token = PlainToken::generate(&*cluster.bench(0).entropy);
    registry.create_token(operator, &token, None, Maker::Server, cluster.clock.now()).await.unwrap();
    for round in 0..7 {
        let tenant = cluster.bench(0).tenant(&format!("tenant{round}"), Metering::Free).await;
        let (what, ending) = endings(&tenant).swap_remove(round);
        let stop = CancellationToken::new();
        let vending: Vec<_> = (0..3)
            .map(|node| {
                let (cluster, tenant, stop) = (Arc::clone(&cluster), tenant.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut vended: Vec<(Lease, Instant)> = Vec::new();
                    let mut last = None;
                    while !stop.is_cancelled() {
                        let began = Instant::now();
                        let permit = cluster.bench(node).decide(&tenant.token, &ask(tenant.grant)).await;
                        match permit {
                            Ok(permit) => last = Some(permit),
                            Err(_) if last.is_none() => continue,
                            Err(_) => {}
                        }
                        // Also what was decided long before.
                        let permit = last.as_ref().unwrap();
                        if let Ok(lease) = cluster.bench(node).ledger.open(permit, None, cluster.clock.now()).await {
                            vended.push((lease, began));
                        }
                        tokio::task::yield_now().await;
                    }
                    vended
                })
            })
            .collect();
        // Every node vends.
        soon("vending", async || {
            let filter = LeaseFilter { account: Some(tenant.account.id), limit: 100, ..LeaseFilter::default() };
            cluster.nodes[0].0.leases(&filter).await.unwrap().len() >= 30
        })
        .await;
        cluster.clock.advance_secs(1);
        ending.run(cluster.bench(0), &tenant).await;
        let done = Instant::now();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
        let mut vended = Vec::new();
        for one in vending {
            vended.extend(one.await.unwrap());
        }
        assert!(vended.len() >= 30, "{what}");
        for (lease, began) in &vended {
            if *began > done && !ending.is_lasting() {
                continue;
            }
            assert!(*began <= done, "{what}: vended after it");
            // What was begun before and decided as after it is the next one's.
            if !ending.is_lasting() && !cluster.bench(0).is_revoked(lease) {
                continue;
            }
            assert!(cluster.bench(0).is_revoked(lease), "{what}: at once where it was ended");
            assert!(matches!(cluster.bench(1).state(lease.id).await, LeaseState::Revoked(_)), "{what}: on record");
        }
        for node in [1, 2] {
            let ended = vended.iter().filter(|(lease, _)| cluster.bench(0).is_revoked(lease));
            for (lease, _) in ended {
                soon(what, async || cluster.bench(node).is_revoked(lease)).await;
            }
        }
        if ending.is_lasting() {
            for node in 0..3 {
                soon(what, async || cluster.bench(node).open(&tenant).await.is_err()).await;
            }
        }
    }
    cluster.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_are_not_overdrawn_by_many_nodes() {
    let cluster = Arc::new(Cluster::of(3).await);
    let tenant = cluster.bench(0).tenant("acme", Metering::of(1)).await;
    cluster.bench(0).registry.add_credits(tenant.account.id, 100, cluster.clock.now()).await.unwrap();
    let vending: Vec<_> = (0..3)
        .flat_map(|node| (0..4).map(move |_| node))
        .map(|node| {
            let (cluster, tenant) = (Arc::clone(&cluster), tenant.clone());
            tokio::spawn(async move {
                let mut vended = 0;
                for _ in 0..20 {
                    match cluster.bench(node).open(&tenant).await {
                        Ok(_) => vended += 1,
                        Err(error) => assert_eq!(error.kind(), Kind::OutOfCredit, "{error:?}"),
                    }
                }
                vended
            })
        })
        .collect();
    let mut vended = 0;
    for one in vending {
        vended += one.await.unwrap();
    }
    assert_eq!(vended, 100, "of 240 that were asked for");
    for node in 0..3 {
        let balance = cluster.bench(node).usage.balance(tenant.account.id).await.unwrap();
        assert_eq!((balance.granted, balance.used), (100, 100), "{node}");
    }
    // What is given on one node is used on another, at the latest a second later.
    cluster.bench(1).registry.add_credits(tenant.account.id, 1, cluster.clock.now()).await.unwrap();
    let began = Instant::now();
    while cluster.bench(2).open(&tenant).await.is_err() {
        assert!(began.elapsed() < 2 * SECOND);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_database_refuses_and_recovers_without_a_restart() {
    let mut cluster = Cluster::of(1).await;
    let staleness = Staleness { vend: Duration::from_secs(2), s3: Duration::from_secs(2) };
    cluster.join(1, staleness).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    let lease = cluster.bench(1).open(&tenant).await.unwrap();
    assert!(cluster.bench(1).leases.current().is_ok());
    let (start, query) = cluster.url.split_once('?').unwrap();
    let (host, name) = start.rsplit_once('/').unwrap();
    let own = format!("{host}/postgres?{query}");
    let mut other = PgConnection::connect(&own).await.unwrap();
    let mut run = async |sql: String| sqlx::query(AssertSqlSafe(sql)).execute(&mut other).await.map(|_| ()).unwrap();
    run(format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let refused = cluster.bench(1).open(&tenant).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    let began = Instant::now();
    while cluster.bench(1).leases.current().is_ok() {
        assert!(began.elapsed() < 3 * SECOND, "what it knows may not be true any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(cluster.nodes[1].0.ready().await.is_err());
    run(format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true")).await;
    let began = Instant::now();
    while cluster.bench(1).open(&tenant).await.is_err() || cluster.bench(1).leases.current().is_err() {
        assert!(began.elapsed() < 5 * SECOND, "it is there again, and the node does not see it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What is told is heard again.
    cluster.bench(0).registry.revoke(Revocation::Lease(lease.id), by(&tenant, cluster.clock.now())).await.unwrap();
    let began = Instant::now();
    while !cluster.bench(1).is_revoked(&lease) {
        assert!(began.elapsed() < 3 * SECOND);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_leaves_its_chain_to_the_next() {
    let mut cluster = Cluster::of(2).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    cluster.bench(1).open(&tenant).await.unwrap();
    cluster.nodes.pop().unwrap().0.close().await.unwrap();
    cluster.join(7, Staleness::default()).await;
    cluster.bench(1).open(&tenant).await.unwrap();
    let verified = cluster.verify().await;
    assert_eq!((verified.leases, verified.chains.len()), (2, 2));
    // A chain that ends early is told of, also one of a node that is not there.
    cluster.nodes.pop().unwrap().0.close().await.unwrap();
    let last: i64 =
        sqlx::query_scalar("SELECT max(seq) FROM ledger_pages").fetch_one(&mut cluster.raw().await).await.unwrap();
    sqlx::query("DELETE FROM ledger_pages WHERE seq = $1").bind(last).execute(&mut cluster.raw().await).await.unwrap();
    let verified = cluster.nodes[0].0.verify_ledger().await.unwrap();
    assert_eq!(verified.broken_at, Some(u64::try_from(last).unwrap()), "{verified:?}");
}

async fn vends_again(bench: &Bench, tenant: &Tenant) -> Lease {
    let began = Instant::now();
    loop {
        if let Ok(lease) = bench.open(tenant).await {
            return lease;
        }
        assert!(began.elapsed() < 5 * SECOND, "it vends nothing any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The number of the last change, once every node has heard of it.
async fn settled(cluster: &Cluster) -> i64 {
    tokio::time::sleep(SECOND + SECOND / 2).await;
    sqlx::query_scalar("SELECT max(seq) FROM changes").fetch_one(&mut cluster.raw().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lost_its_last_changes_is_gone_on_with() {
    let mut cluster = Cluster::of(2).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    for beyond in [false, true] {
        let lease = cluster.bench(1).open(&tenant).await.unwrap();
        let kept = settled(&cluster).await;
        let pages: i64 =
            sqlx::query_scalar("SELECT max(seq) FROM ledger_pages").fetch_one(&mut cluster.raw().await).await.unwrap();
        for number in 0..3 {
            let lost = name(&format!("lost-{beyond}-{number}"));
            cluster.bench(0).registry.create_account(&lost, Metering::Free, cluster.clock.now()).await.unwrap();
        }
        cluster.bench(1).open(&tenant).await.unwrap();
        settled(&cluster).await;
        // As after a failover: what was written since is not there.
        let mut raw = cluster.raw().await;
        for (sql, at) in [
            ("DELETE FROM changes WHERE seq > $1", kept),
            ("DELETE FROM ledger_pages WHERE seq > $1", pages),
            ("UPDATE nodes SET head = 0 WHERE $1 > 0", 1),
        ] {
            sqlx::query(sql).bind(at).execute(&mut raw).await.unwrap();
        }
        if beyond {
            // A node that starts now counts on from there.
            cluster.join(9, Staleness::default()).await;
            for number in 0..6 {
                let account = name(&format!("new-{number}"));
                cluster.bench(2).registry.create_account(&account, Metering::Free, cluster.clock.now()).await.unwrap();
            }
            cluster
                .bench(2)
                .registry
                .revoke(Revocation::Lease(lease.id), by(&tenant, cluster.clock.now()))
                .await
                .unwrap();
        }
        for node in 0..2 {
            vends_again(cluster.bench(node), &tenant).await;
        }
        if !beyond {
            let end = Revocation::Lease(lease.id);
            cluster.bench(0).registry.revoke(end, by(&tenant, cluster.clock.now())).await.unwrap();
        }
        let began = Instant::now();
        while !cluster.nodes.iter().all(|(_, bench)| bench.is_revoked(&lease)) {
            assert!(began.elapsed() < 3 * SECOND, "what another node ended is not heard of");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_chain_was_taken_takes_another() {
    /// The lock of the second chain.
    const SECOND_CHAIN: i64 = 0x76_6b_00_00_02;
    let cluster = Cluster::of(2).await;
    let tenant = cluster.bench(0).tenant("acme", Metering::Free).await;
    cluster.bench(1).open(&tenant).await.unwrap();
    // Its session is ended, and before it is back another has the chain.
    let mut raw = cluster.raw().await;
    let (high, low) = (SECOND_CHAIN >> 32, SECOND_CHAIN & 0xffff_ffff);
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        .bind(high)
        .bind(low)
        .execute(&mut raw)
        .await
        .unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(SECOND_CHAIN).execute(&mut raw).await.unwrap();
    sqlx::query("UPDATE nodes SET holder = '\\x01' WHERE chain = 2").execute(&mut raw).await.unwrap();
    let refused = cluster.bench(1).open(&tenant).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::Unavailable, Some(1)), "{refused:?}");
    vends_again(cluster.bench(1), &tenant).await;
    let began = Instant::now();
    loop {
        let sql = "SELECT chain FROM nodes WHERE name = 'node 1' ORDER BY chain";
        let chains: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut raw).await.unwrap();
        if chains.contains(&3) {
            break;
        }
        assert!(began.elapsed() < 3 * SECOND, "{chains:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pages: Vec<i64> =
        sqlx::query_scalar("SELECT count(*) FROM ledger_pages WHERE opens > 0 GROUP BY seq >> 40 ORDER BY seq >> 40")
            .fetch_all(&mut raw)
            .await
            .unwrap();
    assert_eq!(pages, [1, 1], "one on its first chain, one on its new one");
    cluster.bench(1).registry.create_account(&name("more"), Metering::Free, cluster.clock.now()).await.unwrap();
    assert_eq!(cluster.verify().await.leases, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_know_how_many_they_are_and_when_credentials_leave_the_pool() {
    use valetkey_core::id::StorageId;
    use valetkey_core::nouns::pool::Pool;
    let cluster = Cluster::of(3).await;
    let began = Instant::now();
    while !cluster.nodes.iter().all(|(database, _)| database.live_nodes().count() == 3) {
        assert!(began.elapsed() < 3 * SECOND);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut told = cluster.nodes[2].0.pool_elsewhere().unwrap();
    Pool::remove(&cluster.nodes[0].0, StorageId::from_bytes([1; 16]), &["a key".into()]).await.unwrap();
    tokio::time::timeout(SECOND, told.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_in_words_that_help() {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("valetkey.db");
    let url = |text: &str| Server::new(&Secret::new(text.to_owned()), None, 4, beside.clone());
    for (bad, words) in [
        ("mysql://a@b/c", "is not a URL like"),
        ("postgres://a@b", "names no database"),
        ("postgres://a@b/c?sslmode=require", "`verify-full`"),
        ("postgres://a@b/c?sslmode=prefer", "`verify-full`"),
        ("postgres://a:pa ss@b:x/c", "is not a URL like"),
    ] {
        let refused = url(bad).unwrap_err();
        assert!(refused.contains(words), "{bad}: {refused}");
        assert!(!refused.contains("pa ss"), "{refused}");
    }
    let hidden = url("postgres://me:hunter2@db.example.com/c").unwrap();
    assert_eq!(hidden.name(), "postgres://me@db.example.com:5432/c");
    assert!(!format!("{hidden:?}").contains("hunter2"), "{hidden:?}");
    let clock = Arc::new(FixedClock::default());
    let refused = async |url: &str, settings: Settings| {
        let server = Server::new(&Secret::new(url.to_owned()), None, 4, beside.clone()).unwrap();
        open(server, settings, &clock, 1).await.unwrap_err()
    };
    let own = support::new_database(folder.path()).await;
    let relaxed = Settings { ledger: LedgerMode::Relaxed, ..Settings::default() };
    assert!(refused(&own, relaxed).await.message().contains("`ledger.mode"));
    let nobody = refused("postgres://me:hunter2@127.0.0.1:1/c", Settings::default()).await;
    assert_eq!(nobody.kind(), Kind::Unavailable);
    assert!(nobody.message().contains("postgres://me@127.0.0.1:1/c") && !format!("{nobody:?}").contains("hunter2"));
    let mut db = PgConnection::connect(&own).await.unwrap();
    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut db).await.unwrap();
    let set = format!("ALTER DATABASE \"{database}\" SET default_transaction_read_only = on");
    sqlx::query(AssertSqlSafe(set)).execute(&mut db).await.unwrap();
    let error = refused(&own, Settings::default()).await;
    assert!(error.message().contains("read-only"), "{error:?}");
    let reset = format!("SET default_transaction_read_only = off; ALTER DATABASE \"{database}\" RESET ALL");
    sqlx::raw_sql(AssertSqlSafe(reset)).execute(&mut db).await.unwrap();
}

/// Ways through the model, taken by real nodes: the database answers each page as the model does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_nodes_do_as_the_model_says() {
    use protocol::{Said, Step};
    let mut cluster = Cluster::of(3).await;
    let root = cluster.bench(0).tenant("root", Metering::Free).await;
    for walk in 0..12 {
        let entropy = SeededEntropy::new(walk);
        let chance = |below: usize| {
            let mut byte = [0];
            entropy.fill(&mut byte);
            usize::from(byte[0]) % below
        };
        let tenant = cluster.bench(0).tenant(&format!("walk{walk}"), Metering::of(1)).await;
        cluster.bench(0).registry.add_credits(tenant.account.id, 2, cluster.clock.now()).await.unwrap();
        let (mut decided, mut written) = (vec![None, None, None], 0);
        for node in 0..3 {
            soon("the tenant", async || cluster.bench(node).decide(&tenant.token, &ask(tenant.grant)).await.is_ok())
                .await;
        }
        for (at, (step, said)) in protocol::walk(3, 2, 30, chance).into_iter().enumerate() {
            match step {
                // A real node may have heard of the end already; then nothing is written either.
                Step::Decide(node) => {
                    decided[node] = cluster.bench(node).decide(&tenant.token, &ask(tenant.grant)).await.ok();
                }
                Step::Write(node) => {
                    let bench = cluster.bench(node);
                    let mut opened = false;
                    // As a vend does: what other nodes changed meanwhile is decided again.
                    while let Some(permit) = decided[node].take() {
                        match bench.ledger.open(&permit, None, bench.now()).await {
                            Err(error) if error.is_overtaken() => {
                                decided[node] = bench.decide(&tenant.token, &ask(tenant.grant)).await.ok();
                            }
                            done => opened = done.is_ok(),
                        }
                    }
                    assert_eq!(opened, said == Some(Said::Written), "walk {walk}, step {at}: {step:?} {said:?}");
                    written += u64::from(opened);
                }
                Step::End(node) => {
                    let bench = cluster.bench(node);
                    bench.registry.suspend_caller(tenant.caller, by(&root, bench.now())).await.unwrap();
                }
                Step::GiveUp(node) | Step::Crash(node) => decided[node] = None,
                Step::Start(node) => cluster.restart(node).await,
                Step::Hear(_) | Step::Tick | Step::WriteUnheard(_) | Step::Show(_) | Step::LoseChange => {}
            }
        }
        let balance = cluster.bench(0).usage.balance(tenant.account.id).await.unwrap();
        assert_eq!(balance.used, written, "walk {walk}");
    }
    cluster.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_tell_who_they_are_and_the_pages_of_one_that_is_gone_are_archived_by_another() {
    let cluster = Cluster::of(0).await;
    let archive = cluster.folder.path().join("archive");
    let mut nodes = Vec::new();
    for seed in 0..2 {
        let retention = valetkey_database::Retention { ledger_secs: 86_400, ..Default::default() };
        let archive = Some(archive.clone());
        let embedded = seed == 1;
        let settings = Settings { node: format!("node {seed}"), retention, archive, embedded, ..Settings::default() };
        let database = open(cluster.server(), settings, &cluster.clock, seed).await.unwrap();
        let keys = valetkey_core::keyring::Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap();
        let keys = valetkey_core::keyring::SharedKeyring::new(keys);
        valetkey_database::ParentKeys::open(&database, keys).await.unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed + 100));
        let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&cluster.clock), entropy, Box::new(()));
        nodes.push((database, bench));
    }
    let tenant = nodes[0].1.tenant("acme", Metering::Free).await;
    for _ in 0..3 {
        nodes[1].1.open(&tenant).await.unwrap();
    }
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let listed = nodes[0].0.nodes().await.unwrap();
    let told: Vec<_> =
        listed.iter().map(|node| (&*node.name, node.live, node.this, node.chain, node.embedded)).collect();
    assert_eq!(told, [("node 0", true, true, 1, false), ("node 1", true, false, 2, true)]);
    assert!(listed.iter().all(|node| node.id.is_some() && &*node.version == env!("CARGO_PKG_VERSION")));
    let (gone, _) = nodes.remove(1);
    gone.close().await.unwrap();
    cluster.clock.advance_secs(400 * 86_400);
    let (database, bench) = &nodes[0];
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < 20 * SECOND, "the chain of the node that is gone is not archived");
        // It is in the index some time after it was written, and this node heard from within a second.
        tokio::time::sleep(SECOND).await;
        if bench.open(&tenant).await.is_ok() && database.sweep().await.is_ok_and(|swept| swept.pages > 0) {
            let begins = database.verify_ledger().await.unwrap().begins;
            if begins.len() == 2 {
                break;
            }
        }
    }
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
    let archived = valetkey_database::read_archive(&[archive], &verified.begins).unwrap();
    assert_eq!((archived.found.len(), archived.chains.len(), archived.wrong.len()), (2, 2, 0), "{archived:?}");
    let listed = database.nodes().await.unwrap();
    assert_eq!(
        listed.iter().map(|node| (node.live, node.embedded)).collect::<Vec<_>>(),
        [(true, false), (false, false)]
    );
}
