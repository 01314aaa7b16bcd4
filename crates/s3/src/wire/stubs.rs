//! What clients ask on their way, answered truthfully: no object has tags or other versions, and everything belongs to the account.

use data_encoding::BASE64;
use s3s::dto::{
    Checksum, ChecksumType, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectTaggingInput,
    GetObjectTaggingOutput, Grant, Grantee, ObjectPart, Owner, Permission, StorageClass, Type,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use crate::error::{Result, refuse};
use crate::gate::session::Session;
use crate::objects::checksum::Algorithm;
use crate::objects::origin::Origin;
use crate::objects::record::{Data, Record};
use crate::wire::multipart::MAX_PARTS;
use crate::wire::put::tell_checksum;
use crate::wire::{Wire, no_such_key, session, shown, strong};

fn owner(session: &Session) -> Owner {
    Owner { id: Some(session.origin.account.to_string()), ..Owner::default() }
}

/// The one grant there is: everything, to the owner.
fn grants(session: &Session) -> Vec<Grant> {
    let id = Some(session.origin.account.to_string());
    let grantee = Grantee {
        display_name: None,
        email_address: None,
        id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

/// How many parts an object was made of, if it was.
fn parts(record: &Record) -> Option<i32> {
    let parts = match &record.data {
        Data::Files(segments) if record.etag.contains('-') => segments.len(),
        Data::Gateway(parts) => parts.len(),
        Data::Here(_) | Data::Files(_) => 0,
    };
    i32::try_from(parts).ok().filter(|parts| *parts > 0)
}

/// A page of an object's parts, where it is known which those were.
fn listed_parts(
    count: i32,
    origin: Option<(&Origin, Algorithm)>,
    (max, behind): (Option<i32>, Option<i32>),
) -> Result<GetObjectAttributesParts> {
    let (max, behind) = (max.unwrap_or(MAX_PARTS), behind.unwrap_or(0));
    if max < 0 || behind < 0 {
        return Err(refuse(S3ErrorCode::InvalidArgument, "max-parts and part-number-marker are not negative."));
    }
    let max = max.min(MAX_PARTS);
    let mut listed = GetObjectAttributesParts { total_parts_count: Some(count), ..GetObjectAttributesParts::default() };
    let Some((origin, algorithm)) = origin else { return Ok(listed) };
    let mut left = origin.parts.iter().filter(|part| part.number > behind);
    let limit = usize::try_from(max).unwrap_or(0);
    let parts: Vec<ObjectPart> = left
        .by_ref()
        .take(limit)
        .map(|part| {
            let mut shown = ObjectPart {
                part_number: Some(part.number),
                size: Some(part.size.cast_signed()),
                ..ObjectPart::default()
            };
            tell_checksum!(shown, algorithm, BASE64.encode(&part.checksum));
            shown
        })
        .collect();
    let truncated = limit > 0 && left.next().is_some();
    listed.next_part_number_marker = parts.last().and_then(|part| part.part_number).filter(|_| truncated);
    listed.part_number_marker = Some(behind);
    listed.max_parts = Some(max);
    listed.is_truncated = Some(truncated);
    listed.parts = Some(parts);
    Ok(listed)
}

impl Wire {
    pub(super) async fn tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Result<S3Response<GetObjectTaggingOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        bucket.record(&session.live().await?, request.input.key.as_bytes()).await?.ok_or_else(no_such_key)?;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None }))
    }

    pub(super) async fn object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> Result<S3Response<GetObjectAclOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        if !bucket.exists(&session.live().await?, &request.input.key).await? {
            return Err(no_such_key());
        }
        let (grants, owner) = (Some(grants(&session)), Some(owner(&session)));
        Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..GetObjectAclOutput::default() }))
    }

    pub(super) fn bucket_acl(&self, request: &S3Request<GetBucketAclInput>) -> Result<S3Response<GetBucketAclOutput>> {
        let session = session(request)?;
        self.bucket_of(request, &request.input.bucket)?;
        let (grants, owner) = (Some(grants(&session)), Some(owner(&session)));
        Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
    }

    pub(super) async fn attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> Result<S3Response<GetObjectAttributesOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        let input = request.input;
        let (live, key) = (session.live().await?, input.key.as_bytes());
        let record = bucket.record(&live, key).await?.ok_or_else(no_such_key)?;
        let wants = |name: &str| {
            let all = input.object_attributes.iter().flat_map(|attributes| attributes.as_str().split(','));
            all.map(str::trim).any(|attribute| attribute == name)
        };
        let checksum = record.headers.checksum().filter(|_| wants("Checksum")).map(|(algorithm, shown, kind)| {
            let mut checksum = Checksum::default();
            tell_checksum!(checksum, algorithm, shown.to_owned());
            checksum.checksum_type = Some(ChecksumType::from_static(kind.as_str()));
            checksum
        });
        let object_parts = match parts(&record).filter(|_| wants("ObjectParts")) {
            None => None,
            Some(count) => {
                let origin = bucket.origin(&live, key, &record).await?;
                let algorithm = record.headers.checksum().map(|(algorithm, _, _)| algorithm);
                let page = (input.max_parts, input.part_number_marker);
                Some(listed_parts(count, origin.as_ref().zip(algorithm), page)?)
            }
        };
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum,
            e_tag: wants("ETag").then(|| strong(&record.etag)),
            last_modified: Some(shown(record.modified)),
            object_parts,
            object_size: wants("ObjectSize").then(|| record.size.cast_signed()),
            storage_class: wants("StorageClass").then(|| StorageClass::from_static("STANDARD")),
            ..GetObjectAttributesOutput::default()
        }))
    }
}
