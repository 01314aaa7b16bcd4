//! Changes: written first, then seen by every decision, then answered. A caller who goes away midway leaves neither half.

mod accounts;
mod callers;
mod chains;
mod grants;
mod leases;
mod policy_sets;
mod removals;
mod storages;
mod tokens;

use valetkey_core::Error;
use valetkey_core::time::random_10;

use crate::database::Database;
use crate::sql::db::Db;

impl Database {
    pub(crate) fn noise(&self) -> [u8; 10] {
        random_10(&*self.shared.entropy)
    }

    pub(crate) async fn reader(&self) -> Result<Db, Error> {
        // Nobody waits in vain for a server that is away.
        self.in_touch()?;
        self.shared.db.reader().await
    }
}
