//! `GET /user/tokens/verify` and `GET /accounts/{account_id}/tokens/verify`: whether a token works, and which one it is. A holder
//! learns the access key id that belongs to its token here; the secret access key it makes itself.

use serde::Serialize;
use valetkey_core::Error;

use crate::edge::{Call, Reply};
use crate::r2::{account, answer};

#[derive(Serialize)]
struct Token {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_on: Option<String>,
}

pub(super) async fn verify(call: Call) -> Result<Reply, Error> {
    shown(&call)
}

pub(super) async fn verify_of_account(call: Call) -> Result<Reply, Error> {
    account(&call)?;
    shown(&call)
}

fn shown(call: &Call) -> Result<Reply, Error> {
    // One that is disabled or expired never comes here.
    let token = Token {
        id: call.caller.token.as_hex(),
        status: "active",
        expires_on: call.caller.token_until.map(|until| format!("{until:.0}")),
    };
    answer(&token)
}
