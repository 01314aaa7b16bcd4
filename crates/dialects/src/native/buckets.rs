//! Buckets: `/api/v1/buckets`, `/api/v1/buckets/{bucket}`; and whether the storage of one can open what is asked of it.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::error::Noun;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::Thing;
use valetkey_core::scope::{Actions, Paths, Scope};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::{Error, Kind};

use super::api::buckets::BucketRequest;
use super::error::Problem;
use super::removal::{Removal, Said};
use super::state::Native;
use crate::edge::{Authority, Call, Reply, json};

/// A bucket.
#[derive(Serialize, ToSchema)]
pub(super) struct BucketResponse {
    /// Its name.
    bucket: String,
    /// Its storage's id.
    storage: String,
}

/// Buckets.
#[derive(Serialize, ToSchema)]
pub(super) struct BucketList {
    buckets: Vec<BucketResponse>,
}

/// Lists buckets. For operators.
#[utoipa::path(get, operation_id = "list_buckets", path = "/api/v1/buckets", tag = "places", responses(
    (status = 200, description = "Buckets", body = BucketList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, _: Call) -> Result<Reply, Error> {
    let buckets = native.shared.registry.buckets().await?;
    let shown =
        buckets.into_iter().map(|(bucket, id)| BucketResponse { bucket: bucket.to_string(), storage: id.to_string() });
    Reply::json(&BucketList { buckets: shown.collect() })
}

/// Makes a bucket, here and at its storage. For operators.
#[utoipa::path(post, operation_id = "create_bucket", path = "/api/v1/buckets", tag = "places", request_body = BucketRequest, responses(
    (status = 201, description = "The bucket", body = BucketResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: BucketRequest = json(&call.body)?;
    let bucket = BucketName::parse(&fields.bucket).map_err(|error| error.at("bucket"))?;
    let registry = &native.shared.registry;
    let storages = registry.storages().await?;
    let storage = match (fields.storage.as_deref(), storages.as_slice()) {
        (None, [only]) => only,
        (None, _) => return Err(Error::new(Kind::Invalid, "name the `storage` it is to be in").at("storage")),
        (Some(text), all) => all
            .iter()
            .find(|storage| storage.name.as_str() == text || storage.id.to_string() == text)
            .ok_or_else(|| Error::not_found(Noun::Storage).at("storage"))?,
    };
    if registry.buckets().await?.iter().any(|(known, _)| *known == bucket) {
        let said = format!("a bucket `{bucket}` exists");
        return Err(Error::new(Kind::AlreadyExists(Noun::Bucket), said).at("bucket"));
    }
    // First at the store: a bucket on record that is not there could be granted and would open nothing.
    native.stores.ensure_bucket(storage, &bucket).await?;
    registry.by(authority).create_bucket(storage.id, &bucket, call.now).await?;
    Reply::made(&BucketResponse { bucket: bucket.to_string(), storage: storage.id.to_string() })
}

/// Removes a bucket from the record, with the grants, datasets, workspaces and shared tables in it if that is said. Its credentials end. In
/// the embedded storage it goes with its objects, and only empty unless that is said; at other storages it stays with all that is in
/// it. For operators.
#[utoipa::path(delete, operation_id = "remove_bucket", path = "/api/v1/buckets/{bucket}", tag = "places", params(
    ("bucket" = String, Path, description = "Its name"),
    ("cascade" = Option<bool>, Query, description = "Also what needs it; without it such a thing is refused and names it"),
    ("with_objects" = Option<bool>, Query, description = "Also the objects in it; of the embedded storage only"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is gone, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let bucket =
        BucketName::parse(call.params.get("bucket")?).map_err(|_| Error::not_found(Noun::Bucket).at("bucket"))?;
    Reply::json(&native.removed(&call, authority, &Thing::Bucket(bucket), said).await?)
}

/// Refuses a place whose storage gives what an API cannot carry: here, where it is configured, and not at the first call.
pub(super) fn carried(storage: &Storage, what: &str) -> Result<(), Error> {
    let shape = storage.kind.shape();
    if Shape::S3_ONLY.contains(&shape) {
        return Ok(());
    }
    let said =
        format!("{what} an API that carries S3 keys only; the storage `{}` gives {}", storage.name, shape.as_str());
    Err(Error::new(Kind::Invalid, said).at("bucket"))
}

impl Native {
    /// Refuses a place that its storage cannot open the way it will be asked to, in the same manner.
    pub(super) fn opens(
        &self,
        storage: &Storage,
        (bucket, paths, actions): (&BucketName, Paths, Actions),
        what: &str,
        field: &'static str,
    ) -> Result<(), Error> {
        let none = || Error::internal("a place is asked for with no actions");
        let scope = Scope::new(bucket.clone(), paths, actions).ok_or_else(none)?;
        self.stores.can_express(storage, &scope).map_err(|error| {
            if error.kind() != Kind::Invalid {
                return error;
            }
            let said = format!(
                "the storage `{}` cannot open {what}: {}; choose another place, or a bucket of a storage that can (of kind `gateway`, for one)",
                storage.name,
                error.message()
            );
            Error::new(Kind::Invalid, said).at(field)
        })
    }

    /// The storage a bucket is in.
    pub(super) async fn storage_of(&self, bucket: &BucketName) -> Result<Storage, Error> {
        let registry = &self.shared.registry;
        let missing = || Error::not_found(Noun::Bucket).at("bucket");
        let id = registry.buckets().await?.into_iter().find(|(known, _)| known == bucket).ok_or_else(missing)?.1;
        registry
            .storages()
            .await?
            .into_iter()
            .find(|storage| storage.id == id)
            .ok_or_else(|| Error::internal(format!("the bucket `{bucket}` names a storage that is gone")))
    }
}
