//! Uploads in parts: each part a file of its own; completing an upload refers to them in order and copies nothing.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use valetkey_core::fair::Share;
use valetkey_core::id::{AccountId, CallerId};

use crate::error::{Result, internal};
use crate::gate::session::Live;
use crate::objects::change::{Slot, adopt, release_files, replace};
use crate::objects::checksum::{Algorithm, Digests, Kind, etag_of_parts};
use crate::objects::files::{Draft, FileId, Segment};
use crate::objects::intake::{Place, Taken, Terms, take};
use crate::objects::listing::Span;
use crate::objects::origin::{self, Origin};
use crate::objects::parts::{Completion, Incomplete, Owner, Part, UploadId, chosen};
use crate::objects::reading::Reading;
use crate::objects::record::{Data, Headers, Record};
use crate::objects::usage::{too_many_uploads, uploads_of};
use crate::objects::writer::{After, Change, WhenFull};
use crate::objects::{BucketId, Index, Objects, sql};

/// The highest number of a part.
pub(crate) const MAX_PART_NUMBER: i32 = 10_000;

/// An upload that is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) bucket: BucketId,
    pub(crate) key: Box<[u8]>,
    pub(crate) owner: Owner,
    pub(crate) opened: Timestamp,
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    pub(crate) headers: Headers,
}

fn read_upload(row: &SqliteRow) -> sqlx::Result<Upload> {
    let broken = || sqlx::Error::Decode("an upload cannot be read".into());
    let sixteen = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| broken());
    Ok(Upload {
        id: UploadId::from_bytes(sixteen(row.try_get(0)?)?),
        bucket: row.try_get(1)?,
        key: row.try_get::<&[u8], _>(2)?.into(),
        owner: Owner {
            account: AccountId::from_bytes(sixteen(row.try_get(3)?)?),
            caller: CallerId::from_bytes(sixteen(row.try_get(4)?)?),
        },
        opened: Timestamp::from_millisecond(row.try_get(5)?).map_err(|_| broken())?,
        algorithm: Algorithm::parse(row.try_get(6)?).ok_or_else(broken)?,
        kind: Kind::parse(row.try_get(7)?).ok_or_else(broken)?,
        headers: Headers::decode(row.try_get(8)?).ok_or_else(broken)?,
    })
}

fn read_part(row: &SqliteRow) -> sqlx::Result<Part> {
    let broken = || sqlx::Error::Decode("a part cannot be read".into());
    Ok(Part {
        number: row.try_get(0)?,
        size: row.try_get::<i64, _>(1)?.cast_unsigned(),
        file: row.try_get(2)?,
        md5: row.try_get::<&[u8], _>(3)?.try_into().map_err(|_| broken())?,
        checksum: row.try_get::<&[u8], _>(4)?.into(),
        modified: Timestamp::from_millisecond(row.try_get(5)?).map_err(|_| broken())?,
    })
}

const UPLOAD: &str = "SELECT id, bucket, key, account, caller, opened_ms, algorithm, kind, headers FROM uploads \
                      WHERE id = ?";
const PARTS: &str = "SELECT number, size, file, md5, checksum, modified_ms FROM parts \
                     WHERE upload = ? AND number > ? ORDER BY number LIMIT ?";

async fn upload_of(index: &mut Index, id: UploadId) -> sqlx::Result<Option<Upload>> {
    let row = sqlx::query(UPLOAD).bind(id.bytes()).fetch_optional(index).await?;
    row.as_ref().map(read_upload).transpose()
}

async fn parts_of(index: &mut Index, id: UploadId) -> sqlx::Result<Vec<Part>> {
    let rows = sqlx::query(PARTS).bind(id.bytes()).bind(-1).bind(-1).fetch_all(index).await?;
    rows.iter().map(read_part).collect()
}

impl Objects {
    /// Opens an upload.
    pub(crate) async fn create_upload(
        &self,
        _: Live,
        bucket: BucketId,
        key: &[u8],
        owner: Owner,
        (algorithm, kind): (Algorithm, Kind),
        headers: Headers,
    ) -> Result<Upload> {
        let opened = self.now();
        let mut id = [0u8; 16];
        let (time, noise) = id.split_at_mut(6);
        time.copy_from_slice(opened.as_millisecond().to_be_bytes().get(2..).unwrap_or(&[0; 6]));
        self.entropy.fill(noise);
        let upload =
            Upload { id: UploadId::from_bytes(id), bucket, key: key.into(), owner, opened, algorithm, kind, headers };
        let most = self.max_uploads;
        if !self.writer.apply(CreateUpload { upload: upload.clone(), most }).await? {
            return Err(too_many_uploads(most));
        }
        Ok(upload)
    }

    /// An upload of this bucket and key that belongs to `owner`, if there is one.
    pub(crate) async fn upload(
        &self,
        id: UploadId,
        bucket: BucketId,
        key: &[u8],
        owner: Owner,
    ) -> Result<Option<Upload>> {
        let row = sqlx::query(UPLOAD).bind(id.bytes()).fetch_optional(&self.index).await;
        let row = row.map_err(sql("reading the index"))?;
        let upload = row.as_ref().map(read_upload).transpose().map_err(sql("reading the index"))?;
        Ok(upload.filter(|upload| upload.bucket == bucket && *upload.key == *key && upload.owner == owner))
    }

    /// Takes the body of a part in.
    pub(crate) async fn take_part(
        &self,
        body: impl futures::Stream<Item = std::result::Result<bytes::Bytes, s3s::StdError>> + Unpin,
        algorithms: &[Algorithm],
        max_bytes: u64,
        (share, owner): (Share, Owner),
    ) -> Result<Taken> {
        let claim = self.claim(Some(owner.account)).await?;
        take(&self.files, body, Terms { algorithms, inline_bytes: 0, max_bytes, share: Some(share) }, claim).await
    }

    /// Puts a part into an upload, in place of an earlier one of its number. Nothing if the upload is gone.
    pub(crate) async fn put_part(
        &self,
        _: Live,
        upload: UploadId,
        number: i32,
        taken: Taken,
    ) -> Result<Option<Digests>> {
        let Taken { place, size, digests, claim: _claim } = taken;
        let draft = match place {
            Place::File(draft) => Some(draft),
            Place::Here(bytes) if bytes.is_empty() => None,
            Place::Here(_) => return Err(internal("putting a part", "a part was not taken to a file")),
        };
        let change =
            PutPart { upload, number, size, draft, digests: digests.clone(), modified_ms: self.now().as_millisecond() };
        Ok(self.writer.apply(change).await?.then_some(digests))
    }

    /// An upload's parts behind a number, at most so many.
    pub(crate) async fn parts(&self, _: &Live, upload: UploadId, behind: i32, limit: usize) -> Result<Vec<Part>> {
        self.parts_of(upload, behind, limit).await
    }

    async fn parts_of(&self, upload: UploadId, behind: i32, limit: usize) -> Result<Vec<Part>> {
        let rows = sqlx::query(PARTS)
            .bind(upload.bytes())
            .bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        rows.iter().map(read_part).collect::<sqlx::Result<_>>().map_err(sql("reading the index"))
    }

    /// Ends an upload and removes its parts. Says whether there was one.
    pub(crate) async fn abort_upload(&self, _: Live, upload: UploadId) -> Result<bool> {
        self.writer.apply(AbortUpload(upload)).await
    }

    /// Ends the uploads that were opened before an instant, at most so many. Says how many that were.
    pub(crate) async fn abort_uploads_before(&self, before: Timestamp, limit: usize) -> Result<usize> {
        // An upload's name starts with the millisecond it was opened in.
        let least: [u8; 8] = before.as_millisecond().max(0).to_be_bytes();
        let old: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM uploads WHERE id < ? ORDER BY id LIMIT ?")
            .bind(least.get(2..).unwrap_or_default())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        let mut ended = 0;
        for id in old {
            if let Ok(id) = id.try_into() {
                ended += usize::from(self.abort_upload(Live::of_server(), UploadId::from_bytes(id)).await?);
            }
        }
        Ok(ended)
    }

    /// Ends uploads to a bucket, at most so many. Says how many that were.
    pub(crate) async fn abort_uploads_to(&self, bucket: BucketId, limit: i64) -> Result<usize> {
        let some: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM uploads WHERE bucket = ? LIMIT ?")
            .bind(bucket)
            .bind(limit)
            .fetch_all(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        let found = some.len();
        for id in some {
            if let Ok(id) = id.try_into() {
                self.abort_upload(Live::of_server(), UploadId::from_bytes(id)).await?;
            }
        }
        Ok(found)
    }

    /// Makes an object of an upload's parts; when this returns, it is durable.
    pub(crate) async fn complete_upload(
        &self,
        _: Live,
        (upload, account): (UploadId, AccountId),
        completion: Completion,
    ) -> Result<std::result::Result<Arc<Record>, Incomplete>> {
        let most = self.quota(Some(account)).await?.objects;
        self.writer.apply(CompleteUpload { upload, completion, most, now: self.now() }).await
    }

    /// The object that an upload would become, for who keeps it elsewhere; nothing of it changes. Its bytes lie in the parts'
    /// files until the upload is ended.
    pub(crate) async fn assemble_upload(
        &self,
        id: UploadId,
        completion: &Completion,
    ) -> Result<std::result::Result<Assembled, Incomplete>> {
        let row = sqlx::query(UPLOAD).bind(id.bytes()).fetch_optional(&self.index).await;
        let row = row.map_err(sql("reading the index"))?;
        let upload = row.as_ref().map(read_upload).transpose().map_err(sql("reading the index"))?;
        let Some(upload) = upload else { return Ok(Err(Incomplete::NoSuchUpload)) };
        let there = self.parts_of(id, -1, usize::MAX).await?;
        Ok(assemble(upload, &there, completion, self.now()))
    }

    /// Reads what [`Objects::assemble_upload`] found from its start. Nothing if its parts are gone.
    pub(crate) async fn read_parts(&self, record: &Record) -> Result<Option<Reading>> {
        let reading = Reading::start(&self.files, record, 0..record.size, "an upload's parts".to_owned()).await;
        reading.map_err(|error| internal("reading a data file", error))
    }

    /// The uploads of a bucket in one span of keys behind `after`, in order of key and name, at most so many.
    pub(crate) async fn uploads(
        &self,
        _: &Live,
        bucket: BucketId,
        span: &Span,
        after: (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<Upload>> {
        // A key that is text sorts before every blob: without an end the comparison with '' is never true.
        let rows = sqlx::query(
            "SELECT id, bucket, key, account, caller, opened_ms, algorithm, kind, headers FROM uploads \
             WHERE bucket = ? AND key >= ? AND (? IS NULL OR key < ?) AND (key, id) > (?, ?) ORDER BY key, id LIMIT ?",
        )
        .bind(bucket)
        .bind(&*span.start)
        .bind(span.end.as_deref())
        .bind(span.end.as_deref())
        .bind(after.0)
        .bind(after.1)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.index)
        .await
        .map_err(sql("listing uploads"))?;
        rows.iter().map(read_upload).collect::<sqlx::Result<_>>().map_err(sql("listing uploads"))
    }
}

struct CreateUpload {
    upload: Upload,
    /// How many its account may have open.
    most: u64,
}

#[async_trait]
impl Change for CreateUpload {
    /// Whether it was one that the account may have.
    type Answer = bool;

    fn when_full(&self) -> WhenFull {
        WhenFull::Refused
    }

    async fn apply(self, index: &mut Index, _: &mut After) -> sqlx::Result<bool> {
        let Upload { id, bucket, key, owner, opened, algorithm, kind, headers } = self.upload;
        if uploads_of(index, owner.account).await? >= self.most {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO uploads (id, bucket, key, account, caller, opened_ms, algorithm, kind, headers) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.bytes())
        .bind(bucket)
        .bind(&*key)
        .bind(&owner.account.to_bytes()[..])
        .bind(&owner.caller.to_bytes()[..])
        .bind(opened.as_millisecond())
        .bind(algorithm.as_str())
        .bind(kind.as_str())
        .bind(headers.encode())
        .execute(index)
        .await?;
        Ok(true)
    }
}

struct PutPart {
    upload: UploadId,
    number: i32,
    size: u64,
    draft: Option<Draft>,
    digests: Digests,
    modified_ms: i64,
}

#[async_trait]
impl Change for PutPart {
    type Answer = bool;

    fn when_full(&self) -> WhenFull {
        // What lies in a file was admitted as it was written.
        if self.draft.is_some() { WhenFull::Made } else { WhenFull::Refused }
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<bool> {
        let Self { upload, number, size, draft, digests, modified_ms } = self;
        if upload_of(index, upload).await?.is_none() {
            return Ok(false);
        }
        let before: Option<Option<FileId>> =
            sqlx::query_scalar("SELECT file FROM parts WHERE upload = ? AND number = ?")
                .bind(upload.bytes())
                .bind(number)
                .fetch_optional(&mut *index)
                .await?;
        if let Some(Some(file)) = before {
            release_files(index, vec![file], after).await?;
        }
        if before.is_some() {
            let removed = sqlx::query("DELETE FROM parts WHERE upload = ? AND number = ?");
            removed.bind(upload.bytes()).bind(number).execute(&mut *index).await?;
        }
        let file = draft.as_ref().map(Draft::id);
        if let Some(draft) = draft {
            adopt(index, draft, after).await?;
        }
        sqlx::query(
            "INSERT INTO parts (upload, number, size, file, md5, checksum, modified_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(upload.bytes())
        .bind(number)
        .bind(size.cast_signed())
        .bind(file)
        .bind(&digests.md5[..])
        .bind(digests.kept())
        .bind(modified_ms)
        .execute(index)
        .await?;
        Ok(true)
    }
}

async fn forget_upload(index: &mut Index, upload: UploadId) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM parts WHERE upload = ?").bind(upload.bytes()).execute(&mut *index).await?;
    sqlx::query("DELETE FROM uploads WHERE id = ?").bind(upload.bytes()).execute(index).await?;
    Ok(())
}

struct AbortUpload(UploadId);

#[async_trait]
impl Change for AbortUpload {
    type Answer = bool;

    fn when_full(&self) -> WhenFull {
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<bool> {
        if upload_of(index, self.0).await?.is_none() {
            return Ok(false);
        }
        for part in parts_of(index, self.0).await? {
            release_files(index, part.file.into_iter().collect(), after).await?;
        }
        forget_upload(index, self.0).await?;
        Ok(true)
    }
}

struct CompleteUpload {
    upload: UploadId,
    completion: Completion,
    /// How many objects an account may keep.
    most: Option<u64>,
    now: Timestamp,
}

/// The checksum of the whole, as shown.
fn checksum_of(parts: &[Part], algorithm: Algorithm, kind: Kind) -> String {
    use data_encoding::BASE64;
    let whole = match kind {
        Kind::FullObject => algorithm.combine(parts.iter().map(|part| (&*part.checksum, part.size))),
        Kind::Composite => None,
    };
    if let Some(whole) = whole {
        BASE64.encode(&whole)
    } else {
        let pieces: Vec<u8> = parts.iter().flat_map(|part| part.checksum.iter().copied()).collect();
        format!("{}-{}", BASE64.encode(&algorithm.of(&pieces)), parts.len())
    }
}

/// The object that the parts of an upload make.
pub(crate) struct Assembled {
    pub(crate) record: Record,
    pub(crate) origin: Origin,
}

/// Holds what the client says of the whole against the parts there are.
fn assemble(
    upload: Upload,
    there: &[Part],
    completion: &Completion,
    now: Timestamp,
) -> std::result::Result<Assembled, Incomplete> {
    let parts = chosen(there, &completion.parts)?;
    let size = parts.iter().map(|part| part.size).sum();
    let checksum = checksum_of(&parts, upload.algorithm, upload.kind);
    if completion.size.is_some_and(|told| told != size) {
        return Err(Incomplete::WrongSize);
    }
    if completion.checksum.as_ref().is_some_and(|told| *told != checksum) {
        return Err(Incomplete::WrongChecksum);
    }
    let segments: Box<[Segment]> =
        parts.iter().filter_map(|part| Some(Segment { file: part.file?, size: part.size })).collect();
    let data = if segments.is_empty() { Data::Here(bytes::Bytes::new()) } else { Data::Files(segments) };
    let (upload_id, owner) = (upload.id, upload.owner);
    let mut headers = upload.headers;
    headers.set_checksum(upload.algorithm, &checksum, upload.kind);
    let etag = etag_of_parts(parts.iter().map(|part| &part.md5)).into();
    let record = Record { size, etag, modified: now, headers, data };
    Ok(Assembled { record, origin: Origin { upload: upload_id, owner, parts } })
}

#[async_trait]
impl Change for CompleteUpload {
    type Answer = std::result::Result<Arc<Record>, Incomplete>;

    fn when_full(&self) -> WhenFull {
        // The bytes are there already; parts that were not listed are freed.
        WhenFull::Made
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<Self::Answer> {
        let Self { upload: id, completion, most, now } = self;
        let Some(upload) = upload_of(index, id).await? else { return Ok(Err(Incomplete::NoSuchUpload)) };
        let (bucket, key, account) = (upload.bucket, upload.key.clone(), Some(upload.owner.account));
        let there = parts_of(index, id).await?;
        let Assembled { record, origin } = match assemble(upload, &there, &completion, now) {
            Ok(assembled) => assembled,
            Err(incomplete) => return Ok(Err(incomplete)),
        };
        if let Err(clash) =
            replace(index, Slot { bucket, key: &key, account, most }, &record, 0, &completion.condition, after).await?
        {
            return Ok(Err(Incomplete::Clash(clash)));
        }
        let used = |part: &Part| origin.parts.binary_search_by_key(&part.number, |used| used.number).is_ok();
        for part in there.iter().filter(|part| !used(part)) {
            release_files(index, part.file.into_iter().collect(), after).await?;
        }
        origin::keep(index, bucket, &key, &origin).await?;
        forget_upload(index, id).await?;
        Ok(Ok(Arc::new(record)))
    }
}
