//! The contract of the ports, on SQLite.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::time::{Clock, Entropy};
use valetkey_store::{Settings, Store};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let store = Store::open(
        &folder.path().join("valetkey.db"),
        Settings::default(),
        Arc::<FixedClock>::clone(&clock) as Arc<dyn Clock>,
        Arc::clone(&entropy),
        TaskTracker::new(),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    Bench::of(&Arc::new(store), clock, entropy, Box::new(folder))
}

valetkey_testkit::contract!(crate::bench);
