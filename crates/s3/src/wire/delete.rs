//! Deleting: one key, or many with an answer for each.

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3ErrorCode, S3Request, S3Response};
use valetkey_core::scope::Action;

use crate::bucket::Bucket;
use crate::error::{Result, not_implemented, refuse, refuse_custom};
use crate::gate::session::Session;
use crate::objects::{Clash, Condition};
use crate::wire::conditions::{Of, conditions};
use crate::wire::{Wire, aside, clashed, session};

/// Amazon S3 API Reference, `DeleteObjects`: up to 1000 keys.
const MAX_KEYS: usize = 1000;

impl Wire {
    pub(super) async fn delete(&self, request: S3Request<DeleteObjectInput>) -> Result<S3Response<DeleteObjectOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        let condition = conditions(&aside(&request), Of::Write)?;
        let input = request.input;
        match bucket.delete(input.key.as_bytes(), condition, &session).await? {
            // What is not there is as good as deleted.
            Ok(()) | Err(Clash::Missing) => Ok(S3Response::new(DeleteObjectOutput::default())),
            Err(clash) => Err(clashed(clash)),
        }
    }

    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Result<S3Response<DeleteObjectsOutput>> {
        let session = session(&request)?;
        let input = request.input;
        let bucket = &self.bucket(&session, &input.bucket)?;
        let (reach, session) = (&session.reach, &session);
        let (objects, quiet) = (input.delete.objects, input.delete.quiet.unwrap_or(false));
        if objects.is_empty() || objects.len() > MAX_KEYS {
            return Err(refuse(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema",
            ));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let deleting = objects.into_iter().map(|object| async {
            let allowed =
                object.key.is_empty() || reach.covers(&input.bucket, object.key.as_bytes(), Action::DeleteObject);
            let outcome =
                if allowed { delete_one(bucket, &object, session).await } else { Err(crate::error::denied()) };
            (object.key, outcome)
        });
        for (key, outcome) in futures::future::join_all(deleting).await {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        let output =
            DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..DeleteObjectsOutput::default() };
        Ok(S3Response::new(output))
    }
}

async fn delete_one(bucket: &Bucket, object: &ObjectIdentifier, session: &Session) -> Result<()> {
    if object.key.is_empty() {
        let said = "The request must contain the specified key of each object.";
        return Err(refuse_custom("UserKeyMustBeSpecified", http::StatusCode::BAD_REQUEST, said));
    }
    if object.version_id.as_deref().is_some_and(|version| version != "null") {
        return Err(not_implemented("VersionId"));
    }
    if object.size.is_some() || object.last_modified_time.is_some() {
        return Err(not_implemented("a condition on size or time"));
    }
    let condition = match &object.e_tag {
        Some(etag) => Condition::etag(etag.value()),
        None => Condition::default(),
    };
    match bucket.delete(object.key.as_bytes(), condition, session).await? {
        Ok(()) | Err(Clash::Missing) => Ok(()),
        Err(clash) => Err(clashed(clash)),
    }
}
