//! Copying: whole objects and ranges as parts. That the source may be read was asked before (see `access`).

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETagCondition, MetadataDirective,
    Range, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use crate::bucket::Bucket;
use crate::error::{Result, not_implemented, refuse};
use crate::gate::session::Session;
use crate::objects::Condition;
use crate::objects::checksum::Algorithm;
use crate::objects::record::{CHECKSUM_TYPE, Headers, Record};
use crate::wire::get::{Wanted, date};
use crate::wire::multipart::{no_such_upload, owner, part_number, upload_id};
use crate::wire::put::{kept, tell_checksum};
use crate::wire::{Wire, clashed, no_such_key, precondition_failed, session, shown, strong, text};

/// The conditions on a copy's source, under their own names.
fn wanted(headers: &http::HeaderMap, if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Wanted {
    Wanted {
        if_match,
        if_none_match,
        if_modified_since: date(headers, "x-amz-copy-source-if-modified-since"),
        if_unmodified_since: date(headers, "x-amz-copy-source-if-unmodified-since"),
        range: None,
        part_number: None,
    }
}

/// What keeps a copy's conditions from holding is always a failed condition, never "not modified".
fn failed(error: s3s::S3Error) -> s3s::S3Error {
    if *error.code() == S3ErrorCode::NotModified { precondition_failed() } else { error }
}

/// The headers of the source that go with a copy.
fn carried(record: &Record) -> Headers {
    let is_checksum = |name: &str| Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE;
    Headers(record.headers.0.iter().filter(|(name, _)| !is_checksum(name)).cloned().collect())
}

impl Wire {
    fn source<'s>(&self, session: &Session, source: &'s CopySource) -> Result<(Bucket, &'s [u8])> {
        match source {
            CopySource::Bucket { bucket, key, .. } => Ok((self.bucket(session, bucket)?, key.as_bytes())),
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
                Err(not_implemented("a copy from an access point"))
            }
        }
    }

    pub(super) async fn copy(&self, request: S3Request<CopyObjectInput>) -> Result<S3Response<CopyObjectOutput>> {
        let session = session(&request)?;
        let S3Request { input, headers, .. } = request;
        let bucket = self.bucket(&session, &input.bucket)?;
        let (from, from_key) = self.source(&session, &input.copy_source)?;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(refuse(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
        };
        if from.id == bucket.id && from_key == input.key.as_bytes() && !replace {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let wanted = wanted(&headers, input.copy_source_if_match, input.copy_source_if_none_match);
        let plan = |record: &Record| Ok(wanted.plan(record).map_err(failed)?.range);
        let (record, reading) = from.open_range(from_key, wanted.likely(), plan).await?.ok_or_else(no_such_key)?;
        let named = text(&headers, "x-amz-checksum-algorithm").map(|name| {
            Algorithm::parse(name)
                .ok_or_else(|| refuse(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported."))
        });
        let own = record.headers.checksum().map(|(algorithm, _, _)| algorithm);
        let algorithm = named.transpose()?.or(own).unwrap_or(Algorithm::Crc64Nvme);
        let headers = if replace { kept(&headers)? } else { carried(&record) };
        let key = input.key.as_bytes();
        let draft = bucket.take(key, headers, reading, &[algorithm], self.limits.max_object_bytes).await?;
        session.still().await?;
        let record = draft.put(Condition::None).await?.map_err(clashed)?;
        let mut result = CopyObjectResult {
            e_tag: Some(strong(&record.etag)),
            last_modified: Some(shown(record.modified)),
            ..CopyObjectResult::default()
        };
        if let Some((algorithm, shown, _)) = record.headers.checksum() {
            tell_checksum!(result, algorithm, shown.to_owned());
        }
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Result<S3Response<UploadPartCopyOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let S3Request { input, headers, .. } = request;
        let bucket = self.bucket(&session, &input.bucket)?;
        let (number, id) = (part_number(input.part_number)?, upload_id(&input.upload_id)?);
        let upload =
            bucket.objects.upload(id, bucket.id, input.key.as_bytes(), owner).await?.ok_or_else(no_such_upload)?;
        let (from, from_key) = self.source(&session, &input.copy_source)?;
        let invalid = || {
            refuse(
                S3ErrorCode::InvalidArgument,
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                 zero-based offsets of the first and last bytes to copy",
            )
        };
        let range = match input.copy_source_range.as_deref().map(Range::parse) {
            None => None,
            Some(Ok(Range::Int { first, last: Some(last) })) => Some((first, last)),
            Some(_) => return Err(invalid()),
        };
        let wanted = wanted(&headers, input.copy_source_if_match, input.copy_source_if_none_match);
        let plan = |record: &Record| {
            let whole = wanted.plan(record).map_err(failed)?.range;
            match range {
                None => Ok(whole),
                Some((first, last)) if last < record.size => Ok(first..last + 1),
                Some(_) => Err(refuse(
                    S3ErrorCode::InvalidArgument,
                    "Range specified is not valid for source object of its size",
                )),
            }
        };
        let likely = if range.is_none() { wanted.likely() } else { None };
        let (_, reading) = from.open_range(from_key, likely, plan).await?.ok_or_else(no_such_key)?;
        let taken = bucket.objects.take_part(reading, &[upload.algorithm], self.limits.max_object_bytes).await?;
        session.still().await?;
        let digests = bucket.objects.put_part(id, number, taken).await?.ok_or_else(no_such_upload)?;
        let mut result = CopyPartResult {
            e_tag: Some(strong(&digests.etag())),
            last_modified: Some(shown(bucket.objects.now())),
            ..CopyPartResult::default()
        };
        tell_checksum!(result, upload.algorithm, data_encoding::BASE64.encode(digests.kept()));
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }
}
