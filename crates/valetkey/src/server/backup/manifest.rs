//! The list of a backup's files: what a restore holds each of them against. Written last and sealed with the keyring, so that a
//! backup that was broken off has none, and nobody else writes one.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{Context, SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use tokio_util::sync::CancellationToken;
use valetkey_core::keyring::{Keyring, SEAL_NONCE_LEN};
use valetkey_core::time::Entropy;

/// The list's name.
pub(super) const NAME: &str = "manifest";
/// What its seal is for.
const PURPOSE: &str = "manifest of a backup";
/// Its first line: another number would say that it has another form.
const FIRST: &str = "valetkey backup 1";
/// The longest list that is read: some hundred bytes for each of millions of files.
const LONGEST: u64 = 1 << 30;
/// Bytes that are copied at once.
const CHUNK: usize = 1024 * 1024;

/// A file of a backup, below its directory.
pub(super) struct Line {
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
}

/// The list.
#[derive(Default)]
pub(super) struct Manifest {
    pub(super) files: Vec<Line>,
}

impl Manifest {
    /// Writes it to a new file and seals it.
    pub(super) fn write(&self, dir: &Path, ring: &Keyring, entropy: &dyn Entropy) -> anyhow::Result<()> {
        let mut text = format!("{FIRST}\n");
        for Line { sha256, bytes, path } in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{sha256} {bytes} {}", path.display());
        }
        let mut nonce = [0; SEAL_NONCE_LEN];
        entropy.fill(&mut nonce);
        let seal = ring.seal_bytes(PURPOSE, b"", digest(&SHA256, text.as_bytes()).as_ref(), nonce)?;
        let _ = writeln!(text, "seal {}", BASE64.encode(&seal));
        let path = dir.join(NAME);
        let mut file = new_file(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(File::open(dir)?.sync_all()?)
    }

    /// Reads it, if this keyring sealed it.
    pub(super) fn read(dir: &Path, ring: &Keyring) -> anyhow::Result<Self> {
        let path = dir.join(NAME);
        let shown = path.display();
        let mut text = String::new();
        opened(&path)
            .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
            .with_context(|| format!("{shown} cannot be read: this is no backup, or one that was broken off"))?;
        let (listed, seal) = text.rsplit_once("seal ").with_context(|| format!("{shown} is cut off"))?;
        let seal = BASE64.decode(seal.trim_end().as_bytes()).ok().with_context(|| format!("{shown} is cut off"))?;
        let opened = ring.open_bytes(PURPOSE, b"", &seal);
        if opened.is_none_or(|kept| *kept.reveal() != digest(&SHA256, listed.as_bytes()).as_ref()) {
            bail!("{shown} was changed, or the keyring is not the one that the backup was made with");
        }
        let mut lines = listed.lines();
        if lines.next() != Some(FIRST) {
            bail!("{shown} has another form: it was made by a newer version");
        }
        let files = lines.map(|line| Line::parse(line).with_context(|| format!("{shown} has a line that is none")));
        Ok(Self { files: files.collect::<anyhow::Result<_>>()? })
    }
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (sha256, rest) = line.split_once(' ')?;
        let (bytes, path) = rest.split_once(' ')?;
        let path = PathBuf::from(path);
        let below = path.components().all(|part| matches!(part, Component::Normal(_)));
        below.then_some(Self { sha256: sha256.to_owned(), bytes: bytes.parse().ok()?, path })
    }
}

/// A file that was not there, for its owner alone.
fn new_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("{} cannot be written", path.display()))
}

/// Copies a file to a new one, durable; says what it read.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<(String, u64)> {
    copy_until(from, to, u64::MAX, &CancellationToken::new())
}

/// Copies a file to a new one, durable; says what it read: one byte more than the most if the file is longer.
pub(super) fn copy_until(from: &Path, to: &Path, most: u64, end: &CancellationToken) -> anyhow::Result<(String, u64)> {
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).with_context(|| format!("{} cannot be made", above.display()))?;
    }
    let source = opened(from).with_context(|| format!("reading {}", from.display()))?;
    let mut copy = new_file(to)?;
    let read = passed(source, &mut copy, most, end);
    let read = read.with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    copy.sync_all().with_context(|| format!("{} cannot be written", to.display()))?;
    Ok(read)
}

/// What a file holds: its digest and how many bytes.
pub(super) fn sum(path: &Path) -> anyhow::Result<(String, u64)> {
    let source = opened(path);
    let summed = source.and_then(|file| passed(file, &mut std::io::sink(), u64::MAX, &CancellationToken::new()));
    summed.with_context(|| format!("reading {}", path.display()))
}

/// Opens a file; a pipe could be waited for, and a device has no end.
fn opened(path: &Path) -> std::io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is no file")) }
}

fn passed(source: File, to: &mut dyn Write, most: u64, end: &CancellationToken) -> std::io::Result<(String, u64)> {
    let mut source = source.take(most.saturating_add(1));
    let (mut sum, mut bytes, mut chunk) = (Context::new(&SHA256), 0, vec![0; CHUNK]);
    loop {
        if end.is_cancelled() {
            return Err(std::io::Error::other("it was interrupted"));
        }
        let read = source.read(&mut chunk)?;
        let Some(some) = chunk.get(..read).filter(|some| !some.is_empty()) else { break };
        sum.update(some);
        bytes += some.len() as u64;
        to.write_all(some)?;
    }
    Ok((HEXLOWER.encode(sum.finish().as_ref()), bytes))
}

/// Makes the names of everything below a directory durable.
pub(crate) fn sync_directories(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    Ok(File::open(dir)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_copied_than_is_asked_for_and_only_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("long"), [7; 5000]).unwrap();
        let end = CancellationToken::new();
        assert_eq!(copy_until(&at("long"), &at("cut"), 100, &end).unwrap().1, 101);
        assert_eq!(copy_until(&at("long"), &at("all"), 5000, &end).unwrap(), sum(&at("all")).unwrap());
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        for odd in ["pipe", "."] {
            assert!(copy(&at(odd), &at("no")).is_err_and(|error| format!("{error:#}").contains("no file")), "{odd}");
        }
        assert!(!at("no").exists());
        end.cancel();
        assert!(copy_until(&at("long"), &at("late"), 5000, &end).is_err());
    }
}
