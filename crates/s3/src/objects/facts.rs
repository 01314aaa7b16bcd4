//! What another store does not keep of the objects written to it from here: their S3 entity tag, headers, checksum and parts.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::objects::origin::{self, Origin};
use crate::objects::record::Headers;
use crate::objects::writer::{After, Change, WhenFull};
use crate::objects::{BucketId, Index, Objects, sql};

/// What is kept of an object that lies in another store. True of the version with this tag and size, and of no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) tag: String,
    pub(crate) size: u64,
    pub(crate) etag: Box<str>,
    pub(crate) headers: Headers,
    /// The sizes of its parts, if it came in parts.
    pub(crate) parts: Box<[u64]>,
}

/// The facts that a listing shows.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(crate) key: Vec<u8>,
    pub(crate) tag: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
}

fn read_facts(row: &SqliteRow) -> sqlx::Result<Facts> {
    let broken = || sqlx::Error::Decode("the facts of an object cannot be read".into());
    let (parts, rest) = row.try_get::<&[u8], _>(4)?.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(broken());
    }
    Ok(Facts {
        tag: row.try_get(0)?,
        size: row.try_get::<i64, _>(1)?.cast_unsigned(),
        etag: row.try_get::<&str, _>(2)?.into(),
        headers: Headers::decode(row.try_get(3)?).ok_or_else(broken)?,
        parts: parts.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect(),
    })
}

impl Objects {
    /// What is kept of an object in another store.
    pub(crate) async fn facts(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Facts>> {
        let row = sqlx::query("SELECT tag, size, etag, headers, parts FROM facts WHERE bucket = ? AND key = ?")
            .bind(bucket)
            .bind(key)
            .fetch_optional(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        row.as_ref().map(read_facts).transpose().map_err(sql("reading the index"))
    }

    /// Whether anything is kept of a bucket's objects.
    pub(crate) async fn has_facts(&self, bucket: BucketId) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM facts WHERE bucket = ? LIMIT 1").bind(bucket);
        let found = found.fetch_optional(&self.index).await.map_err(sql("reading the index"))?;
        Ok(found.is_some())
    }

    /// What is kept of the objects from one key to another, both with.
    pub(crate) async fn facts_between(&self, bucket: BucketId, first: &[u8], last: &[u8]) -> Result<Vec<Brief>> {
        let rows = sqlx::query("SELECT key, tag, size, etag FROM facts WHERE bucket = ? AND key >= ? AND key <= ?")
            .bind(bucket)
            .bind(first)
            .bind(last)
            .fetch_all(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        let read = |row: &SqliteRow| -> sqlx::Result<Brief> {
            Ok(Brief {
                key: row.try_get(0)?,
                tag: row.try_get(1)?,
                size: row.try_get::<i64, _>(2)?.cast_unsigned(),
                etag: row.try_get(3)?,
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(sql("reading the index"))
    }

    /// Keeps facts in place of earlier ones; when this returns, they are durable.
    pub(crate) async fn keep_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        facts: Facts,
        origin: Option<Origin>,
    ) -> Result<()> {
        self.writer.apply(KeepFacts { bucket, key: key.into(), facts, origin }).await
    }

    /// Forgets what was kept of an object.
    pub(crate) async fn forget_facts(&self, bucket: BucketId, key: &[u8]) -> Result<()> {
        self.writer.apply(ForgetFacts { bucket, key: key.into() }).await
    }
}

struct KeepFacts {
    bucket: BucketId,
    key: Box<[u8]>,
    facts: Facts,
    /// Where the object comes from, if it was made of parts.
    origin: Option<Origin>,
}

#[async_trait]
impl Change for KeepFacts {
    type Answer = ();

    fn when_full(&self) -> WhenFull {
        // The object they are of is there already.
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<()> {
        let Self { bucket, key, origin, facts: Facts { tag, size, etag, headers, parts } } = self;
        let parts: Vec<u8> = parts.iter().flat_map(|size| size.to_be_bytes()).collect();
        sqlx::query(
            "INSERT OR REPLACE INTO facts (bucket, key, tag, size, etag, headers, parts) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(bucket)
        .bind(&*key)
        .bind(tag)
        .bind(size.cast_signed())
        .bind(&*etag)
        .bind(headers.encode())
        .bind(parts)
        .execute(&mut *index)
        .await?;
        match origin {
            Some(origin) => origin::keep(index, bucket, &key, &origin).await,
            None => origin::forget(index, bucket, &key).await,
        }
    }
}

struct ForgetFacts {
    bucket: BucketId,
    key: Box<[u8]>,
}

#[async_trait]
impl Change for ForgetFacts {
    type Answer = ();

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM facts WHERE bucket = ? AND key = ?")
            .bind(self.bucket)
            .bind(&*self.key)
            .execute(&mut *index)
            .await?;
        origin::forget(index, self.bucket, &self.key).await
    }
}
