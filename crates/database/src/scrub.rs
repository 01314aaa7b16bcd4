//! Reads every blob and manifest of packages and says which is no longer what was pushed. It changes nothing and needs no server; one
//! that runs is not disturbed: what it removes meanwhile is passed over.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use valetkey_core::nouns::package::Digest;
use valetkey_core::{Error, Kind};

use crate::sql::packages::FileName;
use crate::sql::rows;

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// Something that is no longer what was pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What it is, with its name.
    pub what: String,
    /// The file it lies in; the database, if in none of its own.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What was read of packages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scrubbed {
    /// How many blobs.
    pub blobs: u64,
    /// How many manifests.
    pub manifests: u64,
    /// How many bytes those have.
    pub bytes: u64,
    /// How many of all are damaged.
    pub damaged: u64,
}

struct Scrub<'t> {
    db: SqliteConnection,
    database: &'t Path,
    done: Scrubbed,
    tell: &'t mut (dyn FnMut(&Damage) + Send),
}

fn unread(database: &Path) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let said = format!("{} cannot be read: {error}", database.display());
        Error::new(Kind::Internal, said).caused_by(error)
    }
}

/// Reads the packages beside a database. Each damage is told as it is found. Without a database there are none.
///
/// # Errors
/// `Internal` when the database cannot be read.
pub async fn scrub(database: &Path, tell: &mut (dyn FnMut(&Damage) + Send)) -> Result<Scrubbed, Error> {
    if !database.is_file() {
        return Ok(Scrubbed::default());
    }
    let options = SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging();
    let db = options.connect().await.map_err(unread(database))?;
    let mut scrub = Scrub { db, database, done: Scrubbed::default(), tell };
    scrub.blobs().await?;
    scrub.manifests().await?;
    let Scrub { db, done, .. } = scrub;
    // It was only read.
    drop(db.close().await);
    Ok(done)
}

/// A blob's place among all, its account, digest, and file.
type BlobRow = (i64, String, Vec<u8>, Option<Vec<u8>>);
/// A manifest's place among all, its account, package, digest and bytes.
type ManifestRow = (i64, String, String, Vec<u8>, Vec<u8>);

const BLOB: &str = "SELECT b.rowid, a.name, b.digest, b.file FROM package_blobs b JOIN accounts a ON a.id = b.account \
                    WHERE b.rowid > ? ORDER BY b.rowid LIMIT 1";
const BODY: &str = "SELECT body FROM package_blobs WHERE rowid = ?";
const STILL: &str = "SELECT 1 FROM package_blobs WHERE rowid = ? AND digest = ?";
const MANIFEST: &str = "SELECT m.rowid, a.name, m.package, m.digest, m.body FROM package_manifests m \
                        JOIN accounts a ON a.id = m.account WHERE m.rowid > ? ORDER BY m.rowid LIMIT 1";

impl Scrub<'_> {
    fn damaged(&mut self, what: String, file: PathBuf, why: String) {
        self.done.damaged += 1;
        (self.tell)(&Damage { what, file, why });
    }

    async fn blobs(&mut self) -> Result<(), Error> {
        let mut after = i64::MIN;
        loop {
            let row: Option<BlobRow> =
                sqlx::query_as(BLOB).bind(after).fetch_optional(&mut self.db).await.map_err(unread(self.database))?;
            let Some((row, account, digest, file)) = row else { return Ok(()) };
            after = row;
            self.blob(row, &account, &digest, file).await?;
        }
    }

    async fn blob(&mut self, row: i64, account: &str, kept: &[u8], file: Option<Vec<u8>>) -> Result<(), Error> {
        let digest = Digest::from_bytes(kept.try_into().map_err(|_| rows::damaged("a digest"))?);
        let (path, found) = self.found(row, file).await?;
        let why = match found {
            Ok((found, bytes)) => {
                self.done.bytes += bytes;
                (found != digest).then(|| "its bytes have changed".to_owned())
            }
            Err(error) => Some(format!("it cannot be read: {error}")),
        };
        // It may have been removed meanwhile.
        if why.is_some() {
            let still: Option<i64> = sqlx::query_scalar(STILL)
                .bind(row)
                .bind(kept.to_vec())
                .fetch_optional(&mut self.db)
                .await
                .map_err(unread(self.database))?;
            if still.is_none() {
                return Ok(());
            }
        }
        self.done.blobs += 1;
        if let Some(why) = why {
            self.damaged(format!("the blob {digest} of the account `{account}`"), path, why);
        }
        Ok(())
    }

    /// Where a blob's bytes lie, and what they are: in its file, or in its row, as older versions kept them.
    async fn found(&mut self, row: i64, file: Option<Vec<u8>>) -> Result<(PathBuf, io::Result<(Digest, u64)>), Error> {
        if let Some(name) = file {
            let path = FileName::from_bytes(rows::id(&name)?).below(&self.database.with_file_name("packages"));
            let found = digest_of(&path);
            return Ok((path, found));
        }
        let body: Option<Vec<u8>> =
            sqlx::query_scalar(BODY).bind(row).fetch_optional(&mut self.db).await.map_err(unread(self.database))?;
        let found = body.map(|body| (Digest::of(&body), u64::try_from(body.len()).unwrap_or(u64::MAX)));
        Ok((self.database.to_path_buf(), found.ok_or_else(|| io::ErrorKind::NotFound.into())))
    }

    async fn manifests(&mut self) -> Result<(), Error> {
        let mut after = i64::MIN;
        loop {
            let row: Option<ManifestRow> = sqlx::query_as(MANIFEST)
                .bind(after)
                .fetch_optional(&mut self.db)
                .await
                .map_err(unread(self.database))?;
            let Some((row, account, package, digest, body)) = row else { return Ok(()) };
            after = row;
            self.done.manifests += 1;
            self.done.bytes += u64::try_from(body.len()).unwrap_or(u64::MAX);
            if Digest::of(&body).as_bytes()[..] != digest[..] {
                let digest = Digest::from_bytes(digest[..].try_into().map_err(|_| rows::damaged("a digest"))?);
                let what = format!("the manifest {digest} of the package `{account}/{package}`");
                self.damaged(what, self.database.to_path_buf(), "its bytes have changed".to_owned());
            }
        }
    }
}

/// What a file's bytes are known by, and how many they are.
fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    let (mut file, mut context, mut chunk, mut all) = (File::open(path)?, Context::new(&SHA256), vec![0; CHUNK], 0);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        context.update(chunk.get(..read).unwrap_or_default());
        all += u64::try_from(read).unwrap_or(u64::MAX);
    }
    let digest = <[u8; 32]>::try_from(context.finish().as_ref()).map_err(io::Error::other)?;
    Ok((Digest::from_bytes(digest), all))
}
