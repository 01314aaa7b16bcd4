//! `valetkey creds`: vends a credential and writes it the way a tool wants it.

pub(crate) mod ask;
mod azure;
pub(crate) mod cache;
pub(crate) mod formats;
mod google;
pub(crate) mod key;
pub(crate) mod quote;
pub(crate) mod render;
mod s3;

use std::path::PathBuf;

use serde_json::Value;

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Out};
use crate::cli::show;
use ask::{Ask, Wanted};
pub(crate) use formats::Format;
use key::{Key, narrowed};
use render::render;

const EXAMPLES: &str = "\
Examples:
  eval \"$(valetkey creds flights-daily)\"                          # keys for this shell
  valetkey creds s3://flights-lake/flights/daily --format duckdb  # a CREATE SECRET for DuckDB
  valetkey creds flights-daily --ttl 15m --object flights/daily/2013-01-01.parquet
  credential_process = /usr/bin/valetkey creds flights-daily --format process

The last line goes into a profile of ~/.aws/config; the token into a file named by VALETKEY_TOKEN_FILE.

`valetkey help formats` lists the formats.";

/// Get short-lived credentials for a grant or a place
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// How to write them; with `--output json`, json
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Do not keep credentials for the next call (`--format process` keeps them in a file)
    #[arg(long)]
    no_cache: bool,
    /// Directory of kept credentials
    #[arg(long, value_name = "DIR", env = "VALETKEY_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,
    /// Where other programs keep such files; `valetkey/creds` in it is ours.
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,
}

/// Runs `valetkey creds`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let ask = args.wanted.ask(out)?;
    let format = args.format.unwrap_or(match out.format() {
        output::Format::Json => Format::Json,
        output::Format::Table => Format::Env,
    });
    if format == Format::Process && !args.no_cache {
        let directory = cache::directory(args.cache_dir, args.xdg_cache_home);
        let kept = cache::Cache::open(directory, client, &ask)?;
        // Refused before it is kept: an SDK that asks again gets the same refusal, and not a file it cannot read.
        let fitting = async || {
            let vended = vend(client, &ask).await?;
            render(format, &vended.0).map(|_| vended)
        };
        let confirm = async |lease: String| confirm(client, &lease).await;
        let key = kept.get_or(client.timeout(), out, confirm, fitting).await?;
        return out.data(&render(format, &key)?);
    }
    let (key, answer) = vend(client, &ask).await?;
    if format == Format::Json {
        return out.json(&answer);
    }
    let written = render(format, &key)?;
    for cut in &key.cuts {
        out.warn(cut);
    }
    for how in &key.narrowed {
        out.warn(&narrowed(how));
    }
    out.data(&written)?;
    out.note(&key.summary());
    if out.to_terminal() && matches!(format, Format::Env | Format::Fish | Format::Powershell) {
        out.note(format.how_to_load());
    }
    Ok(())
}

/// Vends once. The answer is kept beside what was read of it, for those who want it whole.
pub(crate) async fn vend(client: &Client<'_>, ask: &Ask) -> Result<(Key, Value), Failure> {
    let answer = match client.send(Route::to(op::VEND, []), ask).await {
        Ok(answer) => answer,
        Err(failure) => return Err(hinted(failure, client, ask).await),
    };
    Ok((Key::read(&answer)?, answer))
}

/// Asks whether a credential that was kept is still good.
pub(crate) async fn confirm(client: &Client<'_>, lease: &str) -> Result<cache::Said, Failure> {
    if lease.is_empty() {
        return Ok(cache::Said::Ended);
    }
    match client.ask(Route::to(op::GET_LEASE, [lease])).await {
        Ok(answer) if show::text(&answer, &["state"]) == Some("live") => Ok(cache::Said::Good),
        Ok(_) => Ok(cache::Said::Ended),
        Err(failure) if failure.exit == Exit::NotFound => Ok(cache::Said::Ended),
        Err(failure) => Err(failure),
    }
}

/// Ends a credential.
pub(crate) async fn end(client: &Client<'_>, lease: &str) -> Result<(), Failure> {
    client.ask(Route::to(op::END_LEASE, [lease])).await.map(|_| ())
}

/// What to do about a refusal to vend.
async fn hinted(failure: Failure, client: &Client<'_>, ask: &Ask) -> Failure {
    let field = failure.said.as_deref().and_then(|said| said.field.as_deref());
    if matches!(failure.exit, Exit::NotFound | Exit::Denied)
        && matches!(failure.code().as_ref(), "forbidden" | "not_found")
        && let Some(nearest) = nearest(client, ask).await
    {
        return failure.hint(format!("did you mean `{nearest}`? `valetkey ls` shows what you can reach"));
    }
    match failure.exit {
        Exit::Denied if failure.code() == "forbidden" => {
            failure.hint("`valetkey ls` shows what you can reach, `valetkey explain` why not")
        }
        Exit::NotFound => failure.hint("`valetkey ls` shows what you can reach"),
        Exit::Usage if field == Some("grant") => failure.hint("`valetkey ls` shows your grants"),
        Exit::Ok
        | Exit::Local
        | Exit::Usage
        | Exit::Unauthenticated
        | Exit::Denied
        | Exit::Conflict
        | Exit::RateLimited
        | Exit::Unreachable
        | Exit::Diverged => failure,
    }
}

/// What of the caller's own grants is nearly what was asked for.
async fn nearest(client: &Client<'_>, ask: &Ask) -> Option<String> {
    let grants = client.ask(Route::to(op::LIST_GRANTS, [])).await.ok()?;
    let asked = match (&ask.grant, &ask.bucket) {
        (Some(grant), _) => grant.clone(),
        (None, Some(bucket)) => {
            let below = ask.prefixes.iter().chain(&ask.objects).next().map(String::as_str).unwrap_or_default();
            format!("s3://{bucket}/{below}")
        }
        (None, None) => return None,
    };
    let known = show::rows(&grants).iter().flat_map(|grant| {
        let name = ask.grant.as_ref().and_then(|_| show::text(grant, &["name"])).map(str::to_owned);
        let places = if ask.grant.is_none() { show::place_list(grant) } else { Vec::new() };
        name.into_iter().chain(places)
    });
    known
        .filter(|known| known.trim_end_matches('/') != asked)
        .map(|known| (strsim::jaro_winkler(known.trim_end_matches('/'), &asked), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, two| one.0.total_cmp(&two.0))
        .map(|(_, known)| known)
}
