//! The files of an archive of the ledger, read: what was moved out of the database can still be verified with the rest.
//!
//! A file holds consecutive pages of one chain: lines of JSON, compressed with gzip. The first says after which page it begins. Each
//! further one is a page: its bytes, which the chain's hash protects, and the leases in it, for whoever searches with `zgrep`. Where
//! servers have a directory each, two files may hold the same pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use valetkey_core::nouns::registry::LedgerHead;
use valetkey_core::{Error, Kind};

use crate::sql::chain::Chain;
use crate::sql::entry;
use crate::sql::pages::Head;
use crate::sql::rows::count;

/// The longest line that is read: a page has at most some 20 MB.
const LONGEST: u64 = 128 << 20;
/// The form of the files.
pub(crate) const FORM: u8 = 1;

/// The first line of a file.
#[derive(Serialize, Deserialize)]
pub(crate) struct First {
    pub(crate) valetkey_ledger: u8,
    pub(crate) chain: i64,
    pub(crate) after: i64,
    pub(crate) after_hash: String,
}

/// A page.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) page: i64,
    pub(crate) last: String,
    pub(crate) leases: Vec<String>,
    pub(crate) hash: String,
    pub(crate) body: String,
}

pub(crate) fn unread(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("{} cannot be read: {why}", path.display()))
}

/// The name of a file.
pub(crate) fn name(chain: Chain, first: i64, last: i64) -> String {
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
pub(crate) struct Kept {
    pub(crate) chain: Chain,
    first: i64,
    pub(crate) last: i64,
    pub(crate) path: PathBuf,
}

/// The files of a directory.
pub(crate) fn list(dir: &Path) -> Result<Vec<Kept>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| unread(dir, error))? {
        let path = entry.map_err(|error| unread(dir, error))?.path();
        let of = path.file_name().and_then(|name| name.to_str()).and_then(named);
        found.extend(of.map(|(chain, first, last)| Kept { chain, first, last, path }));
    }
    Ok(found)
}

/// The last page of a file, all of which is read for it.
///
/// # Errors
/// `Invalid` when it does not hold together.
pub(crate) fn last_page(path: &Path) -> Result<Head, Error> {
    let mut reading = Reading::open(path)?;
    while reading.next()?.is_some() {}
    Ok(reading.at)
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

pub(crate) fn told(head: &Head) -> LedgerHead {
    LedgerHead { seq: count(head.seq), hash: head.hash.as_slice().try_into().unwrap_or([0; 32]) }
}

/// Reads every file of some directories, holds each page against the one before, and looks for some pages. Several files may hold the
/// same pages.
///
/// # Errors
/// `Invalid` when a directory cannot be read.
pub fn read_archive(dirs: &[PathBuf], wanted: &[LedgerHead]) -> Result<Archived, Error> {
    let mut files = Vec::new();
    for dir in dirs {
        files.extend(list(dir)?);
    }
    files.sort_unstable();
    files.dedup();
    let ends = files.iter().map(|file| file.last).collect();
    let mut reader = Reader { wanted, ends, at: None, known: BTreeMap::new(), archived: Archived::default() };
    for file in files {
        if let Err(error) = reader.file(&file) {
            reader.archived.wrong.push(error.message().to_owned());
        }
    }
    Ok(reader.archived)
}

/// What was read so far.
struct Reader<'a> {
    wanted: &'a [LedgerHead],
    /// The last page of every file.
    ends: BTreeSet<i64>,
    /// The chain that is being read, and how far.
    at: Option<(Chain, Head)>,
    /// The hashes of those of its pages that a file ends with: another one is held against them.
    known: BTreeMap<i64, Vec<u8>>,
    archived: Archived,
}

impl Reader<'_> {
    /// Reads one file behind what was read of its chain, or over it.
    fn file(&mut self, file: &Kept) -> Result<(), Error> {
        let mut reading = Reading::open(&file.path)?;
        if reading.chain != file.chain || reading.at.seq + 1 != file.first {
            return Err(unread(&file.path, "it is not what its name says"));
        }
        let before = self.at.as_ref().filter(|(chain, _)| *chain == file.chain).map(|(_, head)| head.seq);
        if before.is_none_or(|before| before < reading.at.seq) {
            if let Some(before) = before {
                let shown = file.path.display();
                self.archived.wrong.push(format!("{shown} does not follow page {before}, the last before it"));
            }
            self.begin(&reading);
        }
        loop {
            let Head { seq, hash } = &reading.at;
            if self.known.get(seq).is_some_and(|known| known != hash) {
                return Err(unread(&file.path, format!("its page {seq} is another than the files before it have")));
            }
            match reading.next()? {
                Some(leases) => self.page(&reading, leases),
                None => break,
            }
        }
        if reading.at.seq != file.last {
            return Err(unread(&file.path, format!("it ends with page {}", reading.at.seq)));
        }
        Ok(())
    }

    fn begin(&mut self, reading: &Reading) {
        let whole = reading.at == Head::start(reading.chain);
        let after = told(&reading.at);
        self.archived.chains.push(ArchivedChain { after, whole, last: after, pages: 0, leases: 0 });
        self.known.clear();
        self.at = Some((reading.chain, reading.at.clone()));
    }

    /// Counts a page, unless another file had it.
    fn page(&mut self, reading: &Reading, leases: u64) {
        let Some((_, at)) = self.at.as_mut().filter(|(_, at)| at.seq < reading.at.seq) else { return };
        if !self.ends.contains(&at.seq) {
            self.known.remove(&at.seq);
        }
        *at = reading.at.clone();
        self.known.insert(at.seq, at.hash.clone());
        let Some(chain) = self.archived.chains.last_mut() else { return };
        chain.last = told(at);
        chain.pages += 1;
        chain.leases += leases;
        self.archived.found.extend(self.wanted.iter().filter(|wanted| **wanted == chain.last));
    }
}
