//! Callers of an account that are granted something together: named ones, and whoever's identity token claims what is asked.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::claims::{Condition, Identity, Wanted};
use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{AccountId, CallerId, GroupId, ProviderId};
use crate::name::Name;

/// The most callers that are named members of one group: each is a row, and all are read with the account.
pub const MOST_MEMBERS: usize = 10_000;

/// The most conditions of one group.
pub const MOST_CONDITIONS: usize = 32;

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Whose callers are in it.
    pub account: AccountId,
    /// Its name, unique in its account.
    pub name: Name,
    /// The callers that are in it whatever proves them.
    pub members: BTreeSet<CallerId>,
    /// Whose sessions are in it.
    pub by_claim: Option<ByClaim>,
    /// Rises with each change, so that none is lost.
    pub version: u64,
    /// When it was made.
    pub made: Timestamp,
}

/// Members by what their identity tokens claim, each as long as its session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByClaim {
    /// Whose word it is: what one provider claims, another one may not.
    pub provider: ProviderId,
    /// What has to hold: all; of those on one claim, any.
    pub conditions: Vec<Condition>,
}

impl Group {
    /// Refuses a group that is too large, and one by claims that asks for none.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        if self.members.len() > MOST_MEMBERS {
            let said = format!("a group has at most {MOST_MEMBERS} named members; match a claim for more");
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Members));
        }
        let Some(ByClaim { provider: _, conditions }) = &self.by_claim else { return Ok(()) };
        if conditions.is_empty() || conditions.len() > MOST_CONDITIONS {
            let said = format!("members by claim need 1 to {MOST_CONDITIONS} conditions, each `claim=value`");
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Claims));
        }
        Ok(())
    }

    /// Whether whoever an identity token stands for is a member.
    pub fn admits(&self, identity: &Identity) -> bool {
        self.by_claim
            .as_ref()
            .is_some_and(|by| by.provider == identity.provider && Condition::all_hold(&by.conditions, &identity.claims))
    }

    /// Whether what was vended to a caller by a grant to the group, as it was, may not be any more. Who was a member by claim is not on
    /// record: if other claims are asked for now, all who are not named end.
    pub fn leaves(&self, before: &Self, caller: CallerId) -> bool {
        !self.members.contains(&caller) && (before.members.contains(&caller) || before.by_claim != self.by_claim)
    }
}

impl ByClaim {
    /// A claim of which each condition is one value: what members are found by.
    pub(crate) fn found_by(&self) -> Option<Vec<(&Condition, &str)>> {
        self.conditions.iter().find_map(|one| {
            let same = self.conditions.iter().filter(|other| other.claim == one.claim);
            same.map(|other| match &other.wanted {
                Wanted::Exact(value) => Some((other, &**value)),
                Wanted::Like(_) => None,
            })
            .collect()
        })
    }
}
