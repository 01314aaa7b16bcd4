//! Old pages of the ledger as files, and those files read again: what was moved out of the database can still be verified with the
//! rest.
//!
//! A file holds consecutive pages of one chain: lines of JSON, compressed with gzip. The first says after which page it begins. Each
//! further one is a page: its bytes, which the chain's hash protects, and the leases in it, for whoever searches with `zgrep`. A file
//! has its name only once it is durable and was read back, so that one that was broken off is none.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use valetkey_core::nouns::registry::LedgerHead;
use valetkey_core::{Error, Kind};

use crate::sql::chain::Chain;
use crate::sql::entry;
use crate::sql::pages::Head;
use crate::sql::rows::count;

/// Bytes of pages in a file, about: a file fits into memory wherever it is looked at.
pub(crate) const FILE_BYTES: usize = 64 << 20;
/// The longest line that is read: a page has at most some 20 MB.
const LONGEST: u64 = 128 << 20;
/// The form of the files.
const FORM: u8 = 1;

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct First {
    valetkey_ledger: u8,
    chain: i64,
    after: i64,
    after_hash: String,
}

/// A page.
#[derive(Serialize, Deserialize)]
struct Line {
    page: i64,
    last: String,
    leases: Vec<String>,
    hash: String,
    body: String,
}

fn unread(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("{} cannot be read: {why}", path.display()))
}

fn unwritten(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| {
        let said = format!("the ledger's archive cannot be written to {}", path.display());
        Error::new(Kind::Unavailable, said).caused_by(error)
    }
}

fn name(chain: Chain, first: i64, last: i64) -> String {
    format!("ledger-{:04}-{first:016}-{last:016}.ndjson.gz", chain.row())
}

/// The chain of a file, and its first and last page.
fn named(name: &str) -> Option<(Chain, i64, i64)> {
    let mut parts = name.strip_prefix("ledger-")?.strip_suffix(".ndjson.gz")?.split('-');
    let mut number = || parts.next()?.parse::<i64>().ok();
    let found = (Chain::of_row(number()?), number()?, number()?);
    parts.next().is_none().then_some(found)
}

/// A file of a directory, by the pages it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kept {
    chain: Chain,
    first: i64,
    last: i64,
    path: PathBuf,
}

fn list(dir: &Path) -> Result<Vec<Kept>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| unread(dir, error))? {
        let path = entry.map_err(|error| unread(dir, error))?.path();
        let of = path.file_name().and_then(|name| name.to_str()).and_then(named);
        found.extend(of.map(|(chain, first, last)| Kept { chain, first, last, path }));
    }
    found.sort_unstable();
    Ok(found)
}

/// The last page of a chain that a directory holds; the file is read for it.
///
/// # Errors
/// `Invalid` when the file is not what its name says.
pub(crate) fn newest(dir: &Path, chain: Chain) -> Result<Option<Head>, Error> {
    if !dir.exists() {
        return Ok(None);
    }
    let Some(kept) = list(dir)?.into_iter().rfind(|kept| kept.chain == chain) else { return Ok(None) };
    let mut reading = Reading::open(&kept.path)?;
    while reading.next()?.is_some() {}
    Ok(Some(reading.at))
}

/// A file that is being written.
pub(crate) struct Writing {
    dir: PathBuf,
    path: PathBuf,
    out: GzEncoder<BufWriter<File>>,
    chain: Chain,
    first: i64,
    at: Head,
    bytes: usize,
}

impl Writing {
    /// Begins a file behind a page. Blocks.
    pub(crate) fn begin(dir: &Path, chain: Chain, after: Head) -> Result<Self, Error> {
        let failed = unwritten(dir);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(&failed)?;
        let path = dir.join(format!(".ledger-{:04}.new", chain.row()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut out = GzEncoder::new(BufWriter::new(file.map_err(&failed)?), Compression::default());
        let after_hash = HEXLOWER.encode(&after.hash);
        let first = First { valetkey_ledger: FORM, chain: chain.row(), after: after.seq, after_hash };
        line(&mut out, &first).map_err(&failed)?;
        Ok(Self { dir: dir.to_owned(), path, out, chain, first: after.seq + 1, at: after, bytes: 0 })
    }

    /// The last page in it.
    pub(crate) fn at(&self) -> &Head {
        &self.at
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= FILE_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at.seq < self.first
    }

    /// Adds the next page; `false` if it is not the next, or was changed: no more is archived then. Blocks.
    pub(crate) fn add(&mut self, seq: i64, last_ms: i64, hash: &[u8], body: &[u8]) -> Result<bool, Error> {
        let next = self.at.next(body);
        if next.seq != seq || next.hash != hash {
            return Ok(false);
        }
        let last = Timestamp::from_millisecond(last_ms).map(|at| at.to_string()).unwrap_or_default();
        let leases = entry::glances(body).map(|glance| glance.id.to_string()).collect();
        let page = Line { page: seq, last, leases, hash: HEXLOWER.encode(hash), body: BASE64.encode(body) };
        line(&mut self.out, &page).map_err(unwritten(&self.path))?;
        self.at = next;
        self.bytes += body.len();
        Ok(true)
    }

    /// Makes it durable, reads it back, and gives it its name. Blocks.
    pub(crate) fn keep(self) -> Result<Head, Error> {
        let failed = unwritten(&self.path);
        let file = self.out.finish().map_err(&failed)?.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(&failed)?;
        let mut reading = Reading::open(&self.path)?;
        while reading.next()?.is_some() {}
        if reading.at != self.at {
            return Err(unread(&self.path, "it does not hold what was written"));
        }
        let to = self.dir.join(name(self.chain, self.first, self.at.seq));
        fs::rename(&self.path, to).and_then(|()| File::open(&self.dir)?.sync_all()).map_err(&failed)?;
        Ok(self.at)
    }

    /// Gives it up.
    pub(crate) fn withdraw(self) {
        // The next one is written over it.
        let _ = fs::remove_file(&self.path);
    }
}

fn line(out: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// A file that is being read.
struct Reading {
    path: PathBuf,
    lines: BufReader<GzDecoder<File>>,
    chain: Chain,
    /// The page before the next.
    at: Head,
}

impl Reading {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| unread(path, error))?;
        let lines = BufReader::new(GzDecoder::new(file));
        let chain = Chain::default();
        let mut own = Self { path: path.to_owned(), lines, chain, at: Head::default() };
        let first: First = own.line()?.ok_or_else(|| unread(path, "it is empty"))?;
        if first.valetkey_ledger != FORM {
            return Err(unread(path, "it has another form: it was written by a newer version"));
        }
        let hash = HEXLOWER.decode(first.after_hash.as_bytes()).map_err(|error| unread(path, error))?;
        (own.chain, own.at) = (Chain::of_row(first.chain), Head { seq: first.after, hash });
        Ok(own)
    }

    fn line<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, Error> {
        let mut text = Vec::new();
        let read = self.lines.by_ref().take(LONGEST).read_until(b'\n', &mut text);
        match read.map_err(|error| unread(&self.path, error))? {
            0 => Ok(None),
            _ if !text.ends_with(b"\n") => Err(unread(&self.path, "it is cut off")),
            _ => serde_json::from_slice(&text).map(Some).map_err(|error| unread(&self.path, error)),
        }
    }

    /// The leases of the next page; `Invalid` where it does not follow the one before.
    fn next(&mut self) -> Result<Option<u64>, Error> {
        let Some(Line { page, hash, body, .. }) = self.line()? else { return Ok(None) };
        let body = BASE64.decode(body.as_bytes()).map_err(|error| unread(&self.path, error))?;
        let next = self.at.next(&body);
        if next.seq != page || HEXLOWER.encode(&next.hash) != hash {
            return Err(unread(&self.path, format!("page {page} does not follow page {}", self.at.seq)));
        }
        self.at = next;
        Ok(Some(u64::try_from(entry::glances(&body).count()).unwrap_or(u64::MAX)))
    }
}

/// The pages of a chain in an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchivedChain {
    /// The page before the first. Its number is the chain's start if the archive has all of them.
    pub after: LedgerHead,
    /// Whether it begins with the chain's first page.
    pub whole: bool,
    /// The last page.
    pub last: LedgerHead,
    /// How many pages.
    pub pages: u64,
    /// The leases in them.
    pub leases: u64,
}

/// What an archive holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Archived {
    /// Each chain that it has pages of.
    pub chains: Vec<ArchivedChain>,
    /// Of the pages that were looked for, those that are there.
    pub found: Vec<LedgerHead>,
    /// What does not fit, with the names of the files.
    pub wrong: Vec<String>,
}

fn told(head: &Head) -> LedgerHead {
    LedgerHead { seq: count(head.seq), hash: head.hash.as_slice().try_into().unwrap_or([0; 32]) }
}

/// Reads every file of some directories, holds each page against the one before, and looks for some pages. A file may be in several
/// directories.
///
/// # Errors
/// `Invalid` when a directory cannot be read.
pub fn read_archive(dirs: &[PathBuf], wanted: &[LedgerHead]) -> Result<Archived, Error> {
    let mut files = Vec::new();
    for dir in dirs {
        files.extend(list(dir)?);
    }
    files.sort_unstable();
    let mut archived = Archived::default();
    let mut at: Option<(Chain, Head)> = None;
    for file in files {
        let before = at.take().filter(|(chain, _)| *chain == file.chain).map(|(_, head)| head);
        if before.as_ref().is_some_and(|before| file.last <= before.seq) {
            at = before.map(|before| (file.chain, before));
            continue;
        }
        match file_of(&file, before.as_ref(), wanted, &mut archived) {
            Ok(head) => at = Some((file.chain, head)),
            Err(error) => archived.wrong.push(error.message().to_owned()),
        }
    }
    Ok(archived)
}

/// Reads one file behind what was read of its chain.
fn file_of(file: &Kept, before: Option<&Head>, wanted: &[LedgerHead], archived: &mut Archived) -> Result<Head, Error> {
    let mut reading = Reading::open(&file.path)?;
    if reading.chain != file.chain || reading.at.seq + 1 != file.first {
        return Err(unread(&file.path, "it is not what its name says"));
    }
    let follows = before == Some(&reading.at);
    if !follows {
        if let Some(before) = before {
            let shown = file.path.display();
            archived.wrong.push(format!("{shown} does not follow page {}, the last before it", before.seq));
        }
        let whole = reading.at == Head::start(file.chain);
        let after = told(&reading.at);
        archived.chains.push(ArchivedChain { after, whole, last: after, pages: 0, leases: 0 });
    }
    while let Some(leases) = reading.next()? {
        let Some(chain) = archived.chains.last_mut() else { break };
        chain.last = told(&reading.at);
        chain.pages += 1;
        chain.leases += leases;
        archived.found.extend(wanted.iter().filter(|wanted| **wanted == chain.last));
    }
    if reading.at.seq != file.last {
        return Err(unread(&file.path, format!("it ends with page {}", reading.at.seq)));
    }
    Ok(reading.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(dir: &Path, after: &Head, bodies: &[&[u8]]) -> Head {
        let mut writing = Writing::begin(dir, Chain::default(), after.clone()).unwrap();
        for body in bodies {
            let next = writing.at().next(body);
            assert!(writing.add(next.seq, 0, &next.hash, body).unwrap());
        }
        writing.keep().unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_what_was_changed_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().to_owned();
        let one = pages(&dir, &Head::start(Chain::default()), &[b"", b"\0\0"]);
        let two = pages(&dir, &one, &[b"\0"]);
        assert_eq!(newest(&dir, Chain::default()).unwrap(), Some(two.clone()));
        assert_eq!(newest(&dir, Chain::new(1)).unwrap(), None);
        let found = read_archive(&[dir.clone(), dir.clone()], &[told(&one), told(&two)]).unwrap();
        assert_eq!((found.chains.len(), found.chains[0].pages, found.chains[0].whole), (1, 3, true), "{found:?}");
        assert_eq!((found.found.len(), found.wrong.len()), (2, 0));
        let files = list(&dir).unwrap();
        // A file is gone, cut, changed, or has another's name.
        let (first, second) = (&files[0].path, &files[1].path);
        let bytes = fs::read(first).unwrap();
        fs::remove_file(first).unwrap();
        let found = read_archive(std::slice::from_ref(&dir), &[]).unwrap();
        assert_eq!((found.chains[0].after, found.chains[0].whole), (told(&one), false));
        for spoiled in [&bytes[..bytes.len() - 12], &bytes[..bytes.len() / 2], b"", b"page"] {
            fs::write(first, spoiled).unwrap();
            let found = read_archive(std::slice::from_ref(&dir), &[]).unwrap();
            assert!(found.wrong.iter().any(|said| said.contains("ledger-0001")), "{found:?}");
        }
        fs::write(first, fs::read(second).unwrap()).unwrap();
        let found = read_archive(std::slice::from_ref(&dir), &[]).unwrap();
        assert!(found.wrong[0].contains("not what its name says"), "{found:?}");
        let mut writing = Writing::begin(&dir, Chain::default(), one.clone()).unwrap();
        assert!(!writing.add(4, 0, &one.next(b"x").hash, b"x").unwrap(), "one is missing before it");
        assert!(!writing.add(3, 0, &one.next(b"x").hash, b"y").unwrap(), "it was changed");
        assert!(writing.is_empty());
        writing.withdraw();
    }
}
