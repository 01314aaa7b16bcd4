//! Copying: whole objects and ranges as parts. That the source may be read was asked before (see `access`).

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective, Range,
    UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use crate::bucket::Bucket;
use crate::error::{Result, not_implemented, refuse};
use crate::gate::aside::Aside;
use crate::gate::session::Session;
use crate::objects::checksum::Algorithm;
use crate::objects::record::{CHECKSUM_TYPE, Headers, Record};
use crate::objects::{Clash, Condition};
use crate::wire::conditions::{Of, conditions, failed};
use crate::wire::get::Wanted;
use crate::wire::multipart::{no_such_upload, owner, part_number, upload_id};
use crate::wire::put::{kept, tell_checksum};
use crate::wire::{Wire, aside, clashed, no_such_key, session, shown, strong, text};

/// The conditions on a copy's source, under their own names.
fn wanted(aside: &Aside) -> Result<Wanted> {
    let condition = conditions(aside, Of::Source)?;
    Ok(Wanted { condition, of: Of::Source, if_range: None, range: None, part_number: None })
}

/// The conditions on a copy's destination: S3's own, or R2's under their own names.
fn destination(aside: &Aside) -> Result<(Condition, Of)> {
    let (own, of_r2) = (conditions(aside, Of::Write)?, conditions(aside, Of::Destination)?);
    match (own.is_none(), of_r2.is_none()) {
        (false, false) => Err(refuse(
            S3ErrorCode::InvalidRequest,
            "Expecting either If-Match and If-None-Match or cf-copy-destination-if-… headers, not both.",
        )),
        (_, true) => Ok((own, Of::Write)),
        (true, false) => Ok((of_r2, Of::Destination)),
    }
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
        let aside = aside(&request);
        let (condition, of) = destination(&aside)?;
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
        let wanted = wanted(&aside)?;
        let plan = |record: &Record| Ok(wanted.plan(record)?.range);
        let (record, reading) =
            from.open_range(&session.live().await?, from_key, wanted.likely(), plan).await?.ok_or_else(no_such_key)?;
        let named = text(&headers, "x-amz-checksum-algorithm").map(|name| {
            Algorithm::parse(name)
                .ok_or_else(|| refuse(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported."))
        });
        let own = record.headers.checksum().map(|(algorithm, _, _)| algorithm);
        let algorithm = named.transpose()?.or(own).unwrap_or(Algorithm::Crc64Nvme);
        let headers = if replace { kept(&headers, &aside)? } else { carried(&record) };
        let key = input.key.as_bytes();
        let (most, share) = (self.limits.max_object_bytes, self.share(&session)?);
        let draft = bucket.take(key, headers, reading, &[algorithm], most, share).await?;
        let record = draft.put(condition, &session).await?.map_err(|clash| match clash {
            Clash::Failed(part) => failed(of, part),
            clash @ (Clash::Missing | Clash::Quota) => clashed(clash),
        })?;
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
        let aside = aside(&request);
        let input = request.input;
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
        let wanted = wanted(&aside)?;
        let plan = |record: &Record| {
            let whole = wanted.plan(record)?.range;
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
        let (_, reading) =
            from.open_range(&session.live().await?, from_key, likely, plan).await?.ok_or_else(no_such_key)?;
        let (most, share) = (self.limits.max_object_bytes, self.share(&session)?);
        let taken = bucket.objects.take_part(reading, &[upload.algorithm], most, (share, upload.owner)).await?;
        let live = session.live().await?;
        let digests = bucket.objects.put_part(live, id, number, taken).await?.ok_or_else(no_such_upload)?;
        let mut result = CopyPartResult {
            e_tag: Some(strong(&digests.etag())),
            last_modified: Some(shown(bucket.objects.now())),
            ..CopyPartResult::default()
        };
        tell_checksum!(result, upload.algorithm, data_encoding::BASE64.encode(digests.kept()));
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }
}
