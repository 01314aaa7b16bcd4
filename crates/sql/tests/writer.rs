//! What becomes of the connection that writes when something fails on it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use valetkey_core::error::Noun;
use valetkey_core::{Error, Kind};
use valetkey_sql::{Failure, Fault, Writer, failed};

async fn open(path: &Path) -> Writer {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, body BLOB) STRICT")
        .execute(&mut connection)
        .await
        .unwrap();
    Writer::new(connection, options, path)
}

async fn insert(db: &mut SqliteConnection, n: i64, bytes: usize) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO rows (n, body) VALUES (?, ?)").bind(n).bind(vec![7; bytes]).execute(db).await.map(drop)
}

async fn rows(writer: &Writer) -> i64 {
    let count = async |db: &mut SqliteConnection| sqlx::query_scalar("SELECT count(*) FROM rows").fetch_one(db).await;
    writer.turn().await.ask::<_, sqlx::Error>(count).await.unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fails_and_is_well_again_needs_no_restart() {
    use valetkey_testkit::disk::{Fault as Fails, FaultyDisk};

    let scratch = tempfile::tempdir().unwrap();
    let name = "a_disk_that_fails_and_is_well_again_needs_no_restart";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let writer = open(&disk.root().join("test.db")).await;
        let (mut n, mut kept, mut unknown) = (0, 0, 0);
        for fault in Fails::ALL {
            writer.change(async |db| insert(db, n, 10).await).await.unwrap();
            kept += 1;
            writer.works().await.unwrap();
            disk.fail(fault);
            // Large enough that it has no place yet; small ones after it, as many writers would try.
            for bytes in [200_000, 60_000, 60_000] {
                n += 1;
                let ended = writer.change(async |db| insert(db, n, bytes).await).await.unwrap_err();
                let said = ended.error().to_string();
                assert!(ended.error().is_of_database(), "{said}");
                unknown += i64::from(matches!(ended, Fault::Unknown(_)));
                assert!(said.contains("full") || said.contains("disk I/O"), "the first error is told: {said}");
            }
            assert!(writer.works().await.is_err(), "{fault:?}");
            disk.heal();
            n += 1;
            writer.change(async |db| insert(db, n, 200_000).await).await.unwrap();
            kept += 1;
            // It says so as soon as it is tried again.
            while writer.works().await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            // What could not be synced may be there all the same; what was undone is not.
            let there = rows(&writer).await;
            assert!((kept..=kept + unknown).contains(&there), "{there} rows, {kept} kept, {unknown} unknown");
            n += 1;
        }
        assert!(!disk.root().join("test.db-trial").exists());
    });
}

#[tokio::test]
async fn a_refusal_is_rolled_back_and_costs_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder.path().join("test.db")).await;
    let refused = writer
        .change(async |db: &mut SqliteConnection| {
            insert(db, 1, 1).await.map_err(failed)?;
            Err::<(), Error>(Error::not_found(Noun::Account))
        })
        .await
        .unwrap_err();
    assert!(matches!(&refused, Fault::Undone(error) if error.kind() == Kind::NotFound(Noun::Account)));
    // So is one of the database's own that says nothing of the disk: a name that is taken.
    writer.change(async |db| insert(db, 1, 1).await).await.unwrap();
    let taken = writer.change(async |db| insert(db, 1, 1).await).await.unwrap_err();
    assert!(!taken.error().is_of_database());
    writer.works().await.unwrap();
    assert_eq!((rows(&writer).await, writer.turn().await.opened()), (1, 1));
}

#[tokio::test]
async fn a_change_that_is_dropped_midway_leaves_nothing_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder.path().join("test.db")).await;
    let inside = tokio::sync::Notify::new();
    let half = writer.change(async |db: &mut SqliteConnection| {
        insert(db, 1, 1).await?;
        inside.notify_one();
        std::future::pending::<sqlx::Result<()>>().await
    });
    tokio::select! {
        done = half => panic!("it waits for ever: {done:?}"),
        () = inside.notified() => {}
    }
    writer.change(async |db| insert(db, 2, 1).await).await.unwrap();
    assert_eq!((rows(&writer).await, writer.turn().await.opened()), (1, 2));
}

#[tokio::test]
async fn a_change_that_panics_leaves_nothing_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let writer = std::sync::Arc::new(open(&folder.path().join("test.db")).await);
    let own = std::sync::Arc::clone(&writer);
    let panics = async move {
        own.change(async |db: &mut SqliteConnection| {
            insert(db, 1, 1).await?;
            let defect = std::hint::black_box(true);
            assert!(!defect, "a defect");
            Ok::<(), sqlx::Error>(())
        })
        .await
    };
    let local = tokio::task::LocalSet::new();
    assert!(local.run_until(async { tokio::task::spawn_local(panics).await }).await.unwrap_err().is_panic());
    writer.change(async |db| insert(db, 2, 1).await).await.unwrap();
    assert_eq!(rows(&writer).await, 1);
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_busy_and_then_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let writer = open(&path).await;
    writer.close().await;
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(std::time::Duration::ZERO);
    let mut other = options.connect().await.unwrap();
    let impatient = Writer::new(options.connect().await.unwrap(), options, &path);
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let busy = impatient.change(async |db| insert(db, 1, 1).await).await.unwrap_err();
    assert!(busy.error().to_string().contains("locked"), "{busy:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    impatient.change(async |db| insert(db, 1, 1).await).await.unwrap();
}
