//! `valetkey whoami` and `ls`: small questions with one answer.

use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::{grant, show};

/// Runs `valetkey whoami`.
pub(crate) async fn whoami(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    show::one(out, &client.ask(Route::to(op::ME, [])).await?, &["name", "id", "role", "account"])
}

/// Runs `valetkey ls`.
pub(crate) async fn ls(client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    let answer = client.ask(Route::to(op::LIST_GRANTS, [])).await?;
    show::list(out, &answer, grant::OWN, "nothing is granted to you")
}
