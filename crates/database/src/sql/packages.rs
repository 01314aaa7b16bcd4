//! The tables of packages: blobs, manifests, tags and uploads.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, MOST_UPLOADS, Manifest, Reference, Tag, Upload};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::failed;
use crate::sql::rows::{count, damaged, id, signed};

/// A file's name: the millisecond it was made in, and randomness. Never given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FileName([u8; 16]);

impl FileName {
    /// Takes the stored bytes.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

pub(crate) async fn begin(db: &mut Db, upload: &Upload, until: Timestamp, now: Timestamp) -> Result<(), Error> {
    query("DELETE FROM package_uploads WHERE until_ms <= ?")
        .bind(now.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    query(
        "DELETE FROM package_uploads WHERE key IN
         (SELECT key FROM package_uploads WHERE caller = ? ORDER BY made_ms DESC LIMIT 9223372036854775807 OFFSET ?)",
    )
    .bind(upload.caller.to_bytes())
    .bind(i64::from(MOST_UPLOADS) - 1)
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    query("INSERT INTO package_uploads (key, account, caller, package, made_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(upload.key.as_bytes().to_vec())
        .bind(upload.account.to_bytes())
        .bind(upload.caller.to_bytes())
        .bind(upload.package.as_str().to_owned())
        .bind(now.as_millisecond())
        .bind(until.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// A blob that is in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blob {
    pub(crate) file: FileName,
    pub(crate) size: u64,
}

/// What became of a blob's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// It names the file.
    Kept,
    /// There was one already: nothing names the file.
    WasThere,
}

/// Where a blob's bytes are.
pub(crate) enum Kept {
    /// In its row, as older versions kept them.
    Here(Vec<u8>),
    /// In this file.
    File(FileName),
}

/// Refuses an upload that was not begun, or whose time is over.
pub(crate) async fn check_upload(db: &mut Db, upload: &Upload, now: Timestamp) -> Result<(), Error> {
    let found: Option<i64> = query_scalar(
        "SELECT 1 FROM package_uploads WHERE key = ? AND account = ? AND caller = ? AND package = ? AND until_ms > ?",
    )
    .bind(upload.key.as_bytes().to_vec())
    .bind(upload.account.to_bytes())
    .bind(upload.caller.to_bytes())
    .bind(upload.package.as_str().to_owned())
    .bind(now.as_millisecond())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(|_| ()).ok_or_else(|| Error::not_found(Noun::Package))
}

/// Ends an upload. Without a blob it is known to be there already.
pub(crate) async fn finish(
    db: &mut Db,
    upload: &Upload,
    digest: Digest,
    blob: Option<Blob>,
    now: Timestamp,
) -> Result<Put, Error> {
    check_upload(&mut *db, upload, now).await?;
    query("DELETE FROM package_uploads WHERE key = ?")
        .bind(upload.key.as_bytes().to_vec())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    let Some(Blob { file, size }) = blob else {
        return Ok(Put::WasThere);
    };
    let rows = query(
        "INSERT INTO package_blobs (account, digest, made_ms, made_by, body, file, size) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (account, digest) DO NOTHING",
    )
    .bind(upload.account.to_bytes())
    .bind(digest.as_bytes().to_vec())
    .bind(now.as_millisecond())
    .bind(upload.caller.to_bytes())
    .bind(Vec::new())
    .bind(file.to_bytes())
    .bind(signed(size))
    .execute(&mut *db)
    .await
    .map_err(failed)?
    .rows_affected();
    Ok(if rows == 0 { Put::WasThere } else { Put::Kept })
}

pub(crate) async fn blob(db: &mut Db, account: AccountId, digest: Digest) -> Result<Option<Kept>, Error> {
    let found: Option<(Vec<u8>, Option<Vec<u8>>)> =
        query_as("SELECT body, file FROM package_blobs WHERE account = ? AND digest = ?")
            .bind(account.to_bytes())
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    found
        .map(|(body, file)| match file {
            None => Ok(Kept::Here(body)),
            Some(name) => Ok(Kept::File(FileName::from_bytes(id(&name)?))),
        })
        .transpose()
}

/// Whether a row names the file.
pub(crate) async fn has_file(db: &mut Db, name: FileName) -> Result<bool, Error> {
    let found: Option<i64> = query_scalar("SELECT 1 FROM package_blobs WHERE file = ?")
        .bind(name.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}

/// Every file that a row names.
pub(crate) async fn files(db: &mut Db) -> Result<Vec<FileName>, Error> {
    let found: Vec<Vec<u8>> =
        query_scalar("SELECT file FROM package_blobs WHERE file IS NOT NULL").fetch_all(db).await.map_err(failed)?;
    found.iter().map(|name| Ok(FileName::from_bytes(id(name)?))).collect()
}

pub(crate) async fn blob_size(db: &mut Db, account: AccountId, digest: Digest) -> Result<Option<u64>, Error> {
    let size: Option<i64> =
        query_scalar("SELECT coalesce(size, length(body)) FROM package_blobs WHERE account = ? AND digest = ?")
            .bind(account.to_bytes())
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(size.map(count))
}

pub(crate) async fn put_manifest(
    db: &mut Db,
    account: AccountId,
    package: &Name,
    tag: Option<&Tag>,
    manifest: &Manifest,
    needs: &[Digest],
    now: Timestamp,
) -> Result<(), Error> {
    for digest in needs {
        if blob_size(&mut *db, account, *digest).await?.is_none() {
            return Err(Manifest::lacks(*digest));
        }
    }
    query(
        "INSERT INTO package_manifests (account, package, digest, media_type, made_ms, body) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (account, package, digest) DO UPDATE SET media_type = excluded.media_type",
    )
    .bind(account.to_bytes())
    .bind(package.as_str().to_owned())
    .bind(manifest.digest.as_bytes().to_vec())
    .bind(manifest.media_type.to_string())
    .bind(now.as_millisecond())
    .bind(manifest.body.clone())
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    if let Some(tag) = tag {
        query(
            "INSERT INTO package_tags (account, package, tag, digest, updated_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (account, package, tag) DO UPDATE SET digest = excluded.digest, updated_ms = excluded.updated_ms",
        )
        .bind(account.to_bytes())
        .bind(package.as_str().to_owned())
        .bind(tag.as_str().to_owned())
        .bind(manifest.digest.as_bytes().to_vec())
        .bind(now.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

pub(crate) async fn manifest(
    db: &mut Db,
    account: AccountId,
    package: &Name,
    reference: &Reference,
) -> Result<Option<Manifest>, Error> {
    let digest = match reference {
        Reference::Digest(digest) => Some(digest.as_bytes().to_vec()),
        Reference::Tag(tag) => {
            query_scalar("SELECT digest FROM package_tags WHERE account = ? AND package = ? AND tag = ?")
                .bind(account.to_bytes())
                .bind(package.as_str().to_owned())
                .bind(tag.as_str().to_owned())
                .fetch_optional(&mut *db)
                .await
                .map_err(failed)?
        }
    };
    let Some(digest) = digest else { return Ok(None) };
    let found: Option<(String, Vec<u8>)> =
        query_as("SELECT media_type, body FROM package_manifests WHERE account = ? AND package = ? AND digest = ?")
            .bind(account.to_bytes())
            .bind(package.as_str().to_owned())
            .bind(digest.clone())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    let digest: [u8; 32] = digest.as_slice().try_into().map_err(|_| damaged("a digest"))?;
    Ok(found.map(|(media_type, body)| Manifest {
        digest: Digest::from_bytes(digest),
        media_type: media_type.into(),
        body,
    }))
}

pub(crate) async fn tags(db: &mut Db, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error> {
    let found: Vec<String> =
        query_scalar("SELECT tag FROM package_tags WHERE account = ? AND package = ? ORDER BY tag")
            .bind(account.to_bytes())
            .bind(package.as_str().to_owned())
            .fetch_all(db)
            .await
            .map_err(failed)?;
    found.iter().map(|tag| Tag::parse(tag).map_err(|_| damaged("a tag"))).collect()
}
