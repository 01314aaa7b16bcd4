//! `valetkey incident`: something leaked. Whose it is, what it opened, what was ended, what still works.

use serde_json::Value;

use valetkey_dialects::native::api::incidents::IncidentRequest;
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::connection::read_secret;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::cli::{show, token};

/// Something leaked: say whose it is and what it opens, end it with what it made, and say what still works
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `-`: what leaked is read from standard input. A token (`vkt_…`), an access key id (`VK…`, a parent's, a storage's own), a
    /// storage's signature or token
    #[arg(value_name = "-")]
    what: String,
    /// Say all of it and end nothing
    #[arg(long)]
    dry_run: bool,
    /// Even the last token of an operator: afterwards only the server's own machine makes a new one
    #[arg(long)]
    yes: bool,
}

pub(super) const LEASES: &[show::Column] = &[
    ("LEASE", &["lease_id"]),
    ("STATE", &["state"]),
    ("CALLER", &["caller_name", "caller"]),
    ("ACCESS", &["access"]),
    ("OPENS", &[show::PLACES]),
    ("OPENED", &["opened"]),
    ("EXPIRES", &["expires"]),
];

pub(super) const WHOSE: &[show::Column] = &[
    ("CALLER", &["caller_name"]),
    ("ACCOUNT", &["account_name"]),
    ("ROLE", &["role"]),
    ("TOKEN", &["id"]),
    ("MADE", &["made"]),
    ("MADE BY", &["made_by"]),
    ("EXPIRES", &["expires"]),
    ("REVOKED", &["revoked"]),
];

/// Runs `valetkey incident`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Args { what, dry_run, yes } = args;
    let what = read_secret(&what, "incident")?;
    let body = IncidentRequest {
        what: what.reveal().clone(),
        dry_run: dry_run.then_some(true),
        last_operator: yes.then_some(true),
    };
    let answer = client.send(Route::to(op::HANDLE_INCIDENT, []), &body).await.map_err(token::last_operator)?;
    if out.format() == Format::Json {
        return out.json(&answer);
    }
    let kind = show::text(&answer, &["kind"]).unwrap_or("unknown").replace('_', " ");
    out.data(&out.bold(&format!("It is: {kind}. Whose:")))?;
    table(out, &answer, "whose", WHOSE, "nobody that is known here")?;
    out.data(&out.bold("What it opens:"))?;
    table(out, &answer, "leases", LEASES, "there are no live leases")?;
    if let Some(more) = show::find(&answer, &["unlisted"]).and_then(Value::as_u64).filter(|more| *more > 0) {
        out.data(&format!("and {more} more live credentials"))?;
    }
    let count = |name: &str| show::find(&answer, &["ended"]).and_then(|ended| ended.get(name)).and_then(Value::as_u64);
    let counts = ["tokens", "leases", "links"].into_iter().filter_map(|name| Some(format!("{} {name}", count(name)?)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let ended = if dry_run { "Would end (nothing was ended):" } else { "Ended:" };
    out.data(&format!("{} {counts}", out.bold(ended)))?;
    out.data(&out.bold("What still works:"))?;
    let goes_on = rows(&answer, "still_works");
    if goes_on.is_empty() {
        out.data("  nothing of it")?;
    }
    for row in goes_on {
        let until = show::text(row, &["until"]).map(|until| format!(", until {until}")).unwrap_or_default();
        let command = show::text(row, &["command"]).map(|command| format!(": `{command}` ends it")).unwrap_or_default();
        out.data(&format!("  {}{until}{command}", show::text(row, &["what"]).unwrap_or("?")))?;
    }
    Ok(())
}

fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn table(out: &Out, answer: &Value, name: &str, columns: &[show::Column], none: &str) -> Result<(), Failure> {
    match rows(answer, name) {
        [] => out.data(&format!("  {none}")),
        rows => show::list(out, &Value::from(rows.to_vec()), columns, none),
    }
}
