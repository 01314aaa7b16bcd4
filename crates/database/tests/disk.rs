//! A disk that is full, or whose fsync fails, and then is well again: everything works as before, without a restart.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::{Metering, Standing};
use valetkey_core::audit::Author;
use valetkey_core::caller::{CallerStanding, Role};
use valetkey_core::error::Stranger;
use valetkey_core::grant::Grant;
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::nouns::usage::Usage as _;
use valetkey_core::port::Revocations as _;
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Error, Kind};
use valetkey_database::{Database, LedgerMode, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{by, provenance};
use valetkey_testkit::contract::{Bench, Tenant};
use valetkey_testkit::disk::{Fault, FaultyDisk};

struct Rig {
    database: Arc<Database>,
    bench: Bench,
}

async fn start(disk: &FaultyDisk, settings: Settings) -> Rig {
    // Another seed each time: ids are made of it, and the clock begins again.
    static SEED: AtomicU64 = AtomicU64::new(3);
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(SEED.fetch_add(1, Ordering::Relaxed)));
    let clock = Arc::new(FixedClock::default());
    let path = disk.root().join("valetkey.db");
    let ticking = Arc::clone(&clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let database = Database::open(&path, settings, ticking, Arc::clone(&entropy), tasks, stop).await.unwrap();
    let database = Arc::new(database);
    let bench = Bench::of(&database, clock, entropy, Box::new(()));
    Rig { database, bench }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

async fn until_ready(database: &Database) {
    while database.ready().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes until the disk takes no more: what has a place in the write-ahead log already can still be written.
async fn until_refused(rig: &Rig, tenant: &Tenant) {
    for _ in 0..10_000 {
        if let Err(error) = rig.bench.open(tenant).await {
            assert_eq!((error.kind(), error.retry_after_secs()), (Kind::Unavailable, Some(1)), "{error:?}");
            return;
        }
    }
    panic!("the disk does not fail");
}

#[test]
fn after_a_write_that_failed_everything_works_again_without_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "after_a_write_that_failed_everything_works_again_without_a_restart";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        let rig = start(&disk, Settings::default()).await;
        let (database, bench) = (&rig.database, &rig.bench);
        // Metered: its pages change credits too.
        let tenant = bench.tenant("acme", Metering::PerVend { credits: 1 }).await;
        let account = tenant.account.id;
        database.add_credits(account, 1_000_000, bench.now()).await.unwrap();
        for fault in Fault::ALL {
            let before = bench.open(&tenant).await.unwrap();
            database.ready().await.unwrap();
            disk.fail(fault);
            until_refused(&rig, &tenant).await;
            let name = Name::parse(&format!("late-{}", before.id)).unwrap();
            for _ in 0..3 {
                let refused = database.create_account(&name, Metering::Free, bench.now()).await.unwrap_err();
                assert_eq!(refused.kind(), Kind::Unavailable, "{refused:?}");
                bench.open(&tenant).await.unwrap_err();
            }
            let unready = database.ready().await.unwrap_err();
            assert_eq!(unready.kind(), Kind::Unavailable, "{fault:?}");
            disk.heal();
            until_ready(database).await;
            // Every writer: the ledger, the registry, credits, revocations, counts, the index of leases.
            let after = bench.open(&tenant).await.unwrap();
            match database.create_account(&name, Metering::Free, bench.now()).await {
                Ok(_) => {}
                // An account that was refused because a sync failed may be there all the same.
                Err(error) => {
                    assert!(fault == Fault::Unsync && matches!(error.kind(), Kind::AlreadyExists(_)), "{error:?}");
                }
            }
            database.revoke(Revocation::Lease(before.id), by(&tenant, bench.now())).await.unwrap();
            assert!(database.is_revoked(&provenance(&before)) && !database.is_revoked(&provenance(&after)));
            assert!(matches!(bench.state(before.id).await, LeaseState::Revoked(_)));
            let filter = LeaseFilter { account: Some(account), limit: 10_000, ..LeaseFilter::default() };
            let leases = database.leases(&filter).await.unwrap();
            assert!(leases.iter().any(|one| one.lease.id == after.id));
            // One credit for each lease that is kept: what memory gave back for a page that was kept after all is noticed.
            let kept = u64::try_from(leases.len()).unwrap();
            while database.balance(account).await.unwrap().used != kept {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(database.verify_ledger().await.unwrap().broken_at, None);
        }
        database.close().await.unwrap();
    });
}

/// Everything that ends a credential, on a tenant of its own.
const WAYS: [&str; 12] = [
    "lease",
    "token's credentials",
    "token",
    "caller",
    "account",
    "grant",
    "grant and its credentials",
    "removed caller",
    "removed account",
    "narrowed grant",
    "shortened token",
    "who asked",
];

async fn end(rig: &Rig, tenant: &Tenant, way: &str, lease: &Lease) -> Result<(), Error> {
    let (database, by) = (&rig.database, by(tenant, rig.bench.now()));
    let what = match way {
        "lease" => Revocation::Lease(lease.id),
        "token's credentials" => Revocation::Token(lease.token),
        "caller" => Revocation::Caller(lease.caller),
        "account" => Revocation::Account(lease.account),
        "grant" => Revocation::Grant(tenant.grant),
        "who asked" => {
            let asked_with = database.lease(lease.id).await.unwrap().unwrap().asked_with;
            return database.revoke_token(asked_with.unwrap(), by).await.map(drop);
        }
        "token" => return database.revoke_token(lease.token, by).await.map(drop),
        "removed caller" => return database.remove(&Thing::Caller(lease.caller), How::ALL, by).await.map(drop),
        "removed account" => return database.remove(&Thing::Account(lease.account), How::ALL, by).await.map(drop),
        "narrowed grant" => {
            let grant = database.grants(lease.account).await?.swap_remove(0);
            let narrow = Amendment::Grant(Grant { max_lifetime: Lifetime::secs(60), ..grant });
            return database.change(&narrow, true, by).await.map(drop);
        }
        "shortened token" => {
            let until = Some(by.at + SignedDuration::from_secs(60));
            let short = Amendment::Token { id: lease.token, until, maker: Maker::Server };
            return database.change(&short, true, by).await.map(drop);
        }
        _ => return database.remove_grant(lease.account, tenant.grant, true, by).await,
    };
    database.revoke(what, by).await.map(drop)
}

#[test]
fn what_was_ended_while_nothing_can_be_written_is_ended_at_once_and_on_record_later() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "what_was_ended_while_nothing_can_be_written_is_ended_at_once_and_on_record_later";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        for (fault, mode) in
            Fault::ALL.into_iter().flat_map(|fault| [(fault, LedgerMode::Durable), (fault, LedgerMode::Relaxed)])
        {
            let rig = start(&disk, Settings { ledger: mode, ..Settings::default() }).await;
            let bench = &rig.bench;
            let mut tenants = Vec::new();
            for way in WAYS {
                let name = format!("t{}-{fault:?}-{mode:?}", tenants.len()).to_lowercase();
                let tenant = bench.tenant(&name, Metering::Free).await;
                let second = PlainToken::generate(&*bench.entropy);
                let made = rig.database.create_token(tenant.caller, &second, None, Maker::Server, bench.now()).await;
                let with = made.unwrap().id;
                let author = Author { token: (way == "who asked").then_some(with), ..Author::SERVER };
                let lease = author.during(Box::pin(bench.open(&tenant))).await.unwrap();
                tenants.push((way, tenant, lease));
            }
            disk.fail(fault);
            fill(&rig, &tenants[0].1).await;
            let mut failed = 0;
            for (way, tenant, lease) in &tenants {
                assert!(!rig.database.is_revoked(&provenance(lease)), "{way}");
                match end(&rig, tenant, way, lease).await {
                    // A little may still find a place in the write-ahead log of a disk that is full.
                    Ok(()) => assert_eq!(fault, Fault::Full, "{way}"),
                    Err(told) => {
                        assert_eq!(told.kind(), Kind::Unavailable, "{way}: {told:?}");
                        let said = told.message();
                        assert!(said.starts_with("ended on this server, but not on record yet"), "{way}: {told:?}");
                        failed += 1;
                    }
                }
                assert!(rig.database.is_revoked(&provenance(lease)), "{way} under {fault:?} left the key alive");
            }
            assert!(failed > 0 && (failed == WAYS.len() || fault == Fault::Full), "{failed} under {fault:?}");
            let (_, of_token, _) = &tenants[2];
            let refused = bench.caller(&of_token.token).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Revoked));
            disk.heal();
            rig.bench.clock.advance_secs(1);
            for (way, _, lease) in &tenants {
                let waited = Instant::now();
                while !matches!(bench.state(lease.id).await, LeaseState::Revoked(_)) {
                    assert!(
                        waited.elapsed() < Duration::from_secs(20),
                        "{way} under {fault:?} {mode:?} is not on record"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                assert!(rig.database.is_revoked(&provenance(lease)), "{way}");
            }
            while rig.database.owes() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            rig.database.close().await.unwrap();
            // Another server over the same database knows it too.
            let again = start(&disk, Settings::default()).await;
            for (way, tenant, lease) in &tenants {
                assert!(again.database.is_revoked(&provenance(lease)), "{way} is not on record");
                let token_dead = again.bench.caller(&tenant.token).await.is_err();
                assert_eq!(token_dead, ["token", "removed caller", "removed account"].contains(way), "{way}");
                let grants = again.database.grants(lease.account).await.unwrap();
                assert_eq!(
                    grants.iter().any(|one| one.max_lifetime.as_secs() == 60),
                    *way == "narrowed grant",
                    "{way}"
                );
                let token = again.database.token_by_id(lease.token).await.unwrap().unwrap();
                assert_eq!(token.until.is_some(), *way == "shortened token", "{way}");
                let known = again.database.accounts().await.unwrap().iter().any(|one| one.id == lease.account);
                assert_eq!(known, *way != "removed account", "{way}");
            }
            again.database.close().await.unwrap();
        }
    });
}

/// Writes until the disk takes no more.
async fn fill(rig: &Rig, tenant: &Tenant) {
    for n in 0..10_000 {
        let name = Name::parse(&format!("filler-{n}-{}", rig.bench.now().as_millisecond())).unwrap();
        if rig.database.ensure_caller(tenant.account.id, &name, Role::Member, rig.bench.now()).await.is_err() {
            return;
        }
    }
    panic!("the disk does not fail");
}

#[test]
fn behind_the_ledger_nothing_is_handed_out_for_longer_than_is_promised() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "behind_the_ledger_nothing_is_handed_out_for_longer_than_is_promised";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        let rig = start(&disk, Settings { ledger: LedgerMode::Relaxed, ..Settings::default() }).await;
        let (database, bench) = (&rig.database, &rig.bench);
        let tenant = bench.tenant("acme", Metering::Free).await;
        bench.open(&tenant).await.unwrap();
        for fault in Fault::ALL {
            disk.fail(fault);
            fill(&rig, &tenant).await;
            let mut out = Vec::new();
            let started = Instant::now();
            let refused = loop {
                match bench.open(&tenant).await {
                    Ok(lease) => out.push(lease),
                    Err(error) => break error,
                }
                assert!(started.elapsed() < Duration::from_secs(2), "{} were handed out", out.len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::Unavailable, Some(1)), "{refused:?}");
            assert!(!out.is_empty(), "what is promised is used");
            // Questions end with an error, instead of hanging; a key that is not on record is found and can be ended.
            let filter = LeaseFilter { account: Some(tenant.account.id), limit: 10, ..LeaseFilter::default() };
            let listed = tokio::time::timeout(Duration::from_secs(10), database.leases(&filter)).await.unwrap();
            assert_eq!(listed.unwrap_err().kind(), Kind::Unavailable);
            let last = out.last().unwrap();
            assert_eq!(database.lease(last.id).await.unwrap().unwrap().lease.id, last.id);
            let ended = database.revoke(Revocation::Lease(last.id), by(&tenant, bench.now())).await;
            assert_eq!(ended.unwrap_err().kind(), Kind::Unavailable);
            assert!(database.is_revoked(&provenance(last)));
            disk.heal();
            while bench.open(&tenant).await.is_err() || database.owes() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for lease in &out {
                assert!(
                    database.lease(lease.id).await.unwrap().is_some(),
                    "{} was handed out and is not on record",
                    lease.id
                );
            }
            assert!(matches!(bench.state(last.id).await, LeaseState::Revoked(_)));
        }
        database.close().await.unwrap();
    });
}

#[test]
fn who_is_suspended_while_nothing_can_be_written_is_refused_at_once_and_suspended_later() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "who_is_suspended_while_nothing_can_be_written_is_refused_at_once_and_suspended_later";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        let rig = start(&disk, Settings::default()).await;
        let (database, bench) = (&rig.database, &rig.bench);
        for way in ["caller", "caller removed", "account", "account taken back"] {
            let tenant = bench.tenant(&way.replace(' ', "-"), Metering::Free).await;
            let lease = bench.open(&tenant).await.unwrap();
            let (caller, account) = (tenant.caller, tenant.account.id);
            let by = by(&tenant, bench.now());
            disk.fail(Fault::Full);
            until_refused(&rig, &tenant).await;
            let refused = match way {
                "caller" => database.suspend_caller(caller, by).await.map(drop),
                "caller removed" => database.remove_caller(caller, by).await.map(drop),
                _ => database.change_account(account, Standing::Suspended, Metering::Free).await,
            };
            let refused = refused.unwrap_err();
            assert!(
                refused.kind() == Kind::Unavailable && refused.message().contains("tried again"),
                "{way}: {refused:?}"
            );
            assert!(database.owes(), "{way}");
            if way.starts_with("caller") {
                assert!(database.is_revoked(&provenance(&lease)), "{way}");
            }
            disk.heal();
            if way == "account taken back" {
                // Whoever changes their mind before it was written is not overruled by what was owed.
                until_ready(database).await;
                database.change_account(account, Standing::Active, Metering::Free).await.unwrap();
            }
            while database.owes() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let standing = database.caller_by_id(caller).await.unwrap().unwrap().standing;
            let accounts = database.accounts().await.unwrap();
            let of_account = accounts.iter().find(|one| one.id == account).unwrap().standing;
            let expected = match way {
                "caller" => (CallerStanding::Suspended, Standing::Active),
                "caller removed" => (CallerStanding::Removed, Standing::Active),
                "account" => (CallerStanding::Active, Standing::Suspended),
                _ => (CallerStanding::Active, Standing::Active),
            };
            assert_eq!((standing, of_account), expected, "{way}");
            assert_eq!(bench.open(&tenant).await.is_ok(), way == "account taken back", "{way}");
            assert!(database.verify_ledger().await.unwrap().intact(), "{way}");
        }
        database.close().await.unwrap();
    });
}

/// What is ended by its id alone.
const BY_ID: [&str; 8] =
    ["lease", "token's credentials", "token", "caller", "account", "suspended caller", "removed caller", "storage"];

#[test]
fn what_is_ended_while_nothing_can_be_read_is_ended_at_once_and_on_record_later() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "what_is_ended_while_nothing_can_be_read_is_ended_at_once_and_on_record_later";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        for way in BY_ID {
            let rig = start(&disk, Settings::default()).await;
            let (database, bench) = (&rig.database, &rig.bench);
            let tenant = bench.tenant(&way.replace([' ', '\''], "-"), Metering::Free).await;
            let lease = bench.open(&tenant).await.unwrap();
            let by = by(&tenant, bench.now());
            // Another connection writes, so that nobody knows what is on the disk, and then nobody can read it.
            let path = disk.root().join("valetkey.db");
            let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::query("UPDATE accounts SET vend_credits = vend_credits").execute(&mut other).await.unwrap();
            disk.fail(Fault::Unread);
            assert_eq!(database.token_by_id(lease.token).await.unwrap_err().kind(), Kind::Unavailable, "{way}");
            let told = match way {
                "suspended caller" => database.suspend_caller(lease.caller, by).await.map(drop),
                "storage" => database.revoke(Revocation::Storage(lease.storage), by).await.map(drop),
                way => end(&rig, &tenant, way, &lease).await,
            };
            // Who writes may know enough of it without reading.
            if let Err(told) = told {
                assert!(told.message().starts_with("ended on this server, but not on record yet"), "{way}: {told:?}");
                assert!(database.owes(), "{way}");
            }
            assert!(database.is_revoked(&provenance(&lease)), "{way} left the key alive");
            disk.heal();
            while database.owes() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)), "{way} is not on record");
            // Whatever was never there is found out when it is written.
            let caller = database.caller_by_id(lease.caller).await.unwrap().unwrap();
            let expected = match way {
                "suspended caller" => CallerStanding::Suspended,
                "removed caller" => CallerStanding::Removed,
                _ => CallerStanding::Active,
            };
            assert_eq!(caller.standing, expected, "{way}");
            assert!(database.verify_ledger().await.unwrap().intact(), "{way}");
            database.close().await.unwrap();
            std::fs::remove_dir_all(disk.root()).unwrap();
            std::fs::create_dir(disk.root()).unwrap();
        }
    });
}

#[test]
fn what_is_owed_never_takes_the_place_of_what_was_said_later() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "what_is_owed_never_takes_the_place_of_what_was_said_later";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    run(async {
        let rig = start(&disk, Settings::default()).await;
        let (database, bench) = (&rig.database, &rig.bench);
        for (number, later) in ["while it fails", "after it"].into_iter().enumerate() {
            let tenant = bench.tenant(&format!("t{number}"), Metering::Free).await;
            let lease = bench.open(&tenant).await.unwrap();
            let by = by(&tenant, bench.now());
            let grant = async || database.grants(tenant.account.id).await.unwrap().swap_remove(0);
            let limited = |secs, grant| Amendment::Grant(Grant { max_lifetime: Lifetime::secs(secs), ..grant });
            disk.fail(Fault::Full);
            fill(&rig, &tenant).await;
            let narrow = limited(120, grant().await);
            database.change(&narrow, true, by).await.unwrap_err();
            assert!(database.is_revoked(&provenance(&lease)));
            // Whoever reads it before it is on record reads what holds, and changes that.
            assert_eq!(grant().await.max_lifetime, Lifetime::secs(120));
            database.change_account(tenant.account.id, Standing::Suspended, Metering::of(1)).await.unwrap_err();
            let (narrower, renamed) = (limited(60, grant().await), Name::parse("renamed").unwrap());
            let last = if later == "after it" {
                // Without the turn of what pays: it is there until somebody else says otherwise.
                disk.heal();
                Amendment::Grant(Grant { name: renamed, ..grant().await })
            } else {
                narrower
            };
            let said = database.change(&last, true, by).await;
            assert_eq!(said.is_ok(), later == "after it", "{later}: {said:?}");
            disk.heal();
            until_ready(database).await;
            database.change_account(tenant.account.id, Standing::Active, Metering::of(7)).await.unwrap();
            while database.owes() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let Amendment::Grant(expected) = last else { panic!() };
            assert_eq!(grant().await, expected, "{later}");
            let accounts = database.accounts().await.unwrap();
            let account = accounts.iter().find(|one| one.id == tenant.account.id).unwrap();
            assert_eq!((account.standing, account.metering), (Standing::Active, Metering::of(7)), "{later}");
            // What the first change ended is on record, whatever became of that change.
            assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)), "{later}");
            assert!(database.verify_ledger().await.unwrap().intact(), "{later}");
        }
        database.close().await.unwrap();
    });
}
