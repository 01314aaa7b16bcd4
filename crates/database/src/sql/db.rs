//! A connection to either database, and how it is asked: statements are written once, in the SQL that both understand.
//!
//! Placeholders are `?`, or `?1` where one is used twice, as SQLite has them; Postgres is given `$1`. What the two do not have in
//! common is chosen with [`Db::is_postgres`], where it stands.

use std::borrow::Cow;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Database, Postgres, Row as _, Sqlite, Transaction, TypeInfo as _,
};

use crate::sql::chain::Chain;
use crate::sql::seat::{Seat, heard};

/// One connection.
pub(crate) struct Db {
    pub(super) link: Link,
    /// Whose it is, where there are several nodes.
    pub(super) seat: Option<Seat>,
    /// When it was opened, by the seat's time.
    opened_ms: u64,
    /// Rows that were changed with it so far.
    changed: u64,
}

pub(super) enum Link {
    Sqlite(Held<Sqlite>),
    Postgres(Held<Postgres>),
}

/// How a connection is held.
pub(super) enum Held<D: Database> {
    Own(D::Connection),
    Pooled(PoolConnection<D>),
    View(Transaction<'static, D>),
}

impl<D: Database> Held<D> {
    pub(super) fn get(&mut self) -> &mut D::Connection {
        match self {
            Self::Own(own) => own,
            Self::Pooled(pooled) => pooled,
            Self::View(view) => view,
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_postgres() { "Db(Postgres)" } else { "Db(SQLite)" })
    }
}

impl Db {
    pub(super) fn new(link: Link) -> Self {
        Self { link, changed: 0, seat: None, opened_ms: 0 }
    }

    /// Makes it one of a node.
    pub(super) fn with_seat(self, seat: Seat) -> Self {
        self.of(Some(seat))
    }

    /// The same, where there are nodes.
    pub(super) fn of(self, seat: Option<Seat>) -> Self {
        let opened_ms = seat.as_ref().map_or(0, Seat::now_ms);
        Self { seat, opened_ms, ..self }
    }

    /// Whether it may be one that nobody answers any more.
    pub(super) fn is_stale(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.is_stale(self.opened_ms))
    }

    /// The chain that it writes.
    pub(crate) fn chain(&self) -> Chain {
        self.seat.as_ref().map(Seat::chain).unwrap_or_default()
    }

    /// The name of the node whose connection it is; of one that only reads, none.
    pub(crate) fn holder(&self) -> Vec<u8> {
        self.seat.as_ref().map(Seat::holder).unwrap_or_default()
    }

    /// Whether this is Postgres: where its SQL is another.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    /// SQLite's connection, for what only it has.
    pub(crate) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match &mut self.link {
            Link::Sqlite(held) => Some(held.get()),
            Link::Postgres(_) => None,
        }
    }

    /// How many rows were changed with it so far.
    pub(crate) fn changed_rows(&self) -> u64 {
        self.changed
    }

    /// Ends a view.
    pub(crate) async fn end_view(self) -> Result<(), sqlx::Error> {
        match self.link {
            Link::Sqlite(Held::View(view)) => view.commit().await,
            Link::Postgres(Held::View(view)) => heard(self.seat.as_ref(), view.commit()).await,
            Link::Sqlite(_) | Link::Postgres(_) => Ok(()),
        }
    }
}

/// A value that is bound. INVARIANT: it has no `Debug`: some of them are sealed secrets and digests.
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<Cow<'static, str>>),
    Bytes(Option<Vec<u8>>),
}

impl Value {
    /// Its bytes, about.
    fn size(&self) -> usize {
        match self {
            Self::Int(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len()),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }
}

macro_rules! values {
    ($($from:ty => $variant:ident($make:expr);)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant($make(value))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.and_then($make))
            }
        }
    )*};
}

values! {
    i64 => Int(Some);
    &'static str => Text(|text| Some(Cow::Borrowed(text)));
    String => Text(|text| Some(Cow::Owned(text)));
    Vec<u8> => Bytes(Some);
}

impl From<Option<[u8; 16]>> for Value {
    fn from(id: Option<[u8; 16]>) -> Self {
        Self::Bytes(id.map(|id| id.to_vec()))
    }
}

impl From<[u8; 16]> for Value {
    fn from(id: [u8; 16]) -> Self {
        Self::Bytes(Some(id.to_vec()))
    }
}

/// A statement and what is bound to it.
#[must_use]
pub(crate) struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// A statement. What is not a constant may be made of constants alone: values are bound.
pub(crate) fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
}

/// What a statement changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done(u64);

impl Done {
    pub(crate) const fn rows_affected(self) -> u64 {
        self.0
    }
}

/// A row that was found.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Every column of a table's row, as it can be bound again.
    pub(crate) fn values(&self) -> Result<Vec<Value>, sqlx::Error> {
        macro_rules! values {
            ($row:ident, $number:literal, $text:literal, $bytes:literal) => {
                (0..$row.len())
                    .map(|at| match $row.try_column(at)?.type_info().name() {
                        $number => Ok($row.try_get::<Option<i64>, _>(at)?.into()),
                        $text => Ok($row.try_get::<Option<String>, _>(at)?.into()),
                        $bytes => Ok($row.try_get::<Option<Vec<u8>>, _>(at)?.into()),
                        other => Err(sqlx::Error::Decode(format!("a column of type {other}").into())),
                    })
                    .collect()
            };
        }
        match self {
            Self::Sqlite(row) => values!(row, "INTEGER", "TEXT", "BLOB"),
            Self::Postgres(row) => values!(row, "INT8", "TEXT", "BYTEA"),
        }
    }

    /// A column, by its number or its name.
    pub(crate) fn try_get<T: Column>(&self, at: impl At) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => T::of_sqlite(row, at.number(|name| row.try_column(name).map(sqlx::Column::ordinal))?),
            Self::Postgres(row) => {
                T::of_postgres(row, at.number(|name| row.try_column(name).map(sqlx::Column::ordinal))?)
            }
        }
    }
}

/// Where a column is: a number or a name.
pub(crate) trait At {
    fn number(self, find: impl Fn(&'static str) -> Result<usize, sqlx::Error>) -> Result<usize, sqlx::Error>;
}

impl At for usize {
    fn number(self, _: impl Fn(&'static str) -> Result<usize, sqlx::Error>) -> Result<usize, sqlx::Error> {
        Ok(self)
    }
}

impl At for &'static str {
    fn number(self, find: impl Fn(&'static str) -> Result<usize, sqlx::Error>) -> Result<usize, sqlx::Error> {
        find(self)
    }
}

/// What a column is read as.
pub(crate) trait Column: Sized {
    fn of_sqlite(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error>;
    fn of_postgres(row: &PgRow, at: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! columns {
    ($($kind:ty)*) => {$(
        impl Column for $kind {
            fn of_sqlite(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error> {
                row.try_get(at)
            }
            fn of_postgres(row: &PgRow, at: usize) -> Result<Self, sqlx::Error> {
                row.try_get(at)
            }
        }
    )*};
}

columns!(String Option<String> Vec<u8> Option<Vec<u8>>);

impl Column for Option<i64> {
    fn of_sqlite(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error> {
        row.try_get(at)
    }

    /// A number that a statement has itself, and what it compares, is not as wide as a column of a table.
    fn of_postgres(row: &PgRow, at: usize) -> Result<Self, sqlx::Error> {
        match row.try_column(at)?.type_info().name() {
            "INT4" => Ok(row.try_get::<Option<i32>, _>(at)?.map(i64::from)),
            "BOOL" => Ok(row.try_get::<Option<bool>, _>(at)?.map(i64::from)),
            _ => row.try_get(at),
        }
    }
}

impl Column for i64 {
    fn of_sqlite(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error> {
        row.try_get(at)
    }

    fn of_postgres(row: &PgRow, at: usize) -> Result<Self, sqlx::Error> {
        Option::<Self>::of_postgres(row, at)?.ok_or_else(|| sqlx::Error::ColumnDecode {
            index: at.to_string(),
            source: sqlx::error::BoxDynError::from("the column is null"),
        })
    }
}

/// What a row is read as: its columns, one after the other.
pub(crate) trait FromRow: Sized {
    fn of(row: &Row) -> Result<Self, sqlx::Error>;
}

macro_rules! rows {
    ($($name:ident $at:literal)*) => {
        impl<$($name: Column),*> FromRow for ($($name,)*) {
            fn of(row: &Row) -> Result<Self, sqlx::Error> {
                Ok(($(row.try_get::<$name>($at)?,)*))
            }
        }
    };
}

rows!(A 0usize B 1usize);
rows!(A 0usize B 1usize C 2usize);
rows!(A 0usize B 1usize C 2usize D 3usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize L 11usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize L 11usize M 12usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize L 11usize M 12usize N 13usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize L 11usize M 12usize N 13usize O 14usize);
rows!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize L 11usize M 12usize N 13usize O 14usize P 15usize);

/// A statement whose rows are read as something.
#[must_use]
pub(crate) struct Rows<T> {
    query: Query,
    read: fn(&Row) -> Result<T, sqlx::Error>,
}

/// A statement whose rows are read as tuples.
pub(crate) fn query_as<T: FromRow>(sql: impl Into<Cow<'static, str>>) -> Rows<T> {
    Rows { query: query(sql), read: T::of }
}

/// A statement whose rows have one column.
pub(crate) fn query_scalar<T: Column>(sql: impl Into<Cow<'static, str>>) -> Rows<T> {
    Rows { query: query(sql), read: |row| row.try_get(0) }
}

/// The statement as Postgres takes it.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let (mut next, mut quoted) = (1_usize, false);
    let mut chars = sql.chars().peekable();
    while let Some(char) = chars.next() {
        quoted ^= char == '\'';
        if char != '?' || quoted {
            out.push(char);
            continue;
        }
        out.push('$');
        if !chars.peek().is_some_and(char::is_ascii_digit) {
            out.push_str(&next.to_string());
            next += 1;
        }
    }
    out
}

type Bound<A> = Result<A, sqlx::Error>;

fn for_sqlite(values: Vec<Value>) -> Bound<SqliteArguments> {
    let mut bound = SqliteArguments::default();
    for value in values {
        match value {
            Value::Int(value) => bound.add(value),
            Value::Text(Some(Cow::Borrowed(text))) => bound.add(text),
            Value::Text(text) => bound.add(text.map(Cow::into_owned)),
            Value::Bytes(bytes) => bound.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}

fn for_postgres(values: Vec<Value>) -> Bound<PgArguments> {
    let mut bound = PgArguments::default();
    for value in values {
        match value {
            Value::Int(value) => bound.add(value),
            Value::Text(text) => bound.add(text.as_deref()),
            Value::Bytes(bytes) => bound.add(bytes.as_deref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}

impl Query {
    /// Binds the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs the statement.
    pub(crate) async fn execute(self, db: &mut Db) -> Result<Done, sqlx::Error> {
        let Self { sql, values } = self;
        let changes = changes(&sql);
        let Db { link, seat, .. } = &mut *db;
        let rows = match link {
            Link::Sqlite(held) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(values)?);
                query.execute(held.get()).await?.rows_affected()
            }
            Link::Postgres(held) => {
                let query = sqlx::query_with(AssertSqlSafe(numbered(&sql)), for_postgres(values)?);
                heard(seat.as_ref(), query.execute(held.get())).await?.rows_affected()
            }
        };
        if changes {
            db.changed += rows;
        }
        Ok(Done(rows))
    }

    /// Reads whole rows, some at a time: until there are so many values of them, or bytes.
    pub(crate) async fn in_batches(
        self,
        db: &mut Db,
        (values, bytes): (usize, usize),
        mut each: impl AsyncFnMut(Vec<Vec<Value>>) -> Result<(), sqlx::Error>,
    ) -> Result<(), sqlx::Error> {
        use futures::{StreamExt as _, TryStreamExt as _};
        let Self { sql, values: bound } = self;
        let Db { link, seat, .. } = db;
        let mut rows = match link {
            Link::Sqlite(held) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(bound)?);
                query.fetch(held.get()).map_ok(Row::Sqlite).boxed()
            }
            Link::Postgres(held) => {
                let query = sqlx::query_with(AssertSqlSafe(numbered(&sql)), for_postgres(bound)?);
                query.fetch(held.get()).map_ok(Row::Postgres).boxed()
            }
        };
        let (mut batch, mut size) = (Vec::new(), 0);
        while let Some(row) = heard(seat.as_ref(), rows.try_next()).await? {
            let row = row.values()?;
            size += row.iter().map(Value::size).sum::<usize>();
            let wide = row.len().max(1);
            batch.push(row);
            if size >= bytes || (batch.len() + 1) * wide > values {
                each(std::mem::take(&mut batch)).await?;
                size = 0;
            }
        }
        if batch.is_empty() { Ok(()) } else { each(batch).await }
    }

    /// The rows that it finds.
    pub(crate) async fn fetch_all(self, db: &mut Db) -> Result<Vec<Row>, sqlx::Error> {
        let Self { sql, values } = self;
        let changes = changes(&sql);
        let Db { link, seat, .. } = &mut *db;
        let rows: Vec<Row> = match link {
            Link::Sqlite(held) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(values)?);
                query.fetch_all(held.get()).await?.into_iter().map(Row::Sqlite).collect()
            }
            Link::Postgres(held) => {
                let query = sqlx::query_with(AssertSqlSafe(numbered(&sql)), for_postgres(values)?);
                heard(seat.as_ref(), query.fetch_all(held.get())).await?.into_iter().map(Row::Postgres).collect()
            }
        };
        if changes {
            db.changed += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        }
        Ok(rows)
    }

    /// The first row that it finds, if it finds one.
    pub(crate) async fn fetch_optional(self, db: &mut Db) -> Result<Option<Row>, sqlx::Error> {
        let Self { sql, values } = self;
        let changes = changes(&sql);
        let Db { link, seat, .. } = &mut *db;
        let row = match link {
            Link::Sqlite(held) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(values)?);
                query.fetch_optional(held.get()).await?.map(Row::Sqlite)
            }
            Link::Postgres(held) => {
                let query = sqlx::query_with(AssertSqlSafe(numbered(&sql)), for_postgres(values)?);
                heard(seat.as_ref(), query.fetch_optional(held.get())).await?.map(Row::Postgres)
            }
        };
        if changes && row.is_some() {
            db.changed += 1;
        }
        Ok(row)
    }
}

/// Whether a statement that finds rows changes them, too.
fn changes(sql: &str) -> bool {
    !sql.trim_start().starts_with("SELECT")
}

impl<T> Rows<T> {
    /// Binds the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.query.values.push(value.into());
        self
    }

    /// What it finds.
    pub(crate) async fn fetch_all(self, db: &mut Db) -> Result<Vec<T>, sqlx::Error> {
        self.query.fetch_all(db).await?.iter().map(self.read).collect()
    }

    /// The first that it finds, if it finds one.
    pub(crate) async fn fetch_optional(self, db: &mut Db) -> Result<Option<T>, sqlx::Error> {
        self.query.fetch_optional(db).await?.as_ref().map(self.read).transpose()
    }

    /// The one that it finds.
    pub(crate) async fn fetch_one(self, db: &mut Db) -> Result<T, sqlx::Error> {
        self.fetch_optional(db).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads one after the other: there may be more than memory holds.
    pub(crate) async fn for_each(self, db: &mut Db, mut each: impl FnMut(T)) -> Result<(), sqlx::Error> {
        use futures::TryStreamExt as _;
        let Query { sql, values } = self.query;
        let Db { link, seat, .. } = db;
        match link {
            Link::Sqlite(held) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), for_sqlite(values)?);
                let mut rows = query.fetch(held.get());
                while let Some(row) = rows.try_next().await? {
                    each((self.read)(&Row::Sqlite(row))?);
                }
            }
            Link::Postgres(held) => {
                let query = sqlx::query_with(AssertSqlSafe(numbered(&sql)), for_postgres(values)?);
                let mut rows = query.fetch(held.get());
                while let Some(row) = heard(seat.as_ref(), rows.try_next()).await? {
                    each((self.read)(&Row::Postgres(row))?);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_as_postgres_has_them() {
        for (sql, numbers) in [
            ("SELECT a FROM t WHERE b = ? AND c >= ?", "SELECT a FROM t WHERE b = $1 AND c >= $2"),
            (
                "UPDATE t SET a = ?2 WHERE b = ?1 OR ?1 IS NULL OR c = ?10",
                "UPDATE t SET a = $2 WHERE b = $1 OR $1 IS NULL OR c = $10",
            ),
            ("SELECT '?' WHERE a = ?", "SELECT '?' WHERE a = $1"),
        ] {
            assert_eq!(numbered(sql), numbers);
        }
    }
}
