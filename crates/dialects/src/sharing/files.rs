//! URLs for an answer's files: one lease for all of them, one URL for each, signed for exactly one key.

use jiff::Timestamp;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::share::{SharedTable, TableRoot};
use valetkey_core::table::{DeletionVector, Whereabouts};
use valetkey_core::{Error, Kind, Secret};

use super::lines::Signed;
use super::table::Found;
use super::{Sharing, Urls};
use crate::edge::Call;

/// What of a table an answer hands out.
pub(super) struct Wanted<'a> {
    table: &'a SharedTable,
    keys: Vec<&'a [u8]>,
    roots: Vec<&'a TableRoot>,
}

/// The URLs of an answer, in the order the keys were wanted in.
pub(super) struct Given {
    urls: Vec<Secret<String>>,
    at: usize,
    until: Timestamp,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(table: &'a SharedTable) -> Self {
        Self { table, keys: Vec::new(), roots: Vec::new() }
    }

    /// Wants a file, and the one of its rows that are gone, if there is one.
    ///
    /// # Errors
    /// `Invalid` when the log names a file that lies in none of the table's locations.
    pub(super) fn add(&mut self, place: &'a Whereabouts, vector: Option<&'a DeletionVector>) -> Result<(), Error> {
        self.add_one(place)?;
        match vector.and_then(|vector| vector.file.as_ref()) {
            Some(place) => self.add_one(place),
            None => Ok(()),
        }
    }

    fn add_one(&mut self, place: &'a Whereabouts) -> Result<(), Error> {
        let table = self.table;
        // SECURITY: a log may name any object there is. Only what lies in a location that was shared is handed out.
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
        self.keys.push(key);
        if !self.roots.contains(&root) {
            self.roots.push(root);
        }
        Ok(())
    }
}

impl Given {
    /// The URLs of the next file.
    ///
    /// # Errors
    /// `Internal` when there are no more.
    pub(super) fn next(&mut self, vector: Option<&DeletionVector>) -> Result<Signed<'_>, Error> {
        let missing = || Error::internal("there are fewer URLs than files");
        let own = self.at;
        let deleted = vector.is_some_and(|vector| vector.file.is_some()).then_some(own + 1);
        self.at = deleted.unwrap_or(own) + 1;
        let url = |at: usize| self.urls.get(at).map(|url| url.reveal().as_str()).ok_or_else(missing);
        Ok(Signed { url: url(own)?, deleted: deleted.map(url).transpose()?, until: self.until })
    }

    /// When the URLs end; nothing if there are none.
    pub(super) fn until(&self) -> Option<Timestamp> {
        (!self.urls.is_empty()).then_some(self.until)
    }
}

impl Sharing {
    /// Vends one credential for the wanted files' directories and signs their URLs with it. An answer without files needs none.
    pub(super) async fn sign(
        &self,
        call: &Call,
        found: &Found,
        urls: &Urls,
        wanted: &Wanted<'_>,
    ) -> Result<Given, Error> {
        if wanted.keys.is_empty() {
            return Ok(Given { urls: Vec::new(), at: 0, until: call.now });
        }
        let roots = wanted.roots.iter().map(|root| Path::directory(root.as_str().as_bytes()));
        let ask = found.ask(self, Paths::only(roots.collect::<Result<Vec<_>, Error>>()?)?);
        let vended = self.shared.desk.vend(&call.caller, &ask).await?;
        let (now, until) = (vended.lease.opened, vended.credential.expiration());
        let signed = urls
            .signer
            .sign_urls(&vended.storage, &vended.credential, &found.table.bucket, &wanted.keys, now, until)
            .await?;
        Ok(Given { urls: signed, at: 0, until })
    }
}
