//! `valetkey token`: the tokens that prove who is asking.

use serde_json::Value;
use valetkey_core::Secret;
use valetkey_core::caller::Role;

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::revocations::RevocationRequest;
use valetkey_dialects::native::api::tokens::{TokenChange, TokenRequest};

use crate::cli::client::{Client, Route};
use crate::cli::connection::read_secret;
use crate::cli::failure::Failure;
use crate::cli::list::{self, Pages, Since};
use crate::cli::named::in_account;
use crate::cli::output::{Format, Out};
use crate::cli::remove::Change;
use crate::cli::word::word;
use crate::cli::{show, ttl};

/// Make, list, change and end tokens
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token. It is shown once, on standard output
    Create {
        /// Whose it is: a name in your account, or ACCOUNT/NAME; made if there is no such caller
        #[arg(value_name = "CALLER")]
        caller: String,
        /// The caller's account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// What the caller may do beside asking for credentials
        #[arg(long, value_parser = word::<Role>())]
        role: Option<Role>,
        /// How long it is good: `12h`, `30d`; without it, as long as the token you make it with
        #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
        ttl: Option<u32>,
        /// Let it outlive the token you make it with; for operators
        #[arg(long)]
        outlive: bool,
    },
    /// List tokens, in the order they were made; their secrets are not kept
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Only this caller's: its name in your account, ACCOUNT/NAME, or its id
        #[arg(long, value_name = "CALLER")]
        caller: Option<String>,
        #[command(flatten)]
        since: Since,
        #[command(flatten)]
        pages: Pages,
    },
    /// Change when a token ends; credentials that it vended and that would outlive it end
    #[command(group = clap::ArgGroup::new("when").required(true).multiple(false))]
    Set {
        /// The token's id, as `valetkey token ls` shows it
        #[arg(value_name = "TOKEN_ID")]
        id: String,
        /// How long it is good from now on: `12h`, `30d`
        #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "when")]
        ttl: Option<u32>,
        /// As long as the token you say it with
        #[arg(long, group = "when")]
        no_ttl: bool,
        /// Let it outlive the token you say it with; for operators
        #[arg(long)]
        outlive: bool,
        /// Also where no operator has a token that is good a day from now
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        change: Change,
    },
    /// End a token and the credentials it vended
    #[command(visible_alias = "rm", group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Revoke {
        /// The token's id, as `valetkey token ls` shows it; `-` reads the token itself from standard input
        #[arg(value_name = "TOKEN_ID|-", group = "which")]
        id: Option<String>,
        /// All tokens of this caller: its name in your account, ACCOUNT/NAME, or its id
        #[arg(long, value_name = "CALLER", group = "which")]
        caller: Option<String>,
        /// Also the tokens that it made, those that they made, and the links to download one that were not used
        #[arg(long)]
        with_made: bool,
        /// Even the last token of an operator: afterwards only the server's own machine makes a new one
        #[arg(long)]
        yes: bool,
    },
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("ID", &["id"]),
    ("CALLER", &["caller_name"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("ROLE", &["role"]),
    ("ENDS IN", &["tail"]),
    ("MADE", &["made"]),
    ("EXPIRES", &["expires"]),
    ("REVOKED", &["revoked"]),
    ("MADE BY", &["made_by"]),
];

/// Runs `valetkey token`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create { caller, account, role, ttl, outlive } => {
            let (account, caller) = in_account(account, &caller);
            let body = TokenRequest {
                account,
                caller,
                role: role.map(|role| role.as_str().to_owned()),
                expires_in_secs: ttl.map(i64::from),
                outlive: outlive.then_some(true),
            };
            let answer = client.send(Route::to(op::CREATE_TOKEN, []), &body).await?;
            if out.format() == Format::Json {
                return out.json(&answer);
            }
            let Some(token) = show::text(&answer, &["token"]) else {
                return Err(Failure::local("the server made a token and did not say it")
                    .hint("`valetkey token ls` lists it; revoke it"));
            };
            out.data(token)?;
            show::cuts(out, &answer);
            let id = show::text(&answer, &["id"]).unwrap_or("the token");
            out.note(&format!("this is {id}; it cannot be shown again. Keep it in a file only you can read"));
            Ok(())
        }
        Command::Ls { account, caller, since, pages } => {
            let route = Route::to(op::LIST_TOKENS, []).with_some("account", account).with_some("caller", caller);
            let route = pages.on(since.on(route)?);
            list::run(route, pages.all, COLUMNS, "there are no tokens", client, out).await
        }
        Command::Set { id, ttl, no_ttl: _, outlive, yes, change } => {
            let expires_in_secs = ttl.map_or(Whom::Everyone, |secs| Whom::Named(i64::from(secs)));
            let body = TokenChange { expires_in_secs, outlive: outlive.then_some(true) };
            let route = Route::to(op::CHANGE_TOKEN, [&id]).with_some("last_operator", yes.then_some("true"));
            let answer = client.send(change.on(route), &body).await.map_err(last_operator)?;
            let ends = show::text(&answer, &["expires"]).unwrap_or("no time of its own");
            change.told(out, &answer, &format!("token {id} ends at {ends}"))
        }
        Command::Revoke { id, caller, with_made, yes } => {
            revoke(Which::of(id, caller)?, with_made, yes, client, out).await.map_err(last_operator)
        }
    }
}

/// Which tokens are to be ended.
enum Which {
    Id(String),
    /// The token itself, read from standard input.
    Itself(Secret<String>),
    Caller(String),
}

impl Which {
    fn of(id: Option<String>, caller: Option<String>) -> Result<Self, Failure> {
        match (id, caller) {
            (_, Some(caller)) => Ok(Self::Caller(caller)),
            (Some(id), None) if id == "-" => read_secret(&id, "token revoke").map(Self::Itself),
            (Some(id), None) => Ok(Self::Id(id)),
            (None, None) => Err(Failure::usage("name a token or a caller")),
        }
    }
}

async fn revoke(which: Which, with_made: bool, yes: bool, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let (made, last) = (with_made.then_some(true), yes.then_some(true));
    let (token, caller) = match which {
        Which::Id(id) => {
            let route = Route::to(op::END_TOKEN, [&id]).with_some("with_made", made).with_some("last_operator", last);
            let answer = client.ask(route).await?;
            let count = show::find(&answer, &["made_ended"]).and_then(Value::as_array).map_or(0, Vec::len);
            let also = if with_made { format!(", and {count} tokens that it had made") } else { String::new() };
            return show::done(
                out,
                &answer,
                &format!("token {id} is revoked, and the credentials it vended with it{also}"),
            );
        }
        Which::Itself(token) => (Some(token.reveal().clone()), None),
        Which::Caller(caller) => (None, Some(caller)),
    };
    let (tokens, with_made, last_operator) = (Some(true), made, last);
    let body = RevocationRequest { token, caller, tokens, with_made, last_operator, ..RevocationRequest::default() };
    let answer = client.send(Route::to(op::REVOKE, []), &body).await?;
    let ids = show::find(&answer, &["tokens_ended"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
    let leases = show::find(&answer, &["ended"]).and_then(Value::as_u64).unwrap_or_default();
    let sentence = match ids.as_slice() {
        [] => format!("there was no live token; {leases} live leases are revoked"),
        ids => format!("revoked: {}; and {leases} live leases that they had vended", ids.join(", ")),
    };
    show::done(out, &answer, &sentence)
}

/// Says how the last token of an operator is ended all the same.
pub(super) fn last_operator(failure: Failure) -> Failure {
    let field = failure.said.as_deref().and_then(|said| said.field.as_deref());
    if field == Some("last_operator") { failure.hint("--yes ends it all the same") } else { failure }
}
