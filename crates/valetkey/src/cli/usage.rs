//! `valetkey usage`: what an account used, by day or by caller.

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::show;

/// Show what an account used: requests and credits by day, and what went over the S3 endpoint
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose, for operators; your own, unless given
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only what this caller moved: its name in your account, ACCOUNT/NAME, or its id
    #[arg(long, value_name = "CALLER")]
    caller: Option<String>,
    /// How many days, with today: 30, unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=366))]
    days: Option<u32>,
    /// By caller instead of by day, those that moved the most bytes first
    #[arg(long)]
    by_caller: bool,
}

pub(super) const DAYS: &[show::Column] = &[
    ("DAY", &["day"]),
    ("REQUESTS", &["requests"]),
    ("CREDITS", &["credits"]),
    ("OBJECT REQUESTS", &["object_requests"]),
    ("BYTES IN", &["bytes_in"]),
    ("BYTES OUT", &["bytes_out"]),
];

pub(super) const CALLERS: &[show::Column] = &[
    ("CALLER", &["caller_name", "caller"]),
    ("OBJECT REQUESTS", &["object_requests"]),
    ("BYTES IN", &["bytes_in"]),
    ("BYTES OUT", &["bytes_out"]),
];

/// Runs `valetkey usage`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Args { account, caller, days, by_caller } = args;
    let route = Route::to(op::USAGE, [])
        .with_some("account", account)
        .with_some("caller", caller)
        .with_some("days", days)
        .with_some("by_caller", by_caller.then_some("true"));
    let answer = client.ask(route).await?;
    // The first list in the answer: callers are in it only where they were asked for.
    let columns = if by_caller { CALLERS } else { DAYS };
    show::list(out, &answer, columns, "nothing is counted of these days")
}
