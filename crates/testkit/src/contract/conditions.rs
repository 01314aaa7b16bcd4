//! Conditions of grants: kept as they are, and a grant that gets others ends what it opened.

use valetkey_core::account::Metering;
use valetkey_core::conditions::{Conditions, Facts};
use valetkey_core::error::Kind;
use valetkey_core::grant::{Grant, NewGrant};
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::policy;

use crate::contract::bench::{Bench, ask, by, new_grant, reads};

fn conditions(text: &str) -> Box<Conditions> {
    Box::new(Conditions::of_text(text).unwrap())
}

/// And what was opened without one, or under another, ends when a grant gets one.
pub async fn conditions_are_kept_and_narrow_what_is_open(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let new = new_grant(tenant.account.id, &tenant.storage, "office", reads("lake", &["office"]));
    let text =
        "network 10.0.0.0/8\nnetwork 2001:db8::/32\nhours mon-fri 08:00-18:00\nsession-name glob:ci-*\nexternal-id a-b";
    let nothing = NewGrant { conditions: Some(Box::default()), ..new.clone() };
    let refused = bench.registry.create_grant(nothing, bench.now()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("conditions")));
    let id =
        bench.registry.create_grant(NewGrant { conditions: Some(conditions(text)), ..new }, bench.now()).await.unwrap();
    let stored = async || {
        let all = bench.registry.grants(tenant.account.id).await.unwrap();
        all.into_iter().find(|grant| grant.id == id).unwrap()
    };
    let first = stored().await;
    assert_eq!(first.conditions.as_deref().unwrap().to_text(), text);
    let change = async |after: Grant| {
        let change = Amendment::Grant(after);
        let ends = bench.registry.preview(&change, bench.now()).await.unwrap();
        let done = bench.registry.change(&change, true, by(&tenant, bench.now())).await.unwrap();
        assert_eq!(ends, done);
        done
    };
    let open = async |from: Option<&str>| {
        let caller = bench.caller(&tenant.token).await.unwrap();
        let snapshot = bench.directory.account(tenant.account.id, bench.now()).await.unwrap();
        let facts = Facts { from: from.map(|text| text.parse().unwrap()), ..Facts::default() };
        let permit = policy::decide(&snapshot, &caller, &ask(id), &facts, bench.now()).map_err(|error| error.kind())?;
        bench.ledger.open(&permit, None, bench.now()).await.map_err(|error| error.kind())
    };
    assert_eq!(open(Some("10.0.0.1")).await.unwrap_err(), Kind::Forbidden);
    // Fewer conditions end nothing, and others end what is open.
    assert_eq!(change(Grant { conditions: None, ..first.clone() }).await, 0);
    assert_eq!(stored().await.conditions, None);
    let anywhere = open(None).await.unwrap();
    assert_eq!(anywhere.grants.as_ref(), [id]);
    bench.clock.advance_secs(1);
    let inside = Grant { conditions: Some(conditions("network 10.0.0.0/8")), ..first.clone() };
    assert_eq!(change(inside.clone()).await, 1);
    assert!(bench.is_revoked(&anywhere));
    assert_eq!(open(None).await.unwrap_err(), Kind::Forbidden);
    bench.clock.advance_secs(1);
    let office = open(Some("10.0.0.1")).await.unwrap();
    bench.clock.advance_secs(1);
    assert_eq!(change(inside).await, 0, "they are the same");
    assert!(!bench.is_revoked(&office));
    assert_eq!(change(Grant { conditions: Some(conditions("network 11.0.0.0/8")), ..first }).await, 1);
    assert!(bench.is_revoked(&office));
}
