//! `valetkey caller`: who may ask in an account.

use serde_json::Value;
use valetkey_core::account::Standing;
use valetkey_core::caller::Role;

use valetkey_dialects::native::api::callers::CallerChange;
use valetkey_dialects::native::api::operations::{self as op, Operation};
use valetkey_dialects::native::api::word::Worded;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::list::{self, Pages};
use crate::cli::named::in_account;
use crate::cli::output::Out;
use crate::cli::remove::{self, How, Look};
use crate::cli::show;
use crate::cli::word::word;

/// List, change, suspend, activate and remove callers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List callers: an operator everybody's, an admin its account's
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[command(flatten)]
        pages: Pages,
    },
    /// Refuse a caller until it is activated again, and end what it was given
    Suspend {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        look: Look,
    },
    /// Serve a suspended caller again
    Activate {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        look: Look,
    },
    /// Remove a caller for good: its tokens and credentials end, the grants that were its alone go, its name is free
    Rm {
        #[command(flatten)]
        whom: Whom,
        /// Even with the last token of an operator
        #[arg(long)]
        last_operator: bool,
        #[command(flatten)]
        how: How,
    },
    /// Change a caller's name or role
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        #[command(flatten)]
        whom: Whom,
        /// Its name from now on
        #[arg(long, value_name = "NAME", group = "what")]
        name: Option<String>,
        /// What it may do from now on, beside asking for credentials
        #[arg(long, value_parser = word::<Role>(), group = "what")]
        role: Option<Role>,
    },
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

pub(super) const COLUMNS: &[show::Column] = &[
    ("ACCOUNT", &["account_name", "account"]),
    ("NAME", &["name"]),
    ("ID", &["id"]),
    ("ROLE", &["role"]),
    ("STANDING", &["standing"]),
];

/// Runs `valetkey caller`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Ls { account, pages } => {
            let route = pages.on(Route::to(op::LIST_ALL_CALLERS, []).with_some("account", account));
            list::run(route, pages.all, COLUMNS, "there are no callers", client, out).await
        }
        Command::Suspend { whom, look } => {
            let (name, route) = whom.route(op::CHANGE_CALLER, client).await?;
            let answer = client.send(look.on(route), &stand(Standing::Suspended)).await?;
            look.told(out, &answer, || show::done(out, &answer, &format!("{name} is suspended{}", ended(&answer))))
        }
        Command::Activate { whom, look } => {
            let (name, route) = whom.route(op::CHANGE_CALLER, client).await?;
            let answer = client.send(look.on(route), &stand(Standing::Active)).await?;
            look.told(out, &answer, || show::done(out, &answer, &format!("{name} is active")))
        }
        Command::Rm { whom, last_operator, how } => {
            let (name, route) = whom.route(op::REMOVE_CALLER, client).await?;
            let route = route.with_some("last_operator", last_operator.then_some("true"));
            remove::run(route, &how, &format!("{name} is removed"), client, out).await.map(drop)
        }
        Command::Set { whom, name: new, role } => {
            let (name, route) = whom.route(op::CHANGE_CALLER, client).await?;
            let role = role.map(|role| role.as_str().to_owned());
            let body = CallerChange { name: new, role, standing: None };
            let answer = client.send(route, &body).await?;
            show::done(out, &answer, &format!("{name} is changed"))
        }
    }
}

fn stand(standing: Standing) -> CallerChange {
    CallerChange { standing: Some(Worded(standing)), ..CallerChange::default() }
}

fn ended(answer: &Value) -> String {
    let count = show::find(answer, &["ended"]).and_then(Value::as_u64).unwrap_or_default();
    format!("; {count} live leases ended with it")
}

impl Whom {
    async fn route(self, operation: Operation<2>, client: &Client<'_>) -> Result<(String, Route), Failure> {
        let (account, caller) = in_account(self.account, &self.caller);
        let account = own_unless(client, account).await?;
        let route = Route::to(operation, [&account, &caller]);
        Ok((format!("{account}/{caller}"), route))
    }
}

/// The account that was named, or that of who asks.
async fn own_unless(client: &Client<'_>, account: Option<String>) -> Result<String, Failure> {
    if let Some(account) = account {
        return Ok(account);
    }
    let me = client.ask(Route::to(op::ME, [])).await?;
    let own = show::text(&me, &["account.name"]).map(str::to_owned);
    own.ok_or_else(|| {
        Failure::local("the server does not say which account is yours").hint("name it: --account ACCOUNT")
    })
}
