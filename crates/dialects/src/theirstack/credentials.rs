//! `POST /v1/datasets/credentials`: read-only keys to the datasets of the caller's team.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions};
use valetkey_core::storage::Shape;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::datasets::{Instant, prefixes};
use super::{NAME, Settings};
use crate::edge::{Call, Reply, Shared};

pub(super) async fn vend(shared: Arc<Shared>, settings: Settings, call: Call) -> Result<Reply, Error> {
    read_body(&call.body)?;
    // Not published: names the bucket when the datasets lie in more than one.
    let bucket = call.query.get("bucket").map(BucketName::parse).transpose().map_err(|error| error.at("bucket"))?;
    let ask = Ask {
        dialect: NAME,
        target: Target::Datasets { bucket },
        wanted: Wanted::at_most(Actions::READ),
        lifetime: Asked::Usual(settings.lifetime),
        carries: Shape::S3_ONLY,
    };
    let vended = shared.vending.vend(&call.caller, &ask).await?;
    Reply::json(&Answer::of(&vended)?)
}

/// The published operation takes no body. Clients that always send one send `{}` or `null`; anything with content would
/// ask for something that is not given, so it is refused.
fn read_body(body: &[u8]) -> Result<(), Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| Error::new(Kind::Malformed, "the body is not JSON; this route needs none").caused_by(error))?;
    match value {
        serde_json::Value::Null => Ok(()),
        serde_json::Value::Object(fields) if fields.is_empty() => Ok(()),
        serde_json::Value::Object(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {
            Err(Error::new(Kind::Invalid, "this route takes no fields; send no body or `{}`").at("body"))
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: Instant,
    storage: Storage<'a>,
}

#[derive(Serialize)]
struct Storage<'a> {
    bucket_name: &'a str,
    endpoint_url: &'a str,
    prefixes: Vec<String>,
}

impl<'a> Answer<'a> {
    fn of(vended: &'a Vended) -> Result<Self, Error> {
        let keys = vended.credential.s3()?;
        let rights = &vended.lease.rights;
        // Datasets are for reading.
        let paths = rights.paths_of(Action::GetObject);
        let paths = paths.ok_or_else(|| Error::internal("datasets were opened that cannot be read"))?;
        Ok(Self {
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            session_token: keys.session_token.reveal(),
            expiration: Instant(keys.expiration),
            storage: Storage {
                bucket_name: rights.bucket().as_str(),
                endpoint_url: &vended.storage.endpoint,
                prefixes: prefixes(paths, vended.storage.kind)?,
            },
        })
    }
}
