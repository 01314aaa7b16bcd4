//! Databases of before, opened by today's version.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::grant::NewGrant;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::{by, new_grant, reads};
use valetkey_testkit::contract::registry::new_dataset;
use valetkey_testkit::contract::workspaces::new_workspace;

async fn open(path: &Path, clock: &Arc<FixedClock>, entropy: &Arc<dyn Entropy>) -> Database {
    let clock = Arc::<FixedClock>::clone(clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    Database::open(path, Settings::default(), clock, Arc::clone(entropy), tasks, stop).await.unwrap()
}

#[tokio::test]
async fn a_database_from_before_removals_knows_which_grants_were_made_for_a_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("valetkey.db");
    let (clock, entropy): (_, Arc<dyn Entropy>) = (Arc::default(), Arc::new(SeededEntropy::new(3)));
    let database = open(&path, &clock, &entropy).await;
    let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&clock), Arc::clone(&entropy), Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    clock.advance_secs(1);
    let new = new_workspace(&tenant, "main", None);
    let workspace = bench.workspaces.create_workspace(new, clock.now()).await.unwrap().id;
    // Made at the same time, for a dataset.
    let dataset = database.create_dataset(new_dataset(&tenant.storage, "jobs"), clock.now()).await.unwrap();
    let of_dataset = NewGrant {
        dataset: Some(dataset),
        ..new_grant(account, &tenant.storage, "workspace-main-data", reads("lake", &["jobs/daily"]))
    };
    database.create_grant(of_dataset, clock.now()).await.unwrap();
    clock.advance_secs(1);
    // By hand, and of a name that looks like it.
    let own = new_grant(account, &tenant.storage, "workspace-main-extra", reads("lake", &["x"]));
    database.create_grant(own, clock.now()).await.unwrap();
    let before = database.grants(account).await.unwrap();
    let made: Vec<_> = before.iter().map(|grant| (grant.name.to_string(), grant.origin.workspace())).collect();
    let named = |name: &str, of| (name.to_owned(), of);
    assert_eq!(
        made,
        [
            named("daily", None),
            named("workspace-main", Some(workspace)),
            named("workspace-main-data", None),
            named("workspace-main-extra", None)
        ]
    );
    database.close().await.unwrap();
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for sql in [
        "DROP INDEX grants_by_workspace",
        "ALTER TABLE grants DROP COLUMN workspace",
        "ALTER TABLE accounts DROP COLUMN removed_ms",
        "ALTER TABLE storages DROP COLUMN removed_ms",
        "DELETE FROM _sqlx_migrations WHERE version IN (43, 54)",
    ] {
        sqlx::query(sql).execute(&mut raw).await.unwrap();
    }
    drop(raw);
    let database = open(&path, &clock, &entropy).await;
    assert_eq!(database.grants(account).await.unwrap(), before);
    assert_eq!(database.accounts().await.unwrap(), std::slice::from_ref(&tenant.account));
    assert!(database.verify_ledger().await.unwrap().intact());
    let gone = database.remove(&Thing::Workspace(workspace), How::ALL, by(&tenant, clock.now())).await.unwrap();
    assert_eq!(gone.with.len(), 1, "{gone:?}");
    let left = database.grants(account).await.unwrap();
    let left: Vec<&str> = left.iter().map(|grant| grant.name.as_str()).collect();
    assert_eq!(left, ["daily", "workspace-main-data", "workspace-main-extra"]);
    database.close().await.unwrap();
}
