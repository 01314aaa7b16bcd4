//! A database and its files are held as they are at one instant.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};
use valetkey_sql::Held;

const SCHEMA: &str = "CREATE TABLE names (name TEXT PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID;
    CREATE TABLE counted (one INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;
    INSERT INTO counted VALUES (1, 0);
    CREATE TABLE early (name TEXT NOT NULL REFERENCES late (name)) STRICT;
    CREATE TABLE late (name TEXT PRIMARY KEY) STRICT;
    INSERT INTO late VALUES ('x');
    INSERT INTO early VALUES ('x');
    CREATE VIEW all_names AS SELECT name FROM names;
    CREATE INDEX by_body ON names (body);
    CREATE TRIGGER counts AFTER INSERT ON names BEGIN UPDATE counted SET n = n + 1; END;";

async fn source(dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.join("a.db")).create_if_missing(true);
    let mut connection = options.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap();
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
    connection
}

async fn add(db: &mut SqliteConnection, dir: &Path, name: &str) {
    fs::create_dir_all(dir.join("files")).unwrap();
    fs::write(dir.join("files").join(name), name).unwrap();
    sqlx::query("INSERT INTO names VALUES (?, zeroblob(5000))").bind(name).execute(db).await.unwrap();
}

async fn remove(db: &mut SqliteConnection, dir: &Path, name: &str) {
    sqlx::query("DELETE FROM names WHERE name = ?").bind(name).execute(db).await.unwrap();
    fs::remove_file(dir.join("files").join(name)).unwrap();
}

async fn hold(dir: &Path) -> Result<Held, valetkey_core::Error> {
    Held::take(&dir.join("a.db"), &dir.join("files"), &dir.join("copy.db"), |db| {
        Box::pin(async move {
            let names = sqlx::query_scalar::<_, String>("SELECT name FROM source.names").fetch_all(db).await?;
            Ok(names.into_iter().map(PathBuf::from).collect())
        })
    })
    .await
}

#[tokio::test]
async fn what_is_changed_meanwhile_is_in_none_of_the_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let mut db = source(dir).await;
    for name in ["one", "two"] {
        add(&mut db, dir, name).await;
    }
    let mut held = hold(dir).await.unwrap();
    remove(&mut db, dir, "one").await;
    add(&mut db, dir, "three").await;
    held.copy().await.unwrap();
    assert_eq!(held.files(), [Path::new("one"), Path::new("two")]);
    assert_eq!(fs::read_to_string(held.path(Path::new("one"))).unwrap(), "one", "it is gone, and held");
    drop(held);
    assert_eq!(fs::read_dir(dir.join("files")).unwrap().count(), 2, "the second names go with it");
    let mut copy = SqliteConnectOptions::new().filename(dir.join("copy.db")).connect().await.unwrap();
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM all_names").fetch_all(&mut copy).await.unwrap();
    assert_eq!(names, ["one", "two"]);
    let counted: i64 = sqlx::query_scalar("SELECT n FROM counted").fetch_one(&mut copy).await.unwrap();
    assert_eq!(counted, 2, "no trigger fires while it is copied");
    add(&mut copy, dir, "four").await;
    let counted: i64 = sqlx::query_scalar("SELECT n FROM counted").fetch_one(&mut copy).await.unwrap();
    assert_eq!(counted, 3, "and it fires afterwards");
    let schema = "SELECT group_concat(sql) FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)";
    let was: String = sqlx::query_scalar(schema).fetch_one(&mut db).await.unwrap();
    let is: String = sqlx::query_scalar(schema).fetch_one(&mut copy).await.unwrap();
    assert_eq!(was, is);
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut copy).await.unwrap();
    assert_eq!(sound, "ok");
    copy.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_its_row_lost_is_told_and_nothing_stays_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let mut db = source(dir).await;
    add(&mut db, dir, "one").await;
    fs::remove_file(dir.join("files/one")).unwrap();
    let error = hold(dir).await.err().unwrap();
    assert!(error.to_string().contains("went away"), "{error}");
    assert!(!dir.join("files/backup-links").exists());
}

fn links(dir: &Path) -> usize {
    fs::read_dir(dir.join("files/backup-links")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn two_backups_at_a_time_do_not_take_each_others_files_and_what_a_killed_one_left_goes() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let mut db = source(dir).await;
    add(&mut db, dir, "one").await;
    // Of a backup that was killed, and of an older version: the files themselves are below.
    for left in ["0011223344556677", "ab"] {
        fs::create_dir_all(dir.join("files/backup-links").join(left)).unwrap();
        fs::hard_link(dir.join("files/one"), dir.join("files/backup-links").join(left).join("one")).unwrap();
    }
    fs::hard_link(dir.join("files/one"), dir.join("files/backup-links/flat")).unwrap();
    let first = hold(dir).await.unwrap();
    assert_eq!(links(dir), 1, "what nobody has locked is gone");
    remove(&mut db, dir, "one").await;
    fs::remove_file(dir.join("copy.db")).unwrap();
    let second = hold(dir).await.unwrap();
    assert!(second.files().is_empty() && links(dir) == 2);
    valetkey_sql::remove_left(&dir.join("files")).unwrap();
    assert_eq!((fs::read_to_string(first.path(Path::new("one"))).unwrap(), links(dir)), ("one".to_owned(), 2));
    drop(second);
    assert_eq!(links(dir), 1);
    drop(first);
    assert!(!dir.join("files/backup-links").exists());
    fs::create_dir_all(dir.join("files/backup-links/0011223344556677/deep")).unwrap();
    valetkey_sql::remove_left(&dir.join("files")).unwrap();
    assert!(!dir.join("files/backup-links").exists());
    valetkey_sql::remove_left(&dir.join("nothing")).unwrap();
}
