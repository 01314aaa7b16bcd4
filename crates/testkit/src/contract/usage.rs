//! Requests: counted, and summed by the days of any zone.

use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::id::{CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{Provenance, Refusal};
use valetkey_core::nouns::usage::{Origin, Period, RequestFilter, Traffic, TrafficFilter, Used};

use crate::contract::bench::{Bench, Tenant};

fn all(tenant: &Tenant) -> RequestFilter {
    RequestFilter { account: tenant.account.id, token: None, origin: None }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

async fn days(bench: &Bench, filter: &RequestFilter, zone: &str, from: &str, to: &str) -> Vec<(String, u64)> {
    let period = Period { from: at(from), to: at(to), zone: TimeZone::get(zone).unwrap() };
    let days = bench.usage.requests_by_day(filter, &period).await.unwrap();
    days.into_iter().map(|day| (day.start.to_string(), day.count)).collect()
}

fn origin(tenant: &Tenant, caller: CallerId, lease: Option<LeaseId>) -> Provenance {
    let (account, token) = (tenant.account.id, tenant.record.id);
    let storage = StorageId::from_bytes([1; 16]);
    Provenance { lease, account, caller, token, storage, opened: at("2026-01-01T00:00:00Z") }
}

/// How each credential was used, and that one was not; what is told out of order counts where it belongs.
pub async fn the_use_of_a_credential_is_kept(bench: &Bench) {
    let acme = bench.tenant("acme", Metering::Free).await;
    let [lease, other, unused] = [1, 2, 3].map(|number| LeaseId::from_bytes([number; 16]));
    let here: IpAddr = "192.0.2.7".parse().unwrap();
    let there: IpAddr = "2001:db8::1".parse().unwrap();
    let tell =
        |lease, from, traffic, when| bench.usage.moved(&origin(&acme, acme.caller, lease), from, traffic, at(when));
    let of = |requests, bytes_in, bytes_out| Traffic { requests, bytes_in, bytes_out };
    tell(Some(lease), Some(here), of(1, 10, 0), "2026-01-01T00:00:02.5Z");
    tell(Some(lease), Some(there), of(0, 0, 7), "2026-01-01T00:00:01Z");
    tell(Some(other), None, of(1, 0, 0), "2026-01-01T00:00:00Z");
    // Proven by a token alone.
    tell(None, Some(here), of(1, 1, 1), "2026-01-01T00:00:00Z");
    let used = async |lease| bench.usage.used(lease).await.unwrap();
    let first = at("2026-01-01T00:00:01Z");
    let so_far = Used { first, last: at("2026-01-01T00:00:02.5Z"), from: Some(here), traffic: of(1, 10, 7) };
    assert_eq!(used(lease).await, Some(so_far));
    let once = at("2026-01-01T00:00:00Z");
    assert_eq!(used(other).await, Some(Used { first: once, last: once, from: None, traffic: of(1, 0, 0) }));
    assert_eq!(used(unused).await, None);
    // What is told again is added to what was written; an address that is not known leaves the one that is.
    tell(Some(lease), None, of(2, 1, 1), "2026-01-02T00:00:00Z");
    let later = Used { last: at("2026-01-02T00:00:00Z"), traffic: of(3, 11, 8), ..so_far };
    assert_eq!(used(lease).await, Some(later));
    tell(Some(lease), Some(there), of(1, 0, 0), "2026-01-03T00:00:00Z");
    assert_eq!(used(lease).await.unwrap().from, Some(there));
    tell(Some(lease), Some(here), of(1, 0, 0), "2026-01-01T13:00:00Z");
    assert_eq!(used(lease).await.unwrap().from, Some(there), "an older address does not take a newer one's place");
}

/// Sums of what is told, by day in UTC and by caller, and nobody else's.
pub async fn what_goes_over_the_endpoint_is_summed_by_day_and_caller(bench: &Bench) {
    let (acme, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let second = CallerId::from_bytes([7; 16]);
    let of = |requests, bytes_in, bytes_out| Traffic { requests, bytes_in, bytes_out };
    for (tenant, caller, when, traffic) in [
        (&acme, acme.caller, "2026-01-01T00:00:00Z", of(1, 10, 0)),
        (&acme, acme.caller, "2026-01-01T23:59:59.999Z", of(1, 0, 5_000_000_000_000)),
        (&acme, second, "2026-01-01T12:00:00Z", of(2, 7, 3)),
        // A part of one that goes on is told alone.
        (&acme, second, "2026-01-03T00:00:00Z", of(0, 100, 0)),
        (&other, other.caller, "2026-01-01T12:00:00Z", of(9, 9, 9)),
    ] {
        bench.usage.moved(&origin(tenant, caller, None), None, traffic, at(when));
    }
    let filter =
        |caller, from: &str, to: &str| TrafficFilter { account: acme.account.id, caller, from: at(from), to: at(to) };
    let days = async |filter: TrafficFilter| {
        let days = bench.usage.traffic_by_day(&filter).await.unwrap();
        days.into_iter().map(|day| (day.start.to_string(), day.traffic)).collect::<Vec<_>>()
    };
    let all = filter(None, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let first = ("2026-01-01T00:00:00Z".to_owned(), of(4, 17, 5_000_000_000_003));
    let third = ("2026-01-03T00:00:00Z".to_owned(), of(0, 100, 0));
    assert_eq!(days(all).await, [first.clone(), third.clone()]);
    // A day is whole, wherever in it the question begins; the one that begins when it ends is not in it.
    assert_eq!(days(filter(None, "2026-01-01T13:00:00Z", "2026-01-03T00:00:00Z")).await, [first]);
    assert_eq!(days(filter(Some(second), "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z")).await, [third]);
    assert_eq!(days(filter(None, "2026-01-04T00:00:00Z", "2026-02-01T00:00:00Z")).await, []);
    let callers = async |most| bench.usage.traffic_by_caller(&all, most).await.unwrap();
    let most = (acme.caller, of(2, 10, 5_000_000_000_000));
    assert_eq!(callers(10).await, [most, (second, of(2, 107, 3))]);
    assert_eq!(callers(1).await, [most]);
    // What is told again is added to what was written.
    bench.usage.moved(&origin(&acme, second, None), None, of(1, 1, 1), at("2026-01-03T01:00:00Z"));
    assert_eq!(callers(10).await, [most, (second, of(3, 108, 4))]);
}

/// The second is not over yet.
pub async fn a_request_is_counted_as_soon_as_it_is_asked_for(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for count in 1..5 {
        bench.usage.request(tenant.account.id, tenant.record.id, Origin::Api, bench.now());
        let to = bench.now().checked_add(SignedDuration::from_millis(1)).unwrap();
        let period = Period { from: bench.now(), to, zone: TimeZone::UTC };
        let days = bench.usage.requests_by_day(&all(&tenant), &period).await.unwrap();
        assert_eq!(days.iter().map(|day| (day.start, day.count)).collect::<Vec<_>>(), [(bench.now(), count)]);
    }
}

/// Nobody sees another account's.
pub async fn requests_are_filtered_by_token_and_origin(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let second = TokenId::from_bytes([7; 16]);
    let (now, account) = (bench.now(), tenant.account.id);
    for (account, token, origin, times) in [
        (account, tenant.record.id, Origin::Api, 1),
        (account, tenant.record.id, Origin::App, 2),
        (account, second, Origin::Api, 4),
        (other.account.id, other.record.id, Origin::Api, 8),
    ] {
        for _ in 0..times {
            bench.usage.request(account, token, origin, now);
        }
    }
    let count = async |filter: RequestFilter| {
        days(bench, &filter, "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z").await.first().unwrap().1
    };
    let every = all(&tenant);
    assert_eq!(count(every).await, 7);
    assert_eq!(count(RequestFilter { token: Some(second), ..every }).await, 4);
    assert_eq!(count(RequestFilter { origin: Some(Origin::App), ..every }).await, 2);
    assert_eq!(count(RequestFilter { token: Some(second), origin: Some(Origin::App), ..every }).await, 0);
    assert_eq!(count(all(&other)).await, 8);
}

/// Quarter hours off, clocks changed, days cut at both ends.
pub async fn days_follow_the_zone_and_cover_the_period(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let request = |text: &str| bench.usage.request(tenant.account.id, tenant.record.id, Origin::Api, at(text));
    // Midnight in Kathmandu is 18:15 in Greenwich.
    request("2026-03-01T18:14:59.999Z");
    request("2026-03-01T18:15:00Z");
    request("2026-03-02T18:14:59Z");
    let found = days(bench, &all(&tenant), "Asia/Kathmandu", "2026-03-01T12:00:00Z", "2026-03-03T00:00:00Z").await;
    let expected = [("2026-03-01T12:00:00Z", 1), ("2026-03-01T18:15:00Z", 2), ("2026-03-02T18:15:00Z", 0)];
    assert_eq!(found, expected.map(|(start, count)| (start.to_owned(), count)));
    // In St. John's the clocks go forward on 8 March: that day ends 23 hours after it begins, at 02:30 in Greenwich.
    request("2026-03-08T03:29:59Z");
    request("2026-03-08T03:30:00Z");
    request("2026-03-09T02:29:59Z");
    request("2026-03-09T02:30:00Z");
    let found = days(bench, &all(&tenant), "America/St_Johns", "2026-03-07T03:30:00Z", "2026-03-10T02:30:00Z").await;
    let expected = [("2026-03-07T03:30:00Z", 1), ("2026-03-08T03:30:00Z", 2), ("2026-03-09T02:30:00Z", 1)];
    assert_eq!(found, expected.map(|(start, count)| (start.to_owned(), count)));
    // What the period excludes is not counted, and an empty period has no days.
    let found = days(bench, &all(&tenant), "UTC", "2026-03-08T03:30:00Z", "2026-03-09T02:29:59Z").await;
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert!(days(bench, &all(&tenant), "UTC", "2026-03-08T03:30:00Z", "2026-03-08T03:30:00Z").await.is_empty());
}

/// Rather than answered with a million rows.
pub async fn an_endless_period_is_refused(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let period = Period { from: Timestamp::MIN, to: Timestamp::MAX, zone: TimeZone::UTC };
    let refused = bench.usage.requests_by_day(&all(&tenant), &period).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    let refused = bench.usage.credits_by_day(tenant.account.id, &period).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}

/// Of one account, or of all with those of nobody who is known.
pub async fn refusals_are_summed_by_hour_and_reason(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let hour = |text: &str| at(&format!("2026-01-01T{text}:00Z"));
    let (own, stranger) = (Some(tenant.account.id), None);
    for (account, kind, when, times) in [
        (own, Kind::Forbidden, "10:59", 1),
        (own, Kind::Forbidden, "11:00", 2),
        (own, Kind::Forbidden, "11:59", 3),
        (own, Kind::Malformed, "11:30", 4),
        (stranger, Kind::Forbidden, "11:30", 5),
        (own, Kind::Forbidden, "12:00", 6),
    ] {
        for _ in 0..times {
            let refusal = Refusal { account, caller: None, from: None, dialect: "native", kind };
            bench.ledger.refused(refusal, hour(when));
        }
    }
    let told = async |account| {
        let rows = bench.usage.refusals_by_hour(account, hour("11:00")).await.unwrap();
        rows.into_iter().map(|row| (row.hour, row.kind.into_string(), row.count)).collect::<Vec<_>>()
    };
    let row = |when: &str, kind: Kind, count| (hour(when), kind.slug().to_owned(), count);
    let mut expected =
        vec![row("11:00", Kind::Forbidden, 5), row("11:00", Kind::Malformed, 4), row("12:00", Kind::Forbidden, 6)];
    assert_eq!(told(own).await, expected);
    expected.iter_mut().take(1).for_each(|(_, _, count)| *count += 5);
    assert_eq!(told(None).await, expected);
}

/// Of one account or of all, and without those that are void.
pub async fn vends_are_counted_by_hour(bench: &Bench) {
    let (tenant, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let hour = |at: Timestamp| Timestamp::from_second(at.as_second() - at.as_second().rem_euclid(3600)).unwrap();
    bench.open(&tenant).await.unwrap();
    bench.clock.advance_secs(3600);
    let first = hour(bench.now());
    bench.open(&tenant).await.unwrap();
    bench.open(&other).await.unwrap();
    bench.clock.advance_secs(2 * 3600);
    let later = hour(bench.now());
    bench.open(&tenant).await.unwrap();
    bench.open(&tenant).await.unwrap();
    let void = bench.open(&tenant).await.unwrap();
    bench.ledger.void(&void, Kind::Upstream, bench.now()).await.unwrap();
    let told = async |account| {
        let rows = bench.usage.vends_by_hour(account, first).await.unwrap();
        rows.into_iter().map(|row| (row.hour, row.count)).collect::<Vec<_>>()
    };
    assert_eq!(told(Some(tenant.account.id)).await, [(first, 1), (later, 2)]);
    assert_eq!(told(None).await, [(first, 2), (later, 2)]);
}
