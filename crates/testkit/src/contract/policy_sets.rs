//! What files own: applied whole or not at all, and only to what it was made for.

use std::collections::{BTreeMap, BTreeSet};

use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::claims::Condition;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::group::{ByClaim, Group};
use valetkey_core::id::{CallerId, GrantId, GroupId, ProviderId};
use valetkey_core::lease::LeaseState;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::policy_set::{Application, Changes, Managed, Owns, State};
use valetkey_core::nouns::removal::Thing;
use valetkey_core::token::PlainToken;

use crate::contract::bench::{Bench, Tenant, by, name, reads};
use crate::contract::groups::group;
use crate::contract::identity::{provider, rule, session};

fn owns() -> Owns {
    Owns { accounts: ["acme".into()].into(), providers: ["ci".into()].into(), ..Owns::default() }
}

/// What there is of the set, and of what it may own.
pub async fn state(bench: &Bench) -> State {
    bench.registry.policy_state(&name("platform"), &owns()).await.unwrap()
}

/// What makes one state of the other.
pub fn application(before: &State, after: &State) -> Application {
    Application {
        owner: name("platform"),
        owns: owns(),
        revision: before.revision(),
        changes: Changes::between(before, after),
        managed: after.managed.clone(),
        keep_leases: false,
        about: "a test".to_owned(),
    }
}

fn mine() -> Managed {
    Managed { owner: name("platform"), source: "a.yaml:1".into(), applied: "{}".into() }
}

/// The state with the tenant's grant narrowed to one directory, a new caller, and a grant for that.
pub fn changed(before: &State, tenant: &Tenant, directory: &str) -> State {
    let mut after = before.clone();
    let id = CallerId::from_bytes([71; 16]);
    let (account, role, standing) = (tenant.account.id, Role::Member, CallerStanding::Active);
    after.callers.insert(id, CallerRecord { id, account, name: name("new"), role, standing });
    let known = after.grants.get_mut(&tenant.grant).unwrap();
    known.scope = reads("lake", &[directory]).into();
    let grant = GrantId::from_bytes([72; 16]);
    let new =
        valetkey_core::grant::Grant { id: grant, name: name("for-new"), to: Grantee::Caller(id), ..known.clone() };
    after.grants.insert(grant, new);
    let things = [Thing::Account(account), Thing::Caller(id), Thing::Grant(tenant.grant), Thing::Grant(grant)];
    after.managed.extend(things.map(|thing| (thing, mine())));
    after.sets = BTreeMap::from([(name("platform"), owns())]);
    after
}

/// All of it is there, what it takes away is ended, and it reads back as it was meant.
pub async fn what_is_applied_is_there_whole_and_ends_what_it_takes_away(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let before = state(bench).await;
    let after = changed(&before, &tenant, "jobs/other");
    let ended = bench.policies.apply_policy(&application(&before, &after), by(&tenant, bench.now())).await.unwrap();
    assert_eq!(ended, 1);
    assert!(bench.is_revoked(&lease));
    assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)));
    assert_eq!(state(bench).await, after);
    assert!(bench.decide(&tenant.token, &crate::contract::bench::ask(tenant.grant)).await.is_ok());
    // Taken out again: the grant with its caller.
    let now = state(bench).await;
    let mut less = now.clone();
    less.callers.remove(&CallerId::from_bytes([71; 16]));
    less.grants.remove(&GrantId::from_bytes([72; 16]));
    less.managed.remove(&Thing::Caller(CallerId::from_bytes([71; 16])));
    less.managed.remove(&Thing::Grant(GrantId::from_bytes([72; 16])));
    bench.policies.apply_policy(&application(&now, &less), by(&tenant, bench.now())).await.unwrap();
    assert_eq!(state(bench).await, less);
}

/// What was made for another state, or cannot be made, leaves everything as it was, and ends nothing.
pub async fn what_cannot_be_applied_changes_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let before = state(bench).await;
    let after = changed(&before, &tenant, "jobs/other");
    let what = application(&before, &after);
    bench.registry.ensure_caller(tenant.account.id, &name("by-hand"), Role::Member, bench.now()).await.unwrap();
    let moved = bench.policies.apply_policy(&what, by(&tenant, bench.now())).await.unwrap_err();
    assert_eq!((moved.kind(), moved.field()), (Kind::AlreadyExists(Noun::Policy), Some("revision")));
    assert!(!bench.is_revoked(&lease));
    let before = state(bench).await;
    assert!(before.managed.is_empty() && before.sets.is_empty());
    // A grant of a bucket that is not there.
    let mut wrong = changed(&before, &tenant, "jobs/daily");
    wrong.grants.get_mut(&GrantId::from_bytes([72; 16])).unwrap().scope = reads("nosuch", &["a"]).into();
    assert!(bench.policies.apply_policy(&application(&before, &wrong), by(&tenant, bench.now())).await.is_err());
    assert_eq!(state(bench).await, before);
    assert!(!bench.is_revoked(&lease));
    // And one that would have narrowed the tenant's grant, too: that opens what it opened.
    wrong.grants.get_mut(&tenant.grant).unwrap().scope = reads("lake", &["jobs/other"]).into();
    assert!(bench.policies.apply_policy(&application(&before, &wrong), by(&tenant, bench.now())).await.is_err());
    assert_eq!(state(bench).await, before);
    bench.clock.advance_secs(1);
    bench.open(&tenant).await.unwrap();
}

/// Whose a thing is changes nothing else of it.
pub async fn things_are_put_into_a_set_and_out_of_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let before = state(bench).await;
    let things = [Thing::Account(tenant.account.id), Thing::Grant(tenant.grant)];
    bench.policies.set_owner(&things, Some(&name("platform"))).await.unwrap();
    let owned = state(bench).await;
    assert_eq!(owned.managed.keys().cloned().collect::<Vec<_>>(), things);
    assert_eq!((owned.accounts, owned.grants), (before.accounts.clone(), before.grants.clone()));
    bench.policies.set_owner(&things, None).await.unwrap();
    assert_eq!(state(bench).await, before);
    let nothing = Thing::Grant(GrantId::from_bytes([9; 16]));
    let missing = bench.policies.set_owner(&[nothing], Some(&name("platform"))).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound(Noun::Policy));
}

/// A group and an identity provider are applied like everything else; what they take away ends.
pub async fn groups_and_identity_providers_are_applied_with_what_they_end(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let before = state(bench).await;
    assert_eq!(before.others.values().collect::<Vec<_>>(), [&name("other")]);
    let mut after = before.clone();
    let account = tenant.account.id;
    let (group_id, provider_id, grant) =
        (GroupId::from_bytes([81; 16]), ProviderId::from_bytes([82; 16]), GrantId::from_bytes([83; 16]));
    let by_claim = ByClaim { provider: provider_id, conditions: vec![Condition::parse("team=eng").unwrap()] };
    let members = BTreeSet::from([tenant.caller]);
    let eng = Group { id: group_id, members, by_claim: Some(by_claim), version: 1, ..group(account, "eng") };
    after.groups.insert(group_id, eng.clone());
    let rules = vec![rule(1, account, "team=eng"), rule(2, other.account.id, "team=other")];
    let ci = IdentityProvider { id: provider_id, version: 1, rules, ..provider("ci") };
    after.providers.insert(provider_id, ci.clone());
    let known = after.grants.get(&tenant.grant).unwrap().clone();
    let (id, to) = (grant, Grantee::Group(group_id));
    after.grants.insert(grant, valetkey_core::grant::Grant { id, name: name("of-eng"), to, ..known });
    let things = [Thing::Group(group_id), Thing::IdentityProvider(provider_id), Thing::Grant(grant)];
    after.managed.extend(things.clone().map(|thing| (thing, mine())));
    after.sets = BTreeMap::from([(name("platform"), owns())]);
    bench.policies.apply_policy(&application(&before, &after), by(&tenant, bench.now())).await.unwrap();
    assert_eq!(state(bench).await, after);
    // Who is in the group, by name and by what a token claims.
    let open = async |token: &PlainToken| {
        let permit = bench.decide(token, &crate::contract::bench::ask(grant)).await?;
        bench.ledger.open(&permit, None, bench.now()).await
    };
    let named = open(&tenant.token).await.unwrap();
    let all = bench.identities.identity_providers().await.unwrap();
    let new = session(all.first().unwrap(), "1", r#","team":"eng""#, bench.now()).unwrap();
    let digest = new.digest().0;
    bench.identities.open_session(new, bench.now()).await.unwrap();
    let caller = bench.directory.caller_by_digest(digest, bench.now()).await.unwrap();
    bench.clock.advance_secs(1);
    // The rule is another, and nobody is named any more: what was vended ends, and so does the session.
    let now = state(bench).await;
    let mut less = now.clone();
    less.groups.get_mut(&group_id).unwrap().members.clear();
    less.providers.get_mut(&provider_id).unwrap().rules = vec![rule(3, account, "team=none")];
    let kept = Application { keep_leases: true, ..application(&now, &less) };
    let ended = bench.policies.apply_policy(&application(&now, &less), by(&tenant, bench.now())).await.unwrap();
    assert_eq!(ended, 1);
    assert!(bench.is_revoked(&named));
    assert!(bench.directory.caller_by_digest(digest, bench.now()).await.is_err(), "{caller:?}");
    let again = bench.policies.apply_policy(&kept, by(&tenant, bench.now())).await.unwrap_err();
    assert_eq!(again.field(), Some("revision"));
    // All of it goes.
    let now = state(bench).await;
    let mut none = now.clone();
    for thing in &things {
        none.forget(thing);
    }
    bench.policies.apply_policy(&application(&now, &none), by(&tenant, bench.now())).await.unwrap();
    let left = state(bench).await;
    assert_eq!((&left, left.groups.len(), left.providers.len()), (&none, 0, 0));
}

/// What was vended lives on where that is said, also by a grant that goes.
pub async fn leases_are_kept_where_that_is_said(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let before = state(bench).await;
    let after = changed(&before, &tenant, "jobs/other");
    let kept = Application { keep_leases: true, ..application(&before, &after) };
    assert_eq!(bench.policies.apply_policy(&kept, by(&tenant, bench.now())).await.unwrap(), 0);
    let now = state(bench).await;
    let mut less = now.clone();
    less.forget(&Thing::Grant(tenant.grant));
    let kept = Application { keep_leases: true, ..application(&now, &less) };
    assert_eq!(bench.policies.apply_policy(&kept, by(&tenant, bench.now())).await.unwrap(), 0);
    assert!(!bench.is_revoked(&lease));
    assert!(bench.open(&tenant).await.is_err());
}
