//! `valetkey grant`: who may reach what.

use valetkey_core::id::GrantId;

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::grants::{GrantChange, GrantRequest};
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::conditions::{self, Conditions};
use crate::cli::failure::{Exit, Failure};
use crate::cli::list::{self, Pages, Since};
use crate::cli::named::in_account;
use crate::cli::output::Out;
use crate::cli::place::{self, Place};
use crate::cli::remove::{self, Change, How, Look};
use crate::cli::word::Access;
use crate::cli::{instant, show, ttl};

/// Make, list, change and remove grants
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Grant an account access to a dataset or a place
    Create(Box<Create>),
    /// List grants: an operator everybody's, an admin its account's, everyone else what it may reach
    #[command(visible_alias = "list")]
    Ls {
        /// Only this account's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Only those this caller may use, everyone's too: its name in your account, ACCOUNT/NAME, or its id
        #[arg(long, value_name = "CALLER")]
        caller: Option<String>,
        /// Only those of this bucket
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
        #[command(flatten)]
        since: Since,
        #[command(flatten)]
        pages: Pages,
    },
    /// Remove a grant and end the credentials vended under it
    Rm {
        /// The grant's id, its name in your account, or ACCOUNT/NAME
        #[arg(value_name = "GRANT")]
        grant: String,
        /// Its account; yours unless given
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Let the credentials vended under it live on to their end
        #[arg(long)]
        keep_credentials: bool,
        #[command(flatten)]
        how: How,
    },
    /// Change a grant; credentials that have more than it gives from now on end
    #[command(visible_alias = "change")]
    Set(Box<Set>),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(conditions::FLAGS))]
struct Set {
    /// The grant's id, its name in your account, or ACCOUNT/NAME
    #[arg(value_name = "GRANT")]
    grant: String,
    /// Its account; yours unless given
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Its name from now on
    #[arg(long, value_name = "NAME", group = "change")]
    name: Option<String>,
    /// A directory it opens, from the bucket's root; these flags take the place of all its paths. May be repeated
    #[arg(long = "prefix", value_name = "DIR", group = "change")]
    prefixes: Vec<String>,
    /// An object it opens; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY", group = "change")]
    objects: Vec<String>,
    /// It opens the whole bucket
    #[arg(long, conflicts_with_all = ["prefixes", "objects"], group = "change")]
    whole_bucket: bool,
    /// Its paths are a template: `{caller.name}`, `{account.name}` and `{claims./pointer}` are filled in for each caller
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        conflicts_with = "whole_bucket",
        group = "change"
    )]
    template: Option<bool>,
    /// What it allows
    #[arg(long, value_enum, group = "change")]
    access: Option<Access>,
    /// An action it allows, by name; these take the place of all. May be repeated
    #[arg(long = "action", value_name = "ACTION", conflicts_with = "access", group = "change")]
    actions: Vec<String>,
    /// The longest life of its credentials: `1h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "change")]
    max_ttl: Option<u32>,
    /// It opens nothing before this time (RFC 3339)
    #[arg(long, value_name = "INSTANT", group = "change")]
    from: Option<jiff::Timestamp>,
    /// It opens nothing from this time on (RFC 3339)
    #[arg(long, value_name = "INSTANT", group = "change")]
    until: Option<jiff::Timestamp>,
    /// It has no end
    #[arg(long, conflicts_with = "until", group = "change")]
    no_until: bool,
    #[command(flatten)]
    conditions: Conditions,
    /// It opens what it opens without conditions
    #[arg(long, conflicts_with_all = conditions::FLAGS, group = "change")]
    no_conditions: bool,
    #[command(flatten)]
    how: Change,
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The grant's name, unique in its account
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose callers it is for
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
    /// Only for this caller of the account
    #[arg(long, value_name = "CALLER", required_unless_present_any = ["group", "everyone"])]
    caller: Option<String>,
    /// For the members of this group of the account
    #[arg(long, value_name = "GROUP", conflicts_with = "caller")]
    group: Option<String>,
    /// For every caller of the account
    #[arg(long, conflicts_with_all = ["caller", "group"])]
    everyone: bool,
    /// The dataset it opens
    #[arg(long, value_name = "DATASET", required_unless_present = "place", conflicts_with = "place")]
    dataset: Option<String>,
    /// The place it opens: `s3://bucket/directory`, or `s3://bucket` with --prefix, --object or --whole-bucket
    #[arg(value_name = "s3://BUCKET/DIR")]
    place: Option<String>,
    /// A directory it opens. May be repeated
    #[arg(long = "prefix", value_name = "DIR", requires = "place")]
    prefixes: Vec<String>,
    /// An object it opens; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY", requires = "place")]
    objects: Vec<String>,
    /// It opens the whole bucket
    #[arg(long, requires = "place", conflicts_with_all = ["prefixes", "objects"])]
    whole_bucket: bool,
    /// Its paths are a template: `{caller.name}`, `{account.name}` and `{claims./pointer}` are filled in for each caller
    #[arg(long, requires = "place", conflicts_with = "whole_bucket")]
    template: bool,
    /// What it allows
    #[arg(long, value_enum, default_value = "read")]
    access: Access,
    /// The longest life of its credentials: `1h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    max_ttl: Option<u32>,
    /// It opens nothing before this time (RFC 3339), or the beginning of this date
    #[arg(long, value_name = "INSTANT|DATE", value_parser = instant::from)]
    from: Option<jiff::Timestamp>,
    /// It opens nothing from this time on (RFC 3339), or after this date (its day, in UTC, is the last)
    #[arg(long, value_name = "INSTANT|DATE", value_parser = instant::until)]
    until: Option<jiff::Timestamp>,
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    look: Look,
}

/// The columns of a list of grants.
pub(super) const COLUMNS: &[show::Column] = &[
    ("ACCOUNT", &["account_name", "account"]),
    ("NAME", &["name"]),
    ("STATE", &["state"]),
    ("ACCESS", &["access"]),
    ("OPENS", &[show::PLACES]),
    ("ONLY FOR", &["to"]),
    ("MAX TTL", &["max_ttl_secs"]),
    ("UNTIL", &["until"]),
    ("IF", &["conditions"]),
    ("ID", &["id"]),
];

/// The columns of what the caller may reach: all of its own account.
pub(crate) const OWN: &[show::Column] = COLUMNS.split_at(1).1;

/// Runs `valetkey grant`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Create(create) => {
            const FIRST: &[&str] =
                &["name", "id", "account", "to", "state", "access", "bucket", "prefixes", "objects", "template"];
            let (max_ttl, look) = (create.max_ttl, create.look);
            let answer = client.send(look.on(Route::to(op::CREATE_GRANT, [])), &body(*create)?).await?;
            ttl::warn_beyond(client, out, max_ttl, show::text(&answer, &["bucket"])).await;
            look.told(out, &answer, || show::one(out, &answer, FIRST))
        }
        Command::Ls { account, caller, bucket, since, pages } => {
            let route = match account {
                Some(account) => Route::to(op::LIST_GRANTS, []).with("account", account),
                None => Route::to(op::LIST_GRANTS, []).with("all", "true"),
            };
            let route = since.on(route.with_some("caller", caller).with_some("bucket", bucket))?;
            list::run(pages.on(route), pages.all, COLUMNS, "there are no grants", client, out).await
        }
        Command::Rm { grant, account, keep_credentials, how } => {
            let id = id(client, &grant, account).await?;
            let route =
                Route::to(op::REMOVE_GRANT, [&id]).with_some("end_credentials", keep_credentials.then_some("false"));
            let also = if keep_credentials { "" } else { ", and the credentials vended under it are ended" };
            remove::run(route, &how, &format!("grant {grant} is removed{also}"), client, out).await.map(drop)
        }
        Command::Set(set) => {
            let Set { grant, account, how, .. } = &*set;
            let id = id(client, grant, account.clone()).await?;
            let answer = client.send(how.on(Route::to(op::CHANGE_GRANT, [&id])), &set.body()).await?;
            how.told(out, &answer, &format!("grant {grant} is changed"))
        }
    }
}

/// The id of a grant named by id or name. The API takes ids, so that one never ends what another was meant.
pub(crate) async fn id(client: &Client<'_>, text: &str, account: Option<String>) -> Result<String, Failure> {
    if text.parse::<GrantId>().is_ok() {
        return Ok(text.to_owned());
    }
    let (account, text) = in_account(account, text);
    let route = Route::to(op::LIST_GRANTS, []).with_some("account", account).with("name", text.as_str());
    let answer = client.ask(route).await?;
    let named = show::rows(&answer).iter().find(|grant| show::text(grant, &["name"]) == Some(text.as_str()));
    named.and_then(|grant| show::text(grant, &["id"])).map(str::to_owned).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no grant `{text}` that you may see"))
            .hint("name it as ACCOUNT/NAME, or by its id; `valetkey grant ls --account ACCOUNT` lists them")
    })
}

impl Set {
    fn body(&self) -> GrantChange {
        GrantChange {
            name: self.name.clone(),
            prefixes: listed(self.prefixes.iter().map(|prefix| place::directory(prefix)).collect()),
            objects: listed(self.objects.clone()),
            whole_bucket: self.whole_bucket.then_some(true),
            template: self.template,
            access: self.access.map(Into::into),
            actions: listed(self.actions.clone()),
            max_ttl_secs: self.max_ttl.map(i64::from),
            from: self.from.map_or(Whom::Unsaid, |from| Whom::Named(from.to_string())),
            until: match (self.until, self.no_until) {
                (Some(until), _) => Whom::Named(until.to_string()),
                (None, true) => Whom::Everyone,
                (None, false) => Whom::Unsaid,
            },
            conditions: match (self.conditions.given(), self.no_conditions) {
                (Some(given), _) => Whom::Named(given),
                (None, true) => Whom::Everyone,
                (None, false) => Whom::Unsaid,
            },
            ..GrantChange::default()
        }
    }
}

/// A list, if it has an item.
fn listed(items: Vec<String>) -> Option<Vec<String>> {
    Some(items).filter(|items| !items.is_empty())
}

fn body(create: Create) -> Result<GrantRequest, Failure> {
    let Create {
        name,
        account,
        caller,
        group,
        everyone: _,
        dataset,
        place,
        prefixes,
        objects,
        whole_bucket,
        template,
        access,
        max_ttl,
        from,
        until,
        conditions,
        look: _,
    } = create;
    let mut body = GrantRequest {
        account,
        name,
        // For everyone only when said so: the line is not taken without a caller, a group or --everyone.
        to: caller.or(group.map(|group| format!("group:{group}"))).map_or(Whom::Everyone, Whom::Named),
        dataset,
        template: template.then_some(true),
        access: Some(access.into()),
        max_ttl_secs: max_ttl.map(i64::from),
        from: from.map(|from| from.to_string()),
        until: until.map(|until| until.to_string()),
        conditions: conditions.given(),
        ..GrantRequest::default()
    };
    let Some(place) = place else { return Ok(body) };
    let place = Place::of_rule(&place)?;
    body.bucket = Some(place.bucket);
    let narrowed = !prefixes.is_empty() || !objects.is_empty();
    match place.key {
        Some(_) if narrowed || whole_bucket => {
            return Err(Failure::usage("the place names a directory, and flags name others or the whole bucket")
                .hint("pass `s3://bucket` with --prefix and --object, each from the bucket's root"));
        }
        Some(directory) => body.prefixes = Some(vec![place::directory(&directory)]),
        None if narrowed => {
            body.prefixes = listed(prefixes.iter().map(|prefix| place::directory(prefix)).collect());
            body.objects = listed(objects);
        }
        None if whole_bucket => body.whole_bucket = Some(true),
        None => {
            return Err(Failure::usage("the place is a whole bucket, and nothing says that all of it is meant")
                .hint("name a directory, `s3://bucket/directory`, or pass --whole-bucket"));
        }
    }
    Ok(body)
}
