//! `valetkey server init --replace-lost-keyring`: the way out when a keyring is lost without a backup.

use std::sync::Arc;

use anyhow::bail;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::caller::Role;
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};
use valetkey_database::{Database, Sealed};

use crate::cli::output::{Format, Out};
use crate::cli::remove::asked;
use crate::config::Config;
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::{database, ring};

/// Makes another keyring. Written beside its place, then the database, then put there: should this process end in between, it can be
/// run again.
pub(super) async fn replace(config: &Config, yes: bool, out: &Out) -> anyhow::Result<()> {
    crate::dev::home::refuse(config).await?;
    let path = config.keyring_file();
    if !config.keys.inline.reveal().is_empty() {
        bail!("the keyring is in the setting `keys.inline`: empty that first; this makes a file");
    }
    if config.database()?.is_file() && !database(config).exists() {
        bail!("{} is not set up: `valetkey server init` without a flag does that", config.data_dir.display());
    }
    // A link that leads nowhere, or what cannot be looked at, may be a volume that is not mounted: not lost.
    let lost = std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if !lost {
        bail!(
            "the keyring {} is there, and nothing replaces it: if it is not the right one, move it away",
            path.display()
        );
    }
    let _lock = crate::node::lock(&config.data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let store = crate::node::opening::open_store(
        config,
        &clock,
        &entropy,
        &TaskTracker::new(),
        &CancellationToken::new(),
        false,
    )
    .await?;
    let done = replaced(&store, &path, (&*clock, &*entropy), yes, out).await;
    store.close().await?;
    tell(&done?, out)
}

async fn replaced(
    store: &Database,
    path: &std::path::Path,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
    yes: bool,
    out: &Out,
) -> anyhow::Result<Sealed> {
    if !yes {
        let Sealed { parents, storages } = store.sealed().await?;
        let much = format!(
            "the keyring {} is lost, and another one is made in its place: this ends {} parent access keys and every credential of this server's endpoint, and {} storages have to be given \
             their secrets again",
            path.display(),
            parents.len(),
            storages.len(),
        );
        asked(&much, "--yes says that it is meant", out)?;
    }
    let account = store.account_named(&Name::parse("operators")?).await?;
    let Some(account) = account else { bail!("the database has no account of operators: it was never set up") };
    let by = store.ensure_caller(account.id, &Name::parse("admin")?, Role::Operator, clock.now()).await?;
    let new = ring::another(&store.known_ring().await?, entropy)?;
    // Where it cannot be written nothing has been done.
    let prepared = new.prepare(path)?;
    match store.replace_ring(&new.ring, Revoker { by, at: clock.now() }).await {
        Ok(lost) => prepared.put().map(|()| lost),
        Err(error) => {
            prepared.withdraw();
            Err(error.into())
        }
    }
}

fn tell(Sealed { parents, storages }: &Sealed, out: &Out) -> anyhow::Result<()> {
    if out.format() == Format::Json {
        let parents: Vec<_> = parents.iter().map(ToString::to_string).collect();
        let storages: Vec<_> = storages.iter().map(ToString::to_string).collect();
        return Ok(out.json(&json!({ "parent_keys": parents, "storages": storages }))?);
    }
    let rows = parents.iter().map(|id| ["parent access key".into(), id.to_string(), "ended: make another".into()]);
    let again = |name: &Name| {
        let how = format!("`valetkey storage change {name} --secrets-from FILE`");
        ["storage".into(), name.to_string(), how]
    };
    let rows: Vec<Vec<String>> = rows.chain(storages.iter().map(again)).map(Vec::from).collect();
    out.table(&["LOST", "WHICH", "WHAT TO DO"], &rows)?;
    out.note("another keyring was made. Back it up now, with the database");
    Ok(())
}
