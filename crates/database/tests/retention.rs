//! What is over goes after its time; what may still be asked about stays; and the chain of pages is whole with and without its oldest.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Kind;
use valetkey_core::Secret;
use valetkey_core::account::Metering;
use valetkey_core::credential::Trace;
use valetkey_core::id::LeaseId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{LeaseState, Refusal, Revocation};
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::usage::{Meter as _, Origin, Period, Traffic, Usage as _};
use valetkey_core::port::{Ledger, Revocations};
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Archived, Database, ParentKeys, Retention, Settings, read_archive};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{by, provenance};
use valetkey_testkit::contract::{Bench, Tenant, identity};

const DAY: i64 = 86_400;

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
        Self { _folder: folder, path, clock: Arc::default(), entropy: Arc::new(SeededEntropy::new(3)) }
    }

    async fn open_without_keys(&self, retention: Retention) -> Database {
        self.open_with(Settings { retention, ..Settings::default() }).await
    }

    /// With an archive beside the database.
    async fn open_archiving(&self, ledger_secs: u64) -> Database {
        let archive = Some(self.archive());
        let database = self.open_with(Settings { retention: kept(ledger_secs), archive, ..Settings::default() }).await;
        ParentKeys::open(&database, ring(&[1])).await.unwrap();
        database
    }

    fn archive(&self) -> PathBuf {
        self.path.with_file_name("archive")
    }

    async fn open_with(&self, settings: Settings) -> Database {
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Database::open(&self.path, settings, clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap()
    }

    async fn open(&self, retention: Retention) -> Database {
        let database = self.open_without_keys(retention).await;
        ParentKeys::open(&database, ring(&[1])).await.unwrap();
        database
    }

    fn bench(&self, database: &Database) -> Bench {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Bench::of(&Arc::new(database.clone()), clock, Arc::clone(&self.entropy), Box::new(()))
    }

    async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }
}

fn ring(numbers: &[u8]) -> SharedKeyring {
    let keys: Vec<_> = numbers.iter().map(|number| (*number, Secret::new([*number; 32]))).collect();
    SharedKeyring::new(Keyring::new(&keys).unwrap())
}

async fn run(db: &mut SqliteConnection, sql: &str) -> u64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap().rows_affected()
}

async fn count(db: &mut SqliteConnection, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(db).await.unwrap()
}

fn kept(ledger_secs: u64) -> Retention {
    Retention { ledger_secs, ..Retention::default() }
}

/// Waits until every page is in the index.
async fn folded(db: &mut SqliteConnection) {
    let waited = std::time::Instant::now();
    loop {
        let behind: i64 = sqlx::query_scalar(
            "SELECT (SELECT coalesce(max(seq), 0) FROM ledger_pages) - (SELECT seq FROM ledger_folded)",
        )
        .fetch_one(&mut *db)
        .await
        .unwrap();
        if behind == 0 {
            return;
        }
        assert!(waited.elapsed() < std::time::Duration::from_secs(20), "{behind} pages are not folded");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn counts_go_after_their_time_and_not_before() {
    for (retention, left) in [
        (Retention { refusals_secs: 100, requests_secs: 100, ..Retention::default() }, 1),
        (Retention { refusals_secs: 0, requests_secs: 0, ..Retention::default() }, 701),
    ] {
        let shelf = Shelf::new();
        let database = shelf.open(retention).await;
        let bench = shelf.bench(&database);
        let tenant = bench.tenant("acme", Metering::Free).await;
        let refusal = Refusal { account: None, caller: None, from: None, dialect: "native", kind: Kind::Malformed };
        let mut other = shelf.raw().await;
        let start = bench.now().as_second();
        let tally = async |other: &mut SqliteConnection, from: i64, number: i64| {
            run(
                other,
                &format!(
                    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {number} - 1)
                 INSERT INTO requests SELECT x'{}', {from} - i, x'01', 0, 1 FROM n",
                    tenant.account.id.as_hex()
                ),
            )
            .await;
            run(
                other,
                &format!(
                    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {number} - 1)
                 INSERT INTO refusals SELECT {from} - 60 * i, x'', x'', 'native', 'malformed', x'', 1 FROM n"
                ),
            )
            .await;
        };
        tally(&mut other, start - 101, 700).await;
        Ledger::refused(&database, refusal, bench.now());
        database.request(tenant.account.id, tenant.record.id, Origin::Api, bench.now());
        database.close().await.unwrap();
        let database = shelf.open(retention).await;
        database.sweep().await.unwrap();
        assert_eq!((count(&mut other, "refusals").await, count(&mut other, "requests").await), (left, left));
    }
}

#[tokio::test]
async fn a_day_of_traffic_goes_when_all_of_it_is_over() {
    let shelf = Shelf::new();
    let database = shelf.open(Retention { requests_secs: 10 * 86_400, ..Retention::default() }).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut other = shelf.raw().await;
    // The day that the retention cuts in two, the one before it, and 600 of them with other callers.
    let cut = (bench.now().as_second() - 10 * DAY).div_euclid(DAY) * DAY;
    let account = tenant.account.id.as_hex();
    for (day, callers) in [(cut, 3), (cut - DAY, 600), (cut - 2 * DAY, 1)] {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {callers} - 1)
             INSERT INTO traffic SELECT x'{account}', {day}, cast(printf('%016d', i) AS BLOB), 1, 2, 3 FROM n"
        );
        run(&mut other, &sql).await;
    }
    assert_eq!(database.sweep().await.unwrap().requests, 601);
    assert_eq!(count(&mut other, "traffic").await, 3);
    assert_eq!(database.sweep().await.unwrap().requests, 0);
    database.close().await.unwrap();
    let database = shelf.open(Retention { requests_secs: 0, ..Retention::default() }).await;
    shelf.clock.advance_secs(1_000 * DAY);
    database.sweep().await.unwrap();
    assert_eq!(count(&mut other, "traffic").await, 3, "kept for ever");
}

#[tokio::test]
async fn requests_are_added_together_by_the_quarter_of_an_hour_when_they_are_old() {
    let shelf = Shelf::new();
    let retention = Retention { requests_secs: 0, ..Retention::default() };
    let database = shelf.open(retention).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut other = shelf.raw().await;
    let day = bench.now().as_second().div_euclid(DAY) * DAY;
    let account = tenant.account.id.as_hex();
    for (origin, from) in [(0, day - 3 * DAY), (1, day - 3 * DAY), (0, day)] {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999)
             INSERT INTO requests SELECT x'{account}', {from} + i, x'01', {origin}, 2 FROM n"
        );
        run(&mut other, &sql).await;
    }
    let asked = async |database: &Database, zone: &str| {
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let at = |secs| jiff::Timestamp::from_second(secs).unwrap();
        let period = Period { from: at(day - 4 * DAY), to: at(day + DAY), zone };
        let filter =
            valetkey_core::nouns::usage::RequestFilter { account: tenant.account.id, token: None, origin: None };
        format!("{:?}", database.requests_by_day(&filter, &period).await.unwrap())
    };
    let zones = ["UTC", "Asia/Kathmandu", "America/St_Johns"];
    let mut before = Vec::new();
    for zone in zones {
        before.push(asked(&database, zone).await);
    }
    // What is older than the last sweep of a running server does not come late.
    database.close().await.unwrap();
    let database = shelf.open(retention).await;
    for _ in 0..2 {
        database.sweep().await.unwrap();
        // 2,000 seconds are three quarters of an hour begun; those of today stay.
        assert_eq!(count(&mut other, "requests").await, 3 + 3 + 2_000);
        let most: i64 = sqlx::query_scalar("SELECT max(count) FROM requests").fetch_one(&mut other).await.unwrap();
        assert_eq!(most, 1_800);
    }
    for (zone, before) in zones.into_iter().zip(before) {
        assert_eq!(asked(&database, zone).await, before, "{zone}");
    }
}

#[tokio::test]
async fn pages_whose_leases_are_over_go_and_the_chain_stays_whole() {
    let shelf = Shelf::new();
    let database = shelf.open(kept(10 * 86_400)).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut other = shelf.raw().await;
    // What made the tenant is on record too.
    let made = u64::try_from(count(&mut other, "ledger_pages").await).unwrap();
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(bench.open(&tenant).await.unwrap());
    }
    shelf.clock.advance_secs(1);
    database.revoke(Revocation::Lease(old[0].id), by(&tenant, bench.now())).await.unwrap();
    let traffic = Traffic { requests: 1, bytes_in: 2, bytes_out: 3 };
    for lease in [&old[0], &old[4]] {
        database.moved(&provenance(lease), None, traffic, bench.now());
    }
    // The store's longest lifetime and ten days later the first page may go, and not a day before.
    let longest: i64 = sqlx::query_scalar("SELECT max(longest_s) FROM storages").fetch_one(&mut other).await.unwrap();
    shelf.clock.advance_secs(longest + 9 * DAY);
    let young = bench.open(&tenant).await.unwrap();
    database.moved(&provenance(&young), None, traffic, bench.now());
    assert_eq!(database.used(old[0].id).await.unwrap().unwrap().traffic, traffic);
    folded(&mut other).await;
    assert_eq!(database.sweep().await.unwrap().pages, 0);
    assert!(database.lease(old[0].id).await.unwrap().is_some());
    shelf.clock.advance_secs(DAY + 60);
    let fresh = bench.open(&tenant).await.unwrap();
    database.revoke(Revocation::Lease(fresh.id), by(&tenant, bench.now())).await.unwrap();
    folded(&mut other).await;
    // Those, the revocation's, and no other.
    assert_eq!(database.sweep().await.unwrap().pages, made + 6);
    assert_eq!(database.sweep().await.unwrap().pages, 0);
    for gone in &old {
        assert_eq!(database.lease(gone.id).await.unwrap(), None);
        assert_eq!(database.used(gone.id).await.unwrap(), None);
    }
    assert_eq!(database.used(young.id).await.unwrap().unwrap().traffic, traffic);
    assert_eq!((count(&mut other, "leases").await, count(&mut other, "revocations").await), (2, 1));
    assert!(database.is_revoked(&provenance(&fresh)));
    let all = LeaseFilter { limit: 10, ..LeaseFilter::default() };
    let listed: Vec<LeaseId> = database.leases(&all).await.unwrap().iter().map(|one| one.lease.id).collect();
    assert_eq!(listed, [fresh.id, young.id]);
    let verified = database.verify_ledger().await.unwrap();
    // With the page of the last revocation, and one that says again what the tenant's token is.
    assert_eq!((verified.broken_at, verified.pages, verified.leases), (None, 4, 2));
    assert!(verified.intact(), "{verified:?}");
    assert_eq!((verified.revocations, verified.tokens), (1, 1));
    // And after a restart, with the ring's key changed meanwhile.
    database.close().await.unwrap();
    let database = shelf.open_without_keys(kept(0)).await;
    ParentKeys::open(&database, ring(&[2, 1])).await.unwrap();
    database.close().await.unwrap();
    let database = shelf.open_without_keys(kept(0)).await;
    ParentKeys::open(&database, ring(&[2])).await.unwrap();
    let bench = shelf.bench(&database);
    bench.open(&tenant).await.unwrap();
    assert!(database.is_revoked(&provenance(&fresh)));
    let verified = database.verify_ledger().await.unwrap();
    assert_eq!((verified.broken_at, verified.pages), (None, 5));
    assert!(verified.intact(), "{verified:?}");
}

#[tokio::test]
async fn nobody_else_can_say_that_pages_were_removed() {
    for change in [
        "DELETE FROM ledger_swept",
        "UPDATE ledger_swept SET hash = zeroblob(32)",
        "UPDATE ledger_swept SET leases = leases + 1",
        // Two more pages, and a checkpoint that fits them but was not sealed.
        "UPDATE ledger_swept SET hash = (SELECT hash FROM ledger_pages WHERE seq = 2 + ledger_swept.seq), seq = seq + 2;
         DELETE FROM ledger_pages WHERE seq <= (SELECT seq FROM ledger_swept)",
        "DELETE FROM ledger_pages WHERE seq = (SELECT min(seq) FROM ledger_pages)",
    ] {
        let shelf = Shelf::new();
        let database = shelf.open(kept(86_400)).await;
        let bench = shelf.bench(&database);
        let tenant = bench.tenant("acme", Metering::Free).await;
        for _ in 0..3 {
            bench.open(&tenant).await.unwrap();
        }
        shelf.clock.advance_secs(400 * DAY);
        for _ in 0..4 {
            bench.open(&tenant).await.unwrap();
        }
        let mut other = shelf.raw().await;
        folded(&mut other).await;
        assert!(database.sweep().await.unwrap().pages > 3);
        assert!(database.verify_ledger().await.unwrap().intact());
        run(&mut other, change).await;
        assert!(database.verify_ledger().await.unwrap().broken_at.is_some(), "{change}");
    }
}

#[tokio::test]
async fn without_a_keyring_or_a_setting_no_page_goes() {
    for (retention, with_keys) in [(kept(0), true), (kept(86_400), false)] {
        let shelf = Shelf::new();
        let database = if with_keys { shelf.open(retention).await } else { shelf.open_without_keys(retention).await };
        let bench = shelf.bench(&database);
        let tenant = bench.tenant("acme", Metering::Free).await;
        for _ in 0..3 {
            bench.open(&tenant).await.unwrap();
        }
        shelf.clock.advance_secs(4_000 * DAY);
        folded(&mut shelf.raw().await).await;
        assert_eq!(database.sweep().await.unwrap().pages, 0);
        assert_eq!(database.verify_ledger().await.unwrap().leases, 3);
    }
}

/// Opens some leases that are over soon, and one that is not.
async fn aged(shelf: &Shelf, bench: &Bench, tenant: &Tenant) -> Vec<LeaseId> {
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(bench.open(tenant).await.unwrap().id);
    }
    shelf.clock.advance_secs(400 * DAY);
    bench.open(tenant).await.unwrap();
    folded(&mut shelf.raw().await).await;
    old
}

async fn verified(database: &Database, shelf: &Shelf) -> Archived {
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
    let archived = read_archive(&[shelf.archive()], &verified.begins).unwrap();
    assert_eq!(archived.found, verified.begins, "the archive reaches what the database has");
    archived
}

#[tokio::test]
async fn pages_are_archived_before_they_go_and_are_verified_with_the_rest() {
    let shelf = Shelf::new();
    let database = shelf.open_archiving(86_400).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let old = aged(&shelf, &bench, &tenant).await;
    let gone = database.sweep().await.unwrap().pages;
    assert!(gone >= 3);
    let archived = verified(&database, &shelf).await;
    let [chain] = archived.chains.as_slice() else { panic!("{archived:?}") };
    assert_eq!((chain.whole, chain.pages, chain.leases, archived.wrong.len()), (true, gone, 3, 0), "{archived:?}");
    assert_eq!(database.lease(old[0]).await.unwrap(), None);
    // The next ones follow, also after a restart.
    database.close().await.unwrap();
    let database = shelf.open_archiving(86_400).await;
    let bench = shelf.bench(&database);
    aged(&shelf, &bench, &tenant).await;
    let more = database.sweep().await.unwrap().pages;
    assert!(more >= 3);
    let archived = verified(&database, &shelf).await;
    assert_eq!((archived.chains.len(), archived.chains[0].pages), (1, gone + more), "{archived:?}");
    let names: Vec<_> = std::fs::read_dir(shelf.archive()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn what_cannot_be_archived_is_not_removed() {
    let shelf = Shelf::new();
    let database = shelf.open_archiving(86_400).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let old = aged(&shelf, &bench, &tenant).await;
    std::fs::write(shelf.archive(), "no directory").unwrap();
    database.sweep().await.unwrap_err();
    assert!(database.lease(old[0]).await.unwrap().is_some());
    assert!(database.verify_ledger().await.unwrap().begins.is_empty());
    // What another ledger left there is not gone on with.
    std::fs::remove_file(shelf.archive()).unwrap();
    let other = Shelf::new();
    let foreign = other.open_archiving(86_400).await;
    let its = other.bench(&foreign);
    let tenants: Vec<Tenant> =
        vec![its.tenant("globex", Metering::Free).await, its.tenant("acme", Metering::Free).await];
    for tenant in &tenants {
        aged(&other, &its, tenant).await;
    }
    foreign.sweep().await.unwrap();
    std::fs::rename(other.archive(), shelf.archive()).unwrap();
    let said = database.sweep().await.unwrap_err();
    assert!(said.to_string().contains("another ledger"), "{said}");
    assert!(database.lease(old[0]).await.unwrap().is_some());
    std::fs::remove_dir_all(shelf.archive()).unwrap();
    assert!(database.sweep().await.unwrap().pages > 0);
    assert_eq!(database.lease(old[0]).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_died_between_archiving_and_removing_goes_on() {
    let shelf = Shelf::new();
    let database = shelf.open_archiving(86_400).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let old = aged(&shelf, &bench, &tenant).await;
    database.close().await.unwrap();
    let before = std::fs::read(&shelf.path).unwrap();
    let mut pages = Vec::new();
    for _ in 0..2 {
        // As if the last transaction had not been.
        std::fs::write(&shelf.path, &before).unwrap();
        let database = shelf.open_archiving(86_400).await;
        let waited = std::time::Instant::now();
        // A server that starts sweeps by itself, too.
        while database.lease(old[0]).await.unwrap().is_some() {
            assert!(waited.elapsed() < std::time::Duration::from_secs(20), "nothing is removed");
            drop(database.sweep().await);
        }
        database.close().await.unwrap();
        let database = shelf.open_archiving(0).await;
        let archived = verified(&database, &shelf).await;
        assert_eq!((archived.chains.len(), archived.wrong.len()), (1, 0), "{archived:?}");
        pages.push(archived.chains[0].pages);
        database.close().await.unwrap();
    }
    assert_eq!(pages[0], pages[1], "nothing is archived twice");
}

/// Everything that is asked of leases.
async fn answers(database: &Database, tenant: &Tenant, bench: &Bench, from: jiff::Timestamp) -> Vec<String> {
    let mut told = Vec::new();
    let (account, caller, live_at) = (Some(tenant.account.id), Some(tenant.caller), Some(bench.now()));
    let every = LeaseFilter { limit: 100, ..LeaseFilter::default() };
    for filter in [
        every,
        LeaseFilter { account, ..every },
        LeaseFilter { caller, live_at, ..every },
        LeaseFilter { account, live_at, limit: 2, ..every },
        LeaseFilter { limit: 3, ..every },
        LeaseFilter { account: Some(valetkey_core::id::AccountId::from_bytes([9; 16])), ..every },
    ] {
        let mut page = filter;
        loop {
            let listed = database.leases(&page).await.unwrap();
            told.push(format!("{listed:?}"));
            if listed.len() < usize::try_from(page.limit).unwrap() {
                break;
            }
            page.before = listed.last().map(|one| one.lease.id);
        }
    }
    told.push(format!("{:?}", database.leases_of_key("ASIA1", 10).await.unwrap()));
    told.push(format!("{:?}", database.outliving(by(tenant, from)).await.unwrap()));
    let period = Period { from, to: from + jiff::SignedDuration::from_secs(3600), zone: jiff::tz::TimeZone::UTC };
    told.push(format!("{:?}", database.credits_by_day(tenant.account.id, &period).await.unwrap()));
    told
}

#[tokio::test]
async fn questions_are_answered_without_the_index_as_with_it() {
    let shelf = Shelf::new();
    let database = shelf.open(kept(0)).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::of(1)).await;
    database.add_credits(tenant.account.id, 100, bench.now()).await.unwrap();
    let from = bench.now();
    let mut other = shelf.raw().await;
    let trace = |key: &str| Trace {
        key_id: key.into(),
        request_id: None,
        expiration: from + jiff::SignedDuration::from_secs(3600),
    };
    let made = count(&mut other, "ledger_pages").await;
    // Some of it in the index: a lease that will be void and one of which it will be told what came.
    let (void_later, told_later) = (bench.open(&tenant).await.unwrap(), bench.open(&tenant).await.unwrap());
    folded(&mut other).await;
    run(&mut other, "CREATE TRIGGER no_fold BEFORE UPDATE ON ledger_folded BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    database.void(&void_later, Kind::Upstream, bench.now()).await.unwrap();
    database.issued(&told_later, &trace("ASIA1"), bench.now()).await.unwrap();
    let mut opened = Vec::new();
    for _ in 0..6 {
        shelf.clock.advance_secs(1);
        opened.push(bench.open(&tenant).await.unwrap());
    }
    database.void(&opened[1], Kind::Upstream, bench.now()).await.unwrap();
    database.issued(&opened[2], &trace("ASIA1"), bench.now()).await.unwrap();
    database.issued(&opened[3], &trace("ASIA2"), bench.now()).await.unwrap();
    shelf.clock.advance_secs(1);
    database.revoke(Revocation::Lease(told_later.id), by(&tenant, bench.now())).await.unwrap();
    database.revoke(Revocation::Lease(opened[2].id), by(&tenant, bench.now())).await.unwrap();
    let without = answers(&database, &tenant, &bench, from).await;
    let pages = count(&mut other, "ledger_pages").await;
    let folded_seq: i64 = sqlx::query_scalar("SELECT seq FROM ledger_folded").fetch_one(&mut other).await.unwrap();
    assert!(folded_seq <= made + 2 && pages > made + 8, "nothing was folded meanwhile: {folded_seq} of {pages}");
    run(&mut other, "DROP TRIGGER no_fold").await;
    folded(&mut other).await;
    let with = answers(&database, &tenant, &bench, from).await;
    assert_eq!(without, with);
    let every = database.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap();
    let states = |wanted: fn(&LeaseState) -> bool| every.iter().filter(|one| wanted(&one.state)).count();
    assert_eq!(every.len(), 8);
    assert_eq!(states(|state| *state == LeaseState::Void), 2);
    assert_eq!(states(|state| matches!(state, LeaseState::Revoked(_))), 2);
    assert_eq!(database.leases_of_key("ASIA1", 10).await.unwrap().len(), 2);
    assert_eq!(database.outliving(by(&tenant, from)).await.unwrap().iter().map(|row| row.leases).sum::<u64>(), 2);
}

#[tokio::test]
async fn what_an_identity_token_claims_is_forgotten_when_its_session_is_over() {
    let shelf = Shelf::new();
    let database = shelf.open(kept(0)).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let rules = vec![identity::rule(1, tenant.account.id, "team=data")];
    let provider = IdentityProvider { rules, ..identity::provider("id") };
    bench.identities.create_identity_provider(provider, bench.now()).await.unwrap();
    let provider = bench.identities.identity_providers().await.unwrap()[0].clone();
    let mut other = shelf.raw().await;
    let mut left = async || -> i64 {
        let sql = "SELECT count(*) FROM identity_sessions WHERE claims IS NOT NULL";
        database.sweep().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut other).await.unwrap()
    };
    for many in 0..300 {
        let new = identity::session(&provider, &format!("s{many}"), r#","team":"data""#, bench.now()).unwrap();
        bench.identities.open_session(new, bench.now()).await.unwrap();
    }
    assert_eq!(left().await, 300);
    shelf.clock.advance_secs(3600);
    let late = identity::session(&provider, "late", r#","team":"data""#, bench.now()).unwrap();
    bench.identities.open_session(late, bench.now()).await.unwrap();
    shelf.clock.advance_secs(3590);
    assert_eq!(left().await, 301, "a clock may be behind");
    shelf.clock.advance_secs(120);
    assert_eq!(left().await, 1, "not yet");
    assert!(database.verify_ledger().await.unwrap().intact());
}
