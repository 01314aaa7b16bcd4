//! A whole database in another, empty one: from a file of SQLite to a server of Postgres, or back.

use std::path::{Path, PathBuf};

use valetkey_core::keyring::{CheckValue, goes_on};
use valetkey_core::{Error, Kind};
use valetkey_sql::Connection as _;

use crate::sql::db::Db;
use crate::sql::{self, Whereabouts, copy, failed, packages, ring};

/// A copy that was begun. Nobody is served from either database until it ends.
#[derive(Debug)]
pub struct Copying {
    from: Db,
    to: Db,
}

/// What was copied: the rows of each table.
pub type Copied = Vec<(&'static str, u64)>;

impl Copying {
    /// Begins to copy everything from one database into an empty one. Both are brought to this version's schema first. `ring` is the
    /// keyring that the copy will be used with.
    ///
    /// # Errors
    /// `Invalid`: the same database twice, one that a server runs on, one that is not empty, another keyring. `Unavailable`.
    pub async fn begin(from: &Whereabouts, to: &Whereabouts, ring: &[CheckValue]) -> Result<Self, Error> {
        if from.to_string() == to.to_string() {
            return Err(Error::new(Kind::Invalid, format!("{from} cannot be copied to itself")));
        }
        let mut own = Self { from: opened(from).await?, to: opened(to).await? };
        copy::begin_reading(&mut own.from).await?;
        let known = ring::known(&mut own.from).await?;
        goes_on(&known, ring).map_err(|misfit| {
            Error::new(Kind::Invalid, format!("the copy needs the keyring that {from} is used with: {misfit}"))
        })?;
        copy::empty(&mut own.to).await.map_err(|error| of(to, error))?;
        Ok(own)
    }

    /// The files that rows name, below the directory `packages` beside the database.
    ///
    /// # Errors
    /// `Unavailable`; `Internal`.
    pub async fn files(&mut self) -> Result<Vec<PathBuf>, Error> {
        let names = packages::files(&mut self.from).await?;
        Ok(names.into_iter().map(|name| name.below(Path::new(""))).collect())
    }

    /// Copies every row, and reads each again where it went: all of them are kept, or none. The files are durable by now.
    ///
    /// # Errors
    /// `Unavailable`; `Internal`, where the copy is not the same.
    pub async fn finish(mut self) -> Result<Copied, Error> {
        let copied = copy::all(&mut self.from, &mut self.to).await?;
        self.to.commit().await.map_err(failed)?;
        // What it was read from may have gone away by now.
        let _ = self.from.close().await;
        self.to.close().await.map_err(failed)?;
        Ok(copied)
    }
}

async fn opened(at: &Whereabouts) -> Result<Db, Error> {
    sql::migrate(at).await?;
    let mut db = sql::connection(at).await?;
    copy::alone(&mut db).await.map_err(|error| of(at, error))?;
    Ok(db)
}

/// Says of which database a refusal is.
fn of(at: &Whereabouts, error: Error) -> Error {
    let said = Error::new(error.kind(), format!("the database {at} cannot be used: {}", error.message()));
    // Its own words are not repeated.
    if std::error::Error::source(&error).is_some() { said.caused_by(error) } else { said }
}
