//! A database of SQLite and the blobs its rows name, held while a server goes on: what a backup copies.

use std::path::Path;

use valetkey_core::Error;
use valetkey_core::nouns::registry::LedgerHead;
pub use valetkey_sql::{Held, remove_left};

use crate::sql::packages::FileName;

/// Holds a database; it is to be copied to a new file. The blobs are below `packages`, beside it.
///
/// # Errors
/// `Internal`, with the name of the file.
pub async fn hold(database: &Path, copy: &Path) -> Result<Held, Error> {
    Held::take(database, &database.with_file_name("packages"), copy, |db| {
        Box::pin(async move {
            let names =
                sqlx::query_scalar::<_, Vec<u8>>("SELECT file FROM source.package_blobs WHERE file IS NOT NULL");
            let names = names.fetch_all(db).await?;
            let below = |name: Vec<u8>| {
                let name = <[u8; 16]>::try_from(name).map_err(|_| sqlx::Error::Decode("a blob's name".into()))?;
                Ok(FileName::from_bytes(name).below(Path::new("")))
            };
            names.into_iter().map(below).collect()
        })
    })
    .await
}

/// The last page of the ledger in a held database, if any is there.
///
/// # Errors
/// `Internal`.
pub async fn newest(held: &mut Held) -> Result<Option<LedgerHead>, Error> {
    // Behind its own chain there may be those of servers that it was copied from.
    const LAST: &str = "SELECT seq, hash FROM source.ledger_pages WHERE seq <= (1 << 40) ORDER BY seq DESC LIMIT 1";
    Ok(held
        .ask::<(i64, Vec<u8>)>(LAST)
        .await?
        .and_then(|(seq, hash)| Some(LedgerHead { seq: seq.try_into().ok()?, hash: hash.try_into().ok()? })))
}
