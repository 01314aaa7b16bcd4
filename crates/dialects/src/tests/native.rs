//! Our own API: vending with narrowing, who sees and may do what, and the administration round.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::caller::Role;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Actions, Paths};

use super::world::{Shot, World, directory};
use crate::edge::Route;

const VEND: &str = "/api/v1/credentials";

async fn vend(world: &World, caller: &str, body: &Value) -> Shot {
    world.post(caller, VEND, &body.to_string()).await
}

/// A vend that succeeds, as JSON.
async fn vended(world: &World, caller: &str, body: &Value) -> Value {
    let answer = vend(world, caller, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.body);
    answer.json()
}

async fn refused(world: &World, caller: &str, body: &Value) -> (u16, String, String) {
    let answer = vend(world, caller, body).await;
    let problem = answer.json();
    let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
    (answer.status.as_u16(), text("field"), text("detail"))
}

#[tokio::test]
async fn a_place_is_vended_with_everything_a_client_needs() {
    let world = World::new().await;
    let body = json!({"bucket": "lake", "prefix": "work/writer", "access": "read-write", "ttl_secs": 900});
    insta::assert_snapshot!("native_place", vend(&world, "writer", &body).await.whole());
}

#[tokio::test]
async fn a_vend_is_narrowed_as_asked_and_never_widened() {
    let world = World::new().await;
    let body = json!({"grant": "work", "prefixes": ["work/writer/a"], "objects": ["work/writer/b"]});
    let answer = vended(&world, "writer", &body).await;
    assert_eq!(answer["prefixes"], json!(["work/writer/a"]));
    assert_eq!(answer["objects"], json!(["work/writer/b"]));
    assert_eq!(answer["access"], "read", "the least, if nothing is said");
    assert_eq!(answer["actions"], json!(["get-object", "list-bucket", "get-bucket-info"]));

    let answer = vended(&world, "writer", &json!({"grant": "work", "actions": ["put-object"]})).await;
    assert_eq!((&answer["access"], &answer["actions"]), (&json!("write"), &json!(["put-object"])));

    let answer = vended(
        &world,
        "writer",
        &json!({"bucket": "lake", "objects": ["work/writer/x"], "raw_prefixes": ["work/writer/y"]}),
    )
    .await;
    assert_eq!(answer["raw_prefixes"], json!(["work/writer/y"]));

    let answer = vended(&world, "reader", &json!({})).await;
    assert_eq!(answer["prefixes"], json!(["flights/daily"]), "the only grant");

    let answer = vended(&world, "other", &json!({"bucket": "vault", "whole_bucket": true, "ttl_secs": 604_801})).await;
    assert_eq!((&answer["whole_bucket"], &answer["prefixes"]), (&json!(true), &json!([])));
    assert_eq!(answer["cuts"], json!(["lifetime cut from 604801 s to 604800 s by the grant's longest lifetime"]));
}

#[tokio::test]
async fn an_ask_that_is_unclear_or_too_wide_is_refused() {
    let world = World::new().await;
    for (caller, body, status, field) in [
        // Sibling, parent, another's grant, another's bucket.
        ("reader", json!({"bucket": "lake", "prefix": "flights/daily-secret"}), 403, "paths"),
        ("reader", json!({"bucket": "lake", "prefix": "flights"}), 403, "paths"),
        ("reader", json!({"bucket": "lake", "raw_prefixes": ["flights/daily"]}), 403, "paths"),
        ("reader", json!({"bucket": "lake", "objects": ["flights/daily/../secret", "jobs/daily/x"]}), 403, "paths"),
        ("reader", json!({"bucket": "lake", "whole_bucket": true}), 403, "paths"),
        ("reader", json!({"grant": "work"}), 404, "grant"),
        ("reader", json!({"grant": "jobs"}), 404, "grant"),
        ("reader", json!({"bucket": "vault", "whole_bucket": true}), 404, "bucket"),
        ("reader", json!({"grant": "daily", "prefix": "flights/daily-secret"}), 403, "paths"),
        ("reader", json!({"grant": "daily", "whole_bucket": true}), 403, "paths"),
        // More than is granted.
        ("reader", json!({"grant": "daily", "access": "read-write"}), 403, "access"),
        ("reader", json!({"grant": "daily", "access": "write"}), 403, "access"),
        ("writer", json!({"grant": "work", "actions": ["get-object", "delete-object"]}), 403, "access"),
        // Empty never means everything.
        ("reader", json!({"bucket": "lake"}), 422, "prefix"),
        ("reader", json!({"bucket": "lake", "whole_bucket": false}), 422, "prefix"),
        ("reader", json!({"bucket": "lake", "prefix": ""}), 422, "prefix"),
        ("reader", json!({"bucket": "lake", "prefix": "flights/daily/"}), 422, "prefix"),
        ("reader", json!({"bucket": "lake", "prefixes": []}), 422, "prefixes"),
        ("reader", json!({"grant": "daily", "prefixes": []}), 422, "prefixes"),
        ("reader", json!({"grant": "daily", "objects": []}), 422, "objects"),
        ("reader", json!({"grant": "daily", "raw_prefixes": []}), 422, "raw_prefixes"),
        ("reader", json!({"grant": "daily", "actions": []}), 422, "actions"),
        // Two meanings, none, or not a value.
        ("writer", json!({}), 422, "grant"),
        ("nobody", json!({}), 403, "-"),
        ("reader", json!({"grant": "daily", "bucket": "lake"}), 422, "grant"),
        ("reader", json!({"grant": "daily", "access": "read", "actions": ["get-object"]}), 422, "actions"),
        ("reader", json!({"bucket": "lake", "prefix": "x", "whole_bucket": true}), 422, "whole_bucket"),
        ("reader", json!({"grant": "daily", "access": "custom"}), 422, "access"),
        ("reader", json!({"grant": "daily", "actions": ["GetObject"]}), 422, "actions"),
        ("reader", json!({"grant": "No Name"}), 422, "grant"),
        ("reader", json!({"bucket": "No_Bucket", "prefix": "x"}), 422, "bucket"),
        ("reader", json!({"bucket": "lake", "objects": ["k".repeat(1025)]}), 422, "objects"),
        ("reader", json!({"grant": "daily", "ttl_secs": 0}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": -1}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": 59}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": i64::MAX}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": u64::MAX}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": 900.5}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "ttl_secs": "900"}), 422, "ttl_secs"),
        ("reader", json!({"grant": "daily", "prefx": "flights/daily/2013"}), 422, "prefx"),
    ] {
        let (own, at, said) = refused(&world, caller, &body).await;
        assert_eq!((own, at.as_str()), (status, field), "{body}: {said}");
    }
    let none = valetkey_core::nouns::registry::LeaseFilter { limit: 9, ..Default::default() };
    assert_eq!(world.memory.leases(&none).await.unwrap(), [], "no lease was opened");
}

#[tokio::test]
async fn a_refused_vend_is_on_record() {
    let world = World::new().await;
    refused(&world, "reader", &json!({"grant": "daily", "access": "write"})).await;
    refused(&world, "reader", &json!({"grant": "daily", "actions": ["put-object"]})).await;
    world.call(&Method::POST, VEND, "vkt_x", "{}").await;
    let kinds: Vec<_> =
        world.memory.refusals().iter().map(|refusal| (refusal.kind.slug(), refusal.caller.is_some())).collect();
    assert_eq!(kinds, [("forbidden", true), ("forbidden", true), ("token_unknown", false)]);
}

#[tokio::test]
async fn a_lease_is_seen_and_ended_by_who_may_know_of_it() {
    let world = World::new().await;
    let lease = async || vended(&world, "reader", &json!({})).await["lease_id"].as_str().unwrap().to_owned();
    let own = lease().await;
    let key = vended(&world, "reader", &json!({})).await["access_key_id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("native_lease", world.get("reader", &format!("/api/v1/leases/{own}")).await.whole());
    for (caller, status) in
        [("reader", 200), ("boss", 200), ("root", 200), ("writer", 404), ("other", 404), ("chief", 404)]
    {
        for path in [format!("/api/v1/leases/{own}"), format!("/api/v1/whose/{key}")] {
            let answer = world.get(caller, &path).await;
            assert_eq!(answer.status.as_u16(), status, "{caller} {path}");
        }
        let id = lease().await;
        let answer = world.delete(caller, &format!("/api/v1/leases/{id}")).await;
        assert_eq!(answer.status.as_u16(), status, "{caller} ends");
        let state = world.get("reader", &format!("/api/v1/leases/{id}")).await.json()["state"].clone();
        assert_eq!(state, if status == 200 { "revoked" } else { "live" }, "{caller}");
    }
    // Ended once more is no error, and ends nothing.
    world.delete("reader", &format!("/api/v1/leases/{own}")).await;
    assert_eq!(world.delete("reader", &format!("/api/v1/leases/{own}")).await.json(), json!({"ended": 0}));
    let missing = world.get("writer", &format!("/api/v1/leases/{own}")).await.json();
    let none = world.get("writer", "/api/v1/leases/lea_00000000000000000000000000").await.json();
    assert_eq!(missing["detail"], none["detail"], "another's is as good as none");
    for (path, status) in [
        ("/api/v1/leases/x", 404),
        ("/api/v1/whose/AKIA0000", 404),
        ("/api/v1/leases/%ff", 400),
        ("/api/v1/leases/%2e%2", 400),
    ] {
        assert_eq!(world.get("root", path).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn leases_are_listed_in_pages_and_only_to_who_may_know_of_them() {
    let world = World::new().await;
    for caller in ["reader", "reader", "writer", "other"] {
        world.clock.advance_secs(1);
        let body = if caller == "reader" {
            json!({})
        } else {
            json!({"grant": if caller == "writer" { "work" } else { "jobs" }})
        };
        vended(&world, caller, &body).await;
    }
    let count = async |caller: &str, query: &str| {
        let answer = world.get(caller, &format!("/api/v1/leases{query}")).await;
        let count = answer.json()["leases"].as_array().map(Vec::len);
        (answer.status.as_u16(), count.unwrap_or(0))
    };
    assert_eq!(count("reader", "").await, (200, 2));
    assert_eq!(count("reader", "?caller=reader").await, (200, 2));
    assert_eq!(count("reader", "?caller=writer").await, (404, 0));
    assert_eq!(count("reader", "?account=acme").await, (200, 2), "a member's own, whatever it names");
    assert_eq!(count("reader", "?account=globex").await, (404, 0));
    assert_eq!(count("boss", "").await, (200, 3));
    assert_eq!(count("boss", "?caller=writer").await, (200, 1));
    assert_eq!(count("boss", "?caller=other").await, (404, 0));
    assert_eq!(count("boss", "?account=globex").await, (404, 0));
    assert_eq!(count("boss", "?account=none").await, (404, 0));
    assert_eq!(count("root", "").await, (200, 4));
    assert_eq!(count("root", "?account=globex").await, (200, 1));
    assert_eq!(count("root", "?account=globex&caller=other").await, (200, 1));
    for bad in ["?limit=0", "?limit=501", "?limit=x", "?live=maybe", "?before=x", "?live=true&live=true", "?Live=true"]
    {
        assert_eq!(count("root", bad).await.0, 422, "{bad}");
    }
    let mut seen = BTreeSet::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = world.get("root", &format!("/api/v1/leases{query}")).await.json();
        for lease in page["leases"].as_array().unwrap() {
            assert!(seen.insert(lease["lease_id"].as_str().unwrap().to_owned()));
        }
        let Some(before) = page["next_before"].as_str() else { break };
        query = format!("?limit=3&before={before}");
    }
    assert_eq!(seen.len(), 4);
    world.clock.advance_secs(3600);
    assert_eq!(count("root", "?live=true").await, (200, 0));
    assert_eq!(count("root", "?live=false").await, (200, 4));
}

#[tokio::test]
async fn a_revocation_reaches_only_what_the_caller_may_end() {
    let world = World::new().await;
    let (token, _) = world.token_of("reader", None).await;
    let reader = world.caller_of("reader").await;
    let other = world.caller_of("other").await;
    let grants = world.memory.grants(world.account_id("acme").await).await.unwrap();
    let daily = grants.iter().find(|grant| grant.name.as_str() == "daily").unwrap().id;
    for (caller, body, status) in [
        ("reader", json!({"caller": "reader"}), 200),
        ("reader", json!({"caller": reader.to_string()}), 200),
        ("reader", json!({"token": token.to_string()}), 200),
        ("reader", json!({"caller": "writer"}), 404),
        ("reader", json!({"account": "acme"}), 403),
        ("reader", json!({"account": "globex"}), 404),
        ("reader", json!({"grant": daily.to_string()}), 404),
        ("writer", json!({"token": token.to_string()}), 404),
        ("boss", json!({"caller": "reader"}), 200),
        ("boss", json!({"token": token.to_string()}), 200),
        ("boss", json!({"account": "acme"}), 200),
        ("boss", json!({"grant": daily.to_string()}), 200),
        ("boss", json!({"account": "globex"}), 404),
        ("boss", json!({"caller": other.to_string()}), 404),
        ("chief", json!({"grant": daily.to_string()}), 404),
        ("chief", json!({"token": token.to_string()}), 404),
        ("root", json!({"grant": daily.to_string()}), 200),
        ("root", json!({"caller": other.to_string()}), 200),
        ("root", json!({"account": "globex"}), 200),
        ("root", json!({"account": "none"}), 404),
        ("root", json!({}), 422),
        ("root", json!({"account": "acme", "caller": "reader"}), 422),
        ("root", json!({"lease": "x"}), 422),
    ] {
        let answer = world.post(caller, "/api/v1/revocations", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{caller} {body}: {}", answer.body);
    }
    // What is vended in the instant of a revocation ends with it.
    world.clock.advance_secs(1);
    vended(&world, "reader", &json!({})).await;
    vended(&world, "other", &json!({"grant": "jobs"})).await;
    let ended = world.post("boss", "/api/v1/revocations", "{\"account\":\"acme\"}").await.json();
    assert_eq!(ended, json!({"ended": 1}));
}

#[tokio::test]
async fn nobody_rises_above_their_role_or_out_of_their_account() {
    let world = World::new().await;
    // An operator's caller that lives in acme: its admin must not get at it.
    world.caller("acme", "deputy", Role::Operator).await;
    let (deputy, _) = world.token_of("deputy", None).await;
    let (other, _) = world.token_of("other", None).await;
    let (boss, _) = world.token_of("boss", None).await;
    for (caller, body, status) in [
        ("reader", json!({"caller": "reader"}), 403),
        ("boss", json!({"caller": "new"}), 201),
        ("boss", json!({"caller": "reader"}), 201),
        ("boss", json!({"caller": "second", "role": "admin"}), 201),
        ("boss", json!({"caller": "third", "role": "operator"}), 403),
        ("boss", json!({"caller": "deputy"}), 403),
        ("boss", json!({"caller": "deputy", "role": "operator"}), 403),
        ("boss", json!({"caller": "deputy", "role": "member"}), 403),
        ("boss", json!({"caller": "reader", "role": "admin"}), 409),
        ("boss", json!({"account": "globex", "caller": "other"}), 404),
        ("boss", json!({"account": "none", "caller": "other"}), 404),
        ("boss", json!({"account": "acme", "caller": "new"}), 201),
        ("root", json!({"account": "globex", "caller": "third", "role": "operator"}), 201),
        ("root", json!({"account": "none", "caller": "x"}), 404),
        ("root", json!({"account": "acme", "caller": "Bad Name"}), 422),
        ("root", json!({"account": "acme", "caller": "x", "role": "god"}), 422),
        ("root", json!({"account": "acme", "caller": "x", "expires_in_secs": 0}), 422),
        ("root", json!({"account": "acme", "caller": "x", "expires_in_secs": i64::MAX}), 422),
    ] {
        let answer = world.post(caller, "/api/v1/tokens", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{caller} {body}: {}", answer.body);
    }
    for (caller, body, status) in [
        ("reader", json!({"name": "x"}), 403),
        ("boss", json!({"name": "x", "role": "operator"}), 403),
        ("boss", json!({"name": "x", "role": "admin"}), 201),
    ] {
        let answer = world.post(caller, "/api/v1/accounts/acme/callers", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{caller} {body}: {}", answer.body);
        let foreign = world.post(caller, "/api/v1/accounts/globex/callers", &body.to_string()).await;
        // Who may make none anywhere is told so, whatever there is.
        assert_eq!(foreign.status.as_u16(), if caller == "reader" { 403 } else { 404 }, "{caller} {body}");
    }
    for (caller, token, status) in
        [("boss", deputy, 403), ("boss", other, 404), ("writer", boss, 404), ("reader", boss, 404), ("boss", boss, 200)]
    {
        let answer = world.delete(caller, &format!("/api/v1/tokens/{token}")).await;
        assert_eq!(answer.status.as_u16(), status, "{caller}: {}", answer.body);
    }
}

#[tokio::test]
async fn members_see_themselves_admins_their_account_operators_all() {
    let world = World::new().await;
    for caller in ["reader", "writer", "boss", "other", "root"] {
        world.token(caller).await;
    }
    let names = async |caller: &str, path: &str, list: &str, field: &str| {
        let answer = world.get(caller, path).await;
        let Some(all) = answer.json()[list].as_array().cloned() else { return vec![answer.status.to_string()] };
        let names: BTreeSet<String> = all.iter().map(|one| one[field].as_str().unwrap().to_owned()).collect();
        names.into_iter().collect()
    };
    assert_eq!(names("reader", "/api/v1/tokens", "tokens", "caller_name").await, ["reader"]);
    assert_eq!(names("boss", "/api/v1/tokens", "tokens", "caller_name").await, ["boss", "reader", "writer"]);
    assert_eq!(names("boss", "/api/v1/tokens?account=globex", "tokens", "caller_name").await, ["404 Not Found"]);
    assert_eq!(names("root", "/api/v1/tokens?account=globex", "tokens", "caller_name").await, ["other"]);
    assert_eq!(names("root", "/api/v1/tokens", "tokens", "caller_name").await.len(), 5);
    assert_eq!(names("reader", "/api/v1/accounts", "accounts", "name").await, ["acme"]);
    assert_eq!(names("boss", "/api/v1/accounts", "accounts", "name").await, ["acme"]);
    assert_eq!(names("root", "/api/v1/accounts", "accounts", "name").await, ["acme", "globex", "ops", "poor"]);
    assert_eq!(names("reader", "/api/v1/accounts/acme/callers", "callers", "name").await, ["reader"]);
    assert_eq!(names("boss", "/api/v1/accounts/acme/callers", "callers", "name").await, ["boss", "reader", "writer"]);
    assert_eq!(names("boss", "/api/v1/accounts/globex/callers", "callers", "name").await, ["404 Not Found"]);
    assert_eq!(names("reader", "/api/v1/grants", "grants", "name").await, ["daily"]);
    assert_eq!(names("writer", "/api/v1/grants", "grants", "name").await, ["daily", "work"]);
    assert_eq!(names("reader", "/api/v1/grants?account=acme", "grants", "name").await, ["403 Forbidden"]);
    assert_eq!(names("boss", "/api/v1/grants?account=acme", "grants", "name").await, ["daily", "work"]);
    assert_eq!(names("boss", "/api/v1/grants?account=globex", "grants", "name").await, ["404 Not Found"]);
    assert_eq!(names("root", "/api/v1/grants?account=globex", "grants", "name").await, ["jobs", "vault"]);
}

#[tokio::test]
async fn what_only_operators_do_is_refused_to_everyone_else() {
    let world = World::new().await;
    for (method, path) in [
        (Method::GET, "/api/v1/storages"),
        (Method::POST, "/api/v1/storages"),
        (Method::POST, "/api/v1/storages/local/checks"),
        (Method::GET, "/api/v1/buckets"),
        (Method::POST, "/api/v1/buckets"),
        (Method::GET, "/api/v1/datasets"),
        (Method::POST, "/api/v1/datasets"),
        (Method::POST, "/api/v1/grants"),
        (Method::DELETE, "/api/v1/grants/grt_00000000000000000000000000"),
        (Method::POST, "/api/v1/accounts"),
        (Method::PATCH, "/api/v1/accounts/acme"),
        (Method::POST, "/api/v1/accounts/acme/credits"),
        (Method::GET, "/api/v1/ledger/verify"),
        (Method::GET, "/api/v1/audit"),
        (Method::GET, "/api/v1/nodes"),
        (Method::GET, "/api/v1/refusals"),
        (Method::GET, "/api/v1/audit/events"),
    ] {
        for caller in ["reader", "boss", "chief"] {
            let answer = world.call(&method, path, &world.token(caller).await, "{}").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{caller} {method} {path}");
        }
    }
}

#[tokio::test]
async fn an_operator_builds_a_world_and_a_caller_vends_in_it() {
    let world = World::new().await;
    let made = async |path: &str, body: Value| {
        let answer = world.post("root", path, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {}", answer.body);
        answer.json()
    };
    let bodies = [
        ("/api/v1/storages", json!({"name": "second", "endpoint": "https://s3.example.com/", "max_ttl_secs": 7200})),
        ("/api/v1/buckets", json!({"bucket": "new-bucket", "storage": "second"})),
        ("/api/v1/accounts", json!({"name": "initech", "credits_per_vend": 1})),
        ("/api/v1/accounts/initech/callers", json!({"name": "peter"})),
        ("/api/v1/datasets", json!({"name": "reports", "topic": "reports", "bucket": "new-bucket", "prefix": "tps"})),
        (
            "/api/v1/grants",
            json!({"account": "initech", "name": "tps", "to": "peter", "dataset": "reports", "max_ttl_secs": 1800, "until": "2026-06-01T00:00:00Z"}),
        ),
    ];
    let mut page = Vec::new();
    for (path, body) in bodies {
        page.push(made(path, body).await);
    }
    insta::assert_snapshot!("native_made", serde_json::to_string_pretty(&page).unwrap());
    assert_eq!(*world.made.0.lock().unwrap(), ["new-bucket"]);
    let token =
        made("/api/v1/tokens", json!({"account": "initech", "caller": "peter", "expires_in_secs": 86_400})).await;
    let token = token["token"].as_str().unwrap();
    let answer = world.call(&Method::POST, VEND, token, "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (402, &json!("out_of_credit")));
    let balance = world.post("root", "/api/v1/accounts/initech/credits", "{\"credits\":1}").await.json();
    assert_eq!(balance, json!({"granted": 1, "used": 0}));
    let answer = world.call(&Method::POST, VEND, token, "{}").await.json();
    assert_eq!(answer["expiration"], "2026-01-01T00:30:00Z", "the grant's longest");
    assert_eq!(answer["endpoint_url"], "https://s3.example.com");
    insta::assert_snapshot!("native_me", world.call(&Method::GET, "/api/v1/me", token, "").await.whole());
    let suspended = world
        .call(&Method::PATCH, "/api/v1/accounts/initech", &world.token("root").await, "{\"standing\":\"suspended\"}")
        .await;
    assert_eq!(suspended.json()["standing"], "suspended");
    assert_eq!(suspended.json()["credits_per_vend"], 1, "what is not named stays");
    assert_eq!(world.call(&Method::GET, "/api/v1/me", token, "").await.status, StatusCode::FORBIDDEN);
    let own = world
        .call(&Method::PATCH, "/api/v1/accounts/ops", &world.token("root").await, "{\"standing\":\"suspended\"}")
        .await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_cannot_be_is_not_made() {
    let world = World::new().await;
    let grant = |fields: Value| {
        let mut body = json!({"account": "acme", "name": "new", "to": null});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (path, body, status, field) in [
        ("/api/v1/grants", json!({"account": "acme", "name": "new", "bucket": "lake", "prefix": "x"}), 422, "to"),
        ("/api/v1/grants", grant(json!({"bucket": "lake"})), 422, "prefix"),
        ("/api/v1/grants", grant(json!({"prefix": "x"})), 422, "bucket"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefixes": []})), 422, "prefixes"),
        ("/api/v1/grants", grant(json!({"bucket": "none-such", "prefix": "x"})), 404, "bucket"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "to": "other"})), 404, "to"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "account": "none"})), 404, "account"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "name": "daily"})), 409, "name"),
        ("/api/v1/grants", grant(json!({"dataset": "none"})), 404, "dataset"),
        ("/api/v1/grants", grant(json!({"dataset": "flights-daily", "bucket": "vault"})), 422, "bucket"),
        ("/api/v1/grants", grant(json!({"dataset": "flights-daily", "prefix": "flights/daily-secret"})), 422, "prefix"),
        ("/api/v1/grants", grant(json!({"dataset": "flights-daily", "whole_bucket": true})), 422, "prefix"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "from": "soon"})), 422, "from"),
        (
            "/api/v1/grants",
            grant(
                json!({"bucket": "lake", "prefix": "x", "from": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}),
            ),
            422,
            "until",
        ),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "max_ttl_secs": 0})), 422, "max_ttl_secs"),
        ("/api/v1/grants", grant(json!({"bucket": "lake", "prefix": "x", "acces": "read"})), 422, "acces"),
        ("/api/v1/storages", json!({"name": "local", "endpoint": "http://x"}), 409, "name"),
        ("/api/v1/storages", json!({"name": "n", "endpoint": "ftp://x"}), 422, "endpoint"),
        ("/api/v1/storages", json!({"name": "n", "endpoint": "http://a:b@x"}), 422, "endpoint"),
        ("/api/v1/storages", json!({"name": "n", "endpoint": "/x"}), 422, "endpoint"),
        (
            "/api/v1/storages",
            json!({"name": "n", "endpoint": "http://x", "internal_endpoint": ""}),
            422,
            "internal_endpoint",
        ),
        ("/api/v1/storages", json!({"name": "n", "endpoint": "http://x", "region": "a b"}), 422, "region"),
        ("/api/v1/storages", json!({"name": "n", "endpoint": "http://x", "kind": "cloud"}), 422, "kind"),
        (
            "/api/v1/storages",
            json!({"name": "n", "endpoint": "http://x", "min_ttl_secs": 100, "max_ttl_secs": 99}),
            422,
            "max_ttl_secs",
        ),
        ("/api/v1/buckets", json!({"bucket": "lake"}), 409, "bucket"),
        ("/api/v1/buckets", json!({"bucket": "LAKE"}), 422, "bucket"),
        ("/api/v1/buckets", json!({"bucket": "new-one", "storage": "none"}), 404, "storage"),
        ("/api/v1/datasets", json!({"name": "n", "topic": "t", "bucket": "none-such", "prefix": "x"}), 404, "bucket"),
        ("/api/v1/datasets", json!({"name": "n", "topic": "t", "bucket": "lake", "prefix": "x/"}), 422, "prefix"),
        (
            "/api/v1/datasets",
            json!({"name": "n", "topic": "t", "bucket": "lake", "prefix": "x", "format": "a\u{1b}[31m"}),
            422,
            "format",
        ),
        ("/api/v1/datasets", json!({"name": "jobs-daily", "topic": "t", "bucket": "lake", "prefix": "x"}), 409, "name"),
        ("/api/v1/accounts", json!({"name": "acme"}), 409, "name"),
        ("/api/v1/accounts", json!({"name": "A"}), 422, "name"),
        ("/api/v1/accounts", json!({"name": "n", "credits_per_vend": -1}), 422, "credits_per_vend"),
        ("/api/v1/accounts/acme/credits", json!({"credits": 0}), 422, "credits"),
        ("/api/v1/accounts/acme/credits", json!({"credits": u64::MAX}), 422, "credits"),
        ("/api/v1/accounts/none/credits", json!({"credits": 1}), 404, "account"),
    ] {
        let answer = world.post("root", path, &body.to_string()).await;
        let at = answer.json()["field"].as_str().unwrap_or("-").to_owned();
        assert_eq!((answer.status.as_u16(), at.as_str()), (status, field), "{path} {body}: {}", answer.body);
    }
    assert_eq!(*world.made.0.lock().unwrap(), Vec::<String>::new(), "no bucket was made at the store");
}

#[tokio::test]
async fn removing_a_grant_ends_what_was_vended_under_it_unless_told_otherwise() {
    let world = World::new().await;
    let acme = world.account_id("acme").await;
    for (query, live) in [("", 0), ("?end_credentials=true", 0), ("?end_credentials=false", 1)] {
        let id = world.grant(acme, "short", None, "lake", directory("short"), Actions::READ, None).await;
        vended(&world, "reader", &json!({"grant": "short"})).await;
        let answer = world.delete("root", &format!("/api/v1/grants/{id}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let leases = world.get("reader", "/api/v1/leases?live=true").await.json();
        assert_eq!(leases["leases"].as_array().unwrap().len(), live, "{query}");
        assert_eq!(vend(&world, "reader", &json!({"grant": "short"})).await.status, StatusCode::NOT_FOUND);
        assert_eq!(world.delete("root", &format!("/api/v1/grants/{id}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_explanation_names_the_grant_and_what_the_others_lack() {
    let world = World::new().await;
    let body = json!({"bucket": "lake", "key": "flights/daily/2013-01-01.parquet"});
    insta::assert_snapshot!("native_explain", world.post("writer", "/api/v1/explain", &body.to_string()).await.whole());
    for (caller, body, status, allowed) in [
        ("reader", json!({"bucket": "lake", "key": "flights/daily-secret/x"}), 200, json!(false)),
        ("reader", json!({"bucket": "lake", "key": "flights/daily/x", "access": "write"}), 200, json!(false)),
        ("reader", json!({"bucket": "lake", "key": "flights/daily/x", "action": "list-bucket"}), 200, json!(true)),
        (
            "boss",
            json!({"bucket": "lake", "key": "work/writer/x", "access": "write", "caller": "writer"}),
            200,
            json!(true),
        ),
        (
            "boss",
            json!({"bucket": "lake", "key": "work/writer/x", "access": "write", "caller": "reader"}),
            200,
            json!(false),
        ),
        ("root", json!({"bucket": "vault", "key": "x", "caller": "other", "account": "globex"}), 200, json!(true)),
        ("reader", json!({"bucket": "lake", "key": "x", "caller": "reader"}), 200, json!(false)),
        ("reader", json!({"bucket": "lake", "key": "x", "caller": "writer"}), 404, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "x", "caller": "other"}), 404, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "x", "caller": "other", "account": "globex"}), 404, Value::Null),
        ("boss", json!({"bucket": "lake", "key": ""}), 422, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "k".repeat(1025)}), 422, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "x", "access": "read-write"}), 422, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "x", "access": "read", "action": "get-object"}), 422, Value::Null),
        ("boss", json!({"bucket": "lake", "key": "x", "action": "fly"}), 422, Value::Null),
        ("root", json!({"bucket": "lake", "key": "x", "account": "globex"}), 422, Value::Null),
    ] {
        let answer = world.post(caller, "/api/v1/explain", &body.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.json()["allowed"].clone()), (status, allowed), "{caller} {body}");
    }
}

#[tokio::test]
async fn an_operator_verifies_the_ledger() {
    let world = World::new().await;
    vended(&world, "reader", &json!({})).await;
    let found = world.get("root", "/api/v1/ledger/verify").await.json();
    assert_eq!((&found["intact"], &found["leases"], &found["broken_at"]), (&json!(true), &json!(1), &Value::Null));
    assert_eq!(found["head"], format!("1:{}", "0".repeat(64)));
    assert!(found["covers"].as_array().is_some_and(|covers| covers.len() > 3) && !found["leaves_out"].is_null());
    for bad in ["1", "1:", "x:00", &format!("1:{}", "0".repeat(63)), &format!("-1:{}", "0".repeat(64))] {
        let answer = world.get("root", &format!("/api/v1/ledger/verify?expect_head={bad}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["field"]), (422, &json!("expect_head")), "{bad}");
    }
    for (bad, field) in [
        ("before=7", "before"),
        ("noun=thing", "noun"),
        ("since=yesterday", "since"),
        ("since_secs=-1", "since_secs"),
        ("limit=0", "limit"),
    ] {
        let answer = world.get("root", &format!("/api/v1/audit?{bad}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["field"]), (422, &json!(field)), "{bad}");
    }
    let nobody = world.get("root", "/api/v1/audit?caller=acme/nobody").await;
    assert_eq!((nobody.status.as_u16(), &nobody.json()["field"]), (404, &json!("caller")), "{}", nobody.body);
    assert_eq!(world.get("root", "/api/v1/audit?caller=acme/boss").await.status, 200);
}

#[tokio::test]
async fn events_are_told_from_where_one_was() {
    let world = World::new().await;
    let begin = world.get("root", "/api/v1/audit/events?after=now").await.json();
    assert_eq!(begin["events"], json!([]));
    vended(&world, "reader", &json!({})).await;
    let refused = world.post("reader", "/api/v1/credentials", r#"{"place": "s3://vault/x"}"#).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    let next = begin["next"].as_str().unwrap();
    let told = world.get("root", &format!("/api/v1/audit/events?after={next}")).await.json();
    insta::assert_snapshot!("native_events", serde_json::to_string_pretty(&told).unwrap());
    let again = world.get("root", &format!("/api/v1/audit/events?after={}", told["next"].as_str().unwrap())).await;
    assert_eq!(again.json()["events"], json!([]));
    for (bad, field) in
        [("after=yesterday", "after"), ("after=1.0", "after"), ("limit=0", "limit"), ("limit=10001", "limit")]
    {
        let answer = world.get("root", &format!("/api/v1/audit/events?{bad}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["field"]), (422, &json!(field)), "{bad}");
    }
}

#[tokio::test]
async fn a_whole_bucket_grant_is_made_only_when_spelt_out() {
    let world = World::new().await;
    let body = json!({"account": "acme", "name": "all", "to": null, "bucket": "lake", "whole_bucket": true, "access": "read-write"});
    let made = world.post("root", "/api/v1/grants", &body.to_string()).await.json();
    assert_eq!((&made["whole_bucket"], &made["to"]), (&json!(true), &Value::Null));
    let acme = world.account_id("acme").await;
    let grants = world.memory.grants(acme).await.unwrap();
    assert_eq!(grants.iter().filter(|grant| *grant.scope.written() == Paths::Whole).count(), 1);
}

/// The schema of policy files that is checked in is the one the server shows.
#[tokio::test]
async fn the_schema_of_policy_files_is_current() {
    let world = World::new().await;
    let shown = world.call(&Method::GET, "/schema/policy-v1.json", "", "").await;
    assert_eq!(shown.status, StatusCode::OK);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policy-v1.json");
    if shown.body != std::fs::read_to_string(path).unwrap_or_default() {
        let new = format!("{path}.new");
        std::fs::write(&new, &shown.body).unwrap();
        panic!("{path} is not current; look at {new} and put it in its place");
    }
    assert_eq!(shown.body, crate::native::policy_schema().unwrap(), "what the command line prints");
}

/// The description that is checked in is the one the server shows, and it describes exactly the routes there are.
#[tokio::test]
async fn the_description_is_current_and_complete() {
    let world = World::new().await;
    let shown = world.call(&Method::GET, "/openapi.json", "", "").await;
    assert_eq!(shown.status, StatusCode::OK);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = crate::native::made::document();
    if made != crate::native::DOCUMENT {
        let new = format!("{path}.new");
        std::fs::write(&new, made).unwrap();
        panic!("{path} is not current; look at {new} and put it in its place");
    }
    let api = shown.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        }
    }
    let native = World::dialects(&world.shared, &world.made).remove(0);
    // The console's own routes are for its pages, not for other clients.
    let told = |route: &&Route| route.path.starts_with("/api/");
    let served = native.routes.iter().filter(told);
    let served: BTreeSet<_> = served.map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(described, served);
}
