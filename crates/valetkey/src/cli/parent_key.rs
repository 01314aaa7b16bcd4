//! `valetkey parent-key`: long-lived S3 keys in Cloudflare R2's form, that make and sign short-lived ones.

use std::io::Read as _;
use std::path::PathBuf;

use valetkey_core::Secret;
use valetkey_core::nouns::parent::Permission;

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::parent_keys::{ChildRequest, ParentKeyChange, ParentKeyRequest};

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::cli::remove::{self, Cascade, Change};
use crate::cli::word::word;
use crate::cli::{show, ttl};

/// Make, list and disable parent access keys: long-lived S3 keys in Cloudflare R2's form, that make and sign short-lived ones
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a parent access key. Its secrets are shown once, on standard output
    Create {
        /// Its name; a caller of this name is made
        #[arg(value_name = "NAME")]
        name: String,
        /// Whose it is
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
        /// A bucket it opens, whole; may be given several times
        #[arg(long = "bucket", value_name = "BUCKET", required = true)]
        buckets: Vec<String>,
        /// What it allows there; nothing made of it allows more
        #[arg(long, value_parser = word::<Permission>())]
        permission: Permission,
        /// How long it is good: `12h`, `30d`; without it, until it is disabled
        #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
        ttl: Option<u32>,
        /// Let it outlive the token you make it with
        #[arg(long)]
        outlive: bool,
    },
    /// List parent access keys; their secrets are not shown again
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Only those that open this bucket
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
    },
    /// End a parent access key and everything made of it or signed with it, at once
    Disable {
        /// Its access key id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Remove a parent access key for good, with the caller and the grants made for it; its name is free
    Rm {
        /// Its access key id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        cascade: Cascade,
    },
    /// Change when a parent access key ends, or what it allows; credentials that have more than that end
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// Its access key id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "KEY")]
        key: String,
        /// How long it is good from now on: `12h`, `30d`
        #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "what")]
        ttl: Option<u32>,
        /// Let it outlive the token you say it with
        #[arg(long)]
        outlive: bool,
        /// What it allows from now on
        #[arg(long, value_parser = word::<Permission>(), group = "what")]
        permission: Option<Permission>,
        #[command(flatten)]
        change: Change,
    },
    /// End one credential that was signed with a parent access key
    EndChild {
        /// The parent's access key id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "KEY")]
        key: String,
        /// A file with its session token, or with what was signed as JSON; `-` reads standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        from: PathBuf,
    },
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("ACCESS KEY ID", &["access_key_id"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("NAME", &["name"]),
    ("ACCOUNT ID", &["account_id"]),
    ("MADE", &["made"]),
    ("EXPIRES", &["expires"]),
    ("DISABLED", &["disabled"]),
];

/// What is shown of a new one, in this order.
const MADE: [(&str, &str); 5] = [
    ("token", "token"),
    ("account id", "account_id"),
    ("access key id", "access_key_id"),
    ("secret access key", "secret_access_key"),
    ("endpoint", "endpoint"),
];

/// Runs `valetkey parent-key`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create { name, account, buckets, permission, ttl, outlive } => {
            let permission = permission.as_str().to_owned();
            let (expires_in_secs, outlive) = (ttl.map(i64::from), outlive.then_some(true));
            let body = ParentKeyRequest { name, account, buckets, permission, expires_in_secs, outlive };
            let answer = client.send(Route::to(op::CREATE_PARENT_KEY, []), &body).await?;
            if out.format() == Format::Json {
                return out.json(&answer);
            }
            for (label, field) in MADE {
                let Some(text) = show::text(&answer, &[field]) else {
                    return Err(Failure::local(format!(
                        "the server made a parent access key and did not say its {label}"
                    ))
                    .hint("`valetkey parent-key ls` lists it; disable it"));
                };
                out.data(&format!("{label:17}  {text}"))?;
            }
            show::cuts(out, &answer);
            out.note("token and secret cannot be shown again. Keep them in a file only you can read");
            Ok(())
        }
        Command::Ls { account, bucket } => {
            let route = Route::to(op::LIST_PARENT_KEYS, []).with_some("account", account).with_some("bucket", bucket);
            show::list(out, &client.ask(route).await?, COLUMNS, "there are no parent access keys")
        }
        Command::Disable { key } => {
            let answer = client.ask(Route::to(op::DISABLE_PARENT_KEY, [&key])).await?;
            show::done(
                out,
                &answer,
                &format!("{key} is disabled, and everything made of it or signed with it is ended"),
            )
        }
        Command::Rm { key, cascade } => {
            let route = cascade.on(Route::to(op::DISABLE_PARENT_KEY, [&key])).with("remove", "true");
            let done = format!("parent access key {key} is removed");
            remove::run(route, &cascade.how, &done, client, out).await.map(drop)
        }
        Command::Set { key, ttl, outlive, permission, change } => {
            let body = ParentKeyChange {
                expires_in_secs: ttl.map_or(Whom::Unsaid, |secs| Whom::Named(i64::from(secs))),
                outlive: outlive.then_some(true),
                permission: permission.map(|permission| permission.as_str().to_owned()),
            };
            let answer = client.send(change.on(Route::to(op::CHANGE_PARENT_KEY, [&key])), &body).await?;
            change.told(out, &answer, &format!("parent access key {key} is changed"))
        }
        Command::EndChild { key, from } => {
            let text = read(&from)?;
            let text = text.reveal().trim();
            let body = if text.starts_with('{') {
                let claims = serde_json::from_str(text)
                    .map_err(|error| Failure::usage(format!("what was signed is not JSON: {error}")))?;
                ChildRequest { claims: Some(claims), session_token: None }
            } else {
                ChildRequest { claims: None, session_token: Some(text.to_owned()) }
            };
            let answer = client.send(Route::to(op::END_CHILD, [&key]), &body).await?;
            show::done(out, &answer, "the credential is ended")
        }
    }
}

/// Reads a session token or claims: never from the command line, which others on the machine can see.
fn read(from: &std::path::Path) -> Result<Secret<String>, Failure> {
    let mut text = String::new();
    let done = if from.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(from).map(|read| text = read)
    };
    done.map_err(|error| Failure::local(format!("{} cannot be read: {error}", from.display())))?;
    Ok(Secret::new(text))
}
