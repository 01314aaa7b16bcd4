//! What is SQLite's own: the file, the chain of pages, restarts, other processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::error::Stranger;
use valetkey_core::lease::{LeaseState, Refusal, Revocation};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::usage::Usage;
use valetkey_core::nouns::usage::{Origin, Period, RequestFilter};
use valetkey_core::nouns::workspace::{WorkspaceAdmin, Workspaces};
use valetkey_core::port::{Directory, Ledger, Revocations};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_database::{Database, LedgerMode, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{ask, by, provenance};
use valetkey_testkit::contract::workspaces::new_workspace;
use valetkey_testkit::contract::{Bench, Tenant};

/// A database in its own folder, opened as often as a test wants.
struct Shelf {
    _folder: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<FixedClock>,
    entropy: Arc<dyn Entropy>,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.db");
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(3));
        Self { _folder: folder, path, clock: Arc::default(), entropy }
    }

    async fn try_open(&self, settings: Settings) -> Result<Database, valetkey_core::Error> {
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let entropy = Arc::clone(&self.entropy);
        Database::open(&self.path, settings, clock, entropy, TaskTracker::new(), CancellationToken::new()).await
    }

    async fn open(&self) -> Database {
        self.try_open(Settings::default()).await.unwrap()
    }

    fn bench(&self, database: &Database) -> Bench {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Bench::of(&Arc::new(database.clone()), clock, Arc::clone(&self.entropy), Box::new(()))
    }

    async fn raw(&self) -> SqliteConnection {
        connect(&self.path).await
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn run(db: &mut SqliteConnection, sql: &str) -> u64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap().rows_affected()
}

/// A closed database with a few pages of leases in it, after the six that made the tenant.
async fn with_pages(shelf: &Shelf, pages: usize) -> Tenant {
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    for _ in 0..pages {
        bench.open(&tenant).await.unwrap();
    }
    database.close().await.unwrap();
    tenant
}

#[tokio::test]
async fn a_changed_page_is_found() {
    for (change, broken) in [
        // One bit of the body; the hash; the counts beside it; a page in the middle, at the start and at the end.
        (
            "UPDATE ledger_pages SET body = CAST(substr(body, 1, 30) || x'ff' || substr(body, 32) AS BLOB) WHERE seq = 9",
            Some(9),
        ),
        ("UPDATE ledger_pages SET hash = zeroblob(32) WHERE seq = 8", Some(8)),
        ("UPDATE ledger_pages SET opens = 2 WHERE seq = 8", Some(8)),
        ("UPDATE ledger_pages SET notes = 0 WHERE seq = 2", Some(2)),
        ("DELETE FROM ledger_pages WHERE seq = 9", Some(9)),
        ("DELETE FROM ledger_pages WHERE seq = 1", Some(1)),
        ("UPDATE ledger_pages SET body = (SELECT body FROM ledger_pages WHERE seq = 7) WHERE seq = 11", Some(11)),
        ("UPDATE ledger_pages SET opens = opens", None),
    ] {
        let shelf = Shelf::new();
        with_pages(&shelf, 5).await;
        assert!(run(&mut shelf.raw().await, change).await > 0);
        let database = shelf.open().await;
        assert_eq!(database.verify_ledger().await.unwrap().broken_at, broken, "{change}");
    }
}

#[tokio::test]
async fn a_page_cut_off_while_the_store_runs_is_found() {
    let shelf = Shelf::new();
    with_pages(&shelf, 5).await;
    let database = shelf.open().await;
    run(&mut shelf.raw().await, "DELETE FROM ledger_pages WHERE seq = 11").await;
    assert_eq!(database.verify_ledger().await.unwrap().broken_at, Some(11));
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_words_that_help() {
    let shelf = Shelf::new();
    Database::migrate(&shelf.path).await.unwrap();
    Database::migrate(&shelf.path).await.unwrap();
    run(
        &mut shelf.raw().await,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9001, 'later', 1, x'00', 0)",
    )
    .await;
    for refused in
        [Database::migrate(&shelf.path).await.unwrap_err(), shelf.try_open(Settings::default()).await.unwrap_err()]
    {
        assert_eq!(refused.kind(), Kind::Unavailable);
        assert!(refused.message().contains("schema 9001, which a newer valetkey wrote"), "{refused}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused() {
    let shelf = Shelf::new();
    std::fs::write(&shelf.path, "this is not a database, and long enough to be looked at as one".repeat(100)).unwrap();
    assert_eq!(shelf.try_open(Settings::default()).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(Database::migrate(Path::new("/nowhere/valetkey.db")).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let shelf = Shelf::new();
    let database = shelf.try_open(Settings { queue: 10, ..Settings::default() }).await.unwrap();
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    database.add_credits(tenant.account.id, 100, bench.now()).await.unwrap();
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    // All at once from one task: the writer has no turn in between.
    let opened = join_all((0..50).map(|_| database.open(&permit, None, bench.now()))).await;
    let (good, bad): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (10, 40));
    for refused in bad {
        let refused = refused.unwrap_err();
        assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::Unavailable, Some(1)));
    }
    assert_eq!(database.balance(tenant.account.id).await.unwrap().used, 10, "a refused vend costs nothing");
    assert_eq!(database.verify_ledger().await.unwrap().leases, 10);
    bench.open(&tenant).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::of(2)).await;
    let account = tenant.account.id;
    database.add_credits(account, 10, bench.now()).await.unwrap();
    let (kept, revoked, void) =
        (bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap());
    database.void(&void, Kind::Upstream, bench.now()).await.unwrap();
    shelf.clock.advance_secs(1);
    database.revoke(Revocation::Lease(revoked.id), by(&tenant, bench.now())).await.unwrap();
    let ended = PlainToken::generate(&*shelf.entropy);
    let record = database.create_token(tenant.caller, &ended, None, Maker::Server, bench.now()).await.unwrap();
    database.revoke_token(record.id, by(&tenant, bench.now())).await.unwrap();
    database.request(account, tenant.record.id, Origin::Api, bench.now());
    database.close().await.unwrap();
    let closed = bench.ledger.open(&bench_permit(&shelf, &tenant).await, None, bench.now()).await;
    assert_eq!(closed.unwrap_err().kind(), Kind::Unavailable, "a closed store opens nothing");
    assert_eq!(database.ready().await.unwrap_err().kind(), Kind::Unavailable);
    let changed = database.add_credits(account, 1, bench.now()).await;
    assert_eq!(changed.unwrap_err().kind(), Kind::Unavailable, "nor changes anything");
    database.close().await.unwrap();

    let database = shelf.open().await;
    database.ready().await.unwrap();
    let bench = shelf.bench(&database);
    assert_eq!(bench.caller(&tenant.token).await.unwrap().id, tenant.caller);
    assert_eq!(bench.caller(&ended).await.unwrap_err().kind(), Kind::Unauthenticated(Stranger::Revoked));
    assert!(database.is_revoked(&provenance(&revoked)) && !database.is_revoked(&provenance(&kept)));
    assert_eq!(bench.state(void.id).await, LeaseState::Void);
    assert!(matches!(bench.state(revoked.id).await, LeaseState::Revoked(_)));
    database.void(&void, Kind::Upstream, bench.now()).await.unwrap();
    assert_eq!(database.balance(account).await.unwrap().used, 4, "still given back once");
    let period = Period { from: kept.opened, to: kept.until, zone: jiff::tz::TimeZone::UTC };
    let filter = RequestFilter { account, token: None, origin: None };
    assert_eq!(database.requests_by_day(&filter, &period).await.unwrap()[0].count, 1);
    assert_eq!(database.verify_ledger().await.unwrap().leases, 3);
}

async fn bench_permit(shelf: &Shelf, tenant: &Tenant) -> valetkey_core::policy::Permit {
    let database = shelf.open().await;
    let permit = shelf.bench(&database).decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    database.close().await.unwrap();
    permit
}

#[tokio::test]
async fn what_is_answered_before_the_commit_is_found_and_kept_too() {
    let shelf = Shelf::new();
    let settings = Settings { ledger: LedgerMode::Relaxed, ..Settings::default() };
    let database = shelf.try_open(settings).await.unwrap();
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    database.add_credits(tenant.account.id, 50, bench.now()).await.unwrap();
    let lease = bench.open(&tenant).await.unwrap();
    assert_eq!(bench.state(lease.id).await, LeaseState::Live);
    let opened = join_all((0..60).map(|_| bench.open(&tenant))).await;
    assert_eq!(opened.iter().filter(|one| one.is_ok()).count(), 49);
    let listed = database.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap();
    assert_eq!(listed.len(), 50);
    database.void(&lease, Kind::Upstream, bench.now()).await.unwrap();
    bench.open(&tenant).await.unwrap();
    database.close().await.unwrap();
    let database = shelf.open().await;
    assert_eq!(database.verify_ledger().await.unwrap().leases, 51);
    assert_eq!(database.balance(tenant.account.id).await.unwrap().used, 50);
}

#[tokio::test]
async fn refusals_are_counted_by_the_minute() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let stranger = Refusal { account: None, caller: None, from: None, dialect: "native", kind: Kind::Malformed };
    let known =
        Refusal { account: Some(tenant.account.id), caller: Some(tenant.caller), kind: Kind::Forbidden, ..stranger };
    let [v4, v6] = ["192.0.2.7", "2001:db8::7"].map(|text| Some(text.parse().unwrap()));
    for _ in 0..1_000 {
        database.refused(stranger.clone(), bench.now());
    }
    database.refused(known.clone(), bench.now());
    shelf.clock.advance_secs(60);
    for from in [v4, v6, v4] {
        database.refused(Refusal { from, ..known.clone() }, bench.now());
    }
    database.refused(known, bench.now());
    database.close().await.unwrap();
    let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
        "SELECT minute_s - 1767225600, kind, hex(from_addr), count FROM refusals ORDER BY minute_s, kind, from_addr",
    )
    .fetch_all(&mut shelf.raw().await)
    .await
    .unwrap();
    let expected = [
        (0, "forbidden", "", 1),
        (0, "malformed", "", 1_000),
        (60, "forbidden", "", 1),
        (60, "forbidden", "20010DB8000000000000000000000007", 1),
        (60, "forbidden", "C0000207", 2),
    ];
    assert_eq!(rows, expected.map(|(minute, kind, from, count)| (minute, kind.to_owned(), from.to_owned(), count)));
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let shelf = Shelf::new();
    let _store = shelf.open().await;
    for file in std::fs::read_dir(shelf.path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn a_token_is_stored_as_its_digest_only() {
    let shelf = Shelf::new();
    let tenant = with_pages(&shelf, 1).await;
    let secret = tenant.token.reveal().as_bytes();
    for file in std::fs::read_dir(shelf.path.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        assert!(!bytes.windows(20).any(|window| window == &secret[4..24]));
    }
}

#[tokio::test]
async fn two_processes_on_one_file_keep_one_chain_and_see_each_other() {
    let shelf = Shelf::new();
    let server = shelf.open().await;
    let bench = shelf.bench(&server);
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    server.add_credits(tenant.account.id, 3, bench.now()).await.unwrap();
    bench.open(&tenant).await.unwrap();
    let token = PlainToken::generate(&*shelf.entropy);
    bench.caller(&token).await.unwrap_err();
    assert!(server.workspaces(tenant.account.id).await.unwrap().is_empty());

    let command = shelf.open().await;
    let theirs = shelf.bench(&command);
    theirs.open(&tenant).await.unwrap();
    bench.open(&tenant).await.unwrap();
    command.create_workspace(new_workspace(&tenant, "main", None), bench.now()).await.unwrap();
    command.create_token(tenant.caller, &token, None, Maker::Server, bench.now()).await.unwrap();
    command.revoke_token(tenant.record.id, by(&tenant, bench.now())).await.unwrap();
    command.close().await.unwrap();
    // The server looks once a second.
    let waited = std::time::Instant::now();
    while server.caller(&token, bench.now()).await.is_err() {
        assert!(waited.elapsed() < std::time::Duration::from_secs(10), "not seen");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(bench.caller(&tenant.token).await.unwrap_err().kind(), Kind::Unauthenticated(Stranger::Revoked));
    assert_eq!(server.workspaces(tenant.account.id).await.unwrap().len(), 1);
    let verified = server.verify_ledger().await.unwrap();
    assert_eq!((verified.leases, verified.broken_at), (3, None));
    assert_eq!(server.balance(tenant.account.id).await.unwrap().used, 3);
}

#[tokio::test]
async fn a_change_whose_asker_went_away_is_seen_all_the_same() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    for at in 0..50u32 {
        bench.caller(&tenant.token).await.unwrap();
        let token = PlainToken::generate(&*shelf.entropy);
        let record = database.create_token(tenant.caller, &token, None, Maker::Server, bench.now()).await.unwrap();
        bench.caller(&token).await.unwrap();
        // Polled a few times, then dropped.
        let mut polls = 0;
        let mut revoking = std::pin::pin!(database.revoke_token(record.id, by(&tenant, bench.now())));
        std::future::poll_fn(|context| {
            polls += 1;
            match revoking.as_mut().poll(context) {
                std::task::Poll::Pending if polls <= at % 3 => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        })
        .await;
        // Another change goes behind it.
        database
            .create_token(tenant.caller, &PlainToken::generate(&*shelf.entropy), None, Maker::Server, bench.now())
            .await
            .unwrap();
        let durable =
            database.tokens(None).await.unwrap().iter().any(|one| one.id == record.id && one.revoked.is_some());
        if durable {
            // It may be written and on its way to be seen: nobody was told yet.
            let refused = loop {
                match bench.caller(&token).await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(refused) => break refused,
                }
            };
            assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Revoked));
        }
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_refused_and_costs_nothing() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    database.add_credits(tenant.account.id, 5, bench.now()).await.unwrap();
    let lease = bench.open(&tenant).await.unwrap();
    let mut other = shelf.raw().await;
    run(&mut other, "ALTER TABLE ledger_pages RENAME TO away").await;
    for refused in join_all((0..9).map(|_| bench.open(&tenant))).await {
        // Five at most have credit; whichever way, none is opened.
        assert!(matches!(refused.unwrap_err().kind(), Kind::Unavailable | Kind::OutOfCredit));
    }
    assert_eq!(database.balance(tenant.account.id).await.unwrap().used, 1);
    assert_eq!(database.void(&lease, Kind::Upstream, bench.now()).await.unwrap_err().kind(), Kind::Unavailable);
    run(&mut other, "ALTER TABLE away RENAME TO ledger_pages").await;
    for _ in 0..4 {
        bench.open(&tenant).await.unwrap();
    }
    assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::OutOfCredit);
    database.void(&lease, Kind::Upstream, bench.now()).await.unwrap();
    bench.open(&tenant).await.unwrap();
    let verified = database.verify_ledger().await.unwrap();
    assert_eq!((verified.leases, verified.broken_at), (6, None));
}

#[tokio::test]
async fn what_was_answered_before_the_commit_is_tried_again_until_it_is_kept() {
    let shelf = Shelf::new();
    let database = shelf.try_open(Settings { ledger: LedgerMode::Relaxed, ..Settings::default() }).await.unwrap();
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut other = shelf.raw().await;
    run(&mut other, "ALTER TABLE ledger_pages RENAME TO away").await;
    let lease = bench.open(&tenant).await.unwrap();
    let looking = {
        let database = database.clone();
        async move { database.lease(lease.id).await }
    };
    let repairing = async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        run(&mut other, "ALTER TABLE away RENAME TO ledger_pages").await;
    };
    let (found, ()) = tokio::join!(looking, repairing);
    assert_eq!(found.unwrap().unwrap().lease, lease);
}

#[tokio::test]
async fn the_index_follows_the_pages_by_itself() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let opened: Vec<_> = join_all((0..700).map(|_| bench.open(&tenant))).await;
    let void = opened[3].as_ref().unwrap();
    database.void(void, Kind::Upstream, bench.now()).await.unwrap();
    let mut other = shelf.raw().await;
    let waited = std::time::Instant::now();
    loop {
        let folded: (i64, i64) =
            sqlx::query_as("SELECT count(*), count(void_kind) FROM leases").fetch_one(&mut other).await.unwrap();
        if folded == (700, 1) {
            break;
        }
        assert!(waited.elapsed() < std::time::Duration::from_secs(20), "{folded:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(bench.state(void.id).await, LeaseState::Void);
    database.void(void, Kind::Upstream, bench.now()).await.unwrap();
    assert_eq!(database.verify_ledger().await.unwrap().leases, 700);
}

#[tokio::test]
async fn a_clock_that_steps_back_after_a_revocation_makes_no_dead_credentials() {
    use valetkey_core::lease::Revocation as What;
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let before = bench.open(&tenant).await.unwrap();
    let ways = [
        What::Caller(tenant.caller),
        What::Account(tenant.account.id),
        What::Token(tenant.record.id),
        What::Storage(tenant.storage.id),
        What::Grant(tenant.grant),
    ];
    for what in ways {
        shelf.clock.advance_secs(600);
        database.revoke(what, by(&tenant, bench.now())).await.unwrap();
        assert!(bench.is_revoked(&before), "{what:?}");
        shelf.clock.advance_secs(-300);
        if matches!(what, What::Grant(_)) {
            // Single leases are ended: what was decided before and comes late is refused for a moment.
            assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::Forbidden);
        } else {
            let after = bench.open(&tenant).await.unwrap();
            assert!(!bench.is_revoked(&after), "{what:?} made a credential that is dead at birth");
            assert!(after.opened > bench.now() && after.opened < after.until);
        }
        shelf.clock.advance_secs(600);
    }
    // Set back by more than a credential lives: refused in words, not vended for nothing.
    database.revoke(What::Account(tenant.account.id), by(&tenant, bench.now())).await.unwrap();
    shelf.clock.advance_secs(-30 * 86_400);
    let refused = bench.open(&tenant).await.unwrap_err();
    assert!(matches!(refused.kind(), Kind::Unavailable), "{refused:?}");
}

#[tokio::test]
async fn a_clock_that_steps_back_before_a_revocation_leaves_nothing_alive() {
    use valetkey_core::lease::Revocation as What;
    for reopened in [false, true] {
        for way in 0..4 {
            let shelf = Shelf::new();
            let mut database = shelf.open().await;
            let mut bench = shelf.bench(&database);
            let tenant = bench.tenant("acme", Metering::Free).await;
            let what = [
                What::Caller(tenant.caller),
                What::Account(tenant.account.id),
                What::Token(tenant.record.id),
                What::Storage(tenant.storage.id),
            ][way];
            shelf.clock.advance_secs(600);
            let before = bench.open(&tenant).await.unwrap();
            shelf.clock.advance_secs(-600);
            if reopened {
                database.close().await.unwrap();
                database = shelf.open().await;
                bench = shelf.bench(&database);
            }
            database.revoke(what, by(&tenant, bench.now())).await.unwrap();
            assert!(bench.is_revoked(&before), "{what:?} left alive what was opened by the later time ({reopened})");
            // And what is opened after it is neither dead nor beyond the next end.
            let after = bench.open(&tenant).await.unwrap();
            assert!(!bench.is_revoked(&after), "{what:?} ({reopened})");
            database.revoke(what, by(&tenant, bench.now())).await.unwrap();
            assert!(bench.is_revoked(&after), "{what:?} ({reopened})");
            database.close().await.unwrap();
        }
    }
}

async fn until_folded(other: &mut SqliteConnection, leases: i64) {
    while sqlx::query_scalar::<_, i64>("SELECT count(*) FROM leases").fetch_one(&mut *other).await.unwrap() < leases {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_index_that_does_not_say_what_the_pages_say_is_found() {
    let shelf = Shelf::new();
    with_pages(&shelf, 6).await;
    let database = shelf.open().await;
    let mut other = shelf.raw().await;
    until_folded(&mut other, 6).await;
    assert_eq!(database.verify_ledger().await.unwrap().broken_at, None);
    let forgeries = [
        ("UPDATE leases SET until_s = until_s + 1 WHERE id = (SELECT max(id) FROM leases)", "until_s = until_s - 1"),
        ("UPDATE leases SET credits = 9 WHERE id = (SELECT max(id) FROM leases)", "credits = 0"),
        ("UPDATE leases SET caller = zeroblob(16) WHERE id = (SELECT max(id) FROM leases)", ""),
    ];
    for (forge, back) in forgeries {
        assert_eq!(run(&mut other, forge).await, 1);
        assert!(database.verify_ledger().await.unwrap().broken_at.is_some(), "{forge}");
        if !back.is_empty() {
            run(&mut other, &format!("UPDATE leases SET {back} WHERE id = (SELECT max(id) FROM leases)")).await;
            assert_eq!(database.verify_ledger().await.unwrap().broken_at, None, "{back}");
        }
    }
    assert_eq!(run(&mut other, "DELETE FROM leases WHERE caller = zeroblob(16)").await, 1);
    assert!(database.verify_ledger().await.unwrap().broken_at.is_some(), "a lease that is gone");
    database.close().await.unwrap();
    // The last pages removed while nobody looks: what was folded outruns what is left.
    let shelf = Shelf::new();
    with_pages(&shelf, 6).await;
    let database = shelf.open().await;
    let mut other = shelf.raw().await;
    until_folded(&mut other, 6).await;
    database.close().await.unwrap();
    assert_eq!(run(&mut other, "DELETE FROM ledger_pages WHERE seq > 10").await, 2);
    drop(other);
    let database = shelf.open().await;
    assert_eq!(database.verify_ledger().await.unwrap().broken_at, Some(11));
}
