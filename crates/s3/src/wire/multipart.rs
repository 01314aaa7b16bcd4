//! Uploads in parts.

use data_encoding::BASE64;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListPartsInput, ListPartsOutput, Part, StorageClass, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};
use valetkey_core::scope::Action;

use crate::error::{Result, denied, internal, refuse};
use crate::gate::session::{Asked, Session};
use crate::gateway::Completing;
use crate::objects::checksum::{Algorithm, Kind};
use crate::objects::parts::{Completion, Incomplete, Listed, Owner, UploadId};
use crate::objects::record::Record;
use crate::objects::uploads::MAX_PART_NUMBER;
use crate::wire::conditions::{Of, conditions};
use crate::wire::put::{Told, body, kept, read_checksum, shown_checksum, tell_checksum, trailers};
use crate::wire::{Wire, aside, clashed, session, shown, strong, text};

/// The most parts on a page.
pub(super) const MAX_PARTS: i32 = 1000;

pub(crate) fn no_such_upload() -> s3s::S3Error {
    refuse(
        S3ErrorCode::NoSuchUpload,
        "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been \
         aborted or completed.",
    )
}

pub(super) fn upload_id(text: &str) -> Result<UploadId> {
    UploadId::parse(text).ok_or_else(no_such_upload)
}

pub(crate) fn part_number(number: i32) -> Result<i32> {
    if (1..=MAX_PART_NUMBER).contains(&number) {
        Ok(number)
    } else {
        Err(refuse(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
    }
}

/// Whose the uploads of a session are.
pub(super) fn owner(session: &Session) -> Owner {
    Owner { account: session.origin.account, caller: session.origin.caller }
}

fn incomplete(why: Incomplete) -> s3s::S3Error {
    match why {
        Incomplete::NoSuchUpload => no_such_upload(),
        Incomplete::InvalidPart => refuse(
            S3ErrorCode::InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        ),
        Incomplete::TooSmall => {
            refuse(S3ErrorCode::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
        }
        Incomplete::WrongSize => {
            refuse(S3ErrorCode::InvalidRequest, "The provided x-amz-mp-object-size does not match the parts.")
        }
        Incomplete::WrongChecksum => {
            refuse(S3ErrorCode::BadDigest, "The checksum you specified did not match the calculated checksum.")
        }
        Incomplete::Clash(clash) => clashed(clash),
    }
}

/// The checksum of the upload's algorithm that a part's entry tells.
fn listed_checksum(part: &CompletedPart, algorithm: Algorithm) -> Option<&str> {
    match algorithm {
        Algorithm::Crc32 => part.checksum_crc32.as_deref(),
        Algorithm::Crc32c => part.checksum_crc32c.as_deref(),
        Algorithm::Crc64Nvme => part.checksum_crc64nvme.as_deref(),
        Algorithm::Sha1 => part.checksum_sha1.as_deref(),
        Algorithm::Sha256 => part.checksum_sha256.as_deref(),
    }
}

/// The parts a request to complete lists: there is one, each is whole, and their numbers rise.
fn listed(parts: Vec<CompletedPart>, algorithm: Algorithm) -> Result<Vec<Listed>> {
    let malformed = || {
        refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    if parts.is_empty() {
        return Err(malformed());
    }
    let mut listed: Vec<Listed> = Vec::with_capacity(parts.len());
    for part in parts {
        let (Some(number), Some(etag)) = (part.part_number, &part.e_tag) else { return Err(malformed()) };
        if listed.last().is_some_and(|last| last.number >= number) {
            return Err(refuse(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            ));
        }
        let checksum = listed_checksum(&part, algorithm).map(|shown| read_checksum(algorithm, shown)).transpose()?;
        listed.push(Listed { number: part_number(number)?, etag: etag.value().into(), checksum });
    }
    Ok(listed)
}

/// An object, as its client names it.
struct Named {
    bucket: String,
    key: String,
    /// Its URL.
    location: Option<String>,
}

/// Tells of an object that was made of parts.
fn completed(named: Named, record: &Record) -> CompleteMultipartUploadOutput {
    let Named { bucket, key, location } = named;
    let mut output = CompleteMultipartUploadOutput {
        location,
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(strong(&record.etag)),
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some((algorithm, shown, kind)) = record.headers.checksum() {
        tell_checksum!(output, algorithm, shown.to_owned());
        output.checksum_type = Some(ChecksumType::from_static(kind.as_str()));
    }
    output
}

impl Wire {
    pub(super) async fn create_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Result<S3Response<CreateMultipartUploadOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let aside = aside(&request);
        let S3Request { input, headers, .. } = request;
        let bucket = self.bucket(&session, &input.bucket)?;
        let unsupported = || refuse(S3ErrorCode::InvalidRequest, "Checksum algorithm or type provided is unsupported.");
        let named = text(&headers, "x-amz-checksum-algorithm")
            .map(|name| Algorithm::parse(name).ok_or_else(unsupported))
            .transpose()?;
        let algorithm = named.unwrap_or(Algorithm::Crc64Nvme);
        let kind = match text(&headers, "x-amz-checksum-type") {
            Some(kind) => Kind::parse(kind).ok_or_else(unsupported)?,
            None => algorithm.usual_kind(),
        };
        if !algorithm.allows(kind) {
            return Err(unsupported());
        }
        let kept = kept(&headers, &aside)?;
        let key = input.key.as_bytes();
        bucket.writable(key)?;
        let condition = conditions(&aside, Of::Write)?;
        // Nothing is written yet: what holds could be asked for ever. Who may not read the object may ask only whether it is there.
        let reads = session.reach.covers(&input.bucket, key, Action::GetObject);
        if !condition.is_none() && !condition.is_absent() && !reads {
            return Err(denied());
        }
        if !condition.is_none() {
            let there = bucket.record(&session.live().await?, key).await?;
            condition.check(there.as_ref().map(|record| record.existing())).map_err(clashed)?;
        }
        let live = session.live().await?;
        let upload = bucket.objects.create_upload(live, bucket.id, key, owner, (algorithm, kind), kept).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.id.shown()),
            checksum_algorithm: named.map(|named| ChecksumAlgorithm::from_static(named.as_str())),
            checksum_type: named.map(|_| ChecksumType::from_static(kind.as_str())),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(&self, request: S3Request<UploadPartInput>) -> Result<S3Response<UploadPartOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let told = Told::read(&request.headers, trailers(&request))?;
        let input = request.input;
        let bucket = self.bucket(&session, &input.bucket)?;
        let (number, id) = (part_number(input.part_number)?, upload_id(&input.upload_id)?);
        let upload =
            bucket.objects.upload(id, bucket.id, input.key.as_bytes(), owner).await?.ok_or_else(no_such_upload)?;
        // The upload's own checksum is kept; another that the client tells is verified too.
        let mut algorithms = vec![upload.algorithm];
        algorithms.extend(told.algorithm().filter(|told| *told != upload.algorithm));
        let (most, share) = (self.limits.max_object_bytes, self.share(&session)?);
        let taken = bucket.objects.take_part(body(input.body), &algorithms, most, (share, upload.owner)).await?;
        told.verify(&taken.digests)?;
        let live = session.live().await?;
        let digests = bucket.objects.put_part(live, id, number, taken).await?.ok_or_else(no_such_upload)?;
        let mut output = UploadPartOutput { e_tag: Some(strong(&digests.etag())), ..UploadPartOutput::default() };
        for (algorithm, checksum) in &digests.checksums {
            tell_checksum!(output, *algorithm, BASE64.encode(checksum));
        }
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Result<S3Response<CompleteMultipartUploadOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let condition = conditions(&aside(&request), Of::Write)?;
        let S3Request { input, headers, extensions, .. } = request;
        let bucket = self.bucket(&session, &input.bucket)?;
        let id = upload_id(&input.upload_id)?;
        let location = extensions.get::<Asked>().map(|asked| asked.url(self.is_https));
        let (name, key) = (input.bucket, input.key);
        let upload = bucket.objects.upload(id, bucket.id, key.as_bytes(), owner).await?;
        // Clients ask again when the answer was lost.
        let made = match &upload {
            Some(_) => None,
            None => bucket.made_by(&session.live().await?, key.as_bytes(), id, owner).await?,
        };
        let (algorithm, kind) = match (&upload, &made) {
            (Some(upload), _) => (upload.algorithm, upload.kind),
            (None, Some((record, _))) => {
                let (algorithm, _, kind) = record.headers.checksum().ok_or_else(no_such_upload)?;
                (algorithm, kind)
            }
            (None, None) => return Err(no_such_upload()),
        };
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let checksum = match shown_checksum(&headers)? {
            Some((own, shown)) if own == algorithm => Some(shown.to_owned()),
            Some(_) => {
                return Err(refuse(S3ErrorCode::InvalidRequest, "The checksum is not of the upload's algorithm."));
            }
            None => None,
        };
        if text(&headers, "x-amz-checksum-type").is_some_and(|own| own != kind.as_str()) {
            return Err(refuse(S3ErrorCode::InvalidRequest, "The upload's checksum type is another."));
        }
        let completion = Completion {
            parts: listed(parts, algorithm)?,
            condition,
            size: input.mpu_object_size.map(i64::cast_unsigned),
            checksum,
        };
        let named = Named { bucket: name, key: key.clone(), location };
        if let Some((record, origin)) = made {
            origin.answers(&completion, &record).map_err(incomplete)?;
            return Ok(S3Response::new(completed(named, &record)));
        }
        let patience = self.limits.patience;
        let (asked, asking) = (completion.clone(), session.clone());
        let completing = bucket.complete_upload(key.as_bytes(), id, completion, session, patience).await?;
        let settle = async move |done| match done {
            // Completed by another request in between.
            Err(Incomplete::NoSuchUpload) => {
                let made = bucket.made_by(&asking.live().await?, key.as_bytes(), id, owner).await?;
                let (record, origin) = made.ok_or_else(no_such_upload)?;
                origin.answers(&asked, &record).map_err(incomplete)?;
                Ok(record)
            }
            done => done.map_err(incomplete),
        };
        let output = match completing {
            Completing::Done(done) => completed(named, &*settle(done).await?),
            Completing::Still(completing) => CompleteMultipartUploadOutput {
                future: Some(Box::pin(async move {
                    let done = completing.await.map_err(|error| internal("completing an upload", error))?;
                    Ok(completed(named, &*settle(done?).await?))
                })),
                ..CompleteMultipartUploadOutput::default()
            },
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Result<S3Response<AbortMultipartUploadOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let input = request.input;
        let bucket = self.bucket(&session, &input.bucket)?;
        let id = upload_id(&input.upload_id)?;
        let found = bucket.objects.upload(id, bucket.id, input.key.as_bytes(), owner).await?;
        if found.is_none() || !bucket.objects.abort_upload(session.live().await?, id).await? {
            return Err(no_such_upload());
        }
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn list_upload_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> Result<S3Response<ListPartsOutput>> {
        let session = session(&request)?;
        let owner = owner(&session);
        let input = request.input;
        let bucket = self.bucket(&session, &input.bucket)?;
        let id = upload_id(&input.upload_id)?;
        let upload =
            bucket.objects.upload(id, bucket.id, input.key.as_bytes(), owner).await?.ok_or_else(no_such_upload)?;
        let (max, behind) = (input.max_parts.unwrap_or(MAX_PARTS), input.part_number_marker.unwrap_or(0));
        if max < 0 || behind < 0 {
            return Err(refuse(S3ErrorCode::InvalidArgument, "max-parts and part-number-marker are not negative."));
        }
        let limit = usize::try_from(max.min(MAX_PARTS)).unwrap_or(0);
        let mut found = bucket.objects.parts(&session.live().await?, id, behind, limit + 1).await?;
        let truncated = limit > 0 && found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|part| part.number).filter(|_| truncated);
        let parts = found.iter().map(|part| {
            let mut output = Part {
                part_number: Some(part.number),
                size: Some(part.size.cast_signed()),
                e_tag: Some(strong(&data_encoding::HEXLOWER.encode(&part.md5))),
                last_modified: Some(shown(part.modified)),
                ..Part::default()
            };
            tell_checksum!(output, upload.algorithm, BASE64.encode(&part.checksum));
            output
        });
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts.collect()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(max.min(MAX_PARTS)),
            part_number_marker: Some(behind),
            next_part_number_marker: next,
            is_truncated: Some(truncated),
            storage_class: Some(StorageClass::from_static("STANDARD")),
            checksum_algorithm: Some(ChecksumAlgorithm::from_static(upload.algorithm.as_str())),
            checksum_type: Some(ChecksumType::from_static(upload.kind.as_str())),
            ..ListPartsOutput::default()
        }))
    }
}
