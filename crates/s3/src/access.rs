//! Which operations there are, what each of them needs of a scope, and which words of a request it understands.
//!
//! SECURITY: denies by default. An operation without a row here is refused, even if something behind could do it; so is a
//! query parameter or an `x-amz-` header that the row or the list below does not have: what we do not understand must
//! not look as if it had been done.

use async_trait::async_trait;
use http::{HeaderMap, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result};
use valetkey_core::scope::{Action, Paths};

use crate::error::{Result, denied, not_implemented};
use crate::gate::query::Query;
use crate::gate::session::{Operation, Session};

/// What an operation needs of the scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    /// The action on the key.
    Key(Action),
    /// The action in the bucket; the operation itself asks for each key or prefix.
    Bucket(Action),
    /// The action on the bucket's configuration, which belongs to no path of it.
    Config(Action),
    /// Nobody may do it.
    Never,
}

struct Row {
    name: &'static str,
    needs: Needs,
    /// The query parameters it understands.
    query: &'static [&'static str],
}

const READ: &[&str] = &[
    "partNumber",
    "versionId",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

const ROWS: &[Row] = &[
    Row { name: "GetObject", needs: Needs::Key(Action::GetObject), query: READ },
    Row { name: "HeadObject", needs: Needs::Key(Action::GetObject), query: READ },
    Row { name: "PutObject", needs: Needs::Key(Action::PutObject), query: &[] },
    Row { name: "CopyObject", needs: Needs::Key(Action::PutObject), query: &[] },
    Row { name: "DeleteObject", needs: Needs::Key(Action::DeleteObject), query: &["versionId"] },
    Row { name: "DeleteObjects", needs: Needs::Bucket(Action::DeleteObject), query: &["delete"] },
    Row { name: "CreateMultipartUpload", needs: Needs::Key(Action::MultipartUpload), query: &["uploads"] },
    Row { name: "UploadPart", needs: Needs::Key(Action::MultipartUpload), query: &["partNumber", "uploadId"] },
    Row { name: "UploadPartCopy", needs: Needs::Key(Action::MultipartUpload), query: &["partNumber", "uploadId"] },
    Row { name: "CompleteMultipartUpload", needs: Needs::Key(Action::MultipartUpload), query: &["uploadId"] },
    Row {
        name: "ListParts",
        needs: Needs::Key(Action::MultipartUpload),
        query: &["uploadId", "max-parts", "part-number-marker"],
    },
    Row { name: "AbortMultipartUpload", needs: Needs::Key(Action::AbortUpload), query: &["uploadId"] },
    Row {
        name: "ListMultipartUploads",
        needs: Needs::Bucket(Action::ListUploads),
        query: &["uploads", "prefix", "delimiter", "encoding-type", "max-uploads", "key-marker", "upload-id-marker"],
    },
    Row {
        name: "ListObjects",
        needs: Needs::Bucket(Action::ListBucket),
        query: &["prefix", "delimiter", "encoding-type", "max-keys", "marker"],
    },
    Row {
        name: "ListObjectsV2",
        needs: Needs::Bucket(Action::ListBucket),
        query: &[
            "list-type",
            "prefix",
            "delimiter",
            "encoding-type",
            "max-keys",
            "continuation-token",
            "start-after",
            "fetch-owner",
        ],
    },
    // Never made; but who may write to a bucket may know that it is there, and some clients insist on asking so.
    Row { name: "CreateBucket", needs: Needs::Bucket(Action::PutObject), query: &[] },
    Row { name: "HeadBucket", needs: Needs::Bucket(Action::GetBucketInfo), query: &[] },
    Row { name: "GetBucketLocation", needs: Needs::Bucket(Action::GetBucketInfo), query: &["location"] },
    Row { name: "GetBucketCors", needs: Needs::Config(Action::GetBucketConfig), query: &["cors"] },
    Row { name: "PutBucketCors", needs: Needs::Config(Action::PutBucketConfig), query: &["cors"] },
    Row { name: "DeleteBucketCors", needs: Needs::Config(Action::PutBucketConfig), query: &["cors"] },
    Row {
        name: "GetBucketLifecycleConfiguration",
        needs: Needs::Config(Action::GetBucketConfig),
        query: &["lifecycle"],
    },
    Row {
        name: "PutBucketLifecycleConfiguration",
        needs: Needs::Config(Action::PutBucketConfig),
        query: &["lifecycle"],
    },
    Row { name: "GetBucketEncryption", needs: Needs::Config(Action::GetBucketConfig), query: &["encryption"] },
    Row {
        name: "ListBuckets",
        needs: Needs::Never,
        query: &["max-buckets", "prefix", "bucket-region", "continuation-token"],
    },
];

/// `x-amz-` headers that change nothing, or that the operations read. The others that are understood are in
/// [`understood`], with the values that are.
const HEADERS: &[&str] = &[
    "x-amz-api-version",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-request-payer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-te",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Refuses a header that is not understood, or not with this value.
fn understood(headers: &HeaderMap) -> Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") || name.starts_with("x-amz-meta-") || HEADERS.contains(&name) {
            continue;
        }
        let good: &[&[u8]] = match name {
            // Every object belongs to the bucket's owner and nobody else: these say what is.
            "x-amz-acl" => &[b"private", b"bucket-owner-full-control"],
            "x-amz-storage-class" => &[b"STANDARD"],
            "x-amz-tagging-directive" => &[b"COPY"],
            // Our accounts have none of Amazon's numbers, so it is always another.
            "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner" => return Err(denied()),
            _ => &[],
        };
        if !good.contains(&value.as_bytes()) {
            return Err(not_implemented(name));
        }
    }
    Ok(())
}

fn understood_query(uri: &Uri, row: &Row) -> Result<()> {
    for (name, value) in Query::parse(uri.query())?.iter() {
        // `x-id` and its like are for the sender's own logs.
        let known = row.query.contains(&name) || name.starts_with("x-");
        let versioned = name == "versionId" && value != "null";
        if !known || versioned {
            return Err(not_implemented(format_args!("?{}", valetkey_core::name::shortened(name))));
        }
    }
    Ok(())
}

fn allowed(session: &Session, needs: Needs, path: &S3Path) -> bool {
    let reach = &session.reach;
    match (needs, path) {
        (Needs::Key(action), S3Path::Object { bucket, key }) => reach.covers(bucket, key.as_bytes(), action),
        (Needs::Bucket(action), S3Path::Bucket { bucket }) => reach.within(bucket, action).next().is_some(),
        (Needs::Config(action), S3Path::Bucket { bucket }) => {
            reach.within(bucket, action).any(|scope| *scope.paths() == Paths::Whole)
        }
        (Needs::Never | Needs::Key(_) | Needs::Bucket(_) | Needs::Config(_), _) => false,
    }
}

/// Refuses to copy from what the credential may not read.
fn allowed_source(session: Option<&Session>, source: &CopySource) -> Result<()> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("a copy from an access point"));
    };
    if version_id.as_deref().is_some_and(|version| version != "null") {
        return Err(not_implemented("versionId"));
    }
    match session {
        Some(session) if session.reach.covers(bucket, key.as_bytes(), Action::GetObject) => Ok(()),
        Some(_) | None => Err(denied()),
    }
}

/// The rules above, where the S3 crate asks for them.
pub(crate) struct Access;

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let asked = cx.s3_op().name().to_owned();
        let row = ROWS.iter().find(|row| row.name == asked).ok_or_else(|| not_implemented(&asked))?;
        if let Some(operation) = cx.extensions_mut().get::<Operation>() {
            operation.tell(row.name);
        }
        let session = cx.extensions_mut().get::<Session>().cloned().ok_or_else(denied)?;
        let named = session.operations.is_none_or(|operations| operations.allow(row.name));
        if !named || !allowed(&session, row.needs, cx.s3_path()) {
            return Err(denied());
        }
        understood(cx.headers())?;
        understood_query(cx.uri(), row)
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        allowed_source(request.extensions.get(), &request.input.copy_source)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        allowed_source(request.extensions.get(), &request.input.copy_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood_by_name_and_value() {
        let check = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            understood(&headers).map_err(|error| error.code().as_str().to_owned())
        };
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-meta-anything", "x"),
            ("amz-sdk-invocation-id", "x"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-write-offset-bytes", "0"),
            ("x-amz-never-heard-of", "x"),
        ] {
            assert_eq!(check(name, value), Err("NotImplemented".to_owned()), "{name}");
        }
        assert_eq!(check("x-amz-expected-bucket-owner", "123456789012"), Err("AccessDenied".to_owned()));
    }
}
