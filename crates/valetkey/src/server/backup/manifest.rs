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
use valetkey_core::keyring::{Keyring, SEAL_NONCE_LEN};
use valetkey_core::time::Entropy;

/// The list's name.
pub(super) const NAME: &str = "manifest";
/// What its seal is for.
const PURPOSE: &str = "manifest of a backup";
/// Its first line: another number would say that it has another form.
const FIRST: &str = "valetkey backup 1";
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
        let text = fs::read_to_string(&path)
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
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).with_context(|| format!("{} cannot be made", above.display()))?;
    }
    let mut copy = new_file(to)?;
    let read = passed(from, &mut copy).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    copy.sync_all().with_context(|| format!("{} cannot be written", to.display()))?;
    Ok(read)
}

/// What a file holds: its digest and how many bytes.
pub(super) fn sum(path: &Path) -> anyhow::Result<(String, u64)> {
    passed(path, &mut std::io::sink()).with_context(|| format!("reading {}", path.display()))
}

fn passed(from: &Path, to: &mut dyn Write) -> std::io::Result<(String, u64)> {
    let mut source = File::open(from)?;
    let (mut sum, mut bytes, mut chunk) = (Context::new(&SHA256), 0, vec![0; CHUNK]);
    loop {
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
