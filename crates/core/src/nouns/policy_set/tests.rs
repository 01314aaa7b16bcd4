#![expect(clippy::wildcard_enum_match_arm, reason = "a test ends at what it does not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::account::{Account, Metering};
use crate::caller::{CallerRecord, Role};
use crate::claims::Condition;
use crate::conditions::Conditions;
use crate::grant::Grant;
use crate::grant::{Grantee, Origin};
use crate::group::{ByClaim, Group};
use crate::id::{GroupId, ProviderId, StorageId};
use crate::name::BucketName;
use crate::name::Name;
use crate::nouns::dataset::Dataset;
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
    Owns { accounts: ["*".into()].into(), datasets: ["*".into()].into() }
}

fn nothing() -> Wanted {
    Wanted {
        owner: name("platform"),
        owns: owns(),
        prune: true,
        assumes_groups: false,
        accounts: vec![],
        callers: vec![],
        grants: vec![],
        datasets: vec![],
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
        scope: Scope::new(BucketName::parse("lake").unwrap(), paths, actions).unwrap(),
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
    ) -> Wanted {
        let mut wanted = nothing();
        for (account, credits) in &accounts {
            let metering = Metering::of(*credits);
            wanted.accounts.push(WantedAccount { name: name(account), was: None, metering, source: "a".into() });
        }
        let there: BTreeSet<_> = callers.keys().filter(|(account, _)| accounts.contains_key(account)).copied().collect();
        for ((account, caller), admin) in callers.iter().filter(|(key, _)| there.contains(*key)) {
            let role = if *admin { Role::Admin } else { Role::Member };
            wanted.callers.push(WantedCaller { account: name(account), name: name(caller), was: None, role, source: "c".into() });
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
        match thing {
            Thing::Account(id) => drop(state.accounts.remove(id)),
            Thing::Caller(id) => drop(state.callers.remove(id)),
            Thing::Grant(id) => drop(state.grants.remove(id)),
            Thing::Dataset(id) => drop(state.datasets.remove(id)),
            other => panic!("{other:?}"),
        }
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
            other => panic!("{other:?}"),
        }
    }
    state.accounts.extend(changes.accounts.iter().map(|one| (one.id, one.clone())));
    state.callers.extend(changes.callers.iter().map(|one| (one.id, one.clone())));
    state.grants.extend(changes.grants.iter().map(|one| (one.id, one.clone())));
    state.datasets.extend(changes.datasets.iter().map(|one| (one.id, one.clone())));
    state
}

fn things(state: &State) -> (Vec<&Account>, Vec<&CallerRecord>, Vec<&Grant>, Vec<&Dataset>) {
    (
        state.accounts.values().collect(),
        state.callers.values().collect(),
        state.grants.values().collect(),
        state.datasets.values().collect(),
    )
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
            && grant.scope.covers("lake", key, action)
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
        prop_assert_eq!(after.managed.len(), after.things().count());
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
                let special = own(account, caller) || !exists(&before) || !exists(&after);
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
        prop_assume!(!before.groups.is_empty());
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
    assert_eq!(problems(&before, &wanted), ["there is no group `acme/eng`, and files do not make groups"]);
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
fn what_was_renamed_is_the_same_thing_and_whose_it_is_is_another() {
    let before = settle(&State::default(), &small(), &mut minted(0)).unwrap();
    let mut renamed = small();
    renamed.grants[0].name = name("every-day");
    renamed.grants[0].was = Some(name("daily"));
    let after = settle(&before, &renamed, &mut minted(100)).unwrap();
    let changes = Changes::between(&before, &after);
    assert_eq!((changes.amendments.len(), changes.removals.len(), changes.grants.len()), (1, 0, 0));
    let mut moved = small();
    moved.grants[0].to = WantedGrantee::Caller(name("ana"));
    let changes = Changes::between(&before, &settle(&before, &moved, &mut minted(100)).unwrap());
    assert_eq!((changes.amendments.len(), changes.removals.len(), changes.grants.len()), (0, 1, 1));
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
