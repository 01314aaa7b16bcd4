//! Markers of folders (`folder/`) that the index kept for a storage before requests went on to it as they are: they go where they belong.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use s3s::S3ErrorCode;
use valetkey_core::id::StorageId;

use crate::error::Result;
use crate::forward::context::add;
use crate::forward::road::Road;
use crate::gate::session::Live;
use crate::gateway::port::{Asking, Sending};
use crate::objects::checksum::Algorithm;
use crate::objects::listing::behind;
use crate::objects::record::{CHECKSUM_TYPE, Record};
use crate::objects::{BucketId, Condition, Objects};

const DOING: &str = "handing a folder's marker over";
/// Read at once.
const BATCH: usize = 100;

/// Writes a storage's markers to it and forgets them. What does not succeed is tried again when the storage is attached next.
pub(crate) async fn hand_over(objects: Arc<Objects>, road: Road, storage: StorageId) {
    let mut count = 0usize;
    for (name, bucket) in objects.foreign_of(storage) {
        match all_of(&objects, &road, (&name, bucket), &mut count).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(
                bucket = &*name,
                error = ?error,
                "markers of folders in the bucket `{name}` could not be handed over to its storage; the next start continues"
            ),
        }
    }
    if count > 0 {
        tracing::info!(count, "handed {count} markers of folders over to a storage behind the gateway");
    }
}

async fn all_of(objects: &Objects, road: &Road, (name, bucket): (&str, BucketId), count: &mut usize) -> Result<()> {
    let mut from = Vec::new();
    loop {
        let some = objects.rows(bucket, &from, None, BATCH).await?;
        let last = some.len() < BATCH;
        for entry in some {
            from = behind(&entry.key);
            let Some(record) = objects.record(bucket, &entry.key).await? else { continue };
            // No key came in that is not UTF-8.
            let key = String::from_utf8_lossy(&entry.key).into_owned();
            one(road, name, &key, &record, objects).await?;
            // Without a condition nothing can clash.
            let _ = objects.delete(Live::of_server(), bucket, &entry.key, Condition::default()).await?;
            *count += 1;
        }
        if last {
            return Ok(());
        }
    }
}

/// Writes a marker, unless there is an object of its name.
async fn one(road: &Road, bucket: &str, key: &str, record: &Record, objects: &Objects) -> Result<()> {
    let asking = |method, headers| Asking {
        method,
        bucket: bucket.to_owned(),
        key: Some(key.to_owned()),
        query: Vec::new(),
        headers,
        source: None,
        body: Sending::Whole(Bytes::new()),
        works: false,
        now: objects.now(),
    };
    let live = Live::of_server();
    match road.read(&live, DOING, asking(Method::HEAD, HeaderMap::new())).await {
        Ok(_) => return Ok(()),
        Err(error) if *error.code() == S3ErrorCode::NoSuchKey => {}
        Err(error) => return Err(error),
    }
    let mut headers = HeaderMap::new();
    let own =
        record.headers.0.iter().filter(|(name, _)| Algorithm::of_header(name).is_none() && **name != *CHECKSUM_TYPE);
    for (name, value) in own {
        add(&mut headers, name, value)?;
    }
    road.act(live, DOING, asking(Method::PUT, headers)).await.map(drop)
}
