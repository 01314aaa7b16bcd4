//! Killed at any moment, again and again on one database: every lease that was answered is in the ledger.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::LeaseState;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::usage::Usage;
use valetkey_database::{Database, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

const ROUNDS: u64 = 24;

/// Cargo builds a package's examples together with its tests, beside them.
fn child() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent().and_then(Path::parent).unwrap().join("examples/vend_until_killed");
    assert!(
        example.exists(),
        "not built: run `cargo build -p valetkey-database --examples` or the package's whole tests"
    );
    example
}

/// Lets the child vend until it printed so many leases, and a little longer; kills it; says what it printed.
fn vend_and_kill(database: &Path, round: u64, leases: usize, linger: Duration) -> Vec<LeaseId> {
    let mut child = Command::new(child())
        .arg(database)
        .arg(format!("round-{round}"))
        .arg(if round.is_multiple_of(3) { "1" } else { "32" })
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut printed = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // A last line that the kill cut short is no answer.
        if let Some(id) = line.strip_suffix('\n') {
            printed.push(id.parse().unwrap());
        }
        line.clear();
        if printed.len() == leases {
            std::thread::sleep(linger);
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    printed
}

async fn open(database: &Path) -> Database {
    Database::open(
        database,
        Settings::default(),
        Arc::new(FixedClock::default()),
        Arc::new(SeededEntropy::new(1)),
        TaskTracker::new(),
        CancellationToken::new(),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn every_lease_that_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("valetkey.db");
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let leases = usize::try_from(1 + round * round).unwrap();
        let printed = vend_and_kill(&database, round, leases, Duration::from_micros(round * 397));
        assert!(printed.len() >= leases);
        let database = open(&database).await;
        for id in &printed {
            let found = database.lease(*id).await.unwrap();
            assert!(found.is_some_and(|one| one.state == LeaseState::Live), "round {round} lost {id}");
        }
        let verified = database.verify_ledger().await.unwrap();
        assert_eq!(verified.broken_at, None, "round {round}");
        all.extend(printed);
        assert!(verified.leases >= u64::try_from(all.len()).unwrap());
        // What was charged is what was opened: one credit for each lease, answered or not.
        let account = database.account_named(&Name::parse(&format!("round-{round}")).unwrap()).await.unwrap().unwrap();
        let filter = LeaseFilter { account: Some(account.id), limit: 10_000, ..LeaseFilter::default() };
        let opened = database.leases(&filter).await.unwrap().len();
        assert_eq!(database.balance(account.id).await.unwrap().used, u64::try_from(opened).unwrap());
        database.close().await.unwrap();
    }
    assert!(all.len() > 4_000);
}
