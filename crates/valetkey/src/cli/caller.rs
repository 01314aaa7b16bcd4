//! `valetkey caller`: who may ask in an account.

use serde_json::Value;

use crate::cli::body::Body;
use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::show;

/// List, suspend, activate and remove callers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List an account's callers
    #[command(visible_alias = "list")]
    Ls {
        /// The account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Refuse a caller until it is activated again, and end what it was given
    Suspend(Whom),
    /// Serve a suspended caller again
    Activate(Whom),
    /// Remove a caller for good: its tokens and credentials end, the grants that were its alone go, its name is free
    Rm(Whom),
}

#[derive(Debug, clap::Args)]
struct Whom {
    /// Its name in your account, ACCOUNT/NAME, or its id
    #[arg(value_name = "CALLER")]
    caller: String,
    /// Its account; yours unless given
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

const COLUMNS: &[show::Column] =
    &[("NAME", &["name"]), ("ID", &["id"]), ("ROLE", &["role"]), ("STANDING", &["standing"])];

/// Runs `valetkey caller`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Ls { account } => {
            let account = own_unless(client, account).await?;
            let answer = client.get(Route::new(&["accounts", &account, "callers"])).await?;
            show::list(out, &answer, COLUMNS, "the account has no callers")
        }
        Command::Suspend(whom) => {
            let (name, route) = whom.route(client).await?;
            let answer = client.patch(route, &Body::new().set("standing", "suspended")).await?;
            show::done(out, &answer, &format!("{name} is suspended{}", ended(&answer)))
        }
        Command::Activate(whom) => {
            let (name, route) = whom.route(client).await?;
            let answer = client.patch(route, &Body::new().set("standing", "active")).await?;
            show::done(out, &answer, &format!("{name} is active"))
        }
        Command::Rm(whom) => {
            let (name, route) = whom.route(client).await?;
            let answer = client.delete(route).await?;
            show::done(out, &answer, &format!("{name} is removed{}", ended(&answer)))
        }
    }
}

fn ended(answer: &Value) -> String {
    let count = show::find(answer, &["ended"]).and_then(Value::as_u64).unwrap_or_default();
    format!("; {count} live leases ended with it")
}

impl Whom {
    async fn route(self, client: &Client<'_>) -> Result<(String, Route), Failure> {
        let (account, caller) = match (self.account, self.caller.split_once('/')) {
            (None, Some((account, caller))) => (Some(account.to_owned()), caller.to_owned()),
            (account, _) => (account, self.caller),
        };
        let account = own_unless(client, account).await?;
        let route = Route::new(&["accounts", &account, "callers", &caller]);
        Ok((format!("{account}/{caller}"), route))
    }
}

/// The account that was named, or that of who asks.
async fn own_unless(client: &Client<'_>, account: Option<String>) -> Result<String, Failure> {
    if let Some(account) = account {
        return Ok(account);
    }
    let me = client.get(Route::new(&["me"])).await?;
    let own = show::text(&me, &["account.name"]).map(str::to_owned);
    own.ok_or_else(|| {
        Failure::local("the server does not say which account is yours").hint("name it: --account ACCOUNT")
    })
}
