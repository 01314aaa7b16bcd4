//! `valetkey who-can` and `valetkey access`: effective access, with the grants behind it.

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::list::{self, Pages};
use crate::cli::output::Out;
use crate::cli::place::Place;
use crate::cli::{instant, show};

/// Who can do something to an object or a directory
#[derive(Debug, clap::Args)]
pub(crate) struct WhoCan {
    /// `read`, `write`, `delete`, `list`, or one action such as `abort-upload`
    #[arg(value_name = "ACTION")]
    action: String,
    /// Where: an object, all that is below a directory (with a slash at its end), or a bucket
    #[arg(value_name = "s3://BUCKET/KEY")]
    place: String,
    #[command(flatten)]
    told: Told,
}

/// All that a caller can reach
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// The caller: its name in your account, ACCOUNT/NAME, or its id
    #[arg(value_name = "CALLER")]
    caller: String,
    /// Only what lets it do this
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only there
    #[arg(long, value_name = "s3://BUCKET/KEY")]
    place: Option<String>,
    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
struct Told {
    /// Only callers of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// At this time (RFC 3339), or at the beginning of this date, by the grants there are now
    #[arg(long, value_name = "INSTANT|DATE", value_parser = instant::from)]
    at: Option<jiff::Timestamp>,
    /// As CSV: a line for each path that a grant opens
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    pages: Pages,
}

const COLUMNS: &[show::Column] = &[
    ("ACCOUNT", &["account_name"]),
    ("CALLER", &["caller"]),
    ("GRANT", &["grant"]),
    ("ACCESS", &["access"]),
    ("OPENS", &[show::PLACES]),
    ("OF IT", &["covers"]),
    ("SHARE", &["share"]),
    ("UNTIL", &["until"]),
    ("APPROVED BY", &["request.approved_by"]),
    ("IF", &["conditions"]),
    ("ID", &["grant_id"]),
];

/// Runs `valetkey who-can`.
pub(crate) async fn who_can(args: WhoCan, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let WhoCan { action, place, told } = args;
    // What is no place is told as such, with a hint, before a server is asked.
    Place::parse(&place)?;
    let route = Route::to(op::LIST_ACCESS, []).with("action", action).with("place", place);
    told.list(route, "nobody can", client, out).await
}

/// Runs `valetkey access`.
pub(crate) async fn access(args: Access, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let Access { caller, action, place, told } = args;
    place.as_deref().map(Place::parse).transpose()?;
    let route = Route::to(op::LIST_ACCESS, []).with("caller", caller);
    told.list(route.with_some("action", action).with_some("place", place), "it can reach nothing", client, out).await
}

impl Told {
    async fn list(self, route: Route, none: &str, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
        let Self { account, at, csv, pages } = self;
        let route = pages.on(route.with_some("account", account).with_some("at", at));
        if !csv {
            return list::run(route, pages.all, COLUMNS, none, client, out).await;
        }
        let route = route.with("format", "csv");
        let (mut text, mut next) = client.page(&route).await?;
        while pages.all
            && let Some(after) = next
        {
            let (more, beyond) = client.page(&route.clone().with("after", after)).await?;
            text.push_str(more.split_once('\n').map_or("", |(_, rows)| rows));
            next = beyond;
        }
        out.data(text.trim_end_matches(['\r', '\n']))?;
        if let Some(next) = next {
            out.note(&format!("there is more: --all lists it, --after {next} the next page"));
        }
        Ok(())
    }
}
