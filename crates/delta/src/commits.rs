//! What single commits did: their files, read as the lines of JSON they are.

use std::collections::BTreeMap;

use serde::Deserialize;
use valetkey_core::nouns::table::{
    AddedFile, ChangeFile, DeletionVector, FileAction, RemovedFile, TableCommit, TableMetadata, TablePlace,
    TableProtocol, Unserved,
};

use crate::places::{vector_file, whereabouts};
use crate::unserved::Refused;

type Texts = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    commit_info: Option<CommitInfo>,
    protocol: Option<Protocol>,
    meta_data: Option<Metadata>,
    add: Option<Add>,
    remove: Option<Remove>,
    cdc: Option<Cdc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitInfo {
    in_commit_timestamp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protocol {
    min_reader_version: u32,
    min_writer_version: u32,
    reader_features: Option<Vec<String>>,
    writer_features: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Format {
    provider: String,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    id: String,
    name: Option<String>,
    description: Option<String>,
    format: Format,
    schema_string: String,
    partition_columns: Vec<String>,
    configuration: Option<BTreeMap<String, String>>,
    created_time: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    storage_type: String,
    path_or_inline_dv: String,
    offset: Option<i32>,
    size_in_bytes: i32,
    cardinality: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    partition_values: Option<Texts>,
    size: u64,
    modification_time: i64,
    data_change: bool,
    stats: Option<String>,
    tags: Option<Texts>,
    base_row_id: Option<i64>,
    default_row_commit_version: Option<i64>,
    clustering_provider: Option<String>,
    deletion_vector: Option<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remove {
    path: String,
    deletion_timestamp: Option<i64>,
    data_change: bool,
    extended_file_metadata: Option<bool>,
    partition_values: Option<Texts>,
    size: Option<u64>,
    stats: Option<String>,
    tags: Option<Texts>,
    base_row_id: Option<i64>,
    default_row_commit_version: Option<i64>,
    deletion_vector: Option<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cdc {
    path: String,
    partition_values: Option<Texts>,
    size: u64,
    tags: Option<Texts>,
}

impl From<Protocol> for TableProtocol {
    fn from(protocol: Protocol) -> Self {
        let Protocol { min_reader_version, min_writer_version, reader_features, writer_features } = protocol;
        Self { min_reader_version, min_writer_version, reader_features, writer_features }
    }
}

impl From<Metadata> for TableMetadata {
    fn from(metadata: Metadata) -> Self {
        let Metadata { id, name, description, format, schema_string, partition_columns, configuration, created_time } =
            metadata;
        Self {
            id,
            name,
            description,
            format_provider: format.provider,
            format_options: format.options.unwrap_or_default(),
            schema: schema_string,
            partition_columns,
            configuration: configuration.unwrap_or_default(),
            created_ms: created_time,
        }
    }
}

impl Vector {
    fn at(self, place: &TablePlace) -> DeletionVector {
        let Self { storage_type, path_or_inline_dv, offset, size_in_bytes, cardinality } = self;
        let file = vector_file(place, &storage_type, &path_or_inline_dv);
        DeletionVector { storage_type, path_or_inline_dv, offset, size_in_bytes, cardinality, file }
    }
}

impl Add {
    fn at(self, place: &TablePlace) -> AddedFile {
        AddedFile {
            place: whereabouts(place, &self.path),
            path: self.path,
            partition_values: self.partition_values.unwrap_or_default(),
            size: self.size,
            modified_ms: self.modification_time,
            data_change: self.data_change,
            stats: self.stats,
            tags: self.tags.unwrap_or_default(),
            base_row_id: self.base_row_id,
            default_row_commit_version: self.default_row_commit_version,
            clustering_provider: self.clustering_provider,
            deletion_vector: self.deletion_vector.map(|vector| vector.at(place)),
        }
    }
}

impl Remove {
    fn at(self, place: &TablePlace) -> RemovedFile {
        RemovedFile {
            place: whereabouts(place, &self.path),
            path: self.path,
            deleted_ms: self.deletion_timestamp,
            data_change: self.data_change,
            extended: self.extended_file_metadata,
            partition_values: self.partition_values,
            size: self.size,
            stats: self.stats,
            tags: self.tags.unwrap_or_default(),
            base_row_id: self.base_row_id,
            default_row_commit_version: self.default_row_commit_version,
            deletion_vector: self.deletion_vector.map(|vector| vector.at(place)),
        }
    }
}

impl Cdc {
    fn at(self, place: &TablePlace) -> ChangeFile {
        ChangeFile {
            place: whereabouts(place, &self.path),
            path: self.path,
            partition_values: self.partition_values.unwrap_or_default(),
            size: self.size,
            tags: self.tags.unwrap_or_default(),
        }
    }
}

/// Which of a commit's files are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Those it added and removed.
    Files,
    /// The rows it changed, if it wrote them down; else those it added and removed.
    Changes,
}

/// A commit and the time it says it was made, if it says one.
pub(crate) struct Read {
    pub(crate) commit: TableCommit,
    pub(crate) in_commit_ms: Option<i64>,
}

/// Reads a commit's file.
pub(crate) fn read(place: &TablePlace, version: u64, bytes: &[u8], told: Told) -> Result<Read, Refused> {
    let mut commit = TableCommit { version, committed_ms: 0, protocol: None, metadata: None, actions: Vec::new() };
    let (mut in_commit_ms, mut changes) = (None, Vec::new());
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| Unserved::Broken(format!("commit {version}, line {}: {error}", number + 1)))?;
        if let Some(info) = line.commit_info {
            in_commit_ms = in_commit_ms.or(info.in_commit_timestamp);
        }
        if let Some(protocol) = line.protocol {
            commit.protocol = Some(protocol.into());
        }
        if let Some(metadata) = line.meta_data {
            commit.metadata = Some(metadata.into());
        }
        if let Some(add) = line.add.filter(|add| add.data_change) {
            commit.actions.push(FileAction::Add(add.at(place)));
        }
        if let Some(remove) = line.remove.filter(|remove| remove.data_change) {
            commit.actions.push(FileAction::Remove(remove.at(place)));
        }
        if let Some(cdc) = line.cdc {
            changes.push(FileAction::Cdc(cdc.at(place)));
        }
    }
    if told == Told::Changes && !changes.is_empty() {
        commit.actions = changes;
    }
    Ok(Read { commit, in_commit_ms })
}
