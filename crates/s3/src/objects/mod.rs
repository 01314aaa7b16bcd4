//! Objects in a local directory: data files named by number, under an index in SQLite.
//!
//! * keys are bytes, compared exactly
//! * a write is durable before it is answered, and seen whole or not at all
//! * nothing here knows of scopes: whoever asks was let in before
mod cache;
mod change;
pub(crate) mod checksum;
pub(crate) mod closing;
pub(crate) mod condition;
pub(crate) mod cors;
pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod intake;
pub(crate) mod listing;
pub(crate) mod origin;
pub(crate) mod parts;
pub(crate) mod proof;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod uploads;
pub(crate) mod usage;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use data_encoding::BASE64;
use futures::Stream;
use jiff::Timestamp;
use s3s::StdError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _, Sqlite, Transaction};
use tokio_util::task::TaskTracker;
use valetkey_core::account::{Kept, Quota, Quotas};
use valetkey_core::fair::Share;
use valetkey_core::id::{AccountId, StorageId};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind};

use crate::error::{Result, internal, of_index};
use crate::gate::session::Live;
use crate::objects::cache::Cache;
use crate::objects::change::{CreateBucket, DeleteObject, PutObject};
pub(crate) use crate::objects::condition::{Clash, Condition};
use crate::objects::files::{Files, Segment};
use crate::objects::intake::{Place, Taken, Terms};
use crate::objects::reading::Reading;
use crate::objects::record::{Data, Headers, Record, decode_segments};
use crate::objects::usage::{Claim, Coming};
use crate::objects::writer::Writer;
use crate::space::Space;

/// How often a read starts over because the object was replaced under it. Each round is one look into the index and one `open`, so a
/// reader loses a round only to a write that commits in between; sixteen in a row happen to nobody but in a test.
const READ_TRIES: usize = 16;

/// A bucket's number.
pub(crate) type BucketId = i64;

/// The objects of one data directory.
pub(crate) struct Objects {
    index: SqlitePool,
    writer: Writer,
    files: Arc<Files>,
    cache: Arc<Cache>,
    buckets: RwLock<HashMap<Box<str>, BucketId>>,
    /// The buckets whose objects lie in other stores.
    foreign: RwLock<HashMap<(StorageId, Box<str>), BucketId>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Objects up to this size live in the index.
    inline_bytes: usize,
    /// What each account may keep that has no quota of its own, whose own they are, how many uploads in parts each may have open,
    /// and what is on its way.
    quota: Quota,
    quotas: Arc<dyn Quotas>,
    max_uploads: u64,
    coming: Coming,
    /// Locked while this lives: what is cached here would not hold if another process wrote there.
    _lock: File,
}

/// What a store of objects is opened with.
pub(crate) struct Setup<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) inline_bytes: usize,
    pub(crate) cache_bytes: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) space: Space,
    pub(crate) quota: Quota,
    pub(crate) quotas: Arc<dyn Quotas>,
    pub(crate) max_uploads: u64,
    pub(crate) tasks: TaskTracker,
}

/// An object's name, for the log.
pub(crate) fn shown(bucket: &str, key: &[u8]) -> String {
    format!("the object `{bucket}/{}`", String::from_utf8_lossy(key).escape_debug())
}

/// Why a data directory cannot be opened: names the file, for who starts the server.
fn unopened(path: &Path, what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, format!("{} {what}: {error}", path.display())).caused_by(error)
}

fn sql(doing: &'static str) -> impl Fn(sqlx::Error) -> s3s::S3Error {
    move |error| of_index(doing, error)
}

impl Objects {
    /// Opens a data directory; makes it if there is none, and sweeps what a crash left.
    pub(crate) async fn open(setup: Setup<'_>) -> std::result::Result<Self, Error> {
        let Setup { data_dir, inline_bytes, cache_bytes, clock, entropy, space, quota, quotas, max_uploads, tasks } =
            setup;
        let (lock_file, index_file) = (data_dir.join("lock"), data_dir.join("index.sqlite"));
        let files_dir = data_dir.join("files");
        std::fs::create_dir_all(data_dir).map_err(|error| unopened(data_dir, "cannot be made", error))?;
        let lock = File::create(&lock_file).map_err(|error| unopened(&lock_file, "cannot be written", error))?;
        lock.try_lock().map_err(|error| unopened(&lock_file, "is locked: another process has these objects", error))?;
        let of_index = |error| unopened(&index_file, "cannot be opened", error);
        let options = SqliteConnectOptions::new()
            .filename(&index_file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .disable_statement_logging();
        let mut writing = options.connect().await.map_err(of_index)?;
        sqlx::migrate!("./migrations")
            .run(&mut writing)
            .await
            .map_err(|error| unopened(&index_file, "cannot be brought to this version's layout", error))?;
        let generation: i64 = sqlx::query_scalar("UPDATE state SET generation = generation + 1 RETURNING generation")
            .fetch_one(&mut writing)
            .await
            .map_err(of_index)?;
        let files = Arc::new(
            Files::open(&files_dir, generation, space, tasks.clone())
                .map_err(|error| unopened(&files_dir, "cannot be opened", error))?,
        );
        // Of those that were made before that was kept.
        sqlx::query("UPDATE buckets SET created_ms = ? WHERE created_ms IS NULL")
            .bind(clock.now().as_millisecond())
            .execute(&mut writing)
            .await
            .map_err(of_index)?;
        let rows = sqlx::query_as::<_, (Vec<u8>, String, i64)>("SELECT storage, name, id FROM buckets")
            .fetch_all(&mut writing)
            .await
            .map_err(of_index)?;
        let (mut buckets, mut foreign) = (HashMap::new(), HashMap::new());
        for (storage, name, id) in rows {
            if closing::is_closed(&name) {
                continue;
            }
            match <[u8; 16]>::try_from(storage) {
                Ok(storage) => foreign.insert((StorageId::from_bytes(storage), name.into()), id),
                Err(_) => buckets.insert(name.into(), id),
            };
        }
        let cache = Arc::new(Cache::new(cache_bytes));
        cors::read(cache.cors(), &mut writing).await.map_err(of_index)?;
        let index = SqlitePoolOptions::new()
            .max_connections(8)
            .min_connections(0)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().read_only(true));
        // What is not referred to as of now, before anything is written, never will be.
        let mut before = index.begin().await.map_err(of_index)?;
        sqlx::query("SELECT generation FROM state").fetch_all(&mut *before).await.map_err(of_index)?;
        tasks.spawn(sweep(before, Arc::clone(&files)));
        let writing = valetkey_sql::Writer::new(writing, options.create_if_missing(false), &index_file);
        let writer = Writer::start(writing, Arc::clone(&cache), Arc::clone(&files), &tasks);
        let (buckets, foreign) = (RwLock::new(buckets), RwLock::new(foreign));
        let coming = Coming::default();
        Ok(Self {
            index,
            writer,
            files,
            cache,
            buckets,
            foreign,
            clock,
            entropy,
            inline_bytes,
            quota,
            quotas,
            max_uploads,
            coming,
            _lock: lock,
        })
    }

    /// Whether objects can be written.
    pub(crate) async fn works(&self) -> Result<()> {
        self.writer.works().await.map_err(sql("asking whether the index can be written"))
    }

    /// A bucket's number, if there is such a bucket.
    pub(crate) fn bucket(&self, name: &str) -> Option<BucketId> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Makes a bucket if there is none of this name.
    pub(crate) async fn ensure_bucket(&self, name: &str) -> Result<BucketId> {
        if let Some(id) = self.bucket(name) {
            return Ok(id);
        }
        let id = self.writer.apply(CreateBucket { storage: None, name: name.to_owned(), now: self.now() }).await?;
        self.buckets.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), id);
        Ok(id)
    }

    /// When a bucket was made, or first known of.
    pub(crate) async fn bucket_created(&self, bucket: BucketId) -> Result<Timestamp> {
        let created = sqlx::query_scalar("SELECT created_ms FROM buckets WHERE id = ?").bind(bucket);
        let created = created.fetch_one(&self.index).await.map_err(sql("reading the index"))?;
        Timestamp::from_millisecond(created).map_err(|error| internal("reading the index", error))
    }

    /// The number of a bucket of another store, if it is known here.
    pub(crate) fn foreign_bucket(&self, storage: StorageId, name: &str) -> Option<BucketId> {
        let foreign = self.foreign.read().unwrap_or_else(PoisonError::into_inner);
        foreign.get(&(storage, Box::from(name))).copied()
    }

    /// The buckets of another store that are known here.
    pub(crate) fn foreign_of(&self, storage: StorageId) -> Vec<(Box<str>, BucketId)> {
        let foreign = self.foreign.read().unwrap_or_else(PoisonError::into_inner);
        let own = foreign.iter().filter(|((of, _), _)| *of == storage);
        own.map(|((_, name), id)| (name.clone(), *id)).collect()
    }

    /// The numbers of all buckets of a name that are in other stores.
    pub(crate) fn foreign_buckets(&self, name: &str) -> Vec<BucketId> {
        let foreign = self.foreign.read().unwrap_or_else(PoisonError::into_inner);
        foreign.iter().filter(|((_, own), _)| **own == *name).map(|(_, id)| *id).collect()
    }

    /// Remembers a bucket of another store.
    pub(crate) async fn ensure_foreign_bucket(&self, storage: StorageId, name: &str) -> Result<BucketId> {
        if let Some(id) = self.foreign_bucket(storage, name) {
            return Ok(id);
        }
        let making = CreateBucket { storage: Some(storage), name: name.to_owned(), now: self.now() };
        let id = self.writer.apply(making).await?;
        self.foreign.write().unwrap_or_else(PoisonError::into_inner).insert((storage, name.into()), id);
        Ok(id)
    }

    /// Now, as objects tell it: in milliseconds.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// An object's record, if there is such an object.
    pub(crate) async fn record(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Arc<Record>>> {
        let own = (bucket, key.into());
        let began = match self.cache.get(&own) {
            Ok(record) => return Ok(Some(record)),
            Err(began) => began,
        };
        let row = sqlx::query(
            "SELECT o.size, o.etag, o.modified_ms, o.headers, o.segments, c.bytes FROM objects o \
             LEFT JOIN contents c ON c.id = o.content WHERE o.bucket = ? AND o.key = ?",
        )
        .bind(bucket)
        .bind(key)
        .fetch_optional(&self.index)
        .await
        .map_err(sql("reading the index"))?;
        let Some(row) = row else { return Ok(None) };
        let record = Arc::new(read_record(&row).map_err(sql("reading the index"))?);
        self.cache.put(own, &began, &record);
        Ok(Some(record))
    }

    /// Opens the range of an object that `plan` wants of it.
    pub(crate) async fn open_range(
        &self,
        bucket: BucketId,
        key: &[u8],
        plan: impl Fn(&Record) -> Result<Range<u64>>,
    ) -> Result<Option<(Arc<Record>, Reading)>> {
        for _ in 0..READ_TRIES {
            let Some(record) = self.record(bucket, key).await? else { return Ok(None) };
            let range = plan(&record)?;
            let what = self.shown(bucket, key);
            let reading = Reading::start(&self.files, &record, range, what)
                .await
                .map_err(|error| internal("reading an object", format!("{}: {error}", self.shown(bucket, key))));
            if let Some(reading) = reading? {
                return Ok(Some((record, reading)));
            }
            // Replaced between the two steps: its new record is there to be read, unless the cache still has the old one
            // because the writer is between its commit and telling the cache.
            tokio::task::yield_now().await;
        }
        Err(internal("reading an object", format!("{}: a data file of it is missing", self.shown(bucket, key))))
    }

    /// An object's name, for the log.
    fn shown(&self, bucket: BucketId, key: &[u8]) -> String {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let name = buckets.iter().find(|(_, id)| **id == bucket).map_or("?", |(name, _)| name);
        shown(name, key)
    }

    /// What an account may keep. The server itself may keep anything.
    async fn quota(&self, account: Option<AccountId>) -> Result<Quota> {
        let Some(account) = account else { return Ok(Quota::default()) };
        let own = self.quotas.own_quota(account).await.map_err(|error| internal("looking a quota up", error))?;
        Ok(own.or(self.quota))
    }

    /// What an account is charged for a body, if it may not keep any number of bytes.
    async fn claim(&self, account: Option<AccountId>) -> Result<Option<Claim>> {
        match (account, self.quota(account).await?.bytes) {
            (Some(account), Some(most)) => Claim::begin(&self.coming, &self.index, account, most).await.map(Some),
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// What one account keeps, or each of them; those that keep nothing may be left out.
    pub(crate) async fn kept(&self, account: Option<AccountId>) -> Result<HashMap<AccountId, Kept>> {
        usage::kept(&self.index, account).await.map_err(sql("reading the index"))
    }

    /// Takes a body in, for [`Objects::put`].
    pub(crate) async fn take(
        &self,
        body: impl Stream<Item = std::result::Result<Bytes, StdError>> + Unpin,
        algorithms: &[checksum::Algorithm],
        max_bytes: u64,
        (share, account): (Option<Share>, Option<AccountId>),
    ) -> Result<Taken> {
        let claim = self.claim(account).await?;
        let terms = Terms { algorithms, inline_bytes: self.inline_bytes, max_bytes, share };
        intake::take(&self.files, body, terms, claim).await
    }

    /// A file for what nobody is to see; it goes when it is dropped, or at the next start. Blocks.
    pub(crate) fn draft(&self) -> std::io::Result<files::Draft> {
        self.files.create()
    }

    /// Does what blocks where that blocks nobody.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        self.files.blocking(work).await
    }

    /// Puts an object in place of what was there; when this returns, it is durable.
    pub(crate) async fn put(
        &self,
        _: Live,
        (bucket, account): (BucketId, Option<AccountId>),
        key: &[u8],
        taken: Taken,
        mut headers: Headers,
        condition: Condition,
    ) -> Result<std::result::Result<Arc<Record>, Clash>> {
        let Taken { place, size, digests, claim: _claim } = taken;
        if let Some((algorithm, checksum)) = digests.checksums.first() {
            headers.set_checksum(*algorithm, &BASE64.encode(checksum), checksum::Kind::FullObject);
        }
        let (data, draft) = match place {
            Place::Here(bytes) => (Data::Here(bytes), None),
            Place::File(draft) => (Data::Files([Segment { file: draft.id(), size }].into()), Some(draft)),
        };
        let record = Record { size, etag: digests.etag().into(), modified: self.now(), headers, data };
        let record = Arc::new(record);
        let content = self.files.fresh();
        let (key, most) = (key.into(), self.quota(account).await?.objects);
        let record_too = Arc::clone(&record);
        let change = PutObject { account, most, bucket, key, record: record_too, content, draft, condition };
        Ok(self.writer.apply(change).await?.map(|()| record))
    }

    /// Removes an object, if there is one.
    pub(crate) async fn delete(
        &self,
        _: Live,
        bucket: BucketId,
        key: &[u8],
        condition: Condition,
    ) -> Result<std::result::Result<(), Clash>> {
        self.writer.apply(DeleteObject { bucket, key: key.into(), condition }).await
    }
}

pub(crate) fn read_record(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<Record> {
    let broken = |what: &str| sqlx::Error::Decode(format!("{what} of an object cannot be read").into());
    let size: i64 = row.try_get(0)?;
    let modified: i64 = row.try_get(2)?;
    let segments = decode_segments(row.try_get(4)?).ok_or_else(|| broken("the segments"))?;
    let data = if segments.is_empty() {
        let bytes: Option<&[u8]> = row.try_get(5)?;
        let bytes = Bytes::copy_from_slice(bytes.unwrap_or_default());
        if bytes.len() as u64 != size.cast_unsigned() {
            return Err(broken("the content"));
        }
        Data::Here(bytes)
    } else {
        Data::Files(segments)
    };
    Ok(Record {
        size: size.cast_unsigned(),
        etag: row.try_get::<&str, _>(1)?.into(),
        modified: Timestamp::from_millisecond(modified).map_err(|_| broken("the time"))?,
        headers: Headers::decode(row.try_get(3)?).ok_or_else(|| broken("the headers"))?,
        data,
    })
}

/// Removes the files that earlier runs left behind and that the index does not refer to.
async fn sweep(mut index: Transaction<'static, Sqlite>, files: Arc<Files>) {
    let mut swept = 0usize;
    for shard in Files::shards() {
        let own = Arc::clone(&files);
        let found = match files.blocking(move || own.earlier(shard)).await {
            Ok(found) => found,
            Err(error) => {
                internal("sweeping the data directory", error);
                return;
            }
        };
        for id in found {
            let known = sqlx::query_scalar::<_, i64>("SELECT id FROM files WHERE id = ?").bind(id);
            match known.fetch_optional(&mut *index).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let own = Arc::clone(&files);
                    files.later(move || own.remove(vec![id]));
                    swept += 1;
                }
                Err(error) => {
                    internal("sweeping the data directory", error);
                    return;
                }
            }
        }
    }
    if swept > 0 {
        tracing::info!(files = swept, "swept {swept} data files that an earlier run left unfinished");
    }
}

/// Shortens the calls to the index that the modules here make.
type Index = SqliteConnection;
