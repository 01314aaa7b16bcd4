//! Requests: counted, and summed by the days of any zone.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::id::TokenId;
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::usage::{Origin, Period, RequestFilter};

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
