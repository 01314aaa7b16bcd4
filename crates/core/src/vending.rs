//! The road of one request: ask → permit → lease → credential. Every dialect vends here, and nowhere else.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::ask::{Ask, Asked};
use crate::caller::Caller;
use crate::conditions::Facts;
use crate::credential::{Credential, Issued, Narrowed};
use crate::error::Error;
use crate::lease::Lease;
use crate::policy::{self, Because, Bound, Cut, Permit};
use crate::port::{Directory, Issuer, Ledger};
use crate::storage::Storage;
use crate::time::{Clock, Lifetime};
use crate::token::PlainToken;

/// Where credentials are asked for.
#[derive(Clone)]
pub struct Vending {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Knows callers and grants.
    pub directory: Arc<dyn Directory>,
    /// Keeps leases.
    pub ledger: Arc<dyn Ledger>,
    /// Makes credentials, whatever the store.
    pub issuer: Arc<dyn Issuer>,
}

/// So often a vend that another server's change overtook is decided anew: twice in a row is rare already.
const AGAIN: u32 = 2;

/// What was vended.
#[derive(Clone, Debug)]
pub struct Vended {
    /// The record.
    pub lease: Lease,
    /// The secret.
    pub credential: Arc<Credential>,
    /// The store it is for.
    pub storage: Arc<Storage>,
    /// Why.
    pub because: Because,
    /// What of the scope the storage cannot say and was left out, and what it allows beyond that.
    pub narrowed: Arc<[Narrowed]>,
}

impl Vending {
    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Finds out who is asking.
    ///
    /// # Errors
    /// `Unauthenticated`, `Unavailable`.
    pub async fn identify(&self, presented: &str) -> Result<Arc<Caller>, Error> {
        let token = PlainToken::parse(presented)?;
        self.directory.caller(&token, self.now()).await
    }

    /// Vends.
    ///
    /// # Errors
    /// What [`policy::decide`], the ledger and the issuer refuse with. Whoever carries the ask puts it on record: an ask may also be
    /// refused before it gets here.
    pub async fn vend(&self, caller: &Caller, ask: &Ask) -> Result<Vended, Error> {
        self.vend_knowing(caller, ask, &Facts::here()).await
    }

    /// Vends where more is known of the request.
    ///
    /// # Errors
    /// As [`Self::vend`].
    pub async fn vend_knowing(&self, caller: &Caller, ask: &Ask, facts: &Facts<'_>) -> Result<Vended, Error> {
        let now = self.now();
        let mut opened = self.open(caller, ask, facts, now).await;
        for _ in 0..AGAIN {
            if !opened.as_ref().is_err_and(Error::is_overtaken) {
                break;
            }
            opened = self.open(caller, ask, facts, now).await;
        }
        let (permit, ready, lease) = opened?;
        let issued = match ready {
            Some(issued) => issued,
            None => self.issue(&permit, &lease, now).await?,
        };
        Ok(Vended {
            lease,
            because: told(&permit, &issued.credential, now),
            credential: issued.credential,
            storage: Arc::clone(permit.storage()),
            narrowed: issued.narrowed,
        })
    }

    /// Decides, and opens a lease of what was decided. With it, what a store gave before.
    async fn open(
        &self,
        caller: &Caller,
        ask: &Ask,
        facts: &Facts<'_>,
        now: Timestamp,
    ) -> Result<(Permit, Option<Issued>, Lease), Error> {
        let snapshot = self.directory.account(caller.account, now).await?;
        let permit = policy::decide(&snapshot, caller, ask, facts, now)?;
        // What a store gave before is known before the lease: one entry of the ledger then says both. So is what a store
        // refuses for the moment.
        let ready = self.issuer.ready(&permit)?;
        if let Some(issued) = &ready {
            long_enough(&permit, &issued.credential, now)?;
        }
        let trace = ready.as_ref().and_then(|issued| issued.trace.as_deref());
        let lease = self.ledger.open(&permit, trace, now).await?;
        Ok((permit, ready, lease))
    }

    /// Has a credential made. INVARIANT: what a store's log will call it is on record before anybody has it.
    async fn issue(&self, permit: &Permit, lease: &Lease, now: Timestamp) -> Result<Issued, Error> {
        let issued = self.issuer.issue(permit, lease).await;
        let issued = match issued.and_then(|issued| long_enough(permit, &issued.credential, now).map(|()| issued)) {
            Ok(issued) => issued,
            Err(error) => {
                self.ledger.void(lease, error.kind(), now).await?;
                return Err(error);
            }
        };
        if let Some(trace) = &issued.trace {
            self.ledger.issued(lease, trace, self.now()).await?;
        }
        Ok(issued)
    }
}

/// Refuses a credential that is shorter than what was asked for, where the answer could not say so.
fn long_enough(permit: &Permit, credential: &Credential, now: Timestamp) -> Result<(), Error> {
    let Asked::Exactly(asked) = permit.asked() else { return Ok(()) };
    let missing = permit.until().duration_since(credential.expiration()).as_secs();
    if missing <= i64::from(asked.tolerance_secs()) {
        return Ok(());
    }
    let given = Lifetime::between(now, credential.expiration()).unwrap_or(Lifetime::secs(1));
    Err(policy::too_long(asked, given, Bound::Given))
}

/// A credential that ends so much sooner than its permit is shorter than was asked for, and that is said. What ends a little sooner was
/// asked for so: that the store took a while to answer is inside.
const SHORTER: SignedDuration = SignedDuration::from_secs(15);

/// Why, and what was cut: also by a store that gave a credential of a shorter life.
fn told(permit: &Permit, credential: &Credential, now: Timestamp) -> Because {
    let mut because = permit.because().clone();
    let end = credential.expiration();
    let shorter = match permit.asked() {
        Asked::Usual(_) => SHORTER,
        Asked::For(asked) | Asked::Exactly(asked) => SignedDuration::from_secs(i64::from(asked.tolerance_secs())),
    };
    if permit.until().duration_since(end) > shorter
        && let (Some(asked), Some(given)) = (Lifetime::between(now, permit.until()), Lifetime::between(now, end))
    {
        because.cuts.push(Cut::Lifetime { asked, given, by: Bound::Given });
    }
    because
}
