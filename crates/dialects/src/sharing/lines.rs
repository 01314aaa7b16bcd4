//! Answers of several lines: each one JSON object on one line, in the protocol's words or in those of the Delta log.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde::Serialize;
use sha2::Sha256;
use valetkey_core::Error;
use valetkey_core::nouns::table::{
    AddedFile, ChangeFile, DeletionVector, History, RemovedFile, SharedTable, TableMetadata, TableProtocol,
    TableSnapshot,
};

use super::capabilities::{Format, of_the_files};
use super::files::Signed;
use super::listing::AccessShown;

/// The lines of an answer.
pub(super) struct Lines {
    bytes: Vec<u8>,
    format: Format,
    /// How the ids of files are made.
    pub(super) ids: Format,
    history: History,
    access: AccessShown,
}

/// The version a file came with, and when.
#[derive(Clone, Copy)]
pub(super) struct Commit {
    pub(super) version: u64,
    /// Nothing where the log no longer says.
    pub(super) committed_ms: Option<i64>,
}

type Partition<'a> = BTreeMap<&'a str, Option<&'a str>>;

#[derive(Serialize)]
enum Line<'a> {
    #[serde(rename = "protocol", rename_all = "camelCase")]
    Protocol { min_reader_version: u32 },
    #[serde(rename = "protocol", rename_all = "camelCase")]
    DeltaProtocol {
        delta_protocol: ProtocolShown<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    #[serde(rename = "metaData")]
    Metadata(Box<MetadataShown<'a>>),
    #[serde(rename = "metaData")]
    DeltaMetadata(Box<DeltaMetadataShown<'a>>),
    #[serde(rename = "file")]
    File(FileShown<'a>),
    #[serde(rename = "add")]
    Add(FileShown<'a>),
    #[serde(rename = "remove")]
    Remove(FileShown<'a>),
    #[serde(rename = "cdf")]
    Cdf(FileShown<'a>),
    #[serde(rename = "file")]
    Delta(Box<DeltaFile<'a>>),
    #[serde(rename = "endStreamAction", rename_all = "camelCase")]
    End {
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        min_url_expiration_timestamp: Option<i64>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtocolShown<'a> {
    min_reader_version: u32,
    min_writer_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_features: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer_features: Option<&'a [String]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataShown<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    format: FormatShown<'a>,
    schema_string: &'a str,
    partition_columns: &'a [String],
    configuration: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    sizes: Sizes,
    #[serde(flatten)]
    access: AccessShown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sizes {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_files: Option<u64>,
}

#[derive(Serialize)]
struct FormatShown<'a> {
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeltaMetadataShown<'a> {
    delta_metadata: LogMetadata<'a>,
    #[serde(flatten)]
    sizes: Sizes,
    #[serde(flatten)]
    access: AccessShown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogMetadata<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    format: FormatShown<'a>,
    schema_string: &'a str,
    partition_columns: &'a [String],
    configuration: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileShown<'a> {
    url: &'a str,
    id: String,
    /// An empty value is a null.
    partition_values: BTreeMap<&'a str, &'a str>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    expiration_timestamp: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeltaFile<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_vector_file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    expiration_timestamp: i64,
    delta_single_action: Action<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Action<'a> {
    Add(LogFile<'a>),
    Remove(LogFile<'a>),
    Cdc(LogFile<'a>),
}

/// A file as the log has it, with a URL for its path.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogFile<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_values: Option<Partition<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modification_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<i64>,
    data_change: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_file_metadata: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<&'a str>,
    #[serde(skip_serializing_if = "Partition::is_empty")]
    tags: Partition<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_vector: Option<DeletedRows<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_row_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_row_commit_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clustering_provider: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletedRows<'a> {
    storage_type: &'a str,
    path_or_inline_dv: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i32>,
    size_in_bytes: i32,
    cardinality: i64,
}

fn partition(values: &BTreeMap<String, Option<String>>) -> Partition<'_> {
    values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

fn or_empty(values: &BTreeMap<String, Option<String>>) -> BTreeMap<&str, &str> {
    values.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default())).collect()
}

fn deleted_rows<'a>(vector: Option<&'a DeletionVector>, signed: &'a Signed) -> Option<DeletedRows<'a>> {
    let vector = vector?;
    // A file of its own is named absolutely, because the reader has no directory to find it in.
    let (storage_type, path_or_inline_dv) = match &signed.deleted {
        Some(url) => ("p", url.reveal().as_str()),
        None => (vector.storage_type.as_str(), vector.path_or_inline_dv.as_str()),
    };
    let DeletionVector { offset, size_in_bytes, cardinality, .. } = vector;
    Some(DeletedRows {
        storage_type,
        path_or_inline_dv,
        offset: *offset,
        size_in_bytes: *size_in_bytes,
        cardinality: *cardinality,
    })
}

impl Lines {
    pub(super) fn new(format: Format, table: &SharedTable, access: AccessShown) -> Self {
        Self { bytes: Vec::with_capacity(4096), format, ids: format, history: table.history, access }
    }

    /// How many bytes were written since they were last taken.
    pub(super) fn written(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what was written.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), Error> {
        serde_json::to_writer(&mut self.bytes, line)
            .map_err(|error| Error::internal("a line could not be written").caused_by(error))?;
        self.bytes.push(b'\n');
        Ok(())
    }

    /// What a reader must know; with the version it holds from, among others.
    pub(super) fn protocol(&mut self, protocol: &TableProtocol, version: Option<u64>) -> Result<(), Error> {
        match self.format {
            Format::Parquet => self.write(&Line::Protocol { min_reader_version: 1 }),
            Format::Delta => {
                let protocol = of_the_files(protocol);
                self.write(&Line::DeltaProtocol {
                    delta_protocol: ProtocolShown {
                        min_reader_version: protocol.min_reader_version,
                        min_writer_version: protocol.min_writer_version,
                        reader_features: protocol.reader_features.as_deref(),
                        writer_features: protocol.writer_features.as_deref(),
                    },
                    version,
                })
            }
        }
    }

    /// What the table is; with its version where a certain one was asked for.
    pub(super) fn metadata(&mut self, table: &TableSnapshot, version: Option<u64>) -> Result<(), Error> {
        let TableSnapshot { version: _, protocol: _, metadata, size, files } = table;
        self.metadata_of(metadata, version, *size, *files)
    }

    /// What the table is, from a version on.
    pub(super) fn metadata_of(
        &mut self,
        metadata: &TableMetadata,
        version: Option<u64>,
        size: Option<u64>,
        num_files: Option<u64>,
    ) -> Result<(), Error> {
        let TableMetadata {
            id,
            name,
            description,
            format_provider,
            format_options,
            schema,
            partition_columns,
            configuration,
            created_ms,
        } = metadata;
        let shared = self.history == History::Shared;
        let sizes = Sizes { version, size, num_files };
        let (name, description, provider) = (name.as_deref(), description.as_deref(), format_provider.as_str());
        let access = self.access.clone();
        let line = match self.format {
            Format::Parquet => Line::Metadata(Box::new(MetadataShown {
                id,
                name,
                description,
                format: FormatShown { provider, options: None },
                schema_string: schema,
                partition_columns,
                configuration: (shared && metadata.keeps_changes())
                    .then_some(("enableChangeDataFeed", "true"))
                    .into_iter()
                    .collect(),
                sizes,
                access,
            })),
            Format::Delta => Line::DeltaMetadata(Box::new(DeltaMetadataShown {
                delta_metadata: LogMetadata {
                    id,
                    name,
                    description,
                    format: FormatShown { provider, options: Some(format_options) },
                    schema_string: schema,
                    partition_columns,
                    configuration,
                    created_time: *created_ms,
                },
                sizes,
                access,
            })),
        };
        self.write(&line)
    }

    fn id(&self, path: &str) -> String {
        match self.ids {
            Format::Parquet => HEXLOWER.encode(&Md5::digest(path.as_bytes())),
            Format::Delta => HEXLOWER.encode(&Sha256::digest(path.as_bytes())),
        }
    }

    fn shown<'a>(
        &self,
        path: &str,
        values: Option<&'a BTreeMap<String, Option<String>>>,
        size: u64,
        signed: &'a Signed,
        commit: Option<Commit>,
    ) -> FileShown<'a> {
        FileShown {
            url: signed.url.reveal(),
            id: self.id(path),
            partition_values: values.map(or_empty).unwrap_or_default(),
            size,
            stats: None,
            version: commit.map(|commit| commit.version),
            timestamp: commit.and_then(|commit| commit.committed_ms),
            expiration_timestamp: signed.until.as_millisecond(),
        }
    }

    fn delta<'a>(
        &self,
        path: &str,
        vector: Option<&DeletionVector>,
        signed: &Signed,
        commit: Option<Commit>,
        action: Action<'a>,
    ) -> Line<'a> {
        let vector = vector.filter(|_| signed.deleted.is_some());
        Line::Delta(Box::new(DeltaFile {
            id: self.id(path),
            deletion_vector_file_id: vector
                .map(|own| self.id(&format!("{}{}", own.storage_type, own.path_or_inline_dv))),
            version: commit.map(|commit| commit.version),
            timestamp: commit.and_then(|commit| commit.committed_ms),
            expiration_timestamp: signed.until.as_millisecond(),
            delta_single_action: action,
        }))
    }

    /// A file that a version has; with that version where a certain one was asked for.
    pub(super) fn file(&mut self, file: &AddedFile, signed: &Signed, of: Option<Commit>) -> Result<(), Error> {
        self.with_file(file, signed, of, Line::File)
    }

    /// A file that a commit added.
    pub(super) fn added(&mut self, file: &AddedFile, signed: &Signed, commit: Commit) -> Result<(), Error> {
        self.with_file(file, signed, Some(commit), Line::Add)
    }

    fn with_file<'a>(
        &mut self,
        file: &'a AddedFile,
        signed: &'a Signed,
        commit: Option<Commit>,
        line: fn(FileShown<'a>) -> Line<'a>,
    ) -> Result<(), Error> {
        let line = match self.format {
            Format::Parquet => {
                let shown = self.shown(&file.path, Some(&file.partition_values), file.size, signed, commit);
                line(FileShown { stats: file.stats.as_deref(), ..shown })
            }
            Format::Delta => {
                let action = Action::Add(LogFile {
                    path: signed.url.reveal(),
                    partition_values: Some(partition(&file.partition_values)),
                    size: Some(file.size),
                    modification_time: Some(file.modified_ms),
                    data_change: file.data_change,
                    stats: file.stats.as_deref(),
                    tags: partition(&file.tags),
                    deletion_vector: deleted_rows(file.deletion_vector.as_ref(), signed),
                    base_row_id: file.base_row_id,
                    default_row_commit_version: file.default_row_commit_version,
                    clustering_provider: file.clustering_provider.as_deref(),
                    ..LogFile::default()
                });
                self.delta(&file.path, file.deletion_vector.as_ref(), signed, commit, action)
            }
        };
        self.write(&line)
    }

    /// A file that a commit removed.
    pub(super) fn removed(&mut self, file: &RemovedFile, signed: &Signed, commit: Commit) -> Result<(), Error> {
        let values = file.partition_values.as_ref();
        let line = match self.format {
            Format::Parquet => {
                Line::Remove(self.shown(&file.path, values, file.size.unwrap_or(0), signed, Some(commit)))
            }
            Format::Delta => {
                let action = Action::Remove(LogFile {
                    path: signed.url.reveal(),
                    partition_values: values.map(partition),
                    size: file.size,
                    deletion_timestamp: file.deleted_ms,
                    data_change: file.data_change,
                    extended_file_metadata: file.extended,
                    stats: file.stats.as_deref(),
                    tags: partition(&file.tags),
                    deletion_vector: deleted_rows(file.deletion_vector.as_ref(), signed),
                    base_row_id: file.base_row_id,
                    default_row_commit_version: file.default_row_commit_version,
                    ..LogFile::default()
                });
                self.delta(&file.path, file.deletion_vector.as_ref(), signed, Some(commit), action)
            }
        };
        self.write(&line)
    }

    /// A file of the rows that a commit changed.
    pub(super) fn changed(&mut self, file: &ChangeFile, signed: &Signed, commit: Commit) -> Result<(), Error> {
        let line = match self.format {
            Format::Parquet => {
                Line::Cdf(self.shown(&file.path, Some(&file.partition_values), file.size, signed, Some(commit)))
            }
            Format::Delta => {
                let action = Action::Cdc(LogFile {
                    path: signed.url.reveal(),
                    partition_values: Some(partition(&file.partition_values)),
                    size: Some(file.size),
                    tags: partition(&file.tags),
                    ..LogFile::default()
                });
                self.delta(&file.path, None, signed, Some(commit), action)
            }
        };
        self.write(&line)
    }

    /// The last line: the answer is whole.
    pub(super) fn end(&mut self, until: Option<Timestamp>, refresh_token: Option<&str>) -> Result<(), Error> {
        let min_url_expiration_timestamp = until.map(Timestamp::as_millisecond);
        self.write(&Line::End { refresh_token, min_url_expiration_timestamp })
    }
}
