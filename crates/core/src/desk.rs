//! The road of one request: ask → permit → lease → credential. Every dialect vends here, and nowhere else.

use std::sync::Arc;

use jiff::Timestamp;

use crate::ask::Ask;
use crate::caller::Caller;
use crate::credential::{Credential, Issued};
use crate::error::Error;
use crate::lease::{Lease, Refusal};
use crate::policy::{self, Because, Permit};
use crate::port::{Directory, Issuer, Ledger};
use crate::storage::Storage;
use crate::time::Clock;
use crate::token::PlainToken;

/// Where credentials are asked for.
#[derive(Clone)]
pub struct Desk {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Knows callers and grants.
    pub directory: Arc<dyn Directory>,
    /// Keeps leases.
    pub ledger: Arc<dyn Ledger>,
    /// Makes credentials, whatever the store.
    pub issuer: Arc<dyn Issuer>,
}

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
    /// What of the scope the store cannot say and was left out, in words.
    pub narrowed: Arc<[String]>,
}

impl Desk {
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
    /// What [`policy::decide`], the ledger and the issuer refuse with. Each refusal is recorded.
    pub async fn vend(&self, caller: &Caller, ask: &Ask) -> Result<Vended, Error> {
        let now = self.now();
        match self.road(caller, ask, now).await {
            Ok(vended) => Ok(vended),
            Err(error) => {
                self.ledger.refused(
                    Refusal {
                        account: Some(caller.account),
                        caller: Some(caller.id),
                        dialect: ask.dialect,
                        kind: error.kind(),
                    },
                    now,
                );
                Err(error)
            }
        }
    }

    async fn road(&self, caller: &Caller, ask: &Ask, now: Timestamp) -> Result<Vended, Error> {
        let snapshot = self.directory.account(caller.account, now).await?;
        let permit = policy::decide(&snapshot, caller, ask, now)?;
        // What a store gave before is known before the lease: one entry of the ledger then says both. So is what a store
        // refuses for the moment.
        let ready = self.issuer.ready(&permit)?;
        let trace = ready.as_ref().and_then(|issued| issued.trace.as_deref());
        let lease = self.ledger.open(&permit, trace, now).await?;
        let issued = match ready {
            Some(issued) => issued,
            None => self.issue(&permit, &lease, now).await?,
        };
        Ok(Vended {
            lease,
            credential: issued.credential,
            storage: Arc::clone(permit.storage()),
            because: permit.because().clone(),
            narrowed: issued.narrowed,
        })
    }

    /// Has a credential made. INVARIANT: what a store's log will call it is on record before anybody has it.
    async fn issue(&self, permit: &Permit, lease: &Lease, now: Timestamp) -> Result<Issued, Error> {
        let issued = match self.issuer.issue(permit, lease).await {
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
