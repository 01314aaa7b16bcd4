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
use valetkey_core::account::{Metering, Standing};
use valetkey_core::caller::Role;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::vault::Vault;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::signing::SigningKeyRequest;

use crate::cli::check::{self, Checked};
use crate::cli::client::{Client, Route};
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::cli::show;
use crate::config::{Config, KEYS, Layers};
use crate::node::system::{SystemClock, SystemEntropy};
use crate::node::{Node, database, log, otel, ring};

mod backup;
mod copy;
mod keyring;

const NODES: &[show::Column] = &[
    ("NAME", &["name"]),
    ("LIVE", &["live"]),
    ("LAST HEARD", &["last_heard"]),
    ("VERSION", &["version"]),
    ("CHAIN", &["chain"]),
    ("HEAD", &["head"]),
    ("DUTIES", &["duties"]),
    ("THIS", &["this"]),
    ("ID", &["id"]),
];

const SIGNING_KEYS: &[show::Column] = &[
    ("KID", &["kid"]),
    ("ALGORITHM", &["algorithm"]),
    ("STATE", &["state"]),
    ("SIGNS FROM", &["signs_from"]),
    ("PUBLISHED UNTIL", &["published_until"]),
];
const NO_KEYS: &str = "there are none";

/// What asks a running server.
fn client<'a>(connection: &Connection, out: &'a Out) -> anyhow::Result<Client<'a>> {
    Ok(Client::new(connection.target(&crate::config::environment(), out)?, out)?)
}

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
    Init {
        /// Make another token of the first operator, where the old ones are lost: they go on. The server must not be running
        #[arg(long)]
        new_operator_token: bool,
        /// Make another keyring, where the database's own is lost and there is no backup: secrets of storages, parent access keys
        /// and live credentials of this server's endpoint are lost with it. Tokens go on. The server must not be running
        #[arg(long, conflicts_with = "new_operator_token")]
        replace_lost_keyring: bool,
        /// Do not ask
        #[arg(long, requires = "replace_lost_keyring")]
        yes: bool,
    },
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
    /// Copy the database, the packages, and the objects on this machine into a new directory, as they are at one point in time; the server
    /// may be running. The keyring is not in it: keep a copy of that elsewhere
    Backup {
        /// A directory that is empty or not there
        dir: PathBuf,
    },
    /// Set an empty data directory up from a backup, once each of its files was verified. Put the keyring back first
    Restore {
        /// What `server backup` wrote
        dir: PathBuf,
    },
    /// Copy everything of one database to another that is empty: from a file of SQLite to a server of Postgres, or back. No server may be
    /// running on either. Put the keyring there first. The side that is not named is what a server here would be configured with
    Copy {
        /// What is copied: a data directory, or the configuration file of its server, without the environment
        #[arg(long, value_name = "DIR|FILE", required_unless_present = "to")]
        from: Option<PathBuf>,
        /// Where to: the same
        #[arg(long, value_name = "DIR|FILE")]
        to: Option<PathBuf>,
    },
    /// List the servers that share the database: asks a running one (`--server`, with an operator's token)
    Nodes,
    /// List the keys that sign identity tokens of this server (`issuer.url`): asks a running one
    SigningKeys,
    /// Make the next keys that sign identity tokens: published at once, they sign a day later. Asks a running server
    RotateSigningKeys {
        /// Only the key of this algorithm: ES256 or RS256
        #[arg(long)]
        algorithm: Option<String>,
        /// Sign with it at once, although who keeps the published keys does not know it yet
        #[arg(long)]
        at_once: bool,
    },
    /// Withdraw a key that signs identity tokens, as when it has leaked: it is published no more, and another one signs in its place.
    /// Asks a running server
    WithdrawSigningKey {
        /// The key, as `signing-keys` names it
        kid: String,
    },
    /// Put a new key at the head of the keyring; a running server takes it up within seconds, live credentials live on
    RotateKeys,
}

/// Runs one of the server's commands.
pub(crate) async fn run(args: Args, connection: &Connection, out: &Out) -> Result<ExitCode, Failure> {
    let command = run_command(args, connection, out);
    command.await.map_err(|error| {
        let missing = error.downcast_ref::<ring::Unread>().is_some();
        let lost = error.downcast_ref::<ring::Lost>().is_some();
        let failure = Failure::from(error);
        match (lost, missing) {
            (true, _) => failure.hint(ring::Lost::HINT),
            (false, true) => failure.hint("set the data directory up with `valetkey server init`"),
            (false, false) => failure,
        }
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
        Command::Init { replace_lost_keyring: true, yes, .. } => keyring::replace(&layers.config()?, yes, out).await?,
        Command::Init { new_operator_token, .. } => init(&layers.config()?, new_operator_token, out).await?,
        Command::Run => {
            let config = layers.config()?;
            let telemetry = otel::Telemetry::start(&config.otel)?;
            log::start(&config.log, telemetry.as_ref().map(otel::Telemetry::spans))?;
            crate::dev::home::refuse(&config).await?;
            let node = Node::start(&config, telemetry).await?;
            if out.format() == Format::Json {
                out.json_line(&json!({ "api": node.api_url, "s3": node.s3_url }))?;
            }
            node.until_stopped().await;
        }
        Command::CheckConfig { markdown: true, .. } => out.data(&markdown())?,
        Command::CheckConfig { markdown: false, storages: false } => out_settings(&layers, None, out)?,
        Command::CheckConfig { markdown: false, storages: true } => {
            layers.config()?;
            let checked = check::all(&client(connection, out)?).await?;
            out_settings(&layers, Some(&checked), out)?;
            return Ok(checked.exit().into());
        }
        Command::Migrate => {
            let config = layers.config()?;
            let _lock = crate::node::lock(&config.data_dir)?;
            let at = config.database()?;
            valetkey_database::Database::migrate(at.clone()).await?;
            out.note(&format!("{at} is up to date"));
        }
        Command::Nodes => {
            let answer = client(connection, out)?.ask(Route::to(op::LIST_NODES, [])).await?;
            show::list(out, &answer, NODES, "there are none")?;
        }
        Command::SigningKeys => {
            let answer = client(connection, out)?.ask(Route::to(op::LIST_SIGNING_KEYS, [])).await?;
            show::list(out, &answer, SIGNING_KEYS, NO_KEYS)?;
        }
        Command::RotateSigningKeys { algorithm, at_once } => {
            let body = SigningKeyRequest { algorithm, at_once: at_once.then_some(true) };
            let answer = client(connection, out)?.send(Route::to(op::ROTATE_SIGNING_KEYS, []), &body).await?;
            show::list(out, &answer, SIGNING_KEYS, NO_KEYS)?;
        }
        Command::WithdrawSigningKey { kid } => {
            let answer = client(connection, out)?.ask(Route::to(op::WITHDRAW_SIGNING_KEY, [&kid])).await?;
            show::list(out, &answer, SIGNING_KEYS, NO_KEYS)?;
        }
        Command::Backup { dir } => backup::save(&layers.config()?, &dir, out).await?,
        Command::Copy { from, to } => copy::run(from.as_deref(), to.as_deref(), &layers, out).await?,
        Command::Restore { dir } => backup::restore(&layers.config()?, &dir, out).await?,
        Command::RotateKeys => {
            let config = layers.config()?;
            let number = ring::rotate(&config.keyring_file(), &SystemEntropy)?;
            out.note(&format!("key {number} makes new credentials; the others still verify theirs"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn init(config: &Config, new_operator_token: bool, out: &Out) -> anyhow::Result<()> {
    crate::dev::home::refuse(config).await?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("{} cannot be made", config.data_dir.display()))?;
    let _lock = crate::node::lock(&config.data_dir)?;
    if backup::is_broken_off(&config.data_dir) {
        anyhow::bail!(
            "a restore to {} was broken off: `valetkey server restore` does it again",
            config.data_dir.display()
        );
    }
    let at = config.database()?;
    if new_operator_token && matches!(&at, valetkey_database::Whereabouts::File(path) if !path.exists()) {
        anyhow::bail!("{} is not set up: `valetkey server init` without a flag does that", config.data_dir.display());
    }
    if config.missing_keyring().is_some() {
        if matches!(at, valetkey_database::Whereabouts::Server(_))
            && crate::node::opening::is_ring_known(config).await?
        {
            anyhow::bail!(
                "the database {at} is used with a keyring already: give this server the same one (`keys.file` or `keys.inline`)"
            );
        }
        ring::create(&config.keyring_file(), &database(config), &SystemEntropy)?;
    }
    for said in crate::node::opening::loose(config) {
        out.warn(&said);
    }
    let keyring = crate::node::opening::keyring(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    let store = crate::node::opening::open_store(config, &clock, &entropy, &tasks, &end, false).await?;
    let made = operator_token(config, &keyring, &store, (&clock, &entropy), new_operator_token).await;
    store.close().await?;
    let (token, id) = made?;
    if new_operator_token {
        log::start(&config.log, None)?;
        tracing::warn!(token.id = %id, "a new operator's token, {id}, was made on this machine with `server init`");
    }
    match out.format() {
        Format::Json => out.json(
            &json!({ "data_dir": config.data_dir, "operator_token": token.reveal(), "token_id": id.to_string() }),
        ),
        Format::Table => {
            let done =
                if new_operator_token { "has another operator's token" } else { "is set up. The operator's token" };
            out.note(&format!("{} {done}, shown this once ({id}):", config.data_dir.display()));
            out.data(token.reveal())
        }
    }
    .map_err(Into::into)
}

/// Makes the first operator and a token of it; another one only if that was said.
async fn operator_token(
    config: &Config,
    keyring: &SharedKeyring,
    store: &valetkey_database::Database,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
    another: bool,
) -> anyhow::Result<(PlainToken, TokenId)> {
    let ring = keyring.load();
    ring::prove(&ring, store, &Vault::new(keyring.clone(), Arc::clone(entropy))).await?;
    let name = Name::parse("operators")?;
    let account = match store.account_named(&name).await? {
        Some(account) => account,
        None => store.create_account(&name, Metering::Free, clock.now()).await?,
    };
    if account.standing == Standing::Suspended {
        // Whoever has the machine is above whoever suspended it, here and below.
        store.change_account(account.id, Standing::Active, account.metering).await?;
    }
    let callers = store.callers(account.id).await?;
    // One that is no operator any more keeps its name.
    let is_free = |name: &String| callers.iter().all(|one| one.name.as_str() != name || one.role == Role::Operator);
    let mut names = std::iter::once("admin".to_owned()).chain((2..).map(|number| format!("admin-{number}")));
    let name = names.find(is_free).unwrap_or_default();
    let caller = store.ensure_caller(account.id, &Name::parse(&name)?, Role::Operator, clock.now()).await?;
    let known = store.tokens(Some(account.id)).await?;
    if !another && known.iter().any(|token| token.caller == caller && token.revoked.is_none()) {
        anyhow::bail!(
            "{} is set up: the operator has a token; `--new-operator-token` makes another one",
            config.data_dir.display()
        );
    }
    store.activate_caller(caller).await?;
    let token = PlainToken::generate(&**entropy);
    let record = store.create_token(caller, &token, None, Maker::Server, clock.now()).await?;
    store.keep_ring(&ring.check_values()).await?;
    Ok((token, record.id))
}

/// Reads everything that is configured, and shows it with what was found of the storages.
fn out_settings(layers: &Layers, storages: Option<&Checked>, out: &Out) -> anyhow::Result<()> {
    let config = layers.config()?;
    if !config.keys.inline.reveal().is_empty() {
        ring::read(config.keys.inline.reveal())?;
    } else if config.keyring_file().exists() {
        ring::load(&config.keyring_file())?;
    }
    ring::present(&config.keyring_file(), &database(&config))
        .or_else(|lost| if config.keys.inline.reveal().is_empty() { Err(lost) } else { Ok(()) })?;
    crate::node::own::configured(&config)?;
    crate::node::catalogs::configured(&config, &(Arc::new(SystemClock) as Arc<dyn Clock>))?;
    for said in crate::node::opening::loose(&config) {
        out.warn(&said);
    }
    for doubts in crate::node::check_tls(&config, &SystemClock)?.into_iter().flatten() {
        out.warn(&doubts);
    }
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
