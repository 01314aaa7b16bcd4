//! `POST …/otel/traces`: where the SDK sends its spans in the background. They are read off the wire and dropped: keeping
//! them is no business of who hands out keys, and refusing them would fill the SDK's log.

use std::sync::Arc;

use http::header;
use valetkey_core::{Error, Kind};

use super::Dreadnode;
use crate::edge::{Call, Reply};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// What of a request says how it is answered.
fn media_type(call: &Call) -> Result<&'static str, Error> {
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    [PROTOBUF, JSON]
        .into_iter()
        .find(|known| media_type.eq_ignore_ascii_case(known))
        .ok_or_else(|| Error::new(Kind::Malformed, "spans are sent as `application/x-protobuf` or `application/json`"))
}

/// Refuses spans that would be refused, before they are read.
pub(super) async fn decide(dreadnode: Arc<Dreadnode>, call: Call) -> Result<(), Error> {
    media_type(&call)?;
    dreadnode.organization(&call).await.map(drop)
}

pub(super) async fn take(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let media_type = media_type(&call)?;
    dreadnode.organization(&call).await?;
    // An answer without fields has no bytes in protobuf.
    let body = if media_type == PROTOBUF { Vec::new() } else { b"{}".to_vec() };
    Ok(Reply::written(body, media_type))
}
