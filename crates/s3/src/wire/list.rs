//! Listing: objects in both versions, and unfinished uploads. What lies outside the scope is not told, not counted and not
//! looked at: only the spans of keys that the scope covers are read.

use data_encoding::BASE64URL_NOPAD;
use s3s::dto::{
    CommonPrefix, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    MultipartUpload, Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass, Owner, StorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response};
use valetkey_core::scope::{Action, Listing, Path, Paths, Rights};
use valetkey_sigv4::encode_path;

use crate::error::{Result, denied, refuse};
use crate::gate::session::Session;
use crate::objects::listing::{Ask, Entry, Mark, Page, Span, behind, common_prefix, past};
use crate::objects::parts::UploadId;
use crate::objects::uploads::Upload;
use crate::wire::{Wire, session, shown, strong};

/// The most keys and common prefixes on a page.
const MAX_KEYS: i32 = 1000;

/// The spans of keys under a prefix that a listing may tell of.
pub(crate) fn spans(rights: &Rights, bucket: &str, prefix: &[u8], action: Action) -> Result<Vec<Span>> {
    match rights.listing(bucket, prefix, action) {
        Listing::Refused => Err(denied()),
        Listing::All => Ok(vec![Span::of_prefix(prefix)]),
        Listing::Covered => {
            let Some(Paths::Only(paths)) = rights.paths_of(action) else { return Ok(vec![Span::of_prefix(prefix)]) };
            let mut spans = Vec::new();
            for path in paths.iter().filter(|path| path.bytes().starts_with(prefix)) {
                match &path {
                    Path::Object(key) => spans.push(Span::of_key(key)),
                    Path::Directory(directory) => {
                        spans.push(Span::of_key(directory));
                        spans.push(Span::of_prefix(&[directory, &b"/"[..]].concat()));
                    }
                    Path::Prefix(prefix) => spans.push(Span::of_prefix(prefix)),
                }
            }
            spans.sort_unstable();
            Ok(spans)
        }
    }
}

/// How names go out.
#[derive(Clone, Copy)]
enum Names {
    Plain,
    Encoded,
}

impl Names {
    fn of(asked: Option<&EncodingType>) -> Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Encoded),
            Some(_) => Err(refuse(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    fn shown(self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        match self {
            Self::Plain => text.into_owned(),
            Self::Encoded => encode_path(&text),
        }
    }

    fn prefixes(self, prefixes: &[Vec<u8>]) -> Vec<CommonPrefix> {
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.shown(prefix)) }).collect()
    }

    fn objects(self, entries: Vec<Entry>, owner: Option<&Owner>) -> Vec<Object> {
        let object = |entry: Entry| Object {
            key: Some(self.shown(&entry.key)),
            e_tag: Some(strong(&entry.etag)),
            size: Some(entry.size.cast_signed()),
            last_modified: Some(shown(entry.modified)),
            storage_class: Some(ObjectStorageClass::from_static("STANDARD")),
            owner: owner.cloned(),
            ..Object::default()
        };
        entries.into_iter().map(object).collect()
    }

    fn version(self, entry: &Entry, owner: &Owner) -> ObjectVersion {
        ObjectVersion {
            key: Some(self.shown(&entry.key)),
            version_id: Some("null".to_owned()),
            is_latest: Some(true),
            e_tag: Some(strong(&entry.etag)),
            size: Some(entry.size.cast_signed()),
            last_modified: Some(shown(entry.modified)),
            storage_class: Some(ObjectVersionStorageClass::from_static("STANDARD")),
            owner: Some(owner.clone()),
            ..ObjectVersion::default()
        }
    }
}

fn limit(asked: Option<i32>) -> Result<i32> {
    match asked.unwrap_or(MAX_KEYS) {
        negative if negative < 0 => {
            Err(refuse(S3ErrorCode::InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647"))
        }
        asked => Ok(asked.min(MAX_KEYS)),
    }
}

/// A token that says where the next page starts. It opens nothing: the scope is asked on every page.
pub(crate) fn token(mark: &Mark) -> String {
    let kind: &[u8] = match mark {
        Mark::Key(_) => b"k",
        Mark::Prefix(_) => b"p",
    };
    BASE64URL_NOPAD.encode(&[kind, mark.bytes()].concat())
}

pub(crate) fn read_token(text: &str) -> Result<Mark> {
    let bad = || refuse(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect");
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| bad())?;
    match bytes.split_first() {
        Some((b'k', key)) => Ok(Mark::Key(key.to_vec())),
        Some((b'p', prefix)) => Ok(Mark::Prefix(prefix.to_vec())),
        _ => Err(bad()),
    }
}

/// Where a marker starts, if there is one: behind it, and if it is a common prefix, behind all that it stands for.
pub(crate) fn read_marker(marker: &str, prefix: &[u8], delimiter: Option<&[u8]>) -> Option<Mark> {
    let marker = Some(marker.as_bytes()).filter(|marker| !marker.is_empty())?;
    let is_prefix = common_prefix(marker, prefix, delimiter) == Some(marker);
    Some(if is_prefix { Mark::Prefix(marker.to_vec()) } else { Mark::Key(marker.to_vec()) })
}

pub(super) fn owner(session: &Session) -> Owner {
    Owner { id: Some(session.origin.account.to_string()), ..Owner::default() }
}

fn given(text: Option<&String>) -> Option<&[u8]> {
    text.map(String::as_bytes).filter(|bytes| !bytes.is_empty())
}

/// Asks for a page of keys, and answers with it: S3 has three listings of keys, which have types of their own and this much in
/// common.
macro_rules! listed {
    ($wire:ident, $session:ident, $input:ident, from |$prefix:ident, $delimiter:ident| $from:expr,
     |$names:ident, $page:ident| $output:ident { $($own:ident: $value:expr,)* }) => {{
        let $names = Names::of($input.encoding_type.as_ref())?;
        let limit = limit($input.max_keys)?;
        let $prefix = $input.prefix.as_deref().unwrap_or_default().as_bytes();
        let $delimiter = given($input.delimiter.as_ref());
        let from = $from;
        let $page = $wire.page(&$session, &$input.bucket, ($prefix, $delimiter), from.as_ref(), limit).await?;
        Ok(S3Response::new($output {
            prefix: Some($names.shown($prefix)),
            delimiter: $delimiter.map(|delimiter| $names.shown(delimiter)),
            max_keys: Some(limit),
            is_truncated: Some($page.next.is_some()),
            common_prefixes: Some($names.prefixes(&$page.prefixes)),
            $($own: $value,)*
            encoding_type: $input.encoding_type,
            name: Some($input.bucket),
            ..$output::default()
        }))
    }};
}

impl Wire {
    async fn page(
        &self,
        session: &Session,
        bucket: &str,
        (prefix, delimiter): (&[u8], Option<&[u8]>),
        from: Option<&Mark>,
        limit: i32,
    ) -> Result<Page> {
        let scope = session.reach.listing(bucket, prefix, Action::ListBucket).ok_or_else(denied)?;
        let spans = spans(scope, bucket, prefix, Action::ListBucket)?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let ask = Ask { prefix, delimiter, from, limit, spans: &spans };
        // The spans hold nothing else already; asked again because a mistake there would tell what must not be told.
        let place = self.bucket(session, bucket)?;
        let mut share = self.share(session)?;
        place
            .list(&session.live().await?, Some(&mut share), ask, |key| scope.covers(bucket, key, Action::ListBucket))
            .await
    }

    pub(super) async fn list_v1(&self, request: S3Request<ListObjectsInput>) -> Result<S3Response<ListObjectsOutput>> {
        let session = session(&request)?;
        let input = request.input;
        let marker = input.marker.as_deref().unwrap_or_default();
        listed!(
            self,
            session,
            input,
            from | prefix,
            delimiter | read_marker(marker, prefix, delimiter),
            |names, page| ListObjectsOutput {
                marker: Some(names.shown(marker.as_bytes())),
                next_marker: page.next.as_ref().map(|mark| names.shown(mark.bytes())),
                contents: Some(names.objects(page.entries, None)),
            }
        )
    }

    /// Every key once, as the one version there is.
    pub(super) async fn list_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Result<S3Response<ListObjectVersionsOutput>> {
        let session = session(&request)?;
        let input = request.input;
        let marker = input.key_marker.as_deref().unwrap_or_default();
        let owner = owner(&session);
        listed!(
            self,
            session,
            input,
            from | prefix,
            delimiter | read_marker(marker, prefix, delimiter),
            |names, page| ListObjectVersionsOutput {
                key_marker: Some(names.shown(marker.as_bytes())),
                version_id_marker: input.version_id_marker,
                next_version_id_marker: page.next.as_ref().map(|_| "null".to_owned()),
                next_key_marker: page.next.as_ref().map(|mark| names.shown(mark.bytes())),
                versions: Some(page.entries.into_iter().map(|entry| names.version(&entry, &owner)).collect()),
            }
        )
    }

    pub(super) async fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Result<S3Response<ListObjectsV2Output>> {
        let session = session(&request)?;
        let input = request.input;
        let owner = input.fetch_owner.unwrap_or(false).then(|| owner(&session));
        listed!(
            self,
            session,
            input,
            from | prefix,
            delimiter
                | match &input.continuation_token {
                    Some(token) => Some(read_token(token)?),
                    None => given(input.start_after.as_ref()).map(|after| Mark::Key(after.to_vec())),
                },
            |names, page| ListObjectsV2Output {
                key_count: Some(i32::try_from(page.entries.len() + page.prefixes.len()).unwrap_or(MAX_KEYS)),
                next_continuation_token: page.next.as_ref().map(token),
                start_after: input.start_after.map(|after| names.shown(after.as_bytes())),
                continuation_token: input.continuation_token,
                contents: Some(names.objects(page.entries, owner.as_ref())),
            }
        )
    }

    pub(super) async fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Result<S3Response<ListMultipartUploadsOutput>> {
        let session = session(&request)?;
        let input = request.input;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = limit(input.max_uploads)?;
        let limit = usize::try_from(max).unwrap_or(0);
        let prefix = input.prefix.as_deref().unwrap_or_default().as_bytes();
        let delimiter = given(input.delimiter.as_ref());
        let scope = session.reach.listing(&input.bucket, prefix, Action::ListUploads).ok_or_else(denied)?;
        let spans = spans(scope, &input.bucket, prefix, Action::ListUploads)?;
        let bucket = self.bucket(&session, &input.bucket)?;
        let marker = (given(input.key_marker.as_ref()), input.upload_id_marker.as_deref().and_then(UploadId::parse));
        // Behind this key and, in it, behind this upload. Without an upload the whole key is behind us.
        let mut at: (Vec<u8>, Vec<u8>) = match marker {
            (None, _) => (Vec::new(), Vec::new()),
            (Some(key), Some(upload)) => (key.to_vec(), upload.bytes().to_vec()),
            (Some(key), None) if common_prefix(key, prefix, delimiter) == Some(key) => {
                (past(key).unwrap_or_else(|| behind(key)), Vec::new())
            }
            (Some(key), None) => (behind(key), Vec::new()),
        };
        let (mut uploads, mut prefixes): (Vec<Upload>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        let mut last: Option<(Vec<u8>, Option<UploadId>)> = None;
        let mut truncated = false;
        let live = session.live().await?;
        'spans: for span in &spans {
            loop {
                let batch = bucket.objects.uploads(&live, bucket.id, span, (&at.0, &at.1), limit + 1).await?;
                let read = batch.len();
                for upload in batch {
                    if (&*upload.key, upload.id.bytes()) <= (&*at.0, &*at.1) {
                        continue;
                    }
                    if !scope.covers(&input.bucket, &upload.key, Action::ListUploads) {
                        at = (upload.key.to_vec(), upload.id.bytes().to_vec());
                        continue;
                    }
                    if uploads.len() + prefixes.len() == limit {
                        truncated = limit > 0;
                        break 'spans;
                    }
                    if let Some(common) = common_prefix(&upload.key, prefix, delimiter) {
                        prefixes.push(common.to_vec());
                        last = Some((common.to_vec(), None));
                        let Some(past) = past(common) else { break 'spans };
                        at = (past, Vec::new());
                    } else {
                        at = (upload.key.to_vec(), upload.id.bytes().to_vec());
                        last = Some((upload.key.to_vec(), Some(upload.id)));
                        uploads.push(upload);
                    }
                }
                if read <= limit {
                    break;
                }
            }
        }
        let next = last.filter(|_| truncated);
        let shown_upload = |upload: Upload| MultipartUpload {
            key: Some(names.shown(&upload.key)),
            upload_id: Some(upload.id.shown()),
            initiated: Some(shown(upload.opened)),
            storage_class: Some(StorageClass::from_static("STANDARD")),
            ..MultipartUpload::default()
        };
        let output = ListMultipartUploadsOutput {
            prefix: Some(names.shown(prefix)),
            delimiter: delimiter.map(|delimiter| names.shown(delimiter)),
            max_uploads: Some(max),
            is_truncated: Some(truncated),
            key_marker: Some(names.shown(input.key_marker.as_deref().unwrap_or_default().as_bytes())),
            upload_id_marker: input.upload_id_marker,
            next_key_marker: next.as_ref().map(|(key, _)| names.shown(key)),
            next_upload_id_marker: next.and_then(|(_, upload)| upload).map(UploadId::shown),
            common_prefixes: Some(names.prefixes(&prefixes)),
            uploads: Some(uploads.into_iter().map(shown_upload).collect()),
            encoding_type: input.encoding_type,
            bucket: Some(input.bucket),
            ..ListMultipartUploadsOutput::default()
        };
        Ok(S3Response::new(output))
    }
}
