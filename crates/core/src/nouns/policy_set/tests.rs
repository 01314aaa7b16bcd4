#![expect(clippy::wildcard_enum_match_arm, reason = "a test ends at what it does not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::account::Metering;
use crate::caller::{CallerRecord, Role};
use crate::claims::Condition;
use crate::conditions::Conditions;
use crate::grant::{Grantee, Origin};
use crate::group::{ByClaim, Group};
use crate::id::{CallerId, GroupId, ProviderId, StorageId};
use crate::name::BucketName;
use crate::name::Name;
use crate::nouns::identity::{Algorithm, CallerTemplate, IdentityProvider, KeySource, Preset, SubjectClaim};
use crate::nouns::reach::Place;
use crate::nouns::removal::{Amendment, Thing};
use crate::scope::Scope;
use crate::scope::{Action, Actions, Path, Paths};
use crate::storage::{Storage, StorageKind};
use crate::time::Lifetime;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn storage() -> Arc<Storage> {
    Arc::new(Storage {
        id: StorageId::from_bytes([2; 16]),
        name: name("lake"),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:9000".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(86_400),
        external: None,
    })
}

fn owns() -> Owns {
    Owns::everything()
}

fn nothing() -> Wanted {
    Wanted {
        owner: name("platform"),
        owns: owns(),
        prune: true,
        assumes_groups: false,
        at: Timestamp::UNIX_EPOCH,
        accounts: vec![],
        callers: vec![],
        datasets: vec![],
        providers: vec![],
        groups: vec![],
        grants: vec![],
    }
}

fn wanted_grant(account: &str, text: &str, to: Option<&str>, paths: Paths, actions: Actions) -> WantedGrant {
    WantedGrant {
        account: name(account),
        name: name(text),
        was: None,
        to: to.map_or(WantedGrantee::Everyone, |to| WantedGrantee::Caller(name(to))),
        dataset: None,
        storage: storage().id,
        scope: Scope::new(BucketName::parse("lake").unwrap(), paths, actions).unwrap().into(),
        max_lifetime: Lifetime::secs(3600),
        from: None,
        until: None,
        conditions: None,
        source: format!("{account}.yaml:{text}").into(),
    }
}

fn some_paths() -> impl Strategy<Value = Paths> {
    let path = (prop::sample::select(vec!["a", "a/b", "a/b/c", "ab", "b", "a/b-c"]), 0..3);
    let path = path.prop_map(|(text, kind)| match kind {
        0 => Path::object(text.as_bytes()).unwrap(),
        1 => Path::directory(text.as_bytes()).unwrap(),
        _ => Path::prefix(text.as_bytes()).unwrap(),
    });
    prop_oneof![1 => Just(Paths::Whole), 8 => prop::collection::vec(path, 1..4).prop_map(|paths| Paths::only(paths).unwrap())]
}

fn by_claim_of(provider: u8) -> ByClaim {
    let conditions = vec![Condition::parse("team=eng").unwrap()];
    ByClaim { provider: ProviderId::from_bytes([provider + 1; 16]), conditions }
}

fn wanted_rule(account: &str) -> WantedRule {
    WantedRule {
        name: name(account),
        account: name(account),
        caller: CallerTemplate::parse("ci-{subject}").unwrap(),
        role: Role::Member,
        conditions: vec![Condition::parse("repository=x").unwrap()],
        outlive_secs: None,
    }
}

fn wanted_provider(number: u8, rules: Vec<WantedRule>) -> WantedProvider {
    let provider = IdentityProvider {
        id: ProviderId::from_bytes([number + 1; 16]),
        name: name(&format!("id-{number}")),
        preset: Preset::Other,
        issuer: format!("https://id-{number}.example.com").into(),
        keys: KeySource::Discovery,
        audiences: vec!["valetkey".into()],
        parties: vec![],
        subject: vec![SubjectClaim::parse("sub").unwrap()],
        algorithms: Algorithm::ALL.to_vec(),
        leeway_secs: 60,
        max_age_secs: 86_400,
        login: None,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
        rules: vec![],
    };
    WantedProvider { provider, was: None, rules, source: "p".into() }
}

const ACCOUNTS: [&str; 2] = ["acme", "globex"];
const CALLERS: [&str; 3] = ["ana", "ben", "etl"];

prop_compose! {
    fn some_wanted()(
        accounts in prop::collection::btree_map(prop::sample::select(ACCOUNTS.to_vec()), 0u32..3, 0..3),
        callers in prop::collection::btree_map((prop::sample::select(ACCOUNTS.to_vec()), prop::sample::select(CALLERS.to_vec())), any::<bool>(), 0..6),
        grants in prop::collection::btree_map(
            (prop::sample::select(ACCOUNTS.to_vec()), 0u8..4),
            (prop::option::of(prop::sample::select(CALLERS.to_vec())), some_paths(), 1u16..8, 60u32..90),
            0..6,
        ),
        groups in prop::collection::btree_map(
            (prop::sample::select(ACCOUNTS.to_vec()), 0u8..3),
            (prop::collection::btree_set(prop::sample::select(CALLERS.to_vec()), 0..3), prop::option::of(0u8..2), some_paths()),
            0..4,
        ),
        providers in prop::collection::btree_map(0u8..2, prop::collection::btree_set(prop::sample::select(ACCOUNTS.to_vec()), 0..3), 0..3),
    ) -> Wanted {
        let mut wanted = nothing();
        for (number, of) in &providers {
            let rules = of.iter().filter(|of| accounts.contains_key(**of)).map(|of| wanted_rule(of)).collect();
            wanted.providers.push(wanted_provider(*number, rules));
        }
        for (account, credits) in &accounts {
            let metering = Metering::of(*credits);
            wanted.accounts.push(WantedAccount { name: name(account), was: None, metering, source: "a".into() });
        }
        let there: BTreeSet<_> = callers.keys().filter(|(account, _)| accounts.contains_key(account)).copied().collect();
        for ((account, caller), admin) in callers.iter().filter(|(key, _)| there.contains(*key)) {
            let role = if *admin { Role::Admin } else { Role::Member };
            wanted.callers.push(WantedCaller { account: name(account), name: name(caller), was: None, role, source: "c".into() });
        }
        for ((account, number), (members, by_claim, paths)) in groups.into_iter().filter(|((of, _), _)| accounts.contains_key(of)) {
            let members = members.into_iter().filter(|member| there.contains(&(account, *member))).map(name).collect();
            let by_claim = by_claim.filter(|provider| providers.contains_key(provider)).map(by_claim_of);
            let (text, was, source) = (format!("team-{number}"), None, "t".into());
            let grant = wanted_grant(account, &format!("of-{text}"), None, paths, Actions::READ);
            wanted.grants.push(WantedGrant { to: WantedGrantee::Group(name(&text)), ..grant });
            wanted.groups.push(WantedGroup { account: name(account), name: name(&text), was, members, by_claim, source });
        }
        for ((account, number), (to, paths, bits, secs)) in grants {
            if accounts.contains_key(account) && to.is_none_or(|to| there.contains(&(account, to))) {
                let grant = wanted_grant(account, &format!("g{number}"), to, paths, Actions::from_bits(bits).unwrap());
                wanted.grants.push(WantedGrant { max_lifetime: Lifetime::secs(secs), ..grant });
            }
        }
        wanted
    }
}

/// Ids that nothing else has.
fn minted(from: u64) -> impl FnMut() -> [u8; 16] {
    let mut next = from;
    move || {
        next += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&next.to_be_bytes());
        id
    }
}

/// A state as changes leave it, the plain way.
fn changed(before: &State, changes: &Changes) -> State {
    let mut state = before.clone();
    for thing in &changes.removals {
        assert!(state.found(thing).is_some(), "{thing:?}");
        state.forget(thing);
    }
    for change in &changes.amendments {
        match change.clone() {
            Amendment::Account(account) => drop(state.accounts.insert(account.id, account)),
            Amendment::Caller { id, name, role } => {
                let known = state.callers.get_mut(&id).unwrap();
                (known.name, known.role) = (name, role);
            }
            Amendment::Grant(grant) => {
                let was = state.grants.insert(grant.id, grant.clone()).unwrap();
                // What stays with a grant.
                assert_eq!(
                    (was.to, was.account, was.storage, was.origin),
                    (grant.to, grant.account, grant.storage, grant.origin)
                );
            }
            Amendment::Dataset(dataset) => drop(state.datasets.insert(dataset.id, dataset)),
            Amendment::Group(group) => drop(state.groups.insert(group.id, *group)),
            Amendment::IdentityProvider(provider) => drop(state.providers.insert(provider.id, *provider)),
            other => panic!("{other:?}"),
        }
    }
    for made in changes.made.iter().cloned() {
        assert!(state.found(&made.thing()).is_none(), "{made:?}");
        match made {
            Ownable::Account(one) => drop(state.accounts.insert(one.id, one)),
            Ownable::Caller(one) => drop(state.callers.insert(one.id, one)),
            Ownable::Dataset(one) => drop(state.datasets.insert(one.id, one)),
            Ownable::Provider(one) => drop(state.providers.insert(one.id, one)),
            Ownable::Group(one) => drop(state.groups.insert(one.id, one)),
            Ownable::Grant(one) => drop(state.grants.insert(one.id, one)),
        }
    }
    state
}

fn things(state: &State) -> Vec<Ownable> {
    state.things().iter().map(|thing| state.found(thing).unwrap()).collect()
}

/// Whether a caller can do something, as plainly as can be.
fn reaches(state: &State, account: &str, caller: &str, action: Action, key: &[u8]) -> bool {
    let Some(account) = state.account_named(&name(account)) else { return false };
    let found = state.callers.values().find(|known| known.account == account.id && known.name.as_str() == caller);
    let Some(caller) = found else { return false };
    state.grants.values().any(|grant| {
        grant.account == account.id
            && (grant.to == Grantee::Everyone
                || grant.to == Grantee::Caller(caller.id)
                || state
                    .groups
                    .values()
                    .any(|group| grant.to == Grantee::Group(group.id) && group.members.contains(&caller.id)))
            && grant.scope.scope().is_some_and(|scope| scope.covers("lake", key, action))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_is_planned_as_nothing(first in some_wanted(), second in some_wanted()) {
        let before = settle(&State::default(), &first, &mut minted(0)).unwrap();
        let after = settle(&before, &second, &mut minted(1000)).unwrap();
        let changes = Changes::between(&before, &after);
        let done = changed(&before, &changes);
        prop_assert_eq!(things(&done), things(&after));
        let again = settle(&after, &second, &mut minted(2000)).unwrap();
        prop_assert!(Changes::between(&after, &again).is_empty());
        prop_assert_eq!(&again, &after);
        prop_assert!(differences(&after, &again, Timestamp::UNIX_EPOCH).is_empty());
        // All that is there is the set's, and nothing else is.
        prop_assert_eq!(after.managed.len(), after.things().len());
        prop_assert_eq!(before.revision() == after.revision(), before == after);
    }

    #[test]
    fn the_difference_of_access_is_what_brute_force_finds(first in some_wanted(), second in some_wanted()) {
        let before = settle(&State::default(), &first, &mut minted(0)).unwrap();
        let after = settle(&before, &second, &mut minted(1000)).unwrap();
        let found = differences(&before, &after, Timestamp::UNIX_EPOCH);
        let covers = |pieces: &[crate::nouns::reach::Piece], key: &[u8]| {
            pieces.iter().any(|piece| {
                piece.path.as_ref().is_none_or(|path| path.covers_key(key))
                    && !piece.except.iter().any(|path| path.covers_key(key))
            })
        };
        let grouped = |account: &str, caller: &str| {
            [&before, &after].iter().any(|state| {
                let of = state.account_named(&name(account)).map(|account| account.id);
                let mine = |id: &CallerId| state.callers.get(id).is_some_and(|known| known.name.as_str() == caller);
                state.groups.values().any(|group| {
                    Some(group.account) == of
                        && group.members.iter().any(mine)
                        && state.grants.values().any(|grant| grant.to == Grantee::Group(group.id))
                })
            })
        };
        let own = |account: &str, caller: &str| {
            let grants = before.grants.values().chain(after.grants.values());
            grants.filter(|grant| matches!(grant.to, Grantee::Caller(_))).any(|grant| {
                let Grantee::Caller(id) = grant.to else { return false };
                let known = after.callers.get(&id).or_else(|| before.callers.get(&id)).unwrap();
                let of = after.accounts.get(&known.account).or_else(|| before.accounts.get(&known.account)).unwrap();
                known.name.as_str() == caller && of.name.as_str() == account
            })
        };
        for account in ACCOUNTS {
            for caller in CALLERS {
                let exists = |state: &State| {
                    let of = state.account_named(&name(account)).map(|account| account.id);
                    state.callers.values().any(|known| Some(known.account) == of && known.name.as_str() == caller)
                };
                let special = own(account, caller) || grouped(account, caller) || !exists(&before) || !exists(&after);
                let rows: Vec<_> = found.iter().filter(|row| {
                    let named = row.subjects.callers.contains(caller);
                    &*row.subjects.account == account && (named || (row.subjects.everyone && !special))
                }).collect();
                for action in [Action::GetObject, Action::ListBucket, Action::PutObject] {
                    for key in ["a", "a/", "a/b", "a/b/c", "a/b/c/d", "ab", "abc", "b", "b/x", "a/b-c", "a/b-cx", "z"] {
                        let key = key.as_bytes();
                        let (was, is) = (reaches(&before, account, caller, action, key), reaches(&after, account, caller, action, key));
                        let rows = || rows.iter().filter(|row| row.actions.contains(&action));
                        let told = (rows().any(|row| covers(&row.added, key)), rows().any(|row| covers(&row.removed, key)));
                        prop_assert_eq!(told, (is && !was, was && !is), "{}/{} {} {}", account, caller, action, key.escape_ascii());
                    }
                }
            }
        }
    }
}

/// The same state with a group of an account's, if there is one: these of its callers are in it.
fn with_group(mut state: State, members: &BTreeSet<&str>) -> State {
    let Some(account) = state.account_named(&name("acme")).map(|account| account.id) else { return state };
    let named = |one: &&CallerRecord| one.account == account && members.contains(one.name.as_str());
    let members = state.callers.values().filter(named).map(|one| one.id).collect();
    let id = GroupId::from_bytes([77; 16]);
    let (by_claim, made) = (None, Timestamp::UNIX_EPOCH);
    state.groups.insert(id, Group { id, account, name: name("eng"), members, by_claim, version: 1, made });
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_a_group_is_granted_is_its_members_gain_and_nobody_elses(
        first in some_wanted(),
        paths in some_paths(),
        members in prop::collection::btree_set(prop::sample::select(CALLERS.to_vec()), 0..4),
    ) {
        let before = with_group(settle(&State::default(), &first, &mut minted(0)).unwrap(), &members);
        prop_assume!(before.account_named(&name("acme")).is_some());
        let grant = wanted_grant("acme", "of-eng", None, paths, Actions::READ);
        let to = WantedGrantee::Group(name("eng"));
        let mut second = first;
        second.grants.push(WantedGrant { to, ..grant });
        let after = settle(&before, &second, &mut minted(1000)).unwrap();
        for (before, after, gained) in [(&before, &after, true), (&after, &before, false)] {
            let found = differences(before, after, Timestamp::UNIX_EPOCH);
            for caller in CALLERS {
                for key in ["a", "a/b", "a/b/c", "ab", "b", "b/x", "a/b-c", "z"] {
                    let changes = |state: &State| reaches(state, "acme", caller, Action::GetObject, key.as_bytes());
                    let covers = |pieces: &[crate::nouns::reach::Piece]| pieces.iter().any(|piece| {
                        piece.path.as_ref().is_none_or(|path| path.covers_key(key.as_bytes()))
                            && !piece.except.iter().any(|path| path.covers_key(key.as_bytes()))
                    });
                    let told = found.iter().filter(|row| row.subjects.callers.contains(caller)).any(|row| {
                        row.actions.contains(&Action::GetObject) && covers(if gained { &row.added } else { &row.removed })
                    });
                    prop_assert_eq!(told, changes(before) != changes(after), "{} {}", caller, key);
                }
            }
            prop_assert!(found.iter().all(|row| !row.subjects.everyone));
        }
    }
}

#[test]
fn a_group_is_named_by_files_and_its_members_are_who_tests_ask_for() {
    let before = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let mut wanted = small();
    wanted.grants[1].to = WantedGrantee::Group(name("eng"));
    assert_eq!(problems(&before, &wanted), ["there is no group `acme/eng`"]);
    let mut before = with_group(before, &BTreeSet::from(["ana"]));
    let state = settle(&before, &wanted, &mut minted(100)).unwrap();
    let ask = |state: &State, expected: Expected| {
        let trial = Trial { source: "t:1".into(), at: Timestamp::UNIX_EPOCH, known: Known::default(), expected };
        run(state, &[storage()], &[trial]).into_iter().map(|failed| failed.said).collect::<Vec<_>>()
    };
    let as_ = |caller: &str, can: &[&str], cannot: &[&str]| {
        let wishes = |list: &[&str]| list.iter().map(|text| wish(text)).collect();
        Expected::As { who: (name("acme"), name(caller)), can: wishes(can), cannot: wishes(cannot) }
    };
    assert_eq!(ask(&state, as_("ana", &["write s3://lake/flights/x"], &[])), Vec::<String>::new());
    assert_eq!(ask(&state, as_("etl", &[], &["write s3://lake/flights/x"])), Vec::<String>::new());
    let nobody = |except: &[&str], groups: &[&str]| Expected::Nobody {
        except: except.iter().map(|one| (name("acme"), name(one))).collect(),
        groups: groups.iter().map(|one| (name("acme"), name(one))).collect(),
        can: vec![wish("write s3://lake/flights/")],
    };
    assert_eq!(ask(&state, nobody(&["ana"], &[])), Vec::<String>::new());
    assert!(ask(&state, nobody(&[], &["eng"]))[0].starts_with("acme/ana can write"));
    // Whoever claims something is nobody in particular, and somebody all the same.
    let provider = ProviderId::from_bytes([5; 16]);
    for group in before.groups.values_mut() {
        group.by_claim = Some(ByClaim { provider, conditions: vec![Condition::parse("team=eng").unwrap()] });
    }
    let state = settle(&before, &wanted, &mut minted(100)).unwrap();
    assert!(ask(&state, nobody(&["ana"], &[]))[0].starts_with("acme/group:eng can write"));
    assert_eq!(ask(&state, nobody(&["ana"], &["eng"])), Vec::<String>::new());
    let found = differences(&before, &state, Timestamp::UNIX_EPOCH);
    let gains = found.iter().find(|row| row.subjects.callers.contains("group:eng")).unwrap();
    assert!(gains.subjects.callers.contains("ana") && !gains.added.is_empty() && gains.removed.is_empty(), "{found:?}");
    // Who is in it by other claims is somebody else; and whoever was in what is gone loses what it gave.
    let whose = |found: &[Difference]| {
        let lost = |row: &Difference| match (row.added.is_empty(), row.removed.is_empty()) {
            (true, false) => true,
            (false, true) => false,
            _ => panic!("{row:?}"),
        };
        let names = |row: &Difference| row.subjects.callers.iter().map(ToString::to_string).collect::<Vec<_>>();
        found.iter().flat_map(|row| names(row).into_iter().map(|name| (name, lost(row)))).collect::<BTreeSet<_>>()
    };
    let mut other = state.clone();
    for by in other.groups.values_mut().filter_map(|group| group.by_claim.as_mut()) {
        by.conditions = vec![Condition::parse("team=other").unwrap()];
    }
    let row = |name: &str, lost| (name.to_owned(), lost);
    let expected = BTreeSet::from([row("group:eng as it was", true), row("group:eng", false)]);
    assert_eq!(whose(&differences(&state, &other, Timestamp::UNIX_EPOCH)), expected);
    other.groups.clear();
    let expected = BTreeSet::from([row("group:eng as it was", true), row("ana", true)]);
    assert_eq!(whose(&differences(&state, &other, Timestamp::UNIX_EPOCH)), expected);
    // An account is not removed while it has a group.
    let said = problems(&before, &nothing());
    assert!(said.iter().any(|said| said.contains("group/acme/eng, which is not the set's, needs it")), "{said:?}");
}

#[test]
fn a_test_knows_of_a_request_what_it_says_and_nothing_else() {
    let mut wanted = small();
    wanted.grants[1].conditions = Conditions::of_text("network 10.0.0.0/8\nhours mon-fri 08:00-18:00").map(Box::new);
    let state = settle(&State::default(), &wanted, &mut minted(0)).unwrap();
    let monday: Timestamp = "2026-11-30T09:00:00Z".parse().unwrap();
    let ask = |from: Option<&str>, at: Timestamp, can: bool| {
        let list = |wanted: bool| if can == wanted { vec![wish("write s3://lake/flights/x")] } else { vec![] };
        let expected = Expected::As { who: (name("acme"), name("etl")), can: list(true), cannot: list(false) };
        let known = Known { from: from.map(|text| text.parse().unwrap()), ..Known::default() };
        run(&state, &[storage()], &[Trial { source: "t:1".into(), at, known, expected }]).is_empty()
    };
    let sunday = monday - jiff::SignedDuration::from_hours(24);
    assert_eq!((ask(Some("10.0.0.1"), monday, true), ask(Some("10.0.0.1"), monday, false)), (true, false));
    assert_eq!((ask(Some("11.0.0.1"), monday, true), ask(Some("11.0.0.1"), monday, false)), (false, true));
    assert_eq!((ask(Some("10.0.0.1"), sunday, true), ask(Some("10.0.0.1"), sunday, false)), (false, true));
    // Of what it does not say it takes neither for granted.
    assert_eq!((ask(None, monday, true), ask(None, monday, false)), (false, false));
    let can = vec![wish("write s3://lake/flights/")];
    let expected = Expected::Nobody { except: vec![], groups: vec![], can };
    let trial = Trial { source: "t:1".into(), at: monday, known: Known::default(), expected };
    assert_eq!(run(&state, &[storage()], &[trial]).len(), 1);
    // What is open on conditions is a row of its own.
    let plain = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let found = differences(&plain, &state, monday);
    let told: Vec<_> =
        found.iter().map(|row| (row.conditions.join("; "), row.added.len(), row.removed.len())).collect();
    assert_eq!(told, [(String::new(), 0, 1), ("from 10.0.0.0/8; at mon-fri 08:00-18:00 UTC".to_owned(), 1, 0),]);
}

fn small() -> Wanted {
    let directory = |text: &str| Paths::only([Path::directory(text.as_bytes()).unwrap()]).unwrap();
    let mut wanted = nothing();
    wanted.accounts.push(WantedAccount {
        name: name("acme"),
        was: None,
        metering: Metering::Free,
        source: "a:1".into(),
    });
    for caller in ["ana", "etl"] {
        let (role, source) = (Role::Member, "a:2".into());
        wanted.callers.push(WantedCaller { account: name("acme"), name: name(caller), was: None, role, source });
    }
    wanted.grants.push(wanted_grant("acme", "daily", None, directory("flights/daily"), Actions::READ));
    wanted.grants.push(wanted_grant("acme", "load", Some("etl"), directory("flights"), Actions::WRITE));
    wanted
}

fn problems(before: &State, wanted: &Wanted) -> Vec<String> {
    let found = settle(before, wanted, &mut minted(9000)).unwrap_err();
    found.into_iter().map(|problem| problem.said).collect()
}

#[test]
fn nothing_of_anybody_else_is_taken_changed_or_removed() {
    let after = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    // Made by hand.
    let by_hand = State { managed: BTreeMap::new(), sets: BTreeMap::new(), ..after.clone() };
    assert!(problems(&by_hand, &small())[0].contains("account/acme exists, made by hand: `valetkey policy adopt"));
    // Another set's.
    let mut others = after.clone();
    for known in others.managed.values_mut() {
        known.owner = name("others");
    }
    assert!(problems(&others, &small()).iter().any(|said| said.contains("belongs to the set `others`")));
    let overlapping = Wanted { owner: name("others"), ..small() };
    assert!(problems(&after, &overlapping).iter().any(|said| said.contains("two sets own nothing together")));
    // Outside of what it owns.
    let narrow =
        Wanted { owns: Owns { accounts: ["acm".into(), "acme-*".into()].into(), ..Owns::default() }, ..small() };
    assert!(problems(&State::default(), &narrow)[0].contains("not among what `owns` names"));
    // What is not in the files goes, and nothing that somebody made by hand with it.
    let gone = settle(&after, &nothing(), &mut minted(100)).unwrap();
    assert_eq!(Changes::between(&after, &gone).removals.len(), 5);
    let kept = Wanted { prune: false, ..nothing() };
    assert!(Changes::between(&after, &settle(&after, &kept, &mut minted(100)).unwrap()).is_empty());
    let mut hand_made = after.clone();
    let grant = hand_made.grants.values().find(|grant| grant.name.as_str() == "load").unwrap().clone();
    hand_made.managed.remove(&Thing::Grant(grant.id));
    let said = problems(&hand_made, &nothing());
    assert!(said.iter().any(|said| said.contains("grant/acme/load, which is not the set's, needs it")), "{said:?}");
}

#[test]
fn groups_and_identity_providers_come_from_files_and_nobody_elses_are_touched() {
    let mut wanted = small();
    wanted.providers.push(wanted_provider(0, vec![wanted_rule("acme")]));
    let eng = |members: &[&str]| WantedGroup {
        account: name("acme"),
        name: name("eng"),
        was: None,
        members: members.iter().map(|one| name(one)).collect(),
        by_claim: Some(by_claim_of(0)),
        source: "g:1".into(),
    };
    wanted.groups.push(eng(&["ana"]));
    wanted.grants[1].to = WantedGrantee::Group(name("eng"));
    let before = settle(&State::default(), &wanted, &mut minted(0)).unwrap();
    let (group, provider) = (before.groups.values().next().unwrap(), before.providers.values().next().unwrap());
    assert_eq!((group.members.len(), &group.by_claim, group.version), (1, &Some(by_claim_of(0)), 1));
    assert_eq!((provider.rules.len(), provider.version), (1, 1));
    assert_eq!(before.address(&Thing::Group(group.id)).unwrap(), "group/acme/eng");
    assert_eq!(before.address(&Thing::IdentityProvider(provider.id)).unwrap(), "identity_provider/id-0");
    for thing in before.things() {
        let (word, id) = key_of(&thing).unwrap();
        assert_eq!(thing_of(word, id), Some(thing));
    }
    // Renamed they are the same; a rule keeps its id by its name.
    let mut renamed = wanted.clone();
    renamed.groups[0] = WantedGroup { name: name("engineers"), was: Some(name("eng")), ..eng(&["ana", "etl"]) };
    renamed.grants[1].to = WantedGrantee::Group(name("engineers"));
    renamed.providers[0].provider.name = name("sso");
    renamed.providers[0].was = Some(name("id-0"));
    renamed.providers[0].rules.insert(0, WantedRule { name: name("first"), ..wanted_rule("acme") });
    let after = settle(&before, &renamed, &mut minted(100)).unwrap();
    let changes = Changes::between(&before, &after);
    assert_eq!((changes.made.len(), changes.amendments.len(), changes.removals.len()), (0, 2, 0));
    assert_eq!(after.providers.values().next().unwrap().rules[1], provider.rules[0]);
    // What is wrong with them.
    let said = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = wanted.clone();
        change(&mut wanted);
        problems(&before, &wanted).join("; ")
    };
    assert!(said(&|wanted| wanted.groups[0] = eng(&["nobody"])).contains("there is no caller `acme/nobody`"));
    assert!(said(&|wanted| wanted.owns.providers.clear()).contains("not among what `owns` names"));
    assert!(said(&|wanted| wanted.providers[0].provider.audiences.clear()).contains("audiences: name the audience"));
    assert!(
        said(&|wanted| wanted.providers[0].rules[0].account = name("nosuch")).contains("there is no account `nosuch`")
    );
    assert!(said(&|wanted| wanted.providers[0].rules.push(wanted_rule("acme"))).contains("is said twice"));
    let other = said(&|wanted| wanted.providers[0].provider.name = name("sso"));
    assert!(other.contains("say `was: id-0` if it is the same"), "{other}");
    // What somebody made by hand needs them.
    let mut hand_made = before.clone();
    hand_made.managed.remove(&Thing::Group(group.id));
    let mut less = wanted.clone();
    less.groups.clear();
    less.providers.clear();
    let said = problems(&hand_made, &less);
    assert_eq!(
        said,
        ["identity_provider/id-0 is not in the files any more, and group/acme/eng, which is not the set's, needs it"]
    );
    let gone = settle(&before, &nothing(), &mut minted(200)).unwrap();
    let removals = Changes::between(&before, &gone).removals;
    let kinds: Vec<_> = removals.iter().map(|thing| key_of(thing).unwrap().0).collect();
    assert_eq!(kinds, ["grant", "grant", "group", "identity_provider", "caller", "caller", "account"]);
}

#[test]
fn what_was_renamed_is_the_same_thing_and_whose_it_is_is_another() {
    let before = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let mut renamed = small();
    renamed.grants[0].name = name("every-day");
    renamed.grants[0].was = Some(name("daily"));
    let after = settle(&before, &renamed, &mut minted(100)).unwrap();
    let changes = Changes::between(&before, &after);
    assert_eq!((changes.amendments.len(), changes.removals.len(), changes.made.len()), (1, 0, 0));
    let mut moved = small();
    moved.grants[0].to = WantedGrantee::Caller(name("ana"));
    let changes = Changes::between(&before, &settle(&before, &moved, &mut minted(100)).unwrap());
    assert_eq!((changes.amendments.len(), changes.removals.len(), changes.made.len()), (0, 1, 1));
}

fn wish(text: &str) -> Wish {
    let (verb, place) = text.split_once(' ').unwrap();
    let action = match verb {
        "read" => Action::GetObject,
        "write" => Action::PutObject,
        other => panic!("{other}"),
    };
    Wish { action, place: Place::parse(place).unwrap(), text: text.into() }
}

#[test]
fn a_test_that_does_not_hold_says_by_which_grant() {
    let state = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let ask = |expected: Expected| {
        let trial = Trial { source: "t:1".into(), at: Timestamp::UNIX_EPOCH, known: Known::default(), expected };
        run(&state, &[storage()], &[trial]).into_iter().map(|failed| failed.said).collect::<Vec<_>>()
    };
    let who = |caller: &str| (name("acme"), name(caller));
    let one = |caller: &str, can: &[&str], cannot: &[&str]| {
        let wishes = |list: &[&str]| list.iter().map(|text| wish(text)).collect();
        ask(Expected::As { who: who(caller), can: wishes(can), cannot: wishes(cannot) })
    };
    assert_eq!(
        one(
            "ana",
            &["read s3://lake/flights/daily/x", "read s3://lake/flights/daily/"],
            &[
                "write s3://lake/flights/daily/x",
                "read s3://lake/flights/daily-secret/x",
                "read s3://lake/flights/daily-secret/"
            ],
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        one("etl", &["write s3://lake/flights/", "read s3://lake/flights/daily/x"], &["read s3://lake/flights/x"]),
        Vec::<String>::new()
    );
    assert!(one("ana", &["read s3://lake/flights/"], &[])[0].contains("acme/ana cannot read s3://lake/flights/"));
    let said = one("etl", &[], &["write s3://lake/flights/daily/"]);
    assert_eq!(said, ["acme/etl can write s3://lake/flights/daily/, by the grant `load` (acme.yaml:load)"]);
    assert!(one("nobody", &[], &["read s3://lake/x"])[0].contains("there is no caller"));
    let nobody = |except: &[&str], text: &str| {
        ask(Expected::Nobody {
            except: except.iter().map(|one| who(one)).collect(),
            groups: vec![],
            can: vec![wish(text)],
        })
    };
    assert_eq!(nobody(&["etl"], "write s3://lake/flights/"), Vec::<String>::new());
    assert!(nobody(&[], "write s3://lake/")[0].contains("acme/etl can write s3://lake/ (a part of it)"));
    assert!(nobody(&["etl"], "read s3://lake/flights/daily/x")[0].contains("acme/ana can read"));
    let vend = |lives: u32| {
        let grant = name("daily");
        ask(Expected::Vend {
            who: who("ana"),
            grant,
            lifetime: Lifetime::secs(86_400),
            lives: Some(Lifetime::secs(lives)),
            paths: None,
        })
    };
    assert_eq!(vend(3600), Vec::<String>::new());
    assert!(vend(7200)[0].contains("lives"));
}

#[test]
fn grants_that_no_test_is_about_are_told() {
    let state = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let untouched = |expected: Vec<Expected>| {
        let trial =
            |expected| Trial { source: "t:1".into(), at: Timestamp::UNIX_EPOCH, known: Known::default(), expected };
        let trials: Vec<_> = expected.into_iter().map(trial).collect();
        let verdicts = judge(&state, &[storage()], &trials);
        assert_eq!(verdicts.failed, []);
        verdicts.untouched(&state, &name("platform")).into_iter().map(|(thing, _)| thing).collect::<Vec<_>>()
    };
    let who = |caller: &str| (name("acme"), name(caller));
    let can = |caller: &str, text: &str| Expected::As { who: who(caller), can: vec![wish(text)], cannot: vec![] };
    let cannot = |caller: &str, text: &str| Expected::As { who: who(caller), can: vec![], cannot: vec![wish(text)] };
    let (daily, load) = ("grant/acme/daily".to_owned(), "grant/acme/load".to_owned());
    assert_eq!(untouched(vec![]), [daily.clone(), load.clone()]);
    // That someone cannot is true without any grant.
    assert_eq!(untouched(vec![cannot("ana", "write s3://lake/flights/x")]), [daily.clone(), load.clone()]);
    assert_eq!(untouched(vec![can("ana", "read s3://lake/flights/daily/x")]), [load]);
    assert_eq!(untouched(vec![can("etl", "write s3://lake/flights/x")]), [daily]);
    let vend = Expected::Vend {
        who: who("ana"),
        grant: name("daily"),
        lifetime: Lifetime::secs(60),
        lives: None,
        paths: None,
    };
    assert_eq!(untouched(vec![vend, can("etl", "write s3://lake/flights/x")]), Vec::<String>::new());
    assert_eq!(judge(&state, &[storage()], &[]).untouched(&state, &name("others")), []);
}

#[test]
fn a_plan_of_ten_thousand_grants() {
    let mut wanted = small();
    for number in 0..10_000u32 {
        let paths = Paths::only([Path::directory(format!("jobs/{number}").as_bytes()).unwrap()]).unwrap();
        let to = if number % 2 == 0 { Some("ana") } else { None };
        wanted.grants.push(wanted_grant("acme", &format!("g{number}"), to, paths, Actions::READ));
    }
    let before = settle(&State::default(), &wanted, &mut minted(0)).unwrap();
    wanted.grants.truncate(9_000);
    let after = settle(&before, &wanted, &mut minted(100_000)).unwrap();
    let changes = Changes::between(&before, &after);
    let found = differences(&before, &after, Timestamp::UNIX_EPOCH);
    assert_eq!(changes.removals.len(), 1_002);
    assert!(!found.is_empty() && found.iter().all(|row| row.added.is_empty()));
    assert!(after.grants.values().all(|grant| grant.origin == Origin::Plain));
}
