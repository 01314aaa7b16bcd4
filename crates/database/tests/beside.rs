//! The release before runs beside this one while servers are replaced one after the other: what it says to Postgres is still understood
//! after this one brought the schema up to date. `tests/before` has what it says and the schema that it knows;
//! `tests/postgres/statements` wrote both, at the release.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _};
use valetkey_core::Secret;
use valetkey_database::{Database, Server};

/// Whatever holds a statement of before back: columns, and rules that a row has to obey.
const SCHEMA: &str = include_str!("before/schema.sql");

async fn today() -> (PgConnection, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = support::new_database(folder.path()).await;
    let server = Server::new(&Secret::new(url.clone()), None, 2, folder.path().join("valetkey.db")).unwrap();
    Database::migrate(server).await.unwrap();
    (PgConnection::connect(&url).await.unwrap(), folder)
}

async fn schema(db: &mut PgConnection) -> BTreeSet<String> {
    sqlx::query_scalar(SCHEMA).fetch_all(db).await.unwrap().into_iter().collect()
}

/// Columns by table and name, with what is said of them; and rules by table.
fn read(lines: &BTreeSet<String>) -> (BTreeMap<&str, &str>, BTreeSet<&str>) {
    let (rules, columns): (BTreeSet<&str>, BTreeSet<&str>) = lines
        .iter()
        .map(String::as_str)
        .partition(|line| line.split_once(' ').is_some_and(|(name, _)| name.ends_with(':')));
    (columns.into_iter().filter_map(|line| line.split_once(' ')).collect(), rules)
}

/// What a release that knows the schema of before meets in today's.
fn in_the_way(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    let ((columns, rules), (columns_now, rules_now)) = (read(before), read(now));
    let tables: BTreeSet<&str> = columns.keys().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let kind = |said: &str| said.replace(" or usual", "").replace(" needed", "");
    let free = |said: &str| !said.contains(" needed") || said.contains(" or usual");
    let mut found = Vec::new();
    for (name, said) in &columns {
        match columns_now.get(name) {
            None => found.push(format!("{name} is gone")),
            Some(today) if kind(today) != kind(said) => found.push(format!("{name} was {said} and is {today}")),
            Some(today) if today.contains(" needed") && !said.contains(" needed") || free(said) && !free(today) => {
                found.push(format!("{name} has to be given now"));
            }
            Some(_) => {}
        }
    }
    for (name, today) in &columns_now {
        let known = name.split_once('.').is_some_and(|(table, _)| tables.contains(table));
        if known && !columns.contains_key(name) && !free(today) {
            found.push(format!("{name} is new and has to be given: give it a default"));
        }
    }
    for rule in rules_now.difference(&rules) {
        if rule.split_once(':').is_some_and(|(table, _)| tables.contains(table)) {
            found.push(format!("a new rule: {rule}"));
        }
    }
    found
}

/// The statements that today's schema does not take.
async fn refused(db: &mut PgConnection, statements: &str) -> Vec<String> {
    let mut found = Vec::new();
    for sql in statements.lines().filter(|line| !line.is_empty()) {
        let prepared = db.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map(drop);
        let Err(error) = prepared else { continue };
        // Which types its values have is said with the statement, and not known here: that columns have theirs is looked at above.
        let of_types = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        if !of_types.is_some_and(|code| ["42P18", "42804", "42883", "42P08", "22P02"].contains(&&*code)) {
            found.push(format!("{sql}\n    {error}"));
        }
    }
    found
}

fn before(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/before").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn postgres_takes_what_the_release_before_says() {
    let (mut db, _folder) = today().await;
    let (known, statements) = (before("schema.txt"), before("statements.sql"));
    assert!(statements.lines().count() > 150, "few statements were recorded");
    let known = known.lines().map(str::to_owned).collect();
    assert_eq!(in_the_way(&known, &schema(&mut db).await), Vec::<String>::new());
    assert_eq!(refused(&mut db, &statements).await, Vec::<String>::new());
}

#[tokio::test]
async fn postgres_would_not_if_the_schema_changed_otherwise() {
    let (mut db, _folder) = today().await;
    let statements = before("statements.sql");
    let known = schema(&mut db).await;
    for (change, said) in [
        ("ALTER TABLE tokens ADD COLUMN more BIGINT", None),
        ("ALTER TABLE tokens ADD COLUMN even_more BIGINT NOT NULL DEFAULT 0", None),
        ("CREATE TABLE more (id BIGINT PRIMARY KEY, name TEXT NOT NULL)", None),
        ("CREATE INDEX more_tokens ON tokens (more)", None),
        ("ALTER TABLE tokens ADD COLUMN most BIGINT NOT NULL", Some("tokens.most is new")),
        ("CREATE UNIQUE INDEX once ON tokens (more, even_more)", Some("a new rule: tokens: UNIQUE")),
        ("ALTER TABLE nodes ADD CHECK (head < 100)", Some("a new rule: nodes: CHECK")),
        ("ALTER TABLE nodes ALTER COLUMN head TYPE INT", Some("nodes.head was bigint needed")),
        ("ALTER TABLE changes RENAME COLUMN touched TO touches", Some("changes.touched is gone")),
        ("DROP TABLE package_uploads", Some("package_uploads.key is gone")),
    ] {
        let was = in_the_way(&known, &schema(&mut db).await);
        db.execute(AssertSqlSafe(change)).await.unwrap();
        let found: Vec<String> =
            in_the_way(&known, &schema(&mut db).await).into_iter().filter(|one| !was.contains(one)).collect();
        match said {
            None => assert_eq!(found, Vec::<String>::new(), "{change}"),
            Some(said) => assert!(found.iter().any(|one| one.contains(said)), "{change}: {found:?}"),
        }
    }
    let found = refused(&mut db, &statements).await.join("\n");
    for said in ["column \"touched\"", "relation \"package_uploads\" does not exist"] {
        assert!(found.contains(said), "{said}: {found}");
    }
}
