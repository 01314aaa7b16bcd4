//! `valetkey dev`: everything on loopback with nothing configured: state, accounts, tokens, grants and real data.

mod access_grants;
mod check;
pub(crate) mod dreadnode;
pub(crate) mod home;
mod iceberg;
mod making;
mod r2;
mod share;
mod sts;
mod told;
mod unity;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::config::Layers;
use crate::dev::access_grants::AccessGrantsReady;
use crate::dev::iceberg::IcebergReady;
use crate::dev::r2::R2Ready;
use crate::dev::sts::StsReady;
use crate::dev::unity::UnityReady;
use crate::dev::world::{AdminState, CallerState, Forbidden, State};
use crate::node::listen::Taken;
use crate::node::{Node, log, otel, ring};

/// What `valetkey dev` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for the demo's state, made by it; delete it to start over
    #[arg(long, value_name = "DIR", default_value = home::OWN)]
    data_dir: PathBuf,
    /// Address of the API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    api_listen: SocketAddr,
    /// Address of the S3 endpoint; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7071")]
    s3_listen: SocketAddr,
    /// Start on free ports in a temporary directory, prove that keys open what they should and nothing else, and exit
    #[arg(long)]
    check: bool,
    /// Print commands to paste for each API and tool; if the demo runs already, print them and exit
    #[arg(long, conflicts_with = "check")]
    examples: bool,
}

/// The one line that scripts read.
#[derive(Serialize)]
struct Ready<'a> {
    api: &'a str,
    s3: &'a str,
    callers: &'a [CallerState],
    forbidden: Vec<Forbidden>,
    admin: &'a AdminState,
    /// A link that signs into the console, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dreadnode: Option<dreadnode::Ready<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r2: Option<R2Ready<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sts: Option<StsReady<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_grants: Option<AccessGrantsReady<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta_sharing: Option<share::ShareReady>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unity: Option<UnityReady<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iceberg: Option<IcebergReady<'a>>,
}

/// Runs the demo until it is interrupted, or checks it.
pub(crate) async fn run(args: Args, out: &Out) -> Result<ExitCode, Failure> {
    start(args, out).await.map_err(|error| {
        let taken = error.downcast_ref::<Taken>().is_some();
        let failure = Failure::from(error);
        if taken {
            failure.hint("take free ports with --api-listen 127.0.0.1:0 --s3-listen 127.0.0.1:0")
        } else {
            failure
        }
    })
}

async fn start(args: Args, out: &Out) -> anyhow::Result<ExitCode> {
    if args.examples
        && let Some(addresses) = home::running(&args.data_dir)
    {
        let state = world::kept(&args.data_dir)?;
        tell(&ready(&addresses, &state), &state, &args.data_dir, Told::Examples, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let temporary = if args.check { Some(Scratch::new()?) } else { None };
    let data_dir = temporary.as_ref().map_or(args.data_dir, |scratch| scratch.0.clone());
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let (api, s3) = if args.check { (free, free) } else { (args.api_listen, args.s3_listen) };
    let mut environment = crate::config::environment();
    // The demo's own settings stand; what it logs may be chosen, what other stores and APIs may be tried with it, and pages in browsers.
    environment.retain(|name, _| {
        let cors = ["VALETKEY_API__CORS_ORIGINS", "VALETKEY_S3__CORS_ORIGINS"].contains(&name.as_str());
        cors || [
            "LOG",
            "OTEL",
            "AUDIT",
            "LIMITS",
            "LEDGER",
            "DREADNODE",
            "DIALECTS",
            "ICEBERG",
            "UPSTREAM",
            "GATEWAY",
            "IDENTITY",
            "ISSUER",
        ]
        .iter()
        .any(|group| name.strip_prefix("VALETKEY_").is_some_and(|rest| rest.starts_with(&format!("{group}__"))))
            || name == "VALETKEY_S3__MIN_FREE_BYTES"
    });
    let mut flags: BTreeMap<&'static str, String> = BTreeMap::from([
        ("data_dir", data_dir.display().to_string()),
        ("api.listen", api.to_string()),
        ("s3.listen", s3.to_string()),
        ("s3.min_ttl_secs", "1".to_owned()),
    ]);
    // A demo is tried by scripts and by load generators: its limits are real, and out of their way.
    for (name, variable, windows) in [
        ("limits.credentials", "VALETKEY_LIMITS__CREDENTIALS", "per-second:100000/1,per-minute:6000000/60"),
        ("limits.requests", "VALETKEY_LIMITS__REQUESTS", "per-second:200/1,per-minute:6000/60"),
        ("limits.strangers", "VALETKEY_LIMITS__STRANGERS", "per-second:200/1,per-minute:6000/60"),
    ] {
        if !environment.contains_key(variable) {
            flags.insert(name, windows.to_owned());
        }
    }
    if !environment.contains_key("VALETKEY_LOG__LEVEL") {
        flags.insert("log.level", "warn".to_owned());
    }
    let flags: Vec<_> = flags.into_iter().collect();
    let config = Layers::read(None, &environment, &flags)?.config()?;
    crate::node::system::keep_files_private();
    let telemetry = otel::Telemetry::start(&config.otel)?;
    log::start(&config.log, telemetry.as_ref().map(otel::Telemetry::spans))?;
    home::tell_of_before(&config.data_dir, out);
    home::take(&config).await?;
    if !config.keyring_file().exists() {
        let database = crate::node::database(&config);
        ring::create(&config.keyring_file(), &database, &crate::node::system::SystemEntropy)?;
    }
    let node = Node::start(&config, telemetry).await?;
    let state = world::ensure(&node.handles, &config.data_dir).await?;
    if args.check {
        let failed = check::run(&node, &state, out).await?;
        node.shut_down().await;
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let addresses = home::Addresses { api: node.api_url.clone(), s3: node.s3_url.clone() };
    home::tell(&config.data_dir, &addresses)?;
    world::write_tokens(&config.data_dir, &state)?;
    let console = node.handles.console_link(&node.api_url, &state.admin.token);
    let ready = Ready { console, ..ready(&addresses, &state) };
    if let Some(shared) = &ready.delta_sharing {
        making::write_private(&config.data_dir.join("config.share"), &shared.profile.to_string())?;
    }
    let told = if args.examples { Told::All } else { Told::Summary };
    tell(&ready, &state, &config.data_dir, told, out)?;
    node.until_stopped().await;
    Ok(ExitCode::SUCCESS)
}

/// A directory that goes when the check ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("valetkey-check-{}", std::process::id()));
        // Nobody else looks into it, nor finds a warning in the check's output that somebody could.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the ready line says.
fn ready<'a>(addresses: &'a home::Addresses, state: &'a State) -> Ready<'a> {
    let home::Addresses { api, s3 } = addresses;
    Ready {
        api,
        s3,
        callers: &state.callers,
        forbidden: world::forbidden(),
        admin: &state.admin,
        console: None,
        dreadnode: state.dreadnode.as_ref().map(|own| dreadnode::Ready::new(api, own)),
        r2: state.r2.as_ref().map(|r2| R2Ready::new(api, s3, r2)),
        sts: state.r2.as_ref().map(|r2| StsReady::new(api, r2)),
        access_grants: state.r2.as_ref().and_then(|r2| AccessGrantsReady::new(api, r2)),
        delta_sharing: state.delta_sharing.as_ref().map(|state| share::ready(api, state)),
        unity: state.delta_sharing.as_ref().map(|state| UnityReady::new(api, state)),
        iceberg: state.delta_sharing.as_ref().filter(|_| state.iceberg).map(|state| IcebergReady::new(api, state)),
    }
}

/// What people are told; scripts are told all of it in one line.
#[derive(Clone, Copy)]
enum Told {
    Summary,
    Examples,
    All,
}

fn tell(ready: &Ready<'_>, state: &State, data_dir: &Path, told: Told, out: &Out) -> Result<(), Failure> {
    if out.format() == Format::Json {
        return out.json_line(ready);
    }
    let summary = || out.data(&told::summary(ready, data_dir, out));
    let examples = || out.data(&told::examples(ready, state, data_dir, out));
    match told {
        Told::Summary => summary(),
        Told::Examples => examples(),
        Told::All => summary().and_then(|()| out.data("")).and_then(|()| examples()),
    }
}
