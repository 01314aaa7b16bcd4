//! What an open dataset shows in the list: its newest file, and URLs to that, to its dictionary and to its sample.
//!
//! On the same road as every vend: one lease for all the URLs of a bucket, opened as the caller, recorded, charged, and ended
//! with its right. What fails in one bucket leaves its rows empty and the others as they are.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::audit::Author;
use valetkey_core::caller::Caller;
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::table::{Key, Listed};
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::newest::{Found, Spot};
use super::{NAME, TheirStack};

/// How long signing may take after that.
const SIGNING: std::time::Duration = std::time::Duration::from_secs(1);
/// Datasets of one answer whose objects one credential names, where it has to name them: more do not fit into its token.
const NAMED_AT_ONCE: usize = 24;

/// What a dataset shows.
#[derive(Default)]
pub(super) struct Row {
    pub(super) newest: Option<Arc<Listed>>,
    pub(super) dataset_url: Option<String>,
    pub(super) dictionary_url: Option<String>,
    pub(super) sample_dataset_url: Option<String>,
}

/// Rows, by the number of their dataset.
pub(super) type Rows = HashMap<usize, Row>;

/// The datasets of one bucket that a caller may open.
pub(super) struct Opened {
    pub(super) caller: Arc<Caller>,
    pub(super) storage: Arc<Storage>,
    /// What the credentials route would open.
    pub(super) rights: Arc<Rights>,
    pub(super) datasets: Vec<(usize, Dataset)>,
}

/// An object that an answer names.
#[derive(Clone, Copy)]
enum What {
    Newest,
    Dictionary,
    Sample,
}

/// The rows of all buckets. Each is read and vended for beside the others, and none is waited for any longer than the others.
pub(super) async fn rows(own: &Arc<TheirStack>, opened: impl Iterator<Item = Opened>) -> Rows {
    let known_by = Instant::now() + own.shelf.patience;
    let deadline = known_by + SIGNING;
    let jobs = opened.filter(|opened| Shape::S3_ONLY.contains(&opened.storage.kind.shape())).map(|opened| {
        let own = Arc::clone(own);
        // A task of its own: a lease that was opened comes to its end, whoever still waits for it.
        let job = own.shelf.files.tasks.clone().spawn(async move { opened.rows(&own, known_by).await });
        async move { timeout_at(deadline, job).await.ok().and_then(Result::ok).unwrap_or_default() }
    });
    join_all(jobs.collect::<Vec<_>>()).await.into_iter().flatten().collect()
}

impl Opened {
    async fn rows(self, own: &TheirStack, known_by: Instant) -> Rows {
        let mut rows = Rows::new();
        if let Err(error) = self.fill(own, known_by, &mut rows).await
            && !matches!(error.kind(), Kind::OutOfCredit | Kind::Forbidden)
        {
            tracing::warn!(storage = %self.storage.name, error = ?error, "no URLs of datasets could be signed");
        }
        rows
    }

    async fn fill(&self, own: &TheirStack, known_by: Instant, rows: &mut Rows) -> Result<(), Error> {
        let ours = self.storage.kind.is_ours();
        // SECURITY: what the newest file is called is told by a listing: without the right to one it is not told.
        let listed = self.rights.actions().contains(Action::ListBucket);
        let spots: Vec<(usize, Spot)> = if listed {
            self.datasets.iter().map(|(number, dataset)| (*number, Spot::of(dataset, &self.storage))).collect()
        } else {
            Vec::new()
        };
        let mut vended = None;
        if !ours && spots.iter().any(|(_, spot)| !own.shelf.knows(spot)) {
            vended = Some(self.vend(own, None).await?);
        }
        let credential = vended.as_ref().map(|vended| &vended.credential);
        let readings = spots.into_iter().map(|(number, spot)| async move {
            (number, own.shelf.newest(spot, &self.storage, credential, (self.caller.account, known_by)).await)
        });
        for (number, found) in join_all(readings).await {
            if let Some(Found::File(file)) = found {
                rows.entry(number).or_default().newest = Some(file);
            }
        }
        let named = self.named(rows);
        if named.is_empty() {
            return Ok(());
        }
        if !own.shelf.files.signer.shows_credential(&self.storage) {
            let vended = match vended {
                Some(vended) => vended,
                None => self.vend(own, None).await?,
            };
            return sign(own, &vended, &named, rows);
        }
        // SECURITY: who has one of the URLs has the credential: it opens what this answer names, and nothing else.
        for part in named.chunks(NAMED_AT_ONCE) {
            let objects = part.iter().map(|(_, _, key)| Path::object(key)).collect::<Result<Vec<_>, Error>>()?;
            let vended = self.vend(own, Some(Paths::only(objects)?)).await?;
            sign(own, &vended, part, rows)?;
        }
        Ok(())
    }

    /// The objects that the answer names. SECURITY: each is one that the caller's own credentials would open.
    fn named(&self, rows: &Rows) -> Vec<(usize, What, Key)> {
        let all = self.datasets.iter().flat_map(|(number, dataset)| {
            let newest = rows.get(number).and_then(|row| row.newest.as_ref()).map(|file| file.key.clone());
            [
                (*number, What::Newest, newest),
                (*number, What::Dictionary, dataset.dictionary.clone()),
                (*number, What::Sample, dataset.sample.clone()),
            ]
        });
        let named = all.filter_map(|(number, what, key)| Some((number, what, key?)));
        named.filter(|(_, _, key)| self.rights.parts().cover(key, Action::GetObject)).collect()
    }

    /// A lease, and what came of it: of all the caller's datasets in the bucket, or of some objects.
    async fn vend(&self, own: &TheirStack, objects: Option<Paths>) -> Result<Vended, Error> {
        let bucket = self.rights.bucket().clone();
        let get = Actions::of(&[Action::GetObject]);
        let (target, wanted) = match objects {
            // Our own endpoint is asked for objects, and not to list.
            None if self.storage.kind.is_ours() => (Target::Datasets { bucket: Some(bucket) }, Wanted::all_of(get)),
            None => (Target::Datasets { bucket: Some(bucket) }, Wanted::between(get, Actions::READ)),
            Some(paths) => (Target::Place { bucket, paths }, Wanted::between(get, Actions::READ)),
        };
        let ask = Ask {
            dialect: NAME,
            target,
            wanted,
            lifetime: Asked::Usual(own.settings.url_lifetime),
            carries: Shape::S3_ONLY,
        };
        let now = own.shared.vending.now();
        // The list is answered all the same: what was refused of it is put on record here.
        own.shared.vending.vend(&self.caller, &ask).await.inspect_err(|error| {
            let (account, caller) = (Some(self.caller.account), Some(self.caller.id));
            let from = Author::current().from;
            let refusal = Refusal { account, caller, from, dialect: NAME, kind: error.kind() };
            own.shared.vending.ledger.refused(refusal, now);
        })
    }
}

/// Signs URLs to objects that a lease opens.
fn sign(own: &TheirStack, vended: &Vended, named: &[(usize, What, Key)], rows: &mut Rows) -> Result<(), Error> {
    let (now, until) = (own.shared.vending.now(), vended.lease.until);
    for (number, what, key) in named {
        let signer = &own.shelf.files.signer;
        let url = signer.one(&vended.storage, &vended.credential, &vended.lease.rights, key, now, until)?;
        let row = rows.entry(*number).or_default();
        let place = match what {
            What::Newest => &mut row.dataset_url,
            What::Dictionary => &mut row.dictionary_url,
            What::Sample => &mut row.sample_dataset_url,
        };
        *place = Some(url.reveal().clone());
    }
    Ok(())
}
