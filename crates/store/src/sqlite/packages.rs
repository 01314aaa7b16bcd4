//! The tables of packages: blobs, manifests, tags and uploads.

use jiff::Timestamp;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::name::Name;
use valetkey_core::package::{Digest, MOST_UPLOADS, Manifest, Reference, Tag, Upload};

use crate::sqlite::failed;
use crate::sqlite::rows::{count, damaged};

pub(crate) async fn begin(
    db: &mut SqliteConnection,
    upload: &Upload,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let mut change = db.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    sqlx::query("DELETE FROM package_uploads WHERE until_ms <= ?")
        .bind(now.as_millisecond())
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    sqlx::query(
        "DELETE FROM package_uploads WHERE key IN
         (SELECT key FROM package_uploads WHERE caller = ? ORDER BY made_ms DESC LIMIT -1 OFFSET ?)",
    )
    .bind(upload.caller.to_bytes().to_vec())
    .bind(i64::from(MOST_UPLOADS) - 1)
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    sqlx::query(
        "INSERT INTO package_uploads (key, account, caller, package, made_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(upload.key.as_bytes().to_vec())
    .bind(upload.account.to_bytes().to_vec())
    .bind(upload.caller.to_bytes().to_vec())
    .bind(upload.package.as_str().to_owned())
    .bind(now.as_millisecond())
    .bind(until.as_millisecond())
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    change.commit().await.map_err(failed)
}

/// Ends an upload. `own` is the digest of the bytes.
pub(crate) async fn finish(
    db: &mut SqliteConnection,
    upload: &Upload,
    digest: Digest,
    own: Digest,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut change = db.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let ended = sqlx::query(
        "DELETE FROM package_uploads WHERE key = ? AND account = ? AND caller = ? AND package = ? AND until_ms > ?",
    )
    .bind(upload.key.as_bytes().to_vec())
    .bind(upload.account.to_bytes().to_vec())
    .bind(upload.caller.to_bytes().to_vec())
    .bind(upload.package.as_str().to_owned())
    .bind(now.as_millisecond())
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    if ended.rows_affected() == 0 {
        return Err(Error::not_found(Noun::Package));
    }
    // Without a commit the upload is still there.
    digest.check(own)?;
    sqlx::query(
        "INSERT INTO package_blobs (account, digest, made_ms, made_by, body) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(upload.account.to_bytes().to_vec())
    .bind(digest.as_bytes().to_vec())
    .bind(now.as_millisecond())
    .bind(upload.caller.to_bytes().to_vec())
    .bind(body)
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    change.commit().await.map_err(failed)
}

pub(crate) async fn blob(
    db: &mut SqliteConnection,
    account: AccountId,
    digest: Digest,
) -> Result<Option<Vec<u8>>, Error> {
    sqlx::query_scalar("SELECT body FROM package_blobs WHERE account = ? AND digest = ?")
        .bind(account.to_bytes().to_vec())
        .bind(digest.as_bytes().to_vec())
        .fetch_optional(db)
        .await
        .map_err(failed)
}

pub(crate) async fn blob_size(
    db: &mut SqliteConnection,
    account: AccountId,
    digest: Digest,
) -> Result<Option<u64>, Error> {
    let size: Option<i64> =
        sqlx::query_scalar("SELECT length(body) FROM package_blobs WHERE account = ? AND digest = ?")
            .bind(account.to_bytes().to_vec())
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(size.map(count))
}

pub(crate) async fn put_manifest(
    db: &mut SqliteConnection,
    account: AccountId,
    package: &Name,
    tag: Option<&Tag>,
    manifest: &Manifest,
    needs: &[Digest],
    now: Timestamp,
) -> Result<(), Error> {
    let mut change = db.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    for digest in needs {
        if blob_size(&mut change, account, *digest).await?.is_none() {
            return Err(Manifest::lacks(*digest));
        }
    }
    sqlx::query(
        "INSERT INTO package_manifests (account, package, digest, media_type, made_ms, body) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (account, package, digest) DO UPDATE SET media_type = excluded.media_type",
    )
    .bind(account.to_bytes().to_vec())
    .bind(package.as_str().to_owned())
    .bind(manifest.digest.as_bytes().to_vec())
    .bind(manifest.media_type.to_string())
    .bind(now.as_millisecond())
    .bind(manifest.body.clone())
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    if let Some(tag) = tag {
        sqlx::query(
            "INSERT INTO package_tags (account, package, tag, digest, updated_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (account, package, tag) DO UPDATE SET digest = excluded.digest, updated_ms = excluded.updated_ms",
        )
        .bind(account.to_bytes().to_vec())
        .bind(package.as_str().to_owned())
        .bind(tag.as_str().to_owned())
        .bind(manifest.digest.as_bytes().to_vec())
        .bind(now.as_millisecond())
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    }
    change.commit().await.map_err(failed)
}

pub(crate) async fn manifest(
    db: &mut SqliteConnection,
    account: AccountId,
    package: &Name,
    reference: &Reference,
) -> Result<Option<Manifest>, Error> {
    let digest = match reference {
        Reference::Digest(digest) => Some(digest.as_bytes().to_vec()),
        Reference::Tag(tag) => {
            sqlx::query_scalar("SELECT digest FROM package_tags WHERE account = ? AND package = ? AND tag = ?")
                .bind(account.to_bytes().to_vec())
                .bind(package.as_str().to_owned())
                .bind(tag.as_str().to_owned())
                .fetch_optional(&mut *db)
                .await
                .map_err(failed)?
        }
    };
    let Some(digest) = digest else { return Ok(None) };
    let found: Option<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT media_type, body FROM package_manifests WHERE account = ? AND package = ? AND digest = ?",
    )
    .bind(account.to_bytes().to_vec())
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

pub(crate) async fn tags(db: &mut SqliteConnection, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error> {
    let found: Vec<String> =
        sqlx::query_scalar("SELECT tag FROM package_tags WHERE account = ? AND package = ? ORDER BY tag")
            .bind(account.to_bytes().to_vec())
            .bind(package.as_str().to_owned())
            .fetch_all(db)
            .await
            .map_err(failed)?;
    found.iter().map(|tag| Tag::parse(tag).map_err(|_| damaged("a tag"))).collect()
}
