//! Buckets of storages that speak S3 themselves: requests go on as they are, once the gate has proven them and `access` has said that
//! they may be done, and the storage's answers come back.
//!
//! Nothing is kept here. What goes on is written anew, of what is understood alone; what comes back is read, held against what was
//! asked and written anew too.

pub(crate) mod context;
mod held;
mod kept;
mod late;
pub(crate) mod listing;
mod many;
pub(crate) mod markers;
mod objects;
pub(crate) mod road;
mod uploads;
mod xml;

use http::header::HeaderMap;
use http::{Method, Response, StatusCode};
use s3s::{Body, S3ErrorCode};

use crate::error::{Result, internal, not_implemented, refuse};
use crate::forward::context::{Cx, Incoming, empty};

/// Answers a request with what the storage says to it.
pub(crate) async fn answer(cx: Cx, op: &'static str, incoming: Incoming) -> Result<Response<Body>> {
    once(&cx)?;
    let document = incoming.document.clone().unwrap_or_default();
    match op {
        "GetObject" => cx.get(Method::GET).await,
        "HeadObject" => cx.get(Method::HEAD).await,
        "GetObjectAttributes" => cx.attributes().await,
        "GetObjectTagging" => cx.tagging().await,
        "PutObject" => cx.put(incoming).await,
        "CopyObject" => cx.copy().await,
        "DeleteObject" => cx.delete().await,
        "DeleteObjects" => cx.delete_many(&document).await,
        "ListObjects" => cx.list(false).await,
        "ListObjectsV2" => cx.list(true).await,
        "HeadBucket" => cx.head_bucket().await,
        "CreateMultipartUpload" => cx.create_upload().await,
        "UploadPart" => cx.put_part(incoming).await,
        "UploadPartCopy" => cx.copy_part().await,
        "CompleteMultipartUpload" => cx.complete_upload(&document).await,
        "AbortMultipartUpload" => cx.abort_upload().await,
        "ListParts" => cx.list_parts().await,
        "ListMultipartUploads" => cx.list_uploads().await,
        _ => Err(internal("passing a request on", format!("{op} does not go on"))),
    }
}

/// Refuses a parameter that is there twice: which of them counts, the storage might see otherwise.
fn once(cx: &Cx) -> Result<()> {
    let mut names: Vec<&str> = cx.query.iter().map(|(name, _)| name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    let twice = || refuse(S3ErrorCode::InvalidRequest, "A parameter of the query is there twice.");
    if names.len() == all { Ok(()) } else { Err(twice()) }
}

impl Cx {
    /// A storage says of an upload neither who began it nor for whom, and others' are not told.
    async fn list_uploads(self) -> Result<Response<Body>> {
        drop(self.session.live().await?);
        Err(not_implemented("a list of the uploads of a storage behind the gateway"))
    }

    async fn head_bucket(self) -> Result<Response<Body>> {
        let (live, doing) = (self.session.live().await?, "looking a bucket up");
        let answer = self.road.read(&live, doing, self.asking(Method::HEAD, &[], HeaderMap::new())).await?;
        self.road.plain(doing, answer).await?;
        Ok(empty(StatusCode::OK, HeaderMap::new()))
    }
}
