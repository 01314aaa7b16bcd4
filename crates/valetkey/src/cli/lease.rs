//! `valetkey lease`, `revoke` and `whose`: credentials that were vended, and how they end early.

use serde_json::Value;

use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::revocations::RevocationRequest;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::list::{self, Since};
use crate::cli::output::Out;
use crate::cli::{grant, show};

/// List, show and end leases: the records of vended credentials
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List leases, the newest first
    #[command(visible_alias = "list")]
    Ls {
        /// Only those that are open now
        #[arg(long)]
        live: bool,
        /// Only this caller's: its name in your account, ACCOUNT/NAME, or its id
        #[arg(long, value_name = "CALLER")]
        caller: Option<String>,
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Only those that this token opened
        #[arg(long, value_name = "TOKEN_ID")]
        token: Option<String>,
        /// Only those of this grant: its name in your account, ACCOUNT/NAME, or its id
        #[arg(long, value_name = "GRANT")]
        grant: Option<String>,
        /// Only those of this bucket
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
        #[command(flatten)]
        since: Since,
        /// All of them, page by page
        #[arg(long, conflicts_with = "before")]
        all: bool,
        /// Only those before this one: the next page
        #[arg(long, value_name = "LEASE_ID")]
        before: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
    },
    /// Show one lease
    Show {
        /// The lease's id
        #[arg(value_name = "LEASE_ID")]
        id: String,
    },
    /// End a lease: the next request with its credential is refused
    Revoke {
        /// The lease's id
        #[arg(value_name = "LEASE_ID")]
        id: String,
    },
}

/// End many credentials at once; later ones are not touched
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub(crate) struct Revoke {
    /// Everything this token vended
    #[arg(long, value_name = "TOKEN_ID", group = "what")]
    token: Option<String>,
    /// Everything this caller vended: its name in your account, ACCOUNT/NAME, or its id
    #[arg(long, value_name = "CALLER", group = "what")]
    caller: Option<String>,
    /// Everything this account vended
    #[arg(long, value_name = "ACCOUNT", group = "what")]
    account: Option<String>,
    /// Everything vended under this grant: its name in your account, ACCOUNT/NAME, or its id
    #[arg(long, value_name = "GRANT", group = "what")]
    grant: Option<String>,
    /// This lease
    #[arg(long, value_name = "LEASE_ID", group = "what")]
    lease: Option<String>,
}

/// Find out whose an access key id is: the leases behind it
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// The access key id, as a log of requests shows it; of Azure and Google `sha256:` and the token's digest in hexadecimal
    #[arg(value_name = "ACCESS_KEY_ID")]
    access_key_id: String,
}

pub(super) const WIDE: &[show::Column] = &[
    ("LEASE", &["lease_id"]),
    ("STATE", &["state"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("CALLER", &["caller_name", "caller"]),
    ("ACCESS", &["access"]),
    ("OPENS", &[show::PLACES]),
    ("OPENED", &["opened"]),
    ("EXPIRES", &["expires"]),
    ("ENDS EARLY", &["revocation"]),
    ("API", &["dialect"]),
    ("FROM", &["from"]),
];

const COLUMNS: &[show::Column] = WIDE.split_at(10).0;

/// The same, of leases that were handed one key of a storage.
pub(super) const HANDED: &[show::Column] = &[
    ("LEASE", &["lease_id"]),
    ("STATE", &["state"]),
    ("CALLER", &["caller_name", "caller"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("OPENS", &[show::PLACES]),
    ("OPENED", &["opened"]),
    ("EXPIRES", &["expires"]),
    ("FROM", &["from"]),
    ("REQUEST AT THE STORAGE", &["store_request_id"]),
];

const FIRST: &[&str] = &[
    "lease_id",
    "state",
    "caller_name",
    "caller",
    "account_name",
    "account",
    "token",
    "asked_with",
    "narrowed_from",
    "from",
    "grants",
    "access",
    "bucket",
    "prefixes",
    "objects",
    "opened",
    "expires",
    "used",
    "revocation",
    "store_key_id",
    "store_request_id",
    "store_expires",
    "revoked",
    "revoked_by",
];

/// Runs `valetkey lease`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Ls { live, caller, account, token, grant, bucket, since, all, before, limit } => {
            let route = since
                .on(Route::to(op::LIST_LEASES, []))?
                .with_some("live", live.then_some("true"))
                .with_some("caller", caller)
                .with_some("account", account)
                .with_some("token", token)
                .with_some("grant", grant)
                .with_some("bucket", bucket)
                .with_some("before", before)
                .with_some("limit", limit.or(all.then_some(500)));
            let columns = if out.is_wide() { WIDE } else { COLUMNS };
            list::run(route, all, columns, "there are no leases", client, out).await
        }
        Command::Show { id } => show::one(out, &client.ask(Route::to(op::GET_LEASE, [&id])).await?, FIRST),
        Command::Revoke { id } => {
            let answer = client.ask(Route::to(op::END_LEASE, [&id])).await?;
            let taken = show::find(&answer, &["still_taken"]).is_some();
            let then = if taken { "" } else { "; the next request with its credential is refused" };
            let sentence = format!("lease {id} is revoked{then}");
            show::done(out, &answer, &sentence)
        }
    }
}

/// Runs `valetkey revoke`.
pub(crate) async fn revoke(args: Revoke, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Revoke { token, caller, account, grant, lease } = args.clone();
    let grant = match grant {
        Some(grant) => Some(grant::id(client, &grant, None).await?),
        None => None,
    };
    let body = RevocationRequest { lease, token, caller, account, grant, ..RevocationRequest::default() };
    let answer = client.send(Route::to(op::REVOKE, []), &body).await?;
    let goes_on = goes_on(&args, &answer);
    let sentence = match show::find(&answer, &["ended"]).and_then(Value::as_u64) {
        Some(1) => "1 live lease is revoked".to_owned(),
        Some(count) => format!("{count} live leases are revoked"),
        None => "revoked".to_owned(),
    };
    show::done(out, &answer, &sentence)?;
    // With `--quiet` too: who ends what leaked must know that more of it can be had.
    if let Some(said) = goes_on {
        out.warn_always(&said);
    }
    Ok(())
}

/// What may vend again after a revocation, and the command that ends that too.
fn goes_on(args: &Revoke, answer: &Value) -> Option<String> {
    let Revoke { token, caller, account, grant, lease: _ } = args;
    let live = show::find(answer, &["live_tokens"]).and_then(Value::as_u64);
    match (token, caller, account, grant) {
        (Some(token), ..) if live != Some(0) => {
            Some(format!("the token {token} itself still vends: `valetkey token revoke {token}` ends it"))
        }
        (_, Some(caller), ..) if live != Some(0) => {
            let count = live.map(|live| format!("{live} ")).unwrap_or_default();
            Some(format!(
                "{count}tokens of {caller} go on vending: `valetkey token revoke --caller {caller}` ends them, `valetkey caller suspend {caller}` refuses them"
            ))
        }
        (_, _, Some(account), _) => {
            Some(format!("the tokens of {account} go on vending: `valetkey account suspend {account}` refuses them"))
        }
        (_, _, _, Some(grant)) => {
            Some(format!("the grant {grant} stays, and is still vended: `valetkey grant rm {grant}` takes it back"))
        }
        _ => None,
    }
}

/// Runs `valetkey whose`.
pub(crate) async fn whose(args: Whose, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let answer = client.ask(Route::to(op::WHOSE, [&args.access_key_id])).await?;
    // What a store gave once may have been handed out several times.
    match show::find(&answer, &["leases"]) {
        Some(Value::Array(_)) => show::list(out, &answer, HANDED, "there are no leases"),
        Some(_) | None => show::one(out, &answer, FIRST),
    }
}
