//! `valetkey creds`: vends a credential and writes it the way a tool wants it.

mod azure;
mod cache;
mod formats;
mod google;
mod key;
mod quote;
mod render;
mod s3;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Out};
use crate::cli::place;
use crate::cli::show;
use crate::cli::ttl;
use crate::cli::word::Access;
pub(crate) use formats::Format;
use key::Key;
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
    /// A grant by name or id, or a place: `s3://bucket/directory`. Without it: your grant, if you have one only
    #[arg(value_name = "GRANT|s3://BUCKET/DIR")]
    target: Option<String>,
    /// Only this object; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY")]
    objects: Vec<String>,
    /// Only this directory; from the bucket's root. May be repeated
    #[arg(long = "prefix", value_name = "DIR")]
    prefixes: Vec<String>,
    /// The whole bucket of `s3://bucket`
    #[arg(long, conflicts_with_all = ["objects", "prefixes"])]
    whole_bucket: bool,
    /// What the credentials may do; read, unless given
    #[arg(long, value_enum, value_name = "ACCESS")]
    access: Option<Access>,
    /// How long they live: `90s`, `15m`, `1h30m`, `7d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, conflicts_with = "ttl_secs")]
    ttl: Option<u32>,
    /// How long they live, in seconds. Cut to what the grant, your token and the storage allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ttl_secs: Option<u32>,
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

/// What is asked of the API.
#[derive(Serialize, Default, PartialEq, Eq, Debug)]
struct Ask {
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prefixes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_secs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_bucket: Option<bool>,
}

/// Runs `valetkey creds`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let ask = ask(&args, out)?;
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
    for left_out in &key.narrowed {
        out.warn(&format!("the storage cannot express all of it, and leaves out {left_out}"));
    }
    out.data(&written)?;
    out.note(&key.summary());
    if out.to_terminal() && matches!(format, Format::Env | Format::Fish | Format::Powershell) {
        out.note(format.how_to_load());
    }
    Ok(())
}

/// Vends once. The answer is kept beside what was read of it, for those who want it whole.
async fn vend(client: &Client<'_>, ask: &Ask) -> Result<(Key, Value), Failure> {
    let answer = match client.send(Route::to(op::VEND, []), ask).await {
        Ok(answer) => answer,
        Err(failure) => return Err(hinted(failure, client, ask).await),
    };
    Ok((Key::read(&answer)?, answer))
}

/// Asks whether a credential that was kept is still good.
async fn confirm(client: &Client<'_>, lease: &str) -> Result<cache::Said, Failure> {
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

/// A directory of a pattern, with a note; anything else as it is.
fn without_pattern(text: &str, out: &Out) -> Result<String, Failure> {
    match place::parent_of_pattern(text) {
        place::Pattern::No => Ok(text.to_owned()),
        place::Pattern::Below(directory) => {
            out.note(&format!(
                "`{text}` is a pattern, and credentials open directories: this is for all of `{directory}/`"
            ));
            Ok(directory)
        }
        place::Pattern::AtRoot => {
            Err(Failure::usage(format!("`{}` is a pattern, and no directory is before it", output::clean(text)))
                .hint("name a directory; for all of a bucket pass `s3://bucket` with --whole-bucket"))
        }
    }
}

fn ask(args: &Args, out: &Out) -> Result<Ask, Failure> {
    if let Some(odd) = args.objects.iter().find(|key| key.contains('*')) {
        return Err(Failure::usage(format!("--object takes one whole key, and `{}` is a pattern", output::clean(odd)))
            .hint("--prefix DIR opens all of a directory"));
    }
    let prefix = |prefix: &String| {
        if prefix.contains('*') { without_pattern(prefix, out) } else { Ok(place::directory(prefix)) }
    };
    let mut ask = Ask {
        prefixes: args.prefixes.iter().map(prefix).collect::<Result<_, _>>()?,
        objects: args.objects.clone(),
        access: args.access,
        ttl_secs: args.ttl.or(args.ttl_secs),
        whole_bucket: args.whole_bucket.then_some(true),
        ..Ask::default()
    };
    match args.target.as_deref() {
        None => {}
        Some(target) if target.contains(":/") || target.contains('/') => {
            let place = place::Place::parse(target)?;
            let narrowed = !ask.prefixes.is_empty() || !ask.objects.is_empty() || args.whole_bucket;
            ask.bucket = Some(place.bucket);
            match place.key {
                Some(_) if narrowed => {
                    return Err(Failure::usage(
                        "the place names a directory, and flags name others or the whole bucket",
                    )
                    .hint("pass `s3://bucket` with --prefix and --object, each from the bucket's root"));
                }
                Some(directory) => ask.prefixes = vec![place::directory(&without_pattern(&directory, out)?)],
                None if !narrowed => {
                    return Err(Failure::usage(
                        "the place is a whole bucket, and nothing says that all of it is meant",
                    )
                    .hint("name a directory, `s3://bucket/directory`, or pass --whole-bucket"));
                }
                None => {}
            }
        }
        Some(_) if args.whole_bucket => {
            return Err(Failure::usage("--whole-bucket goes with `s3://bucket`, not with a grant")
                .hint("a grant without --prefix and --object is asked for whole"));
        }
        Some(grant) => ask.grant = Some(grant.to_owned()),
    }
    if ask.prefixes.iter().chain(&ask.objects).any(String::is_empty) {
        return Err(
            Failure::usage("--prefix and --object cannot be empty").hint("leave them out to ask for all of a grant")
        );
    }
    Ok(ask)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &[&str]) -> Result<String, Failure> {
        let args =
            Line::try_parse_from([&["creds"], line].concat()).map_err(|error| Failure::usage(error.to_string()))?;
        let out = Out::new(output::Format::Table, output::Color::Never, output::Talk::Quiet);
        ask(&args.args, &out).map(|ask| serde_json::to_string(&ask).unwrap())
    }

    #[test]
    fn a_line_becomes_what_is_asked_of_the_api() {
        for (line, wanted) in [
            (vec![], "{}"),
            (vec!["daily"], r#"{"grant":"daily"}"#),
            (vec!["daily", "--ttl", "1h30m"], r#"{"grant":"daily","ttl_secs":5400}"#),
            (
                vec!["daily", "--ttl-secs", "60", "--access", "read-write"],
                r#"{"grant":"daily","access":"read-write","ttl_secs":60}"#,
            ),
            (
                vec!["daily", "--prefix", "a/b/", "--object", "c/"],
                r#"{"grant":"daily","prefixes":["a/b"],"objects":["c/"]}"#,
            ),
            (vec!["s3://lake/flights/daily/"], r#"{"bucket":"lake","prefixes":["flights/daily"]}"#),
            (vec!["s3://lake/a%2Fb/../c d"], r#"{"bucket":"lake","prefixes":["a%2Fb/../c d"]}"#),
            (vec!["s3://lake", "--object", "x"], r#"{"bucket":"lake","objects":["x"]}"#),
            (vec!["s3://lake/a/b/*.parquet"], r#"{"bucket":"lake","prefixes":["a/b"]}"#),
            (vec!["s3://lake/a/**/x[0-9].csv"], r#"{"bucket":"lake","prefixes":["a"]}"#),
            (vec!["daily", "--prefix", "a/*/b"], r#"{"grant":"daily","prefixes":["a"]}"#),
            (vec!["daily", "--prefix", "a/b[1]"], r#"{"grant":"daily","prefixes":["a/b[1]"]}"#),
            (vec!["s3://lake/", "--whole-bucket"], r#"{"bucket":"lake","whole_bucket":true}"#),
        ] {
            assert_eq!(asked(&line).unwrap(), wanted, "{line:?}");
        }
    }

    #[test]
    fn a_line_that_could_mean_more_than_was_meant_is_refused() {
        for line in [
            vec!["s3://lake"],
            vec!["s3://lake/"],
            vec!["s3:///x"],
            vec!["s3:lake/x"],
            vec!["s3a://lake/x"],
            vec!["lake/x"],
            vec!["s3://lake/*.parquet"],
            vec!["daily", "--object", "a/*.parquet"],
            vec!["daily", "--prefix", "*"],
            vec!["s3://lake/x", "--whole-bucket"],
            vec!["s3://lake/x", "--object", "y"],
            vec!["daily", "--whole-bucket"],
            vec!["daily", "--prefix", ""],
            vec!["daily", "--prefix", "/"],
            vec!["daily", "--ttl", "1h", "--ttl-secs", "5"],
            vec!["daily", "--ttl", "0s"],
            vec!["daily", "--ttl-secs", "0"],
        ] {
            assert!(asked(&line).is_err(), "{line:?}");
        }
    }
}
