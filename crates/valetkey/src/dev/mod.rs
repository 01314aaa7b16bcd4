//! `valetkey dev`: everything on loopback with nothing configured: state, accounts, tokens, grants and real data.

mod check;
pub(crate) mod dreadnode;
mod r2;
mod share;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::config::Layers;
use crate::dev::r2::R2Ready;
use crate::dev::world::{AdminState, CallerState, Forbidden, State};
use crate::node::{Node, log, ring};

/// What `valetkey dev` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for the demo's state; delete it to start over
    #[arg(long, value_name = "DIR", default_value = "valetkey-data")]
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
}

/// The one line that scripts read.
#[derive(Serialize)]
struct Ready<'a> {
    api: &'a str,
    s3: &'a str,
    callers: &'a [CallerState],
    forbidden: Vec<Forbidden>,
    admin: &'a AdminState,
    #[serde(skip_serializing_if = "Option::is_none")]
    dreadnode: Option<dreadnode::Ready<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r2: Option<R2Ready<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta_sharing: Option<share::ShareReady>,
}

/// Runs the demo until it is interrupted, or checks it.
pub(crate) async fn run(args: Args, out: &Out) -> Result<ExitCode, Failure> {
    start(args, out).await.map_err(|error| {
        let taken = error.to_string().contains("listen on");
        let failure = Failure::from(error);
        if taken {
            failure.hint("take free ports with --api-listen 127.0.0.1:0 --s3-listen 127.0.0.1:0")
        } else {
            failure
        }
    })
}

async fn start(args: Args, out: &Out) -> anyhow::Result<ExitCode> {
    let temporary = if args.check { Some(Scratch::new()?) } else { None };
    let data_dir = temporary.as_ref().map_or(args.data_dir, |scratch| scratch.0.clone());
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let (api, s3) = if args.check { (free, free) } else { (args.api_listen, args.s3_listen) };
    let mut environment = crate::config::environment();
    // The demo's own settings stand; what it logs may be chosen, and what other stores may be tried with it.
    environment.retain(|name, _| {
        ["LOG", "LIMITS", "LEDGER", "DREADNODE", "UPSTREAM", "GATEWAY"]
            .iter()
            .any(|group| name.strip_prefix("VALETKEY_").is_some_and(|rest| rest.starts_with(&format!("{group}__"))))
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
    log::start(&config.log)?;
    std::fs::create_dir_all(&config.data_dir)?;
    if !config.keyring_file().exists() {
        let database = crate::node::database(&config);
        ring::create(&config.keyring_file(), &database, &crate::node::system::SystemEntropy)?;
    }
    let node = Node::start(&config).await?;
    let state = world::ensure(&node, &config.data_dir).await?;
    if args.check {
        let failed = check::run(&node, &state, out).await?;
        node.shut_down().await;
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let ready = Ready {
        api: &node.api_url,
        s3: &node.s3_url,
        callers: &state.callers,
        forbidden: world::forbidden(),
        admin: &state.admin,
        dreadnode: state.dreadnode.as_ref().map(|own| dreadnode::Ready::new(&node.api_url, own)),
        r2: state.r2.as_ref().map(|r2| R2Ready::of(&node, r2)),
        delta_sharing: state.delta_sharing.as_ref().map(|state| share::ready(&node.api_url, state)),
    };
    if let Some(shared) = &ready.delta_sharing {
        world::write_private(&config.data_dir.join("config.share"), &shared.profile.to_string())?;
    }
    let told = match out.format() {
        Format::Json => out.json_line(&ready),
        Format::Table => out.data(&banner(&ready, &state, &config.data_dir, out)),
    };
    told?;
    node.until_stopped().await;
    Ok(ExitCode::SUCCESS)
}

/// A directory that goes when the check ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("valetkey-check-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How to call this very program, from where the user stands.
fn program() -> String {
    let here = std::env::current_dir().ok();
    let own = std::env::current_exe().ok();
    let near = own.as_ref().zip(here.as_ref()).and_then(|(own, here)| own.strip_prefix(here).ok());
    match (near, own.as_ref()) {
        (Some(near), _) => format!("./{}", near.display()),
        (None, Some(own)) => own.display().to_string(),
        (None, None) => "valetkey".to_owned(),
    }
}

fn banner(ready: &Ready<'_>, state: &State, data_dir: &std::path::Path, out: &Out) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |parts: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(parts);
        text.push('\n');
    };
    let program = program();
    line(format_args!("{}", out.bold("Valetkey, as a demo: loopback only, made-up accounts, real data.")));
    line(format_args!("State is in {}; delete it to start over. Ctrl-C ends.", data_dir.display()));
    line(format_args!(""));
    line(format_args!("API  {}", ready.api));
    line(format_args!("S3   {}", ready.s3));
    line(format_args!(""));
    for caller in ready.callers {
        line(format_args!(
            "{:8} of {:7} may {:10} s3://{}/{}/\n  {}",
            caller.name, caller.account, caller.access, caller.bucket, caller.prefix, caller.token
        ));
    }
    line(format_args!("admin    runs the server\n  {}", ready.admin.token));
    line(format_args!(""));
    for forbidden in &ready.forbidden {
        line(format_args!("There, and in no one's reach: s3://{}/{}", forbidden.bucket, forbidden.key));
    }
    let Some(reader) = ready.callers.first() else { return text };
    line(format_args!("\n{}", out.bold("Ask for a key, as TheirStack's API does it:")));
    line(format_args!(
        "  curl -sX POST {}/v1/datasets/credentials -H 'Authorization: Bearer {}'",
        ready.api, reader.token
    ));
    if let Some(r2) = &ready.r2 {
        line(format_args!("\n{}", out.bold("Ask for a key, as Cloudflare's R2 API does it:")));
        line(format_args!("{}", r2.example()));
    }
    line(format_args!("\n{}", out.bold("Take a key into this shell, then use it:")));
    line(format_args!(
        "  {}",
        out.dim("(the tools: pip install awscli polars duckdb; offline also duckdb-extension-httpfs)")
    ));
    line(format_args!("  export VALETKEY_SERVER={} VALETKEY_TOKEN={}", ready.api, reader.token));
    line(format_args!("  eval \"$({program} creds --format env)\""));
    line(format_args!("  aws s3 ls s3://{}/{}/", reader.bucket, reader.prefix));
    line(format_args!(
        "  python3 -c 'import polars as pl; print(pl.read_parquet(\"s3://{}/{}/*.parquet\").head())'",
        reader.bucket, reader.prefix
    ));
    line(format_args!(
        "  python3 -c 'import duckdb, glob, subprocess, sysconfig; [duckdb.load_extension(file) for file in glob.glob(sysconfig.get_path(\"purelib\") + \"/duckdb_extension_httpfs/**/*.duckdb_extension\", recursive=True)]; duckdb.sql(subprocess.check_output([\"{program}\", \"creds\", \"--format\", \"duckdb\"], text=True)); print(duckdb.sql(\"select count(*) from \\\"s3://{}/{}/*.parquet\\\"\"))'",
        reader.bucket, reader.prefix
    ));
    if let Some(shared) = &ready.delta_sharing {
        line(format_args!("\n{}", out.bold("Read a table that was shared, by Delta Sharing:")));
        for example in share::lines(shared, data_dir) {
            line(format_args!("{example}"));
        }
    }
    line(format_args!("\n{}", out.bold("Try to get further with it (both are refused):")));
    line(format_args!("  aws s3 ls s3://{}/{}-secret/", reader.bucket, reader.prefix));
    line(format_args!("  aws s3 cp /etc/hostname s3://{}/{}/", reader.bucket, reader.prefix));
    line(format_args!("\n{}", out.bold("Ask why, whose key it is, and end it:")));
    line(format_args!(
        "  {program} explain get-object s3://{}/{}-secret/2013-01-01.parquet",
        reader.bucket, reader.prefix
    ));
    line(format_args!("  {program} whose \"$AWS_ACCESS_KEY_ID\""));
    line(format_args!("  {program} lease ls"));
    line(format_args!("  {program} revoke --caller {}", reader.name));
    if let Some(own) = &state.dreadnode {
        for text in dreadnode::lines(ready.api, own, out) {
            line(format_args!("{text}"));
        }
    }
    text
}
