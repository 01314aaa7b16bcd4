//! The made-up product: what it vends, what narrows it, and everything that somebody may try with it.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Action, Actions};

use crate::tests::world::{Shot, World, directory};

const KEYS: &str = "/parcels/v2/customers/daily/keys";

async fn ask(world: &World, path: &str, body: &Value) -> Shot {
    world.post("reader", path, &body.to_string()).await
}

/// The scope of the one lease there is.
async fn leased(world: &World) -> valetkey_core::lease::Lease {
    let leases = world.memory.leases(&LeaseFilter { limit: 9, ..Default::default() }).await.unwrap();
    leases.into_iter().next().unwrap().lease
}

#[tokio::test]
async fn a_customers_place_is_vended_and_may_be_narrowed() {
    let world = World::new().await;
    let shot = ask(&world, KEYS, &json!({})).await;
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    let answer = shot.json();
    assert_eq!((&answer["for"], &answer["at"]["prefix"]), (&json!("reader"), &json!("flights/daily")));
    assert_eq!(answer["at"]["note"], Value::Null);
    assert!(answer["s3"]["token"].as_str().unwrap().starts_with("vks2."), "{answer}");
    let lease = leased(&world).await;
    assert_eq!((lease.rights.actions(), &*lease.dialect), (Actions::READ, "parcels"));
}

#[tokio::test]
async fn fields_narrow_and_are_typed() {
    let world = World::new().await;
    let body = json!({"seconds": 120, "folder": "2013/01", "mode": "read", "note": "a\"}}{{ 7 * 7 }}"});
    let answer = ask(&world, KEYS, &body).await.json();
    assert_eq!(answer["at"]["prefix"], "flights/daily/2013/01");
    assert_eq!(answer["at"]["note"], body["note"], "a value is never a template");
    let lease = leased(&world).await;
    assert_eq!(lease.until.duration_since(lease.opened).as_secs(), 120);
    assert_eq!(lease.rights.parts().places(), directory("flights/daily/2013/01"));
    for (body, at) in [
        (json!({"seconds": 59}), "seconds"),
        (json!({"seconds": 7201}), "seconds"),
        (json!({"seconds": "120"}), "seconds"),
        (json!({"seconds": 1.5}), "seconds"),
        (json!({"folder": "../jobs"}), "folder"),
        (json!({"folder": "a/../b"}), "folder"),
        (json!({"folder": "/a"}), "folder"),
        (json!({"folder": "a/"}), "folder"),
        (json!({"folder": ""}), "folder"),
        (json!({"folder": "*"}), "folder"),
        (json!({"folder": ["a"]}), "folder"),
        (json!({"mode": "delete"}), "mode"),
        (json!({"note": "x".repeat(1025)}), "note"),
        (json!({"note": {"a": 1}}), "note"),
        (json!({"bucket": "vault"}), "bucket"),
        (json!({"Seconds": 120}), "Seconds"),
    ] {
        let shot = ask(&world, KEYS, &body).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["error"]["at"]), (422, &json!(at)), "{body}: {}", shot.body);
    }
    let twice = world.post("reader", KEYS, r#"{"folder":"a","folder":"b"}"#).await;
    assert_eq!(twice.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", twice.body);
    let write = ask(&world, KEYS, &json!({"mode": "write"})).await;
    assert_eq!(write.status, StatusCode::FORBIDDEN, "{}", write.body);
}

/// A placeholder never leaves its place, and a sibling of what is granted is not opened.
#[tokio::test]
async fn a_placeholder_does_not_climb() {
    let world = World::new().await;
    for (customer, status) in [
        ("daily", 200),
        ("daily-secret", 403),
        ("dail", 403),
        ("..", 422),
        (".", 422),
        ("%2e%2e", 422),
        ("%2F", 422),
        ("daily%2F..%2Fjobs", 422),
        ("*", 422),
        ("dail%3F", 422),
        ("%00", 422),
        ("%0a", 422),
        ("%ff", 400),
        ("%zz", 400),
        ("%252e%252e", 403),
    ] {
        let shot = ask(&world, &format!("/parcels/v2/customers/{customer}/keys"), &json!({})).await;
        assert_eq!(shot.status.as_u16(), status, "{customer}: {}", shot.body);
        assert!(status == 200 || !shot.body.contains("vks2."), "{}", shot.body);
    }
    assert_eq!(ask(&world, "/parcels/v2/customers//keys", &json!({})).await.status, StatusCode::NOT_FOUND);
    let other = world.post("other", KEYS, "{}").await;
    assert_eq!(other.status, StatusCode::FORBIDDEN, "another account's: {}", other.body);
}

#[tokio::test]
async fn a_callers_own_place_is_its_own() {
    let world = World::new().await;
    let mine = async |who: &str| world.get(who, "/parcels/v2/mine").await;
    assert_eq!(mine("writer").await.json()["prefix"], "work/writer");
    let shot = mine("reader").await;
    assert_eq!(shot.status, StatusCode::FORBIDDEN, "{}", shot.body);
    assert!(!shot.body.contains("writer"), "nobody else's name is told: {}", shot.body);
    let lease = leased(&world).await;
    assert!(
        lease.rights.actions().contains(Action::PutObject) && !lease.rights.actions().contains(Action::DeleteObject)
    );
    // A name is one segment; whoever is called otherwise has no place.
    let account = world.account_id("acme").await;
    let everything = Actions::READ_WRITE;
    let id = world.caller("acme", "w", valetkey_core::caller::Role::Member).await;
    world.grant(account, "all", Some(id), "lake", directory("work"), everything, None).await;
    assert_eq!(mine("w").await.json()["prefix"], "work/w");
}

#[tokio::test]
async fn a_token_stands_in_its_place_once() {
    let world = World::new().await;
    let token = world.token("reader").await;
    let send = async |headers: &[(&str, &str)], path: &str| {
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        world.send(request.body(Body::from("{}")).unwrap()).await
    };
    let bearer = format!("Bearer {token}");
    assert_eq!(send(&[("x-parcels-key", &token)], KEYS).await.status, StatusCode::OK);
    assert_eq!(send(&[("authorization", &bearer), ("x-parcels-key", &token)], KEYS).await.status, StatusCode::OK);
    let twice = send(&[("x-parcels-key", &token), ("x-parcels-key", &token)], KEYS).await;
    assert_eq!((twice.status.as_u16(), &twice.json()["error"]["code"]), (400, &json!("malformed")));
    let two = send(&[("authorization", &bearer), ("x-parcels-key", "vkt_x")], KEYS).await;
    assert_eq!(two.status, StatusCode::BAD_REQUEST);
    for path in [format!("{KEYS}?token={token}"), format!("{KEYS}?X-Parcels-Key={token}")] {
        let shot = send(&[], &path).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["error"]["code"]), (401, &json!("bad_key")), "{}", shot.body);
        assert!(!shot.body.contains(&token));
    }
    let basic = send(&[("authorization", "Basic dTpw")], KEYS).await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn its_routes_are_described_with_all_others() {
    let spec = crate::custom::Spec::read(super::PARCELS).unwrap();
    let described = crate::custom::described(&[spec]);
    let keys = &described["paths"]["/parcels/v2/customers/{customer}/keys"]["post"];
    assert_eq!(keys["parameters"][0]["name"], "customer");
    let body = &keys["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["seconds"], json!({"type": "integer", "minimum": 60, "maximum": 7200}));
    assert_eq!(body["additionalProperties"], false);
    let whole = crate::native::Settings { described, ..Default::default() };
    let world = World::new().await;
    let native = crate::native::dialect(
        &world.shared,
        whole,
        world.made.clone(),
        world.made.clone(),
        (None, world.made.2.clone()),
        world.made.clone(),
    );
    let app = crate::edge::router(world.shared.clone(), crate::edge::EdgeLimits::default(), vec![native]).unwrap();
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    let shown = super::json(&World::shot(response).await.body);
    assert_eq!(shown["components"]["securitySchemes"]["header-x-parcels-key"]["name"], "X-Parcels-Key");
    assert!(shown["paths"]["/api/v1/credentials"].is_object() && shown["paths"]["/parcels/v2/mine"]["get"].is_object());
}

/// An answer without an end is only given with the lifetime that was asked for; one with it says what it is cut to.
#[tokio::test]
async fn a_lifetime_that_cannot_be_given_is_told_or_refused() {
    let world = World::new().await;
    world.change_storage(None, 600).await;
    let vend = async |file: &str, base: &str| {
        let mut dialects = World::dialects(&world.shared, &world.made);
        crate::custom::add(&world.shared, &mut dialects, vec![crate::custom::Spec::read(file).unwrap()]).unwrap();
        let app = crate::edge::router(world.shared.clone(), crate::edge::EdgeLimits::default(), dialects).unwrap();
        let request = Request::post(format!("{base}/daily/keys"))
            .header("authorization", format!("Bearer {}", world.token("reader").await));
        let sent = app.clone();
        World::shot(
            tower::ServiceExt::oneshot(sent, request.body(Body::from(r#"{"seconds":3600}"#)).unwrap()).await.unwrap(),
        )
        .await
    };
    let told = |answer: &str| {
        super::files::SMALL
            .replace("teams/", "flights/")
            .replace("{{ session_token }}", answer)
            .replace("answer =", "fields.seconds.means = \"ttl\"\nanswer =")
    };
    let with_end = vend(&told("{{ ttl_secs }}"), "/small").await;
    assert_eq!((with_end.status.as_u16(), &with_end.json()["token"]), (200, &json!(600)), "{}", with_end.body);
    let without = vend(&told("{{ session_token }}"), "/small").await;
    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", without.body);
    assert_eq!(without.json()["field"], "seconds", "{}", without.body);
}

/// A route that reads opens a workspace to read, whatever else is granted.
#[tokio::test]
async fn a_workspace_is_opened_as_far_as_the_route_says() {
    let world = World::new().await;
    world.workspace("acme", "main", None, valetkey_core::nouns::workspace::Access::ReadWrite, true).await;
    for (access, writes) in [("read", false), ("read-write", true)] {
        let file = super::files::SMALL
            .replace(
                "bucket = \"lake\"\nprefix = \"teams/{team}\"",
                &format!("workspace = \"{{team}}\"\naccess = \"{access}\""),
            )
            .replace("{{ session_token }}", "{{ actions }}");
        let mut dialects = World::dialects(&world.shared, &world.made);
        crate::custom::add(&world.shared, &mut dialects, vec![crate::custom::Spec::read(&file).unwrap()]).unwrap();
        let app = crate::edge::router(world.shared.clone(), crate::edge::EdgeLimits::default(), dialects).unwrap();
        let token = world.token("reader").await;
        let ask = async |team: &str| {
            let request =
                Request::post(format!("/small/{team}/keys")).header("authorization", format!("Bearer {token}"));
            let sent = tower::ServiceExt::oneshot(app.clone(), request.body(Body::empty()).unwrap()).await.unwrap();
            World::shot(sent).await
        };
        let shot = ask("main").await;
        let actions = shot.json()["token"].as_array().unwrap_or_else(|| panic!("{}", shot.body)).clone();
        assert_eq!(
            actions.contains(&json!("PutObject")) || actions.contains(&json!("put-object")),
            writes,
            "{actions:?}"
        );
        assert_eq!(ask("none").await.status, StatusCode::NOT_FOUND);
    }
}
