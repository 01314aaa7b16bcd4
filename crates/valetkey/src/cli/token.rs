//! `valetkey token`: the tokens that prove who is asking.

use crate::cli::body::Body;
use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::cli::{show, ttl};

/// Make, list and end tokens
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token. It is shown once, on standard output
    Create {
        /// Whose it is; made if there is no such caller
        #[arg(value_name = "CALLER")]
        caller: String,
        /// The caller's account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// What the caller may do beside asking for credentials
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// How long it is good: `12h`, `30d`; without it, until it is revoked
        #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
        ttl: Option<u32>,
    },
    /// List tokens; their secrets are not kept
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// End a token and the credentials it vended
    Revoke {
        /// The token's id, as `valetkey token ls` shows it
        #[arg(value_name = "TOKEN_ID")]
        id: String,
    },
}

/// What a caller may do beside asking for credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Role {
    /// Asks for credentials, sees and ends its own leases
    Member,
    /// Also sees and ends the leases and tokens of its account
    Admin,
    /// Also makes accounts, storages, datasets and grants
    Operator,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

const COLUMNS: &[show::Column] = &[
    ("ID", &["id"]),
    ("CALLER", &["caller_name"]),
    ("ACCOUNT", &["account"]),
    ("ROLE", &["role"]),
    ("ENDS IN", &["tail"]),
    ("MADE", &["made"]),
    ("EXPIRES", &["expires"]),
    ("REVOKED", &["revoked"]),
];

/// Runs `valetkey token`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create { caller, account, role, ttl } => {
            let body = Body::new()
                .set("caller", caller)
                .some("account", account)
                .some("role", role.map(Role::as_str))
                .some("expires_in_secs", ttl);
            let answer = client.post(Route::new(&["tokens"]), &body).await?;
            if out.format() == Format::Json {
                return out.json(&answer);
            }
            let Some(token) = show::text(&answer, &["token"]) else {
                return Err(Failure::local("the server made a token and did not say it")
                    .hint("`valetkey token ls` lists it; revoke it"));
            };
            out.data(token)?;
            let id = show::text(&answer, &["id"]).unwrap_or("the token");
            out.note(&format!("this is {id}; it cannot be shown again. Keep it in a file only you can read"));
            Ok(())
        }
        Command::Ls { account } => {
            let answer = client.get(Route::new(&["tokens"]).with_some("account", account)).await?;
            show::list(out, &answer, COLUMNS, "there are no tokens")
        }
        Command::Revoke { id } => {
            let answer = client.delete(Route::new(&["tokens", &id])).await?;
            show::done(out, &answer, &format!("token {id} is revoked, and the credentials it vended with it"))
        }
    }
}
