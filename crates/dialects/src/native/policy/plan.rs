//! What a plan says: things, access, leases and tests.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::group::Group;
use valetkey_core::id::GroupId;
use valetkey_core::lease::Lease;
use valetkey_core::nouns::policy_set::{Changes, Failed, State, Trial, Verdicts, Wanted, differences, judge};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::storage::Storage;

use super::super::preview::{AccessChange, access};
use super::super::state::Native;
use super::write::{self, Longest};
use crate::edge::{Place, Stop};

/// A field that changes.
#[derive(Serialize, ToSchema)]
pub(super) struct FieldChange {
    /// The field.
    field: String,
    /// What it says.
    #[schema(value_type = Option<Object>)]
    before: Value,
    /// What it will say.
    #[schema(value_type = Option<Object>)]
    after: Value,
}

/// A thing that changes.
#[derive(Serialize, ToSchema)]
pub(super) struct ThingChange {
    /// `create`, `change` or `remove`.
    op: &'static str,
    /// The thing: `grant/acme/daily`.
    thing: String,
    /// File and line that say so.
    source: String,
    /// The fields, unless it is removed.
    fields: Vec<FieldChange>,
}

/// A test that does not hold.
#[derive(Serialize, ToSchema)]
pub(super) struct FailedTest {
    /// Where it is written.
    pub(super) source: String,
    /// What is otherwise.
    pub(super) said: String,
}

/// A grant by which no test says that someone can do something, or is given something.
#[derive(Serialize, ToSchema)]
pub(super) struct UntestedGrant {
    /// The grant: `grant/acme/daily`.
    thing: String,
    /// Where it is written.
    source: String,
}

/// Live leases that end.
#[derive(Serialize, ToSchema)]
pub(super) struct PlannedLeases {
    /// How many.
    ended: u64,
    /// Whether there may be more: of an account with very many not all are looked at.
    at_least: bool,
}

/// What applying a document would change.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyPlan {
    /// The set.
    owner: String,
    /// What stands for the state that it was made for: to be sent with what is applied.
    revision: String,
    /// Things.
    objects: Vec<ThingChange>,
    /// How many are removed.
    removals: usize,
    /// Access, exactly, now.
    access: Vec<AccessChange>,
    /// Leases.
    leases: PlannedLeases,
    /// How many tests there are.
    tests: usize,
    /// Those that do not hold.
    failed: Vec<FailedTest>,
    /// The set's grants that no test is about, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    untested: Option<Vec<UntestedGrant>>,
}

/// The most leases of an account that a plan looks at.
const MOST_LEASES: u32 = 10_000;

/// What was planned: the state before and after, and the tests.
pub(super) struct Planned {
    pub(super) before: State,
    pub(super) after: State,
    /// What stands for the state before.
    pub(super) revision: String,
    pub(super) wanted: Wanted,
    pub(super) trials: Vec<Trial>,
    pub(super) storages: Vec<Arc<Storage>>,
    pub(super) longest: Longest,
}

impl Planned {
    /// What came of its tests.
    pub(super) fn judged(&self) -> Verdicts {
        judge(&self.after, &self.storages, &self.trials)
    }
}

impl Native {
    /// What is planned.
    pub(super) async fn told(
        &self,
        place: &Place,
        planned: Planned,
        coverage: bool,
        now: Timestamp,
    ) -> Result<PolicyPlan, Error> {
        let planned = Arc::new(planned);
        let own = Arc::clone(&planned);
        let work = move |_: &Stop| {
            let Planned { before, after, longest, .. } = &*own;
            let changes = Changes::between(before, after);
            let shown = objects(before, after, &changes, longest)?;
            Ok((changes, shown, differences(before, after, now).iter().map(access).collect(), own.judged()))
        };
        let (changes, objects, access, judged) = place.work(work).await?;
        let Planned { before, after, revision, wanted, trials, .. } = &*planned;
        let untested = coverage.then(|| {
            let untouched = judged.untouched(after, &wanted.owner);
            untouched.into_iter().map(|(thing, source)| UntestedGrant { thing, source: source.into() }).collect()
        });
        let failed = |one: Failed| FailedTest { source: one.source.into(), said: one.said };
        Ok(PolicyPlan {
            owner: wanted.owner.to_string(),
            revision: revision.clone(),
            objects,
            removals: changes.removals.len(),
            access,
            leases: self.ending(before, &changes, now).await?,
            tests: trials.len(),
            failed: judged.failed.into_iter().map(failed).collect(),
            untested,
        })
    }

    /// The live leases that changes would end.
    async fn ending(&self, before: &State, changes: &Changes, now: Timestamp) -> Result<PlannedLeases, Error> {
        let mut told = PlannedLeases { ended: 0, at_least: false };
        let mut narrowed: Vec<(&Amendment, &Grant)> = Vec::new();
        let mut left: Vec<(&Group, &Group)> = Vec::new();
        for change in &changes.amendments {
            if let Amendment::Grant(grant) = change {
                narrowed.extend(
                    before.grants.get(&grant.id).filter(|was| change.narrows(was, now)).map(|was| (change, was)),
                );
            } else if let Amendment::Group(group) = change {
                left.extend(before.groups.get(&group.id).map(|was| (was, &**group)));
            } else if let Amendment::IdentityProvider(_) = change {
                told.ended += self.shared.registry.preview(change, now).await?;
            }
        }
        for thing in changes.removals.iter().filter(|thing| matches!(thing, Thing::IdentityProvider(_))) {
            told.ended += self.shared.registry.plan(thing).await?.leases;
        }
        if narrowed.is_empty() && left.is_empty() && changes.removals.is_empty() {
            return Ok(told);
        }
        let gone = |thing: &Thing| changes.removals.contains(thing);
        for account in before.accounts.keys() {
            let filter = LeaseFilter {
                account: Some(*account),
                live_at: Some(now),
                limit: MOST_LEASES,
                ..LeaseFilter::default()
            };
            let leases = self.shared.registry.leases(&filter).await?;
            told.at_least |= leases.len() >= usize::try_from(MOST_LEASES).unwrap_or(usize::MAX);
            let ends = leases.iter().filter(|record| {
                let lease = &record.lease;
                gone(&Thing::Account(lease.account))
                    || gone(&Thing::Caller(lease.caller))
                    || lease.grants.iter().any(|grant| gone(&Thing::Grant(*grant)))
                    || narrowed.iter().any(|(change, was)| change.ends(Some(was), lease, None, now))
                    || left.iter().any(|(was, is)| is.leaves(was, lease.caller) && opened(before, lease, was.id))
            });
            told.ended += u64::try_from(ends.count()).unwrap_or(u64::MAX);
        }
        Ok(told)
    }
}

/// Whether a lease was opened by a grant to a group.
fn opened(state: &State, lease: &Lease, group: GroupId) -> bool {
    let to = |grant| state.grants.get(grant).is_some_and(|grant| grant.to == Grantee::Group(group));
    lease.grants.iter().any(to)
}

/// Every thing that changes, in the order of their addresses.
fn objects(before: &State, after: &State, changes: &Changes, longest: &Longest) -> Result<Vec<ThingChange>, Error> {
    let mut found = Vec::new();
    for one in &changes.made {
        found.push(thing("create", before, after, &one.thing(), longest)?);
    }
    for change in &changes.amendments {
        found.push(thing("change", before, after, &change.thing(), longest)?);
    }
    for one in &changes.removals {
        found.push(thing("remove", before, after, one, longest)?);
    }
    found.sort_by(|one, two| (&one.thing, one.op).cmp(&(&two.thing, two.op)));
    Ok(found)
}

fn thing(
    op: &'static str,
    before: &State,
    after: &State,
    one: &Thing,
    longest: &Longest,
) -> Result<ThingChange, Error> {
    let (was, is) = (write::thing(before, one, longest)?, write::thing(after, one, longest)?);
    let mut fields = Vec::new();
    let name = |state: &State| state.address(one);
    if let (Some(old), Some(new)) = (name(before), name(after))
        && old != new
    {
        fields.push(FieldChange { field: "name".to_owned(), before: old.into(), after: new.into() });
    }
    let empty = serde_json::Map::new();
    let map = |value: &Option<Value>| value.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let (was, is) = (map(&was), if op == "remove" { empty } else { map(&is) });
    if op != "remove" {
        let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for name in names {
            let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
            if of(&was) != of(&is) {
                fields.push(FieldChange { field: name.clone(), before: of(&was), after: of(&is) });
            }
        }
    }
    let source = after.managed.get(one).or_else(|| before.managed.get(one)).map(|known| known.source.to_string());
    let thing = name(after).or_else(|| name(before)).unwrap_or_default();
    Ok(ThingChange { op, thing, source: source.unwrap_or_default(), fields })
}
