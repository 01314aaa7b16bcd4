//! The contract of the ports, on SQLite.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::time::{Clock, Entropy};
use valetkey_store::{ParentKeys, Settings, Store};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::parents::Keys;

async fn bench() -> Bench {
    open().await.0
}

async fn keys() -> Keys {
    let (bench, store) = open().await;
    let ring = Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap();
    let parents = ParentKeys::open(&store, SharedKeyring::new(ring)).await.unwrap();
    Keys { bench, parents: Arc::new(parents) }
}

async fn open() -> (Bench, Store) {
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
    (Bench::of(&Arc::new(store.clone()), clock, entropy, Box::new(folder)), store)
}

valetkey_testkit::contract!(crate::bench);
valetkey_testkit::parents_contract!(crate::keys);
