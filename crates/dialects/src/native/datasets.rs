//! Datasets: `/api/v1/datasets`, `/api/v1/datasets/{dataset}`. Made by operators.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::error::Noun;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::{Dataset, NewDataset, Newest};
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::nouns::table::Key;
use valetkey_core::scope::{Actions, Path, Paths};
use valetkey_core::{Error, Kind};

use super::api::datasets::{DatasetChange, DatasetRequest};
use super::api::given::Whom;
use super::buckets::carried;
use super::error::Problem;
use super::removal::{Removal, Said};
use super::state::Native;
use super::{lists, wire};
use crate::edge::{Authority, Call, Reply, json};

/// A dataset.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetResponse {
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
    /// Which of its files is the newest one: `time` (written last) or `key` (its key comes last).
    newest: &'static str,
    /// The key of the object that explains its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    dictionary: Option<String>,
    /// The key of the object that shows a few of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<String>,
}

impl DatasetResponse {
    fn of(dataset: &Dataset) -> Self {
        let Dataset { id, name, topic, description, storage: _, bucket, path, format, frequency, version, .. } =
            dataset;
        let Dataset { deprecated, newest, dictionary, sample, .. } = dataset;
        let text = |key: &Option<Key>| key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
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
            newest: newest.as_str(),
            dictionary: text(dictionary),
            sample: text(sample),
        }
    }
}

/// Datasets.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetList {
    datasets: Vec<DatasetResponse>,
}

/// Lists the catalogue. For operators: it names buckets. Callers see theirs as grants.
#[utoipa::path(get, operation_id = "list_datasets", path = "/api/v1/datasets", tag = "places", params(
    ("bucket" = Option<String>, Query, description = "Only those in this bucket"),
), responses(
    (status = 200, description = "Datasets", body = DatasetList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let bucket = lists::bucket(&call.query)?;
    let datasets = native.shared.registry.datasets().await?;
    let meant = datasets.iter().filter(|dataset| bucket.as_ref().is_none_or(|bucket| dataset.bucket == *bucket));
    Reply::json(&DatasetList { datasets: meant.map(DatasetResponse::of).collect() })
}

/// Which file of a dataset is the newest, as it is written.
fn newest(text: Option<&str>) -> Result<Newest, Error> {
    text.map_or(Some(Newest::ByTime), Newest::parse)
        .ok_or_else(|| Error::new(Kind::Invalid, "the newest file is chosen by `time` or by `key`").at("newest"))
}

/// The key of an object beside a dataset's files.
fn beside(text: Option<&str>, field: &'static str) -> Result<Option<Key>, Error> {
    let Some(text) = text else { return Ok(None) };
    if text.ends_with('/') {
        return Err(Error::new(Kind::Invalid, "an object's key is wanted, not a directory").at(field));
    }
    Path::object(text.as_bytes()).map(|path| Some(path.bytes().into())).map_err(|error| error.at(field))
}

/// Adds a dataset to the catalogue. For operators.
#[utoipa::path(post, operation_id = "create_dataset", path = "/api/v1/datasets", tag = "places", request_body = DatasetRequest, responses(
    (status = 201, description = "The dataset", body = DatasetResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: DatasetRequest = json(&call.body)?;
    let bucket = BucketName::parse(&fields.bucket).map_err(|error| error.at("bucket"))?;
    let storage = native.storage_of(&bucket).await?;
    let short = |text: Option<String>, usual: &str, field: &'static str| {
        wire::words(text.unwrap_or_else(|| usual.to_owned()), field, 64)
    };
    let new = NewDataset {
        id: (),
        name: wire::named::<Name>(&fields.name, "name")?,
        topic: wire::named::<Name>(&fields.topic, "topic")?,
        description: wire::words(fields.description.unwrap_or_default(), "description", 1000)?,
        storage: storage.id,
        bucket,
        path: Path::directory(fields.prefix.as_bytes()).map_err(|error| error.at("prefix"))?,
        format: short(fields.format, "parquet", "format")?,
        frequency: short(fields.frequency, "daily", "frequency")?,
        version: short(fields.version, "1", "version")?,
        deprecated: fields.deprecated.unwrap_or(false),
        newest: newest(fields.newest.as_deref())?,
        dictionary: beside(fields.dictionary.as_deref(), "dictionary")?,
        sample: beside(fields.sample.as_deref(), "sample")?,
    };
    carried(&storage, "datasets are vended through")?;
    let paths = Paths::only([&new.path])?;
    native.opens(&storage, (&new.bucket, paths, Actions::READ), "a dataset's directory", "prefix")?;
    let id = native.shared.registry.by(authority).create_dataset(new.clone(), call.now).await?;
    Reply::made(&DatasetResponse::of(&new.stored(id)))
}

/// Takes a dataset out of the catalogue, with the grants that were given as it if that is said; its objects stay. For operators.
#[utoipa::path(delete, operation_id = "remove_dataset", path = "/api/v1/datasets/{dataset}", tag = "places", params(
    ("dataset" = String, Path, description = "Its name or id"),
    ("cascade" = Option<bool>, Query, description = "Also what needs it; without it such a thing is refused and names it"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is gone, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let dataset = native.dataset(call.params.get("dataset")?).await?;
    Reply::json(&native.removed(&call, authority, &Thing::Dataset(dataset.id), said).await?)
}

/// Changes what is said of a dataset. For operators.
#[utoipa::path(patch, operation_id = "change_dataset", path = "/api/v1/datasets/{dataset}", tag = "places", request_body = DatasetChange, params(
    ("dataset" = String, Path, description = "Its name or id"),
), responses(
    (status = 200, description = "The dataset", body = DatasetResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: DatasetChange = json(&call.body)?;
    let DatasetChange { name, topic, description, format, frequency, version, deprecated, .. } = fields;
    let (newest_given, dictionary, sample) = (fields.newest, fields.dictionary, fields.sample);
    let before = native.dataset(call.params.get("dataset")?).await?;
    let mut dataset = before.clone();
    if let Some(name) = name {
        dataset.name = wire::named::<Name>(&name, "name")?;
    }
    if let Some(topic) = topic {
        dataset.topic = wire::named::<Name>(&topic, "topic")?;
    }
    if let Some(description) = description {
        dataset.description = wire::words(description, "description", 1000)?;
    }
    for (own, given, field) in [
        (&mut dataset.format, format, "format"),
        (&mut dataset.frequency, frequency, "frequency"),
        (&mut dataset.version, version, "version"),
    ] {
        if let Some(given) = given {
            *own = wire::words(given, field, 64)?;
        }
    }
    dataset.deprecated = deprecated.unwrap_or(dataset.deprecated);
    if newest_given.is_some() {
        dataset.newest = newest(newest_given.as_deref())?;
    }
    for (own, given, field) in
        [(&mut dataset.dictionary, dictionary, "dictionary"), (&mut dataset.sample, sample, "sample")]
    {
        match given {
            Whom::Unsaid => {}
            Whom::Everyone => *own = None,
            Whom::Named(key) => *own = beside(Some(&key), field)?,
        }
    }
    let by = authority.by();
    // These are no matter of files.
    let (dictionary, sample) = (before.dictionary.clone(), before.sample.clone());
    if (Dataset { dictionary, sample, ..dataset.clone() }) != before {
        native.by_hand(&call, authority, &[Thing::Dataset(before.id)]).await?;
    }
    native.shared.registry.by(authority).change(&Amendment::Dataset(dataset.clone()), false, by).await?;
    Reply::json(&DatasetResponse::of(&dataset))
}

impl Native {
    /// The dataset that is named by its name or id.
    pub(super) async fn dataset(&self, text: &str) -> Result<Dataset, Error> {
        let datasets = self.shared.registry.datasets().await?;
        let found = datasets.iter().find(|dataset| dataset.name.as_str() == text || dataset.id.to_string() == text);
        found.cloned().ok_or_else(|| Error::not_found(Noun::Dataset).at("dataset"))
    }
}
