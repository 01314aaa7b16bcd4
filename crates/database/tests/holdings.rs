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
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, Manifest, Packages, Tag, Upload, UploadKey};
use valetkey_core::nouns::parent::{NewParent, ParentAdmin, Permission};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink, Recipient, Share, ShareAdmin};
use valetkey_core::nouns::table::SharedName;
use valetkey_core::nouns::workspace::{Slug, Workspace, WorkspaceAdmin, Workspaces};
use valetkey_core::time::{Clock, Entropy, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Error, Kind, Secret};
use valetkey_database::{Database, HOLDINGS, Holdings, ParentKeys, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{bucket, by, new_grant, reads};
use valetkey_testkit::contract::registry::new_dataset;
use valetkey_testkit::contract::shares::new_table;
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

    async fn open(&self, limits: &[&str]) -> Database {
        let limits: Vec<String> = limits.iter().map(|text| (*text).to_owned()).collect();
        let settings = Settings { holdings: Holdings::parse(&limits).unwrap(), ..Settings::default() };
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Database::open(&self.path, settings, clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap()
    }

    fn bench(&self, database: &Database) -> Bench {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Bench::of(&Arc::new(database.clone()), clock, Arc::clone(&self.entropy), Box::new(()))
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn refused<T: std::fmt::Debug>(done: Result<T, Error>, what: &str) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden, "{what}: {error:?}");
    assert!(
        error.message().contains(&format!("as many {what} as")) && error.message().contains("limits.holdings"),
        "{error}"
    );
}

#[tokio::test]
async fn callers_are_bounded_in_each_account() {
    let shelf = Shelf::new();
    let database = shelf.open(&["callers:2"]).await;
    let bench = shelf.bench(&database);
    let (tenant, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let make = async |tenant: &Tenant, who: &str| {
        database.ensure_caller(tenant.account.id, &name(who), Role::Member, bench.now()).await
    };
    // A tenant has one already.
    let second = make(&tenant, "second").await.unwrap();
    refused(make(&tenant, "third").await, "callers");
    assert_eq!(make(&tenant, "second").await.unwrap(), second, "who is there is found all the same");
    make(&other, "second").await.unwrap();
    // A refusal leaves the connection fit for the next change.
    bench.open(&tenant).await.unwrap();
    database.close().await.unwrap();
    let database = shelf.open(&["callers:3"]).await;
    database.ensure_caller(tenant.account.id, &name("third"), Role::Member, bench.now()).await.unwrap();
    refused(database.ensure_caller(tenant.account.id, &name("fourth"), Role::Member, bench.now()).await, "callers");
    database.close().await.unwrap();
    // Who has more than a lowered limit keeps it.
    let database = shelf.open(&["callers:1"]).await;
    assert_eq!(database.callers(tenant.account.id).await.unwrap().len(), 3);
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
    let database = shelf.open(&["callers:2"]).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |who: &str| database.ensure_caller(tenant.account.id, &name(who), Role::Member, bench.now()).await;
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
    let database = shelf.open(&["tokens:3"]).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |until| {
        database
            .create_token(tenant.caller, &PlainToken::generate(&*shelf.entropy), until, Maker::Server, bench.now())
            .await
    };
    let minute = Some(bench.now() + SignedDuration::from_secs(60));
    let one = make(None).await.unwrap();
    make(minute).await.unwrap();
    refused(make(None).await, "tokens");
    database.revoke_token(one.id, by(&tenant, bench.now())).await.unwrap();
    make(None).await.unwrap();
    refused(make(minute).await, "tokens");
    shelf.clock.advance_secs(60);
    make(None).await.unwrap();
    refused(make(None).await, "tokens");
}

#[tokio::test]
async fn grants_are_bounded_however_they_are_made() {
    let shelf = Shelf::new();
    let database = shelf.open(&["grants:2", "workspaces:1"]).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut grant = new_grant(tenant.account.id, &tenant.storage, "another", reads("lake", &["x"]));
    let id = database.create_grant(grant.clone(), bench.now()).await.unwrap();
    grant.name = name("third");
    refused(database.create_grant(grant.clone(), bench.now()).await, "grants");
    // A workspace brings its grants with it.
    let with_grants = new_workspace(&tenant, "main", None);
    refused(database.create_workspace(with_grants, bench.now()).await, "grants");
    assert!(database.workspaces(tenant.account.id).await.unwrap().is_empty(), "neither half is there");
    database.remove_grant(tenant.account.id, id, false, by(&tenant, bench.now())).await.unwrap();
    database.create_workspace(new_workspace(&tenant, "main", None), bench.now()).await.unwrap();
    refused(database.create_workspace(new_workspace(&tenant, "more", None), bench.now()).await, "workspaces");
}

#[tokio::test]
async fn the_bytes_of_packages_are_bounded_and_a_refused_blob_is_not_there() {
    let shelf = Shelf::new();
    let database = shelf.open(&["blob-bytes:10"]).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let push = async |seed: u8, body: &[u8]| {
        let key = UploadKey::from_bytes([seed; 32]).digest();
        let upload = Upload { key, account: tenant.account.id, caller: tenant.caller, package: name("demo") };
        let until = bench.now() + SignedDuration::from_secs(900);
        database.begin_upload(&upload, until, bench.now()).await.unwrap();
        database.finish_upload(&upload, Digest::of(body), body.to_vec(), bench.now()).await
    };
    push(1, b"123456").await.unwrap();
    refused(push(2, b"abcde").await, "blob-bytes");
    assert_eq!(database.blob_size(tenant.account.id, Digest::of(b"abcde")).await.unwrap(), None);
    push(3, b"123456").await.unwrap();
    push(4, b"abcd").await.unwrap();
}

/// Everything that one more of any kind is made with.
struct Hands {
    bench: Bench,
    tenant: Tenant,
    parents: ParentKeys,
    workspace: Workspace,
    share: Share,
}

impl Hands {
    async fn of(shelf: &Shelf, database: &Database) -> Self {
        let (bench, now) = (shelf.bench(database), shelf.clock.now());
        let keys = SharedKeyring::new(Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap());
        let parents = ParentKeys::open(database, keys).await.unwrap();
        let tenant = bench.tenant("acme", Metering::Free).await;
        let workspace = bench.workspaces.create_workspace(new_workspace(&tenant, "main", None), now).await.unwrap();
        let share = SharedName::parse("share").unwrap();
        let share = bench.shares.create_share(tenant.account.id, &share, None, now).await.unwrap();
        Self { bench, tenant, parents, workspace, share }
    }

    async fn push(&self, body: &[u8]) -> Result<(), Error> {
        let (account, caller, now) = (self.tenant.account.id, self.tenant.caller, self.bench.now());
        let mut noise = [0; 32];
        self.bench.entropy.fill(&mut noise);
        let key = UploadKey::from_bytes(noise).digest();
        let upload = Upload { key, account, caller, package: name("demo") };
        self.bench.packages.begin_upload(&upload, now + SignedDuration::from_secs(900), now).await?;
        self.bench.packages.finish_upload(&upload, Digest::of(body), body.to_vec(), now).await
    }

    async fn put(&self, tag: Option<Tag>, body: &str) -> Result<(), Error> {
        let body = body.as_bytes().to_vec();
        let manifest = Manifest { digest: Digest::of(&body), media_type: "application/x".into(), body };
        let (account, now) = (self.tenant.account.id, self.bench.now());
        self.bench.packages.put_manifest(account, &name("demo"), tag.as_ref(), &manifest, &[], now).await
    }

    /// Makes one of a kind, the one of this number.
    async fn one(&self, what: &str, number: u32) -> Result<(), Error> {
        let Self { bench, tenant, parents, workspace, share } = self;
        let (account, now, text) = (tenant.account.id, bench.now(), format!("n{number}"));
        let token = PlainToken::generate(&*bench.entropy);
        match what {
            "callers" => bench.registry.ensure_caller(account, &name(&text), Role::Member, now).await.map(drop),
            "tokens" => bench.registry.create_token(tenant.caller, &token, None, Maker::Server, now).await.map(drop),
            "parent-keys" => {
                let (buckets, permission) = (vec![bucket("lake")], Permission::ObjectReadOnly);
                let new =
                    NewParent { account, name: name(&text), buckets, permission, until: None, maker: Maker::Server };
                parents.create_parent(new, &token, now).await.map(drop)
            }
            "grants" => {
                let grant = new_grant(account, &tenant.storage, &text, reads("lake", &["x"]));
                bench.registry.create_grant(grant, now).await.map(drop)
            }
            "workspaces" => bench.workspaces.create_workspace(new_workspace(tenant, &text, None), now).await.map(drop),
            "projects" => {
                let key = Slug::parse(&text).unwrap();
                bench.workspaces.create_project(workspace.id, &key, "P", None, now).await.map(drop)
            }
            "shares" => {
                let own = SharedName::parse(&text).unwrap();
                bench.shares.create_share(account, &own, None, now).await.map(drop)
            }
            "shared-tables" => {
                let table = new_table(&tenant.storage, &text, &format!("tables/{text}"));
                bench.shares.add_table(share.id, table, now).await.map(drop)
            }
            "recipients" => {
                let caller = bench.registry.ensure_caller(account, &name(&text), Role::Member, now).await?;
                let (to, max_lifetime) = (Grantee::Caller(caller), Lifetime::secs(3600));
                let recipient = Recipient { share: share.id, account, to, max_lifetime, until: None, made: now };
                bench.shares.add_recipient(recipient, by(tenant, now)).await
            }
            "profile-links" => {
                let (kind, until) = (ProfileKind::Bearer, Lifetime::secs(60).ends(now));
                let (caller, code) = (tenant.caller, LinkCode::generate(&*bench.entropy));
                let link = ProfileLink { caller, kind, token_lifetime: None, until, made_by: None, no_later: None };
                bench.shares.create_link(&code.digest(), link, Maker::Server, now).await.map(drop)
            }
            "blobs" => self.push(text.as_bytes()).await,
            "blob-bytes" => self.push(&[u8::try_from(number).unwrap()]).await,
            "manifests" => self.put(None, &text).await,
            "tags" => self.put(Some(Tag::parse(&text).unwrap()), "{}").await,
            "datasets" => bench.registry.create_dataset(new_dataset(&tenant.storage, &text), now).await.map(drop),
            _ => Err(Error::internal(format!("`{what}` is held, and nothing here makes one"))),
        }
    }
}

/// Each kind there is: so one that is added without a bound that holds is found.
#[tokio::test]
async fn whatever_is_held_is_refused_at_its_bound_by_name() {
    const MOST: usize = 5;
    for holding in HOLDINGS {
        let (shelf, what) = (Shelf::new(), holding.what);
        let database = shelf.open(&[&format!("{what}:{MOST}")]).await;
        let maker = Hands::of(&shelf, &database).await;
        let mut made = 0;
        let refusal = loop {
            match maker.one(what, made).await {
                Ok(()) => made += 1,
                Err(error) => break error,
            }
            assert!(made <= 5, "{what} has no bound");
        };
        assert!(made > 0, "{what}: {refusal}");
        refused::<()>(Err(refusal), what);
        refused(maker.one(what, made).await, what);
        // A refusal leaves nothing half done, and the connection fit for the next change.
        maker.bench.open(&maker.tenant).await.unwrap();
        database.close().await.unwrap();
        let database = shelf.open(&[&format!("{what}:{}", MOST + 1)]).await;
        let maker = Hands { bench: shelf.bench(&database), parents: maker.parents, ..maker };
        if what != "parent-keys" {
            maker.one(what, made).await.unwrap();
            refused(maker.one(what, made + 1).await, what);
        }
        database.close().await.unwrap();
    }
}

#[tokio::test]
async fn links_that_are_over_make_room() {
    let shelf = Shelf::new();
    let database = shelf.open(&["profile-links:2"]).await;
    let maker = Hands::of(&shelf, &database).await;
    maker.one("profile-links", 0).await.unwrap();
    shelf.clock.advance_secs(30);
    maker.one("profile-links", 1).await.unwrap();
    refused(maker.one("profile-links", 2).await, "profile-links");
    shelf.clock.advance_secs(30);
    maker.one("profile-links", 3).await.unwrap();
    refused(maker.one("profile-links", 4).await, "profile-links");
    assert_eq!(database.end_links(maker.tenant.caller).await.unwrap(), 2, "the one that was over is gone");
    maker.one("profile-links", 5).await.unwrap();
}
