//! Datasets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::{Whom, given};

/// A dataset to be added.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetRequest {
    /// Its name, unique on this server.
    pub name: String,
    /// The group it is listed under.
    pub topic: String,
    /// A sentence for people; empty if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its bucket.
    pub bucket: String,
    /// Its directory, without the last slash.
    pub prefix: String,
    /// The files' format; `parquet` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How often it is renewed; `daily` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// The version of its layout; `1` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether another takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// Which of its files is the newest one: `time` (written last; if not given) or `key` (its key comes last).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// The key of the object, in its bucket, that explains its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<String>,
    /// The key of the object, in its bucket, that shows a few of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
}

/// What to change of a dataset; what is not given stays. Its place cannot be changed: grants were given of it.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetChange {
    /// Its name, unique on this server.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The group it is listed under.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// A sentence for people.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The files' format.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How often it is renewed.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// The version of its layout.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether another takes its place.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// Which of its files is the newest one: `time` or `key`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// The key of the object that explains its columns; `null` for none.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub dictionary: Whom<String>,
    /// The key of the object that shows a few of its rows; `null` for none.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<String>)]
    pub sample: Whom<String>,
}
