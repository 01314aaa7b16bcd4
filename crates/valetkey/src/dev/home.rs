//! Whose a data directory is: the demo's own, or one that must not get made-up accounts and an operator's token beside it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::{Clock, Entropy};

use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::config::Config;
use crate::dev::making::write_private;
use crate::dev::world::{self, OPERATORS};
use crate::node::system::{SystemClock, SystemEntropy};

/// Where the demo keeps its state unless told otherwise.
pub(super) const OWN: &str = "valetkey-dev";
/// Where it was kept before.
const BEFORE: &str = "valetkey-data";
/// Says that the demo made the directory, and where it listens.
const MARK: &str = "demo.json";

/// Where a demo listens.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Addresses {
    pub(super) api: String,
    pub(super) s3: String,
}

/// Whose a directory is, by what lies in it.
#[derive(PartialEq, Eq, Debug)]
enum Whose {
    /// It is empty, or not there.
    Nobodys,
    /// The demo made it.
    Demos,
    /// A demo of before ran on it: it may have made it, or not.
    Asked,
    /// Somebody else's.
    Others,
}

fn whose(dir: &Path) -> anyhow::Result<Whose> {
    if dir.join(MARK).exists() {
        return Ok(Whose::Demos);
    }
    if dir.join(world::STATE).exists() {
        return Ok(Whose::Asked);
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Whose::Nobodys),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", dir.display())),
    };
    // What a fresh file system has at its top is nobody's.
    let is_empty = entries.flatten().all(|entry| entry.file_name() == "lost+found");
    Ok(if is_empty { Whose::Nobodys } else { Whose::Others })
}

/// Makes the directory the demo's, or refuses one that it did not make.
pub(super) async fn take(config: &Config) -> anyhow::Result<()> {
    let dir = &config.data_dir;
    let is_demos = match whose(dir)? {
        Whose::Demos => return Ok(()),
        Whose::Nobodys => true,
        Whose::Asked => is_demos(config).await?,
        Whose::Others => false,
    };
    if !is_demos {
        let said = format!(
            "`valetkey dev` did not make {}, and would put made-up accounts and an operator's token there",
            dir.display()
        );
        let hint = format!("name another directory with --data-dir; without it the demo has its own, {OWN}");
        return Err(Failure::local(said).hint(hint).into());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    tell(dir, &Addresses::default())
}

/// Says where the demo of before is: it was kept where a server keeps its own.
pub(super) fn tell_of_before(dir: &Path, out: &Out) {
    if dir == Path::new(OWN) && !dir.exists() && Path::new(BEFORE).join(world::STATE).exists() {
        out.note(&format!("{BEFORE} has the state of an earlier demo: `valetkey dev --data-dir {BEFORE}` opens it"));
    }
}

/// Keeps where the demo listens, for who asks it for examples.
pub(super) fn tell(dir: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    write_private(&dir.join(MARK), &serde_json::to_string_pretty(addresses)?)
}

/// Where the demo listens that runs on this directory now.
pub(super) fn running(dir: &Path) -> Option<Addresses> {
    let lock = File::open(dir.join("server.lock")).ok()?;
    match lock.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => {}
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => return None,
    }
    let told: Addresses = serde_json::from_str(&std::fs::read_to_string(dir.join(MARK)).ok()?).ok()?;
    (!told.api.is_empty()).then_some(told)
}

/// Refuses the demo's directory where a server is set up or run: its tokens stood on a screen.
pub(crate) async fn refuse(config: &Config) -> anyhow::Result<()> {
    let dir = config.data_dir.display();
    let is_demos = match whose(&config.data_dir)? {
        Whose::Nobodys | Whose::Others => return Ok(()),
        Whose::Demos => true,
        Whose::Asked => is_demos(config).await?,
    };
    if is_demos {
        let said =
            format!("{dir} is the demo's (`valetkey dev` made it), with made-up accounts and tokens that it printed");
        return Err(Failure::local(said)
            .hint("`valetkey server init --data-dir DIR` sets another directory up; `valetkey dev --data-dir` opens this one")
            .into());
    }
    tracing::warn!(
        "`valetkey dev` was once started on {dir}: the tokens in {dir}/{}, an operator's among them, may be good; end them, and delete that file",
        world::STATE
    );
    Ok(())
}

/// Whether the demo of before made the database: there the operators came with its accounts, where somebody set a server up they
/// were there before.
async fn is_demos(config: &Config) -> anyhow::Result<bool> {
    let _lock = crate::node::lock(&config.data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    let store = crate::node::opening::open_store(config, &clock, &entropy, &tasks, &end, false).await?;
    let asked = async {
        let operators = store.account_named(&Name::parse(OPERATORS)?).await?;
        let first = store.account_named(&Name::parse(world::FIRST_ACCOUNT)?).await?;
        anyhow::Ok(match (operators, first) {
            (Some(operators), Some(first)) => made(operators.id) >= made(first.id),
            // Only a start that was cut short leaves one without the other, and a server has operators.
            (operators, _) => operators.is_none(),
        })
    };
    let asked = asked.await;
    store.close().await?;
    asked
}

/// The millisecond in which an account was made, which its id begins with.
fn made(id: valetkey_core::id::AccountId) -> u128 {
    u128::from_be_bytes(id.to_bytes()) >> 80
}
