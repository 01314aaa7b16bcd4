//! The files of packages: beside the database, durable before they are named, and swept if nobody names them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, Packages, Upload, UploadKey};
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Damage, Database, Room, Scrubbed, Settings, scrub};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::{Bench, Tenant};

struct Shelf {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    entropy: Arc<dyn Entropy>,
}

impl Shelf {
    fn new() -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(3));
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::default(), entropy }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("valetkey.db")
    }

    fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    async fn open(&self) -> Database {
        self.open_with(Settings::default()).await
    }

    async fn open_with(&self, settings: Settings) -> Database {
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Database::open(&self.database(), settings, clock, Arc::clone(&self.entropy), tasks, stop).await.unwrap()
    }

    fn bench(&self, database: &Database) -> Bench {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Bench::of(&Arc::new(database.clone()), clock, Arc::clone(&self.entropy), Box::new(()))
    }

    async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.database()).connect().await.unwrap()
    }

    /// Every file of a blob.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(shards) = std::fs::read_dir(self.packages()) else { return Vec::new() };
        let shards = shards.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        shards.flat_map(|shard| std::fs::read_dir(shard).unwrap().map(|file| file.unwrap().path())).collect()
    }
}

async fn run(db: &mut SqliteConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap();
}

/// An upload that was begun.
async fn begun(bench: &Bench, tenant: &Tenant, seed: u8) -> Upload {
    let upload = Upload {
        key: UploadKey::from_bytes([seed; 32]).digest(),
        account: tenant.account.id,
        caller: tenant.caller,
        package: Name::parse("demo").unwrap(),
    };
    let until = bench.now() + jiff::SignedDuration::from_secs(900);
    bench.packages.begin_upload(&upload, until, bench.now()).await.unwrap();
    upload
}

async fn push(bench: &Bench, tenant: &Tenant, seed: u8, body: &[u8]) -> Result<Digest, Kind> {
    let upload = begun(bench, tenant, seed).await;
    let digest = Digest::of(body);
    let ended = bench.packages.finish_upload(&upload, digest, body.to_vec(), bench.now()).await;
    ended.map(|()| digest).map_err(|error| error.kind())
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

#[tokio::test]
async fn the_bytes_of_a_blob_do_not_go_through_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let log = shelf.folder.path().join("valetkey.db-wal");
    let before = size(&shelf.database()) + size(&log);
    let body = vec![7; 5 << 20];
    let digest = push(&bench, &tenant, 1, &body).await.unwrap();
    let grown = size(&shelf.database()) + size(&log) - before;
    assert!(grown < 256 << 10, "the database and its log grew by {grown} bytes");
    let files = shelf.files();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read(&files[0]).unwrap(), body);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&files[0]), mode(&shelf.packages()), mode(files[0].parent().unwrap())), (0o600, 0o700, 0o700));
    database.close().await.unwrap();
    let database = shelf.open().await;
    assert_eq!(database.blob(tenant.account.id, digest).await.unwrap(), Some(body));
    assert_eq!(database.blob_size(tenant.account.id, digest).await.unwrap(), Some(5 << 20));
}

#[tokio::test]
async fn a_blob_takes_no_room_that_is_the_ledgers() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let shelf = Shelf::new();
    let left = Arc::new(AtomicU64::new(2 << 20));
    let own = Arc::clone(&left);
    let ask = Arc::new(move |bytes| {
        let taken = own
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes).filter(|left| *left > 0));
        taken.map(drop).map_err(|_| std::io::ErrorKind::StorageFull.into())
    });
    let database = shelf.open_with(Settings { room: Room::as_said(ask), ..Settings::default() }).await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    // In the midst of it, and from its start.
    for (seed, size) in [(1, 5 << 20), (2, 10)] {
        assert_eq!(push(&bench, &tenant, seed, &vec![7; size]).await, Err(Kind::Unavailable));
        assert!(shelf.files().is_empty());
        left.store(0, Ordering::SeqCst);
    }
    left.store(6 << 20, Ordering::SeqCst);
    push(&bench, &tenant, 3, &vec![7; 5 << 20]).await.unwrap();
    assert_eq!(shelf.files().len(), 1);
}

#[tokio::test]
async fn a_blob_that_stands_in_the_database_is_read_and_not_written_again() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let digest = Digest::of(b"from before");
    sqlx::query("INSERT INTO package_blobs (account, digest, made_ms, made_by, body) VALUES (?, ?, 0, ?, ?)")
        .bind(tenant.account.id.to_bytes().to_vec())
        .bind(digest.as_bytes().to_vec())
        .bind(tenant.caller.to_bytes().to_vec())
        .bind(b"from before".to_vec())
        .execute(&mut shelf.raw().await)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(database.blob(tenant.account.id, digest).await.unwrap().as_deref(), Some(&b"from before"[..]));
        assert_eq!(database.blob_size(tenant.account.id, digest).await.unwrap(), Some(11));
        assert_eq!(push(&bench, &tenant, 1, b"from before").await, Ok(digest));
        assert!(shelf.files().is_empty());
    }
}

#[tokio::test]
async fn a_blob_that_many_push_at_once_is_kept_once() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let pushed = join_all((0..8).map(|seed| push(&bench, &tenant, seed, b"the same"))).await;
    assert!(pushed.iter().all(|one| *one == Ok(Digest::of(b"the same"))), "{pushed:?}");
    assert_eq!(shelf.files().len(), 1);
    assert_eq!(
        database.blob(tenant.account.id, Digest::of(b"the same")).await.unwrap().as_deref(),
        Some(&b"the same"[..])
    );
}

#[tokio::test]
async fn a_disk_that_takes_no_file_refuses_the_push_and_the_upload_can_be_ended_later() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    std::fs::write(shelf.packages(), "in the way").unwrap();
    let upload = begun(&bench, &tenant, 1).await;
    let digest = Digest::of(b"x");
    let end = async || database.finish_upload(&upload, digest, b"x".to_vec(), bench.now()).await;
    let refused = end().await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::Unavailable, Some(1)));
    assert_eq!(database.blob(tenant.account.id, digest).await.unwrap(), None);
    bench.open(&tenant).await.unwrap();
    std::fs::remove_file(shelf.packages()).unwrap();
    end().await.unwrap();
    assert_eq!(database.blob(tenant.account.id, digest).await.unwrap().as_deref(), Some(&b"x"[..]));
}

#[tokio::test]
async fn a_file_whose_row_was_not_written_is_swept_an_hour_later_and_no_other_is() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let digest = push(&bench, &tenant, 1, b"kept").await.unwrap();
    let mut other = shelf.raw().await;
    let upload = begun(&bench, &tenant, 2).await;
    run(&mut other, "CREATE TRIGGER no_blobs BEFORE INSERT ON package_blobs BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    let lost = database.finish_upload(&upload, Digest::of(b"lost"), b"lost".to_vec(), bench.now()).await.unwrap_err();
    assert_eq!(lost.kind(), Kind::Unavailable);
    run(&mut other, "DROP TRIGGER no_blobs").await;
    let foreign = shelf.packages().join("README");
    std::fs::write(&foreign, "not ours").unwrap();
    assert_eq!(shelf.files().len(), 2);
    assert_eq!(database.sweep().await.unwrap().blobs, 0, "its row may be on its way");
    // Nobody ended it: it can still be.
    shelf.clock.advance_secs(3600);
    assert_eq!(database.sweep().await.unwrap().blobs, 1);
    assert_eq!(database.sweep().await.unwrap().blobs, 0);
    assert_eq!(shelf.files().len(), 1);
    assert_eq!(database.blob(tenant.account.id, digest).await.unwrap().as_deref(), Some(&b"kept"[..]));
    assert!(foreign.exists());
}

#[tokio::test]
async fn a_file_that_holds_something_else_is_an_error_and_never_an_answer() {
    let shelf = Shelf::new();
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let digest = push(&bench, &tenant, 1, b"one bit").await.unwrap();
    let files = shelf.files();
    for bad in [&b"one bjt"[..], b"one", b""] {
        std::fs::write(&files[0], bad).unwrap();
        assert_eq!(database.blob(tenant.account.id, digest).await.unwrap_err().kind(), Kind::Internal, "{bad:?}");
    }
    std::fs::remove_file(&files[0]).unwrap();
    assert_eq!(database.blob(tenant.account.id, digest).await.unwrap_err().kind(), Kind::Internal);
}

async fn scrubbed(shelf: &Shelf) -> (Scrubbed, Vec<Damage>) {
    let mut found = Vec::new();
    let done = scrub(&shelf.database(), &mut |damage: &Damage| found.push(damage.clone())).await.unwrap();
    (done, found)
}

#[tokio::test]
async fn a_scrub_names_what_is_not_what_was_pushed_and_nothing_else() {
    let shelf = Shelf::new();
    assert_eq!(scrubbed(&shelf).await, (Scrubbed::default(), Vec::new()), "nothing was ever pushed");
    let database = shelf.open().await;
    let bench = shelf.bench(&database);
    let tenant = bench.tenant("acme", Metering::Free).await;
    let hex = |digest: Digest| digest.to_string().split_once(':').unwrap().1.to_owned();
    for (seed, body) in [(1, "good"), (2, "bad"), (3, "gone"), (4, "old")] {
        push(&bench, &tenant, seed, body.as_bytes()).await.unwrap();
    }
    let mut db = shelf.raw().await;
    // One that an older version kept in its row, and a manifest.
    let old = hex(Digest::of(b"old"));
    run(&mut db, &format!("UPDATE package_blobs SET file = NULL, body = CAST('old' AS BLOB) WHERE digest = x'{old}'"))
        .await;
    let manifest = Digest::of(b"{}");
    let insert = format!(
        "INSERT INTO package_manifests (account, package, digest, media_type, made_ms, body)
         SELECT id, 'demo', x'{}', 'm', 1, CAST('{{}}' AS BLOB) FROM accounts",
        hex(manifest)
    );
    run(&mut db, &insert).await;
    // Beside a server that runs.
    let (done, found) = scrubbed(&shelf).await;
    assert_eq!((done, found), (Scrubbed { blobs: 4, manifests: 1, bytes: 16, damaged: 0 }, Vec::new()));
    let file =
        |body: &str| shelf.files().into_iter().find(|path| std::fs::read(path).unwrap() == body.as_bytes()).unwrap();
    let (bad, gone) = (file("bad"), file("gone"));
    std::fs::write(&bad, "bat").unwrap();
    std::fs::remove_file(&gone).unwrap();
    run(&mut db, "UPDATE package_blobs SET body = CAST('odd' AS BLOB) WHERE file IS NULL").await;
    run(&mut db, "UPDATE package_manifests SET body = CAST('[]' AS BLOB)").await;
    database.close().await.unwrap();
    let (done, found) = scrubbed(&shelf).await;
    assert_eq!(done, Scrubbed { blobs: 4, manifests: 1, bytes: 12, damaged: 4 });
    let told: Vec<(String, PathBuf)> = found.into_iter().map(|damage| (damage.what, damage.file)).collect();
    let blob = |body: &str| format!("the blob {} of the account `acme`", Digest::of(body.as_bytes()));
    let expected = [
        (blob("bad"), bad),
        (blob("gone"), gone),
        (blob("old"), shelf.database()),
        (format!("the manifest {manifest} of the package `acme/demo`"), shelf.database()),
    ];
    assert_eq!(told, expected);
}
