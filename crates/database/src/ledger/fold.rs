//! Makes the index of leases out of the pages, a little at a time while the writer has room. Questions do not wait for it
//! (`asking`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, LeaseRecord, LeaseState};
use valetkey_core::scope::Rights;
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::sql::ends::Ends;
use crate::sql::entry::{Issued, Opened, scope_digest};
use crate::sql::leases::{self, Found};
use crate::sql::notes::Unsaid;
use crate::sql::{pages, rows};

/// How long a question waits for what was opened before it to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// Leases folded while the writer's connection is held.
const SLICE: u32 = 256;

/// How often the folder looks.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How long it waits after a failure of the database.
const PAUSE: Duration = Duration::from_secs(1);

/// Time the folder takes of each tick.
const SHARE: Duration = Duration::from_millis(25);

/// More leases than this in a tick, and the folder waits for a quieter one.
const BUSY: u64 = 1_000;

/// With more than this outside the index it does not wait any longer: a list of leases would take minutes.
const MUCH: u64 = 2_000_000;

impl Database {
    /// Folds while it is quiet, until the store stops.
    pub(crate) async fn fold_in_background(self) {
        let mut opened = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.shared.stop.cancelled() => return,
            }
            let backlog = self.shared.backlog.load(Ordering::Relaxed);
            let came = backlog.saturating_sub(opened);
            opened = backlog;
            if backlog == 0 || (came > BUSY && backlog < MUCH) {
                continue;
            }
            let started = Instant::now();
            while started.elapsed() < SHARE {
                match self.fold_slice().await {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(error = ?error, "the ledger's index could not be brought up to date");
                        // It is not back in a tick, and one line a second tells as much as ten.
                        tokio::select! {
                            () = tokio::time::sleep(PAUSE) => {}
                            () = self.shared.stop.cancelled() => {}
                        }
                        break;
                    }
                }
            }
            opened = self.shared.backlog.load(Ordering::Relaxed);
        }
    }

    /// Waits until what was queued before now is on disk.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be written for now: whoever asks is told so, instead of waiting for a disk.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let Some(group) = self.shared.queue.waiting() else { return Ok(()) };
        let slow = || Error::new(Kind::Unavailable, "the ledger is not written in time").retry_after(1);
        tokio::time::timeout(PATIENCE, group.kept_or_stuck()).await.unwrap_or_else(|_| Err(slow()))
    }

    /// Folds a few pages; `false` when there are none. Called where it is not dropped midway.
    async fn fold_slice(&self) -> Result<bool, Error> {
        let mut turn = self.shared.db.turn().await;
        let Some(slice) = turn.unsaid(Unsaid::Index, async |db| pages::fold(db, SLICE).await).await? else {
            self.shared.backlog.store(0, Ordering::Relaxed);
            return Ok(false);
        };
        self.shared.queue.forget_voids(&slice.voided);
        let _ = self
            .shared
            .backlog
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |backlog| Some(backlog.saturating_sub(slice.opened)));
        Ok(true)
    }

    /// A lease, from the index, from the pages that are not in it yet or from what waits for the disk.
    pub(crate) async fn find_lease(&self, id: LeaseId) -> Result<Option<Found>, Error> {
        match self.find_kept(id).await {
            Ok(Some(found)) => Ok(Some(found)),
            kept => {
                let waits = self.shared.queue.unwritten(|opened| opened.id == id).pop();
                let found = waits.map(|opened| Found { opened, void_kind: None, revoked: None, issued: None });
                found.map_or(kept, |found| Ok(Some(found)))
            }
        }
    }

    /// A lease that is on disk.
    async fn find_kept(&self, id: LeaseId) -> Result<Option<Found>, Error> {
        let mut reader = self.reader().await?;
        let mut found = match leases::by_id(&mut reader, id).await? {
            Some(found) => found,
            None => match pages::find(&mut reader, id).await? {
                Some(opened) => {
                    let revoked = Ends::since(&mut reader, opened.from_ms).await?.of(&opened);
                    Found { opened, void_kind: None, revoked, issued: None }
                }
                // Between the two questions it may have moved from the pages to the index, here and below.
                None => return leases::by_id(&mut reader, id).await,
            },
        };
        if found.issued.is_none() {
            found.issued = pages::find_issued(&mut reader, id).await?;
        }
        if found.issued.is_none() {
            found.issued = leases::by_id(&mut reader, id).await?.and_then(|indexed| indexed.issued);
        }
        Ok(Some(found))
    }

    /// The rights of an entry.
    pub(crate) async fn rights_of(&self, opened: &Opened) -> Result<Arc<Rights>, Error> {
        match scope_digest(&opened.scope) {
            None => rows::rights(&opened.scope).map(Arc::new),
            Some(digest) => {
                let mut reader = self.reader().await?;
                leases::long_scope(&mut reader, digest).await.map(Arc::new)
            }
        }
    }

    /// Leases as the domain tells them.
    pub(crate) async fn records(&self, found: Vec<Found>) -> Result<Vec<LeaseRecord>, Error> {
        let mut records = Vec::with_capacity(found.len());
        for one in found {
            records.push(self.record(one).await?);
        }
        Ok(records)
    }

    /// A lease as the domain tells it.
    pub(crate) async fn record(&self, found: Found) -> Result<LeaseRecord, Error> {
        let rights = self.rights_of(&found.opened).await?;
        let Found { opened, void_kind, revoked, issued } = found;
        let state = match (void_kind, revoked) {
            (Some(_), _) => LeaseState::Void,
            (None, Some(revoker)) => LeaseState::Revoked(revoker),
            (None, None) => LeaseState::Live,
        };
        let narrowed_from = opened.leases_before().collect();
        let lease = Lease {
            id: opened.id,
            account: opened.account,
            caller: opened.caller,
            token: opened.token,
            storage: opened.storage,
            rights,
            grants: opened.grant_ids().collect(),
            credits: opened.credits,
            opened: rows::at_ms(opened.from_ms)?,
            until: opened.until().ok_or_else(|| rows::damaged("a timestamp"))?,
            dialect: opened.dialect.into(),
        };
        Ok(LeaseRecord {
            lease,
            state,
            trace: issued.and_then(Issued::trace),
            from: opened.from,
            asked_with: opened.asked_with,
            narrowed_from,
        })
    }
}
