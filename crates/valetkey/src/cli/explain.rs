//! `valetkey explain`: why a caller may do something, or why not.

use serde_json::Value;

use valetkey_dialects::native::api::explain::ExplainRequest;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::scopes::Access;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::named::in_account;
use crate::cli::output::{Format, Out, clean};
use crate::cli::place::Place;
use crate::cli::show;

/// Why an action is allowed or not, naming the grant
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `read`, `write`, `delete`, `list`, or one action such as `put-object-tagging`
    #[arg(value_name = "ACTION")]
    action: String,
    /// Where
    #[arg(value_name = "s3://BUCKET/KEY")]
    place: String,
    /// For another caller: its name in your account, ACCOUNT/NAME, or its id; for admins
    #[arg(long = "as", value_name = "CALLER")]
    caller: Option<String>,
    /// The other caller's account, by name or id; for operators
    #[arg(long, value_name = "ACCOUNT", requires = "caller")]
    account: Option<String>,
    /// As if it came from this address
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// As if the client called its session so
    #[arg(long, value_name = "NAME")]
    session_name: Option<String>,
    /// As if the client showed this
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// End with 4 when it is not allowed, for scripts
    #[arg(long)]
    exit_code: bool,
}

pub(super) const CONSIDERED: &[show::Column] = &[
    ("GRANT", &["grant.name"]),
    ("SAYS", &["verdict"]),
    ("IF", &["conditions"]),
    ("APPROVED BY", &["request.approved_by"]),
    ("ID", &["grant.id"]),
];

/// Runs `valetkey explain`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    let place = Place::parse(&args.place)?;
    let Some(key) = place.key else {
        return Err(Failure::usage("the place is a bucket, and an answer is about one key in it")
            .hint("name one, whether it exists or not: s3://bucket/directory/object"));
    };
    let (access, action) = match args.action.as_str() {
        "read" => (Some(Access::Read), None),
        "write" => (Some(Access::Write), None),
        "delete" => (None, Some("delete-object")),
        "list" => (None, Some("list-bucket")),
        action => (None, Some(action)),
    };
    let (account, caller) = match args.caller {
        Some(caller) => {
            let (account, caller) = in_account(args.account, &caller);
            (account, Some(caller))
        }
        None => (args.account, None),
    };
    let action = action.map(str::to_owned);
    let Args { from, session_name, external_id, place: shown, exit_code, .. } = args;
    let body =
        ExplainRequest { bucket: place.bucket, key, action, access, caller, account, from, session_name, external_id };
    let answer = client.send(Route::to(op::EXPLAIN, []), &body).await?;
    let allowed = show::find(&answer, &["allowed"]).and_then(Value::as_bool).unwrap_or(false);
    match out.format() {
        Format::Json => out.json(&answer)?,
        Format::Table => say(&answer, allowed, &shown, out)?,
    }
    Ok(if exit_code && !allowed { Exit::Denied } else { Exit::Ok })
}

fn say(answer: &Value, allowed: bool, place: &str, out: &Out) -> Result<(), Failure> {
    let of = |names: &[&str]| clean(show::text(answer, names).unwrap_or("?")).into_owned();
    let verdict = if allowed { out.good("allowed") } else { out.bad("denied") };
    out.data(&format!(
        "{verdict}: {} may{} {} {}",
        of(&["caller"]),
        if allowed { "" } else { " not" },
        of(&["action"]),
        clean(place)
    ))?;
    if allowed {
        out.data(&format!("because of the grant `{}` ({})", of(&["grant.name"]), of(&["grant.id"])))?;
    }
    let considered: Vec<Value> = show::find(answer, &["considered"])
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(in_words)
        .collect();
    if let Some(share) = show::text(answer, &["open_through_share"]) {
        let share = clean(share);
        out.data(&format!(
            "it is open through the share `{share}`: a Delta Sharing client reads it, with the caller's profile"
        ))?;
    }
    if considered.is_empty() {
        return out.data("there is no grant for this caller");
    }
    out.data("")?;
    let considered = Value::Array(considered);
    show::list(out, &considered, CONSIDERED, "")?;
    match show::find(answer, &["unlisted"]).and_then(Value::as_u64) {
        Some(0) | None => {}
        Some(more) => out.note(&format!("and {more} more grants that say no")),
    }
    Ok(())
}

/// A grant that a share made: it says by which share the key is open, whatever the native API says to it.
fn through_share(mut shown: Value) -> Value {
    let share = show::text(&shown, &["share"]).map(|name| format!(" `{name}`")).unwrap_or_default();
    let words = format!("opens it, through the share{share} alone (Delta Sharing)");
    if let Some(verdict) = shown.get_mut("verdict") {
        *verdict = Value::from(words);
    }
    shown
}

/// Conditions, each as held or not.
fn judged(conditions: &Value) -> String {
    let one = |one: &Value| {
        let of = |name: &str| show::text(one, &[name]).unwrap_or("?").to_owned();
        format!("{} ({})", of("condition"), of("held"))
    };
    let all: Vec<String> = conditions.as_array().into_iter().flatten().map(one).collect();
    all.join("; ")
}

/// A grant that was considered, its verdict in words.
fn in_words(considered: &Value) -> Value {
    let mut shown = considered.clone();
    if let Some(conditions) = shown.get_mut("conditions") {
        *conditions = Value::from(judged(conditions));
    }
    if let Some(verdict) = shown.get_mut("verdict") {
        let words = match verdict.as_str() {
            Some("allows") => "allows it",
            Some("other_bucket") => "is about another bucket",
            Some("only_through_share") => return through_share(shown),
            Some("outside_paths") => "does not open that key",
            Some("lacks_action") => "opens that key, not for that action",
            Some("early") => "has not begun",
            Some("ended") => "has ended",
            Some("condition_fails") => "would, but not on its conditions",
            Some("account_suspended") => "would, but the account is suspended",
            Some(other) => other,
            None => "-",
        };
        *verdict = Value::from(words);
    }
    shown
}
