//! Which upload an object was made by, and of which parts. Kept for as long as the object is there unchanged.

use jiff::Timestamp;
use sqlx::Row as _;
use valetkey_core::id::{AccountId, CallerId};

use crate::error::Result;
use crate::objects::checksum::etag_of_parts;
use crate::objects::parts::{Completion, Incomplete, Owner, Part, UploadId, chosen};
use crate::objects::record::Record;
use crate::objects::{BucketId, Index, Objects, sql};

/// Where an object comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) upload: UploadId,
    pub(crate) owner: Owner,
    pub(crate) parts: Vec<Part>,
}

impl Origin {
    /// Whether this is where the object comes from that is there now.
    pub(crate) fn is_of(&self, record: &Record) -> bool {
        *etag_of_parts(self.parts.iter().map(|part| &part.md5)) == *record.etag
    }

    /// Holds a completion that comes once more against the one there was. Its condition was held then against what was there,
    /// and nothing is written now (RFC 9110, section 13.1.1).
    pub(crate) fn answers(&self, completion: &Completion, record: &Record) -> std::result::Result<(), Incomplete> {
        if chosen(&self.parts, &completion.parts)?.len() != self.parts.len() {
            return Err(Incomplete::InvalidPart);
        }
        if completion.size.is_some_and(|told| told != record.size) {
            return Err(Incomplete::WrongSize);
        }
        let checksum = record.headers.checksum().map(|(_, shown, _)| shown);
        if completion.checksum.as_deref().is_some_and(|told| Some(told) != checksum) {
            return Err(Incomplete::WrongChecksum);
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let width = self.parts.first().map_or(0, |part| part.checksum.len());
        let mut out = vec![u8::try_from(width).unwrap_or(0)];
        for part in &self.parts {
            out.extend_from_slice(&part.number.to_be_bytes());
            out.extend_from_slice(&part.size.to_be_bytes());
            out.extend_from_slice(&part.md5);
            out.extend_from_slice(&part.checksum);
        }
        out
    }
}

/// Reads the parts that [`Origin::encode`] wrote.
fn decode(bytes: &[u8]) -> Option<Vec<Part>> {
    let (width, mut rest) = bytes.split_first()?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        let (size, behind) = behind.split_first_chunk::<8>()?;
        let (md5, behind) = behind.split_first_chunk::<16>()?;
        let (checksum, behind) = behind.split_at_checked(usize::from(*width))?;
        let (number, size) = (i32::from_be_bytes(*number), u64::from_be_bytes(*size));
        let (md5, checksum) = (*md5, checksum.into());
        parts.push(Part { number, size, file: None, md5, checksum, modified: Timestamp::UNIX_EPOCH });
        rest = behind;
    }
    Some(parts)
}

/// Keeps where an object comes from, in place of what was kept.
pub(super) async fn keep(index: &mut Index, bucket: BucketId, key: &[u8], origin: &Origin) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO origins (bucket, key, upload, account, caller, parts) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(bucket)
    .bind(key)
    .bind(origin.upload.bytes())
    .bind(&origin.owner.account.to_bytes()[..])
    .bind(&origin.owner.caller.to_bytes()[..])
    .bind(origin.encode())
    .execute(index)
    .await
    .map(drop)
}

/// Forgets where an object comes from.
pub(super) async fn forget(index: &mut Index, bucket: BucketId, key: &[u8]) -> sqlx::Result<()> {
    let forgotten = sqlx::query("DELETE FROM origins WHERE bucket = ? AND key = ?").bind(bucket).bind(key);
    forgotten.execute(index).await.map(drop)
}

impl Objects {
    /// Where an object comes from, if it was made of parts. To be held against its record: see [`Origin::is_of`].
    pub(crate) async fn origin(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Origin>> {
        let row = sqlx::query("SELECT upload, account, caller, parts FROM origins WHERE bucket = ? AND key = ?")
            .bind(bucket)
            .bind(key)
            .fetch_optional(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<Origin> {
            let broken = || sqlx::Error::Decode("an object's origin cannot be read".into());
            let sixteen = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| broken());
            let owner = Owner {
                account: AccountId::from_bytes(sixteen(row.try_get(1)?)?),
                caller: CallerId::from_bytes(sixteen(row.try_get(2)?)?),
            };
            let parts = decode(row.try_get(3)?).ok_or_else(broken)?;
            Ok(Origin { upload: UploadId::from_bytes(sixteen(row.try_get(0)?)?), owner, parts })
        };
        row.as_ref().map(read).transpose().map_err(sql("reading the index"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_read_back_as_written() {
        let part = |number: i32, checksum: &[u8]| Part {
            number,
            size: 5 << 40,
            file: None,
            md5: [7; 16],
            checksum: checksum.into(),
            modified: Timestamp::UNIX_EPOCH,
        };
        let owner = Owner { account: AccountId::from_bytes([1; 16]), caller: CallerId::from_bytes([2; 16]) };
        let parts = vec![part(1, b"abcd"), part(10_000, b"efgh")];
        let encoded = Origin { upload: UploadId::from_bytes([3; 16]), owner, parts }.encode();
        let read = decode(&encoded).unwrap();
        let told: Vec<_> = read.iter().map(|part| (part.number, part.size, part.md5, &*part.checksum)).collect();
        assert_eq!(told, [(1, 5 << 40, [7; 16], &b"abcd"[..]), (10_000, 5 << 40, [7; 16], b"efgh")]);
        assert!(decode(&encoded[..encoded.len() - 1]).is_none());
    }
}
