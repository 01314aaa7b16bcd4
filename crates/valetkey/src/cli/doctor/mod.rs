//! `valetkey doctor`: why a tool gets no credential, or its storage refuses it: the clock, TLS, the token, the endpoint, and what shadows.

mod aws;
mod finding;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use valetkey_dialects::native::api::operations as op;

use crate::cli::agent::home::Place;
use crate::cli::agent::variables::{AWS, AZURE, GOOGLE};
use crate::cli::client::{Client, Route, Silent};
use crate::cli::creds::ask::Wanted;
use crate::cli::creds::key::Key;
use crate::cli::creds::{cache, end, vend};
use crate::cli::doctor::aws::Surroundings;
use crate::cli::doctor::finding::{Finding, State};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out};
use crate::cli::show;
use crate::cli::trust::Tls;

/// Signatures count for 15 minutes; before that, lifetimes are off by what the clock is.
const SKEW: [SignedDuration; 2] = [SignedDuration::from_secs(30), SignedDuration::from_mins(10)];
/// A token that ends within this is to be renewed now.
const SOON: SignedDuration = SignedDuration::from_hours(24);

/// Where SDKs read of an authority that is not the system's.
const SDKS_TRUST: &str = "SSL_CERT_FILE names an authority of your own to this and to tools in Rust and C++, AWS_CA_BUNDLE to boto3 \
    and the AWS CLI, NODE_EXTRA_CA_CERTS to Node";

const EXAMPLES: &str = "\
Examples:
  valetkey doctor
  valetkey doctor flights-daily                 # also vends, and asks the storage's endpoint
  valetkey doctor flights-daily -o json

It ends with 1 if something is broken; what it warns of may be meant.";

/// Find out why a tool gets no credential, or is refused
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
    /// Directory of kept credentials
    #[arg(long, value_name = "DIR", env = "VALETKEY_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,
}

/// Runs `valetkey doctor`.
pub(crate) async fn run(args: Args, client: Result<Client<'_>, Failure>, out: &Out) -> Result<Exit, Failure> {
    let mut findings = Vec::new();
    let mut key = None;
    match &client {
        Ok(client) => key = of_server(&args, client, out, &mut findings).await?,
        Err(failure) => findings.push(Finding::of("login", failure)),
    }
    findings.push(of_agent(&args.place).await);
    findings.extend(of_environment());
    let around = Surroundings::own();
    findings.extend(around.files());
    findings.extend(key.iter().filter_map(|key| around.region(key)));
    findings.extend(key.iter().filter_map(|key| around.endpoint(key)));
    findings.extend(around.caches(crate::cli::now()));
    findings.extend(of_cache(args.cache_dir, args.xdg_cache_home));
    told(&findings, out)?;
    let is_broken = findings.iter().any(|finding| finding.state == State::Fail);
    Ok(if is_broken { Exit::Local } else { Exit::Ok })
}

fn told(findings: &[Finding], out: &Out) -> Result<(), Failure> {
    if out.format() == Format::Json {
        return out.json(findings);
    }
    for finding in findings {
        let Finding { state, what, found, hint } = finding;
        let mark = match state {
            State::Ok => out.good("ok  "),
            State::Warn => out.bold("warn"),
            State::Fail => out.bad("FAIL"),
        };
        let clean = crate::cli::output::clean;
        out.data(&format!("{mark}  {what:<12} {}", clean(found)))?;
        if let Some(hint) = hint {
            out.data(&format!("      {:<12} {}", "", out.dim(&clean(hint))))?;
        }
    }
    Ok(())
}

/// The server: whether it answers, what time it has, who it takes the caller for, and what it vends.
async fn of_server(
    args: &Args,
    client: &Client<'_>,
    out: &Out,
    findings: &mut Vec<Finding>,
) -> Result<Option<Key>, Failure> {
    match client.date(client.base()).await {
        Ok(date) => {
            let server = client.server().trim_end_matches('/');
            findings.push(Finding::new(State::Ok, "server", format!("`{server}` answers")));
            findings.extend(trusted(client.base()));
            findings.extend(date.map(|date| skew("clock", date, crate::cli::now())));
        }
        Err(Silent { failure, tls }) => {
            findings.push(Finding::of(if tls.is_some() { "tls" } else { "server" }, &failure));
            return Ok(None);
        }
    }
    match client.ask(Route::to(op::ME, [])).await {
        Ok(me) => findings.push(of_token(&me, crate::cli::now())),
        Err(failure) => {
            findings.push(Finding::of("token", &failure));
            return Ok(None);
        }
    }
    let ask = args.wanted.ask(out)?;
    if ask != crate::cli::creds::ask::Ask::default() {
        match vend(client, &ask).await {
            Ok((key, _)) => {
                findings.push(Finding::new(State::Ok, "credential", key.summary()));
                findings.extend(of_endpoint(client, &key.endpoint_url).await);
                if !key.lease.is_empty() {
                    // It was vended to be looked at, and it ends by itself, too.
                    let _ = end(client, &key.lease).await;
                }
                return Ok(Some(key));
            }
            Err(failure) => findings.push(Finding::of("credential", &failure)),
        }
    }
    Ok(None)
}

/// That a certificate is trusted, where there is one.
fn trusted(url: &reqwest::Url) -> Option<Finding> {
    (url.scheme() == "https").then(|| Finding::new(State::Ok, "tls", "its certificate is trusted"))
}

/// How far this machine's clock is from another's.
fn skew(what: &'static str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let off = ours.duration_since(theirs);
    let secs = off.as_secs().unsigned_abs();
    let direction = if off.is_negative() { "behind" } else { "ahead of" };
    let [little, much] = SKEW;
    let sync = "let it be set by NTP (`timedatectl set-ntp true`)";
    let found = format!("this machine's clock is {} {direction} theirs", show::length(secs));
    match off.abs() {
        off if off < little => Finding::new(State::Ok, what, "this machine's clock agrees with theirs"),
        off if off < much => Finding::new(State::Warn, what, found).hint(sync),
        _ => Finding::new(State::Fail, what, found)
            .hint(format!("storages refuse signatures that are 15 minutes off; {sync}")),
    }
}

fn of_token(me: &serde_json::Value, now: Timestamp) -> Finding {
    let who = format!(
        "{} of account {}, {}",
        show::text(me, &["name"]).unwrap_or("?"),
        show::text(me, &["account.name"]).unwrap_or("?"),
        show::text(me, &["role"]).unwrap_or("?")
    );
    let ends = show::text(me, &["token_expires"]).and_then(|text| text.parse::<Timestamp>().ok());
    match ends.filter(|ends| ends.duration_since(now) < SOON) {
        Some(ends) => Finding::new(State::Warn, "token", format!("{who}; it expires at {ends}"))
            .hint("`valetkey token create` makes another, if you may"),
        None => Finding::new(State::Ok, "token", who),
    }
}

/// The storage's endpoint: its name, and whether anything answers there.
async fn of_endpoint(client: &Client<'_>, endpoint: &str) -> Vec<Finding> {
    let Ok(url) = reqwest::Url::parse(endpoint) else { return Vec::new() };
    let mut findings = Vec::new();
    if url.host_str() == Some("localhost") {
        let found = format!("`{endpoint}` is a name, and some SDKs put the bucket in front of it");
        findings
            .push(Finding::new(State::Warn, "endpoint", found).hint("let the server say 127.0.0.1 (`s3.public_url`)"));
    }
    match client.date(&url).await {
        Ok(date) => {
            findings.push(Finding::new(State::Ok, "endpoint", format!("`{endpoint}` answers")));
            findings.extend(trusted(&url));
            findings.extend(date.map(|date| skew("its clock", date, crate::cli::now())));
        }
        Err(Silent { failure, tls: Some(Tls::Untrusted) }) => {
            findings.push(Finding::of("tls", &failure).hint(SDKS_TRUST));
        }
        Err(Silent { failure, tls: Some(Tls::Other) }) => findings.push(Finding::of("tls", &failure)),
        Err(Silent { failure, tls: None }) => findings.push(Finding::of("endpoint", &failure)),
    }
    findings
}

async fn of_agent(place: &Place) -> Finding {
    match crate::cli::agent::status(place).await {
        Ok(status) => {
            let address = show::text(&status, &["address"]).unwrap_or("?");
            let failed: Vec<&str> =
                show::rows_of(&status, "asks").iter().filter_map(|ask| show::text(ask, &["failure"])).collect();
            match failed.first() {
                Some(failure) => {
                    Finding::new(State::Warn, "agent", format!("it runs at {address}; last it failed: {failure}"))
                        .hint("`valetkey agent status` says more")
                }
                None => Finding::new(State::Ok, "agent", format!("it runs at {address}")),
            }
        }
        Err(failure) if failure.exit == Exit::Unreachable => Finding::new(State::Ok, "agent", "none of yours runs"),
        Err(failure) => Finding::of("agent", &failure),
    }
}

/// Variables that win over credentials which renew.
fn of_environment() -> Vec<Finding> {
    let set = |names: &[&str]| -> Vec<String> {
        let values = crate::config::values_of(names);
        names.iter().filter(|name| values.contains_key(**name)).map(|name| (*name).to_owned()).collect()
    };
    let mut findings = Vec::new();
    let renews = set(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
    let names: Vec<&str> = [AWS.as_slice(), &GOOGLE, &AZURE].concat();
    let ours = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let shadowing: Vec<String> = set(&names).into_iter().filter(|name| !ours.contains(&name.as_str())).collect();
    if shadowing.is_empty() {
        findings.push(Finding::new(State::Ok, "environment", "no variable shadows credentials that renew"));
    } else {
        let found = format!(
            "{} {} set, and SDKs take them first",
            shadowing.join(", "),
            if shadowing.len() == 1 { "is" } else { "are" }
        );
        // Beside the agent's own, they are what goes wrong.
        findings.push(
            Finding::new(State::Warn, "environment", found).hint("unset them, or use `valetkey exec`, which does"),
        );
    }
    let proxies = set(&["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
    let exempt = crate::config::values_of(&["NO_PROXY", "no_proxy"]);
    let mut hosts = exempt.values().flat_map(|value| value.split(',')).map(str::trim);
    let is_exempt = hosts.any(|host| matches!(host, "*" | "127.0.0.1" | "127.0.0.0/8"));
    if !proxies.is_empty() && !is_exempt && !renews.is_empty() {
        let found = format!("{} sends what is for this machine's agent elsewhere", proxies.join(", "));
        findings.push(Finding::new(State::Warn, "proxy", found).hint("NO_PROXY=127.0.0.1,localhost"));
    }
    findings
}

/// Credentials that were kept and are over.
fn of_cache(told: Option<PathBuf>, xdg: Option<PathBuf>) -> Option<Finding> {
    let directory = cache::directory(told, xdg)?;
    let (kept, over) = cache::counted(&directory, crate::cli::now());
    Some(if over > 0 {
        Finding::new(
            State::Warn,
            "cache",
            format!("{over} of {kept} kept credentials in `{}` are over", directory.display()),
        )
        .hint("the next `creds --format process` removes them")
    } else {
        Finding::new(State::Ok, "cache", format!("{kept} kept credentials in `{}`", directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_a_little_off_or_wrong() {
        let at = |secs: i64| Timestamp::from_second(1_700_000_000 + secs).unwrap();
        for (off, state) in [
            (0, State::Ok),
            (-29, State::Ok),
            (31, State::Warn),
            (-599, State::Warn),
            (601, State::Fail),
            (-9000, State::Fail),
        ] {
            assert_eq!(skew("clock", at(0), at(off)).state, state, "{off}");
        }
        assert!(skew("clock", at(0), at(-9000)).found.contains("behind"));
    }

    #[test]
    fn a_token_that_ends_soon_is_said() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let me = |ends: &str| serde_json::json!({"name": "ann", "account": {"name": "acme"}, "role": "member", "token_expires": ends});
        assert_eq!(of_token(&me("2026-01-01T10:00:00Z"), now).state, State::Warn);
        assert_eq!(of_token(&me("2026-02-01T00:00:00Z"), now).state, State::Ok);
        assert_eq!(of_token(&serde_json::json!({"name": "ann", "token_expires": null}), now).state, State::Ok);
    }
}
