//! `valetkey whoami`, `ls` and `ledger verify`: small questions with one answer.

use serde_json::Value;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use crate::cli::{grant, show};

/// Check that the record of leases is whole
#[derive(Debug, clap::Args)]
pub(crate) struct Ledger {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LedgerCommand {
    /// Read the whole ledger and check that each page fits the one before; ends with 1 if one does not
    Verify,
}

/// Runs `valetkey whoami`.
pub(crate) async fn whoami(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    show::one(out, &client.get(Route::new(&["me"])).await?, &["name", "id", "role", "account"])
}

/// Runs `valetkey ls`.
pub(crate) async fn ls(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let answer = client.get(Route::new(&["grants"])).await?;
    show::list(out, &answer, grant::COLUMNS, "nothing is granted to you")
}

/// Runs `valetkey ledger`.
pub(crate) async fn ledger(args: Ledger, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    match args.command {
        LedgerCommand::Verify => {
            let answer = client.get(Route::new(&["ledger", "verify"])).await?;
            show::one(out, &answer, &["intact", "leases", "pages", "broken_at"])?;
            let intact = show::find(&answer, &["intact"]).and_then(Value::as_bool).unwrap_or(false);
            Ok(if intact { Exit::Ok } else { Exit::Local })
        }
    }
}
