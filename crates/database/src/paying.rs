//! What could not be written is written as soon as it can be, if need be in the room of the ledger's reserve.

use std::sync::atomic::Ordering;

use valetkey_core::account::Standing;
use valetkey_core::id::TokenId;
use valetkey_core::lease::Revoker;
use valetkey_core::{Error, Kind};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::owed::Owed;
use crate::removal::Sought;
use crate::sql::revocations::Also;

impl Database {
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

    /// Owes the leases that ended here, by themselves: they are ended also where another change takes the place of this one.
    pub(crate) fn owe_leases(&self, sought: &Sought, by: Revoker, failed: Option<&Error>) {
        if failed.is_some_and(valetkey_sql::Failure::is_of_database) {
            self.shared.debts.add_leases(sought.ended().0, Revoker { at: sought.ending().at, ..by });
        }
    }

    /// Owes all that ended here, where what it ends with is not owed.
    pub(crate) fn owe_ends(&self, sought: &Sought, by: Revoker, failed: Option<&Error>) {
        self.owe_leases(sought, by, failed);
        if failed.is_some_and(valetkey_sql::Failure::is_of_database) {
            for target in sought.ended().1 {
                let owed = Owed::End { target: *target, keep_until_ms: None, also: Also::Nothing };
                self.shared.debts.add(owed, Revoker { at: sought.ending().at, ..by });
            }
        }
    }

    /// Whether something that was ended is not on record yet.
    pub fn owes(&self) -> bool {
        self.owed() > 0
    }

    /// How much of what was ended is not on record yet: a restart would forget it.
    pub fn owed(&self) -> usize {
        self.shared.debts.all().len()
    }

    /// Says again that something is not on record: what fails each time must not be found out by a restart.
    pub(crate) fn tell_owed(&self) {
        let owed = self.owed();
        if owed > 0 {
            tracing::error!(
                "{owed} changes that end something are still not on record: what they end is ended on this server alone, and a restart \
                 would forget it"
            );
        }
    }

    /// Tries again what could not be written.
    pub(crate) async fn pay_debts(&self) {
        self.pay_each().await;
        metrics::gauge!("vk_ledger_owed").set(f64::from(u32::try_from(self.owed()).unwrap_or(u32::MAX)));
    }

    async fn pay_each(&self) {
        for (owed, by, author) in self.shared.debts.snapshot() {
            if self.in_touch().is_err() {
                return;
            }
            let mut done = author.during(Box::pin(self.pay(&owed, by))).await;
            if done.as_ref().is_err_and(valetkey_sql::Failure::is_of_database) && self.give_reserve().await {
                done = author.during(Box::pin(self.pay(&owed, by))).await;
            }
            match &done {
                // The others are not held back by one that fails each time, nor does it come before them the next time.
                Err(error) if error.is_of_database() => self.shared.debts.put_back(&owed),
                // What was refused now (somebody else took the grant meanwhile) is settled too.
                Ok(()) | Err(_) => {
                    self.shared.debts.remove(&owed);
                    match &owed {
                        Owed::End { also: Also::EndToken(token), .. } => self.token_ended(*token),
                        Owed::Take(what, _) if done.is_err() => self.spare(what),
                        _ => {}
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
            Owed::Amend(change) => {
                self.end_and_amend(change, false, by, true).await?;
                self.amend_made(change, false, by).await.map(drop)
            }
            Owed::Suspend(caller) => self.write_suspended(*caller).await,
            Owed::SuspendAccount(account) => {
                self.write_account(*account, Standing::Suspended, None).await?;
                self.shared.queue.spare_account(*account);
                Ok(())
            }
            Owed::Leases(ends) => self.write_leases(ends, by).await,
            Owed::Links(which) => self.write_links_end(which).await.map(drop),
        }
    }

    /// The database says that a token is ended: what memory knows of it is read again.
    pub(crate) fn token_ended(&self, token: TokenId) {
        self.shared.memory.known.forget_all();
        self.shared.memory.parents.forget(&token);
        self.shared.revoked.unbury(token);
    }

    /// Gives the reserve up after something could not be written. Says whether to try it again.
    pub(crate) async fn give_reserve(&self) -> bool {
        let database = self.clone();
        let given = self.shared.tasks.spawn_blocking(move || database.shared.reserve.give()).await.unwrap_or(false);
        if given {
            self.shared.queue.hold(true);
            metrics::counter!("vk_ledger_reserve_given_total").increment(1);
            tracing::error!(
                "the ledger's reserve is given up, so that what ends credentials can be written: nothing is vended until there is room \
                 for it again"
            );
        }
        given
    }

    /// Makes the reserve, where there is room for it.
    pub(crate) async fn make_reserve(&self) {
        let database = self.clone();
        let making = move || database.shared.reserve.make();
        let bytes = match self.shared.tasks.spawn_blocking(making).await {
            Ok(Ok(())) => {
                self.shared.queue.hold(false);
                if self.shared.reserve.out.swap(false, Ordering::AcqRel) {
                    tracing::info!("the ledger has its reserve again");
                }
                self.shared.reserve.bytes
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the ledger's reserve could not be made");
                0
            }
            Err(_) => 0,
        };
        metrics::gauge!("vk_ledger_reserve_bytes").set(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
    }
}
