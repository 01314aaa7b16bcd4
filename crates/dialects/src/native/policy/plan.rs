//! What a plan says: things, access, leases and tests.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::grant::Grant;
use valetkey_core::nouns::policy_set::{Changes, State, Trial, Wanted, differences, run};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::storage::Storage;

use super::super::preview::{AccessChange, access};
use super::super::state::Native;
use super::write::{self, Longest};

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
}

/// The most leases of an account that a plan looks at.
const MOST_LEASES: u32 = 10_000;

/// What was planned: the state before and after, and the tests.
pub(super) struct Planned {
    pub(super) before: State,
    pub(super) after: State,
    pub(super) wanted: Wanted,
    pub(super) trials: Vec<Trial>,
    pub(super) storages: Vec<Arc<Storage>>,
    pub(super) longest: Longest,
}

impl Planned {
    /// The tests that do not hold.
    pub(super) fn failed(&self) -> Vec<FailedTest> {
        let failed = run(&self.after, &self.storages, &self.trials);
        failed.into_iter().map(|one| FailedTest { source: one.source.into(), said: one.said }).collect()
    }
}

impl Native {
    pub(super) async fn told(&self, planned: &Planned, now: Timestamp) -> Result<PolicyPlan, Error> {
        let Planned { before, after, wanted, trials, storages: _, longest } = planned;
        let changes = Changes::between(before, after);
        Ok(PolicyPlan {
            owner: wanted.owner.to_string(),
            revision: before.revision(),
            objects: objects(before, after, &changes, longest)?,
            removals: changes.removals.len(),
            access: differences(before, after, now).iter().map(access).collect(),
            leases: self.ending(before, &changes, now).await?,
            tests: trials.len(),
            failed: planned.failed(),
        })
    }

    /// The live leases that changes would end.
    async fn ending(&self, before: &State, changes: &Changes, now: Timestamp) -> Result<PlannedLeases, Error> {
        let mut told = PlannedLeases { ended: 0, at_least: false };
        let narrowed: Vec<(&Amendment, &Grant)> = changes
            .amendments
            .iter()
            .filter_map(|change| match change {
                Amendment::Grant(grant) => before.grants.get(&grant.id).map(|was| (change, was)),
                Amendment::Account(_)
                | Amendment::Caller { .. }
                | Amendment::Token { .. }
                | Amendment::Group(_)
                | Amendment::Dataset(_)
                | Amendment::Workspace { .. }
                | Amendment::IdentityProvider(_)
                | Amendment::RequestRule(_) => None,
            })
            .filter(|(change, was)| change.narrows(was, now))
            .collect();
        if narrowed.is_empty() && changes.removals.is_empty() {
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
            });
            told.ended += u64::try_from(ends.count()).unwrap_or(u64::MAX);
        }
        Ok(told)
    }
}

/// Every thing that changes, in the order of their addresses.
fn objects(before: &State, after: &State, changes: &Changes, longest: &Longest) -> Result<Vec<ThingChange>, Error> {
    let mut found = Vec::new();
    let made = changes.accounts.iter().map(|one| Thing::Account(one.id));
    let made = made.chain(changes.callers.iter().map(|one| Thing::Caller(one.id)));
    let made = made.chain(changes.datasets.iter().map(|one| Thing::Dataset(one.id)));
    for one in made.chain(changes.grants.iter().map(|one| Thing::Grant(one.id))) {
        found.push(thing("create", before, after, &one, longest)?);
    }
    for change in &changes.amendments {
        let one = match change {
            Amendment::Account(account) => Thing::Account(account.id),
            Amendment::Caller { id, .. } => Thing::Caller(*id),
            Amendment::Grant(grant) => Thing::Grant(grant.id),
            Amendment::Dataset(dataset) => Thing::Dataset(dataset.id),
            Amendment::Group(_)
            | Amendment::Token { .. }
            | Amendment::Workspace { .. }
            | Amendment::IdentityProvider(_)
            | Amendment::RequestRule(_) => continue,
        };
        found.push(thing("change", before, after, &one, longest)?);
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
