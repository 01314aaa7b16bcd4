//! `valetkey group`: callers that are granted something together.

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::groups::{GroupChange, GroupRequest};
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::remove::{self, Change, How};
use crate::cli::show;

/// Put callers into groups, and grant to `group:NAME`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a group
    Create {
        /// Its name, unique in its account
        #[arg(value_name = "NAME")]
        name: String,
        /// Whose callers are in it
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
        /// A caller that is in it. May be repeated
        #[arg(long = "member", value_name = "CALLER")]
        members: Vec<String>,
        /// Whose sessions are in it, if they hold the claims
        #[arg(long, value_name = "PROVIDER", requires = "claims")]
        provider: Option<String>,
        /// What a session's token has to claim: `groups=eng`, `groups=glob:eng-*`. May be repeated
        #[arg(long = "claim", value_name = "CLAIM=VALUE", requires = "provider")]
        claims: Vec<String>,
    },
    /// List groups: an operator everybody's, an admin its account's
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Show a group with its members
    Show {
        /// Its id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// Change a group; the credentials that who is in it no more has of it end
    #[command(visible_alias = "change", group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// Its id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "GROUP")]
        group: String,
        /// Its name from now on
        #[arg(long, value_name = "NAME", group = "what")]
        name: Option<String>,
        /// A caller that is in it from now on. May be repeated
        #[arg(long = "add", value_name = "CALLER", group = "what")]
        add: Vec<String>,
        /// A caller that is in it no more. May be repeated
        #[arg(long = "remove", value_name = "CALLER", group = "what")]
        remove: Vec<String>,
        /// Whose sessions are in it, if they hold the claims
        #[arg(long, value_name = "PROVIDER", group = "what")]
        provider: Option<String>,
        /// What a session's token has to claim; these take the place of all. May be repeated
        #[arg(long = "claim", value_name = "CLAIM=VALUE", group = "what")]
        claims: Vec<String>,
        /// Nobody is in it by a claim
        #[arg(long, group = "what", conflicts_with_all = ["provider", "claims"])]
        no_claims: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Remove a group with what was granted to it
    Rm {
        /// Its id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "GROUP")]
        group: String,
        #[command(flatten)]
        how: How,
    },
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("ACCOUNT", &["account_name", "account"]),
    ("NAME", &["name"]),
    ("MEMBERS", &["members"]),
    ("PROVIDER", &["provider"]),
    ("CLAIMS", &["claims"]),
    ("ID", &["id"]),
];

fn some(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Runs `valetkey group`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let shown = ["name", "id", "account", "members", "provider", "claims"];
    match args.command {
        Command::Create { name, account, members, provider, claims } => {
            let body = GroupRequest { account, name, members: some(members), provider, claims: some(claims) };
            show::one(out, &client.send(Route::to(op::CREATE_GROUP, []), &body).await?, &shown)
        }
        Command::Ls { account } => {
            let answer = client.ask(Route::to(op::LIST_GROUPS, []).with_some("account", account)).await?;
            show::list(out, &answer, COLUMNS, "there are no groups")
        }
        Command::Show { group } => show::one(out, &client.ask(Route::to(op::GET_GROUP, [&group])).await?, &shown),
        Command::Set { group, name, add, remove, provider, claims, no_claims, change } => {
            let provider = match provider {
                Some(provider) => Whom::Named(provider),
                None if no_claims => Whom::Everyone,
                None => Whom::Unsaid,
            };
            let (add, remove, claims) = (some(add), some(remove), some(claims));
            let body = GroupChange { name, members: None, add, remove, provider, claims };
            let answer = client.send(change.on(Route::to(op::CHANGE_GROUP, [&group])), &body).await?;
            change.told(out, &answer, &format!("group {group} is changed"))
        }
        Command::Rm { group, how } => {
            let done = format!("group {group} is removed, and what was granted to it");
            remove::run(Route::to(op::REMOVE_GROUP, [&group]), &how, &done, client, out).await.map(drop)
        }
    }
}
