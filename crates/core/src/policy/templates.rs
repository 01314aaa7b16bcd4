//! Grants with placeholders decide as if each caller had its own.

use proptest::prelude::*;

use super::tests::{account, ask, at, bytes, caller, decide, dir, grant, kind, lake, snapshot_of, storage};
use super::*;
use crate::claims::{Claims, Identity};
use crate::conditions::Conditions;
use crate::grant::{Grantee, Origin};
use crate::group::Group;
use crate::id::{GroupId, ProviderId};
use crate::name::Name;
use crate::scope::Path;
use crate::template::{Opens, Template};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn template(number: u8, paths: &[Path], actions: Actions, to: Grantee) -> Grant {
    let bucket = BucketName::parse("lake").unwrap();
    let opens = Template::new(bucket, Paths::only(paths).unwrap(), actions).unwrap();
    let plain = grant(number, &[dir("unused")], actions);
    Grant { origin: Origin::Plain, to, ..plain.opening(Opens::Template(opens)) }
}

fn named(number: u8, text: &str) -> Caller {
    Caller { id: CallerId::from_bytes(bytes(number)), name: name(text), ..caller() }
}

#[expect(clippy::unnecessary_wraps, reason = "as a caller has it")]
fn known_by(provider: u8, claims: &str) -> Option<Arc<Identity>> {
    let provider = ProviderId::from_bytes(bytes(provider));
    Some(Arc::new(Identity { provider, claims: Claims::read(claims.as_bytes()).unwrap() }))
}

#[expect(clippy::unnecessary_wraps, reason = "as a grant has them")]
fn conditions(text: &str) -> Option<Box<Conditions>> {
    Some(Box::new(Conditions::of_text(text).unwrap()))
}

#[test]
fn one_grant_opens_to_each_caller_its_own_and_nothing_else() {
    let home = template(10, &[dir("home/{caller.name}")], Actions::READ, Grantee::Everyone);
    let snapshot = snapshot_of(vec![home.clone()]);
    let (ann, bob) = (named(3, "ann"), named(4, "bob"));
    let by_name = || Target::Grant { grant: GrantRef::Name(home.name.clone()), paths: None };
    for (caller, own) in [(&ann, "home/ann"), (&bob, "home/bob")] {
        let permit = decide(&snapshot, caller, &ask(by_name()), at(0)).unwrap();
        assert_eq!(permit.rights().paths_of(Action::GetObject).unwrap(), &Paths::only([dir(own)]).unwrap());
        assert_eq!(*permit.because().grants, [home.id]);
        let place = decide(&snapshot, caller, &ask(lake(&[dir(&format!("{own}/x"))])), at(0)).unwrap();
        assert_eq!(
            place.rights().paths_of(Action::GetObject).unwrap(),
            &Paths::only([dir(&format!("{own}/x"))]).unwrap()
        );
    }
    for outside in ["home", "home/bob", "home/ann-other", "home/{caller.name}", "home/an", "other"] {
        assert_eq!(kind(decide(&snapshot, &ann, &ask(lake(&[dir(outside)])), at(0))), Kind::Forbidden, "{outside}");
    }
    let narrowed = Target::Grant { grant: GrantRef::Id(home.id), paths: Some(Paths::only([dir("home/bob")]).unwrap()) };
    assert_eq!(kind(decide(&snapshot, &ann, &ask(narrowed), at(0))), Kind::Forbidden);
    // Nobody of another account, whatever its name.
    let stranger = Caller { account: AccountId::from_bytes(bytes(77)), ..named(3, "ann") };
    assert!(snapshot.grant(&stranger, &GrantRef::Id(home.id)).is_none());
    assert!(snapshot.unfilled(&stranger, &GrantRef::Id(home.id)).is_none());
    assert_eq!(snapshot.grants(&stranger).count() + snapshot.filled(&stranger, None).len(), 0);
}

#[test]
fn braces_of_a_grant_that_is_no_template_are_bytes() {
    let plain = grant(10, &[dir("home/{caller.name}")], Actions::READ);
    let snapshot = snapshot_of(vec![plain.into()]);
    let own = caller();
    assert!(decide(&snapshot, &own, &ask(lake(&[dir("home/{caller.name}")])), at(0)).is_ok());
    let filled = dir(&format!("home/{}", own.name));
    assert_eq!(kind(decide(&snapshot, &own, &ask(lake(&[filled])), at(0))), Kind::Forbidden);
}

#[test]
fn a_claim_is_its_own_providers_word_and_a_missing_one_refuses_that_grant_alone() {
    let mut team = template(10, &[dir("team/{claims./team}")], Actions::READ, Grantee::Everyone);
    assert_eq!(team.check_template().unwrap_err().field(), Some("template"));
    let provider = ProviderId::from_bytes(bytes(9));
    team.conditions = conditions(&format!("provider {provider}\nclaim aud=valetkey"));
    team.check_template().unwrap();
    let other = grant(11, &[dir("other")], Actions::READ);
    let snapshot = snapshot_of(vec![team.clone(), other.clone().into()]);
    let as_known = |identity| Caller { identity, ..caller() };
    let target = || Target::Grant { grant: GrantRef::Id(team.id), paths: None };
    let red = as_known(known_by(9, r#"{"aud":"valetkey","team":"red"}"#));
    assert_eq!(
        decide(&snapshot, &red, &ask(target()), at(0)).unwrap().rights().paths_of(Action::GetObject).unwrap(),
        &Paths::only([dir("team/red")]).unwrap()
    );
    assert_eq!(kind(decide(&snapshot, &red, &ask(lake(&[dir("team/blue")])), at(0))), Kind::Forbidden);
    for (identity, said) in [
        (None, "{claims./team} is known, as a string"),
        (known_by(9, r#"{"aud":"valetkey"}"#), "{claims./team} is known, as a string"),
        (known_by(9, r#"{"aud":"valetkey","team":["red"]}"#), "{claims./team} is known, as a string"),
        (known_by(9, r#"{"aud":"valetkey","team":".."}"#), "{claims./team} can be a part of a path"),
        (known_by(9, r#"{"aud":"valetkey","team":"red/../.."}"#), "{claims./team} can be a part of a path"),
        // Another provider may let people claim what they like.
        (known_by(8, r#"{"aud":"valetkey","team":"red"}"#), "claims aud=valetkey"),
    ] {
        let caller = as_known(identity);
        let error = decide(&snapshot, &caller, &ask(target()), at(0)).unwrap_err();
        assert!(error.kind() == Kind::Forbidden && error.message().contains(said), "{}", error.message());
        assert_eq!(kind(decide(&snapshot, &caller, &ask(lake(&[dir("team/red")])), at(0))), Kind::Forbidden);
        assert_eq!(kind(decide(&snapshot, &caller, &ask(lake(&[dir("team")])), at(0))), Kind::Forbidden);
        decide(&snapshot, &caller, &ask(lake(&[dir("other")])), at(0)).unwrap();
        let bucket = BucketName::parse("lake").unwrap();
        let why = explain(&snapshot, &caller, Action::GetObject, &bucket, b"team/red/x", &Facts::default(), at(0));
        let about = why.considered.iter().find(|one| one.grant.id == team.id).unwrap();
        assert_eq!((why.allowed_by, about.verdict), (None, Verdict::ConditionFails), "{said}");
        assert!(about.conditions.iter().any(|one| one.held != Held::Holds && one.said.contains(said)), "{said}");
    }
    let bucket = BucketName::parse("lake").unwrap();
    let why = explain(&snapshot, &red, Action::GetObject, &bucket, b"team/red/x", &Facts::default(), at(0));
    assert_eq!(why.allowed_by, Some(team.id));
    assert!(
        why.considered[0].conditions.iter().any(|one| one.said == "{claims./team} is red" && one.held == Held::Holds)
    );
}

#[test]
fn a_template_of_a_group_or_of_one_caller_is_for_them_alone() {
    let group = GroupId::from_bytes(bytes(20));
    let of_group = template(10, &[dir("g/{caller.name}")], Actions::READ, Grantee::Group(group));
    let of_ann = template(11, &[dir("a/{account.name}")], Actions::READ, Grantee::Caller(named(3, "ann").id));
    let members = [named(4, "bob").id].into();
    let own =
        Group { id: group, account: account().id, name: name("few"), members, by_claim: None, version: 1, made: at(0) };
    let snapshot = snapshot_of(vec![of_group.clone(), of_ann.clone()]).with_groups([own]);
    let open = |caller: &Caller| {
        let all = snapshot.grants(caller);
        all.map(|grant| format!("{:?}", grant.scope.paths())).collect::<Vec<_>>().join(" ")
    };
    let acme = format!("a/{}", account().name);
    assert!(open(&named(3, "ann")).contains(&acme) && !open(&named(3, "ann")).contains("g/"));
    assert!(open(&named(4, "bob")).contains("g/bob") && !open(&named(4, "bob")).contains("a/"));
    assert_eq!(open(&named(5, "eve")), "");
    // What names the caller is what a key of its own hands on.
    assert_eq!(snapshot.own(&named(3, "ann")).map(|grant| grant.id).collect::<Vec<_>>(), [of_ann.id]);
    assert_eq!(snapshot.own(&named(4, "bob")).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_template_decides_as_a_grant_with_its_expansion_does(
        path in prop::sample::select(vec!["home/{caller.name}", "{account.name}/x-{caller.name}", "t/{claims.t}/x", "{claims.t}"]),
        kind_of in 0..3, claim in prop_oneof!["[a-c./-]{0,4}", any::<String>()], caller_name in "[a-c]{1,3}",
        asked in prop::collection::vec((0..3, "(home/|t/|acme/x-)?[a-c]{1,3}(/x)?"), 1..3),
        write in any::<bool>(),
    ) {
        let make = |kind: i32, text: &str| match kind {
            0 => Path::object(text.as_bytes()),
            1 => Path::directory(text.as_bytes()),
            _ => Path::prefix(format!("{text}/").as_bytes()),
        };
        let actions = if write { Actions::READ_WRITE } else { Actions::READ };
        let provider = ProviderId::from_bytes(bytes(9));
        let conditions = conditions(&format!("provider {provider}\nclaim aud=v"));
        let own = template(10, &[make(kind_of, path).unwrap()], actions, Grantee::Everyone);
        let own = Grant { conditions: conditions.clone(), ..own };
        let escaped = claim.encode_utf16().fold(String::new(), |all, unit| all + &format!("\\u{unit:04x}"));
        let identity = known_by(9, &format!(r#"{{"aud":"v","t":"{escaped}"}}"#));
        let asks = Caller { identity, ..named(3, &caller_name) };
        let with_template = snapshot_of(vec![own.clone()]);
        let text = path
            .replace("{caller.name}", &caller_name)
            .replace("{account.name}", account().name.as_str())
            .replace("{claims.t}", &claim);
        let literal = make(kind_of, &text).ok().map(|path| {
            let plain = Grant { origin: Origin::Plain, to: Grantee::Everyone, ..grant(10, &[path], actions) };
            snapshot_of(vec![Grant::from(Grant { conditions, ..plain })])
        });
        let paths: Vec<Path> = asked.iter().map(|(kind, text)| make(*kind, text).unwrap()).collect();
        for target in [lake(&paths), Target::Grant { grant: GrantRef::Id(own.id), paths: None }] {
            let found = decide(&with_template, &asks, &ask(target.clone()), at(0));
            match (&found, &literal) {
                (Ok(permit), Some(literal)) => {
                    let other = decide(literal, &asks, &ask(target), at(0)).unwrap();
                    prop_assert_eq!(permit.rights(), other.rights());
                    prop_assert_eq!((permit.until(), permit.because()), (other.until(), other.because()));
                }
                (Ok(permit), None) => prop_assert!(false, "{:?}", permit.rights()),
                (Err(_), Some(literal)) if !path.contains("claims") => {
                    prop_assert!(decide(literal, &asks, &ask(target), at(0)).is_err());
                }
                (Err(_), _) => {}
            }
        }
        prop_assert_eq!(with_template.storage(storage().id).is_some(), true);
    }
}
