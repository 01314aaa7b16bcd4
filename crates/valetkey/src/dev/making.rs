//! What the parts of the demo are made with: accounts, callers, and the files of their tokens.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use valetkey_core::account::{Account, Metering};
use valetkey_core::caller::Role;
use valetkey_core::error::{Error, Kind};
use valetkey_core::id::CallerId;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::AccountAdmin;
use valetkey_core::time::Entropy;
use valetkey_core::token::{Maker, PlainToken};

use crate::node::Handles;

/// The file with a caller's token, for commands that take it from there.
pub(crate) fn token_file(data_dir: &Path, caller: &str) -> PathBuf {
    data_dir.join(format!("{caller}.token"))
}

/// A token as a shell reads it from its file.
pub(super) fn token(data_dir: &Path, name: &str) -> String {
    format!("$(cat {})", token_file(data_dir, name).display())
}

pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// A thing that may have been made before the last start was cut short.
pub(crate) fn or_there<T: Default>(made: Result<T, Error>) -> Result<T, Error> {
    match made {
        Err(error) if matches!(error.kind(), Kind::AlreadyExists(_)) => Ok(T::default()),
        made => made,
    }
}

pub(crate) async fn account(accounts: &dyn AccountAdmin, name: &str, now: Timestamp) -> Result<Account, Error> {
    let name = Name::parse(name)?;
    match accounts.account_named(&name).await? {
        Some(account) => Ok(account),
        None => accounts.create_account(&name, Metering::Free, now).await,
    }
}

pub(crate) async fn caller(
    node: &Handles,
    account: &Account,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<(CallerId, PlainToken), Error> {
    let id = node.registry.ensure_caller(account.id, &Name::parse(name)?, role, now).await?;
    let entropy: &dyn Entropy = &*node.entropy;
    let token = PlainToken::generate(entropy);
    node.registry.create_token(id, &token, None, Maker::Server, now).await?;
    Ok((id, token))
}
