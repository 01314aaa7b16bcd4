//! OAuth's client credentials grant, so that a recipient's file need not hold what its requests carry. And the answer that the Python
//! client asks for before each call with HTTP Basic.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::Error;

use super::{NAME, Sharing, json_reply};
use crate::edge::{Call, Plain, Reply, access_token, client_form};

/// `POST /oauth/token`.
pub(super) async fn token(sharing: Arc<Sharing>, plain: Plain) -> Result<Reply, Error> {
    json_reply(&access_token(&sharing.shared, &plain, NAME).await?)
}

#[derive(Serialize)]
struct Ready {}

/// `POST` of the prefix itself: who asks is known.
pub(super) async fn ready(_: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    if !call.body.iter().all(u8::is_ascii_whitespace) {
        client_form(&call.body)?;
    }
    json_reply(&Ready {})
}
