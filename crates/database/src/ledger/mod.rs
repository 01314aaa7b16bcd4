//! The ledger: entries wait in the [`queue`], the [`writer`] commits them in pages, the folder makes an index of the pages
//! when there is time.

pub(crate) mod asking;
pub(crate) mod fold;
pub(crate) mod group;
pub(crate) mod overtaken;
pub(crate) mod queue;
pub(crate) mod writer;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::Trace;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::lease::{Lease, Refusal};
use valetkey_core::policy::Permit;
use valetkey_core::port::Ledger;
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::ledger::group::Group;
use crate::ledger::queue::Pushed;
use crate::settings::LedgerMode;
use crate::sql::entry::Voided;
use crate::sql::rows::kind_name;
use crate::sql::{self, leases};

impl Database {
    /// Reads an account's credits into memory.
    async fn load_balance(&self, account: AccountId) -> Result<(), Error> {
        let mut turn = self.shared.db.turn().await;
        if self.shared.queue.balance(account).is_none() {
            let stored = turn.ask(async |db| sql::registry::balance(db, account).await).await?;
            self.shared.queue.set_balance(account, stored.ok_or_else(|| Error::not_found(Noun::Account))?);
        }
        Ok(())
    }

    /// Waits until a page is on disk, where that is asked for.
    async fn written(&self, group: &Group) -> Result<(), Error> {
        match self.shared.settings.ledger {
            LedgerMode::Durable => group.kept().await,
            LedgerMode::Relaxed => Ok(()),
        }
    }

    /// Voids a lease that nobody else voids. Its own page need not be there yet: this one comes after it.
    async fn void_claimed(&self, lease: &Lease, kind: Kind, now: Timestamp) -> Result<(), Error> {
        let mut reader = self.reader().await?;
        if leases::by_id(&mut reader, lease.id).await?.is_some_and(|indexed| indexed.void_kind.is_some()) {
            self.shared.queue.forget_voids([&lease.id]);
            return Ok(());
        }
        drop(reader);
        let voided = Voided {
            lease: lease.id,
            account: lease.account,
            credits: lease.credits,
            at_ms: now.as_millisecond(),
            kind: kind_name(kind),
        };
        self.shared.queue.void(&voided)?.kept_or_stuck().await
    }
}

#[async_trait]
impl Ledger for Database {
    async fn open(&self, permit: &Permit, trace: Option<&Trace>, now: Timestamp) -> Result<Lease, Error> {
        let (decided, now) = (now, self.shared.revoked.opening(permit, now, self.shared.clock.now()));
        // What is narrowed is not older than what it is narrowed from, whatever the clock was set to meanwhile.
        let before = permit.leases().iter().map(|lease| lease.made_ms()).max();
        let now = before.and_then(|ms| Timestamp::from_millisecond(ms).ok()).map_or(now, |before| now.max(before));
        if now > decided && permit.until() <= now {
            let said = "the server's clock is behind what was revoked last; it has to be set right first";
            return Err(Error::new(Kind::Unavailable, said).retry_after(60));
        }
        loop {
            self.in_touch()?;
            match self.shared.queue.open(permit, trace, now, &*self.shared.entropy)? {
                Pushed::NeedsBalance => self.load_balance(permit.account()).await?,
                Pushed::Waits(lease, group) => {
                    self.written(&group).await?;
                    if !group.has(lease.id)? {
                        continue;
                    }
                    // INVARIANT: only now. What is ended after this finds the lease; what was ended before is known here.
                    if permit.leases().iter().any(|before| self.shared.revoked.has(*before)) {
                        self.void(&lease, Kind::Forbidden, now).await?;
                        return Err(Error::new(Kind::Forbidden, "the lease that this is narrowed from was ended"));
                    }
                    return Ok(lease);
                }
            }
        }
    }

    async fn issued(&self, lease: &Lease, trace: &Trace, now: Timestamp) -> Result<(), Error> {
        let group = self.shared.queue.issued(lease.id, trace, now.as_millisecond())?;
        self.written(&group).await
    }

    async fn void(&self, lease: &Lease, kind: Kind, now: Timestamp) -> Result<(), Error> {
        let (database, lease) = (self.clone(), lease.clone());
        self.unbroken(async move {
            if !database.shared.queue.claim_void(lease.id) {
                return Ok(());
            }
            let done = database.void_claimed(&lease, kind, now).await;
            if done.is_err() {
                database.shared.queue.forget_voids([&lease.id]);
            }
            done
        })
        .await
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.shared.counter.refusal(refusal, now);
    }
}
