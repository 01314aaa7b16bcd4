//! Which buckets there are: those in which the credential opens anything, of its own store.

use s3s::dto::{Bucket, ListBucketsInput, ListBucketsOutput};
use s3s::{S3ErrorCode, S3Request, S3Response};

use crate::error::{Result, refuse};
use crate::objects::listing::Mark;
use crate::wire::list::{owner, read_token, token};
use crate::wire::{Wire, session, shown};

/// The most buckets on a page.
const MAX_BUCKETS: i32 = 10_000;

fn limit(asked: Option<i32>) -> Result<usize> {
    let asked = asked.unwrap_or(MAX_BUCKETS);
    let fits = usize::try_from(asked).ok().filter(|_| (1..=MAX_BUCKETS).contains(&asked));
    let said = "Argument max-buckets must be an integer between 1 and 10000";
    fits.ok_or_else(|| refuse(S3ErrorCode::InvalidArgument, said))
}

impl Wire {
    pub(super) async fn own_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> Result<S3Response<ListBucketsOutput>> {
        let session = session(&request)?;
        let input = request.input;
        let limit = limit(input.max_buckets)?;
        let from = input.continuation_token.as_deref().map(read_token).transpose()?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let live = session.live().await?;
        let (mut buckets, mut next) = (Vec::new(), None);
        let names = session.reach.buckets().into_iter().filter(|name| name.starts_with(prefix));
        for name in names.filter(|name| from.as_ref().is_none_or(|from| from.bytes() < name.as_bytes())) {
            let Ok(bucket) = self.bucket(&session, name) else { continue };
            if buckets.len() == limit {
                next = buckets.last().and_then(|bucket: &Bucket| bucket.name.clone());
                break;
            }
            let created = shown(bucket.created(&live).await?);
            buckets.push(Bucket { name: Some(name.to_owned()), creation_date: Some(created), ..Bucket::default() });
        }
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token: next.map(|name| token(&Mark::Key(name.into_bytes()))),
            owner: Some(owner(&session)),
            prefix: input.prefix,
        }))
    }
}
