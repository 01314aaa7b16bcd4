//! `valetkey whoami` and `ls`: small questions with one answer.

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::{grant, show};

/// Runs `valetkey whoami`.
pub(crate) async fn whoami(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    show::one(out, &client.get(Route::new(&["me"])).await?, &["name", "id", "role", "account"])
}

/// Runs `valetkey ls`.
pub(crate) async fn ls(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let answer = client.get(Route::new(&["grants"])).await?;
    show::list(out, &answer, grant::OWN, "nothing is granted to you")
}
