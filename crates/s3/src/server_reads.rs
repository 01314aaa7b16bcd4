//! Objects as the server itself reads them: without a request, without a scope.

use std::ops::Range;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{Listed, ObjectFiles};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use crate::bucket::Bucket;
use crate::gate::session::Live;
use crate::gateway::port::Window;
use crate::objects::listing::{Ask, Mark, Span};
use crate::{Endpoint, failed};

impl Endpoint {
    /// The bucket, if there is one; refuses a storage that is not served.
    fn of(&self, storage: &Storage, bucket: &BucketName) -> Result<Option<Bucket>, Error> {
        if self.buckets.serves(storage.id) {
            return Ok(self.buckets.bucket(storage.id, bucket.as_str()));
        }
        Err(Error::new(Kind::Invalid, format!("the objects of the storage `{}` cannot be read here", storage.name)))
    }
}

#[async_trait]
impl ObjectFiles for Endpoint {
    async fn get(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        key: &[u8],
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(bucket) = self.of(storage, bucket)? else { return Ok(None) };
        let Range { start, end } = range.unwrap_or(0..u64::MAX);
        let likely = if (start, end) == (0, u64::MAX) { Some(Window::Whole) } else { None };
        let likely = likely.or_else(|| (start < end).then_some(Window::Range(start..end)));
        let live = Live::of_server();
        let opened = bucket.open_range(&live, key, likely, |record| {
            let end = end.min(record.size);
            Ok(start.min(end)..end)
        });
        let Some((_, mut reading)) = opened.await.map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let torn = |error| Error::new(Kind::Internal, "an object could not be read to its end").caused_by(error);
        while let Some(chunk) = reading.try_next().await.map_err(torn)? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    async fn head(&self, storage: &Storage, bucket: &BucketName, key: &[u8]) -> Result<Option<Listed>, Error> {
        let Some(bucket) = self.of(storage, bucket)? else { return Ok(None) };
        let record = bucket.record(&Live::of_server(), key).await.map_err(failed)?;
        Ok(record.map(|record| Listed { key: key.into(), size: record.size, modified: record.modified }))
    }

    async fn list(
        &self,
        storage: &Storage,
        bucket: &BucketName,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        let Some(bucket) = self.of(storage, bucket)? else { return Ok(Vec::new()) };
        let from = Mark::Key(after.to_vec());
        let from = (!after.is_empty()).then_some(&from);
        let ask = Ask { prefix, delimiter: None, from, limit, spans: &[Span::of_prefix(prefix)] };
        let page = bucket.list(&Live::of_server(), None, ask, |_| true).await.map_err(failed)?;
        let listed = page.entries.into_iter();
        Ok(listed.map(|entry| Listed { key: entry.key.into(), size: entry.size, modified: entry.modified }).collect())
    }
}
