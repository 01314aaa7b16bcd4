//! `POST …/otel/traces`: where the SDK sends its spans in the background. They are read off the wire and dropped: keeping
//! them is no business of who hands out keys, and refusing them would fill the SDK's log.

use std::sync::Arc;

use http::header;
use valetkey_core::{Error, Kind};

use super::Dreadnode;
use crate::edge::{Call, Reply};

const PROTOBUF: &str = "application/x-protobuf";

pub(super) async fn take(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if ![PROTOBUF, "application/json"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Err(Error::new(Kind::Malformed, "spans are sent as `application/x-protobuf` or `application/json`"));
    }
    dreadnode.organization(&call).await?;
    // An answer without fields has no bytes in protobuf.
    if media_type.eq_ignore_ascii_case(PROTOBUF) {
        return Ok(Reply::written(Vec::new(), PROTOBUF));
    }
    Ok(Reply::written(b"{}".to_vec(), "application/json"))
}
