//! A bucket's configuration: its CORS rules; nothing else is there to keep, and these say so.

use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput,
    PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};
use valetkey_core::cors::{Rule, Rules};

use crate::error::{Result, refuse, refuse_custom, refuse_with};
use crate::wire::{Wire, session};

fn shown(rule: &Rule) -> CORSRule {
    let Rule { name, origins, methods, headers, exposed, max_age_secs } = rule;
    let some = |names: &Vec<String>| Some(names.clone()).filter(|names| !names.is_empty());
    CORSRule {
        id: name.clone(),
        allowed_origins: origins.clone(),
        allowed_methods: methods.clone(),
        allowed_headers: some(headers),
        expose_headers: some(exposed),
        max_age_seconds: max_age_secs.and_then(|secs| i32::try_from(secs).ok()),
    }
}

fn read(rules: Vec<CORSRule>) -> Result<Rules> {
    let invalid = |said: String| refuse_with(S3ErrorCode::InvalidRequest, said);
    let read = |rule: CORSRule| -> Result<Rule> {
        let age = |secs: i32| u32::try_from(secs).map_err(|_| invalid("MaxAgeSeconds is negative.".to_owned()));
        Ok(Rule {
            name: rule.id,
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            exposed: rule.expose_headers.unwrap_or_default(),
            max_age_secs: rule.max_age_seconds.map(age).transpose()?,
        })
    };
    let rules = rules.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    Rules::new(rules).map_err(|error| invalid(format!("The CORS configuration is not valid: {error}.")))
}

impl Wire {
    pub(super) fn cors(&self, request: &S3Request<GetBucketCorsInput>) -> Result<S3Response<GetBucketCorsOutput>> {
        let bucket = self.bucket_of(request, &request.input.bucket)?;
        let rules = bucket.objects.cors().get(bucket.id);
        let rules = rules
            .ok_or_else(|| refuse(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"))?;
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules.iter().map(shown).collect()) }))
    }

    pub(super) async fn put_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> Result<S3Response<PutBucketCorsOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        let rules = read(request.input.cors_configuration.cors_rules)?;
        bucket.objects.set_cors(session.live().await?, bucket.id, Some(rules)).await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    /// What is not there is as good as deleted.
    pub(super) async fn delete_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> Result<S3Response<DeleteBucketCorsOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        bucket.objects.set_cors(session.live().await?, bucket.id, None).await?;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }
}

/// Nothing ends by its age.
pub(super) fn lifecycle() -> Result<()> {
    Err(refuse(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"))
}

/// SECURITY: nothing is encrypted here, and whoever asks must not be told otherwise.
pub(super) fn encryption() -> Result<()> {
    Err(refuse_custom(
        "ServerSideEncryptionConfigurationNotFoundError",
        http::StatusCode::NOT_FOUND,
        "The server side encryption configuration was not found",
    ))
}
