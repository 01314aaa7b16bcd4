//! Which pages of other origins may use a bucket at the server's own S3 endpoint. Said by operators; who may configure the bucket
//! says it through S3 itself.

use std::sync::Arc;

use valetkey_core::Error;
use valetkey_core::cors::{Rule, Rules};
use valetkey_core::error::Noun;
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;

use super::api::cors::{CorsRequest, CorsRule};
use super::error::Problem;
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

impl From<&Rule> for CorsRule {
    fn from(rule: &Rule) -> Self {
        let Rule { name, origins, methods, headers, exposed, max_age_secs } = rule.clone();
        Self {
            id: name,
            allowed_origins: origins,
            allowed_methods: methods,
            allowed_headers: headers,
            exposed_headers: exposed,
            max_age_secs,
        }
    }
}

impl From<CorsRule> for Rule {
    fn from(rule: CorsRule) -> Self {
        let CorsRule { id, allowed_origins, allowed_methods, allowed_headers, exposed_headers, max_age_secs } = rule;
        Self {
            name: id,
            origins: allowed_origins,
            methods: allowed_methods,
            headers: allowed_headers,
            exposed: exposed_headers,
            max_age_secs,
        }
    }
}

/// The bucket of a request, and its storage.
async fn place(native: &Native, call: &Call) -> Result<(StorageId, BucketName), Error> {
    let bucket: BucketName = wire::named(call.params.get("bucket")?, "bucket")?;
    let known = native.shared.registry.buckets().await?.into_iter().find(|(known, _)| *known == bucket);
    let (bucket, storage) = known.ok_or_else(|| Error::not_found(Noun::Bucket).at("bucket"))?;
    Ok((storage, bucket))
}

fn shown(rules: Option<&Rules>) -> CorsRequest {
    CorsRequest { rules: rules.into_iter().flat_map(Rules::iter).map(CorsRule::from).collect() }
}

/// A bucket's CORS rules; none if it has only the server's. For operators.
#[utoipa::path(get, operation_id = "get_bucket_cors", path = "/api/v1/buckets/{bucket}/cors", tag = "places",
    params(("bucket" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The rules", body = CorsRequest),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn show(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let (storage, bucket) = place(&native, &call).await?;
    Reply::json(&shown(native.cors.cors(storage, &bucket).await?.as_ref()))
}

/// Gives a bucket CORS rules in place of those it has. For operators.
#[utoipa::path(put, operation_id = "set_bucket_cors", path = "/api/v1/buckets/{bucket}/cors", tag = "places",
    params(("bucket" = String, Path, description = "Its name")), request_body = CorsRequest, responses(
    (status = 200, description = "The rules", body = CorsRequest),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn set(native: Arc<Native>, call: Call, _: Authority) -> Result<Reply, Error> {
    let (storage, bucket) = place(&native, &call).await?;
    let fields: CorsRequest = json(&call.body)?;
    let rules = Rules::new(fields.rules.into_iter().map(Rule::from).collect())?;
    native.cors.set_cors(storage, &bucket, Some(rules.clone())).await?;
    Reply::json(&shown(Some(&rules)))
}

/// Takes a bucket's CORS rules away: it has the server's again, if there are some. For operators.
#[utoipa::path(delete, operation_id = "remove_bucket_cors", path = "/api/v1/buckets/{bucket}/cors", tag = "places",
    params(("bucket" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It has none"),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, _: Authority) -> Result<Reply, Error> {
    let (storage, bucket) = place(&native, &call).await?;
    native.cors.set_cors(storage, &bucket, None).await?;
    Ok(Reply::nothing())
}
