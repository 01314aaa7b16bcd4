//! What of parent access keys lies in the file: sealed secrets, digests that sign nothing, and both brought up to date.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::account::Metering;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{NewParent, ParentAdmin, Parents, Permission};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Directory as _;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_database::{Database, ParentKeys, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;

struct Shelf {
    folder: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<FixedClock>,
    entropy: Arc<dyn Entropy>,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.db");
        Self { path, folder, clock: Arc::default(), entropy: Arc::new(SeededEntropy::new(3)) }
    }

    async fn open(&self) -> Database {
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Database::open(&self.path, Settings::default(), clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap()
    }

    async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }

    /// Whether any file of the database has these bytes.
    fn holds(&self, bytes: &[u8]) -> bool {
        std::fs::read_dir(self.folder.path())
            .unwrap()
            .any(|file| std::fs::read(file.unwrap().path()).unwrap().windows(bytes.len()).any(|window| window == bytes))
    }

    async fn make(&self, database: &Database, keys: &ParentKeys) -> (TokenId, PlainToken) {
        let bench = Bench::of(
            &Arc::new(database.clone()),
            Arc::<FixedClock>::clone(&self.clock),
            Arc::clone(&self.entropy),
            Box::new(()),
        );
        let tenant = bench.tenant("acme", Metering::Free).await;
        let token = PlainToken::generate(&*self.entropy);
        let new = NewParent {
            account: tenant.account.id,
            name: Name::parse("job").unwrap(),
            buckets: vec![BucketName::parse("lake").unwrap()],
            permission: Permission::ObjectReadOnly,
            until: None,
            maker: Maker::Server,
        };
        (keys.create_parent(new, &token, self.clock.now()).await.unwrap().token.id, token)
    }
}

fn ring(numbers: &[u8]) -> Keyring {
    let masters: Vec<_> = numbers.iter().map(|number| (*number, Secret::new([*number; 32]))).collect();
    Keyring::new(&masters).unwrap()
}

#[tokio::test]
async fn no_secret_of_a_parent_lies_in_the_file() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let keys = ParentKeys::open(&database, SharedKeyring::new(ring(&[1]))).await.unwrap();
    let (_, token) = shelf.make(&database, &keys).await;
    database.close().await.unwrap();
    let secret = token.secret_access_key();
    let raw = HEXLOWER.decode(secret.reveal().as_bytes()).unwrap();
    assert!(shelf.holds(token.digest().as_bytes()));
    for secret in [token.reveal().as_bytes(), secret.reveal().as_bytes(), &secret.reveal().as_bytes()[..24], &raw] {
        assert!(!shelf.holds(secret));
    }
}

#[tokio::test]
async fn a_parent_survives_a_change_of_keys_and_is_sealed_with_the_new_one() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let shared = SharedKeyring::new(ring(&[1]));
    let keys = ParentKeys::open(&database, shared.clone()).await.unwrap();
    let (id, token) = shelf.make(&database, &keys).await;
    shared.replace(ring(&[2, 1]));
    keys.reseal().await.unwrap();
    database.close().await.unwrap();
    // The old key may go now.
    let database = shelf.open().await;
    let keys = ParentKeys::open(&database, SharedKeyring::new(ring(&[3, 2]))).await.unwrap();
    let parent = keys.parent(id, shelf.clock.now()).await.unwrap().unwrap();
    assert_eq!(parent.secret.reveal(), token.secret_access_key().reveal());
    database.close().await.unwrap();
    // Without its key it is a defect that is told, and no way in.
    let database = shelf.open().await;
    let keys = ParentKeys::open(&database, SharedKeyring::new(ring(&[2]))).await.unwrap();
    assert!(keys.parent(id, shelf.clock.now()).await.is_err());
}

#[tokio::test]
async fn what_a_ring_cannot_open_is_named_whatever_its_numbers_and_the_ring_is_remembered() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    assert_eq!(database.known_ring().await.unwrap(), [], "a database from before knows none");
    let keys = ParentKeys::open(&database, SharedKeyring::new(ring(&[1]))).await.unwrap();
    let (id, _) = shelf.make(&database, &keys).await;
    let foreign = Keyring::new(&[(1, Secret::new([9; 32]))]).unwrap();
    let unopened = async |ring: &Keyring| ParentKeys::unopened(&database, ring).await.unwrap();
    assert_eq!(unopened(&ring(&[1])).await, []);
    assert_eq!(unopened(&ring(&[2, 1])).await, []);
    assert_eq!((unopened(&ring(&[2])).await, unopened(&foreign).await), (vec![id], vec![id]));
    let by = keys.parents(None).await.unwrap().first().unwrap().token.caller;
    database.revoke_token(id, valetkey_core::lease::Revoker { by, at: shelf.clock.now() }).await.unwrap();
    assert_eq!(unopened(&foreign).await, [], "one that has ended is no loss");
    for numbers in [&[1][..], &[2, 1], &[3, 2, 1]] {
        let values = ring(numbers).check_values();
        database.keep_ring(&values).await.unwrap();
        assert_eq!(database.known_ring().await.unwrap(), values, "in their order");
    }
    for key in [[1; 32], [2; 32], [3; 32]] {
        assert!(!shelf.holds(&key));
    }
}

#[tokio::test]
async fn a_token_from_before_still_works_and_its_digest_is_renewed() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let keys = ParentKeys::open(&database, SharedKeyring::new(ring(&[1]))).await.unwrap();
    let (id, token) = shelf.make(&database, &keys).await;
    database.close().await.unwrap();
    let once = HEXLOWER.decode(token.secret_access_key().reveal().as_bytes()).unwrap();
    let mut raw = shelf.raw().await;
    sqlx::query("UPDATE tokens SET digest = ?, form = 1 WHERE id = ?")
        .bind(once.clone())
        .bind(id.to_bytes().to_vec())
        .execute(&mut raw)
        .await
        .unwrap();
    drop(raw);
    for _ in 0..2 {
        let database = shelf.open().await;
        assert_eq!(database.caller(&token, shelf.clock.now()).await.unwrap().token, id);
        assert_eq!(database.tokens(None).await.unwrap().len(), 2);
        database.close().await.unwrap();
        let mut raw = shelf.raw().await;
        let forms: Vec<i64> = sqlx::query_scalar("SELECT form FROM tokens").fetch_all(&mut raw).await.unwrap();
        assert_eq!(forms, [2, 2]);
        let kept: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM tokens").fetch_all(&mut raw).await.unwrap();
        assert!(!kept.contains(&once));
    }
}
