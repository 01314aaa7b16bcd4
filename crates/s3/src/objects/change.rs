//! The changes of objects in the index.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use valetkey_core::id::{AccountId, StorageId};

use crate::objects::condition::{Clash, Condition, Existing};
use crate::objects::files::{Draft, FileId};
use crate::objects::record::{Data, Record, decode_segments, encode_segments};
use crate::objects::usage::objects_of;
use crate::objects::writer::{After, Change, WhenFull};
use crate::objects::{BucketId, Index};

/// Makes a bucket.
pub(super) struct CreateBucket {
    /// The store it is in, if that is another.
    pub(super) storage: Option<StorageId>,
    pub(super) name: String,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Change for CreateBucket {
    type Answer = BucketId;

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<BucketId> {
        let storage = self.storage.map(|storage| storage.to_bytes().to_vec()).unwrap_or_default();
        sqlx::query("INSERT INTO buckets (storage, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(&storage)
            .bind(&self.name)
            .bind(self.now.as_millisecond())
            .execute(&mut *index)
            .await?;
        sqlx::query_scalar("SELECT id FROM buckets WHERE storage = ? AND name = ?")
            .bind(&storage)
            .bind(&self.name)
            .fetch_one(index)
            .await
    }
}

/// What is there under a key before a change.
struct Before {
    etag: String,
    modified: Timestamp,
    content: Option<i64>,
    files: Vec<FileId>,
}

impl Before {
    fn existing(&self) -> Existing<'_> {
        Existing { etag: &self.etag, modified: self.modified }
    }
}

async fn before(index: &mut Index, bucket: BucketId, key: &[u8]) -> sqlx::Result<Option<Before>> {
    let row = sqlx::query("SELECT etag, content, segments, modified_ms FROM objects WHERE bucket = ? AND key = ?")
        .bind(bucket)
        .bind(key)
        .fetch_optional(index)
        .await?;
    row.map(|row| {
        let segments = decode_segments(row.try_get(2)?)
            .ok_or_else(|| sqlx::Error::Decode("the segments of an object cannot be read".into()))?;
        let modified = Timestamp::from_millisecond(row.try_get(3)?).unwrap_or_default();
        Ok(Before { etag: row.try_get(0)?, modified, content: row.try_get(1)?, files: Data::Files(segments).files() })
    })
    .transpose()
}

/// Lets go of what an object had.
async fn release(index: &mut Index, before: Before, after: &mut After) -> sqlx::Result<()> {
    if let Some(content) = before.content {
        sqlx::query("DELETE FROM contents WHERE id = ?").bind(content).execute(&mut *index).await?;
    }
    release_files(index, before.files, after).await
}

/// Lets go of files.
pub(super) async fn release_files(index: &mut Index, files: Vec<FileId>, after: &mut After) -> sqlx::Result<()> {
    for file in &files {
        sqlx::query("DELETE FROM files WHERE id = ?").bind(*file).execute(&mut *index).await?;
    }
    if !files.is_empty() {
        after.remove.push(files);
    }
    Ok(())
}

/// Refers to a new file.
pub(super) async fn adopt(index: &mut Index, draft: Draft, after: &mut After) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO files (id) VALUES (?)").bind(draft.id()).execute(index).await?;
    after.keep.push(draft);
    Ok(())
}

/// Where an object is put, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) bucket: BucketId,
    pub(super) key: &'a [u8],
    /// Whose it is; nobody's, if the server itself puts it.
    pub(super) account: Option<AccountId>,
    /// How many objects an account may keep.
    pub(super) most: Option<u64>,
}

/// Puts a record in place of what was there; the files it names are referred to already.
pub(super) async fn replace(
    index: &mut Index,
    slot: Slot<'_>,
    record: &Record,
    content: i64,
    condition: &Condition,
    after: &mut After,
) -> sqlx::Result<Result<(), Clash>> {
    let Slot { bucket, key, account, most } = slot;
    let before = before(index, bucket, key).await?;
    if let Err(clash) = condition.check(before.as_ref().map(Before::existing)) {
        return Ok(Err(clash));
    }
    if let (None, Some(account), Some(most)) = (&before, account, most)
        && objects_of(index, account).await? >= most
    {
        return Ok(Err(Clash::Quota));
    }
    if let Some(before) = before {
        release(index, before, after).await?;
        remove(index, bucket, key).await?;
    }
    let (content, segments) = match &record.data {
        Data::Here(bytes) if bytes.is_empty() => (None, Vec::new()),
        Data::Here(bytes) => {
            sqlx::query("INSERT INTO contents (id, bytes) VALUES (?, ?)")
                .bind(content)
                .bind(&**bytes)
                .execute(&mut *index)
                .await?;
            (Some(content), Vec::new())
        }
        Data::Files(segments) => (None, encode_segments(segments)),
        Data::Gateway(_) => return Err(sqlx::Error::Encode("an object of another storage is not kept here".into())),
    };
    sqlx::query(
        "INSERT INTO objects (bucket, key, size, etag, modified_ms, content, headers, segments, account) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(bucket)
    .bind(key)
    .bind(record.size.cast_signed())
    .bind(&*record.etag)
    .bind(record.modified.as_millisecond())
    .bind(content)
    .bind(record.headers.encode())
    .bind(segments)
    .bind(account.map(|account| account.to_bytes().to_vec()))
    .execute(index)
    .await?;
    after.forget.push((bucket, key.into()));
    Ok(Ok(()))
}

/// Removes an object's row.
async fn remove(index: &mut Index, bucket: BucketId, key: &[u8]) -> sqlx::Result<()> {
    let removed = sqlx::query("DELETE FROM objects WHERE bucket = ? AND key = ?").bind(bucket).bind(key);
    removed.execute(index).await.map(drop)
}

pub(super) struct PutObject {
    pub(super) account: Option<AccountId>,
    pub(super) most: Option<u64>,
    pub(super) bucket: BucketId,
    pub(super) key: Box<[u8]>,
    pub(super) record: Arc<Record>,
    pub(super) content: i64,
    pub(super) draft: Option<Draft>,
    pub(super) condition: Condition,
}

#[async_trait]
impl Change for PutObject {
    type Answer = Result<(), Clash>;

    fn when_full(&self) -> WhenFull {
        // What lies in a file was admitted as it was written.
        if self.draft.is_some() { WhenFull::Made } else { WhenFull::Refused }
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<Self::Answer> {
        let Self { account, most, bucket, key, record, content, draft, condition } = self;
        let slot = Slot { bucket, key: &key, account, most };
        let put = replace(index, slot, &record, content, &condition, after).await?;
        if let (Ok(()), Some(draft)) = (put, draft) {
            adopt(index, draft, after).await?;
        }
        Ok(put)
    }
}

/// Removes an object.
pub(super) struct DeleteObject {
    pub(super) bucket: BucketId,
    pub(super) key: Box<[u8]>,
    pub(super) condition: Condition,
}

#[async_trait]
impl Change for DeleteObject {
    type Answer = Result<(), Clash>;

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<Self::Answer> {
        let Self { bucket, key, condition } = self;
        let before = before(index, bucket, &key).await?;
        if let Err(clash) = condition.check(before.as_ref().map(Before::existing)) {
            return Ok(Err(clash));
        }
        if let Some(before) = before {
            release(index, before, after).await?;
            remove(index, bucket, &key).await?;
            after.forget.push((bucket, key));
        }
        Ok(Ok(()))
    }
}
