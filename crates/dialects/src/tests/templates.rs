//! Grants with placeholders: one of them is each caller's own, whichever API asks, and nobody's beside.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::identity::Trusting;
use super::world::{Shot, World};

const GRANTS: &str = "/api/v1/grants";

async fn granted(own: &Trusting, body: &Value) -> Shot {
    own.operator(Method::POST, GRANTS, body).await
}

fn home() -> Value {
    json!({
        "account": "acme", "name": "home", "to": null, "bucket": "lake", "prefix": "home/{caller.name}", "template": true,
        "access": "read-write",
    })
}

fn teams() -> Value {
    json!({
        "account": "acme", "name": "teams", "to": null, "bucket": "lake", "prefix": "teams/{claims./unit}", "template": true,
        "conditions": {"provider": "id", "claims": ["unit=glob:*"]},
    })
}

async fn vend(world: &World, token: &str, body: &Value) -> Shot {
    world.call(&Method::POST, "/api/v1/credentials", token, &body.to_string()).await
}

async fn status(world: &World, token: &str, prefix: &str) -> u16 {
    vend(world, token, &json!({"bucket": "lake", "prefix": prefix})).await.status.as_u16()
}

fn one<'v>(listed: &'v Value, list: &str, field: &str, name: &str) -> &'v Value {
    listed[list].as_array().unwrap().iter().find(|one| one[field] == name).unwrap_or_else(|| panic!("{listed}"))
}

#[tokio::test]
async fn one_grant_gives_each_caller_its_own_and_nothing_of_another() {
    let own = Trusting::new().await;
    let world = own.world();
    let made = granted(&own, &home()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(
        (&made.json()["template"], &made.json()["prefixes"]),
        (&json!(true), &json!(["home/{caller.name}"])),
        "{}",
        made.body
    );
    for (caller, other) in [("writer", "reader"), ("reader", "writer")] {
        let token = world.token(caller).await;
        let vended = vend(world, &token, &json!({"grant": "home", "access": "read-write"})).await;
        assert_eq!(vended.status, StatusCode::OK, "{}", vended.body);
        assert_eq!(vended.json()["prefixes"], json!([format!("home/{caller}")]), "{}", vended.body);
        assert_eq!(status(world, &token, &format!("home/{caller}/deep")).await, 200);
        for outside in ["home", &format!("home/{other}"), &format!("home/{caller}x"), "home/{caller.name}"] {
            assert_eq!(status(world, &token, outside).await, 403, "{caller} {outside}");
        }
        // What is its own is told as it is for it.
        let listed = world.get(caller, &format!("{GRANTS}?name=home")).await.json();
        let row = one(&listed, "grants", "name", "home");
        assert_eq!((&row["prefixes"], &row["template"]), (&json!([format!("home/{caller}")]), &Value::Null), "{row}");
    }
    let listed = own.operator(Method::GET, &format!("{GRANTS}?account=acme&bucket=lake"), &Value::Null).await.json();
    assert_eq!(one(&listed, "grants", "name", "home")["prefixes"], json!(["home/{caller.name}"]), "{listed}");
    // Another account's caller may not know of it.
    let stranger = world.token("chief").await;
    assert_eq!(vend(world, &stranger, &json!({"grant": "home"})).await.status, StatusCode::NOT_FOUND);
    // The same text without saying so is bytes.
    let bytes = json!({"account": "acme", "name": "bytes", "to": null, "bucket": "lake", "prefix": "of/{caller.name}"});
    assert_eq!(granted(&own, &bytes).await.json()["template"], Value::Null);
    let token = world.token("writer").await;
    assert_eq!(status(world, &token, "of/{caller.name}").await, 200);
    assert_eq!(status(world, &token, "of/writer").await, 403);
}

#[tokio::test]
async fn a_claim_is_filled_in_where_it_is_a_plain_text_of_the_named_provider() {
    let own = Trusting::new().await;
    let world = own.world();
    let bare = json!({"account": "acme", "name": "bare", "to": null, "bucket": "lake", "prefix": "t/{claims./unit}", "template": true});
    let refused = granted(&own, &bare).await;
    assert_eq!(
        (refused.status, &refused.json()["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("template")),
        "{}",
        refused.body
    );
    assert_eq!(granted(&own, &teams()).await.status, StatusCode::CREATED);
    let red = own.token("people", 3600, json!({"unit": "red"}));
    let vended = vend(world, &red, &json!({"grant": "teams"})).await;
    assert_eq!(vended.json()["prefixes"], json!(["teams/red"]), "{}", vended.body);
    assert_eq!(status(world, &red, "teams/red/x").await, 200);
    assert_eq!((status(world, &red, "teams/blue").await, status(world, &red, "teams").await), (403, 403));
    for (secs, unit) in
        [json!(".."), json!("red/../blue"), json!("*"), json!("red/x"), json!(7), json!(["red"]), json!("")]
            .iter()
            .enumerate()
    {
        let token = own.token("people", 3500 - i64::try_from(secs).unwrap(), json!({"unit": unit}));
        let shot = vend(world, &token, &json!({"grant": "teams"})).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{unit} {}", shot.body);
        assert!(shot.body.contains("a condition that does not hold: {claims./unit}"), "{unit} {}", shot.body);
        assert_eq!(
            (status(world, &token, "teams").await, status(world, &token, "teams/red").await),
            (403, 403),
            "{unit}"
        );
        // What else it was granted it has.
        assert_eq!(status(world, &token, "flights/daily").await, 200, "{unit}");
        let told = world
            .call(&Method::POST, "/api/v1/explain", &token, r#"{"bucket":"lake","key":"teams/red/x"}"#)
            .await
            .json();
        let about = told["considered"].as_array().unwrap().iter().find(|one| one["grant"]["name"] == "teams").unwrap();
        assert_eq!((&told["allowed"], &about["verdict"]), (&json!(false), &json!("condition_fails")), "{told}");
        assert_ne!(about["conditions"][0]["held"], "holds", "{told}");
    }
    let token = world.token("writer").await;
    assert_eq!(vend(world, &token, &json!({"grant": "teams"})).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_can_fills_in_what_is_known_and_says_the_rest() {
    let own = Trusting::new().await;
    let world = own.world();
    assert_eq!(granted(&own, &home()).await.status, StatusCode::CREATED);
    assert_eq!(granted(&own, &teams()).await.status, StatusCode::CREATED);
    let rows = async |query: &str| {
        let listed = world.get("root", &format!("/api/v1/access?account=acme&{query}")).await;
        assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
        let rows = listed.json()["access"].as_array().unwrap().clone();
        let told = |row: &Value| (row["grant"].as_str().unwrap().to_owned(), row["conditions"].clone());
        rows.iter().map(told).filter(|(grant, _)| grant == "home" || grant == "teams").collect::<Vec<_>>()
    };
    let (home, teams) = (|said: Value| ("home".to_owned(), said), |said: Value| ("teams".to_owned(), said));
    let on = "claims unit=glob:*";
    assert_eq!(rows("action=read&place=s3://lake/home/writer/x").await, [home(json!(["{caller.name} is writer"]))]);
    assert_eq!(rows("place=s3://lake/home/").await, [home(json!(["paths with {caller.name} filled in"]))]);
    assert_eq!(rows("place=s3://lake/teams/red/x").await, [teams(json!(["{claims./unit} is red", on]))]);
    assert_eq!(rows("place=s3://lake/teams").await, []);
    assert_eq!(rows("place=s3://lake/home").await, []);
    // Of one caller its name is known.
    assert_eq!(rows("caller=writer&place=s3://lake/home/writer/x").await, [home(Value::Null)]);
    assert_eq!(rows("caller=writer&place=s3://lake/home/reader/x").await, []);
    let whole = rows("caller=writer").await;
    assert_eq!(whole, [home(Value::Null), teams(json!(["paths with {claims./unit} filled in", on]))]);
    let csv = world.get("root", "/api/v1/access?account=acme&caller=writer&format=csv").await;
    assert!(csv.body.contains("home/writer"), "{}", csv.body);
}

#[tokio::test]
async fn a_template_that_is_none_is_refused_at_writing_and_a_change_says_what_it_ends() {
    let own = Trusting::new().await;
    let world = own.world();
    for (field, value, said) in [
        ("prefix", json!("home/{user}"), "did you mean `{caller.name}`?"),
        ("prefix", json!("home/{caller.name"), "not closed"),
        ("prefix", json!("home"), "no path has a placeholder"),
        ("raw_prefixes", json!(["home/{caller.name}"]), "name a directory"),
        ("whole_bucket", json!(true), "the whole bucket"),
    ] {
        let mut body = home();
        body.as_object_mut().unwrap().remove("prefix");
        body[field] = value;
        let shot = granted(&own, &body).await;
        assert_eq!(
            (shot.status, &shot.json()["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("template")),
            "{}",
            shot.body
        );
        assert!(shot.body.contains(said), "{}", shot.body);
    }
    let dataset = json!({"account": "acme", "name": "d", "to": null, "dataset": "flights-daily", "prefix": "flights/daily/{caller.name}", "template": true});
    let shot = granted(&own, &dataset).await;
    assert_eq!(
        (shot.status, &shot.json()["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("template")),
        "{}",
        shot.body
    );
    let id = granted(&own, &home()).await.json()["id"].as_str().unwrap().to_owned();
    let token = world.token("writer").await;
    assert_eq!(vend(world, &token, &json!({"grant": "home"})).await.status, StatusCode::OK);
    let change = async |body: Value, query: &str| {
        let shot = own.operator(Method::PATCH, &format!("{GRANTS}/{id}{query}"), &body).await;
        assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        shot.json()
    };
    let same = change(json!({"prefixes": ["home/{caller.name}", "shared/{account.name}/x"]}), "").await;
    assert_eq!((&same["template"], &same["ended"]), (&json!(true), &json!(0)), "{same}");
    let bytes = change(json!({"template": false}), "?dry_run=true").await;
    assert_eq!((&bytes["template"], &bytes["ended"]), (&Value::Null, &json!(1)), "{bytes}");
    let narrower = change(json!({"prefix": "house/{caller.name}"}), "").await;
    assert_eq!((&narrower["template"], &narrower["ended"]), (&json!(true), &json!(1)), "{narrower}");
    assert_eq!(status(world, &token, "house/writer").await, 200);
    // Who has another name has another place, and nothing of the one before.
    let renamed = own.operator(Method::PATCH, "/api/v1/accounts/acme/callers/writer", &json!({"name": "author"})).await;
    assert_eq!((renamed.status, &renamed.json()["ended"]), (StatusCode::OK, &json!(1)), "{}", renamed.body);
    assert_eq!((status(world, &token, "house/writer").await, status(world, &token, "house/author").await), (403, 200));
}

#[tokio::test]
async fn policy_files_plan_test_apply_and_export_templates() {
    let world = World::new().await;
    let mut wanted = json!({
        "version": "valetkey/v1",
        "owner": "platform",
        "owns": {"accounts": ["team-*"], "datasets": []},
        "accounts": {"team-a": {
            "callers": {"ana": {}, "ben": {}},
            "grants": {"home": {"everyone": true, "bucket": "lake", "directories": ["home/{caller.name}"], "template": true}},
        }},
        "tests": [
            {"as": "team-a/ana", "can": ["read s3://lake/home/ana/x", "list s3://lake/home/ana/"], "cannot": ["read s3://lake/home/ben/x", "read s3://lake/home/x"]},
            {"nobody": true, "except": ["team-a/ana"], "can": ["read s3://lake/home/ana/x"]},
            {"vend": {"as": "team-a/ben", "grant": "home", "ttl": "1h"}, "expect": {"paths": ["home/ben/"]}},
        ],
    });
    let send = async |path: &str, body: Value| {
        let shot = world.post("root", &format!("/api/v1/policy/{path}"), &body.to_string()).await;
        assert_eq!(shot.status.as_u16(), 200, "{}", shot.body);
        shot.json()
    };
    let planned = send("plan", json!({"document": wanted})).await;
    assert_eq!(planned["failed"], json!([]), "{planned}");
    assert!(planned["access"].to_string().contains("s3://lake/home/ana/"), "{planned}");
    send("apply", json!({"document": wanted, "sources": {}, "revision": planned["revision"], "confirm_deletes": 0}))
        .await;
    let exported = world.get("root", "/api/v1/policy?owner=platform").await.json();
    assert_eq!(exported["document"]["accounts"]["team-a"]["grants"]["home"]["template"], true, "{exported}");
    for same in [&wanted, &exported["document"]] {
        let again = send("plan", json!({"document": same})).await;
        assert_eq!((&again["objects"], &again["access"]), (&json!([]), &json!([])), "{again}");
    }
    wanted["tests"] = json!([
        {"as": "team-a/ana", "can": ["read s3://lake/home/ben/x"]},
        {"nobody": true, "except": ["team-a/ben"], "can": ["read s3://lake/home/ana/x"]},
    ]);
    assert_eq!(send("plan", json!({"document": wanted})).await["failed"].as_array().unwrap().len(), 2);
    // What says nothing of a template has braces in its keys, and is other access.
    wanted["tests"] = json!([]);
    wanted["accounts"]["team-a"]["grants"]["home"].as_object_mut().unwrap().remove("template");
    let other = send("plan", json!({"document": wanted})).await;
    assert_eq!(other["objects"][0]["fields"][0]["field"], "template", "{other}");
    assert_ne!(other["access"], json!([]), "{other}");
    wanted["accounts"]["team-a"]["grants"]["home"]["template"] = json!(true);
    wanted["accounts"]["team-a"]["grants"]["home"]["directories"] = json!(["home/{caller}"]);
    let refused = world.post("root", "/api/v1/policy/plan", &json!({"document": wanted}).to_string()).await;
    assert!(
        refused.status.is_client_error() && refused.body.contains("did you mean `{caller.name}`?"),
        "{}",
        refused.body
    );
}
