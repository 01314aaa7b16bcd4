//! A SQLite database as it is at one instant, with the files that its rows name, while others write both.
//!
//! The files are written once and never changed, so that a second name (a hard link) keeps each as it is, whatever its owner
//! removes. The names are made while the database is held at that instant, and again from the start where one was gone already.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use valetkey_core::{Error, Kind};

/// How often the files are looked for while they go away. Each look finds what is new since the one before, in milliseconds.
const TRIES: usize = 20;
/// Where the second names are, beside the files.
const LINKS: &str = "backup-links";

/// Which files the rows of a held database name, below the directory of the files; the database is attached as `source`.
type Names = for<'a> fn(
    &'a mut SqliteConnection,
) -> std::pin::Pin<Box<dyn Future<Output = sqlx::Result<Vec<PathBuf>>> + Send + 'a>>;

/// A database and its files, held at one instant. The second names go with it.
pub struct Held {
    connection: SqliteConnection,
    database: PathBuf,
    links: PathBuf,
    files: Vec<PathBuf>,
}

fn unread(database: &Path) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let said = format!("{} cannot be copied: {error}", database.display());
        Error::new(Kind::Internal, said).caused_by(error)
    }
}

fn unlinked(path: &Path, error: io::Error) -> Error {
    let said = format!("{} cannot be given a second name, which a backup needs: {error}", path.display());
    Error::new(Kind::Internal, said).caused_by(error)
}

/// Names for whoever removes the directory behind a failure.
struct Links(PathBuf);

impl Drop for Links {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Held {
    /// Holds a database that is there, with the files below `root`. `copy` is where it will be copied to: a new file.
    ///
    /// # Errors
    /// `Internal`, with the name of the file.
    pub async fn take(database: &Path, root: &Path, copy: &Path, names: Names) -> Result<Self, Error> {
        let failed = unread(database);
        // Rows come in the order of their tables: what one refers to may not be there yet.
        let options = SqliteConnectOptions::new().filename(copy).create_if_missing(true).foreign_keys(false);
        let options = options.disable_statement_logging();
        let mut connection = options.connect().await.map_err(&failed)?;
        let path = database.to_str().ok_or_else(|| Error::internal("a path that is not text"))?;
        sqlx::query("ATTACH ? AS source").bind(path).execute(&mut connection).await.map_err(&failed)?;
        let links = Links(root.join(LINKS));
        // Of a backup that was ended from outside.
        let _ = fs::remove_dir_all(&links.0);
        for _ in 0..TRIES {
            pin(&mut connection).await.map_err(&failed)?;
            let files = names(&mut connection).await.map_err(&failed)?;
            if link(root, &links.0, &files)? {
                let (database, root) = (database.to_owned(), links.0.clone());
                std::mem::forget(links);
                return Ok(Self { connection, database, links: root, files });
            }
            sqlx::query("ROLLBACK").execute(&mut connection).await.map_err(&failed)?;
        }
        let said = format!("the files of {} went away faster than they could be held; try again", database.display());
        Err(Error::new(Kind::Unavailable, said))
    }

    /// The files, below the directory that they are in.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where one of them can be read.
    pub fn path(&self, file: &Path) -> PathBuf {
        self.links.join(file)
    }

    /// Asks the database as it is held, attached as `source`.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn ask<T>(&mut self, sql: &'static str) -> Result<Option<T>, Error>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    {
        sqlx::query_as(sql).fetch_optional(&mut self.connection).await.map_err(unread(&self.database))
    }

    /// Copies the database. When this returns, the copy is whole and durable.
    ///
    /// # Errors
    /// `Internal`, with the name of the file.
    pub async fn copy(&mut self) -> Result<(), Error> {
        let failed = unread(&self.database);
        copied(&mut self.connection).await.map_err(failed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.links);
    }
}

/// From here on this connection sees the database as it is now.
async fn pin(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    sqlx::query("SELECT count(*) FROM source.sqlite_schema").execute(connection).await.map(drop)
}

/// Gives each file a second name; `false` if one is not there any more.
fn link(root: &Path, links: &Path, files: &[PathBuf]) -> Result<bool, Error> {
    let mut all = true;
    for file in files {
        let to = links.join(file);
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).map_err(|error| unlinked(above, error))?;
        }
        match fs::hard_link(root.join(file), &to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => all = false,
            Err(error) => return Err(unlinked(&root.join(file), error)),
        }
    }
    Ok(all)
}

/// Tables first, then their rows; what depends on them last, so that no trigger fires.
async fn copied(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let parts: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT type, name, sql FROM source.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY CASE type WHEN 'table' THEN 0 ELSE 1 END, rowid",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (kind, name, sql) in parts {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        if kind == "table" {
            let name = name.replace('"', "\"\"");
            let rows = format!("INSERT INTO main.\"{name}\" SELECT * FROM source.\"{name}\"");
            sqlx::query(AssertSqlSafe(rows)).execute(&mut *connection).await?;
        }
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    connection.ping().await
}
