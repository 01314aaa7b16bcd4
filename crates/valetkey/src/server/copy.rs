//! `valetkey server copy`: everything of one database in another, between a file of SQLite and a server of Postgres.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::nouns::registry::Verified;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::vault::Vault;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Copied, Copying, ParentKeys};

use super::backup::manifest;
use crate::cli::output::{Format, Out};
use crate::config::{Config, Layers};
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::{lock, opening, ring};

/// What a side is configured with: as a server is that runs here, or by its file alone, since the environment is the other one's.
fn side(path: Option<&Path>, here: &Layers) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(here.config()?) };
    let none = BTreeMap::new();
    let layers = if path.is_dir() {
        Layers::read(None, &none, &[("data_dir", path.display().to_string())])?
    } else {
        Layers::read(Some(path), &none, &[])?
    };
    Ok(layers.config()?)
}

pub(super) async fn run(from: Option<&Path>, to: Option<&Path>, here: &Layers, out: &Out) -> anyhow::Result<()> {
    let (from, to) = (side(from, here)?, side(to, here)?);
    let (source, target) = (from.database()?, to.database()?);
    if source.is_file() && !crate::node::database(&from).exists() {
        bail!("there is no database {source}: nothing was set up there");
    }
    for config in [&from, &to] {
        crate::dev::home::refuse(config).await?;
    }
    valetkey_database::make_directory(&to.data_dir)
        .with_context(|| format!("{} cannot be made", to.data_dir.display()))?;
    let same = from.data_dir.canonicalize()? == to.data_dir.canonicalize()?;
    let _locks = (lock(&from.data_dir)?, if same { None } else { Some(lock(&to.data_dir)?) });
    if let Some(missing) = to.missing_keyring() {
        let missing = missing.display();
        bail!(
            "the keyring {missing} is missing: put that of {source} there first, without which the copy opens nothing"
        );
    }
    let keyring = opening::keyring(&to)?;
    let mut copying = Copying::begin(&source, &target, &keyring.load().check_values()).await?;
    let files = if same { Vec::new() } else { copying.files().await? };
    let [have, want] = [&from, &to].map(|config| config.data_dir.join("packages"));
    for file in &files {
        // One of a copy that was broken off is made again: it may be half.
        match std::fs::remove_file(want.join(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be replaced", want.join(file).display()));
            }
            Ok(()) | Err(_) => {}
        }
        manifest::copy(&have.join(file), &want.join(file))?;
    }
    if !files.is_empty() {
        manifest::sync_directories(&to.data_dir)?;
    }
    let copied = copying.finish().await?;
    let verified = verified(&to, &keyring).await?;
    say(out, &format!("{source} was copied to {target}"), &copied, files.len(), &verified)?;
    if !same && from.data_dir.join("objects").join("index.sqlite").exists() {
        let (objects, dir) = (from.data_dir.join("objects"), to.data_dir.display());
        out.warn(&format!(
            "the objects of its own S3 endpoint are still in {}: move that directory to {dir}",
            objects.display()
        ));
    }
    if !verified.intact() {
        bail!("the copy is the same, and its ledger does not fit, there and here: `valetkey ledger verify` says where");
    }
    Ok(())
}

/// Opens the copy as a server does, and holds its ledger against what is made of it.
async fn verified(to: &Config, keyring: &valetkey_core::keyring::SharedKeyring) -> anyhow::Result<Verified> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    let store = opening::open_store(to, &clock, &entropy, &tasks, &end, false).await?;
    let verified = async {
        ring::prove(&keyring.load(), &store, &Vault::new(keyring.clone(), entropy)).await?;
        ParentKeys::open(&store, keyring.clone()).await?;
        Ok(store.verify_ledger().await?)
    };
    let verified = verified.await;
    store.close().await?;
    verified
}

fn say(out: &Out, what: &str, copied: &Copied, files: usize, verified: &Verified) -> anyhow::Result<()> {
    let rows: u64 = copied.iter().map(|(_, rows)| rows).sum();
    if out.format() == Format::Json {
        let tables: BTreeMap<_, _> = copied.iter().copied().collect();
        let ledger = json!({ "intact": verified.intact(), "leases": verified.leases, "chains": verified.chains.len() });
        return Ok(out.json(&json!({ "rows": rows, "tables": tables, "files": files, "ledger": ledger }))?);
    }
    out.note(&format!("{what}: {rows} rows, each read again there, and {files} files of packages"));
    let (leases, chains) = (verified.leases, verified.chains.len());
    Ok(out.data(&format!("the ledger has {leases} leases on {chains} chains"))?)
}
