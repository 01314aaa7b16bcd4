//! Old pages of the ledger, written to the files of an archive before they go. What a file is stands in `archived`.
//!
//! A file has its name only once it is durable and was read back, so that one that was broken off is none. Several nodes may write to
//! one directory at a time: each writes to a file of its own, and none takes the place of another's.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::Serialize;
use valetkey_core::{Error, Kind};
use valetkey_sql::make_directory;

use crate::archived::{FORM, First, Line, last_page, list, name, unread};
use crate::sql::chain::Chain;
use crate::sql::entry;
use crate::sql::pages::Head;

/// Bytes of pages in a file, about: a file fits into memory wherever it is looked at.
pub(crate) const FILE_BYTES: usize = 64 << 20;
/// Nobody writes to a file that is not finished for so long: a whole one takes minutes.
const LEFT: Duration = Duration::from_hours(24);

fn unwritten(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| {
        let said = format!("the ledger's archive cannot be written to {}", path.display());
        Error::new(Kind::Unavailable, said).caused_by(error)
    }
}

/// The last page of a chain that a directory holds; the file is read for it.
///
/// # Errors
/// `Invalid` when the file is not what its name says.
pub(crate) fn newest(dir: &Path, chain: Chain) -> Result<Option<Head>, Error> {
    if !dir.exists() {
        return Ok(None);
    }
    let newest = list(dir)?.into_iter().filter(|kept| kept.chain == chain).max_by_key(|kept| kept.last);
    newest.map(|kept| last_page(&kept.path)).transpose()
}

/// A file without its name yet, which goes unless it gets one.
struct Unnamed(PathBuf);

impl Unnamed {
    /// A new file, with which no other process meets.
    fn create(dir: &Path, chain: Chain) -> io::Result<(Self, File)> {
        let random = RandomState::new().hash_one(std::process::id());
        let path = dir.join(format!(".ledger-{:04}-{random:016x}.new", chain.row()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self(path), file))
    }

    /// Gives it its name; `false` where another file has it.
    fn name(&self, to: &Path) -> io::Result<bool> {
        match fs::hard_link(&self.0, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // There are file systems without second names.
            Err(_) if !to.exists() => fs::rename(&self.0, to).map(|()| true),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        // What cannot be removed is removed by `tidy`.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes files that a process which died did not finish.
fn tidy(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().and_then(|name| name.strip_prefix(".ledger-")?.strip_suffix(".new")).is_none() {
            continue;
        }
        let age = entry.metadata().and_then(|about| about.modified()).map(|at| at.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > LEFT) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// A file that is being written.
pub(crate) struct Writing {
    dir: PathBuf,
    file: Unnamed,
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
        make_directory(dir).and_then(|()| tidy(dir)).map_err(&failed)?;
        let (unnamed, file) = Unnamed::create(dir, chain).map_err(&failed)?;
        let mut out = GzEncoder::new(BufWriter::new(file), Compression::default());
        let after_hash = HEXLOWER.encode(&after.hash);
        let first = First { valetkey_ledger: FORM, chain: chain.row(), after: after.seq, after_hash };
        line(&mut out, &first).map_err(&failed)?;
        Ok(Self { dir: dir.to_owned(), file: unnamed, out, chain, first: after.seq + 1, at: after, bytes: 0 })
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
        line(&mut self.out, &page).map_err(unwritten(&self.file.0))?;
        self.at = next;
        self.bytes += body.len();
        Ok(true)
    }

    /// Makes it durable, reads it back, and gives it its name. Nothing where another node archived some of its pages meanwhile: it is gone
    /// then. Blocks.
    pub(crate) fn keep(self) -> Result<Option<Head>, Error> {
        let Self { dir, file: unnamed, out, chain, first, at, bytes: _ } = self;
        let failed = unwritten(&unnamed.0);
        let file = out.finish().map_err(&failed)?.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(&failed)?;
        if last_page(&unnamed.0)? != at {
            return Err(unread(&unnamed.0, "it does not hold what was written"));
        }
        let to = dir.join(name(chain, first, at.seq));
        let overtaken = list(&dir)?.iter().any(|kept| kept.chain == chain && kept.last >= first);
        if overtaken || !unnamed.name(&to).map_err(unwritten(&to))? {
            return Ok(None);
        }
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(&failed)?;
        Ok(Some(at))
    }
}

fn line(out: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archived::{Archived, read_archive, told};

    fn begun(dir: &Path, after: &Head, bodies: &[&[u8]]) -> Writing {
        let mut writing = Writing::begin(dir, Chain::default(), after.clone()).unwrap();
        for body in bodies {
            let next = writing.at().next(body);
            assert!(writing.add(next.seq, 0, &next.hash, body).unwrap());
        }
        writing
    }

    fn pages(dir: &Path, after: &Head, bodies: &[&[u8]]) -> Head {
        begun(dir, after, bodies).keep().unwrap().unwrap()
    }

    fn start() -> Head {
        Head::start(Chain::default())
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn nodes_that_archive_the_same_pages_at_once_do_not_spoil_them() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("of/all");
        let one = begun(&dir, &start(), &[b"", b"\0\0"]);
        let same = begun(&dir, &start(), &[b"", b"\0\0"]);
        let further = begun(&dir, &start(), &[b"", b"\0\0", b"\0"]);
        let half = begun(&dir, &start(), &[b""]);
        let kept = one.keep().unwrap().unwrap();
        assert_eq!((same.keep().unwrap(), further.keep().unwrap()), (None, None), "they were overtaken");
        assert_eq!(newest(&dir, Chain::default()).unwrap(), Some(kept.clone()));
        drop(half);
        assert_eq!(names(&dir), 1, "what got no name is gone");
        // No file takes the place of another, though none of it was seen before.
        let (unnamed, _) = Unnamed::create(&dir, Chain::default()).unwrap();
        assert!(!unnamed.name(&dir.join(name(Chain::default(), 1, 2))).unwrap());
        assert_eq!(newest(&dir, Chain::default()).unwrap(), Some(kept));
    }

    #[test]
    fn what_was_not_finished_goes_once_nobody_can_be_writing_it() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        let (old, fresh, other) = (dir.join(".ledger-0001.new"), dir.join(".ledger-0002-00.new"), dir.join("notes"));
        for path in [&old, &fresh, &other] {
            let file = File::create(path).unwrap();
            #[expect(clippy::disallowed_methods, reason = "a file's time is the machine's")]
            let day = std::time::SystemTime::now() - LEFT - Duration::from_mins(1);
            if path != &fresh {
                file.set_modified(day).unwrap();
            }
        }
        drop(begun(dir, &start(), &[]));
        assert_eq!([old, fresh, other].map(|path| path.exists()), [false, true, true]);
    }

    fn read(dirs: &[&Path]) -> Archived {
        read_archive(&dirs.iter().map(|dir| (*dir).to_owned()).collect::<Vec<_>>(), &[]).unwrap()
    }

    #[test]
    fn directories_of_several_nodes_are_read_as_one() {
        let scratch = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| scratch.path().join(name));
        let one = pages(&a, &start(), &[b"", b"\0\0"]);
        // Its removal was put off, and the other one went further; then the first goes on.
        let three = pages(&b, &start(), &[b"", b"\0\0", b"\0"]);
        pages(&a, &three, &[b"\0\0\0"]);
        pages(&c, &start(), &[b"", b"\0\0"]);
        pages(&c, &one, &[b"\0", b"\0\0\0", b""]);
        for dirs in [vec![&*a, &b], vec![&b, &a, &a], vec![&a, &b, &c]] {
            let found = read(&dirs);
            assert_eq!((found.wrong.len(), found.chains.len(), found.chains[0].whole), (0, 1, true), "{found:?}");
            assert_eq!(found.chains[0].pages, if dirs.contains(&&*c) { 5 } else { 4 });
        }
        // A file beside that has other pages is named: with the same range, within one, and over its end.
        let others: [&[&[u8]]; 4] = [&[b"x", b"y"], &[b"x"], &[b"", b"\0\0", b"x"], &[b"x", b"", b"", b"", b""]];
        for bodies in others {
            let odd = scratch.path().join("odd");
            pages(&odd, &start(), bodies);
            let found = read(&[&a, &b, &odd]);
            assert!(!found.wrong.is_empty() && found.wrong[0].contains("is another than"), "{bodies:?}: {found:?}");
            fs::remove_dir_all(&odd).unwrap();
        }
        // A second file of the same pages is read, too.
        let copy = c.join(name(Chain::default(), 1, 2));
        fs::write(&copy, b"spoiled").unwrap();
        assert!(read(&[&a, &b, &c]).wrong[0].contains("ledger-0001"));
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
        let mut files = list(&dir).unwrap();
        files.sort_unstable();
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
        let mut writing = begun(&dir, &one, &[]);
        assert!(!writing.add(4, 0, &one.next(b"x").hash, b"x").unwrap(), "one is missing before it");
        assert!(!writing.add(3, 0, &one.next(b"x").hash, b"y").unwrap(), "it was changed");
        assert!(writing.is_empty());
    }
}
