//! `GET /v1/datasets`: what there is, by topic, and what of it the caller's credentials will open. Also for teams that may
//! open nothing: for these nothing is vended.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use valetkey_core::Error;
use valetkey_core::account::Standing;
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::scope::{Action, Path, Paths};
use valetkey_core::snapshot::{Bundle, Snapshot};
use valetkey_core::storage::StorageKind;

use super::TheirStack;
use super::urls::{Opened, Rows};
use crate::edge::{Call, Reply};

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
    /// Not published: which bucket it lies in, as the credentials route takes it. Withheld as what follows.
    bucket_name: Option<&'a str>,
    /// Withheld from who may not open it, as everything that follows.
    dataset_prefix: Option<String>,
    dataset_url: Option<String>,
    dictionary_url: Option<String>,
    sample_dataset_url: Option<String>,
    last_updated: Option<Instant>,
    size: Option<u64>,
}

/// An instant in whole seconds with `Z`.
pub(super) struct Instant(pub(super) Timestamp);

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.0}", self.0))
    }
}

/// The bundle that opens a dataset, if the credentials route would give one that does.
fn bundle_of<'b>(dataset: &Dataset, bundles: &'b [Bundle]) -> Option<(usize, &'b Bundle)> {
    bundles.iter().enumerate().find(|(_, bundle)| {
        bundle.storage == dataset.storage
            && *bundle.rights.bucket() == dataset.bucket
            && bundle.rights.paths_of(Action::GetObject).is_some_and(|paths| paths.cover_path(&dataset.path))
    })
}

pub(super) async fn list(own: Arc<TheirStack>, call: Call) -> Result<Reply, Error> {
    let directory = &own.shared.vending.directory;
    let snapshot = directory.account(call.caller.account, call.now).await?;
    let datasets = own.shared.registry.datasets().await?;
    // What the credentials route would vend, so that the list never promises more than the keys open.
    let bundles = match snapshot.account().standing {
        Standing::Active => snapshot.bundles(&call.caller, &call.facts(), call.now),
        Standing::Suspended => Arc::from([]),
    };
    // Whoever asks for the headers alone gets no credential: nothing is told that would be one.
    let mut rows = match call.method {
        Method::HEAD => Rows::new(),
        _ => rows(&own, &call, &snapshot, &bundles, &datasets).await,
    };
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for (number, dataset) in datasets.iter().enumerate() {
        let open = bundle_of(dataset, &bundles).and_then(|(_, bundle)| snapshot.storage(bundle.storage));
        let group = groups.entry(dataset.topic.as_str()).or_insert_with(|| Group {
            topic: dataset.topic.as_str(),
            description: &dataset.description,
            is_accessible: false,
            options: Vec::new(),
        });
        group.is_accessible |= open.is_some();
        let row = rows.remove(&number).unwrap_or_default();
        group.options.push(Choice {
            id: dataset.id.to_string(),
            description: &dataset.description,
            item_type: "file",
            format: &dataset.format,
            frequency: &dataset.frequency,
            version: &dataset.version,
            is_deprecated: dataset.deprecated,
            bucket_name: open.is_some().then(|| dataset.bucket.as_str()),
            dataset_prefix: open.map(|storage| prefix(&dataset.path, storage.kind)).transpose()?,
            dataset_url: row.dataset_url,
            dictionary_url: row.dictionary_url,
            sample_dataset_url: row.sample_dataset_url,
            last_updated: row.newest.as_ref().map(|file| Instant(file.modified)),
            size: row.newest.as_ref().map(|file| file.size),
        });
    }
    Reply::json(&groups.into_values().collect::<Vec<_>>())
}

/// What the datasets that are open show, bucket by bucket.
async fn rows(
    own: &Arc<TheirStack>,
    call: &Call,
    snapshot: &Snapshot,
    bundles: &[Bundle],
    datasets: &[Dataset],
) -> Rows {
    let mut opened: BTreeMap<usize, Opened> = BTreeMap::new();
    for (number, dataset) in datasets.iter().enumerate() {
        let Some((at, bundle)) = bundle_of(dataset, bundles) else { continue };
        let Some(storage) = snapshot.storage(bundle.storage) else { continue };
        let opened = opened.entry(at).or_insert_with(|| Opened {
            caller: Arc::clone(&call.caller),
            storage: Arc::clone(storage),
            rights: Arc::clone(&bundle.rights),
            datasets: Vec::new(),
        });
        opened.datasets.push((number, dataset.clone()));
    }
    super::urls::rows(own, opened.into_values()).await
}

/// The paths of a credential as the published field has them. An object is its key, a raw prefix stands as it is, and the whole
/// bucket is the empty prefix.
pub(super) fn prefixes(paths: &Paths, kind: StorageKind) -> Result<Vec<String>, Error> {
    match paths {
        Paths::Whole => Ok(vec![String::new()]),
        Paths::Only(set) => set.iter().map(|path| prefix(&path, kind)).collect(),
    }
}

/// A path as the published fields have it: a directory without its last slash, as published, where a listing of that is
/// opened; elsewhere with it, because clients list what they are told.
fn prefix(path: &Path, kind: StorageKind) -> Result<String, Error> {
    let mut bytes = path.bytes().to_vec();
    match path {
        Path::Directory(_) if !kind.is_ours() => bytes.push(b'/'),
        Path::Directory(_) | Path::Object(_) | Path::Prefix(_) => {}
    }
    // Paths come from JSON, so one that is no text was not put there through an API.
    String::from_utf8(bytes).map_err(|_| {
        Error::internal(format!("the path `{}` is not UTF-8 and has no place in JSON", path.bytes().escape_ascii()))
    })
}
