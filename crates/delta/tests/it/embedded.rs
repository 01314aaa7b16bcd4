//! The same over the embedded store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::task::TaskTracker;
use valetkey_core::id::LeaseId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::Provenance;
use valetkey_core::nouns::table::{AsOf, ObjectFiles as _, TableLogs as _};
use valetkey_core::port::Revocations;
use valetkey_core::scope::Rights;
use valetkey_core::{Error, Secret};
use valetkey_delta::{Limits, Logs};
use valetkey_s3::{Config, Endpoint, World};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::Memory;

use crate::rig::{Rig, bucket, paths};

struct NoLeases;

#[async_trait]
impl Revocations for NoLeases {
    fn is_revoked(&self, _: &Provenance) -> bool {
        true
    }

    async fn rights(&self, _: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_table_in_the_embedded_store_reads_as_it_does_in_memory() {
    let (rig, folder, tasks) = (Rig::new(), tempfile::tempdir().unwrap(), TaskTracker::new());
    let entropy = Arc::new(SeededEntropy::new(7));
    let world = World {
        keyring: SharedKeyring::new(Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap()),
        leases: Arc::new(NoLeases),
        health: valetkey_core::health::Health::new(Arc::new(FixedClock::default())),
        clock: Arc::new(FixedClock::default()),
        parents: Arc::new(Memory::new(entropy.clone())),
        quotas: Arc::new(Memory::new(entropy.clone())),
        meter: Arc::new(Memory::new(entropy.clone())),
        entropy,
        budget: valetkey_core::fair::Budget::new(64 * 1024 * 1024),
        tasks: tasks.clone(),
    };
    let known = ["history", "changes", "partitioned"].map(|name| rig.load(name));
    let storage = Arc::clone(&known[0].storage);
    let endpoint = Endpoint::open(Config::new(storage.id, folder.path().join("objects")), world).await.unwrap();
    for listed in rig.objects.list(&storage, &bucket(), b"", b"", usize::MAX).await.unwrap() {
        let bytes = rig.objects.get(&storage, &bucket(), &listed.key, None).await.unwrap().unwrap();
        let key = std::str::from_utf8(&listed.key).unwrap();
        endpoint.put_bytes(&bucket(), key, bytes.into(), "application/octet-stream").await.unwrap();
    }
    let logs = Logs::new(Arc::new(endpoint), tasks, Limits::default());
    for place in &known {
        let (here, there) = (logs.files(place, AsOf::Latest).await, rig.logs.files(place, AsOf::Latest).await);
        assert_eq!(here.unwrap(), there.unwrap());
        let (here, there) = (logs.files(place, AsOf::Version(0)).await, rig.logs.files(place, AsOf::Version(0)).await);
        assert_eq!(paths(&here.unwrap().files), paths(&there.unwrap().files));
    }
    let here = logs.changes(&known[1], AsOf::Version(0), AsOf::Latest).await.unwrap();
    let there = rig.logs.changes(&known[1], AsOf::Version(0), AsOf::Latest).await.unwrap();
    let actions = |found: valetkey_core::nouns::table::TableCommits| {
        found.commits.into_iter().map(|commit| commit.actions).collect::<Vec<_>>()
    };
    assert_eq!(actions(here), actions(there));
}
