//! `valetkey request`: access for a time, that someone approves. `valetkey request-rule`: who may ask for what.

use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::requests::{
    AccessRequestBody, DecisionBody, RequestRuleChange, RequestRuleRequest,
};

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::place::{self, Place};
use crate::cli::remove::{self, How, Look};
use crate::cli::word::Access;
use crate::cli::{list, show, ttl};

/// Ask for access for a time, and approve or deny what others ask for
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, clap::Args)]
struct Ask {
    /// What is asked for: `s3://bucket/directory`, or `s3://bucket` with --prefix, --object or --whole-bucket
    #[arg(value_name = "s3://BUCKET/DIR", required = true)]
    place: Option<String>,
    #[command(flatten)]
    places: Places,
    /// What is to be allowed
    #[arg(long, value_enum, default_value = "read")]
    access: Access,
    /// For how long from its approval: `2h`, `1d`
    #[arg(long = "for", value_name = "TIME", value_parser = ttl::parse, required = true)]
    secs: Option<u32>,
    /// Why, for who approves it
    #[arg(long, value_name = "TEXT", required = true)]
    reason: Option<String>,
    /// The rule to ask under; the first by name that all of it is in if not given
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
struct Places {
    /// A directory. May be repeated
    #[arg(long = "prefix", value_name = "DIR")]
    prefixes: Vec<String>,
    /// An object; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY")]
    objects: Vec<String>,
    /// The whole bucket
    #[arg(long, conflicts_with_all = ["prefixes", "objects"])]
    whole_bucket: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List requests: your own, and those that you approve; an operator everybody's
    #[command(visible_alias = "list")]
    Ls {
        /// Only those that stand so: `pending`, `approved`, `denied`, `cancelled` or `expired`
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only those that are made under rules whose requests you approve
        #[arg(long)]
        decide: bool,
        /// All of them, page by page
        #[arg(long, conflicts_with = "before")]
        all: bool,
        /// Only those made before this one: the next page
        #[arg(long, value_name = "REQUEST")]
        before: Option<String>,
        /// At most this many on a page
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: Option<u32>,
    },
    /// Show a request
    Show {
        /// Its id
        #[arg(value_name = "REQUEST")]
        request: String,
    },
    /// Approve a request: what it asks for is granted, for as long as it asks
    Approve {
        /// Its id
        #[arg(value_name = "REQUEST")]
        request: String,
        /// Words for who asked
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        look: Look,
    },
    /// Deny a request
    Deny {
        /// Its id
        #[arg(value_name = "REQUEST")]
        request: String,
        /// Words for who asked
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Take a request of yours back. One that was approved ends with its grant: `valetkey grant rm`
    Cancel {
        /// Its id
        #[arg(value_name = "REQUEST")]
        request: String,
    },
}

const COLUMNS: &[show::Column] = &[
    ("ID", &["id"]),
    ("STATE", &["state"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("CALLER", &["caller_name", "caller"]),
    ("ACCESS", &["access"]),
    ("ASKS FOR", &[show::PLACES]),
    ("FOR", &["for_secs"]),
    ("REASON", &["reason"]),
    ("MADE", &["created_at"]),
    ("DECIDED BY", &["decided_by_name", "decided_by"]),
    ("UNTIL", &["until"]),
];

const SHOWN: [&str; 8] = ["id", "state", "caller_name", "access", "bucket", "prefixes", "objects", "reason"];

/// The bucket, directories and objects of a place, and whether it is the whole bucket.
type Named = (String, Option<Vec<String>>, Option<Vec<String>>, Option<bool>);

fn some(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

impl Places {
    fn is_said(&self) -> bool {
        self.whole_bucket || !self.prefixes.is_empty() || !self.objects.is_empty()
    }

    fn directories(&self) -> Option<Vec<String>> {
        some(self.prefixes.iter().map(|prefix| place::directory(prefix)).collect())
    }

    /// What a place and the flags beside it name.
    fn named(self, text: &str) -> Result<Named, Failure> {
        let place = Place::of_rule(text)?;
        match place.key {
            Some(_) if self.is_said() => {
                Err(Failure::usage("the place names a directory, and flags name others or the whole bucket")
                    .hint("pass `s3://bucket` with --prefix and --object, each from the bucket's root"))
            }
            Some(directory) => Ok((place.bucket, Some(vec![place::directory(&directory)]), None, None)),
            None if self.is_said() => {
                let whole = self.whole_bucket.then_some(true);
                Ok((place.bucket, self.directories(), some(self.objects), whole))
            }
            None => Err(Failure::usage("the place is a whole bucket, and nothing says that all of it is meant")
                .hint("name a directory, `s3://bucket/directory`, or pass --whole-bucket")),
        }
    }
}

/// Runs `valetkey request`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        None => ask(args.ask, client, out).await,
        Some(Command::Ls { state, decide, all, before, limit }) => {
            let route = Route::to(op::LIST_REQUESTS, []).with_some("state", state).with_some("before", before);
            let route = route.with_some("decide", decide.then_some("true")).with_some("limit", limit);
            list::run(route, all, COLUMNS, "there are no requests", client, out).await
        }
        Some(Command::Show { request }) => {
            show::one(out, &client.ask(Route::to(op::GET_REQUEST, [&request])).await?, &SHOWN)
        }
        Some(Command::Approve { request, note, look }) => {
            let route = look.on(Route::to(op::APPROVE_REQUEST, [&request]));
            let answer = client.send(route, &DecisionBody { note }).await?;
            let until = show::text(&answer, &["until"]).unwrap_or("its end");
            let done = format!("request {request} is approved; its grant ends at {until}");
            look.told(out, &answer, || show::done(out, &answer, &done))
        }
        Some(Command::Deny { request, note }) => {
            let route = Route::to(op::DENY_REQUEST, [&request]);
            let answer = client.send(route, &DecisionBody { note }).await?;
            show::done(out, &answer, &format!("request {request} is denied"))
        }
        Some(Command::Cancel { request }) => {
            let answer = client.ask(Route::to(op::CANCEL_REQUEST, [&request])).await?;
            show::done(out, &answer, &format!("request {request} is cancelled"))
        }
    }
}

async fn ask(ask: Ask, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Ask { place, places, access, secs, reason, rule } = ask;
    let (bucket, prefixes, objects, whole_bucket) = places.named(&place.unwrap_or_default())?;
    let body = AccessRequestBody {
        bucket,
        prefixes,
        objects,
        whole_bucket,
        access: Some(access.into()),
        for_secs: secs.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        rule,
        ..AccessRequestBody::default()
    };
    show::one(out, &client.send(Route::to(op::CREATE_REQUEST, []), &body).await?, &SHOWN)
}

/// Say who may ask for what, and who approves it
#[derive(Debug, clap::Args)]
pub(crate) struct Rules {
    #[command(subcommand)]
    command: RuleCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RuleCommand {
    /// Add a rule
    #[command(visible_alias = "add")]
    Create(Box<Create>),
    /// List the rules under which you may ask or approve; an operator all
    #[command(visible_alias = "list")]
    Ls,
    /// Change a rule; what was approved under it stays
    #[command(visible_alias = "change", group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set(Box<Set>),
    /// Remove a rule; what waits under it is cancelled, and what was approved stays
    Rm {
        /// Its name or id
        #[arg(value_name = "RULE")]
        rule: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name, unique on the server
    #[arg(value_name = "NAME")]
    name: String,
    /// The most that may be asked for: `s3://bucket/directory`, or `s3://bucket` with --prefix, --object or --whole-bucket
    #[arg(value_name = "s3://BUCKET/DIR")]
    place: String,
    #[command(flatten)]
    places: Places,
    /// Whose callers may ask
    #[arg(long, value_name = "ACCOUNT", required_unless_present = "anybody")]
    account: Option<String>,
    /// The callers of every account may ask
    #[arg(long, conflicts_with_all = ["account", "caller", "group"])]
    anybody: bool,
    /// Only this caller of the account
    #[arg(long, value_name = "CALLER")]
    caller: Option<String>,
    /// Only the members of this group of the account
    #[arg(long, value_name = "GROUP", conflicts_with = "caller")]
    group: Option<String>,
    /// The group whose members approve: its name in the account, or ACCOUNT/NAME
    #[arg(long, value_name = "GROUP")]
    approvers: String,
    /// The most that may be asked for
    #[arg(long, value_enum, default_value = "read")]
    access: Access,
    /// The longest that it may be asked for: `4h`, `2d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    max: u32,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Its name or id
    #[arg(value_name = "RULE")]
    rule: String,
    /// Its name from now on
    #[arg(long, value_name = "NAME", group = "what")]
    name: Option<String>,
    /// A directory; with --object these take the place of all. May be repeated
    #[arg(long = "prefix", value_name = "DIR", group = "what")]
    prefixes: Vec<String>,
    /// An object; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY", group = "what")]
    objects: Vec<String>,
    /// The whole bucket
    #[arg(long, conflicts_with_all = ["prefixes", "objects"], group = "what")]
    whole_bucket: bool,
    /// The most that may be asked for
    #[arg(long, value_enum, group = "what")]
    access: Option<Access>,
    /// The longest that it may be asked for
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "what")]
    max: Option<u32>,
    /// Only this caller of the account
    #[arg(long, value_name = "CALLER", group = "what")]
    caller: Option<String>,
    /// Only the members of this group of the account
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "caller", group = "what")]
    of: Option<String>,
    /// Every caller of the account
    #[arg(long, conflicts_with_all = ["caller", "of"], group = "what")]
    everyone: bool,
    /// The group whose members approve
    #[arg(long, value_name = "GROUP", group = "what")]
    approvers: Option<String>,
}

pub(super) const RULES: &[show::Column] = &[
    ("NAME", &["name"]),
    ("ACCOUNT", &["account_name", "account"]),
    ("ONLY FOR", &["askers"]),
    ("ACCESS", &["access"]),
    ("AT MOST", &[show::PLACES]),
    ("FOR", &["max_secs"]),
    ("APPROVERS", &["approvers"]),
    ("ID", &["id"]),
];

fn askers(caller: Option<String>, group: Option<String>) -> Option<String> {
    caller.or(group.map(|group| format!("group:{group}")))
}

/// Runs `valetkey request-rule`.
pub(crate) async fn rules(args: Rules, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let shown = ["name", "id", "account_name", "askers", "access", "bucket", "prefixes", "objects", "approvers"];
    match args.command {
        RuleCommand::Create(create) => {
            let Create { name, place, places, account, anybody: _, caller, group, approvers, access, max } = *create;
            let (bucket, prefixes, objects, whole_bucket) = places.named(&place)?;
            let body = RequestRuleRequest {
                name,
                // For every account only when said so.
                account: account.map_or(Whom::Everyone, Whom::Named),
                askers: askers(caller, group),
                approvers,
                bucket,
                prefixes,
                objects,
                whole_bucket,
                access: Some(access.into()),
                max_secs: max,
                ..RequestRuleRequest::default()
            };
            show::one(out, &client.send(Route::to(op::CREATE_REQUEST_RULE, []), &body).await?, &shown)
        }
        RuleCommand::Ls => {
            let answer = client.ask(Route::to(op::LIST_REQUEST_RULES, [])).await?;
            show::list(out, &answer, RULES, "there are no request rules that are for you")
        }
        RuleCommand::Set(set) => {
            let Set { rule, name, prefixes, objects, whole_bucket, access, max, caller, of, everyone, approvers } =
                *set;
            let places = Places { prefixes, objects, whole_bucket };
            let body = RequestRuleChange {
                name,
                askers: match askers(caller, of) {
                    Some(askers) => Whom::Named(askers),
                    None if everyone => Whom::Everyone,
                    None => Whom::Unsaid,
                },
                approvers,
                prefixes: places.directories(),
                objects: some(places.objects),
                whole_bucket: places.whole_bucket.then_some(true),
                access: access.map(Into::into),
                max_secs: max,
                ..RequestRuleChange::default()
            };
            let answer = client.send(Route::to(op::CHANGE_REQUEST_RULE, [&rule]), &body).await?;
            show::done(out, &answer, &format!("request rule {rule} is changed"))
        }
        RuleCommand::Rm { rule, how } => {
            let done = format!("request rule {rule} is removed");
            remove::run(Route::to(op::REMOVE_REQUEST_RULE, [&rule]), &how, &done, client, out).await.map(drop)
        }
    }
}
