//! The engine under the kernel: it reads logs through our own port, one table's log at a time, and writes nothing.
//!
//! SECURITY: a log can name other files of the log by absolute URLs. Whatever it names, nothing outside `_delta_log` of
//! the table is ever read here.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use delta_kernel::arrow::array::AsArray as _;
use delta_kernel::arrow::json::ReaderBuilder;
use delta_kernel::engine::arrow_conversion::TryFromArrow as _;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine::arrow_expression::ArrowEvaluationHandler;
use delta_kernel::engine::arrow_utils::{
    RowIndexBuilder, build_json_reorder_indices, fixup_json_read, fixup_parquet_read, json_arrow_schema,
    ordering_needs_row_indexes, parquet_read_plan, parse_json,
};
use delta_kernel::engine::parquet_row_group_skipping::ParquetRowGroupSkipping as _;
use delta_kernel::engine::reader_options;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use delta_kernel::schema::{SchemaRef, StructType};
use delta_kernel::{
    Engine, EngineData, EvaluationHandler, FileDataReadResultIterator, FileMeta, FileSize, FileSlice,
    FoldWithOption as _, JsonHandler, KernelError, KernelResult, KernelResultIterator, KernelResultIteratorStatic,
    ParquetFooter, ParquetHandler, PredicateRef, StorageHandler,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::dispatcher;
use tracing::subscriber::NoSubscriber;
use url::Url;
use valetkey_core::Error;
use valetkey_core::nouns::table::{Listed, ObjectFiles, TablePlace, Unserved};

use crate::bounds::{has_small_pages, is_shallow, is_sound_parquet};
use crate::places::{LOG_DIR, below, key_of, relative, url_of};
use crate::unserved::Refused;

/// Objects listed at once: the most that S3 lists.
const PAGE: usize = 1000;
/// Rows of a log in memory at once. A row with the statistics of a wide table may have 100 KiB; so a batch stays near 100 MiB.
const BATCH_ROWS: usize = 1024;

/// What one answer may have at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) files: usize,
    /// About the most bytes of memory for the entries of its files.
    pub(crate) bytes: usize,
    pub(crate) versions: u64,
}

/// What reading one log may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bytes of one file of the log.
    pub(crate) file_bytes: u64,
    /// Bytes of all files read for one answer.
    pub(crate) total_bytes: u64,
}

/// The files of one table's log, read from a thread that may wait.
pub(crate) struct LogFiles {
    objects: Arc<dyn ObjectFiles>,
    pub(crate) place: TablePlace,
    /// `root/_delta_log/`.
    directory: Vec<u8>,
    runtime: Handle,
    /// Where what the objects log goes; what the kernel logs goes nowhere (see [`LogFiles::quietly`]).
    log: Dispatch,
    budget: Budget,
    read: AtomicU64,
    stopped: CancellationToken,
    /// The first failure that the kernel's own errors cannot carry.
    failed: Mutex<Option<Refused>>,
}

impl LogFiles {
    pub(crate) fn new(
        objects: Arc<dyn ObjectFiles>,
        place: TablePlace,
        runtime: Handle,
        budget: Budget,
        stopped: CancellationToken,
    ) -> Self {
        let mut directory = below(&place.root, LOG_DIR).to_vec();
        directory.push(b'/');
        let (read, failed) = (AtomicU64::new(0), Mutex::new(None));
        let log = dispatcher::get_default(Clone::clone);
        Self { objects, place, directory, runtime, log, budget, read, stopped, failed }
    }

    /// Does work with the kernel without its running commentary: it logs an error for every place that is no table, and
    /// a dozen lines for every one that is. What matters of it comes back as the refusal.
    pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&Dispatch::new(NoSubscriber::new()), work)
    }

    /// The URL of the table.
    pub(crate) fn table_url(&self) -> String {
        let mut url = url_of(&self.place.bucket, &self.place.root);
        if !url.ends_with('/') {
            url.push('/');
        }
        url
    }

    /// The key of a file of the log, by its name.
    pub(crate) fn key(&self, name: &str) -> Vec<u8> {
        [&self.directory, name.as_bytes()].concat()
    }

    /// The name of a file of the log.
    pub(crate) fn name<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        std::str::from_utf8(key.strip_prefix(self.directory.as_slice())?).ok()
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn go_on(&self) -> Result<(), Refused> {
        if self.stopped.is_cancelled() { Err(Unserved::TooMuch("log entries").into()) } else { Ok(()) }
    }

    /// Waits for objects, unless nobody waits for the answer any more.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Refused> {
        let work = self.stopped.run_until_cancelled(work);
        let done = dispatcher::with_default(&self.log, || self.runtime.block_on(work));
        Ok(done.ok_or(Unserved::TooMuch("log entries"))??)
    }

    /// A file of the log, or nothing if there is none.
    pub(crate) fn get(&self, key: &[u8], range: Option<Range<u64>>) -> Result<Option<Bytes>, Refused> {
        let most = self.budget.file_bytes;
        let start = range.as_ref().map_or(0, |range| range.start);
        let end = range.map_or(u64::MAX, |range| range.end).min(start.saturating_add(most).saturating_add(1));
        let get = self.objects.get(&self.place.storage, &self.place.bucket, key, Some(start..end));
        let Some(bytes) = self.wait(get)? else { return Ok(None) };
        let length = bytes.len() as u64;
        let total = self.read.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if length > most || total > self.budget.total_bytes {
            return Err(Unserved::TooMuch("bytes of log").into());
        }
        Ok(Some(bytes.into()))
    }

    /// A page of the log's files whose key comes after another.
    pub(crate) fn page(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Listed>, Refused> {
        let list = self.objects.list(&self.place.storage, &self.place.bucket, prefix, after, limit);
        self.wait(list)
    }

    /// The log's directory, as a key with its slash.
    pub(crate) fn directory(&self) -> &[u8] {
        &self.directory
    }

    /// What failed here, rather than in the kernel.
    pub(crate) fn failure(&self) -> Option<Refused> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps a refusal that the kernel's errors cannot carry, and stops the kernel.
    fn fail(&self, refused: Refused) -> KernelError {
        let said = match &refused {
            Refused::Unserved(unserved) => unserved.to_string(),
            Refused::Failed(error) => error.message().to_owned(),
        };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refused);
        KernelError::generic(said)
    }

    /// The key of what the kernel asks for.
    fn asked(&self, url: &Url) -> KernelResult<Vec<u8>> {
        let key = key_of(&self.place.bucket, url);
        key.filter(|key| key.starts_with(&self.directory) && relative(&self.place.root, key).is_some())
            .filter(|key| !key.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")))
            .ok_or_else(|| {
                self.fail(Unserved::Broken(format!("the log names a part of itself that is not in it: {url}")).into())
            })
    }

    fn file(&self, url: &Url, range: Option<Range<u64>>) -> KernelResult<Bytes> {
        let key = self.asked(url)?;
        let got = self.get(&key, range).map_err(|refused| self.fail(refused))?;
        got.ok_or_else(|| KernelError::FileNotFound(url.to_string()))
    }
}

impl fmt::Debug for LogFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFiles").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The engine: arrow for data and expressions, [`LogFiles`] for everything that is read.
pub(crate) struct LogEngine {
    pub(crate) files: Arc<LogFiles>,
    handlers: Arc<Handlers>,
    evaluation: Arc<ArrowEvaluationHandler>,
}

impl LogEngine {
    pub(crate) fn new(files: LogFiles) -> Self {
        let files = Arc::new(files);
        let handlers = Arc::new(Handlers { files: Arc::clone(&files) });
        Self { files, handlers, evaluation: Arc::new(ArrowEvaluationHandler {}) }
    }
}

impl Engine for LogEngine {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        Arc::clone(&self.evaluation) as Arc<dyn EvaluationHandler>
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        Arc::clone(&self.handlers) as Arc<dyn StorageHandler>
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        Arc::clone(&self.handlers) as Arc<dyn JsonHandler>
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        Arc::clone(&self.handlers) as Arc<dyn ParquetHandler>
    }
}

struct Handlers {
    files: Arc<LogFiles>,
}

fn read_only<T>() -> KernelResult<T> {
    Err(KernelError::unsupported("this engine writes nothing"))
}

fn too_deep() -> KernelError {
    KernelError::generic("the log is nested too deep, or cut")
}

/// A listing that fetches a page when the kernel wants it.
struct Listing {
    files: Arc<LogFiles>,
    prefix: Vec<u8>,
    after: Vec<u8>,
    page: std::vec::IntoIter<Listed>,
    is_last: bool,
}

impl Iterator for Listing {
    type Item = KernelResult<FileMeta>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() && !self.is_last {
            match self.files.page(&self.prefix, &self.after, PAGE) {
                Ok(page) => {
                    self.is_last = page.len() < PAGE;
                    self.page = page.into_iter();
                }
                Err(refused) => {
                    self.is_last = true;
                    return Some(Err(self.files.fail(refused)));
                }
            }
        }
        let Listed { key, size, modified } = self.page.next()?;
        let location = Url::parse(&url_of(&self.files.place.bucket, &key)).map_err(KernelError::InvalidUrl);
        self.after = key.into_vec();
        Some(location.map(|location| FileMeta { location, last_modified: modified.as_millisecond(), size }))
    }
}

impl StorageHandler for Handlers {
    fn list_from(&self, path: &Url) -> KernelResult<KernelResultIteratorStatic<FileMeta>> {
        let after = self.files.asked(path)?;
        let prefix = match after.iter().rposition(|byte| *byte == b'/').and_then(|slash| after.get(..=slash)) {
            Some(directory) => directory.to_vec(),
            None => Vec::new(),
        };
        let page = Vec::new().into_iter();
        Ok(Box::new(Listing { files: Arc::clone(&self.files), prefix, after, page, is_last: false }))
    }

    fn read_files(&self, slices: Vec<FileSlice>) -> KernelResult<KernelResultIteratorStatic<Bytes>> {
        let files = Arc::clone(&self.files);
        Ok(Box::new(slices.into_iter().map(move |(url, range)| files.file(&url, range))))
    }

    fn head(&self, path: &Url) -> KernelResult<FileMeta> {
        let key = self.files.asked(path)?;
        let head = self.files.objects.head(&self.files.place.storage, &self.files.place.bucket, &key);
        let found = self.files.wait(head).map_err(|refused| self.files.fail(refused))?;
        let Listed { key: _, size, modified } = found.ok_or_else(|| KernelError::FileNotFound(path.to_string()))?;
        Ok(FileMeta { location: path.clone(), last_modified: modified.as_millisecond(), size })
    }

    fn copy_atomic(&self, _: &Url, _: &Url) -> KernelResult<()> {
        read_only()
    }

    fn put(&self, _: &Url, _: Bytes, _: bool) -> KernelResult<()> {
        read_only()
    }

    fn delete(&self, _: &Url) -> KernelResult<()> {
        read_only()
    }
}

type Batches = Box<dyn Iterator<Item = KernelResult<Box<dyn EngineData>>> + Send>;

/// One file after the other, each read when its first batch is wanted.
fn batches(
    files: &Arc<LogFiles>,
    metas: &[FileMeta],
    open: impl Fn(Bytes, String) -> KernelResult<Batches> + Send + 'static,
) -> FileDataReadResultIterator {
    let (files, metas) = (Arc::clone(files), metas.to_vec());
    let each = metas.into_iter().flat_map(move |FileMeta { location, .. }| {
        let own = Arc::clone(&files);
        match files.file(&location, None).and_then(|bytes| open(bytes, location.to_string())) {
            Ok(batches) => Box::new(batches.map(move |batch| {
                own.go_on().map_err(|refused| own.fail(refused))?;
                batch
            })) as Batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    Box::new(each)
}

impl JsonHandler for Handlers {
    fn parse_json(&self, texts: Box<dyn EngineData>, schema: SchemaRef) -> KernelResult<Box<dyn EngineData>> {
        let batch = texts.any_ref().downcast_ref::<ArrowEngineData>().map(ArrowEngineData::record_batch);
        let column = batch.and_then(|batch| batch.columns().first());
        let column = column.and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| KernelError::engine_data_type("texts"))?;
        if !column.iter().flatten().all(|text| is_shallow(text.as_bytes())) {
            return Err(too_deep());
        }
        parse_json(texts, schema)
    }

    fn read_json_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        let arrow = Arc::new(json_arrow_schema(&schema)?);
        let order: Arc<[_]> = build_json_reorder_indices(&schema)?.into();
        Ok(batches(&self.files, files, move |bytes, location| {
            if !is_shallow(&bytes) {
                return Err(too_deep());
            }
            let order = Arc::clone(&order);
            let reader = ReaderBuilder::new(Arc::clone(&arrow))
                .with_batch_size(BATCH_ROWS)
                .with_coerce_primitive(true)
                .build(std::io::Cursor::new(bytes))?;
            Ok(Box::new(reader.map(move |batch| Ok(Box::new(fixup_json_read(batch?, &order, &location)?) as _))))
        }))
    }

    fn write_json_file(
        &self,
        _: &Url,
        _: KernelResultIterator<'_, FilteredEngineData>,
        _: bool,
    ) -> KernelResult<FileSize> {
        read_only()
    }
}

fn parquet_metadata(bytes: &Bytes) -> KernelResult<ArrowReaderMetadata> {
    if !is_sound_parquet(bytes) {
        return Err(too_deep());
    }
    let metadata = ArrowReaderMetadata::load(bytes, reader_options())?;
    if !has_small_pages(bytes, metadata.metadata()) {
        return Err(KernelError::generic(
            "a page of a checkpoint is too large, cut or packed in a way that is not known",
        ));
    }
    Ok(metadata)
}

fn parquet_batches(
    bytes: Bytes,
    location: String,
    schema: SchemaRef,
    predicate: Option<PredicateRef>,
) -> KernelResult<Batches> {
    let metadata = parquet_metadata(&bytes)?;
    let (ordering, mask) = parquet_read_plan(&schema, &metadata)?;
    let mut rows =
        ordering_needs_row_indexes(&ordering).then(|| RowIndexBuilder::new(metadata.metadata().row_groups()));
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
        .with_batch_size(BATCH_ROWS)
        .fold_with(mask, ParquetRecordBatchReaderBuilder::with_projection)
        .fold_with(predicate, |builder, predicate| builder.with_row_group_filter(predicate.as_ref(), rows.as_mut()));
    let mut rows = rows.map(RowIndexBuilder::build).transpose()?;
    let reader = builder.build()?;
    Ok(Box::new(reader.map(move |batch| {
        let fixed: ArrowEngineData =
            fixup_parquet_read(batch?, &ordering, rows.as_mut(), Some(&location), Some(&schema))?;
        Ok(Box::new(fixed) as _)
    })))
}

impl ParquetHandler for Handlers {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        predicate: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        Ok(batches(&self.files, files, move |bytes, location| {
            parquet_batches(bytes, location, Arc::clone(&schema), predicate.clone())
        }))
    }

    fn write_parquet_file(&self, _: Url, _: KernelResultIteratorStatic<Box<dyn EngineData>>) -> KernelResult<FileSize> {
        read_only()
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> KernelResult<ParquetFooter> {
        let bytes = self.files.file(&file.location, None)?;
        let metadata = parquet_metadata(&bytes)?;
        Ok(ParquetFooter { schema: Arc::new(StructType::try_from_arrow(metadata.schema().as_ref())?) })
    }
}
