//! Revocations, tokens and who changed what are on the chain: what is changed behind its back is found, whichever side of it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::{Metering, Standing};
use valetkey_core::ask::{Ask, GrantRef, Target};
use valetkey_core::audit::{Author, ChangeFilter};
use valetkey_core::credential::Trace;
use valetkey_core::error::Noun;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{Lease, Revocation};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::registry::{HeadFound, LedgerHead};
use valetkey_core::port::Ledger;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Kind, Secret};
use valetkey_database::{Database, ParentKeys, Retention, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{ask, by};
use valetkey_testkit::contract::{Bench, Tenant};

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
        Self { _folder: folder, path, clock: Arc::default(), entropy: Arc::new(SeededEntropy::new(5)) }
    }

    async fn open(&self) -> Database {
        let retention = Retention { ledger_secs: 10 * 86_400, ended_secs: 0, ..Retention::default() };
        let settings = Settings { retention, ..Settings::default() };
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let database =
            Database::open(&self.path, settings, clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap();
        let keys = SharedKeyring::new(Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap());
        ParentKeys::open(&database, keys).await.unwrap();
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

async fn run(db: &mut SqliteConnection, sql: &str) -> u64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap().rows_affected()
}

async fn folded(db: &mut SqliteConnection) {
    let behind = "SELECT (SELECT coalesce(max(seq), 0) FROM ledger_pages) - (SELECT seq FROM ledger_folded)";
    while sqlx::query_scalar::<_, i64>(behind).fetch_one(&mut *db).await.unwrap() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A lease of so many paths that its scope is stored on its own.
async fn long(bench: &Bench, tenant: &Tenant) -> Lease {
    let paths = (0..200).map(|at| Path::directory(format!("jobs/daily/{at:04}").as_bytes()).unwrap());
    let paths = Paths::only(paths.collect::<Vec<_>>()).unwrap();
    let target = Target::Grant { grant: GrantRef::Id(tenant.grant), paths: Some(paths) };
    let permit = bench.decide(&tenant.token, &Ask { target, ..ask(tenant.grant) }).await.unwrap();
    bench.ledger.open(&permit, None, bench.now()).await.unwrap()
}

/// A store with something of everything: leases that are live, ended, void and told of; tokens that are live and ended.
async fn filled(shelf: &Shelf, database: &Database) -> Tenant {
    let bench = shelf.bench(database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let trace = Trace { key_id: "ASIA1".into(), request_id: Some("r".into()), expiration: bench.now() };
    for _ in 0..3 {
        let lease = bench.open(&tenant).await.unwrap();
        database.issued(&lease, &trace, bench.now()).await.unwrap();
        shelf.clock.advance_secs(1);
        database.revoke(Revocation::Lease(lease.id), by(&tenant, bench.now())).await.unwrap();
    }
    let author = Author { from: Some([192, 0, 2, 7].into()), ..Author::SERVER };
    author.during(Box::pin(bench.open(&tenant))).await.unwrap();
    let author = Author { token: Some(TokenId::from_bytes([7; 16])), ..Author::SERVER };
    author.during(Box::pin(bench.open(&tenant))).await.unwrap();
    shelf.clock.advance_secs(1);
    database.revoke(Revocation::Account(tenant.account.id), by(&tenant, bench.now())).await.unwrap();
    shelf.clock.advance_secs(1);
    bench.open(&tenant).await.unwrap();
    let void = bench.open(&tenant).await.unwrap();
    database.void(&void, Kind::Upstream, bench.now()).await.unwrap();
    long(&bench, &tenant).await;
    for until in [None, Some(bench.now() + jiff::SignedDuration::from_secs(60))] {
        let token = PlainToken::generate(&*shelf.entropy);
        let made = database.create_token(tenant.caller, &token, until, Maker::Server, bench.now()).await.unwrap();
        database.revoke_token(made.id, by(&tenant, bench.now())).await.unwrap();
    }
    tenant
}

#[tokio::test]
async fn what_is_changed_behind_the_chains_back_is_found_and_only_that() {
    for forge in [
        "DELETE FROM revocations WHERE kind = 0",
        "DELETE FROM revocations WHERE kind = 3",
        "UPDATE revocations SET at_ms = at_ms - 1 WHERE kind = 3",
        "UPDATE revocations SET keep_until_ms = 0 WHERE kind = 3",
        "UPDATE revocations SET by_caller = zeroblob(16) WHERE kind = 3",
        "INSERT INTO revocations VALUES (2, zeroblob(16), 1, zeroblob(16), 9000000000000, NULL)",
        "UPDATE tokens SET revoked_ms = NULL, revoked_by = NULL WHERE revoked_ms IS NOT NULL",
        "UPDATE tokens SET revoked_ms = 1, revoked_by = zeroblob(16) WHERE revoked_ms IS NULL",
        "UPDATE tokens SET revoked_by = zeroblob(16) WHERE revoked_ms IS NOT NULL",
        "UPDATE tokens SET until_ms = 9000000000000 WHERE until_ms IS NOT NULL",
        "UPDATE tokens SET digest = zeroblob(32) WHERE revoked_ms IS NULL",
        "DELETE FROM tokens WHERE revoked_ms IS NULL",
        "INSERT INTO tokens (id, caller, digest, tail, made_ms, form) SELECT zeroblob(16), id, zeroblob(32), 'abcd', 1, 2 FROM callers",
        "UPDATE leases SET revoked_ms = NULL, revoked_by = NULL WHERE revoked_ms IS NOT NULL",
        "UPDATE leases SET revoked_ms = revoked_ms + 1 WHERE revoked_ms IS NOT NULL",
        "UPDATE leases SET revoked_by = zeroblob(16) WHERE revoked_ms IS NOT NULL",
        "UPDATE leases SET revoked_ms = opened_ms, revoked_by = caller WHERE revoked_ms IS NULL",
        "UPDATE leases SET from_addr = x'c0000208' WHERE from_addr = x'c0000207'",
        "UPDATE leases SET from_addr = NULL WHERE from_addr IS NOT NULL",
        "UPDATE leases SET from_addr = x'c0000207' WHERE from_addr IS NULL",
        "UPDATE leases SET asked_with = zeroblob(16) WHERE asked_with IS NOT NULL",
        "UPDATE leases SET asked_with = NULL WHERE asked_with IS NOT NULL",
        "UPDATE leases SET asked_with = token WHERE asked_with IS NULL",
        "UPDATE issued SET key_id = 'ASIA2'",
        "UPDATE issued SET request_id = NULL",
        "UPDATE issued SET ends_s = ends_s + 1",
        "DELETE FROM issued",
        "INSERT INTO issued (lease, key_id, request_id, ends_s) SELECT id, 'ASIA3', NULL, 1 FROM leases WHERE revoked_ms IS NULL",
        // A live lease that lists leave out; an end that is taken back.
        "UPDATE leases SET void_kind = 'upstream' WHERE void_kind IS NULL AND revoked_ms IS NULL",
        "UPDATE leases SET void_kind = 'x', revoked_ms = NULL, revoked_by = NULL WHERE revoked_ms IS NOT NULL",
        "UPDATE leases SET void_kind = NULL WHERE void_kind IS NOT NULL",
        "UPDATE leases SET void_kind = 'denied' WHERE void_kind IS NOT NULL",
        // What a key opens whose scope is too long to stand in its lease.
        "UPDATE scopes SET body = (SELECT scope FROM leases WHERE length(scope) <> 33 LIMIT 1)",
        "UPDATE scopes SET digest = zeroblob(32)",
        "DELETE FROM scopes",
        // What somebody did, told otherwise: the page does not fit its hash any more.
        "UPDATE ledger_pages SET body = CAST(substr(body, 1, length(body) - 1) || x'21' AS BLOB) WHERE notes > 0",
    ] {
        let shelf = Shelf::new();
        let database = shelf.open().await;
        let tenant = filled(&shelf, &database).await;
        database.change_account(tenant.account.id, Standing::Active, Metering::Free).await.unwrap();
        let mut other = shelf.raw().await;
        folded(&mut other).await;
        let verified = database.verify_ledger().await.unwrap();
        assert!(verified.intact(), "{verified:?}");
        assert_eq!((verified.leases, verified.tokens, verified.before), (8, 3, None));
        assert!(run(&mut other, forge).await > 0, "{forge}");
        let verified = database.verify_ledger().await.unwrap();
        assert!(!verified.intact(), "{forge}");
        database.close().await.unwrap();
        let database = shelf.open().await;
        assert!(!database.verify_ledger().await.unwrap().intact(), "opened again: {forge}");
    }
}

#[tokio::test]
async fn a_long_scope_that_was_changed_behind_the_chains_back_is_not_what_a_key_opens() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let [known, changed, lost] =
        [long(&bench, &tenant).await, long(&bench, &tenant).await, long(&bench, &tenant).await];
    assert_eq!(bench.leases.rights(known.id).await.unwrap().as_ref(), Some(&known.rights));
    let wide = bench.open(&tenant).await.unwrap();
    let mut other = shelf.raw().await;
    folded(&mut other).await;
    let wider = "UPDATE scopes SET body = (SELECT scope FROM leases WHERE length(scope) <> 33)";
    for (forge, lease) in [(wider, changed), ("DELETE FROM scopes", lost)] {
        assert_eq!(run(&mut other, forge).await, 1);
        let refused = bench.leases.rights(lease.id).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Internal, "{refused:?}");
        assert_eq!(bench.leases.rights(wide.id).await.unwrap().as_ref(), Some(&wide.rights));
        // It can be ended all the same.
        database.revoke(Revocation::Lease(lease.id), by(&tenant, bench.now())).await.unwrap();
        assert!(bench.is_revoked(&lease));
        let verified = database.verify_ledger().await.unwrap();
        assert!(verified.broken_at.is_none() && !verified.intact(), "{verified:?}");
        assert!(verified.astray.iter().all(|said| said.contains("scope")), "{verified:?}");
    }
}

#[tokio::test]
async fn a_head_that_was_noted_is_on_the_chain_or_it_is_said_that_it_is_not() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let empty = database.verify_ledger().await.unwrap().head;
    assert_eq!(empty, LedgerHead { seq: 0, hash: [0; 32] });
    let tenant = filled(&shelf, &database).await;
    let noted = database.verify_ledger().await.unwrap().head;
    let against = async |head| database.verify_against(Some(head)).await.unwrap();
    assert_eq!(against(noted).await.expected, Some(HeadFound::Head));
    database.change_account(tenant.account.id, Standing::Active, Metering::of(1)).await.unwrap();
    for (head, found) in [
        (empty, HeadFound::Grown),
        (noted, HeadFound::Grown),
        (LedgerHead { hash: [7; 32], ..noted }, HeadFound::Missing),
        (LedgerHead { seq: 0, hash: [7; 32] }, HeadFound::Missing),
        (LedgerHead { seq: noted.seq - 1, ..noted }, HeadFound::Missing),
        (LedgerHead { seq: noted.seq + 100, ..noted }, HeadFound::Missing),
    ] {
        let verified = against(head).await;
        assert_eq!(verified.expected, Some(found), "{head:?}");
        assert_eq!(verified.intact(), found == HeadFound::Grown, "{head:?}");
    }
    // The last pages go, and others come in their place: the chain is whole, and not the one that was noted.
    let head = database.verify_ledger().await.unwrap().head;
    let mut other = shelf.raw().await;
    folded(&mut other).await;
    database.close().await.unwrap();
    assert_eq!(run(&mut other, &format!("DELETE FROM ledger_pages WHERE seq = {}", head.seq)).await, 1);
    let database = shelf.open().await;
    database.change_account(tenant.account.id, Standing::Suspended, Metering::of(1)).await.unwrap();
    assert_eq!(database.verify_against(Some(head)).await.unwrap().expected, Some(HeadFound::Missing));
    assert_eq!(database.verify_against(Some(noted)).await.unwrap().expected, Some(HeadFound::Grown));
}

#[tokio::test]
async fn what_was_there_before_the_chain_covered_it_is_taken_as_it_was_found_and_kept_from_then_on() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let tenant = filled(&shelf, &database).await;
    // As an older version leaves a database: pages of leases alone, chained to each other.
    let mut other = shelf.raw().await;
    folded(&mut other).await;
    database.close().await.unwrap();
    let older: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, body FROM ledger_pages WHERE notes = 0 ORDER BY seq")
        .fetch_all(&mut other)
        .await
        .unwrap();
    run(&mut other, "DELETE FROM ledger_pages WHERE notes > 0").await;
    let mut before = Vec::new();
    for (new, (seq, body)) in (1i64..).zip(older) {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[before, body].concat());
        before = hash.as_ref().to_vec();
        let renumber = "UPDATE ledger_pages SET seq = ?, hash = ? WHERE seq = ?";
        sqlx::query(renumber).bind(new).bind(before.clone()).bind(seq).execute(&mut other).await.unwrap();
    }
    run(&mut other, "UPDATE ledger_folded SET seq = (SELECT max(seq) FROM ledger_pages)").await;
    run(&mut other, "DELETE FROM ledger_covered").await;
    let database = shelf.open().await;
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
    let found = verified.before.unwrap();
    assert_eq!((found.revocations, found.tokens), (6, 3));
    assert_eq!((found.page, verified.head.seq, verified.changes), (verified.pages, verified.pages, 0));
    // Opened again it does not begin again, and what was there is covered now.
    database.change_account(tenant.account.id, Standing::Active, Metering::Free).await.unwrap();
    database.close().await.unwrap();
    let database = shelf.open().await;
    assert_eq!(database.verify_ledger().await.unwrap().before, Some(found));
    run(&mut other, "DELETE FROM revocations WHERE kind = 3").await;
    assert!(!database.verify_ledger().await.unwrap().intact());
    // To have it begin again does not hide that.
    database.close().await.unwrap();
    run(&mut other, "DELETE FROM ledger_covered").await;
    let database = shelf.open().await;
    assert!(!database.verify_ledger().await.unwrap().intact());
}

#[tokio::test]
async fn what_tokens_are_outlives_the_pages_that_say_it() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let tenant = filled(&shelf, &database).await;
    let mut other = shelf.raw().await;
    let head = database.verify_ledger().await.unwrap().head;
    for round in 0..3 {
        shelf.clock.advance_secs(800 * DAY);
        shelf.bench(&database).open(&tenant).await.unwrap();
        folded(&mut other).await;
        assert!(database.sweep().await.unwrap().pages > 0, "{round}");
        let verified = database.verify_ledger().await.unwrap();
        assert!(verified.intact(), "{round}: {verified:?}");
        assert_eq!((verified.tokens, verified.revocations), (3, 0));
    }
    assert_eq!(database.verify_against(Some(head)).await.unwrap().expected, Some(HeadFound::Swept));
    run(&mut other, "UPDATE tokens SET revoked_ms = NULL, revoked_by = NULL").await;
    let verified = database.verify_ledger().await.unwrap();
    assert_eq!(verified.astray.len(), 2, "{verified:?}");
}

#[tokio::test]
async fn who_changed_what_is_listed_the_newest_first() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let tenant = filled(&shelf, &database).await;
    let at = shelf.bench(&database).now();
    shelf.clock.advance_secs(10);
    let author = Author {
        token: Some(tenant.record.id),
        caller: Some(tenant.caller),
        from: Some("192.0.2.7".parse::<IpAddr>().unwrap()),
        ..Author::SERVER
    };
    let id = tenant.account.id;
    author.during(Box::pin(database.change_account(id, Standing::Suspended, Metering::of(2)))).await.unwrap();
    author.during(Box::pin(database.revoke(Revocation::Caller(tenant.caller), by(&tenant, at)))).await.unwrap();
    let all = ChangeFilter { limit: 1_000, ..ChangeFilter::default() };
    let every = database.changes(&all).await.unwrap();
    let told = |at: usize| {
        let change = &every[at];
        (change.by, &*change.deed, &*change.noun, change.id.to_string(), change.about.to_string())
    };
    assert_eq!(told(0), (author, "ended", "caller", tenant.caller.to_string(), "credentials".to_owned()));
    let about = "2 credits a vend".to_owned();
    assert_eq!(told(1), (author, "suspended", "account", id.to_string(), about));
    assert_eq!(every.last().unwrap().by, Author::SERVER);
    assert!(every.iter().any(|change| (&*change.deed, &*change.noun) == ("made", "token")));
    let since =
        database.changes(&ChangeFilter { since: Some(at + jiff::SignedDuration::from_secs(1)), ..all }).await.unwrap();
    assert_eq!(since, every[..2]);
    let grants = database.changes(&ChangeFilter { noun: Some(Noun::Grant), ..all }).await.unwrap();
    assert_eq!(grants.len(), 1);
    let own = ChangeFilter { by: Some(tenant.caller), ..all };
    assert_eq!(database.changes(&own).await.unwrap(), every[..2]);
    let nobody = Some(valetkey_core::id::CallerId::from_bytes([9; 16]));
    assert_eq!(database.changes(&ChangeFilter { by: nobody, ..all }).await.unwrap(), []);
    let mut paged = Vec::new();
    while let page = {
        let before = paged.last().map(|change: &valetkey_core::audit::Change| change.place);
        database.changes(&ChangeFilter { limit: 3, before, ..all }).await.unwrap()
    } && !page.is_empty()
    {
        paged.extend(page);
    }
    assert_eq!(paged, every);
}
