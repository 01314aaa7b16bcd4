//! How much an account may hold: each kind up to its limit, no more, and again after something was removed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::grant::Grantee;
use valetkey_core::name::Name;
use valetkey_core::package::{Digest, Packages, Upload, UploadKey};
use valetkey_core::port::Registry;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::workspace::Workspaces;
use valetkey_core::{Error, Kind};
use valetkey_store::{Holdings, Settings, Store};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::by;
use valetkey_testkit::contract::workspaces::new_workspace;
use valetkey_testkit::contract::{Bench, Tenant};

struct Shelf {
    _folder: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<FixedClock>,
    entropy: Arc<dyn Entropy>,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.db");
        Self { _folder: folder, path, clock: Arc::default(), entropy: Arc::new(SeededEntropy::new(3)) }
    }

    async fn open(&self, limits: &[&str]) -> Store {
        let limits: Vec<String> = limits.iter().map(|text| (*text).to_owned()).collect();
        let settings = Settings { holdings: Holdings::parse(&limits).unwrap(), ..Settings::default() };
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Store::open(&self.path, settings, clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap()
    }

    fn bench(&self, store: &Store) -> Bench {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Bench::of(&Arc::new(store.clone()), clock, Arc::clone(&self.entropy), Box::new(()))
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn refused<T: std::fmt::Debug>(done: Result<T, Error>, what: &str) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden, "{error}");
    assert!(
        error.said().contains(&format!("as many {what} as")) && error.said().contains("limits.holdings"),
        "{error}"
    );
}

#[tokio::test]
async fn callers_are_bounded_in_each_account() {
    let shelf = Shelf::new();
    let store = shelf.open(&["callers:2"]).await;
    let bench = shelf.bench(&store);
    let (tenant, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let make = async |tenant: &Tenant, who: &str| {
        store.ensure_caller(tenant.account.id, &name(who), Role::Member, bench.now()).await
    };
    // A tenant has one already.
    let second = make(&tenant, "second").await.unwrap();
    refused(make(&tenant, "third").await, "callers");
    assert_eq!(make(&tenant, "second").await.unwrap(), second, "who is there is found all the same");
    make(&other, "second").await.unwrap();
    // A refusal leaves the connection fit for the next change.
    bench.open(&tenant).await.unwrap();
    store.close().await.unwrap();
    let store = shelf.open(&["callers:3"]).await;
    store.ensure_caller(tenant.account.id, &name("third"), Role::Member, bench.now()).await.unwrap();
    refused(store.ensure_caller(tenant.account.id, &name("fourth"), Role::Member, bench.now()).await, "callers");
    store.close().await.unwrap();
    // Who has more than a lowered limit keeps it.
    let store = shelf.open(&["callers:1"]).await;
    assert_eq!(store.callers(tenant.account.id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_removed_caller_makes_room() {
    let shelf = Shelf::new();
    shelf.open(&[]).await.close().await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(&shelf.path).connect().await.unwrap();
    let removable: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_table_info('callers') WHERE name = 'standing'")
            .fetch_one(&mut other)
            .await
            .unwrap();
    if removable == 0 {
        sqlx::query("ALTER TABLE callers ADD COLUMN standing INTEGER NOT NULL DEFAULT 0")
            .execute(&mut other)
            .await
            .unwrap();
    }
    let store = shelf.open(&["callers:2"]).await;
    let bench = shelf.bench(&store);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |who: &str| store.ensure_caller(tenant.account.id, &name(who), Role::Member, bench.now()).await;
    make("second").await.unwrap();
    refused(make("third").await, "callers");
    sqlx::query("UPDATE callers SET standing = 2, name = 'gone' WHERE name = 'second'")
        .execute(&mut other)
        .await
        .unwrap();
    make("third").await.unwrap();
    refused(make("fourth").await, "callers");
}

#[tokio::test]
async fn tokens_are_bounded_as_long_as_they_live() {
    let shelf = Shelf::new();
    let store = shelf.open(&["tokens:3"]).await;
    let bench = shelf.bench(&store);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |until| {
        store
            .create_token(tenant.caller, &PlainToken::generate(&*shelf.entropy), until, Maker::Server, bench.now())
            .await
    };
    let minute = Some(bench.now() + SignedDuration::from_secs(60));
    let one = make(None).await.unwrap();
    make(minute).await.unwrap();
    refused(make(None).await, "tokens");
    store.revoke_token(one.id, by(&tenant, bench.now())).await.unwrap();
    make(None).await.unwrap();
    refused(make(minute).await, "tokens");
    shelf.clock.advance_secs(60);
    make(None).await.unwrap();
    refused(make(None).await, "tokens");
}

#[tokio::test]
async fn grants_are_bounded_however_they_are_made() {
    let shelf = Shelf::new();
    let store = shelf.open(&["grants:2", "workspaces:1"]).await;
    let bench = shelf.bench(&store);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let kept = store.grants(tenant.account.id).await.unwrap();
    let mut grant = kept[0].clone();
    grant.name = name("another");
    grant.to = Grantee::Everyone;
    let id = store.create_grant(grant.clone(), bench.now()).await.unwrap();
    grant.name = name("third");
    refused(store.create_grant(grant.clone(), bench.now()).await, "grants");
    // A workspace brings its grants with it.
    let with_grants = new_workspace(&tenant, "main", None);
    refused(store.create_workspace(with_grants, bench.now()).await, "grants");
    assert!(store.workspaces(tenant.account.id).await.unwrap().is_empty(), "neither half is there");
    store.remove_grant(tenant.account.id, id, false, by(&tenant, bench.now())).await.unwrap();
    store.create_workspace(new_workspace(&tenant, "main", None), bench.now()).await.unwrap();
    refused(store.create_workspace(new_workspace(&tenant, "more", None), bench.now()).await, "workspaces");
}

#[tokio::test]
async fn the_bytes_of_packages_are_bounded_and_a_refused_blob_is_not_there() {
    let shelf = Shelf::new();
    let store = shelf.open(&["blob-bytes:10"]).await;
    let bench = shelf.bench(&store);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let push = async |seed: u8, body: &[u8]| {
        let key = UploadKey::from_bytes([seed; 32]).digest();
        let upload = Upload { key, account: tenant.account.id, caller: tenant.caller, package: name("demo") };
        let until = bench.now() + SignedDuration::from_secs(900);
        store.begin_upload(&upload, until, bench.now()).await.unwrap();
        store.finish_upload(&upload, Digest::of(body), body.to_vec(), bench.now()).await
    };
    push(1, b"123456").await.unwrap();
    refused(push(2, b"abcde").await, "blob-bytes");
    assert_eq!(store.blob_size(tenant.account.id, Digest::of(b"abcde")).await.unwrap(), None);
    push(3, b"123456").await.unwrap();
    push(4, b"abcd").await.unwrap();
}
