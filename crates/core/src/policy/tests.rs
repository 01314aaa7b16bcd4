use proptest::prelude::*;

use super::*;
use crate::account::{Account, Metering, OwnQuota};
use crate::ask::{AskedPart, By, GrantRef};
use crate::caller::{Held, Role};
use crate::conditions::Conditions;
use crate::error::Stranger;
use crate::grant::{Grantee, Origin};
use crate::id::{DatasetId, GroupId, StorageId, WorkspaceId};
use crate::name::Name;
use crate::scope::{Path, Scope};
use crate::storage::{Shape, StorageKind};

const NOW: i64 = 1_767_225_600;

/// What is known of the requests here.
pub(super) fn facts() -> Facts<'static> {
    Facts { from: Some("10.1.2.3".parse().unwrap()), session_name: Some("ci-7"), external_id: None }
}

pub(super) fn decide(snapshot: &Snapshot, caller: &Caller, ask: &Ask, now: Timestamp) -> Result<Permit, Error> {
    super::decide(snapshot, caller, ask, &facts(), now)
}

fn explain(
    snapshot: &Snapshot,
    caller: &Caller,
    action: Action,
    bucket: &BucketName,
    key: &[u8],
    now: Timestamp,
) -> Explanation {
    super::explain(snapshot, caller, action, bucket, key, &facts(), now)
}

pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(NOW + secs).unwrap()
}

pub(super) fn bytes(number: u8) -> [u8; 16] {
    [number; 16]
}

pub(super) fn account() -> Account {
    Account {
        id: AccountId::from_bytes(bytes(1)),
        name: Name::parse("acme").unwrap(),
        standing: Standing::Active,
        metering: Metering::of(3),
        datasets_bucket: None,
        quota: OwnQuota::default(),
    }
}

pub(super) fn storage() -> Arc<Storage> {
    Arc::new(Storage {
        id: StorageId::from_bytes(bytes(2)),
        name: Name::parse("local").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:7071".into(),
        internal_endpoint: None,
        region: "auto".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(604_800),
        external: None,
    })
}

pub(super) fn caller() -> Caller {
    Caller {
        id: CallerId::from_bytes(bytes(3)),
        account: account().id,
        name: Name::parse("etl").unwrap(),
        role: Role::Member,
        token: TokenId::from_bytes(bytes(4)),
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    }
}

pub(super) fn grant(number: u8, paths: &[Path], actions: Actions) -> Grant<Scope> {
    Grant {
        id: GrantId::from_bytes(bytes(number)),
        name: Name::parse(&format!("grant-{number}")).unwrap(),
        account: account().id,
        to: Grantee::Caller(caller().id),
        storage: storage().id,
        origin: Origin::Dataset(DatasetId::from_bytes(bytes(number))),
        scope: Scope::new(BucketName::parse("lake").unwrap(), Paths::only(paths).unwrap(), actions).unwrap(),
        max_lifetime: Lifetime::secs(604_800),
        from: None,
        until: None,
        conditions: None,
    }
}

pub(super) fn dir(text: &str) -> Path {
    Path::directory(text.as_bytes()).unwrap()
}

pub(super) fn snapshot_of(grants: Vec<Grant>) -> Snapshot {
    Snapshot::new(account(), [storage()], grants, at(0))
}

pub(super) fn snapshot(grants: Vec<Grant<Scope>>) -> Snapshot {
    Snapshot::new(account(), [storage()], grants, at(0))
}

pub(super) fn ask(target: Target) -> Ask {
    Ask {
        dialect: "test",
        target,
        wanted: Wanted::all_of(Actions::READ),
        lifetime: Asked::Usual(Lifetime::secs(3600)),
        carries: Shape::ALL,
    }
}

pub(super) fn lake(paths: &[Path]) -> Target {
    Target::Place { bucket: BucketName::parse("lake").unwrap(), paths: Paths::only(paths).unwrap() }
}

pub(super) fn kind(result: Result<Permit, Error>) -> Kind {
    result.map(|permit| format!("{permit:?}")).unwrap_err().kind()
}

#[test]
fn datasets_of_one_bucket_come_as_one_scope_to_read() {
    let snapshot =
        snapshot(vec![grant(10, &[dir("jobs/daily")], Actions::READ), grant(11, &[dir("firms")], Actions::READ_WRITE)]);
    let permit = decide(&snapshot, &caller(), &ask(Target::Datasets { bucket: None }), at(0)).unwrap();
    assert!(permit.rights().covers("lake", b"jobs/daily/x", Action::GetObject));
    assert!(permit.rights().covers("lake", b"firms/x", Action::GetObject));
    assert!(!permit.rights().covers("lake", b"firms/x", Action::PutObject));
    assert!(!permit.rights().covers("lake", b"jobs/daily-secret/x", Action::GetObject));
    assert_eq!(permit.until(), at(3600));
    assert_eq!(permit.because().grants.len(), 2);
    assert_eq!(permit.credits(), 3);
}

#[test]
fn a_bundle_follows_grants_that_begin_and_end() {
    let mut later = grant(10, &[dir("a")], Actions::READ);
    later.from = Some(at(100));
    let mut sooner = grant(11, &[dir("b")], Actions::READ);
    sooner.until = Some(at(200));
    let snapshot = snapshot(vec![later, sooner]);
    let reach = |secs| {
        let permit = decide(&snapshot, &caller(), &ask(Target::Datasets { bucket: None }), at(secs))?;
        Ok::<_, Error>([b"a/x", b"b/x"].map(|key| permit.rights().covers("lake", key, Action::GetObject)))
    };
    assert_eq!(reach(0).unwrap(), [false, true]);
    assert_eq!(reach(100).unwrap(), [true, true]);
    assert_eq!(reach(300).unwrap(), [true, false]);
}

#[test]
fn without_a_dataset_it_is_not_in_the_plan() {
    let mut plain = grant(10, &[dir("a")], Actions::READ);
    plain.origin = Origin::Plain;
    assert_eq!(
        kind(decide(&snapshot(vec![plain]), &caller(), &ask(Target::Datasets { bucket: None }), at(0))),
        Kind::NotInPlan
    );
}

#[test]
fn the_paths_of_one_ask_have_a_bound() {
    let mut whole = grant(10, &[dir("jobs")], Actions::READ);
    whole.name = Name::parse("jobs").unwrap();
    let snapshot = snapshot(vec![whole]);
    // Each of 128 bytes: 64 of them are the most.
    let paths = |number: usize| -> Vec<Path> { (0..number).map(|at| dir(&format!("jobs/{at:0>123}"))).collect() };
    let only = |number| Paths::only(paths(number)).unwrap();
    let by_name =
        |number| Target::Grant { grant: GrantRef::Name(Name::parse("jobs").unwrap()), paths: Some(only(number)) };
    for (good, bad) in [(lake(&paths(64)), lake(&paths(65))), (by_name(64), by_name(65))] {
        decide(&snapshot, &caller(), &ask(good), at(0)).unwrap();
        let refused = decide(&snapshot, &caller(), &ask(bad), at(0)).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("paths")));
        assert_eq!(refused.message(), "the paths have 8320 bytes together; the most for one credential is 8192");
    }
}

#[test]
fn the_grants_that_decide_one_ask_have_a_bound() {
    let many = |number: u16| {
        let one = |at: u16| Grant {
            id: GrantId::from_bytes(u128::from(at).to_be_bytes()),
            name: Name::parse(&format!("grant-{at}")).unwrap(),
            ..grant(1, &[dir(&format!("t{at}"))], Actions::READ)
        };
        let paths: Vec<Path> = (0..number).map(|at| dir(&format!("t{at}"))).collect();
        decide(&snapshot((0..number).map(one).collect()), &caller(), &ask(lake(&paths)), at(0))
    };
    assert_eq!(many(256).unwrap().because().grants.len(), 256);
    assert_eq!(kind(many(257)), Kind::Invalid);
}

#[test]
fn a_stranger_to_a_bucket_hears_that_there_is_none() {
    let mut foreign = grant(10, &[dir("a")], Actions::READ);
    foreign.to = Grantee::Caller(CallerId::from_bytes(bytes(99)));
    let refused = decide(&snapshot(vec![foreign]), &caller(), &ask(lake(&[dir("a")])), at(0));
    assert_eq!(kind(refused), Kind::NotFound(Noun::Bucket));
}

#[test]
fn anothers_grant_is_as_good_as_absent() {
    let mut foreign = grant(10, &[dir("a")], Actions::READ);
    foreign.to = Grantee::Caller(CallerId::from_bytes(bytes(99)));
    let target = Target::Grant { grant: GrantRef::Id(foreign.id), paths: None };
    assert_eq!(kind(decide(&snapshot(vec![foreign]), &caller(), &ask(target), at(0))), Kind::NotFound(Noun::Grant));
}

#[test]
fn a_caller_of_another_account_reaches_nothing() {
    let mut everyone = grant(10, &[dir("a")], Actions::READ);
    everyone.to = Grantee::Everyone;
    let snapshot = snapshot(vec![everyone]);
    let stranger = Caller { account: AccountId::from_bytes(bytes(77)), ..caller() };
    assert_eq!(kind(decide(&snapshot, &stranger, &ask(lake(&[dir("a")])), at(0))), Kind::Internal);
    assert_eq!(snapshot.grants(&stranger).count(), 0);
}

#[test]
fn a_suspended_account_gets_nothing() {
    let suspended = Account { standing: Standing::Suspended, ..account() };
    let snapshot = Snapshot::new(suspended, [storage()], [grant(10, &[dir("a")], Actions::READ)], at(0));
    assert_eq!(kind(decide(&snapshot, &caller(), &ask(lake(&[dir("a")])), at(0))), Kind::Forbidden);
}

#[test]
fn an_expired_token_gets_nothing_and_a_short_one_a_short_credential() {
    let snapshot = snapshot(vec![grant(10, &[dir("a")], Actions::READ)]);
    let with = |until| Caller { token_until: Some(at(until)), ..caller() };
    let ask = ask(lake(&[dir("a")]));
    assert_eq!(kind(decide(&snapshot, &with(0), &ask, at(0))), Kind::Unauthenticated(Stranger::Expired));
    assert_eq!(kind(decide(&snapshot, &with(30), &ask, at(0))), Kind::Forbidden);
    assert_eq!(decide(&snapshot, &with(90), &ask, at(0)).unwrap().until(), at(90));
}

#[test]
fn a_lifetime_under_the_floor_names_the_floor() {
    let snapshot = snapshot(vec![grant(10, &[dir("a")], Actions::READ)]);
    let short = Ask { lifetime: Asked::For(Lifetime::secs(10)), ..ask(lake(&[dir("a")])) };
    let error = decide(&snapshot, &caller(), &short, at(0)).unwrap_err();
    assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some("lifetime")));
    assert_eq!(error.message(), "a lifetime of 10 s is too short; the least here is 60 s and the most 604800 s");
}

#[test]
fn a_lifetime_over_the_grants_is_cut_and_says_so() {
    let mut short = grant(10, &[dir("a")], Actions::READ);
    short.max_lifetime = Lifetime::secs(600);
    let long = Ask { lifetime: Asked::For(Lifetime::secs(7200)), ..ask(lake(&[dir("a")])) };
    let permit = decide(&snapshot(vec![short]), &caller(), &long, at(0)).unwrap();
    assert_eq!(permit.until(), at(600));
    assert_eq!(
        permit.because().cuts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["lifetime cut from 7200 s to 600 s by the grant's longest lifetime"]
    );
}

#[test]
fn explain_names_the_grant_or_what_is_missing() {
    let snapshot = snapshot(vec![grant(10, &[dir("jobs/daily")], Actions::READ)]);
    let why = |action, key: &str| {
        explain(&snapshot, &caller(), action, &BucketName::parse("lake").unwrap(), key.as_bytes(), at(0))
    };
    let allowed = why(Action::GetObject, "jobs/daily/x");
    assert_eq!(allowed.allowed_by, Some(GrantId::from_bytes(bytes(10))));
    let sibling = why(Action::GetObject, "jobs/daily-secret/x");
    assert_eq!((sibling.allowed_by, sibling.considered[0].verdict), (None, Verdict::OutsidePaths));
    assert_eq!(why(Action::PutObject, "jobs/daily/x").considered[0].verdict, Verdict::LacksAction);
}

fn some_path() -> impl Strategy<Value = Path> {
    let piece = prop::sample::select(vec!["a", "b", "ab", "a/b", "a/b/c", "a/b-c", "b/", "a//b", "a/..", "%2F"]);
    (piece, 0..3).prop_filter_map("directories end without a slash", |(text, kind)| match kind {
        0 => Path::object(text.as_bytes()).ok(),
        1 => Path::directory(text.as_bytes()).ok(),
        _ => Path::prefix(text.as_bytes()).ok(),
    })
}

prop_compose! {
    /// The requests here are made at midnight before a Thursday, from 10.1.2.3, by who claims nothing and calls its session `ci-7`.
    fn some_conditions()(
        network in prop::option::of(prop::sample::select(vec!["10.0.0.0/8", "10.1.2.3", "11.0.0.0/8", "::/0"])),
        hours in prop::option::of(prop::sample::select(vec!["daily 00:00-24:00", "thu 00:00-01:00", "wed 22:00-00:10", "fri 08:00-18:00"])),
        claims in prop::bool::weighted(0.1),
        session in prop::option::weighted(0.3, prop::sample::select(vec!["ci-7", "glob:ci-*", "cd"])),
    ) -> Conditions {
        let provider = crate::id::ProviderId::from_bytes(bytes(1));
        let claim = || crate::claims::Condition::parse("ref=main").unwrap();
        Conditions {
            networks: network.into_iter().map(|text| crate::network::Network::parse(text).unwrap()).collect(),
            hours: hours.into_iter().map(|text| crate::conditions::Hours::parse(text).unwrap()).collect(),
            claims: claims.then(|| crate::group::ByClaim { provider, conditions: vec![claim()] }),
            session_names: session.into_iter().map(|text| crate::claims::Wanted::parse(text).unwrap()).collect(),
            external_ids: vec![],
        }
    }
}

fn some_origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        2 => Just(Origin::Plain),
        3 => Just(Origin::Dataset(DatasetId::from_bytes(bytes(1)))),
        3 => (1u8..3).prop_map(|share| Origin::Share(ShareId::from_bytes(bytes(share)))),
        1 => Just(Origin::Workspace(WorkspaceId::from_bytes(bytes(1)))),
    ]
}

prop_compose! {
    fn some_grant()(
        number in 10u8..200,
        paths in prop::collection::vec(some_path(), 1..4),
        bits in 1u16..256,
        max in 60u32..10_000,
        from in prop::option::of(-50i64..50),
        until in prop::option::of(-50i64..5_000),
        everyone: bool,
        foreign in prop::bool::weighted(0.2),
        origin in some_origin(),
        bucket in prop::sample::select(vec!["lake", "pond"]),
        group in prop::option::weighted(0.3, 1u8..4),
        conditions in prop::option::weighted(0.4, some_conditions()),
    ) -> Grant<Scope> {
        let mut grant = grant(number, &paths, Actions::from_bits(bits).unwrap());
        grant.scope = Scope::new(BucketName::parse(bucket).unwrap(), grant.scope.paths().clone(), grant.scope.actions()).unwrap();
        grant.max_lifetime = Lifetime::secs(max);
        grant.from = from.map(at);
        grant.until = until.map(at);
        grant.conditions = conditions.map(Box::new);
        grant.origin = origin;
        grant.to = match (everyone, foreign) {
            (_, true) => Grantee::Caller(CallerId::from_bytes(bytes(98))),
            (true, false) => Grantee::Everyone,
            (false, false) => group.map_or(Grantee::Caller(caller().id), |group| Grantee::Group(GroupId::from_bytes(bytes(group)))),
        };
        grant
    }
}

/// The caller is in the first of the groups that grants are for.
fn grouped(grants: Vec<Grant<Scope>>) -> Snapshot {
    let own = |number, members: &[CallerId]| crate::group::Group {
        id: GroupId::from_bytes(bytes(number)),
        account: account().id,
        name: Name::parse(&format!("group-{number}")).unwrap(),
        members: members.iter().copied().collect(),
        by_claim: None,
        version: 1,
        made: at(0),
    };
    snapshot(grants).with_groups([own(1, &[caller().id]), own(2, &[])])
}

prop_compose! {
    /// What a key opens: often as much as some grant.
    fn some_held()(
        scopes in prop::collection::vec((prop::bool::weighted(0.9), some_grant()), 0..4),
        conditional in prop::collection::vec(some_grant(), 0..3),
        until in prop::option::of(-50i64..5_000),
        leases in 0u8..4,
    ) -> Held {
        let storage = |ours| if ours { storage().id } else { StorageId::from_bytes(bytes(9)) };
        Held {
            opens: scopes.into_iter().map(|(ours, grant)| (storage(ours), Arc::new(grant.scope.into()))).collect(),
            conditional: conditional.into_iter().map(|grant| (grant.id, grant.storage, Arc::new(grant.scope.into()))).collect(),
            until: until.map(at),
            leases: (0..leases).map(|number| LeaseId::from_bytes(bytes(number))).collect(),
        }
    }
}

prop_compose! {
    fn some_ask()(
        which in 0..6,
        share in 1u8..3,
        others in prop::collection::vec((prop::collection::vec(some_path(), 1..3), 1u16..256, 0..3), 0..4),
        paths in prop::collection::vec(some_path(), 1..4),
        narrowed: bool,
        number in 10u8..200,
        bits in 1u16..256,
        least in 0u16..256,
        all in 0..3,
        secs in 60u32..20_000,
        said: bool,
    ) -> Ask {
        let paths = Paths::only(&paths).unwrap();
        let actions = Actions::from_bits(bits).unwrap();
        let wanted = |all, actions: Actions| match all {
            0 => Wanted::all_of(actions),
            1 => Wanted::at_most(actions),
            _ => Wanted::between(actions.intersect(Actions::from_bits(least).unwrap()), actions),
        };
        let parts = || {
            let others = others.iter().map(|(paths, bits, all)| AskedPart {
                paths: Paths::only(paths).unwrap(),
                wanted: wanted(*all, Actions::from_bits(*bits).unwrap()),
            });
            others.chain([AskedPart { paths: paths.clone(), wanted: wanted(all, actions) }]).collect()
        };
        Ask {
            dialect: "test",
            target: match which {
                0 => Target::Datasets { bucket: narrowed.then(|| BucketName::parse("lake").unwrap()) },
                1 => Target::Grant { grant: GrantRef::Id(GrantId::from_bytes(bytes(number))), paths: narrowed.then_some(paths) },
                2 => Target::Place { bucket: BucketName::parse("lake").unwrap(), paths },
                3 => Target::Parts { by: By::Bucket(BucketName::parse("lake").unwrap()), parts: parts() },
                4 => Target::Parts { by: By::Grant(GrantRef::Id(GrantId::from_bytes(bytes(number)))), parts: parts() },
                _ => Target::Shared {
                    share: ShareId::from_bytes(bytes(share)),
                    bucket: BucketName::parse("lake").unwrap(),
                    paths,
                },
            },
            wanted: wanted(all, actions),
            lifetime: if said { Asked::For(Lifetime::secs(secs)) } else { Asked::Usual(Lifetime::secs(secs)) }, carries: Shape::ALL }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    /// The property the product stands on.
    #[test]
    fn a_permit_is_never_wider_or_longer_than_some_grant_allows(
        grants in prop::collection::vec(some_grant(), 0..8),
        ask in some_ask(),
        token_until in prop::option::of(1i64..10_000),
        held in prop::option::of(some_held()),
    ) {
        // One grant for each id, as in the store.
        let mut grants = grants;
        grants.sort_by_key(|grant| grant.id);
        grants.dedup_by_key(|grant| grant.id);
        let caller = Caller { token_until: token_until.map(at), held: held.map(Arc::new), ..caller() };
        let Ok(permit) = decide(&grouped(grants.clone()), &caller, &ask, at(0)) else { return Ok(()) };

        let (Asked::Usual(asked) | Asked::For(asked) | Asked::Exactly(asked)) = ask.lifetime;
        prop_assert!(permit.until() <= asked.ends(at(0)));
        prop_assert!(permit.until() >= storage().min_lifetime.ends(at(0)));
        if let Some(until) = caller.token_until {
            prop_assert!(permit.until() <= until);
        }
        if let Some(held) = &caller.held {
            prop_assert!(held.until.is_none_or(|until| permit.until() <= until));
            prop_assert_eq!(permit.leases(), &*held.leases);
        }
        if let Target::Parts { parts, .. } = &ask.target {
            for part in parts {
                prop_assert!(permit.rights().parts().actions_on(&part.paths).contains_all(part.wanted.least()));
            }
            for (action, paths) in Action::ALL.into_iter().filter_map(|action| Some((action, permit.rights().paths_of(action)?))) {
                let Paths::Only(set) = paths else { return Err(TestCaseError::fail("the whole bucket was not asked for")) };
                for path in set.iter() {
                    let asked = |part: &AskedPart| part.wanted.most().contains(action) && part.paths.cover_path(&path);
                    prop_assert!(parts.iter().any(asked), "{action} on {path:?} was not asked for");
                }
            }
        } else {
            prop_assert!(ask.wanted.most().contains_all(permit.rights().actions()));
            prop_assert!(permit.rights().actions().contains_all(ask.wanted.least()));
        }

        let share = match ask.target {
            Target::Shared { share, .. } => Some(share),
            Target::Datasets { .. } | Target::Grant { .. } | Target::Place { .. } | Target::Parts { .. } | Target::Probe { .. } => None,
        };
        let allows = |grant: &Grant<Scope>, key: &[u8], action| {
            grant.origin.share() == share && grant.is_for(caller.id, &[GroupId::from_bytes(bytes(1))]) && grant.is_open(&caller, &facts(), at(0))
                && grant.scope.covers(permit.rights().bucket().as_str(), key, action)
                && permit.until() <= grant.max_lifetime.ends(at(0))
                && grant.ends(at(0)).is_none_or(|until| permit.until() <= until)
                && permit.because().grants.contains(&grant.id)
        };
        let letters = ["a", "b", "ab", "a/b", "a/b/c", "a/b-c", "b/", "a//b", "a/..", "%2F"];
        for key in letters.iter().flat_map(|key| ["", "/", "/x", "x", "-secret", "//"].map(|tail| format!("{key}{tail}"))) {
            for action in Action::ALL {
                if permit.rights().covers(permit.rights().bucket().as_str(), key.as_bytes(), action) {
                    if let Some(held) = &caller.held {
                        let opens = held.opens.iter().any(|(at, own)| {
                            *at == permit.storage().id && own.covers(permit.rights().bucket().as_str(), key.as_bytes(), action)
                        });
                        let open = |id| grants.iter().any(|grant| grant.id == id && grant.is_open(&caller, &facts(), at(0)));
                        let holds = held.conditional.iter().any(|(id, at, own)| {
                            open(*id) && *at == permit.storage().id && own.covers(permit.rights().bucket().as_str(), key.as_bytes(), action)
                        });
                        prop_assert!(opens || holds, "the key does not open {key} {action}");
                    }
                    prop_assert!(grants.iter().any(|grant| allows(grant, key.as_bytes(), action)), "{key} {action}");
                    let bucket = permit.rights().bucket();
                    let explained = explain(&grouped(grants.clone()), &caller, action, bucket, key.as_bytes(), at(0));
                    prop_assert!(share.is_some() || explained.allowed_by.is_some());
                }
            }
        }
    }
}

#[test]
fn a_key_hands_on_no_more_than_it_opens() {
    let snapshot = snapshot(vec![grant(10, &[dir("a"), dir("b")], Actions::READ_WRITE)]);
    let opens = |paths: &[&str], actions| {
        let paths = Paths::only(paths.iter().map(|path| dir(path)).collect::<Vec<_>>()).unwrap();
        (storage().id, Arc::new(Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap()))
    };
    let held = |opens| Caller {
        held: Some(Arc::new(Held { opens, conditional: Vec::new(), until: Some(at(90)), leases: Vec::new() })),
        ..caller()
    };
    let decided = |caller: &Caller, paths: &[&str], actions, secs| {
        let paths = Paths::only(paths.iter().map(|path| dir(path)).collect::<Vec<_>>()).unwrap();
        let ask = Ask {
            dialect: "test",
            target: Target::Place { bucket: BucketName::parse("lake").unwrap(), paths },
            wanted: Wanted::all_of(actions),
            lifetime: Asked::For(Lifetime::secs(secs)),
            carries: Shape::ALL,
        };
        decide(&snapshot, caller, &ask, at(0)).map_err(|error| error.kind())
    };
    let one = held(vec![opens(&["a"], Actions::READ)]);
    let permit = decided(&one, &["a/x"], Actions::READ, 3600).unwrap();
    assert_eq!(permit.until(), at(90));
    assert_eq!(permit.because().cuts.len(), 1);
    for (paths, actions) in [(&["b"][..], Actions::READ), (&["a", "b"], Actions::READ), (&["a"], Actions::READ_WRITE)] {
        assert_eq!(decided(&one, paths, actions, 3600).unwrap_err(), Kind::Forbidden, "{paths:?}");
    }
    // Two scopes of one key open both places, and each only what it allows there.
    let two = held(vec![opens(&["a"], Actions::READ_WRITE), opens(&["b"], Actions::READ)]);
    assert!(decided(&two, &["a", "b"], Actions::READ, 60).is_ok());
    assert_eq!(decided(&two, &["a", "b"], Actions::READ_WRITE, 60).unwrap_err(), Kind::Forbidden);
    let (_, scope) = opens(&["a"], Actions::READ);
    let elsewhere = held(vec![(StorageId::from_bytes(bytes(9)), scope)]);
    assert_eq!(decided(&elsewhere, &["a"], Actions::READ, 60).unwrap_err(), Kind::Forbidden);
    // A key that is over gives nothing.
    let over = Caller {
        held: Some(Arc::new(Held {
            opens: vec![opens(&["a"], Actions::READ)],
            conditional: Vec::new(),
            until: Some(at(0)),
            leases: Vec::new(),
        })),
        ..caller()
    };
    assert_eq!(decided(&over, &["a"], Actions::READ, 60).unwrap_err(), Kind::Forbidden);
}

#[test]
fn what_a_share_opens_is_opened_by_asks_for_that_share_only() {
    let share = ShareId::from_bytes(bytes(1));
    let table =
        |number: u8, path: &str| Grant { origin: Origin::Share(share), ..grant(number, &[dir(path)], Actions::READ) };
    let snapshot = snapshot(vec![table(10, "t/one"), table(11, "t/two")]);
    let ask = |target| Ask {
        dialect: "test",
        target,
        wanted: Wanted::all_of(Actions::READ),
        lifetime: Asked::Usual(Lifetime::secs(600)),
        carries: Shape::ALL,
    };
    let lake = || BucketName::parse("lake").unwrap();
    let paths = |paths: &[&str]| Paths::only(paths.iter().map(|path| dir(path)).collect::<Vec<_>>()).unwrap();
    let decided = |target| decide(&snapshot, &caller(), &ask(target), at(0)).map_err(|error| error.kind());
    let shared = |share, list: &[&str]| decided(Target::Shared { share, bucket: lake(), paths: paths(list) });
    assert_eq!(shared(share, &["t/one/sub"]).unwrap().because().grants.as_ref(), [GrantId::from_bytes(bytes(10))]);
    assert_eq!(shared(share, &["t/one-secret"]).unwrap_err(), Kind::Forbidden);
    // Of two at one place either one ends it.
    let twice = vec![table(10, "t/one"), table(12, "t")];
    let place = Target::Shared { share, bucket: lake(), paths: paths(&["t/one"]) };
    let permit = decide(&super::tests::snapshot(twice), &caller(), &ask(place), at(0)).unwrap();
    assert_eq!(permit.because().grants.len(), 2);
    // Tables never combine.
    assert_eq!(shared(share, &["t/one", "t/two"]).unwrap_err(), Kind::Forbidden);
    let other = ShareId::from_bytes(bytes(2));
    assert_eq!(shared(other, &["t/one"]).unwrap_err(), Kind::NotFound(Noun::Share));
    let whole = Target::Shared { share, bucket: lake(), paths: Paths::Whole };
    assert_eq!(decided(whole).unwrap_err(), Kind::Forbidden);
    let place = Target::Place { bucket: lake(), paths: paths(&["t/one"]) };
    assert_eq!(decided(place).unwrap_err(), Kind::NotFound(Noun::Bucket));
    for which in [GrantRef::Id(GrantId::from_bytes(bytes(10))), GrantRef::Name(Name::parse("grant-10").unwrap())] {
        let target = Target::Grant { grant: which, paths: None };
        assert_eq!(decided(target).unwrap_err(), Kind::NotFound(Noun::Grant));
    }
    let explained = explain(&snapshot, &caller(), Action::GetObject, &lake(), b"t/one/x", at(0));
    assert_eq!(explained.allowed_by, None);
    let verdicts = |key: &[u8], action| -> Vec<Verdict> {
        let explained = explain(&snapshot, &caller(), action, &lake(), key, at(0));
        explained.considered.iter().map(|one| one.verdict).collect()
    };
    assert_eq!(verdicts(b"t/one/x", Action::GetObject), [Verdict::OnlyThroughShare, Verdict::OutsidePaths]);
    assert_eq!(verdicts(b"t/one-secret/x", Action::GetObject), [Verdict::OutsidePaths, Verdict::OutsidePaths]);
    assert_eq!(verdicts(b"t/one/x", Action::PutObject), [Verdict::LacksAction, Verdict::OutsidePaths]);
}

#[test]
fn a_place_of_a_check_is_an_operators_and_nothing_else_is() {
    let patient = |min: u32, max: u32| Storage {
        min_lifetime: Lifetime::secs(min),
        max_lifetime: Lifetime::secs(max),
        ..(*storage()).clone()
    };
    let snapshot = Snapshot::new(account(), [Arc::new(patient(900, 3600))], Vec::<Grant>::new(), at(0));
    let decide = |role: Role, paths: Paths, lifetime: u32| {
        let target = Target::Probe { storage: storage().id, bucket: BucketName::parse("lake").unwrap(), paths };
        let ask = Ask { lifetime: Asked::Usual(Lifetime::secs(lifetime)), ..ask(target) };
        decide(&snapshot, &Caller { role, ..caller() }, &ask, at(0)).map_err(|error| error.kind())
    };
    let only = |text: &str| Paths::only([Path::object(text.as_bytes()).unwrap()]).unwrap();
    let good = || only(&format!("{}/a", probe::directory([0x5b; 10])));
    assert_eq!(probe::lifetime_at(&patient(1, 3600)), Lifetime::secs(120), "long enough for a check");
    assert_eq!(probe::lifetime_at(&patient(1, 60)), Lifetime::secs(60), "and never longer than the store gives");
    let permit = decide(Role::Operator, good(), 3600).unwrap();
    assert_eq!(permit.until(), Lifetime::secs(900).ends(at(0)), "never longer than the least");
    assert!(permit.because().grants.is_empty());
    for role in [Role::Admin, Role::Member] {
        assert_eq!(decide(role, good(), 900).unwrap_err(), Kind::NotFound(Noun::Storage));
    }
    for outside in [
        "x",
        ".valetkey/checks/",
        ".valetkey/checks/00112233445566778899",
        ".valetkey/checks/00112233445566778899/",
        ".valetkey/checks/0011223344556677889/a",
        ".valetkey/checks/001122334455667788990/a",
        ".valetkey/checks/00112233445566778899/../../x",
        ".valetkey/checks/ZZ112233445566778899/a",
    ] {
        assert_eq!(decide(Role::Operator, only(outside), 900).unwrap_err(), Kind::Forbidden, "{outside}");
    }
    assert_eq!(decide(Role::Operator, Paths::Whole, 900).unwrap_err(), Kind::Forbidden);
    let two = [".valetkey/checks/00112233445566778899/a", ".valetkey/checks/aa112233445566778899/a"];
    let two = Paths::only(two.map(|text| Path::object(text.as_bytes()).unwrap())).unwrap();
    assert_eq!(decide(Role::Operator, two, 900).unwrap_err(), Kind::Forbidden, "two checks");
}

prop_compose! {
    fn some_group()(
        number in 1u8..40,
        named in prop::bool::weighted(0.2),
        provider in 1u8..3,
        claims in prop::collection::vec(prop::sample::select(vec!["a=x", "a=y", "b=1", "b=true", "a=glob:*", "c=glob:x*", "/d/e=x"]), 0..4),
    ) -> crate::group::Group {
        let conditions: Vec<_> = claims.iter().map(|text| crate::claims::Condition::parse(text).unwrap()).collect();
        crate::group::Group {
            id: GroupId::from_bytes(bytes(number)),
            account: account().id,
            name: Name::parse(&format!("group-{number}")).unwrap(),
            members: named.then(|| caller().id).into_iter().collect(),
            by_claim: (!conditions.is_empty())
                .then(|| crate::group::ByClaim { provider: crate::id::ProviderId::from_bytes(bytes(provider)), conditions }),
            version: 1,
            made: at(0),
        }
    }
}

proptest! {
    /// The index finds what looking at each group finds.
    #[test]
    fn a_caller_is_in_the_groups_that_admit_it(
        groups in prop::collection::vec(some_group(), 0..12),
        provider in 1u8..3,
        claims in prop::sample::select(vec![
            r#"{"a":"x"}"#, r#"{"a":["y","z"],"b":1}"#, r#"{"b":true,"c":"xx"}"#, r#"{"d":{"e":"x"},"a":[]}"#, "{}",
        ]),
    ) {
        let mut groups = groups;
        groups.sort_by_key(|group| group.id);
        groups.dedup_by_key(|group| group.id);
        let identity = crate::claims::Identity {
            provider: crate::id::ProviderId::from_bytes(bytes(provider)),
            claims: crate::claims::Claims::read(claims.as_bytes()).unwrap(),
        };
        let expected = |admits: &dyn Fn(&crate::group::Group) -> bool| -> Vec<GroupId> {
            groups.iter().filter(|group| group.members.contains(&caller().id) || admits(group)).map(|group| group.id).collect()
        };
        let snapshot = snapshot(Vec::new()).with_groups(groups.clone());
        prop_assert_eq!(snapshot.groups_of(&caller()), expected(&|_| false));
        let admits = |group: &crate::group::Group| group.admits(&identity);
        let with = expected(&admits);
        let session = Caller { identity: Some(Arc::new(identity.clone())), ..caller() };
        prop_assert_eq!(snapshot.groups_of(&session), with);
        let foreign = Caller { account: AccountId::from_bytes(bytes(77)), ..session };
        prop_assert!(snapshot.groups_of(&foreign).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A grant whose conditions hold is one without them that ends with its hours, and one whose conditions do not hold is none.
    #[test]
    fn conditions_do_nothing_but_narrow(grants in prop::collection::vec(some_grant(), 0..12), ask in some_ask()) {
        let mut grants = grants;
        grants.sort_by_key(|grant| grant.id);
        grants.dedup_by_key(|grant| grant.id);
        let plain = |grant: &Grant<Scope>| Grant { until: grant.ends(at(0)), conditions: None, ..grant.clone() };
        let held: Vec<Grant<Scope>> = grants.iter().filter(|grant| grant.conditions.is_none() || grant.is_open(&caller(), &facts(), at(0)))
            .map(plain).collect();
        let bare: Vec<Grant<Scope>> = grants.iter().map(|grant| Grant { conditions: None, ..grant.clone() }).collect();
        let given = |grants: Vec<Grant<Scope>>| {
            let permit = decide(&grouped(grants), &caller(), &ask, at(0)).ok()?;
            let because: std::collections::BTreeSet<GrantId> = permit.because().grants.iter().copied().collect();
            Some((permit.storage().id, (**permit.rights()).clone(), permit.until(), because))
        };
        let found = given(grants.clone());
        prop_assert_eq!(&found, &given(held));
        if let Some((_, scope, _, because)) = found {
            // Whatever is opened, the same grants open without conditions, too.
            for id in because {
                let grant = bare.iter().find(|grant| grant.id == id).unwrap();
                prop_assert_eq!(grant.scope.bucket(), scope.bucket());
                prop_assert!(!grant.scope.actions().intersect(scope.actions()).is_empty());
            }
        }
    }
}

#[test]
fn every_condition_is_in_the_explanation_as_held_or_not() {
    let mut narrow = grant(10, &[dir("a")], Actions::READ);
    narrow.conditions =
        Conditions::of_text("network 11.0.0.0/8\nhours daily 00:00-24:00\nsession-name ci-7").map(Box::new);
    let snapshot = snapshot(vec![narrow.clone()]);
    let told = explain(&snapshot, &caller(), Action::GetObject, &BucketName::parse("lake").unwrap(), b"a/x", at(0));
    assert_eq!((told.allowed_by, told.considered[0].verdict), (None, Verdict::ConditionFails));
    let held: Vec<_> = told.considered[0].conditions.iter().map(|one| (one.said.as_str(), one.held.as_str())).collect();
    assert_eq!(
        held,
        [("from 11.0.0.0/8", "fails"), ("at daily 00:00-24:00 UTC", "holds"), ("session name ci-7", "holds")]
    );
    let target = Target::Grant { grant: GrantRef::Id(narrow.id), paths: None };
    let refused = decide(&snapshot, &caller(), &ask(target), at(0)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    assert!(refused.message().ends_with("has a condition that does not hold: from 11.0.0.0/8"), "{refused}");
    // Nothing is known of whoever says nothing.
    let blind = super::decide(&snapshot, &caller(), &ask(lake(&[dir("a")])), &Facts::default(), at(0));
    assert_eq!(blind.unwrap_err().kind(), Kind::Forbidden);
}

#[test]
fn a_credential_ends_with_the_hours_of_its_grant() {
    let mut narrow = grant(10, &[dir("a")], Actions::READ);
    narrow.conditions = Conditions::of_text("hours daily 23:00-00:15").map(Box::new);
    let day = Ask { lifetime: Asked::For(Lifetime::secs(7200)), ..ask(lake(&[dir("a")])) };
    let permit = decide(&snapshot(vec![narrow.clone()]), &caller(), &day, at(0)).unwrap();
    assert_eq!(permit.until(), at(900));
    assert_eq!(permit.because().grants.as_ref(), [narrow.id]);
    let datasets = Ask { target: Target::Datasets { bucket: None }, ..day.clone() };
    let beside = grant(11, &[dir("b")], Actions::READ);
    let both = snapshot(vec![narrow, beside]);
    assert_eq!(
        decide(&both, &caller(), &datasets, at(0)).unwrap().rights().parts().places(),
        Paths::only([dir("a"), dir("b")]).unwrap()
    );
    assert_eq!(
        decide(&both, &caller(), &datasets, at(900)).unwrap().rights().parts().places(),
        Paths::only([dir("b")]).unwrap()
    );
}
