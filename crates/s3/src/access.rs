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
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use valetkey_core::scope::{Action, Listing, Path, Paths, Scope};

use crate::error::{Result, denied, not_implemented, refuse_with};
use crate::gate::aside::Aside;
use crate::gate::proof;
use crate::gate::session::{Holder, Operation, Session};
use crate::gate::slot::{Slot, Takes};

/// What an operation needs of the scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    /// The action on the key.
    Key(Action),
    /// The action in the bucket; the operation itself asks for each key or prefix.
    Bucket(Action),
    /// The action on the bucket's configuration, which belongs to no path of it.
    Config(Action),
    /// Nothing: it tells of the buckets that the credential opens anything in.
    Buckets,
}

struct Row {
    name: &'static str,
    needs: Needs,
    /// What it does with a body; nothing if there is no code for it, and it is refused as such to who could else do it.
    body: Option<Takes>,
    /// The query parameters it understands.
    query: &'static [&'static str],
    /// The conditions it understands.
    conditions: Conditions,
}

/// Which conditions an operation understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Conditions {
    /// It changes nothing, so that one that it does not know narrows nothing (RFC 9110, section 13.1).
    Reads,
    /// These headers.
    Only(&'static [&'static str]),
}

/// The conditions of a write. The last two are R2's; to who does not know them they do not come.
const WRITE: &[&str] = &["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
/// The conditions of a copy.
const COPY: &[&str] = &[
    "if-match",
    "if-none-match",
    "cf-copy-destination-if-match",
    "cf-copy-destination-if-modified-since",
    "cf-copy-destination-if-none-match",
    "cf-copy-destination-if-unmodified-since",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
];
/// The conditions of a part that is copied.
const COPY_PART: &[&str] = &[
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
];
const NONE: Conditions = Conditions::Only(&[]);

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

const NOTHING: Option<Takes> = Some(Takes::Nothing);
const DOCUMENT: Option<Takes> = Some(Takes::Document);
const STREAM: Option<Takes> = Some(Takes::Stream);

const ROWS: &[Row] = &[
    Row {
        name: "GetObject",
        needs: Needs::Key(Action::GetObject),
        body: NOTHING,
        query: READ,
        conditions: Conditions::Reads,
    },
    Row {
        name: "HeadObject",
        needs: Needs::Key(Action::GetObject),
        body: NOTHING,
        query: READ,
        conditions: Conditions::Reads,
    },
    // No object has tags; clients ask before they copy.
    Row {
        name: "GetObjectTagging",
        needs: Needs::Key(Action::GetObject),
        body: NOTHING,
        query: &["tagging", "versionId"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetObjectAcl",
        needs: Needs::Key(Action::GetObject),
        body: NOTHING,
        query: &["acl", "versionId"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetObjectAttributes",
        needs: Needs::Key(Action::GetObject),
        body: NOTHING,
        query: &["attributes", "versionId"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "PutObject",
        needs: Needs::Key(Action::PutObject),
        body: STREAM,
        query: &[],
        conditions: Conditions::Only(WRITE),
    },
    Row {
        name: "CopyObject",
        needs: Needs::Key(Action::PutObject),
        body: NOTHING,
        query: &[],
        conditions: Conditions::Only(COPY),
    },
    Row {
        name: "DeleteObject",
        needs: Needs::Key(Action::DeleteObject),
        body: NOTHING,
        query: &["versionId"],
        conditions: Conditions::Only(&["if-match"]),
    },
    Row {
        name: "DeleteObjects",
        needs: Needs::Bucket(Action::DeleteObject),
        body: DOCUMENT,
        query: &["delete"],
        conditions: NONE,
    },
    Row {
        name: "CreateMultipartUpload",
        needs: Needs::Key(Action::MultipartUpload),
        body: NOTHING,
        query: &["uploads"],
        conditions: Conditions::Only(WRITE),
    },
    Row {
        name: "UploadPart",
        needs: Needs::Key(Action::MultipartUpload),
        body: STREAM,
        query: &["partNumber", "uploadId"],
        conditions: NONE,
    },
    Row {
        name: "UploadPartCopy",
        needs: Needs::Key(Action::MultipartUpload),
        body: NOTHING,
        query: &["partNumber", "uploadId"],
        conditions: Conditions::Only(COPY_PART),
    },
    Row {
        name: "CompleteMultipartUpload",
        needs: Needs::Key(Action::MultipartUpload),
        body: DOCUMENT,
        query: &["uploadId"],
        conditions: Conditions::Only(WRITE),
    },
    Row {
        name: "ListParts",
        needs: Needs::Key(Action::MultipartUpload),
        body: NOTHING,
        query: &["uploadId", "max-parts", "part-number-marker"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "AbortMultipartUpload",
        needs: Needs::Key(Action::AbortUpload),
        body: NOTHING,
        query: &["uploadId"],
        conditions: NONE,
    },
    Row {
        name: "ListMultipartUploads",
        needs: Needs::Bucket(Action::ListUploads),
        body: NOTHING,
        query: &["uploads", "prefix", "delimiter", "encoding-type", "max-uploads", "key-marker", "upload-id-marker"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "ListObjects",
        needs: Needs::Bucket(Action::ListBucket),
        body: NOTHING,
        query: &["prefix", "delimiter", "encoding-type", "max-keys", "marker"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "ListObjectsV2",
        needs: Needs::Bucket(Action::ListBucket),
        body: NOTHING,
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
        conditions: Conditions::Reads,
    },
    Row {
        name: "ListObjectVersions",
        needs: Needs::Bucket(Action::ListBucket),
        body: NOTHING,
        query: &["versions", "prefix", "delimiter", "encoding-type", "max-keys", "key-marker", "version-id-marker"],
        conditions: Conditions::Reads,
    },
    // Never made; but who may write to a bucket may know that it is there, and some clients insist on asking so.
    Row { name: "CreateBucket", needs: Needs::Bucket(Action::PutObject), body: NOTHING, query: &[], conditions: NONE },
    Row {
        name: "HeadBucket",
        needs: Needs::Bucket(Action::GetBucketInfo),
        body: NOTHING,
        query: &[],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetBucketAcl",
        needs: Needs::Bucket(Action::GetBucketInfo),
        body: NOTHING,
        query: &["acl"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetBucketVersioning",
        needs: Needs::Bucket(Action::GetBucketInfo),
        body: NOTHING,
        query: &["versioning"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetBucketLocation",
        needs: Needs::Bucket(Action::GetBucketInfo),
        body: NOTHING,
        query: &["location"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "GetBucketCors",
        needs: Needs::Config(Action::GetBucketConfig),
        body: NOTHING,
        query: &["cors"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "PutBucketCors",
        needs: Needs::Config(Action::PutBucketConfig),
        body: DOCUMENT,
        query: &["cors"],
        conditions: NONE,
    },
    Row {
        name: "DeleteBucketCors",
        needs: Needs::Config(Action::PutBucketConfig),
        body: NOTHING,
        query: &["cors"],
        conditions: NONE,
    },
    Row {
        name: "GetBucketLifecycleConfiguration",
        needs: Needs::Config(Action::GetBucketConfig),
        body: NOTHING,
        query: &["lifecycle"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "PutBucketLifecycleConfiguration",
        needs: Needs::Config(Action::PutBucketConfig),
        body: None,
        query: &["lifecycle"],
        conditions: NONE,
    },
    Row {
        name: "GetBucketEncryption",
        needs: Needs::Config(Action::GetBucketConfig),
        body: NOTHING,
        query: &["encryption"],
        conditions: Conditions::Reads,
    },
    Row {
        name: "ListBuckets",
        needs: Needs::Buckets,
        body: NOTHING,
        query: &["max-buckets", "prefix", "continuation-token"],
        conditions: Conditions::Reads,
    },
];

/// The names of all operations there are.
pub(crate) fn operations() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

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
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-part-number-marker",
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
            "x-amz-tagging-directive" => &[b"COPY", b"REPLACE"],
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

/// Refuses a condition that is not understood: what is passed over could overwrite what it was to keep.
fn understood_conditions(aside: &Aside, row: &Row) -> Result<()> {
    let unknown = match row.conditions {
        Conditions::Reads => None,
        Conditions::Only(known) => aside.conditions().find(|name| !known.contains(name)),
    };
    unknown.map_or(Ok(()), |name| Err(not_implemented(name)))
}

fn understood_query(uri: &Uri, aside: &Aside, row: &Row) -> Result<()> {
    if row.query != READ && !aside.overridden().is_empty() {
        return Err(not_implemented("?response-…"));
    }
    for (name, value) in proof::query(uri.query())?.iter() {
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
        // R2 tells buckets only to who administers the account.
        (Needs::Buckets, S3Path::Root) => session.parent.is_none(),
        (Needs::Key(_) | Needs::Bucket(_) | Needs::Config(_) | Needs::Buckets, _) => false,
    }
}

/// Whether a listing's prefix is inside; of anything else, yes. The operation asks again, for each key.
fn lists(session: &Session, row: &Row, path: &S3Path, uri: &Uri) -> Result<bool> {
    let (Needs::Bucket(action @ (Action::ListBucket | Action::ListUploads)), S3Path::Bucket { bucket }) =
        (row.needs, path)
    else {
        return Ok(true);
    };
    let query = proof::query(uri.query())?;
    let prefix = query.once("prefix").unwrap_or_default().as_bytes();
    let scope = session.reach.listing(bucket, prefix, action);
    Ok(scope.is_some_and(|scope| scope.listing(bucket, prefix, action) != Listing::Refused))
}

/// The most paths that a refusal names.
const MOST_NAMED: usize = 3;

/// What a credential opens, in a bucket of this name.
fn opens(session: &Session, bucket: &str) -> String {
    let shown = |bytes: &[u8]| valetkey_core::name::shortened(&String::from_utf8_lossy(bytes));
    let of_scope = |scope: &Scope| {
        let actions: Vec<&str> = scope.actions().iter().map(Action::as_str).collect();
        let paths = match scope.paths() {
            Paths::Whole => "everything".to_owned(),
            Paths::Only(paths) => {
                let named: Vec<String> = paths
                    .iter()
                    .take(MOST_NAMED)
                    .map(|path| match &path {
                        Path::Object(key) => format!("`{}`", shown(key)),
                        Path::Directory(directory) => format!("`{}/`", shown(directory)),
                        Path::Prefix(prefix) => format!("`{}*`", shown(prefix)),
                    })
                    .collect();
                let more = paths.len().saturating_sub(named.len());
                if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
            }
        };
        format!("{} on {paths}", actions.join(", "))
    };
    let here: Vec<String> = session.reach.in_bucket(bucket).take(MOST_NAMED).map(of_scope).collect();
    if here.is_empty() { "nothing".to_owned() } else { here.join("; ") }
}

/// Refuses what is outside of a credential's scope. Its holder is told what is inside; who only has a URL that was signed with it is not.
fn outside(session: &Session, path: &S3Path, holder: bool) -> S3Error {
    match path {
        S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } if holder => {
            let opens = opens(session, bucket);
            let bucket = valetkey_core::name::shortened(bucket);
            refuse_with(
                S3ErrorCode::AccessDenied,
                format!("Access Denied. In the bucket `{bucket}` this credential opens {opens}."),
            )
        }
        S3Path::Root | S3Path::Bucket { .. } | S3Path::Object { .. } => denied(),
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
pub(crate) struct Access {
    /// Whether buckets are listed.
    pub(crate) list_buckets: bool,
}

/// Sees to the body, as far as the operation takes one before it begins. SECURITY: only now, when it is decided that it may be done;
/// and whoever held the body back until its credential had ended is refused here, whatever the operation is.
async fn receive(cx: &mut S3AccessContext<'_>, row: &Row, session: &Session) -> Result<()> {
    let takes = row.body.ok_or_else(|| not_implemented(row.name))?;
    let slot = cx.extensions_mut().get::<Slot>().cloned().ok_or_else(denied)?;
    match takes {
        Takes::Stream => Ok(()),
        Takes::Nothing => slot.ignore(session).await,
        // Once it is there, the gate comes again with it.
        Takes::Document => slot.want(),
    }
}

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
        let named = named && (self.list_buckets || row.needs != Needs::Buckets);
        if !named || !allowed(&session, row.needs, cx.s3_path()) || !lists(&session, row, cx.s3_path(), cx.uri())? {
            let holder = cx.extensions_mut().get::<Holder>().is_some();
            return Err(outside(&session, cx.s3_path(), holder));
        }
        let aside = cx.extensions_mut().get::<Aside>().cloned().ok_or_else(denied)?;
        understood(cx.headers())?;
        understood_conditions(&aside, row)?;
        understood_query(cx.uri(), &aside, row)?;
        receive(cx, row, &session).await
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
