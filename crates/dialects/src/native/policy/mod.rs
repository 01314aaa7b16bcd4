//! Policy files: `POST /api/v1/policy/plan` and `/apply`, `GET /api/v1/policy`, `POST /api/v1/policy/owners`.

mod plan;
mod read;
mod said;
mod trust;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use valetkey_core::caller::Caller;
use valetkey_core::error::Noun;
use valetkey_core::id::{ProviderId, StorageId};
use valetkey_core::name::{BucketName, Name, shortened};
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::policy_set::{Application, Changes, Managed, Owns, Problem, State, Wanted, judge, settle};
use valetkey_core::nouns::removal::Thing;
use valetkey_core::nouns::storage_admin::StorageAdmin;
use valetkey_core::scope::{Path, Scope};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::{Lifetime, random_10};
use valetkey_core::{Error, Kind};

use super::api::policy::{PolicyApplyRequest, PolicyDocument, PolicyOwnerRequest, PolicyPlanRequest};
use super::error::Problem as Refusal;
use super::groups::provider_named;
use super::state::Native;
use super::{authz, wire};
use crate::edge::{Authority, Call, Place, Reply, Stop, json};

use self::plan::{Planned, PolicyPlan};
use self::read::Ground;
use self::write::Longest;

/// The most problems that one answer names.
const NAMED: usize = 20;

struct Known<'a> {
    storages: HashMap<BucketName, Storage>,
    datasets: HashMap<Name, (BucketName, Path)>,
    providers: Arc<[Arc<IdentityProvider>]>,
    admin: &'a dyn StorageAdmin,
    native: &'a Native,
    now: Timestamp,
}

impl Ground for Known<'_> {
    fn storage(&self, bucket: &BucketName) -> Result<Storage, Error> {
        let known = self.storages.get(bucket).cloned();
        known.ok_or_else(|| Error::new(Kind::Invalid, format!("there is no bucket `{bucket}`")).at("bucket"))
    }

    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error> {
        self.admin.can_express(storage, scope)
    }

    fn provider(&self, name: &str) -> Result<ProviderId, Error> {
        provider_named(&self.providers, name)
    }

    fn new_provider(&self, _: &str) -> ProviderId {
        ProviderId::from_bytes(self.native.minted(self.now))
    }

    fn trusts(&self, provider: &IdentityProvider) -> Result<(), Error> {
        self.native.trusts(provider)
    }

    fn dataset(&self, name: &Name) -> Option<(BucketName, Path)> {
        self.datasets.get(name).cloned()
    }
}

fn refused(problems: &[Problem]) -> Error {
    let named = problems
        .iter()
        .take(NAMED)
        .map(|Problem { source, said }| if source.is_empty() { said.clone() } else { format!("{source}: {said}") });
    let mut said = named.collect::<Vec<_>>().join("; ");
    if problems.len() > NAMED {
        said = format!("{said}; and {} more", problems.len() - NAMED);
    }
    Error::new(Kind::Invalid, said).at("document")
}

/// Whether a caller may send a large document: only who could apply it.
pub(super) async fn decide(call: Call) -> Result<(), Error> {
    operator(&call.caller)
}

fn operator(caller: &Caller) -> Result<(), Error> {
    authz::operator(caller)
}

impl Native {
    /// What a document means. All that grows with it, and with what there is, is done in the place.
    async fn planned(
        self: &Arc<Self>,
        place: &Place,
        call: &Call,
        document: PolicyDocument,
        sources: BTreeMap<String, String>,
    ) -> Result<Planned, Error> {
        let (registry, now) = (&self.shared.registry, call.now);
        let storages: Vec<Arc<Storage>> = registry.storages().await?.into_iter().map(Arc::new).collect();
        let of = |id| storages.iter().find(|storage| storage.id == id).map(|storage| (**storage).clone());
        let buckets = registry.buckets().await?.into_iter().filter_map(|(bucket, id)| Some((bucket, of(id)?)));
        let buckets: HashMap<BucketName, Storage> = buckets.collect();
        let datasets = registry.datasets().await?;
        let providers = self.shared.identities.identity_providers().await?;
        let native = Arc::clone(self);
        let read = move |_: &Stop| {
            let datasets = datasets.iter().map(|one| (one.name.clone(), (one.bucket.clone(), one.path.clone())));
            let (datasets, admin) = (datasets.collect(), &*native.stores);
            let ground = Known { storages: buckets, datasets, providers, admin, native: &native, now };
            read::read(&document, &sources, &ground, now).map_err(|problems| refused(&problems))
        };
        let (wanted, trials) = place.work(read).await?;
        let before = registry.policy_state(&wanted.owner, &wanted.owns).await?;
        let native = Arc::clone(self);
        let longest = storages.iter().map(|storage| (storage.id, storage.max_lifetime)).collect();
        let settled = move |_: &Stop| {
            let mut mint = || native.minted(now);
            let after = settle(&before, &wanted, &mut mint).map_err(|problems| refused(&problems))?;
            let revision = before.revision();
            Ok(Planned { before, after, revision, wanted, trials, storages, longest })
        };
        place.work(settled).await
    }

    /// Ids are made like those of everything else.
    fn minted(&self, now: Timestamp) -> [u8; 16] {
        valetkey_core::id::AccountId::new(now, random_10(&*self.shared.entropy)).to_bytes()
    }
}

/// Where every bucket is and can all be expressed: for a look at files without a server.
struct Anywhere;

impl Ground for Anywhere {
    fn storage(&self, _: &BucketName) -> Result<Storage, Error> {
        Ok(Storage {
            id: StorageId::from_bytes([0; 16]),
            name: Name::parse("anywhere")?,
            kind: StorageKind::Embedded,
            endpoint: "".into(),
            internal_endpoint: None,
            region: "".into(),
            min_lifetime: Lifetime::secs(1),
            max_lifetime: Lifetime::MAX,
            external: None,
        })
    }

    fn can_express(&self, _: &Storage, _: &Scope) -> Result<(), Error> {
        Ok(())
    }

    fn provider(&self, name: &str) -> Result<ProviderId, Error> {
        Ok(self.new_provider(name))
    }

    fn new_provider(&self, name: &str) -> ProviderId {
        // Another one for each name, and that is all that tests ask.
        let digest = Sha256::digest(name.as_bytes());
        ProviderId::from_bytes(digest.first_chunk().copied().unwrap_or_default())
    }

    fn trusts(&self, _: &IdentityProvider) -> Result<(), Error> {
        Ok(())
    }

    fn dataset(&self, _: &Name) -> Option<(BucketName, Path)> {
        None
    }
}

/// The document, where a grant of a dataset that it does not say itself is one of the place that the grant names: without a server
/// nobody knows the dataset's.
fn without_foreign_datasets(document: &PolicyDocument) -> PolicyDocument {
    let mut own = document.clone();
    for grant in own.accounts.values_mut().flat_map(|account| account.grants.values_mut()) {
        let placed = grant.bucket.is_some()
            && (grant.directories.is_some() || grant.objects.is_some() || grant.raw_prefixes.is_some());
        if placed && grant.dataset.as_ref().is_some_and(|name| !document.datasets.contains_key(name)) {
            grant.dataset = None;
        }
    }
    own
}

/// Where something is said, and what is wrong with it.
type Said = (String, String);

/// What came of a document's tests without a server.
#[derive(Debug)]
pub struct Offline {
    /// The tests that do not hold: where each is written, and what is otherwise.
    pub failed: Vec<(String, String)>,
    /// The grants that no test is about, and where each is written.
    pub untested: Vec<(String, String)>,
}

/// Checks a document without a server, and runs its tests against it alone.
///
/// # Errors
/// All that is wrong with it.
pub fn offline_policy(
    document: &PolicyDocument,
    sources: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Offline, Vec<Said>> {
    let told = |problems: Vec<Problem>| -> Vec<Said> {
        problems.into_iter().map(|one| (String::from(one.source), one.said)).collect()
    };
    let document = without_foreign_datasets(document);
    let (wanted, trials) = read::read(&document, sources, &Anywhere, now).map_err(told)?;
    let wanted = Wanted { assumes_groups: true, ..wanted };
    let mut next = 0u64;
    let mut mint = || {
        next += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&next.to_be_bytes());
        id
    };
    let state = settle(&State::default(), &wanted, &mut mint).map_err(told)?;
    let bucket = BucketName::parse("anywhere").map_err(|error| vec![(String::new(), error.to_string())])?;
    let storage = Anywhere.storage(&bucket).map_err(|error| vec![(String::new(), error.to_string())])?;
    let judged = judge(&state, &[Arc::new(storage)], &trials);
    let untested = judged.untouched(&state, &wanted.owner);
    Ok(Offline {
        failed: judged.failed.into_iter().map(|one| (String::from(one.source), one.said)).collect(),
        untested: untested.into_iter().map(|(thing, source)| (thing, source.into())).collect(),
    })
}

/// Says what applying a document would change: things, access, leases, and whether its tests hold. For operators.
#[utoipa::path(post, operation_id = "plan_policy", path = "/api/v1/policy/plan", tag = "policy", request_body = PolicyPlanRequest, responses(
    (status = 200, description = "The plan", body = PolicyPlan),
    (status = "4XX", description = "A refusal", body = Refusal<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn plan(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let place = native.looking(&call).await?;
    let body = call.body.clone();
    let PolicyPlanRequest { document, sources, coverage } = place.work(move |_| json(&body)).await?;
    let planned = place.in_time(native.planned(&place, &call, document, sources)).await?;
    let plan = native.told(&place, planned, coverage, call.now).await?;
    place.work(move |_| Reply::json(&plan)).await
}

/// What was applied.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyApplied {
    /// The set.
    owner: String,
    /// The revision from now on.
    revision: String,
    /// How many things were made.
    created: usize,
    /// How many were changed.
    changed: usize,
    /// How many were removed.
    removed: usize,
    /// How many live leases ended.
    leases_ended: u64,
}

/// Applies a document, all of it or nothing, if nothing has changed since it was planned. For operators.
#[utoipa::path(post, operation_id = "apply_policy", path = "/api/v1/policy/apply", tag = "policy", request_body = PolicyApplyRequest, responses(
    (status = 200, description = "It is applied", body = PolicyApplied),
    (status = "4XX", description = "A refusal", body = Refusal<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn apply(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let place = native.looking(&call).await?;
    let body = call.body.clone();
    let PolicyApplyRequest { document, sources, revision, confirm_deletes, keep_leases, message } =
        place.work(move |_| json(&body)).await?;
    let message = wire::words(message.unwrap_or_default(), "message", 500)?;
    let planned = native.planned(&place, &call, document, sources).await?;
    if planned.revision != revision {
        return Err(valetkey_core::nouns::policy_set::moved());
    }
    if let Some(failed) = planned.judged().failed.first() {
        let said = format!("a test does not hold: {}: {}", failed.source, failed.said);
        return Err(Error::new(Kind::Invalid, said).at("tests"));
    }
    let Planned { before, mut after, revision: _, wanted, trials: _, storages: _, longest } = planned;
    let changes = Changes::between(&before, &after);
    let going = changes.removals.len();
    if going > usize::try_from(confirm_deletes).unwrap_or(usize::MAX) {
        let said = format!("{going} things would be removed, and {confirm_deletes} are confirmed");
        return Err(Error::new(Kind::Invalid, said).at("confirm_deletes"));
    }
    let own: Vec<Thing> =
        after.managed.iter().filter(|(_, known)| known.owner == wanted.owner).map(|(one, _)| one.clone()).collect();
    for one in own {
        let applied = write::thing(&after, &one, &longest)?.map(|value| value.to_string()).unwrap_or_default();
        if let Some(known) = after.managed.get_mut(&one) {
            *known = Managed { applied: applied.into(), ..known.clone() };
        }
    }
    let counts = (changes.made.len(), changes.amendments.len());
    let about = format!("{} made, {} changed, {going} removed {message}", counts.0, counts.1).trim_end().to_owned();
    let Wanted { owner, owns, .. } = wanted;
    let what = Application { owner, owns, revision, changes, managed: after.managed, keep_leases, about };
    let by = valetkey_core::lease::Revoker { at: native.shared.vending.now(), ..authority.by() };
    let leases_ended = native.shared.registry.by(authority).apply_policy(&what, by).await?;
    let revision = native.shared.registry.policy_state(&what.owner, &what.owns).await?.revision();
    Reply::json(&PolicyApplied {
        owner: what.owner.to_string(),
        revision,
        created: counts.0,
        changed: counts.1,
        removed: going,
        leases_ended,
    })
}

/// What a set owns that is not as its files said.
#[derive(Serialize, ToSchema)]
pub(super) struct Drifted {
    /// The thing.
    thing: String,
    /// File and line that said so.
    source: String,
    /// `changed` or `removed`.
    how: &'static str,
    /// What the files said.
    #[schema(value_type = Object)]
    applied: serde_json::Value,
    /// What it is.
    #[schema(value_type = Option<Object>)]
    now: Option<serde_json::Value>,
}

/// A set, and what it owns.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicySetResponse {
    /// The document of what it owns, in its canonical form.
    document: PolicyDocument,
    /// What is not as its files said.
    drift: Vec<Drifted>,
    /// What stands for the state that this was read from.
    revision: String,
}

/// The sets there are.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicySetList {
    /// Their names.
    sets: Vec<String>,
}

/// Writes what a set owns as a document, and says what is not as its files said; without `owner` lists the sets. For operators.
#[utoipa::path(get, operation_id = "get_policy", path = "/api/v1/policy", tag = "policy", params(
    ("owner" = Option<String>, Query, description = "The set"),
    ("account" = Option<String>, Query, description = "Also what nobody owns of this account (name), as if the set owned it: to adopt it"),
), responses(
    (status = 200, description = "The set", body = PolicySetResponse),
    (status = "4XX", description = "A refusal", body = Refusal<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn get(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let registry = &native.shared.registry;
    let Some(owner) = call.query.get("owner") else {
        let nobody = Name::parse("nobody")?;
        let state = registry.policy_state(&nobody, &Owns::default()).await?;
        return Reply::json(&PolicySetList { sets: state.sets.keys().map(ToString::to_string).collect() });
    };
    let owner: Name = wire::named(owner, "owner")?;
    let also = call.query.get("account");
    let known = registry.policy_state(&owner, &Owns::default()).await?;
    let there = known.sets.contains_key(&owner) || known.managed.values().any(|one| one.owner == owner);
    // Of a name that is mistyped nothing has drifted, ever.
    if also.is_none() && !there {
        let said = format!("there is no set `{owner}`");
        return Err(Error::new(Kind::NotFound(Noun::Policy), said).at("owner"));
    }
    let mut owns = known.sets.get(&owner).cloned().unwrap_or_default();
    owns.accounts.extend(also.map(Into::into));
    let state = registry.policy_state(&owner, &owns).await?;
    let longest: Longest = registry.storages().await?.iter().map(|one| (one.id, one.max_lifetime)).collect();
    let document = write::document(&state, &owner, &owns, also, &longest)?;
    let mut drift = Vec::new();
    for (one, known) in state.managed.iter().filter(|(_, known)| known.owner == owner && !known.applied.is_empty()) {
        let now = write::thing(&state, one, &longest)?;
        let applied: serde_json::Value = serde_json::from_str(&known.applied)
            .map_err(|error| Error::internal("what was applied cannot be read").caused_by(error))?;
        if now.as_ref() != Some(&applied) {
            drift.push(Drifted {
                thing: state.address(one).unwrap_or_else(|| format!("{} {}", one.kind(), one.id().unwrap_or_default())),
                source: known.source.to_string(),
                how: if now.is_some() { "changed" } else { "removed" },
                applied,
                now,
            });
        }
    }
    Reply::json(&PolicySetResponse { document, drift, revision: state.revision() })
}

/// What was put into a set, or out of any.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyOwned {
    /// The set.
    owner: Option<String>,
    /// The things.
    things: Vec<String>,
}

/// Puts things into a set as they are, or out of any. Nothing else of them changes. For operators.
#[utoipa::path(post, operation_id = "own_policy", path = "/api/v1/policy/owners", tag = "policy", request_body = PolicyOwnerRequest, responses(
    (status = 200, description = "Done", body = PolicyOwned),
    (status = "4XX", description = "A refusal", body = Refusal<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn own(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let PolicyOwnerRequest { owner, things } = json(&call.body)?;
    let owner = owner.map(|text| wire::named::<Name>(&text, "owner")).transpose()?;
    let everything = Owns::everything();
    let nobody = Name::parse("nobody")?;
    let state = native.shared.registry.policy_state(owner.as_ref().unwrap_or(&nobody), &everything).await?;
    let by_address: BTreeMap<String, Thing> =
        state.things().into_iter().filter_map(|one| Some((state.address(&one)?, one))).collect();
    let mut meant: BTreeMap<String, Thing> = BTreeMap::new();
    for text in &things {
        let all = text.strip_prefix("account/").and_then(|rest| rest.strip_suffix("/*"));
        let found: Vec<_> = match all {
            Some(account) => {
                let of = |one: &Thing| state.account_of(one).and_then(|id| state.account_name(id));
                by_address.iter().filter(|(_, one)| of(one).is_some_and(|name| name.as_str() == account)).collect()
            }
            None => by_address.get_key_value(text).into_iter().collect(),
        };
        if found.is_empty() {
            let said = format!("there is no `{}`", shortened(text));
            return Err(Error::new(Kind::NotFound(Noun::Policy), said).at("things"));
        }
        for (address, one) in found {
            match state.managed.get(one).filter(|known| owner.as_ref().is_some_and(|owner| known.owner != *owner)) {
                Some(known) if all.is_none() => {
                    let said = format!("{address} belongs to the set `{}`: release it first", known.owner);
                    return Err(Error::new(Kind::Invalid, said).at("things"));
                }
                Some(_) => {}
                None => drop(meant.insert(address.clone(), one.clone())),
            }
        }
    }
    let list: Vec<Thing> = meant.values().cloned().collect();
    native.shared.registry.by(authority).set_owner(&list, owner.as_ref()).await?;
    Reply::json(&PolicyOwned { owner: owner.map(|owner| owner.to_string()), things: meant.into_keys().collect() })
}
