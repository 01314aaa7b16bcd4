//! `valetkey ledger verify` and `valetkey audit`: whether the record is whole, and who changed what.

use serde_json::Value;

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::list::{self, Since};
use crate::cli::output::{Format, Out};
use crate::cli::show;

/// Check that the record of leases, revocations, tokens and changes is whole
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
    },
}

/// List who changed what: accounts, callers, tokens, grants, storages and all else, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    since: Since,
    /// Only those of a kind of thing: account, caller, token, grant, storage ...
    #[arg(long, value_name = "NOUN")]
    noun: Option<String>,
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
        Command::Verify { expect_head } => {
            let wanted = expect_head.is_some();
            let route = Route::to(op::VERIFY_LEDGER, []).with_some("expect_head", expect_head);
            let answer = client.ask(route).await?;
            show::one(out, &answer, FIRST)?;
            let found = show::text(&answer, &["expected"]);
            if matches!(out.format(), Format::Table) {
                for said in remarks(found, &answer) {
                    out.note(&said);
                }
            }
            let broken = show::find(&answer, &["broken_at"]).is_some() || !show::rows_of(&answer, "astray").is_empty();
            let intact = show::find(&answer, &["intact"]).and_then(Value::as_bool).unwrap_or(false);
            Ok(match found {
                Some("missing" | "swept") if !broken => Exit::Diverged,
                // A server that does not say what became of it did not look.
                None if wanted => Exit::Diverged,
                Some(_) | None if intact => Exit::Ok,
                Some(_) | None => Exit::Local,
            })
        }
    }
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
    let Audit { since, noun, all, before, limit } = args;
    let route = since
        .on(Route::to(op::LIST_CHANGES, []))?
        .with_some("noun", noun)
        .with_some("before", before)
        .with_some("limit", limit.or(all.then_some(500)));
    list::run(route, all, COLUMNS, "nothing was changed", client, out).await
}
