//! Credits: charged with the lease, given back with the void, never overdrawn.

use futures::future::join_all;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::nouns::usage::{Balance, Period};

use crate::contract::bench::Bench;

/// However many ask at once.
pub async fn credits_are_never_overdrawn(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::of(3)).await;
    bench.registry.add_credits(tenant.account.id, 100, bench.now()).await.unwrap();
    let opened = join_all((0..80).map(|_| bench.open(&tenant))).await;
    let (good, bad): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (33, 47));
    assert!(bad.into_iter().all(|refused| refused.unwrap_err().kind() == Kind::OutOfCredit));
    let balance = bench.usage.balance(tenant.account.id).await.unwrap();
    assert_eq!(balance, Balance { granted: 100, used: 99 });
    // Two more make it five left, enough for one.
    let balance = bench.registry.add_credits(tenant.account.id, 2, bench.now()).await.unwrap();
    assert_eq!(balance, Balance { granted: 102, used: 99 });
    bench.open(&tenant).await.unwrap();
    assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::OutOfCredit);
}

/// In words its caller may read.
pub async fn an_account_without_credits_is_told_what_it_lacks(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::of(3)).await;
    bench.registry.add_credits(tenant.account.id, 1, bench.now()).await.unwrap();
    let refused = bench.open(&tenant).await.unwrap_err();
    assert_eq!((refused.kind(), refused.message()), (Kind::OutOfCredit, "required: 3 API credits, 1 available"));
    assert_eq!(bench.registry.verify_ledger().await.unwrap().leases, 0);
}

/// Nor uses any.
pub async fn what_is_free_needs_no_credits(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    bench.open(&tenant).await.unwrap();
    assert_eq!(bench.usage.balance(tenant.account.id).await.unwrap(), Balance::default());
}

/// Twice is not twice as much.
pub async fn a_void_lease_gives_its_credits_back_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::of(5)).await;
    bench.registry.add_credits(tenant.account.id, 12, bench.now()).await.unwrap();
    let first = bench.open(&tenant).await.unwrap();
    bench.open(&tenant).await.unwrap();
    assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::OutOfCredit);
    let voids = join_all((0..5).map(|_| bench.ledger.void(&first, Kind::UpstreamTimeout, bench.now()))).await;
    assert!(voids.iter().all(Result::is_ok));
    assert_eq!(bench.usage.balance(tenant.account.id).await.unwrap(), Balance { granted: 12, used: 5 });
    bench.open(&tenant).await.unwrap();
    assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::OutOfCredit);
}

/// In the days of the zone asked for.
pub async fn credits_are_summed_by_day_without_void_leases(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::of(2)).await;
    let other = bench.tenant("other", Metering::of(2)).await;
    for one in [&tenant, &other] {
        bench.registry.add_credits(one.account.id, 1_000, bench.now()).await.unwrap();
    }
    let from = bench.now();
    // 2026-01-01T00:00Z: one lease each twelve hours, for two days, the third of them void.
    for at in 0..4 {
        let lease = bench.open(&tenant).await.unwrap();
        bench.open(&other).await.unwrap();
        if at == 2 {
            bench.ledger.void(&lease, Kind::Upstream, bench.now()).await.unwrap();
        }
        bench.clock.advance_secs(12 * 3600);
    }
    let to = from.checked_add(SignedDuration::from_hours(48)).unwrap();
    let period = |zone: &str| Period { from, to, zone: TimeZone::get(zone).unwrap() };
    let days = bench.usage.credits_by_day(tenant.account.id, &period("UTC")).await.unwrap();
    assert_eq!(days.iter().map(|day| day.count).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(days.first().unwrap().start, from);
    // In Kathmandu it is 05:45 then: the leases lie on 1, 1, (2) and 2 January, and 3 January begins before the end.
    let days = bench.usage.credits_by_day(tenant.account.id, &period("Asia/Kathmandu")).await.unwrap();
    assert_eq!(days.iter().map(|day| day.count).collect::<Vec<_>>(), [4, 2, 0]);
    assert!(days.iter().all(|day| day.start >= from && day.start < to));
}

/// And so no balance.
pub async fn an_unknown_account_has_no_credits(bench: &Bench) {
    let refused = bench.usage.balance(AccountId::from_bytes([9; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Account));
}
