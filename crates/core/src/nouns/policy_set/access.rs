//! What changes of what callers can reach, exactly: for each caller and action, what is covered afterwards and was not before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::conditions::Conditions;
use crate::grant::{Grant, GrantTime, Grantee};
use crate::group::Group;
use crate::id::{AccountId, CallerId, GroupId};
use crate::name::BucketName;
use crate::nouns::policy_set::state::State;
use crate::nouns::reach::{Piece, difference, together};
use crate::scope::{Action, Actions, Paths};
use crate::template::{Claimed, Subject, Template};

/// Whose access changes in the same way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subjects {
    /// The account's name.
    pub account: Box<str>,
    /// Whether it is everyone that is not named: the callers to whom no grant alone is.
    pub everyone: bool,
    /// The callers' names; `group:NAME` for who is in a group by what an identity token claims, and has no grant of another kind.
    pub callers: BTreeSet<Box<str>>,
}

/// A change of access.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// Whose.
    pub subjects: Subjects,
    /// Where.
    pub bucket: BucketName,
    /// What has to hold besides, in words; nothing where nothing has to.
    pub conditions: Vec<String>,
    /// To do what.
    pub actions: Vec<Action>,
    /// What is new.
    pub added: Vec<Piece>,
    /// What is lost.
    pub removed: Vec<Piece>,
}

/// Grants with the same conditions are compared with each other, and with no others.
type Place = (BucketName, Vec<String>, Action);
type Reached = BTreeMap<Place, Paths>;

/// The grants of each caller and group, and those of everyone, live at an instant; not those of shares.
#[derive(Default)]
struct Reaching<'a> {
    everyone: BTreeMap<AccountId, Vec<&'a Grant>>,
    own: BTreeMap<CallerId, Vec<&'a Grant>>,
    groups: BTreeMap<GroupId, Vec<&'a Grant>>,
    named: BTreeMap<CallerId, Vec<GroupId>>,
}

impl<'a> Reaching<'a> {
    fn of(state: &'a State, at: Timestamp) -> Self {
        let mut all = Self::default();
        for grant in state.grants.values() {
            if grant.origin.share().is_some() || grant.time(at) != GrantTime::Live {
                continue;
            }
            match grant.to {
                Grantee::Everyone => all.everyone.entry(grant.account).or_default().push(grant),
                Grantee::Caller(caller) => all.own.entry(caller).or_default().push(grant),
                Grantee::Group(group) => all.groups.entry(group).or_default().push(grant),
            }
        }
        for group in state.groups.values().filter(|group| all.groups.contains_key(&group.id)) {
            for member in &group.members {
                all.named.entry(*member).or_default().push(group.id);
            }
        }
        all
    }

    /// What everyone of an account reaches, and who it is about, too. A caller that is not there reaches nothing; a group's members reach
    /// what everyone does, whether they are its members or not.
    fn reached(&self, state: &State, account: AccountId, who: Who, there: bool) -> Reached {
        let (caller, group) = match who {
            Who::Everyone => (None, None),
            Who::Caller(caller) => (Some(caller).filter(|_| there), None),
            Who::Group(group) | Who::Former(group) => (None, Some(group).filter(|_| there)),
        };
        let is_someone = there || matches!(who, Who::Group(_) | Who::Former(_));
        let name = caller.and_then(|caller| state.callers.get(&caller)).map(|known| &known.name);
        let filled_with = state.accounts.get(&account).map(|account| (name, &account.name));
        let everyone = self.everyone.get(&account).filter(|_| is_someone).into_iter().flatten();
        let named = caller.and_then(|caller| self.named.get(&caller)).into_iter().flatten();
        let groups = named.chain(&group).filter_map(|group| self.groups.get(group)).flatten();
        let own = caller.and_then(|caller| self.own.get(&caller)).into_iter().flatten().chain(groups);
        let mut paths: BTreeMap<Place, Vec<Paths>> = BTreeMap::new();
        for grant in everyone.chain(own) {
            // What is not known stays a placeholder: paths with the same ones are compared as they are written.
            let subject = filled_with.map(|(caller, account)| Subject { caller, account, claims: Claimed::Unknown });
            let Some(Ok(opens)) = subject.map(|subject| grant.scope.fill(&subject)) else { continue };
            let mut conditions = grant.conditions.as_deref().map(Conditions::said).unwrap_or_default();
            conditions.extend(opens.template().map(Template::said));
            for action in opens.actions().iter() {
                let place = (opens.bucket().clone(), conditions.clone(), action);
                paths.entry(place).or_default().push(opens.written().clone());
            }
        }
        paths.into_iter().filter_map(|(place, paths)| Some((place, together(&paths)?))).collect()
    }
}

/// Whose access is compared.
#[derive(Clone, Copy)]
enum Who {
    Everyone,
    Caller(CallerId),
    Group(GroupId),
    /// Who was in it by what it asked before.
    Former(GroupId),
}

type Gained = (Vec<Piece>, Vec<Piece>);

/// The differences, by bucket and what is gained and lost, with the actions that have the same.
fn compared(before: &Reached, after: &Reached) -> BTreeMap<(BucketName, Vec<String>, Gained), Actions> {
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let mut found: BTreeMap<(BucketName, Vec<String>, Gained), Actions> = BTreeMap::new();
    for place in places {
        let (was, is) = (before.get(place), after.get(place));
        if was == is {
            continue;
        }
        let less = |paths: Option<&Paths>, others| paths.map_or_else(Vec::new, |paths| difference(paths, others));
        let change = (less(is, was), less(was, is));
        if !change.0.is_empty() || !change.1.is_empty() {
            let actions = found.entry((place.0.clone(), place.1.clone(), change)).or_insert(Actions::NONE);
            *actions = actions.with(place.2);
        }
    }
    found
}

/// What changes of what callers can reach at an instant; callers with the same change are in one row.
pub fn differences(before: &State, after: &State, at: Timestamp) -> Vec<Difference> {
    let (was, is) = (Reaching::of(before, at), Reaching::of(after, at));
    let mut rows: BTreeMap<(AccountId, BucketName, Vec<String>, Gained, u16), Subjects> = BTreeMap::new();
    let mut add =
        |account: AccountId, who: Who, before_there: bool, after_there: bool| {
            let name = |state: &State| Some(Box::from(state.accounts.get(&account)?.name.as_str()));
            let account_name: Box<str> = name(after).or_else(|| name(before)).unwrap_or_default();
            let old = was.reached(before, account, who, before_there);
            let new = is.reached(after, account, who, after_there);
            for ((bucket, conditions, gained), actions) in compared(&old, &new) {
                let row = rows.entry((account, bucket, conditions, gained, actions.bits())).or_insert_with(|| {
                    Subjects { account: account_name.clone(), everyone: false, callers: BTreeSet::new() }
                });
                let known = |state: &State, id| state.callers.get(&id).map(|known| Box::from(known.name.as_str()));
                match who {
                    Who::Everyone => row.everyone = true,
                    Who::Caller(id) => row.callers.extend(known(after, id).or_else(|| known(before, id))),
                    Who::Group(id) => {
                        let group = after.groups.get(&id).or_else(|| before.groups.get(&id));
                        row.callers.extend(group.map(|group| format!("group:{}", group.name).into()));
                    }
                    Who::Former(id) => {
                        let group = before.groups.get(&id);
                        row.callers.extend(group.map(|group| format!("group:{} as it was", group.name).into()));
                    }
                }
            }
        };
    let accounts: BTreeSet<AccountId> = was.everyone.keys().chain(is.everyone.keys()).copied().collect();
    for account in accounts {
        // Where the account is on one side only, so are all its callers.
        if before.accounts.contains_key(&account) && after.accounts.contains_key(&account) {
            add(account, Who::Everyone, true, true);
        }
    }
    let groups: BTreeSet<GroupId> = was.groups.keys().chain(is.groups.keys()).copied().collect();
    for id in groups {
        let (old, new) = (before.groups.get(&id), after.groups.get(&id));
        let Some(account) = new.or(old).map(|group| group.account) else { continue };
        let asks = |group: Option<&Group>| group.and_then(|group| group.by_claim.clone());
        match (asks(old), asks(new)) {
            (None, None) => {}
            (old, new) if old == new => add(account, Who::Group(id), true, true),
            // Who has what is claimed now is somebody else.
            (old, new) => {
                old.inspect(|_| add(account, Who::Former(id), true, false));
                new.inspect(|_| add(account, Who::Group(id), false, true));
            }
        }
    }
    let known = before.callers.keys().chain(after.callers.keys());
    for id in known.collect::<BTreeSet<_>>() {
        let (old, new) = (before.callers.get(id), after.callers.get(id));
        let named = [&was, &is].iter().any(|all| all.own.contains_key(id) || all.named.contains_key(id));
        // Templates are filled in with another name from now on.
        let renamed = old.map(|caller| &caller.name) != new.map(|caller| &caller.name);
        let special = old.is_none() || new.is_none() || named || renamed;
        if let Some(account) = new.or(old).map(|caller| caller.account).filter(|_| special) {
            add(account, Who::Caller(*id), old.is_some(), new.is_some());
        }
    }
    rows.into_iter()
        .map(|((_, bucket, conditions, (added, removed), actions), subjects)| Difference {
            subjects,
            bucket,
            conditions,
            actions: Actions::from_bits(actions).map_or_else(Vec::new, |actions| actions.iter().collect()),
            added,
            removed,
        })
        .collect()
}
