//! The operations there are, and the words of a request that each of them understands.

use valetkey_core::scope::Action;

use crate::gate::slot::Takes;

/// What an operation needs of the scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// The action on the key.
    Key(Action),
    /// The action in the bucket; the operation itself asks for each key or prefix.
    Bucket(Action),
    /// The action on the bucket's configuration, which belongs to no path of it.
    Config(Action),
    /// Nothing: it tells of the buckets that the credential opens anything in.
    Buckets,
}

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    /// What it does with a body; nothing if there is no code for it, and it is refused as such to who could else do it.
    pub(super) body: Option<Takes>,
    /// The query parameters it understands.
    pub(super) query: &'static [&'static str],
    /// The conditions it understands.
    pub(super) conditions: Conditions,
}

/// Which conditions an operation understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Conditions {
    /// It changes nothing, so that one that it does not know narrows nothing (RFC 9110, section 13.1).
    Reads,
    /// These headers.
    Only(&'static [&'static str]),
}

/// The conditions of a write. The last two are R2's; to who does not know them they do not come.
pub(super) const WRITE: &[&str] = &["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
/// The conditions of a copy.
pub(super) const COPY: &[&str] = &[
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
pub(super) const COPY_PART: &[&str] = &[
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
];
pub(super) const NONE: Conditions = Conditions::Only(&[]);

pub(super) const READ: &[&str] = &[
    "partNumber",
    "versionId",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

pub(super) const NOTHING: Option<Takes> = Some(Takes::Nothing);
pub(super) const DOCUMENT: Option<Takes> = Some(Takes::Document);
pub(super) const STREAM: Option<Takes> = Some(Takes::Stream);

pub(super) const ROWS: &[Row] = &[
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

/// The operations that go on to a storage that speaks S3 itself, of its buckets. The others are about what this endpoint says of a
/// bucket: its CORS rules are ours, no bucket is made, and whose objects are at the storage is not told.
pub(super) const FORWARDED: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "HeadBucket",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
];

/// The names of all operations there are.
pub(crate) fn operations() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// `x-amz-` headers that change nothing, or that the operations read. The others that are understood are in
/// [`understood`](super::understood), with the values that are.
pub(super) const HEADERS: &[&str] = &[
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
