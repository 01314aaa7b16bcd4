//! `valetkey ledger` and `valetkey audit`: whether the record is whole, what happened, and who changed what.

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};

use valetkey_core::nouns::registry::LedgerHead;
use valetkey_database::read_archive;
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::list::{self, Since};
use crate::cli::output::{Format, Out};
use crate::cli::private::replace;
use crate::cli::show;

/// Check that the record of leases, revocations, tokens and changes is whole, and follow it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read the whole ledger and hold the database against it; ends with 1 if something does not fit, with 9 if the head
    /// that is expected is not on it
    Verify {
        /// A head that was printed earlier and kept elsewhere: it has to be on the chain; the ledger may have grown since
        #[arg(long, value_name = "SEQ:HASH")]
        expect_head: Option<String>,
        /// A directory of this machine with pages that the server archived (`ledger.archive_dir`): they are verified together with those
        /// that it has. May be given several times
        #[arg(long, value_name = "DIR")]
        archive: Vec<PathBuf>,
        /// The archive need not begin with the first page: its oldest files are kept elsewhere, or pages went before there was one
        #[arg(long, requires = "archive")]
        partial_archive: bool,
    },
    /// Print what happened, an event in each line as JSON (OCSF): leases, refusals, what was ended and what was changed
    Events(Events),
}

#[derive(Debug, clap::Args)]
struct Events {
    /// Where to go on: `next` of an earlier answer; `now` for what happens from now on. Without it from the first that is kept
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Remember in this file how far was printed, and go on there
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    cursor_file: Option<PathBuf>,
    /// Wait for more
    #[arg(long)]
    follow: bool,
}

/// List who changed what: accounts, callers, tokens, grants, storages and all else, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    since: Since,
    /// Only those of a kind of thing: account, caller, token, grant, storage ...
    #[arg(long, value_name = "NOUN")]
    noun: Option<String>,
    /// Only those that this caller made: ACCOUNT/NAME, its id, or a name in your own account
    #[arg(long, value_name = "CALLER")]
    caller: Option<String>,
    /// All of them, page by page
    #[arg(long, conflicts_with = "before")]
    all: bool,
    /// Only those before this one: the next page
    #[arg(long, value_name = "PLACE")]
    before: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("WHEN", &["at"]),
    ("WHO", &["by"]),
    ("FROM", &["from"]),
    ("DID", &["done"]),
    ("TO", &["noun"]),
    ("ID", &["id"]),
    ("WHAT", &["about"]),
    ("TOKEN", &["token"]),
];

const FIRST: &[&str] = &[
    "intact",
    "head",
    "chains",
    "begins",
    "archive",
    "expected",
    "broken_at",
    "astray",
    "leases",
    "pages",
    "revocations",
    "tokens",
    "changes",
    "before",
    "covers",
    "leaves_out",
];

/// Runs `valetkey ledger`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    match args.command {
        Command::Verify { expect_head, archive, partial_archive } => {
            let wanted = expect_head.clone();
            let route = Route::to(op::VERIFY_LEDGER, []).with_some("expect_head", expect_head);
            let mut answer = client.ask(route).await?;
            let mut wrong = Vec::new();
            if !archive.is_empty() {
                wrong = archived(client, &archive, partial_archive, wanted.as_deref(), &mut answer).await?;
            }
            show::one(out, &answer, FIRST)?;
            let found = show::text(&answer, &["expected"]);
            if matches!(out.format(), Format::Table) {
                for said in wrong.iter().cloned().chain(remarks(found, &answer)) {
                    out.note(&said);
                }
            }
            let broken = show::find(&answer, &["broken_at"]).is_some() || !show::rows_of(&answer, "astray").is_empty();
            let intact = show::find(&answer, &["intact"]).and_then(Value::as_bool).unwrap_or(false);
            Ok(match found {
                _ if !wrong.is_empty() => Exit::Local,
                Some("missing" | "swept") if !broken => Exit::Diverged,
                // A server that does not say what became of it did not look.
                None if wanted.is_some() => Exit::Diverged,
                Some(_) | None if intact => Exit::Ok,
                Some(_) | None => Exit::Local,
            })
        }
        Command::Events(args) => events(args, client, out).await.map(|()| Exit::Ok),
    }
}

/// Between two questions when there was nothing.
const PAUSE: Duration = Duration::from_secs(1);

async fn events(args: Events, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Events { after, cursor_file, follow } = args;
    let failed = |file: &Path, error: std::io::Error| Failure::local(format!("`{}`: {error}", file.display()));
    let mut after = match &cursor_file {
        None => after,
        Some(file) => match std::fs::read_to_string(file) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(file, error)),
        },
    };
    loop {
        let answer = client.ask(Route::to(op::LIST_EVENTS, []).with_some("after", after.clone())).await?;
        for event in show::rows_of(&answer, "events") {
            out.data(&event.to_string())?;
        }
        let next =
            show::text(&answer, &["next"]).ok_or_else(|| Failure::local("the answer has no `next`".to_owned()))?;
        if after.as_deref() != Some(next)
            && let Some(file) = &cursor_file
        {
            // What was printed and not remembered is printed again.
            replace(file, next, ".new").map_err(|error| failed(file, error))?;
        }
        after = Some(next.to_owned());
        if !show::find(&answer, &["more"]).and_then(Value::as_bool).unwrap_or(false) {
            if !follow {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A head as it is written.
fn head(text: &str) -> Option<LedgerHead> {
    let (seq, hash) = text.split_once(':')?;
    let hash = HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok()?;
    Some(LedgerHead { seq: seq.parse().ok()?, hash: hash.try_into().ok()? })
}

fn written(head: LedgerHead) -> String {
    format!("{}:{}", head.seq, HEXLOWER.encode(&head.hash))
}

/// Reads an archive, and holds it against where the server's pages begin. Says what does not fit; the answer tells all of it.
async fn archived(
    client: &Client<'_>,
    dirs: &[PathBuf],
    partial: bool,
    expected: Option<&str>,
    answer: &mut Value,
) -> Result<Vec<String>, Failure> {
    let begins: Vec<LedgerHead> =
        show::rows_of(answer, "begins").iter().filter_map(Value::as_str).filter_map(head).collect();
    let expected = expected.and_then(head);
    let wanted: Vec<LedgerHead> = begins.iter().copied().chain(expected).collect();
    let found = read_archive(dirs, &wanted).map_err(|error| Failure::local(error.message().to_owned()))?;
    let mut wrong = found.wrong;
    for begin in begins.iter().filter(|begin| !found.found.contains(begin)) {
        wrong.push(format!("the archive has not the page {}, before which the server's pages begin", written(*begin)));
    }
    for chain in found.chains.iter().filter(|chain| !chain.whole && !partial) {
        wrong.push(format!(
            "the archive lacks the pages of a chain up to {}; `--partial-archive` says that they need not be there",
            written(chain.after)
        ));
    }
    // Where an archive ends the server begins. One that goes on, as its pages are not removed yet, ends with a page that the server has.
    for chain in found.chains.iter().filter(|chain| !begins.contains(&chain.last)) {
        if wrong.is_empty() {
            wrong.extend(strange(client, chain.last).await?);
        }
    }
    let chains: Vec<Value> = found
        .chains
        .iter()
        .map(|chain| {
            json!({
                "after": chain.after.seq,
                "whole": chain.whole,
                "last": written(chain.last),
                "pages": chain.pages,
                "leases": chain.leases,
            })
        })
        .collect();
    let intact = show::find(answer, &["intact"]).and_then(Value::as_bool).unwrap_or(false);
    let swept = show::text(answer, &["expected"]) == Some("swept");
    let mended = swept && expected.is_some_and(|head| found.found.contains(&head));
    if let Some(fields) = answer.as_object_mut() {
        let fits = fields.get("broken_at").is_none_or(Value::is_null)
            && fields.get("astray").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if mended {
            fields.insert("expected".to_owned(), json!("grown"));
        }
        fields.insert("intact".to_owned(), json!(wrong.is_empty() && (intact || mended && fits)));
        fields.insert("archive".to_owned(), json!({ "chains": chains, "wrong": wrong }));
    }
    Ok(wrong)
}

/// Says so if the server has not a page that it should have.
async fn strange(client: &Client<'_>, last: LedgerHead) -> Result<Option<String>, Failure> {
    let last = written(last);
    let answer = client.ask(Route::to(op::VERIFY_LEDGER, []).with("expect_head", last.clone())).await?;
    Ok(match show::text(&answer, &["expected"]) {
        Some("head" | "grown") => None,
        Some("swept") => Some(format!("page {last} was removed from the server meanwhile; verify again")),
        Some(_) | None => Some(format!(
            "the archive ends with page {last}, which the server has not: it is of another ledger, or the server's database is an \
             older one that was put back"
        )),
    })
}

/// What there is to say to people beside the fields.
fn remarks(found: Option<&str>, answer: &Value) -> Vec<String> {
    let mut said = Vec::new();
    match found {
        Some("grown") => said.push("the head that was expected is on the chain: the ledger has grown since".to_owned()),
        Some("missing") => said.push(
            "the head that was expected is NOT on the chain: what was written since it was noted was changed or is gone".to_owned(),
        ),
        Some("swept") => said.push(
            "the head that was expected is older than the pages that are kept: there is nothing to compare it with".to_owned(),
        ),
        Some(_) | None => {}
    }
    let number = |name: &str| show::find(answer, &[name]).and_then(Value::as_u64);
    if let (Some(revocations), Some(tokens)) = (number("before.revocations"), number("before.tokens")) {
        said.push(format!(
            "{revocations} revocations and {tokens} tokens are from before the chain covered them: it has them as they were found then"
        ));
    }
    said
}

/// Runs `valetkey audit`.
pub(crate) async fn audit(args: Audit, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Audit { since, noun, caller, all, before, limit } = args;
    let route = since
        .on(Route::to(op::LIST_CHANGES, []))?
        .with_some("noun", noun)
        .with_some("caller", caller)
        .with_some("before", before)
        .with_some("limit", limit.or(all.then_some(500)));
    list::run(route, all, COLUMNS, "nothing was changed", client, out).await
}
