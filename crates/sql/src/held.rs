//! A SQLite database as it is at one instant, with the files that its rows name, while others write both.
//!
//! The files are written once and never changed, so that a second name (a hard link) keeps each as it is, whatever its owner
//! removes. The names are made while the database is held at that instant, and again from the start where one was gone already.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use valetkey_core::{Error, Kind};

/// How often the files are looked for while they go away. Each look finds what is new since the one before, in milliseconds.
const TRIES: usize = 20;
/// Where the second names are, beside the files: each backup has a directory of its own there, which it has locked.
const LINKS: &str = "backup-links";

/// Which files the rows of a held database name, below the directory of the files; the database is attached as `source`.
type Names = for<'a> fn(
    &'a mut SqliteConnection,
) -> std::pin::Pin<Box<dyn Future<Output = sqlx::Result<Vec<PathBuf>>> + Send + 'a>>;

/// A database and its files, held at one instant. The second names go with it.
pub struct Held {
    connection: SqliteConnection,
    database: PathBuf,
    links: Option<Links>,
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

/// The second names that one backup gave.
struct Links {
    root: PathBuf,
    dir: PathBuf,
    _lock: File,
}

impl Links {
    /// A new directory for them, if there are files at all. What backups left that were killed goes first.
    fn make(root: &Path) -> io::Result<Option<Self>> {
        if !root.exists() {
            return Ok(None);
        }
        let _turn = turn(root)?;
        let all = root.join(LINKS);
        remove_unlocked(&all)?;
        below(root, &all)?;
        let random = RandomState::new().hash_one(std::process::id());
        let dir = all.join(format!("{random:016x}"));
        below(root, &dir)?;
        let lock = File::open(&dir)?;
        lock.lock()?;
        Ok(Some(Self { root: root.to_owned(), dir, _lock: lock }))
    }

    /// Gives each file a second name; `false` if one is not there any more.
    fn add(&self, files: &[PathBuf]) -> Result<bool, Error> {
        let mut all = true;
        for file in files {
            let to = self.dir.join(file);
            if let Some(above) = to.parent() {
                below(&self.root, above).map_err(|error| unlinked(above, error))?;
            }
            match fs::hard_link(self.root.join(file), &to) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => all = false,
                Err(error) => return Err(unlinked(&self.root.join(file), error)),
            }
        }
        Ok(all)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // What stays goes with the next backup, or when the server looks.
        let _ = fs::remove_dir_all(&self.dir);
        let _turn = turn(&self.root);
        let _ = fs::remove_dir(self.root.join(LINKS));
    }
}

/// The turn to make or remove directories of second names.
fn turn(root: &Path) -> io::Result<File> {
    let turn = File::open(root)?;
    turn.lock().map(|()| turn)
}

/// Makes a directory and those above it, each its owner's whose the files are: a backup by `root` leaves nothing that the server cannot remove.
fn below(root: &Path, dir: &Path) -> io::Result<()> {
    if dir == root || dir.exists() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        below(root, above)?;
    }
    DirBuilder::new().mode(0o700).create(dir)?;
    let (owner, own) = (fs::metadata(root)?, fs::metadata(dir)?);
    if (owner.uid(), owner.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    match chown(dir, Some(owner.uid()), Some(owner.gid())) {
        // Nobody else may give something away.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Removes what no backup has locked.
fn remove_unlocked(all: &Path) -> io::Result<()> {
    if !all.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        let lock = File::open(&path)?;
        match lock.try_lock() {
            Ok(()) if path.is_dir() => fs::remove_dir_all(&path)?,
            Ok(()) => fs::remove_file(&path)?,
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the second names of backups that were killed: the files would keep their room on the disk. Blocks.
///
/// # Errors
/// Of the file system.
pub fn remove_left(root: &Path) -> io::Result<()> {
    let all = root.join(LINKS);
    if !all.exists() {
        return Ok(());
    }
    let _turn = turn(root)?;
    remove_unlocked(&all)?;
    // A backup that runs has its own there.
    let _ = fs::remove_dir(&all);
    Ok(())
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
        let links = Links::make(root).map_err(|error| unlinked(&root.join(LINKS), error))?;
        for _ in 0..TRIES {
            pin(&mut connection).await.map_err(&failed)?;
            let files = names(&mut connection).await.map_err(&failed)?;
            if links.as_ref().map_or(Ok(files.is_empty()), |links| links.add(&files))? {
                return Ok(Self { connection, database: database.to_owned(), links, files });
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
        self.links.as_ref().map_or_else(|| file.to_owned(), |links| links.dir.join(file))
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

/// From here on this connection sees the database as it is now.
async fn pin(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    sqlx::query("SELECT count(*) FROM source.sqlite_schema").execute(connection).await.map(drop)
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
