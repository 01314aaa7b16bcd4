//! URLs for an answer's files: one lease for all of them, one URL for each, signed for exactly one key when its line is told.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::nouns::share::{SharedTable, TableRoot};
use valetkey_core::nouns::table::{DeletionVector, Whereabouts};
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::{Error, Kind, Secret};

use super::table::Found;
use super::{Sharing, Urls};
use crate::edge::Call;

/// What of a table an answer hands out: looked at before anything is signed.
pub(super) struct Wanted {
    table: Arc<SharedTable>,
    roots: Vec<TableRoot>,
    any: bool,
    /// About how many bytes the lines will have.
    bytes: u64,
    most_bytes: u64,
}

/// About what a line has beside what is counted: a signature with its credential, and the names of fields.
const LINE_BYTES: usize = 1024;

/// The key of a file that may be handed out, and the location it is in.
///
/// SECURITY: a log may name any object there is. Only what lies in a location that was shared is handed out; signing asks here
/// again.
///
/// # Errors
/// `Invalid` when the log names a file that lies in none of the table's locations.
fn shared<'a>(table: &'a SharedTable, place: &'a Whereabouts) -> Result<(&'a [u8], &'a TableRoot), Error> {
    let found = match place {
        Whereabouts::Inside(key) => Some((&**key, table.root.holds(key).then_some(&table.root))),
        Whereabouts::Elsewhere { bucket, key } if *bucket == table.bucket => {
            Some((&**key, table.auxiliary.iter().find(|root| root.holds(key))))
        }
        Whereabouts::Elsewhere { .. } | Whereabouts::Outside => None,
    };
    let Some((key, Some(root))) = found else {
        let said = "the table has files outside of its shared locations and cannot be served by `url`";
        return Err(Error::new(Kind::Invalid, said));
    };
    Ok((key, root))
}

impl Wanted {
    pub(super) fn of(table: &Arc<SharedTable>, most_bytes: u64) -> Self {
        Self { table: Arc::clone(table), roots: Vec::new(), any: false, bytes: 0, most_bytes }
    }

    /// Wants a file, and the one of its rows that are gone, if there is one. `told` is about what its line says of it.
    ///
    /// # Errors
    /// `Invalid` when the log names a file that lies in none of the table's locations, or when the answer would be too long.
    pub(super) fn add(
        &mut self,
        place: &Whereabouts,
        vector: Option<&DeletionVector>,
        told: usize,
    ) -> Result<(), Error> {
        self.add_one(place)?;
        if let Some(place) = vector.and_then(|vector| vector.file.as_ref()) {
            self.add_one(place)?;
        }
        self.bytes = self.bytes.saturating_add((told + LINE_BYTES) as u64);
        if self.bytes > self.most_bytes {
            let said = format!("the answer would have more than {} bytes; ask for less of the table", self.most_bytes);
            return Err(Error::new(Kind::Invalid, said));
        }
        Ok(())
    }

    fn add_one(&mut self, place: &Whereabouts) -> Result<(), Error> {
        let (_, root) = shared(&self.table, place)?;
        self.any = true;
        if !self.roots.contains(root) {
            self.roots.push(root.clone());
        }
        Ok(())
    }
}

/// What signs the URLs of an answer.
pub(super) struct Signer {
    table: Arc<SharedTable>,
    urls: Box<dyn SignedUrls>,
    until: Timestamp,
}

/// The URLs of one file.
pub(super) struct Signed {
    pub(super) url: Secret<String>,
    /// The URL of the file of rows that are gone, if there is one.
    pub(super) deleted: Option<Secret<String>>,
    pub(super) until: Timestamp,
}

impl Signer {
    pub(super) fn sign(&self, place: &Whereabouts, vector: Option<&DeletionVector>) -> Result<Signed, Error> {
        let url = |place: &Whereabouts| shared(&self.table, place).map(|(key, _)| self.urls.url(key));
        let deleted = vector.and_then(|vector| vector.file.as_ref()).map(url).transpose()?;
        Ok(Signed { url: url(place)?, deleted, until: self.until })
    }

    /// When the URLs end.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

impl Sharing {
    /// Vends one credential for the wanted files' directories. An answer without files needs none.
    pub(super) async fn sign(
        &self,
        call: &Call,
        found: &Found,
        urls: &Urls,
        wanted: &Wanted,
    ) -> Result<Option<Signer>, Error> {
        if !wanted.any {
            return Ok(None);
        }
        let roots = wanted.roots.iter().map(|root| Path::directory(root.as_str().as_bytes()));
        let ask = found.ask(self, Paths::only(roots.collect::<Result<Vec<_>, Error>>()?)?);
        let vended = self.shared.vending.vend(&call.caller, &ask).await?;
        let (now, until) = (vended.lease.opened, vended.credential.expiration());
        let signs = urls.signer.signs(&vended.storage, &vended.credential, &found.table.bucket, now, until)?;
        Ok(Some(Signer { table: Arc::clone(&found.table), urls: signs, until }))
    }
}
