//! The contract of the ports, on SQLite and on Postgres.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, ParentKeys, Server, Settings, Whereabouts};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::parents::Keys;

/// Where a test's database is, and what goes with it.
struct Place {
    at: Whereabouts,
    folder: tempfile::TempDir,
}

impl Place {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { at: Whereabouts::from(&folder.path().join("valetkey.db")), folder }
    }

    async fn postgres() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, beside) = (support::new_database(folder.path()).await, folder.path().join("valetkey.db"));
        Self { at: Server::new(&Secret::new(url), None, 4, beside).unwrap().into(), folder }
    }
}

async fn open(at: &Whereabouts, clock: &Arc<FixedClock>, seed: u64) -> Database {
    let clock = Arc::<FixedClock>::clone(clock) as Arc<dyn Clock>;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let entropy = Arc::new(SeededEntropy::new(seed));
    Database::open(at.clone(), Settings::default(), clock, entropy, tasks, stop).await.unwrap()
}

/// When a test is over, the chain has to say what the database says: no change of the registry is left out of it.
struct Verified {
    place: Place,
    clock: Arc<FixedClock>,
}

impl Drop for Verified {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = match &self.place.at {
            // A copy: what the test's database had begun and never ends would keep another one from opening.
            Whereabouts::File(_) => {
                for name in ["valetkey.db", "valetkey.db-wal"] {
                    let _ = std::fs::copy(self.place.folder.path().join(name), folder.path().join(name));
                }
                Whereabouts::from(&folder.path().join("valetkey.db"))
            }
            server @ Whereabouts::Server(_) => server.clone(),
        };
        let clock = Arc::clone(&self.clock);
        let verifying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let verified = open(&at, &clock, 8).await.verify_ledger().await.unwrap();
                assert!(verified.intact(), "{verified:?}");
            });
        });
        verifying.join().unwrap();
    }
}

async fn begin(place: Place) -> (Bench, Database) {
    let clock = Arc::new(FixedClock::default());
    let database = open(&place.at, &clock, 7).await;
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(6));
    let verified = Verified { place, clock: Arc::clone(&clock) };
    (Bench::of(&Arc::new(database.clone()), clock, entropy, Box::new(verified)), database)
}

async fn keys(place: Place) -> Keys {
    let (bench, database) = begin(place).await;
    let ring = Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap();
    let parents = ParentKeys::open(&database, SharedKeyring::new(ring)).await.unwrap();
    Keys { bench, parents: Arc::new(parents) }
}

mod sqlite {
    use super::{Bench, Keys, Place};

    async fn bench() -> Bench {
        super::begin(Place::sqlite()).await.0
    }

    async fn keys() -> Keys {
        super::keys(Place::sqlite()).await
    }

    valetkey_testkit::contract!(crate::sqlite::bench);
    valetkey_testkit::parents_contract!(crate::sqlite::keys);

    #[tokio::test]
    async fn keeps_fetched_credentials() {
        let (_bench, database) = super::begin(Place::sqlite()).await;
        valetkey_testkit::contract::pool::what_is_kept_is_there_until_it_is_over_or_removed(&database).await;
    }
}

mod postgres {
    use super::{Bench, Keys, Place};

    async fn bench() -> Bench {
        super::begin(Place::postgres().await).await.0
    }

    async fn keys() -> Keys {
        super::keys(Place::postgres().await).await
    }

    valetkey_testkit::contract!(crate::postgres::bench);
    valetkey_testkit::parents_contract!(crate::postgres::keys);

    #[tokio::test]
    async fn keeps_fetched_credentials() {
        let (_bench, database) = super::begin(Place::postgres().await).await;
        valetkey_testkit::contract::pool::what_is_kept_is_there_until_it_is_over_or_removed(&database).await;
    }

    #[tokio::test]
    async fn one_node_fetches() {
        let (_bench, database) = super::begin(Place::postgres().await).await;
        valetkey_testkit::contract::pool::one_claims_at_a_time(&database).await;
    }
}
