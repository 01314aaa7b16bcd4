//! Policy files whose writing fails midway: nothing of them is there, and the same can be applied again.

use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::nouns::policy_set::PolicySetAdmin as _;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::by;
use valetkey_testkit::contract::policy_sets::{application, changed, state};

#[tokio::test]
async fn what_cannot_be_written_to_its_end_changes_nothing_and_can_be_applied_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("valetkey.db");
    let (clock, entropy) = (Arc::<FixedClock>::default(), Arc::new(SeededEntropy::new(3)));
    let (ticking, chance) = (Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&entropy) as Arc<dyn Entropy>);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let database = Database::open(&path, Settings::default(), ticking, chance, tasks, stop).await.unwrap();
    let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&clock), entropy, Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    let before = state(&bench).await;
    let after = changed(&before, &tenant, "jobs/daily/2026");
    let what = application(&before, &after);
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    // At each step of it: what is new, what is changed, whose it is, and what the ledger says of it.
    for (step, at) in
        ["INSERT ON callers", "UPDATE ON grants", "INSERT ON grants", "INSERT ON managed", "INSERT ON ledger_pages"]
            .into_iter()
            .enumerate()
    {
        let trigger =
            format!("CREATE TRIGGER full BEFORE {at} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
        sqlx::query(AssertSqlSafe(trigger)).execute(&mut raw).await.unwrap();
        clock.advance_secs(1);
        let refused = database.apply_policy(&what, by(&tenant, bench.now())).await;
        assert!(refused.is_err(), "{at}");
        sqlx::query("DROP TRIGGER full").execute(&mut raw).await.unwrap();
        assert_eq!(state(&bench).await, before, "step {step}: {at}");
        assert!(database.verify_ledger().await.unwrap().intact(), "{at}");
    }
    clock.advance_secs(1);
    database.apply_policy(&what, by(&tenant, bench.now())).await.unwrap();
    assert_eq!(state(&bench).await, after);
    assert!(database.verify_ledger().await.unwrap().intact());
}
