//! From the kernel's words to ours: what a snapshot is, and the files its replay leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use delta_kernel::arrow::array::{Array, ArrayRef, AsArray as _, MapArray, RecordBatch, StructArray};
use delta_kernel::arrow::datatypes::{Int32Type, Int64Type};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::table_features::{Operation, TableFeature};
use valetkey_core::nouns::table::{
    AddedFile, DeletionVector, TableMetadata, TablePlace, TableProtocol, TableSnapshot, Unserved,
};

use crate::cache::weight_of;
use crate::engine::{LogEngine, Most};
use crate::places::{vector_file, whereabouts};
use crate::unserved::Refused;

/// A snapshot in our words. Refuses one whose files the kernel could not read.
pub(crate) fn described(snapshot: &Snapshot) -> Result<TableSnapshot, Refused> {
    let configuration = snapshot.table_configuration();
    configuration.ensure_operation_supported(Operation::Scan)?;
    let (protocol, metadata) = (configuration.protocol(), configuration.metadata());
    let version_of =
        |version: i32| u32::try_from(version).map_err(|_| Unserved::Broken(format!("a protocol version of {version}")));
    let names = |features: &[TableFeature]| features.iter().map(ToString::to_string).collect::<Vec<_>>();
    let sorted = |map: &std::collections::HashMap<String, String>| {
        map.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let known = snapshot.get_file_stats_if_present();
    Ok(TableSnapshot {
        version: snapshot.version(),
        protocol: TableProtocol {
            min_reader_version: version_of(protocol.min_reader_version())?,
            min_writer_version: version_of(protocol.min_writer_version())?,
            reader_features: protocol.reader_features().map(names),
            writer_features: protocol.writer_features().map(names),
        },
        metadata: TableMetadata {
            id: metadata.id().to_owned(),
            name: metadata.name().map(str::to_owned),
            description: metadata.description().map(str::to_owned),
            format_provider: metadata.format_provider().to_owned(),
            format_options: sorted(metadata.format_options()),
            schema: metadata.schema_string().clone(),
            partition_columns: metadata.partition_columns().to_vec(),
            configuration: sorted(metadata.configuration()),
            created_ms: metadata.created_time(),
        },
        size: known.as_ref().and_then(|stats| u64::try_from(stats.table_size_bytes()).ok()),
        files: known.as_ref().and_then(|stats| u64::try_from(stats.num_files()).ok()),
    })
}

/// The files of a snapshot, in the order of their paths.
pub(crate) fn files(engine: &LogEngine, snapshot: &SnapshotRef, most: Most) -> Result<Arc<[AddedFile]>, Refused> {
    let scan = Arc::clone(snapshot).scan_builder().without_row_transforms().build()?;
    let mut files = Vec::new();
    let mut bytes = 0usize;
    for batch in scan.scan_metadata(engine)? {
        let (data, selected) = batch?.scan_files.into_parts();
        let batch: RecordBatch = ArrowEngineData::try_from_engine_data(data)?.into();
        let rows = Rows::of(&batch).ok_or_else(|| Unserved::Broken("rows of an unexpected shape".to_owned()))?;
        for row in 0..batch.num_rows() {
            if selected.get(row).copied().unwrap_or(true) {
                let file = rows.file(&engine.files.place, row);
                let file = file.ok_or_else(|| Unserved::Broken("a file with neither path nor size".to_owned()))?;
                bytes = bytes.saturating_add(weight_of(&file));
                files.push(file);
            }
            if files.len() > most.files {
                return Err(Unserved::TooMuch("files").into());
            }
            if bytes > most.bytes {
                return Err(Unserved::TooMuch("bytes of entries").into());
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files.into())
}

/// The columns of a batch of the kernel's scan rows.
struct Rows<'b> {
    path: &'b ArrayRef,
    size: &'b ArrayRef,
    modified: &'b ArrayRef,
    stats: &'b ArrayRef,
    vector: &'b StructArray,
    partition_values: &'b MapArray,
    tags: &'b MapArray,
    base_row_id: &'b ArrayRef,
    default_row_commit_version: &'b ArrayRef,
    clustering_provider: &'b ArrayRef,
}

impl<'b> Rows<'b> {
    fn of(batch: &'b RecordBatch) -> Option<Self> {
        let constants = batch.column_by_name("fileConstantValues")?.as_struct_opt()?;
        Some(Self {
            path: batch.column_by_name("path")?,
            size: batch.column_by_name("size")?,
            modified: batch.column_by_name("modificationTime")?,
            stats: batch.column_by_name("stats")?,
            vector: batch.column_by_name("deletionVector")?.as_struct_opt()?,
            partition_values: constants.column_by_name("partitionValues")?.as_map_opt()?,
            tags: constants.column_by_name("tags")?.as_map_opt()?,
            base_row_id: constants.column_by_name("baseRowId")?,
            default_row_commit_version: constants.column_by_name("defaultRowCommitVersion")?,
            clustering_provider: constants.column_by_name("clusteringProvider")?,
        })
    }

    fn file(&self, place: &TablePlace, row: usize) -> Option<AddedFile> {
        let path = text(self.path, row)?;
        Some(AddedFile {
            place: whereabouts(place, &path),
            path,
            partition_values: map(self.partition_values, row)?,
            size: u64::try_from(long(self.size, row)?).ok()?,
            modified_ms: long(self.modified, row)?,
            data_change: true,
            stats: text(self.stats, row),
            tags: map(self.tags, row)?,
            base_row_id: long(self.base_row_id, row),
            default_row_commit_version: long(self.default_row_commit_version, row),
            clustering_provider: text(self.clustering_provider, row),
            deletion_vector: if self.has_vector(row) { Some(self.vector(place, row)?) } else { None },
        })
    }

    /// The deletion vector of a row that has one.
    fn vector(&self, place: &TablePlace, row: usize) -> Option<DeletionVector> {
        let column = |name| self.vector.column_by_name(name);
        let storage_type = text(column("storageType")?, row)?;
        let path_or_inline_dv = text(column("pathOrInlineDv")?, row)?;
        Some(DeletionVector {
            file: vector_file(place, &storage_type, &path_or_inline_dv),
            storage_type,
            path_or_inline_dv,
            offset: int(column("offset")?, row),
            size_in_bytes: int(column("sizeInBytes")?, row)?,
            cardinality: long(column("cardinality")?, row)?,
        })
    }

    /// Whether a row has a deletion vector: as parquet may say it, one without a type is none.
    fn has_vector(&self, row: usize) -> bool {
        !self.vector.is_null(row)
            && self.vector.column_by_name("storageType").is_some_and(|storage_type| !storage_type.is_null(row))
    }
}

fn text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let value = if let Some(array) = array.as_string_opt::<i32>() {
        array.value(row)
    } else if let Some(array) = array.as_string_opt::<i64>() {
        array.value(row)
    } else {
        array.as_string_view_opt()?.value(row)
    };
    Some(value.to_owned())
}

fn long(array: &ArrayRef, row: usize) -> Option<i64> {
    array.as_primitive_opt::<Int64Type>().filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

fn int(array: &ArrayRef, row: usize) -> Option<i32> {
    array.as_primitive_opt::<Int32Type>().filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

fn map(array: &MapArray, row: usize) -> Option<BTreeMap<String, Option<String>>> {
    if array.is_null(row) {
        return Some(BTreeMap::new());
    }
    let entries = array.value(row);
    let [keys, values] = entries.columns() else { return None };
    (0..entries.len()).map(|entry| Some((text(keys, entry)?, text(values, entry)))).collect()
}
