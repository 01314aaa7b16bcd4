//! `valetkey server`: set a server up, run it, look after it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::name::Name;
use valetkey_core::port::Registry;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};

use crate::cli::check::{self, Checked};
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::config::{Config, KEYS, Layers};
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::{Node, database, log, ring};

/// What `valetkey server` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(long, env = "VALETKEY_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Directory of the server's state
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Address of the API
    #[arg(long, value_name = "ADDRESS", global = true)]
    api_listen: Option<String>,
    /// Address of the S3 endpoint
    #[arg(long, value_name = "ADDRESS", global = true)]
    s3_listen: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up the data directory: keyring, database, and the first operator, whose token is printed once
    Init,
    /// Run the server
    Run,
    /// Check the configuration and show every setting with where it came from
    CheckConfig {
        /// Print the documentation of the settings as Markdown instead
        #[arg(long, hide = true)]
        markdown: bool,
        /// Check every storage that has a bucket, too: asks the running server (`--server`, with an operator's token), and ends
        /// with 1 if one fails
        #[arg(long, conflicts_with = "markdown")]
        storages: bool,
    },
    /// Bring the database to this version's layout
    Migrate,
    /// Put a new key at the head of the keyring; a running server takes it up within seconds, live credentials live on
    RotateKeys,
}

/// Runs one of the server's commands.
pub(crate) async fn run(args: Args, connection: &Connection, out: &Out) -> Result<ExitCode, Failure> {
    let command = run_command(args, connection, out);
    command.await.map_err(|error| {
        let missing = error.to_string().contains("keyring") && error.to_string().contains("cannot be read");
        let failure = Failure::from(error);
        if missing { failure.hint("set the data directory up with `valetkey server init`") } else { failure }
    })
}

async fn run_command(args: Args, connection: &Connection, out: &Out) -> anyhow::Result<ExitCode> {
    let flags: Vec<(&'static str, String)> = [
        ("data_dir", args.data_dir.as_ref().map(|dir| dir.display().to_string())),
        ("api.listen", args.api_listen.clone()),
        ("s3.listen", args.s3_listen.clone()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    crate::node::system::keep_files_private();
    let layers = Layers::read(args.config.as_deref(), &crate::config::environment(), &flags)?;
    match args.command {
        Command::Init => init(&layers.config()?, out).await?,
        Command::Run => {
            let config = layers.config()?;
            log::start(&config.log)?;
            let node = Node::start(&config).await?;
            if out.format() == Format::Json {
                out.json_line(&json!({ "api": node.api_url, "s3": node.s3_url }))?;
            }
            node.until_stopped().await;
        }
        Command::CheckConfig { markdown: true, .. } => out.data(&markdown())?,
        Command::CheckConfig { markdown: false, storages: false } => out_settings(&layers, None, out)?,
        Command::CheckConfig { markdown: false, storages: true } => {
            layers.config()?;
            let client = Client::new(connection.target(&crate::config::environment(), out)?, out)?;
            let checked = check::all(&client).await?;
            out_settings(&layers, Some(&checked), out)?;
            return Ok(checked.exit().into());
        }
        Command::Migrate => {
            let config = layers.config()?;
            valetkey_store::Store::migrate(&database(&config)).await?;
            out.note(&format!("{} is up to date", database(&config).display()));
        }
        Command::RotateKeys => {
            let config = layers.config()?;
            let number = ring::rotate(&config.keyring_file(), &SystemEntropy)?;
            out.note(&format!("key {number} makes new credentials; the others still verify theirs"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn init(config: &Config, out: &Out) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("{} cannot be made", config.data_dir.display()))?;
    if config.keys.inline.reveal().is_empty() && !config.keyring_file().exists() {
        ring::create(&config.keyring_file(), &SystemEntropy)?;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    let store = crate::node::open_store(config, &clock, &entropy, &tasks, &end).await?;
    let name = Name::parse("operators")?;
    let account = match store.account_named(&name).await? {
        Some(account) => account,
        None => store.create_account(&name, Metering::Free, clock.now()).await?,
    };
    let caller = store.ensure_caller(account.id, &Name::parse("admin")?, Role::Operator, clock.now()).await?;
    let known = store.tokens(Some(account.id)).await?;
    if known.iter().any(|token| token.caller == caller && token.revoked.is_none()) {
        store.close().await?;
        anyhow::bail!("{} is set up: the operator has a token", config.data_dir.display());
    }
    let token = PlainToken::generate(&*entropy);
    store.create_token(caller, &token, None, Maker::Server, clock.now()).await?;
    store.close().await?;
    match out.format() {
        Format::Json => out.json(&json!({ "data_dir": config.data_dir, "operator_token": token.reveal() })),
        Format::Table => {
            out.note(&format!("{} is set up. The operator's token, shown this once:", config.data_dir.display()));
            out.data(token.reveal())
        }
    }
    .map_err(Into::into)
}

/// Reads everything that is configured, and shows it with what was found of the storages.
fn out_settings(layers: &Layers, storages: Option<&Checked>, out: &Out) -> anyhow::Result<()> {
    let config = layers.config()?;
    if !config.keys.inline.reveal().is_empty() {
        ring::read(config.keys.inline.reveal())?;
    } else if config.keyring_file().exists() {
        ring::load(&config.keyring_file())?;
    }
    crate::node::check_tls(&config, &SystemClock)?;
    let rows: Vec<Vec<String>> = layers.rows().into_iter().map(Vec::from).collect();
    match out.format() {
        Format::Json => {
            let settings: Vec<_> = layers
                .rows()
                .into_iter()
                .map(|[key, value, origin]| json!({ "key": key, "value": value, "origin": origin }))
                .collect();
            match storages {
                None => out.json(&json!({ "settings": settings })),
                Some(checked) => out.json(&json!({ "settings": settings, "storages": checked.reports })),
            }
        }
        Format::Table => {
            out.table(&["setting", "value", "from"], &rows)?;
            storages.map_or(Ok(()), |checked| checked.show(out))
        }
    }
    .map_err(Into::into)
}

/// The documentation of the settings: the body of `docs/config.md`.
fn markdown() -> String {
    let mut text = String::from("| setting | default | what it means |\n|---|---|---|\n");
    for key in KEYS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{}` | `{}` | {} |", key.path, key.default, key.about);
    }
    text
}
