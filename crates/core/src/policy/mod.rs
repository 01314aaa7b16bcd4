//! Decides: from what a caller wants and what was granted to it, a permit or a refusal. Pure, and the one place for both
//! "may it?" and "why?".

mod explain;
mod parts;
mod shown;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Standing;
use crate::ask::{Ask, Asked, GrantRef, Target, Wanted};
use crate::caller::{Caller, Role};
use crate::conditions::{Facts, Held};
use crate::error::{Error, Kind, Noun};
use crate::field::Field;
use crate::grant::{Grant, GrantTime};
use crate::id::{AccountId, CallerId, GrantId, LeaseId, ShareId, StorageId, TokenId};
use crate::name::BucketName;
use crate::probe;
use crate::scope::{Action, Actions, Paths, Rights, Scope};
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::time::Lifetime;

pub use explain::{Considered, Explanation, Verdict, explain};
use shown::{few_grants, path_shown, paths_shown};

/// The most leases that a credential comes of, one narrowed from the other: each is named in its session token.
const MOST_NARROWED: usize = 4;

/// Proof that policy said yes.
///
/// * made only by [`decide`]: what has a permit was decided
/// * its rights are covered by its grants, path by path and action by action; without a grant it is an operator's, and inside one check's own directory
/// * its end is no later than the ask, the grants, the caller's token and the store allow
/// * whoever signed with a key gets nothing that the key does not open itself, and nothing longer
#[derive(Clone, Debug)]
pub struct Permit {
    account: AccountId,
    caller: CallerId,
    token: TokenId,
    dialect: &'static str,
    storage: Arc<Storage>,
    rights: Arc<Rights>,
    until: Timestamp,
    credits: u32,
    asked: Asked,
    because: Because,
    leases: Arc<[LeaseId]>,
    as_of: AsOf,
}

/// The last changes of the registry that a decision is known with, where several servers make them: what another one changed since, it
/// does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsOf {
    /// Of who asks.
    pub caller: i64,
    /// Of what the account was granted.
    pub grants: i64,
}

/// Why policy said yes: the grants that decided, and what was cut from the ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Because {
    /// The grants that decided.
    pub grants: Arc<[GrantId]>,
    /// What of the ask was not given.
    pub cuts: Vec<Cut>,
}

/// Something that was asked for and not given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// The lifetime is shorter than the caller asked for.
    Lifetime {
        /// What was asked for.
        asked: Lifetime,
        /// What was given.
        given: Lifetime,
        /// What allows no more.
        by: Bound,
    },
    /// These actions are not granted.
    Actions(Actions),
    /// Of a part of the ask: these actions are not granted on these paths.
    Part {
        /// Which.
        actions: Actions,
        /// Where.
        paths: Paths,
    },
}

/// What bounds a lifetime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The grant's longest lifetime.
    Grant,
    /// The grant's end, or that of the hours it is for.
    GrantEnd,
    /// The end of the caller's own token.
    Token,
    /// The store's longest lifetime.
    Storage,
    /// What the store gave when it was asked.
    Given,
    /// The end of the key that the caller signed with.
    Key,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grant => "the grant's longest lifetime",
            Self::GrantEnd => "the end of the grant, or of its hours",
            Self::Token => "the end of the caller's token",
            Self::Storage => "the storage's longest lifetime",
            Self::Given => "what the storage gave",
            Self::Key => "the end of the credential that this is narrowed from",
        })
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifetime { asked, given, by } => write!(f, "lifetime cut from {asked} to {given} by {by}"),
            Self::Actions(actions) => write!(f, "not granted: {actions}"),
            Self::Part { actions, paths } => write!(f, "not granted on {}: {actions}", paths_shown(paths)),
        }
    }
}

impl Permit {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }
    /// Who asked.
    pub fn caller(&self) -> CallerId {
        self.caller
    }
    /// With which token.
    pub fn token(&self) -> TokenId {
        self.token
    }
    /// In which dialect.
    pub fn dialect(&self) -> &'static str {
        self.dialect
    }
    /// What it was decided by.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }
    /// At which store.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }
    /// What may be opened.
    pub fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }
    /// Until when; whole seconds.
    pub fn until(&self) -> Timestamp {
        self.until
    }
    /// What it costs.
    pub fn credits(&self) -> u32 {
        self.credits
    }
    /// For how long it was asked for.
    pub fn asked(&self) -> Asked {
        self.asked
    }
    /// Why.
    pub fn because(&self) -> &Because {
        &self.because
    }
    /// The leases it was narrowed from, the first one first: the end of any of them ends what comes of it.
    pub fn leases(&self) -> &[LeaseId] {
        &self.leases
    }
}

/// What the grants give, before time is considered.
struct Found {
    storage: Arc<Storage>,
    rights: Arc<Rights>,
    grants: Arc<[GrantId]>,
    max_lifetime: Lifetime,
    until: Option<Timestamp>,
    cuts: Vec<Cut>,
}

/// Decides an ask.
///
/// # Errors
/// `Unauthenticated(Expired)`, `Forbidden`, `NotInPlan` (no dataset was granted), `NotFound` (of a grant or a bucket the
/// caller may not know of), `Invalid` (a lifetime under the store's least).
pub fn decide(
    snapshot: &Snapshot,
    caller: &Caller,
    ask: &Ask,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Result<Permit, Error> {
    caller.in_time(now)?;
    let account = snapshot.account();
    if caller.account != account.id {
        return Err(Error::internal("a caller was decided against another account's snapshot"));
    }
    match account.standing {
        Standing::Active => {}
        Standing::Suspended => return Err(Error::new(Kind::Forbidden, "the account is suspended")),
    }
    // INVARIANT: before anything is looked up: what is too much for a lease costs nothing.
    ask.target.bounded()?;
    let asking = Asking { snapshot, caller, wanted: ask.wanted, facts, now };
    let found = asking.found(&ask.target)?;
    permit(asking, ask, found)
}

/// Whether the caller's live grants open what is asked for, however little time is left and whatever the account's
/// standing: for whom they do not, a thing that is nothing but that place does not exist.
pub fn opens(snapshot: &Snapshot, caller: &Caller, ask: &Ask, facts: &Facts<'_>, now: Timestamp) -> bool {
    let asking = Asking { snapshot, caller, wanted: ask.wanted, facts, now };
    let covered = |found: Found| asking.is_held(&found);
    caller.account == snapshot.account().id && asking.found(&ask.target).is_ok_and(covered)
}

fn permit(asking: Asking<'_>, ask: &Ask, found: Found) -> Result<Permit, Error> {
    let Asking { snapshot, caller, now, .. } = asking;
    let held = caller.held.as_deref();
    let is_held = asking.is_held(&found);
    let Found { storage, rights, grants, max_lifetime, until, mut cuts } = found;
    // SECURITY: whatever is granted to the caller, who has no more than a key of it hands on no more than that key opens.
    if !is_held {
        return Err(Error::new(Kind::Forbidden, "the key that signed this does not open that").at(Field::Paths));
    }
    if held.is_some_and(|held| held.leases.len() >= MOST_NARROWED) {
        let said = format!("this credential was narrowed from {} others already", MOST_NARROWED - 1);
        return Err(Error::new(Kind::Forbidden, said));
    }
    let shape = storage.kind.shape();
    if !ask.carries.contains(&shape) {
        let said =
            format!("the bucket `{}` is opened by {}, which this API cannot carry", rights.bucket(), shape.as_str());
        return Err(Error::new(Kind::Forbidden, said));
    }
    let (asked, said) = match ask.lifetime {
        Asked::Usual(lifetime) => (lifetime, false),
        Asked::For(lifetime) | Asked::Exactly(lifetime) => (lifetime, true),
    };
    let least = storage.min_lifetime;
    if said && asked < least {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "a lifetime of {asked} is too short; the least here is {least} and the most {}",
                storage.max_lifetime
            ),
        )
        .at(Field::Lifetime));
    }
    let left = |end: Timestamp, by: Bound| match Lifetime::between(now, end) {
        Some(left) => Ok((left, by)),
        None => Err(too_short(by, None, least)),
    };
    let mut bounds = vec![(max_lifetime, Bound::Grant), (storage.max_lifetime, Bound::Storage)];
    if let Some(end) = until {
        bounds.push(left(end, Bound::GrantEnd)?);
    }
    if let Some(end) = caller.token_until {
        bounds.push(left(end, Bound::Token)?);
    }
    if let Some(end) = held.and_then(|held| held.until) {
        bounds.push(left(end, Bound::Key)?);
    }
    let (given, by) = bounds
        .into_iter()
        .min_by_key(|(lifetime, _)| *lifetime)
        .filter(|(lifetime, _)| *lifetime < asked)
        .map_or((asked, None), |(lifetime, by)| (lifetime, Some(by)));
    if let Some(by) = by {
        if given < least {
            return Err(too_short(by, Some(given), least));
        }
        if let Asked::Exactly(_) = ask.lifetime {
            return Err(too_long(asked, given, by));
        }
        if said {
            cuts.push(Cut::Lifetime { asked, given, by });
        }
    }
    Ok(Permit {
        account: caller.account,
        caller: caller.id,
        token: caller.token,
        dialect: ask.dialect,
        rights,
        until: given.ends(now),
        credits: snapshot.account().metering.credits(),
        asked: ask.lifetime,
        because: Because { grants, cuts },
        leases: held.map_or_else(|| Arc::from([]), |held| Arc::from(&*held.leases)),
        as_of: AsOf { caller: caller.as_of, grants: snapshot.as_of() },
        storage,
    })
}

/// A lifetime that is not given where nothing else may be.
pub(crate) fn too_long(asked: Lifetime, given: Lifetime, by: Bound) -> Error {
    Error::new(Kind::Invalid, format!("a lifetime of {asked} is too long; {by} leaves {given}")).at(Field::Lifetime)
}

fn too_short(by: Bound, left: Option<Lifetime>, least: Lifetime) -> Error {
    let left = left.map_or_else(|| "under a second".to_owned(), |left| left.to_string());
    Error::new(Kind::Forbidden, format!("{by} leaves {left}; no credential here lives shorter than {least}"))
}

fn storage_of<'a>(snapshot: &'a Snapshot, grant: &Grant<Scope>) -> Result<&'a Arc<Storage>, Error> {
    snapshot
        .storage(grant.storage)
        .ok_or_else(|| Error::internal(format!("grant {} names a storage that is gone", grant.id)))
}

fn not_granted(wanted: Wanted, granted: Actions) -> Error {
    let needed = if wanted.least().is_empty() { wanted.most() } else { wanted.least() };
    let missing: Vec<&str> = needed.iter().filter(|a| !granted.contains(*a)).map(Action::as_str).collect();
    Error::new(Kind::Forbidden, format!("not granted: {}", missing.join(", "))).at(Field::Access)
}

fn cut_actions(wanted: Wanted, given: Actions) -> Vec<Cut> {
    let missing = wanted.most().iter().filter(|action| !given.contains(*action)).collect::<Vec<_>>();
    if missing.is_empty() { Vec::new() } else { vec![Cut::Actions(Actions::of(&missing))] }
}

/// Who asks for what, and all that the decision is made of.
#[derive(Clone, Copy)]
struct Asking<'a> {
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    wanted: Wanted,
    facts: &'a Facts<'a>,
    now: Timestamp,
}

impl Asking<'_> {
    fn found(self, target: &Target) -> Result<Found, Error> {
        match target {
            Target::Datasets { bucket } => self.datasets(bucket.as_ref()),
            Target::Grant { grant, paths } => {
                let own = self.snapshot.grant(self.caller, grant);
                self.one_grant(&*own.ok_or_else(|| self.absent(grant))?, paths.as_ref())
            }
            Target::Place { bucket, paths } => self.place(bucket, paths),
            Target::Parts { by, parts } => self.parts(by, parts),
            Target::Shared { share, bucket, paths } => self.shared(*share, bucket, paths),
            Target::Probe { storage, bucket, paths } => self.probe(*storage, bucket, paths),
        }
    }

    /// The refusal of a grant that the caller has not: of a template, why it has nothing of it.
    fn absent(&self, which: &GrantRef) -> Error {
        match self.snapshot.unfilled(self.caller, which) {
            None => Error::not_found(Noun::Grant).at(Field::Grant),
            Some((name, unfilled)) => {
                let said = format!("the grant `{name}` has a condition that does not hold: {unfilled}");
                Error::new(Kind::Forbidden, said)
            }
        }
    }

    /// Whether the caller's key opens that. A grant with conditions adds to it for who meets them.
    fn is_held(&self, found: &Found) -> bool {
        let holds = |id| self.snapshot.grant(self.caller, &GrantRef::Id(id)).is_some_and(|grant| self.is_open(&grant));
        self.caller.held.as_ref().is_none_or(|held| held.covers(found.storage.id, &found.rights, holds))
    }

    fn is_open(&self, grant: &Grant<Scope>) -> bool {
        grant.is_open(self.caller, self.facts, self.now)
    }

    fn datasets(self, bucket: Option<&BucketName>) -> Result<Found, Error> {
        let Self { snapshot, wanted, .. } = self;
        let bundles = snapshot.bundles(self.caller, self.facts, self.now);
        if bundles.is_empty() {
            return Err(Error::new(Kind::NotInPlan, "no dataset is included in this account's plan"));
        }
        // Only where there is a choice: a bucket that nothing is granted in any more leaves nobody without keys.
        let usual = snapshot.account().datasets_bucket.as_ref();
        let usual = usual.filter(|usual| bundles.iter().any(|bundle| bundle.rights.bucket() == *usual));
        let bucket = bucket.or(usual);
        let mut fitting = bundles.iter().filter(|bundle| bucket.is_none_or(|name| name == bundle.rights.bucket()));
        let bundle = match (fitting.next(), fitting.next()) {
            (Some(bundle), None) => bundle,
            (None, _) => return Err(Error::not_found(Noun::Bucket).at(Field::Bucket)),
            (Some(_), Some(_)) => {
                let names: Vec<String> = bundles.iter().map(|bundle| format!("`{}`", bundle.rights.bucket())).collect();
                return Err(Error::new(
                    Kind::Invalid,
                    format!("the datasets are in several buckets; set `bucket` to one of {}", names.join(", ")),
                )
                .at(Field::Bucket));
            }
        };
        let storage =
            snapshot.storage(bundle.storage).ok_or_else(|| Error::internal("a bundle names a storage that is gone"))?;
        let granted = bundle.rights.actions();
        let actions = wanted.of(granted).ok_or_else(|| not_granted(wanted, granted))?;
        let rights = if actions == granted {
            Arc::clone(&bundle.rights)
        } else {
            let asked = Rights::of(bundle.rights.bucket().clone(), Paths::Whole, actions);
            let narrowed = asked.and_then(|asked| bundle.rights.intersect(&asked));
            Arc::new(narrowed.ok_or_else(|| Error::internal("narrowing to granted actions failed"))?)
        };
        Ok(Found {
            storage: Arc::clone(storage),
            rights,
            grants: Arc::clone(&bundle.grants),
            max_lifetime: bundle.max_lifetime,
            until: bundle.until,
            cuts: Vec::new(),
        })
    }

    fn one_grant(self, grant: &Grant<Scope>, paths: Option<&Paths>) -> Result<Found, Error> {
        let wanted = self.wanted;
        match grant.time(self.now) {
            GrantTime::Live => {}
            GrantTime::Early => {
                return Err(Error::new(Kind::Forbidden, format!("the grant `{}` has not begun", grant.name)));
            }
            GrantTime::Ended => {
                return Err(Error::new(Kind::Forbidden, format!("the grant `{}` has ended", grant.name)));
            }
        }
        if let Some(conditions) = &grant.conditions {
            let judged = conditions.judge(self.caller.identity.as_deref(), self.facts, self.now);
            if let Some(unheld) = judged.iter().find(|judged| judged.held != Held::Holds) {
                let said = format!("the grant `{}` has a condition that does not hold: {}", grant.name, unheld.said);
                return Err(Error::new(Kind::Forbidden, said));
            }
        }
        let granted = grant.scope.actions();
        let actions = wanted.of(granted).ok_or_else(|| not_granted(wanted, granted))?;
        let paths = paths.unwrap_or(grant.scope.paths()).clone();
        let scope = grant.scope.narrow(paths, actions).ok_or_else(|| {
            Error::new(Kind::Forbidden, format!("the paths are not inside the grant `{}`", grant.name)).at(Field::Paths)
        })?;
        Ok(Found {
            storage: Arc::clone(storage_of(self.snapshot, grant)?),
            rights: Arc::new(scope.into()),
            grants: Arc::from([grant.id]),
            max_lifetime: grant.max_lifetime,
            until: grant.ends(self.now),
            cuts: cut_actions(wanted, actions),
        })
    }

    fn place(self, bucket: &BucketName, paths: &Paths) -> Result<Found, Error> {
        let Self { snapshot, caller, .. } = self;
        if !snapshot.knows_bucket(caller, bucket) {
            return Err(Error::not_found(Noun::Bucket).at(Field::Bucket));
        }
        let chosen = match paths {
            Paths::Whole => {
                let grant = self.best(snapshot.whole(caller, bucket));
                vec![Arc::clone(grant.ok_or_else(|| outside("the whole bucket"))?)]
            }
            Paths::Only(set) => {
                // What is filled in for this caller is asked like what everyone has.
                let filled = snapshot.filled(caller, Some(bucket));
                let mut chosen: Vec<Arc<Grant<Scope>>> = Vec::new();
                for path in set.iter() {
                    let near = snapshot.near(caller, bucket, &path).chain(&filled);
                    let grant = self
                        .best(near.filter(|grant| grant.scope.paths().cover_path(&path)))
                        .ok_or_else(|| outside(&path_shown(&path)))?;
                    if !chosen.iter().any(|known| known.id == grant.id) {
                        chosen.push(Arc::clone(grant));
                    }
                }
                chosen
            }
        };
        self.combined(&chosen, bucket, paths)
    }

    /// A place inside one table of a share: one grant covers all of it, so that tables never combine. Every grant of the share that
    /// does counts as one that decided: two tables may lie at one place, and whichever of them is taken back ends the credential.
    fn shared(self, share: ShareId, bucket: &BucketName, paths: &Paths) -> Result<Found, Error> {
        let Self { snapshot, caller, .. } = self;
        if !snapshot.knows_share(caller, share) {
            return Err(Error::not_found(Noun::Share));
        }
        let Paths::Only(set) = paths else { return Err(outside("the whole bucket")) };
        let first = set.iter().next().ok_or_else(|| Error::internal("a place without paths was asked for"))?;
        let covering = snapshot
            .near_shared(caller, share, bucket, &first)
            .filter(|grant| set.iter().all(|path| grant.scope.paths().cover_path(&path)));
        let of_use = covering
            .filter(|grant| self.is_open(grant) && self.wanted.of(grant.scope.actions()).is_some())
            .map(|grant| (grant.id, Arc::clone(grant)));
        let chosen: Vec<Arc<Grant<Scope>>> = of_use.collect::<BTreeMap<_, _>>().into_values().collect();
        if chosen.is_empty() {
            return Err(outside(&path_shown(&first)));
        }
        self.combined(&chosen, bucket, paths)
    }

    /// A place of a check. SECURITY: no grant is asked, so it is an operator's alone, never outside the directory of one check, and
    /// never for longer than a check takes.
    fn probe(self, storage: StorageId, bucket: &BucketName, paths: &Paths) -> Result<Found, Error> {
        let Self { snapshot, wanted, .. } = self;
        match self.caller.role {
            Role::Operator => {}
            Role::Admin | Role::Member | Role::Auditor | Role::Planner => {
                return Err(Error::not_found(Noun::Storage).at(Field::Storage));
            }
        }
        let storage = snapshot.storage(storage).ok_or_else(|| Error::not_found(Noun::Storage).at(Field::Storage))?;
        if probe::directory_of(paths).is_none() {
            return Err(Error::new(Kind::Forbidden, "a storage is checked inside a check's own directory only")
                .at(Field::Paths));
        }
        let given = Actions::READ_WRITE;
        let actions = wanted.of(given).ok_or_else(|| not_granted(wanted, given))?;
        let rights = Rights::of(bucket.clone(), paths.clone(), actions)
            .ok_or_else(|| Error::internal("rights without actions were found"))?;
        Ok(Found {
            storage: Arc::clone(storage),
            rights: Arc::new(rights),
            grants: Arc::from([]),
            max_lifetime: probe::lifetime_at(storage),
            until: None,
            cuts: cut_actions(wanted, actions),
        })
    }

    /// What chosen grants give together of the paths that each of them was chosen for.
    fn combined(self, chosen: &[Arc<Grant<Scope>>], bucket: &BucketName, paths: &Paths) -> Result<Found, Error> {
        let wanted = self.wanted;
        let first = chosen.first().ok_or_else(|| Error::internal("a place without paths was asked for"))?;
        if chosen.iter().any(|grant| grant.storage != first.storage) {
            return Err(
                Error::new(Kind::Invalid, "the paths are in different storages; ask for each alone").at(Field::Paths)
            );
        }
        few_grants(chosen.len())?;
        let granted = chosen.iter().fold(first.scope.actions(), |sum, grant| sum.intersect(grant.scope.actions()));
        let actions = wanted.of(granted).ok_or_else(|| not_granted(wanted, granted))?;
        let rights = Rights::of(bucket.clone(), paths.clone(), actions)
            .ok_or_else(|| Error::internal("rights without actions were found"))?;
        Ok(Found {
            storage: Arc::clone(storage_of(self.snapshot, first)?),
            rights: Arc::new(rights),
            grants: chosen.iter().map(|grant| grant.id).collect(),
            max_lifetime: chosen.iter().fold(first.max_lifetime, |least, grant| least.min(grant.max_lifetime)),
            until: chosen.iter().filter_map(|grant| grant.ends(self.now)).min(),
            cuts: cut_actions(wanted, actions),
        })
    }

    /// Of the grants that are open and of use, the one that gives most: actions first, then time. The id breaks ties.
    fn best<'g>(self, grants: impl Iterator<Item = &'g Arc<Grant<Scope>>>) -> Option<&'g Arc<Grant<Scope>>> {
        grants
            .filter(|grant| self.is_open(grant))
            .filter_map(|grant| Some((self.wanted.of(grant.scope.actions())?, grant)))
            .max_by_key(|(actions, grant)| {
                let end = grant.ends(self.now).unwrap_or(Timestamp::MAX).min(grant.max_lifetime.ends(self.now));
                (actions.iter().count(), end, std::cmp::Reverse(grant.id))
            })
            .map(|(_, grant)| grant)
    }
}

fn outside(what: &str) -> Error {
    Error::new(Kind::Forbidden, format!("no live grant opens {what} for this")).at(Field::Paths)
}

#[cfg(test)]
mod parts_tests;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod tests;
