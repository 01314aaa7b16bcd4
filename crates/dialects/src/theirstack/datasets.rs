//! `GET /v1/datasets`: what there is, by topic, and what of it the caller's credentials will open. Also for teams that may
//! open nothing: listing vends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use valetkey_core::Error;
use valetkey_core::account::Standing;
use valetkey_core::dataset::Dataset;
use valetkey_core::scope::Action;

use crate::edge::{Call, Reply, Shared};

#[derive(Serialize)]
struct Group<'a> {
    #[serde(rename = "type")]
    topic: &'a str,
    description: &'a str,
    is_accessible: bool,
    options: Vec<Choice<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    id: String,
    description: &'a str,
    item_type: &'static str,
    format: &'a str,
    frequency: &'a str,
    version: &'a str,
    is_deprecated: bool,
    /// Withheld from who may not open it.
    dataset_prefix: Option<String>,
    /// Needs presigned links to the newest file, which we do not make (yet), as the next two.
    dataset_url: Option<String>,
    dictionary_url: Option<String>,
    sample_dataset_url: Option<String>,
    /// Not known: nothing here reads the bucket.
    last_updated: Option<String>,
    size: Option<u64>,
}

pub(super) async fn list(shared: Arc<Shared>, call: Call) -> Result<Reply, Error> {
    let snapshot = shared.desk.directory.account(call.caller.account, call.now).await?;
    let datasets = shared.desk.directory.datasets().await?;
    // What the credentials route would vend, so that the list never promises more than the keys open.
    let bundles = match snapshot.account().standing {
        Standing::Active => snapshot.bundles(&call.caller, call.now),
        Standing::Suspended => Arc::from([]),
    };
    let opens = |dataset: &Dataset| {
        bundles.iter().any(|bundle| {
            bundle.storage == dataset.storage
                && *bundle.scope.bucket() == dataset.bucket
                && bundle.scope.actions().contains(Action::GetObject)
                && bundle.scope.paths().cover_path(&dataset.path)
        })
    };
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for dataset in datasets.iter() {
        let open = opens(dataset);
        let group = groups.entry(dataset.topic.as_str()).or_insert_with(|| Group {
            topic: dataset.topic.as_str(),
            description: &dataset.description,
            is_accessible: false,
            options: Vec::new(),
        });
        group.is_accessible |= open;
        group.options.push(Choice {
            id: dataset.id.to_string(),
            description: &dataset.description,
            item_type: "file",
            format: &dataset.format,
            frequency: &dataset.frequency,
            version: &dataset.version,
            is_deprecated: dataset.deprecated,
            dataset_prefix: if open { Some(text(dataset.path.bytes())?) } else { None },
            dataset_url: None,
            dictionary_url: None,
            sample_dataset_url: None,
            last_updated: None,
            size: None,
        });
    }
    Reply::json(&groups.into_values().collect::<Vec<_>>())
}

/// A path as JSON can carry it. Paths come from JSON, so one that is no text was not put there through an API.
pub(super) fn text(path: &[u8]) -> Result<String, Error> {
    String::from_utf8(path.to_vec()).map_err(|_| {
        Error::internal(format!("the path `{}` is not UTF-8 and has no place in JSON", path.escape_ascii()))
    })
}
