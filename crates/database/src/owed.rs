//! Ends that could not be written: they hold on this server all the same, and are tried again until they are on record (`paying`).
//!
//! INVARIANT: memory is told before the disk is asked. Whoever wanted a key ended hears of a failure ("not on record yet"), but
//! the key is ended, and nothing that fails afterwards brings it back while this server runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use valetkey_core::account::Metering;
use valetkey_core::audit::Author;
use valetkey_core::id::{AccountId, CallerId, GrantId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::{Amendment, How, Thing};

use crate::sql::revocations::Also;
use crate::sql::target::Target;

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
    pub(crate) fn all(&self) -> MutexGuard<'_, Vec<(Owed, Revoker, Author)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> Vec<(Owed, Revoker, Author)> {
        self.all().clone()
    }

    pub(crate) fn add(&self, owed: Owed, by: Revoker) {
        let mut all = self.all();
        if !all.iter().any(|(known, _, _)| *known == owed) {
            all.push((owed, by, Author::current()));
        }
    }

    pub(crate) fn remove(&self, owed: &Owed) {
        self.forgive(|known| known == owed);
    }

    /// Forgets what somebody took back before it could be written.
    pub(crate) fn forgive(&self, which: impl Fn(&Owed) -> bool) {
        self.all().retain(|(known, _, _)| !which(known));
    }
}
