//! `valetkey share`: tables shared by Delta Sharing, their recipients and the profiles those read with.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use valetkey_core::nouns::share::ProfileKind;
use valetkey_core::nouns::table::{History, TableAccess, TableFormat};

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::profiles::{LinkRequest, ProfileRequest};
use valetkey_dialects::native::api::shares::{RecipientRequest, ShareRequest, TableRequest};

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::named::in_account;
use crate::cli::output::{Format, Out};
use crate::cli::place::{self, Place};
use crate::cli::word::word;
use crate::cli::{instant, show, ttl};

/// Share tables by Delta Sharing
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a share; it is empty and nobody's yet
    Create {
        /// Its name, unique on the server in whatever case
        #[arg(value_name = "SHARE")]
        name: String,
        /// The account that provides it; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// A sentence for people
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// List shares
    #[command(visible_alias = "list")]
    Ls {
        /// Only those this account provides
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Remove a share, and end the credentials vended of it
    Rm {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
        /// Let the credentials vended of it live on to their end
        #[arg(long)]
        keep_credentials: bool,
    },
    /// Put tables into a share, list them, take them out
    #[command(subcommand)]
    Table(Table),
    /// Give a share to an account, or to one caller of it
    Grant {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
        /// The recipient: an account, or one caller of it
        #[arg(long, value_name = "ACCOUNT[/CALLER]")]
        to: String,
        /// The longest life of its credentials: `1h`, `7d`; a day unless given
        #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
        max_ttl: Option<u32>,
        /// It opens nothing from this time on (RFC 3339), or after this date (its day, in UTC, is the last)
        #[arg(long, value_name = "INSTANT|DATE", value_parser = instant::until)]
        until: Option<jiff::Timestamp>,
    },
    /// Take a share from a recipient, and end the credentials vended of it
    Ungrant {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
        /// The recipient, as it was given
        #[arg(long, value_name = "ACCOUNT[/CALLER]")]
        from: String,
        /// Let the credentials vended of it live on to their end
        #[arg(long)]
        keep_credentials: bool,
    },
    /// List whom a share was given to
    Recipients {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
        /// Only this account and its callers
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Make the files that recipients' clients read
    #[command(subcommand)]
    Profile(Profile),
}

#[derive(Debug, clap::Subcommand)]
enum Table {
    /// Put a table into a share
    Add(Box<Add>),
    /// List the tables of a share
    #[command(visible_alias = "list")]
    Ls {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
    },
    /// Take a table out of a share, and end the credentials vended of it
    Rm {
        /// The share
        #[arg(value_name = "SHARE")]
        share: String,
        /// The table
        #[arg(value_name = "SCHEMA.TABLE")]
        table: String,
        /// Let the credentials vended of it live on to their end
        #[arg(long)]
        keep_credentials: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The share
    #[arg(value_name = "SHARE")]
    share: String,
    /// Where it is listed
    #[arg(value_name = "SCHEMA.TABLE")]
    table: String,
    /// The directory that its `_delta_log` or `metadata` is in
    #[arg(value_name = "s3://BUCKET/DIR")]
    place: String,
    /// A directory of the same bucket that holds files its log names absolutely. May be repeated
    #[arg(long = "auxiliary", value_name = "DIR")]
    auxiliary: Vec<String>,
    /// How it is read; unless given, every way at our own endpoint, and `dir` at other storages
    #[arg(long, value_parser = word::<TableAccess>())]
    access: Option<TableAccess>,
    /// Which of its versions may be read; credentials for its directory open all
    #[arg(long, value_parser = word::<History>(), default_value = "shared")]
    history: History,
    /// What kind of table it is, or `volume` for any files; what is found there, unless given
    #[arg(long, value_parser = word::<TableFormat>())]
    format: Option<TableFormat>,
    /// Add it without a look at whether there is a table at the place
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Profile {
    /// Make a profile, or with --link a link to download one once
    Create {
        #[command(flatten)]
        whose: Whose,
        /// Print a link to download the profile once, instead of the profile
        #[arg(long, conflicts_with = "file")]
        link: bool,
        /// How long the link is good; three days unless given
        #[arg(long, value_name = "TIME", value_parser = ttl::parse, requires = "link")]
        link_ttl: Option<u32>,
    },
    /// Make a new profile and let the recipient's other tokens end
    Rotate {
        #[command(flatten)]
        whose: Whose,
        /// How long the other tokens are still good; `0` ends them, and what they vended, at once
        #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
        grace: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Whose {
    /// The recipient's account; yours unless given
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The recipient's caller: a name in your account, or ACCOUNT/NAME
    #[arg(long, value_name = "CALLER")]
    caller: String,
    /// How long the profile's token is good: `30d`; without it, as long as the token you make it with
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    ttl: Option<u32>,
    /// Let it outlive the token you make it with; for operators
    #[arg(long)]
    outlive: bool,
    /// Prove with OAuth's client credentials instead of a bearer token (version 2 of the file)
    #[arg(long)]
    oauth: bool,
    /// Write the profile to this new file, which only you can read
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn grace(text: &str) -> Result<u32, String> {
    if matches!(text, "0" | "0s") { Ok(0) } else { ttl::parse(text) }
}

pub(super) const SHARES: &[show::Column] = &[
    ("NAME", &["name"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("COMMENT", &["comment"]),
    ("MADE", &["made"]),
    ("ID", &["id"]),
];
pub(super) const TABLES: &[show::Column] = &[
    ("SCHEMA", &["schema"]),
    ("NAME", &["name"]),
    ("BUCKET", &["bucket"]),
    ("DIRECTORY", &["root"]),
    ("AUXILIARY", &["auxiliary"]),
    ("ACCESS", &["access"]),
    ("HISTORY", &["history"]),
    ("FORMAT", &["format"]),
    ("ID", &["id"]),
];
pub(super) const RECIPIENTS: &[show::Column] = &[
    ("ACCOUNT", &["account"]),
    ("ONLY FOR", &["to"]),
    ("MAX TTL", &["max_ttl_secs"]),
    ("UNTIL", &["until"]),
    ("GIVEN", &["made"]),
];

/// An account, and perhaps a caller of it.
fn recipient(text: &str) -> (String, Option<String>) {
    match text.split_once('/') {
        Some((account, caller)) => (account.to_owned(), Some(caller.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn ending(route: Route, keep_credentials: bool) -> Route {
    route.with_some("end_credentials", keep_credentials.then_some("false"))
}

fn ended(keep_credentials: bool) -> &'static str {
    if keep_credentials { "" } else { ", and the credentials vended of it are ended" }
}

/// Runs `valetkey share`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create { name, account, comment } => {
            let body = ShareRequest { name, account, comment };
            let answer = client.send(Route::to(op::CREATE_SHARE, []), &body).await?;
            show::one(out, &answer, &["name", "id", "account", "comment"])
        }
        Command::Ls { account } => {
            let answer = client.ask(Route::to(op::LIST_SHARES, []).with_some("account", account)).await?;
            show::list(out, &answer, SHARES, "there are no shares")
        }
        Command::Rm { share, keep_credentials } => {
            let answer = client.ask(ending(Route::to(op::REMOVE_SHARE, [&share]), keep_credentials)).await?;
            show::done(out, &answer, &format!("share {share} is removed{}", ended(keep_credentials)))
        }
        Command::Table(command) => table(command, client, out).await,
        Command::Grant { share, to, max_ttl, until } => {
            let (account, caller) = recipient(&to);
            let body = RecipientRequest {
                account,
                // For everyone of the account only when no caller is named behind a slash.
                to: caller.map_or(Whom::Everyone, Whom::Named),
                max_ttl_secs: max_ttl.map(i64::from),
                until: until.map(|until| until.to_string()),
            };
            let answer = client.send(Route::to(op::GIVE_SHARE, [&share]), &body).await?;
            if max_ttl.is_some()
                && let Ok(tables) = client.ask(Route::to(op::LIST_SHARED_TABLES, [&share])).await
            {
                let buckets: BTreeSet<&str> =
                    show::rows(&tables).iter().filter_map(|table| show::text(table, &["bucket"])).collect();
                for bucket in buckets {
                    ttl::warn_beyond(client, out, max_ttl, Some(bucket)).await;
                }
            }
            show::done(out, &answer, &format!("share {share} is given to {to}"))
        }
        Command::Ungrant { share, from, keep_credentials } => {
            let (account, caller) = recipient(&from);
            let route = Route::to(op::TAKE_SHARE, [&share, &account]).with_some("caller", caller);
            let answer = client.ask(ending(route, keep_credentials)).await?;
            show::done(out, &answer, &format!("share {share} is taken from {from}{}", ended(keep_credentials)))
        }
        Command::Recipients { share, account } => {
            let route = Route::to(op::LIST_SHARE_RECIPIENTS, [&share]).with_some("account", account);
            let answer = client.ask(route).await?;
            show::list(out, &answer, RECIPIENTS, "the share was given to nobody")
        }
        Command::Profile(command) => profile(command, client, out).await,
    }
}

async fn table(command: Table, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match command {
        Table::Add(add) => {
            let Add { share, table, place, auxiliary, access, history, format, force } = *add;
            let Some((schema, name)) = table.split_once('.') else {
                return Err(Failure::usage(format!("`{table}` is not a schema and a table"))
                    .hint("write them with a dot between, as in `default.flights`"));
            };
            let place = Place::parse(&place)?;
            let root = place.key.ok_or_else(|| {
                Failure::usage("a table is a directory, not a whole bucket").hint("write s3://bucket/directory")
            })?;
            let body = TableRequest {
                schema: schema.to_owned(),
                name: name.to_owned(),
                bucket: place.bucket,
                root: place::directory(&root),
                auxiliary: auxiliary.iter().map(|text| place::directory(text)).collect(),
                access: access.map(|access| access.as_str().to_owned()),
                history: Some(history.as_str().to_owned()),
                format: format.map(|format| format.as_str().to_owned()),
                force,
            };
            let answer = client.send(Route::to(op::ADD_SHARED_TABLE, [&share]), &body).await?;
            let first = [
                "schema",
                "name",
                "id",
                "bucket",
                "root",
                "auxiliary",
                "access",
                "history",
                "format",
                "checked",
                "readable_by",
            ];
            show::one(out, &answer, &first)?;
            if answer.get("readable_by").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                out.note(&format!(
                    "nobody may read it yet: `valetkey share grant {share} --to ACCOUNT` gives the share"
                ));
            }
            Ok(())
        }
        Table::Ls { share } => {
            let answer = client.ask(Route::to(op::LIST_SHARED_TABLES, [&share])).await?;
            show::list(out, &answer, TABLES, "there are no tables in the share")
        }
        Table::Rm { share, table, keep_credentials } => {
            let route = Route::to(op::REMOVE_SHARED_TABLE, [&share, &table]);
            let answer = client.ask(ending(route, keep_credentials)).await?;
            show::done(out, &answer, &format!("table {table} is out of {share}{}", ended(keep_credentials)))
        }
    }
}

async fn profile(command: Profile, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match command {
        Profile::Create { whose, link: true, link_ttl } => {
            let Whose { account, caller, ttl, outlive, oauth, file: _ } = whose;
            let (account, caller) = in_account(account, &caller);
            let body = LinkRequest {
                account,
                caller,
                kind: Some(if oauth { ProfileKind::Oauth } else { ProfileKind::Bearer }.as_str().to_owned()),
                expires_in_secs: ttl.map(i64::from),
                outlive: outlive.then_some(true),
                link_ttl_secs: link_ttl.map(i64::from),
            };
            let answer = client.send(Route::to(op::CREATE_SHARE_LINK, []), &body).await?;
            if out.format() == Format::Json {
                return out.json(&answer);
            }
            out.data(show::text(&answer, &["url"]).unwrap_or_default())?;
            let expires = show::text(&answer, &["expires"]).unwrap_or("it is used");
            if let Some(ends) = show::text(&answer, &["token_ends_by"]) {
                out.warn_always(&format!(
                    "the profile ends by {ends}, with the token that makes the link; --outlive lets it live on"
                ));
            }
            out.note(&format!("the first who opens it, until {expires}, gets the profile; it cannot be shown again"));
            Ok(())
        }
        Profile::Create { whose, link: false, link_ttl: _ } => made(whose, None, client, out).await,
        Profile::Rotate { whose, grace } => made(whose, Some(grace), client, out).await,
    }
}

async fn made(whose: Whose, grace: Option<u32>, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Whose { account, caller, ttl, outlive, oauth, file } = whose;
    let (account, caller) = in_account(account, &caller);
    // Before anything is made: a token that cannot be written anywhere helps nobody.
    let mut target = file.as_deref().map(private).transpose()?;
    let body = ProfileRequest {
        account,
        caller: caller.clone(),
        expires_in_secs: ttl.map(i64::from),
        outlive: outlive.then_some(true),
        replace_after_secs: grace.map(i64::from),
    };
    let answer = match client.send(Route::to(op::CREATE_SHARE_PROFILE, []), &body).await {
        Ok(answer) => answer,
        Err(failure) => {
            if let Some(path) = &file {
                let _ = std::fs::remove_file(path);
            }
            return Err(failure);
        }
    };
    let profile = written(&answer, oauth);
    match (&mut target, &file) {
        (Some(target), Some(path)) => {
            let failed =
                |error: std::io::Error| Failure::local(format!("{} cannot be written: {error}", path.display()));
            target.write_all(format!("{profile}\n").as_bytes()).map_err(failed)?;
            out.note(&format!("{} is the profile of {caller}", path.display()));
        }
        _ if out.format() == Format::Json => out.json(&profile)?,
        _ => out.data(&profile.to_string())?,
    }
    show::cuts(out, &answer);
    let replaced = show::find(&answer, &["replaced"]).and_then(Value::as_array).map_or(0, Vec::len);
    if replaced > 0 {
        let when = if grace == Some(0) { "are ended" } else { "end after the grace period" };
        out.note(&format!("{replaced} other tokens of {caller} {when}"));
    }
    out.note("it cannot be shown again. Hand it over where only the recipient reads it");
    Ok(())
}

/// The profile that clients read (Delta Sharing protocol, "Profile File Format").
fn written(parts: &Value, oauth: bool) -> Value {
    let text = |name: &str| show::text(parts, &[name]).unwrap_or_default().to_owned();
    let endpoint = text("endpoint");
    if oauth {
        return json!({
            "shareCredentialsVersion": 2,
            "type": "oauth_client_credentials",
            "endpoint": endpoint,
            "tokenEndpoint": format!("{endpoint}/oauth/token"),
            "clientId": text("client_id"),
            "clientSecret": text("token"),
        });
    }
    let mut profile = json!({ "shareCredentialsVersion": 1, "endpoint": endpoint, "bearerToken": text("token") });
    if let (Some(fields), Some(expires)) = (profile.as_object_mut(), show::text(parts, &["expires"])) {
        fields.insert("expirationTime".to_owned(), expires.into());
    }
    profile
}

/// A new file for its owner alone.
fn private(path: &Path) -> Result<std::fs::File, Failure> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Failure::local(format!("{} cannot be made: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_of_the_version_that_fits_its_proof() {
        let parts = json!({
            "endpoint": "https://x/delta-sharing", "token": "t", "client_id": "c", "id": "tok_x",
            "expires": "2026-01-01T00:00:00Z", "replaced": [],
        });
        let bearer = r#"{"bearerToken":"t","endpoint":"https://x/delta-sharing","expirationTime":"2026-01-01T00:00:00Z","shareCredentialsVersion":1}"#;
        assert_eq!(written(&parts, false), serde_json::from_str::<Value>(bearer).unwrap());
        let oauth = written(&parts, true);
        assert_eq!(oauth["tokenEndpoint"], "https://x/delta-sharing/oauth/token");
        assert_eq!((&oauth["shareCredentialsVersion"], &oauth["clientSecret"]), (&json!(2), &json!("t")));
    }

    #[test]
    fn a_recipient_is_an_account_or_a_caller_of_it() {
        assert_eq!(recipient("acme"), ("acme".to_owned(), None));
        assert_eq!(recipient("acme/ann"), ("acme".to_owned(), Some("ann".to_owned())));
        assert_eq!((grace("0"), grace("1h")), (Ok(0), Ok(3600)));
    }
}
