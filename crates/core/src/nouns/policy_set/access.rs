//! What changes of what callers can reach, exactly: for each caller and action, what is covered afterwards and was not before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::grant::{Grant, GrantTime, Grantee};
use crate::id::{AccountId, CallerId};
use crate::name::BucketName;
use crate::nouns::policy_set::state::State;
use crate::nouns::reach::{Piece, difference, together};
use crate::scope::{Action, Actions, Paths};

/// Whose access changes in the same way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subjects {
    /// The account's name.
    pub account: Box<str>,
    /// Whether it is everyone that is not named: the callers to whom no grant alone is.
    pub everyone: bool,
    /// The callers' names.
    pub callers: BTreeSet<Box<str>>,
}

/// A change of access.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// Whose.
    pub subjects: Subjects,
    /// Where.
    pub bucket: BucketName,
    /// To do what.
    pub actions: Vec<Action>,
    /// What is new.
    pub added: Vec<Piece>,
    /// What is lost.
    pub removed: Vec<Piece>,
}

type Reached = BTreeMap<(BucketName, Action), Paths>;

/// The grants of each caller, and those of everyone, live at an instant; not those of shares.
struct Reaching<'a> {
    everyone: BTreeMap<AccountId, Vec<&'a Grant>>,
    own: BTreeMap<CallerId, Vec<&'a Grant>>,
}

impl<'a> Reaching<'a> {
    fn of(state: &'a State, at: Timestamp) -> Self {
        let mut all = Self { everyone: BTreeMap::new(), own: BTreeMap::new() };
        for grant in state.grants.values() {
            if grant.origin.share().is_some() || grant.time(at) != GrantTime::Live {
                continue;
            }
            match grant.to {
                Grantee::Everyone => all.everyone.entry(grant.account).or_default().push(grant),
                Grantee::Caller(caller) => all.own.entry(caller).or_default().push(grant),
            }
        }
        all
    }

    /// What everyone of an account reaches, and a caller of it, too.
    fn reached(&self, account: AccountId, caller: Option<CallerId>, there: bool) -> Reached {
        let everyone = self.everyone.get(&account).filter(|_| there).into_iter().flatten();
        let own = caller.and_then(|caller| self.own.get(&caller)).into_iter().flatten();
        let mut paths: BTreeMap<(BucketName, Action), Vec<&Paths>> = BTreeMap::new();
        for grant in everyone.chain(own) {
            for action in grant.scope.actions().iter() {
                paths.entry((grant.scope.bucket().clone(), action)).or_default().push(grant.scope.paths());
            }
        }
        paths.into_iter().filter_map(|(place, paths)| Some((place, together(paths)?))).collect()
    }
}

type Gained = (Vec<Piece>, Vec<Piece>);

/// The differences, by bucket and what is gained and lost, with the actions that have the same.
fn compared(before: &Reached, after: &Reached) -> BTreeMap<(BucketName, Gained), Actions> {
    let places: BTreeSet<&(BucketName, Action)> = before.keys().chain(after.keys()).collect();
    let mut found: BTreeMap<(BucketName, Gained), Actions> = BTreeMap::new();
    for place in places {
        let (was, is) = (before.get(place), after.get(place));
        if was == is {
            continue;
        }
        let less = |paths: Option<&Paths>, others| paths.map_or_else(Vec::new, |paths| difference(paths, others));
        let change = (less(is, was), less(was, is));
        if !change.0.is_empty() || !change.1.is_empty() {
            let actions = found.entry((place.0.clone(), change)).or_insert(Actions::NONE);
            *actions = actions.with(place.1);
        }
    }
    found
}

/// What changes of what callers can reach at an instant; callers with the same change are in one row.
pub fn differences(before: &State, after: &State, at: Timestamp) -> Vec<Difference> {
    let (was, is) = (Reaching::of(before, at), Reaching::of(after, at));
    let mut rows: BTreeMap<(AccountId, BucketName, Gained, u16), Subjects> = BTreeMap::new();
    let mut add = |account: AccountId, caller: Option<CallerId>, before_there: bool, after_there: bool| {
        let name = |state: &State| Some(Box::from(state.accounts.get(&account)?.name.as_str()));
        let account_name: Box<str> = name(after).or_else(|| name(before)).unwrap_or_default();
        let old = was.reached(account, caller, before_there);
        let new = is.reached(account, caller, after_there);
        for ((bucket, gained), actions) in compared(&old, &new) {
            let row = rows.entry((account, bucket, gained, actions.bits())).or_insert_with(|| Subjects {
                account: account_name.clone(),
                everyone: false,
                callers: BTreeSet::new(),
            });
            let known = |state: &State, id| state.callers.get(&id).map(|known| Box::from(known.name.as_str()));
            match caller {
                None => row.everyone = true,
                Some(id) => row.callers.extend(known(after, id).or_else(|| known(before, id))),
            }
        }
    };
    let accounts: BTreeSet<AccountId> = was.everyone.keys().chain(is.everyone.keys()).copied().collect();
    for account in accounts {
        // Where the account is on one side only, so are all its callers.
        if before.accounts.contains_key(&account) && after.accounts.contains_key(&account) {
            add(account, None, true, true);
        }
    }
    let known = before.callers.keys().chain(after.callers.keys());
    for id in known.collect::<BTreeSet<_>>() {
        let (old, new) = (before.callers.get(id), after.callers.get(id));
        let special = old.is_none() || new.is_none() || was.own.contains_key(id) || is.own.contains_key(id);
        if let Some(account) = new.or(old).map(|caller| caller.account).filter(|_| special) {
            add(account, Some(*id), old.is_some(), new.is_some());
        }
    }
    rows.into_iter()
        .map(|((_, bucket, (added, removed), actions), subjects)| Difference {
            subjects,
            bucket,
            actions: Actions::from_bits(actions).map_or_else(Vec::new, |actions| actions.iter().collect()),
            added,
            removed,
        })
        .collect()
}
