//! Ends that could not be written: they hold on this server all the same, and are tried again until they are on record.
//!
//! INVARIANT: memory is told before the disk is asked. Whoever wanted a key ended hears of a failure ("not on record yet"), but
//! the key is ended, and nothing that fails afterwards brings it back while this server runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use valetkey_core::account::{Metering, Standing};
use valetkey_core::audit::Author;
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::removal::{Amendment, How, Thing};
use valetkey_core::{Error, Kind};
use valetkey_sqlite::Failure as _;

use crate::sqlite::revocations::Also;
use crate::sqlite::target::Target;
use crate::store::Store;

/// What is still to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owed {
    /// Credentials end, and with [`Also::EndToken`] the token does.
    End { target: Target, keep_until_ms: Option<i64>, also: Also },
    /// What was vended under a grant ends.
    Grant(GrantId),
    /// A thing goes, with what was vended for it.
    Take(Thing, How),
    /// A thing is changed, and what has more than that allows ends.
    Amend(Box<Amendment>),
    /// A caller is suspended.
    Suspend(CallerId),
    /// An account is suspended; what a vend costs it is said with it.
    SuspendAccount(AccountId, Metering),
}

/// Everything that is still to be written, each once, and who asked for it first.
#[derive(Debug, Default)]
pub(crate) struct Debts(Mutex<Vec<(Owed, Revoker, Author)>>);

impl Debts {
    fn all(&self) -> MutexGuard<'_, Vec<(Owed, Revoker, Author)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Vec<(Owed, Revoker, Author)> {
        self.all().clone()
    }

    fn add(&self, owed: Owed, by: Revoker) {
        let mut all = self.all();
        if !all.iter().any(|(known, _, _)| *known == owed) {
            all.push((owed, by, Author::current()));
        }
    }

    fn remove(&self, owed: &Owed) {
        self.forgive(|known| known == owed);
    }

    /// Forgets what somebody took back before it could be written.
    pub(crate) fn forgive(&self, which: impl Fn(&Owed) -> bool) {
        self.all().retain(|(known, _, _)| !which(known));
    }
}

impl Store {
    /// What a change that ends something answers with. A failure of the database leaves a debt; a refusal does not.
    pub(crate) fn or_owe<T>(&self, done: Result<T, Error>, owed: Owed, by: Revoker) -> Result<T, Error> {
        match done {
            Err(error) if error.is_of_database() => {
                self.shared.debts.add(owed, by);
                tracing::error!(
                    error = ?error,
                    "what was ended could not be written: it is ended on this server and will be tried again"
                );
                let said = "ended on this server, but not on record yet: the database cannot be written now. It is tried again; \
                            a restart before that would forget it";
                Err(Error::new(Kind::Unavailable, said).retry_after(1).caused_by(error))
            }
            done => done,
        }
    }

    /// Whether something that was ended is not on record yet.
    pub fn owes(&self) -> bool {
        !self.shared.debts.all().is_empty()
    }

    /// Tries again what could not be written.
    pub(crate) async fn pay_debts(&self) {
        for (owed, by, author) in self.shared.debts.snapshot() {
            let mut done = author.during(Box::pin(self.pay(&owed, by))).await;
            if done.as_ref().is_err_and(valetkey_sqlite::Failure::is_of_database) && self.give_reserve().await {
                done = author.during(Box::pin(self.pay(&owed, by))).await;
            }
            match done {
                Err(error) if error.is_of_database() => return,
                // What was refused now (somebody else took the grant meanwhile) is settled too.
                Ok(()) | Err(_) => {
                    self.shared.debts.remove(&owed);
                    if let Owed::End { also: Also::EndToken(token), .. } = owed {
                        self.token_ended(token);
                    }
                    tracing::info!(owed = ?owed, "what was ended while the database could not be written is on record now");
                }
            }
        }
    }

    async fn pay(&self, owed: &Owed, by: Revoker) -> Result<(), Error> {
        match owed {
            Owed::End { target, keep_until_ms, also } => {
                self.write_end(*target, *keep_until_ms, by, *also).await.map(drop)
            }
            Owed::Grant(grant) => self.write_grant_end(*grant, by).await.map(drop),
            Owed::Take(what, how) => self.end_and_take(what, *how, by).await.map(drop),
            Owed::Amend(change) => self.end_and_amend(change, false, by).await.map(drop),
            Owed::Suspend(caller) => self.write_suspended(*caller).await,
            Owed::SuspendAccount(account, metering) => {
                self.write_account(*account, Standing::Suspended, *metering).await
            }
        }
    }

    /// The database says that a token is ended: what memory knows of it is read again.
    pub(crate) fn token_ended(&self, token: TokenId) {
        self.shared.memory.known.forget_all();
        self.shared.memory.parents.forget(&token);
        self.shared.revoked.unbury(token);
    }
}
