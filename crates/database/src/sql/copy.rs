//! Every row of one database put into another that is empty: tables in an order in which none comes before one that it refers to.

use aws_lc_rs::digest::{Context, SHA256};
use valetkey_core::{Error, Kind};
use valetkey_sql::Connection as _;

use crate::sql::db::{Db, Value, query, query_as, query_scalar};
use crate::sql::{failed, nodes};

/// What is copied. A test holds it against both schemas. What a server of Postgres has for its nodes alone begins anew.
pub(crate) const TABLES: &[&str] = &[
    "accounts",
    "credits",
    "credit_grants",
    "callers",
    "tokens",
    "storages",
    "buckets",
    "datasets",
    "identity_providers",
    "trust_rules",
    "identity_sessions",
    "identity_cutoffs",
    "caller_groups",
    "group_members",
    "grants",
    "request_rules",
    "access_requests",
    "ledger_pages",
    "ledger_folded",
    "ledger_swept",
    "ledger_covered",
    "scopes",
    "leases",
    "issued",
    "revocations",
    "requests",
    "refusals",
    "traffic",
    "lease_uses",
    "parents",
    "workspaces",
    "projects",
    "package_blobs",
    "package_manifests",
    "package_tags",
    "package_uploads",
    "shares",
    "shared_tables",
    "share_recipients",
    "share_grants",
    "share_links",
    "holdings",
    "holding_limits",
    "ring_keys",
    "signing_keys",
    "pooled_credentials",
    "audit_destinations",
    "policy_sets",
    "managed",
];
/// What a new database has rows of, and one that is in use has others.
const SEEDED: &[&str] = &["ledger_folded", "ledger_covered", "holding_limits"];

/// Values in a statement, and bytes of them: far below the 32,766 that SQLite takes at most, and what memory holds several times.
const VALUES: usize = 8_192;
const BYTES: usize = 4 << 20;

/// The rows of a table, in any order: what of a copy has to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Sum {
    rows: u64,
    digests: u128,
}

impl Sum {
    fn add(&mut self, row: &[Value]) {
        let mut context = Context::new(&SHA256);
        for value in row {
            let (kind, bytes) = match value {
                Value::Int(number) => (b'i', number.map(|number| number.to_be_bytes().to_vec())),
                Value::Text(text) => (b't', text.as_ref().map(|text| text.as_bytes().to_vec())),
                Value::Bytes(bytes) => (b'b', bytes.clone()),
            };
            context.update(&[kind, u8::from(bytes.is_some())]);
            let bytes = bytes.unwrap_or_default();
            context.update(&bytes.len().to_be_bytes());
            context.update(&bytes);
        }
        let digest = context.finish();
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        self.rows += 1;
        self.digests = self.digests.wrapping_add(u128::from_be_bytes(first));
    }
}

/// Has a database to itself, as long as this connection lives, and lets its statements take as long as they need.
pub(crate) async fn alone(db: &mut Db) -> Result<(), Error> {
    if !db.is_postgres() {
        return Ok(());
    }
    for setting in ["SET statement_timeout = 0", "SET idle_in_transaction_session_timeout = 0"] {
        query(setting).execute(&mut *db).await.map_err(failed)?;
    }
    for (chain, _) in nodes::chains(db).await? {
        if !nodes::hold_chain(db, chain).await? {
            return Err(Error::new(Kind::Invalid, "a server is running on it; stop every one of them first"));
        }
    }
    nodes::keep_all(db).await
}

/// Refuses a database that something is in.
pub(crate) async fn empty(db: &mut Db) -> Result<(), Error> {
    for table in TABLES.iter().filter(|table| !SEEDED.contains(table)) {
        let found: Option<i64> =
            query_scalar(format!("SELECT 1 FROM {table} LIMIT 1")).fetch_optional(&mut *db).await.map_err(failed)?;
        if found.is_some() {
            let said = format!("it is not empty: `{table}` has rows; name a new one");
            return Err(Error::new(Kind::Invalid, said));
        }
    }
    Ok(())
}

/// Begins to read: what is seen stays as it is.
pub(crate) async fn begin_reading(db: &mut Db) -> Result<(), Error> {
    let begin = if db.is_postgres() { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
    query(begin).execute(db).await.map(drop).map_err(failed)
}

/// Copies every table, and reads each again. Says how many rows each has.
pub(crate) async fn all(from: &mut Db, to: &mut Db) -> Result<Vec<(&'static str, u64)>, Error> {
    to.begin().await.map_err(failed)?;
    let triggers = without_triggers(to).await?;
    let mut done = Vec::new();
    for table in TABLES.iter().copied() {
        done.push((table, one(from, to, table).await?));
    }
    if to.is_postgres() {
        query("DELETE FROM nodes").execute(&mut *to).await.map_err(failed)?;
        if from.is_postgres() {
            one(from, to, "nodes").await?;
        } else {
            // So that each chain is known to go on at least so far.
            query(
                "INSERT INTO nodes (chain, name, seen_ms, head, holder)
                 SELECT f.one, '', 0, coalesce((SELECT max(p.seq) FROM ledger_pages p
                     WHERE p.seq > ((f.one - 1) << 40) AND p.seq <= (f.one << 40)), 0), ? FROM ledger_folded f",
            )
            .bind(Vec::new())
            .execute(&mut *to)
            .await
            .map_err(failed)?;
        }
    }
    for trigger in triggers {
        query(trigger).execute(&mut *to).await.map_err(failed)?;
    }
    Ok(done)
}

/// Rows are put in as they are: nothing is counted a second time. Says what has them counted again.
async fn without_triggers(db: &mut Db) -> Result<Vec<String>, Error> {
    let mut again = Vec::new();
    if db.is_postgres() {
        for table in TABLES {
            query(format!("ALTER TABLE {table} DISABLE TRIGGER USER")).execute(&mut *db).await.map_err(failed)?;
            again.push(format!("ALTER TABLE {table} ENABLE TRIGGER USER"));
        }
    } else {
        let found: Vec<(String, String)> = query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut *db)
            .await
            .map_err(failed)?;
        for (name, sql) in found {
            query(format!("DROP TRIGGER {name}")).execute(&mut *db).await.map_err(failed)?;
            again.push(sql);
        }
    }
    Ok(again)
}

/// The columns of a table.
pub(crate) async fn columns(db: &mut Db, table: &str) -> Result<Vec<String>, Error> {
    let sql = if db.is_postgres() {
        "SELECT CAST(attname AS TEXT) FROM pg_attribute WHERE attrelid = CAST(? AS regclass) AND attnum > 0 AND NOT attisdropped"
    } else {
        "SELECT name FROM pragma_table_info(?)"
    };
    let mut found: Vec<String> = query_scalar(sql).bind(table.to_owned()).fetch_all(db).await.map_err(failed)?;
    // The change that a revocation was made with is one of the nodes of its database.
    found.retain(|column| (table, column.as_str()) != ("revocations", "change"));
    found.sort();
    Ok(found)
}

async fn one(from: &mut Db, to: &mut Db, table: &'static str) -> Result<u64, Error> {
    let columns = columns(from, table).await?;
    if columns != self::columns(to, table).await? {
        let said = format!("the table `{table}` has other columns in the other database");
        return Err(Error::new(Kind::Internal, said));
    }
    if SEEDED.contains(&table) {
        query(format!("DELETE FROM {table}")).execute(&mut *to).await.map_err(failed)?;
    }
    let named = columns.join(", ");
    let select = format!("SELECT {named} FROM {table}");
    let (mut read, mut kept) = (Sum::default(), Sum::default());
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let put = async |rows: Vec<Vec<Value>>| {
        for row in &rows {
            read.add(row);
        }
        let mut insert = query(format!("INSERT INTO {table} ({named}) VALUES {}", vec![&*row; rows.len()].join(", ")));
        for value in rows.into_iter().flatten() {
            insert = insert.bind(value);
        }
        insert.execute(&mut *to).await.map(drop)
    };
    query(select.clone()).in_batches(from, (VALUES, BYTES), put).await.map_err(failed)?;
    let look = async |rows: Vec<Vec<Value>>| {
        for row in &rows {
            kept.add(row);
        }
        Ok(())
    };
    query(select).in_batches(to, (VALUES, BYTES), look).await.map_err(failed)?;
    if read != kept {
        let Sum { rows, .. } = read;
        let said = format!("`{table}` has {rows} rows, and the copy has {}, or others: nothing was kept", kept.rows);
        return Err(Error::new(Kind::Internal, said));
    }
    Ok(read.rows)
}
