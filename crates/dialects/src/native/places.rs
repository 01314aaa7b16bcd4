//! Storages, buckets and datasets: what grants are about. Made by operators.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::dataset::Dataset;
use valetkey_core::error::Noun;
use valetkey_core::id::DatasetId;
use valetkey_core::name::{BucketName, Name, shortened};
use valetkey_core::port::NewStorage;
use valetkey_core::scope::Path;
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::{Native, who, wire};
use crate::edge::{Call, Reply, json};

/// A store.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageShown {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// How scopes are enforced there: `embedded`.
    kind: &'static str,
    /// The URL its users reach it at.
    endpoint: String,
    /// The URL it is reached at from inside a cluster.
    internal_endpoint: Option<String>,
    /// The region to name in signatures.
    region: String,
    /// No credential lives shorter, in seconds.
    min_ttl_secs: u32,
    /// No credential lives longer, in seconds.
    max_ttl_secs: u32,
}

impl StorageShown {
    fn of(storage: &Storage) -> Self {
        let Storage { id, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime } = storage;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            kind: kind.as_str(),
            endpoint: endpoint.to_string(),
            internal_endpoint: internal_endpoint.as_deref().map(str::to_owned),
            region: region.to_string(),
            min_ttl_secs: min_lifetime.as_secs(),
            max_ttl_secs: max_lifetime.as_secs(),
        }
    }
}

/// Stores.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageList {
    storages: Vec<StorageShown>,
}

/// Lists stores. For operators.
#[utoipa::path(get, operation_id = "list_storages", path = "/api/v1/storages", tag = "places", responses(
    (status = 200, description = "Stores", body = StorageList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn storages(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let storages = native.shared.registry.storages().await?;
    Reply::json(&StorageList { storages: storages.iter().map(StorageShown::of).collect() })
}

/// A store to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageFields {
    /// Its name, unique on this server.
    name: String,
    /// How scopes are enforced there; `embedded` if not given.
    kind: Option<KindWord>,
    /// The URL its users reach it at.
    endpoint: String,
    /// The URL it is reached at from inside a cluster.
    internal_endpoint: Option<String>,
    /// The region to name in signatures; `us-east-1` if not given.
    region: Option<String>,
    /// No credential lives shorter, in seconds; 60 if not given.
    min_ttl_secs: Option<i64>,
    /// No credential lives longer, in seconds; 604800 (7 days) if not given.
    max_ttl_secs: Option<i64>,
}

/// How scopes are enforced at a store.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWord {
    /// Our own S3 endpoint.
    Embedded,
}

/// Adds a store. For operators.
#[utoipa::path(post, operation_id = "create_storage", path = "/api/v1/storages", tag = "places", request_body = StorageFields, responses(
    (status = 201, description = "The store", body = StorageShown),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create_storage(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let fields: StorageFields = json(&call.body)?;
    let ttl = |secs: Option<i64>, usual: u32, field: &'static str| match secs {
        Some(secs) => Lifetime::parse(secs).map_err(|error| error.at(field)),
        None => Ok(Lifetime::secs(usual)),
    };
    let (min_lifetime, max_lifetime) =
        (ttl(fields.min_ttl_secs, 60, "min_ttl_secs")?, ttl(fields.max_ttl_secs, 604_800, "max_ttl_secs")?);
    if max_lifetime < min_lifetime {
        let said = format!("the longest lifetime {max_lifetime} is shorter than the shortest {min_lifetime}");
        return Err(Error::new(Kind::Invalid, said).at("max_ttl_secs"));
    }
    let storage = NewStorage {
        name: wire::named(&fields.name, "name")?,
        kind: match fields.kind {
            None | Some(KindWord::Embedded) => StorageKind::Embedded,
        },
        endpoint: url(&fields.endpoint, "endpoint")?,
        internal_endpoint: fields.internal_endpoint.map(|text| url(&text, "internal_endpoint")).transpose()?,
        region: region(fields.region.as_deref().unwrap_or("us-east-1"))?,
        min_lifetime,
        max_lifetime,
    };
    let storage = native.shared.registry.create_storage(storage, call.now).await?;
    Reply::made(&StorageShown::of(&storage))
}

/// Reads a store's address: what clients get to see and connect to.
fn url(text: &str, field: &'static str) -> Result<Box<str>, Error> {
    let refused = || {
        let said = format!("`{}` is not an address (`https://s3.example.com`)", shortened(text));
        Error::new(Kind::Invalid, said).at(field)
    };
    let uri: http::Uri = text.parse().map_err(|_| refused())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.authority().is_some_and(|host| !host.host().is_empty() && !host.as_str().contains('@'));
    if !scheme || !host || uri.query().is_some() || text.len() > 512 {
        return Err(refused());
    }
    Ok(text.trim_end_matches('/').into())
}

fn region(text: &str) -> Result<Box<str>, Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&text.len()) || !text.bytes().all(plain) {
        let said = format!("`{}` is not a region; one has 1 to 64 characters of a-z, 0-9, `-`", shortened(text));
        return Err(Error::new(Kind::Invalid, said).at("region"));
    }
    Ok(text.into())
}

/// A bucket.
#[derive(Serialize, ToSchema)]
pub(super) struct BucketShown {
    /// Its name.
    bucket: String,
    /// Its store's id.
    storage: String,
}

/// Buckets.
#[derive(Serialize, ToSchema)]
pub(super) struct BucketList {
    buckets: Vec<BucketShown>,
}

/// Lists buckets. For operators.
#[utoipa::path(get, operation_id = "list_buckets", path = "/api/v1/buckets", tag = "places", responses(
    (status = 200, description = "Buckets", body = BucketList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn buckets(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let buckets = native.shared.registry.buckets().await?;
    let shown =
        buckets.into_iter().map(|(bucket, id)| BucketShown { bucket: bucket.to_string(), storage: id.to_string() });
    Reply::json(&BucketList { buckets: shown.collect() })
}

/// A bucket to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketFields {
    /// Its name, unique on this server.
    bucket: String,
    /// Its store, by name or id; may be left out when there is just one.
    storage: Option<String>,
}

/// Makes a bucket, here and at its store. For operators.
#[utoipa::path(post, operation_id = "create_bucket", path = "/api/v1/buckets", tag = "places", request_body = BucketFields, responses(
    (status = 201, description = "The bucket", body = BucketShown),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create_bucket(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let fields: BucketFields = json(&call.body)?;
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
    native.buckets.ensure(storage, &bucket).await?;
    registry.create_bucket(storage.id, &bucket, call.now).await?;
    Reply::made(&BucketShown { bucket: bucket.to_string(), storage: storage.id.to_string() })
}

/// A dataset.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetShown {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// The group it is listed under.
    topic: String,
    /// A sentence for people.
    description: String,
    /// Its bucket.
    bucket: String,
    /// Its directory, without the last slash.
    prefix: String,
    /// The files' format.
    format: String,
    /// How often it is renewed.
    frequency: String,
    /// The version of its layout.
    version: String,
    /// Whether another takes its place.
    deprecated: bool,
}

impl DatasetShown {
    fn of(dataset: &Dataset) -> Self {
        let Dataset { id, name, topic, description, storage: _, bucket, path, format, frequency, version, deprecated } =
            dataset;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            topic: topic.to_string(),
            description: description.clone(),
            bucket: bucket.to_string(),
            prefix: String::from_utf8_lossy(path.bytes()).into_owned(),
            format: format.clone(),
            frequency: frequency.clone(),
            version: version.clone(),
            deprecated: *deprecated,
        }
    }
}

/// Datasets.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetList {
    datasets: Vec<DatasetShown>,
}

/// Lists the catalogue. For operators: it names buckets. Callers see theirs as grants.
#[utoipa::path(get, operation_id = "list_datasets", path = "/api/v1/datasets", tag = "places", responses(
    (status = 200, description = "Datasets", body = DatasetList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn datasets(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let datasets = native.shared.desk.directory.datasets().await?;
    Reply::json(&DatasetList { datasets: datasets.iter().map(DatasetShown::of).collect() })
}

/// A dataset to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetFields {
    /// Its name, unique on this server.
    name: String,
    /// The group it is listed under.
    topic: String,
    /// A sentence for people; empty if not given.
    description: Option<String>,
    /// Its bucket.
    bucket: String,
    /// Its directory, without the last slash.
    prefix: String,
    /// The files' format; `parquet` if not given.
    format: Option<String>,
    /// How often it is renewed; `daily` if not given.
    frequency: Option<String>,
    /// The version of its layout; `1` if not given.
    version: Option<String>,
    /// Whether another takes its place.
    deprecated: Option<bool>,
}

/// Adds a dataset to the catalogue. For operators.
#[utoipa::path(post, operation_id = "create_dataset", path = "/api/v1/datasets", tag = "places", request_body = DatasetFields, responses(
    (status = 201, description = "The dataset", body = DatasetShown),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create_dataset(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    who::operator(&call.caller)?;
    call.query(&[])?;
    let fields: DatasetFields = json(&call.body)?;
    let bucket = BucketName::parse(&fields.bucket).map_err(|error| error.at("bucket"))?;
    let storage = native.storage_of(&bucket).await?.id;
    let short = |text: Option<String>, usual: &str, field: &'static str| {
        wire::words(text.unwrap_or_else(|| usual.to_owned()), field, 64)
    };
    let dataset = Dataset {
        // The store makes the id.
        id: DatasetId::from_bytes([0; 16]),
        name: wire::named::<Name>(&fields.name, "name")?,
        topic: wire::named::<Name>(&fields.topic, "topic")?,
        description: wire::words(fields.description.unwrap_or_default(), "description", 1000)?,
        storage,
        bucket,
        path: Path::directory(fields.prefix.as_bytes()).map_err(|error| error.at("prefix"))?,
        format: short(fields.format, "parquet", "format")?,
        frequency: short(fields.frequency, "daily", "frequency")?,
        version: short(fields.version, "1", "version")?,
        deprecated: fields.deprecated.unwrap_or(false),
    };
    let id = native.shared.registry.create_dataset(dataset.clone(), call.now).await?;
    Reply::made(&DatasetShown::of(&Dataset { id, ..dataset }))
}

impl Native {
    /// The store a bucket is in.
    pub(super) async fn storage_of(&self, bucket: &BucketName) -> Result<Storage, Error> {
        let registry = &self.shared.registry;
        let missing = || Error::not_found(Noun::Bucket).at("bucket");
        let id = registry.buckets().await?.into_iter().find(|(known, _)| known == bucket).ok_or_else(missing)?.1;
        registry
            .storages()
            .await?
            .into_iter()
            .find(|storage| storage.id == id)
            .ok_or_else(|| Error::internal(format!("the bucket `{bucket}` names a store that is gone")))
    }
}
