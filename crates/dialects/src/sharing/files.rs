//! URLs for an answer's files: one lease for all of them, one URL for each, signed for exactly one key when its line is told.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::nouns::table::{DeletionVector, SharedTable, TableRoot, Whereabouts};
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind, Secret};

use super::Sharing;
use super::table::{Found, Log};
use crate::edge::Call;

/// What of a table an answer hands out: looked at before anything is signed.
pub(super) struct Wanted {
    table: Arc<SharedTable>,
    roots: Vec<TableRoot>,
    any: bool,
    /// About how many bytes the lines will have.
    bytes: u64,
    line_bytes: usize,
    most_bytes: u64,
}

/// About what a line has beside what is counted: a signature with its credential, and the names of fields.
const LINE_BYTES: usize = 1024;
/// The same where somebody else runs the store: session tokens of AWS are longer than ours.
const LINE_BYTES_ELSEWHERE: usize = 3072;

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
    pub(super) fn of(found: &Found, most_bytes: u64) -> Self {
        let line_bytes = if found.storage.kind.is_ours() { LINE_BYTES } else { LINE_BYTES_ELSEWHERE };
        let table = Arc::clone(&found.table);
        Self { table, roots: Vec::new(), any: false, bytes: 0, line_bytes, most_bytes }
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
        self.bytes = self.bytes.saturating_add((told + self.line_bytes) as u64);
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
    /// What each location's are signed with.
    urls: Vec<(TableRoot, Arc<dyn SignedUrls>)>,
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
        let deleted = vector.and_then(|vector| vector.file.as_ref()).map(|place| self.url(place)).transpose()?;
        Ok(Signed { url: self.url(place)?, deleted, until: self.until })
    }

    fn url(&self, place: &Whereabouts) -> Result<Secret<String>, Error> {
        let (key, root) = shared(&self.table, place)?;
        let urls = self.urls.iter().find(|(of, _)| of == root);
        urls.ok_or_else(|| Error::internal("there is nothing that signs for this location"))?.1.url(key)
    }

    /// When the URLs end.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

impl Sharing {
    /// What signs the URLs of the wanted files. An answer without files needs none. At our own endpoint one credential is vended for
    /// all of their directories. Elsewhere what the log was read with signs too; an auxiliary location has its own, because not every
    /// store opens two places with one.
    pub(super) async fn sign(
        &self,
        call: &Call,
        found: &Found,
        log: &Log<'_>,
        wanted: &Wanted,
    ) -> Result<Option<Signer>, Error> {
        if !wanted.any {
            return Ok(None);
        }
        let mut signer = Signer { table: Arc::clone(&found.table), urls: Vec::new(), until: Timestamp::MAX };
        let Some(read) = &log.reading.vended else {
            let vended = self.vend_for(call, found, &wanted.roots).await?;
            self.add(&mut signer, log, &vended, &wanted.roots).await?;
            return Ok(Some(signer));
        };
        for root in &wanted.roots {
            let alone = std::slice::from_ref(root);
            if *root == found.table.root {
                self.add(&mut signer, log, read, alone).await?;
            } else {
                let vended = self.vend_for(call, found, alone).await?;
                self.add(&mut signer, log, &vended, alone).await?;
            }
        }
        Ok(Some(signer))
    }

    async fn vend_for(&self, call: &Call, found: &Found, roots: &[TableRoot]) -> Result<Vended, Error> {
        let paths = roots.iter().map(|root| Path::directory(root.as_str().as_bytes()));
        let ask = found.ask(self, Paths::only(paths.collect::<Result<Vec<_>, Error>>()?)?);
        self.shared.vending.vend_knowing(&call.caller, &ask, &call.facts()).await
    }

    async fn add(&self, signer: &mut Signer, log: &Log<'_>, vended: &Vended, roots: &[TableRoot]) -> Result<(), Error> {
        let Vended { lease, credential, storage, .. } = vended;
        // What was vended may have been fetched before: it ends by its own time, and so do its URLs.
        let until = credential.expiration();
        let signs = log.urls.signer.signs_each(storage, credential, &lease.rights, lease.opened, until).await?;
        let signs: Arc<dyn SignedUrls> = Arc::from(signs);
        signer.urls.extend(roots.iter().map(|root| (root.clone(), Arc::clone(&signs))));
        signer.until = signer.until.min(until);
        Ok(())
    }
}
