//! `valetkey dialect`: APIs of one's own, described by files: what they say, whether they are possible, and what they answer.

use std::path::PathBuf;

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use valetkey_dialects::custom::{Shown, Spec};

use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out};
use crate::config::{Layers, Unusable, environment};
use crate::node::own;

/// Look at, check and try APIs of your own, which files describe
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Which files.
#[derive(Debug, clap::Args)]
struct Files {
    /// Files, or directories of them; without any those of the server's configuration (`dialects.paths`)
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Configuration file of the server
    #[arg(long, env = "VALETKEY_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List their routes, and what each opens. Asks no server
    #[command(visible_alias = "list")]
    Ls(Files),
    /// Check files before a server reads them. Asks no server
    Check(Files),
    /// Send a request to the running server, with the token where the API has it, and print the answer
    Try(Try),
}

#[derive(Debug, clap::Args)]
struct Try {
    /// The method
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path, with its query if it has one
    #[arg(value_name = "PATH")]
    path: String,
    /// A file that describes the API, or a directory of them; without one those of the server's configuration
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
    /// Configuration file of the server
    #[arg(long, env = "VALETKEY_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A header of the request, as in `X-Name: value`
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// The body: JSON
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
}

impl Args {
    /// Whether a server is asked.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.command, Command::Try(_))
    }

    /// Runs what asks no server.
    pub(crate) fn look(&self, out: &Out) -> Result<(), Failure> {
        match &self.command {
            Command::Ls(files) => show(&files.read()?, out),
            Command::Check(files) => {
                let specs = files.read()?;
                let names: Vec<_> =
                    specs.iter().map(|spec| format!("`{}` at `{}`", spec.name(), spec.base())).collect();
                out.note(&format!("no fault found: {}", names.join(", ")));
                show(&specs, out)
            }
            Command::Try(_) => Ok(()),
        }
    }
}

impl Files {
    fn read(&self) -> Result<Vec<Spec>, Failure> {
        read(&self.paths, self.config.as_deref())
    }
}

fn read(paths: &[PathBuf], config: Option<&std::path::Path>) -> Result<Vec<Spec>, Failure> {
    let refused = |error: Unusable| Failure::usage(error.to_string());
    let specs = if paths.is_empty() {
        let layers = Layers::read(config, &environment(), &[]);
        layers.and_then(|layers| own::configured(&layers.config()?)).map_err(refused)?
    } else {
        own::read(paths).map_err(refused)?
    };
    if specs.is_empty() {
        return Err(Failure::usage("no API of your own is configured").hint("name a file, or set `dialects.paths`"));
    }
    Ok(specs)
}

fn show(specs: &[Spec], out: &Out) -> Result<(), Failure> {
    let routes: Vec<Shown> = specs.iter().flat_map(Spec::shown).collect();
    if out.format() == Format::Json {
        return out.json(&json!({ "routes": routes }));
    }
    let row = |shown: &Shown| {
        let Shown { dialect, route, token, opens, access, ttl_secs, fields } = shown;
        let texts = [*dialect, route, token, opens, access];
        let mut row: Vec<String> = texts.map(str::to_owned).to_vec();
        row.extend([ttl_secs.to_string(), fields.join(", ")]);
        row
    };
    let rows: Vec<_> = routes.iter().map(row).collect();
    out.table(&["api", "route", "token", "opens", "access", "ttl_secs", "fields"], &rows)
}

/// Asks the server.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    let Command::Try(Try { method, path, from, config, header, body }) = args.command else { return Ok(Exit::Ok) };
    let specs = read(&from, config.as_deref())?;
    let spec = specs.iter().find(|spec| path.starts_with(spec.base()));
    let spec = spec.ok_or_else(|| {
        let bases: Vec<_> = specs.iter().map(|spec| format!("`{}`", spec.base())).collect();
        Failure::usage(format!("`{path}` is of none of these APIs; their paths start with {}", bases.join(", ")))
    })?;
    let carrier = spec.carriers().first().copied().ok_or_else(|| Failure::usage("the API takes no token"))?;
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Failure::usage(format!("`{method}` is no method")))?;
    let headers = header.iter().map(|text| parse_header(text)).collect::<Result<_, _>>()?;
    let (status, text) = client.raw(method, &path, carrier, (headers, body)).await?;
    if out.format() == Format::Json {
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        out.json(&json!({ "status": status, "body": body }))?;
    } else {
        out.note(&format!("status {status}"));
        out.data(&text)?;
    }
    Ok(Exit::of_status(status))
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let read =
        text.split_once(':').and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    read.ok_or_else(|| Failure::usage(format!("`{text}` is not a header; one is written `Name: value`")))
}
