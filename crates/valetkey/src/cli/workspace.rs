//! `valetkey workspace`: the places Dreadnode's SDK works in.

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::workspaces::{AccessWord, WorkspaceChange, WorkspaceRequest};

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::named::in_account;
use crate::cli::output::Out;
use crate::cli::remove::{self, How, Look};
use crate::cli::{show, ttl};

/// Make, list, change and remove workspaces
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a workspace and the grants that open it
    Create(Box<Create>),
    /// List workspaces: an operator everybody's, an admin its account's
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Only those in this bucket
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
    },
    /// Remove a workspace with the grants made for it, and end the credentials vended under them; its objects stay
    Rm {
        /// The workspace's key in your account, ACCOUNT/KEY, or its id
        #[arg(value_name = "WORKSPACE")]
        workspace: String,
        /// Its account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Let the credentials vended for it live on to their end
        #[arg(long)]
        keep_credentials: bool,
        #[command(flatten)]
        how: How,
    },
    /// Change a workspace's name, or make it the one meant when none is named
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The workspace's key in your account, ACCOUNT/KEY, or its id
        #[arg(value_name = "WORKSPACE")]
        workspace: String,
        /// Its account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Its name for people
        #[arg(long, value_name = "NAME", group = "what")]
        name: Option<String>,
        /// Make it the one meant when none is named
        #[arg(long, group = "what")]
        default: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The workspace's key, unique in its account
    #[arg(value_name = "KEY")]
    key: String,
    /// Its account
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
    /// Its bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// Where in the bucket; a place of its own unless given
    #[arg(long, value_name = "DIR")]
    prefix: Option<String>,
    /// Its name for people; the key unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Open it for this caller of the account. May be repeated
    #[arg(long = "caller", value_name = "CALLER", required_unless_present = "everyone")]
    callers: Vec<String>,
    /// Open it for every caller of the account
    #[arg(long, conflicts_with = "callers")]
    everyone: bool,
    /// Open it for reading only; nobody may delete in one in any case
    #[arg(long)]
    read_only: bool,
    /// Make it the one meant when none is named
    #[arg(long)]
    default: bool,
    /// The longest life of its credentials: `1h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    max_ttl: Option<u32>,
    #[command(flatten)]
    look: Look,
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("ACCOUNT", &["account_name", "account"]),
    ("KEY", &["key"]),
    ("NAME", &["name"]),
    ("DEFAULT", &["default"]),
    ("BUCKET", &["bucket"]),
    ("PREFIX", &["prefix"]),
    ("ID", &["id"]),
];

/// Runs `valetkey workspace`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create(create) => {
            const FIRST: &[&str] = &["key", "name", "id", "account", "bucket", "prefix", "default"];
            let (max_ttl, look) = (create.max_ttl, create.look);
            let answer = client.send(look.on(Route::to(op::CREATE_WORKSPACE, [])), &body(*create)).await?;
            ttl::warn_beyond(client, out, max_ttl, show::text(&answer, &["bucket"])).await;
            look.told(out, &answer, || show::one(out, &answer, FIRST))
        }
        Command::Ls { account, bucket } => {
            let route = Route::to(op::LIST_WORKSPACES, []).with_some("account", account).with_some("bucket", bucket);
            show::list(out, &client.ask(route).await?, COLUMNS, "there are no workspaces")
        }
        Command::Rm { workspace, account, keep_credentials, how } => {
            let (account, key) = in_account(account, &workspace);
            let route = Route::to(op::REMOVE_WORKSPACE, [&key])
                .with_some("account", account)
                .with_some("end_credentials", keep_credentials.then_some("false"));
            let also = if keep_credentials { "" } else { ", and the credentials vended for it are ended" };
            let done = format!("workspace {workspace} is removed{also}; its objects stay");
            remove::run(route, &how, &done, client, out).await.map(drop)
        }
        Command::Set { workspace, account, name, default } => {
            let (account, key) = in_account(account, &workspace);
            let body = WorkspaceChange { name, default: default.then_some(true) };
            let answer =
                client.send(Route::to(op::CHANGE_WORKSPACE, [&key]).with_some("account", account), &body).await?;
            show::done(out, &answer, &format!("workspace {workspace} is changed"))
        }
    }
}

fn body(create: Create) -> WorkspaceRequest {
    let Create { key, account, bucket, prefix, name, callers, everyone, read_only, default, max_ttl, look: _ } = create;
    // For everyone only when said so: the line is not taken without a caller or --everyone.
    let callers = if everyone { Whom::Everyone } else { Whom::Named(callers) };
    let access = Some(if read_only { AccessWord::Read } else { AccessWord::ReadWrite });
    let (default, max_ttl_secs) = (Some(default), max_ttl.map(i64::from));
    WorkspaceRequest { account, key, name, bucket, prefix, callers, access, default, max_ttl_secs }
}
