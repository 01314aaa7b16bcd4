//! Reads everything that a data directory holds and says what is no longer what was written. It changes nothing and needs no
//! server; one that runs is not disturbed: what it replaces or removes meanwhile is passed over.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use valetkey_core::{Error, Kind};

use crate::objects::checksum::{Algorithm, Kind as SumKind};
use crate::objects::files::{FileId, Segment, path_below};
use crate::objects::proof::Proof;
use crate::objects::reading::ROTTEN;
use crate::objects::record::{Data, Headers, Record};
use crate::objects::{read_record, shown};

/// Rows of the index that are read at once.
const PAGE: i64 = 64;
/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// Something that is no longer what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What it is, with its name.
    pub what: String,
    /// The file it lies in; the index, if in none of its own.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scrubbed {
    /// How many objects.
    pub objects: u64,
    /// How many parts of uploads that are not complete.
    pub parts: u64,
    /// How many bytes those have.
    pub bytes: u64,
    /// How many of all are damaged.
    pub damaged: u64,
    /// How many could not be proven: nothing was kept to hold them against.
    pub unproven: u64,
}

/// The index of a data directory and its files.
struct Scrub<'t> {
    index: SqliteConnection,
    index_file: PathBuf,
    files: Arc<Path>,
    done: Scrubbed,
    tell: &'t mut (dyn FnMut(&Damage) + Send),
}

/// How a look at some bytes ended.
enum Look {
    Sound,
    Unproven,
    Damaged(PathBuf, String),
}

fn unread(file: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    Error::new(Kind::Internal, format!("{} cannot be read: {error}", file.display())).caused_by(error)
}

/// Reads all of a data directory of an endpoint. Each damage is told as it is found.
///
/// # Errors
/// `Invalid` when there is no index, `Internal` when it cannot be read.
pub async fn scrub(data_dir: &Path, tell: &mut (dyn FnMut(&Damage) + Send)) -> Result<Scrubbed, Error> {
    let index_file = data_dir.join("index.sqlite");
    if !index_file.is_file() {
        let said = format!("there is no {}: no objects were ever stored there", index_file.display());
        return Err(Error::new(Kind::Invalid, said));
    }
    let options = SqliteConnectOptions::new().filename(&index_file).read_only(true).disable_statement_logging();
    let mut index = options.connect().await.map_err(|error| unread(&index_file, error))?;
    let checked = sqlx::query_scalar::<_, String>("PRAGMA integrity_check(20)").fetch_all(&mut index).await;
    let checked = checked.map_err(|error| unread(&index_file, error))?;
    let files = data_dir.join("files").into();
    let mut scrub = Scrub { index, index_file, files, done: Scrubbed::default(), tell };
    for said in checked.into_iter().filter(|said| said != "ok") {
        scrub.damaged("the index".to_owned(), scrub.index_file.clone(), said);
    }
    scrub.objects().await?;
    scrub.parts().await?;
    let Scrub { index, done, .. } = scrub;
    // It was only read.
    drop(index.close().await);
    Ok(done)
}

const OBJECTS: &str = "SELECT o.size, o.etag, o.modified_ms, o.headers, o.segments, c.bytes, o.bucket, o.key, b.name \
                       FROM objects o LEFT JOIN contents c ON c.id = o.content LEFT JOIN buckets b ON b.id = o.bucket \
                       WHERE (o.bucket, o.key) > (?, ?) ORDER BY o.bucket, o.key LIMIT ?";
const STILL: &str = "SELECT 1 FROM objects WHERE bucket = ? AND key = ? AND segments = ?";
const PARTS: &str = "SELECT p.size, p.file, p.md5, p.checksum, u.algorithm, p.upload, p.number, u.key FROM parts p \
                     JOIN uploads u ON u.id = p.upload WHERE (p.upload, p.number) > (?, ?) \
                     ORDER BY p.upload, p.number LIMIT ?";
const STILL_A_PART: &str = "SELECT 1 FROM parts WHERE upload = ? AND number = ? AND file IS ?";

impl Scrub<'_> {
    fn damaged(&mut self, what: String, file: PathBuf, why: String) {
        self.done.damaged += 1;
        (self.tell)(&Damage { what, file, why });
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        unread(&self.index_file, error)
    }

    async fn objects(&mut self) -> Result<(), Error> {
        let (mut bucket, mut key) = (i64::MIN, Vec::new());
        loop {
            let page = sqlx::query(OBJECTS).bind(bucket).bind(&key).bind(PAGE).fetch_all(&mut self.index).await;
            let page = page.map_err(|error| self.failed(error))?;
            let Some(last) = page.last() else { return Ok(()) };
            let at = last.try_get(6).and_then(|bucket| Ok((bucket, last.try_get(7)?)));
            (bucket, key) = at.map_err(|error| self.failed(error))?;
            for row in page {
                self.object(&row).await?;
            }
        }
    }

    async fn object(&mut self, row: &SqliteRow) -> Result<(), Error> {
        let key: Vec<u8> = row.try_get(7).map_err(|error| self.failed(error))?;
        let what = shown(row.try_get(8).unwrap_or("?"), &key);
        self.done.objects += 1;
        let record = match read_record(row) {
            Ok(record) => record,
            Err(error) => {
                self.damaged(what, self.index_file.clone(), error.to_string());
                return Ok(());
            }
        };
        self.done.bytes += record.size;
        let look = match &record.data {
            Data::Here(bytes) => of_bytes(&record, bytes, &self.index_file),
            Data::Files(segments) => {
                let (files, segments) = (Arc::clone(&self.files), segments.clone());
                let proofs = proofs(&record);
                blocking(move || of_files(&files, &segments, proofs)).await?
            }
            Data::Gateway(_) => Look::Unproven,
        };
        let row = async |index: &mut SqliteConnection| {
            let (bucket, segments): (i64, Vec<u8>) = (row.try_get(6)?, row.try_get(4)?);
            let still = sqlx::query(STILL).bind(bucket).bind(&key).bind(segments);
            still.fetch_optional(index).await.map(|row| row.is_some())
        };
        match look {
            Look::Sound => {}
            Look::Unproven => self.done.unproven += 1,
            Look::Damaged(file, why) => {
                // Unless it was replaced while it was read.
                if row(&mut self.index).await.map_err(|error| self.failed(error))? {
                    self.damaged(what, file, why);
                }
            }
        }
        Ok(())
    }

    async fn parts(&mut self) -> Result<(), Error> {
        let (mut upload, mut number) = (Vec::new(), i64::MIN);
        loop {
            let page = sqlx::query(PARTS).bind(&upload).bind(number).bind(PAGE).fetch_all(&mut self.index).await;
            let page = page.map_err(|error| self.failed(error))?;
            let Some(last) = page.last() else { return Ok(()) };
            let at = last.try_get(5).and_then(|upload| Ok((upload, last.try_get(6)?)));
            (upload, number) = at.map_err(|error| self.failed(error))?;
            for row in page {
                let read = read_part(&row).map_err(|error| self.failed(error))?;
                self.part(read).await?;
            }
        }
    }

    async fn part(&mut self, part: Part) -> Result<(), Error> {
        let Part { record, upload, number, key } = part;
        self.done.parts += 1;
        self.done.bytes += record.size;
        let Data::Files(segments) = &record.data else { return Ok(()) };
        let file = segments.first().map(|segment| segment.file);
        let (files, segments, proofs) = (Arc::clone(&self.files), segments.clone(), proofs(&record));
        match blocking(move || of_files(&files, &segments, proofs)).await? {
            Look::Sound => {}
            Look::Unproven => self.done.unproven += 1,
            Look::Damaged(path, why) => {
                let still = sqlx::query(STILL_A_PART).bind(&upload).bind(number).bind(file);
                let still = still.fetch_optional(&mut self.index).await.map_err(|error| self.failed(error))?;
                if still.is_some() {
                    let key = String::from_utf8_lossy(&key);
                    self.damaged(format!("part {number} of an upload of `{}`", key.escape_debug()), path, why);
                }
            }
        }
        Ok(())
    }
}

/// A part of an upload, as if it were an object.
struct Part {
    record: Record,
    upload: Vec<u8>,
    number: i64,
    key: Vec<u8>,
}

fn read_part(row: &SqliteRow) -> sqlx::Result<Part> {
    let size = row.try_get::<i64, _>(0)?.cast_unsigned();
    let file: Option<FileId> = row.try_get(1)?;
    let mut headers = Headers::default();
    if let Some(algorithm) = Algorithm::parse(row.try_get(4)?) {
        headers.set_checksum(algorithm, &BASE64.encode(row.try_get(3)?), SumKind::FullObject);
    }
    let etag = HEXLOWER.encode(row.try_get(2)?).into();
    let data = match file {
        Some(file) => Data::Files([Segment { file, size }].into()),
        None => Data::Here(Bytes::new()),
    };
    let record = Record { size, etag, modified: Timestamp::UNIX_EPOCH, headers, data };
    Ok(Part { record, upload: row.try_get(5)?, number: row.try_get(6)?, key: row.try_get(7)? })
}

/// Everything that is kept of an object's bytes.
fn proofs(record: &Record) -> Vec<Proof> {
    [Proof::by_checksum(record), Proof::by_tag(record)].into_iter().flatten().collect()
}

fn verdict(proofs: Vec<Proof>, file: &Path) -> Look {
    if proofs.is_empty() {
        return Look::Unproven;
    }
    if proofs.into_iter().all(Proof::holds) { Look::Sound } else { Look::Damaged(file.to_owned(), ROTTEN.to_owned()) }
}

fn of_bytes(record: &Record, bytes: &[u8], index_file: &Path) -> Look {
    let mut proofs = proofs(record);
    for proof in &mut proofs {
        proof.update(bytes);
    }
    verdict(proofs, index_file)
}

async fn blocking(work: impl FnOnce() -> Look + Send + 'static) -> Result<Look, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Kind::Internal, "reading was broken off").caused_by(error))
}

/// Reads the files of an object from its start to its end. Blocks.
fn of_files(files: &Path, segments: &[Segment], mut proofs: Vec<Proof>) -> Look {
    let mut chunk = vec![0; CHUNK];
    let mut path = PathBuf::new();
    for Segment { file, size } in segments {
        path = path_below(files, *file);
        let mut left = *size;
        let read = File::open(&path).and_then(|mut opened| {
            loop {
                let got = match opened.read(&mut chunk) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    got => got?,
                };
                if got == 0 {
                    return Ok(());
                }
                let bytes = chunk.get(..got).unwrap_or_default();
                left =
                    left.checked_sub(got as u64).ok_or_else(|| io::Error::other("it is longer than the index says"))?;
                for proof in &mut proofs {
                    proof.update(bytes);
                }
            }
        });
        match read {
            Ok(()) if left == 0 => {}
            Ok(()) => return Look::Damaged(path, "it is shorter than the index says".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Look::Damaged(path, "it is missing".to_owned());
            }
            Err(error) => return Look::Damaged(path, error.to_string()),
        }
    }
    verdict(proofs, &path)
}
