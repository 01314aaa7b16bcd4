//! Conditions of grants: who asks from elsewhere, at another hour, or is known in another way gets nothing by them.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::time::Clock as _;

use super::identity::Trusting;
use super::world::{Shot, World};
use crate::edge::Peer;

const GRANTS: &str = "/api/v1/grants";

/// A grant of `lake/team` to everyone of the account, on conditions.
async fn granted(own: &Trusting, name: &str, conditions: &Value) -> Shot {
    let grant = json!({
        "account": "acme", "name": name, "to": null, "bucket": "lake", "prefix": "team", "conditions": conditions,
    });
    own.operator(Method::POST, GRANTS, &grant).await
}

async fn ask(world: &World, token: &str, path: &str, body: &Value, from: Option<&str>) -> Shot {
    let mut request = world.asking(&Method::POST, path, token, &body.to_string()).await;
    if let Some(from) = from {
        request.extensions_mut().insert(Peer { address: from.parse().unwrap(), is_client: true });
    }
    world.send(request).await
}

async fn vend(world: &World, token: &str, grant: &str, from: Option<&str>) -> Shot {
    ask(world, token, "/api/v1/credentials", &json!({ "grant": grant }), from).await
}

#[tokio::test]
async fn a_grant_for_a_network_opens_from_there_alone() {
    let own = Trusting::new().await;
    let world = own.world();
    let conditions = json!({ "networks": ["10.0.0.0/8", "2001:db8::/32"] });
    let made = granted(&own, "office", &conditions).await;
    assert_eq!(
        (made.status, &made.json()["conditions"]),
        (StatusCode::CREATED, &json!({"networks": ["10.0.0.0/8", "2001:db8::/32"]}))
    );
    let token = world.token("writer").await;
    for inside in ["10.255.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
        assert_eq!(vend(world, &token, "office", Some(inside)).await.status, StatusCode::OK, "{inside}");
    }
    for outside in [Some("11.0.0.1"), Some("2001:db9::1"), None] {
        let shot = vend(world, &token, "office", outside).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{outside:?}");
        assert!(shot.body.contains("a condition that does not hold: from 10.0.0.0/8"), "{}", shot.body);
        // By its place it opens no more than by its name.
        let place = json!({ "bucket": "lake", "prefix": "team" });
        let shot = ask(world, &token, "/api/v1/credentials", &place, outside).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{outside:?}");
    }
    // Another account's callers may not know of it, wherever they are.
    let stranger = world.token("chief").await;
    assert_eq!(vend(world, &stranger, "office", Some("10.0.0.1")).await.status, StatusCode::NOT_FOUND);
    let about = |from: Option<&str>| json!({ "bucket": "lake", "key": "team/x", "from": from });
    for (from, allowed, held) in [(Some("10.0.0.1"), true, "holds"), (Some("11.0.0.1"), false, "fails")] {
        let told = ask(world, &token, "/api/v1/explain", &about(from), None).await.json();
        assert_eq!(told["allowed"], allowed, "{told}");
        let one = told["considered"].as_array().unwrap().iter().find(|one| one["grant"]["name"] == "office").unwrap();
        assert_eq!(
            one["conditions"],
            json!([{ "condition": "from 10.0.0.0/8, 2001:db8::/32", "held": held }]),
            "{one}"
        );
        assert_eq!(one["verdict"], if allowed { "allows" } else { "condition_fails" });
    }
    let from_here = json!({ "bucket": "lake", "key": "team/x" });
    assert_eq!(ask(world, &token, "/api/v1/explain", &from_here, Some("10.0.0.1")).await.json()["allowed"], true);
    assert_eq!(ask(world, &token, "/api/v1/explain", &from_here, None).await.json()["allowed"], false);
    // Who can do it, and what they can, says on which conditions.
    for path in
        ["/api/v1/access?action=read&place=s3://lake/team/x", "/api/v1/access?caller=writer&place=s3://lake/team/x"]
    {
        let listed = world.get("boss", path).await.json();
        let row = listed["access"].as_array().unwrap().iter().find(|row| row["grant"] == "office").unwrap();
        assert_eq!(row["conditions"], json!(["from 10.0.0.0/8, 2001:db8::/32"]), "{row}");
    }
}

#[tokio::test]
async fn a_grant_for_claims_opens_to_who_is_known_by_them_alone() {
    let own = Trusting::new().await;
    let world = own.world();
    let conditions = json!({ "provider": "id", "claims": ["ref=refs/heads/main", "env=glob:prod*"] });
    let made = granted(&own, "deploy", &conditions).await;
    assert_eq!((made.status, &made.json()["conditions"]), (StatusCode::CREATED, &conditions), "{}", made.body);
    let main = own.token("people", 3600, json!({ "ref": "refs/heads/main", "env": "production" }));
    assert_eq!(vend(world, &main, "deploy", None).await.status, StatusCode::OK);
    for other in [
        own.token("people", 3000, json!({ "ref": "refs/heads/x", "env": "production" })),
        own.token("people", 2900, json!({ "ref": "refs/heads/main" })),
        world.token("writer").await,
    ] {
        let shot = vend(world, &other, "deploy", None).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{}", shot.body);
        assert!(shot.body.contains("claims ref=refs/heads/main, env=glob:prod*"), "{}", shot.body);
    }
    // Without the provider nobody's word is taken.
    let gone = own.operator(Method::DELETE, "/api/v1/identity-providers/id", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
    assert_eq!(vend(world, &main, "deploy", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_grant_for_hours_opens_at_them_and_its_credentials_end_with_them() {
    let own = Trusting::new().await;
    let world = own.world();
    let now = world.clock.now();
    let midnight = now.as_second().div_euclid(86_400) * 86_400;
    let time = |secs: i64| {
        let minutes = (now.as_second() - midnight + secs).rem_euclid(86_400) / 60;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    };
    // The next full minute is at least a quarter of an hour away, and the clock stands still.
    let made = granted(&own, "shift", &json!({ "hours": [format!("daily {}-{}", time(-60), time(1800))] })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let token = world.token("writer").await;
    let ends = vend(world, &token, "shift", None).await.json();
    let end: jiff::Timestamp = ends["expires"].as_str().or(ends["expiration"].as_str()).unwrap().parse().unwrap();
    assert!(end.as_second() <= now.as_second() + 1800 && end.as_second() % 60 == 0, "{ends}");
    world.clock.advance_secs(1800);
    let late = vend(world, &token, "shift", None).await;
    assert_eq!(late.status, StatusCode::FORBIDDEN, "{}", late.body);
    // What nobody can do at an hour is not listed for it.
    let at = |at: jiff::Timestamp| format!("/api/v1/access?place=s3://lake/team/x&at={at}");
    let listed = |shot: Shot| shot.json().to_string().contains("shift");
    assert!(listed(world.get("boss", &at(now)).await));
    assert!(!listed(world.get("boss", &at(world.clock.now())).await));
}

#[tokio::test]
async fn a_condition_that_is_not_understood_is_refused_at_writing() {
    let own = Trusting::new().await;
    for (bad, field) in [
        (json!({}), "conditions"),
        (json!({ "countries": ["DE"] }), "countries"),
        (json!({ "networks": [] }), "networks"),
        // A list that came out empty beside another condition.
        (json!({ "networks": [], "hours": ["daily 08:00-18:00"] }), "networks"),
        (json!({ "networks": ["10.0.0.0/8"], "session_names": [] }), "session_names"),
        (json!({ "networks": null }), "networks"),
        (json!({ "networks": ["10.0.0.1/8"] }), "networks"),
        (json!({ "networks": ["office"] }), "networks"),
        (json!({ "networks": vec!["10.0.0.1"; 65] }), "conditions"),
        (json!({ "hours": ["9 to 5"] }), "hours"),
        (json!({ "hours": ["fri-mon 08:00-18:00"] }), "hours"),
        (json!({ "claims": ["ref=main"] }), "claims"),
        (json!({ "provider": "id" }), "claims"),
        (json!({ "provider": "id", "claims": [] }), "claims"),
        (json!({ "provider": "id", "claims": ["ref"] }), "claims"),
        (json!({ "provider": "none", "claims": ["ref=main"] }), "provider"),
        (json!({ "session_names": [""] }), "session_names"),
        (json!({ "external_ids": ["a b"] }), "conditions"),
    ] {
        let shot = granted(&own, "bad", &bad).await;
        assert!(shot.status.is_client_error() && shot.body.contains(field), "{bad}: {} {}", shot.status, shot.body);
    }
    let listed = own.operator(Method::GET, "/api/v1/grants?all=true&name=bad", &Value::Null).await.json();
    assert_eq!(listed["grants"], json!([]), "{listed}");
}

#[tokio::test]
async fn what_a_grant_opened_ends_when_it_gets_other_conditions() {
    let own = Trusting::new().await;
    let world = own.world();
    let id = granted(&own, "office", &json!({ "networks": ["10.0.0.0/8"], "external_ids": ["told-you"] })).await.json()
        ["id"]
        .clone();
    let path = format!("{GRANTS}/{}", id.as_str().unwrap());
    let token = world.token("writer").await;
    // Nobody but who sees everything is told what has to be shown.
    for (who, shown) in [("writer", false), ("boss", false), ("root", true)] {
        let listed = world.get(who, &format!("{GRANTS}?account=acme&name=office")).await;
        let listed = if who == "writer" { world.get(who, &format!("{GRANTS}?name=office")).await } else { listed };
        assert_eq!(listed.body.contains("told-you"), shown, "{who}: {}", listed.body);
        assert!(listed.body.contains("external_ids"), "{who}: {}", listed.body);
    }
    let changed = async |body: Value, query: &str| {
        let shot = own.operator(Method::PATCH, &format!("{path}{query}"), &body).await;
        assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        shot.json()
    };
    assert_eq!(changed(json!({ "conditions": null }), "").await["conditions"], Value::Null);
    assert_eq!(vend(world, &token, "office", None).await.status, StatusCode::OK);
    let inside = json!({ "conditions": { "networks": ["10.0.0.0/8"] } });
    assert_eq!(changed(inside.clone(), "?dry_run=true").await["ended"], 1);
    assert_eq!(changed(inside, "").await["ended"], 1);
    // What is not said stays.
    assert_eq!(changed(json!({ "max_ttl_secs": 1800 }), "").await["conditions"], json!({ "networks": ["10.0.0.0/8"] }));
    assert_eq!(vend(world, &token, "office", None).await.status, StatusCode::FORBIDDEN);
}
