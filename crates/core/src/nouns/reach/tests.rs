use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::account::{Account, Metering, OwnQuota, Standing};
use crate::grant::{Grant, Grantee, Origin};
use crate::id::{AccountId, CallerId, GrantId, StorageId};
use crate::name::{BucketName, Name};
use crate::scope::{Action, Actions, Scope};
use crate::snapshot::Snapshot;
use crate::storage::{Storage, StorageKind};
use crate::time::Lifetime;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![&b"a"[..], b"b", b"/", b"/", b"a/", b"\xff", b"\0", b"0", b"-", b".."]);
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = Path> {
    (bytes(), 0..3).prop_filter_map("directories end without a slash", |(bytes, kind)| match kind {
        0 => Path::object(&bytes).ok(),
        1 => Path::directory(&bytes).ok(),
        _ => Path::prefix(&bytes).ok(),
    })
}

fn paths() -> impl Strategy<Value = Paths> {
    prop_oneof![
        1 => Just(Paths::Whole),
        12 => prop::collection::vec(path(), 1..7).prop_filter_map("some", |paths| Paths::only(paths).ok()),
    ]
}

/// Keys at the borders of what is covered: each path's own bytes, and what comes just before, below and after them.
fn probes(sets: &[&Paths]) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![b"a".to_vec(), b"\0".to_vec(), b"\xff\xff\xff".to_vec(), b"zzz".to_vec()];
    for set in sets {
        let Paths::Only(set) = set else { continue };
        for path in set.iter() {
            let own = path.bytes();
            keys.extend(
                [&b""[..], b"/", b"/x", b"\0", b"0", b".", b"-secret", b"\xff", b"//"].map(|tail| [own, tail].concat()),
            );
            keys.extend(own.split_last().map(|(_, start)| start.to_vec()));
            keys.extend(own.strip_suffix(b"/").map(<[u8]>::to_vec));
        }
    }
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_is_what_brute_force_finds(before in paths(), after in paths()) {
        let pieces = difference(&after, Some(&before));
        let covers = |piece: &Piece, key: &[u8]| {
            piece.path.as_ref().is_none_or(|path| path.covers_key(key)) && !piece.except.iter().any(|path| path.covers_key(key))
        };
        let (old, new) = (Keys::of(&before), Keys::of(&after));
        let (gained, both) = (new.without(&old), new.union(&old));
        for key in probes(&[&before, &after]) {
            let (was, is) = (before.cover_key(&key), after.cover_key(&key));
            prop_assert_eq!(old.contains(&key), was, "{:?}", key.escape_ascii().to_string());
            prop_assert_eq!(gained.contains(&key), is && !was, "{}", key.escape_ascii());
            prop_assert_eq!(both.contains(&key), is || was, "{}", key.escape_ascii());
            prop_assert_eq!(pieces.iter().any(|piece| covers(piece, &key)), is && !was, "{}", key.escape_ascii());
        }
        prop_assert_eq!(pieces.is_empty(), gained.is_empty());
        prop_assert_eq!(old.contains_all(&new), gained.is_empty());
        prop_assert_eq!(old.meets(&new), new.without(&gained) != Keys::NONE);
        prop_assert_eq!(new.without(&new), Keys::NONE);
        // The same set is the same value, however it came about.
        prop_assert_eq!(gained.union(&new.without(&gained)), new);
    }

    #[test]
    fn an_extent_is_what_brute_force_finds(covered in paths(), key in bytes(), kind in 0..3) {
        let Ok(text) = String::from_utf8(key) else { return Ok(()) };
        let text = match kind { 0 => String::new(), 1 => format!("{text}/"), _ => text };
        let place = Place::parse(&format!("s3://lake/{text}")).unwrap();
        let keys = match text.as_str() {
            "" => Keys::of(&Paths::Whole),
            below if below.ends_with('/') => Keys::of_path(&Path::prefix(below.as_bytes()).unwrap()),
            key => Keys::of_path(&Path::object(key.as_bytes()).unwrap()),
        };
        let found = place.extent(&BucketName::parse("lake").unwrap(), &covered);
        let own = Keys::of(&covered);
        prop_assert_eq!(found.is_some(), own.meets(&keys));
        // One path must cover it all: what several cover together is more than a grant's decision looks for.
        prop_assert!(found != Some(Extent::All) || own.contains_all(&keys));
        prop_assert_eq!(place.extent(&BucketName::parse("pond").unwrap(), &covered), None);
    }
}

#[test]
fn a_piece_says_what_is_left_out_of_it() {
    let only = |paths: &[Path]| Paths::only(paths).unwrap();
    let dir = |text: &str| Path::directory(text.as_bytes()).unwrap();
    let gained = difference(&only(&[dir("flights")]), Some(&only(&[dir("flights/daily"), dir("other")])));
    assert_eq!(gained, [Piece { path: Some(dir("flights")), except: vec![dir("flights/daily")] }]);
    // Its own key and all that is below it are a directory, though neither covers it.
    let pieces = [Path::object(b"a").unwrap(), Path::prefix(b"a/").unwrap()];
    assert_eq!(difference(&only(&[dir("a")]), Some(&only(&pieces))), []);
    assert_eq!(difference(&only(&[dir("a")]), Some(&Paths::Whole)), []);
    assert_eq!(difference(&Paths::Whole, None), [Piece { path: None, except: vec![] }]);
}

fn id(number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn many(count: u32) -> Snapshot {
    let account = Account {
        id: AccountId::from_bytes(id(1)),
        name: Name::parse("acme").unwrap(),
        standing: Standing::Active,
        metering: Metering::Free,
        datasets_bucket: None,
        quota: OwnQuota::default(),
    };
    let storage = Arc::new(Storage {
        id: StorageId::from_bytes(id(2)),
        name: Name::parse("lake").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:9000".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    });
    let (of, at) = (account.id, storage.id);
    let grants = (0..count).map(|number| Grant {
        id: GrantId::from_bytes(id(number)),
        name: Name::parse(&format!("grant-{number:06}")).unwrap(),
        account: of,
        to: if number % 1000 == 0 {
            Grantee::Everyone
        } else {
            Grantee::Caller(CallerId::from_bytes(id(number % 5000)))
        },
        storage: at,
        origin: Origin::Plain,
        scope: Scope::new(
            BucketName::parse("lake").unwrap(),
            Paths::only([Path::directory(format!("jobs/{}/{number}", number % 100).as_bytes()).unwrap()]).unwrap(),
            Actions::READ,
        )
        .unwrap(),
        max_lifetime: Lifetime::secs(3600),
        from: None,
        until: None,
        conditions: None,
    });
    Snapshot::new(account, [storage], grants.collect::<Vec<_>>(), Timestamp::UNIX_EPOCH)
}

#[test]
fn who_can_over_a_hundred_thousand_grants() {
    let snapshot = many(100_000);
    let ask = |place: &str, caller| {
        let place = Place::parse(place).unwrap();
        let actions = Some(Actions::of(&[Action::GetObject]));
        let question = Question { actions, place: Some(&place), caller, ..Question::default() };
        question.answers(&snapshot, None).collect::<Vec<_>>()
    };
    let found = ask("s3://lake/jobs/7/4207/x", None);
    assert_eq!(found.iter().map(|answer| answer.grant.name.as_str()).collect::<Vec<_>>(), ["grant-004207"]);
    assert_eq!(ask("s3://lake/jobs/7/42070", None).len(), 0);
    assert_eq!(ask("s3://lake/jobs/7/", None).len(), 1000);
    assert!(ask("s3://lake/jobs/7/", None).iter().all(|answer| answer.extent == Extent::Part));
    assert_eq!(ask("s3://lake/jobs/0/", Some(CallerId::from_bytes(id(1)))).len(), 100);
    assert_eq!(ask("s3://lake/jobs/7/4207/x", Some(CallerId::from_bytes(id(1)))).len(), 0);
    assert_eq!(ask("s3://lake/jobs/7/4207/x", Some(CallerId::from_bytes(id(4207)))).len(), 1);
    assert_eq!(ask("s3://pond/jobs/7/4207/x", None).len(), 0);
}
