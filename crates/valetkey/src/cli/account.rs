//! `valetkey account`: the tenants.

use serde_json::Value;
use valetkey_core::account::Standing;

use valetkey_dialects::native::api::accounts::{AccountChange, AccountRequest, CreditRequest};
use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::word::Worded;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::list;
use crate::cli::output::Out;
use crate::cli::remove::{self, Cascade, Look};
use crate::cli::show;

/// Make, list, change, suspend, credit and remove accounts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an account
    Create {
        /// Its name, unique on the server
        #[arg(value_name = "NAME")]
        name: String,
        /// What a credential costs it; without it nothing
        #[arg(long, value_name = "N")]
        credits_per_vend: Option<u32>,
    },
    /// List accounts
    #[command(visible_alias = "list")]
    Ls,
    /// Refuse an account's callers until it is activated again
    Suspend {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[command(flatten)]
        look: Look,
    },
    /// Serve a suspended account's callers again
    Activate {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[command(flatten)]
        look: Look,
    },
    /// Change an account's name, what a credential costs it, how much it may keep, or which datasets it gets first
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// Its name from now on
        #[arg(long, value_name = "NAME", group = "what")]
        name: Option<String>,
        /// What a credential costs it; 0 is nothing
        #[arg(long, value_name = "N", group = "what")]
        credits_per_vend: Option<u32>,
        /// The bucket whose datasets its callers get when theirs are in several and they name none; empty for none
        #[arg(long, value_name = "BUCKET", group = "what")]
        datasets_bucket: Option<String>,
        /// The most bytes it may keep at the embedded storage, whatever the server's settings say; 0 is any, `default` what they say
        #[arg(long, value_name = "N|default", value_parser = limit, group = "what")]
        max_bytes: Option<Whom<u64>>,
        /// The most objects it may keep there; 0 is any, `default` what the server's settings say
        #[arg(long, value_name = "N|default", value_parser = limit, group = "what")]
        max_objects: Option<Whom<u64>>,
    },
    /// Remove an account for good: its keys, tokens and parent access keys end, and its name is free
    Rm {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// Even with the last token of an operator
        #[arg(long)]
        last_operator: bool,
        #[command(flatten)]
        cascade: Cascade,
    },
    /// List an account's callers
    Callers {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
    },
    /// Add credits to an account
    Credit {
        /// Its name or id
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// How many
        #[arg(value_name = "CREDITS", value_parser = clap::value_parser!(u64).range(1..))]
        credits: u64,
    },
}

pub(super) const WIDE: &[show::Column] = &[
    ("NAME", &["name"]),
    ("ID", &["id"]),
    ("STANDING", &["standing"]),
    ("CREDITS PER VEND", &["credits_per_vend"]),
    ("BYTES", &["kept.bytes"]),
    ("MAX BYTES", &["kept.max_bytes"]),
    ("OBJECTS", &["kept.objects"]),
    ("MAX OBJECTS", &["kept.max_objects"]),
];

const COLUMNS: &[show::Column] = WIDE.split_at(4).0;

pub(super) const CALLERS: &[show::Column] = &[("NAME", &["name"]), ("ID", &["id"]), ("ROLE", &["role"])];

const FIRST: &[&str] = &["name", "id", "standing", "credits_per_vend"];

/// A limit of an account: a number, or `default`, which the API says as `null`.
fn limit(text: &str) -> Result<Whom<u64>, String> {
    if text == "default" {
        return Ok(Whom::Everyone);
    }
    text.parse().map(Whom::Named).map_err(|_| "this is a whole number, 0 for any, or `default`".to_owned())
}

/// Runs `valetkey account`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create { name, credits_per_vend } => {
            let body = AccountRequest { name, credits_per_vend };
            show::one(out, &client.send(Route::to(op::CREATE_ACCOUNT, []), &body).await?, FIRST)
        }
        Command::Ls => {
            let answer = client.ask(Route::to(op::LIST_ACCOUNTS, [])).await?;
            let columns = if out.is_wide() { WIDE } else { COLUMNS };
            show::list(out, &answer, columns, "there are no accounts")
        }
        Command::Suspend { account, look } => {
            let answer = stand(client, &account, look, Standing::Suspended).await?;
            look.told(out, &answer, || show::done(out, &answer, &format!("account {account} is suspended")))
        }
        Command::Activate { account, look } => {
            let answer = stand(client, &account, look, Standing::Active).await?;
            look.told(out, &answer, || show::done(out, &answer, &format!("account {account} is active")))
        }
        Command::Rm { account, last_operator, cascade } => {
            let route = cascade.on(Route::to(op::REMOVE_ACCOUNT, [&account]));
            let route = route.with_some("last_operator", last_operator.then_some("true"));
            let done = format!("account {account} is removed");
            remove::run(route, &cascade.how, &done, client, out).await.map(drop)
        }
        Command::Set { account, name, credits_per_vend, datasets_bucket, max_bytes, max_objects } => {
            let (max_bytes, max_objects) = (max_bytes.unwrap_or_default(), max_objects.unwrap_or_default());
            let body =
                AccountChange { name, standing: None, credits_per_vend, datasets_bucket, max_bytes, max_objects };
            show::one(out, &client.send(Route::to(op::CHANGE_ACCOUNT, [&account]), &body).await?, FIRST)
        }
        Command::Callers { account } => {
            let route = Route::to(op::LIST_CALLERS, [&account]);
            list::run(route, true, CALLERS, "the account has no callers", client, out).await
        }
        Command::Credit { account, credits } => {
            let body = CreditRequest { credits };
            let answer = client.send(Route::to(op::ADD_CREDITS, [&account]), &body).await?;
            show::one(out, &answer, &["granted", "used"])
        }
    }
}

async fn stand(client: &Client<'_>, account: &str, look: Look, standing: Standing) -> Result<Value, Failure> {
    client
        .send(
            look.on(Route::to(op::CHANGE_ACCOUNT, [account])),
            &AccountChange { standing: Some(Worded(standing)), ..AccountChange::default() },
        )
        .await
}
