//! The index of a data directory and the files it names, held while a server goes on: what a backup copies.

use std::path::{Path, PathBuf};

use valetkey_core::Error;
use valetkey_sql::Held;

use crate::objects::files::path_below;

/// Holds the objects of an endpoint's data directory; the index is to be copied to a new file. The files are below `files`.
///
/// # Errors
/// `Internal`, with the name of the file.
pub async fn hold(data_dir: &Path, copy: &Path) -> Result<Held, Error> {
    Held::take(&data_dir.join("index.sqlite"), &data_dir.join("files"), copy, |index| {
        Box::pin(async move {
            let files = sqlx::query_scalar("SELECT id FROM source.files ORDER BY id").fetch_all(index).await?;
            Ok(files.into_iter().map(|id| path_below(Path::new(""), id)).collect::<Vec<PathBuf>>())
        })
    })
    .await
}
