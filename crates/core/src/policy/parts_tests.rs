//! Asks of several parts.

use std::sync::Arc;

use super::tests::{ask, at, bytes, caller, decide, dir, grant, snapshot, storage};
use super::*;
use crate::ask::{AskedPart, By, MOST_PARTS, MOST_PATH_BYTES};
use crate::caller::Held as HeldKey;
use crate::scope::{Part, Path};
use crate::storage::StorageKind;

fn lake() -> BucketName {
    BucketName::parse("lake").unwrap()
}

fn paths(all: &[&str]) -> Paths {
    Paths::only(all.iter().map(|path| dir(path)).collect::<Vec<_>>()).unwrap()
}

fn part(all: &[&str], wanted: Wanted) -> AskedPart {
    AskedPart { paths: paths(all), wanted }
}

fn parts(parts: Vec<AskedPart>) -> Ask {
    ask(Target::Parts { by: By::Bucket(lake()), parts })
}

fn delete() -> Actions {
    Actions::of(&[Action::DeleteObject])
}

/// Reads one directory, writes another below it.
fn read_here_write_there() -> Ask {
    parts(vec![
        part(&["a"], Wanted::all_of(Actions::READ)),
        part(&["a/tmp"], Wanted::between(Actions::of(&[Action::PutObject]), Actions::WRITE.union(delete()))),
    ])
}

#[test]
fn each_part_is_what_its_own_grants_give() {
    let snapshot = snapshot(vec![
        grant(10, &[dir("a"), dir("b")], Actions::READ),
        Grant { max_lifetime: Lifetime::secs(900), ..grant(11, &[dir("a/tmp")], Actions::WRITE) },
    ]);
    let permit = decide(&snapshot, &caller(), &read_here_write_there(), at(0)).unwrap();
    let rights = permit.rights();
    assert_eq!(rights.paths_of(Action::GetObject), Some(&paths(&["a"])));
    assert_eq!(rights.paths_of(Action::PutObject), Some(&paths(&["a/tmp"])));
    assert!(rights.covers("lake", b"a/tmp/x", Action::PutObject) && rights.covers("lake", b"a/x", Action::GetObject));
    for (key, action) in [
        ("a/x", Action::PutObject),
        ("a/tmp2/x", Action::PutObject),
        ("b/x", Action::GetObject),
        ("ab", Action::GetObject),
        ("a/tmp/x", Action::DeleteObject),
    ] {
        assert!(!rights.covers("lake", key.as_bytes(), action), "{action} {key}");
    }
    assert_eq!(permit.because().grants.len(), 2);
    assert_eq!(permit.until(), at(900), "the sooner of the two");
    let cuts: Vec<String> = permit.because().cuts.iter().map(ToString::to_string).collect();
    assert_eq!(cuts, ["not granted on the directory `a/tmp`: delete-object"]);
}

#[test]
fn a_part_that_is_not_granted_refuses_all_unless_it_may_be_left_out() {
    let grants = || vec![grant(10, &[dir("a")], Actions::READ)];
    let refused = decide(&snapshot(grants()), &caller(), &read_here_write_there(), at(0)).unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (Kind::Forbidden, Some("paths")));
    assert!(refused.message().contains("`a/tmp`"), "{}", refused.message());
    let optional = |first: &str| {
        parts(vec![part(&[first], Wanted::at_most(Actions::READ)), part(&["a/tmp"], Wanted::at_most(Actions::WRITE))])
    };
    let permit = decide(&snapshot(grants()), &caller(), &optional("a"), at(0)).unwrap();
    assert_eq!(permit.rights().parts().only().unwrap().paths(), &paths(&["a"]));
    let cuts: Vec<String> = permit.because().cuts.iter().map(ToString::to_string).collect();
    assert_eq!(cuts, ["not granted on the directory `a/tmp`: put-object, multipart-upload, abort-upload"]);
    assert_eq!(decide(&snapshot(grants()), &caller(), &optional("b"), at(0)).unwrap_err().kind(), Kind::Forbidden);
    // Of a bucket that nothing is granted in nobody learns anything.
    let elsewhere = ask(Target::Parts {
        by: By::Bucket(BucketName::parse("vault").unwrap()),
        parts: vec![part(&["a"], Wanted::at_most(Actions::READ))],
    });
    assert_eq!(
        decide(&snapshot(grants()), &caller(), &elsewhere, at(0)).unwrap_err().kind(),
        Kind::NotFound(Noun::Bucket)
    );
}

#[test]
fn parts_of_one_grant_stay_inside_it() {
    let snapshot =
        snapshot(vec![grant(10, &[dir("a")], Actions::READ_WRITE), grant(11, &[dir("b")], Actions::READ_WRITE)]);
    let of = |second: &str| {
        ask(Target::Parts {
            by: By::Grant(GrantRef::Id(GrantId::from_bytes(bytes(10)))),
            parts: vec![part(&["a"], Wanted::all_of(Actions::READ)), part(&[second], Wanted::all_of(Actions::WRITE))],
        })
    };
    let permit = decide(&snapshot, &caller(), &of("a/tmp"), at(0)).unwrap();
    assert_eq!(permit.rights().parts().iter().count(), 2);
    assert_eq!(permit.because().grants.len(), 1);
    assert_eq!(decide(&snapshot, &caller(), &of("b"), at(0)).unwrap_err().kind(), Kind::Forbidden);
}

#[test]
fn a_key_hands_on_parts_that_it_opens_and_no_others() {
    let snapshot = snapshot(vec![grant(10, &[dir("a")], Actions::READ_WRITE)]);
    let own = |list: &[(&[&str], Actions)]| {
        let all = list.iter().map(|(places, actions)| Part::new(paths(places), *actions).unwrap());
        (storage().id, Arc::new(Rights::new(lake(), crate::scope::Parts::new(all.collect::<Vec<_>>()).unwrap())))
    };
    let held = |opens| Caller {
        held: Some(Arc::new(HeldKey { opens, conditional: Vec::new(), until: None, leases: Vec::new() })),
        ..caller()
    };
    let asked =
        parts(vec![part(&["a"], Wanted::all_of(Actions::READ)), part(&["a/tmp"], Wanted::all_of(Actions::WRITE))]);
    let decided = |caller: &Caller, asked: &Ask| decide(&snapshot, caller, asked, at(0)).map_err(|error| error.kind());
    assert!(decided(&held(vec![own(&[(&["a"], Actions::READ), (&["a/tmp"], Actions::WRITE)])]), &asked).is_ok());
    // Of two keys' worth of rights in one key, too.
    let two = held(vec![own(&[(&["a"], Actions::READ)]), own(&[(&["a/tmp"], Actions::WRITE)])]);
    assert!(decided(&two, &asked).is_ok());
    for narrower in [
        own(&[(&["a"], Actions::READ)]),
        own(&[(&["a"], Actions::READ), (&["a/tmp/x"], Actions::WRITE)]),
        own(&[(&["a/tmp"], Actions::READ_WRITE)]),
    ] {
        assert_eq!(decided(&held(vec![narrower]), &asked).unwrap_err(), Kind::Forbidden);
    }
    let write = parts(vec![part(&["a"], Wanted::all_of(Actions::WRITE))]);
    assert_eq!(decided(&two, &write).unwrap_err(), Kind::Forbidden);
}

#[test]
fn storages_of_one_permission_are_asked_for_one_part_at_a_time() {
    for (kind, told) in StorageKind::ALL.into_iter().map(|kind| (kind, kind.tells_parts())) {
        let at_kind = Arc::new(Storage { kind, ..(*storage()).clone() });
        let snapshot = Snapshot::new(
            super::tests::snapshot(Vec::new()).account().clone(),
            [at_kind],
            [grant(10, &[dir("a")], Actions::READ_WRITE)],
            at(0),
        );
        let both = |wanted: fn(Actions) -> Wanted| {
            parts(vec![part(&["a"], wanted(Actions::READ)), part(&["a/tmp"], wanted(Actions::WRITE))])
        };
        let decided = decide(&snapshot, &caller(), &both(Wanted::all_of), at(0));
        assert_eq!(decided.is_ok(), told, "{kind:?}");
        if let Err(error) = decided {
            assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some("parts")));
        }
        // The first of what may be left out, and what is the same place after all.
        let permit = decide(&snapshot, &caller(), &both(Wanted::at_most), at(0)).unwrap();
        assert_eq!(permit.rights().parts().iter().count(), if told { 2 } else { 1 });
        let same =
            parts(vec![part(&["a"], Wanted::all_of(Actions::READ)), part(&["a"], Wanted::all_of(Actions::WRITE))]);
        let permit = decide(&snapshot, &caller(), &same, at(0)).unwrap();
        assert_eq!(permit.rights().parts().only().unwrap().actions(), Actions::READ.union(Actions::WRITE));
    }
}

#[test]
fn parts_have_bounds_together() {
    let snapshot = snapshot(vec![Grant {
        scope: crate::scope::Scope::new(lake(), Paths::Whole, Actions::READ_WRITE).unwrap(),
        ..grant(10, &[dir("a")], Actions::READ_WRITE)
    }]);
    let long = |number: usize| format!("{number:03}{}", "x".repeat(900));
    let many = |from: usize, count: usize| (from..from + count).map(|n| dir(&long(n))).collect::<Vec<_>>();
    let get = |paths: Vec<Path>, wanted| AskedPart { paths: Paths::only(paths).unwrap(), wanted };
    let refused = |ask: &Ask| {
        let error = decide(&snapshot, &caller(), ask, at(0)).unwrap_err();
        (error.kind(), error.field().map(str::to_owned))
    };
    let read = Wanted::all_of(Actions::READ);
    assert!(decide(&snapshot, &caller(), &parts(vec![get(many(0, 4), read), get(many(4, 4), read)]), at(0)).is_ok());
    let over = parts(vec![get(many(0, 5), read), get(many(5, 5), read)]);
    assert_eq!(refused(&over), (Kind::Invalid, Some("paths".to_owned())));
    // What is asked for once and is in two parts of the permit counts twice.
    let twice =
        parts(vec![get(many(0, 5), read), get(vec![dir("b")], Wanted::all_of(Actions::of(&[Action::GetObject])))]);
    const { assert!(5 * 903 < MOST_PATH_BYTES && 10 * 903 > MOST_PATH_BYTES) };
    assert_eq!(refused(&twice), (Kind::Invalid, Some("paths".to_owned())));
    for count in [0, MOST_PARTS + 1] {
        let asked = parts((0..count).map(|_| part(&["a"], read)).collect());
        assert_eq!(refused(&asked), (Kind::Invalid, Some("parts".to_owned())));
    }
}
