//! TheirStack's published operations, whole responses.

use http::{Method, StatusCode};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Action, Actions, Path, Paths};

use super::world::{World, directory};
use crate::edge::{EdgeLimits, RateLimits, Window};

const VEND: &str = "/v1/datasets/credentials";

#[tokio::test]
async fn a_vend_answers_exactly_the_published_fields() {
    let world = World::new().await;
    insta::assert_snapshot!("theirstack_vend", world.post("reader", VEND, "").await.whole());
}

#[tokio::test]
async fn what_was_vended_is_on_record_and_read_only() {
    let world = World::new().await;
    assert_eq!(world.post("writer", VEND, "").await.status, StatusCode::OK);
    let leases = world
        .memory
        .leases(&valetkey_core::nouns::registry::LeaseFilter { limit: 9, ..Default::default() })
        .await
        .unwrap();
    let [record] = leases.as_slice() else { panic!("{leases:?}") };
    assert_eq!(record.lease.dialect, "theirstack");
    assert!(Actions::READ.contains_all(record.lease.rights.actions()));
    assert!(!record.lease.rights.covers("lake", b"work/writer/x", Action::GetObject));
}

#[tokio::test]
async fn every_kind_of_path_has_its_form_in_prefixes() {
    let world = World::new().await;
    let acme = world.account_id("acme").await;
    let id = world.dataset("one-file", "files", "vault", "one").await;
    let paths = Paths::only([
        Path::directory(b"a/b").unwrap(),
        Path::object(b"c/d.parquet").unwrap(),
        Path::prefix(b"e/f-").unwrap(),
    ]);
    world.grant(acme, "several", None, "vault", paths.unwrap(), Actions::READ, Some(id)).await;
    let answer = world.post("reader", &format!("{VEND}?bucket=vault"), "").await.json();
    assert_eq!(answer["storage"]["prefixes"], serde_json::json!(["c/d.parquet", "a/b", "e/f-"]));
    world.grant(acme, "all", None, "vault", Paths::Whole, Actions::READ, Some(id)).await;
    let answer = world.post("reader", &format!("{VEND}?bucket=vault"), "").await.json();
    assert_eq!(answer["storage"]["prefixes"], serde_json::json!([""]));
}

#[tokio::test]
async fn datasets_in_several_buckets_are_asked_for_by_bucket() {
    let world = World::new().await;
    let id = world.dataset("more", "more", "vault", "more").await;
    world
        .grant(world.account_id("acme").await, "more", None, "vault", directory("more"), Actions::READ, Some(id))
        .await;
    insta::assert_snapshot!("theirstack_several_buckets", world.post("reader", VEND, "").await.whole());
    let answer = world.post("reader", &format!("{VEND}?bucket=lake"), "").await.json();
    assert_eq!(answer["storage"]["bucket_name"], "lake");
    assert_eq!(world.post("reader", &format!("{VEND}?bucket=none-such"), "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_body_is_needed_and_none_with_content_is_taken() {
    let world = World::new().await;
    for (body, status) in [
        ("", 200),
        ("{}", 200),
        (" { } ", 200),
        ("null", 200),
        ("{", 400),
        ("hello", 400),
        ("\u{0}", 400),
        ("[]", 422),
        ("1", 422),
        ("{\"ttl\":1}", 422),
    ] {
        assert_eq!(world.post("reader", VEND, body).await.status.as_u16(), status, "{body:?}");
    }
    for (query, status) in [("", 200), ("bucket=lake", 200), ("bucket=lake&bucket=lake", 422), ("prefix=x", 422)] {
        let path = format!("{VEND}?{query}");
        assert_eq!(world.post("reader", &path, "").await.status.as_u16(), status, "{query}");
    }
    for (query, status) in [("utm_source=x", 200), ("ttl_seconds=60", 422), ("Prefixes=x", 422), ("_", 200)] {
        let path = format!("{VEND}?{query}");
        assert_eq!(world.post("reader", &path, "").await.status.as_u16(), status, "{query}");
    }
    for (query, status) in [("bucket=", 422), ("bucket=%ff", 400), ("bucket=%2", 400), ("Bucket=lake", 422)] {
        let path = format!("{VEND}?{query}");
        assert_eq!(world.post("reader", &path, "").await.status.as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn a_team_without_datasets_is_told_that_its_plan_has_none() {
    let world = World::new().await;
    insta::assert_snapshot!("theirstack_not_in_plan", world.post("nobody", VEND, "").await.whole());
    let kinds: Vec<_> = world.memory.refusals().iter().map(|refusal| refusal.kind.slug()).collect();
    assert_eq!(kinds, ["not_in_plan"]);
}

#[tokio::test]
async fn a_metered_account_pays_for_each_vend_until_nothing_is_left() {
    let world = World::new().await;
    let poor = world.account_id("poor").await;
    let id = world.dataset("cheap", "cheap", "lake", "cheap").await;
    world.grant(poor, "cheap", None, "lake", directory("cheap"), Actions::READ, Some(id)).await;
    assert_eq!(world.post("nobody", VEND, "").await.status, StatusCode::PAYMENT_REQUIRED);
    world.memory.add_credits(poor, 5, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(world.post("nobody", VEND, "").await.status, StatusCode::OK);
    world.clock.advance_secs(86_400);
    assert_eq!(world.post("nobody", VEND, "").await.status, StatusCode::OK);
    insta::assert_snapshot!("theirstack_out_of_credit", world.post("nobody", VEND, "").await.whole());
    insta::assert_snapshot!("theirstack_balance", world.get("nobody", "/v0/billing/credit-balance").await.whole());
    let path = "/v0/teams/credits_consumption?start_datetime=2025-12-31T12:00:00Z&end_datetime=2026-01-03T00:00:00Z";
    insta::assert_snapshot!("theirstack_consumption", world.get("nobody", path).await.whole());
}

#[tokio::test]
async fn the_list_shows_everything_and_withholds_what_the_team_may_not_open() {
    let world = World::new().await;
    for dir in ["flights/daily", "flights/daily-secret", "jobs/daily"] {
        world.object("lake", format!("{dir}/2026-01-01.parquet").as_bytes(), 4096, 5);
    }
    insta::assert_snapshot!("theirstack_datasets", world.get("reader", "/v1/datasets").await.whole());
    let nothing = world.get("nobody", "/v1/datasets").await.json();
    let groups = nothing.as_array().unwrap();
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().all(|group| group["is_accessible"] == false));
    assert!(!nothing.to_string().contains("flights/daily"));
}

#[tokio::test]
async fn requests_are_counted_by_day_of_the_zone_by_token_and_by_origin() {
    let world = World::new().await;
    let (id, token) = world.token_of("reader", None).await;
    // 2026-01-01T00:00:00Z is still the day before in New York.
    for _ in 0..3 {
        world.call(&Method::GET, "/v1/datasets", &token, "").await;
    }
    world.clock.advance_secs(86_400);
    world.get("writer", "/v1/datasets").await;
    world.get("other", "/v1/datasets").await;
    let counts = async |query: &str| {
        let answer = world.call(&Method::GET, &format!("/v0/requests/count?{query}"), &token, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let rows = answer.json();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (row["period_start"].as_str().unwrap().to_owned(), row["number_of_requests"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let period = "start_datetime=2025-12-31T00:00:00&end_datetime=2026-01-02T00:00:00";
    assert_eq!(
        counts(&format!("{period}&timezone=America/New_York")).await,
        [("2025-12-31T05:00:00Z".to_owned(), 3), ("2026-01-01T05:00:00Z".to_owned(), 2)],
        "the writer's, and this question itself"
    );
    assert_eq!(counts(period).await, [("2025-12-31T00:00:00Z".to_owned(), 0), ("2026-01-01T00:00:00Z".to_owned(), 3)]);
    assert_eq!(counts(&format!("{period}&is_origin_app=true")).await[1].1, 0);
    assert_eq!(counts(&format!("{period}&api_key_id={}", id.as_uuid())).await[1].1, 3);
    let (foreign, _) = world.token_of("other", None).await;
    assert_eq!(counts(&format!("{period}&api_key_id={}", foreign.as_uuid())).await[1].1, 0);
    assert_eq!(counts("start_datetime=2026-01-01T00:00:00&end_datetime=2026-01-01T00:00:00").await, []);
    // Thirty days before the end, if nothing is said.
    assert_eq!(counts("end_datetime=2026-01-01T00:00:00Z").await.len(), 30);
    // The page's own example, alone: all the years since, and what is not known is passed over.
    let years = counts("start_datetime=2023-01-01T00:00:00&page=2").await;
    assert_eq!((years.len(), years[0].1, years[1096].1), (1098, 0, 3), "{:?}", years.last());
    // A `+` that was not encoded is understood, and the day that the period cuts starts where the period does.
    assert_eq!(counts("start_datetime=2025-12-30T01:30:00+02:00&end_datetime=2025-12-30T01:00:00Z").await.len(), 2);
}

#[tokio::test]
async fn a_period_that_cannot_be_is_refused_with_its_field() {
    let world = World::new().await;
    let token = world.token("reader").await;
    for (query, words) in [
        (
            "start_datetime=yesterday",
            "start_datetime: `yesterday` is not a date and time (`2026-01-31T00:00:00` or with `Z` or `+02:00`)",
        ),
        (
            "end_datetime=2026-02-30T00:00:00",
            "end_datetime: `2026-02-30T00:00:00` is not a date and time (`2026-01-31T00:00:00` or with `Z` or `+02:00`)",
        ),
        (
            "start_datetime=2026-02-01T00:00:00Z&end_datetime=2026-01-01T00:00:00Z",
            "start_datetime: the start 2026-02-01T00:00:00Z is after the end 2026-01-01T00:00:00Z",
        ),
        (
            "start_datetime=2015-12-31T00:00:00Z&end_datetime=2026-01-01T00:00:00Z",
            "start_datetime: the period is too long; the most is 3653 days",
        ),
        ("end_datetime=-009999-01-02T12:00:00Z", "end_datetime: there is no time so long ago"),
        ("timezone=Mars/Olympus", "timezone: `Mars/Olympus` is not an IANA time zone (`Europe/Paris`)"),
        ("timezone=../../etc/passwd", "timezone: `../../etc/passwd` is not an IANA time zone (`Europe/Paris`)"),
        ("timezone=", "timezone: `` is not an IANA time zone (`Europe/Paris`)"),
        ("is_origin_app=maybe", "is_origin_app: `maybe` is not `true` or `false`"),
        ("api_key_id=1", "api_key_id: `1` is not a UUID"),
        ("timezone=UTC&timezone=UTC", "timezone: the parameter `timezone` is given twice"),
    ] {
        let answer = world.call(&Method::GET, &format!("/v0/requests/count?{query}"), &token, "").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {}", answer.body);
        assert_eq!(answer.json()["error"]["description"], words, "{query}");
    }
}

#[tokio::test]
async fn every_answer_tells_what_is_left_of_the_allowance() {
    let windows = vec![Window::new("per-second", 2, 1).unwrap(), Window::new("per-minute", 10, 60).unwrap()];
    let rates =
        RateLimits { common: windows.clone(), credentials: windows.clone(), strangers: windows, ..RateLimits::off() };
    let world = World::with(EdgeLimits { rates, ..EdgeLimits::default() }).await;
    let token = world.token("reader").await;
    insta::assert_snapshot!("theirstack_first_of_two", world.call(&Method::POST, VEND, &token, "").await.whole());
    world.call(&Method::POST, VEND, &token, "").await;
    let refused = world.call(&Method::POST, VEND, &token, "").await;
    insta::assert_snapshot!("theirstack_rate_limited", refused.whole());
    // Another class, another caller, a stranger: each has its own.
    assert_eq!(world.call(&Method::GET, "/v1/datasets", &token, "").await.status, StatusCode::OK);
    assert_eq!(world.post("writer", VEND, "").await.status, StatusCode::OK);
    insta::assert_snapshot!("theirstack_stranger", world.call(&Method::GET, "/v1/datasets", "x", "").await.whole());
    for (path, status) in [("/v1/datasets/none", 404), ("/v1/datasets/credentials", 429)] {
        let answer = world.call(&Method::GET, path, "", "").await;
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.headers.contains_key("ratelimit"), "{path}");
    }
    let wait: i64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    world.clock.advance_secs(wait);
    assert_eq!(world.call(&Method::POST, VEND, &token, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_suspended_account_gets_nothing() {
    let world = World::new().await;
    let acme = world.account_id("acme").await;
    let standing = valetkey_core::account::Standing::Suspended;
    world.memory.change_account(acme, standing, valetkey_core::account::Metering::Free).await.unwrap();
    for (method, path) in [(Method::POST, VEND), (Method::GET, "/v1/datasets"), (Method::GET, "/v0/requests/count")] {
        let answer = world.call(&method, path, &world.token("reader").await, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.json()["error"]["description"], "the account is suspended");
    }
}
