//! Ends that could not be written: they hold on this server all the same, and are tried again until they are on record (`paying`).
//!
//! INVARIANT: memory is told before the disk is asked. Whoever wanted a key ended hears of a failure ("not on record yet"), but
//! the key is ended, and nothing that fails afterwards brings it back while this server runs.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use valetkey_core::audit::Author;
use valetkey_core::grant::Grant;
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::{Amendment, How, Thing};

use crate::sql::revocations::Also;
use crate::sql::target::{End, Target};

/// What is still to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owed {
    /// Credentials end, and with [`Also::EndToken`] the token does.
    End { target: Target, keep_until_ms: Option<i64>, also: Also },
    /// What was vended under a grant ends.
    Grant(GrantId),
    /// Leases end that something had which goes or is changed. Owed beside that: they are ended whatever becomes of it.
    Leases(Vec<End>),
    /// A thing goes, with what was vended for it.
    Take(Thing, How),
    /// A thing is changed, and what has more than that allows ends.
    Amend(Box<Amendment>),
    /// A caller is suspended.
    Suspend(CallerId),
    /// An account is suspended.
    SuspendAccount(AccountId),
    /// Links to profiles that were not used yet go.
    Links(Links),
}

/// Links to profiles that go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Links {
    /// Those that become a token of a caller.
    Of(CallerId),
    /// Those that some tokens made.
    MadeBy(Vec<TokenId>),
}

/// Whether a change says all that another said of the same thing, so that the other is not to come after it.
fn supersedes(newer: &Amendment, older: &Amendment) -> bool {
    match (newer, older) {
        (Amendment::Grant(one), Amendment::Grant(two)) => one.id == two.id,
        (Amendment::Group(one), Amendment::Group(two)) => one.id == two.id,
        (Amendment::Token { id: one, .. }, Amendment::Token { id: two, .. }) => one == two,
        _ => false,
    }
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
        if let Owed::Amend(newer) = &owed {
            all.retain(|(known, _, _)| {
                known == &owed || !matches!(known, Owed::Amend(older) if supersedes(newer, older))
            });
        }
        if !all.iter().any(|(known, _, _)| *known == owed) {
            all.push((owed, by, Author::current()));
        }
    }

    /// Adds ends of leases that are not owed yet.
    pub(crate) fn add_leases(&self, mut ends: Vec<End>, by: Revoker) {
        let mut all = self.all();
        let known: HashSet<Target> = all
            .iter()
            .filter_map(|(owed, _, _)| if let Owed::Leases(ends) = owed { Some(ends) } else { None })
            .flat_map(|ends| ends.iter().map(|end| end.target))
            .collect();
        ends.retain(|end| !known.contains(&end.target));
        if !ends.is_empty() {
            all.push((Owed::Leases(ends), by, Author::current()));
        }
    }

    /// Puts one behind the others: it could not be paid.
    pub(crate) fn put_back(&self, owed: &Owed) {
        let mut all = self.all();
        if let Some(at) = all.iter().position(|(known, _, _)| known == owed) {
            let one = all.remove(at);
            all.push(one);
        }
    }

    /// Whether a change is still to be made.
    pub(crate) fn amends(&self, change: &Amendment) -> bool {
        self.all().iter().any(|(owed, _, _)| matches!(owed, Owed::Amend(owed) if **owed == *change))
    }

    /// Forgets changes of a thing that another one took the place of. What they ended is owed by itself.
    pub(crate) fn forgive_amended(&self, newer: &Amendment) {
        self.forgive(|owed| matches!(owed, Owed::Amend(older) if supersedes(newer, older)));
    }

    /// Forgets what was still to be done to a thing that is gone now.
    pub(crate) fn forgive_taken(&self, gone: &Thing) {
        self.forgive(|owed| match owed {
            Owed::Take(what, _) => what == gone,
            Owed::Amend(change) => match &**change {
                Amendment::Grant(grant) => *gone == Thing::Grant(grant.id),
                Amendment::Group(group) => *gone == Thing::Group(group.id),
                Amendment::Token { id, .. } => *gone == Thing::Token(*id),
                _ => false,
            },
            _ => false,
        });
    }

    /// Grants as they are when all is written: whoever changes one changes that.
    pub(crate) fn amended_grants(&self, mut known: Vec<Grant>) -> Vec<Grant> {
        for (owed, _, _) in &*self.all() {
            if let Owed::Amend(change) = owed
                && let Amendment::Grant(after) = &**change
                && let Some(grant) = known.iter_mut().find(|grant| grant.id == after.id)
            {
                *grant = after.clone();
            }
        }
        known
    }

    /// The same of groups.
    pub(crate) fn amended_groups(&self, mut known: Vec<Group>) -> Vec<Group> {
        for (owed, _, _) in &*self.all() {
            if let Owed::Amend(change) = owed
                && let Amendment::Group(after) = &**change
                && let Some(group) = known.iter_mut().find(|group| group.id == after.id)
            {
                *group = Group::clone(after);
            }
        }
        known
    }

    pub(crate) fn remove(&self, owed: &Owed) {
        self.forgive(|known| known == owed);
    }

    /// Whether a link to a profile is still to go.
    pub(crate) fn ends_link(&self, caller: CallerId, made_by: Option<TokenId>) -> bool {
        self.all().iter().any(|(owed, _, _)| match owed {
            Owed::Links(Links::Of(of)) => *of == caller,
            Owed::Links(Links::MadeBy(tokens)) => made_by.is_some_and(|maker| tokens.contains(&maker)),
            Owed::End { .. }
            | Owed::Grant(_)
            | Owed::Leases(_)
            | Owed::Take(..)
            | Owed::Amend(_)
            | Owed::Suspend(_)
            | Owed::SuspendAccount(_) => false,
        })
    }

    /// Forgets what somebody took back before it could be written.
    pub(crate) fn forgive(&self, which: impl Fn(&Owed) -> bool) {
        self.all().retain(|(known, _, _)| !which(known));
    }
}
