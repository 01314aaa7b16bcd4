//! Ending credentials early: all that are meant, none that are not, and at once.

use futures::future::join_all;
use jiff::SignedDuration;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::audit::Author;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{LeaseState, Revocation};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, ask, by, new_grant, new_storage, reads};

/// What the key's own holder asked for lives on, and what was opened later with another token.
pub async fn what_was_asked_for_on_behalf_of_another_ends_with_who_asked(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    for way in [
        "credentials",
        "token",
        "removed",
        "shortened",
        "caller",
        "suspended",
        "caller-removed",
        "account",
        "account-removed",
    ] {
        let asker = bench.tenant(way, Metering::Free).await;
        let author = Author { token: Some(asker.record.id), caller: Some(asker.caller), ..Author::SERVER };
        let open = || author.during(Box::pin(bench.ledger.open(&permit, None, bench.now())));
        let (own, lease) = (bench.open(&tenant).await.unwrap(), open().await.unwrap());
        let record = bench.registry.lease(lease.id).await.unwrap().unwrap();
        assert_eq!((record.lease.token, record.asked_with), (tenant.record.id, Some(asker.record.id)));
        assert_eq!(bench.registry.lease(own.id).await.unwrap().unwrap().asked_with, None);
        let filter = LeaseFilter { asked_with: Some(asker.record.id), limit: 10, ..LeaseFilter::default() };
        let listed = bench.registry.leases(&filter).await.unwrap();
        assert_eq!(listed.iter().map(|record| record.lease.id).collect::<Vec<_>>(), [lease.id]);
        bench.clock.advance_secs(1);
        let (by, registry) = (by(&tenant, bench.now()), &bench.registry);
        let remove = async |thing| registry.remove(&thing, How::ALL, by).await.map(|plan| plan.leases);
        let ended = match way {
            "credentials" => registry.revoke(Revocation::Token(asker.record.id), by).await,
            "token" => registry.revoke_token(asker.record.id, by).await,
            "removed" => remove(Thing::Token(asker.record.id)).await,
            "shortened" => {
                let until = Some(bench.now() + SignedDuration::from_secs(1));
                let change = Amendment::Token { id: asker.record.id, until, maker: Maker::Server };
                registry.change(&change, true, by).await
            }
            "caller" => registry.revoke(Revocation::Caller(asker.caller), by).await,
            "suspended" => registry.suspend_caller(asker.caller, by).await,
            "caller-removed" => remove(Thing::Caller(asker.caller)).await,
            "account" => registry.revoke(Revocation::Account(asker.account.id), by).await,
            _ => remove(Thing::Account(asker.account.id)).await,
        };
        assert_eq!(ended.unwrap(), 1, "{way}");
        assert!(bench.is_revoked(&lease) && !bench.is_revoked(&own), "{way}");
        assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)), "{way}");
        assert_eq!(bench.state(own.id).await, LeaseState::Live, "{way}");
        // What was identified before and comes late opens nothing.
        if matches!(way, "token" | "suspended") {
            assert!(open().await.is_err(), "{way}");
        }
    }
    assert!(bench.registry.verify_ledger().await.unwrap().intact());
}

/// Its neighbours live on.
pub async fn a_revoked_lease_is_ended_alone(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let other = bench.open(&tenant).await.unwrap();
    bench.clock.advance_secs(1);
    let revoker = by(&tenant, bench.now());
    assert_eq!(bench.registry.revoke(Revocation::Lease(lease.id), revoker).await.unwrap(), 1);
    assert!(bench.is_revoked(&lease) && !bench.is_revoked(&other));
    assert_eq!(bench.state(lease.id).await, LeaseState::Revoked(revoker));
    assert_eq!(bench.state(other.id).await, LeaseState::Live);
}

/// What is opened later lives; what others opened too.
pub async fn a_token_a_caller_and_an_account_end_what_they_vended_before(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let stranger = bench.tenant("other", Metering::Free).await;
    let second = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(tenant.caller, &second, None, Maker::Server, bench.now()).await.unwrap();
    let theirs = bench.open(&stranger).await.unwrap();
    for (what, also_by_second) in [
        (Revocation::Token(tenant.record.id), false),
        (Revocation::Caller(tenant.caller), true),
        (Revocation::Account(tenant.account.id), true),
    ] {
        let by_first = bench.open(&tenant).await.unwrap();
        let permit = bench.decide(&second, &ask(tenant.grant)).await.unwrap();
        let by_second = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
        bench.clock.advance_secs(1);
        let revoker = by(&tenant, bench.now());
        let ended = bench.registry.revoke(what, revoker).await.unwrap();
        assert!(bench.is_revoked(&by_first), "{what:?}");
        assert_eq!(bench.is_revoked(&by_second), also_by_second, "{what:?}");
        assert_eq!(ended, if what == Revocation::Caller(tenant.caller) { 3 } else { 1 + u64::from(also_by_second) });
        assert_eq!(bench.state(by_first.id).await, LeaseState::Revoked(revoker));
        bench.clock.advance_secs(1);
        let later = bench.open(&tenant).await.unwrap();
        assert!(!bench.is_revoked(&later), "opened after it: {what:?}");
        bench.registry.revoke(Revocation::Lease(later.id), by(&tenant, bench.now())).await.unwrap();
        bench.clock.advance_secs(1);
    }
    assert!(!bench.is_revoked(&theirs));
    assert_eq!(bench.state(theirs.id).await, LeaseState::Live);
}

/// Whoever asked for them; those of other stores live on.
pub async fn a_store_ends_what_is_for_it(bench: &Bench) {
    let (one, two) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let before = [bench.open(&one).await.unwrap(), bench.open(&two).await.unwrap()];
    let spare = bench.registry.create_storage(new_storage("spare"), bench.now()).await.unwrap();
    bench.clock.advance_secs(1);
    let revoker = by(&one, bench.now());
    assert_eq!(bench.registry.revoke(Revocation::Storage(spare.id), revoker).await.unwrap(), 0);
    assert!(!before.iter().any(|lease| bench.is_revoked(lease)));
    let same = one.storage.id == two.storage.id;
    let ended = bench.registry.revoke(Revocation::Storage(one.storage.id), revoker).await.unwrap();
    assert_eq!(ended, 1 + u64::from(same));
    assert!(bench.is_revoked(&before[0]));
    assert_eq!(bench.state(before[0].id).await, LeaseState::Revoked(revoker));
    bench.clock.advance_secs(1);
    let later = bench.open(&one).await.unwrap();
    assert!(!bench.is_revoked(&later));
}

/// Also when several were vended, and after a look at the list.
pub async fn a_grant_ends_what_was_vended_under_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let grant = new_grant(tenant.account.id, &tenant.storage, "other", reads("lake", &["x"]));
    let grant = bench.registry.create_grant(grant, bench.now()).await.unwrap();
    let permit = bench.decide(&tenant.token, &ask(grant)).await.unwrap();
    let other = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    let mut leases: Vec<_> =
        join_all((0..20).map(|_| bench.open(&tenant))).await.into_iter().map(Result::unwrap).collect();
    bench.registry.leases(&valetkey_core::nouns::registry::LeaseFilter::default()).await.unwrap();
    leases.push(bench.open(&tenant).await.unwrap());
    bench.clock.advance_secs(1);
    let revoker = by(&tenant, bench.now());
    assert_eq!(bench.registry.revoke(Revocation::Grant(tenant.grant), revoker).await.unwrap(), 21);
    for lease in &leases {
        assert!(bench.is_revoked(lease));
        assert_eq!(bench.state(lease.id).await, LeaseState::Revoked(revoker));
    }
    assert!(!bench.is_revoked(&other));
    // The grant itself is still there: what is vended later lives.
    bench.clock.advance_secs(1);
    let later = bench.open(&tenant).await.unwrap();
    assert!(!bench.is_revoked(&later));
}

/// Also what was vended between the asking for it and its effect.
pub async fn what_was_vended_until_a_revocation_takes_effect_ends_with_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for what in
        [Revocation::Grant(tenant.grant), Revocation::Caller(tenant.caller), Revocation::Token(tenant.record.id)]
    {
        let asked = by(&tenant, bench.now());
        bench.clock.advance_secs(2);
        let lease = bench.open(&tenant).await.unwrap();
        assert_eq!(bench.registry.revoke(what, asked).await.unwrap(), 1, "{what:?}");
        assert!(bench.is_revoked(&lease), "{what:?}");
        bench.clock.advance_secs(1);
    }
}

/// What was decided before and opens only afterwards is refused.
pub async fn a_removed_grant_ends_its_credentials_when_told(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let (decided, at) = (bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap(), bench.now());
    bench.clock.advance_secs(1);
    bench.registry.remove_grant(tenant.account.id, tenant.grant, true, by(&tenant, bench.now())).await.unwrap();
    assert!(bench.is_revoked(&lease));
    assert_eq!(bench.ledger.open(&decided, None, at).await.unwrap_err().kind(), Kind::Forbidden);
}

/// Nor is what ended by itself, or was void, counted.
pub async fn what_is_revoked_twice_was_ended_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let void = bench.open(&tenant).await.unwrap();
    bench.ledger.void(&void, Kind::Upstream, bench.now()).await.unwrap();
    bench.clock.advance_secs(1);
    let first = by(&tenant, bench.now());
    assert_eq!(bench.registry.revoke(Revocation::Account(tenant.account.id), first).await.unwrap(), 1);
    bench.clock.advance_secs(1);
    for what in [
        Revocation::Account(tenant.account.id),
        Revocation::Caller(tenant.caller),
        Revocation::Token(tenant.record.id),
        Revocation::Lease(lease.id),
        Revocation::Lease(void.id),
        Revocation::Grant(tenant.grant),
    ] {
        assert_eq!(bench.registry.revoke(what, by(&tenant, bench.now())).await.unwrap(), 0, "{what:?}");
    }
    assert_eq!(bench.state(lease.id).await, LeaseState::Revoked(first));
    assert_eq!(bench.state(void.id).await, LeaseState::Void);
    bench.clock.advance_secs(1);
    let short = bench.open(&tenant).await.unwrap();
    bench.clock.advance_secs(3600);
    assert_eq!(bench.registry.revoke(Revocation::Lease(short.id), by(&tenant, bench.now())).await.unwrap(), 0);
    assert_eq!(bench.state(short.id).await, LeaseState::Live);
}

/// Each with its own noun.
pub async fn an_unknown_thing_cannot_be_revoked(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for (what, noun) in [
        (Revocation::Lease(LeaseId::from_bytes([9; 16])), Noun::Lease),
        (Revocation::Token(TokenId::from_bytes([9; 16])), Noun::Token),
        (Revocation::Caller(CallerId::from_bytes([9; 16])), Noun::Caller),
        (Revocation::Account(AccountId::from_bytes([9; 16])), Noun::Account),
        (Revocation::Storage(StorageId::from_bytes([9; 16])), Noun::Storage),
        (Revocation::Grant(GrantId::from_bytes([9; 16])), Noun::Grant),
    ] {
        let refused = bench.registry.revoke(what, by(&tenant, bench.now())).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::NotFound(noun));
    }
}
