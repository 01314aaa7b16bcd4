//! `valetkey server backup` and `valetkey server restore`: a data directory as it is at one point in time, without the keyring.

pub(super) mod manifest;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Held, Whereabouts};

use crate::cli::output::{Format, Out};
use crate::config::Config;
use crate::node::signals::Signals;
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::{database, lock, opening, ring};
use manifest::{Line, Manifest};

/// Where a backup is put together beside what is there, until all of it was verified.
const STAGE: &str = "restoring";
/// Its name once all of it was verified and is put in place: what else is there then is of the same restore.
const PLACED: &str = "restoring-placed";
/// The database's name in a data directory, and in a backup.
const DATABASE: &str = "valetkey.db";

/// Nothing here knows how to copy another database.
fn needs_file(config: &Config) -> anyhow::Result<()> {
    if config.database()?.is_file() {
        return Ok(());
    }
    bail!(
        "the database is a server of Postgres, which has its own tools for this: see `docs/many-nodes.md`, \"Backup\""
    )
}

/// Copies a data directory, while a server runs on it or not.
pub(super) async fn save(config: &Config, dir: &Path, out: &Out) -> anyhow::Result<()> {
    needs_file(config)?;
    let ring = opening::keyring(config)?.load();
    let at = database(config);
    if !at.exists() {
        bail!("there is no database {}: nothing was set up there", at.display());
    }
    // From here on an interrupt has what was written and the second names of files removed, too.
    let end = CancellationToken::new();
    let (mut signals, interrupted) = (Signals::listen()?, end.clone());
    let listening = TaskTracker::new().spawn(async move {
        signals.next().await;
        interrupted.cancel();
    });
    let there = dir.exists();
    valetkey_database::make_directory(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    if fs::read_dir(dir)?.next().is_some() {
        bail!("{} is not empty; name a directory that is, or that is not there", dir.display());
    }
    let saved = end.run_until_cancelled(saved(config, dir, &ring, &end)).await;
    listening.abort();
    let saved = saved.unwrap_or_else(|| Err(anyhow::anyhow!("it was interrupted")));
    let (manifest, head) = saved.inspect_err(|_| {
        // What is not whole is nobody's backup.
        let gone = if there { emptied(dir) } else { fs::remove_dir_all(dir) };
        if gone.is_err() {
            out.warn(&format!("{} is no backup; remove it", dir.display()));
        }
    })?;
    let bytes: u64 = manifest.files.iter().map(|line| line.bytes).sum();
    let files = manifest.files.len();
    if out.format() == Format::Json {
        return Ok(out.json(&json!({ "dir": dir, "files": files, "bytes": bytes, "head": head }))?);
    }
    out.data(&format!("{}: {files} files with {bytes} bytes", dir.display()))?;
    if let Some(head) = head {
        out.data(&format!("the ledger's head is {head}"))?;
    }
    out.note("the keyring is not in it: keep a copy of that elsewhere, without which this backup opens nothing");
    Ok(())
}

fn emptied(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Holds everything at one point in time, and copies it.
async fn saved(
    config: &Config,
    dir: &Path,
    ring: &Keyring,
    end: &CancellationToken,
) -> anyhow::Result<(Manifest, Option<String>)> {
    let mut manifest = Manifest::default();
    let objects = config.data_dir.join("objects");
    let index = Path::new("objects").join("index.sqlite");
    // INVARIANT: the objects are held before the database: every lease that an object was written with is in it.
    let index_held = if objects.join("index.sqlite").exists() {
        fs::create_dir_all(dir.join("objects"))?;
        Some(valetkey_s3::hold(&objects, &dir.join(&index)).await?)
    } else {
        None
    };
    let mut store = valetkey_database::hold(&database(config), &dir.join(DATABASE)).await?;
    let head = valetkey_database::newest(&mut store).await?;
    let head = head.map(|head| format!("{}:{}", head.seq, data_encoding::HEXLOWER.encode(&head.hash)));
    copied(store, dir, (Path::new(DATABASE), Path::new("packages")), &mut manifest, end).await?;
    if let Some(index_held) = index_held {
        copied(index_held, dir, (&index, &Path::new("objects").join("files")), &mut manifest, end).await?;
    }
    manifest::sync_directories(dir)?;
    manifest.write(dir, ring, &SystemEntropy)?;
    Ok((manifest, head))
}

/// Copies a database and its files.
async fn copied(
    mut held: Held,
    dir: &Path,
    (database, below): (&Path, &Path),
    manifest: &mut Manifest,
    end: &CancellationToken,
) -> anyhow::Result<()> {
    held.copy().await?;
    let (sha256, bytes) = manifest::sum(&dir.join(database))?;
    manifest.files.push(Line { sha256, bytes, path: database.to_owned() });
    for file in held.files() {
        let path = below.join(file);
        let (sha256, bytes) = manifest::copy_until(&held.path(file), &dir.join(&path), u64::MAX, end)?;
        manifest.files.push(Line { sha256, bytes, path });
    }
    Ok(())
}

/// Whether a restore was killed while it put its parts in place. The database comes last: once it is there, all of it is.
pub(super) fn is_broken_off(data_dir: &Path) -> bool {
    data_dir.join(PLACED).exists() && !data_dir.join(DATABASE).exists()
}

/// Makes a data directory of a backup.
pub(super) async fn restore(config: &Config, dir: &Path, out: &Out) -> anyhow::Result<()> {
    crate::dev::home::refuse(config).await?;
    needs_file(config)?;
    let data_dir = &config.data_dir;
    valetkey_database::make_directory(data_dir).with_context(|| format!("{} cannot be made", data_dir.display()))?;
    let _lock = lock(data_dir)?;
    let keyring = config.keyring_file();
    if let Some(keyring) = config.missing_keyring() {
        bail!(
            "the keyring {} is missing, and a backup has none: put back the one that the backup was made with, or a newer one",
            keyring.display()
        );
    }
    let (stage, placed) = (data_dir.join(STAGE), data_dir.join(PLACED));
    if is_broken_off(data_dir) {
        // It begins anew: nothing else was there, or it had refused.
        for part in ["objects", "packages", PLACED].map(|part| data_dir.join(part)) {
            if part.exists() {
                fs::remove_dir_all(&part).with_context(|| format!("{} cannot be removed", part.display()))?;
            }
        }
    }
    for entry in fs::read_dir(data_dir)? {
        let path = entry?.path();
        if path != keyring
            && path != stage
            && path != placed
            && path.file_name().is_none_or(|name| name != "server.lock")
        {
            let (dir, path) = (data_dir.display(), path.display());
            bail!(
                "the data directory {dir} is in use, by {path}: move that away, or name an empty one with --data-dir"
            );
        }
    }
    // Of a restore that was broken off.
    let _ = fs::remove_dir_all(&stage);
    let restored = restored(config, dir, &stage, &opening::keyring(config)?).await;
    let files = restored.inspect_err(|_| drop(fs::remove_dir_all(&stage)))?;
    if out.format() == Format::Json {
        return Ok(out.json(&json!({ "data_dir": data_dir, "files": files }))?);
    }
    out.note(&format!("{} is restored: {files} files were verified", data_dir.display()));
    out.note(
        "what happened after the backup is not known any more: what was revoked since works again until it expires; \
         `valetkey revoke --account NAME` ends all of before",
    );
    Ok(())
}

/// Copies each file beside its place, holds it against the list, and puts all of them there.
async fn restored(config: &Config, dir: &Path, stage: &Path, keyring: &SharedKeyring) -> anyhow::Result<usize> {
    let manifest = Manifest::read(dir, &keyring.load())?;
    fs::create_dir_all(stage)?;
    for Line { sha256, bytes, path } in &manifest.files {
        let from = dir.join(path);
        let (found, size) = manifest::copy_until(&from, &stage.join(path), *bytes, &CancellationToken::new())?;
        if (&found, &size) != (sha256, bytes) {
            let more = if size > *bytes { "at least " } else { "" };
            bail!("{} is not what was backed up: it has {more}{size} bytes with another digest", from.display());
        }
    }
    proven(config, stage, keyring).await?;
    manifest::sync_directories(stage)?;
    let placed = config.data_dir.join(PLACED);
    let _ = fs::remove_dir_all(&placed);
    fs::rename(stage, &placed)?;
    fs::File::open(&config.data_dir)?.sync_all()?;
    let mut all: Vec<PathBuf> =
        fs::read_dir(&placed)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    // The database last: until it is there nothing is set up.
    all.sort_by_key(|path| path.file_name().is_some_and(|name| name == DATABASE));
    for path in all {
        let to = config.data_dir.join(path.file_name().unwrap_or_default());
        fs::rename(&path, &to).with_context(|| format!("{} cannot be put in its place", to.display()))?;
    }
    fs::File::open(&config.data_dir)?.sync_all()?;
    fs::remove_dir(&placed)?;
    fs::File::open(&config.data_dir)?.sync_all()?;
    Ok(manifest.files.len())
}

/// Refuses a database that the keyring does not open, and one of a newer version.
async fn proven(config: &Config, stage: &Path, keyring: &SharedKeyring) -> anyhow::Result<()> {
    let at = Whereabouts::File(stage.join(DATABASE));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    let store = opening::open_store_at(at, config, (&clock, &entropy), &tasks, &end, false).await?;
    let proven = ring::prove(&keyring.load(), &store, &Vault::new(keyring.clone(), entropy)).await;
    store.close().await?;
    proven
}
