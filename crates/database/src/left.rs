//! Whom a change leaves without what it was given by some grants.

use std::collections::BTreeSet;

use valetkey_core::group::Group;
use valetkey_core::id::GrantId;
use valetkey_core::nouns::removal::Renamed;

use crate::sql::entry::Opened;

/// Whom, and by which grants.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Left {
    who: Who,
    grants: BTreeSet<GrantId>,
}

#[derive(Clone, PartialEq, Eq)]
enum Who {
    /// Who is no longer a member of a group, as it was and as it is.
    Member(Box<(Group, Group)>),
    /// Who has another name, which templates are filled in with.
    Renamed(Renamed),
}

impl Left {
    /// Who is no longer a member of a group that these grants are for.
    pub(crate) fn of_group(before: Group, after: Group, grants: impl Iterator<Item = GrantId>) -> Self {
        Self { who: Who::Member(Box::new((before, after))), grants: grants.collect() }
    }

    /// Who has another name: nothing where no grant was filled in with it.
    pub(crate) fn of_name(who: Renamed, grants: BTreeSet<GrantId>) -> Option<Self> {
        (!grants.is_empty()).then_some(Self { who: Who::Renamed(who), grants })
    }

    /// The grants.
    pub(crate) fn grants(&self) -> impl Iterator<Item = GrantId> {
        self.grants.iter().copied()
    }

    /// Whether something was opened by such a grant for one of them.
    pub(crate) fn had(&self, lease: &Opened) -> bool {
        let is_left = match &self.who {
            Who::Member(group) => group.1.leaves(&group.0, lease.caller),
            Who::Renamed(who) => who.is(lease.account, lease.caller),
        };
        is_left && lease.grant_ids().any(|grant| self.grants.contains(&grant))
    }
}
