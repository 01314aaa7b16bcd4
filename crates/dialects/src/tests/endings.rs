//! Ending what leaked: tokens and what they made, callers, and whatever an incident begins with.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::caller::Role;
use valetkey_core::credential::Trace;
use valetkey_core::id::{LeaseId, TokenId};
use valetkey_core::lease::LeaseState;
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Permission};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Ledger as _;
use valetkey_core::time::Clock as _;
use valetkey_core::token::{Maker, PlainToken};

use super::world::{Shot, World, bucket};

const VEND: &str = "/api/v1/credentials";
const REVOKE: &str = "/api/v1/revocations";
const INCIDENT: &str = "/api/v1/incidents";

async fn post(world: &World, token: &str, path: &str, body: &Value) -> Shot {
    world.call(&Method::POST, path, token, &body.to_string()).await
}

async fn posted(world: &World, token: &str, path: &str, body: &Value) -> Value {
    let answer = post(world, token, path, body).await;
    assert!(answer.status.is_success(), "{path} {body}: {}", answer.body);
    answer.json()
}

/// What the answer says of a token that was made with another.
async fn made(world: &World, with: &str, body: &Value) -> (String, String, Value) {
    let answer = posted(world, with, "/api/v1/tokens", body).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("id"), text("token"), answer)
}

async fn status(world: &World, token: &str) -> u16 {
    world.call(&Method::GET, "/api/v1/me", token, "").await.status.as_u16()
}

#[tokio::test]
async fn whatever_a_short_token_makes_ends_with_it() {
    let world = World::new().await;
    let (id, boss) = world.token_of("boss", Some(60)).await;
    let ends = format!("{:.0}", world.clock.now() + jiff::SignedDuration::from_secs(60));
    for body in [json!({"caller": "new"}), json!({"caller": "new", "expires_in_secs": 86_400})] {
        let (_, _, answer) = made(&world, &boss, &body).await;
        assert_eq!((&answer["expires"], &answer["made_by"]), (&json!(ends), &json!(id.to_string())), "{body}");
        assert!(answer["cuts"][0].as_str().unwrap().contains("the token that makes it"), "{answer}");
    }
    let (_, _, shorter) = made(&world, &boss, &json!({"caller": "new", "expires_in_secs": 5})).await;
    assert!(shorter["expires"].as_str().unwrap() < ends.as_str());
    assert_eq!(shorter.get("cuts"), None);
    let profile = posted(&world, &boss, "/api/v1/share-profiles", &json!({"caller": "new"})).await;
    assert_eq!(profile["expires"], ends);
    let link = posted(&world, &boss, "/api/v1/share-links", &json!({"caller": "new"})).await;
    assert_eq!((&link["expires"], &link["token_ends_by"]), (&json!(ends), &json!(ends)));
    let url = link["url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:7070").unwrap();
    let downloaded = world.call(&Method::GET, path, "", "").await;
    let bearer = downloaded.json()["bearerToken"].as_str().unwrap().to_owned();
    let (_, token, _) = made(&world, &boss, &json!({"caller": "new"})).await;
    world.clock.advance_secs(60);
    for ended in [&token, &bearer] {
        assert_eq!(status(&world, ended).await, 401);
    }
}

#[tokio::test]
async fn only_an_operator_lets_a_thing_outlive_its_maker() {
    let world = World::new().await;
    let (_, boss) = world.token_of("boss", Some(60)).await;
    let (id, root) = world.token_of("root", Some(60)).await;
    let key = json!({"name": "r2", "account": "acme", "buckets": ["vault"], "permission": "object-read-only"});
    let outlives = |body: &Value| {
        let mut body = body.clone();
        body["outlive"] = json!(true);
        body
    };
    for (path, body) in [
        ("/api/v1/tokens", json!({"account": "acme", "caller": "new"})),
        ("/api/v1/share-profiles", json!({"account": "acme", "caller": "new"})),
        ("/api/v1/share-links", json!({"account": "acme", "caller": "new"})),
    ] {
        let refused = post(&world, &boss, path, &outlives(&body)).await;
        assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::FORBIDDEN, &json!("outlive")), "{path}");
        assert!(posted(&world, &root, path, &body).await["expires"].is_string(), "{path}");
        let free = posted(&world, &root, path, &outlives(&body)).await;
        assert!(free["expires"].is_null() || path.ends_with("links"), "{path}: {free}");
        assert_eq!((free.get("cuts"), free.get("token_ends_by")), (None, None), "{path}");
    }
    let short = posted(&world, &root, "/api/v1/parent-keys", &key).await;
    assert!(short["expires"].is_string() && short["cuts"].is_array(), "{short}");
    let mut free = outlives(&key);
    free["name"] = json!("long");
    assert!(posted(&world, &root, "/api/v1/parent-keys", &free).await["expires"].is_null());
    let tokens = world.call(&Method::GET, "/api/v1/tokens?account=acme", &root, "").await.json();
    let by_root = |one: &&Value| one["made_by"] == json!(id.to_string());
    assert_eq!(tokens["tokens"].as_array().unwrap().iter().filter(by_root).count(), 6);
}

#[tokio::test]
async fn a_token_takes_what_it_made_with_it_when_told() {
    let world = World::new().await;
    let (id, boss) = world.token_of("boss", None).await;
    let (second, deputy, _) = made(&world, &boss, &json!({"caller": "deputy", "role": "admin"})).await;
    let (third, helper, _) = made(&world, &deputy, &json!({"caller": "helper"})).await;
    let link = posted(&world, &deputy, "/api/v1/share-links", &json!({"caller": "helper"})).await;
    let path = link["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:7070").unwrap().to_owned();
    let root = world.token("root").await;
    let end = async |query: &str| world.call(&Method::DELETE, &format!("/api/v1/tokens/{id}{query}"), &root, "").await;
    assert_eq!(end("").await.json().get("made_ended"), None);
    assert_eq!((status(&world, &boss).await, status(&world, &helper).await), (401, 200));
    assert_eq!(end("?with_made=true").await.json()["made_ended"], json!([second, third]));
    for token in [&deputy, &helper] {
        assert_eq!(status(&world, token).await, 401);
    }
    assert_eq!(world.call(&Method::GET, &path, "", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_last_token_of_an_operator_goes_only_when_that_is_said() {
    let world = World::new().await;
    let (id, root) = world.token_of("root", None).await;
    let (short, _) = world.token_of("root", Some(10)).await;
    let delete = async |id: TokenId, query: &str| {
        world.call(&Method::DELETE, &format!("/api/v1/tokens/{id}{query}"), &root, "").await
    };
    assert_eq!(delete(short, "").await.status, StatusCode::OK, "another one is there");
    for refused in [
        delete(id, "").await,
        delete(id, "?with_made=true").await,
        post(&world, &root, REVOKE, &json!({"token": id.to_string(), "tokens": true})).await,
        post(&world, &root, REVOKE, &json!({"token": root, "tokens": true})).await,
        post(&world, &root, REVOKE, &json!({"caller": "root", "tokens": true})).await,
        post(&world, &root, INCIDENT, &json!({"what": root})).await,
    ] {
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
        assert_eq!(refused.json()["field"], "last_operator");
        assert!(refused.body.contains("--new-operator-token") && !refused.body.contains(&root), "{}", refused.body);
    }
    assert_eq!(status(&world, &root).await, 200);
    // Nor does it end soon by itself.
    let set = async |secs: i64, query: &str| {
        let body = json!({"expires_in_secs": secs}).to_string();
        world.call(&Method::PATCH, &format!("/api/v1/tokens/{id}{query}"), &root, &body).await
    };
    let refused = set(86_399, "").await;
    assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("last_operator")));
    assert_eq!(set(86_400, "").await.status, StatusCode::OK, "there is time to make another");
    let (other, _) = world.token_of("root", Some(3600)).await;
    assert_eq!(set(1800, "").await.status, StatusCode::OK, "another one is there for longer");
    assert_eq!(delete(other, "").await.status, StatusCode::OK);
    assert_eq!(set(60, "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(set(60, "?last_operator=true").await.status, StatusCode::OK);
    assert_eq!(delete(id, "?last_operator=true").await.status, StatusCode::OK);
    assert_eq!(status(&world, &root).await, 401);
}

#[tokio::test]
async fn ending_what_a_token_vended_says_that_it_goes_on_and_ends_it_when_told() {
    let world = World::new().await;
    let (id, reader) = world.token_of("reader", None).await;
    let (_, second) = world.token_of("reader", None).await;
    let boss = world.token("boss").await;
    posted(&world, &reader, VEND, &json!({})).await;
    world.clock.advance_secs(1);
    let said = posted(&world, &boss, REVOKE, &json!({"token": id.to_string()})).await;
    assert_eq!(said, json!({"ended": 1, "live_tokens": 1}));
    world.clock.advance_secs(1);
    posted(&world, &reader, VEND, &json!({})).await;
    assert_eq!(posted(&world, &boss, REVOKE, &json!({"caller": "reader"})).await["live_tokens"], 2);
    // By the token itself, which stands in no URL.
    world.clock.advance_secs(1);
    posted(&world, &reader, VEND, &json!({})).await;
    let said = posted(&world, &boss, REVOKE, &json!({"token": reader, "tokens": true})).await;
    assert_eq!(said, json!({"ended": 1, "tokens_ended": [id.to_string()]}));
    assert_eq!((status(&world, &reader).await, status(&world, &second).await), (401, 200));
    assert_eq!(posted(&world, &boss, REVOKE, &json!({"token": id.to_string()})).await["live_tokens"], 0);
    let said = posted(&world, &boss, REVOKE, &json!({"caller": "reader", "tokens": true})).await;
    assert_eq!(said["tokens_ended"].as_array().unwrap().len(), 1);
    assert_eq!(status(&world, &second).await, 401);
    let cut = second.get(..second.len() - 1).unwrap();
    for (body, code) in [
        (json!({"token": world.token("other").await, "tokens": true}), 404),
        (json!({"token": cut}), 422),
        (json!({"account": "acme", "tokens": true}), 422),
        (json!({"caller": "reader", "with_made": true}), 422),
        (json!({"caller": "reader", "last_operator": true}), 422),
    ] {
        let refused = post(&world, &boss, REVOKE, &body).await;
        assert_eq!(refused.status.as_u16(), code, "{}", refused.body);
        assert!(!refused.body.contains("vkt_"), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_caller_is_suspended_activated_and_removed_by_those_above_it() {
    let world = World::new().await;
    world.caller("acme", "deputy", Role::Operator).await;
    let reader = world.token("reader").await;
    let path = |caller: &str| format!("/api/v1/accounts/acme/callers/{caller}");
    let stand = async |by: &str, caller: &str, standing: &str| {
        let token = world.token(by).await;
        world.call(&Method::PATCH, &path(caller), &token, &json!({"standing": standing}).to_string()).await
    };
    for (by, caller, code) in [
        ("reader", "reader", 403),
        ("reader", "writer", 404),
        ("chief", "reader", 404),
        ("boss", "deputy", 403),
        ("boss", "boss", 422),
        ("boss", "nobody", 404),
    ] {
        assert_eq!(stand(by, caller, "suspended").await.status.as_u16(), code, "{by} {caller}");
        assert_eq!(world.delete(by, &path(caller)).await.status.as_u16(), code, "{by} {caller}");
    }
    posted(&world, &reader, VEND, &json!({})).await;
    world.clock.advance_secs(1);
    let said = stand("boss", "reader", "suspended").await.json();
    assert_eq!((&said["standing"], &said["ended"]), (&json!("suspended"), &json!(1)));
    assert_eq!(status(&world, &reader).await, 403);
    assert_eq!(post(&world, &reader, VEND, &json!({})).await.status, StatusCode::FORBIDDEN);
    let listed = world.get("boss", "/api/v1/accounts/acme/callers").await.json();
    let standing =
        |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["standing"].as_str().unwrap().to_owned());
    let listed: Vec<_> = listed["callers"].as_array().unwrap().iter().map(standing).collect();
    assert!(listed.contains(&("reader".to_owned(), "suspended".to_owned())), "{listed:?}");
    let why = json!({"bucket": "lake", "key": "flights/daily/x", "caller": "reader"});
    assert_eq!(world.post("boss", "/api/v1/explain", &why.to_string()).await.status, StatusCode::FORBIDDEN);
    world.clock.advance_secs(1);
    assert_eq!(stand("boss", "reader", "active").await.json()["standing"], "active");
    assert_eq!(status(&world, &reader).await, 200);
    let lease = posted(&world, &reader, VEND, &json!({})).await;
    world.clock.advance_secs(1);
    let gone = world.delete("boss", &path("reader")).await.json();
    assert_eq!((&gone["standing"], &gone["ended"]), (&json!("removed"), &json!(1)));
    assert_eq!(status(&world, &reader).await, 401);
    let whose = world.get("boss", &format!("/api/v1/whose/{}", lease["access_key_id"].as_str().unwrap())).await.json();
    assert!(whose["caller_name"].as_str().unwrap().starts_with("reader."), "{whose}");
    assert_eq!(world.delete("boss", &path("reader")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_incident_with_a_token_ends_it_and_what_it_made() {
    let world = World::new().await;
    let (id, boss) = world.token_of("boss", None).await;
    let (other, _) = world.token_of("boss", Some(3600)).await;
    let (second, helper, _) = made(&world, &boss, &json!({"caller": "helper"})).await;
    posted(&world, &boss, VEND, &json!({})).await;
    let lease = posted(&world, &helper, VEND, &json!({})).await;
    world.clock.advance_secs(1);
    let root = world.token("root").await;
    let dry = posted(&world, &root, INCIDENT, &json!({"what": format!(" {boss}\n"), "dry_run": true})).await;
    assert_eq!((&dry["kind"], &dry["dry_run"]), (&json!("token"), &json!(true)));
    assert_eq!(dry["ended"], json!({"tokens": 2, "leases": 2}));
    assert_eq!((status(&world, &boss).await, status(&world, &helper).await), (200, 200), "nothing ended");
    let said = posted(&world, &root, INCIDENT, &json!({"what": boss})).await;
    assert_eq!(said["ended"], json!({"tokens": 2, "leases": 2, "links": 0}));
    let ids: Vec<&str> = said["tokens"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [id.to_string(), second]);
    assert_eq!((&said["whose"][0]["account_name"], &said["whose"][0]["caller_name"]), (&json!("acme"), &json!("boss")));
    assert!(said["leases"].as_array().unwrap().iter().any(|one| one["lease_id"] == lease["lease_id"]));
    assert!(said["leases"].as_array().unwrap().iter().all(|one| one["state"] == "revoked"), "{said}");
    let goes_on = &said["still_works"];
    assert_eq!(goes_on[0]["command"], "valetkey token revoke --caller acme/boss", "{other} is left: {goes_on}");
    assert!(goes_on[0]["until"].is_string() && goes_on[1]["what"].as_str().unwrap().contains("changed"), "{goes_on}");
    let audit = goes_on[1]["command"].as_str().unwrap();
    assert!(audit.starts_with("valetkey audit --all --since 20"), "{audit}");
    assert_eq!((status(&world, &boss).await, status(&world, &helper).await), (401, 401));
    assert!(!said.to_string().contains(&boss));
    // Again: there is nothing left to end, and it is still said whose it was.
    let again = posted(&world, &root, INCIDENT, &json!({"what": id.to_string()})).await;
    assert_eq!((&again["ended"]["tokens"], &again["ended"]["leases"]), (&json!(0), &json!(0)));
    assert!(again["whose"][0]["revoked"].is_string());
}

#[tokio::test]
async fn an_incident_names_everything_that_an_operators_token_may_have_changed() {
    let world = World::new().await;
    let (_, other) = world.token_of("root", None).await;
    let root = world.token("root").await;
    let said = posted(&world, &root, INCIDENT, &json!({"what": other, "dry_run": true})).await;
    let rows = said["still_works"].as_array().unwrap();
    let changed = rows.iter().find(|row| row["what"].as_str().unwrap().starts_with("what its holder changed")).unwrap();
    for noun in [
        "accounts",
        "callers",
        "groups",
        "storages",
        "buckets",
        "datasets",
        "grants",
        "shares",
        "workspaces",
        "identity providers",
        "trust rules",
        "request rules",
        "policy sets",
        "signing keys",
    ] {
        assert!(changed["what"].as_str().unwrap().contains(noun), "{noun}: {changed}");
    }
    assert!(changed["command"].as_str().unwrap().starts_with("valetkey audit --all --since "), "{changed}");
}

#[tokio::test]
async fn an_incident_with_a_key_ends_that_key_and_names_the_token_behind_it() {
    let world = World::new().await;
    let (id, reader) = world.token_of("reader", None).await;
    let lease = posted(&world, &reader, VEND, &json!({})).await;
    let kept = posted(&world, &reader, VEND, &json!({})).await;
    world.clock.advance_secs(1);
    for (by, code) in [("writer", 404), ("other", 404)] {
        let key = lease["access_key_id"].clone();
        assert_eq!(world.post(by, INCIDENT, &json!({"what": key}).to_string()).await.status.as_u16(), code);
    }
    let said = posted(&world, &reader, INCIDENT, &json!({"what": lease["access_key_id"]})).await;
    assert_eq!((&said["kind"], &said["ended"]), (&json!("credential"), &json!({"tokens": 0, "leases": 1})));
    assert_eq!(said["leases"][0]["prefixes"], json!(["flights/daily"]));
    assert_eq!(said["still_works"][0]["command"], format!("valetkey token revoke {id}"));
    let of = async |lease: &Value| {
        let path = format!("/api/v1/leases/{}", lease["lease_id"].as_str().unwrap());
        world.call(&Method::GET, &path, &reader, "").await.json()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((of(&lease).await, of(&kept).await), ("revoked".to_owned(), "live".to_owned()));
}

#[tokio::test]
async fn an_incident_with_a_parent_or_what_it_signed_ends_that() {
    let world = World::new().await;
    let token = PlainToken::generate(&*world.entropy);
    let new = NewParent {
        account: world.account_id("acme").await,
        name: "job".parse().unwrap(),
        buckets: vec![bucket("vault")],
        permission: Permission::ObjectReadOnly,
        until: None,
        maker: Maker::Server,
    };
    let id = world.memory.create_parent(new, &token, world.clock.now()).await.unwrap().token.id;
    let root = world.token("root").await;
    let now = world.clock.now().as_second();
    let claims = json!({
        "iss": id.as_hex(), "sub": world.account_id("acme").await.as_hex(), "aud": "r2.example", "bucket": "vault",
        "scope": "object-read-only", "iat": now, "exp": now + 600,
    });
    let signed = super::r2::signed(token.secret_access_key().reveal(), &claims);
    let forged = super::r2::signed("another key", &claims);
    assert_eq!(post(&world, &root, INCIDENT, &json!({"what": forged})).await.status.as_u16(), 422);
    let child = posted(&world, &root, INCIDENT, &json!({"what": signed})).await;
    assert_eq!((&child["kind"], &child["ended"]["leases"]), (&json!("signed_credential"), &json!(1)));
    assert_eq!(child["still_works"][0]["command"], format!("valetkey parent-key disable {}", id.as_hex()));
    assert_eq!(status(&world, token.reveal()).await, 200, "the parent itself goes on");
    assert_eq!(world.post("chief", INCIDENT, &json!({"what": signed}).to_string()).await.status.as_u16(), 404);
    let parent = posted(&world, &root, INCIDENT, &json!({"what": id.as_hex()})).await;
    assert_eq!((&parent["kind"], &parent["ended"]["tokens"]), (&json!("parent_key"), &json!(1)));
    assert_eq!(status(&world, token.reveal()).await, 401);
}

#[tokio::test]
async fn an_incident_with_a_stores_credential_says_until_when_the_store_takes_it() {
    let world = World::new().await;
    let (_, reader) = world.token_of("reader", None).await;
    let until = world.clock.now() + jiff::SignedDuration::from_hours(2);
    let root = world.token("root").await;
    // A credential with an id, and two without one, which a store's log names by their digest.
    let names = ["ASIASHARED", "sv=2026&sig=abc%3D", "ya29.some-google-token"];
    for text in names {
        let answer = posted(&world, &reader, VEND, &json!({})).await;
        let lease: LeaseId = answer["lease_id"].as_str().unwrap().parse().unwrap();
        let record = world.memory.lease(lease).await.unwrap().unwrap();
        let digest = valetkey_core::nouns::package::Digest::of(text.as_bytes()).to_string();
        let key_id = if text.starts_with("ASIA") { text.to_owned() } else { digest };
        let trace = Trace { key_id: key_id.as_str().into(), request_id: None, expiration: until };
        world.memory.issued(&record.lease, &trace, world.clock.now()).await.unwrap();
        world.clock.advance_secs(1);
        for (what, dry_run, ended) in
            [(text.to_owned(), true, 1), (format!("{text}\n"), false, 1), (key_id.clone(), false, 0)]
        {
            let said = posted(&world, &root, INCIDENT, &json!({"what": what, "dry_run": dry_run})).await;
            assert_eq!(
                (&said["kind"], &said["ended"]["leases"]),
                (&json!("store_credential"), &json!(ended)),
                "{what}"
            );
            let store = &said["still_works"][0];
            assert_eq!(store["until"], format!("{until:.0}"), "{said}");
            assert!(store["what"].as_str().unwrap().contains("the storage local"), "{said}");
        }
        assert!(world.made.0.lock().unwrap().contains(&format!("forgot {key_id}")));
    }
    let answer = posted(&world, &reader, VEND, &json!({})).await;
    let lease: LeaseId = answer["lease_id"].as_str().unwrap().parse().unwrap();
    let record = world.memory.lease(lease).await.unwrap().unwrap();
    assert_eq!(record.state, LeaseState::Live, "what was vended since is another");
}

#[tokio::test]
async fn what_nobody_knows_is_refused_without_being_repeated() {
    let world = World::new().await;
    let root = world.token("root").await;
    let unknown = PlainToken::generate(&*world.entropy);
    for (what, code) in [
        (unknown.reveal().to_owned(), 404),
        (unknown.reveal().get(..50).unwrap().to_owned(), 422),
        ("ASIAIOSFODNN7EXAMPLE".to_owned(), 404),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), 404),
        ("vks1.abcdef".to_owned(), 422),
        ("vks2.abcdef".to_owned(), 422),
        ("0".repeat(32), 404),
        (" ".to_owned(), 422),
        ("x".repeat(17_000), 422),
    ] {
        for dry_run in [true, false] {
            let refused = post(&world, &root, INCIDENT, &json!({"what": what, "dry_run": dry_run})).await;
            assert_eq!(refused.status.as_u16(), code, "{}", refused.body);
            assert!(what.len() < 2 || !refused.body.contains(what.get(4..).unwrap()), "{}", refused.body);
        }
    }
}

#[tokio::test]
async fn a_url_that_was_signed_beforehand_is_known_by_who_signed_it_and_never_repeated() {
    let world = World::new().await;
    let root = world.token("root").await;
    let lease = posted(&world, &world.token("reader").await, VEND, &json!({})).await;
    let id = lease["access_key_id"].as_str().unwrap();
    let url = |query: &str| format!("https://lake.s3.example/flights/x.parquet?{query}#part");
    let signed = url(&format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={id}%2F20260101%2Fauto%2Fs3%2Faws4_request&X-Amz-Security-Token=t0ken&X-Amz-Signature=s1gnature"
    ));
    for body in [json!({"what": signed, "dry_run": true}), json!({"what": signed})] {
        let said = posted(&world, &root, INCIDENT, &body).await;
        assert_eq!((&said["kind"], &said["leases"][0]["lease_id"]), (&json!("credential"), &lease["lease_id"]));
        assert!(!said.to_string().contains("s1gnature") && !said.to_string().contains("t0ken"), "{said}");
    }
    let lower = url(&format!("x-amz-credential={id}/20260101/auto/s3/aws4_request"));
    assert_eq!(posted(&world, &root, INCIDENT, &json!({"what": lower, "dry_run": true})).await["kind"], "credential");
    for (odd, code) in [
        (url("X-Amz-Signature=s1gnature"), 422),
        (url("X-Amz-Credential=%FF"), 422),
        (url("X-Amz-Credential=AKIANOBODY%2Fx"), 404),
        (url("sv=2025&sig=s1gnature"), 404),
        ("https://lake.s3.example/s1gnature".to_owned(), 422),
    ] {
        let refused = post(&world, &root, INCIDENT, &json!({"what": odd})).await;
        assert_eq!(refused.status.as_u16(), code, "{odd}: {}", refused.body);
        assert!(!refused.body.contains("s1gnature") && !refused.body.contains("NOBODY"), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_dry_run_of_a_change_says_what_would_end_and_ends_nothing() {
    let world = World::new().await;
    let root = world.token("root").await;
    let (id, reader) = world.token_of("reader", None).await;
    for token in [&reader, &world.token("writer").await] {
        posted(&world, token, VEND, &json!({"grant": "daily"})).await;
    }
    let grants = world.call(&Method::GET, "/api/v1/grants?account=acme&name=daily", &root, "").await.json();
    let grant = grants["grants"][0]["id"].as_str().unwrap().to_owned();
    let change = async |path: String, body: Value| {
        let answer = world.call(&Method::PATCH, &path, &root, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.json()
    };
    let live = async || {
        let leases = world.call(&Method::GET, "/api/v1/leases?live=true", &root, "").await.json();
        leases["leases"].as_array().unwrap().len()
    };
    let (of_grant, of_token) = (format!("/api/v1/grants/{grant}"), format!("/api/v1/tokens/{id}"));
    for (path, body, ends) in
        [(&of_token, json!({"expires_in_secs": 60}), 1), (&of_grant, json!({"max_ttl_secs": 60}), 2)]
    {
        let before = live().await;
        let dry = change(format!("{path}?dry_run=true"), body.clone()).await;
        assert_eq!((&dry["dry_run"], &dry["ended"]), (&json!(true), &json!(ends)), "{dry}");
        let kept = change(format!("{path}?dry_run=true&end_credentials=false"), body.clone()).await;
        assert_eq!(kept["ended"], 0, "they would live on");
        assert_eq!(live().await, before, "{path}");
    }
    let shown = world.call(&Method::GET, "/api/v1/grants?account=acme&name=daily", &root, "").await.json();
    assert_eq!(shown, grants, "nothing was changed");
    let done = change(of_grant.clone(), json!({"max_ttl_secs": 60})).await;
    assert_eq!((&done["dry_run"], &done["ended"]), (&json!(false), &json!(2)), "{done}");
    assert_eq!(live().await, 0);
    let refused = world.call(&Method::PATCH, &format!("{of_grant}?dry_run=true"), &root, r#"{"name":"work"}"#).await;
    assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::CONFLICT, &json!("name")), "{}", refused.body);
}
