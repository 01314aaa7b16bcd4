//! The contract of the ports, on SQLite.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::nouns::registry::Catalog as _;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, ParentKeys, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::parents::Keys;

async fn bench() -> Bench {
    open().await.0
}

async fn keys() -> Keys {
    let (bench, database) = open().await;
    let ring = Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap();
    let parents = ParentKeys::open(&database, SharedKeyring::new(ring)).await.unwrap();
    Keys { bench, parents: Arc::new(parents) }
}

/// When a test is over, the chain has to say what the database says: no change of the registry is left out of it.
struct Verified {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
}

impl Drop for Verified {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A copy: what the test's store had begun and never ends would keep another one from opening.
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::clone(&self.clock));
        for name in ["valetkey.db", "valetkey.db-wal"] {
            let _ = std::fs::copy(self.folder.path().join(name), folder.path().join(name));
        }
        let verifying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
                let entropy = Arc::new(SeededEntropy::new(8));
                let path = folder.path().join("valetkey.db");
                let database = Database::open(&path, Settings::default(), clock, entropy, tasks, stop).await.unwrap();
                let verified = database.verify_ledger().await.unwrap();
                assert!(verified.intact(), "{verified:?}");
            });
        });
        verifying.join().unwrap();
    }
}

async fn open() -> (Bench, Database) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let database = Database::open(
        &folder.path().join("valetkey.db"),
        Settings::default(),
        Arc::<FixedClock>::clone(&clock) as Arc<dyn Clock>,
        Arc::clone(&entropy),
        TaskTracker::new(),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let verified = Verified { folder, clock: Arc::clone(&clock) };
    (Bench::of(&Arc::new(database.clone()), clock, entropy, Box::new(verified)), database)
}

valetkey_testkit::contract!(crate::bench);
valetkey_testkit::parents_contract!(crate::keys);
